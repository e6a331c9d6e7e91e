//! Group commit: what is to be written next, and what has become durable.
//!
//! One step is in flight at a time: it is carried out and made durable (one write, one sync), and
//! [`Writer::done`] or [`Writer::failed`] says so. What is appended meanwhile becomes the next
//! group. A segment of which anything failed is abandoned: a failed sync is never tried again on
//! the same file, because the kernel may have dropped what it could not write; what was not durable
//! is written again into the next segment, whose header says how much of the old one counts.

use std::collections::{BTreeMap, VecDeque};

use crate::base::bugs::{self, Bug};
use crate::base::ids::RecordNumber;
use crate::store::format::{
    BLOCK_BYTES, GROUP_BODY_BYTES_MAX, GroupHeader, GroupPlace, Key, RECORD_HEADER_BYTES,
    SegmentHeader, StoredRecord, encode_group, encode_record, group_bytes,
};

/// Bytes of a segment unless a setting says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// The least that a segment may have: a header and the largest group.
pub const SEGMENT_BYTES_MIN: u64 = (2 * BLOCK_BYTES + GROUP_BODY_BYTES_MAX) as u64;

/// What is to be done now, made durable, and then told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a segment's file with `size_bytes` allocated and zero, write its header at 0, sync the
    /// file and its folder.
    Open {
        /// Its number.
        segment: u64,
        /// One block.
        header: Vec<u8>,
        /// What the file is to have.
        size_bytes: u64,
    },
    /// Write a group and sync the file.
    Write {
        /// Into which segment.
        segment: u64,
        /// Where.
        offset: u64,
        /// Whole blocks.
        bytes: Vec<u8>,
    },
}

/// Records of one group, in the making or on their way.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    first_record: u64,
    record_count: u32,
}

#[derive(Debug)]
enum InFlight {
    Opening { segment: u64 },
    Writing { end: u64 },
}

/// How much of a segment counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Which one; 0 for none.
    pub segment: u64,
    /// Where its last durable group ends.
    pub end: u64,
}

/// A shard's journal, from the side that writes.
#[derive(Debug)]
pub struct Writer {
    shard: u16,
    run: u64,
    segment_bytes: u64,
    /// Whether what counts may be continued; otherwise another segment is opened.
    is_open: bool,
    /// Number of the newest segment that exists, or may exist.
    newest_segment: u64,
    /// The last segment that counts, and how much of it.
    counted: Counted,
    next_group: u64,
    sequences: BTreeMap<Key, u64>,
    /// Oldest first; the first is on its way if a write is in flight.
    bodies: VecDeque<Body>,
    in_flight: Option<InFlight>,
    last: RecordNumber,
    durable: RecordNumber,
    /// Steps that failed in a row.
    failures: u32,
    close_asked: bool,
}

/// Where a journal is continued: what its reader has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Continuation {
    /// Number of the newest segment file, 0 without any.
    pub newest_segment: u64,
    /// The last segment that counts, and how much of it.
    pub counted: Counted,
    /// Number of the last group, 0 without any.
    pub last_group: u64,
    /// The last sequence number of each key.
    pub sequences: BTreeMap<Key, u64>,
}

impl Writer {
    /// A writer of a new run: it begins a segment of its own.
    ///
    /// # Panics
    /// If a segment would not hold the largest group, or not consist of blocks.
    #[must_use]
    pub fn new(shard: u16, run: u64, segment_bytes: u64, from: Continuation) -> Writer {
        assert!(segment_bytes >= SEGMENT_BYTES_MIN, "a segment of {segment_bytes} bytes");
        assert!(segment_bytes.is_multiple_of(BLOCK_BYTES as u64), "segments consist of blocks");
        Writer {
            shard,
            run,
            segment_bytes,
            is_open: false,
            newest_segment: from.newest_segment,
            counted: from.counted,
            next_group: from.last_group + 1,
            sequences: from.sequences,
            bodies: VecDeque::new(),
            in_flight: None,
            last: RecordNumber(0),
            durable: RecordNumber(0),
            failures: 0,
            close_asked: false,
        }
    }

    /// The last sequence number of each key.
    #[must_use]
    pub fn sequences(&self) -> &BTreeMap<Key, u64> {
        &self.sequences
    }

