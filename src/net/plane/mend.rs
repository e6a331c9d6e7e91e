//! After the kernel had no memory to keep a completion: nobody knows whose it was, so every
//! connection of that ring is looked after, some in each turn.
//!
//! Each is read, told that it is writable, and its poll is cancelled: a poll that was armed ends
//! and is armed again, one that had ended unheard is not found, and armed again. A connect that is
//! under way is given up and told as failed. An accept that ended unheard is not found either and
//! its place in the list of accepts comes back; its client and its slot are lost until the process
//! ends.

use super::{Bank, Lifecycle, Plane};
use crate::net::places::Flags;
use crate::net::plane::ready::Ready;
use crate::net::user_data::{self, Operation};

/// Connections that are looked after in one turn, so that their completions find room.
const MENDED_MAX: u32 = 256;

impl Plane {
    /// Goes on with looking after the connections of rings that lost completions.
    pub(super) fn mend(&mut self) {
        for bank in 0..self.banks.len() {
            if let Some(from) = self.banks[bank].mend_from {
                if from == 0 {
                    self.cancel_accepts();
                }
                self.mend_some(bank, from);
            }
        }
    }

    fn mend_some(&mut self, bank: usize, from: u32) {
        let end = self.settings.slots_per_ring.min(self.banks[bank].places.end());
        let until = end.min(from.saturating_add(MENDED_MAX.min(self.settings.cq_entries / 2)));
        for slot in from..until {
            let stamp = self.banks[bank].arrived_after();
            let Some(place) = self.banks[bank].places.find(slot) else { break };
            let generation = place.generation();
            if !place.is_live(generation) {
                continue;
            }
            let user_data = user_data::encode(Operation::Cancel, generation, slot);
            if place.has(Flags::CONNECTING) {
                let target = user_data::encode(Operation::Connect, generation, slot);
                self.banks[bank].ring.push_cancel(target, user_data);
                continue;
            }
            let listed = place.has(Flags::LISTED) || place.has(Flags::ENDED);
            place.set(Flags::SEEN_AGAIN);
            if !listed {
                place.set(Flags::LISTED);
            }
            let target = user_data::encode(Operation::Poll, generation, slot);
            self.banks[bank].ring.push_cancel(target, user_data);
            let conn = self.conn(bank, slot, generation);
            if !listed {
                self.ready.push(Ready::new(conn, stamp, self.now));
            }
            self.list_writable(conn);
        }
        self.banks[bank].mend_from = (until < end).then_some(until);
    }

    /// A cancellation found nothing: what it was to cancel has ended, and if nobody heard of it,
    /// that was lost.
    pub(super) fn on_cancel(&mut self, bank: usize, slot: u32, generation: u32, result: i32) {
        if -result != libc::ENOENT {
            return;
        }
        let Bank { ring, places, .. } = &mut self.banks[bank];
        let Some(place) = places.find(slot).filter(|place| place.is_live(generation)) else {
            return;
        };
        if place.has(Flags::CONNECTING) {
            place.clear(Flags::CONNECTING);
            place.set(Flags::ENDED);
            self.counters.connect_errors += 1;
            let conn = self.conn(bank, slot, generation);
            self.lifecycle.push_back(Lifecycle::ConnectFailed(conn, libc::ENOBUFS));
        } else if !place.has(Flags::ENDED) {
            place.set(Flags::POLLED);
            ring.push_poll(slot, user_data::encode(Operation::Poll, generation, slot));
            self.counters.polls_rearmed += 1;
        }
    }
}
