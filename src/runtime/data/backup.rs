//! Copies of a deployment's folder, also while a gateway runs in it, and the way back.
//!
//! A copy is as a crash at one moment would have left the folder. The moment is found, not made: all
//! journals of the newest run are looked at once, and the newest group of any of them says when that
//! was; then they are copied, each up to the last group that was written until then. What a shard
//! records because of another one's record, it records after that one was durable, by the same
//! clock: so nothing is in the copy without what it rests on. The book is copied first, so that it
//! knows nothing that the journals do not. Runs that the book has not passed are copied whole.
//!
//! The manifest is written last and has the checksum of every file; all is read back before that,
//! and the copy appears by renaming. Absent: runs that the book has passed, whose shows cannot be
//! exported from a copy.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::recover::{for_each_record, read_about};
use super::{
    DataError, failing, make_folder, read, run_folder, runs, segments, shard_folder, state_name,
    states, sync_folder,
};
use crate::base::hex;
use crate::base::ids::ShardId;
use crate::ledger::backup as book_backup;
use crate::ledger::error::LedgerError;
use crate::ledger::schema::{LEDGER_FILE, ledger_path};
use crate::runtime::data::deployment::{self, NAME as DEPLOYMENT};
use crate::runtime::data::retention::runs_in_the_book;
use crate::runtime::data::shows::{show_path, stored_shows};
use crate::runtime::disk_journal::segment_name;
use crate::store::scan::{Cut, Damage, SegmentFile, cut, scan};
use crate::store::state;

/// The manifest's name.
pub const MANIFEST: &str = "backup.json";
/// Version of a copy's layout.
const BACKUP_LAYOUT: u32 = 1;
/// The millisecond in which the newest group was written is over after this.
const PAUSE: Duration = Duration::from_millis(5);
/// A look at files that are being written may find one older than another: look again.
const LOOKS_MAX: u32 = 5;

/// What a copy says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    layout: u32,
    /// The version of tidegate that made it.
    pub made_by: String,
    /// The newest run in it.
    pub run: u64,
    /// The moment that it shows, Unix milliseconds by the gateway's clock; 0: nothing was on record.
    pub moment_unix_ms: i64,
    /// Records of the newest run, all shards together.
    pub records: u64,
    /// Every file, in the order of their paths.
    pub files: Vec<ManifestFile>,
}

/// A file of a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ManifestFile {
    /// In the copy's folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its contents, hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Whether the book of money is in it.
    #[must_use]
    pub fn has_book(&self) -> bool {
        self.files.iter().any(|file| file.path == LEDGER_FILE)
    }
}

/// Why there is no copy, or no folder made from one.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The folder that is copied, or a file in it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The book.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no deployment.
    #[error("{}: no deployment began here, so there is nothing to copy; --data names the folder that `tidegate serve` was given", .0.display())]
    NoDeployment(PathBuf),
    /// The target is something.
    #[error("{}: is there already and is not empty; give a folder that is not there", .0.display())]
    Exists(PathBuf),
    /// An earlier try was cut off.
    #[error("{}: is left from a copy that was cut off; remove it and try again", .0.display())]
    Leftover(PathBuf),
    /// The copy would lie in what it is a copy of.
    #[error("{}: lies in the folder that is to be copied; give another one", .0.display())]
    Inside(PathBuf),
    /// There is no manifest.
    #[error("{}: there is no {MANIFEST}: this is no copy made by `tidegate backup`, or one that was cut off", .0.display())]
    NoManifest(PathBuf),
    /// The manifest is wrong.
    #[error("{}: {what}", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file is not what the manifest says.
    #[error("{}: {what}; the copy is damaged, and nothing was restored from it", path.display())]
    Differs {
        /// Which file.
        path: PathBuf,
        /// In what.
        what: &'static str,
    },
    /// A copied file was read back and is another.
    #[error("{}: what was written was read back otherwise; look at the disk", .0.display())]
    ReadBack(PathBuf),
}

/// Copies the deployment in `data` to the folder `to`, which must not be there or be empty. A gateway
/// may run in `data`.
///
/// # Errors
/// If anything durable cannot be read or the copy cannot be written; then there is no copy at `to`.
pub fn backup(data: &Path, to: &Path) -> Result<Manifest, BackupError> {
    if deployment::stored(data)?.is_none() {
        return Err(BackupError::NoDeployment(data.to_path_buf()));
    }
    let part = begin(to, Some(data))?;
    or_remove(&part, copy_into(data, &part).and_then(|made| finish(&part, to).map(|()| made)))
}

