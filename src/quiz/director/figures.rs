//! Live figures: for operators only, because they tell what is not revealed.

use super::Director;
use crate::base::ids::QuestionIndex;
use crate::base::limits::OPTIONS_MAX;
use crate::quiz::money::{Cents, split};
use crate::quiz::phase::Phase;
use crate::quiz::report::QuestionCounts;

/// A show as it goes, as of the last tallies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveFigures {
    /// The phase.
    pub phase: Phase,
    /// The question that opened last, unless it was voided.
    pub question: Option<QuestionIndex>,
    /// Users who joined, spectators included.
    pub joined: u64,
    /// Answers that count, late ones included.
    pub answered: u64,
    /// Answers in time, per option.
    pub options: [u64; OPTIONS_MAX],
    /// Passed by the correct answer.
    pub correct: u64,
    /// Answers after the time.
    pub late: u64,
    /// Out at this question.
    pub eliminated: u64,
    /// Saved by a card at this question.
    pub revived: u64,
    /// Cards used in this show, this question included.
    pub cards_used: u64,
    /// Players left in the game.
    pub in_play: u64,
    /// The share of each if the show were settled now.
    pub per_head: Cents,
}

impl Director {
    /// The sums of what the shards reported last.
    #[must_use]
    pub fn live(&self) -> LiveFigures {
        let question = self.question.as_ref().map(|state| state.index);
        let mut counts = QuestionCounts::default();
        let (mut joined, mut in_play) = (0, 0);
        for tally in &self.tallies {
            joined += tally.joined;
            in_play += tally.in_play;
            if tally.question.is_some() && tally.question == question {
                counts.add(&tally.counts);
            }
        }
        LiveFigures {
            phase: self.phase,
            question,
            joined,
            answered: counts.answered,
            options: counts.options,
            correct: counts.correct,
            late: counts.late,
            eliminated: counts.eliminated,
            revived: counts.revived,
            cards_used: self.revived_before + counts.revived,
            in_play,
            per_head: split(self.definition.prize_pool, in_play).per_head,
        }
    }
}
