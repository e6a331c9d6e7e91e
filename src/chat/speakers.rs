//! What is remembered of those who speak: rates and last texts, 32 bytes a user and at most 5⅔ more
//! for the index.
//!
//! Only who spoke lately has an entry. One whose rates have recovered and whose texts are old is as
//! good as none, so it is forgotten: each newcomer looks at some others for that. Nobody is
//! forgotten earlier, so filling the table with other users resets no limit; when it is full of
//! people who speak, one more has to wait.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::base::hash::PlacementKey;
use crate::base::ids::UserId;
use crate::base::limits::SPEAKERS_MAX;
use crate::base::pool::{List, Pool};
use crate::base::slots::{IndexPool, SlotIndex};
use crate::base::time::Time;
use crate::chat::pace::Pace;
use crate::chat::settings::ChatSettings;

/// Entries that each newcomer looks at: more than one, so that the table shrinks again.
const LOOKS: usize = 4;
/// Speakers for whom room is made at a time.
const PIECE: usize = 64;
/// Texts of a user that are remembered.
const TEXTS: usize = 2;

/// One who spoke lately. Times are milliseconds in 32 bits: only their differences count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speaker {
    user: UserId,
    /// When the buckets of texts and likes are full again.
    texts_full_at_ms: u32,
    likes_full_at_ms: u32,
    /// Hashes of the last texts, the newest first, and when they were said.
    said: [(u32, u32); TEXTS],
}

const _: () = assert!(size_of::<Speaker>() == 32);

/// How long what is remembered matters.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    texts: Pace,
    likes: Pace,
    window_ms: u32,
}

