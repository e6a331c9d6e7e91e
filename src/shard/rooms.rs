//! Joining, leaving, publishing; rooms as a home and as a copy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{ConnId, EventNumber, RoomId, ShardId, ShowId, UserId};
use crate::base::limits::{ROOM_MESSAGE_BYTES_MAX, ROOMS_MAX, SHARD_LANES_BYTES_MAX};
use crate::base::time::Time;
use crate::room::home::HomeRoom;
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane, Span, Versions};
use crate::room::local::LocalRoom;
use crate::room::log::low_bits;
use crate::room::tally::Tally;
use crate::shard::Shard;
use crate::shard::closing::ROOM_ENDED;
use crate::shard::conn::{JoinWish, NO_ROOM};
use crate::shard::egress::wire_bytes;
use crate::shard::mail::{Mail, RoomFrames, RoomReport, RoomState, SubscribedMail};
use crate::shard::messages;
use crate::shard::service::{Page, RoomSettings};
use crate::shard::session::Event;
use crate::shard::ticks::TickQueues;
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
    pub(super) homes: BTreeMap<RoomId, Home>,
    /// When the homes' ticks are due.
    pub(super) ticks: BTreeSet<(Time, RoomId)>,
    /// Storage of all lanes.
    pub(super) lanes_bytes: usize,
    /// What became of messages in rooms that were forgotten since.
    past: [Tally; 3],
}

/// A room that is ordered here.
pub(super) struct Home {
    pub(super) room: HomeRoom,
    /// The newest show event that one of its messages tells of.
    pub(super) after: Option<(ShowId, EventNumber)>,
    /// What waits for the next tick, in the lanes mid and low.
    pub(super) queues: TickQueues,
    /// When that is, as noted in [`Rooms::ticks`].
    pub(super) tick_at: Option<Time>,
    /// What shards said last, by shard.
    pub(super) reports: Vec<RoomReport>,
    /// What members were told last, and when.
    pub(super) told: Option<(RoomState, Time)>,
    /// How many messages of the service the high lane takes, in thousandths, and since when.
    pub(super) gift_credit: (u64, Time),
    /// How it works, if the service made it: then it stays until it is closed.
    pub(super) settings: Option<Arc<RoomSettings>>,
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
    /// What tells of a show event that has not come here, and what came after it.
    early: VecDeque<Early>,
    /// What the home was told last.
    reported: RoomReport,
    /// How many of a thousand messages of the low lane there is room for, if not for all.
    share: Option<u16>,
    /// What went out since the budget was looked at.
    cost: WireCost,
    /// How the room is, as the home said last.
    state: Option<RoomState>,
    used_at: Time,
}

/// What a room's lanes cost on the wire, over all members here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WireCost {
    pub(super) members: u32,
    pub(super) mid: u64,
    /// Of the low lane, as if nothing had been left out.
    pub(super) low_unthinned: u64,
}

impl Local {
    /// What a frame costs on the wire, over all members here.
    fn note_cost(&mut self, mail: &RoomFrames) {
        let frames = mail.frames.iter().zip(self.room.speakers());
        let cost: u64 = frames
            .filter_map(|(frame, speakers)| Some((frame.as_ref()?, u64::from(*speakers))))
            .map(|(frame, speakers)| wire_bytes(frame.len()) * speakers)
            .sum();
        match mail.lane {
            Lane::High => {}
            Lane::Mid => self.cost.mid += cost,
            Lane::Low => {
                let Span { versions, carried, .. } = mail.span;
                self.cost.low_unthinned += cost * u64::from(versions) / u64::from(carried.max(1));
            }
        }
    }
}

/// Mail of a room's home, in its order.
enum Early {
    Frames(RoomFrames),
    Subscribed(SubscribedMail),
}

impl Early {
    fn after(&self) -> Option<(ShowId, EventNumber)> {
        match self {
            Early::Frames(mail) => mail.after,
            Early::Subscribed(mail) => mail.after,
        }
    }
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