    /// Takes a record; it gets the next number of this run and the next sequence of its key.
    pub fn append(&mut self, key: Key, payload: &[u8]) -> RecordNumber {
        self.last = RecordNumber(self.last.0 + 1);
        let sequence = self.sequences.entry(key).or_default();
        *sequence += 1;
        let record = StoredRecord { key, sequence: *sequence, payload };
        let length = RECORD_HEADER_BYTES + payload.len();
        // The first body is not touched while it is on its way.
        let is_writing = matches!(self.in_flight, Some(InFlight::Writing { .. }));
        let first_open = usize::from(is_writing);
        let fits = self.bodies.len() > first_open
            && self.bodies.back().is_some_and(|it| it.bytes.len() + length <= GROUP_BODY_BYTES_MAX);
        if !fits {
            let first_record = self.last.0;
            self.bodies.push_back(Body { first_record, ..Body::default() });
        }
        let body = self.bodies.back_mut().expect("a body was added if there was none");
        encode_record(&record, &mut body.bytes);
        body.record_count += 1;
        self.last
    }

    /// The newest record that was appended.
    #[must_use]
    pub fn last(&self) -> RecordNumber {
        self.last
    }

    /// The newest record that is durable, and with it all before.
    #[must_use]
    pub fn durable(&self) -> RecordNumber {
        self.durable
    }

    /// Steps that failed since the last one that did not.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// True while a step is in flight or one could begin.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some() || !self.bodies.is_empty() || self.close_asked
    }

    /// Ends the journal in order: behind all records comes an empty group, which proves that they
    /// were durable.
    pub fn close(&mut self) {
        self.close_asked = true;
    }

    /// What is to be done next; nothing while a step is in flight or there is nothing to write.
    pub fn next(&mut self, now_unix_ms: i64) -> Option<Step> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.bodies.is_empty() {
            if !self.close_asked || !self.is_open {
                self.close_asked = false;
                return None;
            }
            self.close_asked = false;
            self.bodies.push_back(Body { first_record: self.last.0 + 1, ..Body::default() });
        }
        let body = self.bodies.front()?;
        let length = group_bytes(body.bytes.len()) as u64;
        if self.is_open && self.counted.end + length <= self.segment_bytes {
            return Some(self.write(length, now_unix_ms));
        }
        Some(self.open_next())
    }

    /// The step in flight was carried out and is durable.
    ///
    /// # Panics
    /// If none is in flight.
    pub fn done(&mut self) {
        self.failures = 0;
        match self.in_flight.take().expect("a step is in flight") {
            InFlight::Opening { segment } => {
                self.counted = Counted { segment, end: BLOCK_BYTES as u64 };
                self.is_open = true;
            }
            InFlight::Writing { end } => {
                self.counted.end = end;
                self.next_group += 1;
                let body = self.bodies.pop_front().expect("a group has a body");
                self.durable = RecordNumber(self.durable.0 + u64::from(body.record_count));
                assert!(self.durable <= self.last, "durable is what was appended");
            }
        }
    }

    /// The step in flight failed, wholly or in part: its segment is not written to any more. The
    /// next step opens another one; the caller waits a little before.
    ///
    /// # Panics
    /// If none is in flight.
    pub fn failed(&mut self) {
        if bugs::active(Bug::FailedSyncTrusted) {
            return self.done();
        }
        self.failures = self.failures.saturating_add(1);
        assert!(self.in_flight.take().is_some(), "a step is in flight");
        self.is_open = false;
    }

    fn write(&mut self, length: u64, now_unix_ms: i64) -> Step {
        let body = &self.bodies[0];
        let Counted { segment, end: offset } = self.counted;
        let place = GroupPlace { run: self.run, segment, offset };
        let header = GroupHeader {
            number: self.next_group,
            first_record: body.first_record,
            record_count: body.record_count,
            body_bytes: u32::try_from(body.bytes.len()).expect("bounded by append"),
            synced_to: offset,
            written_unix_ms: now_unix_ms,
        };
        let bytes = encode_group(place, &header, &body.bytes);
        self.in_flight = Some(InFlight::Writing { end: offset + length });
        Step::Write { segment, offset, bytes }
    }

    fn open_next(&mut self) -> Step {
        // A file that was not finished keeps its number: it may exist.
        self.newest_segment += 1;
        let segment = self.newest_segment;
        let header = SegmentHeader {
            shard: self.shard,
            segment,
            run: self.run,
            first_group: self.next_group,
            previous_segment: self.counted.segment,
            previous_end: self.counted.end,
            size_bytes: self.segment_bytes,
        };
        self.is_open = false;
        self.in_flight = Some(InFlight::Opening { segment });
        Step::Open { segment, header: header.encode(), size_bytes: self.segment_bytes }
    }
}
