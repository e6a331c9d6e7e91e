//! Likes are merged into counts: one number per room and tick, however many there are.
//!
//! The same on the way up, from the members' shards to the room's home, and down, from there to
//! everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::ids::RoomId;
use crate::base::time::Time;

/// Likes wait at most so long for others; twice, up and down.
pub const LIKES_TICK: Duration = Duration::from_millis(200);

/// Likes of some rooms that wait for the tick.
#[derive(Debug, Default)]
pub struct Likes {
    waiting: BTreeMap<RoomId, u64>,
    due: Option<Time>,
}

impl Likes {
    /// Adds likes of a room.
    pub fn add(&mut self, room: RoomId, count: u64, now: Time) {
        let waiting = self.waiting.entry(room).or_default();
        *waiting = waiting.saturating_add(count);
        self.due.get_or_insert(now + LIKES_TICK);
    }

    /// When [`Self::take`] has something.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    /// The counts by room, once they are due.
    pub fn take(&mut self, now: Time) -> BTreeMap<RoomId, u64> {
        if self.due.is_none_or(|due| now < due) {
            return BTreeMap::new();
        }
        self.due = None;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_has_one_count_a_room() {
        let (at, mut likes) = (Time::from_millis, Likes::default());
        assert_eq!((likes.due(), likes.take(at(9_999))), (None, BTreeMap::new()));
        likes.add(RoomId(1), 2, at(100));
        likes.add(RoomId(1), 3, at(250));
        likes.add(RoomId(2), 1, at(299));
        assert_eq!(likes.due(), Some(at(300)));
        assert!(likes.take(at(299)).is_empty());
        assert_eq!(likes.take(at(310)), BTreeMap::from([(RoomId(1), 5), (RoomId(2), 1)]));
        assert_eq!(likes.due(), None);
        likes.add(RoomId(1), 1, at(320));
        assert_eq!(likes.due(), Some(at(520)));
    }
}