    /// The local room with this id.
    pub(crate) fn index_of(&self, id: RoomId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// Connections that wait for the home of a local room.
    pub(crate) fn take_waiting(&mut self, index: u32) -> Vec<ConnId> {
        std::mem::take(&mut self.locals[index as usize].waiting)
    }

    /// Number of local rooms.
    pub(crate) fn local_count(&self) -> usize {
        self.by_id.len()
    }

    /// Makes a local room.
    fn make_local(&mut self, id: RoomId) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.locals.push(Local::default());
            u32::try_from(self.locals.len() - 1).unwrap_or(NO_ROOM)
        });
        self.locals[index as usize] = Local { id, ..Local::default() };
        self.by_id.insert(id, index);
        index
    }

    /// Forgets a local room.
    fn drop_local(&mut self, id: RoomId) {
        if let Some(index) = self.by_id.remove(&id) {
            let local = std::mem::take(&mut self.locals[index as usize]);
            self.lanes_bytes -= local.room.storage_bytes();
            for (past, tally) in self.past.iter_mut().zip(local.room.tallies) {
                *past += tally;
            }
            self.free.push(index);
        }
    }

    /// What became of messages, per lane, in all rooms.
    pub(crate) fn tallies(&self) -> [Tally; 3] {
        let mut sums = self.past;
        for index in self.by_id.values() {
            for (sum, tally) in sums.iter_mut().zip(self.local(*index).tallies) {
                *sum += tally;
            }
        }
        sums
    }

    /// Whether any room has members here.
    pub(super) fn has_members(&self) -> bool {
        self.by_id.values().any(|index| self.local(*index).members().count() > 0)
    }

    /// What homes are to be told because it has changed.
    pub(super) fn changed_reports(&mut self) -> Vec<(RoomId, RoomReport)> {
        let mut changed = Vec::new();
        for (room, index) in &self.by_id {
            let local = &mut self.locals[*index as usize];
            let report = RoomReport {
                members: local.room.members().count(),
                share_permille: local.share.unwrap_or(1_000),
            };
            if std::mem::replace(&mut local.reported, report) != report {
                changed.push((*room, report));
            }
        }
        changed
    }

    /// What went out since the last call, by local room.
    pub(super) fn take_wire_costs(&mut self) -> Vec<(u32, WireCost)> {
        let mut costs = Vec::new();
        for index in self.by_id.values() {
            let local = &mut self.locals[*index as usize];
            let members = local.room.members().count();
            costs.push((*index, WireCost { members, ..std::mem::take(&mut local.cost) }));
        }
        costs
    }

    /// There is room for so much of a local room's low lane.
    pub(super) fn set_share(&mut self, index: u32, share_permille: u16) {
        self.locals[index as usize].share = Some(share_permille).filter(|share| *share < 1_000);
    }

    /// Local rooms without members that nothing is under way for, and since when.
    fn empty_locals(&self) -> impl Iterator<Item = (RoomId, Time)> {
        let is_empty = |local: &&Local| {
            let empty = local.room.members().count() == 0
                && local.waiting.is_empty()
                && local.early.is_empty();
            let answered = (0..ENCODING_COUNT)
                .all(|encoding| local.asked[encoding] == local.room.has_copy(encoding));
            let resting = Lane::ALL.into_iter().all(|lane| !local.room.is_sweeping(lane));
            empty && answered && resting
        };
        let locals = self.by_id.values().map(|index| &self.locals[*index as usize]);
        locals.filter(is_empty).map(|local| (local.id, local.used_at))
    }

    /// Rooms that live here and were made by the service.
    pub(super) fn created_count(&self) -> usize {
        self.homes.values().filter(|home| home.settings.is_some()).count()
    }

    /// Rooms that live here: id, members, and whether the service made them.
    pub(super) fn list(&self, page: Page<RoomId>) -> Vec<(RoomId, u64, bool)> {
        let behind = (Bound::Excluded(page.after), Bound::Unbounded);
        let homes = self.homes.range(behind).take(page.limit + 1);
        homes.map(|(room, home)| (*room, home.online(), home.settings.is_some())).collect()
    }

    /// Homes that no shard wants anything of and that nobody made to stay, and since when.
    fn unwanted_homes(&self) -> impl Iterator<Item = (RoomId, Time)> {
        let homes = self.homes.iter();
        let unwanted = homes
            .filter(|(_, home)| home.settings.is_none() && home.room.subscribers().count() == 0);
        unwanted.map(|(id, home)| (*id, home.used_at))
    }

    pub(super) fn drop_home(&mut self, id: RoomId) {
        if let Some(home) = self.homes.remove(&id) {
            self.lanes_bytes -= home.room.storage_bytes();
            self.ticks.extract_if(.., |(_, room)| *room == id).for_each(drop);
        }
    }

    /// The shards that have members of a room that lives here.
    pub(crate) fn subscribers_of(&self, room: RoomId) -> Vec<ShardId> {
        let home = self.homes.get(&room);
        home.map_or(Vec::new(), |home| home.room.subscribers().map(|(shard, _)| shard).collect())
    }

    /// The epoch of a room that lives here.
    pub(crate) fn epoch_of(&self, room: RoomId) -> Option<u64> {
        self.homes.get(&room).map(|home| home.room.epoch())
    }

    /// Whether a lane may grow. The high lane always may: clients don't write to it.
    pub(super) fn may_grow(&self, lane: Lane) -> bool {
        lane == Lane::High || self.lanes_bytes < SHARD_LANES_BYTES_MAX
    }
}

