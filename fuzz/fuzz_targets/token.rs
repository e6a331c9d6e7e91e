//! Any text as an access token, any bytes as a ticket: refused, whichever key the token names;
//! any text as a key set: no panic.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use tidegate::auth::keys::KeySet;
use tidegate::auth::ticket::{TicketKey, TicketSubject};
use tidegate::auth::token::{TokenPolicy, TokenVerifier, unverified};
use tidegate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use tidegate::base::time::{DisplayClock, Time};

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const JWKS: &str = include_str!("../../tests/keys/jwks.json");
const NOW_UNIX_S: i64 = 1_800_000_000;
/// Headers that lead to each of the keys; what follows is the fuzzer's.
const HEADERS: [&str; 5] = [
    "eyJhbGciOiJIUzI1NiJ9",
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9",
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0",
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0",
    "eyJhbGciOiJFZERTQSIsImtpZCI6Im5leHQifQ",
];

fn verifier() -> &'static TokenVerifier {
    static VERIFIER: OnceLock<TokenVerifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let keys = KeySet::from_jwks(JWKS).unwrap().keys.with_secret(SECRET);
        TokenVerifier::with_keys(Arc::new(keys), TokenPolicy::default())
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = unverified(text);
        assert!(verifier().verify(text, NOW_UNIX_S).is_err(), "a forged token");
        for header in HEADERS {
            let token = format!("{header}.{text}");
            assert!(verifier().verify(&token, NOW_UNIX_S).is_err(), "a forged token");
        }
        let _ = KeySet::from_jwks(text);
    }
    let key = TicketKey::new([7; 32], DisplayClock::default());
    let subject = TicketSubject {
        show: ShowId(1),
        question: QuestionIndex(2),
        user: UserId(3),
        option: OptionIndex(1),
    };
    let forged = key.redeem(bytes, &subject, Time::from_millis(5), Some(Time::NEVER));
    assert!(forged.is_err(), "a forged ticket");
});
