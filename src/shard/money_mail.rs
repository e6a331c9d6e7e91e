//! What shards say to each other about money.

use crate::base::ids::ShardId;
use crate::base::ids::{ConnId, EventNumber, RainIndex, ShowId, UserId};
use crate::quiz::local::{Gift, GiftReturn};
use crate::quiz::money::Cents;
use crate::quiz::requests::MoneyKey;
use crate::wire::proto;

/// One message about money.
#[derive(Clone, Debug)]
pub enum MoneyMail {
    /// Connection's shard → user's home: the user asks for something.
    Ask {
        /// Who.
        user: UserId,
        /// What.
        ask: MoneyAsk,
        /// Who waits for the answer.
        reply_to: ReplyTo,
    },
    /// User's home → connection's shard: the answer, durable if it promises something. A connection
    /// that is gone asks again: every request has a key or a slot by which it happens once.
    Reply {
        /// Who waits for it.
        reply_to: ReplyTo,
        /// What it says.
        said: Box<Result<proto::response::Payload, proto::Failure>>,
    },
    /// User's home → director: this shard has few packets left.
    PacketsWanted {
        /// Of which show.
        show: ShowId,
        /// Of which rain.
        rain: RainIndex,
    },
    /// New player's home → inviter's home: is this one taken? No second one before the answer.
    AskInviter {
        /// The new player.
        invitee: UserId,
        /// Whom it named.
        inviter: UserId,
    },
    /// Inviter's home → new player's home: yes or no.
    InviterSays {
        /// The new player.
        invitee: UserId,
        /// Whom it named.
        inviter: UserId,
        /// Yes.
        is_accepted: bool,
    },
    /// Giver's home → room's home: to be shown.
    Gift {
        /// From whom.
        user: UserId,
        /// By which the giver's home knows it.
        key: MoneyKey,
        /// What.
        gift: Gift,
    },
    /// Room's home → giver's home: it is in the room's lane.
    GiftShown {
        /// From whom.
        user: UserId,
        /// Which one.
        key: MoneyKey,
    },
    /// Room's home → giver's home: it cannot be shown.
    GiftRefused {
        /// From whom.
        user: UserId,
        /// Which one.
        key: MoneyKey,
        /// Why.
        why: GiftReturn,
    },
}

/// What a user can ask for.
#[derive(Clone, Debug)]
pub enum MoneyAsk {
    /// A tap.
    Grab {
        /// In which show.
        show: ShowId,
        /// At which rain.
        rain: RainIndex,
        /// Which of the user's.
        slot: u8,
        /// The last event that the sender has applied.
        applied: EventNumber,
    },
    /// Money out of the balance.
    Withdraw {
        /// Happens once.
        key: MoneyKey,
        /// How much.
        cents: Cents,
    },
    /// A gift to a room.
    Give {
        /// Happens once.
        key: MoneyKey,
        /// What, and where.
        gift: Gift,
    },
    /// To have come by somebody's invitation.
    Redeem {
        /// Whose.
        inviter: UserId,
    },
    /// What one has.
    Purse,
}

/// Who waits for an answer.
#[derive(Clone, Debug)]
pub enum ReplyTo {
    /// A client.
    Client {
        /// The connection's shard.
        shard: ShardId,
        /// The connection.
        conn: ConnId,
        /// Of the request.
        sequence: Box<str>,
    },
    /// Another thread of this process.
    Caller {
        /// The shard that it asked.
        shard: ShardId,
        /// Matches the answer to the request.
        ticket: u64,
    },
}

impl ReplyTo {
    /// The shard that the answer goes to.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        match self {
            ReplyTo::Client { shard, .. } | ReplyTo::Caller { shard, .. } => *shard,
        }
    }
}
