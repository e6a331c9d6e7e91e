//! Images of a shard's state, taken between questions, so that a restart need not do everything
//! again.
//!
//! An image is taken in one go between two turns and written by a thread of its own, once every
//! record in it is durable: an image never knows more than the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::base::hash::Placement;
use crate::base::ids::{RecordNumber, ShardId};
use crate::base::priority::give_way;
use crate::base::time::Time;
use crate::runtime::data::{DataError, remove, state_name, states, write_whole};
use crate::runtime::journal::StoredJournal;
use crate::shard::Shard;
use crate::store::state::{self, ShardState};

/// No image before so many records more: doing fewer again takes less time than the start itself.
const RECORDS_MIN: u64 = 100_000;
/// Nor before so long after the one before.
const INTERVAL_MIN: Duration = Duration::from_secs(20);

/// The images of one shard.
pub(crate) struct Images {
    folder: PathBuf,
    placement: Placement,
    shard: ShardId,
    /// The last record of the newest image.
    newest: RecordNumber,
    taken_at: Time,
    /// Taken, and not all of it is durable yet.
    waiting: Option<Box<ShardState>>,
    is_writing: Arc<AtomicBool>,
}

impl Images {
    /// Of a shard that has just begun.
    pub(crate) fn new(folder: PathBuf, placement: Placement, shard: ShardId) -> Images {
        Images {
            folder,
            placement,
            shard,
            newest: RecordNumber(0),
            taken_at: Time::ZERO,
            waiting: None,
            is_writing: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Takes an image if it is time.
    pub(crate) fn take_if_due(&mut self, now: Time, shard: &Shard, journal: &StoredJournal) {
        let last = journal.last();
        let is_due = last.0 - self.newest.0 >= RECORDS_MIN
            && now.since(self.taken_at) >= INTERVAL_MIN
            && self.waiting.is_none()
            && !self.is_writing.load(Ordering::Acquire);
        if !is_due || !shard.is_calm() {
            return;
        }
        (self.newest, self.taken_at) = (last, now);
        self.waiting = Some(Box::new(ShardState {
            shard: self.shard,
            shard_count: self.placement.shard_count(),
            bucket_count: self.placement.bucket_count(),
            record: last.0,
            at: now,
            sequences: journal.sequences(),
            image: shard.image(),
        }));
    }

    /// Everything up to `durable` is on disk: an image that knows no more than that is written.
    pub(crate) fn durable(&mut self, durable: RecordNumber) {
        let Some(state) = self.waiting.take_if(|state| state.record <= durable.0) else {
            return;
        };
        self.is_writing.store(true, Ordering::Release);
        let (folder, is_writing) = (self.folder.clone(), Arc::clone(&self.is_writing));
        let builder = thread::Builder::new().name("image".into());
        let spawned = builder.spawn(move || {
            give_way();
            write(&folder, &state);
            is_writing.store(false, Ordering::Release);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "the image of a shard could not be written; a restart takes longer");
            self.is_writing.store(false, Ordering::Release);
        }
    }
}

fn write(folder: &Path, state: &ShardState) {
    let path = folder.join(state_name(state.record));
    if let Err(error) = write_whole(&path, &state::encode(state)) {
        tracing::warn!(%error, "the image of a shard could not be written; a restart takes longer");
        return;
    }
    tracing::info!(path = %path.display(), "image of a shard written");
    if let Err(error) = remove_old(folder) {
        tracing::warn!(%error, "old images of a shard could not be removed");
    }
}

/// Keeps the two newest images beside the one that the run began with.
fn remove_old(folder: &Path) -> Result<(), DataError> {
    let images = states(folder)?.into_iter().filter(|record| *record > 0);
    for record in images.rev().skip(2) {
        remove(&folder.join(state_name(record)))?;
    }
    Ok(())
}
