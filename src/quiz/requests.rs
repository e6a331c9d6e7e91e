//! Requests about money that carry a key, so that one that is repeated happens once.
//!
//! Few users have any, so they stand in a table of their own and not in the user's record. A user's
//! key is known for as long as the request is open; afterwards for a day, for an hour where there are
//! many, and until newer ones of the user take its place. What is forgotten because of its age is on
//! record: doing the records again must find the same keys taken, and knows nothing of ages.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use crate::base::ids::UserId;
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
    /// The older, the smaller.
    number: u64,
    is_open: bool,
    /// When a sweep found it done first: in this process, so that a restart keeps it for longer.
    done_since: Option<Time>,
    request: T,
}

/// The requests of one sort on one shard.
pub(crate) struct Requests<T> {
    entries: BTreeMap<(UserId, MoneyKey), Entry<T>>,
    last: u64,
    /// Where the next sweep goes on.
    swept: Option<(UserId, MoneyKey)>,
}

impl<T> Default for Requests<T> {
    fn default() -> Requests<T> {
        Requests { entries: BTreeMap::new(), last: 0, swept: None }
    }
}

impl<T> Requests<T> {
    pub(crate) fn get(&self, user: UserId, key: &MoneyKey) -> Option<&T> {
        self.entries.get(&(user, key.clone())).map(|entry| &entry.request)
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

    /// Enters a request; the user's oldest one that is done makes way if there are too many.
    ///
    /// # Panics
    /// If there is no place: ask before.
    pub(crate) fn open(&mut self, user: UserId, key: MoneyKey, request: T) {
        assert_eq!(self.may_open(user), Ok(()), "a place is asked for before");
        let (count, oldest) = self.count_and_oldest_closed(user);
        let is_full = count >= MONEY_REQUESTS_PER_USER_MAX;
        if let Some(oldest) = oldest.filter(|_| is_full || self.entries.len() >= MONEY_REQUESTS_MAX)
        {
            self.entries.remove(&(user, oldest));
        }
        self.last += 1;
        let entry = Entry { number: self.last, is_open: true, done_since: None, request };
        self.entries.insert((user, key), entry);
    }

    /// Takes in a request that is known from an image, behind those of the user that are older: also
    /// where shards that became one have more than one shard keeps.
    pub(crate) fn adopt(&mut self, user: UserId, key: MoneyKey, request: T, is_open: bool) {
        self.last += 1;
        let entry = Entry { number: self.last, is_open, done_since: None, request };
        self.entries.insert((user, key), entry);
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
    pub(crate) fn forget(&mut self, user: UserId, key: &MoneyKey) -> bool {
        let place = (user, key.clone());
        let is_done = self.entries.get(&place).is_some_and(|entry| !entry.is_open);
        is_done && self.entries.remove(&place).is_some()
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

    /// A user's requests in the order in which they came, and whether each is open.
    pub(crate) fn of(&self, user: UserId) -> Vec<(&MoneyKey, &T, bool)> {
        let mut found: Vec<_> = self.entries_of(user).collect();
        found.sort_unstable_by_key(|(_, entry)| entry.number);
        found.into_iter().map(|(key, entry)| (key, &entry.request, entry.is_open)).collect()
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
            requests.open(user, key(1), ());
            requests.open(user, key(2), ());
            requests.close(user, &key(1), |()| {});
        }
        let sweep = |requests: &mut Requests<()>, now: Time| {
            let mut forgotten = 0;
            for _ in 0..21 {
                for (user, key) in requests.sweep(now, 10) {
                    assert!(requests.forget(user, &key));
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
        assert!(!requests.forget(UserId(3), &key(2)), "it is open");
    }

    #[test]
    fn shards_that_become_one_may_have_more_requests_than_one_takes() {
        let mut requests = Requests::default();
        for number in 0..=MONEY_REQUESTS_MAX as u64 {
            requests.adopt(UserId(number), key(1), (), number % 2 == 0);
        }
        assert_eq!(requests.may_open(UserId(u64::MAX)), Err(NoPlace::Shard));
        // Where there are many, an hour is enough.
        let (begun, all) = (Time::ZERO, usize::MAX);
        assert!(requests.sweep(begun, all).is_empty());
        for (user, key) in requests.sweep(begun + REQUESTS_KEPT_CROWDED, all) {
            requests.forget(user, &key);
        }
        assert_eq!(requests.may_open(UserId(u64::MAX)), Ok(()));
    }

    #[test]
    fn what_is_done_makes_way_oldest_first_and_what_is_open_never_does() {
        let (mut requests, user) = (Requests::default(), UserId(1));
        for number in 0..MONEY_REQUESTS_PER_USER_MAX {
            requests.open(user, key(number), number);
        }
        assert_eq!(requests.may_open(user), Err(NoPlace::User));
        assert_eq!(requests.may_open(UserId(2)), Ok(()));
        requests.close(user, &key(7), |_| {});
        requests.close(user, &key(3), |_| {});
        requests.open(user, key(100), 100);
        assert_eq!(requests.get(user, &key(3)), None);
        assert_eq!(requests.get(user, &key(7)), Some(&7));
        assert_eq!(requests.open_ones().count(), MONEY_REQUESTS_PER_USER_MAX - 1);
    }
}
