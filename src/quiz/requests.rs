//! Requests about money that carry a key, so that one that is repeated happens once.
//!
//! Few users have any, so they stand in a table of their own and not in the user's record. A user's
//! key is known for as long as the request is open; afterwards for a day, for an hour where there are
//! many, and until newer ones of the user take its place. So a key may come again and mean another
//! request; a request's *number* among those of its user never does. What is forgotten because of its age
//! is on record: doing the records again must find the same keys taken, and knows nothing of ages.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use crate::base::ids::{BucketId, UserId};
use crate::base::limits::{MONEY_KEY_BYTES_MAX, MONEY_REQUESTS_MAX, MONEY_REQUESTS_PER_USER_MAX};
use crate::base::time::Time;

/// A key that a client or an operator chose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MoneyKey(Box<str>);

impl MoneyKey {
    /// A key of 1 to [`MONEY_KEY_BYTES_MAX`] printable ASCII characters.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(key: &str) -> Result<MoneyKey, KeyError> {
        let is_one =
            key.len() <= MONEY_KEY_BYTES_MAX && key.bytes().all(|it| it.is_ascii_graphic());
        if is_one && !key.is_empty() { Ok(MoneyKey(key.into())) } else { Err(KeyError) }
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {MONEY_KEY_BYTES_MAX} printable ASCII characters and no space")]
pub struct KeyError;

/// No place for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The user has too many open.
    #[error("{MONEY_REQUESTS_PER_USER_MAX} requests of the user are open: wait until one is done")]
    User,
    /// The shard has too many.
    #[error("this shard keeps as many requests as it can: try again later")]
    Shard,
}

/// For so long a request is known after it is done, at least.
pub const REQUESTS_KEPT: Duration = Duration::from_secs(86_400);
/// The same where the table is three quarters full.
pub const REQUESTS_KEPT_CROWDED: Duration = Duration::from_secs(3_600);

struct Entry<T> {
    /// Among the user's requests of this sort, from 1, growing, never used again.
    number: u64,
    is_open: bool,
    /// When a sweep found it done first: in this process, so that a restart keeps it for longer.
    done_since: Option<Time>,
    request: T,
}

/// A request with all that is known of it.
pub(crate) struct Told<T> {
    pub(crate) key: MoneyKey,
    pub(crate) number: u64,
    pub(crate) is_open: bool,
    pub(crate) request: T,
}

/// The requests of one sort on one shard.
pub(crate) struct Requests<T> {
    entries: BTreeMap<(UserId, MoneyKey), Entry<T>>,
    /// Where the next sweep goes on.
    swept: Option<(UserId, MoneyKey)>,
    /// By bucket, the highest number that a user's newest request had when it was forgotten: numbers go
    /// on behind it, so that none is used again for a user of whom nothing is known any more.
    forgotten: BTreeMap<BucketId, u64>,
}

impl<T> Default for Requests<T> {
    fn default() -> Requests<T> {
        Requests { entries: BTreeMap::new(), swept: None, forgotten: BTreeMap::new() }
    }
}

impl<T> Requests<T> {
    pub(crate) fn get(&self, user: UserId, key: &MoneyKey) -> Option<&T> {
        self.entries.get(&(user, key.clone())).map(|entry| &entry.request)
    }

    /// The number of the next request of a user in this bucket.
    pub(crate) fn next_number(&self, bucket: BucketId, user: UserId) -> u64 {
        self.newest(user).max(self.forgotten(bucket)) + 1
    }

    /// The highest number that was forgotten in a bucket with its user's newest request; 0: none was.
    pub(crate) fn forgotten(&self, bucket: BucketId) -> u64 {
        self.forgotten.get(&bucket).copied().unwrap_or(0)
    }

    /// Takes in what [`Requests::forgotten`] told.
    pub(crate) fn adopt_forgotten(&mut self, bucket: BucketId, number: u64) {
        if number > self.forgotten(bucket) {
            self.forgotten.insert(bucket, number);
        }
    }

    fn newest(&self, user: UserId) -> u64 {
        self.entries_of(user).map(|(_, entry)| entry.number).max().unwrap_or(0)
    }

    /// The number of a request that is known.
    pub(crate) fn number_of(&self, user: UserId, key: &MoneyKey) -> Option<u64> {
        self.entries.get(&(user, key.clone())).map(|entry| entry.number)
    }

    /// The request of a number, and the key that it came with.
    pub(crate) fn by_number(&self, user: UserId, number: u64) -> Option<(&MoneyKey, &T)> {
        let mut own = self.entries_of(user).filter(|(_, entry)| entry.number == number);
        own.next().map(|(key, entry)| (key, &entry.request))
    }

    /// Whether there is, or can be made, a place for another request of this user.
    pub(crate) fn may_open(&self, user: UserId) -> Result<(), NoPlace> {
        let (count, oldest) = self.count_and_oldest_closed(user);
        if count >= MONEY_REQUESTS_PER_USER_MAX && oldest.is_none() {
            return Err(NoPlace::User);
        }
        if self.entries.len() >= MONEY_REQUESTS_MAX && oldest.is_none() {
            return Err(NoPlace::Shard);
        }
        Ok(())
    }

