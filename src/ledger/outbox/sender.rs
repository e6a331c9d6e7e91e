//! Sends payouts: one thread that knows what is due and records what becomes of it, and as many that
//! wait for answers as payouts may be under way.
//!
//! What an answer said is recorded before anybody acts on it. If the disk does not take it, the
//! answer is kept and recorded later; its payout stays under way meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::entropy::Entropy;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::queue::{Outcome, Queue};
use crate::ledger::outbox::settings::OutboxSettings;
use crate::ledger::outbox::webhook::{Answer, Webhook};
use crate::ledger::outbox::{Ending, Payout};

/// How often the book is asked although nobody said that there is something new: another process
/// may have asked for dead letters to be sent again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a sender needs of the world.
pub struct SenderWorld {
    /// The time, Unix milliseconds.
    pub now_unix_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Spreads tries in time.
    pub entropy: Box<dyn Entropy + Send>,
    /// Is told how withdrawals ended, once that is durable in the book, so that it can be
    /// journaled; at the start, all that ended before and is not in the journal yet. May be told twice.
    pub ended: Box<dyn FnMut(Ending) + Send>,
}

/// When a sender ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendUntil {
    /// Never.
    Stopped,
    /// When no payout waits.
    NothingWaits,
}

enum Event {
    Answered(Payout, Answer),
    Wake,
    Stop,
}

/// The running sender.
pub struct Sender {
    events: flume::Sender<Event>,
    thread: JoinHandle<Result<(), LedgerError>>,
}

impl Sender {
    /// Starts to send what is in the book of `directory`. Only one sender does at a time.
    ///
    /// # Errors
    /// The settings, the book or the threads cannot be used, or another sender is at work.
    pub fn start(
        directory: &Path,
        settings: OutboxSettings,
        until: SendUntil,
        world: SenderWorld,
    ) -> Result<Sender, LedgerError> {
        let webhook = Webhook::new(&settings)?;
        let lock = lock(directory)?;
        let queue = Queue::open(directory)?;
        let (events, heard) = flume::unbounded();
        let (jobs, work) = flume::unbounded();
        for index in 0..settings.concurrency {
            let worker = Worker {
                webhook: webhook.clone(),
                work: work.clone(),
                events: events.clone(),
                now_unix_ms: Arc::clone(&world.now_unix_ms),
            };
            spawn(format!("payout-{index}"), directory, move || worker.run())?;
        }
        let mut desk = Desk {
            queue,
            settings,
            until,
            world,
            jobs,
            heard,
            under_way: BTreeSet::new(),
            answers: Vec::new(),
            is_stopping: false,
            _lock: lock,
        };
        let thread = spawn("payouts".to_owned(), directory, move || desk.run())?;
        Ok(Sender { events, thread })
    }

    /// Says that there are new payouts.
    pub fn wake(&self) {
        let _ = self.events.send(Event::Wake);
    }

    /// What says so, from any thread and for as long as it likes.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let events = self.events.clone();
        move || drop(events.send(Event::Wake))
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for what is under way, records it, and ends.
    ///
    /// # Errors
    /// What ended it before.
    pub fn stop(self) -> Result<(), LedgerError> {
        let _ = self.events.send(Event::Stop);
        self.wait()
    }

    /// Waits for its own end ([`SendUntil::NothingWaits`]).
    ///
    /// # Errors
    /// What ended it.
    pub fn wait(self) -> Result<(), LedgerError> {
        self.thread.join().unwrap_or_else(|_| {
            Err(LedgerError::Stopped { why: "the thread of the payouts panicked".to_owned() })
        })
    }
}

fn spawn<T: Send + 'static>(
    name: String,
    directory: &Path,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, LedgerError> {
    let doing = "a thread for payouts cannot be started";
    thread::Builder::new().name(name).spawn(run).map_err(|source| LedgerError::File {
        path: directory.to_owned(),
        doing,
        source,
    })
}

/// A lock that goes with the process, however it ends.
///
/// # Errors
/// Another sender has it, or it cannot be made.
pub fn lock(directory: &Path) -> Result<File, LedgerError> {
    let path = directory.join("payouts.lock");
    let failed =
        |source| LedgerError::File { path: path.clone(), doing: "cannot be locked", source };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::OutboxTaken { path }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(io::Error::from(source.kind()))),
    }
}

