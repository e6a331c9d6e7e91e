//! Any text as an access token, any bytes as a ticket: refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::auth::ticket::{TicketKey, TicketSubject};
use tidegate::auth::token::TokenVerifier;
use tidegate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use tidegate::base::time::{DisplayClock, Time};

fuzz_target!(|bytes: &[u8]| {
    let verifier = TokenVerifier::new(b"a secret of thirty-two bytes or more");
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verifier.verify(text, 1_800_000_000).is_err(), "a forged token");
    }
    let key = TicketKey::new([7; 32], DisplayClock::default());
    let subject = TicketSubject {
        show: ShowId(1),
        question: QuestionIndex(2),
        user: UserId(3),
        option: OptionIndex(1),
    };
    assert!(key.redeem(bytes, &subject, Time::from_millis(5)).is_err(), "a forged ticket");
});
