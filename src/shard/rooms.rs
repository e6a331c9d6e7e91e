//! Joining, leaving, publishing; rooms as a home and as a copy.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::{ConnId, EventNumber, RoomId, ShardId, ShowId, UserId};
use crate::base::limits::{ROOM_MESSAGE_BYTES_MAX, ROOMS_MAX};
use crate::base::time::Time;
use crate::room::home::{Backlog, HomeRoom};
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane, Versions};
use crate::room::local::LocalRoom;
use crate::room::log::low_bits;
use crate::shard::Shard;
use crate::shard::conn::{JoinWish, NO_ROOM};
use crate::shard::mail::{Mail, PublishMail, RoomFrames};
use crate::shard::messages;
use crate::shard::operator::{OperatorAnswer, OperatorError, Published};
use crate::shard::session::Event;
use crate::wire::codec::Encoding;
use crate::wire::proto;

/// A shard keeps its copy of a room for so long after its last member left.
const LOCAL_IDLE: Duration = Duration::from_secs(60);
/// A home keeps a room's history for so long after its last subscriber left.
const HOME_IDLE: Duration = Duration::from_secs(600);

/// The rooms of one shard.
#[derive(Default)]
pub(crate) struct Rooms {
    /// By index; those without an id in `by_id` are free.
    locals: Vec<Local>,
    free: Vec<u32>,
    by_id: BTreeMap<RoomId, u32>,
    homes: BTreeMap<RoomId, Home>,
}

/// A room that is ordered here.
struct Home {
    room: HomeRoom,
    used_at: Time,
}

/// A room that has, or had, members here.
#[derive(Default)]
struct Local {
    id: RoomId,
    room: LocalRoom,
    /// Encodings that the home was asked for.
    asked: [bool; ENCODING_COUNT],
    /// Connections that wait for the home's answer.
    waiting: Vec<ConnId>,
    /// Messages that tell of a show event which has not come here.
    early: VecDeque<RoomFrames>,
    used_at: Time,
}

impl Rooms {
    /// The local room with this index.
    pub(crate) fn local(&self, index: u32) -> &LocalRoom {
        &self.locals[index as usize].room
    }

    /// The local room with this index.
    pub(crate) fn local_mut(&mut self, index: u32) -> &mut LocalRoom {
        &mut self.locals[index as usize].room
    }

    /// The id of the local room with this index.
    pub(crate) fn id(&self, index: u32) -> RoomId {
        self.locals[index as usize].id
    }

    /// Number of local rooms.
    pub(crate) fn local_count(&self) -> usize {
        self.by_id.len()
    }

    /// The index of a local room, made if there is room for another one.
    fn local_index(&mut self, id: RoomId) -> Option<u32> {
        if let Some(index) = self.by_id.get(&id) {
            return Some(*index);
        }
        if self.by_id.len() >= ROOMS_MAX {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.locals.push(Local::default());
                u32::try_from(self.locals.len() - 1).ok()?
            }
        };
        self.locals[index as usize] = Local { id, ..Local::default() };
        self.by_id.insert(id, index);
        Some(index)
    }

    /// Local rooms that nobody has used for a while.
    fn idle_locals(&self, now: Time) -> Vec<RoomId> {
        let idle = |local: &Local| {
            let empty = local.room.members.count() == 0
                && local.waiting.is_empty()
                && local.early.is_empty();
            let answered = (0..ENCODING_COUNT)
                .all(|encoding| local.asked[encoding] == local.room.has_copy(encoding));
            let resting = Lane::ALL.into_iter().all(|lane| !local.room.is_sweeping(lane));
            empty && answered && resting && now.since(local.used_at) >= LOCAL_IDLE
        };
        let rooms = self.by_id.iter();
        rooms.filter(|(_, index)| idle(&self.locals[**index as usize])).map(|(id, _)| *id).collect()
    }
}

impl Shard {
    /// A client asks for a room; it leaves the one it is in.
    pub(crate) fn join(&mut self, id: ConnId, wish: JoinWish) {
        if wish.room == RoomId(0) {
            let failure = messages::failure(proto::Reason::NoSuchRoom, "room 0 is no room");
            return self.refuse(id, &wish.sequence, failure);
        }
        let Some(index) = self.rooms.local_index(wish.room) else {
            let failure = messages::failure(proto::Reason::RoomFull, "this host has no more rooms");
            return self.refuse(id, &wish.sequence, failure);
        };
        self.drop_wish(id);
        self.leave_room(id);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(next) = conn.state.next(Event::Join) else {
            let failure = messages::failure(proto::Reason::NotAuthenticated, "authenticate first");
            return self.refuse(id, &wish.sequence, failure);
        };
        conn.state = next;
        conn.room = index;
        let encoding = usize::from(conn.encoding);
        let room = wish.room;
        conn.entry_mut().join = Some(wish);
        if self.rooms.local(index).has_copy(encoding) {
            return self.enter(id);
        }
        let local = &mut self.rooms.locals[index as usize];
        local.waiting.push(id);
        if !std::mem::replace(&mut local.asked[encoding], true) {
            let home = self.placement.room_home(room);
            self.post(home, Mail::Subscribe { room, encoding });
        }
    }

