//! The folder of a deployment: what outlives the process, and how the next one begins with it.
//!
//! ```text
//! DIR/lock                            held by the process that uses the folder
//! DIR/deployment.json                 what never changes: buckets, and the secrets of placement
//! DIR/runs/00000007/run.json          one run of the process: its shards, its zero of time
//! DIR/runs/00000007/shard-0001/       a shard of that run
//!     state-0000000000000000          what the shard began with, or was at a later record
//!     00000001.journal …              its records since
//! ```
//!
//! A run appears as a whole, by renaming its folder, when all that it begins with is durable; from
//! then on the runs before it are history. So whatever moment the process dies at, there is one
//! newest run, and the state is what its shards began with plus their records.

pub mod backup;
mod deployment;
pub mod journals;
mod recover;
pub mod retention;
pub mod show;
pub mod shows;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

pub use self::deployment::Deployment;
pub use self::recover::{Recovered, RecoveryReport, ShardStart, TornTail, began_with, run_times};

use crate::base::ids::{EventNumber, ShardId, ShowId};
use crate::shard::recovery::ReplayError;
use crate::store::record::RecordError;
use crate::store::scan::Damage;
use crate::store::state::StateError;

/// Version of the folder's layout.
pub const LAYOUT_VERSION: u32 = 1;

/// Why a deployment's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder.
    #[error("{what} {}: {error}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process uses the folder.
    #[error(
        "{}: another process uses this folder; stop it first, or give this one a folder of its own",
        .0.display()
    )]
    InUse(PathBuf),
    /// A file of ours cannot be understood.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The settings contradict what the deployment began with.
    #[error(
        "{}: the deployment has {key} {stored}, the settings say {configured}: {key} never changes; \
         remove it from the settings, or begin another deployment in another folder",
        path.display()
    )]
    Contradiction {
        /// The file of the deployment.
        path: PathBuf,
        /// Which setting.
        key: &'static str,
        /// What the deployment has.
        stored: String,
        /// What the settings say.
        configured: String,
    },
    /// A journal is damaged where it was durable.
    #[error(
        "{}: {damage}. Nothing was changed. `tidegate journal verify` says what is lost; restore a \
         backup, or cut the journal there with `tidegate journal repair`",
        path.display()
    )]
    Damage {
        /// The shard's folder.
        path: PathBuf,
        /// What and where.
        damage: Damage,
    },
    /// No state of a shard can be read.
    #[error("{}: {error}. Nothing was changed; restore a backup", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: StateError,
    },
    /// A record cannot be read.
    #[error(
        "{}: record {record}: {error}. Nothing was changed; use the version that wrote it",
        path.display()
    )]
    Record {
        /// The shard's folder.
        path: PathBuf,
        /// Which record of the run.
        record: u64,
        /// Why.
        error: RecordError,
    },
    /// A record follows an event that is on no journal.
    #[error(
        "{}: record {record} rests on event {number} of show {show}, which is on no journal: the \
         journal of its director was cut. Nothing was changed; restore a backup, or have this \
         journal cut to match with `tidegate journal repair`",
        path.display()
    )]
    EventCut {
        /// The shard's folder.
        path: PathBuf,
        /// Which record of the run; 0 for its state.
        record: u64,
        /// Which show.
        show: ShowId,
        /// Which event.
        number: EventNumber,
    },
    /// Doing a record again came out otherwise.
    #[error(
        "{}: record {record}: {error}. Nothing was changed; this is a fault of tidegate's own, \
         please report it with a copy of the folder",
        path.display()
    )]
    Replay {
        /// The shard's folder.
        path: PathBuf,
        /// Which record of the run.
        record: u64,
        /// Why.
        error: Box<ReplayError>,
    },
}

/// Where the runs of a deployment are.
pub const RUNS: &str = "runs";

