//! What an operator can ask of a shard, and what comes back.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::auth::keys::KeySet;
use crate::auth::revocation::{Revocation, TooManyRevocations};
use crate::base::hash::Placement;
use crate::base::ids::{EventNumber, RoomId, ShardId, ShowId, UserId};
use crate::chat::desk::Trial;
use crate::chat::words::WordList;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::director::{Command, CommandError, RejudgePreview};
use crate::quiz::local::{ExpiryError, GrantError, MoneyError};
use crate::quiz::rain::{RainCommand, RainError};
use crate::shard::config::LiveSettings;
use crate::shard::mail::ServiceMessages;
use crate::shard::players::{PlayerAnswer, PlayerRequest};
pub use crate::shard::quiz_bridge::{Chronicle, OpenedQuestion, ShowMessage, ShowStatus};
use crate::shard::service::{ServiceAnswer, ServiceRequest};
use crate::shard::standing::Order;

/// A request, to be put to the shard that [`OperatorRequest::home`] names.
#[derive(Clone, Debug)]
pub enum OperatorRequest {
    /// Make a show known.
    Announce(Arc<ShowDefinition>),
    /// Move a show along.
    Command {
        /// Which show.
        show: ShowId,
        /// How.
        command: Command,
    },
    /// Order something about a show's red-packet rains.
    Rain {
        /// Which show.
        show: ShowId,
        /// What.
        command: RainCommand,
    },
    /// A withdrawal was paid, or could not be and comes back.
    CloseWithdrawal {
        /// Whose.
        user: UserId,
        /// Which of the user's, from 1.
        number: u64,
        /// It was paid.
        is_paid: bool,
    },
    /// How does a show stand?
    Status {
        /// Which show.
        show: ShowId,
    },
    /// Do something with a show, unless it has moved on since whoever asks looked at it.
    Behind {
        /// Which show.
        show: ShowId,
        /// The last event that was seen.
        event: EventNumber,
        /// A command, or something about rains.
        request: Box<OperatorRequest>,
    },
    /// What was announced: questions, options, which of them are correct.
    Definition {
        /// Which show.
        show: ShowId,
    },
    /// What was the audience of a show told?
    Messages {
        /// Which show.
        show: ShowId,
    },
    /// Which shows have their director on this shard?
    Shows,
    /// Give a user a revive card.
    GrantCard {
        /// Whom.
        user: UserId,
    },
    /// Take revive cards away from a user.
    ExpireCards {
        /// From whom.
        user: UserId,
        /// How many at most.
        cards_max: u8,
    },
    /// Say something in a room, in the service's name.
    Publish(ServiceMessages),
    /// End a room: its members are told and leave it.
    CloseRoom(RoomId),
    /// Refuse tokens that are valid, on every shard.
    Revoke(Revocation),
    /// Verify tokens with other keys, on every shard.
    SetKeys(Arc<KeySet>),
    /// Keep a user from speaking, or end that.
    Mute(Mute),
    /// Put other sensitive words in force.
    SetWords(Arc<WordList>),
    /// What would become of a text that somebody says?
    TryText(String),
    /// Go on with other settings, on every shard.
    SetLive(Arc<LiveSettings>),
    /// What the service asks about rooms and users.
    Service(ServiceRequest),
    /// Carry a request out once, however often it comes, also over restarts.
    Once {
        /// By which it is known.
        order: Order,
        /// What is ordered; one shard decides it.
        request: Box<OperatorRequest>,
    },
    /// What a player asks by way of another thread of this process.
    Player(PlayerRequest),
    /// Sensitive words were to be put in force, but their list is broken: those before stay.
    NoteBrokenWords,
}

/// Whom to mute, where, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute {
    /// Whom.
    pub user: UserId,
    /// Where; room 0: everywhere.
    pub room: RoomId,
    /// For how long from now on, in place of what was said before; zero: not any more.
    pub lasting: Duration,
}

/// What an operator is told.
#[derive(Clone, Debug)]
pub enum OperatorAnswer {
    /// It was decided.
    Done,
    /// Nothing was decided: this is what it would mean.
    Preview(RejudgePreview),
    /// How a show stands.
    Show(Box<ShowStatus>),
    /// What was announced.
    Definition(Arc<ShowDefinition>),
    /// What the audience of a show was told, in order.
    Messages(Vec<ShowMessage>),
    /// The shows of the shard.
    Shows(Vec<ShowStatus>),
    /// The revive cards that the user may know of now.
    Cards(u8),
    /// Where the messages stand in their room.
    Published(Published),
    /// What would become of the text.
    Tried(Box<Trial>),
    /// What the service asked for.
    Service(ServiceAnswer),
    /// What a player asked for, or why it does not get it.
    Player(Box<PlayerAnswer>),
}

