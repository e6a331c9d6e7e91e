//! What shards say to each other.
//!
//! Mail between two shards stays in order and is never lost or dropped: a full mailbox makes the
//! sender keep the batch and leave its sockets unread until there is room. Each variant says who
//! sends it to whom; one hop each, and an answer is a variant of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::{ConnId, EventNumber, RoomId, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::room::home::Backlog;
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane, Span};
pub use crate::shard::banning::SessionEnd;
pub use crate::shard::chat::ChatMail;
use crate::shard::money_mail::MoneyMail;
use crate::shard::quiz_mail::QuizMail;
use crate::shard::service::RoomSettings;

/// Everything that one shard posts to another in one turn.
#[derive(Debug)]
pub struct Batch {
    /// Who posted it.
    pub from: ShardId,
    /// When.
    pub posted_at: Time,
    /// How old the mail was that the sender took in last: the measure of its overload.
    pub lag: Duration,
    /// In the order in which it happened.
    pub mail: Vec<Mail>,
}

/// One message from shard to shard.
#[derive(Clone, Debug)]
pub enum Mail {
    /// Connection's shard → user's home: this connection was authenticated as the user.
    SessionOpened {
        /// Whose session it is to be.
        user: UserId,
        /// The connection, on the sending shard.
        conn: ConnId,
    },
    /// User's home → connection's shard: it is the user's one session now.
    SessionConfirmed {
        /// The connection, on the receiving shard.
        conn: ConnId,
    },
    /// User's home → the older connection's shard: a newer session took its place.
    SessionReplaced {
        /// The older connection, on the receiving shard.
        conn: ConnId,
    },
    /// Any shard → user's home: the user is not let in here any more; which connection of mine has
    /// the session?
    EndSession {
        /// Whose.
        user: UserId,
        /// Why.
        why: SessionEnd,
    },
    /// User's home → connection's shard: this one; end it.
    SessionEnded {
        /// The connection, on the receiving shard.
        conn: ConnId,
        /// Why.
        why: SessionEnd,
    },
    /// User's home → every shard: the user may not connect until then.
    Ban {
        /// Who.
        user: UserId,
        /// Until when, Unix seconds; nothing: the ban is lifted.
        until_unix_s: Option<i64>,
    },
    /// Room's home → every shard: the room works like this from now on.
    RoomSettings {
        /// Which room.
        room: RoomId,
        /// How; nothing: like any room.
        settings: Option<Arc<RoomSettings>>,
    },
    /// Connection's shard → user's home: the connection is gone.
    SessionClosed {
        /// Whose session it was.
        user: UserId,
        /// The connection, on the sending shard.
        conn: ConnId,
    },
    /// Member's shard → room's home: send me the room's lanes in this encoding from now on.
    Subscribe {
        /// Which room.
        room: RoomId,
        /// Which encoding.
        encoding: EncodingIndex,
    },
    /// Room's home → member's shard: what is kept, and from here on everything.
    Subscribed(SubscribedMail),
    /// Member's shard → room's home: no member is left here; the copies are dropped.
    Unsubscribe {
        /// Which room.
        room: RoomId,
    },
    /// Sender's shard → room's home: give this a version and send it to everybody.
    Publish(Box<PublishMail>),
    /// Room's home → sender's shard: it was published.
    Published {
        /// The sender's connection, on the receiving shard.
        conn: ConnId,
        /// Which room.
        room: RoomId,
        /// The room's epoch.
        epoch: u64,
        /// Which lane.
        lane: Lane,
        /// The version that it got.
        version: u64,
        /// It was a chat; otherwise opaque data.
        is_chat: bool,
        /// Of the request.
        sequence: Box<str>,
    },
    /// Room's home → every shard with members, once however many they are.
    RoomFrames(Box<RoomFrames>),
    /// Room's home → every shard with members: the room has ended, behind its last frame.
    RoomClosed {
        /// Which room.
        room: RoomId,
    },
    /// Member's shard → room's home: how many members are here, and what there is room for.
    RoomReport {
        /// Which room.
        room: RoomId,
        /// What is so.
        report: RoomReport,
    },
    /// What only chat understands.
    Chat(ChatMail),
    /// What only the quiz understands.
    Quiz(QuizMail),
    /// What is about money.
    Money(MoneyMail),
}

/// A home's answer to a shard that wants a room.
#[derive(Clone, Debug)]
pub struct SubscribedMail {
    /// Which room.
    pub room: RoomId,
    /// Which encoding.
    pub encoding: EncodingIndex,
    /// Nothing if the home has no room for another room.
    pub backlog: Option<Box<Backlog>>,
    /// The newest show event that the backlog tells of.
    pub after: Option<(ShowId, EventNumber)>,
    /// How the room is, if clients are told that.
    pub state: Option<RoomState>,
    /// There is no backlog because the room has ended.
    pub has_ended: bool,
}

/// What a shard says of a room to its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomReport {
    /// Members here.
    pub members: u32,
    /// How many of a thousand messages of the low lane there is room for.
    pub share_permille: u16,
}

impl Default for RoomReport {
    fn default() -> RoomReport {
        RoomReport { members: 0, share_permille: 1_000 }
    }
}

/// How a room is, as its members are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// Members on all shards.
    pub online: u64,
    /// How many of a thousand chat messages clients should send.
    pub chat_permille: u32,
    /// The random time up to which clients wait before they come back.
    pub reconnect_spread_ms: u32,
}

/// A member says something.
#[derive(Clone, Debug)]
pub struct PublishMail {
    /// Which room.
    pub room: RoomId,
    /// Which lane.
    pub lane: Lane,
    /// Who says it.
    pub user: UserId,
    /// What.
    pub said: Utterance,
    /// The sender's connection, on the sending shard.
    pub conn: ConnId,
    /// Of the request.
    pub sequence: Box<str>,
}

/// What a member says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Utterance {
    /// Data whose meaning only clients know.
    Opaque(Bytes),
    /// A text that was checked.
    Chat(String),
}

/// What the service says in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceMessages {
    /// Where.
    pub room: RoomId,
    /// In which lane.
    pub lane: Lane,
    /// What the service calls messages of this sort.
    pub kind: u32,
    /// What, in this order; opaque.
    pub messages: Vec<Bytes>,
}

/// A message of a room, or several, ordered and encoded.
#[derive(Clone, Debug)]
pub struct RoomFrames {
    /// Which room.
    pub room: RoomId,
    /// The room's epoch.
    pub epoch: u64,
    /// Which lane.
    pub lane: Lane,
    /// The versions that it stands for.
    pub span: Span,
    /// How the room is, if the frame says so.
    pub state: Option<RoomState>,
    /// The show event that it tells of: a shard shows it to nobody before it has applied that.
    pub after: Option<(ShowId, EventNumber)>,
    /// A finished WebSocket frame in each encoding that the shard asked for.
    pub frames: [Option<Bytes>; ENCODING_COUNT],
}
