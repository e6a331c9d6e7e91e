//! The eight checks of an answer, as a function of facts.
//!
//! Checks 1 to 4 (running, not out, current question, the one before passed) decide whether a
//! player may answer at all; they depend only on what has been revealed, so a refusal tells
//! nothing. Checks 5 to 8 (in time, correct, card held, card unused) decide the verdict, and their
//! outcome leaves only sealed. Evaluation takes 5, 6 and 7 first, because they discriminate; both
//! groups are evaluated always, so the order cannot be observed.

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

/// What is known about an answer when it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// 1: the show takes answers now.
    pub running: bool,
    /// 2: the player's standing before this question.
    pub eligibility: Eligibility,
    /// 3: the answer names the current question.
    pub current: bool,
    /// 4: the last question that the player passed is the one before (none for the first).
    pub follows: bool,
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

/// Judges an answer.
///
/// # Errors
/// If the player may not answer: by checks 1 to 4, which see nothing unrevealed.
pub fn judge(facts: &Facts) -> Result<Verdict, RefusalReason> {
    let verdict = match (facts.in_time, facts.correct) {
        (true, true) => Verdict::Passed,
        (true, false) => facts.card.settle(Failing::Wrong),
        (false, _) => facts.card.settle(Failing::Late),
    };
    let refusal = if !facts.running {
        Some(RefusalReason::NotRunning)
    } else if !facts.current {
        Some(RefusalReason::NotCurrentQuestion)
    } else {
        match facts.eligibility {
            Eligibility::Spectator => Some(RefusalReason::Spectator),
            Eligibility::Out => Some(RefusalReason::Out),
            Eligibility::InPlay => (!facts.follows).then_some(RefusalReason::Out),
        }
    };
    refusal.map_or(Ok(verdict), Err)
}

/// Judges a player who gave no answer, behind the closing barrier.
#[must_use]
pub fn judge_silence(offered: bool, card: &CardFacts) -> Verdict {
    card.settle(if offered { Failing::Silent } else { Failing::Unreachable })
}

#[cfg(test)]
mod tests;
