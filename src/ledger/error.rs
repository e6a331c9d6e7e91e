//! What can go wrong with the book, and what to do about it.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::base::limits::{LEDGER_AMOUNT_MAX, NAME_BYTES_MAX};
use crate::ledger::cause::CauseKey;

/// Why a cause cannot be booked, whatever the book has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CauseError {
    /// Amounts are never negative: what moves the other way is another cause.
    #[error("the amount {amount} is negative")]
    Negative {
        /// The amount.
        amount: i64,
    },
    /// More than any pool may hold.
    #[error("the amount {amount} is more than {LEDGER_AMOUNT_MAX}")]
    TooMuch {
        /// The amount.
        amount: i64,
    },
    /// A split that does not add up.
    #[error("a pool of {pool} is not {winners} × {per_head} + {remainder}")]
    Split {
        /// The pool.
        pool: i64,
        /// Number of winners.
        winners: u64,
        /// What each gets.
        per_head: i64,
        /// What is left.
        remainder: i64,
    },
    /// Nobody has the id 0.
    #[error("the user or show is 0")]
    Nobody,
    /// A name without a letter.
    #[error("a name is empty")]
    EmptyName,
    /// A name that is too long.
    #[error("a name has {bytes} bytes, more than {NAME_BYTES_MAX}")]
    LongName {
        /// Its length.
        bytes: usize,
    },
}

/// Why the book did not do what it was asked. Nothing of it was done.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file cannot be opened or made.
    #[error(
        "{path}: the ledger cannot be opened: {source}; the directory must exist and be writable by \
         this user"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// There is no file to read.
    #[error(
        "{path}: there is no ledger; --data names the directory that `tidegate serve` was given"
    )]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path}: is not a ledger of tidegate: {what}")]
    NotALedger {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// A later tidegate wrote it.
    #[error(
        "{path}: was written by a newer tidegate (version {found} of the ledger; this one knows \
         {known}): run that version, or move the file away and let it be written again from the journal"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The last version known here.
        known: i64,
    },
    /// An earlier version, and the file is only read.
    #[error(
        "{path}: has version {found} of the ledger, {known} is current: `tidegate serve` upgrades it"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The current version.
        known: i64,
    },
    /// A cause that nobody can book.
    #[error("cause {key}: {source}")]
    Cause {
        /// Its key.
        key: CauseKey,
        /// What is wrong with it.
        source: CauseError,
    },
    /// Two causes with one key.
    #[error(
        "cause {key} is in the book with other contents: booked {booked}; now {told}. The feed is \
         stopped: one of the two is wrong, and `tidegate ledger verify` tells which entries it made"
    )]
    Conflict {
        /// The key.
        key: CauseKey,
        /// What the book has.
        booked: String,
        /// What the feed says.
        told: String,
    },
    /// A reversal of nothing.
    #[error("cause {key} reverses {of}, which {why}")]
    Reversal {
        /// The reversal.
        key: CauseKey,
        /// What it reverses.
        of: CauseKey,
        /// Why it cannot.
        why: &'static str,
    },
    /// The end of a withdrawal that was not requested so.
    #[error(
        "cause {key}: the book has no withdrawal of that amount that was requested and not ended"
    )]
    Withdrawal {
        /// The end's key.
        key: CauseKey,
    },
    /// A sum that 64 bits do not hold.
    #[error("the balance of {account} would not fit into 64 bits")]
    Overflow {
        /// The account.
        account: String,
    },
    /// A batch that begins behind the place that the book has.
    #[error(
        "feed {feed}: a batch begins after position {after}, but the book has {has}: what lies between \
         would be missing"
    )]
    Gap {
        /// The feed.
        feed: u64,
        /// Where the batch begins.
        after: u64,
        /// What the book has.
        has: u64,
    },
    /// A batch whose end lies before its beginning, or beyond what the file can hold.
    #[error("feed {feed}: a batch from {after} to {through} is no batch")]
    BatchBounds {
        /// The feed.
        feed: u64,
        /// Where the batch begins.
        after: u64,
        /// Where it ends.
        through: u64,
    },
    /// The disk is full.
    #[error("the disk of the ledger is full ({source}): nothing of this was written; make room")]
    Full {
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The disk, or the file, can only be read.
    #[error(
        "the ledger can only be read ({source}): nothing of this was written; mount it writable"
    )]
    ReadOnly {
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Anything else that SQLite says.
    #[error("the ledger's database: {source}")]
    Database {
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A file beside the book.
    #[error("{path}: {doing}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Writing the result failed.
    #[error("writing: {0}")]
    Output(#[from] io::Error),
    /// A file that was given is wrong.
    #[error("{path}:{line}: {what}")]
    Input {
        /// The file.
        path: PathBuf,
        /// Where in it.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// A restore onto something.
    #[error("{path}: is there already; move it away first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The journal that a book is compared with.
    #[error("the journal cannot be read: {what}")]
    Journal {
        /// What is wrong with it.
        what: String,
    },
    /// The thread of the book is gone, or stopped by an earlier error.
    #[error("the book takes nothing any more: {why}")]
    Stopped {
        /// What stopped it.
        why: String,
    },
    /// Another process sends payouts from this book.
    #[error("{path}: another process sends payouts from this ledger; end it first")]
    OutboxTaken {
        /// The lock.
        path: PathBuf,
    },
    /// The payouts' settings.
    #[error("payouts: {what}")]
    Settings {
        /// What is wrong.
        what: String,
    },
}

impl From<rusqlite::Error> for LedgerError {
    fn from(source: rusqlite::Error) -> LedgerError {
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LedgerError::Full { source },
            Some(ErrorCode::ReadOnly) => LedgerError::ReadOnly { source },
            _ => LedgerError::Database { source },
        }
    }
}

impl LedgerError {
    /// Whether the same may succeed later, because the disk, not the cause, is at fault.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            LedgerError::Full { .. } | LedgerError::ReadOnly { .. } => true,
            LedgerError::Database { source } | LedgerError::Open { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::CannotOpen
                        | ErrorCode::OutOfMemory
                )
            ),
            _ => false,
        }
    }
}
