//! Who is logged in: in memory, bounded, and over after a time.
//!
//! A session is known by 256 random bits in a cookie. What is kept is the hash of them, so that
//! looking it up tells nothing about others. Its token goes with each change, because a cookie is sent
//! by the browser whoever caused the request.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::base::entropy::Entropy;
use crate::base::hex;
use crate::base::time::Time;
use crate::ops::console::accounts::{Account, Accounts, Role};

/// Sessions of all accounts; beyond it, the one that was silent longest makes way.
const SESSIONS_MAX: usize = 256;
/// Sessions of one account.
const ACCOUNT_SESSIONS_MAX: usize = 16;
/// Bytes of an id and of a token.
const ID_BYTES: usize = 32;

/// How long sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Without a request.
    pub idle: Duration,
    /// In all.
    pub whole: Duration,
}

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name of the account.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What each change must carry.
    pub token: String,
    /// The account as it was at login: another one ends the session.
    account: Account,
    begun: Time,
    seen: Time,
}

impl Session {
    /// Whether `token` is the session's, in the same time whatever it is.
    #[must_use]
    pub fn has_token(&self, token: &[u8]) -> bool {
        bool::from(self.token.as_bytes().ct_eq(token))
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    lifetimes: Lifetimes,
    by_hash: BTreeMap<[u8; 32], Session>,
}

impl Sessions {
    /// None yet.
    #[must_use]
    pub fn new(lifetimes: Lifetimes) -> Sessions {
        Sessions { lifetimes, by_hash: BTreeMap::new() }
    }

    /// Begins one: its id, for the cookie.
    pub fn begin(
        &mut self,
        name: &str,
        account: Account,
        now: Time,
        entropy: &mut dyn Entropy,
    ) -> (String, Session) {
        self.forget_old(now);
        if self.by_hash.values().filter(|it| it.name == name).count() >= ACCOUNT_SESSIONS_MAX {
            self.end_quietest(|it| it.name == name);
        }
        if self.by_hash.len() >= SESSIONS_MAX {
            self.end_quietest(|_| true);
        }
        let mut random = || {
            let mut bytes = [0; ID_BYTES];
            entropy.fill(&mut bytes);
            hex::encode(&bytes)
        };
        let (id, token) = (random(), random());
        let session = Session {
            name: name.to_owned(),
            role: account.role,
            token,
            account,
            begun: now,
            seen: now,
        };
        self.by_hash.insert(hash(&id), session.clone());
        (id, session)
    }

    /// The session of a cookie, unless its time is over.
    pub fn find(&mut self, id: &str, now: Time) -> Option<Session> {
        self.forget_old(now);
        let session = self.by_hash.get_mut(&hash(id))?;
        session.seen = now;
        Some(session.clone())
    }

    /// Ends the session of a cookie.
    pub fn end(&mut self, id: &str) {
        self.by_hash.remove(&hash(id));
    }

    /// Ends those whose account is gone, or has another password or role.
    pub fn keep_those_of(&mut self, accounts: &Accounts) {
        self.by_hash.retain(|_, session| accounts.get(&session.name) == Some(&session.account));
    }

    /// For how long the browser keeps a cookie.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.lifetimes.whole
    }

    fn end_quietest(&mut self, among: impl Fn(&Session) -> bool) {
        let sessions = self.by_hash.iter().filter(|(_, it)| among(it));
        let quietest = sessions.min_by_key(|(_, it)| it.seen).map(|(hash, _)| *hash);
        if let Some(hash) = quietest {
            self.by_hash.remove(&hash);
        }
    }

    fn forget_old(&mut self, now: Time) {
        let Lifetimes { idle, whole } = self.lifetimes;
        self.by_hash.retain(|_, it| now.since(it.seen) < idle && now.since(it.begun) < whole);
    }
}

fn hash(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::ops::console::accounts::HashedPassword;

    fn account(role: Role) -> Account {
        let mut entropy = SeededEntropy::new(2, 2);
        let password = HashedPassword::new(b"twelve bytes or more", &mut entropy);
        Account { role, password: password.expect("long enough") }
    }

    fn sessions() -> (Sessions, SeededEntropy) {
        let lifetimes =
            Lifetimes { idle: Duration::from_secs(60), whole: Duration::from_secs(300) };
        (Sessions::new(lifetimes), SeededEntropy::new(3, 3))
    }

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    #[test]
    fn a_session_ends_when_it_is_silent_and_when_it_is_old() {
        let (mut sessions, mut entropy) = sessions();
        let (id, session) = sessions.begin("anna", account(Role::Viewer), at(0), &mut entropy);
        assert_eq!((id.len(), session.token.len()), (64, 64));
        assert!(session.has_token(session.token.as_bytes()) && !session.has_token(b""));
        assert!(!session.has_token(id.as_bytes()), "the cookie is no token");
        assert!(sessions.find(&session.token, at(1)).is_none(), "nor the token a cookie");
        for second in (0..300).step_by(50) {
            assert!(sessions.find(&id, at(second)).is_some(), "{second}");
        }
        assert!(sessions.find(&id, at(300)).is_none(), "too old");
        let (id, _) = sessions.begin("anna", account(Role::Viewer), at(400), &mut entropy);
        assert!(sessions.find(&id, at(460)).is_none(), "too long silent");
        let (id, _) = sessions.begin("anna", account(Role::Viewer), at(500), &mut entropy);
        sessions.end(&id);
        assert!(sessions.find(&id, at(500)).is_none(), "logged out");
    }

    #[test]
    fn the_quietest_makes_way_and_none_outlives_its_account() {
        let (mut sessions, mut entropy) = sessions();
        let ids: Vec<String> = (0..=ACCOUNT_SESSIONS_MAX as u64)
            .map(|ms| {
                let now = Time::from_millis(ms);
                sessions.begin("anna", account(Role::Viewer), now, &mut entropy).0
            })
            .collect();
        assert!(sessions.find(&ids[0], at(1)).is_none());
        assert!(sessions.find(&ids[1], at(1)).is_some());
        for number in 0..SESSIONS_MAX {
            let name = number.to_string();
            sessions.begin(&name, account(Role::Viewer), at(2), &mut entropy);
        }
        assert_eq!(sessions.by_hash.len(), SESSIONS_MAX);
        let mut accounts = Accounts::default();
        accounts.add("7", account(Role::Viewer), false).expect("added");
        accounts.add("8", account(Role::Administrator), false).expect("added");
        sessions.keep_those_of(&accounts);
        assert_eq!(sessions.by_hash.len(), 1, "8 has another role now");
    }
}
