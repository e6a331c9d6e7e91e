//! Accepting: one-shot accepts with an address buffer each, armed only where a slot is free.

use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::{Bank, Lifecycle, Plane, RingUse};
use crate::base::time::Time;
use crate::net::listener::Listener;
use crate::net::places::Flags;
use crate::net::socket::AddressBuffer;
use crate::net::user_data::{self, GENERATION_MASK, Operation};

/// Turns that dropping a plane gives the kernel for cancelling its accepts.
const TAKE_BACK_ROUNDS_MAX: u32 = 1_000;

/// Turns that a listener which stops may find clients in its backlog, so that it stops at last.
const EMPTYING_TURNS_MAX: u32 = 1_000;

/// What a listener is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Accepts are armed while slots are free.
    Accepting,
    /// Nobody new is let into the backlog, and it is taken, because closing the listener would reset
    /// what is in it. It is empty when `until` has come and, after so many turns (at least one), an
    /// accept is armed and nothing waits in the rings.
    Emptying { turns: u32, until: Time },
    /// Armed accepts are being cancelled; those that complete all the same are taken.
    Cancelling,
}

/// One armed accept, or room for one.
struct Armed {
    buffer: AddressBuffer,
    /// The bank that it is armed on.
    bank: Option<usize>,
    /// Which use of the buffer this is.
    sequence: u32,
}

/// A listener that a plane serves.
pub(super) struct Acceptor {
    // After the rings: see `Plane`. The listener closes with this.
    listener: Listener,
    accepts: Vec<Armed>,
    idle: Vec<u32>,
    phase: Phase,
    resume_at: Option<Time>,
    /// No slot was free for an accept when one was to be armed.
    full: bool,
    /// The caller wants nobody for now.
    held: bool,
    /// The last moment at which nobody waited: an accept was armed, and nothing had come of it.
    backlog_empty_at: Time,
}

impl Acceptor {
    /// Nobody has waited at the listener since before `listened_at`.
    pub(super) fn new(listener: Listener, accepts: u32, listened_at: Time) -> Acceptor {
        let armed = || Armed { buffer: AddressBuffer::new(), bank: None, sequence: 0 };
        Acceptor {
            listener,
            accepts: (0..accepts).map(|_| armed()).collect(),
            idle: (0..accepts).rev().collect(),
            phase: Phase::Accepting,
            resume_at: None,
            full: false,
            held: false,
            backlog_empty_at: listened_at,
        }
    }

    fn is_idle(&self) -> bool {
        self.idle.len() == self.accepts.len()
    }
}

impl Plane {
    /// Stops accepting, in the turns that follow: those who wait in the backlog are taken while
    /// there is room, armed accepts are cancelled, then the listener closes. Who is about to connect
    /// gets `until` for it; newcomers are passed over, and find another listener or none.
    pub fn stop_accepting(&mut self, until: Time) {
        self.next_listener = None;
        if let Some(acceptor) = &mut self.acceptor
            && acceptor.phase == Phase::Accepting
        {
            // Where the kernel refuses, newcomers of the last moment are reset with the listener.
            let _ = acceptor.listener.pass_over_newcomers();
            acceptor.phase = Phase::Emptying { turns: 0, until };
        }
    }

    /// Accepts again after [`Plane::stop_accepting`], at another listener of the same address; nobody
    /// was there before `listened_at`. Does nothing while the present one serves.
    pub fn accept_at(&mut self, listener: Listener, listened_at: Time) {
        match &self.acceptor {
            Some(acceptor) if acceptor.phase == Phase::Accepting => {}
            Some(_) => self.next_listener = Some((listener, listened_at)),
            None => self.begin_accepting(listener, listened_at),
        }
    }

    fn begin_accepting(&mut self, listener: Listener, listened_at: Time) {
        let mut acceptor = Acceptor::new(listener, self.settings.accepts_armed, listened_at);
        acceptor.held = self.counters.accept_held > 0;
        self.acceptor = Some(acceptor);
    }

    /// Leaves clients in the backlog until told otherwise: the process is short of something. Accepts
    /// that are armed are taken back, in the turns that follow.
    pub fn hold_accepting(&mut self, hold: bool) {
        if self.counters.accept_held == u64::from(hold) {
            return;
        }
        self.counters.accept_holds += u64::from(hold);
        self.counters.accept_held = u64::from(hold);
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.held = hold;
        if hold && acceptor.phase == Phase::Accepting {
            self.cancel_accepts();
        }
    }

