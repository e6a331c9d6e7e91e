//! Tokens that are refused although they are valid: those of a user up to a moment, and single ones
//! by their name.
//!
//! Bounded, and an entry is kept only until every token that it could refuse has expired. That is
//! known because no token lives longer than the setting says. Deliberately absent: connections that
//! are already open (the shard's), and storage: the shard has it on record what became of each
//! revocation, and puts it into this table again after a restart, in any order.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::base::ids::UserId;
use crate::base::limits::REVOCATIONS_MAX;

/// What is revoked. The same one twice is like once, so it may be repeated at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// All tokens of a user that were issued until a moment.
    User {
        /// Whose.
        user: UserId,
        /// `iat` of the last token that is revoked, Unix seconds; nothing: now.
        issued_until_unix_s: Option<i64>,
        /// Until then, Unix seconds, newer tokens are refused as well; nothing: as before.
        refused_until_unix_s: Option<i64>,
    },
    /// One token.
    Token {
        /// Its `jti`.
        id: String,
        /// Its `exp`, Unix seconds, if it is known: nothing is kept for longer.
        expires_unix_s: Option<i64>,
    },
}

/// There are as many revocations as can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{REVOCATIONS_MAX} revocations are kept, and none of them is over yet; to end all tokens at \
     once change the key that they are signed with"
)]
pub struct TooManyRevocations;

/// How long tokens can live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// From `iat` to `exp`, seconds, at most.
    pub lifetime_max_s: u32,
    /// By how much a token outlives its `exp`, seconds.
    pub leeway_s: u32,
}

/// All revocations that can still matter.
pub struct Revocations {
    lifetimes: Lifetimes,
    users: BTreeMap<UserId, UserRevocation>,
    /// By a keyed hash of their name: until when each is kept, Unix seconds.
    tokens: BTreeMap<u64, i64>,
}

/// Which tokens of a user are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRevocation {
    /// `iat` of the last one that is revoked, Unix seconds.
    pub issued_until_unix_s: i64,
    /// Until then, Unix seconds, newer ones are refused as well.
    pub refused_until_unix_s: i64,
    /// Until then, Unix seconds, it can matter.
    pub kept_until_unix_s: i64,
}

impl UserRevocation {
    /// What either refuses.
    #[must_use]
    pub fn union(self, other: UserRevocation) -> UserRevocation {
        UserRevocation {
            issued_until_unix_s: self.issued_until_unix_s.max(other.issued_until_unix_s),
            refused_until_unix_s: self.refused_until_unix_s.max(other.refused_until_unix_s),
            kept_until_unix_s: self.kept_until_unix_s.max(other.kept_until_unix_s),
        }
    }
}

/// What is known of a token when it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Whose it is.
    pub user: UserId,
    /// `iat`. A token without it counts as issued before every revocation.
    pub issued_unix_s: Option<i64>,
    /// A keyed hash of `jti`.
    pub token_id: Option<u64>,
}

impl Revocations {
    /// None.
    #[must_use]
    pub fn new(lifetimes: Lifetimes) -> Revocations {
        Revocations { lifetimes, users: BTreeMap::new(), tokens: BTreeMap::new() }
    }

    /// Remembers a [`Revocation::User`], and says what is refused from now on. Of two moments the
    /// later one stays.
    ///
    /// # Errors
    /// There are too many; nothing was changed.
    pub fn revoke_user(
        &mut self,
        user: UserId,
        issued_until_unix_s: Option<i64>,
        refused_until_unix_s: Option<i64>,
        now_unix_s: i64,
    ) -> Result<UserRevocation, TooManyRevocations> {
        let older = self.users.get(&user).copied();
        if older.is_none() {
            self.make_room(now_unix_s)?;
        }
        // The issuer's clock may be ahead of ours, but by no more than the leeway.
        let latest = now_unix_s.saturating_add(i64::from(self.lifetimes.leeway_s));
        let issued_until = issued_until_unix_s.unwrap_or(now_unix_s).min(latest);
        let issued_until =
            older.map_or(issued_until, |it| it.issued_until_unix_s.max(issued_until));
        let refused_until = refused_until_unix_s.or(older.map(|it| it.refused_until_unix_s));
        let refused_until = refused_until.unwrap_or(i64::MIN);
        let entry = UserRevocation {
            issued_until_unix_s: issued_until,
            refused_until_unix_s: refused_until,
            kept_until_unix_s: self.last_use(issued_until).max(refused_until),
        };
        self.users.insert(user, entry);
        Ok(entry)
    }

    /// Remembers again what was revoked before a restart, whatever there is of others.
    pub fn restore_user(&mut self, user: UserId, entry: UserRevocation) {
        // Tokens may live longer by now than when it was revoked.
        let last_use = self.last_use(entry.issued_until_unix_s);
        let kept_until_unix_s = entry.kept_until_unix_s.max(last_use);
        self.users.insert(user, UserRevocation { kept_until_unix_s, ..entry });
    }

    /// The same of a token.
    pub fn restore_token(&mut self, id: u64, kept_until_unix_s: i64) {
        self.tokens.insert(id, kept_until_unix_s);
    }

