//! Keyed hashing: where a user, a room or a show lives.
//!
//! SipHash-1-3 with a secret that is stored with the deployment, because clients and operators
//! choose the ids and must not be able to choose the place.

use std::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

use crate::base::ids::{BucketId, RoomId, ShardId, ShowId, UserId};

/// The deployment's secret for placement; 16 bytes.
#[derive(Clone, Copy)]
pub struct PlacementKey(pub [u8; 16]);

impl BuildHasher for PlacementKey {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// Where things live in this process.
#[derive(Clone, Copy)]
pub struct Placement {
    key: PlacementKey,
    bucket_count: u16,
    shard_count: u16,
}

/// Keeps one kind of id from landing where the same number of another kind does.
#[derive(Clone, Copy)]
enum Domain {
    User = 1,
    Room = 2,
    Show = 3,
}

impl Placement {
    /// # Panics
    /// If `bucket_count` or `shard_count` is 0: the configuration is checked before.
    #[must_use]
    pub fn new(key: PlacementKey, bucket_count: u16, shard_count: u16) -> Placement {
        assert!(bucket_count > 0, "a deployment has at least one bucket");
        assert!(shard_count > 0, "a process has at least one shard");
        Placement { key, bucket_count, shard_count }
    }

    /// The same deployment on another number of shards.
    ///
    /// # Panics
    /// If that is 0.
    #[must_use]
    pub fn with_shards(self, shard_count: u16) -> Placement {
        Placement::new(self.key, self.bucket_count, shard_count)
    }

    /// Number of buckets of the deployment.
    #[must_use]
    pub fn bucket_count(&self) -> u16 {
        self.bucket_count
    }

    /// Number of shards of the process.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// The bucket of a user.
    #[must_use]
    pub fn bucket(&self, user: UserId) -> BucketId {
        self.bucket_of_hash(self.user_hash(user))
    }

    /// What decides a user's bucket, and may decide more: those of a bucket have nothing else of it
    /// in common than the remainder by the number of buckets.
    #[must_use]
    pub fn user_hash(&self, user: UserId) -> u64 {
        self.hash(Domain::User, user.0)
    }

    /// The bucket of the user with this [`Placement::user_hash`].
    #[must_use]
    pub fn bucket_of_hash(&self, hash: u64) -> BucketId {
        let place = hash % u64::from(self.bucket_count);
        BucketId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// The shard that a user's bucket lives on.
    #[must_use]
    pub fn user_home(&self, user: UserId) -> ShardId {
        self.bucket(user).home(self.shard_count)
    }

    /// The shard that orders a room's messages.
    #[must_use]
    pub fn room_home(&self, room: RoomId) -> ShardId {
        self.shard(Domain::Room, room.0)
    }

    /// The shard of a show's director.
    #[must_use]
    pub fn show_home(&self, show: ShowId) -> ShardId {
        self.shard(Domain::Show, show.0)
    }

    fn shard(&self, domain: Domain, id: u64) -> ShardId {
        let place = self.hash(domain, id) % u64::from(self.shard_count);
        ShardId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    fn hash(&self, domain: Domain, id: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key.0);
        hasher.write_u8(domain as u8);
        hasher.write_u64(id);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(key: u8, shard_count: u16) -> Placement {
        Placement::new(PlacementKey([key; 16]), 1_024, shard_count)
    }

    #[test]
    fn a_bucket_does_not_depend_on_the_number_of_shards() {
        for user in (1..1_000).map(UserId) {
            assert_eq!(placement(1, 1).bucket(user), placement(1, 4).bucket(user));
        }
    }

    #[test]
    fn places_depend_on_the_key_and_are_spread() {
        let same = (1..1_000)
            .map(UserId)
            .filter(|user| placement(1, 1).bucket(*user) == placement(2, 1).bucket(*user))
            .count();
        assert!(same < 20, "{same} of 999 users are in the same bucket under another key");
        let mut counts = [0; 4];
        for user in (0..4_000).map(UserId) {
            counts[placement(1, 4).user_home(user).index()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
