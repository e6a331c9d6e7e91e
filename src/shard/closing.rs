//! Rooms that end: everybody in them is told, leaves, and the room is freed.

use std::time::Duration;

use crate::base::ids::{ConnId, RoomId, ShardId};
use crate::base::limits::ROOMS_MAX;
use crate::base::time::Time;
use crate::room::lane::Lane;
use crate::room::log::low_bits;
use crate::shard::Shard;
use crate::shard::mail::Mail;
use crate::shard::operator::{OperatorAnswer, OperatorError};
use crate::shard::standing::StandingRecord;
use crate::wire::proto;
use crate::wire::proto::notification::Payload;

/// The id of a room that has ended is not used again for so long: who comes late is told.
pub(crate) const ENDED_FOR: Duration = Duration::from_secs(600);
/// Members have so long to be told through the lane; others are told directly.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a room that is closing is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// Members that are let go in one go: some 100 µs of work each thousand.
const MEMBERS_AT_ONCE: usize = 1_024;

/// Rooms that have ended or are about to.
#[derive(Default)]
pub(crate) struct Endings {
    /// Rooms that have ended, and when.
    ended: Vec<(Time, RoomId)>,
    /// Where members are: rooms that close, and until when they wait for the lane.
    closing: Vec<(Time, RoomId)>,
    due: Option<Time>,
}

impl Endings {
    /// A room has ended.
    pub(crate) fn note_ended(&mut self, room: RoomId, at: Time) {
        if self.ended.iter().any(|(known_at, known)| *known == room && *known_at == at) {
            return;
        }
        if self.ended.len() == ROOMS_MAX {
            self.ended.remove(0);
        }
        self.ended.push((at, room));
    }
}

impl Shard {
    /// At the home: a room ends.
    pub(crate) fn close_room(&mut self, room: RoomId) -> Result<OperatorAnswer, OperatorError> {
        if self.carries_show(room) {
            return Err(OperatorError::CarriesShow(room));
        }
        if self.has_ended(room) {
            return Ok(OperatorAnswer::Done);
        }
        let closed = Payload::RoomClosed(proto::RoomClosed { room_id: room.0 });
        let told = self.publish_to_room(room, Lane::High, closed, None);
        told.ok_or(OperatorError::TooManyRooms)?;
        // Also those without members: nobody gives anything to a room that has ended.
        for shard in ShardId::all(self.placement.shard_count()) {
            self.post(shard, Mail::RoomClosed { room });
        }
        self.forget_room_settings(room);
        self.rooms.drop_home(room);
        self.endings.note_ended(room, self.now);
        self.journal_standing(StandingRecord::RoomEnded { room, at: self.now });
        Ok(OperatorAnswer::Done)
    }

    /// Whether a room has ended not long ago, as far as this shard knows.
    pub(crate) fn has_ended(&self, room: RoomId) -> bool {
        let mut of_room = self.endings.ended.iter().filter(|(_, ended)| *ended == room);
        of_room.any(|(at, _)| self.now.since(*at) < ENDED_FOR)
    }

    /// On every shard: the home has ended a room.
    pub(crate) fn room_closed(&mut self, room: RoomId) {
        self.endings.note_ended(room, self.now);
        self.endings.closing.push((self.now + PATIENCE, room));
        self.endings.due = Some(self.now + INTERVAL);
    }

    /// When rooms that close are to be looked at.
    pub(crate) fn endings_deadline(&self) -> Option<Time> {
        self.endings.due
    }

    /// Lets members of rooms go that close, once the lane has told them.
    pub(crate) fn end_rooms(&mut self) {
        let now = self.now;
        if self.endings.due.is_none_or(|due| due > now) {
            return;
        }
        self.endings.ended.retain(|(at, _)| now.since(*at) < ENDED_FOR);
        for (until, room) in std::mem::take(&mut self.endings.closing) {
            let Some(index) = self.rooms.index_of(room) else {
                continue;
            };
            let is_told = !self.rooms.local(index).is_sweeping(Lane::High);
            if (is_told || until <= now) && self.let_go(index, room) {
                self.drop_local(room);
            } else {
                self.endings.closing.push((until, room));
            }
        }
        self.endings.due = (!self.endings.closing.is_empty()).then(|| now + INTERVAL);
    }

    /// Lets some members go; true if nobody is left.
    fn let_go(&mut self, index: u32, room: RoomId) -> bool {
        let members = self.members_from(index, MEMBERS_AT_ONCE);
        let is_all = members.len() < MEMBERS_AT_ONCE;
        for id in members {
            let is_behind = self.conns.get(id).is_some_and(|conn| {
                let log = self.rooms.local(index).log(conn.form.index(), Lane::High);
                conn.cursors[Lane::High.index()] != low_bits(log.next_version())
            });
            self.leave_room(id);
            if is_behind {
                self.notify(id, Payload::RoomClosed(proto::RoomClosed { room_id: room.0 }));
            }
        }
        for id in self.rooms.take_waiting(index) {
            self.refuse_join(id, proto::Reason::NoSuchRoom, "this room has ended");
        }
        is_all
    }

    fn members_from(&self, index: u32, max: usize) -> Vec<ConnId> {
        let members = self.rooms.local(index).members();
        let mut found = Vec::new();
        let mut place = 0;
        while let Some(member) = members.next_from(place).filter(|_| found.len() < max) {
            found.extend(self.conns.at(member).map(|(id, _)| id));
            place = member + 1;
        }
        found
    }
}
