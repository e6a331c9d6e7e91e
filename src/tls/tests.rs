//! A client of the same library speaks to a session, byte by byte and at once.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, HandshakeKind, ProtocolVersion,
    RootCertStore,
};

use super::*;

struct Made {
    files: CertifiedFiles,
    root: rustls::pki_types::CertificateDer<'static>,
}

fn made(name: &str) -> Made {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    let files = CertifiedFiles {
        certificate_name: format!("{name}.pem"),
        certificate: cert.pem().into_bytes(),
        key_name: format!("{name}.key"),
        key: signing_key.serialize_pem().into_bytes(),
    };
    Made { files, root: cert.der().clone() }
}

fn server(made: &[&Made]) -> TlsConfig {
    let files: Vec<_> = made.iter().map(|made| made.files.clone()).collect();
    TlsConfig::new(&files, &Ticketing::new().unwrap()).unwrap()
}

fn trusting(made: &[&Made]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for made in made {
        roots.add(made.root.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

struct Pair {
    client: ClientConnection,
    session: Session,
    plain: Vec<u8>,
}

impl Pair {
    fn new(client: &Arc<ClientConfig>, name: &str, server: &TlsConfig) -> Pair {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let client = ClientConnection::new(client.clone(), name).unwrap();
        Pair { client, session: Session::new(server).unwrap(), plain: Vec::new() }
    }

    /// Carries bytes to and fro, `piece` at a time, until neither has any.
    fn settle(&mut self, piece: usize) -> Result<Received, String> {
        let mut received = Received::default();
        loop {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            let mut out = Vec::new();
            for bytes in wire.chunks_mut(piece) {
                let result = self.session.receive(bytes, &mut self.plain, &mut out);
                received = result.map_err(|error| error.to_string())?;
            }
            if wire.is_empty() {
                return Ok(received);
            }
            self.client_takes(&out).map_err(|error| error.to_string())?;
        }
    }

    fn client_takes(&mut self, mut out: &[u8]) -> Result<(), rustls::Error> {
        while !out.is_empty() {
            self.client.read_tls(&mut out).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    fn client_reads(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let count = self.client.reader().read(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }
}

#[test]
fn bytes_go_to_and_fro_however_they_are_cut() {
    let made = made("quiz.example");
    let (client, server) = (trusting(&[&made]), server(&[&made]));
    for piece in [1, 7, 1_000, usize::MAX] {
        let mut pair = Pair::new(&client, "quiz.example", &server);
        assert!(pair.settle(piece).unwrap().is_open, "{piece}");
        let kept = pair.session.memory_bytes() - size_of::<Session>();
        assert_eq!(kept, 0, "nothing is kept between records");
        let long = vec![7; 40_000];
        pair.client.writer().write_all(&long).unwrap();
        pair.settle(piece).unwrap();
        assert!(pair.plain == long);
        let mut out = Vec::new();
        pair.session.seal(b"hello", &mut out).unwrap();
        assert_eq!(out.len(), 5 + 22, "a record of TLS 1.3 adds 22 bytes");
        pair.session.seal(&long[..10_000], &mut out).unwrap();
        pair.client_takes(&out).unwrap();
        let read = pair.client_reads();
        assert_eq!((&read[..6], read.len()), (&b"hello\x07"[..], 10_005));
    }
}

#[test]
fn a_certificate_is_chosen_by_name() {
    let (first, second) = (made("a.example"), made("b.example"));
    let server = server(&[&first, &second]);
    let client = trusting(&[&first, &second]);
    for name in ["a.example", "b.example"] {
        let mut pair = Pair::new(&client, name, &server);
        assert!(pair.settle(usize::MAX).unwrap().is_open, "{name}");
    }
    let error = Pair::new(&client, "c.example", &server).settle(usize::MAX).unwrap_err();
    assert!(error.contains("not valid for name"), "the first is for all others: {error}");
}

#[test]
fn who_comes_again_brings_a_ticket_also_after_a_renewal() {
    let made = made("quiz.example");
    let tickets = Ticketing::new().unwrap();
    let config = || TlsConfig::new(std::slice::from_ref(&made.files), &tickets).unwrap();
    let client = trusting(&[&made]);
    for (config, expected) in [(config(), HandshakeKind::Full), (config(), HandshakeKind::Resumed)]
    {
        let mut pair = Pair::new(&client, "quiz.example", &config);
        pair.settle(usize::MAX).unwrap();
        assert_eq!(pair.client.handshake_kind(), Some(expected));
    }
}

#[test]
fn both_versions_are_spoken_and_no_older_one() {
    let made = made("quiz.example");
    let server = server(&[&made]);
    let mut roots = RootCertStore::empty();
    roots.add(made.root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let mut pair = Pair::new(&Arc::new(client), "quiz.example", &server);
        pair.settle(3).unwrap();
        assert_eq!(pair.client.protocol_version(), Some(expected));
        let mut out = Vec::new();
        pair.session.seal(&[1; 10_000], &mut out).unwrap();
        pair.client_takes(&out).unwrap();
        assert_eq!(pair.client_reads().len(), 10_000);
    }
}

#[test]
fn an_end_is_said_by_both_sides() {
    let made = made("quiz.example");
    let (client, server) = (trusting(&[&made]), server(&[&made]));
    let mut pair = Pair::new(&client, "quiz.example", &server);
    pair.settle(usize::MAX).unwrap();
    pair.client.send_close_notify();
    assert!(pair.settle(usize::MAX).unwrap().is_closed);
    let mut out = Vec::new();
    pair.session.seal(b"last words", &mut out).unwrap();
    pair.session.close(&mut out);
    pair.client_takes(&out).unwrap();
    assert_eq!(pair.client_reads(), b"last words");
}

#[test]
fn what_is_no_tls_ends_the_session() {
    let server = server(&[&made("quiz.example")]);
    let mut session = Session::new(&server).unwrap();
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    assert_eq!(session.seal(b"too early", &mut out), Err(SessionError::NotOpen));
    let mut bytes = *b"\x16\x03\x01\x00\x05hello and more of that";
    let error = session.receive(&mut bytes, &mut plain, &mut out).unwrap_err();
    assert!(error.to_string().starts_with("TLS failed: "), "{error}");
    assert!(plain.is_empty());
    assert_eq!(session.receive(&mut [0; 9], &mut plain, &mut out), Err(SessionError::NotOpen));
    session.close(&mut out);
    let mut session = Session::new(&server).unwrap();
    out.clear();
    assert!(session.receive(&mut [1, 2, 3, 4, 5, 6], &mut plain, &mut out).is_err());
    assert_eq!(out.first(), Some(&21), "an alert says so: {out:?}");
}

/// A record of TLS 1.3 as a client of `pair` would send it, of any type: half a message of the
/// handshake, for which no library has a call.
fn forged(secrets: (u64, ConnectionTrafficSecrets), kind: u8, content: &[u8]) -> Vec<u8> {
    let (sequence, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets else {
        panic!("another cipher than the first that is offered")
    };
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    for (byte, number) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= number;
    }
    let plain = [content, &[kind]].concat();
    let length = u16::try_from(plain.len() + 16).unwrap().to_be_bytes();
    let header = [23, 3, 3, length[0], length[1]];
    let cipher = Aes256Gcm::new_from_slice(key.as_ref()).unwrap();
    let payload = Payload { msg: &plain, aad: &header };
    let sealed = cipher.encrypt(&Nonce::try_from(&nonce[..]).unwrap(), payload).unwrap();
    [&header[..], &sealed].concat()
}

/// The library remembers how much of a message it has seen and looks for that in what it is given:
/// called with nothing it would panic, and so would the gateway.
#[test]
fn half_a_message_of_the_handshake_stops_nobody_from_sending() {
    let made = made("quiz.example");
    let server = server(&[&made]);
    let mut client = ClientConfig::clone(&trusting(&[&made]));
    client.enable_secret_extraction = true;
    let mut pair = Pair::new(&Arc::new(client), "quiz.example", &server);
    pair.settle(usize::MAX).unwrap();
    let secrets = pair.client.dangerous_extract_secrets().unwrap();
    // KeyUpdate (24), 1 byte, update_not_requested: cut in two.
    let mut record = forged(secrets.tx, 22, &[24, 0]);
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    for byte in &mut record {
        let received = pair.session.receive(std::slice::from_mut(byte), &mut plain, &mut out);
        assert!(received.unwrap().is_open);
        pair.session.seal(b"hello", &mut out).unwrap();
    }
    pair.session.close(&mut out);
}

#[test]
fn files_that_do_not_fit_are_named() {
    let (one, other) = (made("a.example"), made("b.example"));
    let problem = |files: CertifiedFiles| {
        TlsConfig::new(&[files], &Ticketing::new().unwrap()).unwrap_err().to_string()
    };
    let mixed = CertifiedFiles { key: other.files.key.clone(), ..one.files.clone() };
    assert_eq!(
        problem(mixed),
        "a.example.key is not the key of a.example.pem: renew both together"
    );
    let empty = CertifiedFiles { certificate: Vec::new(), ..one.files.clone() };
    assert!(problem(empty).starts_with("a.example.pem: no certificate: the file has none"));
    let swapped = CertifiedFiles { key: one.files.certificate.clone(), ..one.files.clone() };
    assert!(problem(swapped).starts_with("a.example.key: no private key: "));
    let torn = CertifiedFiles {
        certificate: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
        ..one.files
    };
    assert!(problem(torn).starts_with("a.example.pem: no certificate: "));
}
