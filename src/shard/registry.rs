//! Sessions at the users' home shard: one per user, whatever shard its connection is on.
//!
//! Many small tables in place of one: each grows by a little and so often that nobody notices, and
//! what a user costs is 18 bytes and its share of an index.

use crate::base::bugs::{self, Bug};
use crate::base::hash::Placement;
use crate::base::ids::{ConnId, ShardId, UserId};
use crate::base::pool::{List, Pool};
use crate::base::slots::{IndexPool, SlotIndex};

/// A million users on a shard are a thousand in each table.
const TABLE_COUNT: u64 = 1_024;

/// Sessions that a table makes room for at a time.
const PIECE: usize = 16;

/// Where a user's one session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) shard: ShardId,
    pub(crate) conn: ConnId,
}

/// A session and whose it is. Packed: six bytes are lost to alignment otherwise.
#[derive(Clone, Copy, Default)]
#[repr(Rust, packed(2))]
struct Entry {
    user: UserId,
    shard: ShardId,
    conn: ConnId,
}

const _: () = assert!(size_of::<Entry>() == 18);

#[derive(Default)]
struct Table {
    index: SlotIndex,
    entries: List,
}

/// The sessions of the users that live on this shard.
pub(crate) struct Registry {
    placement: Placement,
    tables: Vec<Table>,
    places: IndexPool,
    entries: Pool<Entry, PIECE>,
    count: usize,
}

impl Registry {
    pub(crate) fn new(placement: Placement) -> Registry {
        let tables = (0..TABLE_COUNT).map(|_| Table::default()).collect();
        let (places, entries) = (IndexPool::default(), Pool::default());
        Registry { placement, tables, places, entries, count: 0 }
    }

    /// The newest wins; the one that it replaces comes back.
    pub(crate) fn open(&mut self, user: UserId, session: Session) -> Option<Session> {
        let hash = self.placement.user_hash(user);
        let entry = Entry { user, shard: session.shard, conn: session.conn };
        if let Some(slot) = self.find(user, hash) {
            let present = self.entries.at_mut(&self.tables[table_of(hash)].entries, slot);
            let older = present.session();
            if bugs::active(Bug::StaleSessionReply) {
                return Some(older);
            }
            *present = entry;
            return (older != session).then_some(older);
        }
        let Table { index, entries } = &mut self.tables[table_of(hash)];
        let slot = slot(entries.len());
        self.entries.push(entries, entry);
        let user_at = |slot: u32| self.entries.at(entries, slot as usize).user;
        let hash_of = |slot: u32| self.placement.user_hash(user_at(slot));
        index.insert(&mut self.places, hash, slot, hash_of);
        self.count += 1;
        None
    }

    /// Ends a session; false if it is not the user's one any more.
    pub(crate) fn close(&mut self, user: UserId, session: Session) -> bool {
        let hash = self.placement.user_hash(user);
        let found = self.find(user, hash);
        let Table { index, entries } = &mut self.tables[table_of(hash)];
        let is_it = |place: &usize| self.entries.at(entries, *place).session() == session;
        let Some(place) = found.filter(is_it) else {
            return false;
        };
        let user_at = |slot: u32| self.entries.at(entries, slot as usize).user;
        let hash_of = |slot: u32| self.placement.user_hash(user_at(slot));
        index.remove(&mut self.places, hash, slot(place), hash_of);
        let last = entries.len() - 1;
        if place != last {
            let moved_hash = hash_of(slot(last));
            index.moved(&mut self.places, moved_hash, slot(last), slot(place));
        }
        self.entries.swap_remove(entries, place);
        self.count -= 1;
        true
    }

    /// The user's session, if it has one.
    pub(crate) fn get(&self, user: UserId) -> Option<Session> {
        let hash = self.placement.user_hash(user);
        let place = self.find(user, hash)?;
        Some(self.entries.at(&self.tables[table_of(hash)].entries, place).session())
    }

    /// Number of users with a session.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn find(&self, user: UserId, hash: u64) -> Option<usize> {
        let Table { index, entries } = &self.tables[table_of(hash)];
        let user_at = |slot: u32| self.entries.at(entries, slot as usize).user;
        let is_it = |slot| user == user_at(slot);
        index.find(&self.places, hash, is_it).map(|slot| slot as usize)
    }
}

impl Entry {
    fn session(&self) -> Session {
        Session { shard: self.shard, conn: self.conn }
    }
}

/// The lower bits of the hash, which the index leaves alone.
fn table_of(hash: u64) -> usize {
    usize::try_from(hash % TABLE_COUNT).unwrap_or(0)
}

fn slot(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
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
