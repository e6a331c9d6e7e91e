//! Sending: batches that borrow nothing beyond the call.

use super::{Bank, Plane};
use crate::net::places::Flags;
use crate::net::plane::events::{SendOutcome, SendRequest};
use crate::net::user_data::{self, Operation};

impl Plane {
    /// Sends, and tells what became of each request, in their order; `results` is cleared first.
    /// Nothing is borrowed beyond the call, and no event is reported: that is the next turn's.
    ///
    /// Requests in the order of places are fastest (memory, and one system call per ring and
    /// queue's worth).
    ///
    /// # Panics
    /// If two requests are for one connection: of a short send the rest must go first.
    pub fn send(&mut self, requests: &[SendRequest<'_>], results: &mut Vec<SendOutcome>) {
        results.clear();
        for requests in requests.chunks(self.settings.sq_entries as usize) {
            self.send_chunk(requests, results);
        }
    }

    fn send_chunk(&mut self, requests: &[SendRequest<'_>], results: &mut Vec<SendOutcome>) {
        self.batch.begin();
        let first = results.len();
        let mut expected = 0;
        for request in requests {
            let outcome = self.begin_send(request);
            if outcome.is_none() {
                expected += 1;
            }
            // Overwritten below for those that were submitted.
            results.push(outcome.unwrap_or(SendOutcome::NoMemory));
        }
        if expected == 0 {
            return;
        }
        self.finish_batch();
        let mut place = 0;
        for (request, outcome) in requests.iter().zip(&mut results[first..]) {
            let (bank, slot) = self.locate(request.conn);
            let Some(bank) = self.banks.get_mut(bank) else { continue };
            let Some(state) = bank.places.find(slot) else { continue };
            if state.generation() != request.conn.generation || !state.has(Flags::SENDING) {
                continue;
            }
            state.clear(Flags::SENDING);
            *outcome = self.judge(request, self.batch.result(place));
            place += 1;
        }
    }

    /// Pushes a send; or says what became of it without one.
    fn begin_send(&mut self, request: &SendRequest<'_>) -> Option<SendOutcome> {
        let Some((bank, slot, state)) = self.live(request.conn) else {
            return Some(SendOutcome::Gone);
        };
        if state.has(Flags::CONNECTING) {
            state.set(Flags::WANTS_WRITE);
            return Some(SendOutcome::Blocked);
        }
        if request.bytes.is_empty() {
            return Some(SendOutcome::Sent(0));
        }
        assert!(!state.has(Flags::SENDING), "one send per connection and call: {}", request.conn);
        state.set(Flags::SENDING);
        let place = self.batch.expect();
        let user_data = user_data::encode(Operation::Send, self.batch.number(), place);
        let Bank { ring, touched, .. } = &mut self.banks[bank];
        *touched = true;
        self.counters.sends += 1;
        // SAFETY: the bytes are borrowed until `send` returns, and `finish_batch` submits before.
        unsafe { ring.push_send(slot, request.bytes, user_data) }
        None
    }

    fn judge(&mut self, request: &SendRequest<'_>, result: Option<i32>) -> SendOutcome {
        let Some(result) = result else {
            self.counters.lost_sends += 1;
            return SendOutcome::Gone;
        };
        let outcome = match (usize::try_from(result), -result) {
            (Ok(count), _) => {
                self.counters.send_bytes += count as u64;
                if count == request.bytes.len() {
                    return SendOutcome::Sent(count);
                }
                self.counters.short_sends += 1;
                SendOutcome::Sent(count)
            }
            (_, libc::EAGAIN) => {
                self.counters.blocked_sends += 1;
                SendOutcome::Blocked
            }
            (_, libc::ENOMEM | libc::ENOBUFS) => {
                self.counters.no_memory_sends += 1;
                return SendOutcome::NoMemory;
            }
            // Nothing was taken; the same bytes may be sent again at once.
            (_, libc::EINTR) => return SendOutcome::Sent(0),
            _ => return SendOutcome::Gone,
        };
        if let Some((_, _, state)) = self.live(request.conn) {
            state.set(Flags::WANTS_WRITE);
        }
        outcome
    }
}
