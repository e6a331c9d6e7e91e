//! What a shard makes durable: commands together with what became of them.

use crate::base::ids::{EventNumber, QuestionIndex, RainIndex, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::event::NumberedEvent;
use crate::quiz::local::Gift;
use crate::quiz::money::Cents;
use crate::quiz::replica::{AnswerInput, TicketStamp, WorkStep};
use crate::quiz::report::Report;
use crate::quiz::requests::MoneyKey;
use crate::quiz::verdict::Verdict;
use crate::shard::coverage::Reach;

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
    /// Something about a user's money, or about what is worth money.
    Money {
        /// Whose.
        user: UserId,
        /// What.
        what: Box<MoneyRecord>,
        /// The last event of its show that this shard had applied; 0 if it is of no show.
        applied: EventNumber,
    },
    /// A user was given a revive card.
    CardGranted {
        /// Who.
        user: UserId,
    },
    /// A question is queued for everybody who is in the show's room on this shard. For the fairness
    /// report: nothing follows from it.
    Offered {
        /// Which show.
        show: ShowId,
        /// Which question.
        question: QuestionIndex,
        /// When.
        at: Time,
        /// Connections that are in the room here.
        connections: u64,
    },
    /// How a question that closes, or is void, came to the connections of this shard. For the
    /// fairness report: nothing follows from it.
    Covered {
        /// Which show.
        show: ShowId,
        /// Which question.
        question: QuestionIndex,
        /// How.
        reach: Box<Reach>,
    },
}

/// What happened to a user's money, and what came of it. What was refused changed nothing and is on
/// no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoneyRecord {
    /// A tap won a packet. The number is an input, the amount follows from the rain's plan.
    Grabbed {
        /// In which show.
        show: ShowId,
        /// Of which rain.
        rain: RainIndex,
        /// Which of the user's taps.
        slot: u8,
        /// The packet's number.
        number: u32,
        /// What it was worth.
        cents: Cents,
    },
    /// Money left the balance, to be paid out.
    Withdrawn {
        /// By which the request is known again.
        key: MoneyKey,
        /// How much.
        cents: Cents,
        /// The balance after it.
        balance: Cents,
    },
    /// A withdrawal was paid, or came back.
    WithdrawalClosed {
        /// By which it is known.
        key: MoneyKey,
        /// Otherwise it is back in the balance.
        is_paid: bool,
        /// The balance after it.
        balance: Cents,
    },
    /// A gift to a room.
    Gifted {
        /// By which the request is known again.
        key: MoneyKey,
        /// What, and where.
        gift: Gift,
        /// The balance after it.
        balance: Cents,
    },
    /// A gift is in its room's lane.
    GiftShown {
        /// By which it is known.
        key: MoneyKey,
    },
    /// A new player named its inviter.
    InvitationAsked {
        /// Whom.
        inviter: UserId,
    },
    /// The inviter's bucket took a new player.
    InvitationAccepted {
        /// Whom.
        invitee: UserId,
        /// Revive cards that the inviter got.
        cards: u8,
    },
    /// The inviter's bucket said yes or no.
    InvitationAnswered {
        /// Who.
        inviter: UserId,
        /// Yes.
        is_accepted: bool,
        /// Revive cards that the new player got.
        cards: u8,
    },
}

impl MoneyRecord {
    /// The show that it is about; 0 if none.
    #[must_use]
    pub fn show(&self) -> ShowId {
        match self {
            MoneyRecord::Grabbed { show, .. } => *show,
            MoneyRecord::Withdrawn { .. }
            | MoneyRecord::WithdrawalClosed { .. }
            | MoneyRecord::Gifted { .. }
            | MoneyRecord::GiftShown { .. }
            | MoneyRecord::InvitationAsked { .. }
            | MoneyRecord::InvitationAccepted { .. }
            | MoneyRecord::InvitationAnswered { .. } => ShowId(0),
        }
    }
}
