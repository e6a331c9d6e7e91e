//! Connections come, go and come again: slots, generations, several rings, resets, closes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use socket2::{Domain, Socket, Type};

use super::*;

/// Makes the next close of a client a reset.
fn reset_on_close(client: &TcpStream) {
    socket2::SockRef::from(client).set_linger(Some(Duration::ZERO)).expect("option");
}

#[test]
fn two_thousand_clients_over_several_rings() {
    let mut world = World::new(PlaneSettings { slots_per_ring: 600, ..settings() });
    assert_eq!(world.plane.counters().rings, 1, "rings come with connections");
    let mut clients = Vec::new();
    for number in 0..2_000_u32 {
        let mut client = TcpStream::connect(world.address).expect("connect");
        client.write_all(&number.to_le_bytes()).expect("write");
        clients.push(client);
        world.turn();
    }
    world.turn_until("all numbers", |world| {
        world.seen.len() == 2_000 && world.seen.values().all(|seen| seen.bytes.len() == 4)
    });
    assert_eq!(world.plane.counters().rings, 4);
    let by_peer: BTreeMap<SocketAddr, ConnId> =
        world.seen.iter().filter_map(|(conn, seen)| Some((seen.peer?, *conn))).collect();
    for (number, client) in (0..2_000_u32).zip(&clients) {
        let conn = by_peer[&client.local_addr().expect("bound")];
        assert_eq!(world.seen[&conn].bytes, number.to_le_bytes(), "bytes of another client");
    }
    // One call, in random order of rings, answers all.
    let mut conns: Vec<ConnId> = by_peer.values().copied().collect();
    conns.sort_by_key(|conn| conn.place.wrapping_mul(2_654_435_761));
    let requests: Vec<SendRequest<'_>> =
        conns.iter().map(|conn| SendRequest { conn: *conn, bytes: b"pong" }).collect();
    let mut results = Vec::new();
    world.plane.send(&requests, &mut results);
    assert!(results.iter().all(|result| *result == SendOutcome::Sent(4)), "{results:?}");
    for client in &mut clients {
        let mut pong = [0; 4];
        client.read_exact(&mut pong).expect("an answer");
        assert_eq!(&pong, b"pong");
    }
    drop(clients);
    world.turn_until("all ends", |world| world.seen.values().all(|seen| seen.end.is_some()));
    assert!(world.seen.values().all(|seen| seen.end == Some(End::Eof)));
    for conn in conns {
        assert!(world.plane.close(conn, b""));
    }
    world.turn_until("all slots", |world| world.plane.counters().slots_used == 0);
}

#[test]
fn a_full_table_leaves_clients_in_the_backlog() {
    let few = PlaneSettings { slots_per_ring: 4, rings_max: 1, ..settings() };
    let mut world = World::new(few);
    let mut clients: Vec<TcpStream> =
        (0..6).map(|_| TcpStream::connect(world.address).expect("connect")).collect();
    world.turn_until("four", |world| world.seen.len() == 4);
    for _ in 0..1_000 {
        world.turn();
    }
    assert_eq!(world.seen.len(), 4, "the fifth waits");
    assert_eq!(world.plane.counters().accept_errors, 0, "nobody was accepted and dropped");
    let first: Vec<ConnId> = world.seen.keys().copied().collect();
    for (round, conn) in first.into_iter().take(2).enumerate() {
        assert!(world.plane.close(conn, b"bye"));
        world.turn_until("the next", |world| world.seen.len() == 5 + round);
    }
    // The two who waited are served like the others.
    for client in &mut clients[4..] {
        client.write_all(b"late").expect("write");
        let local = client.local_addr().expect("bound");
        world.turn_until("their bytes", |world| {
            world.find(local).is_some_and(|conn| world.seen[&conn].bytes == b"late")
        });
    }
}

#[test]
fn a_place_comes_back_with_another_generation() {
    let few = PlaneSettings { slots_per_ring: 1, rings_max: 1, ..settings() };
    let mut world = World::new(few);
    let mut last: Option<ConnId> = None;
    for round in 0..200_u32 {
        let (mut client, conn) = world.client_pair();
        if let Some(last) = last {
            assert_eq!(conn.place, last.place);
            assert_ne!(conn.generation, last.generation);
            // The id of before reaches nobody.
            assert_eq!(world.send_one(last, b"stale"), SendOutcome::Gone);
            assert!(!world.plane.close(last, b"stale"));
            assert!(!world.plane.read_out(last));
        }
        client.write_all(&round.to_le_bytes()).expect("write");
        if round % 3 > 0 {
            // Without it the old peer's bytes are unread, or not even noticed, when it is closed.
            world.turn_until("bytes", |world| world.seen[&conn].bytes.len() == 4);
            assert_eq!(world.seen[&conn].bytes, round.to_le_bytes());
        }
        assert!(world.plane.close(conn, b"x"));
        world.turn();
        let mut text = Vec::new();
        client.read_to_end(&mut text).expect("in order");
        assert_eq!(text, b"x");
        last = Some(conn);
    }
    let counters = world.plane.counters();
    assert_eq!((counters.accepts, counters.closes), (200, 200));
    // The cancelled polls told their end after the close: they were dropped.
    assert!(counters.stale_completions >= 199, "{counters:?}");
}

