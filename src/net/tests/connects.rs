//! The connecting side, plane to plane.

use std::net::TcpListener;

use super::*;

#[test]
fn plane_to_plane() {
    let mut server = World::new(settings());
    let few = PlaneSettings { slots_per_ring: 100, rings_max: 3, ..settings() };
    let mut swarm = World::client(few, server.address);
    let conns: Vec<ConnId> = (0..250)
        .map(|number: u8| {
            let local = number.is_multiple_of(2).then(|| ([127, 0, 1, number], 0).into());
            swarm.plane.connect(server.address, local).expect("room")
        })
        .collect();
    // A send before the connection stands is told to wait.
    assert_eq!(swarm.send_one(conns[0], b"early"), SendOutcome::Blocked);
    until("all connected", || {
        server.turn();
        swarm.turn();
        conns.iter().all(|conn| swarm.seen.get(conn).is_some_and(|seen| seen.connected))
            && server.seen.len() == 250
    });
    assert_eq!(swarm.plane.counters().rings, 3);
    let bound = server.seen.values().filter(
        |seen| matches!(seen.peer, Some(SocketAddr::V4(peer)) if peer.ip().octets()[2] == 1),
    );
    assert_eq!(bound.count(), 125, "half of them chose their address");
    until("writable", || {
        swarm.turn();
        swarm.seen[&conns[0]].writable > 0
    });
    let numbered: Vec<[u8; 1]> = (0..250).map(|number: u8| [number]).collect();
    let requests: Vec<SendRequest<'_>> = conns
        .iter()
        .zip(&numbered)
        .map(|(conn, bytes)| SendRequest { conn: *conn, bytes })
        .collect();
    let mut results = Vec::new();
    swarm.plane.send(&requests, &mut results);
    assert!(results.iter().all(|outcome| *outcome == SendOutcome::Sent(1)), "{results:?}");
    until("all bytes", || {
        server.turn();
        server.seen.values().all(|seen| seen.bytes.len() == 1)
    });
    let mut bytes: Vec<u8> = server.seen.values().map(|seen| seen.bytes[0]).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, (0..250).collect::<Vec<u8>>());
    // The swarm's slots come back too.
    for conn in &conns[..100] {
        assert!(swarm.plane.close(*conn, b""));
    }
    until("slots", || {
        swarm.turn();
        swarm.plane.counters().slots_used == 150
    });
    for _ in 0..150 {
        swarm.plane.connect(server.address, None).expect("100 came back, 50 were never used");
    }
    let error = swarm.plane.connect(server.address, None).expect_err("no room");
    assert!(matches!(error, crate::net::ConnectError::Full(300)), "{error}");
}

#[test]
fn a_refused_connect_is_told_and_its_slot_comes_back() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = gone.local_addr().expect("bound");
    drop(gone);
    let one = PlaneSettings { slots_per_ring: 1, rings_max: 1, ..settings() };
    let mut swarm = World::client(one, address);
    for _ in 0..20 {
        let conn = swarm.plane.connect(address, None).expect("room");
        swarm.turn_until("the refusal", |swarm| swarm.seen.contains_key(&conn));
        assert_eq!(swarm.seen[&conn].connect_error, Some(libc::ECONNREFUSED));
        assert!(swarm.plane.close(conn, b""));
        swarm.turn_until("the slot", |swarm| swarm.plane.counters().slots_used == 0);
    }
}

#[test]
fn a_connect_can_be_closed_before_it_ends() {
    // A listener without room: the kernel drops the handshake, and the connect hangs.
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("socket");
    socket.bind(&address.into()).expect("bind");
    socket.listen(0).expect("listen");
    let address = socket.local_addr().expect("bound").as_socket().expect("ip");
    let mut swarm = World::client(settings(), address);
    let conns: Vec<ConnId> =
        (0..4).map(|_| swarm.plane.connect(address, None).expect("room")).collect();
    for _ in 0..200 {
        swarm.turn();
    }
    let hanging: Vec<ConnId> =
        conns.iter().copied().filter(|conn| !swarm.seen.contains_key(conn)).collect();
    assert!(!hanging.is_empty(), "the test wants a connect that hangs");
    for conn in &conns {
        assert!(swarm.plane.close(*conn, b""));
    }
    swarm.turn_until("the slots", |swarm| swarm.plane.counters().slots_used == 0);
    for _ in 0..200 {
        swarm.turn();
    }
    assert!(hanging.iter().all(|conn| !swarm.seen.contains_key(conn)), "silence after close");
}

#[test]
fn one_plane_both_listens_and_connects() {
    let mut world = World::new(settings());
    let conn = world.plane.connect(world.address, None).expect("room");
    world.turn_until("both sides", |world| {
        world.seen.len() == 2 && world.seen.get(&conn).is_some_and(|seen| seen.connected)
    });
    let other = *world.seen.keys().find(|other| **other != conn).expect("two");
    assert_eq!(world.send_one(conn, b"to myself"), SendOutcome::Sent(9));
    world.turn_until("bytes", |world| world.seen[&other].bytes == b"to myself");
}
