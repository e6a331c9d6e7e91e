//! The edge: what stands between the socket plane and the shard core.
//!
//! Before the core hears of a connection it may have to say by a PROXY header who it is, to pass
//! the *gate*, and to finish a TLS handshake; from then on its bytes pass here, sealed on the one
//! side and plain on the other. With nothing switched on all of this is one comparison an event, and
//! a connection costs nothing.
//!
//! Invariants: the core is told of a connection's beginning before anything else of it, and of
//! nothing of one that was not let in; whoever was counted by the gate is counted out when the
//! connection is let go, at one place (`Edge::forget`). What waits here is bounded by its timeouts.

mod counters;
pub(crate) mod gate;
mod seal;
mod wait;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::addresses::{AddressKey, Network};
use crate::base::chunked::Chunked;
use crate::base::ids::{ConnId, ShardId};
use crate::base::time::Time;
use crate::net::{Event, Plane, TurnLimits};
use crate::shard::input::Input;
use crate::tls::TlsConfig;
use crate::wire::proxy::{self, Proxy};
use crate::wire::upgrade::UpgradeError;

pub(crate) use counters::EdgeCounters;
pub use gate::GateSettings;
use gate::{Gate, Refusal};
use seal::{Seals, Unsealed};
use wait::{Room, Waiting};

/// How long a connection that is refused has to send its request: an answer that comes before it
/// would be lost with the reset that the request meets.
const REFUSED_PATIENCE: Duration = Duration::from_secs(1);
/// Refused connections that wait for their request; more are reset at once.
const REFUSED_MAX: usize = 1_024;
/// Receives of one turn while handshakes are under way: some 5 ms if all of them are.
const HANDSHAKES_OF_A_TURN: u32 = 16;
/// Refusals are logged once in this time, each with how many there were.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// What stands before the core. By default nothing does.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// Limits on connecting.
    pub gate: GateSettings,
    /// Whose connections begin with a PROXY header.
    pub proxy_sources: Arc<[Network]>,
    /// How long such a header may take.
    pub proxy_timeout: Duration,
    /// TLS is spoken, at first with these certificates.
    pub tls: Option<TlsConfig>,
    /// How long a handshake may take.
    pub tls_timeout: Duration,
}

impl Default for EdgeSettings {
    /// Everybody comes in, plainly.
    fn default() -> EdgeSettings {
        EdgeSettings {
            gate: GateSettings::default(),
            proxy_sources: Arc::new([]),
            proxy_timeout: Duration::from_secs(3),
            tls: None,
            tls_timeout: Duration::from_secs(10),
        }
    }
}

/// A connection to be let go that the core knows nothing of.
pub(crate) struct Farewell {
    pub(crate) conn: ConnId,
    pub(crate) last: Vec<u8>,
    /// With a reset: nobody is told anything.
    pub(crate) abort: bool,
}

