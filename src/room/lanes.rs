//! The lanes of a room, in each encoding in which they are kept.

use bytes::Bytes;

use crate::base::time::Time;
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane, Span};
use crate::room::log::LaneLog;

/// The logs of a room's three lanes, per encoding.
#[derive(Debug, Default)]
pub struct Lanes([Option<[LaneLog; 3]>; ENCODING_COUNT]);

impl Lanes {
    /// Which encodings are kept.
    #[must_use]
    pub fn kept(&self) -> [bool; ENCODING_COUNT] {
        self.0.each_ref().map(Option::is_some)
    }

    /// The lanes in one encoding, if it is kept.
    #[must_use]
    pub fn get(&self, encoding: EncodingIndex) -> Option<&[LaneLog; 3]> {
        self.0[encoding].as_ref()
    }

    /// Keeps an encoding from now on, with what it has already.
    pub fn keep(&mut self, encoding: EncodingIndex, logs: [LaneLog; 3]) {
        self.0[encoding] = Some(logs);
    }

    /// Keeps an encoding no more.
    pub fn forget(&mut self, encoding: EncodingIndex) {
        self.0[encoding] = None;
    }

    /// Bytes of storage of all of them.
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        self.0.iter().flatten().flatten().map(LaneLog::storage_bytes).sum()
    }

    /// Appends a frame to a lane, in each encoding that is kept and in which it comes, unless the
    /// log begins behind it: a copy begins with what its home has by then. `may_grow` is that of
    /// [`LaneLog::append`]. Where it was appended comes back.
    pub fn append(
        &mut self,
        now: Time,
        lane: Lane,
        span: Span,
        frames: &[Option<Bytes>; ENCODING_COUNT],
        may_grow: bool,
    ) -> [bool; ENCODING_COUNT] {
        std::array::from_fn(|encoding| {
            let (Some(logs), Some(frame)) = (&mut self.0[encoding], &frames[encoding]) else {
                return false;
            };
            let log = &mut logs[lane.index()];
            let is_new = span.first >= log.next_version();
            if is_new {
                log.append(now, span, frame, may_grow);
            }
            is_new
        })
    }
}
