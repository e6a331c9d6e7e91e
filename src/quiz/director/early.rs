//! The next question, pushed early: what is fixed then, and how long it may lie there.

use super::{CommandError, Director, Notice};
use crate::base::entropy::Entropy;
use crate::base::ids::QuestionIndex;
use crate::base::time::Time;
use crate::quiz::event::{QuestionPush, ShowEvent};
use crate::quiz::seal::{SecretKey, commitment};

/// A question that lies with the clients, sealed. Its keys are drawn when it is pushed: the
/// commitment goes with it, and both keys are journaled before they are used.
pub(super) struct Pushed {
    pub(super) push: QuestionPush,
    /// It is taken back then.
    until: Time,
}

impl Director {
    /// The question that lies with the clients, sealed.
    #[must_use]
    pub fn pushed_question(&self) -> Option<QuestionIndex> {
        self.pushed.as_ref().map(|pushed| pushed.push.question)
    }

    /// Whether the next question may be pushed early, apart from the phase.
    pub(super) fn may_push(&self) -> Result<QuestionIndex, CommandError> {
        if self.definition.timing.early_push_max.is_zero() {
            return Err(CommandError::NoEarlyPush);
        }
        if let Some(question) = self.pushed_question() {
            return Err(CommandError::PushedAlready { question });
        }
        self.next_question().ok_or(CommandError::NoQuestionLeft)
    }

    pub(super) fn push_early(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
    ) -> Result<ShowEvent, CommandError> {
        let push = self.drawn(self.may_push()?, entropy);
        self.push_again(&push, now);
        Ok(ShowEvent::QuestionPushed(push))
    }

    /// The question lies with the clients since `at`.
    pub(super) fn push_again(&mut self, push: &QuestionPush, at: Time) {
        let until = at + self.definition.timing.early_push_max;
        self.pushed = Some(Pushed { push: push.clone(), until });
    }

    pub(super) fn withdraw(&mut self) -> Result<ShowEvent, CommandError> {
        let pushed = self.pushed.take().ok_or(CommandError::NothingPushed)?;
        Ok(ShowEvent::QuestionWithdrawn { question: pushed.push.question })
    }

    /// What the question opens with: what it was pushed with, or keys drawn now.
    pub(super) fn take_push(
        &mut self,
        question: QuestionIndex,
        entropy: &mut dyn Entropy,
    ) -> QuestionPush {
        match self.pushed.take() {
            Some(Pushed { push, .. }) => {
                assert_eq!(push.question, question, "only the next question is ever pushed");
                push
            }
            None => self.drawn(question, entropy),
        }
    }

    /// Two independent keys of a question, and the commitment to one of them.
    fn drawn(&self, question: QuestionIndex, entropy: &mut dyn Entropy) -> QuestionPush {
        let result_key = SecretKey::generate(entropy);
        let question_key = SecretKey::generate(entropy);
        let correct = self.definition.questions[question.index()].correct;
        let commitment = commitment(&result_key, correct, self.definition.id, question);
        QuestionPush { question, result_key, question_key, commitment }
    }

    /// When the question that lies with the clients is taken back.
    pub(super) fn push_deadline(&self) -> Option<Time> {
        self.pushed.as_ref().map(|pushed| pushed.until)
    }

    /// Takes back what lay with the clients for too long.
    pub(super) fn expire_push(&mut self, now: Time) {
        if self.push_deadline().is_some_and(|until| until <= now)
            && let Ok(withdrawn) = self.withdraw()
        {
            if let ShowEvent::QuestionWithdrawn { question } = &withdrawn {
                self.notices.push(Notice::PushExpired { question: *question });
            }
            self.emit(now, withdrawn);
        }
    }
}

#[cfg(test)]
mod tests;
