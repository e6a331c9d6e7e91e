//! Any bytes, cut anywhere, to a TLS server that has not met the client yet, with attempts to send
//! and to close in between: it may refuse, and never panics.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tidegate::tls::{CertifiedFiles, Session, Ticketing, TlsConfig};

fn config() -> &'static TlsConfig {
    static CONFIG: OnceLock<TlsConfig> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["quiz.example".to_owned()]).unwrap();
        let files = CertifiedFiles {
            certificate_name: "certificate".into(),
            certificate: cert.pem().into_bytes(),
            key_name: "key".into(),
            key: signing_key.serialize_pem().into_bytes(),
        };
        TlsConfig::new(&[files], &Ticketing::new().unwrap()).unwrap()
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    let mut session = Session::new(config()).unwrap();
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    for piece in bytes.chunks_mut(usize::from(*piece) + 1) {
        let received = session.receive(piece, &mut plain, &mut out);
        assert!(!session.is_open(), "nobody guesses a key");
        assert!(session.seal(b"hello", &mut out).is_err());
        if received.is_err() {
            session.close(&mut out);
        }
    }
    assert!(plain.is_empty());
});
