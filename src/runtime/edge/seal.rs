//! TLS of a shard's connections: unsealing what comes, sealing what goes.
//!
//! What is sealed is used up: a record has a number, so bytes that the socket did not take are kept
//! *sealed* and precede everything, and the core is told that they were sent. Until they are, the
//! core's sends to that connection are blocked. Of what the core wants to send so much is sealed at a
//! time that a reader who does not read costs little.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::base::chunked::Chunked;
use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::net::{Plane, SendOutcome, SendRequest};
use crate::runtime::edge::Deliver;
use crate::shard::Shard;
use crate::shard::input::{Input, SendResult};
use crate::tls::{Session, SessionError, TlsConfig};

/// Plain bytes that are sealed for one connection at a time: what an idle reader can pin.
const SEAL_BYTES_MAX: usize = 8 * 1024;
/// Sends of one flush.
const FLUSH_BATCH: usize = 256;
/// How long a send waits that failed for want of kernel memory.
const STARVED_RETRY: Duration = Duration::from_millis(50);
/// Scratch memory is given back when it held more than this.
const SCRATCH_BYTES_KEPT: usize = 1024 * 1024;

/// The TLS of all connections of a shard.
pub(crate) struct Seals {
    config: TlsConfig,
    sessions: Chunked<Option<Box<Sealed>>>,
    /// Connections whose sealed bytes can be sent.
    flushing: VecDeque<ConnId>,
    /// Connections that the core is to be told of as writable.
    writable: VecDeque<ConnId>,
    /// Connections to be tried again because the kernel had no memory.
    starved: VecDeque<(Time, ConnId)>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
    spans: Vec<Span>,
    outcomes: Vec<SendOutcome>,
}

struct Sealed {
    generation: u32,
    session: Session,
    /// Records that were made and not sent.
    unsent: Vec<u8>,
    is_flushing: bool,
    /// The core was told that the socket is full.
    is_awaited: bool,
}

/// What came of received bytes.
pub(super) struct Unsealed {
    pub(super) plain: Vec<u8>,
    pub(super) is_open: bool,
    /// Nothing more comes.
    pub(super) is_over: bool,
    pub(super) has_failed: bool,
}

/// What is sent of a plan.
enum Span {
    /// These sealed bytes, for so many plain ones.
    Sealed(Range<usize>, usize),
    /// Others come first.
    Blocked,
    /// There is no such session, or it has failed.
    Gone,
}