/// A deployment's folder, locked for this process.
pub struct DataFolder {
    root: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl DataFolder {
    /// Opens a folder, which is made if there is none, and locks it for this process.
    ///
    /// # Errors
    /// If it cannot be made or locked.
    pub fn open(root: &Path) -> Result<DataFolder, DataError> {
        make_folder(root)?;
        // Glommio opens folders by their whole path only.
        let root = &fs::canonicalize(root).map_err(failing("finding", root))?;
        // So that the folder itself is there after a power loss, where its parent may be opened.
        let _ = sync_folder(root.parent().unwrap_or(root));
        make_folder(&root.join(RUNS))?;
        let path = root.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = opened.map_err(failing("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataFolder { root: root.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse(root.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(failing("locking", &path)(error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The folder of a run.
#[must_use]
pub fn run_folder(root: &Path, run: u64) -> PathBuf {
    root.join(RUNS).join(format!("{run:08}"))
}

/// The folder of a shard in a run's.
#[must_use]
pub fn shard_folder(run: &Path, shard: ShardId) -> PathBuf {
    run.join(format!("shard-{:04}", shard.0))
}

/// The name of a file of state.
#[must_use]
pub fn state_name(record: u64) -> String {
    format!("state-{record:016}")
}

/// The numbers of the runs in a folder, ascending.
///
/// # Errors
/// If it cannot be read.
pub fn runs(root: &Path) -> Result<Vec<u64>, DataError> {
    numbered(&root.join(RUNS), |name| name.parse().ok())
}

/// Whether the journals of a folder go back to the deployment's beginning: no run was removed because
/// it was old, or left out of a copy because the book had passed it.
///
/// # Errors
/// If it cannot be read.
pub fn has_all_runs(root: &Path) -> Result<bool, DataError> {
    Ok(runs(root)?.first().is_none_or(|first| *first == 1))
}

/// The numbers of the segments in a shard's folder, ascending.
pub(in crate::runtime) fn segments(folder: &Path) -> Result<Vec<u64>, DataError> {
    numbered(folder, |name| name.strip_suffix(".journal")?.parse().ok())
}

/// The records of the states in a shard's folder, ascending.
///
/// # Errors
/// If it cannot be read.
pub fn states(folder: &Path) -> Result<Vec<u64>, DataError> {
    numbered(folder, |name| name.strip_prefix("state-")?.parse().ok())
}

/// The numbers that `number` finds in the names of a folder's files, ascending.
fn numbered(folder: &Path, number: impl Fn(&str) -> Option<u64>) -> Result<Vec<u64>, DataError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failing("reading", folder))? {
        let entry = entry.map_err(failing("reading", folder))?;
        found.extend(entry.file_name().to_str().and_then(&number));
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a process uses the folder at `root`.
#[must_use]
pub fn is_in_use(root: &Path) -> bool {
    // One that cannot be locked for another reason is not in use by us.
    let lock = File::open(root.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Writes a file as a whole: it is there completely and durably, or not at all. Nobody else may
/// read it.
///
/// # Errors
/// If it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let aside = path.with_extension("tmp");
    let opened =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&aside);
    let mut file = opened.map_err(failing("making", &aside))?;
    file.write_all(bytes).map_err(failing("writing", &aside))?;
    file.sync_all().map_err(failing("syncing", &aside))?;
    fs::rename(&aside, path).map_err(failing("naming", path))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Removes a file.
///
/// # Errors
/// If it cannot be removed.
pub fn remove(path: &Path) -> Result<(), DataError> {
    fs::remove_file(path).map_err(failing("removing", path))
}

fn make_folder(path: &Path) -> Result<(), DataError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failing("making the folder", path))
}

fn sync_folder(path: &Path) -> Result<(), DataError> {
    let opened = File::open(path).and_then(|folder| folder.sync_all());
    opened.map_err(failing("syncing the folder", path))
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(failing("reading", path))
}

pub(in crate::runtime) fn failing(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> DataError {
    move |error| DataError::File { what, path: path.to_path_buf(), error }
}