impl Memory {
    /// As the settings say.
    #[must_use]
    pub fn new(settings: &ChatSettings) -> Memory {
        Memory {
            texts: Pace::new(settings.user_interval, settings.user_burst),
            likes: Pace::new(settings.like_interval, settings.like_burst),
            window_ms: u32::try_from(settings.duplicate_window.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

/// All who spoke lately on one shard.
pub struct Speakers {
    key: PlacementKey,
    memory: Memory,
    most: usize,
    index: SlotIndex,
    places: IndexPool,
    speakers: List,
    /// Where the speakers are.
    pool: Pool<Speaker, PIECE>,
    /// Where the look for forgettable entries goes on.
    hand: usize,
}

impl Speakers {
    /// Nobody yet. Users are found by a hash with `key`, since clients may choose their ids.
    #[must_use]
    pub fn new(key: PlacementKey, memory: Memory) -> Speakers {
        Speakers {
            key,
            memory,
            most: SPEAKERS_MAX,
            index: SlotIndex::default(),
            places: IndexPool::default(),
            speakers: List::default(),
            pool: Pool::default(),
            hand: 0,
        }
    }

    /// They are remembered by other rules from now on.
    pub fn set_memory(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// How many are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.speakers.len()
    }

    /// Takes a text from the user's rate.
    ///
    /// # Errors
    /// How long the user has to wait.
    pub fn take_text(&mut self, user: UserId, now: Time) -> Result<(), Duration> {
        let (pace, now) = (self.memory.texts, whole(now));
        let speaker = self.speaker(user, now).ok_or(FULL_WAIT)?;
        let full_at = moment(speaker.texts_full_at_ms, now, pace);
        speaker.texts_full_at_ms = millis(pace.take(full_at, now, 1)?);
        Ok(())
    }

    /// Takes up to `wanted` likes from the user's rate: how many there were.
    ///
    /// # Errors
    /// How long the user has to wait for one.
    pub fn take_likes(&mut self, user: UserId, wanted: u32, now: Time) -> Result<u32, Duration> {
        let (pace, now) = (self.memory.likes, whole(now));
        let speaker = self.speaker(user, now).ok_or(FULL_WAIT)?;
        let full_at = moment(speaker.likes_full_at_ms, now, pace);
        let available = u32::try_from(pace.available(full_at, now)).unwrap_or(u32::MAX);
        let count = wanted.min(available).max(1);
        speaker.likes_full_at_ms = millis(pace.take(full_at, now, count)?);
        Ok(count)
    }

    /// Whether the user said this lately.
    #[must_use]
    pub fn has_said(&self, user: UserId, text: u32, now: Time) -> bool {
        let speaker = self.find(user).map(|slot| self.pool.at(&self.speakers, slot as usize));
        let now_ms = millis_floor(now);
        let is_it = |(said, at_ms): &(u32, u32)| {
            *said == text && now_ms.wrapping_sub(*at_ms) < self.memory.window_ms
        };
        self.memory.window_ms > 0 && speaker.is_some_and(|speaker| speaker.said.iter().any(is_it))
    }

    /// The user said this.
    pub fn remember(&mut self, user: UserId, text: u32, now: Time) {
        if let Some(slot) = self.find(user) {
            let speaker = self.pool.at_mut(&self.speakers, slot as usize);
            speaker.said.rotate_right(1);
            speaker.said[0] = (text, millis_floor(now));
        }
    }

    /// The user's entry, made if there is none; nothing if there is no room for one.
    fn speaker(&mut self, user: UserId, now: Time) -> Option<&mut Speaker> {
        let slot = match self.find(user) {
            Some(slot) => slot,
            None => self.make(user, now)?,
        };
        Some(self.pool.at_mut(&self.speakers, slot as usize))
    }

    fn make(&mut self, user: UserId, now: Time) -> Option<u32> {
        for _ in 0..LOOKS.min(self.speakers.len()) {
            self.look(now);
        }
        if self.speakers.len() >= self.most {
            return None;
        }
        let now_ms = millis_floor(now);
        let long_ago = now_ms.wrapping_sub(self.memory.window_ms);
        let speaker = Speaker {
            user,
            texts_full_at_ms: now_ms,
            likes_full_at_ms: now_ms,
            said: [(0, long_ago); TEXTS],
        };
        let slot = u32::try_from(self.speakers.len()).expect("slots have 24 bits");
        self.pool.push(&mut self.speakers, speaker);
        let (key, pool, speakers) = (self.key, &self.pool, &self.speakers);
        let hash_of = |slot: u32| hash(key, pool.at(speakers, slot as usize).user);
        self.index.insert(&mut self.places, hash(key, user), slot, hash_of);
        Some(slot)
    }

    /// Looks at the next entry and forgets it if nothing of it matters.
    fn look(&mut self, now: Time) {
        let slot = self.hand % self.speakers.len().max(1);
        self.hand = slot + 1;
        if slot >= self.speakers.len() {
            return;
        }
        let speaker = *self.pool.at(&self.speakers, slot);
        let memory = self.memory;
        let now_ms = millis_floor(now);
        let recovered = moment(speaker.texts_full_at_ms, now, memory.texts) <= now
            && moment(speaker.likes_full_at_ms, now, memory.likes) <= now;
        let is_old = |(_, at_ms): &(u32, u32)| now_ms.wrapping_sub(*at_ms) >= memory.window_ms;
        if !recovered || !speaker.said.iter().all(is_old) {
            return;
        }
        let (key, pool, speakers) = (self.key, &self.pool, &self.speakers);
        let hash_of = |slot: u32| hash(key, pool.at(speakers, slot as usize).user);
        let place = u32::try_from(slot).expect("slots have 24 bits");
        self.index.remove(&mut self.places, hash(key, speaker.user), place, hash_of);
        self.pool.swap_remove(&mut self.speakers, slot);
        if slot < self.speakers.len() {
            let moved = hash(key, self.pool.at(&self.speakers, slot).user);
            let last = u32::try_from(self.speakers.len()).expect("slots have 24 bits");
            self.index.moved(&mut self.places, moved, last, place);
        }
    }

    fn find(&self, user: UserId) -> Option<u32> {
        let is_it = |slot: u32| self.pool.at(&self.speakers, slot as usize).user == user;
        self.index.find(&self.places, hash(self.key, user), is_it)
    }
}

/// How long somebody is told to wait for whom there is no entry: others recover meanwhile.
const FULL_WAIT: Duration = Duration::from_secs(1);

fn hash(key: PlacementKey, user: UserId) -> u64 {
    let mut hasher = key.build_hasher();
    hasher.write_u64(user.0);
    hasher.finish()
}

#[expect(clippy::cast_possible_truncation, reason = "wraps after 49 days on purpose")]
fn millis_floor(time: Time) -> u32 {
    time.as_millis() as u32
}

/// Time goes in whole milliseconds here: what is kept of it is exact, and a burst is as large as it
/// was meant to be.
fn whole(now: Time) -> Time {
    Time::from_millis(now.as_millis())
}

/// Rounded up: a bucket is never taken for fuller than it is.
fn millis(time: Time) -> u32 {
    millis_floor(time + Duration::from_nanos(999_999))
}

/// The moment behind 32 bits of it. What lies further ahead than a bucket can was left from long
/// ago.
fn moment(at_ms: u32, now: Time, pace: Pace) -> Time {
    let ahead = Duration::from_millis(u64::from(at_ms.wrapping_sub(millis_floor(now))));
    // A bucket's end may have been rounded up.
    if ahead <= pace.horizon() + Duration::from_millis(1) { whole(now) + ahead } else { Time::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speakers() -> Speakers {
        let settings = ChatSettings::default();
        Speakers::new(PlacementKey([5; 16]), Memory::new(&settings))
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_user_has_a_burst_and_then_the_rate() {
        let (mut speakers, user) = (speakers(), UserId(1));
        for _ in 0..3 {
            assert_eq!(speakers.take_text(user, at(500)), Ok(()));
        }
        assert_eq!(speakers.take_text(user, at(500)), Err(Duration::from_secs(2)));
        assert_eq!(speakers.take_text(UserId(2), at(500)), Ok(()), "others have their own");
        assert_eq!(speakers.take_text(user, at(2_499)), Err(Duration::from_millis(1)));
        assert_eq!(speakers.take_text(user, at(2_500)), Ok(()));
        assert!(speakers.take_text(user, at(2_500)).is_err());
    }

    #[test]
    fn parts_of_milliseconds_take_nothing_from_a_burst() {
        let (mut speakers, user) = (speakers(), UserId(1));
        let between = |ms| at(ms) + Duration::from_nanos(700_001);
        for _ in 0..3 {
            assert_eq!(speakers.take_text(user, between(0)), Ok(()));
        }
        assert_eq!(speakers.take_text(user, between(1)), Err(Duration::from_millis(1_999)));
        assert_eq!(speakers.take_likes(user, 49, between(1)), Ok(49));
        assert_eq!(speakers.take_likes(user, 49, between(1)), Ok(1));
        let memory = Memory::new(&ChatSettings::unlimited());
        let mut unlimited = Speakers::new(PlacementKey([5; 16]), memory);
        for ms in 0..9 {
            assert_eq!(unlimited.take_text(user, between(ms / 3)), Ok(()));
        }
    }

    #[test]
    fn likes_are_cut_to_what_the_rate_has() {
        let (mut speakers, user) = (speakers(), UserId(1));
        assert_eq!(speakers.take_likes(user, 30, at(0)), Ok(30));
        assert_eq!(speakers.take_likes(user, 30, at(0)), Ok(20));
        assert_eq!(speakers.take_likes(user, 30, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(speakers.take_likes(user, 30, at(250)), Ok(2));
        assert_eq!(speakers.take_text(user, at(250)), Ok(()), "texts have a rate of their own");
    }

    #[test]
    fn two_texts_are_remembered_for_the_window() {
        let (mut speakers, user) = (speakers(), UserId(1));
        speakers.take_text(user, at(0)).unwrap();
        for (text, ms) in [(11, 0), (12, 1), (13, 2)] {
            speakers.remember(user, text, at(ms));
        }
        let said = |ms| [11, 12, 13].map(|text| speakers.has_said(user, text, at(ms)));
        assert_eq!(said(2), [false, true, true]);
        assert_eq!(said(10_001), [false, false, true]);
        assert_eq!(said(10_002), [false; 3]);
        assert!(!speakers.has_said(UserId(2), 13, at(2)));
    }

    #[test]
    fn time_wraps_without_a_jump() {
        let (mut speakers, user) = (speakers(), UserId(1));
        let wrap = u64::from(u32::MAX) - 500;
        for _ in 0..3 {
            assert_eq!(speakers.take_text(user, at(wrap)), Ok(()));
        }
        assert!(speakers.take_text(user, at(wrap + 1_999)).is_err());
        assert_eq!(speakers.take_text(user, at(wrap + 2_000)), Ok(()));
        assert_eq!(speakers.take_text(user, at(wrap + (1 << 31))), Ok(()), "weeks later");
    }

    #[test]
    fn who_matters_is_never_forgotten_and_others_make_way() {
        let mut speakers = speakers();
        speakers.most = 100;
        for user in 1..=100 {
            assert_eq!(speakers.take_text(UserId(user), at(0)), Ok(()));
            speakers.remember(UserId(user), 7, at(0));
        }
        assert_eq!(speakers.take_text(UserId(101), at(1)), Err(FULL_WAIT));
        assert_eq!(speakers.take_text(UserId(100), at(1)), Ok(()), "who has an entry goes on");
        // Rates have recovered after 4 s, the texts matter for ten.
        assert_eq!(speakers.take_text(UserId(101), at(9_999)), Err(FULL_WAIT));
        assert!(speakers.has_said(UserId(50), 7, at(9_999)));
        for user in 101..=150 {
            assert_eq!(speakers.take_text(UserId(user), at(10_000)), Ok(()));
        }
        assert!(speakers.count() <= 60, "{} are left", speakers.count());
        for user in 101..=150 {
            assert!(speakers.find(UserId(user)).is_some(), "{user} spoke lately");
        }
    }
}
