//! The recent frames of one lane in one encoding: a ring buffer of finished bytes.
//!
//! Invariants: frames are kept whole, in order, without holes in their versions; a frame never
//! straddles the end of the storage, so that any run of frames up to it is one contiguous slice,
//! ready to be sent as it is. Bounded in bytes and in frames; it begins empty and doubles up to
//! its bound. What is pushed out is gone: a reader that was there is told so.

use std::collections::VecDeque;

use crate::base::limits::{LANE_BYTES_START, LANE_FRAMES_MAX};

/// A ring buffer of frames, addressed by version.
#[derive(Debug)]
pub struct LaneLog {
    bytes: Box<[u8]>,
    bytes_max: usize,
    /// Version of the oldest frame that is kept, or of the next one if none is.
    first_version: u64,
    /// Where each frame begins and ends; logical offsets only grow, the place in storage is the
    /// remainder by its size.
    frames: VecDeque<Extent>,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u64,
    end: u64,
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
    },
    /// What it should get next is gone; this is the oldest version that is left.
    Lapped {
        /// Version of the oldest frame kept, or of the next one if none is.
        oldest_version: u64,
    },
}

impl LaneLog {
    /// An empty log whose first frame will have `next_version`, keeping at most `bytes_max`.
    #[must_use]
    pub fn new(next_version: u64, bytes_max: usize) -> LaneLog {
        LaneLog {
            bytes: Box::default(),
            bytes_max,
            first_version: next_version,
            frames: VecDeque::new(),
        }
    }

    /// The version that the next frame will have.
    #[must_use]
    pub fn next_version(&self) -> u64 {
        self.first_version + self.frames.len() as u64
    }

    /// The version of the oldest frame kept, or of the next one if none is.
    #[must_use]
    pub fn first_version(&self) -> u64 {
        self.first_version
    }

    /// Bytes of storage.
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a finished frame. What no longer fits is forgotten, oldest first; so it is instead
    /// of growing, where `may_grow` is false and the frame fits the storage there is.
    ///
    /// # Panics
    /// If `version` is not the next one or the frame alone is larger than the log may be: both
    /// are checked before a frame is made.
    pub fn append(&mut self, version: u64, frame: &[u8], may_grow: bool) {
        assert_eq!(version, self.next_version(), "a lane has no holes");
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
        self.frames.push_back(Extent { start, end: start + frame.len() as u64 });
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
        let index = usize_of(version - self.first_version);
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
        Read::Frames { place, length, next_version: version + count as u64 }
    }

    /// The bytes that [`Self::read`] found, as long as nothing was appended since.
    #[must_use]
    pub fn bytes_at(&self, place: usize, length: usize) -> &[u8] {
        &self.bytes[place..place + length]
    }

    /// The frames from `version` on, one by one, for a copy of this log.
    pub fn frames_from(&self, version: u64) -> impl Iterator<Item = &[u8]> {
        let skip = usize_of(version.saturating_sub(self.first_version));
        self.frames.iter().skip(skip).map(|frame| {
            let place = self.place(frame.start);
            &self.bytes[place..place + usize_of(frame.end - frame.start)]
        })
    }

    /// How many of the frames from `version` on lie wholly within their first `bytes`, and how
    /// many bytes those frames have. For a send that came back short.
    #[must_use]
    pub fn whole_frames(&self, version: u64, bytes: usize) -> (u64, usize) {
        let index = usize_of(version - self.first_version);
        let start = self.frames[index].start;
        let end = self.frames.partition_point(|frame| frame.end <= start + bytes as u64);
        let count = end - index;
        if count == 0 {
            return (0, 0);
        }
        (count as u64, usize_of(self.frames[end - 1].end - start))
    }

    /// Bytes of the frame with `version`.
    #[must_use]
    pub fn frame(&self, version: u64) -> &[u8] {
        let frame = self.frames[usize_of(version - self.first_version)];
        let place = self.place(frame.start);
        &self.bytes[place..place + usize_of(frame.end - frame.start)]
    }

    /// The whole version of which a cursor keeps the low 32 bits: the one nearest to the head.
    #[must_use]
    pub fn widen(&self, low: u32) -> u64 {
        let head = self.next_version();
        let behind = low_bits(head).wrapping_sub(low);
        head.saturating_sub(u64::from(behind))
    }

    fn forget_oldest(&mut self) {
        let forgotten = self.frames.pop_front();
        assert!(forgotten.is_some(), "an empty log has room for a frame");
        self.first_version += 1;
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
        for frame in self.frames_from(self.first_version) {
            grown[end..end + frame.len()].copy_from_slice(frame);
            frames.push_back(Extent { start: end as u64, end: (end + frame.len()) as u64 });
            end += frame.len();
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
    fn read_all(log: &LaneLog, mut version: u64, bytes_max: usize) -> (Vec<u8>, u64) {
        let mut all = Vec::new();
        loop {
            match log.read(version, bytes_max) {
                Read::UpToDate => return (all, version),
                Read::Frames { place, length, next_version } => {
                    all.extend_from_slice(log.bytes_at(place, length));
                    version = next_version;
                }
                Read::Lapped { oldest_version } => version = oldest_version,
            }
        }
    }

    #[test]
    fn a_burst_is_one_read() {
        let mut log = LaneLog::new(1, 64 * 1024);
        for version in 1..=16 {
            log.append(version, &[7; 100], true);
        }
        let Read::Frames { length, next_version, .. } = log.read(1, usize::MAX >> 1) else {
            panic!("there is something to read");
        };
        assert_eq!((length, next_version), (1_600, 17));
        assert_eq!(log.whole_frames(1, 250), (2, 200));
        assert_eq!(log.whole_frames(3, 99), (0, 0));
    }

    #[test]
    fn who_is_too_late_is_told() {
        let mut log = LaneLog::new(1, LANE_BYTES_START);
        for version in 1..=100 {
            log.append(version, &[0; 100], true);
        }
        assert_eq!(log.read(1, 1_000), Read::Lapped { oldest_version: log.first_version() });
        assert_eq!(log.read(101, 1_000), Read::UpToDate);
        assert!(log.storage_bytes() <= LANE_BYTES_START);
    }

    #[test]
    fn without_leave_to_grow_it_forgets_unless_a_frame_would_not_fit_at_all() {
        let mut log = LaneLog::new(1, 64 * 1024);
        for version in 1..=100 {
            log.append(version, &[0; 100], false);
        }
        assert_eq!(log.storage_bytes(), LANE_BYTES_START);
        log.append(101, &[0; LANE_BYTES_START + 1], false);
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
            lengths in proptest::collection::vec(1_usize..700, 1..200),
            bytes_max in 800_usize..20_000,
            read_max in 1_usize..5_000,
        ) {
            let mut log = LaneLog::new(1, bytes_max);
            let frame = |version: u64, length| vec![low_bits(version % 251).to_le_bytes()[0]; length];
            for (version, length) in (1..).zip(&lengths) {
                log.append(version, &frame(version, *length), true);
                prop_assert!(log.storage_bytes() <= bytes_max);
                prop_assert_eq!(log.frame(version), &frame(version, *length)[..]);
            }
            for start in [1, log.first_version(), log.next_version()] {
                let (bytes, end) = read_all(&log, start, read_max);
                prop_assert_eq!(end, log.next_version());
                let kept = start.max(log.first_version());
                let expected: Vec<u8> = (kept..end)
                    .flat_map(|version| frame(version, lengths[usize_of(version) - 1]))
                    .collect();
                prop_assert_eq!(bytes, expected);
            }
        }
    }
}