    /// Enters a request under the user's next number, and says it; the user's oldest one that is done
    /// makes way if there are too many.
    ///
    /// # Panics
    /// If there is no place: ask before.
    pub(crate) fn open(
        &mut self,
        bucket: BucketId,
        user: UserId,
        key: MoneyKey,
        request: T,
    ) -> u64 {
        let number = self.next_number(bucket, user);
        assert_eq!(self.may_open(user), Ok(()), "a place is asked for before");
        let (count, oldest) = self.count_and_oldest_closed(user);
        let is_full = count >= MONEY_REQUESTS_PER_USER_MAX;
        if let Some(oldest) = oldest.filter(|_| is_full || self.entries.len() >= MONEY_REQUESTS_MAX)
        {
            self.entries.remove(&(user, oldest));
        }
        self.entries
            .insert((user, key), Entry { number, is_open: true, done_since: None, request });
        number
    }

    /// Takes in a request as [`Requests::of`] told it: also where shards that became one have more than
    /// one shard keeps. False if it has no number or there is one like it.
    pub(crate) fn adopt(&mut self, user: UserId, told: Told<T>) -> bool {
        let Told { key, number, is_open, request } = told;
        let is_known =
            self.number_of(user, &key).is_some() || self.by_number(user, number).is_some();
        if number == 0 || is_known {
            return false;
        }
        self.entries.insert((user, key), Entry { number, is_open, done_since: None, request });
        true
    }

    /// True if there are no requests.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Looks at `count` requests behind those that were looked at before, around and around: those
    /// that have been done for long enough, to be forgotten by [`Requests::forget`].
    pub(crate) fn sweep(&mut self, now: Time, count: usize) -> Vec<(UserId, MoneyKey)> {
        let is_crowded = self.entries.len() >= MONEY_REQUESTS_MAX / 4 * 3;
        let kept = if is_crowded { REQUESTS_KEPT_CROWDED } else { REQUESTS_KEPT };
        let from = self.swept.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut due = Vec::new();
        for (looked_at, (place, entry)) in
            (1..).zip(self.entries.range_mut((from, Bound::Unbounded)))
        {
            if !entry.is_open && now.since(*entry.done_since.get_or_insert(now)) >= kept {
                due.push(place.clone());
            }
            if looked_at >= count {
                self.swept = Some(place.clone());
                break;
            }
        }
        due
    }

    /// Forgets a request that is done; false if there is none.
    pub(crate) fn forget(&mut self, bucket: BucketId, user: UserId, key: &MoneyKey) -> bool {
        let place = (user, key.clone());
        let Some(entry) = self.entries.get(&place).filter(|entry| !entry.is_open) else {
            return false;
        };
        let number = entry.number;
        self.entries.remove(&place);
        if number > self.newest(user) {
            self.adopt_forgotten(bucket, number);
        }
        true
    }

    /// A request is done; false if there is none that was open.
    pub(crate) fn close(
        &mut self,
        user: UserId,
        key: &MoneyKey,
        change: impl FnOnce(&mut T),
    ) -> bool {
        let entry = self.entries.get_mut(&(user, key.clone()));
        let Some(entry) = entry.filter(|entry| entry.is_open) else { return false };
        entry.is_open = false;
        change(&mut entry.request);
        true
    }

