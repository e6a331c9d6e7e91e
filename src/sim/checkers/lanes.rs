//! Versions of a lane on one connection: in order, without silent holes, across resumes.

use crate::room::lane::{Lane, Span};
use crate::sim::checkers::{Findings, Promise};
use crate::wire::proto;

/// What a connection must get next in its room.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneReader {
    room: u64,
    epoch: u64,
    /// The newest version seen or excused, by lane; nothing outside of a room.
    seen: Option<[u64; 3]>,
    /// Where the client asked to continue behind this version, and the gateway begins earlier: it
    /// must be one that the next frame stands for, by lane.
    within: [Option<u64>; 3],
}

/// The lane of that number, by [`Lane::index`].
pub(crate) fn lane_index(lane: i32) -> Option<usize> {
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
        let mut within = [None; 3];
        if let Some((epoch, versions)) = asked.filter(|_| joined.resumed) {
            let fits =
                versions.iter().zip(&seen).all(|(asked, got)| asked.is_none_or(|it| it >= *got));
            findings.check(fits && epoch == joined.epoch, Promise::Lanes, || {
                format!("asked to resume at {epoch}: {versions:?}, got {joined:?}")
            });
            let earlier = |lane: usize| versions[lane].filter(|asked| *asked > seen[lane]);
            within = [earlier(0), earlier(1), earlier(2)];
        }
        let (room, epoch) = (joined.room_id, joined.epoch);
        *self = LaneReader { room, epoch, seen: Some(seen), within };
    }

    /// A frame came through a lane.
    pub(crate) fn message(
        &mut self,
        stamp: &proto::RoomStamp,
        span: Span,
        findings: &mut Findings,
    ) {
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
        seen[lane] = span.next() - 1;
        if let Some(asked) = self.within[lane].take() {
            // What the client had is repeated for what it had not, in one frame.
            findings.check(asked < seen[lane], Promise::Lanes, || {
                format!("{stamp:?} is sent again although {asked} was seen, for {span:?}")
            });
        }
    }

    /// Some versions will not come.
    pub(crate) fn gap(&mut self, gap: &proto::Gap, findings: &mut Findings) {
        let (Some(seen), Some(lane)) = (&mut self.seen, lane_index(gap.lane)) else {
            return findings.broken(Promise::Lanes, || format!("{gap:?} outside of any room"));
        };
        let fits = gap.first_missing == seen[lane] + 1 && gap.last_missing >= gap.first_missing;
        findings.check(fits, Promise::Lanes, || format!("{gap:?} after {seen:?}"));
        seen[lane] = gap.last_missing;
        self.within[lane] = None;
    }
}
