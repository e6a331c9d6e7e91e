//! Applying the director's events: strictly in order, each at most once.

use super::work::Work;
use super::{Current, OpenQuestion, Pushed, ShowReplica, eligibility, u16_of};
use crate::base::ids::{EventNumber, QuestionIndex, ShowId};
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, QuestionOpening, QuestionPush, ShowEvent};
use crate::quiz::judge::Eligibility;
use crate::quiz::phase::{Phase, Step};
use crate::quiz::player::Mark;
use crate::quiz::report::QuestionCounts;
use crate::quiz::seal::Sealer;
use crate::quiz::users::{UserPlace, Users};

/// What applying an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was the next one.
    Fresh,
    /// It had been applied before; nothing changed.
    Repeated,
}

/// Why an event could not be applied. All of these are our own faults: the mail between two shards
/// is ordered and lossless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// An event is missing.
    #[error(
        "show {show}: event {got} came, but {expected} is the next: mail was lost or reordered"
    )]
    Gap {
        /// Which show.
        show: ShowId,
        /// The next one.
        expected: EventNumber,
        /// The one that came.
        got: EventNumber,
    },
    /// The show's director could not have decided this.
    #[error(
        "show {show}: step {step:?} is impossible while {phase}: director and replica disagree"
    )]
    Impossible {
        /// Which show.
        show: ShowId,
        /// Where this replica stands.
        phase: Phase,
        /// What was to be done.
        step: Step,
    },
    /// The event names another question than the current one.
    #[error(
        "show {show}: the event is about question {got}, not the current one: director and replica disagree"
    )]
    Question {
        /// Which show.
        show: ShowId,
        /// The one it named.
        got: QuestionIndex,
    },
}

impl ShowReplica {
    /// Applies the next event. A repeat changes nothing.
    ///
    /// # Errors
    /// If an event is missing or impossible here. The process must not go on: it would judge by
    /// another state than the director's.
    pub fn apply(
        &mut self,
        numbered: &NumberedEvent,
        users: &mut Users,
    ) -> Result<Applied, ApplyError> {
        assert_eq!(numbered.show, self.definition.id, "an event of another show");
        if numbered.number <= self.last_event {
            return Ok(Applied::Repeated);
        }
        let show = numbered.show;
        if numbered.number != self.last_event.next() {
            let expected = self.last_event.next();
            return Err(ApplyError::Gap { show, expected, got: numbered.number });
        }
        if let ShowEvent::Rain(event) = &numbered.event {
            self.rains.apply(event, self.shard);
            self.last_event = numbered.number;
            return Ok(Applied::Fresh);
        }
        let Some(step) = numbered.event.step() else {
            let (phase, step) = (self.phase, Step::OpenLobby);
            return Err(ApplyError::Impossible { show, phase, step });
        };
        let Some(next) = self.phase.after(step) else {
            return Err(ApplyError::Impossible { show, phase: self.phase, step });
        };
        self.check_question(&numbered.event)?;
        let before = self.phase;
        self.phase = next;
        self.last_event = numbered.number;
        self.enact(numbered, before, users);
        Ok(Applied::Fresh)
    }

    fn check_question(&self, event: &ShowEvent) -> Result<(), ApplyError> {
        let (got, expected) = match event {
            ShowEvent::QuestionOpened(opening) => {
                (opening.question.index(), Some(self.voided.len()))
            }
            ShowEvent::QuestionPushed(QuestionPush { question, .. })
            | ShowEvent::QuestionWithdrawn { question } => {
                (question.index(), Some(self.voided.len()))
            }
            ShowEvent::QuestionExtended { question, .. }
            | ShowEvent::QuestionClosing { question, .. }
            | ShowEvent::QuestionClosed { question, .. }
            | ShowEvent::QuestionVoided { question }
            | ShowEvent::Rejudging { question, .. }
            | ShowEvent::Rejudged { question, .. } => {
                (question.index(), self.voided.len().checked_sub(1))
            }
            ShowEvent::Revealed(reveal) => {
                (reveal.question.index(), self.voided.len().checked_sub(1))
            }
            ShowEvent::Announced(_)
            | ShowEvent::LobbyOpened
            | ShowEvent::Paused
            | ShowEvent::Resumed
            | ShowEvent::Settling
            | ShowEvent::Settled(_)
            | ShowEvent::Cancelled
            | ShowEvent::Ended
            | ShowEvent::Rain(_) => return Ok(()),
        };
        if Some(got) == expected && got < self.definition.questions.len() {
            return Ok(());
        }
        let got = QuestionIndex(u16::try_from(got).unwrap_or(u16::MAX));
        Err(ApplyError::Question { show: self.definition.id, got })
    }