impl Shard {
    /// A client asks for a room; it leaves the one it is in.
    pub(crate) fn join(&mut self, id: ConnId, wish: JoinWish) {
        if wish.room == RoomId(0) {
            let failure = messages::failure(proto::Reason::NoSuchRoom, "room 0 is no room");
            return self.refuse(id, &wish.sequence, failure);
        }
        if !self.permission(id).may_join(wish.room) {
            let text = "the token does not allow this room";
            let failure = messages::failure(proto::Reason::RoomForbidden, text);
            return self.refuse(id, &wish.sequence, failure);
        }
        if self.is_closing(wish.room) {
            let failure = messages::failure(proto::Reason::NoSuchRoom, ROOM_ENDED);
            return self.refuse(id, &wish.sequence, failure);
        }
        let Some(index) = self.local_room(wish.room) else {
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
        let encoding = conn.form.index();
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

    /// The index of a local room, made if there is none. Where there are too many, the empty one
    /// that was used longest ago makes way; a show's room is made in any case.
    fn local_room(&mut self, room: RoomId) -> Option<u32> {
        if let Some(index) = self.rooms.by_id.get(&room) {
            return Some(*index);
        }
        if self.rooms.by_id.len() >= ROOMS_MAX {
            match self.rooms.empty_locals().min_by_key(|(_, used_at)| *used_at) {
                Some((oldest, _)) => self.drop_local(oldest),
                None if self.carries_show(room) => {}
                None => return None,
            }
        }
        Some(self.rooms.make_local(room))
    }

    /// Forgets a local room, and tells its home.
    pub(super) fn drop_local(&mut self, room: RoomId) {
        self.rooms.drop_local(room);
        self.unshare_uplink(room);
        let home = self.placement.room_home(room);
        self.post(home, Mail::Unsubscribe { room });
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
        let (index, encoding) = (conn.room, conn.form.index());
        let state = self.rooms.locals[index as usize].state;
        let room = self.rooms.local_mut(index);
        let epoch = room.epoch;
        let heads: Versions = Lane::ALL.map(|lane| room.log(encoding, lane).next_version());
        // A client that was never here, or in another epoch, begins at the head.
        let resume = wish.resume.filter(|position| {
            let known = |(seen, head): (&Option<u64>, &u64)| seen.is_none_or(|seen| seen < *head);
            position.epoch == epoch && position.seen.iter().zip(&heads).all(known)
        });
        let wanted: Versions = std::array::from_fn(|lane| {
            let seen = resume.and_then(|position| position.seen[lane]);
            let log = room.log(encoding, Lane::ALL[lane]);
            seen.map_or(heads[lane], |seen| log.boundary(seen + 1))
        });
        room.enter(id.place, encoding, &wanted);
        conn.cursors = wanted.map(low_bits);
        let user = conn.user;
        let joined = proto::Joined {
            room_id: wish.room.0,
            epoch,
            positions: messages::lane_positions(wanted.map(|next| next - 1)),
            resumed: resume.is_some(),
            info: state.map(|state| messages::room_info(wish.room, state)),
        };
        self.arm_reports();
        self.respond(id, &wish.sequence, proto::response::Payload::Joined(joined));
        self.quiz_joined_room(id, user, wish.room);
        for lane in Lane::ALL {
            // What is gone is named at once: who only comes back is not slow.
            let first = self.rooms.local(index).log(encoding, lane).first_version();
            if wanted[lane.index()] < first {
                self.skip_to(id, lane, wanted[lane.index()], first);
            }
        }
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
        let members = self.rooms.local(*index).members();
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
        index.is_some_and(|index| self.rooms.local(*index).members().count() > 0)
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
        local.room.leave(id.place, conn.form.index(), &conn.cursors);
        local.used_at = self.now;
        let (user, room) = (conn.user, local.id);
        self.arm_reports();
        self.quiz_left_room(id, user, room);
    }

    /// A member puts opaque data into the room.
    pub(crate) fn publish(&mut self, id: ConnId, sequence: String, publish: &proto::Publish) {
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
        self.publish_opaque(id, sequence, &publish.data);
    }

    /// Drops copies without members, and homes without subscribers. The rooms of shows stay.
    pub(crate) fn free_idle_rooms(&mut self) {
        let now = self.now;
        let idle =
            self.rooms.empty_locals().filter(|(_, used_at)| now.since(*used_at) >= LOCAL_IDLE);
        for (room, _) in idle.collect::<Vec<_>>() {
            self.drop_local(room);
        }
        let idle =
            self.rooms.unwanted_homes().filter(|(_, used_at)| now.since(*used_at) >= HOME_IDLE);
        for (room, _) in idle.collect::<Vec<_>>() {
            if !self.carries_show(room) {
                self.rooms.drop_home(room);
            }
        }
    }

    /// True if [`Self::free_idle_rooms`] will have something to do one day.
    pub(crate) fn has_rooms(&self) -> bool {
        !self.rooms.by_id.is_empty() || !self.rooms.homes.is_empty()
    }

    /// At the home: a shard has no members left.
    pub(crate) fn unsubscribe(&mut self, from: ShardId, room: RoomId) {
        if let Some(home) = self.rooms.homes.get_mut(&room) {
            let before = home.room.storage_bytes();
            home.room.unsubscribe(from);
            self.rooms.lanes_bytes -= before - home.room.storage_bytes();
            home.reports[from.index()] = RoomReport::default();
        }
        self.share_uplink(room);
    }

    /// A member's message was published.
    pub(crate) fn published(
        &mut self,
        id: ConnId,
        stamp: proto::RoomStamp,
        is_chat: bool,
        sequence: &str,
    ) {
        use proto::response::Payload;
        let stamp = Some(stamp);
        let payload = if is_chat {
            Payload::ChatPublished(proto::ChatPublished { stamp })
        } else {
            Payload::Published(proto::Published { stamp })
        };
        self.respond(id, sequence, payload);
    }

    /// At the home: a shard wants a room.
    pub(crate) fn subscribe(&mut self, from: ShardId, room: RoomId, encoding: EncodingIndex) {
        let backlog = self.backlog(room, from, encoding).map(Box::new);
        let after = self.rooms.homes.get(&room).and_then(|home| home.after);
        let state = self.room_state(room);
        let has_ended = self.has_ended(room);
        let mail = SubscribedMail { room, encoding, backlog, after, state, has_ended };
        self.post(from, Mail::Subscribed(mail));
        self.share_uplink(room);
    }

    /// The home has answered. Its backlog may tell of a show event that has not come here.
    pub(crate) fn subscribed(&mut self, mail: SubscribedMail) {
        if let Some(index) = self.rooms.by_id.get(&mail.room).copied() {
            self.take_from_home(index, Early::Subscribed(mail));
        }
    }

    /// Whoever waited for the home's answer becomes a member.
    fn begin_copy(&mut self, index: u32, mail: SubscribedMail) {
        let SubscribedMail { encoding, backlog, state, has_ended, .. } = mail;
        let local = &mut self.rooms.locals[index as usize];
        let (waiting, others) = std::mem::take(&mut local.waiting).into_iter().partition(|id| {
            let conn = self.conns.get(*id).filter(|conn| conn.room == index);
            conn.is_some_and(|conn| conn.form.index() == encoding)
        });
        local.waiting = others;
        let waiting: Vec<ConnId> = waiting;
        let Some(backlog) = backlog else {
            local.asked[encoding] = false;
            for id in waiting {
                if has_ended {
                    self.refuse_join(id, proto::Reason::NoSuchRoom, ROOM_ENDED);
                } else {
                    self.refuse_join(id, proto::Reason::RoomFull, "this host has no more rooms");
                }
            }
            return;
        };
        local.state = local.state.or(state);
        let before = local.room.storage_bytes();
        local.room.begin_copy(self.now, encoding, &backlog, self.config.lane_bytes_max);
        self.rooms.lanes_bytes += local.room.storage_bytes() - before;
        for id in waiting {
            self.enter(id);
        }
    }

    /// A room's message has come, once for all its members here.
    pub(crate) fn room_frames(&mut self, mail: RoomFrames) {
        if let Some(index) = self.rooms.by_id.get(&mail.room).copied() {
            self.take_from_home(index, Early::Frames(mail));
        }
    }

    /// What tells of a show event waits for it, and what comes after it in the room waits too.
    fn take_from_home(&mut self, index: u32, mail: Early) {
        let may_pass = self.quiz_has_applied(mail.after());
        let local = &mut self.rooms.locals[index as usize];
        if may_pass && local.early.is_empty() {
            return self.take_in(index, mail);
        }
        self.counters.mail_waited += 1;
        local.early.push_back(mail);
    }

    fn take_in(&mut self, index: u32, mail: Early) {
        match mail {
            Early::Frames(mail) => self.append_frames(index, &mail),
            Early::Subscribed(mail) => self.begin_copy(index, mail),
        }
    }

    /// A show event was applied: messages that tell of it may go out now.
    pub(crate) fn release_room_frames(&mut self) {
        for index in self.rooms.by_id.values().copied().collect::<Vec<_>>() {
            while let Some(mail) = self.rooms.locals[index as usize].early.pop_front() {
                if !self.quiz_has_applied(mail.after()) {
                    self.rooms.locals[index as usize].early.push_front(mail);
                    break;
                }
                self.take_in(index, mail);
            }
        }
    }

    fn append_frames(&mut self, index: u32, mail: &RoomFrames) {
        let (now, may_grow) = (self.now, self.rooms.may_grow(mail.lane));
        let local = &mut self.rooms.locals[index as usize];
        local.state = mail.state.or(local.state);
        local.note_cost(mail);
        let room = &mut local.room;
        let before = room.storage_bytes();
        if room.append(now, mail.lane, mail.span, &mail.frames, may_grow) {
            self.push.sweeping[mail.lane.index()].push_back(index);
        }
        let room = self.rooms.local(index);
        self.rooms.lanes_bytes += room.storage_bytes() - before;
        self.quiz_queued(mail.after, mail.lane, mail.span.first);
    }

    /// A connection missed versions for good: it is told, and goes on with the oldest that is
    /// left. One that is in no room any more (what it was told about another lane may have been
    /// more than it takes) misses nothing.
    pub(crate) fn skip_to(&mut self, id: ConnId, lane: Lane, wanted: u64, oldest: u64) {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.room != NO_ROOM) else {
            return;
        };
        conn.cursors[lane.index()] = low_bits(oldest);
        let (index, user) = (conn.room, conn.user);
        self.counters.gap_versions += oldest - wanted;
        self.rooms.local_mut(index).tallies[lane.index()].skipped += oldest - wanted;
        let gap = proto::Gap {
            room_id: self.rooms.id(index).0,
            epoch: self.rooms.local(index).epoch,
            lane: messages::lane(lane).into(),
            first_missing: wanted,
            last_missing: oldest - 1,
        };
        let (room, state) = (self.rooms.id(index), self.rooms.locals[index as usize].state);
        self.notify(id, proto::notification::Payload::Gap(gap));
        if let Some(state) = state {
            let info = messages::room_info(room, state);
            self.notify(id, proto::notification::Payload::RoomInfo(info));
        }
        match lane {
            Lane::High => self.quiz_missed(id, user, room),
            Lane::Mid => self.quiz_skipped_mid(id, room, wanted..oldest),
            Lane::Low => {}
        }
    }

    pub(super) fn refuse_join(&mut self, id: ConnId, reason: proto::Reason, text: &str) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let wish = conn.entry.take().and_then(|entry| entry.join);
        let sequence = wish.map(|wish| wish.sequence).unwrap_or_default();
        self.leave_room(id);
        self.refuse(id, &sequence, messages::failure(reason, text));
    }

