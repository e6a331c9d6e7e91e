//! Bytes go in and come out.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::*;
use crate::base::entropy::{Entropy, SeededEntropy};

/// Sends back what was received, as far as the sockets take it.
fn echo(world: &mut World) {
    let waiting: Vec<(ConnId, Vec<u8>)> = world
        .seen
        .iter_mut()
        .filter(|(_, seen)| !seen.bytes.is_empty())
        .map(|(conn, seen)| (*conn, std::mem::take(&mut seen.bytes)))
        .collect();
    let requests: Vec<SendRequest<'_>> =
        waiting.iter().map(|(conn, bytes)| SendRequest { conn: *conn, bytes }).collect();
    let mut results = Vec::new();
    world.plane.send(&requests, &mut results);
    for ((conn, bytes), outcome) in waiting.iter().zip(results) {
        let sent = match outcome {
            SendOutcome::Sent(count) => count,
            SendOutcome::Blocked | SendOutcome::NoMemory => 0,
            SendOutcome::Gone => bytes.len(),
        };
        if let Some(seen) = world.seen.get_mut(conn) {
            seen.bytes.splice(0..0, bytes[sent..].iter().copied());
        }
    }
}

#[test]
fn random_pieces_come_back_whole() {
    let mut world = World::new(settings());
    let mut clients: Vec<(TcpStream, Vec<u8>, Vec<u8>)> = (0..64)
        .map(|_| {
            let (client, _) = world.client_pair();
            client.set_nonblocking(true).expect("option");
            (client, Vec::new(), Vec::new())
        })
        .collect();
    let mut entropy = SeededEntropy::new(1, 0);
    let mut piece = vec![0; 20_000];
    for round in 0..300 {
        for _ in 0..32 {
            let chosen = usize::try_from(entropy.below(64)).expect("small");
            let (client, sent, _) = &mut clients[chosen];
            let length =
                usize::try_from(1 + entropy.below(if round % 7 == 0 { 20_000 } else { 900 }));
            let piece = &mut piece[..length.expect("small")];
            entropy.fill(piece);
            if let Ok(count) = client.write(piece) {
                sent.extend_from_slice(&piece[..count]);
            }
        }
        world.turn();
        echo(&mut world);
        let mut buffer = [0; 8_192];
        for (client, _, received) in &mut clients {
            while let Ok(count) = client.read(&mut buffer) {
                received.extend_from_slice(&buffer[..count]);
            }
        }
    }
    let mut buffer = [0; 65_536];
    world.turn_until("the rest", |world| {
        echo(world);
        let mut whole = true;
        for (client, sent, received) in &mut clients {
            while let Ok(count @ 1..) = client.read(&mut buffer) {
                received.extend_from_slice(&buffer[..count]);
            }
            whole &= received.len() == sent.len();
        }
        whole
    });
    for (_, sent, received) in &clients {
        assert!(sent == received, "the stream came back changed");
    }
    let total: usize = clients.iter().map(|(_, sent, _)| sent.len()).sum();
    assert_eq!(world.plane.counters().recv_bytes, total as u64);
    assert_eq!(world.plane.counters().send_bytes, total as u64);
}

#[test]
fn the_peer_is_named_and_the_end_is_told() {
    let mut world = World::new(settings());
    let (mut client, conn) = world.client_pair();
    client.write_all(b"hello").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    world.turn_until("the end", |world| world.seen[&conn].end.is_some());
    assert_eq!(world.seen[&conn].bytes, b"hello");
    assert_eq!(world.seen[&conn].end, Some(End::Eof));
    // A half-closed peer still reads.
    assert_eq!(world.send_one(conn, b"good bye"), SendOutcome::Sent(8));
    assert!(world.plane.close(conn, b" and thanks"));
    assert!(!world.plane.close(conn, b""), "closed once");
    world.turn();
    let mut text = String::new();
    client.read_to_string(&mut text).expect("in order");
    assert_eq!(text, "good bye and thanks");
    assert_eq!(world.plane.counters().slots_used, 0);
}
