//! The journal's seam: records go in with their numbers, durable numbers come out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::hash::Placement;
use crate::base::ids::{RecordNumber, ShardId};
use crate::runtime::disk_journal::DiskJournal;
use crate::shard::record::Record;
use crate::store::format::Key;
use crate::store::record;

/// Where a shard's records go.
pub(crate) enum Journal {
    /// Nowhere: a gateway without a folder.
    Memory(MemoryJournal),
    /// To the disk.
    Disk(StoredJournal),
}

impl Journal {
    /// Takes a record.
    ///
    /// # Panics
    /// If numbers are not without gaps: a record would be missing.
    pub(crate) fn append(&mut self, number: RecordNumber, record: &Record) {
        match self {
            Journal::Memory(journal) => journal.append(number, record),
            Journal::Disk(journal) => journal.append(number, record),
        }
    }

    /// True while records wait for a file.
    pub(crate) fn is_writing(&self) -> bool {
        match self {
            Journal::Memory(_) => false,
            Journal::Disk(journal) => journal.disk.is_writing(),
        }
    }

    /// The newest durable record, if it has not been told before.
    pub(crate) fn newly_durable(&mut self) -> Option<RecordNumber> {
        match self {
            Journal::Memory(journal) => journal.newly_durable(),
            Journal::Disk(journal) => journal.newly_durable(),
        }
    }

    /// Steps that failed since the start.
    pub(crate) fn failures_total(&self) -> u64 {
        match self {
            Journal::Memory(_) => 0,
            Journal::Disk(journal) => journal.disk.failures_total(),
        }
    }

    /// The journal on disk, if it is.
    pub(crate) fn stored(&self) -> Option<&StoredJournal> {
        match self {
            Journal::Memory(_) => None,
            Journal::Disk(journal) => Some(journal),
        }
    }
}

/// Acknowledges every record at the next opportunity: it promises durability that is true only as
/// long as the process lives.
#[derive(Default)]
pub(crate) struct MemoryJournal {
    last: RecordNumber,
    told: RecordNumber,
}

impl MemoryJournal {
    fn append(&mut self, number: RecordNumber, record: &Record) {
        assert_eq!(number.0, self.last.0 + 1, "record {record:?} is out of order");
        self.last = number;
    }

    fn newly_durable(&mut self) -> Option<RecordNumber> {
        let news = (self.last > self.told).then_some(self.last);
        self.told = self.last;
        news
    }
}

/// Encodes records for a journal on disk.
pub(crate) struct StoredJournal {
    disk: DiskJournal,
    placement: Placement,
    shard: ShardId,
    payload: Vec<u8>,
    last: RecordNumber,
    /// Where others see what is durable.
    mark: Arc<AtomicU64>,
}

impl StoredJournal {
    /// Of a shard.
    pub(crate) fn new(
        disk: DiskJournal,
        placement: Placement,
        shard: ShardId,
        mark: Arc<AtomicU64>,
    ) -> StoredJournal {
        let last = RecordNumber(0);
        StoredJournal { disk, placement, shard, payload: Vec::new(), last, mark }
    }

    fn newly_durable(&self) -> Option<RecordNumber> {
        let news = self.disk.newly_durable();
        if let Some(RecordNumber(number)) = news {
            self.mark.store(number, Ordering::Release);
        }
        news
    }

    fn append(&mut self, number: RecordNumber, record: &Record) {
        self.payload.clear();
        record::encode(record, &mut self.payload);
        let key = record::key(record, &self.placement, self.shard);
        self.last = self.disk.append(key, &self.payload);
        assert_eq!(self.last, number, "record {record:?} is out of order");
    }

    /// The newest record.
    pub(crate) fn last(&self) -> RecordNumber {
        self.last
    }

    /// Where every bucket and show is in its sequence.
    pub(crate) fn sequences(&self) -> BTreeMap<Key, u64> {
        self.disk.sequences()
    }
}
