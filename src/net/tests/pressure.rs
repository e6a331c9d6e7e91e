//! Too much of everything: full queues, stalled readers, floods.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

#[test]
fn a_completion_queue_of_64_loses_nothing() {
    let tiny = PlaneSettings { cq_entries: 64, slots_per_ring: 600, rings_max: 1, ..settings() };
    let mut world = World::new(tiny);
    let mut clients: Vec<TcpStream> = (0..500).map(|_| world.client_pair().0).collect();
    for round in 0..20_u32 {
        // All at the same instant, as far as the plane can tell: it does not run meanwhile.
        for client in &mut clients {
            client.write_all(&round.to_le_bytes()).expect("write");
        }
        world.turn_until("all of the round", |world| {
            world.seen.values().all(|seen| seen.bytes.len() == 4 * (round as usize + 1))
        });
        let conns: Vec<ConnId> = world.seen.keys().copied().collect();
        let requests: Vec<SendRequest<'_>> =
            conns.iter().map(|conn| SendRequest { conn: *conn, bytes: b"ok" }).collect();
        let mut results = Vec::new();
        world.plane.send(&requests, &mut results);
        assert!(results.iter().all(|result| *result == SendOutcome::Sent(2)), "{results:?}");
    }
    for client in &mut clients {
        let mut answers = [0; 40];
        client.read_exact(&mut answers).expect("all answers");
    }
    let counters = world.plane.counters();
    assert!(counters.cq_overflows > 0, "the test wants overflows: {counters:?}");
    assert_eq!(counters.lost_sends, 0);
    assert_eq!(counters.recv_bytes, 500 * 20 * 4);
}

/// The kernel's next automatic slot is the one that was closed last; so a client that is accepted
/// while results of closes wait for room in the queue gets a slot whose close is not yet known.
#[test]
fn a_client_gets_a_slot_whose_close_waits_in_a_full_queue() {
    let tiny = PlaneSettings { cq_entries: 64, slots_per_ring: 600, rings_max: 1, ..settings() };
    let mut world = World::new(tiny);
    let connect = |world: &World| -> Vec<TcpStream> {
        (0..32).map(|_| TcpStream::connect(world.address).expect("connect")).collect()
    };
    let mut clients = connect(&world);
    for round in 1..=40 {
        world.turn_until("all of the round", |world| world.seen.len() == 32 * round);
        // Accepts are armed and wait when the next clients come.
        for _ in 0..5 {
            world.turn();
        }
        let newcomers = connect(&world);
        let conns: Vec<ConnId> = world.seen.keys().copied().collect();
        for conn in conns {
            world.plane.close(conn, b"and the last words");
        }
        for mut client in std::mem::replace(&mut clients, newcomers) {
            let mut words = Vec::new();
            world.turn_until("the closes", |world| {
                world.plane.counters().closes == 32 * round as u64
            });
            client.read_to_end(&mut words).expect("an orderly end");
            assert_eq!(words, b"and the last words");
        }
    }
    let counters = world.plane.counters();
    assert!(counters.cq_overflows > 0, "the test wants overflows: {counters:?}");
    assert_eq!((counters.close_retries, counters.closes), (0, 32 * 40));
    world.turn_until("the last ones", |world| world.seen.len() == 32 * 41);
    assert_eq!(world.plane.counters().slots_used, 32);
}

#[test]
fn polls_that_overflow_ends_are_armed_again() {
    let tiny = PlaneSettings { cq_entries: 16, slots_per_ring: 600, rings_max: 1, ..settings() };
    let mut world = World::new(tiny);
    let mut clients: Vec<TcpStream> = (0..500).map(|_| world.client_pair().0).collect();
    for _ in 0..10 {
        for client in &mut clients {
            client.write_all(b"x").expect("write");
        }
        // Turns that read nothing: the completions pile up.
        world.plane.pause_reading(true);
        for _ in 0..5 {
            world.turn();
        }
        world.plane.pause_reading(false);
    }
    world.turn_until("all bytes", |world| world.seen.values().all(|seen| seen.bytes.len() == 10));
    assert!(world.plane.counters().polls_rearmed > 0, "{:?}", world.plane.counters());
}

/// Sends `bytes` from `sent` on; returns how many were taken.
fn push(world: &mut World, conn: ConnId, bytes: &[u8]) -> Option<usize> {
    match world.send_one(conn, bytes) {
        SendOutcome::Sent(count) => Some(count),
        SendOutcome::Blocked | SendOutcome::NoMemory => None,
        SendOutcome::Gone => panic!("the peer is there"),
    }
}

