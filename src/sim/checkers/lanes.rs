//! Versions of a lane on one connection: in order, without silent holes, across resumes.

use crate::room::lane::Lane;
use crate::sim::checkers::{Findings, Promise};
use crate::wire::proto;

/// What a connection must get next in its room.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneReader {
    room: u64,
    epoch: u64,
    /// The newest version seen or excused, by lane; nothing outside of a room.
    seen: Option<[u64; 3]>,
}

fn lane_index(lane: i32) -> Option<usize> {
    match proto::Lane::try_from(lane) {
        Ok(proto::Lane::High) => Some(Lane::High.index()),
        Ok(proto::Lane::Mid) => Some(Lane::Mid.index()),
        Ok(proto::Lane::Low) => Some(Lane::Low.index()),
        Ok(proto::Lane::Unspecified) | Err(_) => None,
    }
}

impl LaneReader {
    /// Room, epoch and newest versions, while in a room.
    pub(crate) fn position(&self) -> Option<(u64, u64, [u64; 3])> {
        self.seen.map(|seen| (self.room, self.epoch, seen))
    }

    /// Out of the room.
    pub(crate) fn left(&mut self) {
        self.seen = None;
    }

    /// In a room: `asked` is the epoch and the versions that the client named.
    pub(crate) fn joined(
        &mut self,
        joined: &proto::Joined,
        asked: Option<(u64, [Option<u64>; 3])>,
        findings: &mut Findings,
    ) {
        let mut seen = [0; 3];
        for position in &joined.positions {
            if let Some(lane) = lane_index(position.lane) {
                seen[lane] = position.version;
            }
        }
        if let Some((epoch, versions)) = asked.filter(|_| joined.resumed) {
            let same =
                versions.iter().zip(&seen).all(|(asked, got)| asked.is_none_or(|it| it == *got));
            findings.check(same && epoch == joined.epoch, Promise::Lanes, || {
                format!("asked to resume at {epoch}: {versions:?}, got {joined:?}")
            });
        }
        *self = LaneReader { room: joined.room_id, epoch: joined.epoch, seen: Some(seen) };
    }

    /// A message came through a lane.
    pub(crate) fn message(&mut self, stamp: &proto::RoomStamp, findings: &mut Findings) {
        let Some(seen) = &mut self.seen else {
            return findings.broken(Promise::Lanes, || format!("{stamp:?} outside of any room"));
        };
        let Some(lane) = lane_index(stamp.lane) else {
            return findings.broken(Promise::Lanes, || format!("{stamp:?} names no lane"));
        };
        let here = (stamp.room_id, stamp.epoch) == (self.room, self.epoch);
        findings.check(here && stamp.version == seen[lane] + 1, Promise::Lanes, || {
            format!("{stamp:?} came in room {} epoch {} after {seen:?}", self.room, self.epoch)
        });
        seen[lane] = stamp.version;
    }

    /// Some versions will not come.
    pub(crate) fn gap(&mut self, gap: &proto::Gap, findings: &mut Findings) {
        let (Some(seen), Some(lane)) = (&mut self.seen, lane_index(gap.lane)) else {
            return findings.broken(Promise::Lanes, || format!("{gap:?} outside of any room"));
        };
        let fits = gap.first_missing == seen[lane] + 1 && gap.last_missing >= gap.first_missing;
        findings.check(fits, Promise::Lanes, || format!("{gap:?} after {seen:?}"));
        seen[lane] = gap.last_missing;
    }
}
