//! Parking and arrival stamps.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use super::*;
use crate::base::entropy::{Entropy, SeededEntropy};

/// Parks until something happens, with a plain read.
fn park(world: &mut World, eventfd: &mut File, deadline: Option<Time>) -> bool {
    park_after_nap(world, eventfd, deadline, Duration::ZERO)
}

/// Parks the way the runtime does: a nap first.
fn park_after_nap(
    world: &mut World,
    eventfd: &mut File,
    deadline: Option<Time>,
    nap: Duration,
) -> bool {
    let parked = world.prepare_park(deadline);
    if parked && (nap.is_zero() || !world.plane.nap(nap)) {
        let mut counter = [0; 8];
        eventfd.read_exact(&mut counter).expect("a wake");
    }
    world.plane.unpark();
    parked
}

fn eventfd(world: &World) -> File {
    File::from(world.plane.duplicate_eventfd().expect("a descriptor"))
}

#[test]
fn no_wake_is_lost_in_random_gaps() {
    const ROUNDS: u32 = 20_000;
    // Many, because the moment at which a wake could be lost lasts as long as the look at them.
    const RINGS: u32 = 40;
    let mut world = World::new(PlaneSettings { slots_per_ring: 1, rings_max: RINGS, ..settings() });
    let address = world.address;
    let client = std::thread::spawn(move || {
        let mut clients: Vec<TcpStream> = (0..RINGS)
            .map(|_| {
                let client = TcpStream::connect(address).expect("connect");
                client.set_nodelay(true).expect("option");
                client.set_nonblocking(true).expect("option");
                client
            })
            .collect();
        let mut entropy = SeededEntropy::new(3, 0);
        for round in 0..ROUNDS {
            let chosen = usize::try_from(entropy.below(u64::from(RINGS))).expect("small");
            let client = &mut clients[chosen];
            client.write_all(&round.to_le_bytes()).expect("write");
            // Spinning, not sleeping, so that the next write falls into the plane's preparations.
            let mut answer = [0; 4];
            let begin = instant();
            while client.read(&mut answer).is_err() {
                assert!(begin.elapsed() < PATIENCE, "no answer: a wake was lost");
            }
            assert_eq!(answer, round.to_le_bytes());
            let below = if round % 4 == 0 { 15_000 } else { 4_000 };
            let (begin, gap) = (instant(), Duration::from_nanos(entropy.below(below)));
            while begin.elapsed() < gap {
                std::hint::spin_loop();
            }
        }
    });
    let mut eventfd = eventfd(&world);
    let (mut parks, mut ended, mut looks) = (0, 0, 0_u64);
    while ended < RINGS as usize {
        let begin = world.now();
        let deadline = begin + PATIENCE;
        // No nap, one that the wake ends, one that it may miss.
        let nap = [0, 1_000, 8][usize::try_from(looks % 3).expect("small")];
        looks += 1;
        let nap = Duration::from_micros(nap);
        parks += u32::from(park_after_nap(&mut world, &mut eventfd, Some(deadline), nap));
        assert!(world.now().since(begin) < PATIENCE / 4, "a wake was lost");
        world.turn();
        let answers: Vec<(ConnId, Vec<u8>)> = world
            .seen
            .iter_mut()
            .filter(|(_, seen)| seen.bytes.len() >= 4)
            .map(|(conn, seen)| (*conn, seen.bytes.drain(..4).collect()))
            .collect();
        for (conn, bytes) in answers {
            assert_eq!(world.send_one(conn, &bytes), SendOutcome::Sent(4));
        }
        ended = world.seen.values().filter(|seen| seen.end.is_some()).count();
    }
    client.join().expect("all answered");
    assert!(parks > ROUNDS / 20, "the test wants parks: {parks}");
    assert_eq!(world.plane.counters().rings, u64::from(RINGS));
}

#[test]
fn a_deadline_ends_parking() {
    let mut world = World::new(settings());
    let mut eventfd = eventfd(&world);
    for millis in [5, 1, 20, 2, 2] {
        let deadline = world.now() + Duration::from_millis(millis);
        let begin = instant();
        while world.now() < deadline {
            assert!(begin.elapsed() < PATIENCE);
            park(&mut world, &mut eventfd, Some(deadline));
            world.turn();
        }
    }
    assert!(!world.prepare_park(Some(Time::ZERO)), "a deadline that has passed");
    // A later deadline after an earlier one, and an earlier after a later.
    for millis in [1_000_000, 3, 500_000, 4] {
        let deadline = world.now() + Duration::from_millis(millis);
        if world.prepare_park(Some(deadline)) && millis < 10 {
            let mut counter = [0; 8];
            eventfd.read_exact(&mut counter).expect("the timer");
        }
        world.plane.unpark();
        world.turn();
    }
}

