//! A show's director: takes the operator's commands, decides, and numbers what it decides.
//!
//! It lives on the show's home shard and knows no player: shards report acknowledgements, tallies
//! and summaries, and it emits [`NumberedEvent`]s. What it decides takes effect in its own state at
//! once; the shard layer makes each event durable and then posts it to *every* shard, its own
//! included, in order.
//!
//! The host gives two commands per question, publish and reveal; when to extend, close and settle
//! is derived here:
//! - At `show_by` every shard must have acknowledged the question, applied by then. If one has not,
//!   everybody gets more time, again and again up to `extension_max` in all. After that the
//!   question can only be voided (or the show cancelled): nobody who was offered nothing because
//!   of us is ever out.
//! - A question may be pushed early, sealed ([`Command::PushEarly`]): for `early_push_max` at most,
//!   then it is taken back.
//! - While a journal stands still ([`Director::journals_stand`]) no question closes: it gets more time
//!   when all go on, or is offered for voiding.
//! - After `answer_by` + ticket life + stream delay the question closes; when every shard has
//!   settled all its buckets, it is closed, and only then can it be revealed.
//!
//! Deliver mail (acknowledgements) before timers in a turn, or a late turn looks like a late shard.
//!
//! Absent: how many are online (rooms know), durability, and who may command.

mod command;
mod early;
mod figures;
mod question;
mod rains;
mod restore;
mod settlement;
mod standing;

use std::fmt;
use std::sync::Arc;

pub use self::command::{Command, CommandError, CommandKind, CommandOutcome, RejudgePreview};
pub use self::figures::LiveFigures;

use self::early::Pushed;
use self::question::QuestionState;
use crate::base::ids::{EventNumber, QuestionIndex, ShardId, ShowId};
use crate::base::limits::{OPTIONS_MAX, OPTIONS_MIN, PRIZE_POOL_CENTS_MAX, QUESTIONS_MAX};
use crate::base::time::Time;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::event::{NumberedEvent, Settlement, ShowEvent};
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::rain::RainDesk;
use crate::quiz::report::{FreezeSummary, PayoutSummary, Tally};

/// What the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A question got more time because these shards had not acknowledged it in time.
    QuestionExtended {
        /// Which question.
        question: QuestionIndex,
        /// The shards that had it late, or have not said yet.
        late: Vec<ShardId>,
        /// The new latest display.
        show_by: Time,
    },
    /// A question can never be settled, because these shards did not have it in time and it cannot
    /// be extended any more: void it, or cancel the show.
    VoidNeeded {
        /// Which question.
        question: QuestionIndex,
        /// The shards that had it late, or have not said yet.
        late: Vec<ShardId>,
    },
    /// The proof that every shard had the question in time came after all: it can be settled.
    OfferedAfterAll {
        /// Which question.
        question: QuestionIndex,
    },
    /// The journals of these shards stand still: nothing of theirs is acknowledged, and the question
    /// does not close before they go on.
    JournalsStand {
        /// Which question.
        question: QuestionIndex,
        /// The shards.
        shards: Vec<ShardId>,
    },
    /// All journals go on.
    JournalsGoOn {
        /// Which question.
        question: QuestionIndex,
    },
    /// The question lay with the clients, sealed, for as long as it may: it was taken back, and the
    /// next publish sends it whole.
    PushExpired {
        /// Which question.
        question: QuestionIndex,
    },
    /// The process began again while a question was open: everybody gets its whole time once more.
    ResumedAfterRestart {
        /// Which question.
        question: QuestionIndex,
        /// The new latest display.
        show_by: Time,
    },
    /// Every shard has paid: `paid + remainder = pool`, checked.
    PaidOut {
        /// What all shards paid together.
        paid: Cents,
        /// What went to the remainder account.
        remainder: Cents,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::QuestionExtended { question, late, show_by } => write!(
                formatter,
                "question {question} is extended, show by {show_by}: late shards {late:?}"
            ),
            Notice::VoidNeeded { question, late } => write!(
                formatter,
                "question {question} must be voided or the show cancelled: shards {late:?} had it \
                 too late and it cannot be extended any more"
            ),
            Notice::OfferedAfterAll { question } => {
                write!(formatter, "question {question} was offered everywhere in time after all")
            }
            Notice::JournalsStand { question, shards } => write!(
                formatter,
                "question {question} stays open: the journals of shards {shards:?} stand still, and \
                 nothing of theirs is acknowledged; look at the disk"
            ),
            Notice::JournalsGoOn { question } => {
                write!(formatter, "question {question}: all journals go on")
            }
            Notice::PushExpired { question } => write!(
                formatter,
                "question {question} was pushed early and not published in time: it is taken \
                 back; publish sends it whole, or push it again"
            ),
            Notice::ResumedAfterRestart { question, show_by } => write!(
                formatter,
                "question {question} was open when the gateway began again: it is extended, show \
                 by {show_by}"
            ),
            Notice::PaidOut { paid, remainder } => {
                write!(formatter, "{paid} cents paid, {remainder} to the remainder account")
            }
        }
    }
}

