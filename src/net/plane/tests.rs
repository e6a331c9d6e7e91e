//! Late completions, replayed: whatever the kernel might still say about the past changes nothing.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::*;
use crate::net::{ListenSettings, SendOutcome, SendRequest};

fn turn(plane: &mut Plane, events: &mut Vec<String>) {
    let clock = || Time::from_millis(1);
    plane.turn(&clock, TurnLimits::default(), &mut |event| events.push(format!("{event:?}")));
}

/// The connection of the only client, once it was accepted.
fn accepted(plane: &mut Plane) -> ConnId {
    let mut found = None;
    let clock = || Time::from_millis(1);
    while found.is_none() {
        plane.turn(&clock, TurnLimits::default(), &mut |event| {
            if let Event::Accepted { conn, .. } = event {
                found = Some(conn);
            }
        });
    }
    found.unwrap_or_default()
}

#[test]
fn late_completions_of_an_earlier_use_are_dropped_and_counted() {
    let address = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind_all(&ListenSettings::new(address), 1).expect("bind").remove(0);
    let address = listener.address();
    let one = PlaneSettings { slots_per_ring: 1, rings_max: 1, ..PlaneSettings::default() };
    let mut plane = Plane::new(one, Some(listener)).expect("a plane");
    let first_client = TcpStream::connect(address).expect("connect");
    let old = accepted(&mut plane);
    assert!(plane.close(old, b""));
    let _second_client = TcpStream::connect(address).expect("connect");
    let new = accepted(&mut plane);
    assert_eq!(old.place, new.place, "the test wants the place to be used again");
    drop(first_client);
    let mut events = Vec::new();
    for _ in 0..10 {
        turn(&mut plane, &mut events);
    }
    events.clear();

    let generation = old.generation;
    let number = plane.batch.number();
    let everything = EVENTS_READ | EVENTS_WRITE | EVENTS_END;
    let mask = i32::try_from(everything).expect("small");
    let replayed = [
        (Operation::Poll, generation, mask, true),
        (Operation::Poll, generation, mask, false),
        (Operation::Poll, generation, -libc::ECANCELED, false),
        (Operation::Connect, generation, 0, false),
        (Operation::Connect, generation, -libc::ECONNREFUSED, false),
        (Operation::Receive, number, 77, false),
        (Operation::Send, number, 77, false),
        (Operation::Close, number, 0, false),
        (Operation::Send, number.wrapping_sub(1) & user_data::GENERATION_MASK, 77, false),
    ];
    let before = plane.counters();
    for (operation, generation, result, more) in replayed {
        let user_data = user_data::encode(operation, generation, 0);
        plane.dispatch(0, Completion { user_data, result, more });
    }
    plane.dispatch(0, Completion { user_data: 0, result: 1, more: false });
    for _ in 0..10 {
        turn(&mut plane, &mut events);
    }
    assert_eq!(events, Vec::<String>::new());
    let after = plane.counters();
    assert_eq!(after.stale_completions - before.stale_completions, 10);
    assert_eq!(after.slots_used, 1);
    assert_eq!(after.polls_rearmed, before.polls_rearmed);
    // The new connection is as alive as before, the old id as dead.
    let mut results = Vec::new();
    let bytes = b"alive";
    let requests = [SendRequest { conn: old, bytes }, SendRequest { conn: new, bytes }];
    plane.send(&requests, &mut results);
    assert_eq!(results, [SendOutcome::Gone, SendOutcome::Sent(5)]);
}

