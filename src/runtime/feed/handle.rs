//! What others ask of the book while it is fed: leaderboards, a player's page, how it goes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use crate::base::ids::UserId;
use crate::ledger::book::{Applied, Book, FeedId, Position};
use crate::ledger::error::LedgerError;
use crate::ledger::leaderboard::{Detail, Leaderboards, details};
use crate::ledger::outbox::queue::BookLook;
use crate::ledger::thread::LedgerListener;

#[expect(clippy::disallowed_types, reason = "read by threads of the service, never by a shard")]
type RwLock<T> = std::sync::RwLock<T>;

/// How the book goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerStatus {
    /// Causes that were new since the start.
    pub booked: u64,
    /// Causes that the book had already.
    pub repeated: u64,
    /// Why the last try to write failed, until one succeeds: a full disk, say.
    pub waits_for: Option<String>,
    /// Why nothing is written any more.
    pub stopped: Option<String>,
    /// Records of this run that are durable and not in the book yet, of all shards.
    pub behind_records: u64,
    /// What the look at the book once in a while found.
    pub looked: BookLook,
}

/// How far the book is with the journal of one shard.
struct Fed {
    feed: FeedId,
    durable: Arc<AtomicU64>,
    booked: AtomicU64,
}

#[derive(Default)]
struct Shared {
    directory: PathBuf,
    boards: RwLock<Leaderboards>,
    status: RwLock<LedgerStatus>,
    /// By shard; nothing before the feed has begun.
    fed: RwLock<Vec<Fed>>,
    /// Called when there are new withdrawals.
    withdrawals: RwLock<Option<Box<dyn Fn() + Send + Sync>>>,
}

/// The book of a running gateway, for any thread. It keeps nothing running.
#[derive(Clone)]
pub struct LedgerHandle(Arc<Shared>);

impl LedgerHandle {
    /// Of the book in `directory`, which is there.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub fn open(directory: &Path) -> Result<LedgerHandle, LedgerError> {
        let boards = RwLock::new(Leaderboards::read(directory)?);
        let directory = directory.to_path_buf();
        Ok(LedgerHandle(Arc::new(Shared { directory, boards, ..Shared::default() })))
    }

    /// The directory with the book.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Looks at the leaderboards. They stand still meanwhile: take what is needed and return.
    pub fn with_boards<T>(&self, look: impl FnOnce(&Leaderboards) -> T) -> T {
        look(&self.0.boards.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The latest causes that changed what a player has, newest first. Reads the file: not from a thread
    /// that serves others.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub fn details(&self, user: UserId, count: u32) -> Result<Vec<Detail>, LedgerError> {
        details(&Book::open_to_read(&self.0.directory)?, user, count)
    }

    /// How the book goes.
    #[must_use]
    pub fn status(&self) -> LedgerStatus {
        let status = self.0.status.read().unwrap_or_else(PoisonError::into_inner).clone();
        let fed = self.0.fed.read().unwrap_or_else(PoisonError::into_inner);
        let behind = |fed: &Fed| {
            // In this order: what is booked was durable before.
            let booked = fed.booked.load(Ordering::Acquire);
            fed.durable.load(Ordering::Acquire).saturating_sub(booked)
        };
        LedgerStatus { behind_records: fed.iter().map(behind).sum(), ..status }
    }

    /// What a look at the book found.
    pub fn note_look(&self, looked: BookLook) {
        self.change(|status| status.looked = looked);
    }

    /// Which journals are fed, how far each is durable, and how far the book is.
    pub(super) fn feeds(&self, feeds: impl Iterator<Item = (FeedId, Arc<AtomicU64>, Position)>) {
        let fed = feeds.map(|(feed, durable, Position(booked))| {
            let booked = AtomicU64::new(booked);
            Fed { feed, durable, booked }
        });
        *self.0.fed.write().unwrap_or_else(PoisonError::into_inner) = fed.collect();
    }

    /// What is to be done when there are new withdrawals in the book; in place of what was set before.
    pub fn on_withdrawals(&self, tell: impl Fn() + Send + Sync + 'static) {
        let mut told = self.0.withdrawals.write().unwrap_or_else(PoisonError::into_inner);
        *told = Some(Box::new(tell));
    }

    /// What tells the handle of the book.
    pub(super) fn listener(&self) -> Listener {
        Listener(self.clone())
    }

    pub(super) fn note_stopped(&self, why: &str) {
        self.change(|status| status.stopped = Some(why.to_owned()));
    }

    fn change(&self, change: impl FnOnce(&mut LedgerStatus)) {
        change(&mut self.0.status.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Hears what the book does.
pub(super) struct Listener(LedgerHandle);

impl LedgerListener for Listener {
    fn written(&mut self, positions: &[(FeedId, Position)], applied: &Applied) {
        let LedgerHandle(shared) = &self.0;
        for fed in shared.fed.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let position = positions.iter().rev().find(|(feed, _)| *feed == fed.feed);
            if let Some((_, Position(booked))) = position {
                fed.booked.store(*booked, Ordering::Release);
            }
        }
        if !applied.winnings.is_empty() {
            let mut boards = shared.boards.write().unwrap_or_else(PoisonError::into_inner);
            boards.take(&applied.winnings);
        }
        self.0.change(|status| {
            status.booked += applied.booked;
            status.repeated += applied.repeated;
            status.waits_for = None;
        });
        if applied.withdrawals {
            let tell = shared.withdrawals.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(tell) = tell.as_ref() {
                tell();
            }
        }
    }

    fn failed(&mut self, error: &LedgerError) {
        self.0.change(|status| status.waits_for = Some(error.to_string()));
    }
}
