//! What a shard makes durable: commands together with what became of them.

use crate::base::ids::{EventNumber, QuestionIndex, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::event::NumberedEvent;
use crate::quiz::replica::{AnswerInput, TicketStamp, WorkStep};
use crate::quiz::report::Report;
use crate::quiz::verdict::Verdict;

/// One record of a shard's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// What became of it; nothing if that is decided behind the barrier.
        verdict: Option<Verdict>,
        /// The last event that this shard had applied.
        applied: EventNumber,
    },
    /// A user joined a show, or returned to it: present from here on.
    Joined {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// The shard of the connection.
        shard: ShardId,
        /// When it entered the room.
        since: Time,
        /// If the session was over before this was taken up: since when.
        until: Option<Time>,
        /// The last event that this shard had applied.
        applied: EventNumber,
    },
    /// A player's session ended, or left the show's room.
    Absent {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// When.
        at: Time,
        /// The last event that this shard had applied.
        applied: EventNumber,
    },
    /// A player holds a ticket, which binds the option of what arrived later.
    TicketIssued {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// Which question.
        question: QuestionIndex,
        /// Bound to this, from when its answer arrived.
        ticket: TicketStamp,
        /// The last event that this shard had applied.
        applied: EventNumber,
    },
    /// A shard has posted everything that it received in time: silence is settled behind these.
    Drained {
        /// Which show.
        show: ShowId,
        /// Which question.
        question: QuestionIndex,
        /// Which shard.
        from: ShardId,
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
    /// This shard applied a show's next event: what stands behind it was done after it.
    Applied {
        /// Which show.
        show: ShowId,
        /// Its number.
        number: EventNumber,
    },
    /// A slice of work on all players came so far in a bucket.
    Worked {
        /// Which show.
        show: ShowId,
        /// How far.
        step: WorkStep,
        /// The last event that this shard had applied.
        applied: EventNumber,
    },
    /// A user was given a revive card.
    CardGranted {
        /// Who.
        user: UserId,
    },
}
