//! Closing: discard what is unread, say the last words, cancel the poll, close, in one batch.
//!
//! Unread input would turn the FIN into a reset, and the peer would lose the last words.

use super::{Bank, Plane, RingUse};
use crate::base::ids::ConnId;
use crate::net::places::Flags;
use crate::net::user_data::{self, Operation};

/// Rounds of discarding, each up to the size of the scratch, for a peer that sends and sends.
const DISCARD_ROUNDS_MAX: u32 = 8;
/// Closes of one batch.
const CLOSE_BATCH: usize = 64;

/// A connection that the caller let go.
#[derive(Debug)]
pub(super) struct Closing {
    conn: ConnId,
    last: Box<[u8]>,
    reset: bool,
}

impl Plane {
    /// Closes a connection in order, after sending `last` as far as the socket takes it. Reports
    /// nothing more about it. The next turn does it, together with others; its place may then be
    /// used again. False if it was closed before.
    pub fn close(&mut self, conn: ConnId, last: &[u8]) -> bool {
        self.let_go(conn, last, false)
    }

    /// Closes a connection with a reset, whatever is unread or unsent; in order on kernels before
    /// 6.7. False if it was closed before.
    pub fn abort(&mut self, conn: ConnId) -> bool {
        self.let_go(conn, &[], true)
    }

    fn let_go(&mut self, conn: ConnId, last: &[u8], reset: bool) -> bool {
        let Some((_, _, place)) = self.live(conn) else { return false };
        place.set(Flags::CLOSING);
        self.closing.push_back(Closing { conn, last: last.into(), reset });
        true
    }

    /// Closes up to `limit` of the connections that were let go. [`Plane::turn`] does it too.
    pub fn flush_closes(&mut self, limit: u32) {
        let mut left = self.closing.len().min(limit as usize);
        while left > 0 {
            let count = left.min(CLOSE_BATCH);
            let mut batch: Vec<Closing> = self.closing.drain(..count).collect();
            // A result that was late: the slot may be somebody else's by now.
            batch.retain(|closing| self.holds(closing.conn));
            self.discard_unread(&batch);
            self.close_batch(batch);
            left -= count;
        }
    }

    /// Discards the input of those who are known to have some that was not read.
    fn discard_unread(&mut self, closing: &[Closing]) {
        let wants = |plane: &mut Plane, closing: &Closing| {
            let (bank, slot) = plane.locate(closing.conn);
            let place = plane.banks[bank].places.get_mut(slot);
            place.has(Flags::LISTED) && !closing.reset
        };
        let mut unread: Vec<ConnId> = Vec::new();
        for closing in closing {
            if wants(self, closing) {
                unread.push(closing.conn);
            }
        }
        for _ in 0..DISCARD_ROUNDS_MAX {
            if unread.is_empty() {
                return;
            }
            self.batch.begin();
            let number = self.batch.number();
            for conn in &unread {
                let place = self.batch.expect();
                let user_data = user_data::encode(Operation::Receive, number, place);
                let (bank, slot) = self.locate(*conn);
                let Bank { ring, touched, .. } = &mut self.banks[bank];
                *touched = true;
                // SAFETY: the scratch is ours, nobody reads or writes it before `finish_batch` has
                // submitted, and the kernel does not write to it at all (`MSG_TRUNC`).
                unsafe { ring.push_discard(slot, &mut self.scratch, user_data) }
            }
            self.finish_batch();
            // Room in the window lets a peer on the same host send on at once: look again.
            let mut place = 0;
            unread.retain(|_| {
                place += 1;
                self.batch.result(place - 1).is_some_and(|count| count > 0)
            });
        }
    }

    fn close_batch(&mut self, closing: Vec<Closing>) {
        self.batch.begin();
        for closing in &closing {
            let (bank, slot) = self.locate(closing.conn);
            let generation = closing.conn.generation;
            let Bank { ring, places, touched, .. } = &mut self.banks[bank];
            *touched = true;
            let words = user_data::encode(Operation::LastWords, generation, slot);
            let state = places.get_mut(slot);
            // The whole sequence in one submission: between its parts nothing may come.
            if ring.room() < 4 {
                ring.submit();
            }
            if closing.reset {
                ring.push_linger_zero(slot, words);
            } else if !state.has(Flags::CONNECTING) {
                // SAFETY: as in `discard_unread`; the last words live until the batch is finished.
                unsafe {
                    ring.push_discard(slot, &mut self.scratch, words);
                    if !closing.last.is_empty() {
                        ring.push_send(slot, &closing.last, words);
                    }
                }
            }
            let cancel = user_data::encode(Operation::Cancel, generation, slot);
            if state.has(Flags::CONNECTING) {
                ring.push_cancel(user_data::encode(Operation::Connect, generation, slot), cancel);
            } else if state.has(Flags::POLLED) {
                ring.push_cancel(user_data::encode(Operation::Poll, generation, slot), cancel);
            }
            self.batch.expect_close();
            ring.push_close(slot, user_data::encode(Operation::Close, generation, slot));
        }
        self.finish_batch();
        for closing in closing {
            if self.holds(closing.conn) {
                self.counters.close_retries += 1;
                self.closing.push_back(Closing { last: Box::default(), ..closing });
            } else {
                self.counters.aborts += u64::from(closing.reset);
            }
        }
    }

    /// Frees the place of a connection as soon as its close is known, because the next completion
    /// of the same reaping may be that of an accept into its slot.
    pub(super) fn on_close(&mut self, bank: usize, slot: u32, generation: u32, result: i32) {
        self.batch.complete_close();
        let place = self.banks[bank].places.find(slot);
        let ours = place.is_some_and(|place| place.is_closing(generation));
        // Not there: it was closed by an attempt whose result got lost.
        if ours && (result == 0 || -result == libc::EBADF) {
            self.free(bank, slot);
        } else {
            self.counters.stale_completions += u64::from(!ours);
        }
    }

    /// Whether the slot still belongs to this connection, which was let go.
    fn holds(&mut self, conn: ConnId) -> bool {
        let (bank, slot) = self.locate(conn);
        let place = self.banks.get_mut(bank).and_then(|bank| bank.places.find(slot));
        place.is_some_and(|place| place.is_closing(conn.generation))
    }

    pub(super) fn free(&mut self, bank: usize, slot: u32) {
        let Bank { places, used, freed, usage, .. } = &mut self.banks[bank];
        places.get_mut(slot).free();
        *used -= 1;
        if *usage == RingUse::Connects {
            freed.push(slot);
        }
        self.counters.closes += 1;
    }
}
