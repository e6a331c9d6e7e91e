//! What is sent next: replies, then what was begun, then lanes in order of priority.
//!
//! The pump pulls: it asks for a batch of sends, submits it, and returns what became of each.
//! Within a batch a connection occurs once. For one connection the order is: spill, replies,
//! high, mid, low; a frame that was begun is finished first, from the spill. Among connections
//! those who wait for something in the high lane go first; rooms take turns, batch by batch.

use std::collections::VecDeque;
use std::ops::Range;

use crate::base::bugs::{self, Bug};
use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::room::lane::Lane;
use crate::room::log::{Read, Whole, low_bits};
use crate::shard::Shard;
use crate::shard::conn::{Conn, Flags, NO_ROOM, Spill};
use crate::shard::counters::answer_time_place;
use crate::shard::egress::Class;
use crate::shard::input::{Effect, SendResult};
use crate::shard::session::State;
use crate::wire::close::CloseReason;

/// Bytes of one send from a lane: what a socket's send buffer is sure to have room for twice.
const LANE_SEND_BYTES_MAX: usize = 32 * 1024;
/// Members that sweeps look at for one batch, whether they are behind or not: some 200 µs if none
/// is, so that answers are still read.
const VISITS_MAX: usize = 4_096;

/// One send that the pump is to submit; [`Shard::bytes_of`] has the bytes.
#[derive(Clone, Debug)]
pub struct SendPlan {
    /// To whom.
    pub conn: ConnId,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Outbox(Range<usize>),
    Spill,
    Lane(LaneSend),
}

/// Whole frames of one lane, contiguous in its log.
#[derive(Clone, Debug)]
struct LaneSend {
    lane: Lane,
    room: u32,
    version: u64,
    next_version: u64,
    /// Where the bytes stand in the log's storage.
    place: usize,
    length: usize,
    /// Messages that they carry.
    carried: u64,
    /// Nobody else looks whether the connection needs more: it was not a sweep that came by, or the
    /// log has more than this send could carry.
    look_again: bool,
}

/// Who waits to be served.
#[derive(Default)]
pub(crate) struct Push {
    plans: Vec<SendPlan>,
    /// Connections whose spill can be sent.
    flushing: VecDeque<ConnId>,
    /// Connections that are served from their cursors outside a sweep.
    catching_up: VecDeque<ConnId>,
    /// Those of them that have everything in the high lane.
    lagging: VecDeque<ConnId>,
    /// Local rooms with an active sweep, per lane.
    pub(crate) sweeping: [VecDeque<u32>; 3],
    /// Connections to be tried again because the kernel had no memory.
    starved: VecDeque<(Time, ConnId)>,
    /// Arrival stamps of answers whose replies are in the outbox.
    answered: Vec<Time>,
}

impl Push {
    /// The reply to an answer that arrived then is about to be sent.
    pub(crate) fn note_answered(&mut self, arrived: Time) {
        self.answered.push(arrived);
    }
}

impl Push {
    /// True if somebody waits for something in the lanes mid and low only.
    pub(crate) fn has_patient(&self) -> bool {
        let [_, mid, low] = &self.sweeping;
        !self.lagging.is_empty() || !mid.is_empty() || !low.is_empty()
    }
}

/// How long a send waits that failed for want of kernel memory.
const STARVED_RETRY_MS: u64 = 50;

impl Shard {
    /// Plans at most `max` sends; [`Self::plans`] has them. None: nothing is due, or
    /// [`Self::has_sends_due`] says that it was only a long way to the next one.
    pub fn plan_sends(&mut self, max: usize) -> usize {
        assert!(self.push.plans.is_empty(), "the last batch's results are still to come");
        while self.push.plans.len() < max {
            let Some((conn, range)) = self.outbox.plan() else {
                break;
            };
            self.push.plans.push(SendPlan { conn, source: Source::Outbox(range) });
        }
        if self.push.plans.is_empty() {
            self.plan_flushes(max);
        }
        if self.push.plans.is_empty() {
            self.plan_catch_ups(max);
        }
        let mut visits = VISITS_MAX;
        let is_open = !self.push.has_patient() || self.egress.is_open(self.now);
        for lane in Lane::ALL {
            if lane != Lane::High && !is_open {
                break;
            }
            // Planning from cursors may have made replies (a gap): those go first.
            if self.push.plans.is_empty() && self.outbox.is_empty() {
                self.plan_sweeps(lane, max, &mut visits);
            }
            if lane == Lane::High && self.push.plans.is_empty() && is_open {
                self.plan_lagging(max);
            }
        }
        if self.push.plans.is_empty() && !self.outbox.is_empty() {
            return self.plan_sends(max);
        }
        self.push.plans.len()
    }

