//! A drain: connections are asked to come back elsewhere, spread evenly over a time, in the order of
//! their places.
//!
//! Whoever comes meanwhile, because it waited in the backlog, is let in and asked when the time is
//! over: the patrol of connections finds it. Short connections that are in use end behind their response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::shard::Shard;
use crate::shard::conn::{clock_ms, elapsed_ms};
use crate::shard::messages;
use crate::shard::session::State;
use crate::wire::close::{CloseReason, Moving};

/// From one look at who is to be asked to the next: as fine as a client could tell.
const LOOK: Duration = Duration::from_millis(10);
/// A connection that has not said yet what it wants gets so long for that when all others were asked.
const QUIET_MS: u32 = 1_000;

/// How connections are asked to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The time over which they are asked.
    pub spread: Duration,
    /// Within what time of its close a client comes back, and where to: each is told one of these in
    /// turn. Empty where nothing but the close code is said.
    pub moves: Arc<[Moving]>,
}

/// What is being done about it.
pub(crate) struct Leaving {
    since: Time,
    spread: Duration,
    /// The close frames, each the next connection's in turn.
    frames: Vec<Bytes>,
    /// Connections when it began.
    total: u32,
    asked: u32,
    /// The next place to be looked at.
    place: u32,
    due: Option<Time>,
}

impl Leaving {
    /// How many are asked by a moment: the first at once, the last before the time is over.
    fn asked_by(&self, now: Time) -> u32 {
        let (elapsed, spread) = (now.since(self.since).as_nanos(), self.spread.as_nanos());
        if elapsed >= spread {
            return u32::MAX;
        }
        let by_now = u128::from(self.total) * elapsed / spread.max(1) + 1;
        u32::try_from(by_now).unwrap_or(u32::MAX)
    }

    /// When the next one is asked.
    fn next_due(&self, now: Time) -> Time {
        let share = self.spread.as_nanos() * u128::from(self.asked) / u128::from(self.total.max(1));
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        (self.since + Duration::from_nanos(share).min(self.spread)).max(now + LOOK)
    }

    fn is_over(&self, now: Time) -> bool {
        now.since(self.since) >= self.spread
    }
}

impl Shard {
    /// Begins to ask connections to leave, or, with nothing, asks no more of them.
    pub(crate) fn drain(&mut self, drain: Option<Drain>) {
        self.leaving = drain.map(|Drain { spread, moves }| {
            let reason = CloseReason::GoingAway;
            let frame = |to: &Moving| messages::close_frame_saying(reason, &to.text(reason));
            let mut frames: Vec<Bytes> = moves.iter().map(frame).collect();
            if frames.is_empty() {
                frames.push(messages::close_frame(reason));
            }
            let (since, total) = (self.now, self.conns.open_count());
            Leaving { since, spread, frames, total, asked: 0, place: 0, due: Some(since) }
        });
        self.ask_to_leave();
    }

    /// When [`Self::ask_to_leave`] has something to do.
    pub(crate) fn leaving_deadline(&self) -> Option<Time> {
        self.leaving.as_ref()?.due
    }

    /// Asks those whose turn has come.
    pub(crate) fn ask_to_leave(&mut self) {
        let (now, end) = (self.now, self.conns.places_end());
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.due.is_none_or(|due| due > now) {
            return;
        }
        let (first, mut place, by_now) = (leaving.asked, leaving.place, leaving.asked_by(now));
        let mut asked = first;
        while asked < by_now && place < end {
            // Whoever has not said yet what it wants would take the end of its connection for a fault.
            let found = self.conns.at(place);
            let found =
                found.filter(|(_, conn)| !matches!(conn.state, State::Connecting | State::Closing));
            if let Some((id, _)) = found {
                self.send_away(id);
                asked += 1;
            }
            place += 1;
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.place = place;
            leaving.due = (!leaving.is_over(now)).then(|| leaving.next_due(now));
        }
    }

    /// Closes a connection as the drain says.
    fn send_away(&mut self, id: ConnId) {
        let Some(leaving) = &mut self.leaving else { return };
        let frame = leaving.frames[leaving.asked as usize % leaving.frames.len()].clone();
        leaving.asked += 1;
        self.close_saying(id, CloseReason::GoingAway, &frame);
    }

    /// When all were asked: those who came meanwhile, and short connections that nobody uses. True if
    /// the connection was found to be one of them.
    pub(crate) fn send_late_away(&mut self, id: ConnId) -> bool {
        if !self.leaving.as_ref().is_some_and(|leaving| leaving.is_over(self.now)) {
            return false;
        }
        let Some(conn) = self.conns.get(id) else { return false };
        let silent_ms = elapsed_ms(clock_ms(self.now), conn.clock_ms);
        match conn.state {
            State::Closing => false,
            State::Connecting if silent_ms <= QUIET_MS => false,
            State::Connecting => {
                self.end_short(id);
                true
            }
            State::Upgraded
            | State::Confirming
            | State::Authenticated
            | State::Joining
            | State::InRoom => {
                self.send_away(id);
                true
            }
        }
    }

    /// Says goodbye to everybody at once, and lets nobody in.
    pub(crate) fn shutdown(&mut self) {
        self.is_stopping = true;
        for place in 0..self.conns.places_end() {
            let Some((id, _)) = self.conns.at(place) else { continue };
            if self.leaving.is_some() {
                self.send_away(id);
            } else {
                self.close(id, CloseReason::GoingAway);
            }
        }
    }
}
