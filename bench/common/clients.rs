//! The load: up to a million WebSocket clients in one thread that spins on its own core.
//!
//! The same clients are used with every server, so that what differs is the server. They cost
//! little: sockets are direct descriptors (a ring's table may hold as many as the process may have
//! files, and there are several rings), connects, receives and sends go to the kernel in batches,
//! everything that arrives is drained into one buffer and walked frame by frame in place. What a
//! client holds beside its socket is 24 bytes.
//!
//! What is said at connect and what is done with a message is the [`Audience`]'s. Time stamps are
//! taken once per batch of receives, after it: a message is never stamped too early.

mod addresses;
mod connection;
mod outgoing;
mod ring;

use std::collections::VecDeque;

use crate::common::clock::{now_ns, thread_cpu_ns};
use crate::common::problem::{Doing as _, Problem};

use addresses::Addresses;
use connection::Connection;
pub(crate) use connection::{Heard, header as frame_header};
pub(crate) use outgoing::Outgoing;
use ring::{Completion, Operation, Ring};

/// Sockets of one ring, if the process may have as many files.
const SLOTS_PER_RING: u32 = 16_384;
/// Descriptors that are left to everything else.
const FILES_RESERVED: u64 = 64;
/// Receives of one batch.
const PIECES: usize = 64;
/// Bytes of the buffer that one receive may fill.
const PIECE_BYTES: usize = 4_096;
/// Upgrades that may be under way at a time, unless a subject says otherwise: all of them fit the
/// smallest backlog.
pub(crate) const CONNECTS_IN_FLIGHT: u32 = 128;

/// Who the clients are: what they say when they connect, and what they make of what they hear.
pub(crate) trait Audience {
    /// Appends the upgrade request of client `index`.
    fn request(&mut self, index: u32, request: &mut Vec<u8>);

    /// The server's response to the upgrade has been read, with this status.
    fn upgraded(&mut self, index: u32, status: u16, outgoing: &mut Outgoing);

    /// A whole WebSocket frame has arrived.
    fn heard(&mut self, heard: Heard<'_>, outgoing: &mut Outgoing);
}

/// How the clients get to the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientsSettings {
    /// The server listens there, on all loopback addresses.
    pub(crate) port: u16,
    /// How many clients there will be.
    pub(crate) connections: u32,
    /// Files that this process may have.
    pub(crate) file_limit: u64,
    /// How many may be between their connect and the response to their upgrade.
    pub(crate) in_flight_max: u32,
    /// How long sockets are left alone after a look at them, nanoseconds. A client that reads a
    /// socket while the server still writes to it fights with the server for the same cache lines,
    /// as no client across a network does.
    pub(crate) look_interval_ns: u64,
}

/// All clients of one server.
pub(crate) struct Clients {
    rings: Vec<Ring>,
    slots_per_ring: u32,
    addresses: Addresses,
    connections: Vec<Connection>,
    wanted: u32,
    begun: u32,
    in_flight: u32,
    in_flight_max: u32,
    connected: u32,
    ended: u32,
    /// Connected and not yet greeted.
    fresh: Vec<u32>,
    /// By ring: clients that have something to read.
    ready: Vec<VecDeque<u32>>,
    outgoing: Outgoing,
    buffer: Box<[u8]>,
    completions: Vec<Completion>,
    sent_bytes: usize,
    look_interval_ns: u64,
    next_look_ns: u64,
    problem: Option<String>,
    busy_ns: u64,
}

