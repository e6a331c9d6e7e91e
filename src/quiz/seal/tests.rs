use super::*;
use crate::base::entropy::SeededEntropy;
use proptest::prelude::*;

fn sealer(key: u8) -> Sealer {
    Sealer::new(&SecretKey::from_bytes([key; KEY_BYTES]), ShowId(7), QuestionIndex(3))
}

fn record(verdict: Verdict) -> VerdictRecord {
    VerdictRecord {
        verdict,
        new_record: true,
        by_ticket: false,
        option: Some(OptionIndex(2)),
        passed: 4,
    }
}

#[test]
fn keys_are_fresh_and_never_printed() {
    let mut entropy = SeededEntropy::new(1, 1);
    let (one, other) = (SecretKey::generate(&mut entropy), SecretKey::generate(&mut entropy));
    assert_ne!(one, other);
    assert_eq!(format!("{one:?}"), "SecretKey(..)");
}

#[test]
fn a_commitment_fixes_key_option_show_and_question() {
    let key = |byte| SecretKey::from_bytes([byte; KEY_BYTES]);
    let base = commitment(&key(1), OptionIndex(2), ShowId(3), QuestionIndex(4));
    assert_eq!(base, commitment(&key(1), OptionIndex(2), ShowId(3), QuestionIndex(4)));
    for other in [
        commitment(&key(2), OptionIndex(2), ShowId(3), QuestionIndex(4)),
        commitment(&key(1), OptionIndex(1), ShowId(3), QuestionIndex(4)),
        commitment(&key(1), OptionIndex(2), ShowId(4), QuestionIndex(4)),
        commitment(&key(1), OptionIndex(2), ShowId(3), QuestionIndex(5)),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn a_sealed_result_opens_only_where_it_belongs() {
    let sealed = sealer(1).seal(UserId(5), 0, record(Verdict::Passed));
    assert_eq!(sealer(1).open(UserId(5), &sealed), Ok(record(Verdict::Passed)));
    assert_eq!(sealer(1).open(UserId(6), &sealed), Err(OpenError::Seal));
    assert_eq!(sealer(2).open(UserId(5), &sealed), Err(OpenError::Seal));
    let elsewhere =
        Sealer::new(&SecretKey::from_bytes([1; KEY_BYTES]), ShowId(7), QuestionIndex(4));
    assert_eq!(elsewhere.open(UserId(5), &sealed), Err(OpenError::Seal));
    for byte in 0..SEALED_BYTES {
        let mut altered = sealed;
        altered.ciphertext[byte] ^= 1;
        assert_eq!(sealer(1).open(UserId(5), &altered), Err(OpenError::Seal));
    }
}

#[test]
fn a_revision_has_a_nonce_of_its_own_and_repeats_do_not() {
    let seal = |revision, verdict| sealer(1).seal(UserId(5), revision, record(verdict));
    assert_eq!(seal(0, Verdict::Passed), seal(0, Verdict::Passed));
    assert_ne!(seal(0, Verdict::Passed).nonce, seal(1, Verdict::Passed).nonce);
    let other = sealer(1).seal(UserId(6), 0, record(Verdict::Passed));
    assert_ne!(seal(0, Verdict::Passed).nonce, other.nonce);
}

#[test]
fn unknown_records_are_named() {
    let mut bytes = record(Verdict::Passed).encode();
    bytes[1] = 10;
    assert_eq!(VerdictRecord::decode(bytes), Err(OpenError::Verdict(10)));
    bytes[0] = 2;
    assert_eq!(VerdictRecord::decode(bytes), Err(OpenError::Version(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_record_survives_the_seal(
        verdict in prop::sample::select(&Verdict::ALL[..]),
        new_record: bool,
        by_ticket: bool,
        option in prop::option::of(0_u8..6),
        passed in 0_u8..101,
        user: u64,
        revision: u8,
    ) {
        let option = option.map(OptionIndex);
        let record = VerdictRecord { verdict, new_record, by_ticket, option, passed };
        let sealed = sealer(9).seal(UserId(user), revision, record);
        prop_assert_eq!(sealer(9).open(UserId(user), &sealed), Ok(record));
    }
}
