//! An index into a table whose entries hold their own keys: four bytes a place, no key stored
//! twice.
//!
//! Open addressing with linear probing. A place holds a slot of the table and eight bits of its
//! key's hash, so that a probe seldom looks into the table in vain. It grows by an eighth, to any
//! number of pieces of a [`Pool`], so between 5 and 5⅔ bytes are spent on an entry; a map of user
//! ids costs 35 to 50. Meant for tables of some thousand entries, of which there are many: growing
//! touches every entry.
//!
//! Hashes are the caller's and must be keyed wherever clients choose the keys. Of a hash it uses the
//! upper 40 bits: tables may be told apart by the lower ones.

use crate::base::pool::{List, Pool};

/// Slots are below this: 24 bits, of which 0 means "empty".
pub const SLOTS_MAX: u32 = (1 << 24) - 1;

const SLOT_BITS: u32 = 24;
/// Places of one piece of an index: four lines of a cache.
const PIECE_PLACES: usize = 64;
/// A new size is this much larger.
const GROWTH_DIVISOR: usize = 8;

/// Where indexes have their places.
pub type IndexPool = Pool<u32, PIECE_PLACES>;

/// From the hashes of keys to the slots of their entries. All methods want the one pool.
#[derive(Debug, Default)]
pub struct SlotIndex {
    /// Tag, eight bits ‖ slot plus one, 24 bits; 0: empty.
    places: List,
    count: u32,
}

impl SlotIndex {
    /// The slot of the entry with this hash for which `is_it` holds.
    #[inline]
    pub fn find(
        &self,
        pool: &IndexPool,
        hash: u64,
        mut is_it: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut place = self.home(hash)?;
        loop {
            let content = *pool.at(&self.places, place);
            if content == 0 {
                return None;
            }
            let slot = slot_of(content);
            if content >> SLOT_BITS == tag(hash) && is_it(slot) {
                return Some(slot);
            }
            place = self.after(place);
        }
    }

    /// Brings the line in which a probe for this hash begins into the cache. What comes back is to
    /// be used somehow, or the compiler leaves the reading out.
    #[inline]
    #[must_use]
    pub fn warm(&self, pool: &IndexPool, hash: u64) -> u32 {
        self.home(hash).map_or(0, |place| *pool.at(&self.places, place))
    }

    /// Adds an entry whose key is not there. `hash_of` gives the hashes of those that are.
    ///
    /// # Panics
    /// If `slot` is not below [`SLOTS_MAX`].
    pub fn insert(
        &mut self,
        pool: &mut IndexPool,
        hash: u64,
        slot: u32,
        hash_of: impl Fn(u32) -> u64,
    ) {
        assert!(slot < SLOTS_MAX, "slots have 24 bits");
        // At most four places in five are taken.
        if (self.count as usize + 1) * 5 > self.places.len() * 4 {
            self.grow(pool, hash_of);
        }
        self.count += 1;
        self.put(pool, hash, slot);
    }