impl Clients {
    /// Nobody is connected yet.
    pub(crate) fn new(settings: ClientsSettings) -> Result<Clients, Problem> {
        let ClientsSettings { port, connections, file_limit, in_flight_max, look_interval_ns } =
            settings;
        let files = u32::try_from(file_limit.saturating_sub(FILES_RESERVED)).unwrap_or(u32::MAX);
        let slots_per_ring = SLOTS_PER_RING.min(files.max(1)).min(connections.max(1));
        let count = connections.div_ceil(slots_per_ring);
        let rings: Result<Vec<Ring>, Problem> =
            (0..count).map(|_| Ring::new(slots_per_ring)).collect();
        Ok(Clients {
            rings: rings?,
            slots_per_ring,
            addresses: Addresses::new(port, connections),
            connections: (0..connections).map(|_| Connection::default()).collect(),
            wanted: 0,
            begun: 0,
            in_flight: 0,
            in_flight_max,
            connected: 0,
            ended: 0,
            fresh: Vec::new(),
            ready: (0..count).map(|_| VecDeque::new()).collect(),
            outgoing: Outgoing::default(),
            buffer: vec![0; PIECES * PIECE_BYTES].into_boxed_slice(),
            completions: Vec::new(),
            sent_bytes: 0,
            look_interval_ns,
            next_look_ns: 0,
            problem: None,
            busy_ns: 0,
        })
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.connections.len()).unwrap_or(u32::MAX)
    }

    /// Clients with an open connection.
    pub(crate) fn connected(&self) -> u32 {
        self.connected
    }

    /// Clients whose connection the server has closed.
    pub(crate) fn ended(&self) -> u32 {
        self.ended
    }

    /// From now on, let this many clients be connected, in the order of their numbers.
    pub(crate) fn want(&mut self, connections: u32) {
        self.wanted = connections.min(self.len());
    }

    /// Messages that wait to be sent; they are sent by the next turn.
    pub(crate) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// CPU of turns that found something to do, since the last time this was asked, nanoseconds:
    /// what the clients cost. Looking around in vain costs the whole core and is left out.
    pub(crate) fn take_busy_ns(&mut self) -> u64 {
        std::mem::take(&mut self.busy_ns)
    }

    /// Does what can be done now and returns at once.
    pub(crate) fn turn(&mut self, audience: &mut dyn Audience) -> Result<(), Problem> {
        if self.begun < self.wanted && self.in_flight < self.in_flight_max {
            let from_ns = thread_cpu_ns();
            self.begin_connects();
            self.busy_ns += thread_cpu_ns() - from_ns;
        }
        let waits = !self.outgoing.is_empty() || self.ready.iter().any(|ready| !ready.is_empty());
        let at_ns = now_ns();
        let is_early = at_ns < self.next_look_ns;
        if !waits && (is_early || !self.rings.iter_mut().any(Ring::has_news)) {
            return Ok(());
        }
        self.next_look_ns = at_ns + self.look_interval_ns;
        let from_ns = thread_cpu_ns();
        for ring in 0..self.rings.len() {
            if self.rings[ring].has_news() {
                self.rings[ring].enter().doing("entering a ring of the clients")?;
                self.reap(ring);
            }
            if !self.ready[ring].is_empty() {
                self.receive(ring, audience)?;
            }
        }
        self.greet(audience);
        self.send()?;
        self.busy_ns += thread_cpu_ns() - from_ns;
        match self.problem.take() {
            Some(problem) => Err(Problem::new(problem)),
            None => Ok(()),
        }
    }

    /// Turns until `done` says so; fails after `seconds`, with what was waited for.
    pub(crate) fn until<A: Audience>(
        &mut self,
        audience: &mut A,
        seconds: u64,
        what: &str,
        mut done: impl FnMut(&Clients, &A) -> bool,
    ) -> Result<(), Problem> {
        let deadline_ns = now_ns() + seconds * 1_000_000_000;
        while !done(self, audience) {
            self.turn(audience)?;
            if self.ended > 0 {
                let ended = self.ended;
                return Err(Problem::new(format!(
                    "the server closed {ended} connections while waiting for {what}"
                )));
            }
            if now_ns() > deadline_ns {
                return Err(Problem::new(format!("{what} did not happen within {seconds} s")));
            }
        }
        Ok(())
    }

    fn place(&self, index: u32) -> (usize, u32) {
        ((index / self.slots_per_ring) as usize, index % self.slots_per_ring)
    }

    fn begin_connects(&mut self) {
        while self.begun < self.wanted && self.in_flight < self.in_flight_max {
            let index = self.begun;
            let (ring, slot) = self.place(index);
            self.rings[ring].push_connect(slot, index, self.addresses.of(index));
            self.begun += 1;
            self.in_flight += 1;
        }
    }

    fn reap(&mut self, ring: usize) {
        let mut completions = std::mem::take(&mut self.completions);
        self.rings[ring].reap(&mut completions);
        for completion in completions.drain(..) {
            self.complete(ring, completion);
        }
        self.completions = completions;
    }

    fn complete(&mut self, ring: usize, completion: Completion) {
        let Completion { operation, index, result, more } = completion;
        match operation {
            Operation::Socket => self.fail("making a socket", index, result),
            Operation::Connect => {
                if result < 0 {
                    return self.fail("connecting", index, result);
                }
                self.connected += 1;
                self.fresh.push(index);
            }
            Operation::Poll => {
                if !more {
                    let (_, slot) = self.place(index);
                    self.rings[ring].push_poll(slot, index);
                }
                if !self.connections[index as usize].is_listed() {
                    self.connections[index as usize].set_listed(true);
                    self.ready[ring].push_back(index);
                }
            }
            Operation::Send => {
                let Ok(bytes) = usize::try_from(result) else {
                    return self.fail("sending", index, result);
                };
                self.sent_bytes += bytes;
            }
            // Taken where it was asked for.
            Operation::Receive => {}
        }
    }

    fn fail(&mut self, doing: &str, index: u32, result: i32) {
        let error = std::io::Error::from_raw_os_error(-result);
        self.problem = Some(format!("client {index}: {doing} failed: {error}"));
    }

    /// Says hello for those who are connected, and waits for what comes.
    fn greet(&mut self, audience: &mut dyn Audience) {
        for index in std::mem::take(&mut self.fresh) {
            let (ring, slot) = self.place(index);
            self.rings[ring].push_poll(slot, index);
            self.outgoing.push(index, |request| audience.request(index, request));
        }
    }

    /// Sends what waits. The bytes stay where they are until the kernel has copied them.
    fn send(&mut self) -> Result<(), Problem> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        self.sent_bytes = 0;
        for (index, bytes) in outgoing.messages() {
            let (ring, slot) = self.place(index);
            if self.rings[ring].is_full() {
                self.flush(ring)?;
            }
            // SAFETY: `outgoing` is untouched until all rings have submitted, below.
            unsafe { self.rings[ring].push_send(slot, index, bytes) }
        }
        for ring in 0..self.rings.len() {
            if self.rings[ring].has_queued() {
                self.flush(ring)?;
            }
        }
        if self.sent_bytes != outgoing.bytes() && self.problem.is_none() {
            let (sent, all) = (self.sent_bytes, outgoing.bytes());
            self.problem = Some(format!(
                "the kernel took {sent} of {all} bytes to send: the server does not read"
            ));
        }
        outgoing.clear();
        self.outgoing = outgoing;
        Ok(())
    }

    fn flush(&mut self, ring: usize) -> Result<(), Problem> {
        self.rings[ring].submit().doing("submitting to a ring of the clients")?;
        self.reap(ring);
        Ok(())
    }

    /// One batch of receives from clients of one ring.
    fn receive(&mut self, ring: usize, audience: &mut dyn Audience) -> Result<(), Problem> {
        let count = self.ready[ring].len().min(PIECES);
        for (place, piece) in self.buffer.chunks_exact_mut(PIECE_BYTES).take(count).enumerate() {
            let (index, place) = (self.ready[ring][place], u32::try_from(place).unwrap_or(0));
            let slot = index % self.slots_per_ring;
            // SAFETY: the buffer is untouched until the ring was entered, below.
            unsafe { self.rings[ring].push_receive(slot, place, piece) }
        }
        self.rings[ring].enter().doing("entering a ring of the clients")?;
        let mut completions = std::mem::take(&mut self.completions);
        self.rings[ring].reap(&mut completions);
        let at_ns = now_ns();
        let batch: [u32; PIECES] =
            std::array::from_fn(|place| self.ready[ring].get(place).copied().unwrap_or(0));
        self.ready[ring].drain(..count);
        for completion in completions.drain(..) {
            if completion.operation != Operation::Receive {
                self.complete(ring, completion);
                continue;
            }
            let place = completion.index as usize;
            self.received(ring, batch[place], place, completion.result, at_ns, audience);
        }
        self.completions = completions;
        Ok(())
    }

    fn received(
        &mut self,
        ring: usize,
        index: u32,
        place: usize,
        result: i32,
        at_ns: u64,
        audience: &mut dyn Audience,
    ) {
        let connection = &mut self.connections[index as usize];
        let length = usize::try_from(result).unwrap_or(0);
        if length == 0 {
            connection.set_listed(false);
            if result != -libc::EAGAIN {
                self.ended += 1;
                self.connected -= 1;
            }
            return;
        }
        let bytes = &self.buffer[place * PIECE_BYTES..][..length];
        let was_upgraded = connection.is_upgraded();
        let heard = connection.hear(index, bytes, at_ns, audience, &mut self.outgoing);
        if let Err(problem) = heard {
            self.problem = Some(format!("client {index}: {problem}"));
        }
        if connection.is_upgraded() && !was_upgraded {
            self.in_flight -= 1;
        }
        // The edge has been used up only if the kernel had no more than fitted.
        connection.set_listed(length == PIECE_BYTES);
        if length == PIECE_BYTES {
            self.ready[ring].push_back(index);
        }
    }
}