    /// True if somebody waits to be looked at for a send.
    #[must_use]
    pub fn has_sends_due(&self) -> bool {
        let Push { flushing, catching_up, sweeping, .. } = &self.push;
        !self.outbox.is_empty()
            || !flushing.is_empty()
            || !catching_up.is_empty()
            || !sweeping[Lane::High.index()].is_empty()
            || self.push.has_patient() && !self.egress.is_waiting()
    }

    /// The sends planned last.
    #[must_use]
    pub fn plans(&self) -> &[SendPlan] {
        &self.push.plans
    }

    /// The bytes of a planned send.
    #[must_use]
    pub fn bytes_of(&self, plan: &SendPlan) -> &[u8] {
        match &plan.source {
            Source::Outbox(range) => self.outbox.bytes(range),
            Source::Spill => {
                let conn = self.conns.get(plan.conn);
                conn.and_then(|conn| conn.spill.as_ref()).map_or(&[], |spill| spill.unsent())
            }
            Source::Lane(send) => {
                let encoding = self.conns.get(plan.conn).map_or(0, |conn| conn.form.index());
                let log = self.rooms.local(send.room).log(encoding, send.lane);
                log.bytes_at(send.place, send.length)
            }
        }
    }

    /// What became of the planned sends, in their order.
    ///
    /// # Panics
    /// If there are not as many results as plans.
    pub fn sends_done(&mut self, now: Time, results: &[SendResult]) {
        self.now = now;
        let mut plans = std::mem::take(&mut self.push.plans);
        assert_eq!(plans.len(), results.len(), "each planned send has its result");
        for (plan, result) in plans.drain(..).zip(results) {
            let class = match &plan.source {
                Source::Lane(send) => Class::Lane(send.lane),
                Source::Outbox(_) | Source::Spill => Class::Reply,
            };
            if let SendResult::Sent(sent @ 1..) = *result {
                self.egress.note(now, class, sent);
            }
            match plan.source {
                Source::Outbox(range) => self.reply_done(plan.conn, &range, *result),
                Source::Spill => self.spill_done(plan.conn, *result),
                Source::Lane(send) => self.lane_done(plan.conn, &send, *result),
            }
        }
        self.push.plans = plans;
        if self.outbox.is_empty() {
            // All replies are on their way, those of answers among them.
            for arrived in self.push.answered.drain(..) {
                self.counters.answer_times[answer_time_place(now.since(arrived))] += 1;
            }
        }
        self.outbox.recycle();
    }

    /// Queues a finished frame for a connection, behind what already waits for it.
    pub(crate) fn reply(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        // Nothing follows a close frame.
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.state != State::Closing) else {
            return;
        };
        self.counters.replies += 1;
        if !conn.flags.has(Flags::REPLYING)
            && conn.spill.is_none()
            && !conn.flags.has(Flags::BLOCKED)
        {
            conn.flags.set(Flags::REPLYING);
            self.outbox.push(id, write);
            return;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        if conn.spill.is_none()
            && conn.flags.has(Flags::REPLYING)
            && self.outbox.extend_last(id, &bytes)
        {
            return;
        }
        let spill = conn.spill.get_or_insert_default();
        self.counters.spilled_bytes += bytes.len() as u64;
        spill.append(&bytes);
        let is_full = spill.own_bytes() > self.config.spill_bytes_max;
        if is_full && !conn.flags.has(Flags::CLOSE_WHEN_SENT) {
            // The spill may begin in the middle of a frame: the close frame goes behind it, or the
            // patrol ends the connection without one.
            conn.flags.set(Flags::CLOSE_WHEN_SENT);
            self.fail(id, CloseReason::TooSlow, CloseReason::TooSlow.meaning());
        }
    }

