//! What a shard makes durable: commands together with what became of them.

use crate::base::ids::{EventNumber, QuestionIndex, RainIndex, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::event::NumberedEvent;
use crate::quiz::local::{Gift, GiftReturn};
use crate::quiz::money::Cents;
use crate::quiz::replica::{AnswerInput, Prizes, TicketStamp, UsedCards, WorkStep};
use crate::quiz::report::Report;
use crate::quiz::requests::MoneyKey;
use crate::quiz::verdict::Verdict;
use crate::shard::coverage::Reach;
use crate::shard::standing::StandingRecord;

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
        /// When.
        at: Time,
    },
    /// A user was given a revive card.
    CardGranted {
        /// Who.
        user: UserId,
        /// Random: tells this grant from all others.
        grant: u64,
        /// When.
        at: Time,
    },
    /// Revive cards of a user expired.
    CardsExpired {
        /// Whose.
        user: UserId,
        /// Random: tells this expiry from all others.
        expiry: u64,
        /// How many, at least one.
        cards: u8,
        /// When.
        at: Time,
    },
    /// Winners of a bucket were paid. The same may be on record again when it was done again.
    Prizes {
        /// Of which show.
        show: ShowId,
        /// Whom, what, and as of when.
        prizes: Prizes,
    },
    /// Cards that players of a bucket used in a show, once nothing of it can be undone. The same may be
    /// on record again.
    CardsUsed {
        /// In which show.
        show: ShowId,
        /// Who, where, and as of when.
        cards: UsedCards,
    },
    /// An operator's order that stays in force.
    Standing(Box<StandingRecord>),
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
        /// Which of the user's withdrawals, from 1.
        number: u64,
        /// How much.
        cents: Cents,
        /// The balance after it.
        balance: Cents,
    },
    /// A withdrawal was paid, or came back.
    WithdrawalClosed {
        /// Which of the user's.
        number: u64,
        /// Otherwise it is back in the balance.
        is_paid: bool,
        /// How much it was.
        cents: Cents,
        /// The balance after it.
        balance: Cents,
    },
    /// A gift to a room.
    Gifted {
        /// By which the request is known again.
        key: MoneyKey,
        /// Which of the user's gifts, from 1.
        number: u64,
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
    /// A gift could not be shown, and its price is back in the balance.
    GiftReturned {
        /// By which it is known.
        key: MoneyKey,
        /// Which of the user's gifts.
        number: u64,
        /// Its price.
        cents: Cents,
        /// Why.
        why: GiftReturn,
        /// The balance after it.
        balance: Cents,
    },
    /// A request that is done is forgotten because of its age: its key may be used again.
    RequestForgotten {
        /// By which it was known.
        key: MoneyKey,
        /// A gift; else a withdrawal.
        is_gift: bool,
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
            | MoneyRecord::GiftReturned { .. }
            | MoneyRecord::RequestForgotten { .. }
            | MoneyRecord::InvitationAsked { .. }
            | MoneyRecord::InvitationAccepted { .. }
            | MoneyRecord::InvitationAnswered { .. } => ShowId(0),
        }
    }
}
