//! Draining: how a gateway stops serving without anybody noticing more than a reconnect.
//!
//! ```text
//! off ──► waiting ──► leaving ──► stopping
//!  ▲         │           │        everybody is gone, or had time enough: the process ends
//!  └─────────┴───────────┘        clients are asked to come back elsewhere; listeners are closed
//!           abort                 a countdown runs: clients come and go as ever
//! ```
//!
//! No question begins from *waiting* on. The main thread leads ([`lead`]); the operator's HTTP and
//! signals tell it what is wanted, and it tells where it stands. What is decided, [`course`] decides,
//! without a clock or a gateway.

pub mod course;
pub mod lead;

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::base::ids::{QuestionIndex, ShowId};
use crate::ops::config::Config;
use crate::ops::config::checks::{check_gateways, comma_separated};
use crate::shard::drain::Drain;
use crate::wire::close::{CloseReason, Moving, Reconnect};

/// Wishes that may wait: as many as there may be requests, and signals.
const WISHES_MAX: usize = 128;
/// The longest of each of a drain's times.
pub const TIME_MAX: Duration = Duration::from_secs(3_600);
/// Where closing was spread over a time, clients come back within this: each has waited its turn.
const RETURN_WITHIN_MIN_MS: u32 = 500;

/// How a gateway is drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// The time over which connections are asked to leave.
    pub spread: Duration,
    /// How long it waits before that for countdowns that run.
    pub countdown_wait_max: Duration,
    /// How long connections have to leave once all were asked.
    pub timeout: Duration,
    /// Gateways that clients are sent to, each to one of them in turn.
    pub to: Vec<String>,
}

impl DrainSettings {
    /// What holds where nobody says anything else.
    #[must_use]
    pub fn of(config: &Config) -> DrainSettings {
        let to = config.drain.to.as_deref().unwrap_or_default();
        DrainSettings {
            spread: Duration::from_millis(config.drain.spread_ms),
            countdown_wait_max: Duration::from_millis(config.drain.countdown_wait_max_ms),
            timeout: Duration::from_millis(config.limits.drain_timeout_ms),
            to: comma_separated(to).map(str::to_owned).collect(),
        }
    }

    /// Whether it can be done.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        for (name, time) in [
            ("spread_ms", self.spread),
            ("countdown_wait_max_ms", self.countdown_wait_max),
            ("timeout_ms", self.timeout),
        ] {
            if time > TIME_MAX {
                return Err(format!("{name} is more than {}", TIME_MAX.as_millis()));
            }
        }
        check_gateways(&self.to).map_err(|error| format!("to: {error}"))
    }

    /// What the shards are told. Together with the spread, clients come back over as long a time as
    /// their close code says.
    #[must_use]
    pub fn for_shards(&self) -> Drain {
        let usual_ms = match CloseReason::GoingAway.reconnect() {
            Reconnect::Within { span_ms } => span_ms,
            Reconnect::No | Reconnect::WithNewToken => 0,
        };
        let spread_ms = u32::try_from(self.spread.as_millis()).unwrap_or(u32::MAX);
        let within_ms = usual_ms.saturating_sub(spread_ms).max(RETURN_WITHIN_MIN_MS);
        let moving = |to| Moving { within_ms: Some(within_ms), to };
        let moves = if self.to.is_empty() {
            vec![moving(None)]
        } else {
            self.to.iter().cloned().map(Some).map(moving).collect()
        };
        Drain { spread: self.spread, moves: moves.into() }
    }
}

/// Where a drain stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrainState {
    /// There is none.
    #[default]
    Off,
    /// A countdown runs.
    Waiting,
    /// Clients are asked to leave.
    Leaving,
    /// The process ends.
    Stopping,
}

impl DrainState {
    /// All, in order.
    pub const ALL: [DrainState; 4] =
        [DrainState::Off, DrainState::Waiting, DrainState::Leaving, DrainState::Stopping];

    /// Its name in answers and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            DrainState::Off => "off",
            DrainState::Waiting => "waiting",
            DrainState::Leaving => "leaving",
            DrainState::Stopping => "stopping",
        }
    }
}

/// A question whose countdown runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Countdown {
    /// Of which show.
    pub show: ShowId,
    /// Which of its questions.
    pub question: QuestionIndex,
}

/// What is told of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainStatus {
    /// Where it stands.
    pub state: DrainState,
    /// A signal wants the process to end, so the drain cannot be ended.
    pub is_final: bool,
    /// How it is done; nothing where there is none.
    pub settings: Option<DrainSettings>,
    /// When it began, when it began to ask clients to leave, and when it ends at the latest: Unix
    /// milliseconds.
    pub began_at_ms: i64,
    /// Nothing while it waits.
    pub leaving_at_ms: Option<i64>,
    /// The latest moment.
    pub ends_by_ms: i64,
    /// What is waited for.
    pub countdowns: Vec<Countdown>,
    /// Drains since the process began.
    pub begun: u64,
    /// Those of them that were ended.
    pub aborted: u64,
}

/// Why something cannot be done about a drain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DrainRefusal {
    /// There is one.
    #[error("the gateway is being drained: look at GET /v1/drain, or end it with DELETE /v1/drain")]
    Draining,
    /// It goes to the end.
    #[error("the process ends: {0}")]
    Final(&'static str),
    /// The port is somebody else's by now.
    #[error("accepting again failed, and the drain goes on: {0}")]
    Listen(String),
    /// Nobody leads.
    #[error("the gateway is starting or stopping")]
    Unavailable,
}

/// Where an answer about a drain goes.
type Reply = oneshot::Sender<Result<(), DrainRefusal>>;

/// What is wanted of whoever leads.
pub enum Wish {
    /// Drain.
    Begin(DrainSettings, Reply),
    /// Go on as before.
    Abort(Reply),
    /// End the process: this signal came.
    Signal(&'static str),
}

/// Asks whoever leads, from any thread.
#[derive(Clone)]
pub struct DrainHandle {
    wishes: flume::Sender<Wish>,
    status: watch::Receiver<DrainStatus>,
    defaults: watch::Receiver<DrainSettings>,
}

impl DrainHandle {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> DrainStatus {
        self.status.borrow().clone()
    }

    /// What holds where a request says nothing.
    #[must_use]
    pub fn defaults(&self) -> DrainSettings {
        self.defaults.borrow().clone()
    }

    /// Begins a drain.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub async fn begin(&self, settings: DrainSettings) -> Result<(), DrainRefusal> {
        self.wish(|reply| Wish::Begin(settings, reply)).await
    }

    /// Ends a drain; nothing happens where there is none.
    ///
    /// # Errors
    /// Why it goes on.
    pub async fn abort(&self) -> Result<(), DrainRefusal> {
        self.wish(Wish::Abort).await
    }

    async fn wish(&self, wish: impl FnOnce(Reply) -> Wish) -> Result<(), DrainRefusal> {
        // Nobody reads wishes any more.
        if self.status.borrow().state == DrainState::Stopping {
            return Err(DrainRefusal::Final("clients have left, and it is too late to go on"));
        }
        let (reply, answer) = oneshot::channel();
        self.wishes.try_send(wish(reply)).map_err(|_| DrainRefusal::Unavailable)?;
        answer.await.unwrap_or(Err(DrainRefusal::Unavailable))
    }
}