impl Seals {
    pub(super) fn new(config: TlsConfig) -> Seals {
        Seals {
            config,
            sessions: Chunked::default(),
            flushing: VecDeque::new(),
            writable: VecDeque::new(),
            starved: VecDeque::new(),
            plain: Vec::new(),
            sealed: Vec::new(),
            spans: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    pub(super) fn renew(&mut self, config: TlsConfig) {
        self.config = config;
    }

    pub(super) fn begin(&mut self, conn: ConnId) -> Result<(), SessionError> {
        let session = Session::new(&self.config)?;
        let sealed = Sealed {
            generation: conn.generation,
            session,
            unsent: Vec::new(),
            is_flushing: false,
            is_awaited: false,
        };
        *self.sessions.get_mut(conn.place) = Some(Box::new(sealed));
        Ok(())
    }

    pub(super) fn unseal(&mut self, conn: ConnId, bytes: &mut [u8]) -> Unsealed {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let Some(sealed) = session(&mut self.sessions, conn) else {
            return Unsealed { plain, is_open: false, is_over: true, has_failed: false };
        };
        let received = sealed.session.receive(bytes, &mut plain, &mut sealed.unsent);
        let is_open = sealed.session.is_open();
        if !sealed.unsent.is_empty() {
            flush(&mut self.flushing, sealed, conn);
        }
        let has_failed = received.is_err();
        let is_over = received.map_or(true, |received| received.is_closed);
        Unsealed { plain, is_open: is_open && !has_failed, is_over, has_failed }
    }

    /// Takes scratch memory back.
    pub(super) fn give_back(&mut self, plain: Vec<u8>) {
        self.plain = plain;
        self.plain.clear();
        self.plain.shrink_to(SCRATCH_BYTES_KEPT);
    }

    /// A socket takes bytes again; true if they are ours to send.
    pub(super) fn writable(&mut self, conn: ConnId) -> bool {
        let Some(sealed) = session(&mut self.sessions, conn) else { return true };
        if sealed.unsent.is_empty() {
            // An edge that nobody waits for does no harm.
            return !sealed.session.is_open();
        }
        flush(&mut self.flushing, sealed, conn);
        true
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.starved.front().map(|(due, _)| *due)
    }

    /// What is sent last to a connection that is let go.
    pub(super) fn part(&mut self, conn: ConnId, last: &[u8]) -> Vec<u8> {
        let Some(mut sealed) = self.take(conn) else { return Vec::new() };
        let mut bytes = std::mem::take(&mut sealed.unsent);
        if !last.is_empty() && sealed.session.seal(last, &mut bytes).is_err() {
            return bytes;
        }
        sealed.session.close(&mut bytes);
        bytes
    }

    /// What is sent last to a connection whose handshake failed: an alert.
    pub(super) fn part_unopened(&mut self, conn: ConnId) -> Vec<u8> {
        self.take(conn).map(|sealed| sealed.unsent).unwrap_or_default()
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        self.take(conn);
    }

    fn take(&mut self, conn: ConnId) -> Option<Box<Sealed>> {
        session(&mut self.sessions, conn)?;
        self.sessions.take(conn.place)
    }

    /// Sends records that were not sent, and tells the core who can be sent to again.
    pub(super) fn flush(&mut self, now: Time, plane: &mut Plane, deliver: Deliver<'_>) -> bool {
        while let Some((due, conn)) = self.starved.front().copied()
            && due <= now
        {
            self.starved.pop_front();
            if let Some(sealed) = session(&mut self.sessions, conn) {
                flush(&mut self.flushing, sealed, conn);
            }
        }
        let batch: Vec<ConnId> =
            self.flushing.drain(..self.flushing.len().min(FLUSH_BATCH)).collect();
        let worked = !batch.is_empty() || !self.writable.is_empty();
        self.send_unsent(&batch, now, plane);
        while let Some(conn) = self.writable.pop_front() {
            deliver(Input::Writable { conn });
        }
        worked
    }

    fn send_unsent(&mut self, batch: &[ConnId], now: Time, plane: &mut Plane) {
        let Seals { sessions, outcomes, writable, starved, .. } = self;
        let sessions_of = |conn: &ConnId| {
            let sealed = sessions.find(conn.place)?.as_ref()?;
            let is_same = sealed.generation == conn.generation;
            is_same.then_some(SendRequest { conn: *conn, bytes: &sealed.unsent })
        };
        let requests: Vec<SendRequest<'_>> = batch.iter().filter_map(sessions_of).collect();
        if requests.is_empty() {
            return;
        }
        plane.send(&requests, outcomes);
        let conns: Vec<ConnId> = requests.iter().map(|request| request.conn).collect();
        for (conn, outcome) in conns.into_iter().zip(outcomes.drain(..)) {
            let Some(sealed) = session(sessions, conn) else { continue };
            sealed.is_flushing = false;
            match outcome {
                SendOutcome::Sent(count) if count == sealed.unsent.len() => {
                    sealed.unsent = Vec::new();
                    if std::mem::take(&mut sealed.is_awaited) {
                        writable.push_back(conn);
                    }
                }
                SendOutcome::Sent(count) => {
                    sealed.unsent.drain(..count);
                }
                SendOutcome::NoMemory => starved.push_back((now + STARVED_RETRY, conn)),
                // The plane tells of both.
                SendOutcome::Blocked | SendOutcome::Gone => {}
            }
        }
    }

    /// Sends what the core has planned; what became of it is added to `results`.
    pub(crate) fn send(
        &mut self,
        shard: &Shard,
        plane: &mut Plane,
        now: Time,
        results: &mut Vec<SendResult>,
    ) {
        self.sealed.clear();
        self.spans.clear();
        for plan in shard.plans() {
            let span = self.seal(plan.conn, shard.bytes_of(plan));
            self.spans.push(span);
        }
        let spans = std::mem::take(&mut self.spans);
        let sealed = std::mem::take(&mut self.sealed);
        let requests: Vec<SendRequest<'_>> = shard
            .plans()
            .iter()
            .zip(&spans)
            .filter_map(|(plan, span)| match span {
                Span::Sealed(range, _) => {
                    Some(SendRequest { conn: plan.conn, bytes: &sealed[range.clone()] })
                }
                Span::Blocked | Span::Gone => None,
            })
            .collect();
        let mut outcomes = std::mem::take(&mut self.outcomes);
        plane.send(&requests, &mut outcomes);
        drop(requests);
        let mut sent = outcomes.drain(..);
        for (plan, span) in shard.plans().iter().zip(&spans) {
            results.push(match span {
                Span::Blocked => SendResult::Blocked,
                Span::Gone => SendResult::Gone,
                Span::Sealed(range, plain_bytes) => {
                    let outcome = sent.next().unwrap_or(SendOutcome::Gone);
                    let is_all = *plain_bytes == shard.bytes_of(plan).len();
                    let rest = self.settle(plan.conn, &sealed[range.clone()], outcome, now);
                    match rest {
                        Some(is_sent) => {
                            self.wait_for_more(plan.conn, is_all, is_sent);
                            SendResult::Sent(*plain_bytes)
                        }
                        None => SendResult::Gone,
                    }
                }
            });
        }
        drop(sent);
        (self.spans, self.sealed, self.outcomes) = (spans, sealed, outcomes);
        self.sealed.clear();
        self.sealed.shrink_to(SCRATCH_BYTES_KEPT);
    }

    /// Seals what the core has for a connection, if nothing precedes it.
    fn seal(&mut self, conn: ConnId, bytes: &[u8]) -> Span {
        let Some(sealed) = session(&mut self.sessions, conn) else { return Span::Gone };
        if !sealed.unsent.is_empty() {
            sealed.is_awaited = true;
            return Span::Blocked;
        }
        let bytes = &bytes[..bytes.len().min(SEAL_BYTES_MAX)];
        let start = self.sealed.len();
        match sealed.session.seal(bytes, &mut self.sealed) {
            Ok(()) => Span::Sealed(start..self.sealed.len(), bytes.len()),
            Err(_) => {
                self.sealed.truncate(start);
                Span::Gone
            }
        }
    }

    /// Keeps what the socket did not take; says whether it took all. Nothing if it is gone.
    fn settle(
        &mut self,
        conn: ConnId,
        bytes: &[u8],
        outcome: SendOutcome,
        now: Time,
    ) -> Option<bool> {
        let sent = match outcome {
            SendOutcome::Sent(sent) => sent,
            SendOutcome::Blocked => 0,
            SendOutcome::NoMemory => {
                self.starved.push_back((now + STARVED_RETRY, conn));
                0
            }
            SendOutcome::Gone => return None,
        };
        let sealed = session(&mut self.sessions, conn)?;
        sealed.unsent.extend_from_slice(&bytes[sent..]);
        Some(sent == bytes.len())
    }

    /// The core takes a short send for a full socket, and waits to be told of room.
    fn wait_for_more(&mut self, conn: ConnId, is_all: bool, is_sent: bool) {
        if is_all {
            return;
        }
        if is_sent {
            self.writable.push_back(conn);
        } else if let Some(sealed) = session(&mut self.sessions, conn) {
            sealed.is_awaited = true;
        }
    }
}

fn session(sessions: &mut Chunked<Option<Box<Sealed>>>, conn: ConnId) -> Option<&mut Sealed> {
    let sealed = sessions.find_mut(conn.place)?.as_deref_mut()?;
    (sealed.generation == conn.generation).then_some(sealed)
}

fn flush(flushing: &mut VecDeque<ConnId>, sealed: &mut Sealed, conn: ConnId) {
    if !sealed.is_flushing {
        sealed.is_flushing = true;
        flushing.push_back(conn);
    }
}
