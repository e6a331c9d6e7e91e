//! How a plane is made, and what its numbers may be.

use std::time::Duration;

use crate::base::limits::SHARD_CONNECTIONS_MAX;

/// How a plane is made.
#[derive(Clone, Copy, Debug)]
pub struct PlaneSettings {
    /// Connections of one ring; at most RLIMIT_NOFILE. A power of two leaves no gaps between the
    /// places of rings.
    pub slots_per_ring: u32,
    /// Rings that may be added as connections grow; `slots_per_ring × rings_max` is the most
    /// connections of this plane, below 2²⁴.
    pub rings_max: u32,
    /// Entries of a submission queue; a power of two. Not above `cq_entries`.
    pub sq_entries: u32,
    /// Entries of a completion queue; a power of two.
    pub cq_entries: u32,
    /// Pieces of the scratch that receives share: as many receives go into one system call.
    pub scratch_pieces: u32,
    /// Bytes of one piece.
    pub piece_bytes: u32,
    /// Accepts that are armed at the same time.
    pub accepts_armed: u32,
    /// Pause after the kernel was out of files or memory for an accept.
    pub accept_pause: Duration,
}

impl Default for PlaneSettings {
    /// 16,384 connections a ring, 64 rings, 256 pieces of 4 KiB.
    fn default() -> PlaneSettings {
        PlaneSettings {
            slots_per_ring: 16_384,
            rings_max: 64,
            sq_entries: 1_024,
            cq_entries: 4_096,
            scratch_pieces: 256,
            piece_bytes: 4_096,
            accepts_armed: 64,
            accept_pause: Duration::from_millis(10),
        }
    }
}

impl PlaneSettings {
    /// Bits of a place that number the slots of a ring.
    pub(super) fn slot_bits(&self) -> u32 {
        self.slots_per_ring.next_power_of_two().trailing_zeros()
    }

    /// The rule that is broken, if one is.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let slots = u64::from(self.slots_per_ring).next_power_of_two();
        let connections = slots * u64::from(self.rings_max);
        let rules = [
            (self.slots_per_ring > 0, "slots_per_ring must be above 0"),
            (self.rings_max > 0, "rings_max must be above 0"),
            (
                connections <= u64::from(SHARD_CONNECTIONS_MAX),
                "slots_per_ring, rounded up to a power of two, × rings_max must not be above \
                 16,777,216",
            ),
            (
                self.sq_entries.is_power_of_two() && self.cq_entries.is_power_of_two(),
                "sq_entries and cq_entries must be powers of two",
            ),
            (self.cq_entries >= 16, "cq_entries must be 16 or more"),
            (self.scratch_pieces > 0, "scratch_pieces must be above 0"),
            (self.piece_bytes >= 256, "piece_bytes must be 256 or more"),
            (self.accepts_armed > 0, "accepts_armed must be above 0"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(rule),
            None => Ok(()),
        }
    }
}