    /// Serves a connection from its cursors, outside of any sweep.
    pub(crate) fn catch_up(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.flags.has(Flags::CATCHING_UP)
        {
            conn.flags.set(Flags::CATCHING_UP);
            self.push.catching_up.push_back(id);
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.flags.clear(Flags::BLOCKED);
        if conn.spill.is_some() {
            self.flush(id);
        } else {
            self.catch_up(id);
        }
    }

    /// Tries those again for whom the kernel had no memory.
    pub(crate) fn retry_starved(&mut self) {
        while let Some((due, id)) = self.push.starved.front().copied() {
            if due > self.now {
                break;
            }
            self.push.starved.pop_front();
            if let Some(conn) = self.conns.get_mut(id) {
                conn.flags.clear(Flags::STARVED);
            }
            self.unblock(id);
        }
    }

    /// When [`Self::retry_starved`] has something to do.
    pub(crate) fn starved_deadline(&self) -> Option<Time> {
        self.push.starved.front().map(|(due, _)| *due)
    }

    /// True if a connection has something to get and nobody will ever look at it again: neither
    /// its socket, nor a list, nor a sweep. Always false; for the simulator to check.
    #[must_use]
    pub fn is_left_behind(&self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(id) else {
            return false;
        };
        let waits = [Flags::BLOCKED, Flags::REPLYING, Flags::CATCHING_UP, Flags::FLUSHING];
        if waits.into_iter().any(|flag| conn.flags.has(flag)) {
            return false;
        }
        conn.spill.is_some() || self.is_behind(id)
    }

    /// What members are still owed, per lane: versions times members. Looks at every member; for the
    /// simulator to compare with the tallies.
    #[must_use]
    pub fn owed(&self) -> [u64; 3] {
        let mut owed = [0; 3];
        for place in 0..self.conns.places_end() {
            let conn = self.conns.at(place).map(|(_, conn)| conn);
            let Some(conn) = conn.filter(|conn| conn.state == State::InRoom) else {
                continue;
            };
            for lane in Lane::ALL {
                let log = self.rooms.local(conn.room).log(conn.form.index(), lane);
                let wanted = log.widen(conn.cursors[lane.index()]);
                owed[lane.index()] += log.next_version() - wanted;
            }
        }
        owed
    }

    /// True if nothing that was made for a connection alone waits to be sent to it.
    #[must_use]
    pub fn has_sent_replies(&self, id: ConnId) -> bool {
        let waits = |conn: &Conn| conn.flags.has(Flags::REPLYING) || conn.spill.is_some();
        !self.conns.get(id).is_some_and(waits)
    }

    fn flush(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.flags.has(Flags::FLUSHING)
        {
            conn.flags.set(Flags::FLUSHING);
            self.push.flushing.push_back(id);
        }
    }

    fn plan_flushes(&mut self, max: usize) {
        while self.push.plans.len() < max {
            let Some(id) = self.push.flushing.pop_front() else {
                return;
            };
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.flags.clear(Flags::FLUSHING);
            if conn.spill.is_some() && !conn.flags.has(Flags::BLOCKED) {
                self.push.plans.push(SendPlan { conn: id, source: Source::Spill });
            }
        }
    }

    /// Those who miss something in the high lane; who does not goes to the lagging.
    fn plan_catch_ups(&mut self, max: usize) {
        // Those that are planned return to the list when their result comes; each is looked at
        // once in this batch.
        for _ in 0..self.push.catching_up.len() {
            if self.push.plans.len() == max {
                return;
            }
            let Some(id) = self.push.catching_up.pop_front() else {
                return;
            };
            if self.conns.get(id).is_none() {
                continue;
            }
            match self.plan_lane(id.place, Lane::High, true) {
                Some(plan) => {
                    self.arrive(id);
                    self.push.plans.push(plan);
                }
                None => self.push.lagging.push_back(id),
            }
        }
    }

    fn plan_lagging(&mut self, max: usize) {
        for _ in 0..self.push.lagging.len() {
            if self.push.plans.len() == max {
                return;
            }
            let Some(id) = self.push.lagging.pop_front() else {
                return;
            };
            if self.conns.get(id).is_some() {
                self.arrive(id);
                let mut lanes = Lane::ALL.into_iter();
                let plan = lanes.find_map(|lane| self.plan_lane(id.place, lane, true));
                self.push.plans.extend(plan);
            }
        }
    }

    /// A connection leaves the lists of those who catch up.
    fn arrive(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.flags.clear(Flags::CATCHING_UP);
        }
    }

