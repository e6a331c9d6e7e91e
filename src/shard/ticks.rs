//! At a room's home: messages get their versions, wait for the room's tick, and go out merged.
//!
//! What tells of the show, and everything else in the high lane, goes at once. Messages of the lanes
//! mid and low wait, in a large room as long as waiting saves bytes; the first one after a silence
//! does not wait. A batch is encoded once per encoding in use and posted once to each shard with
//! members.

use std::time::Duration;

use bytes::Bytes;

use crate::base::bugs::{Bug, active};
use crate::base::ids::{EventNumber, RoomId, ShardId, ShowId};
use crate::base::limits::{
    BATCH_MESSAGE_BYTES, SERVICE_MESSAGES_MAX, TICK_MESSAGES_MAX, TICK_VERSIONS_MAX,
};
use crate::base::time::Time;
use crate::room::home::Backlog;
use crate::room::lane::{EncodingIndex, Lane, Span};
use crate::room::tick::{Merged, Pace, Thinning, TickQueue};
use crate::shard::Shard;
use crate::shard::config::Downlink;
use crate::shard::mail::{
    ChatMail, Mail, PublishMail, RoomFrames, RoomState, ServiceMessages, Utterance,
};
use crate::shard::messages;
use crate::shard::operator::{OperatorAnswer, OperatorError, Published};
use crate::shard::rooms::Home;
use crate::wire::codec::Form;
use crate::wire::proto;
use crate::wire::proto::notification::Payload;

/// Bytes of messages that, with what surrounds them, fill one segment of a network whose packets
/// have 1,500 bytes: what comes beyond begins another one.
const FILL_BYTES: usize = 1_390;
/// The same where all members get them compressed: chat leaves a half to two thirds.
const FILL_BYTES_DEFLATED: usize = 2 * FILL_BYTES;
/// Bytes that a message takes in a batch beside its data.
const MESSAGE_BYTES: usize = 12;

/// What clients are told to spread their return over, at least and at most.
const RECONNECT_SPREAD_MIN_MS: u32 = 500;
const RECONNECT_SPREAD_MAX_MS: u32 = 60_000;

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

/// What a frame tells of.
struct Told {
    /// How the room is.
    state: Option<RoomState>,
    /// The show event.
    after: Option<(ShowId, EventNumber)>,
}

impl Downlink {
    /// How long messages wait; `is_patient` where waiting longer is worth it.
    fn pace(&self, is_patient: bool, fill_bytes: usize) -> Pace {
        let tick_max_ms = if is_patient { self.tick_max_ms } else { self.tick_ms };
        let tick = Duration::from_millis(self.tick_ms.into());
        let tick_max = Duration::from_millis(tick_max_ms.into()).max(tick);
        Pace { tick, tick_max, fill_bytes }
    }
}

impl Home {
    /// The version that the next message in a lane will have.
    fn next_version(&mut self, lane: Lane) -> u64 {
        let waiting = self.queues.of(lane).map_or(0, |queue| queue.versions());
        self.room.next_version(lane) + u64::from(waiting)
    }

    /// Lets messages of the service into the high lane at a rate, so that questions and keys find
    /// the line and the lane's history free.
    fn admit_gifts(&mut self, now: Time, count: u64, rate: u64) -> Result<(), OperatorError> {
        let (credit, since) = self.gift_credit;
        let elapsed_ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        let burst = rate.max(SERVICE_MESSAGES_MAX as u64) * 1_000;
        let credit = credit.saturating_add(rate.saturating_mul(elapsed_ms)).min(burst);
        // What is less than a millisecond counts with the next call.
        self.gift_credit = (credit, since + Duration::from_millis(elapsed_ms));
        let wanted = count * 1_000;
        if wanted > credit {
            let retry_after_ms = (wanted - credit).div_ceil(rate);
            return Err(OperatorError::TooFast { retry_after_ms });
        }
        self.gift_credit.0 -= wanted;
        Ok(())
    }

    /// Bytes of messages from which on waiting for more saves nothing.
    fn fill_bytes(&self) -> usize {
        let mut wanted = self
            .room
            .subscribers()
            .flat_map(|(_, wanted)| Form::ALL.into_iter().filter(move |form| wanted[form.index()]));
        if wanted.all(|form| form.is_deflated) { FILL_BYTES_DEFLATED } else { FILL_BYTES }
    }

    /// Members on all shards.
    pub(super) fn online(&self) -> u64 {
        self.reports.iter().map(|report| u64::from(report.members)).sum()
    }

    /// How many of a thousand messages of the low lane every shard has room for.
    fn share_permille(&self) -> u16 {
        let with_members = self.reports.iter().filter(|report| report.members > 0);
        with_members.map(|report| report.share_permille).min().unwrap_or(1_000)
    }

