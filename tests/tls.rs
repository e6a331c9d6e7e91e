//! TLS on the gateway's own port, spoken to by another TLS stack's client side and tungstenite.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tidegate::base::ids::RoomId;
use tidegate::ops::config::{Config, Sources};
use tidegate::ops::watch::files::FileWatch;
use tidegate::ops::watch::tls_files::{TlsFiles, TlsStatus, WatchedTls};
use tidegate::room::lane::Lane;
use tidegate::runtime::gateway::{Gateway, GatewaySettings};
use tidegate::shard::mail::ServiceMessages;
use tidegate::shard::operator::OperatorRequest;
use tidegate::tls::{CertifiedFiles, Ticketing, TlsConfig};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use client::{Json, settings, start, token, until};

const PATIENCE: Duration = Duration::from_secs(20);

struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn made(name: &str) -> Made {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    Made { certificate: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().clone() }
}

fn config(made: &[&Made]) -> TlsConfig {
    let files: Vec<_> = made
        .iter()
        .map(|made| CertifiedFiles {
            certificate_name: "certificate".into(),
            certificate: made.certificate.clone().into_bytes(),
            key_name: "key".into(),
            key: made.key.clone().into_bytes(),
        })
        .collect();
    TlsConfig::new(&files, &Ticketing::new().unwrap()).unwrap()
}

