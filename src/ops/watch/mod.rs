//! What threads off the shard cores look after: whether the host still has memory and descriptors for
//! more clients (here), and files that may change ([`files`]).

pub mod files;
pub mod pressure;
pub mod tls_files;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{RecvTimeoutError, Sender};
use tokio::sync::watch;

use crate::ops::watch::pressure::{PressureLimits, Readings};
use crate::runtime::gateway::Orders;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A running watch over memory and descriptors.
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Watching {
    orders: Orders,
    limits: watch::Receiver<PressureLimits>,
    is_holding: bool,
}

impl Watch {
    /// Begins to look, within limits that may change.
    ///
    /// # Errors
    /// If the thread cannot be had.
    pub fn start(orders: Orders, limits: watch::Receiver<PressureLimits>) -> io::Result<Watch> {
        let (stop, stopped) = flume::bounded::<()>(0);
        let mut watching = Watching { orders, limits, is_holding: false };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                watching.look();
            }
        })?;
        Ok(Watch { stop, thread })
    }

    /// Looks no more.
    pub fn stop(self) {
        drop(self.stop);
        // A watch that has panicked has ended the process.
        let _ = self.thread.join();
    }
}

impl Watching {
    fn look(&mut self) {
        let Ok(readings) = Readings::take() else { return };
        let limits = *self.limits.borrow();
        let short = limits.short_of(&readings, self.is_holding);
        match (short, self.is_holding) {
            (Some(short), false) => {
                tracing::warn!(%short, "accepting is held: nobody new until it is better");
            }
            (None, true) => tracing::info!("accepting goes on"),
            (Some(_), true) | (None, false) => return,
        }
        self.is_holding = short.is_some();
        self.orders.hold_accepting(self.is_holding);
    }
}
