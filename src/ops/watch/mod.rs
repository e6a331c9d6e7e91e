//! The watch: a thread off the shard cores that looks, a few times a second, whether the host still
//! has memory and descriptors for more clients, and whether certificates were renewed.

pub mod pressure;
pub mod tls_files;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{RecvTimeoutError, Sender};
use signal_hook::consts::SIGHUP;

use crate::ops::watch::pressure::{PressureLimits, Readings};
use crate::ops::watch::tls_files::TlsFiles;
use crate::runtime::gateway::Orders;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A running watch.
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Watching {
    orders: Orders,
    limits: PressureLimits,
    tls: Option<TlsFiles>,
    /// SIGHUP came.
    asked: Arc<AtomicBool>,
    is_holding: bool,
}

impl Watch {
    /// Begins to look.
    ///
    /// # Errors
    /// If the thread or the handler of SIGHUP cannot be had.
    pub fn start(
        orders: Orders,
        limits: PressureLimits,
        tls: Option<TlsFiles>,
    ) -> io::Result<Watch> {
        let asked = Arc::new(AtomicBool::new(false));
        if tls.is_some() {
            signal_hook::flag::register(SIGHUP, Arc::clone(&asked))?;
        }
        let (stop, stopped) = flume::bounded::<()>(0);
        let mut watching = Watching { orders, limits, tls, asked, is_holding: false };
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
        self.look_at_memory();
        let is_asked = self.asked.swap(false, Ordering::Relaxed);
        if let Some(tls) = &mut self.tls
            && (tls.have_changed() || is_asked)
        {
            match tls.load() {
                Ok(config) => {
                    self.orders.renew_tls(&config);
                    tracing::info!("certificates are renewed: new connections get them");
                }
                Err(error) => {
                    tracing::error!(%error, "certificates are not renewed: the old ones stay");
                }
            }
        }
    }

    fn look_at_memory(&mut self) {
        let Ok(readings) = Readings::take() else { return };
        let short = self.limits.short_of(&readings, self.is_holding);
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
