//! At a room's home: messages get their versions, wait for the room's tick, and go out merged.
//!
//! What tells of the show, and everything else in the high lane, goes at once. Messages of the lanes
//! mid and low wait, in a large room as long as waiting saves bytes; the first one after a silence
//! does not wait. A batch is encoded once per encoding in use and posted once to each shard with
//! members.

use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::{EventNumber, RoomId, ShardId, ShowId};
use crate::base::limits::{BATCH_MESSAGE_BYTES, TICK_MESSAGES_MAX};
use crate::base::time::Time;
use crate::room::home::Backlog;
use crate::room::lane::{EncodingIndex, Lane, Span};
use crate::room::tick::{Merged, Pace, Thinning, TickQueue};
use crate::shard::Shard;
use crate::shard::mail::{Mail, PublishMail, RoomFrames, ServiceMessages};
use crate::shard::messages;
use crate::shard::operator::{OperatorAnswer, OperatorError, Published};
use crate::shard::rooms::Home;
use crate::wire::codec::Encoding;
use crate::wire::proto;
use crate::wire::proto::notification::Payload;

/// Bytes of messages that, with what surrounds them, fill one segment of a network whose packets
/// have 1,500 bytes: what comes beyond begins another one.
const FILL_BYTES: usize = 1_300;

/// What waits, by lane.
#[derive(Default)]
pub(super) struct TickQueues {
    mid: TickQueue<proto::RoomMessage>,
    low: TickQueue<proto::RoomMessage>,
}

impl TickQueues {
    /// The queue of a lane; the high lane has none.
    pub(super) fn of(&mut self, lane: Lane) -> Option<&mut TickQueue<proto::RoomMessage>> {
        match lane {
            Lane::High => None,
            Lane::Mid => Some(&mut self.mid),
            Lane::Low => Some(&mut self.low),
        }
    }

    fn due(&self, now: Time, pace: &Pace) -> Option<Time> {
        [self.mid.due(now, pace), self.low.due(now, pace)].into_iter().flatten().min()
    }
}

impl Home {
    /// The version that the next message in a lane will have.
    fn next_version(&mut self, lane: Lane) -> u64 {
        let waiting = self.queues.of(lane).map_or(0, |queue| queue.versions());
        self.room.next_version(lane) + u64::from(waiting)
    }
}

impl Shard {
    /// A member's message gets its version.
    pub(crate) fn publish_at_home(&mut self, from: ShardId, mail: PublishMail) {
        let message = proto::RoomMessage { user_id: mail.user.0, data: mail.data, kind: 0 };
        let PublishMail { room, lane, conn, sequence, .. } = mail;
        if let Some((epoch, version)) = self.say_in_room(room, lane, message) {
            self.post(from, Mail::Published { conn, room, epoch, lane, version, sequence });
        }
    }

    /// The service says something.
    pub(crate) fn publish_for_service(
        &mut self,
        messages: ServiceMessages,
    ) -> Result<OperatorAnswer, OperatorError> {
        let ServiceMessages { room, lane, kind, messages } = messages;
        let home = self.home_room(room).ok_or(OperatorError::TooManyRooms)?;
        let (epoch, first_version) = (home.room.epoch(), home.next_version(lane));
        for data in messages {
            self.say_in_room(room, lane, proto::RoomMessage { user_id: 0, data, kind });
        }
        let home = self.home_room(room).ok_or(OperatorError::TooManyRooms)?;
        let last_version = home.next_version(lane) - 1;
        Ok(OperatorAnswer::Published(Published { epoch, first_version, last_version }))
    }

    /// Gives a message its version; in the high lane it goes out at once, in the others with the
    /// room's next tick. The room's epoch and the version come back.
    pub(crate) fn say_in_room(
        &mut self,
        room: RoomId,
        lane: Lane,
        message: proto::RoomMessage,
    ) -> Option<(u64, u64)> {
        if lane == Lane::High {
            return self.publish_to_room(room, lane, Payload::RoomMessage(message), None);
        }
        let is_kept = message.kind != 0 && self.config.downlink.kept_kinds.contains(&message.kind);
        let bytes_max = self.config.lane_bytes_max / 4;
        // Base64 is the longest that data becomes.
        let bytes = message.data.len() / 3 * 4 + BATCH_MESSAGE_BYTES;
        let home = self.home_room(room)?;
        let stamp = (home.room.epoch(), home.next_version(lane));
        let queue = home.queues.of(lane)?;
        let is_full = queue.versions() as usize >= TICK_MESSAGES_MAX
            || !queue.is_empty() && queue.bytes() + bytes > bytes_max;
        if is_full && lane == Lane::Low && !is_kept {
            queue.push_thinned();
        } else {
            if is_full {
                self.merge(room, lane);
            }
            let queue = self.home_room(room)?.queues.of(lane)?;
            queue.push(message, bytes, is_kept);
        }
        self.counters.room_messages += 1;
        self.arm_tick(room);
        Some(stamp)
    }

