//! A room on a shard that has members: a copy of its lanes, the members, and how far each sweep
//! over them has come.

use bytes::Bytes;

use crate::base::time::Time;
use crate::room::home::Backlog;
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane, Span};
use crate::room::lanes::Lanes;
use crate::room::log::LaneLog;
use crate::room::members::Members;
use crate::room::tally::Tally;

/// A shard's copy of a room.
#[derive(Debug, Default)]
pub struct LocalRoom {
    /// The epoch of the copies; meaningless before the first backlog came.
    pub epoch: u64,
    /// Connections that are in the room.
    members: Members,
    /// How many of them speak each encoding.
    speakers: [u32; ENCODING_COUNT],
    /// What became of messages, per lane.
    pub tallies: [Tally; 3],
    /// Per encoding: the copies of the lanes, once the home has sent them.
    copies: Lanes,
    sweeps: [Sweep; 3],
    sweep_count: u32,
}

/// One walk over the members, serving one lane: from a start to the end of the places, and on from
/// place 0 to where it began.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    active: bool,
    /// Where the walk began.
    start: u32,
    next: Step,
    /// Where it ends; with everybody visited, at the start after one wrap.
    end: Step,
    again: Again,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    place: u32,
    wrapped: bool,
}

/// Whether a walk has to be followed by another one.
#[derive(Clone, Copy, Debug, Default)]
enum Again {
    #[default]
    No,
    /// Those who were visited before this step miss what was appended there.
    Until(Step),
    /// Anybody may miss something.
    All,
}

impl Sweep {
    /// Whether a walk that stands at `next` and goes to `end` visits `place`.
    fn visits(next: Step, end: Step, place: u32) -> bool {
        if next.wrapped == end.wrapped {
            next.place <= place && place < end.place
        } else {
            place >= next.place || place < end.place
        }
    }

    fn is_partial(&self) -> bool {
        !(self.end.wrapped && self.end.place == self.start)
    }

    fn start_step(&self) -> Step {
        Step { place: self.start, wrapped: false }
    }
}

impl LocalRoom {
    /// True once the home's backlog in this encoding has come.
    #[must_use]
    pub fn has_copy(&self, encoding: EncodingIndex) -> bool {
        self.copies.get(encoding).is_some()
    }

    /// Begins the copies in one encoding from what the home keeps. Each lane keeps at most
    /// `lane_bytes_max`, like the home's.
    pub fn begin_copy(
        &mut self,
        now: Time,
        encoding: EncodingIndex,
        backlog: &Backlog,
        lane_bytes_max: usize,
    ) {
        self.epoch = backlog.epoch;
        let logs = Lane::ALL.map(|lane| {
            let first = backlog.first_versions[lane.index()];
            let mut log = LaneLog::new(first, lane_bytes_max);
            for (span, frame) in &backlog.frames[lane.index()] {
                log.append(now, *span, frame, true);
            }
            log
        });
        self.copies.keep(encoding, logs);
    }

