//! The main thread of a dispatcher: it notes what asks came to, looks, publishes, and puts a file that
//! was read again in force.
//!
//! After SIGHUP all gateways are asked by new threads. The old ones are let go, and what they still
//! tell is passed over; the file is not read once more before they have ended, so there are never more
//! than twice as many threads as gateways.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flume::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::watch;
use ureq::Agent;

use crate::base::entropy::SystemEntropy;
use crate::ops::log::LogHandle;
use crate::ops::reload::ConfigStatus;
use crate::ops::service::LoopWatchdog;
use crate::runtime::clock::Clock;

use super::ask::{Asked, Askers, Tell};
use super::board::{Board, Looker};
use super::reload::{Loaded, Moved, Source};
use super::settings::DispatchSettings;
use super::{ASKED_WAITING_MAX, LOOK_INTERVAL};

/// What the main thread waits for.
pub(super) enum Note {
    /// What an ask came to: of which set of threads, and the gateway's place in their settings.
    Asked { set: u64, gateway: usize, asked: Asked },
    /// The process shall end.
    Signal(&'static str),
}

/// What it leads with.
pub(super) struct Lead {
    pub(super) source: Source,
    pub(super) settings: Arc<DispatchSettings>,
    pub(super) looker: Looker,
    pub(super) board: watch::Sender<Arc<Board>>,
    pub(super) asking: Asking,
    pub(super) status: Arc<ConfigStatus>,
    /// SIGHUP came.
    pub(super) is_asked_to_reload: Arc<AtomicBool>,
    pub(super) log: LogHandle,
    pub(super) clock: Clock,
    pub(super) watchdog: LoopWatchdog,
}

/// The threads that ask.
pub(super) struct Asking {
    askers: Askers,
    /// Those of the settings before, until they have ended.
    leaving: Askers,
    /// The number of `askers`.
    set: u64,
    notes: Sender<Note>,
}

impl Asking {
    /// Begins to ask.
    ///
    /// # Errors
    /// If the threads cannot be had.
    pub(super) fn start(
        settings: &DispatchSettings,
        agent: &Agent,
        notes: Sender<Note>,
    ) -> io::Result<Asking> {
        let askers = Askers::start(settings, agent, &tell(&notes, 0))?;
        Ok(Asking { askers, leaving: Askers::default(), set: 0, notes })
    }

    fn may_begin_anew(&self) -> bool {
        self.leaving.have_ended()
    }

    /// New threads, by other settings.
    fn begin(&self, loaded: &Loaded) -> io::Result<Askers> {
        Askers::start(&loaded.settings, &loaded.agent, &tell(&self.notes, self.set + 1))
    }

    fn take(&mut self, askers: Askers) {
        self.set += 1;
        self.leaving = std::mem::replace(&mut self.askers, askers);
        self.leaving.let_go();
    }

    /// Asks no more, and waits for asks that are under way.
    pub(super) fn stop(self) {
        self.askers.stop();
        self.leaving.stop();
    }
}

fn tell(notes: &Sender<Note>, set: u64) -> Tell {
    let notes = notes.clone();
    Arc::new(move |gateway, asked| notes.send(Note::Asked { set, gateway, asked }).is_ok())
}

impl Lead {
    /// Leads until a signal asks for the end.
    pub(super) fn until_signal(&mut self, notes: &Receiver<Note>) {
        loop {
            let first = match notes.recv_timeout(LOOK_INTERVAL) {
                Ok(note) => Some(note),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            for note in first.into_iter().chain(notes.try_iter().take(ASKED_WAITING_MAX)) {
                match note {
                    Note::Asked { set, gateway, asked } if set == self.asking.set => {
                        self.looker.note(gateway, asked, self.clock.now());
                    }
                    // By settings that are no longer in force.
                    Note::Asked { .. } => {}
                    Note::Signal(signal) => {
                        tracing::info!(signal, "stopping");
                        return;
                    }
                }
            }
            if self.asking.may_begin_anew()
                && self.is_asked_to_reload.swap(false, Ordering::Relaxed)
            {
                self.reload();
            }
            let board = self.looker.look(self.clock.now(), &mut SystemEntropy);
            self.board.send_replace(Arc::new(board));
            self.watchdog.turned(self.clock.now());
        }
    }

    fn reload(&mut self) {
        let outcome = self.renew();
        self.status.note(outcome.is_ok());
        match outcome {
            Ok(Moved { added, removed }) => {
                let gateways = self.settings.gateways.len();
                let (added, removed) = (added.join(", "), removed.join(", "));
                tracing::info!(
                    gateways,
                    added,
                    removed,
                    "the file was read again, and is in force"
                );
            }
            Err(error) => tracing::error!(error, "the settings stay as they were"),
        }
    }

    /// What may fail comes first.
    fn renew(&mut self) -> Result<Moved, String> {
        let loaded = self.source.load_again(&self.settings)?;
        let askers = self.asking.begin(&loaded).map_err(|error| {
            format!("new threads cannot be started: {error}; raise the limit on threads")
        })?;
        let level = loaded.settings.log_level;
        self.log.set(level, None).map_err(|error| error.to_string())?;
        let moved = Moved::between(&self.settings, &loaded.settings);
        self.asking.take(askers);
        self.looker.renew(Arc::clone(&loaded.settings), self.clock.now());
        self.settings = loaded.settings;
        Ok(moved)
    }
}
