//! What the kernel says of the host's network and of the gateway's sockets, for `/metrics`.
//!
//! A thread looks every five seconds, off the shard cores, and a scrape reads what it saw last,
//! so that scrapes cost the kernel nothing. Sockets in the ring's tables are the kernel's all the
//! same: it lists them for whoever asks (sock_diag(7)), and lists of a million are cut short: states
//! that are few in health are counted, open connections are sampled.
//!
//! Everything is of the gateway's network namespace. What cannot be read is left out of `/metrics`
//! and said once in the log; it stops nothing.

mod counters;
mod sockets;
mod text;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{RecvTimeoutError, Sender};
use tokio::sync::watch;

pub use self::counters::HostCounters;
pub use self::sockets::{QueueHistogram, SocketFigures};

use crate::runtime::clock::Clock;

/// Time between two looks. A look at a million sockets takes some tenths of a second of one core.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct KernelFigures {
    /// How often the kernel was asked.
    pub looks: u64,
    /// How often something could not be read.
    pub errors: u64,
    /// How long all looks took, together.
    pub took: Duration,
    /// The host's counters; nothing if they could not be read.
    pub host: Option<HostCounters>,
    /// The gateway's sockets; nothing if the kernel does not list them.
    pub sockets: Option<SocketFigures>,
}

/// The newest figures, shared by the thread that looks and whoever shows them.
#[derive(Debug)]
pub struct KernelStatus(watch::Sender<KernelFigures>);

impl Default for KernelStatus {
    fn default() -> KernelStatus {
        KernelStatus(watch::Sender::new(KernelFigures::default()))
    }
}

impl KernelStatus {
    /// What was seen last.
    #[must_use]
    pub fn latest(&self) -> KernelFigures {
        self.0.borrow().clone()
    }

    /// Appends them as Prometheus reads them.
    pub fn render(&self, text: &mut String) {
        text::render(text, &self.latest());
    }
}

/// A running thread that looks.
pub struct KernelWatch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl KernelWatch {
    /// Begins to look at the host and at the connections of the listeners on `port`, which lies in
    /// this thread's network namespace.
    ///
    /// # Errors
    /// If the thread cannot be had.
    pub fn start(port: u16, clock: Clock, status: Arc<KernelStatus>) -> io::Result<KernelWatch> {
        let (stop, stopped) = flume::bounded::<()>(0);
        let mut looking = Looking { port, clock, seen: KernelFigures::default() };
        let thread = std::thread::Builder::new().name("kernel".to_owned()).spawn(move || {
            loop {
                looking.look();
                status.0.send_replace(looking.seen.clone());
                if stopped.recv_timeout(LOOK_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(KernelWatch { stop, thread })
    }

    /// Looks no more.
    pub fn stop(self) {
        drop(self.stop);
        // A thread that has panicked has ended the process.
        let _ = self.thread.join();
    }
}

struct Looking {
    port: u16,
    clock: Clock,
    seen: KernelFigures,
}

impl Looking {
    fn look(&mut self) {
        let began = self.clock.now();
        let host = HostCounters::read();
        let queues = self.seen.sockets.take().map(|sockets| sockets.queues).unwrap_or_default();
        let sockets = sockets::look(self.port, queues);
        self.note("the host's network counters", host.as_ref().err());
        self.note("the gateway's sockets (sock_diag)", sockets.as_ref().err());
        self.seen.host = host.ok();
        self.seen.sockets = sockets.ok();
        self.seen.looks += 1;
        self.seen.took += self.clock.now().since(began);
    }

    /// The first error is worth a line; all are counted.
    fn note(&mut self, what: &str, error: Option<&io::Error>) {
        let Some(error) = error else { return };
        if self.seen.errors == 0 {
            tracing::warn!(%error, "{what} cannot be read: their metrics are left out");
        }
        self.seen.errors += 1;
    }
}

#[cfg(test)]
mod tests;
