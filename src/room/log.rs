//! The recent frames of one lane in one encoding: a ring buffer of finished bytes.
//!
//! A frame stands for one version or, where messages were merged, for several; a reader stands
//! between two frames.
//!
//! Invariants: frames are kept whole, in order, without holes in their versions; a frame never
//! straddles the end of the storage, so that any run of frames up to it is one contiguous slice,
//! ready to be sent as it is. Bounded in bytes and in frames; it begins empty and doubles up to
//! its bound. What is pushed out is gone: a reader that was there is told so.

use std::collections::VecDeque;

use crate::base::limits::{LANE_BYTES_START, LANE_FRAMES_MAX};
use crate::base::time::Time;
use crate::room::lane::Span;

/// A ring buffer of frames, addressed by version.
#[derive(Debug)]
pub struct LaneLog {
    bytes: Box<[u8]>,
    bytes_max: usize,
    /// First version of the oldest frame that is kept, or of the next one if none is.
    first_version: u64,
    /// Messages that were carried by all frames before the oldest one that is kept.
    carried_before: u64,
    /// Where each frame begins and ends; logical offsets only grow, the place in storage is the
    /// remainder by its size.
    frames: VecDeque<Extent>,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u64,
    end: u64,
    /// The version after the last one that the frame stands for.
    next_version: u64,
    /// Messages carried up to the end of this frame.
    carried_end: u64,
    appended_at: Time,
}

/// What a reader at some version gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// It has everything.
    UpToDate,
    /// Whole frames, contiguous, one or more; the reader then stands at `next_version`.
    Frames {
        /// Where they stand, for [`LaneLog::bytes_at`].
        place: usize,
        /// How many bytes they have.
        length: usize,
        /// The version that follows the last of them.
        next_version: u64,
        /// How many messages they carry.
        carried: u64,
    },
    /// What it should get next is gone; this is the oldest version that is left.
    Lapped {
        /// Version of the oldest frame kept, or of the next one if none is.
        oldest_version: u64,
    },
}

/// How far a send came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The version that follows the last frame that was taken whole.
    pub next_version: u64,
    /// Bytes of those frames.
    pub bytes: usize,
    /// Messages that they carry.
    pub carried: u64,
}

impl LaneLog {
    /// An empty log whose first frame will have `next_version`, keeping at most `bytes_max`.
    #[must_use]
    pub fn new(next_version: u64, bytes_max: usize) -> LaneLog {
        LaneLog {
            bytes: Box::default(),
            bytes_max,
            first_version: next_version,
            carried_before: 0,
            frames: VecDeque::new(),
        }
    }

    /// First version of the oldest frame that is kept, or of the next one if none is.
    #[must_use]
    pub fn first_version(&self) -> u64 {
        self.first_version
    }

    /// The first version of the next frame.
    #[must_use]
    pub fn next_version(&self) -> u64 {
        self.frames.back().map_or(self.first_version, |frame| frame.next_version)
    }

    /// Bytes of storage now.
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a finished frame. What no longer fits is forgotten, oldest first; so it is instead
    /// of growing, where `may_grow` is false and the frame fits the storage there is.
    ///
    /// # Panics
    /// If the span does not begin with the next version, stands for none, or the frame alone is
    /// larger than the log may be: all are checked before a frame is made.
    pub fn append(&mut self, now: Time, span: Span, frame: &[u8], may_grow: bool) {
        assert_eq!(span.first, self.next_version(), "a lane has no holes");
        assert!(span.versions > 0 && span.carried <= span.versions, "{span:?} of a frame");
        assert!(frame.len() <= self.bytes_max, "a frame of {} bytes in a lane", frame.len());
        if self.frames.len() == LANE_FRAMES_MAX {
            self.forget_oldest();
        }
        while !self.fits(frame.len()) {
            let must_grow = frame.len() > self.bytes.len();
            if must_grow || may_grow && self.bytes.len() < self.bytes_max {
                self.grow();
            } else {
                self.forget_oldest();
            }
        }
        let start = self.start_for(frame.len());
        let place = self.place(start);
        self.bytes[place..place + frame.len()].copy_from_slice(frame);
        self.frames.push_back(Extent {
            start,
            end: start + frame.len() as u64,
            next_version: span.next(),
            carried_end: self.carried_end() + u64::from(span.carried),
            appended_at: now,
        });
    }

