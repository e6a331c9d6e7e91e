//! What is known of each slot of one ring: 8 bytes, in chunks, so that growing never copies.

use crate::net::user_data::GENERATION_MASK;

/// Slots of one chunk.
const CHUNK_SLOTS: u32 = 4_096;

/// What a connection is in, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    /// The slot holds a connection that was reported (or is about to be).
    pub(super) const OPEN: Flags = Flags(1);
    /// Its connect has not completed.
    pub(super) const CONNECTING: Flags = Flags(1 << 1);
    /// The caller asked to close it; nothing is reported any more.
    pub(super) const CLOSING: Flags = Flags(1 << 2);
    /// It stands in the ready list.
    pub(super) const LISTED: Flags = Flags(1 << 3);
    /// The kernel said that no more edge will come: read until the end shows.
    pub(super) const HANGING: Flags = Flags(1 << 4);
    /// Its end was reported.
    pub(super) const ENDED: Flags = Flags(1 << 5);
    /// A send was short or blocked: the next writable edge is reported.
    pub(super) const WANTS_WRITE: Flags = Flags(1 << 6);
    /// It stands in the list of writable connections.
    pub(super) const WRITABLE: Flags = Flags(1 << 7);
    /// A send of the batch in progress.
    pub(super) const SENDING: Flags = Flags(1 << 8);
    /// The caller waits for the answer to `read_out`.
    pub(super) const READ_OUT: Flags = Flags(1 << 9);
    /// Its poll is armed.
    pub(super) const POLLED: Flags = Flags(1 << 10);
    /// Another edge for reading came since its receive was submitted.
    pub(super) const SEEN_AGAIN: Flags = Flags(1 << 11);
    /// An edge for writing came since its send was submitted.
    pub(super) const SEEN_WRITABLE: Flags = Flags(1 << 12);
    /// Accepted, and its poll has not spoken yet: what it has may have waited in the backlog.
    pub(super) const FRESH: Flags = Flags(1 << 13);
}

/// One slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    generation: u32,
    flags: Flags,
}

impl Place {
    /// Which use of the slot this is.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether any of `flags` is set.
    pub(super) fn has(&self, flags: Flags) -> bool {
        self.flags.0 & flags.0 != 0
    }

    /// Sets `flags`.
    pub(super) fn set(&mut self, flags: Flags) {
        self.flags.0 |= flags.0;
    }

    /// Clears `flags`.
    pub(super) fn clear(&mut self, flags: Flags) {
        self.flags.0 &= !flags.0;
    }

    /// Whether this is the live connection of that generation, which nobody asked to close.
    pub(super) fn is_live(&self, generation: u32) -> bool {
        self.generation == generation && self.has(Flags::OPEN) && !self.has(Flags::CLOSING)
    }

    /// Whether this is the connection of that generation, which somebody asked to close.
    pub(super) fn is_closing(&self, generation: u32) -> bool {
        self.generation == generation && self.has(Flags::OPEN) && self.has(Flags::CLOSING)
    }

    /// Begins the next use of the slot. Generation 0 is left out, so that `ConnId::default()` is
    /// never alive.
    pub(super) fn open(&mut self) -> u32 {
        assert!(!self.has(Flags::OPEN), "the kernel gave out a slot that is in use");
        self.generation = if self.generation >= GENERATION_MASK { 1 } else { self.generation + 1 };
        self.flags = Flags::OPEN;
        self.generation
    }

    /// Ends the use of the slot.
    pub(super) fn free(&mut self) {
        assert!(self.has(Flags::OPEN), "a slot is freed once");
        self.flags = Flags::default();
    }
}

/// All slots of one ring.
#[derive(Debug, Default)]
pub(super) struct Places {
    chunks: Vec<Box<[Place]>>,
}

impl Places {
    /// The slot, which comes into being when it is first used.
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Place {
        let chunk = (slot / CHUNK_SLOTS) as usize;
        while self.chunks.len() <= chunk {
            self.chunks.push(vec![Place::default(); CHUNK_SLOTS as usize].into_boxed_slice());
        }
        &mut self.chunks[chunk][(slot % CHUNK_SLOTS) as usize]
    }

    /// The first slot beyond those that were ever used, rounded up.
    pub(super) fn end(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX).saturating_mul(CHUNK_SLOTS)
    }

    /// The slot, if it was ever used.
    pub(super) fn find(&mut self, slot: u32) -> Option<&mut Place> {
        let chunk = self.chunks.get_mut((slot / CHUNK_SLOTS) as usize)?;
        chunk.get_mut((slot % CHUNK_SLOTS) as usize)
    }
}

const _: () = assert!(size_of::<Place>() <= 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_used_once_and_never_zero() {
        let mut place = Place { generation: GENERATION_MASK - 1, flags: Flags::default() };
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(place.open());
            assert!(place.is_live(seen[seen.len() - 1]));
            place.set(Flags::CLOSING);
            assert!(!place.is_live(seen[seen.len() - 1]));
            place.free();
        }
        assert_eq!(seen, [GENERATION_MASK, 1, 2]);
    }

    #[test]
    fn slots_grow_by_chunks() {
        let mut places = Places::default();
        assert!(places.find(0).is_none());
        places.get_mut(CHUNK_SLOTS * 2).open();
        assert!(places.find(0).is_some_and(|place| !place.has(Flags::OPEN)));
        assert!(places.find(CHUNK_SLOTS * 2).is_some_and(|place| place.has(Flags::OPEN)));
        assert!(places.find(CHUNK_SLOTS * 3).is_none());
    }
}
