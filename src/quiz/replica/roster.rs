//! The players of a show on one shard, bucket by bucket, in the order in which they joined.
//!
//! A user is found by its slot in the bucket. As long as the players of a bucket joined in the
//! order in which their users were first seen, a player's place *is* the user's slot; only when
//! somebody joined in another order does the bucket keep a list of who is where.

use crate::base::pool::{List, Pool};
use crate::quiz::player::Player;
use crate::quiz::users::UserPlace;

/// Players that a bucket makes room for at a time.
const PIECE: usize = 16;
/// Slots that a bucket makes room for at a time.
const SLOTS_PIECE: usize = 64;

#[derive(Default)]
struct Bucket {
    players: List,
    /// By the user's slot: the player's place plus one, 0 for nobody. Empty while places are slots.
    by_slot: List,
}

/// All players of a show on one shard.
pub(super) struct Roster {
    buckets: Vec<Bucket>,
    players: Pool<Player, PIECE>,
    by_slot: Pool<u32, SLOTS_PIECE>,
}

impl Roster {
    /// Nobody yet.
    pub(super) fn new(bucket_count: usize) -> Roster {
        let buckets = (0..bucket_count).map(|_| Bucket::default()).collect();
        Roster { buckets, players: Pool::default(), by_slot: Pool::default() }
    }

    /// Number of buckets.
    pub(super) fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// Number of players in a bucket.
    pub(super) fn count(&self, bucket: usize) -> usize {
        self.buckets[bucket].players.len()
    }

    /// A player, by its place in the bucket.
    #[inline]
    pub(super) fn at(&self, bucket: usize, index: usize) -> &Player {
        self.players.at(&self.buckets[bucket].players, index)
    }

    /// A player, by its place in the bucket, to change it.
    #[inline]
    pub(super) fn at_mut(&mut self, bucket: usize, index: usize) -> &mut Player {
        self.players.at_mut(&self.buckets[bucket].players, index)
    }

    /// The place of a user's player among those of its bucket.
    #[inline]
    pub(super) fn find(&self, place: UserPlace) -> Option<usize> {
        let Bucket { players, by_slot } = &self.buckets[place.bucket];
        let slot = place.slot.index();
        if by_slot.is_empty() {
            return (slot < players.len()).then_some(slot);
        }
        if slot >= by_slot.len() {
            return None;
        }
        (*self.by_slot.at(by_slot, slot) as usize).checked_sub(1)
    }

    /// Adds the player of a user who has none here.
    pub(super) fn add(&mut self, place: UserPlace, player: Player) {
        let slot = place.slot.index();
        let Bucket { players, by_slot } = &mut self.buckets[place.bucket];
        if by_slot.is_empty() && slot != players.len() {
            for present in 0..players.len() {
                self.by_slot.push(by_slot, plus_one(present));
            }
        }
        self.players.push(players, player);
        if by_slot.is_empty() && slot + 1 == players.len() {
            return;
        }
        while by_slot.len() <= slot {
            self.by_slot.push(by_slot, 0);
        }
        *self.by_slot.at_mut(by_slot, slot) = plus_one(players.len() - 1);
    }
}

fn plus_one(place: usize) -> u32 {
    u32::try_from(place + 1).expect("users are numbered in 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiz::users::Slot;

    fn place(slot: u32) -> UserPlace {
        UserPlace { bucket: 1, slot: Slot(slot) }
    }

    #[test]
    fn players_are_found_in_whatever_order_they_join() {
        let orders: [&[u32]; 5] = [&[0, 1, 2, 3], &[0, 1, 5, 2], &[3], &[7, 0], &[1, 0, 2, 3, 9]];
        for slots in orders {
            let mut roster = Roster::new(2);
            for (index, slot) in slots.iter().enumerate() {
                assert_eq!(roster.find(place(*slot)), None, "{slots:?}");
                roster.add(place(*slot), Player::new(Slot(*slot), 0));
                for (earlier, slot) in slots[..=index].iter().enumerate() {
                    assert_eq!(roster.find(place(*slot)), Some(earlier), "{slots:?}");
                    assert_eq!({ roster.at(1, earlier).slot }, Slot(*slot));
                }
            }
            let others = (0..200).filter(|slot| !slots.contains(slot));
            others.for_each(|slot| assert_eq!(roster.find(place(slot)), None, "{slots:?}"));
            assert_eq!((roster.count(0), roster.count(1)), (0, slots.len()));
        }
    }

    #[test]
    fn whoever_joins_in_order_costs_no_list() {
        let mut roster = Roster::new(2);
        (0..1_000).for_each(|slot| roster.add(place(slot), Player::new(Slot(slot), 0)));
        assert!(roster.buckets[1].by_slot.is_empty());
    }
}
