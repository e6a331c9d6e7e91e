//! How connections end: by the peer, by us, or by silence.

use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::shard::Shard;
use crate::shard::conn::{Flags, clock_ms, elapsed_ms};
use crate::shard::mail::Mail;
use crate::shard::messages;
use crate::shard::session::{Event, State};
use crate::wire::close::CloseReason;

/// The whole table is looked over once in this time: a deadline in every connection's own timer
/// would cost more memory than the connection.
const ROUND: Duration = Duration::from_secs(1);
/// Without connections there are only rooms to be forgotten.
const ROUND_ALONE: Duration = Duration::from_secs(60);
/// Places that are looked at in one go, some 100 µs of work; a larger table is looked over in parts.
const PART_PLACES: u32 = 8_192;
/// How long a peer has to answer our close frame.
const CLOSE_TIMEOUT_MS: u32 = 2_000;

/// Where the walk over the connections stands.
#[derive(Default)]
pub(crate) struct Patrol {
    part: u32,
    due: Option<Time>,
}

impl Shard {
    /// Asks a client to close: close frame, its answer, end. What waits for it is sent first.
    pub(crate) fn close(&mut self, id: ConnId, reason: CloseReason) {
        self.count_close(id, reason);
        self.close_with(id, &messages::close_frame(reason));
    }

    /// The same with a finished close frame of this reason.
    pub(crate) fn close_saying(&mut self, id: ConnId, reason: CloseReason, frame: &Bytes) {
        self.count_close(id, reason);
        self.close_with(id, frame);
    }

    /// Fails a connection that broke the protocol: what waits for it, a close frame, end.
    pub(crate) fn fail(&mut self, id: ConnId, reason: CloseReason, text: &str) {
        self.count_close(id, reason);
        self.say_goodbye(id, messages::close_frame_saying(reason, text));
    }

    /// Counts what is about to be closed, once.
    pub(crate) fn count_close(&mut self, id: ConnId, reason: CloseReason) {
        let closes = self.conns.get(id).is_some_and(|conn| conn.state.next(Event::Close).is_some());
        self.counters.closes[reason as usize] += u64::from(closes);
    }

    /// The client closes: its close frame is answered behind what waits for it, then we end.
    pub(crate) fn peer_closes(&mut self, id: ConnId, code: Option<u16>) {
        self.say_goodbye(id, messages::close_answer(code));
    }

    /// Nothing more comes from the peer. Whoever has asked by plain HTTP may still read, and gets its
    /// response (RFC 9112 §9.6).
    pub(crate) fn peer_ended(&mut self, id: ConnId) {
        match self.conns.get(id) {
            Some(conn) if conn.state == State::Connecting => self.end_short(id),
            Some(_) | None => self.end(id, Bytes::new()),
        }
    }

    /// Forgets a connection: its room, its session, its place.
    pub(crate) fn forget(&mut self, id: ConnId) {
        self.leave_room(id);
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let user = conn.user;
        if user.0 != 0 && conn.state != State::Connecting {
            let home = self.placement.user_home(user);
            self.post(home, Mail::SessionClosed { user, conn: id });
        }
        self.access.forget(id.place);
        self.conns.close(id);
        self.counters.connections_closed += 1;
    }

    /// Looks over one part of the table for those who are silent or too slow.
    pub(crate) fn patrol(&mut self) {
        if self.patrol.due.is_none_or(|due| due > self.now) {
            return;
        }
        let end = self.conns.places_end();
        let parts = end.div_ceil(PART_PLACES).max(1);
        self.patrol.part = (self.patrol.part + 1) % parts;
        if self.patrol.part == 0 {
            self.free_idle_rooms();
        }
        let start = self.patrol.part * PART_PLACES;
        for place in start..(start + PART_PLACES).min(end) {
            self.look_at(place);
        }
        self.patrol.due = if self.conns.open_count() > 0 {
            Some(self.now + ROUND / parts)
        } else {
            self.has_rooms().then(|| self.now + ROUND_ALONE)
        };
    }

    /// When [`Self::patrol`] has something to do.
    pub(crate) fn patrol_deadline(&self) -> Option<Time> {
        self.patrol.due
    }

    /// There is somebody to look after.
    pub(crate) fn begin_patrol(&mut self) {
        let soon = self.now + ROUND;
        self.patrol.due = Some(self.patrol.due.map_or(soon, |due| due.min(soon)));
    }

    fn look_at(&mut self, place: u32) {
        let Some((id, conn)) = self.conns.at(place) else {
            return;
        };
        if conn.flags.has(Flags::BLOCKED) {
            self.nudge(id);
        }
        if self.send_late_away(id) {
            return;
        }
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let silent_ms = elapsed_ms(clock_ms(self.now), conn.clock_ms);
        let expires_s = i64::from(conn.token_expires_s);
        // While the host stood still, or clients were left unread, nobody was silent.
        let unread_ms = elapsed_ms(clock_ms(self.now), clock_ms(self.received_until));
        let silent_ms = if conn.state == State::Closing {
            silent_ms
        } else {
            silent_ms.saturating_sub(unread_ms)
        };
        match conn.state {
            State::Connecting if silent_ms > self.config.handshake_timeout_ms => {
                self.counters.timeouts += 1;
                self.short_overdue(id);
            }
            State::Upgraded
                if silent_ms > self.config.handshake_timeout_ms && !self.config.echo =>
            {
                self.counters.timeouts += 1;
                self.close(id, CloseReason::HandshakeTimeout);
            }
            State::Closing if silent_ms > CLOSE_TIMEOUT_MS => self.end(id, Bytes::new()),
            State::Confirming | State::Authenticated | State::Joining | State::InRoom => {
                if silent_ms > self.config.idle_timeout_ms {
                    self.counters.timeouts += 1;
                    self.close(id, CloseReason::HeartbeatTimeout);
                } else if expires_s + self.access.leeway_s()
                    <= self.clock.unix_ms(self.received_until) / 1_000
                {
                    self.token_expired(id);
                } else {
                    self.close_for_age(id);
                }
            }
            State::Connecting | State::Upgraded | State::Closing => {}
        }
    }

    fn close_with(&mut self, id: ConnId, frame: &Bytes) {
        let now_ms = clock_ms(self.now);
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let Some(next) = conn.state.next(Event::Close) else {
            return;
        };
        if conn.state == State::Connecting {
            return self.end_short(id);
        }
        self.reply(id, |out| out.extend_from_slice(frame));
        self.leave_room(id);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.state = next;
            conn.clock_ms = now_ms;
        }
    }

    fn say_goodbye(&mut self, id: ConnId, frame: Bytes) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let is_closing = conn.state == State::Closing;
        if !conn.flags.has(Flags::REPLYING) && conn.spill.is_none() {
            // RFC 6455 §5.5.1: one close frame is sent.
            return self.end(id, if is_closing { Bytes::new() } else { frame });
        }
        self.close_with(id, &frame);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.flags.set(Flags::CLOSE_WHEN_SENT);
        }
    }
}
