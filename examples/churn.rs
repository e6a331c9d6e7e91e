//! Connects and closes, many times over, with resets in between, and compares what is left.
//!
//! `cargo run --release --example churn -- 1000000 [PARALLEL]`: a listening plane and a connecting
//! one on two threads, so many connections in all, a good thousand at a time. Each connection says
//! something and ends in one of six ways. At the end slots, descriptors and the kernel's sockets
//! must be back at the baseline; exit status 1 if not.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate::base::ids::ConnId;
use tidegate::base::time::Time;
use tidegate::net::{
    Event, ListenSettings, Listener, Plane, PlaneCounters, PlaneSettings, SendRequest, TurnLimits,
};

/// Connections at a time, unless the command line says otherwise.
const PARALLEL: usize = 1_000;
/// The kernel frees sockets and rings behind our back: how long it may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let total = arguments.next().unwrap_or(20_000);
    let parallel = arguments.next().unwrap_or(PARALLEL);
    let begin = now();
    let before = Baseline::take();
    let listen = ListenSettings::new(([127, 0, 0, 1], 0).into());
    let listener = match Listener::bind_all(&listen, 1) {
        Ok(mut listeners) => listeners.remove(0),
        Err(error) => return fail(&error.to_string()),
    };
    let address = listener.address();
    let done = Arc::new(AtomicBool::new(false));
    let server = std::thread::spawn({
        let done = done.clone();
        move || serve(listener, &done)
    });
    let swarm = std::thread::spawn(move || connect(address, total, parallel));
    let (Ok(swarm), ()) = (swarm.join(), done.store(true, Ordering::Release)) else {
        return fail("the connecting thread panicked");
    };
    let Ok(server) = server.join() else { return fail("the listening thread panicked") };
    let mut after = Baseline::take();
    let waiting = now();
    while !after.is_near(&before) && waiting.elapsed() < PATIENCE {
        std::thread::yield_now();
        after = Baseline::take();
    }
    report(&format!("{total} connections in {:.1} s", begin.elapsed().as_secs_f64()));
    report(&format!("listening:  {server:?}"));
    report(&format!("connecting: {swarm:?}"));
    report(&format!("before: {before:?}"));
    report(&format!("after:  {after:?}"));
    let accepted = usize::try_from(server.accepts).unwrap_or(0);
    if accepted < total - total / 10 || server.slots_used + swarm.slots_used > 0 {
        return fail("connections or slots are missing");
    }
    if !after.is_near(&before) {
        return fail("descriptors or sockets were left over");
    }
    ExitCode::SUCCESS
}

/// Accepts; answers; closes in one of three ways when the peer says so, and always at the end.
fn serve(listener: Listener, done: &AtomicBool) -> PlaneCounters {
    let settings =
        PlaneSettings { slots_per_ring: 2_000, rings_max: 64, ..PlaneSettings::default() };
    let mut plane = match Plane::new(settings, Some(listener)) {
        Ok(plane) => plane,
        Err(error) => panic!("{error}"),
    };
    let zero = now();
    let clock = || Time::ZERO + zero.elapsed();
    let limits = TurnLimits { closes: 256, ..TurnLimits::default() };
    let mut idle = 0;
    while idle < 1_000 {
        let mut words: Vec<(ConnId, u8)> = Vec::new();
        let mut ends: Vec<ConnId> = Vec::new();
        let report = plane.turn(&clock, limits, &mut |event| match event {
            Event::Received { conn, bytes, .. } => words.push((conn, bytes[0])),
            Event::Ended { conn, .. } => ends.push(conn),
            _ => {}
        });
        words.dedup_by_key(|(conn, _)| *conn);
        let requests: Vec<SendRequest<'_>> =
            words.iter().map(|(conn, _)| SendRequest { conn: *conn, bytes: b"hello" }).collect();
        plane.send(&requests, &mut Vec::new());
        for (conn, word) in words {
            match word {
                0 => drop(plane.close(conn, b"good bye")),
                1 => drop(plane.abort(conn)),
                2 => drop(plane.close(conn, b"")),
                _ => {}
            }
        }
        for conn in ends {
            plane.close(conn, b"");
        }
        let settled = done.load(Ordering::Acquire) && plane.counters().slots_used == 0;
        idle = if settled && report.events == 0 { idle + 1 } else { 0 };
    }
    plane.counters()
}