#[test]
fn a_timer_that_ended_unnoticed_is_armed_again() {
    // On a host that is busy with others, the time may be over before anybody parks.
    let parks = (0..100).map(|_| parks_until_a_timer_that_was_armed_again()).find(|it| *it > 0);
    assert!(parks.is_some_and(|parks| parks <= 2), "{parks:?}");
}

/// How often a shard parks until its timer wakes it, of which another one had ended unnoticed before.
fn parks_until_a_timer_that_was_armed_again() -> u32 {
    let mut world = World::new(settings());
    world.turn();
    let soon = world.now() + Duration::from_millis(2);
    assert!(world.prepare_park(Some(soon)));
    world.plane.unpark();
    until("the timer's end", || world.now() > soon + Duration::from_millis(2));
    // The look finds the end of the old timer, which thus wakes nobody.
    let later = world.now() + Duration::from_millis(5);
    assert!(!world.prepare_park(Some(later)), "parked without a timer");
    // What the look found was signalled as well: one wake for nothing, then the new timer.
    let mut eventfd = eventfd(&world);
    let mut parks = 0;
    while world.now() < later {
        parks += u32::from(park(&mut world, &mut eventfd, Some(later)));
    }
    parks
}

#[test]
fn other_threads_wake_a_parked_plane() {
    let mut world = World::new(settings());
    let mut eventfd = eventfd(&world);
    let waker = world.plane.waker();
    let (sender, receiver) = mpsc::channel::<u32>();
    let taken = Arc::new(AtomicU64::new(0));
    let seen = taken.clone();
    let thread = std::thread::spawn(move || {
        for number in 0..20_000 {
            sender.send(number).expect("the plane's thread listens");
            waker.wake();
            if number % 7 == 0 {
                let want = u64::from(number) + 1;
                until("the mail to be taken", || seen.load(Ordering::Acquire) >= want);
            }
        }
    });
    let mut parks = 0;
    while taken.load(Ordering::Acquire) < 20_000 {
        let begin = world.now();
        if world.prepare_park(Some(begin + PATIENCE)) {
            // Mail is looked for after the preparation.
            if let Ok(number) = receiver.try_recv() {
                taken.store(u64::from(number) + 1, Ordering::Release);
            } else {
                let mut counter = [0; 8];
                eventfd.read_exact(&mut counter).expect("a wake");
                parks += 1;
            }
            world.plane.unpark();
            assert!(world.now().since(begin) < PATIENCE / 4, "a wake was lost");
        }
        world.turn();
        while let Ok(number) = receiver.try_recv() {
            taken.store(u64::from(number) + 1, Ordering::Release);
        }
    }
    thread.join().expect("all mail was taken");
    assert!(parks > 0, "the test wants parks");
}

