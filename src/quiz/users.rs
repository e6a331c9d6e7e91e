//! The users of one shard's buckets: what belongs to the deployment and not to a show.
//!
//! Cards and balance stand here once, for all shows, so that one card cannot be spent twice. Users
//! get a place in their bucket when they are first seen, and keep it: shows index their players by
//! it. Nothing here says what a player *may know* of it; see [`crate::quiz::local`].

use std::hint::black_box;

use crate::base::hash::Placement;
use crate::base::ids::{BucketId, ShardId, UserId};
use crate::base::limits::SHARD_USERS_MAX;
use crate::base::pool::{List, Pool};
use crate::base::slots::{IndexPool, SLOTS_MAX, SlotIndex};
use crate::quiz::money::Cents;

/// What a bucket knows of one of its users, in all shows. Packed: six bytes of a million users are
/// lost to alignment otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(Rust, packed(2))]
pub struct UserEntry {
    /// Who.
    pub user: UserId,
    /// What the user has won and not drawn, never negative.
    pub balance: Cents,
    /// Revive cards held and not used; at most [`crate::base::limits::REVIVE_CARDS_MAX`].
    pub cards: u8,
    /// The most questions this user ever passed in one show, as far as it cannot be voided.
    pub best_passed: u8,
}

const _: () = assert!(size_of::<UserEntry>() == 18);
const _: () = assert!(SHARD_USERS_MAX <= SLOTS_MAX as usize);

/// Users that are looked up in one go by [`Users::find_each`]: a core has some ten to twenty reads
/// of memory under way at once.
pub const WARMED: usize = 16;

/// A user's place in its bucket; dense, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// Where a user's entry is: the bucket's place among this shard's, and the slot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPlace {
    /// Place among the buckets of this shard, see [`Users::buckets`].
    pub bucket: usize,
    /// Place in that bucket.
    pub slot: Slot,
}

/// Entries that a bucket makes room for at a time: a bucket of a thousand leaves eight of them
/// empty on average.
const PIECE: usize = 16;

#[derive(Default)]
struct Bucket {
    index: SlotIndex,
    entries: List,
}

/// Where the entries of all buckets are.
#[derive(Default)]
struct Memory {
    places: IndexPool,
    entries: Pool<UserEntry, PIECE>,
}

/// All users of a shard's buckets.
pub struct Users {
    placement: Placement,
    shard: ShardId,
    ids: Vec<BucketId>,
    buckets: Vec<Bucket>,
    memory: Memory,
    count: usize,
}

impl Users {
    /// Nobody yet, in the buckets that live on `shard`.
    #[must_use]
    pub fn new(shard: ShardId, placement: Placement) -> Users {
        let ids: Vec<BucketId> = (0..placement.bucket_count())
            .map(BucketId)
            .filter(|bucket| bucket.home(placement.shard_count()) == shard)
            .collect();
        let buckets = ids.iter().map(|_| Bucket::default()).collect();
        Users { placement, shard, ids, buckets, memory: Memory::default(), count: 0 }
    }

    /// The buckets of this shard, ascending.
    #[must_use]
    pub fn buckets(&self) -> &[BucketId] {
        &self.ids
    }

    /// The place of a bucket among [`Users::buckets`]; nothing for one that lives elsewhere.
    #[must_use]
    pub fn place_of(&self, bucket: BucketId) -> Option<usize> {
        self.ids.binary_search(&bucket).ok()
    }

    /// How many users are known in the bucket at `place`: their slots go up to it.
    #[must_use]
    pub fn count_in(&self, place: usize) -> u32 {
        u32::try_from(self.buckets[place].entries.len()).expect("slots are numbered in 32 bits")
    }

    /// How many users are known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The shard whose users these are.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Where things live.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The place of a user who has been seen before.
    ///
    /// # Panics
    /// If the user lives on another shard: mail was posted to the wrong place.
    #[must_use]
    pub fn find(&self, user: UserId) -> Option<UserPlace> {
        let hash = self.placement.user_hash(user);
        let bucket = self.bucket_place(user, hash);
        let slot = self.buckets[bucket].find(&self.memory, user, hash)?;
        Some(UserPlace { bucket, slot })
    }

