//! A thread with a small tokio runtime that answers HTTP, off the shard cores: what the operator's
//! HTTP and the REST for players have in common.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use axum::Router;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::ops::http::listener::{BoundedListener, Peer};

/// How long requests that are under way have to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// Threads on which requests block: on the ledger's file.
const BLOCKING_THREADS_MAX: usize = 4;

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("{key} {address}: {source}; {remedy}")]
    Bind {
        /// The key of the configuration.
        key: &'static str,
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
        /// What to do.
        remedy: String,
    },
    /// The listener cannot be handed to the runtime, or its address cannot be read.
    #[error("{key} {address}: the listener cannot be set up: {source}")]
    Listener {
        /// The key of the configuration.
        key: &'static str,
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No runtime or no thread.
    #[error("the thread for {key} cannot be started: {source}")]
    Thread {
        /// The key of the configuration.
        key: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Where a server listens, and what it is called.
pub(crate) struct HttpPlace {
    /// The key of the configuration.
    pub(crate) key: &'static str,
    /// Port 0 takes a free one.
    pub(crate) address: SocketAddr,
    /// The name of its thread.
    pub(crate) thread: &'static str,
    /// Connections at the same time; more wait in the kernel's backlog.
    pub(crate) connections_max: usize,
}

/// A running server. Dropped without [`HttpServer::stop`], it stops too, but nobody waits.
pub(crate) struct HttpServer {
    address: SocketAddr,
    thread_name: &'static str,
    /// Dropped to stop.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl HttpServer {
    /// Listens and answers until it is stopped.
    pub(crate) fn start(place: &HttpPlace, router: Router) -> Result<HttpServer, HttpError> {
        let HttpPlace { key, address, thread, connections_max } = *place;
        let listener = std::net::TcpListener::bind(address).map_err(|source| {
            let remedy = bind_remedy(&source, key);
            HttpError::Bind { key, address, source, remedy }
        })?;
        let bound = listener
            .set_nonblocking(true)
            .and_then(|()| listener.local_addr())
            .map_err(|source| HttpError::Listener { key, address, source })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()
            .map_err(|source| HttpError::Thread { key, source })?;
        let listener =
            {
                let _inside = runtime.enter();
                tokio::net::TcpListener::from_std(listener)
                    .map_err(|source| HttpError::Listener { key, address, source })?
            };
        let listener = BoundedListener::new(listener, connections_max);
        let (stop, stopped) = oneshot::channel();
        let handle = thread::Builder::new()
            .name(thread.to_owned())
            .spawn(move || runtime.block_on(serve(thread, listener, router, stopped)))
            .map_err(|source| HttpError::Thread { key, source })?;
        Ok(HttpServer { address: bound, thread_name: thread, stop, thread: handle })
    }

    /// Where it listens.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests that are under way end (for three seconds at most),
    /// and waits for the thread.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!(thread = self.thread_name, "an HTTP thread had panicked");
        }
    }
}

async fn serve(
    thread: &'static str,
    listener: BoundedListener,
    router: Router,
    stopped: oneshot::Receiver<()>,
) {
    let (tell, told) = oneshot::channel::<()>();
    let service = router.into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service)
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
            tracing::error!(%error, thread, "HTTP ended");
        },
        () = deadline => tracing::warn!(thread, "HTTP requests were cut off by the stop"),
    }
}

fn bind_remedy(error: &io::Error, key: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("stop what listens there, or set {key} to another")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("set {key} to an address of this host, or to 127.0.0.1")
        }
        io::ErrorKind::PermissionDenied => {
            "take a port from 1024, or allow CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => format!("set {key} to another address"),
    }
}
