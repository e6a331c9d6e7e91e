//! The eight checks of an answer, as functions of facts.
//!
//! Checks 1 to 4 (running, not out, current question, the one before passed) decide whether a
//! player may answer at all; they depend only on what has been revealed, so a refusal tells
//! nothing. Checks 5 to 8 (in time, correct, card held, card unused) decide the verdict, and their
//! outcome leaves only sealed, in one length. So the order of evaluation cannot be observed; 5, 6
//! and 7 discriminate and stand together in [`assess`].

use crate::quiz::definition::ReviveCoverage;
use crate::quiz::verdict::{Failing, Verdict};

/// Where a player stands before the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// In the game.
    InPlay,
    /// Failed an earlier question.
    Out,
    /// Joined after the first question that counts had closed.
    Spectator,
}

/// What decides whether a player may answer: checks 1 to 4, all of it public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// 1: the show takes answers now.
    pub running: bool,
    /// 2: the player's standing before this question.
    pub eligibility: Eligibility,
    /// 3: the answer names the current question.
    pub current: bool,
    /// 4: the last question that the player passed is the one before (none for the first).
    pub follows: bool,
}

/// What decides what an answer is worth: checks 5 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merits {
    /// 5: the arrival stamp is not after `answer_by`.
    pub in_time: bool,
    /// 6: the option is the correct one.
    pub correct: bool,
    /// 7 and 8.
    pub card: CardFacts,
}

/// What is known about a player's revive card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardFacts {
    /// 7: the player holds at least one.
    pub held: bool,
    /// 8: none was used in this show.
    pub unused: bool,
    /// What a card makes good in this show.
    pub coverage: ReviveCoverage,
    /// On the show's last question no card helps, and none is consumed.
    pub last_question: bool,
}

/// Why an answer was refused. None of these depends on a verdict that is not revealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum RefusalReason {
    /// No such show here.
    #[error("there is no such show")]
    NoSuchShow,
    /// The show does not take answers in this phase.
    #[error("the show is not taking answers now")]
    NotRunning,
    /// The show has ended or was called off.
    #[error("the show has ended")]
    ShowEnded,
    /// The user never joined the show.
    #[error("join the show's room before answering")]
    NotJoined,
    /// Another question is current, or none.
    #[error("this is not the current question")]
    NotCurrentQuestion,
    /// The question takes no first answer any more.
    #[error("the question is closed")]
    QuestionClosed,
    /// The question was declared void.
    #[error("the question was voided and counts for nobody")]
    QuestionVoided,
    /// Joined after the first question had closed.
    #[error("joined after the first question: watching only")]
    Spectator,
    /// Out since an earlier question.
    #[error("out of the game since an earlier question")]
    Out,
    /// The question has no option with this index.
    #[error("the question has no option with this index")]
    NoSuchOption,
    /// A retry ticket binds this player to another option.
    #[error("a retry ticket binds the answer to another option")]
    AnswerBound,
    /// The player's answer and some repeats of it wait already; they will get their replies.
    #[error("too many repeats of one answer wait for their replies")]
    TooManyRepeats,
}

impl CardFacts {
    /// Whether a card would make `failing` good.
    #[must_use]
    pub fn revives(&self, failing: Failing) -> bool {
        let covered = match failing {
            Failing::Wrong => self.coverage.wrong,
            Failing::Late | Failing::Silent => self.coverage.late,
            Failing::Unreachable => self.coverage.unreachable,
        };
        covered & self.held & self.unused & !self.last_question
    }

    fn settle(&self, failing: Failing) -> Verdict {
        if self.revives(failing) { Verdict::Revived(failing) } else { Verdict::Out(failing) }
    }
}

/// Whether a player may answer.
///
/// # Errors
/// If not, with the first reason in the order of the rules; none tells anything unrevealed.
pub fn admit(admission: &Admission) -> Result<(), RefusalReason> {
    if !admission.current {
        return Err(RefusalReason::NotCurrentQuestion);
    }
    match admission.eligibility {
        Eligibility::Spectator => Err(RefusalReason::Spectator),
        Eligibility::Out => Err(RefusalReason::Out),
        Eligibility::InPlay if !admission.follows => Err(RefusalReason::Out),
        Eligibility::InPlay if !admission.running => Err(RefusalReason::QuestionClosed),
        Eligibility::InPlay => Ok(()),
    }
}

/// What the answer of a player who may answer is worth.
#[must_use]
pub fn assess(merits: &Merits) -> Verdict {
    match (merits.in_time, merits.correct) {
        (true, true) => Verdict::Passed,
        (true, false) => merits.card.settle(Failing::Wrong),
        (false, _) => merits.card.settle(Failing::Late),
    }
}

/// Judges a player who gave no answer, behind the closing barrier.
#[must_use]
pub fn judge_silence(offered: bool, card: &CardFacts) -> Verdict {
    card.settle(if offered { Failing::Silent } else { Failing::Unreachable })
}

#[cfg(test)]
mod tests;