#[test]
fn unread_input_does_not_turn_the_close_into_a_reset() {
    let mut world = World::new(settings());
    for size in [1_usize, 5_000, 300_000] {
        let (mut client, conn) = world.client_pair();
        world.plane.pause_reading(true);
        client.set_nonblocking(true).expect("option");
        let written = client.write(&vec![7; size]).expect("write");
        assert!(written > 0);
        client.set_nonblocking(false).expect("option");
        for _ in 0..10 {
            world.turn();
        }
        assert!(world.seen[&conn].bytes.is_empty(), "reading was paused");
        assert!(world.plane.close(conn, b"last words"));
        world.turn();
        let mut text = Vec::new();
        client.read_to_end(&mut text).expect("last words and an orderly end");
        assert_eq!(text, b"last words");
        world.plane.pause_reading(false);
    }
}

#[test]
fn an_abort_is_a_reset() {
    let mut world = World::new(settings());
    let (mut client, conn) = world.client_pair();
    assert!(world.plane.abort(conn));
    world.turn();
    let error = client.read(&mut [0; 8]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.plane.counters().aborts, 1);
}

#[test]
fn resets_in_the_middle_end_their_connection_only() {
    let mut world = World::new(settings());
    let (mut steady, steady_conn) = world.client_pair();
    for round in 0..100 {
        let (mut client, conn) = world.client_pair();
        client.write_all(&[5; 3_000]).expect("write");
        if round % 2 == 0 {
            world.turn_until("bytes", |world| world.seen[&conn].bytes.len() == 3_000);
        }
        if round % 3 == 0 {
            // Something of ours is under way when the reset comes.
            world.send_one(conn, &[6; 30_000]);
        }
        reset_on_close(&client);
        drop(client);
        world.turn_until("the end", |world| world.seen[&conn].end.is_some());
        let end = world.seen[&conn].end;
        assert!(
            matches!(end, Some(End::Reset(libc::ECONNRESET | libc::EPIPE) | End::Eof)),
            "round {round}: {end:?}"
        );
        // What is sent now is lost, and said so at the latest the second time.
        let outcomes = [world.send_one(conn, b"x"), world.send_one(conn, b"x")];
        assert_eq!(outcomes[1], SendOutcome::Gone, "{outcomes:?}");
        assert!(world.plane.close(conn, b"never read"));
        steady.write_all(&[1]).expect("write");
    }
    world.turn_until("steady bytes", |world| world.seen[&steady_conn].bytes.len() == 100);
    assert_eq!(world.seen[&steady_conn].end, None);
    assert_eq!(world.plane.counters().slots_used, 1);
}

#[test]
fn stopping_takes_who_waits_and_closes_the_port() {
    let mut world = World::new(settings());
    let (mut before, conn) = world.client_pair();
    // More than accepts are armed, so that some are still in the backlog.
    let mut waiting: Vec<TcpStream> =
        (0..150).map(|_| TcpStream::connect(world.address).expect("connect")).collect();
    world.plane.stop_accepting(Time::ZERO);
    world.turn_until("the listener to close", |world| !world.plane.is_listening());
    world.turn();
    assert_eq!(world.seen.len(), 151, "who was in the backlog was taken");
    let error = TcpStream::connect(world.address).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    before.write_all(b"still here").expect("write");
    world.turn_until("bytes", |world| world.seen[&conn].bytes == b"still here");
    for client in &mut waiting {
        client.set_nonblocking(true).expect("option");
        let error = client.read(&mut [0; 1]).expect_err("neither data nor end");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn dropping_a_plane_closes_its_port() {
    let world = World::new(settings());
    let address = world.address;
    drop(world);
    until("the port to close", || TcpStream::connect(address).is_err());
}

#[test]
fn ipv6_works_where_the_host_has_it() {
    if Socket::new(Domain::IPV6, Type::STREAM, None).is_err() {
        return;
    }
    let address: SocketAddr = (std::net::Ipv6Addr::LOCALHOST, 0).into();
    let Ok(mut listeners) = Listener::bind_all(&ListenSettings::new(address), 1) else { return };
    let listener = listeners.remove(0);
    let address = listener.address();
    let mut world = World::over(Plane::new(settings(), Some(listener)).expect("a plane"), address);
    let (mut client, conn) = world.client_pair();
    assert!(world.seen[&conn].peer.is_some_and(|peer| peer.is_ipv6()));
    client.write_all(b"six").expect("write");
    world.turn_until("bytes", |world| world.seen[&conn].bytes == b"six");
}

#[test]
fn all_addresses_are_those_of_both_families() {
    let address: SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, 0).into();
    let Ok(mut listeners) = Listener::bind_all(&ListenSettings::new(address), 2) else { return };
    let port = listeners[0].address().port();
    listeners.truncate(1);
    let listener = listeners.remove(0);
    let by_four: SocketAddr = ([127, 0, 0, 1], port).into();
    let plane = Plane::new(settings(), Some(listener)).expect("a plane");
    let mut world = World::over(plane, by_four);
    // Found by its own address, so the plane names it as IPv4 does.
    let (mut client, conn) = world.client_pair();
    client.write_all(b"four").expect("write");
    world.turn_until("bytes", |world| world.seen[&conn].bytes == b"four");
    world.address = (std::net::Ipv6Addr::LOCALHOST, port).into();
    if TcpStream::connect(world.address).is_err() {
        return;
    }
    let (_client, conn) = world.client_pair();
    assert!(world.seen[&conn].peer.is_some_and(|peer| peer.is_ipv6()));
}
