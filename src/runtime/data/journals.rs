//! The journals of a deployment, looked at and mended from outside: for whoever stands before one.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::recover::{for_each_record, read_about};
use super::{
    DataError, DataFolder, failing, run_folder, runs, segments, shard_folder, sync_folder,
};
use crate::base::ids::ShardId;
use crate::runtime::disk_journal::segment_name;
use crate::shard::record::Record;
use crate::store::format::RECORD_HEADER_BYTES;
use crate::store::record;
pub use crate::store::scan::Tail;
use crate::store::scan::{Damage, Scan};

/// One shard's journal in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardJournal {
    /// Which run.
    pub run: u64,
    /// Which shard of it.
    pub shard: ShardId,
    /// Where it is.
    pub folder: PathBuf,
}

impl ShardJournal {
    /// Reads all of it, and hands over each record with its number.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(
        &self,
        visit: &mut dyn FnMut(u64, Record) -> Result<(), DataError>,
    ) -> Result<Scan, DataError> {
        for_each_record(&self.folder, 0, visit)
    }

    /// Bytes of its segments, as far as they are allocated.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn segments(&self) -> Result<Vec<u64>, DataError> {
        segments(&self.folder)
    }
}

/// Bytes of a record as a journal has it, without its part of a group.
#[must_use]
pub fn stored_bytes(record: &Record) -> u64 {
    let mut payload = Vec::new();
    record::encode(record, &mut payload);
    (RECORD_HEADER_BYTES + payload.len()) as u64
}

/// All journals of a deployment, runs and shards ascending.
///
/// # Errors
/// If the folder cannot be read.
pub fn journals(root: &Path) -> Result<Vec<ShardJournal>, DataError> {
    let mut found = Vec::new();
    for run in runs(root)? {
        let folder = run_folder(root, run);
        let about = read_about(&folder)?;
        found.extend(ShardId::all(about.shards).map(|shard| {
            let folder = shard_folder(&folder, shard);
            ShardJournal { run, shard, folder }
        }));
    }
    Ok(found)
}

impl DataFolder {
    /// Cuts a journal where it is damaged: everything from there on is put aside, in files of other
    /// names, and the journal ends before it. What was acknowledged behind that place is lost.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn cut(&self, journal: &ShardJournal, damage: Damage) -> Result<Vec<PathBuf>, DataError> {
        let folder = &journal.folder;
        let (first_aside, zeroed) = match damage {
            Damage::Missing(segment) => (segment, None),
            Damage::Header { segment, .. } | Damage::Misnamed { segment, .. } => (segment, None),
            Damage::Group { segment, offset }
            | Damage::Order { segment, offset, .. }
            | Damage::Records { segment, offset } => (segment + 1, Some((segment, offset))),
        };
        let mut aside = Vec::new();
        if let Some((segment, offset)) = zeroed {
            let path = folder.join(segment_name(segment));
            let copy = path.with_extension("journal.damaged");
            fs::copy(&path, &copy).map_err(failing("copying", &path))?;
            aside.push(copy);
            zero_from(&path, offset)?;
        }
        for segment in segments(folder)?.into_iter().filter(|segment| *segment >= first_aside) {
            let path = folder.join(segment_name(segment));
            let to = path.with_extension("journal.cut");
            fs::rename(&path, &to).map_err(failing("naming", &to))?;
            aside.push(to);
        }
        sync_folder(folder)?;
        Ok(aside)
    }
}

fn zero_from(path: &Path, offset: u64) -> Result<(), DataError> {
    let opened = OpenOptions::new().write(true).open(path);
    let mut file = opened.map_err(failing("opening", path))?;
    let length = file.metadata().map_err(failing("reading", path))?.len();
    file.seek(SeekFrom::Start(offset)).map_err(failing("writing", path))?;
    let zeros = [0; 1 << 16];
    let mut left = length.saturating_sub(offset);
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..some]).map_err(failing("writing", path))?;
        left -= some as u64;
    }
    file.sync_all().map_err(failing("syncing", path))
}
