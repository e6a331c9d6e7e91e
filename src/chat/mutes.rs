//! Who may not speak, where, and until when.
//!
//! The user's home keeps the mutes of those who live there and bounds their number; it tells every
//! shard, because the user may connect anywhere. The shard has each on record, for the next process.

use std::collections::BTreeMap;

use crate::base::ids::{RoomId, UserId};
use crate::base::time::Time;

/// In place of a room: everywhere.
pub const EVERYWHERE: RoomId = RoomId(0);

/// Mutes with their ends.
#[derive(Debug, Default)]
pub struct Mutes {
    until: BTreeMap<(UserId, RoomId), Time>,
}

impl Mutes {
    /// Mutes a user in a room, or [`EVERYWHERE`], in place of an earlier mute there.
    pub fn mute(&mut self, user: UserId, room: RoomId, until: Time) {
        self.until.insert((user, room), until);
    }

    /// Ends a mute; false if there is none.
    pub fn unmute(&mut self, user: UserId, room: RoomId) -> bool {
        self.until.remove(&(user, room)).is_some()
    }

    /// Until when a user may not speak in a room.
    #[must_use]
    pub fn until(&self, user: UserId, room: RoomId, now: Time) -> Option<Time> {
        // Nobody is muted, as a rule.
        if self.until.is_empty() {
            return None;
        }
        let until = [EVERYWHERE, room].into_iter().filter_map(|room| self.until.get(&(user, room)));
        until.copied().max().filter(|until| *until > now)
    }

    /// Whether there is a mute of this user for just this place, perhaps over.
    #[must_use]
    pub fn contains(&self, user: UserId, room: RoomId) -> bool {
        self.until.contains_key(&(user, room))
    }

    /// How many there are, those that are over included unless [`Self::forget_over`] was called.
    #[must_use]
    pub fn count(&self) -> usize {
        self.until.len()
    }

    /// Forgets those that are over.
    pub fn forget_over(&mut self, now: Time) {
        self.until.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_is_for_a_room_or_everywhere_and_ends() {
        let (at, user) = (Time::from_millis, UserId(5));
        let (here, there) = (RoomId(7), RoomId(8));
        let mut mutes = Mutes::default();
        mutes.mute(user, here, at(100));
        assert_eq!(mutes.until(user, here, at(99)), Some(at(100)));
        assert_eq!(mutes.until(user, here, at(100)), None);
        assert_eq!(mutes.until(user, there, at(99)), None);
        assert_eq!(mutes.until(UserId(6), here, at(99)), None);
        mutes.mute(user, EVERYWHERE, at(50));
        assert_eq!(mutes.until(user, here, at(10)), Some(at(100)));
        assert_eq!(mutes.until(user, there, at(10)), Some(at(50)));
        assert!(mutes.unmute(user, here) && !mutes.unmute(user, here));
        assert_eq!(mutes.until(user, here, at(10)), Some(at(50)));
        mutes.forget_over(at(50));
        assert_eq!(mutes.count(), 0);
    }
}
