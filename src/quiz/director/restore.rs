//! A director from what it decided: after a restart it goes on where its last durable event is.
//!
//! Acknowledgements and summaries are not on record. Shards that begin again say once more how far
//! they are, and report once more what they have done.

use std::time::Duration;

use super::question::Coverage;
use super::{Director, Notice};
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::phase::Phase;

impl Director {
    /// The director that has decided all of `history`, the announcement first.
    ///
    /// # Panics
    /// If the history does not begin with an announcement or has impossible steps: it was read from
    /// a journal whose checks it passed.
    #[must_use]
    pub fn restored(history: &[NumberedEvent], shard_count: u16, bucket_count: u16) -> Director {
        let Some((first, later)) = history.split_first() else {
            panic!("a history begins with the announcement");
        };
        let ShowEvent::Announced(definition) = &first.event else {
            panic!("a history begins with the announcement");
        };
        let announced_at = first.decided_at;
        let mut director =
            Director::new(definition.clone(), shard_count, bucket_count, announced_at);
        for event in later {
            director.decide_again(event);
        }
        director.events.clear();
        director
    }

    fn decide_again(&mut self, numbered: &NumberedEvent) {
        assert_eq!(numbered.number, self.last_event.next(), "a history has no gaps");
        if let ShowEvent::Rain(event) = &numbered.event {
            self.rains.apply(event);
            self.last_event = numbered.number;
            return;
        }
        let step = numbered.event.step().expect("a show is announced once");
        match &numbered.event {
            ShowEvent::QuestionPushed(push) => self.push_again(push, numbered.decided_at),
            ShowEvent::QuestionWithdrawn { .. } => self.pushed = None,
            ShowEvent::QuestionOpened(opening) => {
                self.pushed = None;
                self.begin_question(opening);
            }
            ShowEvent::QuestionExtended { show_by, answer_by, .. } => {
                let state = self.question.as_mut().expect("a question is open");
                (state.show_by, state.answer_by) = (*show_by, *answer_by);
                self.tickets_until = self.close_after(*answer_by);
            }
            ShowEvent::QuestionClosing { answer_by, is_offered, .. } => {
                let state = self.question.as_mut().expect("a question is open");
                state.answer_by = *answer_by;
                state.coverage = if *is_offered { Coverage::Complete } else { Coverage::Failed };
            }
            ShowEvent::QuestionClosed { counts, in_play, .. } => {
                let state = self.question.as_mut().expect("a question is closing");
                (state.counts, state.in_play) = (*counts, *in_play);
                state.coverage = Coverage::Complete;
            }
            ShowEvent::Rejudging { correct, revision, .. } => {
                let state = self.question.as_mut().expect("a question is revealed");
                (state.correct, state.revision) = (*correct, *revision);
            }
            ShowEvent::Rejudged { counts, in_play, .. } => {
                let state = self.question.as_mut().expect("a question is judged again");
                (state.counts, state.in_play) = (*counts, *in_play);
            }
            ShowEvent::QuestionVoided { .. } => {
                self.question = None;
                if let Some(last) = self.voided.last_mut() {
                    *last = true;
                }
            }
            ShowEvent::Settled(settlement) => self.settlement = Some(*settlement),
            ShowEvent::Cancelled => self.pushed = None,
            ShowEvent::Announced(_)
            | ShowEvent::LobbyOpened
            | ShowEvent::Revealed(_)
            | ShowEvent::Paused
            | ShowEvent::Resumed
            | ShowEvent::Settling
            | ShowEvent::Ended
            | ShowEvent::Rain(_) => {}
        }
        self.phase = self.phase.after(step).expect("only possible steps were decided");
        self.last_event = numbered.number;
    }

    /// Goes on after a restart. An open question gets as much time as it had at first, and `grace`
    /// for players to come back: nobody could answer it meanwhile. If it was open for longer than
    /// `open_max` by then, the operator decides.
    pub fn resume(&mut self, now: Time, grace: Duration, open_max: Duration) {
        let timing = self.definition.timing;
        let Some(state) = self.question.as_mut() else { return };
        let question = state.index;
        if self.phase == Phase::Closing && state.coverage == Coverage::Failed {
            let late = state.late_shards();
            return self.notices.push(Notice::VoidNeeded { question, late });
        }
        if self.phase != Phase::Open {
            return;
        }
        let show_by = now + grace + timing.lead + timing.display_slack;
        if show_by.since(state.first_show_by) > open_max {
            state.coverage = Coverage::Failed;
            let late = state.late_shards();
            return self.notices.push(Notice::VoidNeeded { question, late });
        }
        // What shards need beyond this is counted from here.
        state.first_show_by = show_by;
        state.show_by = show_by;
        state.answer_by = show_by + timing.countdown;
        let answer_by = state.answer_by;
        self.tickets_until = self.close_after(answer_by);
        self.notices.push(Notice::ResumedAfterRestart { question, show_by });
        self.emit(now, ShowEvent::QuestionExtended { question, show_by, answer_by });
    }
}

#[cfg(test)]
mod tests;
