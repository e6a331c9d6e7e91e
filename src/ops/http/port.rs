//! What the operator's HTTP asks of the running shows and rooms.

use serde_json::Value;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::auth::revocation::Revocation;
use crate::base::ids::{EventNumber, RoomId, ShowId, UserId};
use crate::ops::http::schema::Answer;
use crate::ops::plans::PlanChange;
use crate::quiz::director::Command;
use crate::quiz::rain::RainCommand;
use crate::shard::mail::ServiceMessages;
use crate::shard::operator::Mute;
use crate::shard::service::{Broadcast, ServiceRequest};
use crate::shard::standing::Order;

/// Bytes of the longest body that a request may have: that of a batch.
pub(super) const BATCH_BYTES_MAX: usize = 1024 * 1024;

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
    /// What the audience of a show was told: answered by an array of objects.
    Messages {
        /// Which.
        show: ShowId,
    },
    /// Do something with a show: answered by an object with at least the new `phase`.
    Command {
        /// Which.
        show: ShowId,
        /// What. Whether it is possible now is the director's to say.
        command: Command,
        /// The show's last event that whoever asks has seen: refused if there is another one since.
        seen: Option<EventNumber>,
    },
    /// What a show asks, and what is correct: answered by an array of objects.
    Script {
        /// Which.
        show: ShowId,
    },
    /// A show as a show file would have it: answered by an object with `show` and its `version`.
    Filed {
        /// Which.
        show: ShowId,
    },
    /// Plan a show, or change one that has not begun: answered as [`OperatorRequest::Filed`].
    ChangePlan(Box<PlanChange>),
    /// Withdraw a show that has not begun: answered by an object with its id.
    WithdrawPlan {
        /// Which.
        show: ShowId,
        /// The version that whoever withdraws it has seen.
        version: u64,
    },
    /// Give a user a revive card: answered by an object with the user's `cards`.
    GrantCard {
        /// Whom.
        user: UserId,
    },
    /// Take revive cards away from a user: answered by an object with the `cards` that it has now.
    ExpireCards {
        /// From whom.
        user: UserId,
        /// How many at most.
        cards_max: u8,
    },
    /// Order something about a show's red-packet rains: answered by the show.
    Rain {
        /// Which show.
        show: ShowId,
        /// What.
        command: RainCommand,
        /// The show's last event that whoever asks has seen: refused if there is another one since.
        seen: Option<EventNumber>,
    },
    /// A withdrawal was paid, or comes back: answered by an object that says so.
    CloseWithdrawal {
        /// Whose.
        user: UserId,
        /// Which of the user's, from 1.
        number: u64,
        /// It was paid.
        is_paid: bool,
    },
    /// What the service asks about rooms and users: answered by a message of the schema.
    Server(ServerRequest),
    /// Carry one of these out once, however often it comes, also over restarts: a command, something
    /// about rains, cards, the end of a withdrawal. Answered like the request itself.
    Once {
        /// By which it is known.
        order: Order,
        /// What is ordered.
        request: Box<OperatorRequest>,
    },
    /// Read the list of sensitive words again: answered by an object with the number of `words`.
    ReloadWords,
    /// What would become of a text that somebody says: answered by an object with its `outcome`.
    TryText {
        /// The text.
        text: String,
    },
}

/// What the service asks about rooms and users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerRequest {
    /// Say something in a room, in the service's name.
    Publish(ServiceMessages),
    /// Say the same in many rooms.
    Broadcast(Broadcast),
    /// End a room.
    CloseRoom {
        /// Which.
        room: RoomId,
    },
    /// Refuse tokens that are valid.
    Revoke(Revocation),
    /// Keep a user from speaking, or end that.
    Mute(Mute),
    /// How many are in a room, which there need not be?
    Online {
        /// Which.
        room: RoomId,
    },
    /// The rest, as the shards have it.
    Service(ServiceRequest),
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorTold {
    /// About shows: JSON.
    Json(Value),
    /// About rooms and users: JSON or Protobuf.
    Answer(Answer),
}

impl OperatorRequest {
    /// Whether doing it twice costs or brings somebody something.
    #[must_use]
    pub fn counts_once(&self) -> bool {
        matches!(
            self,
            OperatorRequest::Command { .. }
                | OperatorRequest::Rain { .. }
                | OperatorRequest::GrantCard { .. }
                | OperatorRequest::ExpireCards { .. }
                | OperatorRequest::CloseWithdrawal { .. }
        )
    }
}

impl From<Value> for OperatorTold {
    fn from(value: Value) -> OperatorTold {
        OperatorTold::Json(value)
    }
}

impl From<Answer> for OperatorTold {
    fn from(answer: Answer) -> OperatorTold {
        OperatorTold::Answer(answer)
    }
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
    /// There is no such room (404).
    #[error("{reason}")]
    UnknownRoom {
        /// What that means.
        reason: String,
    },
    /// The show's phase does not allow it (409).
    #[error("not now: {reason}")]
    NotNow {
        /// In which phase it is, and in which it is possible.
        reason: String,
    },
    /// Something was decided since whoever asks looked (409).
    #[error("{reason}")]
    MovedOn {
        /// What to do.
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
pub struct OperatorReply(oneshot::Sender<Result<OperatorTold, OperatorRefusal>>);

impl OperatorReply {
    /// A reply, and where it arrives.
    #[must_use]
    pub fn channel() -> (OperatorReply, oneshot::Receiver<Result<OperatorTold, OperatorRefusal>>) {
        let (sender, receiver) = oneshot::channel();
        (OperatorReply(sender), receiver)
    }

    /// Answers. Nothing happens if the operator is gone.
    pub fn send(self, outcome: Result<impl Into<OperatorTold>, OperatorRefusal>) {
        let _ = self.0.send(outcome.map(Into::into));
    }
}