    /// A wish that was not fulfilled yet gives way to a newer one; its request gets its answer.
    pub(crate) fn drop_wish(&mut self, id: ConnId) {
        let entry = self.conns.get_mut(id).and_then(|conn| conn.entry.as_mut());
        if let Some(wish) = entry.and_then(|entry| entry.join.take()) {
            let text = "a newer request took the place of this one";
            let failure = messages::failure(proto::Reason::NotInRoom, text);
            self.refuse(id, &wish.sequence, failure);
        }
    }

    /// The lanes are here: the connection becomes a member.
    fn enter(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(next) = conn.state.next(Event::Enter) else {
            return;
        };
        let Some(wish) = conn.entry.take().and_then(|entry| entry.join) else {
            return;
        };
        conn.state = next;
        let (index, encoding) = (conn.room, usize::from(conn.encoding));
        let room = self.rooms.local_mut(index);
        room.members.insert(id.place);
        let epoch = room.epoch;
        let heads: Versions = Lane::ALL.map(|lane| room.log(encoding, lane).next_version());
        // A client that was never here, or in another epoch, begins at the head.
        let resume = wish.resume.filter(|position| {
            let known = |(seen, head): (&Option<u64>, &u64)| seen.is_none_or(|seen| seen < *head);
            position.epoch == epoch && position.seen.iter().zip(&heads).all(known)
        });
        let wanted: Versions = std::array::from_fn(|lane| {
            let seen = resume.and_then(|position| position.seen[lane]);
            seen.map_or(heads[lane], |seen| seen + 1)
        });
        conn.cursors = wanted.map(low_bits);
        let user = conn.user;
        let joined = proto::Joined {
            room_id: wish.room.0,
            epoch,
            positions: messages::lane_positions(wanted.map(|next| next - 1)),
            resumed: resume.is_some(),
        };
        self.respond(id, &wish.sequence, proto::response::Payload::Joined(joined));
        self.quiz_joined_room(id, user, wish.room);
        if wanted != heads {
            self.catch_up(id);
        }
    }

    /// A client leaves its room and stays connected.
    pub(crate) fn leave(&mut self, id: ConnId, sequence: &str) {
        let room = self.conns.get(id).filter(|conn| conn.room != NO_ROOM).map(|conn| conn.room);
        let Some(room) = room else {
            let failure = messages::failure(proto::Reason::NotInRoom, "join a room first");
            return self.refuse(id, sequence, failure);
        };
        self.drop_wish(id);
        self.leave_room(id);
        let left = proto::Left { room_id: self.rooms.id(room).0 };
        self.respond(id, sequence, proto::response::Payload::Left(left));
    }

    /// The connections that are in a room here, and their users.
    pub(crate) fn members_of(&self, room: RoomId) -> Vec<(ConnId, UserId)> {
        let Some(index) = self.rooms.by_id.get(&room) else {
            return Vec::new();
        };
        let members = &self.rooms.local(*index).members;
        let mut found = Vec::with_capacity(members.count() as usize);
        let mut place = 0;
        while let Some(member) = members.next_from(place) {
            found.extend(self.conns.at(member).map(|(id, conn)| (id, conn.user)));
            place = member + 1;
        }
        found
    }

    /// Whether a room has members here.
    pub(crate) fn has_members(&self, room: RoomId) -> bool {
        let index = self.rooms.by_id.get(&room);
        index.is_some_and(|index| self.rooms.local(*index).members.count() > 0)
    }

    /// Takes a connection out of its room, if it is in one.
    pub(crate) fn leave_room(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.room == NO_ROOM {
            return;
        }
        let index = std::mem::replace(&mut conn.room, NO_ROOM);
        conn.state = conn.state.next(Event::Leave).unwrap_or(conn.state);
        let local = &mut self.rooms.locals[index as usize];
        local.room.members.remove(id.place);
        local.used_at = self.now;
        local.waiting.retain(|waiting| *waiting != id);
        let (user, room) = (conn.user, local.id);
        self.quiz_left_room(id, user, room);
    }

