//! A room at its home shard: it gives every message its version, keeps the recent ones, and
//! knows which shards want them.

use bytes::Bytes;

use crate::base::ids::ShardId;
use crate::base::time::Time;
use crate::room::lane::{BASE_ENCODING, ENCODING_COUNT, EncodingIndex, Lane, Span, Versions};
use crate::room::lanes::Lanes;
use crate::room::log::LaneLog;

/// The one place that orders a room's messages.
#[derive(Debug)]
pub struct HomeRoom {
    epoch: u64,
    lane_bytes_max: usize,
    /// Per encoding, per lane: the base encoding, and those that some shard wants.
    lanes: Lanes,
    /// Which encodings each shard asked for, by shard.
    subscribers: Vec<[bool; ENCODING_COUNT]>,
}

/// What a shard needs to keep a copy of the lanes in one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The room's epoch.
    pub epoch: u64,
    /// First version of the first frame of each lane, or of the next one if there is none.
    pub first_versions: Versions,
    /// The frames of each lane, oldest first.
    pub frames: [Vec<(Span, Bytes)>; 3],
}

impl HomeRoom {
    /// A room without history. `epoch` must be one that this room never had; each lane keeps at
    /// most `lane_bytes_max` per encoding.
    #[must_use]
    pub fn new(epoch: u64, shard_count: u16, lane_bytes_max: usize) -> HomeRoom {
        let mut lanes = Lanes::default();
        lanes.keep(BASE_ENCODING, Lane::ALL.map(|_| LaneLog::new(1, lane_bytes_max)));
        HomeRoom {
            epoch,
            lane_bytes_max,
            lanes,
            subscribers: vec![[false; ENCODING_COUNT]; usize::from(shard_count)],
        }
    }

    /// The room's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The first version of the next frame in `lane`.
    #[must_use]
    pub fn next_version(&self, lane: Lane) -> u64 {
        self.base()[lane.index()].next_version()
    }

    /// The first version that is kept of `lane`, or the next one if none is.
    #[must_use]
    pub fn first_version(&self, lane: Lane) -> u64 {
        self.base()[lane.index()].first_version()
    }

    /// Frames of a lane in the base encoding, from the one that stands for `from` on, or from the
    /// oldest that is kept: those that begin within `versions_max` of it, and at least one, but no
    /// more than `bytes_max` beyond that.
    #[must_use]
    pub fn history(
        &self,
        lane: Lane,
        from: u64,
        versions_max: u64,
        bytes_max: usize,
    ) -> Vec<(Span, Bytes)> {
        let log = &self.base()[lane.index()];
        let end = from.max(log.first_version()).saturating_add(versions_max);
        let mut bytes = 0;
        let mut page = Vec::new();
        for (span, frame) in log.frames_from(from) {
            bytes += frame.len();
            if span.first >= end || !page.is_empty() && bytes > bytes_max {
                break;
            }
            page.push((span, Bytes::copy_from_slice(frame)));
        }
        page
    }

    /// Which encodings are kept: a frame is needed in each.
    #[must_use]
    pub fn kept(&self) -> [bool; ENCODING_COUNT] {
        self.lanes.kept()
    }

    /// Keeps the frame with the lane's next versions, in every encoding that is kept. `may_grow`
    /// is that of [`LaneLog::append`].
    ///
    /// # Panics
    /// If an encoding that is kept is missing.
    pub fn append(
        &mut self,
        now: Time,
        lane: Lane,
        span: Span,
        frames: &[Option<Bytes>; ENCODING_COUNT],
        may_grow: bool,
    ) {
        let appended = self.lanes.append(now, lane, span, frames, may_grow);
        assert_eq!(appended, self.kept(), "a frame comes in all encodings that are kept");
    }

