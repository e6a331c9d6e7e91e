//! Seeds of the simulator: every promise holds, whatever breaks. That a bug would be caught is shown in
//! `src/sim/planted.rs`.

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
