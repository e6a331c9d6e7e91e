//! What a room takes on one shard: its share of the room's rate, and how often it took the same
//! text lately.
//!
//! **The share.** A room's rate is one number for the whole room, but texts are checked on many
//! shards, which keep no count in common. The room's home knows which shards have members, tells
//! each of them their number whenever it changes, and each takes an equal part of the rate: so the
//! parts never add up to more than the rate, a room that lives on one shard has all of it, and
//! nothing travels per message. The kernel spreads connections evenly, so equal parts are fair in
//! large rooms; in small ones a shard with most of the members discards early, while the room has
//! less than it could take. Until the home has said something, the part is that of all shards.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::ids::RoomId;
use crate::base::limits::ROOMS_MAX;
use crate::base::time::Time;
use crate::chat::pace::Pace;
use crate::chat::settings::ChatSettings;

/// Texts of a room that are counted; what many say at once is among the few most frequent.
const TEXTS: usize = 16;

/// The rooms in which somebody spoke on this shard.
#[derive(Debug)]
pub struct Uplinks {
    per_second: u32,
    window: Duration,
    same_text_max: u32,
    shard_count: u16,
    /// Rates of rooms that have one of their own.
    rates: BTreeMap<RoomId, u32>,
    rooms: BTreeMap<RoomId, Uplink>,
}

#[derive(Debug, Default)]
struct Uplink {
    /// Shards that share the rate; 0: the home has not told.
    sharers: u16,
    /// When the bucket is full again.
    full_at: Time,
    texts: [Count; TEXTS],
}

/// How often a text was said since a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    text: u32,
    count: u32,
    since: Time,
}

impl Uplinks {
    /// No rooms yet.
    #[must_use]
    pub fn new(settings: &ChatSettings, shard_count: u16) -> Uplinks {
        let mut uplinks = Uplinks {
            per_second: 0,
            window: Duration::ZERO,
            same_text_max: 0,
            shard_count,
            rates: BTreeMap::new(),
            rooms: BTreeMap::new(),
        };
        uplinks.set(settings);
        uplinks
    }

    /// Other settings are in force; rooms' own rates stay.
    pub fn set(&mut self, settings: &ChatSettings) {
        let is_counting = !settings.duplicate_window.is_zero();
        self.per_second = settings.room_per_second;
        self.window = settings.duplicate_window;
        self.same_text_max = if is_counting { settings.same_text_max } else { 0 };
    }

    /// The room's home says that so many shards have members.
    pub fn share(&mut self, room: RoomId, sharers: u16, now: Time) {
        self.room(room, now).sharers = sharers;
    }

    /// This shard has no members of the room any more, and is not told by its home.
    pub fn unshare(&mut self, room: RoomId) {
        if let Some(uplink) = self.rooms.get_mut(&room) {
            uplink.sharers = 0;
        }
    }

    /// A room has a rate of its own, or none any more. Whoever sets them bounds their number.
    pub fn set_rate(&mut self, room: RoomId, per_second: Option<u32>) {
        match per_second {
            Some(per_second) => self.rates.insert(room, per_second),
            None => self.rates.remove(&room),
        };
    }

    /// Shards that share a room's rate.
    #[must_use]
    pub fn sharers(&self, room: RoomId) -> u16 {
        let told = self.rooms.get(&room).map_or(0, |uplink| uplink.sharers);
        if told == 0 { self.shard_count } else { told }
    }

    /// Takes one message from what the room can carry.
    ///
    /// # Errors
    /// It cannot: how long until it can.
    pub fn take(&mut self, room: RoomId, now: Time) -> Result<(), Duration> {
        let per_second = self.rates.get(&room).copied().unwrap_or(self.per_second);
        let shard_count = self.shard_count;
        let uplink = self.room(room, now);
        let sharers = if uplink.sharers == 0 { shard_count } else { uplink.sharers };
        uplink.full_at = Pace::share(per_second, sharers).take(uplink.full_at, now, 1)?;
        Ok(())
    }

    /// Whether a room has heard a text as often as it may within the window.
    #[must_use]
    pub fn has_heard_enough(&self, room: RoomId, text: u32, now: Time) -> bool {
        let Some(uplink) = self.rooms.get(&room).filter(|_| self.same_text_max > 0) else {
            return false;
        };
        let mut counts = uplink.texts.iter();
        let is_it = |count: &&Count| count.text == text && count.is_recent(now, self.window);
        counts.find(is_it).is_some_and(|count| count.count >= self.same_text_max)
    }

