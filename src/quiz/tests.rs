//! Promises of a whole show, over several shards with delayed mail, against an independent model.
#![expect(clippy::wildcard_enum_match_arm, reason = "tests look for one event among all")]

mod bugs;
mod model;
pub(crate) mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::model::{Model, expected};
use self::world::{SHOW, Setup, World, beginning_cards};
use crate::base::ids::{OptionIndex, QuestionIndex, UserId};
use crate::quiz::definition::ReviveCoverage;
use crate::quiz::director::{Command, CommandOutcome, LiveFigures, Notice};
use crate::quiz::event::{Reveal, ShowEvent};
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::replica::snapshot::Standing;
use crate::quiz::seal::{Sealer, SecretKey, commitment};
use crate::quiz::verdict::Verdict;

fn played(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.play();
    world
}

fn reveals(world: &World) -> BTreeMap<QuestionIndex, Reveal> {
    world
        .events
        .iter()
        .filter_map(|numbered| match &numbered.event {
            ShowEvent::Revealed(reveal) => Some((reveal.question, reveal.clone())),
            _ => None,
        })
        .collect()
}

fn opened(world: &World, user: UserId, reveal: &Reveal) -> Option<Vec<Verdict>> {
    let key = SecretKey::from_bytes(reveal.result_key);
    let sealer = Sealer::new(&key, SHOW, reveal.question);
    let results = world.results.get(&(user, reveal.question))?;
    Some(results.iter().map(|sealed| sealer.open(user, sealed).unwrap().verdict).collect())
}

/// Every verdict, card, cent and count of a finished show.
pub(crate) fn check(world: &World) {
    let model = expected(&world.setup);
    let reveals = reveals(world);
    let counts = |question: &QuestionIndex| !world.setup.voids.contains_key(&question.index());
    for (question, reveal) in reveals.iter().filter(|(question, _)| counts(question)) {
        check_question(world, &model, *question, reveal);
    }
    check_nonces(world);
    check_leaks(world);
    check_money(world, &model);
    for user in world.users() {
        let card = beginning_cards(world.setup.seed, user);
        let used = u8::from(model.cards_used.contains(&user));
        assert_eq!(world.local(user).visible_cards(user), card - used, "cards of {user}");
    }
}

fn check_question(world: &World, model: &Model, question: QuestionIndex, reveal: &Reveal) {
    for user in world.users() {
        let verdicts = opened(world, user, reveal);
        let last = verdicts.as_ref().and_then(|verdicts| verdicts.last()).copied();
        let expected = model.verdicts.get(&(user, question.index())).copied();
        assert_eq!(last, expected, "user {user} at question {question}");
        // A second result only where the verdict changed, and no third.
        assert!(verdicts.is_none_or(|seen| seen.len() <= 2 && seen.first() != seen.get(1)));
    }
    let published = world.events.iter().find_map(|numbered| match &numbered.event {
        ShowEvent::QuestionOpened(opening) if opening.question == question => {
            Some(opening.commitment)
        }
        _ => None,
    });
    let key = SecretKey::from_bytes(reveal.result_key);
    assert_eq!(published, Some(commitment(&key, reveal.correct, SHOW, question)));
    let here = model.verdicts.iter().filter(|((_, place), _)| *place == question.index());
    let passing = here.filter(|(_, verdict)| verdict.passes()).count();
    let rejudged = world.events.iter().find_map(|numbered| match numbered.event {
        ShowEvent::Rejudged { question: found, in_play, .. } if found == question => Some(in_play),
        _ => None,
    });
    assert_eq!(rejudged.unwrap_or(reveal.in_play), u64::try_from(passing).unwrap());
    let counted: u64 = reveal.option_counts.iter().sum();
    assert_eq!(counted, model.in_time[&question.index()], "answers to {question}");
}

/// One nonce, one ciphertext, under each key; and one length.
fn check_nonces(world: &World) {
    let mut seen = BTreeMap::new();
    for ((_, question), results) in &world.results {
        for sealed in results {
            let known = seen.entry((*question, sealed.nonce)).or_insert(sealed.ciphertext);
            assert_eq!(*known, sealed.ciphertext, "a nonce was used twice");
        }
    }
    assert!(!seen.is_empty());
}