    /// A member says something.
    pub(crate) fn publish(&mut self, id: ConnId, sequence: String, publish: proto::Publish) {
        let Some(conn) = self.conns.get(id).filter(|conn| conn.room != NO_ROOM) else {
            let failure = messages::failure(proto::Reason::NotInRoom, "join a room first");
            return self.refuse(id, &sequence, failure);
        };
        if publish.lane() != proto::Lane::Low {
            let text = "clients may publish in the low lane only";
            let failure = messages::failure(proto::Reason::LaneForbidden, text);
            return self.refuse(id, &sequence, failure);
        }
        if publish.data.len() > ROOM_MESSAGE_BYTES_MAX {
            let text = format!("data has more than {ROOM_MESSAGE_BYTES_MAX} bytes");
            let failure = messages::failure(proto::Reason::TooLarge, &text);
            return self.refuse(id, &sequence, failure);
        }
        let (room, user) = (self.rooms.id(conn.room), conn.user);
        let sequence = sequence.into_boxed_str();
        // A copy: the bytes came in the scratch that is about to be used again.
        let data = Bytes::copy_from_slice(&publish.data);
        let mail = PublishMail { room, lane: Lane::Low, user, data, conn: id, sequence };
        let home = self.placement.room_home(room);
        self.post(home, Mail::Publish(Box::new(mail)));
    }

    /// Drops copies without members, and homes without subscribers.
    pub(crate) fn free_idle_rooms(&mut self) {
        let now = self.now;
        for room in self.rooms.idle_locals(now) {
            if let Some(index) = self.rooms.by_id.remove(&room) {
                self.rooms.locals[index as usize] = Local::default();
                self.rooms.free.push(index);
                let home = self.placement.room_home(room);
                self.post(home, Mail::Unsubscribe { room });
            }
        }
        self.rooms.homes.retain(|_, home| {
            home.room.subscribers().count() > 0 || now.since(home.used_at) < HOME_IDLE
        });
    }

    /// At the home: a shard has no members left.
    pub(crate) fn unsubscribe(&mut self, from: ShardId, room: RoomId) {
        if let Some(home) = self.rooms.homes.get_mut(&room) {
            home.room.unsubscribe(from);
        }
    }

    /// A member's message was published.
    pub(crate) fn published(&mut self, id: ConnId, stamp: proto::RoomStamp, sequence: &str) {
        let published = proto::Published { stamp: Some(stamp) };
        self.respond(id, sequence, proto::response::Payload::Published(published));
    }

    /// At the home: a shard wants a room.
    pub(crate) fn subscribe(&mut self, from: ShardId, room: RoomId, encoding: EncodingIndex) {
        let backlog = self.home_room(room).map(|home| Box::new(home.subscribe(from, encoding)));
        self.post(from, Mail::Subscribed { room, encoding, backlog });
    }

    /// The home has answered: whoever waited becomes a member.
    pub(crate) fn subscribed(
        &mut self,
        room: RoomId,
        encoding: EncodingIndex,
        backlog: Option<Box<Backlog>>,
    ) {
        let Some(index) = self.rooms.by_id.get(&room).copied() else {
            return;
        };
        let local = &mut self.rooms.locals[index as usize];
        let (waiting, others) = std::mem::take(&mut local.waiting).into_iter().partition(|id| {
            self.conns.get(*id).is_some_and(|c| usize::from(c.encoding) == encoding)
        });
        local.waiting = others;
        let waiting: Vec<ConnId> = waiting;
        let Some(backlog) = backlog else {
            local.asked[encoding] = false;
            for id in waiting {
                self.refuse_join(id);
            }
            return;
        };
        local.room.begin_copy(encoding, &backlog, self.config.lane_bytes_max);
        for id in waiting {
            self.enter(id);
        }
    }

    /// At the home: a member's message gets its version.
    pub(crate) fn publish_at_home(&mut self, from: ShardId, mail: PublishMail) {
        let message = proto::RoomMessage { user_id: mail.user.0, data: mail.data };
        let payload = proto::notification::Payload::RoomMessage(message);
        let PublishMail { room, lane, conn, sequence, .. } = mail;
        if let Some((epoch, version)) = self.publish_to_room(room, lane, payload, None) {
            self.post(from, Mail::Published { conn, room, epoch, lane, version, sequence });
        }
    }

    /// At the home: the service says something.
    pub(crate) fn publish_for_service(
        &mut self,
        room: RoomId,
        lane: Lane,
        messages: Vec<Bytes>,
    ) -> Result<OperatorAnswer, OperatorError> {
        let home = self.home_room(room).ok_or(OperatorError::TooManyRooms)?;
        let (epoch, first_version) = (home.epoch(), home.next_version(lane));
        for data in messages {
            let message = proto::RoomMessage { user_id: 0, data };
            let payload = proto::notification::Payload::RoomMessage(message);
            self.publish_to_room(room, lane, payload, None);
        }
        let home = self.home_room(room).ok_or(OperatorError::TooManyRooms)?;
        let last_version = home.next_version(lane) - 1;
        Ok(OperatorAnswer::Published(Published { epoch, first_version, last_version }))
    }

