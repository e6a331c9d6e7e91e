//! Sessions at the users' home shard: one per user, whatever shard its connection is on.
//!
//! Many small tables in place of one: each grows by a little and so often that nobody notices, and
//! what a user costs is 20 bytes and its share of an index.

use crate::base::bugs::{self, Bug};
use crate::base::hash::Placement;
use crate::base::ids::{ConnId, ShardId, UserId};
use crate::base::slots::{SlotIndex, push_tightly};

/// A million users on a shard are a thousand in each table.
const TABLE_COUNT: u64 = 1_024;

/// Where a user's one session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) shard: ShardId,
    pub(crate) conn: ConnId,
}

/// A session and whose it is. The id in two halves: else four more bytes were lost to alignment.
#[derive(Clone, Copy)]
struct Entry {
    user: [u32; 2],
    session: Session,
}

const _: () = assert!(size_of::<Entry>() == 20);

#[derive(Default)]
struct Table {
    index: SlotIndex,
    entries: Vec<Entry>,
}

/// The sessions of the users that live on this shard.
pub(crate) struct Registry {
    placement: Placement,
    tables: Vec<Table>,
    count: usize,
}

impl Registry {
    pub(crate) fn new(placement: Placement) -> Registry {
        let tables = (0..TABLE_COUNT).map(|_| Table::default()).collect();
        Registry { placement, tables, count: 0 }
    }

    /// The newest wins; the one that it replaces comes back.
    pub(crate) fn open(&mut self, user: UserId, session: Session) -> Option<Session> {
        let hash = self.placement.user_hash(user);
        let Table { index, entries } = &mut self.tables[table_of(hash)];
        if let Some(slot) = find(index, entries, user, hash) {
            let present = &mut entries[slot].session;
            if bugs::active(Bug::StaleSessionReply) {
                return Some(*present);
            }
            let older = std::mem::replace(present, session);
            return (older != session).then_some(older);
        }
        let slot = slot(entries.len());
        push_tightly(entries, Entry { user: halves(user), session });
        let hash_of = |slot: u32| self.placement.user_hash(entries[slot as usize].user());
        index.insert(hash, slot, hash_of);
        self.count += 1;
        None
    }

    /// Ends a session; false if it is not the user's one any more.
    pub(crate) fn close(&mut self, user: UserId, session: Session) -> bool {
        let hash = self.placement.user_hash(user);
        let Table { index, entries } = &mut self.tables[table_of(hash)];
        let found = find(index, entries, user, hash);
        let Some(place) = found.filter(|place| entries[*place].session == session) else {
            return false;
        };
        let hash_of = |slot: u32| self.placement.user_hash(entries[slot as usize].user());
        index.remove(hash, slot(place), hash_of);
        entries.swap_remove(place);
        if let Some(moved) = entries.get(place) {
            let moved_hash = self.placement.user_hash(moved.user());
            index.moved(moved_hash, slot(entries.len()), slot(place));
        }
        self.count -= 1;
        true
    }

    /// The user's session, if it has one.
    pub(crate) fn get(&self, user: UserId) -> Option<Session> {
        let hash = self.placement.user_hash(user);
        let Table { index, entries } = &self.tables[table_of(hash)];
        find(index, entries, user, hash).map(|place| entries[place].session)
    }

    /// Number of users with a session.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Entry {
    fn user(&self) -> UserId {
        UserId(u64::from(self.user[0]) << 32 | u64::from(self.user[1]))
    }
}

fn find(index: &SlotIndex, entries: &[Entry], user: UserId, hash: u64) -> Option<usize> {
    index.find(hash, |slot| entries[slot as usize].user() == user).map(|slot| slot as usize)
}

/// The lower bits of the hash, which the index leaves alone.
fn table_of(hash: u64) -> usize {
    usize::try_from(hash % TABLE_COUNT).unwrap_or(0)
}

fn slot(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn halves(user: UserId) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = user.0.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::PlacementKey;

    fn registry() -> Registry {
        Registry::new(Placement::new(PlacementKey([0; 16]), 8, 1))
    }

    #[test]
    fn a_late_close_of_an_older_session_ends_nothing() {
        let mut registry = registry();
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

    #[test]
    fn whoever_leaves_leaves_the_others_where_they_are() {
        let mut registry = registry();
        let session =
            |user: u32| Session { shard: ShardId(0), conn: ConnId { place: user, generation: 1 } };
        let id = |user: u32| UserId(u64::from(user) << 30 | 7);
        for user in 0..10_000 {
            assert_eq!(registry.open(id(user), session(user)), None);
        }
        for user in (0..10_000).step_by(3) {
            assert!(registry.close(id(user), session(user)));
        }
        for user in 0..10_000 {
            assert_eq!(registry.get(id(user)), (user % 3 != 0).then(|| session(user)), "{user}");
        }
        assert_eq!(registry.count(), 6_666);
    }
}
