//! Receiving: a fair list of connections that may have something, read in batches into scratch.

use super::{Bank, Lifecycle, Plane};
use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::net::places::Flags;
use crate::net::plane::events::{End, Event};
use crate::net::user_data::{self, Operation};

/// A connection that may have something to read. Each stands in the list at most once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    conn: ConnId,
    /// Nothing of what waits in the kernel arrived before this.
    pub(super) stamp: Time,
    /// All that arrived before this is read once as many bytes as fit in a receive queue are.
    listed_at: Time,
    /// Bytes read since.
    bytes: u64,
}

impl Ready {
    pub(super) fn new(conn: ConnId, stamp: Time, listed_at: Time) -> Ready {
        Ready { conn, stamp, listed_at, bytes: 0 }
    }
}

/// What a receive came to.
enum Outcome {
    /// The connection may have more.
    Again,
    /// Nothing is left now; an edge will tell of more.
    Drained,
    /// Nothing will come any more.
    Ended(End),
}

impl Plane {
    /// Asks for a `ReadOut` event, which follows when everything that the kernel has now was
    /// delivered. False if the connection is not open.
    pub fn read_out(&mut self, conn: ConnId) -> bool {
        let now = self.now;
        let Some((bank, _, place)) = self.live(conn) else { return false };
        if place.has(Flags::ENDED) || place.has(Flags::CONNECTING) {
            self.lifecycle.push_back(Lifecycle::ReadOut(conn));
            return true;
        }
        place.set(Flags::READ_OUT);
        if !place.has(Flags::LISTED) {
            place.set(Flags::LISTED);
            let stamp = self.banks[bank].seen_empty;
            self.ready.push_back(Ready::new(conn, stamp, now));
        }
        true
    }

    /// Reads from the connections of the ready list, each in its turn; at most `limit` receives.
    pub(super) fn receive(&mut self, limit: u32, handler: &mut dyn FnMut(Event<'_>)) -> u32 {
        let pieces = self.settings.scratch_pieces as usize;
        let mut batch: Vec<(Ready, u32)> = Vec::with_capacity(pieces.min(self.ready.len()));
        let (mut left, mut events) = (limit as usize, 0);
        while left > 0 && !self.ready.is_empty() {
            self.submit_receives(left.min(pieces), &mut batch);
            left -= batch.len().min(left);
            for (entry, place) in batch.drain(..) {
                let result = self.batch.result(place);
                assert!(result.is_some(), "a receive without waiting ends in its enter");
                events += self.deliver_received(entry, place, result.unwrap_or(0), handler);
            }
            // What completed meanwhile may be the beginning of what is read next.
            events += self.deliver_lifecycle(handler);
        }
        events
    }

    fn submit_receives(&mut self, count: usize, batch: &mut Vec<(Ready, u32)>) {
        let piece_bytes = self.settings.piece_bytes as usize;
        self.batch.begin();
        while batch.len() < count
            && let Some(entry) = self.ready.pop_front()
        {
            let (bank, slot) = self.locate(entry.conn);
            if self.live(entry.conn).is_none() {
                continue;
            }
            let place = self.batch.expect();
            let start = place as usize * piece_bytes;
            let piece = &mut self.scratch[start..start + piece_bytes];
            let Bank { ring, touched, .. } = &mut self.banks[bank];
            *touched = true;
            let user_data = user_data::encode(Operation::Receive, self.batch.number(), place);
            // SAFETY: each place of the batch has a piece of the scratch of its own, which nobody
            // touches before `finish_batch` has submitted and reaped it.
            unsafe { ring.push_receive(slot, piece, user_data) }
            batch.push((entry, place));
            self.counters.recv_calls += 1;
        }
        self.finish_batch();
    }

    fn deliver_received(
        &mut self,
        mut entry: Ready,
        place: u32,
        result: i32,
        handler: &mut dyn FnMut(Event<'_>),
    ) -> u32 {
        let conn = entry.conn;
        let mut events = 0;
        let outcome = if let Ok(count @ 1..) = usize::try_from(result) {
            let piece_bytes = self.settings.piece_bytes as usize;
            let start = place as usize * piece_bytes;
            let bytes = &mut self.scratch[start..start + count];
            handler(Event::Received { conn, bytes, arrived: entry.stamp });
            events += 1;
            self.counters.recv_bytes += count as u64;
            self.renew(&mut entry, count as u64);
            self.after_bytes(conn, count == piece_bytes)
        } else {
            self.without_bytes(conn, result)
        };
        let Some((_, _, state)) = self.live(conn) else { return events };
        if let Outcome::Again = outcome {
            self.ready.push_back(entry);
            return events;
        }
        state.clear(Flags::LISTED);
        if state.has(Flags::READ_OUT) {
            state.clear(Flags::READ_OUT);
            handler(Event::ReadOut { conn });
            events += 1;
        }
        if let Outcome::Ended(end) = outcome {
            self.end(conn);
            handler(Event::Ended { conn, end });
            events += 1;
        }
        events
    }

    /// A connection that never stops sending may not hold back `received_all_until` for ever: once
    /// a whole receive queue was read, what waits arrived after it was listed.
    fn renew(&mut self, entry: &mut Ready, count: u64) {
        entry.bytes += count;
        if entry.bytes >= self.receive_queue_bytes {
            *entry = Ready::new(entry.conn, entry.listed_at, self.now);
        }
    }

    fn after_bytes(&mut self, conn: ConnId, full: bool) -> Outcome {
        // After a hang-up no edge comes: only reading on shows the end (edge-triggered polls).
        match self.live(conn) {
            Some((_, _, state)) if full || state.has(Flags::HANGING) => Outcome::Again,
            _ => Outcome::Drained,
        }
    }

    fn without_bytes(&mut self, conn: ConnId, result: i32) -> Outcome {
        match -result {
            0 => Outcome::Ended(End::Eof),
            libc::EAGAIN => {
                self.counters.recv_again += 1;
                match self.live(conn) {
                    Some((_, _, state)) if state.has(Flags::HANGING) => Outcome::Ended(End::HungUp),
                    _ => Outcome::Drained,
                }
            }
            libc::EINTR => Outcome::Again,
            libc::ENOMEM | libc::ENOBUFS => {
                self.counters.recv_no_memory += 1;
                Outcome::Again
            }
            errno => Outcome::Ended(End::Reset(errno)),
        }
    }

    fn end(&mut self, conn: ConnId) {
        if let Some((_, _, state)) = self.live(conn) {
            state.set(Flags::ENDED);
        }
    }
}
