//! Each bug that is planted is caught by the checker that is there for it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::bugs::{Bug, plant};
use crate::sim::{Outcome, Promise, simulate, simulate_crashes};

const SEEDS: u64 = 1_000;

/// The first seed in which the bug's own checker speaks. An assertion of the core that speaks
/// first is no proof of the checker.
fn caught(bug: Bug, promise: Promise, play: fn(u64) -> Outcome) -> Option<u64> {
    plant(Some(bug));
    let found = (0..SEEDS).find(|seed| {
        let outcome = catch_unwind(AssertUnwindSafe(|| play(*seed)));
        outcome.is_ok_and(|outcome| outcome.violations.iter().any(|it| it.promise == promise))
    });
    plant(None);
    found
}

#[test]
fn each_bug_is_caught_by_its_checker_within_a_thousand_seeds() {
    for (bug, promise) in [
        (Bug::SettleEarly, Promise::Barrier),
        (Bug::LoseDrainedMark, Promise::Progress),
        (Bug::CountTwice, Promise::Counting),
        (Bug::CardTwice, Promise::Cards),
        (Bug::NonceReuse, Promise::Seals),
        (Bug::OptionLeakedInSnapshot, Promise::Secrecy),
        (Bug::StaleSessionReply, Promise::Sessions),
        (Bug::HoleInLane, Promise::Lanes),
        (Bug::AcknowledgeUnqueued, Promise::Offers),
        (Bug::LoseCount, Promise::Sums),
        (Bug::ChatMisstamped, Promise::Chat),
        (Bug::EarlyPushUnsealed, Promise::Secrecy),
        (Bug::MissedSealForgotten, Promise::Offers),
        (Bug::PacketTwice, Promise::Money),
        (Bug::OrderDoneTwice, Promise::Cards),
        (Bug::CardsExpireWhilePlayed, Promise::Cards),
    ] {
        let seed = caught(bug, promise, simulate);
        println!("{bug:?}: {promise:?} at seed {seed:?}");
        assert!(seed.is_some(), "{bug:?} was not caught by {promise:?} in {SEEDS} seeds");
    }
}

#[test]
fn each_bug_of_durability_is_caught_when_the_power_fails() {
    for bug in [
        Bug::AcknowledgeEarly,
        Bug::AnswerReplayedTwice,
        Bug::TornTailAccepted,
        Bug::FailedSyncTrusted,
    ] {
        let seed = caught(bug, Promise::Durability, simulate_crashes);
        println!("{bug:?}: at seed {seed:?}");
        assert!(seed.is_some(), "{bug:?} was not caught in {SEEDS} seeds");
    }
}
