//! Requests about money that carry a key, so that one that is repeated happens once.
//!
//! Few users have any, so they stand in a table of their own and not in the user's record. A user's
//! key is known for as long as the request is open, and afterwards until newer ones take its place. So a
//! key may come again and mean another request; a request's *number* among those of its user never does.

use std::collections::BTreeMap;

use crate::base::ids::UserId;
use crate::base::limits::{MONEY_KEY_BYTES_MAX, MONEY_REQUESTS_MAX, MONEY_REQUESTS_PER_USER_MAX};

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

struct Entry<T> {
    /// Among the user's requests of this sort, from 1, never used again: the newest is always kept.
    number: u64,
    is_open: bool,
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
}

impl<T> Default for Requests<T> {
    fn default() -> Requests<T> {
        Requests { entries: BTreeMap::new() }
    }
}

impl<T> Requests<T> {
    pub(crate) fn get(&self, user: UserId, key: &MoneyKey) -> Option<&T> {
        self.entries.get(&(user, key.clone())).map(|entry| &entry.request)
    }

    /// The number of the user's next request.
    pub(crate) fn next_number(&self, user: UserId) -> u64 {
        self.entries_of(user).map(|(_, entry)| entry.number).max().unwrap_or(0) + 1
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
    pub(crate) fn open(&mut self, user: UserId, key: MoneyKey, request: T) -> u64 {
        let number = self.next_number(user);
        assert_eq!(self.may_open(user), Ok(()), "a place is asked for before");
        let (count, oldest) = self.count_and_oldest_closed(user);
        let is_full = count >= MONEY_REQUESTS_PER_USER_MAX;
        if let Some(oldest) = oldest.filter(|_| is_full || self.entries.len() >= MONEY_REQUESTS_MAX)
        {
            self.entries.remove(&(user, oldest));
        }
        self.entries.insert((user, key), Entry { number, is_open: true, request });
        number
    }

    /// Takes in a request as [`Requests::of`] told it. False if it cannot be: there is no place, or one
    /// like it is there.
    pub(crate) fn adopt(&mut self, user: UserId, told: Told<T>) -> bool {
        let Told { key, number, is_open, request } = told;
        let is_known =
            self.number_of(user, &key).is_some() || self.by_number(user, number).is_some();
        let (count, _) = self.count_and_oldest_closed(user);
        let is_full =
            count >= MONEY_REQUESTS_PER_USER_MAX || self.entries.len() >= MONEY_REQUESTS_MAX;
        if number == 0 || is_known || is_full {
            return false;
        }
        self.entries.insert((user, key), Entry { number, is_open, request });
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
            let Entry { number, is_open, request } = entry;
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
    fn what_is_done_makes_way_oldest_first_and_what_is_open_never_does() {
        let (mut requests, user) = (Requests::default(), UserId(1));
        for number in 0..MONEY_REQUESTS_PER_USER_MAX {
            requests.open(user, key(number), number);
        }
        assert_eq!(requests.may_open(user), Err(NoPlace::User));
        assert_eq!(requests.may_open(UserId(2)), Ok(()));
        requests.close(user, &key(7), |_| {});
        requests.close(user, &key(3), |_| {});
        let number = requests.open(user, key(100), 100);
        assert_eq!(number, MONEY_REQUESTS_PER_USER_MAX as u64 + 1);
        assert_eq!(requests.by_number(user, number), Some((&key(100), &100)));
        assert_eq!(requests.get(user, &key(3)), None);
        assert_eq!(requests.by_number(user, 4), None, "a number is not used again");
        assert_eq!(requests.get(user, &key(7)), Some(&7));
        assert_eq!(requests.open_ones().count(), MONEY_REQUESTS_PER_USER_MAX - 1);
    }
}