    /// A user's requests in the order in which they came.
    pub(crate) fn of<'a>(&'a self, user: UserId) -> Vec<Told<&'a T>> {
        let tell = |(key, entry): (&MoneyKey, &'a Entry<T>)| {
            let Entry { number, is_open, request, .. } = entry;
            Told { key: key.clone(), number: *number, is_open: *is_open, request }
        };
        let mut found: Vec<_> = self.entries_of(user).map(tell).collect();
        found.sort_unstable_by_key(|told| told.number);
        found
    }

    /// The requests that are not done, by user and key.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = (UserId, &MoneyKey, &T)> {
        let open = self.entries.iter().filter(|(_, entry)| entry.is_open);
        open.map(|((user, key), entry)| (*user, key, &entry.request))
    }

    fn entries_of(&self, user: UserId) -> impl Iterator<Item = (&MoneyKey, &Entry<T>)> {
        let first = (user, MoneyKey("".into()));
        let from_user = self.entries.range(first..);
        from_user.take_while(move |((of, _), _)| *of == user).map(|((_, key), entry)| (key, entry))
    }

    fn count_and_oldest_closed(&self, user: UserId) -> (usize, Option<MoneyKey>) {
        let (mut count, mut oldest) = (0, None);
        for (key, entry) in self.entries_of(user) {
            count += 1;
            let is_older = oldest.as_ref().is_none_or(|(number, _)| entry.number < *number);
            if !entry.is_open && is_older {
                oldest = Some((entry.number, key.clone()));
            }
        }
        (count, oldest.map(|(_, key)| key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: BucketId = BucketId(3);

    fn key(number: usize) -> MoneyKey {
        MoneyKey::new(&format!("key-{number}")).unwrap()
    }

    #[test]
    fn keys_are_printable_and_short() {
        let long = "x".repeat(MONEY_KEY_BYTES_MAX + 1);
        for (text, is_one) in [
            ("a", true),
            (&long[1..], true),
            ("", false),
            (&long, false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(MoneyKey::new(text).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn a_table_that_filled_with_what_is_done_empties_by_age_and_what_is_open_stays() {
        let (mut requests, hour) = (Requests::default(), Duration::from_secs(3_600));
        for number in 0..100 {
            let user = UserId(number);
            requests.open(BUCKET, user, key(1), ());
            requests.open(BUCKET, user, key(2), ());
            requests.close(user, &key(1), |()| {});
        }
        let sweep = |requests: &mut Requests<()>, now: Time| {
            let mut forgotten = 0;
            for _ in 0..21 {
                for (user, key) in requests.sweep(now, 10) {
                    assert!(requests.forget(BUCKET, user, &key));
                    forgotten += 1;
                }
            }
            forgotten
        };
        let begun = Time::ZERO + hour;
        assert_eq!(sweep(&mut requests, begun), 0, "seen for the first time");
        assert_eq!(sweep(&mut requests, begun + hour * 23), 0);
        assert_eq!(sweep(&mut requests, begun + hour * 24), 100);
        assert_eq!(requests.open_ones().count(), 100);
        assert!(!requests.forget(BUCKET, UserId(3), &key(2)), "it is open");
    }

    #[test]
    fn shards_that_become_one_may_have_more_requests_than_one_takes() {
        let mut requests = Requests::default();
        for number in 0..=MONEY_REQUESTS_MAX as u64 {
            let told = Told { key: key(1), number: 1, is_open: number % 2 == 0, request: () };
            assert!(requests.adopt(UserId(number), told));
        }
        assert_eq!(requests.may_open(UserId(u64::MAX)), Err(NoPlace::Shard));
        // Where there are many, an hour is enough.
        let (begun, all) = (Time::ZERO, usize::MAX);
        assert!(requests.sweep(begun, all).is_empty());
        for (user, key) in requests.sweep(begun + REQUESTS_KEPT_CROWDED, all) {
            requests.forget(BUCKET, user, &key);
        }
        assert_eq!(requests.may_open(UserId(u64::MAX)), Ok(()));
    }

    #[test]
    fn what_is_done_makes_way_oldest_first_and_what_is_open_never_does() {
        let (mut requests, user) = (Requests::default(), UserId(1));
        for number in 0..MONEY_REQUESTS_PER_USER_MAX {
            requests.open(BUCKET, user, key(number), number);
        }
        assert_eq!(requests.may_open(user), Err(NoPlace::User));
        assert_eq!(requests.may_open(UserId(2)), Ok(()));
        requests.close(user, &key(7), |_| {});
        requests.close(user, &key(3), |_| {});
        let number = requests.open(BUCKET, user, key(100), 100);
        assert_eq!(number, MONEY_REQUESTS_PER_USER_MAX as u64 + 1);
        assert_eq!(requests.by_number(user, number), Some((&key(100), &100)));
        assert_eq!(requests.get(user, &key(3)), None);
        assert_eq!(requests.by_number(user, 4), None, "a number is not used again");
        assert_eq!(requests.get(user, &key(7)), Some(&7));
        assert_eq!(requests.open_ones().count(), MONEY_REQUESTS_PER_USER_MAX - 1);
    }

    /// The operator's balance system knows payouts by user and number.
    #[test]
    fn no_number_is_used_again_whatever_is_forgotten() {
        let (mut requests, user) = (Requests::default(), UserId(1));
        let open = |requests: &mut Requests<()>, user, name| {
            let number = requests.open(BUCKET, user, key(name), ());
            requests.close(user, &key(name), |()| {});
            number
        };
        assert_eq!([1, 2, 3].map(|name| open(&mut requests, user, name)), [1, 2, 3]);
        assert!(requests.forget(BUCKET, user, &key(3)));
        assert_eq!(open(&mut requests, user, 4), 4, "the newest was forgotten before older ones");
        for name in [1, 2, 4] {
            assert!(requests.forget(BUCKET, user, &key(name)));
        }
        assert!(requests.is_empty());
        assert_eq!(open(&mut requests, user, 1), 5);
        assert_eq!(open(&mut requests, UserId(2), 1), 5, "of whom nothing is known");
        assert_eq!(requests.next_number(BucketId(4), UserId(3)), 1, "another bucket");
        let mut moved = Requests::<()>::default();
        moved.adopt_forgotten(BUCKET, requests.forgotten(BUCKET));
        assert_eq!(moved.next_number(BUCKET, user), 5);
    }
}
