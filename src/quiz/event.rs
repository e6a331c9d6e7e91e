//! What a director decides: numbered show events, the only thing that travels from it to the
//! replicas.
//!
//! A director numbers its events without gaps from 1. The shard layer makes each durable and then
//! posts it to every shard; a replica applies them strictly in order and ignores repeats. Events
//! are the process's own: some carry secrets and the correct options, so none is ever sent to a
//! player as it is.

use std::sync::Arc;

use crate::base::ids::{EventNumber, OptionIndex, QuestionIndex, ShowId};
use crate::base::limits::OPTIONS_MAX;
use crate::base::time::Time;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::money::Cents;
use crate::quiz::phase::Step;
use crate::quiz::rain::RainEvent;
use crate::quiz::report::QuestionCounts;
use crate::quiz::seal::{KEY_BYTES, SecretKey};

/// An event with its place in its show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// Which show.
    pub show: ShowId,
    /// Without gaps, from 1.
    pub number: EventNumber,
    /// When the director decided it, on the host's monotonic clock.
    pub decided_at: Time,
    /// What was decided.
    pub event: ShowEvent,
}

/// What a director can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShowEvent {
    /// The show exists: always number 1. Holds the correct options.
    Announced(Arc<ShowDefinition>),
    /// The audience may gather.
    LobbyOpened,
    /// The next question goes out ahead of its time, sealed: nobody can read it yet.
    QuestionPushed(QuestionPush),
    /// The question that lies with the clients will not be opened by its key: the operator changed
    /// their mind, or it lay there for too long. It may be pushed again, under other keys.
    QuestionWithdrawn {
        /// Which question.
        question: QuestionIndex,
    },
    /// A question takes answers.
    QuestionOpened(QuestionOpening),
    /// Some shard had the question too late: everybody gets more time.
    QuestionExtended {
        /// Which question.
        question: QuestionIndex,
        /// The new latest display.
        show_by: Time,
        /// The new last moment for an answer's arrival.
        answer_by: Time,
    },
    /// The time is over and cannot be extended any more. From here on shards drain: each posts its
    /// mark once it has posted everything that it received before `close_after`.
    QuestionClosing {
        /// Which question.
        question: QuestionIndex,
        /// The last moment for an answer's arrival, final now.
        answer_by: Time,
        /// After this no ticket is valid and the slowest stream has passed the countdown.
        close_after: Time,
        /// Every shard had the question by its latest display. A question of which that is not
        /// known waits for the proof, or to be voided.
        is_offered: bool,
    },
    /// Every bucket of every shard has settled the question. For operators only.
    QuestionClosed {
        /// Which question.
        question: QuestionIndex,
        /// The sums over all shards.
        counts: QuestionCounts,
        /// Players still in the game after it.
        in_play: u64,
    },
    /// The result key is public.
    Revealed(Reveal),
    /// The question does not count.
    QuestionVoided {
        /// Which question.
        question: QuestionIndex,
    },
    /// The key of the revealed question was wrong: buckets judge everybody again.
    Rejudging {
        /// Which question.
        question: QuestionIndex,
        /// The option that is correct now.
        correct: OptionIndex,
        /// How often this question was judged again, this time included; from 1.
        revision: u8,
    },
    /// Every bucket has judged again.
    Rejudged {
        /// Which question.
        question: QuestionIndex,
        /// The option that is correct now.
        correct: OptionIndex,
        /// Players still in the game after it.
        in_play: u64,
        /// Sums over all shards, as they are now.
        counts: QuestionCounts,
    },
    /// A pause begins.
    Paused,
    /// The pause is over.
    Resumed,
    /// Buckets freeze: from here on nothing can be voided.
    Settling,
    /// The prize is split; buckets pay their winners.
    Settled(Settlement),
    /// The show is called off; an unrevealed question is undone, nobody is paid.
    Cancelled,
    /// The show is over.
    Ended,
    /// Something about a red-packet rain; moves no phase.
    Rain(RainEvent),
}

/// What is fixed when a question is pushed early: it opens with these keys, or they are never used
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionPush {
    /// Which question: the next one.
    pub question: QuestionIndex,
    /// Will seal the results of this question.
    pub result_key: SecretKey,
    /// Seals the question until it opens; independent of the result key.
    pub question_key: SecretKey,
    /// See [`crate::quiz::seal::commitment`].
    pub commitment: [u8; 32],
}

/// How a question opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionOpening {
    /// Which question; each opens at most once.
    pub question: QuestionIndex,
    /// The earliest display, which the stream's clock decides.
    pub show_at: Time,
    /// The latest display: by then the client shows it whatever the video does.
    pub show_by: Time,
    /// The last moment for an answer's arrival.
    pub answer_by: Time,
    /// Seals the results of this question; released by the reveal.
    pub result_key: SecretKey,
    /// Opens the question where it was pushed early, sealed; independent of the result key.
    pub question_key: SecretKey,
    /// See [`crate::quiz::seal::commitment`].
    pub commitment: [u8; 32],
}

/// What everybody learns at a reveal: the same for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reveal {
    /// Which question.
    pub question: QuestionIndex,
    /// Opens every sealed result of this question. Public from here on.
    pub result_key: [u8; KEY_BYTES],
    /// The correct option.
    pub correct: OptionIndex,
    /// How many chose each option in time; beyond the question's options 0.
    pub option_counts: [u64; OPTIONS_MAX],
    /// Players still in the game.
    pub in_play: u64,
}

/// How the prize was split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Players who passed every question that counts.
    pub winners: u64,
    /// What there was to share.
    pub pool: Cents,
    /// What each winner gets.
    pub per_head: Cents,
    /// What goes to the show's remainder account.
    pub remainder: Cents,
    /// Over every user, question and verdict; see [`crate::quiz::report::game_hash`].
    pub game_hash: [u8; 32],
}

impl ShowEvent {
    /// How this event moves the phase; nothing for the announcement, which begins it, and for rains,
    /// which fall in almost any.
    #[must_use]
    pub const fn step(&self) -> Option<Step> {
        Some(match self {
            ShowEvent::Announced(_) | ShowEvent::Rain(_) => return None,
            ShowEvent::LobbyOpened => Step::OpenLobby,
            ShowEvent::QuestionPushed(_) => Step::PushQuestion,
            ShowEvent::QuestionWithdrawn { .. } => Step::WithdrawQuestion,
            ShowEvent::QuestionOpened(_) => Step::OpenQuestion,
            ShowEvent::QuestionExtended { .. } => Step::ExtendQuestion,
            ShowEvent::QuestionClosing { .. } => Step::BeginClosing,
            ShowEvent::QuestionClosed { .. } => Step::CloseQuestion,
            ShowEvent::Revealed(_) => Step::Reveal,
            ShowEvent::QuestionVoided { .. } => Step::Void,
            ShowEvent::Rejudging { .. } => Step::BeginRejudging,
            ShowEvent::Rejudged { .. } => Step::FinishRejudging,
            ShowEvent::Paused => Step::Pause,
            ShowEvent::Resumed => Step::Resume,
            ShowEvent::Settling => Step::BeginSettling,
            ShowEvent::Settled(_) => Step::FinishSettling,
            ShowEvent::Cancelled => Step::Cancel,
            ShowEvent::Ended => Step::End,
        })
    }
}
