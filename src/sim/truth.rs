//! What truly happened on the players' side: known to the simulation, not to the shards.

use crate::base::ids::{EventNumber, OptionIndex, QuestionIndex, UserId};
use crate::base::time::Time;
use crate::shard::session::State;

/// An answer that a player sent, from the tap to the reply.
#[derive(Clone, Debug)]
pub(crate) struct SentAnswer {
    pub(crate) user: UserId,
    /// The place of its show.
    pub(crate) show: usize,
    pub(crate) question: QuestionIndex,
    pub(crate) option: OptionIndex,
    /// A retry, with its ticket.
    pub(crate) has_ticket: bool,
    /// The connection that it was sent on.
    pub(crate) link: usize,
    /// The client knew itself in the show's room when it sent this.
    pub(crate) in_room: bool,
    /// When its last byte reached the host.
    pub(crate) arrived_at: Option<Time>,
    pub(crate) taken: Option<Taken>,
    pub(crate) reply: Option<Reply>,
}

/// How a shard took an answer in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) at: Time,
    /// The stamp that the shard was given.
    pub(crate) stamp: Time,
    /// Where the connection stood, if it was there before and after.
    pub(crate) state: Option<State>,
    /// The last event of the show that the shard had applied.
    pub(crate) applied: EventNumber,
    /// It was asked to come again, with a ticket.
    pub(crate) deferred: bool,
    /// The start of the process that took it.
    pub(crate) run: u64,
}

/// What a player was told about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Acknowledged,
    Retry,
    Refused(crate::wire::proto::Reason),
}