/// A show's director.
pub struct Director {
    definition: Arc<ShowDefinition>,
    shard_count: u16,
    bucket_count: u16,
    phase: Phase,
    last_event: EventNumber,
    events: Vec<NumberedEvent>,
    notices: Vec<Notice>,
    /// The question that lies with the clients, sealed.
    pushed: Option<Pushed>,
    /// The question that opened last, voided ones included.
    question: Option<QuestionState>,
    /// Whether each question that has been asked is void.
    voided: Vec<bool>,
    /// Until when a ticket may be redeemed, also of a voided question.
    tickets_until: Time,
    tallies: Vec<Tally>,
    /// Cards used at questions that are closed and count.
    revived_before: u64,
    frozen: Vec<Option<FreezeSummary>>,
    settlement: Option<Settlement>,
    paid: Vec<Option<PayoutSummary>>,
    rains: RainDesk,
}

impl Director {
    /// Announces a show: the first event waits in [`Director::take_events`].
    ///
    /// # Panics
    /// If the definition breaks the limits of its type: it is checked when it is loaded.
    #[must_use]
    pub fn new(
        definition: Arc<ShowDefinition>,
        shard_count: u16,
        bucket_count: u16,
        now: Time,
    ) -> Director {
        assert!(shard_count > 0 && bucket_count > 0, "a show needs shards and buckets");
        assert!(
            (1..=QUESTIONS_MAX).contains(&definition.questions.len()),
            "a show has 1 to {QUESTIONS_MAX} questions"
        );
        for question in &definition.questions {
            let options = question.options.len();
            assert!(
                (OPTIONS_MIN..=OPTIONS_MAX).contains(&options),
                "a question has 2 to 6 options"
            );
            assert!(question.correct.index() < options, "the correct option exists");
        }
        assert!(
            (0..=PRIZE_POOL_CENTS_MAX).contains(&definition.prize_pool.0),
            "a prize pool has 0 to {PRIZE_POOL_CENTS_MAX} cents"
        );
        let shards = usize::from(shard_count);
        let mut director = Director {
            definition: definition.clone(),
            shard_count,
            bucket_count,
            phase: Phase::Announced,
            last_event: EventNumber(0),
            events: Vec::new(),
            notices: Vec::new(),
            pushed: None,
            question: None,
            voided: Vec::new(),
            tickets_until: Time::ZERO,
            tallies: vec![Tally::default(); shards],
            revived_before: 0,
            frozen: vec![None; shards],
            settlement: None,
            paid: vec![None; shards],
            rains: RainDesk::new(shard_count),
        };
        director.emit(now, ShowEvent::Announced(definition));
        director
    }

    /// Which show.
    #[must_use]
    pub fn show(&self) -> ShowId {
        self.definition.id
    }

    /// What was announced.
    #[must_use]
    pub fn definition(&self) -> &Arc<ShowDefinition> {
        &self.definition
    }

    /// The number of what was decided last.
    #[must_use]
    pub fn last_event(&self) -> EventNumber {
        self.last_event
    }

    /// Where the show stands, by what is decided.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How the prize was split, once it is.
    #[must_use]
    pub fn settlement(&self) -> Option<&Settlement> {
        self.settlement.as_ref()
    }

    /// The question that the next publish opens.
    #[must_use]
    pub fn next_question(&self) -> Option<QuestionIndex> {
        let next = self.voided.len();
        (next < self.definition.questions.len())
            .then(|| QuestionIndex(u16::try_from(next).unwrap_or(u16::MAX)))
    }

    /// The events decided since the last call, in order: to be made durable, then posted.
    pub fn take_events(&mut self) -> Vec<NumberedEvent> {
        std::mem::take(&mut self.events)
    }

    /// What the operator should know since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Live figures of one shard; an older one than is known changes nothing.
    pub fn tally(&mut self, tally: Tally) {
        let known = &mut self.tallies[tally.shard.index()];
        if tally.applied >= known.applied {
            *known = tally;
        }
    }

    /// Numbers an event and moves the phase by it.
    fn emit(&mut self, now: Time, event: ShowEvent) {
        if let Some(step) = event.step() {
            self.phase = self.phase.after(step).expect("only possible steps are decided");
        }
        self.last_event = self.last_event.next();
        let (show, number) = (self.definition.id, self.last_event);
        self.events.push(NumberedEvent { show, number, decided_at: now, event });
    }
}

#[cfg(test)]
mod tests;
