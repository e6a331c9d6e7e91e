//! What the operator's HTTP asks of the running shows.

use serde_json::Value;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};

/// Takes requests of operators and answers each when it can.
pub trait OperatorPort: Send + Sync + 'static {
    /// Begins a request, on the server's tokio runtime; never blocks. The answer goes through `reply`, soon: after five seconds
    /// the operator is told that it is unknown whether the command was carried out. Dropping
    /// `reply` says that the gateway is stopping.
    fn request(&self, request: OperatorRequest, reply: OperatorReply);
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        /// What.
        command: ShowCommand,
    },
    /// Give a user a revive card: answered by an object with the user's `cards`.
    GrantCard {
        /// Whom.
        user: UserId,
    },
}

/// What an operator can do with a show. Whether it is possible now is the director's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowCommand {
    /// Let players in.
    OpenLobby,
    /// Ask the next question.
    Publish,
    /// Reveal the closed question.
    Reveal,
    /// Hold the show.
    Pause,
    /// Go on.
    Resume,
    /// Take the last question back, for everybody.
    Void,
    /// Judge a revealed question again with another key.
    Rejudge {
        /// The question, counted from 0.
        question: QuestionIndex,
        /// The option that is right after all, counted from 0.
        correct: OptionIndex,
        /// Without it nothing happens, and the answer shows what it would do to the money.
        confirm: bool,
    },
    /// Compute and pay the prizes.
    Settle,
    /// End the show without prizes.
    Cancel,
    /// End the settled show.
    End,
}

impl ShowCommand {
    /// Every command as it is written in a path.
    pub const WORDS: &'static [&'static str] = &[
        "open-lobby",
        "publish",
        "reveal",
        "pause",
        "resume",
        "void",
        "rejudge",
        "settle",
        "cancel",
        "end",
    ];
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
