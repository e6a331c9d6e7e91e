//! A plane against real sockets on loopback. Nobody sleeps: everything polls until a deadline.

mod binding;
mod connects;
mod echo;
mod life;
mod park;
mod pressure;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::net::{
    End, Event, ListenSettings, Listener, Plane, PlaneSettings, SendOutcome, SendRequest,
    TurnLimits,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "the tests' clock")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

/// A clock that begins when it is made.
pub(super) fn clock() -> impl Fn() -> Time {
    let zero = instant();
    move || Time::ZERO + zero.elapsed()
}

/// Calls `step` until it says true.
#[track_caller]
pub(super) fn until(what: &str, mut step: impl FnMut() -> bool) {
    let begin = instant();
    while !step() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::yield_now();
    }
}

pub(super) fn settings() -> PlaneSettings {
    PlaneSettings { slots_per_ring: 1_000, rings_max: 4, ..PlaneSettings::default() }
}

pub(super) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(super) fn listener(settings: &ListenSettings) -> (Listener, SocketAddr) {
    let listener = Listener::bind_all(settings, 1).expect("loopback").remove(0);
    let address = listener.address();
    (listener, address)
}

/// What a test saw of one connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) peer: Option<SocketAddr>,
    pub(super) connected: bool,
    pub(super) connect_error: Option<i32>,
    pub(super) bytes: Vec<u8>,
    /// Stamp of each piece that was received, and how many bytes came with and before it.
    pub(super) arrived: Vec<(Time, usize)>,
    pub(super) end: Option<End>,
    pub(super) writable: u32,
    pub(super) read_out: u32,
}

/// A plane and what it reported.
pub(super) struct World {
    pub(super) plane: Plane,
    pub(super) address: SocketAddr,
    pub(super) seen: BTreeMap<ConnId, Seen>,
    pub(super) limits: TurnLimits,
    clock: Box<dyn Fn() -> Time>,
}

impl World {
    pub(super) fn new(settings: PlaneSettings) -> World {
        World::listening(settings, &ListenSettings::new(loopback()))
    }

    pub(super) fn listening(settings: PlaneSettings, listen: &ListenSettings) -> World {
        let (listener, address) = listener(listen);
        World::over(Plane::new(settings, Some(listener)).expect("a plane"), address)
    }

    /// A plane that only connects, to `address`.
    pub(super) fn client(settings: PlaneSettings, address: SocketAddr) -> World {
        World::over(Plane::new(settings, None).expect("a plane"), address)
    }

    fn over(plane: Plane, address: SocketAddr) -> World {
        let clock = Box::new(clock());
        World { plane, address, seen: BTreeMap::new(), limits: TurnLimits::default(), clock }
    }

    pub(super) fn now(&self) -> Time {
        (self.clock)()
    }

    /// One turn; what it reports is in `seen`.
    pub(super) fn turn(&mut self) {
        let seen = &mut self.seen;
        self.plane.turn(&self.clock, self.limits, &mut |event| note(seen, event));
    }

    /// Turns until `done`.
    #[track_caller]
    pub(super) fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        let begin = instant();
        while !done(self) {
            assert!(begin.elapsed() < PATIENCE, "waited in vain for: {what}");
            self.turn();
        }
    }

    pub(super) fn prepare_park(&mut self, deadline: Option<Time>) -> bool {
        self.plane.prepare_park(deadline, &self.clock)
    }

    /// A client of the standard library, and the plane's side of it.
    pub(super) fn client_pair(&mut self) -> (TcpStream, ConnId) {
        let client = TcpStream::connect(self.address).expect("connect");
        let local = client.local_addr().expect("bound");
        self.turn_until("the accept", |world| world.find(local).is_some());
        let conn = self.find(local).expect("just found");
        (client, conn)
    }

    pub(super) fn find(&self, peer: SocketAddr) -> Option<ConnId> {
        // The newest, because a port may come back.
        let mut found = self.seen.iter().filter(|(_, seen)| seen.peer == Some(peer));
        found.next_back().map(|(conn, _)| *conn)
    }

    pub(super) fn send_one(&mut self, conn: ConnId, bytes: &[u8]) -> SendOutcome {
        let mut results = Vec::new();
        self.plane.send(&[SendRequest { conn, bytes }], &mut results);
        assert_eq!(results.len(), 1);
        results[0]
    }
}

fn note(seen: &mut BTreeMap<ConnId, Seen>, event: Event<'_>) {
    match event {
        Event::Accepted { conn, peer } => {
            let old = seen.insert(conn, Seen { peer: Some(peer), ..Seen::default() });
            assert!(old.is_none(), "{conn} was reported twice");
        }
        Event::Connected { conn } => seen.entry(conn).or_default().connected = true,
        Event::ConnectFailed { conn, errno } => {
            seen.entry(conn).or_default().connect_error = Some(errno);
        }
        Event::Received { conn, bytes, arrived } => {
            let seen = known(seen, conn);
            assert!(seen.end.is_none(), "bytes after the end");
            seen.bytes.extend_from_slice(bytes);
            seen.arrived.push((arrived, seen.bytes.len()));
        }
        Event::Writable { conn } => known(seen, conn).writable += 1,
        Event::Ended { conn, end } => {
            let seen = known(seen, conn);
            assert!(seen.end.is_none(), "a connection ends once");
            seen.end = Some(end);
        }
        Event::ReadOut { conn } => known(seen, conn).read_out += 1,
    }
}

#[track_caller]
fn known(seen: &mut BTreeMap<ConnId, Seen>, conn: ConnId) -> &mut Seen {
    seen.get_mut(&conn).expect("nothing precedes the first event")
}