/// Connects; says how the connection shall end; for half of the ways ends it itself.
fn connect(address: SocketAddr, total: usize, parallel: usize) -> PlaneCounters {
    let settings =
        PlaneSettings { slots_per_ring: 2_000, rings_max: 64, ..PlaneSettings::default() };
    let mut plane = match Plane::new(settings, None) {
        Ok(plane) => plane,
        Err(error) => panic!("{error}"),
    };
    let zero = now();
    let clock = || Time::ZERO + zero.elapsed();
    let limits = TurnLimits { closes: 256, ..TurnLimits::default() };
    let (mut begun, mut live) = (0_usize, 0_usize);
    while begun < total || live > 0 || plane.counters().slots_used > 0 {
        while begun < total && live < parallel {
            // Many local addresses, or the ports would run out.
            let last = u8::try_from(begun % 250).unwrap_or(0) + 1;
            let local = ([127, 0, 7, last], 0).into();
            match plane.connect(address, Some(local)) {
                Ok(_) => (begun, live) = (begun + 1, live + 1),
                Err(error) => panic!("{error}"),
            }
        }
        let mut connected: Vec<ConnId> = Vec::new();
        let mut over: Vec<(ConnId, bool)> = Vec::new();
        plane.turn(&clock, limits, &mut |event| match event {
            Event::Connected { conn } => connected.push(conn),
            Event::ConnectFailed { conn, .. } | Event::Ended { conn, .. } => {
                over.push((conn, false));
            }
            Event::Received { conn, .. } if way(conn) >= 3 => over.push((conn, way(conn) == 3)),
            _ => {}
        });
        let words: Vec<[u8; 1]> = connected.iter().map(|conn| [way(*conn)]).collect();
        let requests: Vec<SendRequest<'_>> = connected
            .iter()
            .zip(&words)
            .map(|(conn, bytes)| SendRequest { conn: *conn, bytes })
            .collect();
        plane.send(&requests, &mut Vec::new());
        // The sixth way: gone at once, with the answer unread.
        over.extend(connected.iter().filter(|conn| way(**conn) == 5).map(|conn| (*conn, true)));
        for (conn, reset) in over {
            let closed = if reset { plane.abort(conn) } else { plane.close(conn, b"") };
            live -= usize::from(closed);
        }
    }
    plane.counters()
}

/// How a connection ends, from 0 to 5.
fn way(conn: ConnId) -> u8 {
    u8::try_from((conn.place + conn.generation) % 6).unwrap_or(0)
}

/// What may not grow.
#[derive(Debug)]
struct Baseline {
    descriptors: usize,
    sockets: u64,
    tcp_allocated: u64,
}

impl Baseline {
    fn take() -> Baseline {
        let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let number = |line: &str, name: &str| -> u64 {
            let line = text.lines().find(|text| text.starts_with(line)).unwrap_or_default();
            let mut words = line.split_whitespace().skip_while(|word| *word != name);
            words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Baseline {
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            sockets: number("sockets:", "used"),
            tcp_allocated: number("TCP:", "alloc"),
        }
    }

    /// Other programs of the machine have sockets too.
    fn is_near(&self, before: &Baseline) -> bool {
        self.descriptors <= before.descriptors
            && self.sockets <= before.sockets + 20
            && self.tcp_allocated <= before.tcp_allocated + 20
    }
}

#[expect(clippy::disallowed_methods, reason = "this program's clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn report(text: &str) {
    println!("{text}");
}

fn fail(text: &str) -> ExitCode {
    report(text);
    ExitCode::FAILURE
}
