//! The operator's HTTP: metrics, health, and the API that runs shows.
//!
//! It has an address of its own and a thread of its own with a small tokio runtime, off the shard
//! cores. It decides nothing: commands go through an [`OperatorPort`] to the director and come back
//! as its answer. Players never reach it; the API shows live counts that they must not see.
//!
//! `/metrics`, `/healthz` and `/readyz` are open to whoever reaches the address. Everything under
//! `/v1/` needs the bearer token; where none is set, a loopback peer.

pub(crate) mod access;
mod api;
mod batch;
mod drain;
pub(crate) mod idempotency;
pub(crate) mod listener;
mod load;
mod media;
mod operations;
pub(crate) mod plans;
mod port;
pub(crate) mod query;
pub(crate) mod rains;
pub(crate) mod rehearsal;
pub(crate) mod rooms;
pub mod schema;
mod server;
mod users;
pub(crate) mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::base::metrics::ShardSnapshot;
use crate::base::time::{DisplayClock, Time};
use crate::ops::console::Console;
use crate::ops::drain::DrainHandle;
pub(crate) use crate::ops::http::api::{ApiError, put, show_id, whole_number, without_arguments};
pub(crate) use crate::ops::http::operations::request as server_request;
pub use crate::ops::http::port::{
    OperatorPort, OperatorRefusal, OperatorReply, OperatorRequest, OperatorTold, ServerRequest,
};
pub use crate::ops::http::server::HttpError;
pub(crate) use crate::ops::http::server::{HttpPlace, HttpServer};
use crate::ops::kernel::KernelStatus;
use crate::ops::key_watch::KeyStatus;
use crate::ops::players::PlayerCounts;
use crate::ops::rehearsal::Rehearsals;
use crate::ops::reload::ConfigStatus;
use crate::ops::secret::Secret;
use crate::ops::watch::tls_files::TlsStatus;
use crate::runtime::feed::LedgerHandle;

/// Connections at the same time; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;

/// A shard that lives publishes within microseconds of being woken, on a busy host within a turn.
const FRESH_WITHIN: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Where the process is in its life, shared by who leads it and who answers `/readyz`.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

/// What [`Readiness`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyState {
    /// Not yet listening for clients.
    Starting,
    /// Clients are accepted.
    Accepting,
    /// Clients are asked to leave.
    Draining,
}

impl Readiness {
    /// Begins as [`ReadyState::Starting`].
    #[must_use]
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Says where the process is now.
    pub fn set(&self, state: ReadyState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    /// Where the process is now.
    #[must_use]
    pub fn get(&self) -> ReadyState {
        match self.0.load(Ordering::Relaxed) {
            0 => ReadyState::Starting,
            1 => ReadyState::Accepting,
            _ => ReadyState::Draining,
        }
    }
}

/// What the server shows and whom it asks.
pub struct OperatorView {
    /// The bearer token of the API; without it, loopback peers only.
    pub token: Option<Secret>,
    /// How long a shard may show no sign of life before `/healthz` fails.
    pub health_stale: Duration,
    /// As many connections as the gateway takes.
    pub connections_max: u64,
    /// One for each shard, in order.
    pub shards: Vec<Arc<ShardSnapshot>>,
    /// Where the process is in its life.
    pub readiness: Arc<Readiness>,
    /// What tokens are verified with.
    pub keys: Arc<KeyStatus>,
    /// How often the configuration was read again.
    pub config: Arc<ConfigStatus>,
    /// How often certificates were read again.
    pub certificates: Arc<TlsStatus>,
    /// What the kernel says of the network.
    pub kernel: Arc<KernelStatus>,
    /// What players asked over HTTP.
    pub players: Arc<PlayerCounts>,
    /// The book of money, where there is one.
    pub ledger: Option<LedgerHandle>,
    /// Has the gateway drained; where nobody can, requests for that are refused.
    pub drain: Option<DrainHandle>,
    /// Shows that robots play; where there are none, requests for that are refused.
    pub rehearsals: Option<Rehearsals>,
    /// Takes requests about shows, rooms and users.
    pub port: Arc<dyn OperatorPort>,
    /// Makes every shard publish soon, also those that sleep because nothing happens.
    pub wake: Box<dyn Fn() + Send + Sync>,
    /// What times are shown by.
    pub clock: DisplayClock,
    /// The pages for people; nothing: there are none.
    pub console: Option<Arc<Console>>,
    /// The clock that the shards publish with.
    pub now: Box<dyn Fn() -> Time + Send + Sync>,
}

impl OperatorView {
    /// Wakes the shards and waits until each has published within the limit of staleness, for
    /// [`FRESH_WITHIN`] at most: a shard that sleeps is healthy, and nothing but asking wakes it.
    pub(crate) async fn refresh(&self) {
        (self.wake)();
        let mut waited = Duration::ZERO;
        while waited < FRESH_WITHIN && !self.ages().iter().all(|age| *age <= self.health_stale) {
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
    }

    /// How long ago each shard published.
    pub(crate) fn ages(&self) -> Vec<Duration> {
        let now = (self.now)();
        self.shards.iter().map(|shard| now.since(shard.published())).collect()
    }
}

/// The running server. Dropped without [`OperatorHttp::stop`], it stops too, but nobody waits.
pub struct OperatorHttp(HttpServer);

impl OperatorHttp {
    /// Listens on `address` and answers until it is stopped. Port 0 takes a free one.
    ///
    /// # Errors
    /// If the address or the thread cannot be had.
    pub fn start(address: SocketAddr, view: OperatorView) -> Result<OperatorHttp, HttpError> {
        let place = HttpPlace {
            key: "operator.listen",
            address,
            thread: "operator",
            connections_max: CONNECTIONS_MAX,
        };
        let server = HttpServer::start(&place, api::router(view))?;
        tracing::info!(address = %server.local_address(), "operator HTTP is listening");
        Ok(OperatorHttp(server))
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.0.local_address()
    }

    /// Takes no more connections, lets requests that are under way end (for three seconds at most),
    /// and waits for the thread.
    pub fn stop(self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests;