    /// Takes out the entry in `slot`. `hash_of` gives the hashes of all that are there.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove(
        &mut self,
        pool: &mut IndexPool,
        hash: u64,
        slot: u32,
        hash_of: impl Fn(u32) -> u64,
    ) {
        let mut hole = self.place_of(pool, hash, slot);
        self.count -= 1;
        // Those behind move up, as far as their own home lets them: then no probe ends too early.
        let mut place = hole;
        loop {
            place = self.after(place);
            let content = *pool.at(&self.places, place);
            if content == 0 {
                break;
            }
            let home = self.home(hash_of(slot_of(content))).expect("there are places");
            if self.distance(home, place) >= self.distance(hole, place) {
                *pool.at_mut(&self.places, hole) = content;
                hole = place;
            }
        }
        *pool.at_mut(&self.places, hole) = 0;
    }

    /// The entry with this hash moved from one slot to another.
    ///
    /// # Panics
    /// If it is not there.
    pub fn moved(&mut self, pool: &mut IndexPool, hash: u64, from: u32, to: u32) {
        let place = self.place_of(pool, hash, from);
        *pool.at_mut(&self.places, place) = content(hash, to);
    }

    fn place_of(&self, pool: &IndexPool, hash: u64, slot: u32) -> usize {
        let mut place = self.home(hash).expect("there are places");
        loop {
            let found = *pool.at(&self.places, place);
            if found == content(hash, slot) {
                return place;
            }
            assert!(found != 0, "slot {slot} is in the index");
            place = self.after(place);
        }
    }

    fn grow(&mut self, pool: &mut IndexPool, hash_of: impl Fn(u32) -> u64) {
        let pieces = self.places.len() / PIECE_PLACES;
        let larger = pool.filled(pieces + (pieces / GROWTH_DIVISOR).max(1));
        let old = std::mem::replace(&mut self.places, larger);
        for place in 0..old.len() {
            let content = *pool.at(&old, place);
            if content != 0 {
                let slot = slot_of(content);
                self.put(pool, hash_of(slot), slot);
            }
        }
        pool.release(old);
    }

    fn put(&mut self, pool: &mut IndexPool, hash: u64, slot: u32) {
        let mut place = self.home(hash).expect("there are places");
        while *pool.at(&self.places, place) != 0 {
            place = self.after(place);
        }
        *pool.at_mut(&self.places, place) = content(hash, slot);
    }

    /// Where a probe begins: the upper half of the hash, scaled to the size.
    #[inline]
    fn home(&self, hash: u64) -> Option<usize> {
        let scaled = ((hash >> 32) * self.places.len() as u64) >> 32;
        (!self.places.is_empty()).then(|| usize::try_from(scaled).unwrap_or(usize::MAX))
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 == self.places.len() { 0 } else { place + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.places.len() - from }
    }
}

fn tag(hash: u64) -> u32 {
    u32::from((hash >> SLOT_BITS).to_le_bytes()[0])
}

fn content(hash: u64, slot: u32) -> u32 {
    tag(hash) << SLOT_BITS | (slot + 1)
}

fn slot_of(content: u32) -> u32 {
    (content & SLOTS_MAX) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A table as its users have it: entries are dense, the last takes the place of a removed one.
    #[derive(Default)]
    struct Table {
        pool: IndexPool,
        index: SlotIndex,
        keys: Vec<u64>,
    }

    /// Few different homes and tags, so that there is much to probe.
    fn hash(key: u64) -> u64 {
        (key % 5) << 61 | (key % 3) << 24 | key
    }

    impl Table {
        fn find(&self, key: u64) -> Option<u32> {
            self.index.find(&self.pool, hash(key), |slot| self.keys[slot as usize] == key)
        }

        fn insert(&mut self, key: u64) {
            let slot = u32::try_from(self.keys.len()).unwrap();
            self.keys.push(key);
            let keys = &self.keys;
            self.index.insert(&mut self.pool, hash(key), slot, |slot| hash(keys[slot as usize]));
        }

        fn remove(&mut self, key: u64) {
            let slot = self.find(key).unwrap();
            let keys = &self.keys;
            self.index.remove(&mut self.pool, hash(key), slot, |slot| hash(keys[slot as usize]));
            self.keys.swap_remove(slot as usize);
            if let Some(moved) = self.keys.get(slot as usize) {
                let last = u32::try_from(self.keys.len()).unwrap();
                self.index.moved(&mut self.pool, hash(*moved), last, slot);
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((0_u64..60, any::<bool>()), 0..400)) {
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            for (key, insert) in steps {
                prop_assert_eq!(table.find(key).is_some(), model.contains_key(&key));
                match (insert, model.contains_key(&key)) {
                    (true, false) => {
                        model.insert(key, ());
                        table.insert(key);
                    }
                    (false, true) => {
                        model.remove(&key);
                        table.remove(key);
                    }
                    _ => {}
                }
                for key in 0..60 {
                    let found = table.find(key).map(|slot| table.keys[slot as usize]);
                    prop_assert_eq!(found, model.contains_key(&key).then_some(key));
                }
            }
        }
    }

    #[test]
    fn an_entry_costs_at_most_five_and_two_thirds_bytes() {
        let (mut pool, mut index) = (IndexPool::default(), SlotIndex::default());
        let hash = |slot: u32| u64::from(slot).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for slot in 0..3_000 {
            index.insert(&mut pool, hash(slot), slot, hash);
            let bytes = index.places.len() * size_of::<u32>();
            assert!(slot < 500 || bytes * 3 <= index.count as usize * 17, "{bytes} for {slot}");
        }
    }
}
