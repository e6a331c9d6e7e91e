//! Sending: batches that borrow nothing beyond the call.

use super::{Bank, Plane};
use crate::net::places::Flags;
use crate::net::plane::events::{SendOutcome, SendRequest};
use crate::net::user_data::{self, Operation};

/// Where the send of a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    /// Its place among the requests of the chunk.
    pub(super) request: u32,
    pub(super) bank: usize,
    pub(super) slot: u32,
}

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
        let mut aims = std::mem::take(&mut self.sending);
        // First all are looked at, then all are pushed: once pointers are queued nothing may panic.
        for (request, place) in (0_u32..).zip(requests).map(|(place, request)| (request, place)) {
            let outcome = match self.begin_send(request) {
                Ok((bank, slot)) => {
                    aims.push(Aim { request: place, bank, slot });
                    // Overwritten below.
                    SendOutcome::NoMemory
                }
                Err(outcome) => outcome,
            };
            results.push(outcome);
        }
        self.push_sends(requests, &aims);
        if !aims.is_empty() {
            self.finish_batch();
        }
        let outcomes = results.len() - requests.len();
        for (place, aim) in (0_u32..).zip(aims.drain(..)) {
            let request = aim.request as usize;
            let result = self.batch.result(place);
            results[outcomes + request] = self.judge(&requests[request], &aim, result);
        }
        self.sending = aims;
    }

    /// Says where a request goes, or what became of it without being sent.
    pub(super) fn begin_send(
        &mut self,
        request: &SendRequest<'_>,
    ) -> Result<(usize, u32), SendOutcome> {
        let Some((bank, slot, state)) = self.live(request.conn) else {
            return Err(SendOutcome::Gone);
        };
        if state.has(Flags::CONNECTING) {
            state.set(Flags::WANTS_WRITE);
            return Err(SendOutcome::Blocked);
        }
        if request.bytes.is_empty() {
            return Err(SendOutcome::Sent(0));
        }
        assert!(!state.has(Flags::SENDING), "one send per connection and call: {}", request.conn);
        state.set(Flags::SENDING);
        state.clear(Flags::SEEN_WRITABLE);
        Ok((bank, slot))
    }

    /// Pushes the sends, run by run of one ring.
    fn push_sends(&mut self, requests: &[SendRequest<'_>], aims: &[Aim]) {
        let number = self.batch.number();
        for run in aims.chunk_by(|one, next| one.bank == next.bank) {
            let Bank { ring, touched, .. } = &mut self.banks[run[0].bank];
            *touched = true;
            let batch = &mut self.batch;
            let sends = run.iter().map(|aim| {
                let user_data = user_data::encode(Operation::Send, number, batch.expect());
                (aim.slot, requests[aim.request as usize].bytes, user_data)
            });
            // SAFETY: the bytes are borrowed until `send` returns, and `finish_batch` submits before.
            unsafe { ring.push_sends(sends) }
        }
        self.counters.sends += aims.len() as u64;
    }

    pub(super) fn judge(
        &mut self,
        request: &SendRequest<'_>,
        aim: &Aim,
        result: Option<i32>,
    ) -> SendOutcome {
        // Nobody closes within a call, so it is the same connection.
        let state = self.banks[aim.bank].places.get_mut(aim.slot);
        state.clear(Flags::SENDING);
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
            // Nothing was taken, and no edge will come: the same bytes may be sent at once.
            (_, libc::EINTR) => {
                self.list_writable(request.conn);
                return SendOutcome::Sent(0);
            }
            _ => return SendOutcome::Gone,
        };
        // The edge may have come before its wish was known, within the batch.
        if state.has(Flags::SEEN_WRITABLE) {
            self.list_writable(request.conn);
        } else {
            state.set(Flags::WANTS_WRITE);
        }
        outcome
    }
}