    /// Encodes a notification once per encoding and posts it once per shard. The room's epoch and
    /// the message's version come back.
    ///
    /// # Panics
    /// If messages wait in the lane: only those of the high lane go out at once.
    pub(crate) fn publish_to_room(
        &mut self,
        room: RoomId,
        lane: Lane,
        payload: Payload,
        after: Option<(ShowId, EventNumber)>,
    ) -> Option<(u64, u64)> {
        let home = self.home_room(room)?;
        let (epoch, version) = (home.room.epoch(), home.next_version(lane));
        assert_eq!(version, home.room.next_version(lane), "messages wait in {lane:?}");
        self.counters.room_messages += 1;
        self.send_to_room(room, lane, Span::one(version), payload, after)?;
        Some((epoch, version))
    }

    /// When the next room's tick is due.
    pub(crate) fn tick_deadline(&self) -> Option<Time> {
        self.rooms.ticks.first().map(|(due, _)| *due)
    }

    /// Lets the rooms tick whose time has come.
    pub(crate) fn tick_rooms(&mut self) {
        while let Some((_, room)) =
            self.rooms.ticks.first().copied().filter(|(due, _)| *due <= self.now)
        {
            self.rooms.ticks.pop_first();
            if let Some(home) = self.rooms.homes.get_mut(&room) {
                home.tick_at = None;
            }
            self.merge(room, Lane::Mid);
            self.merge(room, Lane::Low);
            self.arm_tick(room);
        }
    }

    /// At the home: what a shard needs to begin a copy.
    pub(super) fn backlog(
        &mut self,
        room: RoomId,
        shard: ShardId,
        encoding: EncodingIndex,
    ) -> Option<Backlog> {
        let now = self.now;
        let home = self.home_room(room)?;
        let before = home.room.storage_bytes();
        home.room.keep(now, encoding, |frame| messages::transcode(frame, encoding));
        let backlog = home.room.subscribe(shard, encoding);
        let grown = home.room.storage_bytes() - before;
        self.rooms.lanes_bytes += grown;
        Some(backlog)
    }

    /// Sees to it that a room ticks when it has to.
    fn arm_tick(&mut self, room: RoomId) {
        let now = self.now;
        let Some(home) = self.rooms.homes.get_mut(&room) else {
            return;
        };
        let settings = &self.config.downlink;
        let millis = |millis: u32| Duration::from_millis(millis.into());
        let is_patient = home.room.subscribers().count() > 0;
        let tick_max = if is_patient { settings.tick_max_ms } else { settings.tick_ms };
        let tick = millis(settings.tick_ms);
        let pace = Pace { tick, tick_max: millis(tick_max).max(tick), fill_bytes: FILL_BYTES };
        let due = home.queues.due(now, &pace);
        if due != home.tick_at {
            if let Some(was) = std::mem::replace(&mut home.tick_at, due) {
                self.rooms.ticks.remove(&(was, room));
            }
            self.rooms.ticks.extend(due.map(|due| (due, room)));
        }
    }

    /// Sends out what waits in a lane, as one frame.
    fn merge(&mut self, room: RoomId, lane: Lane) {
        let rate_max = if lane == Lane::Low { self.config.downlink.low_rate_max } else { 0 };
        let thinning = Thinning { rate_max, ..Thinning::NONE };
        let now = self.now;
        let Some(home) = self.rooms.homes.get_mut(&room) else {
            return;
        };
        let first = home.room.next_version(lane);
        let Some(merged) = home.queues.of(lane).and_then(|queue| queue.take(now, thinning)) else {
            return;
        };
        let Merged { versions, mut messages, thinned } = merged;
        let carried = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let span = Span { first, versions, carried };
        self.counters.room_versions_thinned += u64::from(versions - carried);
        let payload = match messages.pop() {
            Some(only) if versions == 1 => Payload::RoomMessage(only),
            last => {
                messages.extend(last);
                let thinned = Bytes::from(thinned);
                Payload::RoomBatch(proto::RoomBatch { messages, thinned, info: None })
            }
        };
        self.send_to_room(room, lane, span, payload, None);
    }

    fn send_to_room(
        &mut self,
        room: RoomId,
        lane: Lane,
        span: Span,
        payload: Payload,
        after: Option<(ShowId, EventNumber)>,
    ) -> Option<()> {
        let server_time_ms = self.clock.unix_ms(self.now);
        let (now, may_grow) = (self.now, self.rooms.may_grow(lane));
        let Home { room: home, after: told, .. } = self.rooms.homes.get_mut(&room)?;
        let epoch = home.epoch();
        let stamp = messages::stamp(room, epoch, lane, span.first);
        let frame = messages::notification(server_time_ms, Some(stamp), payload);
        let kept = home.kept();
        let frames = std::array::from_fn(|encoding| {
            kept[encoding].then(|| messages::room_frame(Encoding::ALL[encoding], &frame))
        });
        let before = home.storage_bytes();
        home.append(now, lane, span, &frames, may_grow);
        *told = after.or(*told);
        self.rooms.lanes_bytes += home.storage_bytes() - before;
        let subscribers: Vec<_> = home.subscribers().collect();
        for (shard, wanted) in subscribers {
            let wanted = std::array::from_fn(|encoding| {
                frames[encoding].clone().filter(|_| wanted[encoding])
            });
            let mail = RoomFrames { room, epoch, lane, span, after, frames: wanted };
            self.post(shard, Mail::RoomFrames(Box::new(mail)));
        }
        Some(())
    }
}