#[test]
fn stamps_are_never_later_than_the_arrival() {
    let mut world = World::new(settings());
    let mut pairs: Vec<_> = (0..20).map(|_| world.client_pair()).collect();
    let mut entropy = SeededEntropy::new(4, 0);
    for (client, _) in &pairs {
        // Without it a write may return long before its bytes leave.
        client.set_nodelay(true).expect("option");
    }
    // When each 100 bytes had arrived: on loopback, when the write has returned.
    let mut arrivals: Vec<Vec<Time>> = vec![Vec::new(); pairs.len()];
    for round in 0..3_000 {
        for _ in 0..entropy.below(4) {
            let chosen = usize::try_from(entropy.below(20)).expect("small");
            pairs[chosen].0.write_all(&[1; 100]).expect("write");
            arrivals[chosen].push(world.now());
        }
        if round % 5 < 3 {
            world.turn();
        }
        let promised = world.plane.received_all_until();
        for ((_, conn), arrivals) in pairs.iter().zip(&arrivals) {
            let due = arrivals.iter().filter(|arrival| **arrival < promised).count();
            assert!(world.seen[conn].bytes.len() >= due * 100, "promised, but not delivered");
        }
    }
    world.turn_until("the rest", |world| {
        let pairs = pairs.iter().zip(&arrivals);
        pairs.into_iter().all(|((_, conn), all)| world.seen[conn].bytes.len() == all.len() * 100)
    });
    for ((_, conn), arrivals) in pairs.iter().zip(&arrivals) {
        let mut from = 0;
        for (stamp, until) in &world.seen[conn].arrived {
            assert!(*stamp <= arrivals[from / 100], "{stamp} is after {}", arrivals[from / 100]);
            from = *until;
        }
    }
    // One by one, exactly: written after `before`, so the stamp may not be after the write.
    for (client, conn) in &mut pairs {
        world.turn_until("quiet", |world| {
            let now = world.now();
            world.turn();
            world.plane.received_all_until() >= now
        });
        let quiet_at = world.plane.received_all_until();
        let count = world.seen[conn].arrived.len();
        let begin = instant();
        while begin.elapsed() < Duration::from_micros(300) {
            std::hint::spin_loop();
        }
        client.write_all(&[2; 10]).expect("write");
        let written = world.now();
        world.turn_until("bytes", |world| world.seen[conn].arrived.len() > count);
        let (stamp, _) = world.seen[conn].arrived[count];
        assert!(stamp <= written && stamp >= quiet_at, "{quiet_at} {stamp} {written}");
        assert!(stamp + Duration::from_micros(250) < written, "the stall counts for the player");
    }
}

#[test]
fn what_waits_holds_back_the_promise() {
    let mut world = World::new(settings());
    let (mut client, conn) = world.client_pair();
    for _ in 0..20 {
        world.turn();
    }
    world.plane.pause_reading(true);
    client.write_all(b"waits").expect("write");
    let written = world.now();
    for _ in 0..50 {
        world.turn();
        assert!(world.plane.received_all_until() <= written);
    }
    assert!(world.prepare_park(None), "what is not to be read is no reason to stay awake");
    world.plane.unpark();
    world.plane.pause_reading(false);
    world.turn_until("bytes", |world| world.seen[&conn].bytes == b"waits");
    assert!(world.seen[&conn].arrived[0].0 <= written);
    world.turn_until("the promise", |world| world.plane.received_all_until() > written);
}

#[test]
fn bytes_that_waited_in_the_backlog_are_not_stamped_later_than_they_came() {
    let few = PlaneSettings { accepts_armed: 4, slots_per_ring: 8, ..settings() };
    let mut world = World::new(few);
    for _ in 0..5 {
        world.turn();
    }
    // More than accepts are armed and more than a ring holds, while the plane does something else.
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(world.address).expect("connect");
        client.write_all(b"x").expect("write");
        let written = world.now();
        clients.push((client.local_addr().expect("bound"), client, written));
    }
    let stalled = world.now();
    while world.now().since(stalled) < Duration::from_millis(3) {
        std::hint::spin_loop();
    }
    let heard = |world: &World, local| {
        let conn = world.find(local)?;
        world.seen[&conn].arrived.first().map(|(stamp, _)| *stamp)
    };
    world.turn_until("all bytes", |world| {
        let until = world.plane.received_all_until();
        let unheard = clients.iter().filter(|(local, ..)| heard(world, *local).is_none());
        let oldest = unheard.map(|(_, _, written)| *written).min();
        assert!(oldest.is_none_or(|written| until <= written), "{until:?} passes {oldest:?}");
        oldest.is_none()
    });
    for (local, _, written) in &clients {
        let stamp = heard(&world, *local).expect("heard");
        assert!(stamp <= *written, "came at {written:?} or before, stamped {stamp:?}");
    }
    // Afterwards the promise is as young as ever.
    let now = world.now();
    world.turn_until("the promise", |world| world.plane.received_all_until() >= now);
    assert!(world.plane.counters().rings >= 3, "the test wants new rings");
}

#[test]
fn who_finds_no_room_holds_back_nothing() {
    let few = PlaneSettings { slots_per_ring: 4, rings_max: 1, ..settings() };
    let mut world = World::new(few);
    let _clients: Vec<TcpStream> =
        (0..6).map(|_| TcpStream::connect(world.address).expect("connect")).collect();
    world.turn_until("four", |world| world.seen.len() == 4);
    let now = world.now();
    world.turn_until("the promise", |world| world.plane.received_all_until() >= now);
}