    /// What a reader that wants `version` next may be sent: as many whole frames as are
    /// contiguous and within `bytes_max`, at least one.
    ///
    /// # Panics
    /// If `version` lies beyond the next one: nobody can have seen what was not written.
    #[must_use]
    pub fn read(&self, version: u64, bytes_max: usize) -> Read {
        assert!(version <= self.next_version(), "a cursor runs ahead of its lane");
        if version < self.first_version {
            return Read::Lapped { oldest_version: self.first_version };
        }
        let index = self.index_of(version);
        let Some(first) = self.frames.get(index) else {
            return Read::UpToDate;
        };
        let size = self.bytes.len() as u64;
        let storage_end = (first.start / size + 1) * size;
        let limit = storage_end.min(first.start + bytes_max as u64);
        let mut count = self.frames.len() - index;
        if self.frames[self.frames.len() - 1].end > limit {
            count = self.frames.partition_point(|frame| frame.end <= limit);
            count = count.saturating_sub(index).max(1);
        }
        let last = self.frames[index + count - 1];
        let place = self.place(first.start);
        let length = usize_of(last.end - first.start);
        let carried = last.carried_end - self.carried_before(index);
        Read::Frames { place, length, next_version: last.next_version, carried }
    }

    /// The bytes that [`Self::read`] found, as long as nothing was appended since.
    #[must_use]
    pub fn bytes_at(&self, place: usize, length: usize) -> &[u8] {
        &self.bytes[place..place + length]
    }

    /// The frames from `version` on, one by one, for a copy of this log.
    pub fn frames_from(&self, version: u64) -> impl Iterator<Item = (Span, &[u8])> {
        let skip = self.index_of(version.max(self.first_version));
        (skip..self.frames.len()).map(|index| (self.span(index), self.bytes_of(index)))
    }

    /// How far a send of the frames from `version` on came that took `bytes`.
    #[must_use]
    pub fn whole_frames(&self, version: u64, bytes: usize) -> Whole {
        let index = self.index_of(version);
        let start = self.frames[index].start;
        let end = self.frames.partition_point(|frame| frame.end <= start + bytes as u64);
        if end <= index {
            return Whole { next_version: version, bytes: 0, carried: 0 };
        }
        let last = self.frames[end - 1];
        Whole {
            next_version: last.next_version,
            bytes: usize_of(last.end - start),
            carried: last.carried_end - self.carried_before(index),
        }
    }

    /// The frame that begins with `version`.
    #[must_use]
    pub fn frame(&self, version: u64) -> (Span, &[u8]) {
        let index = self.index_of(version);
        (self.span(index), self.bytes_of(index))
    }

    /// The boundary at which a reader is to continue that wants `version` next: the beginning of
    /// the frame that stands for it. What was merged cannot be had in parts.
    #[must_use]
    pub fn boundary(&self, version: u64) -> u64 {
        if version <= self.first_version || version >= self.next_version() {
            return version;
        }
        self.span(self.index_of(version)).first
    }

    /// The first boundary at or after which all frames were appended since `since` and are within
    /// the last `bytes_max` bytes.
    #[must_use]
    pub fn recent(&self, since: Time, bytes_max: usize) -> u64 {
        let oldest = self.end().saturating_sub(bytes_max as u64);
        let index =
            self.frames.partition_point(|frame| frame.appended_at < since || frame.start < oldest);
        self.boundary_at(index)
    }

    /// Bytes from the frame that stands for `version` to the end.
    #[must_use]
    pub fn bytes_behind(&self, version: u64) -> u64 {
        let index = self.index_of(version.max(self.first_version));
        self.frames.get(index).map_or(0, |frame| self.end() - frame.start)
    }

    /// The whole version of which a cursor keeps the low 32 bits: the one nearest to the head.
    #[must_use]
    pub fn widen(&self, low: u32) -> u64 {
        let head = self.next_version();
        let behind = low_bits(head).wrapping_sub(low);
        head.saturating_sub(u64::from(behind))
    }

    fn forget_oldest(&mut self) {
        let Some(forgotten) = self.frames.pop_front() else {
            unreachable!("an empty log has room for a frame");
        };
        self.first_version = forgotten.next_version;
        self.carried_before = forgotten.carried_end;
    }

    /// The place of the frame that stands for `version`; beyond the last one if none does yet.
    fn index_of(&self, version: u64) -> usize {
        // Nearly all readers want the newest frame, or nothing.
        let count = self.frames.len();
        if version >= self.boundary_at(count) {
            return count;
        }
        if version >= self.boundary_at(count.saturating_sub(1)) {
            return count - 1;
        }
        self.frames.partition_point(|frame| frame.next_version <= version)
    }

