//! Sessions at the users' home shard: one per user, whatever shard its connection is on.

use crate::base::bugs::{self, Bug};
use crate::base::hash::{IdMap, PlacementKey};
use crate::base::ids::{ConnId, ShardId, UserId};

/// Where a user's one session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) shard: ShardId,
    pub(crate) conn: ConnId,
}

/// The sessions of the users that live on this shard.
pub(crate) struct Registry {
    sessions: IdMap<UserId, Session>,
}

impl Registry {
    pub(crate) fn new(key: PlacementKey) -> Registry {
        Registry { sessions: IdMap::with_hasher(key) }
    }

    /// The newest wins; the one that it replaces comes back.
    pub(crate) fn open(&mut self, user: UserId, session: Session) -> Option<Session> {
        if bugs::active(Bug::StaleSessionReply)
            && let Some(older) = self.sessions.get(&user)
        {
            return Some(*older);
        }
        self.sessions.insert(user, session).filter(|older| *older != session)
    }

    /// Ends a session; false if it is not the user's one any more.
    pub(crate) fn close(&mut self, user: UserId, session: Session) -> bool {
        let current = self.sessions.get(&user) == Some(&session);
        if current {
            self.sessions.remove(&user);
        }
        current
    }

    /// The user's session, if it has one.
    pub(crate) fn get(&self, user: UserId) -> Option<Session> {
        self.sessions.get(&user).copied()
    }

    /// Number of users with a session.
    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_close_of_an_older_session_ends_nothing() {
        let mut registry = Registry::new(PlacementKey([0; 16]));
        let on = |shard, generation| Session {
            shard: ShardId(shard),
            conn: ConnId { place: 5, generation },
        };
        let user = UserId(7);
        assert_eq!(registry.open(user, on(0, 1)), None);
        assert_eq!(registry.open(user, on(1, 1)), Some(on(0, 1)));
        assert!(!registry.close(user, on(0, 1)));
        assert_eq!(registry.get(user), Some(on(1, 1)));
        assert!(registry.close(user, on(1, 1)));
        assert_eq!(registry.count(), 0);
    }
}