    fn state(&self, settings: &Downlink) -> RoomState {
        let online = self.online();
        let share = u64::from(self.share_permille());
        let carried = match self.low_rate_max(settings) {
            0 => u64::MAX / 1_000_000,
            rate => u64::from(rate),
        };
        // Messages per minute that there is room for, of those that are to be expected.
        let expected = online.saturating_mul(settings.chat_per_minute.into()).max(1);
        let permille = (carried * 60 * share / expected).clamp(1, 1_000);
        let spread_ms = online.saturating_mul(1_000) / u64::from(settings.reconnects_per_s.max(1));
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        RoomState {
            online,
            chat_permille: small(permille),
            reconnect_spread_ms: small(spread_ms)
                .clamp(RECONNECT_SPREAD_MIN_MS, RECONNECT_SPREAD_MAX_MS),
        }
    }

    /// Messages per second that go out in the low lane, 0: any number.
    fn low_rate_max(&self, settings: &Downlink) -> u32 {
        let own = self.settings.as_ref().and_then(|own| own.low_per_second);
        own.unwrap_or(settings.low_rate_max)
    }

    /// When members are to be told how the room is, if that has changed.
    fn info_due(&self, now: Time, pace: &Pace, settings: &Downlink) -> Option<Time> {
        let interval = Duration::from_millis(settings.info_interval_ms.into());
        let is_same = self.told.map(|(told, _)| told) == Some(self.state(settings));
        if interval.is_zero() || self.online() == 0 || is_same {
            return None;
        }
        let due = self.told.map_or(now, |(_, at)| at + interval);
        Some(due.max(self.queues.low.not_before(pace)).max(now))
    }
}

impl Shard {
    /// A member's message gets its version.
    pub(crate) fn publish_at_home(&mut self, from: ShardId, mail: PublishMail) {
        let PublishMail { room, lane, user, said, conn, sequence } = mail;
        let is_chat = matches!(said, Utterance::Chat(_));
        let mut message = proto::RoomMessage { user_id: user.0, ..Default::default() };
        match said {
            Utterance::Opaque(data) => message.data = data,
            Utterance::Chat(text) => message.text = text,
        }
        let mail = match self.say_in_room(room, lane, message) {
            Some((epoch, version)) => {
                let version = version + u64::from(is_chat && active(Bug::ChatMisstamped));
                Mail::Published { conn, room, epoch, lane, version, is_chat, sequence }
            }
            None => {
                let has_ended = self.has_ended(room);
                Mail::Chat(ChatMail::Discarded { conn, has_ended, sequence })
            }
        };
        self.post(from, mail);
    }

