//! Which runs of a deployment may go, and how they do.
//!
//! A run is needed by nobody when a later one has begun with all that it came to, the book has all
//! that it says of money, and nobody wants to export its shows any more. The first two are looked
//! at, the third is a setting: so many runs and so many days. The newest run never goes.

use std::fs;
use std::path::Path;

use super::recover::read_about;
use super::{
    DataError, RUNS, failing, read, run_folder, runs, segments, shard_folder, state_name, states,
    sync_folder,
};
use crate::base::ids::ShardId;
use crate::ledger::book::Book;
use crate::ledger::error::LedgerError;
pub use crate::runtime::feed::source::RUNS_FEED;
use crate::store::state;

const DAY_MS: i64 = 86_400_000;

/// What stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many newest runs, the present one included; never less than that one.
    pub runs: u32,
    /// What ended less than so many days ago.
    pub days: u32,
}

/// Why a run stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is one of the newest.
    Newest,
    /// It ended not long enough ago.
    Recent,
    /// The book does not have all of it.
    NotInBook,
    /// The run behind it cannot be read, so this one may be what a deployment goes on from.
    Needed,
}

/// An older run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldRun {
    /// Which.
    pub run: u64,
    /// When the next one began, Unix milliseconds: it had ended then.
    pub ended_unix_ms: i64,
    /// What it takes on disk.
    pub bytes: u64,
    /// Why it stays; nothing: it may go.
    pub kept: Option<Kept>,
}

/// Why runs cannot be looked at or removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The book.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The newest run of which everything is in the book; 0 where there is no book, or none of any run.
///
/// # Errors
/// The book cannot be read.
pub fn runs_in_the_book(root: &Path) -> Result<u64, LedgerError> {
    match Book::open_to_read(root) {
        Ok(book) => Ok(book.position(RUNS_FEED)?.0),
        Err(LedgerError::Absent { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}

/// All runs of the deployment in a folder but the newest, ascending, and what is to become of each.
///
/// # Errors
/// If the folder or the book cannot be read.
pub fn old_runs(root: &Path, keep: Keep, now_unix_ms: i64) -> Result<Vec<OldRun>, RetentionError> {
    let all = runs(root)?;
    let in_book = runs_in_the_book(root)?;
    let newest_count = usize::try_from(keep.runs.max(1)).unwrap_or(usize::MAX);
    let first_newest = all.len().saturating_sub(newest_count);
    let ended_before = now_unix_ms.saturating_sub(i64::from(keep.days) * DAY_MS);
    // Whatever is removed, the newest run must be one that a deployment can go on from.
    let is_newest_whole = match all.last() {
        Some(newest) => is_whole(&run_folder(root, *newest)),
        None => return Ok(Vec::new()),
    };
    let mut found = Vec::with_capacity(all.len());
    for (place, pair) in all.windows(2).enumerate() {
        let (run, next) = (pair[0], pair[1]);
        let ended_unix_ms = read_about(&run_folder(root, next))?.began_unix_ms;
        let kept = if place >= first_newest {
            Some(Kept::Newest)
        } else if ended_unix_ms > ended_before {
            Some(Kept::Recent)
        } else if run > in_book {
            Some(Kept::NotInBook)
        } else if !is_newest_whole {
            Some(Kept::Needed)
        } else {
            None
        };
        let bytes = disk_bytes(&run_folder(root, run))?;
        found.push(OldRun { run, ended_unix_ms, bytes, kept });
    }
    Ok(found)
}

/// Removes the runs that may go, and says which. A gateway may run in the folder: none of these is
/// its.
///
/// # Errors
/// If one cannot be removed; those before it are gone.
pub fn prune(root: &Path, keep: Keep, now_unix_ms: i64) -> Result<Vec<OldRun>, RetentionError> {
    let folder = root.join(RUNS);
    for entry in fs::read_dir(&folder).map_err(failing("reading", &folder))? {
        let path = entry.map_err(failing("reading", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == GONE) {
            // A process died while it removed this.
            fs::remove_dir_all(&path).map_err(failing("removing", &path))?;
        }
    }
    let mut removed = Vec::new();
    for old in old_runs(root, keep, now_unix_ms)? {
        if old.kept.is_some() {
            continue;
        }
        // As a whole, so that nobody ever finds half a run.
        let path = run_folder(root, old.run);
        let gone = path.with_extension(GONE);
        fs::rename(&path, &gone).map_err(failing("naming", &gone))?;
        sync_folder(&folder)?;
        fs::remove_dir_all(&gone).map_err(failing("removing", &gone))?;
        removed.push(old);
    }
    Ok(removed)
}

/// What is appended to the name of a run that is being removed.
const GONE: &str = "gone";

/// Whether every shard of a run has the state that it began with.
fn is_whole(folder: &Path) -> bool {
    let Ok(about) = read_about(folder) else { return false };
    ShardId::all(about.shards).all(|shard| {
        let path = shard_folder(folder, shard).join(state_name(0));
        read(&path).is_ok_and(|bytes| state::decode(&bytes).is_ok())
    })
}

/// What a run's files take on disk, which is less than their length where nothing was written.
fn disk_bytes(folder: &Path) -> Result<u64, DataError> {
    use std::os::unix::fs::MetadataExt as _;
    let about = read_about(folder)?;
    let mut bytes = 0;
    for shard in ShardId::all(about.shards) {
        let shard = shard_folder(folder, shard);
        let states = states(&shard)?.into_iter().map(state_name);
        let segments =
            segments(&shard)?.into_iter().map(crate::runtime::disk_journal::segment_name);
        for name in states.chain(segments) {
            let path = shard.join(name);
            let about = fs::metadata(&path).map_err(failing("reading", &path))?;
            bytes += about.blocks() * 512;
        }
    }
    Ok(bytes)
}