    /// Bytes of storage of all copies.
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        self.copies.storage_bytes()
    }

    /// The copy of a lane in one encoding.
    ///
    /// # Panics
    /// If there is none: nobody becomes a member before it is there.
    #[must_use]
    pub fn log(&self, encoding: EncodingIndex, lane: Lane) -> &LaneLog {
        let copies = self.copies.get(encoding);
        &copies.expect("a member's encoding has its copies")[lane.index()]
    }

    /// Connections that are in the room.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// How many members speak each encoding.
    #[must_use]
    pub fn speakers(&self) -> &[u32; ENCODING_COUNT] {
        &self.speakers
    }

    /// A connection is a member from now on, and wants these versions next: what it wants and is
    /// there already is noted as owed.
    pub fn enter(&mut self, place: u32, encoding: EncodingIndex, wanted: &[u64; 3]) {
        if self.members.insert(place) {
            self.speakers[encoding] += 1;
            for lane in Lane::ALL {
                let owed = self.log(encoding, lane).next_version() - wanted[lane.index()];
                self.tallies[lane.index()].resumed += owed;
            }
        }
    }

    /// A connection is no member any more; with what it wanted next. What it was owed it will
    /// not get.
    pub fn leave(&mut self, place: u32, encoding: EncodingIndex, wanted: &[u32; 3]) {
        if self.members.remove(place) {
            self.speakers[encoding] -= 1;
            for lane in Lane::ALL {
                let log = self.log(encoding, lane);
                let owed = log.next_version() - log.widen(wanted[lane.index()]);
                self.tallies[lane.index()].departed += owed;
            }
        }
    }

    /// Appends a frame that the home has ordered, in the encodings that this shard asked for,
    /// and lets the sweep of its lane run; true if it was at rest. What a copy began with is not
    /// appended again. `may_grow` is that of [`LaneLog::append`].
    pub fn append(
        &mut self,
        now: Time,
        lane: Lane,
        span: Span,
        frames: &[Option<Bytes>; ENCODING_COUNT],
        may_grow: bool,
    ) -> bool {
        let appended = self.copies.append(now, lane, span, frames, may_grow);
        for (members, _) in self.speakers.iter().zip(appended).filter(|(_, appended)| *appended) {
            let offered = u64::from(*members) * u64::from(span.versions);
            self.tallies[lane.index()].offered += offered;
        }
        let sweep = &mut self.sweeps[lane.index()];
        let rested = !sweep.active;
        if rested {
            self.start_sweep(lane);
        } else if sweep.is_partial() {
            sweep.again = Again::All;
        } else {
            sweep.again = Again::Until(sweep.next);
        }
        rested
    }

    /// True while members may be waiting for something in this lane.
    #[must_use]
    pub fn is_sweeping(&self, lane: Lane) -> bool {
        self.sweeps[lane.index()].active
    }

    /// True if the lane's sweep is going to visit this place.
    #[must_use]
    pub fn will_visit(&self, lane: Lane, place: u32) -> bool {
        let sweep = &self.sweeps[lane.index()];
        let again = match sweep.again {
            Again::No => false,
            Again::Until(step) => Sweep::visits(sweep.start_step(), step, place),
            Again::All => true,
        };
        sweep.active && (again || Sweep::visits(sweep.next, sweep.end, place))
    }

    /// The next member that the lane's sweep visits, or nothing when it has come round.
    pub fn next_in_sweep(&mut self, lane: Lane) -> Option<u32> {
        let Sweep { next, end, .. } = &mut self.sweeps[lane.index()];
        loop {
            let is_last_lap = next.wrapped == end.wrapped;
            match self.members.next_from(next.place) {
                Some(place) if !is_last_lap || place < end.place => {
                    next.place = place + 1;
                    return Some(place);
                }
                _ if is_last_lap => return None,
                _ => *next = Step { place: 0, wrapped: true },
            }
        }
    }

    /// After a sweep has come round: begins another one if messages came behind members that had
    /// been served, over those; false if the lane is at rest.
    pub fn sweep_again(&mut self, lane: Lane) -> bool {
        let sweep = &mut self.sweeps[lane.index()];
        match std::mem::take(&mut sweep.again) {
            Again::No => sweep.active = false,
            Again::Until(step) => {
                sweep.next = sweep.start_step();
                sweep.end = step;
            }
            Again::All => self.start_sweep(lane),
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
        self.sweeps[lane.index()] = Sweep {
            active: true,
            start,
            next: Step { place: start, wrapped: false },
            end: Step { place: start, wrapped: true },
            again: Again::No,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn room(members: &[u32]) -> LocalRoom {
        let mut room = LocalRoom::default();
        let frames = [Vec::new(), Vec::new(), Vec::new()];
        room.begin_copy(
            Time::ZERO,
            0,
            &Backlog { epoch: 1, first_versions: [1; 3], frames },
            4_096,
        );
        for place in members {
            room.enter(*place, 0, &[1; 3]);
        }
        room
    }

    fn append(room: &mut LocalRoom, version: u64) {
        let frame = |encoding| (encoding == 0).then(|| Bytes::from_static(b"x"));
        let frames = std::array::from_fn(frame);
        room.append(Time::ZERO, Lane::High, Span::one(version), &frames, true);
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
            append(&mut room, version);
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
    fn what_comes_during_a_sweep_is_swept_again_for_those_who_had_been_served() {
        let mut room = room(&[1, 2, 3, 4, 5]);
        append(&mut room, 1);
        let mut visit = || room.next_in_sweep(Lane::High).unwrap();
        let served = [visit(), visit(), visit()];
        append(&mut room, 2);
        let visited = sweep(&mut room);
        assert_eq!(visited.len(), 2 + 3);
        assert_eq!(visited[2..], served);
    }

    #[test]
    fn what_comes_during_the_second_sweep_is_swept_for_all() {
        let mut room = room(&[1, 2, 3, 4, 5]);
        append(&mut room, 1);
        for _ in 0..3 {
            room.next_in_sweep(Lane::High).unwrap();
        }
        append(&mut room, 2);
        while room.next_in_sweep(Lane::High).is_some() {}
        assert!(room.sweep_again(Lane::High));
        room.next_in_sweep(Lane::High).unwrap();
        append(&mut room, 3);
        assert_eq!(sweep(&mut room).len(), 2 + 5);
    }

    proptest! {
        /// Whatever is appended when: in the end every member was visited after the last message,
        /// and nobody was visited of whom the room had not said so.
        #[test]
        fn everybody_is_visited_after_every_message(
            members in proptest::collection::btree_set(0_u32..500, 1..40),
            visits_before_each_message in proptest::collection::vec(0_usize..60, 1..12),
        ) {
            let members: Vec<u32> = members.into_iter().collect();
            let mut room = room(&members);
                let mut missing: BTreeSet<u32> = BTreeSet::new();
            let mut version = 0;
            let visit = |room: &mut LocalRoom, missing: &mut BTreeSet<u32>| {
                for member in &*missing {
                    assert!(room.will_visit(Lane::High, *member), "{member} is left behind");
                }
                if let Some(place) = room.next_in_sweep(Lane::High) {
                    missing.remove(&place);
                    return true;
                }
                room.is_sweeping(Lane::High) && room.sweep_again(Lane::High)
            };
            for visits in visits_before_each_message {
                for _ in 0..visits {
                    if !room.is_sweeping(Lane::High) || !visit(&mut room, &mut missing) {
                        break;
                    }
                }
                version += 1;
                append(&mut room, version);
                missing.extend(&members);
            }
            let mut steps = 0;
            while visit(&mut room, &mut missing) {
                steps += 1;
                prop_assert!(steps < 10_000, "a sweep that never ends");
            }
            prop_assert!(missing.is_empty(), "left behind: {missing:?}");
        }
    }

    /// Its home had sent it before this shard asked for the room again.
    #[test]
    fn what_a_copy_began_with_is_not_appended_again() {
        let mut room = LocalRoom::default();
        let frames = [vec![(Span::one(5), Bytes::from_static(b"five"))], Vec::new(), Vec::new()];
        room.begin_copy(
            Time::ZERO,
            0,
            &Backlog { epoch: 1, first_versions: [5, 1, 1], frames },
            4_096,
        );
        append(&mut room, 5);
        assert_eq!(room.log(0, Lane::High).next_version(), 6);
    }

    #[test]
    fn a_sweep_of_an_empty_room_ends() {
        let mut room = room(&[]);
        append(&mut room, 1);
        assert!(sweep(&mut room).is_empty());
        assert!(!room.is_sweeping(Lane::High));
    }

    #[test]
    fn what_is_owed_is_counted_when_it_comes_and_when_its_reader_leaves() {
        let mut room = room(&[1, 2]);
        append(&mut room, 1);
        append(&mut room, 2);
        room.enter(3, 0, &[2, 1, 1]);
        room.leave(1, 0, &[1, 1, 1]);
        room.leave(2, 0, &[3, 1, 1]);
        let tally = room.tallies[0];
        assert_eq!((tally.offered, tally.resumed, tally.departed), (4, 1, 2));
        assert_eq!((room.members().count(), room.speakers()[0]), (1, 1));
    }
}