    /// Whether the listener is still open.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.acceptor.is_some()
    }

    /// Whether turns are needed until the listener is closed.
    pub(super) fn listener_is_stopping(&self) -> bool {
        self.acceptor.as_ref().is_some_and(|acceptor| match acceptor.phase {
            Phase::Accepting => false,
            Phase::Emptying { until, .. } => until <= self.now,
            Phase::Cancelling => true,
        })
    }

    /// When accepting resumes after a pause, or the listener closes; parking must not last longer.
    pub(super) fn accept_resumes_at(&self) -> Option<Time> {
        let acceptor = self.acceptor.as_ref()?;
        match acceptor.phase {
            Phase::Emptying { until, .. } => Some(until),
            Phase::Accepting | Phase::Cancelling => acceptor.resume_at,
        }
    }

    /// Arms accepts, or goes on with closing the listener.
    pub(super) fn serve_listener(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        match acceptor.phase {
            Phase::Accepting => {
                if acceptor.resume_at.is_none_or(|resume_at| resume_at <= self.now) {
                    acceptor.resume_at = None;
                    if !acceptor.held {
                        self.arm_accepts();
                    }
                }
            }
            Phase::Emptying { until, .. } if self.now < until => self.arm_accepts(),
            Phase::Emptying { turns, until } => self.empty_backlog(turns, until),
            Phase::Cancelling if acceptor.is_idle() => {
                self.acceptor = None;
                if let Some((listener, listened_at)) = self.next_listener.take() {
                    self.begin_accepting(listener, listened_at);
                }
            }
            Phase::Cancelling => {}
        }
    }

    fn empty_backlog(&mut self, turns: u32, until: Time) {
        let quiet = self.banks.iter_mut().all(|bank| bank.ring.is_quiet());
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.phase = Phase::Emptying { turns: turns + 1, until };
        let found_nobody = turns > 0 && quiet && !acceptor.is_idle();
        if !found_nobody && turns < EMPTYING_TURNS_MAX {
            self.arm_accepts();
            if self.acceptor.as_ref().is_some_and(|acceptor| !acceptor.is_idle()) {
                return;
            }
            // No room for anybody.
        }
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.phase = Phase::Cancelling;
        }
        self.cancel_accepts();
    }

    fn arm_accepts(&mut self) {
        while let Some(number) = self.next_idle_accept() {
            let bank = self.bank_with_room();
            let Some(acceptor) = &mut self.acceptor else { return };
            acceptor.full = bank.is_none();
            let Some(bank) = bank else { return };
            acceptor.idle.pop();
            let listener: RawFd = acceptor.listener.raw();
            let armed = &mut acceptor.accepts[number as usize];
            armed.bank = Some(bank);
            armed.sequence = (armed.sequence + 1) & GENERATION_MASK;
            let user_data = user_data::encode(Operation::Accept, armed.sequence, number);
            let (address, length) = armed.buffer.arm();
            let Bank { ring, armed, usage, .. } = &mut self.banks[bank];
            *usage = RingUse::Accepts;
            *armed += 1;
            // SAFETY: the buffer is boxed, belongs to the acceptor and is not touched before the
            // accept has completed; the acceptor is dropped only when all its accepts have
            // (`serve_listener`), or after the rings (`Plane::drop`, field order).
            unsafe { ring.push_accept(listener, address, length, user_data) }
        }
    }

    /// Works out since when nobody waits in the backlog. A client that comes completes one armed
    /// accept; so before the earliest of the moments at which rings with armed accepts were seen
    /// empty nobody had come who was not accepted by then.
    pub(super) fn note_backlog(&mut self) {
        let armed = self.banks.iter().filter(|bank| bank.armed > 0);
        let listened_at = armed.map(|bank| bank.listened_at).min();
        if let (Some(acceptor), Some(listened_at)) = (&mut self.acceptor, listened_at) {
            acceptor.backlog_empty_at = acceptor.backlog_empty_at.max(listened_at);
        }
    }

    /// Nobody who came before this waits in the backlog. Nothing while those who come are left
    /// there because there is no room or the caller wants nobody, or because the kernel refuses: nobody can wait for them.
    pub(super) fn backlog_empty_at(&self) -> Option<Time> {
        let acceptor = self.acceptor.as_ref()?;
        let taken = acceptor.phase != Phase::Cancelling
            && acceptor.resume_at.is_none()
            && !((acceptor.full || acceptor.held) && acceptor.is_idle());
        taken.then_some(acceptor.backlog_empty_at)
    }

    fn next_idle_accept(&self) -> Option<u32> {
        self.acceptor.as_ref()?.idle.last().copied()
    }

    /// The ring with most free slots that no armed accept has a claim on; a new one if the others
    /// are nearly full.
    fn bank_with_room(&mut self) -> Option<usize> {
        let slots = self.settings.slots_per_ring;
        let room = |bank: &Bank| match bank.usage {
            RingUse::Connects => 0,
            RingUse::Free | RingUse::Accepts => slots - bank.used - bank.armed,
        };
        let total: u64 = self.banks.iter().map(|bank| u64::from(room(bank))).sum();
        if total <= u64::from(self.settings.accepts_armed / 2) {
            match self.add_ring() {
                Ok(_) => {}
                Err(_) if total > 0 => {}
                Err(_) => self.pause_accepting(),
            }
        }
        (0..self.banks.len())
            .filter(|bank| room(&self.banks[*bank]) > 0)
            .max_by_key(|bank| room(&self.banks[*bank]))
    }

    pub(super) fn on_accept(&mut self, bank: usize, sequence: u32, number: u32, result: i32) {
        let Some(acceptor) = &mut self.acceptor else {
            self.counters.stale_completions += 1;
            return;
        };
        let armed = &mut acceptor.accepts[number as usize];
        let expected = armed.bank == Some(bank) && armed.sequence == sequence;
        assert!(expected, "an accept completes once, where it was armed");
        armed.bank = None;
        acceptor.idle.push(number);
        let peer = armed.buffer.take();
        let waited_since = acceptor.backlog_empty_at;
        self.banks[bank].armed -= 1;
        if let Ok(slot) = u32::try_from(result) {
            if self.banks[bank].places.get_mut(slot).has(Flags::CLOSING) {
                // The kernel gives out free slots only, so it was closed: the result got lost.
                self.free(bank, slot);
            }
            let place = self.banks[bank].places.get_mut(slot);
            let generation = place.open();
            place.set(Flags::FRESH);
            let fresh_stamp = &mut self.banks[bank].fresh_stamp;
            *fresh_stamp = Some(fresh_stamp.map_or(waited_since, |stamp| stamp.min(waited_since)));
            self.banks[bank].used += 1;
            self.counters.accepts += 1;
            self.arm_poll(bank, slot, generation);
            let conn = self.conn(bank, slot, generation);
            // The listener speaks IP, so there is an address; without one nobody is refused.
            let peer: SocketAddr = peer.unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
            // On a socket of both families IPv4 comes as ::ffff:192.0.2.1.
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            self.lifecycle.push_back(Lifecycle::Accepted(conn, peer));
            return;
        }
        match -result {
            libc::ECANCELED => {}
            // The client was gone before it was taken.
            libc::ECONNABORTED | libc::EINTR | libc::EPROTO => self.counters.accept_errors += 1,
            _ => {
                self.counters.accept_errors += 1;
                self.pause_accepting();
            }
        }
    }

    /// The cancellation of an accept found nothing: it is not armed any more, and if nobody heard of
    /// its end, that was lost. The slot that it may have filled stays reserved for it (`armed`).
    pub(super) fn on_cancel_accept(&mut self, bank: usize, sequence: u32, number: u32) {
        let Some(acceptor) = &mut self.acceptor else { return };
        let armed = &mut acceptor.accepts[number as usize];
        if armed.bank == Some(bank) && armed.sequence == sequence {
            armed.bank = None;
            acceptor.idle.push(number);
            self.counters.accept_errors += 1;
        }
    }

    /// Leaves clients in the backlog for a moment, because the kernel is out of something.
    fn pause_accepting(&mut self) {
        let resume_at = self.now + self.settings.accept_pause;
        if let Some(acceptor) = &mut self.acceptor
            && acceptor.resume_at.is_none()
        {
            acceptor.resume_at = Some(resume_at);
            self.counters.accept_pauses += 1;
        }
    }

    pub(super) fn cancel_accepts(&mut self) {
        let Some(acceptor) = &self.acceptor else { return };
        for (number, armed) in acceptor.accepts.iter().enumerate() {
            let (Some(bank), Ok(number)) = (armed.bank, u32::try_from(number)) else { continue };
            let target = user_data::encode(Operation::Accept, armed.sequence, number);
            let user_data = user_data::encode(Operation::CancelAccept, armed.sequence, number);
            self.banks[bank].ring.push_cancel(target, user_data);
        }
    }

    /// Cancels all armed accepts and waits for the kernel to say so, because it may write into
    /// their buffers until then.
    pub(super) fn take_back_accepts(&mut self) {
        self.cancel_accepts();
        for _ in 0..TAKE_BACK_ROUNDS_MAX {
            if self.acceptor.as_ref().is_none_or(Acceptor::is_idle) {
                return;
            }
            for bank in 0..self.banks.len() {
                self.banks[bank].ring.collect(0);
                self.reap(bank);
            }
        }
    }
}
