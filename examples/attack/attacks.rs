//! What attackers do, each in one function that says what came of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::chosen::{compression_bomb, ending, hash_collisions, token_replay};
use crate::gateway::{Gateway, now, request};
use crate::pause;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Variables of the gateway.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Attacks, and says what came of it.
    pub(crate) run: fn(&Gateway) -> String,
}

const LATEST: Duration = Duration::from_secs(20);

pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "slow-headers", settings: &[], run: slow_headers },
    Attack { name: "half-open", settings: &[], run: half_open },
    Attack { name: "giant-header", settings: &[], run: giant_header },
    Attack {
        name: "cross-site",
        settings: &[("TIDEGATE_LIMITS__ORIGINS", "https://quiz.example")],
        run: cross_site,
    },
    Attack {
        name: "address-flood",
        settings: &[("TIDEGATE_LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "100")],
        run: address_flood,
    },
    Attack { name: "ping-flood", settings: &[], run: ping_flood },
    Attack { name: "message-flood", settings: &[], run: message_flood },
    Attack { name: "fragment-flood", settings: &[], run: fragment_flood },
    Attack { name: "compression-bomb", settings: &[], run: compression_bomb },
    Attack { name: "unmasked", settings: &[], run: unmasked },
    Attack { name: "token-replay", settings: &[], run: token_replay },
    Attack { name: "hash-collisions", settings: &[], run: hash_collisions },
    Attack {
        name: "never-reads",
        settings: &[
            ("TIDEGATE_LIMITS__IDLE_TIMEOUT_MS", "600000"),
            ("TIDEGATE_LIMITS__MEMORY_AVAILABLE_BYTES_MIN", "0"),
        ],
        run: never_reads,
    },
];

fn connections(gateway: &Gateway, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let stream = gateway.connect(1).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect()
}

/// Whether the gateway has closed a connection that does not block; what it said is dropped.
fn is_closed(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 4_096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// How long it takes until all are closed; the others are counted.
fn until_closed(mut streams: Vec<TcpStream>, mut act: impl FnMut(&mut TcpStream)) -> String {
    let (begun, count) = (now(), streams.len());
    while !streams.is_empty() && begun.elapsed() < LATEST {
        streams.retain_mut(|stream| !is_closed(stream));
        streams.iter_mut().for_each(&mut act);
        pause(Duration::from_millis(100));
    }
    let closed = count - streams.len();
    format!("{closed} of {count} closed within {:.1} s", begun.elapsed().as_secs_f64())
}

/// A request, one byte every 100 ms.
fn slow_headers(gateway: &Gateway) -> String {
    let bytes = request(1, &format!("Cookie: {}\r\n", "x".repeat(4_000))).into_bytes();
    let mut sent = 0;
    let streams = connections(gateway, 5_000);
    let mut turn = 0;
    let count = streams.len();
    until_closed(streams, |stream| {
        let _ = stream.write(&bytes[sent..=sent]);
        turn += 1;
        if turn >= count {
            (turn, sent) = (0, sent + 1);
        }
    })
}

/// Connections that say nothing.
fn half_open(gateway: &Gateway) -> String {
    until_closed(connections(gateway, 10_000), |_| ())
}

/// What each of many requests, one after another, is answered: status and how many.
fn statuses(gateway: &Gateway, count: u64, bytes: impl Fn(u64) -> Vec<u8>) -> String {
    let mut seen = std::collections::BTreeMap::new();
    let mut held = Vec::new();
    for user in 1..=count {
        let mut stream = gateway.connect(1).unwrap();
        // The gateway may close before all was sent.
        let _ = stream.write_all(&bytes(user));
        let mut answer = [0; 12];
        let status = match stream.read_exact(&mut answer) {
            Ok(()) => String::from_utf8_lossy(&answer[9..]).into_owned(),
            Err(_) => "reset".to_owned(),
        };
        *seen.entry(status).or_insert(0) += 1;
        held.push(stream);
    }
    let seen: Vec<_> = seen.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    seen.join(", ")
}

fn giant_header(gateway: &Gateway) -> String {
    let header = format!("Cookie: {}\r\n", "x".repeat(1_000_000));
    statuses(gateway, 500, |user| request(user, &header).into_bytes())
}

fn cross_site(gateway: &Gateway) -> String {
    statuses(gateway, 5_000, |user| request(user, "Origin: https://evil.example\r\n").into_bytes())
}

fn address_flood(gateway: &Gateway) -> String {
    let outcome = statuses(gateway, 10_000, |user| request(user, "").into_bytes());
    let other = gateway.enter(2, 99_999).is_some();
    format!("{outcome}; another address {}", if other { "is let in" } else { "is refused" })
}

/// Sends the same bytes on 100 connections, as fast as they are taken, until they are closed.
fn flood(gateway: &Gateway, bytes: &[u8], again: &[u8]) -> String {
    let mut sent = 0_u64;
    let mut streams: Vec<_> = (1..=100)
        .map(|user| {
            let mut stream = gateway.enter(1, user).unwrap();
            stream.write_all(bytes).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let begun = now();
    while !streams.is_empty() && begun.elapsed() < LATEST {
        streams.retain_mut(|stream| {
            let wrote = stream.write(again);
            sent += *wrote.as_ref().unwrap_or(&0) as u64;
            !wrote.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) && !is_closed(stream)
        });
    }
    let left = streams.len();
    let (took, kib) = (begun.elapsed().as_secs_f64(), sent / 1_024);
    format!("{} of 100 closed within {took:.2} s, {kib} KiB sent", 100 - left)
}

fn ping_flood(gateway: &Gateway) -> String {
    flood(gateway, &[], &[0x89, 0x80, 0, 0, 0, 0].repeat(1_000))
}

fn message_flood(gateway: &Gateway) -> String {
    // A binary message that is no Protobuf of ours: decoded, and answered with a failure.
    flood(gateway, &[], &[0x82, 0x82, 0, 0, 0, 0, 0x08, 0x07].repeat(1_000))
}

fn fragment_flood(gateway: &Gateway) -> String {
    let first = [0x02, 0x81, 0, 0, 0, 0, b'x'];
    flood(gateway, &first, &[0x00, 0x80, 0, 0, 0, 0].repeat(1_000))
}

fn unmasked(gateway: &Gateway) -> String {
    let mut seen = std::collections::BTreeMap::new();
    for user in 1..=2_000 {
        let mut stream = gateway.enter(1, user).unwrap();
        stream.write_all(&[0x82, 0x05, b'h', b'e', b'l', b'l', b'o']).unwrap();
        *seen.entry(ending(&mut stream)).or_insert(0) += 1;
    }
    let seen: Vec<_> =
        seen.iter().map(|(code, count): (&String, &u32)| format!("{count} × {code}")).collect();
    seen.join(", ")
}

/// Readers in a room that never read, while 32 MiB are said there.
fn never_reads(gateway: &Gateway) -> String {
    let readers: Vec<_> = (1..=1_000).map(|user| gateway.enter(1, user).unwrap()).collect();
    for _ in 0..128 {
        gateway.publish(64, 3_000);
        pause(Duration::from_millis(20));
    }
    pause(Duration::from_secs(1));
    let mut open = 0;
    for mut stream in readers {
        stream.set_nonblocking(true).unwrap();
        // What the kernel has for it, and then nothing or the end.
        open += u32::from(!is_closed(&mut stream));
    }
    format!("{open} of 1000 still open, with gaps to be told")
}
