//! One question: publish, acknowledgements, extension, closing.

use super::{CommandError, Director, Notice};
use crate::base::entropy::Entropy;
use crate::base::ids::{EventNumber, OptionIndex, QuestionIndex, ShardId};
use crate::base::time::Time;
use crate::quiz::event::{QuestionOpening, QuestionPush, ShowEvent};
use crate::quiz::phase::Phase;
use crate::quiz::report::{ClosedSummary, QuestionCounts};
use crate::quiz::seal::SecretKey;

/// How far the shards have the question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// Not all have acknowledged.
    Awaited,
    /// All had it by `show_by`.
    Complete,
    /// Some had it too late and no extension is left: it can only be voided.
    Failed,
}

/// The question that opened last.
pub(super) struct QuestionState {
    pub(super) index: QuestionIndex,
    opened_as: EventNumber,
    pub(super) first_show_by: Time,
    pub(super) show_by: Time,
    pub(super) answer_by: Time,
    pub(super) coverage: Coverage,
    /// While journals stand still: since when, and whose.
    pub(super) standing: Option<(Time, Vec<ShardId>)>,
    /// By shard: when it had applied the opening.
    applied_at: Vec<Option<Time>>,
    pub(super) result_key: SecretKey,
    pub(super) correct: OptionIndex,
    /// How often it was judged again.
    pub(super) revision: u8,
    summaries: Vec<Option<ClosedSummary>>,
    /// Sums of the summaries, once all are here.
    pub(super) counts: QuestionCounts,
    pub(super) in_play: u64,
}

impl QuestionState {
    pub(super) fn forget_summaries(&mut self) {
        self.summaries.fill(None);
    }

    pub(super) fn late_shards(&self) -> Vec<ShardId> {
        let late = |at: &Option<Time>| at.is_none_or(|at| at > self.show_by);
        (0_u16..)
            .map(ShardId)
            .zip(&self.applied_at)
            .filter(|(_, at)| late(at))
            .map(|(shard, _)| shard)
            .collect()
    }
}

impl Director {
    pub(super) fn publish(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
    ) -> Result<ShowEvent, CommandError> {
        let question = self.next_question().ok_or(CommandError::NoQuestionLeft)?;
        let timing = self.definition.timing;
        let show_at = now + timing.lead;
        let show_by = show_at + timing.display_slack;
        let answer_by = show_by + timing.countdown;
        let QuestionPush { result_key, question_key, commitment, .. } =
            self.take_push(question, entropy);
        let opening = QuestionOpening {
            question,
            show_at,
            show_by,
            answer_by,
            result_key,
            question_key,
            commitment,
        };
        self.begin_question(&opening);
        Ok(ShowEvent::QuestionOpened(opening))
    }

    /// The state of a question that opens with the next event.
    pub(super) fn begin_question(&mut self, opening: &QuestionOpening) {
        if let Some(before) = &self.question {
            self.revived_before += before.counts.revived;
        }
        let shards = usize::from(self.shard_count);
        let index = opening.question;
        self.voided.push(false);
        self.question = Some(QuestionState {
            index,
            opened_as: self.last_event.next(),
            first_show_by: opening.show_by,
            show_by: opening.show_by,
            answer_by: opening.answer_by,
            coverage: Coverage::Awaited,
            standing: None,
            applied_at: vec![None; shards],
            result_key: opening.result_key.clone(),
            correct: self.definition.questions[index.index()].correct,
            revision: 0,
            summaries: vec![None; shards],
            counts: QuestionCounts::default(),
            in_play: 0,
        });
        self.tickets_until = self.close_after(opening.answer_by);
    }

    /// A shard has applied all events up to `number`; that one at `applied_at`. To be posted for
    /// every event, in order. A proof that comes late still counts: what matters is when the shard
    /// had the question, not when we heard of it.
    pub fn acknowledged(
        &mut self,
        now: Time,
        shard: ShardId,
        number: EventNumber,
        applied_at: Time,
    ) {
        let waiting = matches!(self.phase, Phase::Open | Phase::Closing);
        let Some(state) = self.question.as_mut().filter(|_| waiting) else { return };
        let entry = &mut state.applied_at[shard.index()];
        if number >= state.opened_as && entry.is_none() {
            *entry = Some(applied_at);
        }
        if state.coverage == Coverage::Complete || !state.late_shards().is_empty() {
            return;
        }
        if state.coverage == Coverage::Failed {
            self.notices.push(Notice::OfferedAfterAll { question: state.index });
        }
        state.coverage = Coverage::Complete;
        self.close_if_complete(now);
    }