    /// The version with which the frame at `index` begins.
    fn boundary_at(&self, index: usize) -> u64 {
        if index == 0 { self.first_version } else { self.frames[index - 1].next_version }
    }

    fn carried_before(&self, index: usize) -> u64 {
        if index == 0 { self.carried_before } else { self.frames[index - 1].carried_end }
    }

    fn carried_end(&self) -> u64 {
        self.carried_before(self.frames.len())
    }

    fn span(&self, index: usize) -> Span {
        let first = self.boundary_at(index);
        let frame = self.frames[index];
        let count = |number: u64| u32::try_from(number).expect("it was 32 bits when it came");
        Span {
            first,
            versions: count(frame.next_version - first),
            carried: count(frame.carried_end - self.carried_before(index)),
        }
    }

    fn bytes_of(&self, index: usize) -> &[u8] {
        let frame = self.frames[index];
        let place = self.place(frame.start);
        &self.bytes[place..place + usize_of(frame.end - frame.start)]
    }

    fn place(&self, logical: u64) -> usize {
        usize_of(logical % self.bytes.len() as u64)
    }

    fn end(&self) -> u64 {
        self.frames.back().map_or(0, |frame| frame.end)
    }

    /// Where a frame of `length` would begin: at the end, or past the end of the storage.
    fn start_for(&self, length: usize) -> u64 {
        let size = self.bytes.len() as u64;
        let end = self.end();
        if end % size + length as u64 > size { (end / size + 1) * size } else { end }
    }

    fn fits(&self, length: usize) -> bool {
        if length > self.bytes.len() {
            return false;
        }
        let Some(oldest) = self.frames.front() else {
            return true;
        };
        self.start_for(length) + length as u64 <= oldest.start + self.bytes.len() as u64
    }

    /// Doubles the storage and lays the frames out anew from its beginning.
    fn grow(&mut self) {
        let size = (self.bytes.len() * 2).max(LANE_BYTES_START).min(self.bytes_max);
        let mut grown = vec![0; size].into_boxed_slice();
        let mut end = 0;
        let mut frames = VecDeque::with_capacity(self.frames.len() + 1);
        for (index, extent) in self.frames.iter().enumerate() {
            let frame = self.bytes_of(index);
            grown[end..end + frame.len()].copy_from_slice(frame);
            let start = end as u64;
            end += frame.len();
            frames.push_back(Extent { start, end: end as u64, ..*extent });
        }
        self.bytes = grown;
        self.frames = frames;
    }
}

/// The low 32 bits of a version: what a connection's cursor keeps.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is meant")]
pub fn low_bits(version: u64) -> u32 {
    version as u32
}

