//! What a shard makes durable: commands together with what became of them.

use crate::base::ids::{EventNumber, ShowId, UserId};
use crate::quiz::event::NumberedEvent;
use crate::quiz::replica::AnswerInput;
use crate::quiz::report::Report;

/// One record of a shard's journal.
#[derive(Clone, Debug)]
pub enum Record {
    /// A director's decision.
    Event(Box<NumberedEvent>),
    /// An answer was recorded in its user's bucket.
    Answer {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// What, when, and by which ticket.
        input: AnswerInput,
        /// The last event that this shard had applied.
        applied: EventNumber,
    },
    /// A user joined a show.
    Joined {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// The last event that this shard had applied.
        applied: EventNumber,
    },
    /// A piece of work on all players of this shard is complete.
    Reported {
        /// Which show.
        show: ShowId,
        /// Which piece.
        report: Box<Report>,
    },
    /// A user was given a revive card.
    CardGranted {
        /// Who.
        user: UserId,
    },
}
