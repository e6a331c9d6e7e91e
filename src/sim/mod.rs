//! The simulator: shipped shard cores, many players and a robot operator under a virtual clock,
//! everything from one seed.
//!
//! A `world::World` has 1–5 shards, their kernels, mailboxes and journals (`host` follows the
//! order of the real pump), connections that carry bytes (`network`), players (`player` decides,
//! `talk` speaks and listens) and an operator per show (`operator`). Faults are drawn from the
//! seed: mail delayed but never lost nor reordered, connections that break at any byte, readers
//! that stall, shards that pause, records that are durable late, clocks that drift.
//!
//! The checkers (`checkers`) hold what comes out against what is promised, one promise each. What
//! a run never did it did not check, so it counts its faults and races (`races`).
//!
//! Pure: no clock, no threads, no I/O. Deliberately absent: the socket plane and the runtime (their
//! tests have a kernel).
//!
//! In worlds of their own ([`simulate_crashes`]) the journals are the real ones on disks that keep
//! only what was synced (`disk`, `journal`), the power fails (`crash`), and the real recovery reads
//! what is left.
#![forbid(unsafe_code)]

mod cards;
mod chatter;
mod checkers;
mod crash;
mod dice;
mod disk;
mod early;
mod host;
mod identity;
mod journal;
mod network;
mod operator;
#[cfg(test)]
mod planted;
mod player;
mod races;
mod rain;
mod setup;
mod short;
mod talk;
mod truth;
mod world;

use crate::base::time::Time;
pub use crate::sim::checkers::{Promise, Violation};
pub use crate::sim::races::Races;
use crate::sim::setup::Setup;
use crate::sim::world::World;

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How often each fault and each race happened.
    pub races: Races,
    /// What was broken; empty when all is well.
    pub violations: Vec<Violation>,
    /// Virtual time that passed.
    pub lasted: Time,
}

/// Runs a seed: one world, and for some seeds a second one that differs only in which option of
/// one question is correct.
///
/// # Panics
/// If an assertion of the shard core fails: that is a finding too.
#[must_use]
pub fn simulate(seed: u64) -> Outcome {
    let setup = Setup::new(seed);
    let is_twin = setup.twin.is_some();
    let other = is_twin.then(|| setup.with_other_key());
    let mut world = World::new(setup, is_twin);
    world.run();
    if let Some(other) = other {
        let mut twin = World::new(other, true);
        twin.run();
        world.races.twins += 1;
        if let (Some(one), Some(two)) = (&world.tape, &twin.tape) {
            one.compare(two, &mut world.findings);
        }
    }
    let World { races, findings, now, .. } = world;
    Outcome { seed, races, violations: findings.violations, lasted: now }
}

/// Runs a seed in a world in which the power fails, once or several times.
///
/// # Panics
/// If an assertion of the shard core fails: that is a finding too.
#[must_use]
pub fn simulate_crashes(seed: u64) -> Outcome {
    let mut world = World::with_crashes(journal::setup(seed));
    world.run();
    let World { races, findings, now, .. } = world;
    Outcome { seed, races, violations: findings.violations, lasted: now }
}
