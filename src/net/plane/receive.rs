//! Receiving: a fair list of connections that may have something, read in batches into scratch.

use super::{Bank, Lifecycle, Plane};
use crate::base::ids::ConnId;
use crate::net::places::Flags;
use crate::net::plane::events::{End, Event};
use crate::net::plane::ready::Ready;
use crate::net::user_data::{self, Operation};

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
            let stamp = self.banks[bank].arrived_after();
            self.ready.push(Ready::new(conn, stamp, now));
        }
        true
    }

    /// Reads from the connections of the ready list, each in its turn; at most `limit` receives.
    pub(super) fn receive(&mut self, limit: u32, handler: &mut dyn FnMut(Event<'_>)) -> u32 {
        let pieces = self.settings.scratch_pieces as usize;
        let mut batch = std::mem::take(&mut self.receiving);
        let (mut left, mut events) = (limit as usize, 0);
        while left > 0 && !self.ready.is_empty() {
            self.submit_receives(left.min(pieces), &mut batch);
            left -= batch.len().min(left);
            for (entry, place) in batch.drain(..) {
                // The bytes of a lost result are gone with it, and so is the rest of the stream.
                let result = self.batch.result(place).unwrap_or(-libc::EIO);
                events += self.deliver_received(entry, place, result, handler);
            }
            // What completed meanwhile may be the beginning of what is read next.
            events += self.deliver_lifecycle(handler);
        }
        self.receiving = batch;
        events
    }

    pub(super) fn submit_receives(&mut self, count: usize, batch: &mut Vec<(Ready, u32)>) {
        let piece_bytes = self.settings.piece_bytes as usize;
        self.batch.begin();
        while batch.len() < count
            && let Some(entry) = self.ready.pop()
        {
            let Some((bank, slot, state)) = self.live(entry.conn) else { continue };
            state.clear(Flags::SEEN_AGAIN);
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

    pub(super) fn deliver_received(
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
        // Of what came between the receive and now the edge was spent already.
        let missed = matches!(outcome, Outcome::Drained) && state.has(Flags::SEEN_AGAIN);
        if missed || matches!(outcome, Outcome::Again) {
            self.ready.push(entry);
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
