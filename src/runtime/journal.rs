//! The journal's seam: records go in with their numbers, durable numbers come out.
//!
//! This one keeps nothing: it promises durability at once, which is true only as long as the
//! process lives. A journal on disk takes its place behind the same two calls.

use crate::base::ids::RecordNumber;
use crate::shard::record::Record;

/// Acknowledges every record at the next opportunity.
#[derive(Default)]
pub struct MemoryJournal {
    last: RecordNumber,
    told: RecordNumber,
}

impl MemoryJournal {
    /// Takes a record.
    ///
    /// # Panics
    /// If numbers are not without gaps: a record would be missing.
    pub fn append(&mut self, number: RecordNumber, record: &Record) {
        assert_eq!(number.0, self.last.0 + 1, "record {record:?} is out of order");
        self.last = number;
    }

    /// True while records wait for a file: never, here.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        false
    }

    /// The newest durable record, if it has not been told before.
    pub fn newly_durable(&mut self) -> Option<RecordNumber> {
        let news = (self.last > self.told).then_some(self.last);
        self.told = self.last;
        news
    }
}
