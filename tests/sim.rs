//! Seeds of the simulator: without a bug every promise holds; with one, its checker says so.

use tidegate::sim::{Races, simulate, simulate_crashes};

#[test]
fn all_promises_hold_over_thirty_seeds_whatever_breaks() {
    let mut races = Races::default();
    for seed in 0..30 {
        let outcome = simulate(seed);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        races.add(&outcome.races);
    }
    // A simulation in which nothing breaks proves nothing.
    for count in [races.resets, races.short_sends, races.pauses, races.repeats, races.replaced] {
        assert!(count > 0, "{races:?}");
    }
    for count in [races.opened_by_key, races.keys_without_seal, races.pushes_expired] {
        assert!(count > 0, "{races:?}");
    }
    for count in [races.chats_acknowledged, races.chats_replaced, races.chats_discarded] {
        assert!(count > 0, "{races:?}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_over_thirty_seeds_in_which_the_power_fails() {
    let mut races = Races::default();
    for seed in 0..30 {
        let outcome = simulate_crashes(seed);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        races.add(&outcome.races);
    }
    for count in [races.crashes, races.crash_torn, races.crash_survived, races.crash_failed_steps] {
        assert!(count > 0, "{races:?}");
    }
    for count in [races.crash_acknowledged, races.crash_open, races.crash_other_shards] {
        assert!(count > 0, "{races:?}");
    }
    for count in [races.packets, races.withdrawn, races.gifts, races.extensions, races.settled] {
        assert!(count > 0, "{races:?}");
    }
}

#[test]
fn a_seed_repeats_to_the_last_count() {
    for seed in [3, 8, 21] {
        for play in [simulate, simulate_crashes] {
            let (one, two) = (play(seed), play(seed));
            assert_eq!(one.races, two.races);
            assert_eq!((one.violations, one.lasted), (two.violations, two.lasted));
        }
    }
}

#[cfg(feature = "sim-bugs")]
mod planted {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tidegate::base::bugs::{Bug, plant};
    use tidegate::sim::{Outcome, Promise, simulate, simulate_crashes};

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
}