    /// When [`Director::due`] must be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let question = self.question_deadline().into_iter().chain(self.push_deadline());
        question.chain(self.rains.deadline()).min()
    }

    fn question_deadline(&self) -> Option<Time> {
        let state = self.question.as_ref().filter(|_| self.phase == Phase::Open)?;
        if state.standing.is_some() {
            return self.standing_deadline();
        }
        Some(match state.coverage {
            Coverage::Awaited => state.show_by,
            Coverage::Complete | Coverage::Failed => self.close_after(state.answer_by),
        })
    }

    /// Does what is due by `now`; earlier calls do nothing.
    pub fn due(&mut self, now: Time) {
        self.close_due_rains(now);
        self.expire_push(now);
        while self.question_deadline().is_some_and(|deadline| deadline <= now) {
            let state = self.question.as_ref().expect("a deadline has a question");
            if state.standing.is_some() {
                self.stand_too_long();
                continue;
            }
            match state.coverage {
                Coverage::Awaited => self.extend(now, state.late_shards()),
                Coverage::Complete | Coverage::Failed => self.begin_closing(now),
            }
        }
    }

    /// Gives everybody more time because of some shards, or gives up.
    pub(super) fn extend(&mut self, now: Time, late: Vec<ShardId>) {
        let timing = self.definition.timing;
        let show_by = now + timing.lead + timing.display_slack;
        let state = self.question.as_mut().expect("an open question exists");
        let question = state.index;
        // Without lead and slack there is nothing to gain by another round at once.
        if show_by <= now || show_by.since(state.first_show_by) > timing.extension_max {
            state.coverage = Coverage::Failed;
            self.notices.push(Notice::VoidNeeded { question, late });
            return;
        }
        state.show_by = show_by;
        state.answer_by = show_by + timing.countdown;
        let answer_by = state.answer_by;
        // Shards that were late for the old time may be early enough for the new one.
        if state.late_shards().is_empty() {
            state.coverage = Coverage::Complete;
        }
        self.tickets_until = self.close_after(answer_by);
        self.notices.push(Notice::QuestionExtended { question, late, show_by });
        self.emit(now, ShowEvent::QuestionExtended { question, show_by, answer_by });
    }

    fn begin_closing(&mut self, now: Time) {
        let state = self.question.as_ref().expect("an open question exists");
        let (question, answer_by) = (state.index, state.answer_by);
        let is_offered = state.coverage == Coverage::Complete;
        let close_after = self.close_after(answer_by);
        let closing = ShowEvent::QuestionClosing { question, answer_by, close_after, is_offered };
        self.emit(now, closing);
    }

    /// A shard has settled all its buckets, or judged them again. When all have, the question is
    /// closed (or revealed again) — unless some shard did not offer it in time.
    pub fn closed(&mut self, now: Time, summary: ClosedSummary) {
        let waiting = matches!(self.phase, Phase::Closing | Phase::Rejudging);
        let Some(state) = self.question.as_mut().filter(|_| waiting) else { return };
        if state.index != summary.question || state.revision != summary.revision {
            return;
        }
        state.summaries[summary.shard.index()] = Some(summary);
        self.close_if_complete(now);
    }

    fn close_if_complete(&mut self, now: Time) {
        let Some(state) = self.question.as_mut() else { return };
        if state.coverage == Coverage::Failed || state.summaries.iter().any(Option::is_none) {
            return;
        }
        state.counts = QuestionCounts::default();
        state.in_play = 0;
        for summary in state.summaries.iter().flatten() {
            state.counts.add(&summary.counts);
            state.in_play += summary.in_play;
        }
        let (question, counts, in_play) = (state.index, state.counts, state.in_play);
        let correct = state.correct;
        let event = if self.phase == Phase::Closing {
            ShowEvent::QuestionClosed { question, counts, in_play }
        } else {
            ShowEvent::Rejudged { question, correct, in_play, counts }
        };
        self.emit(now, event);
    }

    pub(super) fn close_after(&self, answer_by: Time) -> Time {
        answer_by + self.definition.timing.ticket_life + self.definition.timing.stream_delay
    }
}