    /// The home's room, made if there is none. Where there are too many, the one that makes way is
    /// that which no shard has wanted for longest; a show's room is made in any case.
    pub(super) fn home_room(&mut self, room: RoomId) -> Option<&mut Home> {
        if !self.rooms.homes.contains_key(&room) {
            if self.has_ended(room) {
                return None;
            }
            if self.rooms.homes.len() >= ROOMS_MAX {
                let unwanted = self.rooms.unwanted_homes();
                let unwanted = unwanted.filter(|(room, _)| !self.carries_show(*room));
                match unwanted.min_by_key(|(_, used_at)| *used_at) {
                    Some((oldest, _)) => self.rooms.drop_home(oldest),
                    None if self.carries_show(room) => {}
                    None => return None,
                }
            }
            // JSON readers keep 53 bits exactly; an epoch is never used twice.
            let epoch = 1 + self.entropy.below((1 << 53) - 1);
            let lane_bytes_max = self.config.lane_bytes_max;
            let home = HomeRoom::new(epoch, self.placement.shard_count(), lane_bytes_max);
            let home = Home {
                room: home,
                after: None,
                queues: TickQueues::default(),
                tick_at: None,
                reports: vec![RoomReport::default(); usize::from(self.placement.shard_count())],
                told: None,
                gift_credit: (u64::MAX, self.now),
                settings: None,
                used_at: self.now,
            };
            self.rooms.homes.insert(room, home);
            // There may be no connection that had it begun.
            self.begin_patrol();
        }
        let home = self.rooms.homes.get_mut(&room)?;
        home.used_at = self.now;
        Some(home)
    }
}