    /// The service says something.
    pub(crate) fn publish_for_service(
        &mut self,
        messages: ServiceMessages,
    ) -> Result<OperatorAnswer, OperatorError> {
        let ServiceMessages { room, lane, kind, messages } = messages;
        let (now, rate) = (self.now, u64::from(self.config.downlink.gift_rate_max));
        let bytes_max = self.config.downlink.gift_bytes_max;
        if self.has_ended(room) {
            return Err(OperatorError::RoomEnded(room));
        }
        let home = self.home_room(room).ok_or(OperatorError::TooManyRooms)?;
        if lane == Lane::High && rate > 0 {
            if messages.iter().any(|data| data.len() > bytes_max) {
                return Err(OperatorError::TooLong { bytes_max });
            }
            home.admit_gifts(now, messages.len() as u64, rate)?;
        }
        let (epoch, first_version) = (home.room.epoch(), home.next_version(lane));
        for data in messages {
            let message = proto::RoomMessage { data, kind, ..Default::default() };
            self.say_in_room(room, lane, message);
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
        // Likes are merged already.
        let is_kept = message.likes.is_some() || self.keeps_kind(room, message.kind);
        let bytes_max = self.config.lane_bytes_max / 4;
        let bytes = message.data.len() + message.text.len() + MESSAGE_BYTES;
        let home = self.home_room(room)?;
        let stamp = (home.room.epoch(), home.next_version(lane));
        let queue = home.queues.of(lane)?;
        // Base64 is the longest that data becomes.
        let written =
            (queue.bytes() + bytes) / 3 * 4 + (queue.versions() as usize + 1) * BATCH_MESSAGE_BYTES;
        let is_full = queue.versions() as usize >= TICK_MESSAGES_MAX
            || !queue.is_empty() && written > bytes_max;
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
        // A bit of the batch for each version.
        let versions_max = TICK_VERSIONS_MAX.min(self.config.lane_bytes_max);
        if self.home_room(room)?.queues.of(lane)?.versions() as usize >= versions_max {
            self.merge(room, lane);
        }
        self.arm_tick(room);
        Some(stamp)
    }

    /// Encodes a notification once per encoding and posts it once per shard, behind what waits in its
    /// lane for a tick. The room's epoch and the message's version come back.
    ///
    /// # Panics
    /// If messages wait in the lane after they were sent out.
    pub(crate) fn publish_to_room(
        &mut self,
        room: RoomId,
        lane: Lane,
        payload: Payload,
        after: Option<(ShowId, EventNumber)>,
    ) -> Option<(u64, u64)> {
        self.merge(room, lane);
        let home = self.home_room(room)?;
        let (epoch, version) = (home.room.epoch(), home.next_version(lane));
        assert_eq!(version, home.room.next_version(lane), "messages wait in {lane:?}");
        self.counters.room_messages += 1;
        self.send_to_room(room, lane, Span::one(version), payload, Told { state: None, after })?;
        Some((epoch, version))
    }

    /// At the home: how many are in a room, on all shards.
    pub(crate) fn room_online(&self, room: RoomId) -> u64 {
        self.rooms.homes.get(&room).map_or(0, |home| home.online())
    }

    /// At the home: whether the high lane takes a gift now; if so it is counted.
    pub(crate) fn admits_gift(&mut self, room: RoomId) -> bool {
        let (now, rate) = (self.now, u64::from(self.config.downlink.gift_rate_max));
        let home = self.home_room(room);
        home.is_some_and(|home| rate == 0 || home.admit_gifts(now, 1, rate).is_ok())
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

    /// At the home: how a room is, if clients are told that.
    pub(super) fn room_state(&self, room: RoomId) -> Option<RoomState> {
        let settings = &self.config.downlink;
        let home = self.rooms.homes.get(&room).filter(|_| settings.info_interval_ms > 0);
        home.map(|home| home.state(settings))
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
    pub(super) fn arm_tick(&mut self, room: RoomId) {
        let now = self.now;
        let Some(home) = self.rooms.homes.get_mut(&room) else {
            return;
        };
        let settings = &self.config.downlink;
        // Where messages are left out anyhow, they are not to be sent one by one.
        let is_patient =
            home.online() >= u64::from(settings.large_members) || home.share_permille() < 1_000;
        let pace = settings.pace(is_patient, home.fill_bytes());
        let info_due = home.info_due(now, &pace, settings);
        let due = [home.queues.due(now, &pace), info_due].into_iter().flatten().min();
        if due != home.tick_at {
            if let Some(was) = std::mem::replace(&mut home.tick_at, due) {
                self.rooms.ticks.remove(&(was, room));
            }
            self.rooms.ticks.extend(due.map(|due| (due, room)));
        }
    }

    /// Sends out what waits in a lane, as one frame.
    fn merge(&mut self, room: RoomId, lane: Lane) {
        let now = self.now;
        let settings = &self.config.downlink;
        let Some(home) = self.rooms.homes.get_mut(&room) else {
            return;
        };
        let (mut thinning, mut state) = (Thinning::NONE, None);
        if lane == Lane::Low {
            thinning = Thinning {
                share_permille: home.share_permille(),
                rate_max: home.low_rate_max(settings),
            };
            let is_due =
                home.info_due(now, &settings.pace(false, FILL_BYTES), settings) == Some(now);
            state = is_due.then(|| home.state(settings));
        }
        let first = home.room.next_version(lane);
        let queue = home.queues.of(lane);
        let Some(merged) = queue.and_then(|queue| queue.take(now, thinning, state.is_some()))
        else {
            return;
        };
        if let Some(state) = state {
            home.told = Some((state, now));
        }
        let info = state.map(|state| messages::room_info(room, state));
        let Merged { mut versions, mut messages, thinned } = merged;
        let mut carried = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        if info.is_some() {
            versions += 1;
            carried += 1;
        }
        let span = Span { first, versions, carried };
        self.counters.room_versions_thinned += u64::from(versions - carried);
        let payload = match messages.pop() {
            Some(only) if versions == 1 && info.is_none() => Payload::RoomMessage(only),
            last => {
                messages.extend(last);
                let thinned = Bytes::from(thinned);
                Payload::RoomBatch(proto::RoomBatch { messages, thinned, info })
            }
        };
        self.send_to_room(room, lane, span, payload, Told { state, after: None });
    }

    fn send_to_room(
        &mut self,
        room: RoomId,
        lane: Lane,
        span: Span,
        payload: Payload,
        tells: Told,
    ) -> Option<()> {
        let Told { state, after } = tells;
        let server_time_ms = self.clock.unix_ms(self.now);
        let (now, may_grow) = (self.now, self.rooms.may_grow(lane));
        let Home { room: home, after: told, .. } = self.rooms.homes.get_mut(&room)?;
        let epoch = home.epoch();
        let stamp = messages::stamp(room, epoch, lane, span.first);
        let frame = messages::notification(server_time_ms, Some(stamp), payload);
        let kept = home.kept();
        let frames = messages::room_frames(kept, &frame, &mut self.codecs);
        let before = home.storage_bytes();
        home.append(now, lane, span, &frames, may_grow);
        *told = after.or(*told);
        self.rooms.lanes_bytes += home.storage_bytes() - before;
        let subscribers: Vec<_> = home.subscribers().collect();
        for (shard, wanted) in subscribers {
            let wanted = std::array::from_fn(|encoding| {
                frames[encoding].clone().filter(|_| wanted[encoding])
            });
            let mail = RoomFrames { room, epoch, lane, span, state, after, frames: wanted };
            self.post(shard, Mail::RoomFrames(Box::new(mail)));
        }
        Some(())
    }
}
