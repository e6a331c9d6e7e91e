//! Readers that don't read: what they may fall behind by, and what becomes of them then.
//!
//! A reader that is behind costs nothing: its lane's log is everybody's. So it is let be until the
//! log has no more of what it wants next. Settings draw the line earlier: a socket that the patrol
//! has found full, round after round, for too long, or with too much behind it. What then follows is
//! the lane's policy: skip forward and be told of a gap, or close. The high lane skips only what is
//! gone. Somebody who comes back and asks for much is not slow: only full sockets are looked at.

use std::time::Duration;

use crate::base::ids::{ConnId, RoomId};
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::config::SlowPolicy;
use crate::shard::conn::{Conn, NO_ROOM};
use crate::shard::session::State;
use crate::wire::close::CloseReason;

/// The patrol comes by once a second.
const ROUND_MS: u32 = 1_000;
/// A socket may be full at any moment; found so twice in a row it is.
const ROUNDS_MIN: u8 = 2;

impl Shard {
    /// The patrol finds a socket full. Under memory pressure the kernel refuses a send and no edge
    /// ever comes, so it is tried again.
    pub(crate) fn nudge(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.stalled_rounds = conn.stalled_rounds.saturating_add(1);
        let rounds = conn.stalled_rounds;
        let closes = |lane: &Lane| {
            self.is_overdue(id, *lane) && self.policy_for(id, *lane) == SlowPolicy::Close
        };
        if Lane::ALL.iter().any(closes) {
            return self.close_slow(id, &format!("nothing was read for {rounds} s"));
        }
        self.unblock(id);
    }

    /// A socket that was full takes bytes again.
    pub(crate) fn writable(&mut self, id: ConnId) {
        // What was begun goes first, then what is stale is skipped.
        if self.conns.get(id).is_some_and(|conn| conn.spill.is_none()) {
            self.skip_stale(id);
        }
        self.unblock(id);
    }

    /// A socket that was full for long takes bytes again: what is stale by now is skipped.
    pub(crate) fn skip_stale(&mut self, id: ConnId) {
        if self.conns.get(id).is_none_or(|conn| conn.stalled_rounds < ROUNDS_MIN) {
            return;
        }
        for lane in [Lane::Mid, Lane::Low] {
            if self.is_overdue(id, lane) {
                let slow = &self.config.downlink.slow;
                let since = self.now - Duration::from_millis(slow.age_ms.into());
                let bytes_max = slow.bytes_max;
                let Some((version, recent)) = self.conns.get(id).map(|conn| {
                    let log = self.rooms.local(conn.room).log(conn.form.index(), lane);
                    let version = log.widen(conn.cursors[lane.index()]);
                    (version, log.recent(since, bytes_max))
                }) else {
                    return;
                };
                if recent > version {
                    self.skip_to(id, lane, version, recent);
                }
            }
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.stalled_rounds = 0;
        }
    }

    /// What the reader of a lane wants next is gone; true if that is why it is closed.
    pub(crate) fn closes_lapped(&mut self, id: ConnId, lane: Lane) -> bool {
        let closes = self.policy_for(id, lane) == SlowPolicy::Close;
        if closes {
            self.close_slow(id, "what was to be read next is gone");
        }
        closes
    }

    /// The policy for a lane of the room that a connection is in.
    fn policy_for(&self, id: ConnId, lane: Lane) -> SlowPolicy {
        let room = self.conns.get(id).map_or(NO_ROOM, |conn| conn.room);
        let room = if room == NO_ROOM { RoomId(0) } else { self.rooms.id(room) };
        self.slow_policy(room, lane)
    }

    fn close_slow(&mut self, id: ConnId, text: &str) {
        self.fail(id, CloseReason::TooSlow, text);
    }

    /// Whether a connection whose socket is full has waited too long, or has too much to get.
    fn is_overdue(&self, id: ConnId, lane: Lane) -> bool {
        let in_room = |conn: &&Conn| conn.state == State::InRoom;
        let Some(conn) = self.conns.get(id).filter(in_room) else {
            return false;
        };
        let slow = &self.config.downlink.slow;
        let log = self.rooms.local(conn.room).log(conn.form.index(), lane);
        let version = log.widen(conn.cursors[lane.index()]);
        let waited_ms = u32::from(conn.stalled_rounds) * ROUND_MS;
        let is_old = waited_ms >= slow.age_ms && version < log.next_version();
        let is_much =
            conn.stalled_rounds >= ROUNDS_MIN && log.bytes_behind(version) > slow.bytes_max as u64;
        is_old || is_much
    }
}
