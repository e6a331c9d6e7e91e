//! The journals of a deployment, looked at and mended from outside: for whoever stands before one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::recover::{for_each_found, for_each_record, read_about, readable_states};
use super::{
    DataError, DataFolder, failing, run_folder, runs, segments, shard_folder, state_name,
    sync_folder,
};
use crate::base::ids::{EventNumber, ShardId, ShowId};
use crate::runtime::disk_journal::segment_name;
use crate::shard::record::Record;
use crate::store::format::RECORD_HEADER_BYTES;
use crate::store::record;
pub use crate::store::scan::Tail;
use crate::store::scan::{Damage, Found, Scan};
use crate::store::state::StateError;

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

/// A journal that rests on events that are on no journal any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependent {
    /// Which.
    pub journal: ShardJournal,
    /// Where it has to be cut; nothing if only states rest on them.
    pub cut: Option<Cut>,
    /// Files of state that rest on them.
    pub states: Vec<PathBuf>,
}

/// Where a journal that is sound has to be cut, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// In which segment.
    pub segment: u64,
    /// Where the group begins that is the first to go.
    pub offset: u64,
    /// The show whose event was applied there.
    pub show: ShowId,
    /// The event that is on no journal.
    pub number: EventNumber,
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
    /// What has no ground any more since a director's events were cut: in each other journal of the
    /// run, the group with the first record that follows an event that is on no journal, and the
    /// states that do. [`DataFolder::cut_dependents`] cuts them until nothing is left.
    ///
    /// # Errors
    /// If a journal or a state cannot be read.
    pub fn dependents(&self, run: u64) -> Result<Vec<Dependent>, DataError> {
        let found = journals(self.root())?.into_iter().filter(|journal| journal.run == run);
        let found: Vec<ShardJournal> = found.collect();
        let mut known: BTreeMap<ShowId, EventNumber> = BTreeMap::new();
        let mut read = Vec::with_capacity(found.len());
        for journal in &found {
            let of_shard = readable_states(&journal.folder)?;
            if of_shard.is_empty() {
                // What it began with cannot be read: then nobody knows what is on no journal.
                let path = journal.folder.join(state_name(0));
                return Err(DataError::State { path, error: StateError::NoState });
            }
            for event in of_shard.iter().flat_map(|(_, state)| &state.image.events) {
                let last = known.entry(event.show).or_default();
                *last = (*last).max(event.number);
            }
            let mut applied = Vec::new();
            for_each_found(&journal.folder, &mut |at, record| match record {
                Record::Event(event) => {
                    let last = known.entry(event.show).or_default();
                    *last = (*last).max(event.number);
                }
                Record::Applied { show, number } => applied.push((at, show, number)),
                _ => {}
            })?;
            read.push((of_shard, applied));
        }
        let is_known = |show: ShowId, number: EventNumber| {
            number <= known.get(&show).copied().unwrap_or_default()
        };
        let mut dependents = Vec::new();
        for (journal, (states, applied)) in found.into_iter().zip(read) {
            let bad_states: Vec<PathBuf> = states
                .into_iter()
                .filter(|(_, state)| {
                    let mut applied = state.image.applied.iter();
                    state.record > 0 && applied.any(|(show, number)| !is_known(*show, *number))
                })
                .map(|(path, _)| path)
                .collect();
            let unknown = applied.into_iter().find(|(_, show, number)| !is_known(*show, *number));
            let cut = unknown.map(|(at, show, number)| {
                let Found { segment, offset, .. } = at;
                Cut { segment, offset, show, number }
            });
            if cut.is_some() || !bad_states.is_empty() {
                dependents.push(Dependent { journal, cut, states: bad_states });
            }
        }
        Ok(dependents)
    }

    /// Cuts what [`DataFolder::dependents`] finds, and what rests on that in turn; says what was put
    /// aside.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn cut_dependents(&self, run: u64) -> Result<Vec<(Dependent, Vec<PathBuf>)>, DataError> {
        let mut done = Vec::new();
        loop {
            let dependents = self.dependents(run)?;
            if dependents.is_empty() {
                return Ok(done);
            }
            for dependent in dependents {
                let mut aside = Vec::new();
                for state in &dependent.states {
                    let to = state.with_extension("cut");
                    fs::rename(state, &to).map_err(failing("naming", &to))?;
                    aside.push(to);
                }
                if let Some(Cut { segment, offset, .. }) = dependent.cut {
                    let damage = Damage::Group { segment, offset };
                    aside.extend(self.cut(&dependent.journal, damage)?);
                }
                sync_folder(&dependent.journal.folder)?;
                done.push((dependent, aside));
            }
        }
    }

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
            let copy = unused(&path, "journal.damaged");
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

/// A name for a copy of `path` that no file has.
fn unused(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.with_extension(extension);
    let mut number = 1;
    while name.exists() {
        number += 1;
        name = path.with_extension(format!("{extension}-{number}"));
    }
    name
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