fn copy_into(data: &Path, part: &Path) -> Result<Manifest, BackupError> {
    let mut copy = Copy { folder: part.to_path_buf(), files: Vec::new() };
    copy.write(DEPLOYMENT, &read(&data.join(DEPLOYMENT))?)?;
    // Before the journals: a plan may be older than they are, and then they are right.
    for (show, bytes) in stored_shows(data)? {
        copy.write(&relative(data, &show_path(data, show)), &bytes)?;
    }
    // Asked before the book is copied: it may know more of the runs by then, and never less.
    let passed = runs_in_the_book(data)?;
    if ledger_path(data).exists() {
        book_backup::backup(data, &ledger_path(part))?;
        copy.note(LEDGER_FILE)?;
    }
    let all = runs(data)?;
    let newest = all.last().copied().unwrap_or(0);
    for run in all.into_iter().filter(|run| *run != newest && *run > passed) {
        copy.old_run(data, run)?;
    }
    let (moment_unix_ms, records) =
        if newest > 0 { copy.newest_run(data, newest)? } else { (0, 0) };
    copy.files.sort_unstable();
    let manifest = Manifest {
        layout: BACKUP_LAYOUT,
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        run: newest,
        moment_unix_ms,
        records,
        files: copy.files,
    };
    check_files(part, &manifest)?;
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest can be written");
    write_new(&part.join(MANIFEST), &text)?;
    Ok(manifest)
}

/// Makes the folder `data`, which must not be there or be empty, from the copy in `from`.
///
/// # Errors
/// If the copy is damaged or the folder cannot be written; then there is no deployment in `data`.
pub fn restore(from: &Path, data: &Path) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(from)?;
    let part = begin(data, None)?;
    let made = restore_into(from, &manifest, &part).and_then(|()| finish(&part, data));
    or_remove(&part, made.map(|()| manifest))
}

fn restore_into(from: &Path, manifest: &Manifest, part: &Path) -> Result<(), BackupError> {
    let mut copy = Copy { folder: part.to_path_buf(), files: Vec::new() };
    for file in &manifest.files {
        let path = from.join(&file.path);
        if file.path == LEDGER_FILE {
            book_backup::restore(&path, part)?;
            copy.note(LEDGER_FILE)?;
        } else {
            copy.write(&file.path, &read(&path)?)?;
        }
    }
    for (wanted, found) in manifest.files.iter().zip(&copy.files) {
        if wanted != found {
            let what = "its contents are not those that were copied";
            return Err(BackupError::Differs { path: from.join(&wanted.path), what });
        }
    }
    check_files(part, manifest)
}

/// Nothing is left of what was not finished.
fn or_remove<T>(part: &Path, made: Result<T, BackupError>) -> Result<T, BackupError> {
    if made.is_err() {
        let _ = fs::remove_dir_all(part);
    }
    made
}

/// A folder beside `to`, in which a copy is made.
fn begin(to: &Path, outside: Option<&Path>) -> Result<PathBuf, BackupError> {
    let is_free = match fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(BackupError::Exists(to.to_path_buf()));
    }
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let root = fs::canonicalize(parent).map_err(failing("finding", parent))?;
    if let Some(outside) = outside
        && root.starts_with(fs::canonicalize(outside).map_err(failing("finding", outside))?)
    {
        return Err(BackupError::Inside(to.to_path_buf()));
    }
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = parent.join(name);
    if part.exists() {
        return Err(BackupError::Leftover(part));
    }
    make_folder(&part)?;
    Ok(part)
}

