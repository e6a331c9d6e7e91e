//! What TLS costs: memory of a connection, CPU of a handshake and of a delivery, beside the same
//! without TLS. `cargo run --release --example tls_cost -- [CONNECTIONS] [ROUNDS]`
//!
//! The gateway is a child process, this program again; the clients are here, and read what comes
//! without opening it. A round is one message of some 138 bytes on the wire to every client, and the
//! next begins when all have it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the command line")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../attack/gateway.rs"]
#[expect(dead_code, reason = "attackers need more of it")]
mod gateway;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Gateway, Readings, request};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const NAME: &str = "quiz.example";
/// Bytes of a message's data: some 138 with what surrounds it.
const DATA_BYTES: usize = 87;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    if first == gateway::SUBCOMMAND {
        return gateway::serve();
    }
    tidegate::net::probe::raise_file_limit().unwrap();
    let connections: u64 = first.parse().unwrap_or(4_000);
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let directory = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = file("certificate.pem", cert.pem());
    let key = file("key.pem", signing_key.serialize_pem());
    let settings =
        [("TIDEGATE_TLS__CERTIFICATE_FILES", &*certificate), ("TIDEGATE_TLS__KEY_FILES", &*key)];
    println!("| | memory a connection | CPU a connect | CPU a delivery | bytes a delivery |");
    println!("|---|---|---|---|---|");
    measure("plain", &[], None, connections, rounds);
    measure("TLS 1.3", &settings, Some(cert.der().clone()), connections, rounds);
}

fn measure(
    name: &str,
    settings: &[(&str, &str)],
    root: Option<CertificateDer<'static>>,
    connections: u64,
    rounds: u64,
) {
    let gateway = Gateway::start(settings);
    let tls = root.map(trusting);
    // What is allocated once is not a connection's.
    let mut clients = vec![client(&gateway, tls.as_ref(), connections + 1)];
    let before = gateway.readings();
    clients.extend((1..=connections).map(|user| client(&gateway, tls.as_ref(), user)));
    let filled = gateway.readings();
    for client in &mut clients {
        client.set_nonblocking(true).unwrap();
        drain(client);
    }
    let begun = gateway.readings();
    let mut bytes = 0;
    for _ in 0..rounds {
        gateway.publish(1, DATA_BYTES);
        for client in &mut clients {
            bytes += take(client);
        }
    }
    let ended = gateway.readings();
    let deliveries = (rounds * clients.len() as u64) as f64;
    let micros = |from: Readings, to: Readings| (to.cpu - from.cpu).as_secs_f64() * 1e6;
    println!(
        "| {name} | {} bytes | {:.0} µs | {:.2} µs | {:.0} |",
        filled.user_bytes.saturating_sub(before.user_bytes) / connections,
        micros(before, filled) / connections as f64,
        micros(begun, ended) / deliveries,
        bytes as f64 / deliveries,
    );
}

fn trusting(root: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A user's connection in room 1; what it is sent from now on is not opened.
fn client(gateway: &Gateway, tls: Option<&Arc<ClientConfig>>, user: u64) -> TcpStream {
    let Some(config) = tls else { return gateway.enter(1, user).unwrap() };
    let stream = gateway.connect(1).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    // Each is somebody else: nobody brings a ticket.
    let mut config = ClientConfig::clone(config);
    config.resumption = rustls::client::Resumption::disabled();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(request(user, "").as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.ends_with(b"101"), "{answer:?}");
    stream.sock
}

/// Reads what is there.
fn drain(client: &mut TcpStream) -> u64 {
    let (mut all, mut bytes) = (0, [0; 65_536]);
    loop {
        match client.read(&mut bytes) {
            Ok(0) => panic!("the gateway closed"),
            Ok(count) => all += count as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until something comes, and reads it.
fn take(client: &mut TcpStream) -> u64 {
    loop {
        match drain(client) {
            0 => pause(Duration::from_micros(200)),
            bytes => return bytes,
        }
    }
}

/// Waits where the kernel gives no event.
#[expect(clippy::disallowed_methods, reason = "its clients look again and again")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
