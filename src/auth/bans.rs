//! Users who may not connect, until a moment or until they are let in again.
//!
//! Unlike a revocation, a ban is of a user and not of tokens: whatever token the user brings. It is
//! bounded and in memory, like the revocations: the shard has each on record, and puts it into this
//! table again after a restart, in any order.

use std::collections::BTreeMap;

use crate::base::ids::UserId;

/// The end of a ban that has none.
pub const UNTIL_LIFTED: i64 = i64::MAX;

/// Who is banned, and until when.
#[derive(Debug, Default)]
pub struct Bans {
    until_unix_s: BTreeMap<UserId, i64>,
}

impl Bans {
    /// Bans a user until then, Unix seconds, in place of an earlier ban.
    pub fn ban(&mut self, user: UserId, until_unix_s: i64) {
        self.until_unix_s.insert(user, until_unix_s);
    }

    /// Lifts a ban.
    pub fn lift(&mut self, user: UserId) {
        self.until_unix_s.remove(&user);
    }

    /// Until when a user is banned, if that is not over.
    #[must_use]
    pub fn until(&self, user: UserId, now_unix_s: i64) -> Option<i64> {
        self.until_unix_s.get(&user).copied().filter(|until| now_unix_s < *until)
    }

    /// Whether there is a ban of this user, perhaps over.
    #[must_use]
    pub fn contains(&self, user: UserId) -> bool {
        self.until_unix_s.contains_key(&user)
    }

    /// Bans of users behind `after` that are not over, in the order of users.
    pub fn list(&self, after: UserId, now_unix_s: i64) -> impl Iterator<Item = (UserId, i64)> {
        let bans =
            self.until_unix_s.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        bans.map(|(user, until)| (*user, *until)).filter(move |(_, until)| now_unix_s < *until)
    }

    /// How many there are, those that are over included unless [`Self::forget_over`] was called.
    #[must_use]
    pub fn count(&self) -> usize {
        self.until_unix_s.len()
    }

    /// Forgets those that are over.
    pub fn forget_over(&mut self, now_unix_s: i64) {
        self.until_unix_s.retain(|_, until| now_unix_s < *until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends_or_is_lifted() {
        let mut bans = Bans::default();
        bans.ban(UserId(5), 100);
        bans.ban(UserId(6), UNTIL_LIFTED);
        bans.ban(UserId(7), 50);
        assert_eq!(bans.until(UserId(5), 99), Some(100));
        assert_eq!(bans.until(UserId(5), 100), None);
        assert_eq!(bans.until(UserId(8), 0), None);
        let listed = |bans: &Bans, after| bans.list(UserId(after), 60).collect::<Vec<_>>();
        assert_eq!(listed(&bans, 0), [(UserId(5), 100), (UserId(6), UNTIL_LIFTED)]);
        assert_eq!(listed(&bans, 5), [(UserId(6), UNTIL_LIFTED)]);
        bans.forget_over(60);
        assert_eq!(bans.count(), 2);
        bans.lift(UserId(6));
        assert_eq!(bans.until(UserId(6), 0), None);
    }
}