fn check_leaks(world: &World) {
    assert_eq!(world.leaks, 0, "a snapshot names an option that was not answered");
}

fn check_money(world: &World, model: &Model) {
    let settlement = world.director.settlement().unwrap();
    let winners = u64::try_from(model.winners.len()).unwrap();
    assert_eq!(settlement.winners, winners);
    let mut paid = 0;
    for user in world.users() {
        let balance = world.local(user).balance(user);
        let won = model.winners.contains(&user);
        assert_eq!(balance, if won { settlement.per_head } else { Cents::ZERO }, "{user}");
        let snapshot = world.local(user).snapshot(SHOW, user).unwrap();
        assert_eq!(snapshot.standing == Standing::Winner, won);
        assert_eq!(snapshot.prize, Some(balance));
        paid += balance.0;
    }
    assert_eq!(paid + settlement.remainder.0, world.setup.pool);
    let remainder = settlement.remainder;
    assert!(world.notices.contains(&Notice::PaidOut { paid: Cents(paid), remainder }));
}

fn coverages() -> impl Strategy<Value = ReviveCoverage> {
    any::<[bool; 3]>().prop_map(|[wrong, late, unreachable]| ReviveCoverage {
        wrong,
        late,
        unreachable,
    })
}

fn setups() -> impl Strategy<Value = Setup> {
    let phases = prop::sample::select(vec![Phase::Open, Phase::Closed, Phase::Revealed]);
    let voids = prop::collection::btree_map(0..5_usize, phases, 0..3);
    let rejudges = prop::collection::btree_set(0..5_usize, 0..3);
    (any::<u64>(), 1..6_u16, 1..6_usize, voids, rejudges, coverages()).prop_map(
        |(seed, shard_count, question_count, voids, rejudges, coverage)| {
            let mut setup = Setup::new(seed, shard_count);
            setup.question_count = question_count;
            setup.coverage = coverage;
            setup.rejudges = rejudges.into_iter().filter(|at| !voids.contains_key(at)).collect();
            setup.voids = voids;
            setup
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_show_goes_as_the_rules_say(setup in setups()) {
        check(&played(setup));
    }

    #[test]
    fn the_game_does_not_depend_on_the_number_of_shards(seed: u64) {
        let hashes: BTreeSet<[u8; 32]> = [1, 2, 4, 7]
            .into_iter()
            .map(|shard_count| {
                let world = played(Setup::new(seed, shard_count));
                check(&world);
                world.director.settlement().unwrap().game_hash
            })
            .collect();
        prop_assert_eq!(hashes.len(), 1);
    }
}

/// Two runs that differ only in which option of one question is correct are the same to every
/// player until that question's reveal.
#[test]
fn nothing_tells_before_the_reveal() {
    for seed in 0..12 {
        for place in 0..3 {
            let run = |other_key| {
                let mut setup = Setup::new(seed, 3);
                setup.question_count = 3;
                setup.other_key = other_key;
                let mut world = World::new(setup);
                world.begin();
                for before in 0..place {
                    world.play_question(before);
                }
                world.order(Command::Publish);
                while world.director.phase() != Phase::Closed {
                    world.run_until(world.now + std::time::Duration::from_millis(100));
                    world.look();
                }
                world.settle_down();
                world.look();
                let keys: Vec<usize> = world.results.values().map(Vec::len).collect();
                (world.seen, keys)
            };
            let (one, other) = (run(None), run(Some(place)));
            assert!(one.0.len() > 500, "players saw something");
            assert_eq!(one, other, "seed {seed}, question {place}");
        }
    }
}

#[test]
fn a_slow_shard_makes_questions_longer_and_nobody_is_out_for_it() {
    for seed in 0..15 {
        let mut setup = Setup::new(seed, 3);
        // More than the lead and slack of 500 ms, less than with one extension.
        setup.slow_shard_ms = 700;
        let world = played(setup);
        let extended = |notice: &&Notice| matches!(notice, Notice::QuestionExtended { .. });
        assert_eq!(world.notices.iter().filter(extended).count(), 4, "{:?}", world.notices);
        check(&world);
    }
}

#[test]
fn a_question_that_a_shard_never_had_in_time_can_only_be_voided() {
    let mut setup = Setup::new(3, 3);
    setup.slow_shard_ms = 3_500;
    let mut world = World::new(setup);
    world.begin();
    world.settle_down();
    let standing = |world: &World| -> Vec<Standing> {
        let look = |user| world.local(user).snapshot(SHOW, user).map(|seen| seen.standing);
        world.users().filter_map(look).collect()
    };
    let before = standing(&world);
    world.order(Command::Publish);
    world.settle_down();
    assert_eq!(world.director.phase(), Phase::Closing, "it is never closed by time");
    let needed = |notice: &Notice| matches!(notice, Notice::VoidNeeded { .. });
    assert!(world.notices.iter().any(needed), "{:?}", world.notices);
    world.order(Command::Void);
    world.settle_down();
    assert_eq!(standing(&world), before);
    assert!(world.users().all(|user| {
        let card = beginning_cards(world.setup.seed, user);
        world.local(user).visible_cards(user) == card
    }));
}

#[test]
fn the_preview_of_a_corrected_key_is_what_then_happens() {
    for seed in 0..20 {
        let mut world = World::new(Setup::new(seed, 2));
        world.begin();
        world.play_question(0);
        let (question, correct) = (QuestionIndex(0), OptionIndex(1));
        let order = |confirm| Command::Rejudge { question, correct, confirm };
        let CommandOutcome::Preview(preview) = world.order(order(false)) else {
            panic!("without confirmation there is only a preview");
        };
        assert_eq!(world.director.phase(), Phase::Revealed);
        world.order(order(true));
        world.settle_down();
        let rejudged = world.events.iter().find_map(|numbered| match numbered.event {
            ShowEvent::Rejudged { in_play, .. } => Some(in_play),
            _ => None,
        });
        assert_eq!(rejudged, Some(preview.in_play_after), "seed {seed}");
        assert_ne!(preview.in_play_before, preview.in_play_after, "seed {seed}");
    }
}

fn live(world: &mut World) -> LiveFigures {
    for local in &world.locals {
        world.director.tally(local.show(SHOW).unwrap().tally());
    }
    world.director.live()
}

#[test]
fn live_figures_are_what_the_shards_counted() {
    let mut world = World::new(Setup::new(11, 4));
    world.begin();
    world.play_question(0);
    let live_at_first = live(&mut world);
    world.play_question(1);
    let live_at_second = live(&mut world);
    assert!(live_at_second.revived > 0);
    let used = live_at_first.revived + live_at_second.revived;
    assert_eq!(live_at_second.cards_used, used);
    let live = live_at_first;
    let model = expected(&world.setup);
    let verdicts = |wanted: fn(&Verdict) -> bool| {
        let here = model.verdicts.iter().filter(|((_, place), _)| *place == 0);
        u64::try_from(here.filter(|(_, verdict)| wanted(verdict)).count()).unwrap()
    };
    assert_eq!(live.correct, verdicts(|verdict| *verdict == Verdict::Passed));
    assert_eq!(live.eliminated, verdicts(|verdict| !verdict.passes()));
    assert_eq!(live.revived, verdicts(|verdict| verdict.uses_card()));
    assert_eq!(live.in_play, verdicts(|verdict| verdict.passes()));
    assert_eq!(live.options.iter().sum::<u64>(), model.in_time[&0]);
    assert_eq!(live.per_head.0, 100_003 / i64::try_from(live.in_play).unwrap());
}

#[test]
fn a_cancelled_show_pays_nobody_and_returns_the_unrevealed_cards() {
    let mut world = World::new(Setup::new(5, 2));
    world.begin();
    world.order(Command::Publish);
    world.run_until(world.now + std::time::Duration::from_secs(5));
    assert_eq!(world.director.phase(), Phase::Closed);
    world.order(Command::Cancel);
    world.settle_down();
    for user in world.users() {
        let card = beginning_cards(world.setup.seed, user);
        assert_eq!(world.local(user).visible_cards(user), card);
        assert_eq!(world.local(user).balance(user), Cents::ZERO);
    }
    world.order(Command::End);
    world.settle_down();
    for local in &mut world.locals {
        local.forget(SHOW);
        assert!(local.show(SHOW).is_none());
    }
}