struct Worker {
    webhook: Webhook,
    work: flume::Receiver<Payout>,
    events: flume::Sender<Event>,
    now_unix_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Worker {
    fn run(self) {
        while let Ok(payout) = self.work.recv() {
            let answer = self.webhook.send(&payout, (self.now_unix_ms)());
            if self.events.send(Event::Answered(payout, answer)).is_err() {
                return;
            }
        }
    }
}

struct Desk {
    queue: Queue,
    settings: OutboxSettings,
    until: SendUntil,
    world: SenderWorld,
    jobs: flume::Sender<Payout>,
    heard: flume::Receiver<Event>,
    under_way: BTreeSet<i64>,
    /// Not yet recorded.
    answers: Vec<(Payout, Answer)>,
    is_stopping: bool,
    _lock: File,
}

impl Desk {
    fn run(&mut self) -> Result<(), LedgerError> {
        for ending in self.queue.unjournaled()? {
            (self.world.ended)(ending);
        }
        loop {
            match self.turn() {
                Ok(Some(wait)) => self.hear(wait),
                Ok(None) => return Ok(()),
                Err(error) if error.may_pass() && !self.is_stopping => {
                    tracing::error!(%error, "payouts cannot be read or recorded");
                    self.hear(LOOK_AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Records what was heard and hands out what is due; says how long to wait, or that all is done.
    fn turn(&mut self) -> Result<Option<Duration>, LedgerError> {
        let now = (self.world.now_unix_ms)();
        self.record(now)?;
        if self.is_stopping {
            return Ok((!self.under_way.is_empty()).then_some(LOOK_AGAIN));
        }
        let free = usize::from(self.settings.concurrency) - self.under_way.len();
        if free > 0 {
            for payout in self.queue.due(now, free, &self.under_way)? {
                self.under_way.insert(payout.id);
                // The workers are there as long as this thread is.
                let _ = self.jobs.send(payout);
            }
        }
        if !self.under_way.is_empty() {
            return Ok(Some(LOOK_AGAIN));
        }
        let (next, count) = self.queue.waiting()?;
        if count == 0 && self.until == SendUntil::NothingWaits {
            return Ok(None);
        }
        let wait = next.map_or(LOOK_AGAIN, |next| {
            Duration::from_millis(u64::try_from(next - now).unwrap_or(0).max(1))
        });
        Ok(Some(wait.min(LOOK_AGAIN)))
    }

    fn hear(&mut self, wait: Duration) {
        let first = self.heard.recv_timeout(wait).ok();
        for event in first.into_iter().chain(self.heard.try_iter()) {
            match event {
                Event::Answered(payout, answer) => self.answers.push((payout, answer)),
                Event::Wake => {}
                Event::Stop => self.is_stopping = true,
            }
        }
    }

    fn record(&mut self, now_unix_ms: i64) -> Result<(), LedgerError> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let mut outcomes = Vec::new();
        for (payout, answer) in &self.answers {
            outcomes.push((
                payout.id,
                outcome(&self.settings, &mut self.world, payout, answer, now_unix_ms),
            ));
        }
        self.queue.record(&outcomes, now_unix_ms, self.settings.tries_max)?;
        for (payout, answer) in self.answers.drain(..) {
            self.under_way.remove(&payout.id);
            let Payout { withdrawal, amount, tries, .. } = payout;
            let key = withdrawal.idempotency_key();
            match answer {
                Answer::Acknowledged { .. } => {
                    (self.world.ended)(Ending { withdrawal, amount, is_paid: true });
                }
                Answer::Refused { why } => {
                    tracing::error!(payout = key, why, "a payout was refused and is a dead letter");
                }
                Answer::Failed { why, .. } if tries + 1 >= self.settings.tries_max => {
                    tracing::error!(
                        payout = key,
                        why,
                        "a payout failed too often and is a dead letter"
                    );
                }
                Answer::Failed { why, .. } => {
                    tracing::warn!(
                        payout = key,
                        why,
                        tries = tries + 1,
                        "a payout is tried again later"
                    );
                }
            }
        }
        Ok(())
    }
}

fn outcome(
    settings: &OutboxSettings,
    world: &mut SenderWorld,
    payout: &Payout,
    answer: &Answer,
    now_unix_ms: i64,
) -> Outcome {
    match answer {
        Answer::Acknowledged { reference } => {
            Outcome::Acknowledged { reference: reference.clone() }
        }
        Answer::Refused { why } => Outcome::Refused { why: why.clone() },
        Answer::Failed { why, after } => {
            let draw = u16::try_from(world.entropy.below(1 << 16)).unwrap_or(0);
            let wait = settings.backoff(payout.tries + 1, draw);
            // Asked to wait longer, it does; but nobody makes it wait for ever.
            let wait = wait.max(after.unwrap_or_default().min(settings.backoff_max));
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            Outcome::Failed { why: why.clone(), again_unix_ms: now_unix_ms.saturating_add(wait_ms) }
        }
    }
}
