//! Every planted bug is caught by the promise that it breaks; without one all promises hold.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::Setup;
use super::{check, played};
use crate::base::bugs::{Bug, plant};
use crate::quiz::definition::ReviveCoverage;

/// What the checks say of some games with `bug` planted.
fn complaints(bug: Option<Bug>) -> Vec<String> {
    plant(bug);
    let mut said = Vec::new();
    for seed in 0..30 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut setup = Setup::new(seed, 3);
            setup.coverage = ReviveCoverage { wrong: true, late: true, unreachable: true };
            check(&played(setup));
        }));
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            said.push(text.unwrap_or_default());
        }
    }
    plant(None);
    said
}

#[test]
fn every_planted_bug_is_caught() {
    assert_eq!(complaints(None), Vec::<String>::new());
    for (bug, words) in [
        (Bug::SettleEarly, "nobody is settled before every shard has drained"),
        (Bug::LoseDrainedMark, "the show hangs while closing"),
        (Bug::CountTwice, "answers to"),
        (Bug::CardTwice, "user"),
        (Bug::NonceReuse, "a nonce was used twice"),
        (Bug::OptionLeakedInSnapshot, "a snapshot names an option that was not answered"),
    ] {
        let said = complaints(Some(bug));
        assert!(said.iter().any(|text| text.contains(words)), "{bug:?}: {said:?}");
    }
}