    /// Does what an event says; that it may is checked.
    fn enact(&mut self, numbered: &NumberedEvent, before: Phase, users: &mut Users) {
        if numbered.event == ShowEvent::Cancelled {
            self.pushed = None;
        }
        if matches!(numbered.event, ShowEvent::Settling | ShowEvent::Cancelled)
            && before != Phase::Settling
        {
            self.final_since = numbered.decided_at;
        }
        match &numbered.event {
            ShowEvent::QuestionPushed(push) => {
                self.pushed = Some(Pushed::new(&self.definition, push));
            }
            ShowEvent::QuestionWithdrawn { .. } => self.pushed = None,
            ShowEvent::QuestionOpened(opening) => self.open(opening, numbered.decided_at),
            ShowEvent::QuestionExtended { show_by, answer_by, .. } => {
                let shown = &mut self.current_mut().shown;
                shown.show_by = *show_by;
                shown.answer_by = *answer_by;
                self.admit_late_joins();
            }
            ShowEvent::QuestionClosing { answer_by, .. } => {
                self.current_mut().shown.answer_by = *answer_by;
                self.work = Some(Work::silence(self.roster.bucket_count()));
                self.admit_late_joins();
                self.late_joins = Vec::new();
            }
            ShowEvent::QuestionClosed { .. } => {
                assert!(self.work.is_none(), "closed before this shard had settled");
            }
            ShowEvent::Revealed(reveal) => self.reveal = Some(reveal.clone()),
            ShowEvent::QuestionVoided { question } => {
                if let Some(last) = self.voided.last_mut() {
                    *last = true;
                }
                self.reveal = self.reveal.take().filter(|reveal| reveal.question != *question);
                self.undo_current(users);
            }
            ShowEvent::Rejudging { correct, revision, .. } => {
                let current = self.current_mut();
                current.correct = *correct;
                current.revision = *revision;
                self.work = Some(Work::rejudge(self.roster.bucket_count()));
            }
            ShowEvent::Settling => self.work = Some(Work::freeze(self.roster.bucket_count())),
            ShowEvent::Settled(settlement) => {
                assert!(self.work.is_none(), "settled before this shard had frozen");
                self.settlement = Some(*settlement);
                self.settled_at = numbered.decided_at;
                self.work = Some(Work::pay(self.roster.bucket_count()));
            }
            ShowEvent::Cancelled if before.hides_verdicts() => {
                if let Some(last) = self.voided.last_mut() {
                    *last = true;
                }
                self.undo_current(users);
            }
            // Some players were judged by the corrected key already, and whose turn it was is luck.
            ShowEvent::Cancelled if before == Phase::Rejudging => self.complete_work(users),
            ShowEvent::Cancelled => self.work = None,
            ShowEvent::Ended => {
                assert!(self.work.is_none(), "ended before this shard had paid");
            }
            ShowEvent::Announced(_)
            | ShowEvent::LobbyOpened
            | ShowEvent::Rejudged { .. }
            | ShowEvent::Paused
            | ShowEvent::Resumed
            | ShowEvent::Rain(_) => {}
        }
    }

    fn open(&mut self, opening: &QuestionOpening, decided_at: Time) {
        let eliminated = self.current.as_ref().map_or(0, |current| current.counts.eliminated);
        self.in_play_before -= eliminated;
        let place = opening.question.index();
        let by_key = self.pushed.take().is_some();
        let definition = &self.definition.questions[place];
        self.current = Some(Current {
            shown: OpenQuestion {
                question: opening.question,
                show_at: opening.show_at,
                show_by: opening.show_by,
                answer_by: opening.answer_by,
                commitment: opening.commitment,
                last: place + 1 == self.definition.questions.len(),
                by_key,
            },
            opened_at: decided_at,
            sealer: Sealer::new(&opening.result_key, self.definition.id, opening.question),
            correct: definition.correct,
            option_count: definition.options.len(),
            coverage: self.definition.revive,
            counts: QuestionCounts::default(),
            revision: 0,
        });
        self.voided.push(false);
    }

    /// Everybody stands again where they stood before the current question, which is void. Walks
    /// all players at once, because the next command may come in the same turn; voids are rare.
    fn undo_current(&mut self, users: &mut Users) {
        self.work = None;
        self.current = None;
        self.late_joins = Vec::new();
        let mut in_play = 0;
        for bucket in 0..self.roster.bucket_count() {
            for place in 0..self.roster.count(bucket) {
                let player = self.roster.at_mut(bucket, place);
                let entry = users.entry_mut(UserPlace { bucket, slot: player.slot });
                // Whoever was not touched since an earlier question still carries that one.
                let undone = Mark::of(QuestionIndex(u16_of(self.voided.len() - 1)));
                if player.current() == undone {
                    player.undo(entry);
                } else {
                    player.fold(entry);
                }
                in_play += u64::from(eligibility(&self.voided, player) == Eligibility::InPlay);
            }
        }
        self.in_play_before = in_play;
    }
}
