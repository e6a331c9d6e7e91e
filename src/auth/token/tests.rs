use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use expect_test::{Expect, expect};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use serde_json::json;
use sha2::Sha256;

const SECRET: &[u8] = b"a secret of thirty-two bytes ...";
const NOW: i64 = 1_800_000_000;
const JWKS: &str = include_str!("../../../tests/keys/jwks.json");
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Signs by hand, so that the tests do not trust the crate with both sides.
fn signed(header: &str, payload: &str) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.as_bytes()),
        URL_SAFE_NO_PAD.encode(payload.as_bytes())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn shown(outcome: Result<Claims, TokenError>) -> String {
    match outcome {
        Ok(claims) => format!("user {} until {}", claims.user, claims.expires_unix_s),
        Err(error) => error.to_string(),
    }
}

fn check(token: &str, expected: &Expect) {
    expected.assert_eq(&shown(TokenVerifier::new(SECRET).verify(token, NOW)));
}

#[test]
fn claims() {
    for (payload, expected) in [
        (r#"{"sub":"7","exp":1800000060}"#, expect!["user 7 until 1800000060"]),
        (r#"{"sub":"7","exp":1800000060,"role":["x"]}"#, expect!["user 7 until 1800000060"]),
        (r#"{"sub":"7","exp":1800000060.9}"#, expect!["user 7 until 1800000060"]),
        (
            r#"{"sub":"18446744073709551615","exp":1800000060,"nbf":1800000005}"#,
            expect!["user 18446744073709551615 until 1800000060"],
        ),
        (r#"{"sub":"7","exp":1799999996}"#, expect!["user 7 until 1799999996"]),
        (
            r#"{"sub":"7","exp":1799999995}"#,
            expect!["the token expired at 1799999995 (Unix seconds); fetch a new one"],
        ),
        (
            r#"{"sub":"7","exp":-1e300}"#,
            expect!["the token expired at -9223372036854775808 (Unix seconds); fetch a new one"],
        ),
        (
            r#"{"sub":"7","exp":1800000060,"nbf":1800000006}"#,
            expect!["the token is valid only from 1800000006 (Unix seconds)"],
        ),
        (r#"{"sub":"7"}"#, expect!["the token's claims: `exp` is missing"]),
        (r#"{"exp":1800000060}"#, expect!["the token's claims: `sub` is missing"]),
        (
            r#"{"sub":"0","exp":1800000060}"#,
            expect!["the token's claims: `sub` is 0, which is nobody"],
        ),
        (
            r#"{"sub":"+7","exp":1800000060}"#,
            expect!["the token's claims: `sub` is not a decimal user id of 64 bits"],
        ),
        (
            r#"{"sub":"18446744073709551616","exp":1800000060}"#,
            expect!["the token's claims: `sub` is not a decimal user id of 64 bits"],
        ),
        (
            r#"{"sub":7,"exp":1800000060}"#,
            expect![
                "the token's claims: invalid type: integer `7`, expected a string at line 1 column 8"
            ],
        ),
        (
            r#"{"sub":"7","exp":"soon"}"#,
            expect![
                "the token's claims: data did not match any variant of untagged enum NumericDate at line 1 column 24"
            ],
        ),
        (
            r#"{"sub":"7","sub":"8","exp":1800000060}"#,
            expect!["the token's claims: duplicate field `sub` at line 1 column 16"],
        ),
        (
            r#"{"sub":"7","exp":1800000060,"aud":"shop"}"#,
            expect!["the token is for another audience"],
        ),
        (
            "[]",
            expect![
                "the token's claims: invalid length 0, expected struct Payload with 7 elements at line 1 column 2"
            ],
        ),
        ("{", expect!["the token is not a JSON Web Token"]),
    ] {
        check(&signed(HEADER, payload), &expected);
    }
}

#[test]
fn claims_of_ours() {
    for (payload, expected) in [
        (
            r#"{"sub":"7","exp":1800000060,"rooms":null}"#,
            expect![[r#"the token's claims: `rooms` is neither "*" nor a list of room ids"#]],
        ),
        (
            r#"{"sub":"7","exp":1800000060,"publish":"yes"}"#,
            expect!["the token's claims: `publish` is neither true, false nor a list of lanes"],
        ),
        (
            r#"{"sub":"7","exp":1800000060,"jti":7}"#,
            expect![
                "the token's claims: invalid type: integer `7`, expected a string at line 1 column 35"
            ],
        ),
    ] {
        check(&signed(HEADER, payload), &expected);
    }
}

#[test]
fn headers() {
    let payload = r#"{"sub":"7","exp":1800000060}"#;
    for (header, expected) in [
        (r#"{"alg":"HS256"}"#, expect!["user 7 until 1800000060"]),
        (
            r#"{"alg":"none"}"#,
            expect!["the token is signed with an algorithm that this gateway has no key for"],
        ),
        (
            r#"{"alg":"HS512"}"#,
            expect!["the token is signed with an algorithm that this gateway has no key for"],
        ),
        (
            r#"{"alg":"nOnE"}"#,
            expect!["the token is signed with an algorithm that this gateway has no key for"],
        ),
        (r#"{"alg":"HS256","kid":"whatever"}"#, expect!["user 7 until 1800000060"]),
        (
            r#"{"alg":"HS256","kid":7}"#,
            expect![
                "the token's claims: invalid type: integer `7`, expected a string at line 1 column 22"
            ],
        ),
        (
            r#"{"alg":"ES384"}"#,
            expect!["the token is signed with an algorithm that this gateway has no key for"],
        ),
        (
            r#"{"alg":"RS256"}"#,
            expect!["the token is signed with an algorithm that this gateway has no key for"],
        ),
        (
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            expect!["the token's header has a critical extension, and none is supported"],
        ),
        ("{}", expect!["the token's claims: missing field `alg` at line 1 column 2"]),
        ("x", expect!["the token is not a JSON Web Token"]),
    ] {
        check(&signed(header, payload), &expected);
    }
}

#[test]
fn shapes() {
    let good = signed(HEADER, r#"{"sub":"7","exp":1800000060}"#);
    let (message, _) = good.rsplit_once('.').unwrap();
    for (token, expected) in [
        (String::new(), expect!["the token is not a JSON Web Token"]),
        ("..".to_owned(), expect!["the token is not a JSON Web Token"]),
        ("a.b".to_owned(), expect!["the token is not a JSON Web Token"]),
        (format!("{message}."), expect!["the token's signature is not ours"]),
        (format!("{good}A"), expect!["the token's signature is not ours"]),
        (format!("{message}.AAAA"), expect!["the token's signature is not ours"]),
        (format!("{good}.{good}"), expect!["the token is not a JSON Web Token"]),
        ("a".repeat(4_097), expect!["the token has 4097 bytes, more than 4096"]),
    ] {
        check(&token, &expected);
    }
}

/// What the public keys of the tests make of a token.
fn of_public_keys(token: &str, policy: TokenPolicy) -> String {
    let keys = KeySet::from_jwks(JWKS).unwrap().keys;
    shown(TokenVerifier::with_keys(Arc::new(keys), policy).verify(token, NOW))
}

fn private(name: &str) -> (Algorithm, EncodingKey) {
    match name {
        "rsa" => (
            Algorithm::RS256,
            EncodingKey::from_rsa_der(include_bytes!("../../../tests/keys/rsa.der")),
        ),
        "ec" => (
            Algorithm::ES256,
            EncodingKey::from_ec_der(include_bytes!("../../../tests/keys/ec.der")),
        ),
        "ed" => (
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(include_bytes!("../../../tests/keys/ed.der")),
        ),
        _ => (
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(include_bytes!("../../../tests/keys/next.der")),
        ),
    }
}

/// A token signed with the private key of that name, whose header names `kid`.
fn signed_by(name: &str, kid: Option<&str>, payload: &Value) -> String {
    let (algorithm, key) = private(name);
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, payload, &key).unwrap()
}

#[test]
fn what_another_implementation_signed_is_taken() {
    for token in [
        include_str!("../../../tests/keys/rsa.jwt"),
        include_str!("../../../tests/keys/ec.jwt"),
        include_str!("../../../tests/keys/ed.jwt"),
        include_str!("../../../tests/keys/next.jwt"),
    ] {
        let token = token.trim_end();
        let taken = of_public_keys(token, TokenPolicy::default());
        assert_eq!(taken, "user 7 until 1800003600", "{token}");
        // Another signature, another payload: the last character has bits that nobody reads.
        let place = token.len() - 9;
        let other = if &token[place..=place] == "A" { "B" } else { "A" };
        let tampered = format!("{}{other}{}", &token[..place], &token[place + 1..]);
        let refused = of_public_keys(&tampered, TokenPolicy::default());
        assert_eq!(refused, "the token's signature is not ours", "{tampered}");
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"8","exp":1800003600}"#);
        let forged = format!("{head}.{payload}.{signature}");
        let refused = of_public_keys(&forged, TokenPolicy::default());
        assert_eq!(refused, "the token's signature is not ours", "{forged}");
    }
}

#[test]
fn each_key_is_for_its_own_tokens() {
    let payload = json!({ "sub": "7", "exp": NOW + 60 });
    for (name, kid, expected) in [
        ("rsa", Some("rsa"), expect!["user 7 until 1800000060"]),
        ("rsa", None, expect!["user 7 until 1800000060"]),
        (
            "rsa",
            Some("ec"),
            expect!["the token is signed with a key (`kid`) that this gateway does not know"],
        ),
        (
            "rsa",
            Some("gone"),
            expect!["the token is signed with a key (`kid`) that this gateway does not know"],
        ),
        ("ec", Some("ec"), expect!["user 7 until 1800000060"]),
        ("ed", Some("ed"), expect!["user 7 until 1800000060"]),
        ("ed", Some("next"), expect!["the token's signature is not ours"]),
        (
            "ed",
            None,
            expect![
                "the token does not say which key (`kid`) it is signed with, and there are several"
            ],
        ),
    ] {
        let token = signed_by(name, kid, &payload);
        expected.assert_eq(&of_public_keys(&token, TokenPolicy::default()));
    }
}

#[test]
fn a_public_key_is_nobodys_secret() {
    let payload = json!({ "sub": "7", "exp": NOW + 60 });
    let set: Value = serde_json::from_str(JWKS).unwrap();
    // What an attacker knows: the modulus as bytes and as text, a coordinate, the whole file.
    let modulus = set["keys"][0]["n"].as_str().unwrap();
    let known: [&[u8]; 4] = [
        &URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        modulus.as_bytes(),
        set["keys"][2]["x"].as_str().unwrap().as_bytes(),
        JWKS.as_bytes(),
    ];
    for secret in known {
        for kid in [None, Some("rsa"), Some("ed")] {
            let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
            let key = EncodingKey::from_secret(secret);
            let token = jsonwebtoken::encode(&header, &payload, &key).unwrap();
            let refused = of_public_keys(&token, TokenPolicy::default());
            assert_eq!(
                refused,
                "the token is signed with an algorithm that this gateway has no key for"
            );
            // And where there is a secret as well, it is another one.
            let keys = KeySet::from_jwks(JWKS).unwrap().keys.with_secret(SECRET);
            let verifier = TokenVerifier::with_keys(Arc::new(keys), TokenPolicy::default());
            assert_eq!(verifier.verify(&token, NOW), Err(TokenError::Signature));
        }
    }
}

#[test]
fn secret_and_public_keys_stand_beside_each_other() {
    let keys = KeySet::from_jwks(JWKS).unwrap().keys.with_secret(SECRET);
    let mut verifier = TokenVerifier::with_keys(Arc::new(keys), TokenPolicy::default());
    let payload = json!({ "sub": "7", "exp": NOW + 60 });
    let ours = signed(HEADER, &payload.to_string());
    let theirs = signed_by("ed", Some("ed"), &payload);
    assert!(verifier.verify(&ours, NOW).is_ok() && verifier.verify(&theirs, NOW).is_ok());
    // The key is taken out of the set: rotation has ended.
    verifier.set_keys(Arc::new(KeySet::of_secret(SECRET)));
    assert!(verifier.verify(&ours, NOW).is_ok());
    assert_eq!(verifier.verify(&theirs, NOW), Err(TokenError::Algorithm));
}

#[test]
fn audience_and_issuer_must_be_named_where_they_are_asked_for() {
    let policy = |audience: Option<&str>, issuer: Option<&str>| TokenPolicy {
        audience: audience.map(str::to_owned),
        issuer: issuer.map(str::to_owned),
        ..TokenPolicy::default()
    };
    for (claims, audience, issuer, expected) in [
        (json!({ "aud": "gate" }), Some("gate"), None, expect!["user 7 until 1800000060"]),
        (
            json!({ "aud": ["shop", "gate"] }),
            Some("gate"),
            None,
            expect!["user 7 until 1800000060"],
        ),
        (
            json!({ "aud": "shop" }),
            Some("gate"),
            None,
            expect!["the token is for another audience"],
        ),
        (json!({}), Some("gate"), None, expect!["the token is for another audience"]),
        (json!({ "aud": "gate" }), None, None, expect!["the token is for another audience"]),
        (json!({ "iss": "us" }), None, Some("us"), expect!["user 7 until 1800000060"]),
        (json!({ "iss": "them" }), None, Some("us"), expect!["the token is from another issuer"]),
        (json!({}), None, Some("us"), expect!["the token is from another issuer"]),
        (json!({ "iss": "them" }), None, None, expect!["user 7 until 1800000060"]),
    ] {
        let mut payload = json!({ "sub": "7", "exp": NOW + 60 });
        payload.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = signed_by("ed", Some("ed"), &payload);
        expected.assert_eq(&of_public_keys(&token, policy(audience, issuer)));
    }
}

#[test]
fn leeway_and_the_longest_life_are_settings() {
    let policy = TokenPolicy { leeway_s: 0, lifetime_max_s: 3_600, ..TokenPolicy::default() };
    for (claims, expected) in [
        (json!({ "exp": NOW + 1 }), expect!["user 7 until 1800000001"]),
        (
            json!({ "exp": NOW }),
            expect!["the token expired at 1800000000 (Unix seconds); fetch a new one"],
        ),
        (json!({ "exp": NOW + 1, "nbf": NOW }), expect!["user 7 until 1800000001"]),
        (
            json!({ "exp": NOW + 1, "nbf": NOW + 1 }),
            expect!["the token is valid only from 1800000001 (Unix seconds)"],
        ),
        (json!({ "exp": NOW + 60, "iat": NOW }), expect!["user 7 until 1800000060"]),
        (
            json!({ "exp": NOW + 60, "iat": NOW + 1 }),
            expect![
                "the token says it was made at 1800000001 (Unix seconds), which is to come: set the clock of whoever makes tokens"
            ],
        ),
        (json!({ "exp": NOW + 3_600 }), expect!["user 7 until 1800003600"]),
        (
            json!({ "exp": NOW + 3_601 }),
            expect!["the token is valid for 3601 s, longer than the 3600 s allowed"],
        ),
        (json!({ "exp": NOW + 60, "iat": NOW - 3_540 }), expect!["user 7 until 1800000060"]),
        (
            json!({ "exp": NOW + 60, "iat": NOW - 3_541 }),
            expect!["the token is valid for 3601 s, longer than the 3600 s allowed"],
        ),
        (
            json!({ "exp": i64::MAX, "iat": i64::MIN }),
            expect!["the token is valid for 9223372036854775807 s, longer than the 3600 s allowed"],
        ),
    ] {
        let mut payload = claims;
        payload["sub"] = json!("7");
        expected.assert_eq(&of_public_keys(&signed_by("ed", Some("ed"), &payload), policy.clone()));
    }
}

#[test]
fn what_a_token_says_unverified() {
    let token = signed(HEADER, r#"{"sub":"7","exp":1800000060.5}"#);
    let said = Unverified { user: UserId(7), expires_unix_s: 1_800_000_060 };
    assert_eq!(unverified(&token), Some(said));
    for nonsense in ["", "a.b.c", &signed(HEADER, r#"{"sub":"x","exp":1}"#), &"a".repeat(5_000)] {
        assert_eq!(unverified(nonsense), None, "{nonsense}");
    }
}

#[test]
#[should_panic(expected = "at least 32 bytes")]
fn a_short_secret_is_our_own_mistake() {
    let _ = TokenVerifier::new(b"short");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_minted_is_verified_until_it_ends(user in 1_u64.., lifetime_s in 0_u32..1 << 30) {
        let new =
            NewToken { user: UserId(user), issued_unix_s: NOW, lifetime_s, audience: None };
        let token = mint(SECRET, new);
        let policy = TokenPolicy { lifetime_max_s: u32::MAX, ..TokenPolicy::default() };
        let verifier = TokenVerifier::with_keys(Arc::new(KeySet::of_secret(SECRET)), policy);
        let expires_unix_s = NOW + i64::from(lifetime_s);
        let claims = Claims {
            user: UserId(user),
            expires_unix_s,
            issued_unix_s: Some(NOW),
            token_id: None,
            permission: Permission::EVERYTHING,
        };
        let last = expires_unix_s + i64::from(CLOCK_LEEWAY_S) - 1;
        prop_assert_eq!(verifier.verify(&token, last), Ok(claims));
        let expired = TokenError::Expired { expires_unix_s };
        prop_assert_eq!(verifier.verify(&token, last + 1), Err(expired));
    }

    #[test]
    fn a_changed_character_is_noticed(place: prop::sample::Index, replacement in "[A-Za-z0-9._-]") {
        let new =
            NewToken { user: UserId(7), issued_unix_s: NOW, lifetime_s: 60, audience: None };
        let token = mint(SECRET, new);
        let place = place.index(token.len());
        prop_assume!(&token[place..=place] != replacement.as_str());
        let changed = format!("{}{replacement}{}", &token[..place], &token[place + 1..]);
        prop_assert!(TokenVerifier::new(SECRET).verify(&changed, NOW).is_err());
    }

    #[test]
    fn any_text_is_refused_without_a_panic(token in "\\PC{0,200}") {
        prop_assert!(TokenVerifier::new(SECRET).verify(&token, NOW).is_err());
    }
}