    /// At the home: encodes a notification once per encoding and posts it once per shard. The
    /// room's epoch and the message's version come back.
    pub(crate) fn publish_to_room(
        &mut self,
        room: RoomId,
        lane: Lane,
        payload: proto::notification::Payload,
        after: Option<(ShowId, EventNumber)>,
    ) -> Option<(u64, u64)> {
        let server_time_ms = self.clock.unix_ms(self.now);
        let home = self.home_room(room)?;
        let (epoch, version) = (home.epoch(), home.next_version(lane));
        let stamp = messages::stamp(room, epoch, lane, version);
        let frame = messages::notification(server_time_ms, Some(stamp), payload);
        let frames = Encoding::ALL.map(|encoding| messages::room_frame(encoding, &frame));
        home.append(lane, &frames);
        let subscribers: Vec<_> = home.subscribers().collect();
        self.counters.room_messages += 1;
        for (shard, wanted) in subscribers {
            let frames =
                std::array::from_fn(|encoding| wanted[encoding].then(|| frames[encoding].clone()));
            let mail = RoomFrames { room, epoch, lane, version, after, frames };
            self.post(shard, Mail::RoomFrames(Box::new(mail)));
        }
        Some((epoch, version))
    }

    /// A room's message has come, once for all its members here. It waits for the show event that
    /// it tells of, and what comes after it in the room waits too.
    pub(crate) fn room_frames(&mut self, mail: RoomFrames) {
        let Some(index) = self.rooms.by_id.get(&mail.room).copied() else {
            return;
        };
        let may_pass = self.quiz_has_applied(mail.after);
        let local = &mut self.rooms.locals[index as usize];
        if !may_pass || !local.early.is_empty() {
            self.counters.mail_waited += 1;
            local.early.push_back(mail);
            return;
        }
        self.append_frames(index, &mail);
    }

    /// A show event was applied: messages that tell of it may go out now.
    pub(crate) fn release_room_frames(&mut self) {
        for index in self.rooms.by_id.values().copied().collect::<Vec<_>>() {
            while let Some(mail) = self.rooms.locals[index as usize].early.pop_front() {
                if !self.quiz_has_applied(mail.after) {
                    self.rooms.locals[index as usize].early.push_front(mail);
                    break;
                }
                self.append_frames(index, &mail);
            }
        }
    }

    fn append_frames(&mut self, index: u32, mail: &RoomFrames) {
        let room = self.rooms.local_mut(index);
        if room.append(mail.lane, mail.version, &mail.frames) {
            self.push.sweeping[mail.lane.index()].push_back(index);
        }
        self.quiz_queued(mail.after);
    }

    /// A connection missed versions for good: it is told, and goes on with the oldest that is
    /// left.
    pub(crate) fn skip_to(&mut self, id: ConnId, lane: Lane, wanted: u64, oldest: u64) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.cursors[lane.index()] = low_bits(oldest);
        let (index, user) = (conn.room, conn.user);
        self.counters.gap_versions += oldest - wanted;
        let gap = proto::Gap {
            room_id: self.rooms.id(index).0,
            epoch: self.rooms.local(index).epoch,
            lane: messages::lane(lane).into(),
            first_missing: wanted,
            last_missing: oldest - 1,
        };
        self.notify(id, proto::notification::Payload::Gap(gap));
        if lane == Lane::High {
            let room = self.rooms.id(index);
            self.quiz_missed(id, user, room);
        }
    }

    fn refuse_join(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let wish = conn.entry.take().and_then(|entry| entry.join);
        let sequence = wish.map(|wish| wish.sequence).unwrap_or_default();
        self.leave_room(id);
        let failure = messages::failure(proto::Reason::RoomFull, "this host has no more rooms");
        self.refuse(id, &sequence, failure);
    }

    /// The home's room, made if there is room for another one.
    fn home_room(&mut self, room: RoomId) -> Option<&mut HomeRoom> {
        if !self.rooms.homes.contains_key(&room) {
            if self.rooms.homes.len() >= ROOMS_MAX {
                return None;
            }
            // JSON readers keep 53 bits exactly; an epoch is never used twice.
            let epoch = 1 + self.entropy.below((1 << 53) - 1);
            let lane_bytes_max = self.config.lane_bytes_max;
            let home = HomeRoom::new(epoch, self.placement.shard_count(), lane_bytes_max);
            self.rooms.homes.insert(room, Home { room: home, used_at: self.now });
        }
        let home = self.rooms.homes.get_mut(&room)?;
        home.used_at = self.now;
        Some(&mut home.room)
    }
}
