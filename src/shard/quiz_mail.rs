//! What shards say to each other about shows.

use crate::base::ids::{ConnId, EventNumber, QuestionIndex, RoomId, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::event::NumberedEvent;
use crate::quiz::judge::RefusalReason;
use crate::quiz::replica::snapshot::PlayerSnapshot;
use crate::quiz::replica::{AnswerInput, PlayerResult, TicketStamp};
use crate::quiz::report::{Report, Tally};
use crate::quiz::seal::SealedResult;
use crate::shard::operator::OperatorError;
use crate::wire::proto;

/// One message about a show.
#[derive(Clone, Debug)]
pub enum QuizMail {
    /// Director → every shard: decided, and durable.
    Event(Box<NumberedEvent>),
    /// Director's home → the shard that admits shows: may this one be announced?
    Reserve {
        /// Which show.
        show: ShowId,
        /// The room that is to carry it.
        room: RoomId,
    },
    /// The shard that admits shows → director's home.
    Reserved {
        /// Which show.
        show: ShowId,
        /// Whether it may be announced, or why not.
        outcome: Result<(), OperatorError>,
    },
    /// Every shard → director: applied, and a question is queued for everybody who is in the room.
    Acknowledged {
        /// Which show.
        show: ShowId,
        /// Which event.
        event: EventNumber,
        /// When it was applied and queued.
        applied_at: Time,
    },
    /// Connection's shard → user's home: the user is in the show's room. Waits for the event.
    Joined {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// The connection, on the sending shard.
        conn: ConnId,
        /// Since when.
        since: Time,
        /// The last event that the sender has applied.
        applied: EventNumber,
    },
    /// Connection's shard → user's home: the user has left the show's room. Waits for the event,
    /// like the join that it ends.
    Left {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// The connection, on the sending shard.
        conn: ConnId,
        /// When.
        at: Time,
        /// The last event that the sender has applied.
        applied: EventNumber,
    },
    /// User's home → connection's shard: what the user may know.
    Snapshot {
        /// Which show.
        show: ShowId,
        /// The connection, on the receiving shard.
        conn: ConnId,
        /// As of the last reveal.
        snapshot: Box<PlayerSnapshot>,
    },
    /// Connection's shard → user's home. Waits for the event that the sender has applied.
    Answer(Box<AnswerMail>),
    /// Connection's shard → user's home: the user is to hold a ticket, which binds the option of what
    /// arrived later. Waits.
    TicketIssued {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// Which question.
        question: QuestionIndex,
        /// Bound to this, from when its answer arrived.
        ticket: TicketStamp,
        /// The last event that the sender has applied.
        applied: EventNumber,
        /// What comes back once that is durable.
        retry: Box<RetryReply>,
    },
    /// User's home → connection's shard: the ticket binds, whatever happens; it may be handed out.
    TicketBinds(Box<RetryReply>),
    /// User's home → the shard of the session that exists: what became of an answer.
    AnswerReply(Box<AnswerReply>),
    /// User's home → connection's shard: results of many players who did not ask for them.
    Results {
        /// Which show.
        show: ShowId,
        /// The connections, on the receiving shard, and their users' results.
        results: Vec<(ConnId, PlayerResult)>,
    },
    /// Every shard → every shard, behind all answers it received in time. Waits.
    Drained {
        /// Which show.
        show: ShowId,
        /// Which question.
        question: QuestionIndex,
        /// The last event that the sender has applied.
        applied: EventNumber,
    },
    /// Every shard → director: a piece of work is complete.
    Reported {
        /// Which show.
        show: ShowId,
        /// Which piece.
        report: Box<Report>,
    },
    /// A shard whose journal stands still → every shard, again and again, and once when it goes on.
    JournalStands {
        /// Otherwise it goes on.
        stands: bool,
    },
    /// Every shard → director, now and then: live figures.
    Tally {
        /// Which show.
        show: ShowId,
        /// The sender's.
        tally: Box<Tally>,
    },
}

/// An answer is to come again, with a ticket.
#[derive(Clone, Debug)]
pub struct RetryReply {
    /// The connection, on the shard that issued the ticket.
    pub conn: ConnId,
    /// Of the request.
    pub sequence: Box<str>,
    /// What the client is told.
    pub retry: proto::RetryAnswer,
}

/// An answer on its way to the user's home.
#[derive(Clone, Debug)]
pub struct AnswerMail {
    /// Which show.
    pub show: ShowId,
    /// Who.
    pub user: UserId,
    /// What, and when it arrived.
    pub input: AnswerInput,
    /// Of the request.
    pub sequence: Box<str>,
    /// The short connection that waits for the reply; nothing if the user's session does.
    pub short: Option<(ShardId, ConnId)>,
}

/// What became of an answer.
#[derive(Clone, Debug)]
pub struct AnswerReply {
    /// The connection, on the receiving shard.
    pub conn: ConnId,
    /// Which show.
    pub show: ShowId,
    /// Which question.
    pub question: QuestionIndex,
    /// Of the request.
    pub sequence: Box<str>,
    /// When the answer had come, by its own stamp.
    pub arrived: Time,
    /// How it ended.
    pub verdict: AnswerVerdict,
}

/// How an answer ended, as far as its sender may know.
#[derive(Clone, Copy, Debug)]
pub enum AnswerVerdict {
    /// On record; this is what it is worth, sealed.
    Recorded(SealedResult),
    /// On record; what it is worth follows when the question is closed.
    Late,
    /// Not on record.
    Refused(RefusalReason),
}
