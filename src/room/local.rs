//! A room on a shard that has members: a copy of its lanes, the members, and how far each sweep
//! over them has come.

use bytes::Bytes;

use crate::room::home::Backlog;
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane};
use crate::room::log::LaneLog;
use crate::room::members::Members;

/// A shard's copy of a room.
#[derive(Debug, Default)]
pub struct LocalRoom {
    /// The epoch of the copies; meaningless before the first backlog came.
    pub epoch: u64,
    /// Connections that are in the room.
    pub members: Members,
    /// Per encoding: the copies of the lanes, once the home has sent them.
    copies: [Option<[LaneLog; 3]>; ENCODING_COUNT],
    sweeps: [Sweep; 3],
    sweep_count: u32,
}

/// One walk over all members, serving one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    active: bool,
    /// Where the walk began; it ends there after one wrap.
    start: u32,
    next: u32,
    wrapped: bool,
    /// Something was appended behind members that had been served.
    again: bool,
}

impl LocalRoom {
    /// True once the home's backlog in this encoding has come.
    #[must_use]
    pub fn has_copy(&self, encoding: EncodingIndex) -> bool {
        self.copies[encoding].is_some()
    }

    /// Begins the copies in one encoding from what the home keeps. Each lane keeps at most
    /// `lane_bytes_max`, like the home's.
    pub fn begin_copy(
        &mut self,
        encoding: EncodingIndex,
        backlog: &Backlog,
        lane_bytes_max: usize,
    ) {
        self.epoch = backlog.epoch;
        self.copies[encoding] = Some(Lane::ALL.map(|lane| {
            let first = backlog.first_versions[lane.index()];
            let mut log = LaneLog::new(first, lane_bytes_max);
            for (version, frame) in (first..).zip(&backlog.frames[lane.index()]) {
                log.append(version, frame);
            }
            log
        }));
    }

    /// The copy of a lane in one encoding.
    ///
    /// # Panics
    /// If there is none: nobody becomes a member before it is there.
    #[must_use]
    pub fn log(&self, encoding: EncodingIndex, lane: Lane) -> &LaneLog {
        let copies = self.copies[encoding].as_ref();
        &copies.expect("a member's encoding has its copies")[lane.index()]
    }

    /// Appends a message that the home has ordered, in the encodings that this shard asked for,
    /// and lets the sweep of its lane run; true if it was at rest.
    pub fn append(
        &mut self,
        lane: Lane,
        version: u64,
        frames: &[Option<Bytes>; ENCODING_COUNT],
    ) -> bool {
        for (copies, frame) in self.copies.iter_mut().zip(frames) {
            if let (Some(copies), Some(frame)) = (copies, frame) {
                copies[lane.index()].append(version, frame);
            }
        }
        let sweep = &mut self.sweeps[lane.index()];
        let rested = !sweep.active;
        if rested {
            self.start_sweep(lane);
        } else {
            sweep.again = true;
        }
        rested
    }

    /// True while members may be waiting for something in this lane.
    #[must_use]
    pub fn is_sweeping(&self, lane: Lane) -> bool {
        self.sweeps[lane.index()].active
    }

    /// The next member that the lane's sweep visits, or nothing when it has come round.
    pub fn next_in_sweep(&mut self, lane: Lane) -> Option<u32> {
        let sweep = &mut self.sweeps[lane.index()];
        loop {
            let end = if sweep.wrapped { sweep.start } else { u32::MAX };
            match self.members.next_from(sweep.next) {
                Some(place) if place < end => {
                    sweep.next = place + 1;
                    return Some(place);
                }
                _ if sweep.wrapped => return None,
                _ => {
                    sweep.wrapped = true;
                    sweep.next = 0;
                }
            }
        }
    }

    /// After a sweep has come round: begins another one if messages came behind members that had
    /// been served; false if the lane is at rest.
    pub fn sweep_again(&mut self, lane: Lane) -> bool {
        if self.sweeps[lane.index()].again {
            self.start_sweep(lane);
        } else {
            self.sweeps[lane.index()].active = false;
        }
        self.sweeps[lane.index()].active
    }

    /// Begins at another place each time, so that nobody is always last.
    fn start_sweep(&mut self, lane: Lane) {
        self.sweep_count = self.sweep_count.wrapping_add(1);
        // The golden ratio's fraction spreads successive starts evenly over the places.
        let turn = u64::from(self.sweep_count.wrapping_mul(0x9E37_79B9));
        let start = (turn * u64::from(self.members.places_end())) >> 32;
        let start = u32::try_from(start).unwrap_or(0);
        self.sweeps[lane.index()] =
            Sweep { active: true, start, next: start, wrapped: false, again: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(members: &[u32]) -> LocalRoom {
        let mut room = LocalRoom::default();
        let frames = [Vec::new(), Vec::new(), Vec::new()];
        room.begin_copy(0, &Backlog { epoch: 1, first_versions: [1; 3], frames }, 4_096);
        for place in members {
            room.members.insert(*place);
        }
        room
    }

    fn sweep(room: &mut LocalRoom) -> Vec<u32> {
        let mut visited = Vec::new();
        loop {
            visited.extend(std::iter::from_fn(|| room.next_in_sweep(Lane::High)));
            if !room.sweep_again(Lane::High) {
                return visited;
            }
        }
    }

    #[test]
    fn a_sweep_visits_everybody_once_from_a_rotating_start() {
        let places: Vec<u32> = (0..1_000).map(|place| place * 40).collect();
        let mut room = room(&places);
        let mut firsts = Vec::new();
        for version in 1..=20 {
            room.append(Lane::High, version, &[Some(Bytes::from_static(b"x")), None]);
            let mut visited = sweep(&mut room);
            firsts.push(visited[0]);
            visited.sort_unstable();
            assert_eq!(visited, places);
            assert!(!room.is_sweeping(Lane::High));
        }
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 15, "the start rotates: {firsts:?}");
    }

    #[test]
    fn what_comes_during_a_sweep_is_swept_again() {
        let mut room = room(&[1, 2, 3]);
        room.append(Lane::High, 1, &[Some(Bytes::from_static(b"x")), None]);
        assert!(room.next_in_sweep(Lane::High).is_some());
        room.append(Lane::High, 2, &[Some(Bytes::from_static(b"y")), None]);
        assert_eq!(sweep(&mut room).len(), 5);
    }

    #[test]
    fn a_sweep_of_an_empty_room_ends() {
        let mut room = room(&[]);
        room.append(Lane::High, 1, &[Some(Bytes::from_static(b"x")), None]);
        assert!(sweep(&mut room).is_empty());
        assert!(!room.is_sweeping(Lane::High));
    }
}
