//! The rules once more, as a loop over one player's plans: no phases, no buckets, no mail.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Act, Setup, beginning_cards, is_latecomer, plan};
use crate::base::ids::{OptionIndex, UserId};
use crate::quiz::verdict::{Failing, Verdict};

/// What a show must come to.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) verdicts: BTreeMap<(UserId, usize), Verdict>,
    pub(crate) winners: BTreeSet<UserId>,
    pub(crate) cards_used: BTreeSet<UserId>,
    /// Answers in time per question.
    pub(crate) in_time: BTreeMap<usize, u64>,
}

pub(crate) fn expected(setup: &Setup) -> Model {
    let mut model = Model::default();
    let counting: Vec<usize> =
        (0..setup.question_count).filter(|place| !setup.voids.contains_key(place)).collect();
    for place in &counting {
        model.in_time.insert(*place, 0);
    }
    for user in (1..=setup.player_count).map(UserId) {
        // Joins after the first question: plays only if that one does not count.
        if is_latecomer(user) && counting.first() == Some(&0) {
            continue;
        }
        let mut alive = true;
        for place in &counting {
            if !alive {
                break;
            }
            let verdict = judge(setup, &mut model, user, *place);
            model.verdicts.insert((user, *place), verdict);
            alive = verdict.passes();
        }
        if alive && !counting.is_empty() {
            model.winners.insert(user);
        }
    }
    model
}

fn judge(setup: &Setup, model: &mut Model, user: UserId, place: usize) -> Verdict {
    let plan = plan(setup.seed, user, place);
    let shift = u8::from(setup.rejudges.contains(&place));
    let correct = OptionIndex((setup.correct(place).0 + shift) % 3);
    // The extension by 500 ms reaches those who are late by 300 ms.
    let extended = setup.slow_shard_ms > 0;
    let act = if extended && plan.act == Act::Late { Act::Answer } else { plan.act };
    let (failing, covered) = match act {
        Act::Answer | Act::Twice | Act::Ticket => {
            *model.in_time.entry(place).or_default() += 1;
            if plan.option == correct {
                return Verdict::Passed;
            }
            (Failing::Wrong, setup.coverage.wrong)
        }
        Act::Late => (Failing::Late, setup.coverage.late),
        Act::Silent => (Failing::Silent, setup.coverage.late),
        Act::Away => (Failing::Unreachable, setup.coverage.unreachable),
    };
    let card = beginning_cards(setup.seed, user) > 0 && !model.cards_used.contains(&user);
    if covered && card && place + 1 != setup.question_count {
        model.cards_used.insert(user);
        return Verdict::Revived(failing);
    }
    Verdict::Out(failing)
}
