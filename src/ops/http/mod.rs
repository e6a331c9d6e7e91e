//! The operator's HTTP: metrics, health, and the API that runs shows.
//!
//! It has an address of its own and a thread of its own with a small tokio runtime, off the shard
//! cores. It decides nothing: commands go through an [`OperatorPort`] to the director and come back
//! as its answer. Players never reach it; the API shows live counts that they must not see.
//!
//! `/metrics`, `/healthz` and `/readyz` are open to whoever reaches the address. Everything under
//! `/v1/` needs the bearer token; where none is set, a loopback peer.

mod access;
mod api;
mod batch;
mod idempotency;
mod listener;
mod media;
mod operations;
mod port;
mod query;
mod rains;
mod rooms;
pub mod schema;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use axum::Router;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::base::metrics::ShardSnapshot;
use crate::base::time::Time;
pub(crate) use crate::ops::http::api::ApiError;
use crate::ops::http::listener::{BoundedListener, Peer};
pub use crate::ops::http::port::{
    OperatorPort, OperatorRefusal, OperatorReply, OperatorRequest, OperatorTold, ServerRequest,
};
use crate::ops::kernel::KernelStatus;
use crate::ops::key_watch::KeyStatus;
use crate::ops::secret::Secret;
use crate::ops::watch::tls_files::TlsStatus;

/// How long requests that are under way have to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);

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
    /// One for each shard, in order.
    pub shards: Vec<Arc<ShardSnapshot>>,
    /// Where the process is in its life.
    pub readiness: Arc<Readiness>,
    /// What tokens are verified with.
    pub keys: Arc<KeyStatus>,
    /// How often certificates were read again.
    pub certificates: Arc<TlsStatus>,
    /// What the kernel says of the network.
    pub kernel: Arc<KernelStatus>,
    /// Takes requests about shows, rooms and users.
    pub port: Arc<dyn OperatorPort>,
    /// Makes every shard publish soon, also those that sleep because nothing happens.
    pub wake: Box<dyn Fn() + Send + Sync>,
    /// The clock that the shards publish with.
    pub now: Box<dyn Fn() -> Time + Send + Sync>,
}

impl OperatorView {
    /// Wakes the shards and waits until each has published within the limit of staleness, for
    /// [`FRESH_WITHIN`] at most: a shard that sleeps is healthy, and nothing but asking wakes it.
    async fn refresh(&self) {
        (self.wake)();
        let mut waited = Duration::ZERO;
        while waited < FRESH_WITHIN && !self.ages().iter().all(|age| *age <= self.health_stale) {
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
    }

    /// How long ago each shard published.
    fn ages(&self) -> Vec<Duration> {
        let now = (self.now)();
        self.shards.iter().map(|shard| now.since(shard.published())).collect()
    }
}

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("operator.listen {address}: {source}; {remedy}")]
    Bind {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The listener cannot be handed to the runtime, or its address cannot be read.
    #[error("operator.listen {address}: the listener cannot be set up: {source}")]
    Listener {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No runtime or no thread.
    #[error("the thread of the operator's HTTP cannot be started: {source}")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// The running server. Dropped without [`OperatorHttp::stop`], it stops too, but nobody waits.
pub struct OperatorHttp {
    address: SocketAddr,
    /// Dropped to stop.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl OperatorHttp {
    /// Listens on `address` and answers until it is stopped. Port 0 takes a free one.
    ///
    /// # Errors
    /// If the address or the thread cannot be had.
    pub fn start(address: SocketAddr, view: OperatorView) -> Result<OperatorHttp, HttpError> {
        let listener = std::net::TcpListener::bind(address).map_err(|source| HttpError::Bind {
            address,
            remedy: bind_remedy(&source),
            source,
        })?;
        let bound = listener
            .set_nonblocking(true)
            .and_then(|()| listener.local_addr())
            .map_err(|source| HttpError::Listener { address, source })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| HttpError::Thread { source })?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)
                .map_err(|source| HttpError::Listener { address, source })?
        };
        let (stop, stopped) = oneshot::channel();
        let router = api::router(view);
        let thread = thread::Builder::new()
            .name("operator".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router, stopped)))
            .map_err(|source| HttpError::Thread { source })?;
        tracing::info!(address = %bound, "operator HTTP is listening");
        Ok(OperatorHttp { address: bound, stop, thread })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests that are under way end (for three seconds at most),
    /// and waits for the thread.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the operator's HTTP thread had panicked");
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, router: Router, stopped: oneshot::Receiver<()>) {
    let (tell, told) = oneshot::channel::<()>();
    let service = router.into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(BoundedListener::new(listener), service)
        .with_graceful_shutdown(async move {
            // Sent or dropped, both mean stop.
            let _ = stopped.await;
            drop(tell);
        })
        .into_future();
    let deadline = async {
        let _ = told.await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        outcome = server => if let Err(error) = outcome {
            tracing::error!(%error, "the operator's HTTP ended");
        },
        () = deadline => tracing::warn!("operator requests were cut off by the stop"),
    }
}

fn bind_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or set operator.listen to another",
        io::ErrorKind::AddrNotAvailable => {
            "set operator.listen to an address of this host, or to 127.0.0.1"
        }
        io::ErrorKind::PermissionDenied => "take a port from 1024, or allow CAP_NET_BIND_SERVICE",
        _ => "set operator.listen to another address",
    }
}

#[cfg(test)]
mod tests;