    /// The places of up to [`WARMED`] users, in their order. Each step is taken for all of them
    /// before the next one: their ways to memory are one wait, where [`Users::find`] waits for each.
    ///
    /// # Panics
    /// If there are more, or one lives on another shard.
    #[must_use]
    pub fn find_each(&self, users: &[UserId]) -> [Option<UserPlace>; WARMED] {
        let mut found = [None; WARMED];
        let mut hashes = [0; WARMED];
        let mut homes = [0; WARMED];
        for (at, user) in users.iter().enumerate() {
            hashes[at] = self.placement.user_hash(*user);
            homes[at] = self.bucket_place(*user, hashes[at]);
        }
        let mut read = 0;
        for (hash, bucket) in hashes.iter().zip(homes).take(users.len()) {
            read ^= self.buckets[bucket].index.warm(&self.memory.places, *hash);
        }
        black_box(read);
        for (at, user) in users.iter().enumerate() {
            let bucket = homes[at];
            let slot = self.buckets[bucket].find(&self.memory, *user, hashes[at]);
            found[at] = slot.map(|slot| UserPlace { bucket, slot });
        }
        found
    }

    /// The place of a user, who is entered if not seen before; nothing if this shard is full.
    ///
    /// # Panics
    /// If the user lives on another shard.
    pub fn enter(&mut self, user: UserId) -> Option<UserPlace> {
        let hash = self.placement.user_hash(user);
        let bucket = self.bucket_place(user, hash);
        let home = &mut self.buckets[bucket];
        if let Some(slot) = home.find(&self.memory, user, hash) {
            return Some(UserPlace { bucket, slot });
        }
        if self.count == SHARD_USERS_MAX {
            return None;
        }
        let slot = Slot(u32::try_from(home.entries.len()).ok()?);
        let Bucket { index, entries } = home;
        let entry = UserEntry { user, balance: Cents::ZERO, cards: 0, best_passed: 0 };
        let memory = &mut self.memory;
        memory.entries.push(entries, entry);
        let user_at = |slot| memory.entries.at(entries, Slot(slot).index()).user;
        let hash_of = |slot| self.placement.user_hash(user_at(slot));
        index.insert(&mut memory.places, hash, slot.0, hash_of);
        self.count += 1;
        Some(UserPlace { bucket, slot })
    }

    /// The entry at `place`.
    #[must_use]
    pub fn entry(&self, place: UserPlace) -> &UserEntry {
        self.memory.entries.at(&self.buckets[place.bucket].entries, place.slot.index())
    }

    /// The entry at `place`, to change it.
    pub fn entry_mut(&mut self, place: UserPlace) -> &mut UserEntry {
        self.memory.entries.at_mut(&self.buckets[place.bucket].entries, place.slot.index())
    }

    fn bucket_place(&self, user: UserId, hash: u64) -> usize {
        let bucket = self.placement.bucket_of_hash(hash);
        assert!(
            bucket.home(self.placement.shard_count()) == self.shard,
            "user {user} lives on another shard than {}",
            self.shard
        );
        // The buckets of a shard are every `shard_count`-th one.
        bucket.index() / usize::from(self.placement.shard_count())
    }
}

impl Bucket {
    #[inline]
    fn find(&self, memory: &Memory, user: UserId, hash: u64) -> Option<Slot> {
        let user_at = |slot| memory.entries.at(&self.entries, Slot(slot).index()).user;
        let is_it = |slot| user == user_at(slot);
        self.index.find(&memory.places, hash, is_it).map(Slot)
    }
}

impl Slot {
    /// The place as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::PlacementKey;

    #[test]
    fn a_user_keeps_its_place_and_buckets_are_found_by_arithmetic() {
        let key = PlacementKey([3; 16]);
        for shard_count in [1, 2, 3, 7, 16] {
            let placement = Placement::new(key, 10, shard_count);
            let mut all: Vec<Users> =
                ShardId::all(shard_count).map(|shard| Users::new(shard, placement)).collect();
            for user in (1..200).map(UserId) {
                let users = &mut all[placement.user_home(user).index()];
                assert_eq!(users.find(user), None);
                let place = users.enter(user).unwrap();
                assert_eq!(users.enter(user), Some(place));
                assert_eq!(users.find(user), Some(place));
                assert_eq!({ users.entry(place).user }, user);
                assert_eq!(users.buckets()[place.bucket], placement.bucket(user));
            }
            assert_eq!(all.iter().map(Users::count).sum::<usize>(), 199);
        }
    }
}