#[test]
fn failing_accepts_are_counted_and_pause() {
    let address = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind_all(&ListenSettings::new(address), 1).expect("bind").remove(0);
    let spare = listener.socket().try_clone().expect("a duplicate");
    let mut plane = Plane::new(PlaneSettings::default(), Some(listener)).expect("a plane");
    let time = Cell::new(Time::from_millis(1));
    let clock = || time.get();
    let turns = |plane: &mut Plane, count: u32| {
        for _ in 0..count {
            plane.turn(&clock, TurnLimits::default(), &mut |_| {});
        }
        plane.counters()
    };
    turns(&mut plane, 3);
    // A listener that was shut down refuses every accept (EINVAL), armed and new.
    spare.shutdown(Shutdown::Both).expect("shut down");
    let armed = u64::from(PlaneSettings::default().accepts_armed);
    let counters = turns(&mut plane, 100);
    assert_eq!((counters.accept_errors, counters.accept_pauses), (armed, 1));
    let resume = time.get() + PlaneSettings::default().accept_pause;
    assert_eq!(plane.accept_resumes_at(), Some(resume), "parking would last no longer");
    time.set(resume);
    let counters = turns(&mut plane, 100);
    assert_eq!((counters.accept_errors, counters.accept_pauses), (2 * armed, 2));
}

#[test]
fn who_never_stops_sending_holds_back_the_promise_for_a_while_only() {
    let address = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind_all(&ListenSettings::new(address), 1).expect("bind").remove(0);
    let address = listener.address();
    let mut plane = Plane::new(PlaneSettings::default(), Some(listener)).expect("a plane");
    plane.receive_queue_bytes = 40_000;
    let mut client = TcpStream::connect(address).expect("connect");
    let conn = accepted(&mut plane);
    client.set_nonblocking(true).expect("option");
    let time = Cell::new(Time::from_millis(1));
    let clock = || time.get();
    let few = TurnLimits { receives: 1, ..TurnLimits::default() };
    let bytes = vec![0; 400_000];
    let mut behind = Vec::new();
    for _ in 0..2_000 {
        // There is always more than one turn reads.
        let _ = client.write(&bytes);
        time.set(time.get() + Duration::from_micros(100));
        plane.turn(&clock, few, &mut |_| {});
        assert!(plane.received_all_until() <= time.get());
        behind.push(time.get().since(plane.received_all_until()));
    }
    assert!(plane.is_open(conn));
    let worst = behind.iter().max().copied().unwrap_or_default();
    let turns = plane.receive_queue_bytes / u64::from(PlaneSettings::default().piece_bytes) + 2;
    // Two queues' worth of turns: one is read before the stamp moves, another until the next.
    assert!(worst > Duration::from_millis(1), "the test wants a flood: {worst:?}");
    let bound = Duration::from_micros(100) * 2 * u32::try_from(turns).expect("few");
    assert!(worst <= bound, "{worst:?} is more than {bound:?}");
}

/// A plane with a client, and the plane's side of it.
fn pair(settings: PlaneSettings) -> (Plane, SocketAddr, TcpStream, ConnId) {
    let address = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind_all(&ListenSettings::new(address), 1).expect("bind").remove(0);
    let address = listener.address();
    let mut plane = Plane::new(settings, Some(listener)).expect("a plane");
    let client = TcpStream::connect(address).expect("connect");
    let conn = accepted(&mut plane);
    let mut events = Vec::new();
    for _ in 0..10 {
        turn(&mut plane, &mut events);
    }
    (plane, address, client, conn)
}

/// Takes what the ring has completed, without telling anybody or telling the plane.
fn complete(plane: &mut Plane, told: bool) -> usize {
    let mut count = 0;
    for _ in 0..20 {
        plane.banks[0].ring.collect(0);
        if told {
            count += plane.reap(0);
        } else {
            plane.banks[0].ring.reap(&mut plane.completions);
            count += plane.completions.len();
            plane.completions.clear();
        }
    }
    count
}

#[test]
fn an_edge_between_a_receive_and_its_result_is_read() {
    let (mut plane, _, mut client, conn) = pair(PlaneSettings::default());
    client.write_all(b"first").expect("write");
    while plane.ready.is_empty() {
        complete(&mut plane, true);
    }
    let mut batch = Vec::new();
    plane.submit_receives(1, &mut batch);
    client.write_all(b"second").expect("write");
    // As `finish_batch` does while results are missing.
    assert!(complete(&mut plane, true) > 0, "the test wants the edge");
    let mut received = Vec::new();
    let handler: &mut dyn FnMut(Event<'_>) = &mut |event| {
        if let Event::Received { bytes, .. } = event {
            received.extend_from_slice(bytes);
        }
    };
    let (entry, place) = batch.remove(0);
    let result = plane.batch.result(place).expect("a result");
    plane.deliver_received(entry, place, result, handler);
    assert_eq!(plane.ready.oldest(), Some(entry.stamp), "the promise does not pass the bytes");
    for _ in 0..10 {
        plane.turn(&|| Time::from_millis(2), TurnLimits::default(), handler);
    }
    assert_eq!(received, b"firstsecond");
    assert!(plane.is_open(conn));
}