#[test]
fn a_stalled_reader_gets_every_byte_once() {
    let listen =
        ListenSettings { send_buffer_bytes: Some(4_608), ..ListenSettings::new(loopback()) };
    let mut world = World::listening(settings(), &listen);
    let (mut client, conn) = world.client_pair();
    client.set_nonblocking(true).expect("option");
    let stream: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut received) = (0, Vec::new());
    let (mut waits, mut seen_writable) = (0, 0);
    let mut blocked = false;
    let mut buffer = vec![0; 70_000];
    let begin = instant();
    while received.len() < stream.len() {
        assert!(begin.elapsed() < PATIENCE, "sent {sent}, received {}", received.len());
        // Sends go on until one says to wait; then only `Writable` lets them go on.
        while !blocked && sent < stream.len() {
            let end = (sent + 50_000).min(stream.len());
            match push(&mut world, conn, &stream[sent..end]) {
                Some(count) => {
                    sent += count;
                    blocked = sent < end;
                }
                None => blocked = true,
            }
            waits += u32::from(blocked);
        }
        // The reader stalls until the sender is blocked, and then reads a part or all.
        let portion = if waits % 2 == 0 { 1_000 } else { buffer.len() };
        while let Ok(count @ 1..) = client.read(&mut buffer[..portion]) {
            received.extend_from_slice(&buffer[..count]);
        }
        world.turn();
        let writable = world.seen[&conn].writable;
        if writable > seen_writable {
            seen_writable = writable;
            blocked = false;
        }
    }
    assert!(received == stream, "the stream came out changed");
    let counters = world.plane.counters();
    assert!(counters.short_sends > 0 && seen_writable > 5, "{counters:?}");
    assert!(u64::from(seen_writable) <= counters.short_sends + counters.blocked_sends);
}

#[test]
fn one_reader_that_never_reads_holds_little() {
    let mut world = World::new(settings());
    let (_client, conn) = world.client_pair();
    let mut taken = 0;
    while let Some(count) = push(&mut world, conn, &[0; 138]) {
        taken += count;
        assert!(taken < 4_000_000, "the send buffer has no bound");
        if count < 138 {
            break;
        }
    }
    assert!(taken > 10_000, "{taken}");
}

#[test]
fn a_flood_does_not_starve_others() {
    let mut world = World::new(PlaneSettings { scratch_pieces: 8, ..settings() });
    world.limits.receives = 8;
    let mut floods: Vec<TcpStream> = (0..4).map(|_| world.client_pair().0).collect();
    let (mut quiet, conn) = world.client_pair();
    for flood in &floods {
        flood.set_nonblocking(true).expect("option");
    }
    let bytes = vec![0; 100_000];
    let pour = |floods: &mut [TcpStream]| {
        for flood in floods {
            let _ = flood.write(&bytes);
        }
    };
    pour(&mut floods);
    world.turn();
    quiet.write_all(b"me too").expect("write");
    let mut turns = 0;
    while world.seen[&conn].bytes.is_empty() {
        pour(&mut floods);
        world.turn();
        turns += 1;
        assert!(turns < 50, "the quiet one was not read in {turns} turns");
    }
    assert_eq!(world.seen[&conn].bytes, b"me too");
}

#[test]
fn read_out_answers_after_everything_was_delivered() {
    let mut world = World::new(settings());
    let (mut client, conn) = world.client_pair();
    // Nothing there: the answer comes all the same.
    assert!(world.plane.read_out(conn));
    world.turn_until("the answer", |world| world.seen[&conn].read_out == 1);
    world.plane.pause_reading(true);
    client.write_all(&[3; 50_000]).expect("write");
    assert!(world.plane.read_out(conn));
    for _ in 0..20 {
        world.turn();
    }
    assert_eq!(world.seen[&conn].read_out, 1, "not while reading is paused");
    world.plane.pause_reading(false);
    world.turn_until("the answer", |world| world.seen[&conn].read_out == 2);
    assert_eq!(world.seen[&conn].bytes.len(), 50_000);
    drop(client);
    world.turn_until("the end", |world| world.seen[&conn].end.is_some());
    assert!(world.plane.read_out(conn));
    world.turn_until("the answer", |world| world.seen[&conn].read_out == 3);
}

#[test]
fn two_sends_for_one_connection_are_a_mistake_of_ours() {
    let mut world = World::new(settings());
    let (_client, conn) = world.client_pair();
    let twice = [SendRequest { conn, bytes: b"a" }, SendRequest { conn, bytes: b"b" }];
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.plane.send(&twice, &mut Vec::new());
    }));
    assert!(result.is_err());
    assert_eq!(
        world.plane.counters().sends,
        0,
        "no pointer was queued before the mistake was seen"
    );
}

#[test]
fn settings_are_checked() {
    let wrong = [
        PlaneSettings { slots_per_ring: 0, ..settings() },
        PlaneSettings { rings_max: 0, ..settings() },
        PlaneSettings { slots_per_ring: 1 << 20, rings_max: 17, ..settings() },
        PlaneSettings { sq_entries: 1_000, ..settings() },
        PlaneSettings { cq_entries: 8, ..settings() },
        PlaneSettings { scratch_pieces: 0, ..settings() },
        PlaneSettings { piece_bytes: 16, ..settings() },
        PlaneSettings { accepts_armed: 0, ..settings() },
    ];
    for settings in wrong {
        let error = Plane::new(settings, None).err().expect("refused");
        assert!(matches!(error, crate::net::PlaneError::Setting(_)), "{error}");
    }
}
