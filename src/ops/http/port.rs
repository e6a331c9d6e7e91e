//! What the operator's HTTP asks of the running shows and rooms.

use serde_json::Value;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::auth::revocation::Revocation;
use crate::base::ids::{RoomId, ShowId, UserId};
use crate::quiz::director::Command;
use crate::quiz::rain::RainCommand;
use crate::quiz::requests::MoneyKey;
use crate::shard::mail::ServiceMessages;
use crate::shard::operator::Mute;

/// Takes requests of operators and answers each when it can.
pub trait OperatorPort: Send + Sync + 'static {
    /// Begins a request, on the server's tokio runtime; never blocks. The answer goes through `reply`, soon: after five seconds
    /// the operator is told that it is unknown whether the command was carried out. Dropping
    /// `reply` says that the gateway is stopping.
    fn request(&self, request: OperatorRequest, reply: OperatorReply);
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRequest {
    /// All shows: answered by an array of short objects.
    Shows,
    /// One show with its live numbers: answered by an object.
    Show {
        /// Which.
        show: ShowId,
    },
    /// Do something with a show: answered by an object with at least the new `phase`.
    Command {
        /// Which.
        show: ShowId,
        /// What. Whether it is possible now is the director's to say.
        command: Command,
    },
    /// Give a user a revive card: answered by an object with the user's `cards`.
    GrantCard {
        /// Whom.
        user: UserId,
    },
    /// Order something about a show's red-packet rains: answered by the show.
    Rain {
        /// Which show.
        show: ShowId,
        /// What.
        command: RainCommand,
    },
    /// A withdrawal was paid, or comes back: answered by an object that says so.
    CloseWithdrawal {
        /// Whose.
        user: UserId,
        /// Which one.
        key: MoneyKey,
        /// It was paid.
        is_paid: bool,
    },
    /// Say something in a room, in the service's name: answered by an object with the place of
    /// each message in the room.
    Publish(ServiceMessages),
    /// End a room.
    CloseRoom {
        /// Which.
        room: RoomId,
    },
    /// Refuse tokens that are valid: answered by an object with what was revoked.
    Revoke(Revocation),
    /// Keep a user from speaking, or end that: answered by an object with what is in force.
    Mute(Mute),
    /// Read the list of sensitive words again: answered by an object with the number of `words`.
    ReloadWords,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OperatorRefusal {
    /// There is no such show (404).
    #[error("there is no show {show}")]
    UnknownShow {
        /// The show that was asked for.
        show: ShowId,
    },
    /// The show's phase does not allow it (409).
    #[error("not now: {reason}")]
    NotNow {
        /// In which phase it is, and in which it is possible.
        reason: String,
    },
    /// The command names something that does not exist, or costs more than is allowed (422).
    #[error("not possible: {reason}")]
    Invalid {
        /// What, and what would be possible.
        reason: String,
    },
    /// The gateway is starting, stopping, or full of requests (503).
    #[error("try again later: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// Where the answer to a request goes; used once.
#[derive(Debug)]
pub struct OperatorReply(oneshot::Sender<Result<Value, OperatorRefusal>>);

impl OperatorReply {
    /// A reply, and where it arrives.
    #[must_use]
    pub fn channel() -> (OperatorReply, oneshot::Receiver<Result<Value, OperatorRefusal>>) {
        let (sender, receiver) = oneshot::channel();
        (OperatorReply(sender), receiver)
    }

    /// Answers. Nothing happens if the operator is gone.
    pub fn send(self, outcome: Result<Value, OperatorRefusal>) {
        let _ = self.0.send(outcome);
    }
}