fn tls_settings(made: &[&Made]) -> GatewaySettings {
    let mut settings = settings(2);
    settings.edge.tls = Some(config(made));
    settings.edge.tls_timeout = Duration::from_millis(500);
    settings
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A TLS connection that trusts these certificates, or why there is none.
fn connect(gateway: &Gateway, name: &str, trusted: &[&Made]) -> Result<Stream, String> {
    let mut roots = RootCertStore::empty();
    for made in trusted {
        roots.add(made.der.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(gateway.local_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
    }
    Ok(stream)
}

struct Client(WebSocket<Stream>);

impl Client {
    fn in_room(gateway: &Gateway, name: &str, trusted: &[&Made], user: u64) -> Client {
        let stream = connect(gateway, name, trusted).unwrap();
        let target = format!("wss://{name}/?token={}&room=5", token(user));
        let mut request = target.into_client_request().unwrap();
        let protocol = "tidegate.v1.json".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        let mut client = Client(socket);
        client.until("joined");
        client
    }

    /// The next message that has this word in it.
    fn until(&mut self, word: &str) -> Json {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) if text.contains(word) => {
                    return serde_json::from_str(&text).unwrap();
                }
                Message::Text(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn heartbeat(&mut self) {
        self.0.send(Message::text(json!({"type": -1}).to_string())).unwrap();
        self.until("heartbeat");
    }
}

fn say(gateway: &Gateway, messages: Vec<Bytes>) {
    let messages = ServiceMessages { room: RoomId(5), lane: Lane::High, kind: 0, messages };
    gateway.call(OperatorRequest::Publish(messages)).unwrap();
}

#[test]
fn a_room_over_tls() {
    let made = made("quiz.example");
    let gateway = start(&tls_settings(&[&made]));
    let mut clients: Vec<_> =
        (1..=6).map(|user| Client::in_room(&gateway, "quiz.example", &[&made], user)).collect();
    say(&gateway, vec![Bytes::from_static(b"hello")]);
    for client in &mut clients {
        let message = client.until("roomMessage");
        assert_eq!(message["business"]["notification"]["roomMessage"]["data"], "aGVsbG8=");
        client.heartbeat();
    }
    gateway.stop();
}

#[test]
fn a_reader_that_comes_late_gets_every_byte_in_order() {
    let made = made("quiz.example");
    let mut settings = tls_settings(&[&made]);
    settings.listen.send_buffer_bytes = Some(4_096);
    let gateway = start(&settings);
    let mut client = Client::in_room(&gateway, "quiz.example", &[&made], 1);
    // Far more than its socket takes, of which a lane keeps the last megabyte.
    for round in 0..100 {
        let messages = (0..8_u8).map(|_| Bytes::from(vec![round; 2_048])).collect();
        say(&gateway, messages);
    }
    let (mut version, mut got) = (0, 0);
    while version < 800 {
        let frame = client.until("\"notification\"");
        let notification = &frame["business"]["notification"];
        if let Some(last) = notification["gap"]["lastMissing"].as_str() {
            version = last.parse().unwrap();
            continue;
        }
        let next: u64 = notification["stamp"]["version"].as_str().unwrap().parse().unwrap();
        assert_eq!(next, version + 1, "{frame}");
        (version, got) = (next, got + 1);
    }
    assert!(got > 100, "{got}");
    client.heartbeat();
    gateway.stop();
}

#[test]
fn renewed_certificates_are_for_those_who_come_and_nobody_goes() {
    let (old, new) = (made("quiz.example"), made("quiz.example"));
    let gateway = start(&tls_settings(&[&old]));
    let mut early = Client::in_room(&gateway, "quiz.example", &[&old], 1);
    gateway.orders().renew_tls(&config(&[&new]));
    let mut late = Client::in_room(&gateway, "quiz.example", &[&old, &new], 2);
    let shown = late.0.get_ref().conn.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, new.der);
    early.heartbeat();
    late.heartbeat();
    gateway.stop();
}

#[test]
fn certificates_are_chosen_by_name() {
    let (one, other) = (made("a.example"), made("b.example"));
    let gateway = start(&tls_settings(&[&one, &other]));
    for name in ["a.example", "b.example"] {
        Client::in_room(&gateway, name, &[&one, &other], 1).heartbeat();
    }
    assert!(connect(&gateway, "c.example", &[&one, &other]).is_err());
    gateway.stop();
}

#[test]
fn a_plain_request_is_told_to_come_by_tls_and_silence_is_ended() {
    let made = made("quiz.example");
    let gateway = start(&tls_settings(&[&made]));
    for (bytes, expected) in [
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "),
        ("", ""),
        ("\x16\x03\x01\x02\0half", ""),
        ("\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}", "\u{15}"),
    ] {
        let mut stream = TcpStream::connect(gateway.local_address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(expected) && answer.is_empty() == expected.is_empty(),
            "{answer}"
        );
        assert!(!answer.starts_with("HTTP") || answer.contains("wss://"), "{answer}");
    }
    Client::in_room(&gateway, "quiz.example", &[&made], 1).heartbeat();
    gateway.stop();
}

fn write(directory: &Path, made: &Made) {
    fs::write(directory.join("key.pem"), &made.key).unwrap();
    fs::write(directory.join("certificate.pem"), &made.certificate).unwrap();
}

#[test]
fn files_that_are_written_anew_are_read_and_a_bad_one_keeps_the_old() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (made("quiz.example"), made("quiz.example"));
    write(directory.path(), &old);
    let file = |name: &str| directory.path().join(name).display().to_string();
    let environment = [
        ("TIDEGATE_TLS__CERTIFICATE_FILES", file("certificate.pem")),
        ("TIDEGATE_TLS__KEY_FILES", file("key.pem")),
    ];
    let environment = environment.map(|(name, value)| (name.into(), value.into())).to_vec();
    let sources = Sources { environment, ..Sources::default() };
    let loaded = Config::load(&sources, &|_| Err("no file".to_owned())).unwrap();
    let mut files = TlsFiles::new(&loaded).unwrap().unwrap();
    let mut settings = tls_settings(&[&old]);
    settings.edge.tls = Some(files.load().unwrap());
    let gateway = start(&settings);
    let status = Arc::new(TlsStatus::default());
    let watched = WatchedTls::new(files, gateway.orders(), Arc::clone(&status));
    let watch = FileWatch::start(vec![Box::new(watched)]).unwrap();
    let shown = || {
        let stream = connect(&gateway, "quiz.example", &[&old, &new]).unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    fs::write(directory.path().join("certificate.pem"), "torn").unwrap();
    until("it was found broken", || status.errors() > 0);
    assert_eq!(shown(), old.der, "a file that cannot be used changes nothing");
    write(directory.path(), &new);
    until("they were read", || status.reloads() > 0);
    // The shards are told; each takes it in its next turn.
    until("newcomers get them", || shown() == new.der);
    watch.stop();
    gateway.stop();
}