fn usize_of(offset: u64) -> usize {
    usize::try_from(offset).expect("offsets within a log are sizes of memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything a reader gets from `version` on, and where it was lapped.
    fn read_all(log: &LaneLog, mut version: u64, bytes_max: usize) -> (Vec<u8>, u64, u64) {
        let (mut all, mut messages) = (Vec::new(), 0);
        loop {
            match log.read(version, bytes_max) {
                Read::UpToDate => return (all, version, messages),
                Read::Frames { place, length, next_version, carried } => {
                    all.extend_from_slice(log.bytes_at(place, length));
                    version = next_version;
                    messages += carried;
                }
                Read::Lapped { oldest_version } => version = oldest_version,
            }
        }
    }

    fn append(log: &mut LaneLog, frame: &[u8], may_grow: bool) {
        log.append(Time::ZERO, Span::one(log.next_version()), frame, may_grow);
    }

    #[test]
    fn a_burst_is_one_read() {
        let mut log = LaneLog::new(1, 64 * 1024);
        for _ in 1..=16 {
            append(&mut log, &[7; 100], true);
        }
        let Read::Frames { length, next_version, carried, .. } = log.read(1, usize::MAX >> 1)
        else {
            panic!("there is something to read");
        };
        assert_eq!((length, next_version, carried), (1_600, 17, 16));
        let whole = |version, bytes| {
            let Whole { next_version, bytes, carried } = log.whole_frames(version, bytes);
            (next_version, bytes, carried)
        };
        assert_eq!(whole(1, 250), (3, 200, 2));
        assert_eq!(whole(3, 99), (3, 0, 0));
    }

    #[test]
    fn what_was_merged_is_read_whole() {
        let mut log = LaneLog::new(5, 64 * 1024);
        let at = Time::from_millis;
        log.append(at(1), Span { first: 5, versions: 4, carried: 3 }, b"five to eight", true);
        log.append(at(2), Span::one(9), b"nine", true);
        log.append(at(3), Span { first: 10, versions: 2, carried: 0 }, b"nothing", true);
        for (wanted, boundary) in [(5, 5), (6, 5), (8, 5), (9, 9), (11, 10), (12, 12), (3, 3)] {
            assert_eq!(log.boundary(wanted), boundary, "{wanted}");
        }
        let (bytes, end, messages) = read_all(&log, 5, 1_000);
        assert_eq!((&bytes[..], end, messages), (&b"five to eightninenothing"[..], 12, 4));
        assert_eq!(read_all(&log, 9, 1), (b"ninenothing".to_vec(), 12, 1));
        assert_eq!(log.frame(10), (Span { first: 10, versions: 2, carried: 0 }, &b"nothing"[..]));
        assert_eq!([0, 2, 3, 4].map(|since| log.recent(at(since), 1_000)), [5, 9, 10, 12]);
        assert_eq!([24, 23, 10, 0].map(|bytes| log.recent(at(0), bytes)), [5, 9, 10, 12]);
        assert_eq!([5, 9, 12].map(|version| log.bytes_behind(version)), [24, 11, 0]);
    }

    #[test]
    fn who_is_too_late_is_told() {
        let mut log = LaneLog::new(1, LANE_BYTES_START);
        for _ in 1..=100 {
            append(&mut log, &[0; 100], true);
        }
        assert_eq!(log.read(1, 1_000), Read::Lapped { oldest_version: log.first_version() });
        assert_eq!(log.read(101, 1_000), Read::UpToDate);
        assert!(log.storage_bytes() <= LANE_BYTES_START);
    }

    #[test]
    fn without_leave_to_grow_it_forgets_unless_a_frame_would_not_fit_at_all() {
        let mut log = LaneLog::new(1, 64 * 1024);
        for _ in 1..=100 {
            append(&mut log, &[0; 100], false);
        }
        assert_eq!(log.storage_bytes(), LANE_BYTES_START);
        append(&mut log, &[0; LANE_BYTES_START + 1], false);
        assert_eq!((log.storage_bytes(), log.next_version()), (2 * LANE_BYTES_START, 102));
    }

    #[test]
    fn a_cursor_of_low_bits_is_widened() {
        let log = LaneLog::new((7 << 32) + 5, 1_024);
        for behind in [0, 1, 5, 6, 1_000_000] {
            let version = (7 << 32) + 5 - behind;
            assert_eq!(log.widen(low_bits(version)), version);
        }
    }

    proptest! {
        #[test]
        fn readers_see_every_frame_that_is_kept_in_order(
            frames in proptest::collection::vec((1_usize..700, 1_u32..5, 0_u32..5), 1..200),
            bytes_max in 800_usize..20_000,
            read_max in 1_usize..5_000,
        ) {
            let mut log = LaneLog::new(1, bytes_max);
            let frame = |version: u64, length| vec![low_bits(version % 251).to_le_bytes()[0]; length];
            let mut spans = Vec::new();
            for (length, versions, carried) in &frames {
                let first = log.next_version();
                let span = Span { first, versions: *versions, carried: *carried.min(versions) };
                log.append(Time::ZERO, span, &frame(first, *length), true);
                prop_assert!(log.storage_bytes() <= bytes_max);
                prop_assert_eq!(log.frame(first), (span, &frame(first, *length)[..]));
                spans.push(span);
            }
            for start in [1, log.first_version(), log.next_version()] {
                let (bytes, end, messages) = read_all(&log, start, read_max);
                prop_assert_eq!(end, log.next_version());
                let kept = start.max(log.first_version());
                let read = spans.iter().zip(&frames).filter(|(span, _)| span.first >= kept);
                let expected: Vec<u8> =
                    read.clone().flat_map(|(span, it)| frame(span.first, it.0)).collect();
                prop_assert_eq!(bytes, expected);
                let carried = read.map(|(span, _)| u64::from(span.carried)).sum::<u64>();
                prop_assert_eq!(messages, carried);
            }
            for version in log.first_version()..log.next_version() {
                let span = spans.iter().find(|span| span.next() > version).unwrap();
                prop_assert_eq!(log.boundary(version), span.first);
            }
        }
    }
}