/// Hands the core what it is to hear.
pub(crate) type Deliver<'a> = &'a mut dyn FnMut(Input<'_>);

/// The edge of one shard.
pub(crate) struct Edge {
    me: ShardId,
    gate: Option<Arc<Gate>>,
    settings: EdgeSettings,
    room: Room,
    /// Whom the gate counts each connection for.
    keys: Chunked<Option<AddressKey>>,
    seals: Option<Seals>,
    farewells: VecDeque<Farewell>,
    counters: EdgeCounters,
    log_after: Time,
    unlogged: u64,
}

impl Edge {
    /// The edge of a shard; `gate` is the process's.
    pub(crate) fn new(me: ShardId, settings: EdgeSettings, gate: Arc<Gate>) -> Edge {
        Edge {
            me,
            gate: gate.is_on().then_some(gate),
            room: Room::default(),
            keys: Chunked::default(),
            seals: settings.tls.clone().map(Seals::new),
            settings,
            farewells: VecDeque::new(),
            counters: EdgeCounters::default(),
            log_after: Time::ZERO,
            unlogged: 0,
        }
    }

    /// Whether events may go to the core as they are.
    pub(crate) fn is_off(&self) -> bool {
        self.gate.is_none() && self.settings.proxy_sources.is_empty() && self.seals.is_none()
    }

    /// Connections that begin from now on use these certificates.
    pub(crate) fn renew(&mut self, config: TlsConfig) {
        if let Some(seals) = &mut self.seals {
            seals.renew(config);
        }
    }

    /// What seals and unseals, if TLS is spoken.
    pub(crate) fn seals(&mut self) -> Option<&mut Seals> {
        self.seals.as_mut()
    }

    /// What was done so far.
    pub(crate) fn counters(&self) -> EdgeCounters {
        EdgeCounters { waiting: self.room.count() as u64, ..self.counters }
    }

    /// When [`Edge::work`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let starved = self.seals.as_ref().and_then(Seals::deadline);
        [self.room.deadline(), starved].into_iter().flatten().min()
    }

    /// How much one turn may do: a handshake takes as long as many receives.
    pub(crate) fn turn_limits(&self) -> TurnLimits {
        let limits = TurnLimits::default();
        if self.seals.is_some() && self.room.count() > 0 {
            return TurnLimits { receives: HANDSHAKES_OF_A_TURN, ..limits };
        }
        limits
    }

    /// Takes what the socket plane reports.
    pub(crate) fn take(&mut self, event: Event<'_>, now: Time, deliver: Deliver<'_>) {
        match event {
            Event::Accepted { conn, peer } => {
                if self.settings.proxy_sources.iter().any(|source| source.contains(peer.ip())) {
                    let until = now + self.settings.proxy_timeout;
                    self.room.put(conn, Waiting::Header { peer, bytes: Vec::new() }, until);
                } else {
                    self.admit(conn, peer, now, deliver);
                }
            }
            Event::Received { conn, bytes, arrived } => {
                self.received(conn, bytes, Arrival { arrived, now }, deliver);
            }
            Event::Writable { conn } => {
                if self.seals.as_mut().is_none_or(|seals| !seals.writable(conn)) {
                    deliver(Input::Writable { conn });
                }
            }
            Event::Ended { conn, .. } => {
                if self.room.remove(conn).is_some() {
                    self.dismiss(conn, Vec::new());
                } else {
                    deliver(Input::Ended { conn });
                }
            }
            Event::ReadOut { conn } => deliver(Input::ReadOut { conn }),
            Event::Connected { .. } | Event::ConnectFailed { .. } => {}
        }
    }

    /// Ends what took too long, and sends what is sealed and unsent. True if there was anything.
    pub(crate) fn work(&mut self, now: Time, plane: &mut Plane, deliver: Deliver<'_>) -> bool {
        let mut worked = false;
        while let Some((conn, waiting)) = self.room.expire(now) {
            worked = true;
            // A refused client that said nothing has nothing coming to it.
            self.counters.timeouts += u64::from(!matches!(waiting, Waiting::Refused(_)));
            self.dismiss(conn, Vec::new());
        }
        if let Some(seals) = &mut self.seals {
            worked |= seals.flush(now, plane, deliver);
        }
        worked
    }

    /// A connection is let go by the core: what its peer is to get last, and nobody remembers it.
    pub(crate) fn part(&mut self, conn: ConnId, last: Bytes, now: Time) -> Bytes {
        self.forget(conn, now);
        match &mut self.seals {
            Some(seals) => seals.part(conn, &last).into(),
            None => last,
        }
    }

    /// The next connection that is let go and that the core knows nothing of.
    pub(crate) fn next_farewell(&mut self, now: Time) -> Option<Farewell> {
        let farewell = self.farewells.pop_front()?;
        self.forget(farewell.conn, now);
        Some(farewell)
    }

    fn forget(&mut self, conn: ConnId, now: Time) {
        if let (Some(gate), Some(key)) = (&self.gate, self.keys.take(conn.place)) {
            gate.leave(key, now);
        }
    }

    /// Asks the gate, and goes on with who may pass.
    fn admit(&mut self, conn: ConnId, peer: SocketAddr, now: Time, deliver: Deliver<'_>) {
        if let Some(gate) = self.gate.clone() {
            let key = gate.key(peer.ip());
            let is_dry_run = gate.is_dry_run();
            if let Err(refusal) = gate.enter(key, now, is_dry_run) {
                self.note_refusal(refusal, is_dry_run, peer, now);
                if !is_dry_run {
                    return self.refuse(conn, refusal, now);
                }
            }
            *self.keys.get_mut(conn.place) = Some(key);
        }
        self.let_in(conn, peer, now, deliver);
    }

    /// Begins TLS, or tells the core.
    fn let_in(&mut self, conn: ConnId, peer: SocketAddr, now: Time, deliver: Deliver<'_>) {
        let Some(seals) = &mut self.seals else {
            return deliver(Input::Opened { conn, peer });
        };
        match seals.begin(conn) {
            Ok(()) => {
                let until = now + self.settings.tls_timeout;
                self.room.put(conn, Waiting::Handshake { peer, has_begun: false }, until);
            }
            Err(error) => {
                tracing::error!(%error, "TLS cannot begin");
                self.counters.tls_errors += 1;
                self.farewells.push_back(Farewell { conn, last: Vec::new(), abort: true });
            }
        }
    }

    fn refuse(&mut self, conn: ConnId, refusal: Refusal, now: Time) {
        // To say it under TLS would take a handshake, which is what a flood is after.
        if self.seals.is_some() || self.room.refused() >= REFUSED_MAX {
            self.farewells.push_back(Farewell { conn, last: Vec::new(), abort: true });
        } else {
            let until = now + REFUSED_PATIENCE;
            self.room.put(conn, Waiting::Refused(refusal.error()), until);
        }
    }

    fn note_refusal(&mut self, refusal: Refusal, dry_run: bool, peer: SocketAddr, now: Time) {
        let counts = if dry_run {
            &mut self.counters.refused_in_dry_run
        } else {
            &mut self.counters.refused
        };
        counts[refusal as usize] += 1;
        self.unlogged += 1;
        if now >= self.log_after {
            let (shard, count, limit) = (self.me.0, self.unlogged, refusal.name());
            tracing::warn!(shard, count, %peer, limit, dry_run, "connections are beyond a limit");
            self.log_after = now + LOG_INTERVAL;
            self.unlogged = 0;
        }
    }

    fn received(&mut self, conn: ConnId, bytes: &mut [u8], when: Arrival, deliver: Deliver<'_>) {
        match self.room.get_mut(conn) {
            Some(Waiting::Header { .. }) => self.header(conn, bytes, when, deliver),
            Some(Waiting::Refused(error)) => {
                let response = error.response();
                self.room.remove(conn);
                self.dismiss(conn, response);
            }
            Some(Waiting::Handshake { has_begun, .. }) => {
                // Nothing of TLS begins with a letter; every plain request does.
                let is_plain = !*has_begun && bytes.first().is_some_and(u8::is_ascii_alphabetic);
                *has_begun = true;
                if is_plain {
                    self.counters.tls_errors += 1;
                    self.room.remove(conn);
                    self.dismiss(conn, UpgradeError::PlainOnTls.response());
                } else {
                    self.unseal(conn, bytes, when, deliver);
                }
            }
            None if self.seals.is_some() => self.unseal(conn, bytes, when, deliver),
            None => deliver(Input::Received { conn, bytes, arrived: when.arrived }),
        }
    }

    fn header(&mut self, conn: ConnId, bytes: &mut [u8], when: Arrival, deliver: Deliver<'_>) {
        let Some(Waiting::Header { peer, bytes: before }) = self.room.get_mut(conn) else { return };
        let peer = *peer;
        before.extend_from_slice(bytes);
        match proxy::parse(before) {
            Ok(Proxy::Incomplete) => {}
            Ok(Proxy::Header { consumed, client }) => {
                self.counters.proxy_headers += 1;
                let mut rest = before.split_off(consumed);
                self.room.remove(conn);
                match client {
                    Some(client) => self.admit(conn, client, when.now, deliver),
                    // The balancer looks whether we live: it is nobody's connection.
                    None => self.let_in(conn, peer, when.now, deliver),
                }
                if !rest.is_empty() {
                    self.received(conn, &mut rest, when, deliver);
                }
            }
            Err(error) => {
                self.counters.proxy_errors += 1;
                if when.now >= self.log_after {
                    tracing::warn!(%peer, %error, "a PROXY header is refused");
                    self.log_after = when.now + LOG_INTERVAL;
                }
                self.room.remove(conn);
                self.dismiss(conn, Vec::new());
            }
        }
    }

    fn unseal(&mut self, conn: ConnId, bytes: &mut [u8], when: Arrival, deliver: Deliver<'_>) {
        let Some(seals) = &mut self.seals else { return };
        let Unsealed { mut plain, is_open, is_over, has_failed } = seals.unseal(conn, bytes);
        self.counters.tls_errors += u64::from(has_failed);
        if let Some(Waiting::Handshake { peer, .. }) = self.room.get_mut(conn) {
            let peer = *peer;
            if is_open {
                self.room.remove(conn);
                self.counters.tls_handshakes += 1;
                deliver(Input::Opened { conn, peer });
            } else if is_over {
                self.room.remove(conn);
                let last = seals.part_unopened(conn);
                return self.dismiss(conn, last);
            }
        }
        if !plain.is_empty() {
            deliver(Input::Received { conn, bytes: &mut plain, arrived: when.arrived });
        }
        if is_over {
            deliver(Input::Ended { conn });
        }
        seals.give_back(plain);
    }

    /// Lets a connection go that the core knows nothing of.
    fn dismiss(&mut self, conn: ConnId, last: Vec<u8>) {
        if let Some(seals) = &mut self.seals {
            seals.forget(conn);
        }
        self.farewells.push_back(Farewell { conn, last, abort: false });
    }
}

/// When bytes came.
#[derive(Clone, Copy)]
struct Arrival {
    /// By the socket plane's stamp, which favours the sender.
    arrived: Time,
    /// By the clock.
    now: Time,
}
