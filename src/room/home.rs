//! A room at its home shard: it gives every message its version, keeps the recent ones, and
//! knows which shards want them.

use bytes::Bytes;

use crate::base::ids::ShardId;
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane, Versions};
use crate::room::log::LaneLog;

/// The one place that orders a room's messages.
#[derive(Debug)]
pub struct HomeRoom {
    epoch: u64,
    /// Per encoding, per lane. All encodings are kept, so that a shard whose first member speaks
    /// another one can be given the history.
    logs: [[LaneLog; 3]; ENCODING_COUNT],
    /// Which encodings each shard asked for, by shard.
    subscribers: Vec<[bool; ENCODING_COUNT]>,
}

/// What a shard needs to keep a copy of the lanes in one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The room's epoch.
    pub epoch: u64,
    /// Version of the first frame of each lane, or of the next one if there is none.
    pub first_versions: Versions,
    /// The frames of each lane, oldest first.
    pub frames: [Vec<Bytes>; 3],
}

impl HomeRoom {
    /// A room without history. `epoch` must be one that this room never had; each lane keeps at
    /// most `lane_bytes_max` per encoding.
    #[must_use]
    pub fn new(epoch: u64, shard_count: u16, lane_bytes_max: usize) -> HomeRoom {
        let lanes = || Lane::ALL.map(|_| LaneLog::new(1, lane_bytes_max));
        HomeRoom {
            epoch,
            logs: [lanes(), lanes()],
            subscribers: vec![[false; ENCODING_COUNT]; usize::from(shard_count)],
        }
    }

    /// The room's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The version that the next message in `lane` will have: it is encoded into the message.
    #[must_use]
    pub fn next_version(&self, lane: Lane) -> u64 {
        self.logs[0][lane.index()].next_version()
    }

    /// Keeps a message under [`Self::next_version`]; `frames` holds it in every encoding. `may_grow`
    /// is that of [`LaneLog::append`].
    pub fn append(&mut self, lane: Lane, frames: &[Bytes; ENCODING_COUNT], may_grow: bool) {
        let version = self.next_version(lane);
        for (logs, frame) in self.logs.iter_mut().zip(frames) {
            logs[lane.index()].append(version, frame, may_grow);
        }
    }

    /// Bytes of storage of all lanes.
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        self.logs.iter().flatten().map(LaneLog::storage_bytes).sum()
    }

    /// A shard wants everything in `encoding` from now on; what is kept comes back at once.
    pub fn subscribe(&mut self, shard: ShardId, encoding: EncodingIndex) -> Backlog {
        self.subscribers[shard.index()][encoding] = true;
        let logs = &self.logs[encoding];
        Backlog {
            epoch: self.epoch,
            first_versions: Lane::ALL.map(|lane| logs[lane.index()].first_version()),
            frames: Lane::ALL.map(|lane| {
                logs[lane.index()].frames_from(0).map(Bytes::copy_from_slice).collect()
            }),
        }
    }

    /// A shard has no members left and has dropped its copy.
    pub fn unsubscribe(&mut self, shard: ShardId) {
        self.subscribers[shard.index()] = [false; ENCODING_COUNT];
    }

    /// Shards that want messages, with the encodings that they want.
    pub fn subscribers(&self) -> impl Iterator<Item = (ShardId, [bool; ENCODING_COUNT])> {
        (0..)
            .map(ShardId)
            .zip(&self.subscribers)
            .filter(|(_, wanted)| wanted.contains(&true))
            .map(|(shard, wanted)| (shard, *wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_subscriber_gets_what_is_kept() {
        let mut room = HomeRoom::new(9, 3, 4_096);
        let frames = |text: &'static str| [Bytes::from(text), Bytes::from(text)];
        assert_eq!(room.next_version(Lane::High), 1);
        room.append(Lane::High, &frames("one"), true);
        room.append(Lane::High, &frames("two"), true);
        room.append(Lane::Low, &frames("chat"), true);
        let backlog = room.subscribe(ShardId(2), 1);
        assert_eq!((backlog.epoch, backlog.first_versions), (9, [1, 1, 1]));
        assert_eq!(backlog.frames[0], [Bytes::from("one"), Bytes::from("two")]);
        assert_eq!(backlog.frames[2], [Bytes::from("chat")]);
        assert_eq!(room.subscribers().collect::<Vec<_>>(), [(ShardId(2), [false, true])]);
        room.unsubscribe(ShardId(2));
        assert_eq!(room.subscribers().count(), 0);
    }
}
