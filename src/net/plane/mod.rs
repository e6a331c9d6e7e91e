//! The plane itself: its rings, the one dispatch path of completions, and the turn.

mod accept;
mod batch;
mod close;
mod connect;
mod events;
mod mend;
mod park;
mod ready;
mod receive;
mod send;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;

use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::net::counters::PlaneCounters;
use crate::net::listener::Listener;
use crate::net::places::{Flags, Place, Places};
use crate::net::ring::{
    Completion, EVENTS_END, EVENTS_READ, EVENTS_WRITE, Ring, RingError, RingSettings,
};
use crate::net::user_data::{self, Operation};
use crate::net::wake::Waker;

use accept::Acceptor;
use batch::Batch;
use close::Closing;
pub use connect::ConnectError;
pub use events::{End, Event, SendOutcome, SendRequest, TurnLimits, TurnReport};
use ready::{Ready, ReadyList};
use send::Aim;
pub use settings::PlaneSettings;

/// Reads the clock of the process.
pub(crate) type Clock<'a> = &'a dyn Fn() -> Time;

/// Enters of one ring in one turn, so that a turn ends under any load.
const PASSES_MAX: u32 = 16;
/// Enters that found more each time, after which one is asked to do a lot at once: with a minimum
/// it costs 14 µs more where there is nothing, and 1.65 instead of 1.74 µs a message where there is.
const PASSES_SMALL: u32 = 3;
/// A ring that completed more than this in one turn, three small enters' worth, begins the next
/// with a large one.
const LOADED_MIN: usize = 60;
/// What a socket's receive queue can hold if the kernel does not say.
const RECEIVE_QUEUE_BYTES_FALLBACK: u64 = 64 * 1024 * 1024;

