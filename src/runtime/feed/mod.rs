//! The feed from the journal to the book of money, while a gateway runs and without one.
//!
//! ```text
//! shard ── records ──► journal files ──► reader ──► translate ──► batches ──► ledger::thread ──► SQLite
//!    └─ the newest durable record, one number ──► feed's thread
//! ```
//!
//! A thread of its own reads the journals' files behind the shards, so what is not yet in the book waits
//! on disk and not in memory, and a book that is slow, or whose disk is full, disturbs no shard. Each
//! batch carries the position that it reaches, in the same transaction; a restart goes on from there,
//! through all runs. What of several shards is told together was durable before one moment, so nothing
//! is in the book without what it rests on, as long as the feed keeps up.
//!
//! Absent: what may be paid (decided before it is journaled), and any thought of offsets in keys.

pub mod handle;
pub mod reader;
pub mod source;
pub mod translate;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};

pub use self::handle::{LedgerHandle, LedgerStatus};
use self::reader::Until;
use self::source::{JournalBatches, ShardFeed, axis_until, feed_id, join};
use crate::base::ids::ShardId;
use crate::base::priority::give_way;
use crate::base::time::Time;
use crate::ledger::book::{Batch, Book, FeedId, Position};
use crate::ledger::error::LedgerError;
use crate::ledger::thread::LedgerThread;
use crate::runtime::clock::Clock;
use crate::runtime::data::{DataError, Recovered};

