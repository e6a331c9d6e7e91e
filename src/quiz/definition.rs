//! What an operator defines before a show: static data, in memory before it starts.

use std::time::Duration;

use crate::base::ids::{OptionIndex, RoomId, ShowId};
use crate::quiz::money::Cents;

/// A show as it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowDefinition {
    /// Not 0.
    pub id: ShowId,
    /// The room whose lanes carry the show; not 0. Two shows never share a room.
    pub room: RoomId,
    /// For people.
    pub title: String,
    /// When the show is planned to start, Unix milliseconds. The director only displays it.
    pub starts_at_unix_ms: i64,
    /// What the winners share: 0 to [`crate::base::limits::PRIZE_POOL_CENTS_MAX`].
    pub prize_pool: Cents,
    /// The account that gets the remainder of the split.
    pub remainder_account: String,
    /// What a revive card covers.
    pub revive: ReviveCoverage,
    /// The times of its questions.
    pub timing: Timing,
    /// 1 to [`crate::base::limits::QUESTIONS_MAX`].
    pub questions: Vec<QuestionDefinition>,
}

/// A question as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionDefinition {
    /// What is asked.
    pub text: String,
    /// 2 to 6, all different.
    pub options: Vec<String>,
    /// Which option is correct.
    pub correct: OptionIndex,
}

/// Which failures a revive card makes good, at most once per show and never on the last question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviveCoverage {
    /// A wrong option.
    pub wrong: bool,
    /// An answer that came too late, or none although the question was offered.
    pub late: bool,
    /// No open connection while the question was open.
    pub unreachable: bool,
}

impl Default for ReviveCoverage {
    fn default() -> ReviveCoverage {
        ReviveCoverage { wrong: true, late: false, unreachable: false }
    }
}

/// The times of every question of a show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the director's publish to `show_at`: every shard must have the question by then.
    pub lead: Duration,
    /// From `show_at` to `show_by`: how long the client may wait for the stream's clock.
    pub display_slack: Duration,
    /// From `show_by` to `answer_by`.
    pub countdown: Duration,
    /// How long after `answer_by` a retry ticket is still taken.
    pub ticket_life: Duration,
    /// How much later than the gateway's clock the slowest stream runs; silence is settled only
    /// after it.
    pub stream_delay: Duration,
    /// By how much a question may be extended in all when a shard had it late.
    pub extension_max: Duration,
    /// How long before it opens the next question may lie with the clients, sealed, at most; zero:
    /// questions are not pushed early.
    pub early_push_max: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            lead: Duration::from_millis(200),
            display_slack: Duration::from_millis(1_000),
            countdown: Duration::from_secs(10),
            ticket_life: Duration::from_millis(2_000),
            stream_delay: Duration::ZERO,
            extension_max: Duration::from_secs(10),
            early_push_max: Duration::ZERO,
        }
    }
}