/// Why a plane could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// A setting is out of its range.
    #[error("socket plane: {0}")]
    Setting(&'static str),
    /// No eventfd.
    #[error("making the eventfd that ends parking failed: {0}")]
    EventFd(#[source] io::Error),
    /// No ring.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// What a ring's slots are given out by; the two don't mix, or the kernel's choice and ours could
/// be the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RingUse {
    /// Not used yet.
    Free,
    /// The kernel chooses the slot of each accept.
    Accepts,
    /// We choose the slot of each connect.
    Connects,
}

/// A ring and the bank of slots that belongs to it.
struct Bank {
    ring: Ring,
    places: Places,
    usage: RingUse,
    /// Slots that hold a connection, closing ones included.
    used: u32,
    /// Slots that armed accepts may take.
    armed: u32,
    /// Slots for connects: those freed, and the first that was never used.
    freed: Vec<u32>,
    unused_from: u32,
    /// When the ring was last seen empty: what is reaped later arrived later.
    seen_empty: Time,
    /// When the ring was last seen empty while an accept was armed on it.
    listened_at: Time,
    /// What the poll of an accepted connection tells first may have arrived as early as this: it
    /// waited in the backlog. Nothing once all of them have told.
    fresh_stamp: Option<Time>,
    /// Takes part in the batch in progress.
    touched: bool,
    /// The last turn's harvest was large: begin with a large enter.
    loaded: bool,
    /// Completions that the kernel had no memory for, so far.
    lost: u32,
    /// After a loss: the first slot that was not looked after since.
    mend_from: Option<u32>,
}

impl Bank {
    /// Nothing of what a connection has that nobody noticed arrived before this.
    fn arrived_after(&self) -> Time {
        self.fresh_stamp.map_or(self.seen_empty, |fresh| fresh.min(self.seen_empty))
    }
}

/// What was accepted or connected and is not yet reported.
#[derive(Clone, Copy, Debug)]
enum Lifecycle {
    Accepted(ConnId, SocketAddr),
    Connected(ConnId),
    ConnectFailed(ConnId, i32),
    ReadOut(ConnId),
}

/// All connections of one thread. Made on the thread that uses it, and it stays there.
pub struct Plane {
    // Rings come first: they are gone before the buffers that they write to.
    banks: Vec<Bank>,
    acceptor: Option<Acceptor>,
    /// The listener that is served once the present one has closed, and since when it listens.
    next_listener: Option<(Listener, Time)>,
    settings: PlaneSettings,
    /// Low bits of a place that are the slot.
    slot_bits: u32,
    waker: Waker,
    scratch: Box<[u8]>,
    batch: Batch,
    completions: Vec<Completion>,
    ready: ReadyList,
    /// The receives of a batch, kept for its capacity; empty between batches.
    receiving: Vec<(Ready, u32)>,
    /// The sends of a batch, likewise.
    sending: Vec<Aim>,
    writable: VecDeque<ConnId>,
    lifecycle: VecDeque<Lifecycle>,
    closing: VecDeque<Closing>,
    reading_paused: bool,
    /// The time at the last look at the clock.
    now: Time,
    /// When the kernel's timer that ends parking is due.
    timer: Option<Time>,
    /// After a ring could not be made: no next try before this.
    ring_retry_at: Time,
    receive_queue_bytes: u64,
    counters: PlaneCounters,
    /// io_uring's `SINGLE_ISSUER`: not `Send`.
    one_thread: PhantomData<*const ()>,
}

impl Plane {
    /// Makes a plane with its first ring, on the thread that will use it; it serves `listener`.
    ///
    /// # Errors
    /// A setting out of range, or what the kernel refused.
    pub fn new(settings: PlaneSettings, listener: Option<Listener>) -> Result<Plane, PlaneError> {
        settings.check().map_err(PlaneError::Setting)?;
        let waker = Waker::new().map_err(PlaneError::EventFd)?;
        let scratch = settings.scratch_pieces as usize * settings.piece_bytes as usize;
        let mut plane = Plane {
            banks: Vec::new(),
            acceptor: listener
                .map(|listener| Acceptor::new(listener, settings.accepts_armed, Time::ZERO)),
            next_listener: None,
            settings,
            slot_bits: settings.slot_bits(),
            waker,
            scratch: vec![0; scratch].into_boxed_slice(),
            batch: Batch::default(),
            completions: Vec::new(),
            ready: ReadyList::default(),
            receiving: Vec::new(),
            sending: Vec::new(),
            writable: VecDeque::new(),
            lifecycle: VecDeque::new(),
            closing: VecDeque::new(),
            reading_paused: false,
            now: Time::ZERO,
            timer: None,
            ring_retry_at: Time::ZERO,
            receive_queue_bytes: receive_queue_bytes(),
            counters: PlaneCounters::default(),
            one_thread: PhantomData,
        };
        plane.add_ring()?;
        Ok(plane)
    }

    /// Does what can be done now, and reports what happened to `handler`: closes what the caller
    /// let go, arms accepts, reaps completions, receives, all within `limits`. Never waits.
    ///
    /// What a handler wants to do to a connection it does after the turn. `clock` never goes back.
    pub fn turn(
        &mut self,
        clock: &dyn Fn() -> Time,
        limits: TurnLimits,
        handler: &mut dyn FnMut(Event<'_>),
    ) -> TurnReport {
        let mut report = TurnReport::default();
        self.now = clock();
        self.flush_closes(limits.closes);
        self.serve_listener();
        self.collect_all(clock);
        self.mend();
        report.events += self.deliver_lifecycle(handler);
        report.events += self.deliver_writable(limits.writables, handler);
        if !self.reading_paused {
            report.events += self.receive(limits.receives, handler);
        }
        for bank in &mut self.banks {
            if bank.ring.has_queued() {
                bank.ring.submit();
            }
        }
        self.count();
        report.more = self.has_work();
        report
    }

    /// Stops or resumes receiving. While it is stopped, what arrives stays in the kernel and the
    /// peers feel it; accepts, sends and closes go on.
    pub fn pause_reading(&mut self, paused: bool) {
        self.reading_paused = paused;
    }

    /// Every byte that arrived at an accepted connection before this moment has been delivered as
    /// an event; those who wait in the backlog count as accepted, except while there is no room for
    /// them or the kernel refuses accepts.
    #[must_use]
    pub fn received_all_until(&self) -> Time {
        let seen_empty = self.banks.iter().map(|bank| bank.seen_empty);
        let fresh = self.banks.iter().filter_map(|bank| bank.fresh_stamp);
        let others = [self.ready.oldest(), self.backlog_empty_at()].into_iter().flatten();
        seen_empty.chain(fresh).chain(others).min().unwrap_or(Time::ZERO)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> PlaneCounters {
        self.counters
    }

    /// Whether the connection exists and nobody asked to close it.
    #[must_use]
    pub fn is_open(&mut self, conn: ConnId) -> bool {
        self.live(conn).is_some()
    }

    /// Whether a turn would report or do something at once, apart from what the rings hold.
    fn has_work(&self) -> bool {
        !self.lifecycle.is_empty()
            || !self.writable.is_empty()
            || !self.closing.is_empty()
            || self.banks.iter().any(|bank| bank.mend_from.is_some())
            || self.listener_is_stopping()
            || (!self.reading_paused && !self.ready.is_empty())
    }

    /// Connections of one ring, for places.
    fn conn(&self, bank: usize, slot: u32, generation: u32) -> ConnId {
        let bank = u32::try_from(bank).unwrap_or(u32::MAX);
        ConnId { place: bank << self.slot_bits | slot, generation }
    }

    /// Where a connection is: bank and slot.
    fn locate(&self, conn: ConnId) -> (usize, u32) {
        ((conn.place >> self.slot_bits) as usize, conn.place & ((1 << self.slot_bits) - 1))
    }

    /// The place of a live connection.
    fn live(&mut self, conn: ConnId) -> Option<(usize, u32, &mut Place)> {
        let (bank, slot) = self.locate(conn);
        let place = self.banks.get_mut(bank)?.places.find(slot)?;
        place.is_live(conn.generation).then_some((bank, slot, place))
    }

    /// Adds a ring while the settings allow it; returns its number.
    fn add_ring(&mut self) -> Result<Option<usize>, RingError> {
        if self.banks.len() >= self.settings.rings_max as usize || self.now < self.ring_retry_at {
            return Ok(None);
        }
        let settings = RingSettings {
            sq_entries: self.settings.sq_entries.min(self.settings.cq_entries),
            cq_entries: self.settings.cq_entries,
            slots: self.settings.slots_per_ring,
        };
        let ring = Ring::new(settings, self.waker.borrow()).inspect_err(|_| {
            self.counters.ring_errors += 1;
            self.ring_retry_at = self.now + self.settings.accept_pause;
        })?;
        self.banks.push(Bank {
            ring,
            places: Places::default(),
            usage: RingUse::Free,
            used: 0,
            armed: 0,
            freed: Vec::new(),
            unused_from: 0,
            // It never held anything; what comes out of the backlog has a stamp of its own.
            seen_empty: self.now,
            listened_at: Time::ZERO,
            fresh_stamp: None,
            touched: false,
            loaded: false,
            lost: 0,
            mend_from: None,
        });
        self.counters.rings += 1;
        Ok(Some(self.banks.len() - 1))
    }

    /// Looks at all rings, and enters those that have anything.
    fn collect_all(&mut self, clock: Clock<'_>) {
        self.now = clock();
        let begun = self.now;
        for bank in 0..self.banks.len() {
            // One look at the clock is enough for all rings that are found empty after it.
            self.now = begun;
            self.collect(bank, clock);
        }
        self.note_backlog();
    }

    /// Enters a ring if it has anything, until it is seen empty or has had its share.
    ///
    /// The clock was read *before* each look: bytes that arrive later are stamped with that moment
    /// or an earlier one.
    fn collect(&mut self, bank: usize, clock: Clock<'_>) {
        let many = self.settings.cq_entries / 2;
        let mut reaped = 0;
        for pass in 0..PASSES_MAX {
            if pass > 0 {
                self.now = clock();
            }
            let entry = &mut self.banks[bank];
            if entry.ring.is_quiet() {
                self.seen_quiet(bank);
                break;
            }
            let loaded = (entry.loaded || pass >= PASSES_SMALL) && entry.ring.has_deferred();
            entry.ring.collect(if loaded { many } else { 0 });
            reaped += self.reap(bank);
        }
        self.banks[bank].loaded = reaped > LOADED_MIN;
    }

    /// The ring has nothing: all that arrived before now was noticed.
    fn seen_quiet(&mut self, bank: usize) {
        let Bank { seen_empty, listened_at, fresh_stamp, armed, mend_from, .. } =
            &mut self.banks[bank];
        // What a lost completion would have told is noticed by mending only.
        if mend_from.is_some() {
            return;
        }
        *seen_empty = self.now;
        *fresh_stamp = None;
        if *armed > 0 {
            *listened_at = self.now;
        }
    }

    /// Takes what a ring has completed through the one dispatch path; returns how many.
    fn reap(&mut self, bank: usize) -> usize {
        let mut completions = std::mem::take(&mut self.completions);
        let Bank { ring, lost, mend_from, .. } = &mut self.banks[bank];
        if ring.is_overflown() {
            self.counters.cq_overflows += 1;
        }
        ring.reap(&mut completions);
        let lost_now = ring.lost();
        if lost_now != *lost {
            self.counters.lost_completions += u64::from(lost_now.wrapping_sub(*lost));
            *lost = lost_now;
            *mend_from = Some(0);
            // Its end may be among them; one too many wakes early once.
            self.timer = None;
        }
        let count = completions.len();
        for completion in completions.drain(..) {
            self.dispatch(bank, completion);
        }
        self.completions = completions;
        count
    }

    /// The one place where a completion takes effect. It changes state and lists only: events are
    /// reported by the next turn, so that any submission may bring completions.
    fn dispatch(&mut self, bank: usize, completion: Completion) {
        let Some((operation, generation, slot)) = user_data::decode(completion.user_data) else {
            self.counters.stale_completions += 1;
            return;
        };
        match operation {
            Operation::Poll => self.on_poll(bank, slot, generation, completion),
            Operation::Close => self.on_close(bank, slot, generation, completion.result),
            Operation::Receive | Operation::Send => {
                if !self.batch.complete(generation, slot, completion.result) {
                    self.counters.stale_completions += 1;
                }
            }
            Operation::Accept => self.on_accept(bank, generation, slot, completion.result),
            Operation::Connect => self.on_connect(bank, slot, generation, completion.result),
            Operation::Timer => self.timer = None,
            Operation::Cancel => self.on_cancel(bank, slot, generation, completion.result),
            Operation::CancelAccept if -completion.result == libc::ENOENT => {
                self.on_cancel_accept(bank, generation, slot);
            }
            Operation::CancelAccept | Operation::TimerUpdate | Operation::LastWords => {}
        }
    }

    fn on_poll(&mut self, bank: usize, slot: u32, generation: u32, completion: Completion) {
        let conn = self.conn(bank, slot, generation);
        let Bank { ring, places, seen_empty, fresh_stamp, .. } = &mut self.banks[bank];
        let place = match places.find(slot) {
            Some(place) if place.generation() == generation && place.has(Flags::OPEN) => place,
            _ => {
                self.counters.stale_completions += 1;
                return;
            }
        };
        if !completion.more {
            place.clear(Flags::POLLED);
        }
        if place.has(Flags::CLOSING) || place.has(Flags::ENDED) && !completion.more {
            return;
        }
        // A poll that failed may have missed anything: look.
        let events = u32::try_from(completion.result).unwrap_or(EVENTS_READ & !EVENTS_END);
        if !completion.more {
            place.set(Flags::POLLED);
            ring.push_poll(slot, user_data::encode(Operation::Poll, generation, slot));
            self.counters.polls_rearmed += 1;
        }
        if events & EVENTS_END != 0 {
            place.set(Flags::HANGING);
        }
        let fresh = if place.has(Flags::FRESH) { *fresh_stamp } else { None };
        place.clear(Flags::FRESH);
        if events & EVENTS_READ != 0 && !place.has(Flags::ENDED) {
            if place.has(Flags::LISTED) {
                place.set(Flags::SEEN_AGAIN);
            } else {
                place.set(Flags::LISTED);
                let stamp = fresh.map_or(*seen_empty, |fresh| fresh.min(*seen_empty));
                self.ready.push(Ready::new(conn, stamp, self.now));
            }
        }
        if events & (EVENTS_WRITE | EVENTS_END) != 0 {
            if place.has(Flags::SENDING) {
                place.set(Flags::SEEN_WRITABLE);
            }
            if place.has(Flags::WANTS_WRITE) {
                self.list_writable(conn);
            }
        }
    }

    /// Has `Writable` reported by the next turn.
    fn list_writable(&mut self, conn: ConnId) {
        let Some((_, _, place)) = self.live(conn) else { return };
        place.clear(Flags::WANTS_WRITE);
        if !place.has(Flags::WRITABLE) {
            place.set(Flags::WRITABLE);
            self.writable.push_back(conn);
        }
    }

    /// Begins the use of a slot whose socket is connected, and arms its poll.
    fn arm_poll(&mut self, bank: usize, slot: u32, generation: u32) {
        let Bank { ring, places, .. } = &mut self.banks[bank];
        places.get_mut(slot).set(Flags::POLLED);
        ring.push_poll(slot, user_data::encode(Operation::Poll, generation, slot));
    }

    fn deliver_lifecycle(&mut self, handler: &mut dyn FnMut(Event<'_>)) -> u32 {
        let mut events = 0;
        while let Some(item) = self.lifecycle.pop_front() {
            let (conn, event) = match item {
                Lifecycle::Accepted(conn, peer) => (conn, Event::Accepted { conn, peer }),
                Lifecycle::Connected(conn) => (conn, Event::Connected { conn }),
                Lifecycle::ConnectFailed(conn, errno) => {
                    (conn, Event::ConnectFailed { conn, errno })
                }
                Lifecycle::ReadOut(conn) => (conn, Event::ReadOut { conn }),
            };
            if self.live(conn).is_some() {
                handler(event);
                events += 1;
            }
        }
        events
    }

    fn deliver_writable(&mut self, limit: u32, handler: &mut dyn FnMut(Event<'_>)) -> u32 {
        let mut events = 0;
        while events < limit
            && let Some(conn) = self.writable.pop_front()
        {
            if let Some((_, _, place)) = self.live(conn) {
                place.clear(Flags::WRITABLE);
                handler(Event::Writable { conn });
                events += 1;
            }
        }
        events
    }

    fn count(&mut self) {
        for bank in &mut self.banks {
            self.counters.enters += bank.ring.take_enters();
        }
        self.counters.slots_used = self.slots_used();
        self.counters.listening = u64::from(self.is_listening());
    }

    fn slots_used(&self) -> u64 {
        self.banks.iter().map(|bank| u64::from(bank.used)).sum()
    }
}

impl Drop for Plane {
    /// An armed accept keeps the listener listening and points to our buffers: take them back.
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What is queued may point to what is gone, so it must not be submitted; the buffers
            // of accepts, which the kernel may still write to, are left to it.
            std::mem::forget(self.acceptor.take());
            return;
        }
        self.take_back_accepts();
    }
}

/// What a socket's receive queue can hold at most: the last number of `net.ipv4.tcp_rmem`, twice,
/// because what arrives while the socket is locked waits in a queue of its own.
fn receive_queue_bytes() -> u64 {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem")
        .ok()
        .and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .map_or(RECEIVE_QUEUE_BYTES_FALLBACK, |bytes| bytes.saturating_mul(2))
}