    /// Remembers a [`Revocation::Token`] by a keyed hash of its name, and says until when, Unix
    /// seconds.
    ///
    /// # Errors
    /// There are too many; nothing was changed.
    pub fn revoke_token(
        &mut self,
        id: u64,
        expires_unix_s: Option<i64>,
        now_unix_s: i64,
    ) -> Result<i64, TooManyRevocations> {
        let older = self.tokens.get(&id).copied();
        if older.is_none() {
            self.make_room(now_unix_s)?;
        }
        let kept_until = match expires_unix_s {
            Some(expires) => expires.saturating_add(i64::from(self.lifetimes.leeway_s)),
            None => self.last_use(now_unix_s),
        };
        let kept_until = older.map_or(kept_until, |older| older.max(kept_until));
        self.tokens.insert(id, kept_until);
        Ok(kept_until)
    }

    /// When the last token that was issued at a moment is gone, Unix seconds.
    fn last_use(&self, issued_unix_s: i64) -> i64 {
        let Lifetimes { lifetime_max_s, leeway_s } = self.lifetimes;
        issued_unix_s.saturating_add(i64::from(lifetime_max_s) + i64::from(leeway_s))
    }

    /// Whether a token is revoked.
    #[must_use]
    pub fn refuses(&self, subject: Subject, now_unix_s: i64) -> bool {
        let of_user = self.users.get(&subject.user).is_some_and(|entry| {
            let issued = subject.issued_unix_s;
            issued.is_none_or(|issued| issued <= entry.issued_until_unix_s)
                || now_unix_s < entry.refused_until_unix_s
        });
        of_user || subject.token_id.is_some_and(|id| self.tokens.contains_key(&id))
    }

    /// Number of revocations that are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.users.len() + self.tokens.len()
    }

    /// Forgets those that are over, where there are too many.
    fn make_room(&mut self, now_unix_s: i64) -> Result<(), TooManyRevocations> {
        if self.count() >= REVOCATIONS_MAX {
            self.users.retain(|_, entry| now_unix_s < entry.kept_until_unix_s);
            self.tokens.retain(|_, kept_until| now_unix_s < *kept_until);
        }
        if self.count() < REVOCATIONS_MAX { Ok(()) } else { Err(TooManyRevocations) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const LIFETIMES: Lifetimes = Lifetimes { lifetime_max_s: 3_600, leeway_s: 5 };
    const USER: UserId = UserId(7);

    fn issued(issued_unix_s: Option<i64>) -> Subject {
        Subject { user: USER, issued_unix_s, token_id: None }
    }

    #[test]
    fn a_user_loses_the_tokens_of_before_and_only_those() {
        let mut revocations = Revocations::new(LIFETIMES);
        revocations.revoke_user(USER, None, None, NOW).unwrap();
        for (subject, refused) in [
            (issued(Some(NOW - 1)), true),
            (issued(Some(NOW)), true),
            (issued(Some(NOW + 1)), false),
            (issued(None), true),
            (Subject { user: UserId(8), ..issued(None) }, false),
        ] {
            assert_eq!(revocations.refuses(subject, NOW), refused, "{subject:?}");
        }
    }

    #[test]
    fn newer_tokens_can_be_refused_for_a_time_and_taken_again_earlier() {
        let mut revocations = Revocations::new(LIFETIMES);
        revocations.revoke_user(USER, None, Some(NOW + 60), NOW).unwrap();
        let newer = issued(Some(NOW + 10));
        assert!(revocations.refuses(newer, NOW + 59));
        assert!(!revocations.refuses(newer, NOW + 60));
        // Repeated without a word about it, it stays; with 0 it is lifted.
        revocations.revoke_user(USER, Some(NOW - 9), None, NOW).unwrap();
        assert!(revocations.refuses(newer, NOW + 59));
        revocations.revoke_user(USER, Some(NOW - 9), Some(0), NOW).unwrap();
        assert!(!revocations.refuses(newer, NOW + 20));
        assert!(revocations.refuses(issued(Some(NOW)), NOW), "the later moment stays");
    }

    #[test]
    fn nobody_revokes_the_future() {
        let mut revocations = Revocations::new(LIFETIMES);
        revocations.revoke_user(USER, Some(i64::MAX), None, NOW).unwrap();
        assert!(revocations.refuses(issued(Some(NOW + 5)), NOW));
        assert!(!revocations.refuses(issued(Some(NOW + 6)), NOW));
    }

    #[test]
    fn a_token_is_revoked_by_its_name() {
        let mut revocations = Revocations::new(LIFETIMES);
        revocations.revoke_token(3, None, NOW).unwrap();
        let named = |token_id| Subject { token_id, ..issued(Some(NOW + 9)) };
        assert!(revocations.refuses(named(Some(3)), NOW));
        assert!(!revocations.refuses(named(Some(4)), NOW));
        assert!(!revocations.refuses(named(None), NOW));
    }

    #[test]
    fn what_is_over_makes_way_and_nothing_else_does() {
        let mut revocations = Revocations::new(LIFETIMES);
        for id in 2..REVOCATIONS_MAX as u64 {
            revocations.revoke_token(id, Some(NOW + 100), NOW).unwrap();
        }
        revocations.revoke_token(0, None, NOW).unwrap();
        revocations.revoke_user(USER, None, None, NOW).unwrap();
        let full = revocations.revoke_token(1, None, NOW + 104);
        assert_eq!((full, revocations.count()), (Err(TooManyRevocations), REVOCATIONS_MAX));
        assert!(revocations.revoke_token(2, None, NOW + 104).is_ok(), "no place is needed");
        revocations.revoke_token(1, None, NOW + 105).unwrap();
        assert_eq!(revocations.count(), 4);
        assert!(revocations.refuses(issued(Some(NOW)), NOW + 105));
    }
}