#[test]
fn a_writable_edge_within_a_batch_of_sends_is_told() {
    let (mut plane, _, _client, conn) = pair(PlaneSettings::default());
    let request = SendRequest { conn, bytes: b"x" };
    let edge = i32::try_from(EVENTS_WRITE).expect("small");
    let user_data = user_data::encode(Operation::Poll, conn.generation, conn.place);
    let cases = [
        // An edge within the batch, result, outcome, whether `Writable` follows at once.
        (true, -libc::EAGAIN, SendOutcome::Blocked, true),
        (true, 0, SendOutcome::Sent(0), true),
        (false, -libc::EAGAIN, SendOutcome::Blocked, false),
        // Nothing will come of the kernel, so it is told at once.
        (false, -libc::EINTR, SendOutcome::Sent(0), true),
    ];
    for (edge_comes, result, expected, told) in cases {
        let (bank, slot) = plane.begin_send(&request).expect("open");
        if edge_comes {
            plane.dispatch(0, Completion { user_data, result: edge, more: true });
        }
        let aim = Aim { request: 0, bank, slot };
        assert_eq!(plane.judge(&request, &aim, Some(result)), expected);
        let mut events = Vec::new();
        turn(&mut plane, &mut events);
        let writable = events.iter().any(|event| event.starts_with("Writable"));
        assert_eq!(writable, told, "{result}: {events:?}");
    }
}

#[test]
fn lost_completions_strand_nobody() {
    // The kernel has no memory to keep what does not fit into a queue: io_uring_enter says EBADR.
    let settings = PlaneSettings { accepts_armed: 2, ..PlaneSettings::default() };
    let (mut plane, address, mut client, conn) = pair(settings);
    let (generation, slot) = (conn.generation, conn.place);
    // Its poll ends and nobody hears of it, and its bytes were told to nobody.
    let poll = user_data::encode(Operation::Poll, generation, slot);
    plane.banks[0].ring.push_cancel(poll, 0);
    client.write_all(b"unheard").expect("write");
    // A client whose accept nobody hears of. It gets nothing, but holds nobody up.
    let _stranded = TcpStream::connect(address).expect("connect");
    assert!(complete(&mut plane, false) > 0, "the test wants losses");
    let before = plane.received_all_until();
    plane.banks[0].mend_from = Some(0);
    let mut received = Vec::new();
    let mut accepts = 0;
    let turns = |plane: &mut Plane, received: &mut Vec<u8>, accepts: &mut u32| {
        for _ in 0..50 {
            let clock = || Time::from_millis(7);
            plane.turn(&clock, TurnLimits::default(), &mut |event| match event {
                Event::Received { bytes, arrived, .. } => {
                    assert!(received.is_empty() == (arrived <= before));
                    received.extend_from_slice(bytes);
                }
                Event::Accepted { .. } => *accepts += 1,
                _ => {}
            });
        }
    };
    turns(&mut plane, &mut received, &mut accepts);
    assert_eq!(received, b"unheard");
    assert!(plane.received_all_until() > before, "the promise goes on");
    client.write_all(b", heard").expect("write");
    turns(&mut plane, &mut received, &mut accepts);
    assert_eq!(received, b"unheard, heard", "its poll is armed again");
    let mut newcomers: Vec<TcpStream> =
        (0..10).map(|_| TcpStream::connect(address).expect("connect")).collect();
    turns(&mut plane, &mut received, &mut accepts);
    assert_eq!(accepts, 10, "accepts come back");
    newcomers.truncate(1);
    let mut results = Vec::new();
    plane.send(&[SendRequest { conn, bytes: b"answer" }], &mut results);
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"answer");
}
