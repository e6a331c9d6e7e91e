//! Replies of this turn, on their way to connections whose sockets take them.

use std::ops::Range;

use crate::base::ids::ConnId;

/// The outbox gives memory back when it held more than this.
const KEEP_BYTES: usize = 4 * 1024 * 1024;

/// Finished frames, each for one connection.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<(ConnId, Range<usize>)>,
    planned: usize,
}

impl Outbox {
    /// Adds what `write` appends. The caller keeps a connection to one entry at a time.
    pub(crate) fn push(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.entries.push((conn, start..self.bytes.len()));
    }

    /// Extends the newest entry, if it is this connection's and not planned yet.
    pub(crate) fn extend_last(&mut self, conn: ConnId, bytes: &[u8]) -> bool {
        if self.planned == self.entries.len() {
            return false;
        }
        match self.entries.last_mut() {
            Some((last, range)) if *last == conn => {
                self.bytes.extend_from_slice(bytes);
                range.end = self.bytes.len();
                true
            }
            _ => false,
        }
    }

    /// Entries that were not planned yet.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.len() - self.planned
    }

    /// True if everything was planned.
    pub(crate) fn is_empty(&self) -> bool {
        self.planned == self.entries.len()
    }

    /// Hands out the next entry to be sent.
    pub(crate) fn plan(&mut self) -> Option<(ConnId, Range<usize>)> {
        let entry = self.entries.get(self.planned).cloned();
        self.planned += usize::from(entry.is_some());
        entry
    }

    /// The bytes of an entry.
    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// Forgets everything once all entries were planned and sent.
    pub(crate) fn recycle(&mut self) {
        if self.planned < self.entries.len() {
            return;
        }
        self.entries.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
        self.planned = 0;
    }
}
