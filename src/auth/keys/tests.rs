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
    expect!["[RS256, ES256, EdDSA, EdDSA] []"].assert_eq(&read(JWKS));
    let unnamed = changed("ec", "kid", None);
    check(&[unnamed], &expect!["[ES256] []"]);
    check(
        &[changed("rsa", "alg", None), changed("ec", "use", None)],
        &expect!["[RS256, ES256] []"],
    );
    check(
        &[
            key("ed"),
            changed("rsa", "use", Some(json!("enc"))),
            changed("rsa", "alg", Some(json!("RS512"))),
            json!({ "kty": "EC", "crv": "P-384", "kid": "big", "x": "", "y": "" }),
            json!({ "kty": "LWE" }),
        ],
        &expect![[
            r#"[EdDSA] ["keys[1] (kid \"rsa\") is left out: its `use` is not `sig`", "keys[2] (kid \"rsa\") is left out: its `alg` is not RS256, ES256 or EdDSA", "keys[3] (kid \"big\") is left out: no token of ours is signed with a key of its kind", "keys[4] is left out: no token of ours is signed with a key of its kind"]"#
        ]],
    );
}

#[test]
fn bad_keys_are_named_with_what_to_do() {
    for (bad, expected) in [
        (json!(7), expect![[r#"keys[1]: is not a JSON object; write {"kty":…}"#]]),
        (
            json!({ "kid": "x" }),
            expect![[
                r#"keys[1] (kid "x"): `kty` is missing or not a text; RFC 7518 §6 says what a key has"#
            ]],
        ),
        (
            json!({ "kty": "oct", "kid": "x", "k": "c2VjcmV0" }),
            expect![[
                r#"keys[1] (kid "x"): is a shared secret (kty `oct`); give it to `auth.hs256_secret_file`, not to a set of public keys"#
            ]],
        ),
        (
            changed("rsa", "d", Some(json!("AQAB"))),
            expect![[
                r#"keys[1] (kid "rsa"): has the private member `d`: whoever reads this file could sign tokens; make a new key pair, since this one is no secret any more, and put only the public members here"#
            ]],
        ),
        (
            changed("ec", "d", Some(json!("AQAB"))),
            expect![[
                r#"keys[1] (kid "ec"): has the private member `d`: whoever reads this file could sign tokens; make a new key pair, since this one is no secret any more, and put only the public members here"#
            ]],
        ),
        (
            changed("ed", "kid", None),
            expect!["keys[1]: has no `kid`; a set of several keys needs one for each"],
        ),
        (
            key("next"),
            expect![[
                r#"keys[1] (kid "next"): has the `kid` of an earlier key; give each its own"#
            ]],
        ),
    ] {
        check(&[key("next"), bad], &expected);
    }
}

#[test]
fn bad_rsa_keys() {
    for (bad, expected) in [
        (
            changed("rsa", "n", None),
            expect![[
                r#"keys[1] (kid "rsa"): `n` is missing or not a text; RFC 7518 §6 says what a key has"#
            ]],
        ),
        (
            changed("rsa", "n", Some(json!(65537))),
            expect![[
                r#"keys[1] (kid "rsa"): `n` is missing or not a text; RFC 7518 §6 says what a key has"#
            ]],
        ),
        (
            changed("rsa", "n", Some(json!("not base64url!"))),
            expect![[r#"keys[1] (kid "rsa"): `n` is not base64url without padding (RFC 4648 §5)"#]],
        ),
        (
            changed("rsa", "n", Some(json!("AQAB"))),
            expect![[
                r#"keys[1] (kid "rsa"): has 17 bits; RS256 needs 2048 to 4096, so make a new key pair"#
            ]],
        ),
        (
            changed("rsa", "n", Some(json!(URL_SAFE_NO_PAD.encode([0xff; 600])))),
            expect![[
                r#"keys[1] (kid "rsa"): has 4800 bits; RS256 needs 2048 to 4096, so make a new key pair"#
            ]],
        ),
        (
            changed("rsa", "n", Some(json!(URL_SAFE_NO_PAD.encode([0xfe; 256])))),
            expect![[
                r#"keys[1] (kid "rsa"): `n` is even, which no RSA modulus is; copy the key again from its issuer"#
            ]],
        ),
        (
            changed("rsa", "e", Some(json!("AA"))),
            expect![[
                r#"keys[1] (kid "rsa"): `e` is no usable exponent; it is AQAB (65537) as a rule"#
            ]],
        ),
        (
            changed("rsa", "e", Some(json!("AQ"))),
            expect![[
                r#"keys[1] (kid "rsa"): `e` is no usable exponent; it is AQAB (65537) as a rule"#
            ]],
        ),
        (
            changed("rsa", "e", Some(json!("Ag"))),
            expect![[
                r#"keys[1] (kid "rsa"): `e` is no usable exponent; it is AQAB (65537) as a rule"#
            ]],
        ),
        (
            changed("rsa", "alg", Some(json!("HS256"))),
            expect![[
                r#"keys[1] (kid "rsa"): `alg` is HS256, which a key of this kind is not for: RS256 is"#
            ]],
        ),
    ] {
        check(&[key("next"), bad], &expected);
    }
}

#[test]
fn bad_keys_of_curves() {
    for (bad, expected) in [
        (
            changed("ec", "alg", Some(json!("RS256"))),
            expect![[
                r#"keys[1] (kid "ec"): `alg` is RS256, which a key of this kind is not for: ES256 is"#
            ]],
        ),
        (
            changed("ec", "x", Some(json!("AAAA"))),
            expect![[r#"keys[1] (kid "ec"): `x` has 3 bytes, this kind of key has 32"#]],
        ),
        (
            changed("ec", "x", Some(key("ec")["y"].clone())),
            expect![[
                r#"keys[1] (kid "ec"): is not a point of its curve; copy the key again from its issuer"#
            ]],
        ),
        (
            changed("ed", "x", Some(json!(""))),
            expect![[r#"keys[1] (kid "ed"): `x` has 0 bytes, this kind of key has 32"#]],
        ),
        (
            changed("ed", "x", Some(json!("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))),
            expect![[
                r#"keys[1] (kid "ed"): is not a point of its curve; copy the key again from its issuer"#
            ]],
        ),
    ] {
        check(&[key("next"), bad], &expected);
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    check(
        &[changed("rsa", "d", Some(json!("AQAB"))), key("ec"), changed("ed", "x", None)],
        &expect![[r#"
            keys[0] (kid "rsa"): has the private member `d`: whoever reads this file could sign tokens; make a new key pair, since this one is no secret any more, and put only the public members here
            keys[2] (kid "ed"): `x` is missing or not a text; RFC 7518 §6 says what a key has"#]],
    );
}

#[test]
fn what_is_no_set() {
    for (text, expected) in [
        (
            "",
            expect![
                "is not a JSON Web Key Set, an object with an array `keys`: EOF while parsing a value at line 1 column 0"
            ],
        ),
        (
            "[]",
            expect!["is not a JSON Web Key Set, an object with an array `keys`: it is no object"],
        ),
        (
            "{}",
            expect![
                "is not a JSON Web Key Set, an object with an array `keys`: `keys` is missing or no array"
            ],
        ),
        (
            r#"{"keys":{}}"#,
            expect![
                "is not a JSON Web Key Set, an object with an array `keys`: `keys` is missing or no array"
            ],
        ),
        (
            r#"{"keys":[]}"#,
            expect!["has no key for RS256, ES256 or EdDSA; add the issuer's public signature key"],
        ),
        (
            "-----BEGIN PUBLIC KEY-----",
            expect![
                "is not a JSON Web Key Set, an object with an array `keys`: invalid number at line 1 column 2"
            ],
        ),
    ] {
        expected.assert_eq(&read(text));
    }
    let many = vec![key("ed"); JWKS_KEYS_MAX + 1];
    check(&many, &expect!["has 65 keys, more than 64; remove those that are out of use"]);
}
