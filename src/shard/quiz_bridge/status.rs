//! How a show stands, for operators.

use std::time::Duration;

use crate::base::ids::{EventNumber, QuestionIndex, RoomId, ShardId, ShowId};
use crate::base::time::Time;
use crate::quiz::director::{CommandKind, LiveFigures, Notice};
use crate::quiz::event::Settlement;
use crate::quiz::money::Cents;
use crate::quiz::rain::RainStatus;
use crate::quiz::report::QuestionCounts;

/// A show as its director sees it. Tells what is not revealed: for operators only.
#[derive(Clone, Debug)]
pub struct ShowStatus {
    /// Which show.
    pub show: ShowId,
    /// For people.
    pub title: String,
    /// Where its audience is.
    pub room: RoomId,
    /// When it is announced to start, Unix milliseconds; 0 if that is not said.
    pub starts_at_unix_ms: i64,
    /// What the winners share.
    pub prize_pool: Cents,
    /// Number of questions of the show.
    pub question_count: usize,
    /// How long a question may lie with the clients, sealed, before it opens.
    pub early_push_max: Duration,
    /// The question that lies there.
    pub pushed: Option<QuestionIndex>,
    /// What the director decided last: it changes with every step of the show.
    pub last_event: EventNumber,
    /// As of the last tallies.
    pub live: LiveFigures,
    /// What can be ordered now.
    pub allowed: Vec<CommandKind>,
    /// The questions that were opened, in order.
    pub questions: Vec<OpenedQuestion>,
    /// How the prize was split, once it is.
    pub settlement: Option<Settlement>,
    /// True once every shard has paid its winners.
    pub is_paid_out: bool,
    /// What the operator should know, oldest first.
    pub notices: Vec<Notice>,
    /// Shards whose journals stand still: nothing of theirs is acknowledged.
    pub journals_standing: Vec<ShardId>,
    /// The red-packet rains, in the order in which they were planned.
    pub rains: Vec<RainStatus>,
    /// Money for rains that is not planned.
    pub rain_fund: Cents,
}

/// A question that was opened.
#[derive(Clone, Debug)]
pub struct OpenedQuestion {
    /// Which.
    pub question: QuestionIndex,
    /// When the director decided to publish it.
    pub published_at: Time,
    /// Latest display.
    pub show_by: Time,
    /// Last moment for an answer's arrival, extensions included.
    pub answer_by: Time,
    /// Once it is closed: how it went, over all shards.
    pub counts: Option<QuestionCounts>,
    /// Once it is closed: players still in the game after it.
    pub in_play: u64,
    /// It counts for nobody.
    pub is_voided: bool,
}
