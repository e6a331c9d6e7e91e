//! Payouts of a running gateway: what waits in the book is sent, and how it ended is told to the user's
//! bucket, which journals it; from there it comes back into the book as a cause.
//!
//! The book is asked what has ended and is not yet journaled, again and again: so nothing is lost when a
//! shard gives no answer, and what another process recorded (`tidegate ledger outbox give-back`) is found
//! as well. A bucket takes the same end any number of times.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender as Channel};

use crate::base::entropy::SystemEntropy;
use crate::base::time::Time;
use crate::ledger::cause::WithdrawalId;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::Ending;
use crate::ledger::outbox::queue::Queue;
use crate::ledger::outbox::sender::{SendUntil, Sender, SenderWorld};
use crate::ledger::outbox::settings::OutboxSettings;
use crate::ops::config::PayoutsConfig;
use crate::runtime::clock::Clock;
use crate::runtime::feed::LedgerHandle;
use crate::runtime::gateway::{CallError, Caller};
use crate::shard::operator::OperatorRequest;

/// How often the book is asked although nobody said that something ended.
const LOOK: Duration = Duration::from_secs(1);
/// How often all balances are summed and payouts counted, for the metrics: with a million accounts it
/// takes this thread a tenth of a second.
const LOOK_AT_ALL: Duration = Duration::from_secs(30);
/// An end that was told is in the book soon; if it is not by then, it is told again.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// One that was refused is a case for a person; meanwhile the log says so now and then.
const REFUSED_AGAIN: Duration = Duration::from_secs(600);
/// Ends that are told in one go.
const ENDS_MAX: usize = 256;

/// What sends, and what tells how it ended.
pub struct Payouts {
    sender: Option<Sender>,
    stop: Channel<Wake>,
    thread: JoinHandle<()>,
}

enum Wake {
    Look,
    Stop,
}

impl Payouts {
    /// Begins to tell how payouts ended and, where there is an address, to send them.
    ///
    /// # Errors
    /// The book, the settings or the threads cannot be used, or another process sends.
    pub fn start(
        config: &PayoutsConfig,
        ledger: &LedgerHandle,
        caller: Caller,
        clock: Clock,
    ) -> Result<Payouts, LedgerError> {
        let directory = ledger.directory();
        let (stop, wakes) = flume::bounded(16);
        let sender = match outbox_settings(config) {
            None => None,
            Some(settings) => {
                let ended = stop.clone();
                let world = SenderWorld {
                    now_unix_ms: Arc::new(move || clock.display().unix_ms(clock.now())),
                    entropy: Box::new(SystemEntropy),
                    // Where it is full, a look is on its way.
                    ended: Box::new(move |_| drop(ended.try_send(Wake::Look))),
                };
                let sender = Sender::start(directory, settings, SendUntil::Stopped, world)?;
                ledger.on_withdrawals(sender.waker());
                tracing::info!(url = config.url, "withdrawals are paid out");
                Some(sender)
            }
        };
        let teller = Teller {
            queue: Queue::open(directory)?,
            ledger: ledger.clone(),
            looked_at_all: None,
            caller,
            clock,
            wakes,
            told: BTreeMap::new(),
        };
        let builder = std::thread::Builder::new().name("payouts-ended".to_owned());
        let thread = builder.spawn(move || teller.run()).map_err(cannot_start(directory))?;
        Ok(Payouts { sender, stop, thread })
    }

    /// Waits for what is under way, tells what is known, and ends: while the gateway still runs.
    pub fn stop(self) {
        if let Some(Err(error)) = self.sender.map(Sender::stop) {
            tracing::error!(%error, "payouts were not sent any more");
        }
        let _ = self.stop.send(Wake::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that tells how payouts ended has panicked");
        }
    }
}

fn cannot_start(directory: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path: PathBuf = directory.to_path_buf();
    move |source| LedgerError::File {
        path,
        doing: "a thread for payouts cannot be started",
        source,
    }
}

/// How payouts are sent, where they are.
fn outbox_settings(config: &PayoutsConfig) -> Option<OutboxSettings> {
    let secret = config.secret.as_ref().map_or(Vec::new(), |secret| secret.bytes().to_vec());
    Some(OutboxSettings {
        certificates: config.certificates_file.as_ref().map(PathBuf::from),
        timeout: Duration::from_millis(config.timeout_ms),
        concurrency: config.concurrency,
        tries_max: config.tries_max,
        backoff_first: Duration::from_millis(config.backoff_ms),
        backoff_max: Duration::from_millis(config.backoff_max_ms),
        ..OutboxSettings::new(config.url.as_ref()?, secret)
    })
}

struct Teller {
    queue: Queue,
    ledger: LedgerHandle,
    looked_at_all: Option<Time>,
    caller: Caller,
    clock: Clock,
    wakes: Receiver<Wake>,
    /// When to tell an end again, if the book still has it as one that is not journaled.
    told: BTreeMap<WithdrawalId, Time>,
}

impl Teller {
    fn run(mut self) {
        loop {
            match self.wakes.recv_timeout(LOOK) {
                Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => self.look(),
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return self.look();
                }
            }
        }
    }

    /// Counts for the metrics.
    fn look_at_all(&mut self) {
        let now = self.clock.now();
        if self.looked_at_all.is_some_and(|at| now.since(at) < LOOK_AT_ALL) {
            return;
        }
        self.looked_at_all = Some(now);
        match self.queue.look() {
            Ok(looked) => self.ledger.note_look(looked),
            Err(error) => tracing::error!(%error, "the book cannot be looked at"),
        }
    }

    fn look(&mut self) {
        self.look_at_all();
        let ended = match self.queue.unjournaled() {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "how payouts ended cannot be read");
                return;
            }
        };
        // What is journaled is in the book by now, and need not be remembered.
        let is_open = |id: &WithdrawalId| ended.iter().any(|ending| ending.withdrawal == *id);
        self.told.retain(|id, _| is_open(id));
        let now = self.clock.now();
        let is_due =
            |ending: &&Ending| self.told.get(&ending.withdrawal).is_none_or(|again| *again <= now);
        for ending in ended.iter().filter(is_due).take(ENDS_MAX).cloned().collect::<Vec<_>>() {
            let Ending { withdrawal, is_paid, .. } = ending;
            let WithdrawalId { user, number } = withdrawal;
            let request = OperatorRequest::CloseWithdrawal { user, number, is_paid };
            let again = match self.caller.call(request) {
                Ok(_) => TELL_AGAIN,
                Err(CallError::Refused(error)) => {
                    let payout = withdrawal.idempotency_key();
                    tracing::error!(payout, is_paid, %error, "how a payout ended was refused");
                    REFUSED_AGAIN
                }
                Err(error @ (CallError::NoAnswer(_) | CallError::Draining)) => {
                    tracing::warn!(%error, "how payouts ended is told later");
                    return;
                }
            };
            self.told.insert(withdrawal, self.clock.now() + again);
        }
    }
}
