use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

const JWKS: &str = include_str!("../../../tests/keys/jwks.json");

/// The key of that name in the test set.
fn key(id: &str) -> Value {
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().find(|key| key["kid"] == id).unwrap().clone()
}

/// That key with one member changed, or taken away.
fn changed(id: &str, member: &str, value: Option<Value>) -> Value {
    let mut key = key(id);
    match value {
        Some(value) => key[member] = value,
        None => drop(key.as_object_mut().unwrap().remove(member)),
    }
    key
}

fn read(text: &str) -> String {
    match KeySet::from_jwks(text) {
        Ok(Jwks { keys, left_out }) => {
            let algorithms: Vec<_> = keys.public.iter().map(|key| key.algorithm).collect();
            format!("{algorithms:?} {left_out:?}")
        }
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

fn check(keys: &[Value], expected: &Expect) {
    expected.assert_eq(&read(&json!({ "keys": keys }).to_string()));
}

#[test]
fn good_sets() {
    expect![""].assert_eq(&read(JWKS));
    let unnamed = changed("ec", "kid", None);
    check(&[unnamed], &expect![""]);
    check(&[changed("rsa", "alg", None), changed("ec", "use", None)], &expect![""]);
    check(
        &[
            key("ed"),
            changed("rsa", "use", Some(json!("enc"))),
            changed("rsa", "alg", Some(json!("RS512"))),
            json!({ "kty": "EC", "crv": "P-384", "kid": "big", "x": "", "y": "" }),
            json!({ "kty": "LWE" }),
        ],
        &expect![""],
    );
}

#[test]
fn bad_keys_are_named_with_what_to_do() {
    for (bad, expected) in [
        (json!(7), expect![""]),
        (json!({ "kid": "x" }), expect![""]),
        (json!({ "kty": "oct", "kid": "x", "k": "c2VjcmV0" }), expect![""]),
        (changed("rsa", "d", Some(json!("AQAB"))), expect![""]),
        (changed("ec", "d", Some(json!("AQAB"))), expect![""]),
        (changed("rsa", "n", None), expect![""]),
        (changed("rsa", "n", Some(json!(65537))), expect![""]),
        (changed("rsa", "n", Some(json!("not base64url!"))), expect![""]),
        (changed("rsa", "n", Some(json!("AQAB"))), expect![""]),
        (changed("rsa", "n", Some(json!(URL_SAFE_NO_PAD.encode([0xff; 600])))), expect![""]),
        (changed("rsa", "e", Some(json!("AA"))), expect![""]),
        (changed("rsa", "e", Some(json!("AQ"))), expect![""]),
        (changed("rsa", "e", Some(json!("Ag"))), expect![""]),
        (changed("rsa", "alg", Some(json!("HS256"))), expect![""]),
        (changed("ec", "alg", Some(json!("RS256"))), expect![""]),
        (changed("ec", "x", Some(json!("AAAA"))), expect![""]),
        (changed("ec", "x", Some(key("ec")["y"].clone())), expect![""]),
        (changed("ed", "x", Some(json!(""))), expect![""]),
        (
            changed("ed", "x", Some(json!("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))),
            expect![""],
        ),
        (changed("ed", "kid", None), expect![""]),
        (key("next"), expect![""]),
    ] {
        check(&[key("next"), bad], &expected);
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    check(
        &[changed("rsa", "d", Some(json!("AQAB"))), key("ec"), changed("ed", "x", None)],
        &expect![""],
    );
}

#[test]
fn what_is_no_set() {
    for (text, expected) in [
        ("", expect![""]),
        ("[]", expect![""]),
        ("{}", expect![""]),
        (r#"{"keys":{}}"#, expect![""]),
        (r#"{"keys":[]}"#, expect![""]),
        ("-----BEGIN PUBLIC KEY-----", expect![""]),
    ] {
        expected.assert_eq(&read(text));
    }
    let many = vec![key("ed"); JWKS_KEYS_MAX + 1];
    check(&many, &expect![""]);
}