/// What was made appears as a whole.
fn finish(part: &Path, to: &Path) -> Result<(), BackupError> {
    sync_folders(part)?;
    fs::rename(part, to).map_err(failing("naming", to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(sync_folder(parent.unwrap_or(Path::new(".")))?)
}

fn sync_folders(folder: &Path) -> Result<(), DataError> {
    for entry in fs::read_dir(folder).map_err(failing("reading", folder))? {
        let path = entry.map_err(failing("reading", folder))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    sync_folder(folder)
}

fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    if !path.exists() {
        return Err(BackupError::NoManifest(from.to_path_buf()));
    }
    let wrong = |what: String| BackupError::Manifest { path: path.clone(), what };
    let manifest: Manifest = serde_json::from_slice(&read(&path)?)
        .map_err(|error| wrong(format!("cannot be understood: {error}")))?;
    if manifest.layout != BACKUP_LAYOUT {
        let has = manifest.layout;
        return Err(wrong(format!(
            "the copy has layout {has} and this program reads layout {BACKUP_LAYOUT}: use version {}, \
             which made it",
            manifest.made_by
        )));
    }
    for file in &manifest.files {
        let mut parts = Path::new(&file.path).components();
        if file.path.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(wrong(format!("`{}` is no path in the copy", file.path)));
        }
    }
    if !manifest.files.iter().any(|file| file.path == DEPLOYMENT) {
        return Err(wrong(format!("it names no {DEPLOYMENT}")));
    }
    Ok(manifest)
}

/// Reads every file back.
fn check_files(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for file in &manifest.files {
        let path = folder.join(&file.path);
        if described(&file.path, &read(&path)?) != *file {
            return Err(BackupError::ReadBack(path));
        }
    }
    Ok(())
}

fn described(path: &str, bytes: &[u8]) -> ManifestFile {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    ManifestFile { path: path.to_owned(), bytes: bytes.len() as u64, sha256: hex::encode(&digest) }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    let opened = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    let mut file = opened.map_err(failing("making", path))?;
    file.write_all(bytes).map_err(failing("writing", path))?;
    file.sync_all().map_err(failing("syncing", path))
}

/// A copy that is being made.
struct Copy {
    folder: PathBuf,
    files: Vec<ManifestFile>,
}

impl Copy {
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), DataError> {
        write_new(&self.folder.join(path), bytes)?;
        self.files.push(described(path, bytes));
        Ok(())
    }

    /// Another one wrote the file.
    fn note(&mut self, path: &str) -> Result<(), DataError> {
        self.files.push(described(path, &read(&self.folder.join(path))?));
        Ok(())
    }

    /// A run that has ended: nobody changes its files.
    fn old_run(&mut self, data: &Path, run: u64) -> Result<(), BackupError> {
        let folder = run_folder(data, run);
        let about = read_about(&folder)?;
        let name = relative(data, &folder);
        self.write(&format!("{name}/run.json"), &read(&folder.join("run.json"))?)?;
        for shard in ShardId::all(about.shards) {
            let folder = shard_folder(&folder, shard);
            let name = relative(data, &folder);
            for record in states(&folder)? {
                let state = state_name(record);
                self.write(&format!("{name}/{state}"), &read(&folder.join(&state))?)?;
            }
            for segment in segments(&folder)? {
                let segment = segment_name(segment);
                self.write(&format!("{name}/{segment}"), &read(&folder.join(&segment))?)?;
            }
            for_each_record(&self.folder.join(&name), 0, &mut |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// The newest run, as it was at a moment: which, and how many records it has.
    fn newest_run(&mut self, data: &Path, run: u64) -> Result<(i64, u64), BackupError> {
        let folder = run_folder(data, run);
        let about = read_about(&folder)?;
        let name = relative(data, &folder);
        self.write(&format!("{name}/run.json"), &read(&folder.join("run.json"))?)?;
        let mut moment_unix_ms = 0;
        for shard in ShardId::all(about.shards) {
            let newest = look(&shard_folder(&folder, shard), |files| {
                scan(files, &mut |_, _| {}).map(|scan| scan.newest_unix_ms)
            })?;
            moment_unix_ms = moment_unix_ms.max(newest);
        }
        thread::park_timeout(PAUSE);
        let mut records = 0;
        for shard in ShardId::all(about.shards) {
            records += self.shard(data, &shard_folder(&folder, shard), moment_unix_ms)?;
        }
        Ok((moment_unix_ms, records))
    }

    fn shard(&mut self, data: &Path, folder: &Path, until: i64) -> Result<u64, BackupError> {
        let name = relative(data, folder);
        let (ends, contents) = look(folder, |files| {
            let ends = cut(files, until)?;
            let bytes = |file: &SegmentFile<'_>| (file.segment, file.bytes.to_vec());
            Ok((ends, files.iter().map(bytes).collect::<Vec<_>>()))
        })?;
        let Cut { segment: last, end, records } =
            ends.unwrap_or(Cut { segment: 0, end: 0, records: 0 });
        for (segment, mut bytes) in contents.into_iter().filter(|(segment, _)| *segment <= last) {
            if segment == last {
                bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
            }
            self.write(&format!("{name}/{}", segment_name(segment)), &bytes)?;
        }
        for record in states(folder)?.into_iter().filter(|record| *record <= records) {
            let path = folder.join(state_name(record));
            let bytes = match fs::read(&path) {
                // Newer ones took its place meanwhile; that with which the shard began stays.
                Err(error) if error.kind() == io::ErrorKind::NotFound && record > 0 => continue,
                read => read.map_err(failing("reading", &path))?,
            };
            state::decode(&bytes).map_err(|error| DataError::State { path, error })?;
            self.write(&format!("{name}/{}", state_name(record)), &bytes)?;
        }
        let copied = for_each_record(&self.folder.join(&name), 0, &mut |_, _| Ok(()))?;
        assert_eq!(copied.records, records, "the copy has the records that were found");
        Ok(records)
    }
}

/// Reads a shard's segments, the newest first: one that was read ends where the next one, which was
/// read before it, says that it ends.
fn look<T>(
    folder: &Path,
    mut read_them: impl FnMut(&[SegmentFile<'_>]) -> Result<T, Damage>,
) -> Result<T, DataError> {
    let mut looks = 0;
    loop {
        let numbers = segments(folder)?;
        let mut contents = Vec::with_capacity(numbers.len());
        for segment in numbers.iter().rev() {
            contents.push((*segment, read(&folder.join(segment_name(*segment)))?));
        }
        contents.reverse();
        let files: Vec<SegmentFile<'_>> = contents
            .iter()
            .map(|(segment, bytes)| SegmentFile { segment: *segment, bytes })
            .collect();
        looks += 1;
        match read_them(&files) {
            Ok(read) => return Ok(read),
            Err(damage) if looks == LOOKS_MAX => {
                return Err(DataError::Damage { path: folder.to_path_buf(), damage });
            }
            Err(_) => thread::park_timeout(PAUSE),
        }
    }
}

/// The path of a folder of ours in the deployment's, which is made of plain letters.
fn relative(data: &Path, folder: &Path) -> String {
    let inside = folder.strip_prefix(data).unwrap_or(folder);
    inside.to_string_lossy().into_owned()
}