/// How often the feed looks for what has become durable.
const LOOK: Duration = Duration::from_millis(100);
/// Positions without causes are written so often at most: a transaction is a sync of the disk.
const POSITIONS_INTERVAL: Duration = Duration::from_secs(5);
/// How long what is left may take when a gateway stops; the next start goes on.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Why the book is not fed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The journal.
    #[error("the ledger's feed cannot read the journal: {0}")]
    Journal(#[from] DataError),
    /// The book.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The thread.
    #[error("the thread of the ledger's feed cannot be started: {0}; raise the limit on threads")]
    Thread(#[source] io::Error),
}

/// What a feed needs to know of the run that begins: to be taken before its gateway starts.
pub struct FeedStart {
    root: PathBuf,
    run: u64,
    clock: Clock,
    /// By shard: the newest durable record.
    durable: Vec<Arc<AtomicU64>>,
}

impl FeedStart {
    /// Of a run that was just begun in the folder at `root`.
    #[must_use]
    pub fn new(root: &Path, recovered: &Recovered) -> FeedStart {
        FeedStart {
            root: root.to_path_buf(),
            run: recovered.report.run,
            clock: recovered.clock,
            durable: recovered.shards.iter().map(|shard| Arc::clone(&shard.durable)).collect(),
        }
    }
}

/// The running feed and its book.
pub struct LedgerFeed {
    handle: LedgerHandle,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl LedgerFeed {
    /// Opens the book, reads the leaderboards, and begins to feed what the book does not have, of all
    /// runs.
    ///
    /// # Errors
    /// If the book cannot be opened, or there is no thread.
    pub fn start(start: FeedStart) -> Result<LedgerFeed, FeedError> {
        let positions = Book::open(&start.root)?.positions()?;
        let handle = LedgerHandle::open(&start.root)?;
        handle.feeds((0..).map(ShardId).zip(&start.durable).map(|(shard, durable)| {
            let feed = feed_id(start.run, shard);
            (feed, Arc::clone(durable), positions.get(&feed).copied().unwrap_or_default())
        }));
        let ledger = LedgerThread::start(&start.root, Box::new(handle.listener()))?;
        let (stop, stopped) = flume::bounded(1);
        let said = handle.clone();
        let feeder = Feeder { start, positions, ledger, stopped, stopping_since: None };
        let builder = std::thread::Builder::new().name("ledger-feed".to_owned());
        let run = move || {
            give_way();
            feeder.run(&said);
        };
        let thread = builder.spawn(run).map_err(FeedError::Thread)?;
        Ok(LedgerFeed { handle, stop, thread })
    }

    /// What others ask of the book: it outlives the feed.
    #[must_use]
    pub fn handle(&self) -> LedgerHandle {
        self.handle.clone()
    }

    /// Feeds what is left and ends: to be called when the gateway has stopped. True if everything that
    /// is on the journal is in the book.
    #[must_use]
    pub fn stop(self) -> bool {
        let _ = self.stop.send(());
        self.thread.join().is_ok() && self.handle.status().stopped.is_none()
    }
}

struct Feeder {
    start: FeedStart,
    positions: BTreeMap<FeedId, Position>,
    ledger: LedgerThread,
    stopped: Receiver<()>,
    stopping_since: Option<Time>,
}

/// The gateway stops before all is fed.
struct Interrupted;

impl Feeder {
    fn run(mut self, handle: &LedgerHandle) {
        let fed = self.catch_up().and_then(|whole| match whole {
            Ok(()) => self.live(),
            Err(Interrupted) => Ok(Err(Interrupted)),
        });
        // Whatever stopped the book says more than the feed that was refused.
        let ended = self.ledger.stop().map_err(FeedError::from);
        match ended.and(fed) {
            Ok(Ok(())) => {}
            Ok(Err(Interrupted)) => {
                handle.note_stopped("the gateway stopped before everything was fed");
                tracing::warn!(
                    "the ledger is behind the journal; the next start goes on feeding it"
                );
            }
            Err(error) => {
                tracing::error!(%error, "the ledger is fed no longer; the journal goes on");
                handle.note_stopped(&error.to_string());
            }
        }
    }

    /// Feeds what earlier runs left.
    fn catch_up(&mut self) -> Result<Result<(), Interrupted>, FeedError> {
        let run = self.start.run;
        let mut batches = JournalBatches::new(&self.start.root, self.positions.clone(), Some(run))?;
        while let Some(batch) = batches.next_batch()? {
            if self.feed(vec![batch])?.is_err() {
                return Ok(Err(Interrupted));
            }
        }
        Ok(Ok(()))
    }

    fn live(&mut self) -> Result<Result<(), Interrupted>, FeedError> {
        let FeedStart { root, run, clock, durable } = &self.start;
        let (root, run, clock, durable) = (root.clone(), *run, *clock, durable.clone());
        let axis = axis_until(&root, run)?;
        let mut feeds = Vec::new();
        for shard in ShardId::all(u16::try_from(durable.len()).unwrap_or(u16::MAX)) {
            let known = self.positions.get(&feed_id(run, shard)).copied().unwrap_or_default();
            feeds.push(ShardFeed::open(&root, (run, shard), axis.clone(), known)?);
        }
        let mut pending: Vec<Option<Batch>> = feeds.iter().map(|_| None).collect();
        let (mut fed_at, mut has_more) = (clock.now(), false);
        loop {
            let is_stopping = self.is_stopping(if has_more { Duration::ZERO } else { LOOK });
            let written_unix_ms =
                if is_stopping { i64::MAX } else { clock.display().unix_ms(clock.now()) };
            has_more = false;
            for ((feed, mark), pending) in feeds.iter_mut().zip(&durable).zip(&mut pending) {
                let record = if is_stopping { u64::MAX } else { mark.load(Ordering::Acquire) };
                if let Some(more) = feed.next_batch(Until { record, written_unix_ms })? {
                    join(pending, more);
                    has_more = true;
                }
            }
            let has_causes = pending.iter().flatten().any(|batch| !batch.causes.is_empty());
            let is_due = clock.now().since(fed_at) >= POSITIONS_INTERVAL || is_stopping;
            if has_causes || is_due && pending.iter().any(Option::is_some) {
                let batches = pending.iter_mut().filter_map(Option::take).collect();
                if self.feed(batches)?.is_err() {
                    return Ok(Err(Interrupted));
                }
                fed_at = clock.now();
            }
            if is_stopping && !has_more {
                return Ok(Ok(()));
            }
        }
    }

    /// Hands batches to the book; waits while it takes none, but not for ever when the gateway stops.
    fn feed(&mut self, batches: Vec<Batch>) -> Result<Result<(), Interrupted>, FeedError> {
        let mut batches = batches;
        loop {
            match self.ledger.feed_within(batches, LOOK)? {
                None => return Ok(Ok(())),
                Some(back) => batches = back,
            }
            let now = self.start.clock.now();
            if self.is_stopping(Duration::ZERO)
                && self.stopping_since.is_some_and(|since| now.since(since) > STOP_PATIENCE)
            {
                return Ok(Err(Interrupted));
            }
        }
    }

    fn is_stopping(&mut self, wait: Duration) -> bool {
        if self.stopping_since.is_none() {
            // An owner that is gone wants no more of it either.
            let is_told =
                !matches!(self.stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
            self.stopping_since = is_told.then(|| self.start.clock.now());
        }
        self.stopping_since.is_some()
    }
}

/// Feeds a book that no gateway feeds with all that the journals of its folder tell. Says how many
/// causes were new.
///
/// # Errors
/// If the journal cannot be read or the book cannot be written.
pub fn feed_all(root: &Path, book: &mut Book) -> Result<u64, FeedError> {
    let mut batches = JournalBatches::new(root, book.positions()?, None)?;
    let mut booked = 0;
    while let Some(batch) = batches.next_batch()? {
        booked += book.apply(&[batch])?.booked;
    }
    Ok(booked)
}

#[cfg(test)]
mod tests;