/// The place of messages that were published together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The room's epoch.
    pub epoch: u64,
    /// Version of the first one in its lane.
    pub first_version: u64,
    /// Version of the last one.
    pub last_version: u64,
}

/// Why a request was refused; nothing was changed.
#[derive(Clone, Debug, Error)]
pub enum OperatorError {
    /// The director refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The director refused something about a rain.
    #[error(transparent)]
    Rain(#[from] RainError),
    /// A withdrawal cannot be closed like this.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// No card can be granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// No card can be taken away.
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
    /// An order's key is known from another order.
    #[error("this key came with another request: give each request a key of its own")]
    KeyReused,
    /// Something was decided since whoever asks looked at the show.
    #[error(
        "show {show} has moved on since you saw it: look at it again (its last event is {last})"
    )]
    MovedOn {
        /// Which show.
        show: ShowId,
        /// The last event.
        last: EventNumber,
    },
    /// There is no such show.
    #[error("there is no show {0}; announce it first")]
    NoSuchShow(ShowId),
    /// A show's id is used once.
    #[error("show {0} exists already; give the new one another id")]
    ShowExists(ShowId),
    /// Too many shows.
    #[error("this process has as many shows as it can; end one first")]
    TooManyShows,
    /// Two shows never share a room.
    #[error(
        "room {room} already carries show {show}; end that one first, or give the new one another room"
    )]
    RoomTaken {
        /// Which room.
        room: RoomId,
        /// The show that it carries.
        show: ShowId,
    },
    /// A revocation cannot be kept.
    #[error(transparent)]
    Revocation(#[from] TooManyRevocations),
    /// Too many bans.
    #[error("this process has as many bans as it can; lift one first")]
    TooManyBans,
    /// A ban that would be over.
    #[error(
        "a ban until {until_unix_s} would be over: it is {now_unix_s} (Unix seconds); to lift one, \
         unban"
    )]
    BanOver {
        /// When it was to end.
        until_unix_s: i64,
        /// What time it is.
        now_unix_s: i64,
    },
    /// A room of which nothing is known.
    #[error(
        "there is no room {0}: nobody is in it, nothing was said in it lately, nobody created it"
    )]
    NoSuchRoom(RoomId),
    /// Too many mutes.
    #[error("this process has as many mutes as it can; end one first")]
    TooManyMutes,
    /// Too many rooms.
    #[error("this host has as many rooms as it can; use one that exists")]
    TooManyRooms,
    /// A show's room ends with its show.
    #[error("room {0} carries a show; end that first")]
    CarriesShow(RoomId),
    /// Its id is not used again for some minutes.
    #[error("room {0} has ended; use another one")]
    RoomEnded(RoomId),
    /// The high lane takes messages of the service at a rate.
    #[error("the room's high lane takes no more for now; try again in {retry_after_ms} ms")]
    TooFast {
        /// When there is room.
        retry_after_ms: u64,
    },
    /// The egress budget was planned for shorter messages.
    #[error("a message of the high lane has at most {bytes_max} bytes (egress.gift_bytes_max)")]
    TooLong {
        /// How many.
        bytes_max: usize,
    },
}

impl OperatorRequest {
    /// The shard that answers it; nothing if every shard has a part of the answer.
    #[must_use]
    pub fn home(&self, placement: &Placement) -> Option<ShardId> {
        match self {
            OperatorRequest::Announce(definition) => Some(placement.show_home(definition.id)),
            OperatorRequest::Command { show, .. }
            | OperatorRequest::Status { show }
            | OperatorRequest::Rain { show, .. }
            | OperatorRequest::Behind { show, .. }
            | OperatorRequest::Definition { show }
            | OperatorRequest::Messages { show } => Some(placement.show_home(*show)),
            OperatorRequest::Shows
            | OperatorRequest::Revoke(_)
            | OperatorRequest::SetKeys(_)
            | OperatorRequest::SetWords(_)
            | OperatorRequest::SetLive(_) => None,
            // One count is enough, and all shards have the same words.
            OperatorRequest::NoteBrokenWords | OperatorRequest::TryText(_) => Some(ShardId(0)),
            OperatorRequest::Once { request, .. } => request.home(placement),
            OperatorRequest::Mute(mute) => Some(placement.user_home(mute.user)),
            OperatorRequest::CloseWithdrawal { user, .. } => Some(placement.user_home(*user)),
            OperatorRequest::GrantCard { user } | OperatorRequest::ExpireCards { user, .. } => {
                Some(placement.user_home(*user))
            }
            OperatorRequest::Player(request) => Some(placement.user_home(request.holder.user)),
            OperatorRequest::Publish(messages) => Some(placement.room_home(messages.room)),
            OperatorRequest::Service(request) => request.home(placement),
            OperatorRequest::CloseRoom(room) => Some(placement.room_home(*room)),
        }
    }
}
