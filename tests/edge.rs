//! The edge of a running gateway: who is let in, who it is, and over what.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidegate::base::metrics::Metric;
use tidegate::runtime::edge::GateSettings;
use tidegate::runtime::gateway::{Gateway, GatewaySettings};
use tidegate::wire::proxy;

use client::{settings, start, token, until};

const PATIENCE: Duration = Duration::from_secs(10);

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.local_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn request(user: u64) -> String {
    format!(
        "GET /?token={} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        token(user)
    )
}

/// What a server says first; empty if it closes without a word.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4_096];
    match stream.read(&mut bytes) {
        Ok(count) => String::from_utf8_lossy(&bytes[..count]).into_owned(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => String::new(),
        Err(error) => panic!("no answer: {error}"),
    }
}

/// Nothing comes within this.
fn assert_silent(stream: &mut TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).unwrap();
    let silent = stream.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("")
}

fn ask(gateway: &Gateway, user: u64) -> (TcpStream, String) {
    let mut stream = connect(gateway);
    stream.write_all(request(user).as_bytes()).unwrap();
    let answer = answer(&mut stream);
    (stream, answer)
}

fn limited(change: impl FnOnce(&mut GateSettings)) -> GatewaySettings {
    let mut settings = settings(2);
    change(&mut settings.edge.gate);
    settings
}

#[test]
fn an_address_has_so_many_connections_over_all_shards() {
    let gateway = start(&limited(|gate| gate.connections_per_address_max = 10));
    let mut held = Vec::new();
    let mut refused = 0;
    for user in 1..=30 {
        let (stream, answer) = ask(&gateway, user);
        match status(&answer) {
            "101" => held.push(stream),
            "429" => {
                assert!(answer.contains("Retry-After: 30\r\n"), "{answer}");
                refused += 1;
            }
            _ => panic!("{answer}"),
        }
    }
    assert_eq!((held.len(), refused), (10, 20));
    drop(held);
    let back = (0..100).any(|_| {
        std::thread::yield_now();
        status(&ask(&gateway, 50).1) == "101"
    });
    assert!(back, "who went has made room");
    gateway.stop();
}

#[test]
fn a_dry_run_refuses_nobody() {
    let gateway = start(&limited(|gate| {
        gate.connections_per_address_max = 3;
        gate.connects_per_address_per_second_max = 2;
        gate.is_dry_run = true;
    }));
    let held: Vec<_> = (1..=10).map(|user| ask(&gateway, user)).collect();
    assert!(held.iter().all(|(_, answer)| status(answer) == "101"));
    gateway.stop();
}

#[test]
fn who_connects_too_often_is_told_when_to_come_again() {
    let gateway = start(&limited(|gate| gate.connects_per_address_per_second_max = 3));
    let answers: Vec<_> = (1..=8).map(|user| ask(&gateway, user).1).collect();
    let refused = answers.iter().filter(|answer| answer.contains("Retry-After: 5\r\n")).count();
    assert!((1..=5).contains(&refused), "{answers:?}");
    let gateway_all = start(&limited(|gate| gate.connects_per_second_max = 3));
    let answers: Vec<_> = (1..=8).map(|user| ask(&gateway_all, user).1).collect();
    let refused = answers.iter().filter(|answer| status(answer) == "503").count();
    assert!((1..=5).contains(&refused), "{answers:?}");
    gateway.stop();
    gateway_all.stop();
}

fn behind_a_balancer() -> GatewaySettings {
    let mut settings = limited(|gate| gate.connections_per_address_max = 1);
    settings.edge.proxy_sources = ["127.0.0.0/8".parse().unwrap()].into();
    settings.edge.proxy_timeout = Duration::from_millis(300);
    settings
}

fn header(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let server = if client.is_ipv4() { "192.0.2.1:443" } else { "[2001:db8::1]:443" };
    proxy::header(client, server.parse().unwrap())
}

#[test]
fn limits_see_the_client_that_a_balancer_names() {
    let gateway = start(&behind_a_balancer());
    let mut user = 0;
    let mut come = |client: &str| {
        user += 1;
        let mut stream = connect(&gateway);
        let bytes = [&header(client)[..], request(user).as_bytes()].concat();
        stream.write_all(&bytes).unwrap();
        let answer = answer(&mut stream);
        (stream, status(&answer).to_owned())
    };
    let first = come("203.0.113.7:1000");
    assert_eq!(first.1, "101");
    assert_eq!(come("203.0.113.7:1001").1, "429", "the same client again");
    assert_eq!(come("203.0.113.8:1001").1, "101", "another one");
    let household = come("[2001:db8:1:2::3]:1");
    assert_eq!(household.1, "101");
    assert_eq!(come("[2001:db8:1:2:ffff::]:1").1, "429", "of the same 64 bits");
    assert_eq!(come("[2001:db8:1:3::3]:1").1, "101");
    drop((first, household));
    gateway.stop();
}

#[test]
fn a_header_may_come_in_pieces_and_the_request_with_its_end() {
    let gateway = start(&behind_a_balancer());
    let mut stream = connect(&gateway);
    stream.set_nodelay(true).unwrap();
    let bytes = [&header("203.0.113.7:1000")[..], request(1).as_bytes()].concat();
    for piece in [&bytes[..5], &bytes[5..20], &bytes[20..40], &bytes[40..]] {
        assert_silent(&mut stream, Duration::from_millis(20));
        stream.write_all(piece).unwrap();
    }
    assert_eq!(status(&answer(&mut stream)), "101");
    gateway.stop();
}

#[test]
fn what_is_no_header_is_closed_without_an_answer() {
    let gateway = start(&behind_a_balancer());
    let plain = request(1);
    for bytes in [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1000 443\r\n".as_slice(),
        plain.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c............",
        // Half of one, and then nothing.
        b"\r\n\r\n\0\r\n",
    ] {
        let mut stream = connect(&gateway);
        stream.write_all(bytes).unwrap();
        assert_eq!(answer(&mut stream), "");
    }
    // A balancer that looks whether we live is let in, and counted for nobody.
    let mut looks = Vec::new();
    for user in 1..=3 {
        let mut stream = connect(&gateway);
        stream.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").unwrap();
        stream.write_all(request(user).as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut stream)), "101");
        looks.push(stream);
    }
    gateway.stop();
}

#[test]
fn nobody_is_accepted_while_something_is_short_and_everybody_afterwards() {
    let gateway = start(&settings(2));
    let (_held, answered) = ask(&gateway, 1);
    assert_eq!(status(&answered), "101");
    gateway.orders().hold_accepting(true);
    until("every shard holds", || {
        gateway.wake_all();
        gateway.snapshots().iter().all(|shard| shard.get(Metric::AcceptHeld) == 1)
    });
    let mut waiting: Vec<_> = (2..=9)
        .map(|user| {
            let mut stream = connect(&gateway);
            stream.write_all(request(user).as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in &mut waiting {
        assert_silent(stream, Duration::from_millis(50));
    }
    gateway.orders().hold_accepting(false);
    for stream in &mut waiting {
        assert_eq!(status(&answer(stream)), "101");
    }
    gateway.stop();
}