    /// Bytes of storage of all lanes.
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        self.lanes.storage_bytes()
    }

    /// Begins to keep an encoding, with what is kept in the base encoding, made over by
    /// `transcode`; nothing happens if it is kept already. Where a frame does not fit in the other
    /// encoding, it and those before it are left out.
    pub fn keep(
        &mut self,
        now: Time,
        encoding: EncodingIndex,
        mut transcode: impl FnMut(&[u8]) -> Bytes,
    ) {
        if self.lanes.get(encoding).is_some() {
            return;
        }
        let bytes_max = self.lane_bytes_max;
        let made = self.base().each_ref().map(|base| {
            let frames: Vec<(Span, Bytes)> = base
                .frames_from(base.first_version())
                .map(|(span, frame)| (span, transcode(frame)))
                .collect();
            let fits = |(_, frame): &(Span, Bytes)| frame.len() > bytes_max;
            let skipped = frames.iter().rposition(fits).map_or(0, |last| last + 1);
            let first = frames.get(skipped).map_or(base.next_version(), |(span, _)| span.first);
            let mut log = LaneLog::new(first, bytes_max);
            for (span, frame) in &frames[skipped..] {
                log.append(now, *span, frame, true);
            }
            log
        });
        self.lanes.keep(encoding, made);
    }

    /// A shard wants everything in `encoding` from now on; what is kept comes back at once.
    ///
    /// # Panics
    /// If the encoding is not kept: [`Self::keep`] comes first.
    pub fn subscribe(&mut self, shard: ShardId, encoding: EncodingIndex) -> Backlog {
        self.subscribers[shard.index()][encoding] = true;
        let logs = self.lanes.get(encoding).expect("it is kept before it is asked for");
        Backlog {
            epoch: self.epoch,
            first_versions: Lane::ALL.map(|lane| logs[lane.index()].first_version()),
            frames: Lane::ALL.map(|lane| {
                let frames = logs[lane.index()].frames_from(0);
                frames.map(|(span, frame)| (span, Bytes::copy_from_slice(frame))).collect()
            }),
        }
    }

    /// A shard has no members left and has dropped its copy. What no shard wants any more is
    /// kept in the base encoding only.
    pub fn unsubscribe(&mut self, shard: ShardId) {
        self.subscribers[shard.index()] = [false; ENCODING_COUNT];
        for encoding in 0..ENCODING_COUNT {
            let is_wanted = self.subscribers.iter().any(|wanted| wanted[encoding]);
            if encoding != BASE_ENCODING && !is_wanted {
                self.lanes.forget(encoding);
            }
        }
    }

    /// Shards that want messages, with the encodings that they want.
    pub fn subscribers(&self) -> impl Iterator<Item = (ShardId, [bool; ENCODING_COUNT])> {
        (0..)
            .map(ShardId)
            .zip(&self.subscribers)
            .filter(|(_, wanted)| wanted.contains(&true))
            .map(|(shard, wanted)| (shard, *wanted))
    }

    fn base(&self) -> &[LaneLog; 3] {
        self.lanes.get(BASE_ENCODING).expect("the base encoding is always kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &'static str, count: usize) -> [Option<Bytes>; ENCODING_COUNT] {
        std::array::from_fn(|encoding| (encoding < count).then(|| Bytes::from(text)))
    }

    #[test]
    fn a_late_subscriber_gets_what_is_kept() {
        let mut room = HomeRoom::new(9, 3, 4_096);
        let now = Time::ZERO;
        assert_eq!(room.next_version(Lane::High), 1);
        room.append(now, Lane::High, Span::one(1), &frames("one", 1), true);
        let merged = Span { first: 2, versions: 3, carried: 2 };
        room.append(now, Lane::High, merged, &frames("more", 1), true);
        room.append(now, Lane::Low, Span::one(1), &frames("chat", 1), true);
        room.keep(now, 1, |frame| Bytes::from(frame.to_ascii_uppercase()));
        let backlog = room.subscribe(ShardId(2), 1);
        assert_eq!((backlog.epoch, backlog.first_versions), (9, [1, 1, 1]));
        let expected = [(Span::one(1), Bytes::from("ONE")), (merged, Bytes::from("MORE"))];
        assert_eq!(backlog.frames[0], expected);
        assert_eq!(backlog.frames[2], [(Span::one(1), Bytes::from("CHAT"))]);
        let wanted = std::array::from_fn(|encoding| encoding == 1);
        assert_eq!(room.subscribers().collect::<Vec<_>>(), [(ShardId(2), wanted)]);
        room.unsubscribe(ShardId(2));
        assert_eq!(room.subscribers().count(), 0);
    }

    #[test]
    fn history_comes_in_pages_of_whole_frames() {
        let mut room = HomeRoom::new(9, 3, 4_096);
        room.append(Time::ZERO, Lane::Low, Span::one(1), &frames("one", 1), true);
        let merged = Span { first: 2, versions: 3, carried: 2 };
        room.append(Time::ZERO, Lane::Low, merged, &frames("merged", 1), true);
        room.append(Time::ZERO, Lane::Low, Span::one(5), &frames("five", 1), true);
        for (from, versions_max, bytes_max, expected) in [
            (0, 9, 99, vec![1, 2, 5]),
            (1, 1, 99, vec![1]),
            (3, 2, 99, vec![2]),
            (3, 9, 1, vec![2]),
            (1, 9, 9, vec![1, 2]),
            (6, 9, 99, vec![]),
        ] {
            let page = room.history(Lane::Low, from, versions_max, bytes_max);
            let firsts: Vec<u64> = page.iter().map(|(span, _)| span.first).collect();
            assert_eq!(firsts, expected, "{from} {versions_max} {bytes_max}");
        }
        assert_eq!((room.first_version(Lane::Low), room.first_version(Lane::High)), (1, 1));
    }

    #[test]
    fn an_encoding_is_kept_while_somebody_wants_it() {
        let mut room = HomeRoom::new(9, 3, 4_096);
        let two = |room: &HomeRoom| [room.kept()[0], room.kept()[1]];
        for shard in [0, 1] {
            room.keep(Time::ZERO, 1, Bytes::copy_from_slice);
            room.subscribe(ShardId(shard), 1);
        }
        let before = room.storage_bytes();
        room.append(Time::ZERO, Lane::Low, Span::one(1), &frames("chat", 2), true);
        assert!(room.storage_bytes() > before);
        room.unsubscribe(ShardId(0));
        assert_eq!(two(&room), [true, true]);
        room.unsubscribe(ShardId(1));
        assert_eq!(two(&room), [true, false]);
    }

    #[test]
    fn what_does_not_fit_in_another_encoding_is_left_out() {
        let mut room = HomeRoom::new(9, 3, 100);
        for (version, text) in [(1, "a"), (2, "long"), (3, "c")] {
            room.append(Time::ZERO, Lane::Low, Span::one(version), &frames(text, 1), true);
        }
        room.keep(Time::ZERO, 1, |frame| Bytes::from(frame.repeat(40)));
        let backlog = room.subscribe(ShardId(0), 1);
        assert_eq!((backlog.first_versions[2], backlog.frames[2].len()), (3, 1));
        assert_eq!(room.next_version(Lane::Low), 4);
    }
}