    /// A room has heard a text.
    pub fn remember(&mut self, room: RoomId, text: u32, now: Time) {
        let window = self.window;
        if self.same_text_max == 0 {
            return;
        }
        let counts = &mut self.room(room, now).texts;
        let is_it = |count: &Count| count.text == text && count.is_recent(now, window);
        if let Some(known) = counts.iter_mut().find(|count| is_it(count)) {
            known.count += 1;
            return;
        }
        // The least frequent makes way: what is said again and again stays.
        let rank = |count: &&mut Count| if count.is_recent(now, window) { count.count } else { 0 };
        if let Some(least) = counts.iter_mut().min_by_key(rank) {
            *least = Count { text, count: 1, since: now };
        }
    }

    /// The room's state. Where there are too many rooms, those make way that are as good as new.
    fn room(&mut self, room: RoomId, now: Time) -> &mut Uplink {
        if self.rooms.len() >= ROOMS_MAX && !self.rooms.contains_key(&room) {
            let window = self.window;
            self.rooms.retain(|_, uplink| {
                let is_heard = uplink.texts.iter().any(|count| count.is_recent(now, window));
                uplink.full_at > now || is_heard
            });
            if self.rooms.len() >= ROOMS_MAX {
                // Shards have no more rooms than that, so others have left this one.
                self.rooms.pop_first();
            }
        }
        self.rooms.entry(room).or_default()
    }
}

impl Count {
    fn is_recent(&self, now: Time, window: Duration) -> bool {
        self.count > 0 && now.since(self.since) < window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId(7);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// How many of `asked` messages a room takes at once.
    fn taken(uplinks: &mut Uplinks, room: RoomId, asked: u32, now: Time) -> usize {
        (0..asked).filter(|_| uplinks.take(room, now).is_ok()).count()
    }

    #[test]
    fn a_room_has_its_share_of_the_rate() {
        let settings = ChatSettings { room_per_second: 100, ..ChatSettings::default() };
        let mut uplinks = Uplinks::new(&settings, 4);
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(0)), 25, "a quarter until the home says");
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(1_000)), 25);
        uplinks.share(ROOM, 1, at(1_000));
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(3_000)), 100, "all of it");
        uplinks.share(ROOM, 2, at(3_000));
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(3_000)), 0);
        assert_eq!(taken(&mut uplinks, RoomId(8), 1_000, at(3_100)), 25, "rooms are apart");
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(9_000)), 50);
        assert_eq!(uplinks.take(ROOM, at(9_000)), Err(Duration::from_millis(20)));
    }

    #[test]
    fn a_room_may_have_a_rate_of_its_own() {
        let settings = ChatSettings { room_per_second: 100, ..ChatSettings::default() };
        let mut uplinks = Uplinks::new(&settings, 1);
        uplinks.set_rate(ROOM, Some(7));
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(0)), 7);
        assert_eq!(taken(&mut uplinks, RoomId(8), 1_000, at(0)), 100);
        uplinks.set_rate(ROOM, Some(0));
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(5_000)), 1_000);
        uplinks.set_rate(ROOM, None);
        assert_eq!(taken(&mut uplinks, ROOM, 1_000, at(9_000)), 100);
    }

    #[test]
    fn the_same_text_is_heard_so_often_only() {
        let settings = ChatSettings { same_text_max: 3, ..ChatSettings::default() };
        let mut uplinks = Uplinks::new(&settings, 1);
        for _ in 0..3 {
            assert!(!uplinks.has_heard_enough(ROOM, 666, at(0)));
            uplinks.remember(ROOM, 666, at(0));
        }
        assert!(uplinks.has_heard_enough(ROOM, 666, at(9_999)));
        // Many others don't make it forgotten.
        for text in 0..1_000 {
            uplinks.remember(ROOM, text, at(1));
        }
        assert!(uplinks.has_heard_enough(ROOM, 666, at(9_999)));
        assert!(!uplinks.has_heard_enough(ROOM, 999, at(9_999)));
        assert!(!uplinks.has_heard_enough(RoomId(8), 666, at(9_999)));
        assert!(!uplinks.has_heard_enough(ROOM, 666, at(10_000)), "the window is over");
    }

    #[test]
    fn rooms_are_bounded() {
        let mut uplinks = Uplinks::new(&ChatSettings::default(), 1);
        for room in 1..=3 * ROOMS_MAX as u64 {
            uplinks.remember(RoomId(room), 1, at(room));
            assert!(uplinks.rooms.len() <= ROOMS_MAX);
        }
    }
}