    /// Lets the rooms' sweeps go on, each room's at most once: another one might serve a member of
    /// this batch a second time.
    fn plan_sweeps(&mut self, lane: Lane, max: usize, visits: &mut usize) {
        for _ in 0..self.push.sweeping[lane.index()].len() {
            let Some(room) = self.push.sweeping[lane.index()].pop_front() else {
                return;
            };
            let came_round = self.sweep_on(room, lane, max, visits);
            if !came_round || self.rooms.local_mut(room).sweep_again(lane) {
                self.push.sweeping[lane.index()].push_back(room);
            }
            if !came_round {
                return;
            }
        }
    }

    /// Goes on with a room's sweep; true if it came round.
    fn sweep_on(&mut self, room: u32, lane: Lane, max: usize, visits: &mut usize) -> bool {
        while self.push.plans.len() < max && *visits > 0 {
            let Some(place) = self.rooms.local_mut(room).next_in_sweep(lane) else {
                return true;
            };
            *visits -= 1;
            let plan = self.plan_lane(place, lane, false);
            self.push.plans.extend(plan);
        }
        false
    }

    /// A send from one lane to the connection at `place`, if it is behind and can be served;
    /// `alone` if this is no sweep.
    fn plan_lane(&mut self, place: u32, lane: Lane, alone: bool) -> Option<SendPlan> {
        let (id, conn) = self.conns.at(place)?;
        // A reply that was made while this batch is planned (a gap) goes before what follows it.
        let waits = conn.flags.has(Flags::BLOCKED)
            || conn.flags.has(Flags::REPLYING)
            || conn.spill.is_some();
        if waits || conn.state != State::InRoom || conn.room == NO_ROOM {
            return None;
        }
        let room = conn.room;
        let log = self.rooms.local(room).log(conn.form.index(), lane);
        let version = log.widen(conn.cursors[lane.index()]);
        match log.read(version, LANE_SEND_BYTES_MAX) {
            Read::UpToDate => None,
            Read::Frames { place, length, next_version, carried } => {
                let look_again = alone || next_version < log.next_version();
                let send = LaneSend {
                    lane,
                    room,
                    version,
                    next_version,
                    place,
                    length,
                    carried,
                    look_again,
                };
                Some(SendPlan { conn: id, source: Source::Lane(send) })
            }
            Read::Lapped { .. } if self.closes_lapped(id, lane) => None,
            Read::Lapped { oldest_version } => {
                self.skip_to(id, lane, version, oldest_version);
                self.catch_up(id);
                None
            }
        }
    }

    fn reply_done(&mut self, id: ConnId, range: &Range<usize>, result: SendResult) {
        let length = range.len();
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.flags.clear(Flags::REPLYING);
        let sent = sent_bytes(result, length);
        if sent < length {
            let rest = self.outbox.bytes(&(range.start + sent..range.end));
            self.counters.spilled_bytes += rest.len() as u64;
            conn.spill.get_or_insert_default().prepend(rest);
        }
        self.after_send(id, result, sent == length);
        if sent == length && self.is_behind(id) {
            self.catch_up(id);
        }
    }

    fn spill_done(&mut self, id: ConnId, result: SendResult) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(spill) = &mut conn.spill else {
            return;
        };
        let length = spill.unsent().len();
        let sent = sent_bytes(result, length);
        spill.advance(sent);
        if sent == length {
            conn.spill = None;
            self.skip_stale(id);
            // Sweeps passed it by while its spill was in the way, running ones too.
            self.catch_up(id);
        }
        self.after_send(id, result, sent == length);
    }

    fn lane_done(&mut self, id: ConnId, send: &LaneSend, result: SendResult) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let sent = sent_bytes(result, send.length);
        let room = self.rooms.local_mut(send.room);
        let log = room.log(conn.form.index(), send.lane);
        let (next_version, carried) = if sent == send.length {
            (send.next_version, send.carried)
        } else {
            let Whole { mut next_version, bytes, mut carried } =
                log.whole_frames(send.version, sent);
            if bytes < sent {
                // What was begun is finished first: the rest of that frame precedes everything.
                let (span, frame) = log.frame(next_version);
                let begun = &frame[sent - bytes..];
                self.counters.spilled_bytes += begun.len() as u64;
                conn.spill = Some(Box::new(Spill::of_frame(begun)));
                next_version = span.next();
                carried += u64::from(span.carried);
            }
            if bugs::active(Bug::HoleInLane) && next_version < send.next_version {
                let (span, _) = log.frame(next_version);
                next_version = span.next();
            }
            (next_version, carried)
        };
        conn.cursors[send.lane.index()] = low_bits(next_version);
        let tally = &mut room.tallies[send.lane.index()];
        tally.delivered += carried;
        if !bugs::active(Bug::LoseCount) {
            tally.thinned += next_version - send.version - carried;
        }
        if send.lane == Lane::High {
            self.quiz.coverage.note(self.now, send.room, send.version, next_version);
        }
        self.counters.room_sends += u64::from(sent > 0);
        if send.look_again && sent == send.length {
            self.catch_up(id);
        }
        self.after_send(id, result, sent == send.length);
    }

    /// What follows a send for the connection: rest, wait, or close.
    fn after_send(&mut self, id: ConnId, result: SendResult, whole: bool) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        match result {
            SendResult::Gone => {}
            SendResult::NoMemory => {
                conn.flags.set(Flags::BLOCKED);
                if !conn.flags.has(Flags::STARVED) {
                    conn.flags.set(Flags::STARVED);
                    let due = now + std::time::Duration::from_millis(STARVED_RETRY_MS);
                    self.push.starved.push_back((due, id));
                }
            }
            SendResult::Sent(_) if whole => {
                conn.stalled_rounds = 0;
                if conn.spill.is_some() {
                    self.flush(id);
                } else if conn.flags.has(Flags::CLOSE_WHEN_SENT) {
                    self.end(id, bytes::Bytes::new());
                }
            }
            SendResult::Sent(_) | SendResult::Blocked => conn.flags.set(Flags::BLOCKED),
        }
    }

    /// True if a lane has something for the connection and its sweep will not come by.
    fn is_behind(&self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(id).filter(|conn| conn.state == State::InRoom) else {
            return false;
        };
        let room = self.rooms.local(conn.room);
        Lane::ALL.into_iter().any(|lane| {
            let head = room.log(conn.form.index(), lane).next_version();
            low_bits(head) != conn.cursors[lane.index()] && !room.will_visit(lane, id.place)
        })
    }

    /// Ends a connection at once: last bytes, close, and nobody remembers it.
    pub(crate) fn end(&mut self, id: ConnId, last: bytes::Bytes) {
        if self.conns.get(id).is_none() {
            return;
        }
        self.forget(id);
        self.effects.push(Effect::Close { conn: id, last });
    }
}

fn sent_bytes(result: SendResult, length: usize) -> usize {
    match result {
        SendResult::Sent(sent) => {
            assert!(sent <= length, "more was sent than was planned");
            sent
        }
        SendResult::Blocked | SendResult::NoMemory | SendResult::Gone => 0,
    }
}
