//! Access tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256 (`HS256`, RFC 7518 §3.2).
//!
//! A token says who a user is (`sub`, the decimal user id) and until when (`exp`). Invariants: no
//! other algorithm is taken whatever the header says; a token without `exp` is refused; a token
//! made for somebody else (`aud`, RFC 7519 §4.1.3) is refused. The signature is checked before any
//! claim is looked at.

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::ids::UserId;
use crate::base::limits::{TOKEN_BYTES_MAX, TOKEN_SECRET_BYTES_MIN};

/// By how much the clock of the token's issuer may differ from ours, seconds. Small, because both
/// are servers; not 0, because a token is often used in the second it was made in.
pub const CLOCK_LEEWAY_S: i64 = 5;

/// What a valid token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user; never 0.
    pub user: UserId,
    /// When the token ends, Unix seconds (`exp`, without the leeway).
    pub expires_unix_s: i64,
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token has {bytes} bytes, more than {TOKEN_BYTES_MAX}")]
    TooLong {
        /// Bytes of the token.
        bytes: usize,
    },
    /// Not three parts of base64url with JSON in the first two.
    #[error("the token is not a JSON Web Token")]
    Malformed,
    /// The header names another algorithm, or none.
    #[error("the token is not signed with HS256")]
    Algorithm,
    /// The header names an extension as critical (RFC 7515 §4.1.11); we know none.
    #[error("the token's header has a critical extension, and none is supported")]
    CriticalExtension,
    /// Signed with another secret, or changed since.
    #[error("the token's signature is not ours")]
    Signature,
    /// A claim is missing or has another type or form than RFC 7519 and this gateway ask for.
    #[error("the token's claims: {reason}")]
    Claims {
        /// Which claim, and what is wrong with it.
        reason: String,
    },
    /// `aud` does not name this gateway.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` has passed.
    #[error("the token expired at {expires_unix_s} (Unix seconds); fetch a new one")]
    Expired {
        /// `exp`.
        expires_unix_s: i64,
    },
    /// `nbf` has not come.
    #[error("the token is valid only from {not_before_unix_s} (Unix seconds)")]
    NotYetValid {
        /// `nbf`.
        not_before_unix_s: i64,
    },
}

/// Checks tokens; made once, shared by all connections of a shard.
pub struct TokenVerifier {
    key: DecodingKey,
    validation: Validation,
}

/// The claims as they are in the token. Others are ignored (RFC 7519 §4).
#[derive(Deserialize)]
struct Payload {
    sub: Option<String>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519 §2).
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum NumericDate {
    Whole(i64),
    Fraction(f64),
}

#[derive(Serialize)]
struct NewPayload<'a> {
    sub: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl NumericDate {
    /// Whole seconds, cut towards the past, so that a fraction never prolongs a token.
    fn unix_s(self) -> i64 {
        match self {
            NumericDate::Whole(seconds) => seconds,
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, NaN becomes 0")]
            NumericDate::Fraction(seconds) => seconds.floor() as i64,
        }
    }
}

impl TokenVerifier {
    /// A verifier for tokens signed with `secret`, that have no `aud`.
    ///
    /// # Panics
    /// If the secret is shorter than [`TOKEN_SECRET_BYTES_MIN`]: the configuration is checked
    /// before.
    #[must_use]
    pub fn new(secret: &[u8]) -> TokenVerifier {
        assert_secret(secret);
        let mut validation = Validation::new(Algorithm::HS256);
        // Those would read the clock; `verify` checks against the time that it is given.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.required_spec_claims.clear();
        TokenVerifier { key: DecodingKey::from_secret(secret), validation }
    }

    /// Takes tokens that name `audience` in `aud`, and only those.
    #[must_use]
    pub fn for_audience(mut self, audience: &str) -> TokenVerifier {
        self.validation.set_audience(&[audience]);
        self.validation.set_required_spec_claims(&["aud"]);
        self
    }

    /// What `token` says, if it is ours and valid at `now_unix_s` (Unix seconds), give or take
    /// [`CLOCK_LEEWAY_S`].
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn verify(&self, token: &str, now_unix_s: i64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        let decoded = jsonwebtoken::decode::<Payload>(token, &self.key, &self.validation)
            .map_err(|error| refusal(&error))?;
        if decoded.header.crit.is_some() {
            return Err(TokenError::CriticalExtension);
        }
        let payload = decoded.claims;
        let user = user_of(payload.sub.as_deref())?;
        let Some(expires_unix_s) = payload.exp.map(NumericDate::unix_s) else {
            return Err(claims_error("`exp` is missing"));
        };
        if now_unix_s >= expires_unix_s.saturating_add(CLOCK_LEEWAY_S) {
            return Err(TokenError::Expired { expires_unix_s });
        }
        if let Some(not_before_unix_s) = payload.nbf.map(NumericDate::unix_s)
            && now_unix_s < not_before_unix_s.saturating_sub(CLOCK_LEEWAY_S)
        {
            return Err(TokenError::NotYetValid { not_before_unix_s });
        }
        Ok(Claims { user, expires_unix_s })
    }
}

/// What a new token shall say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// Not 0.
    pub user: UserId,
    /// Now, Unix seconds (`iat`).
    pub issued_unix_s: i64,
    /// How long it shall be valid, seconds.
    pub lifetime_s: u32,
    /// For whom it is, where the gateway asks for an audience.
    pub audience: Option<&'a str>,
}

/// A token signed with `secret`.
///
/// # Panics
/// If the secret is shorter than [`TOKEN_SECRET_BYTES_MIN`] or the user is 0.
#[must_use]
pub fn mint(secret: &[u8], new: NewToken<'_>) -> String {
    assert_secret(secret);
    assert!(new.user.0 != 0, "user 0 is nobody");
    let payload = NewPayload {
        sub: new.user.to_string(),
        iat: new.issued_unix_s,
        exp: new.issued_unix_s.saturating_add(i64::from(new.lifetime_s)),
        aud: new.audience,
    };
    let header = Header::new(Algorithm::HS256);
    match jsonwebtoken::encode(&header, &payload, &EncodingKey::from_secret(secret)) {
        Ok(token) => token,
        Err(error) => panic!("numbers and strings always encode, and HMAC takes any key: {error}"),
    }
}

fn assert_secret(secret: &[u8]) {
    assert!(
        secret.len() >= TOKEN_SECRET_BYTES_MIN,
        "a token secret has at least {TOKEN_SECRET_BYTES_MIN} bytes, not {}",
        secret.len()
    );
}

fn user_of(subject: Option<&str>) -> Result<UserId, TokenError> {
    let Some(subject) = subject else { return Err(claims_error("`sub` is missing")) };
    // `parse` also takes "+7" and "007": one user, one spelling.
    match subject.parse::<u64>() {
        Ok(0) => Err(claims_error("`sub` is 0, which is nobody")),
        Ok(user) if user.to_string() == subject => Ok(UserId(user)),
        _ => Err(claims_error("`sub` is not a decimal user id of 64 bits")),
    }
}

fn claims_error(reason: &str) -> TokenError {
    TokenError::Claims { reason: reason.to_owned() }
}

fn refusal(error: &JwtError) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::MissingAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
        // The crate reports an algorithm that it does not know ("none") as JSON that does not
        // fit. Claims of another type are reported alike; the line tells nobody which.
        ErrorKind::Json(json) if json.to_string().contains("unknown variant") => {
            TokenError::Algorithm
        }
        ErrorKind::Json(json) if json.is_data() => TokenError::Claims { reason: json.to_string() },
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use expect_test::{Expect, expect};
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    const SECRET: &[u8] = b"a secret of thirty-two bytes ...";
    const NOW: i64 = 1_800_000_000;
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

    fn check(token: &str, expected: &Expect) {
        let outcome = match TokenVerifier::new(SECRET).verify(token, NOW) {
            Ok(claims) => format!("user {} until {}", claims.user, claims.expires_unix_s),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&outcome);
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
                expect![
                    "the token expired at -9223372036854775808 (Unix seconds); fetch a new one"
                ],
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
                    "the token's claims: invalid length 0, expected struct Payload with 3 elements at line 1 column 2"
                ],
            ),
            ("{", expect!["the token is not a JSON Web Token"]),
        ] {
            check(&signed(HEADER, payload), &expected);
        }
    }

    #[test]
    fn headers() {
        let payload = r#"{"sub":"7","exp":1800000060}"#;
        for (header, expected) in [
            (r#"{"alg":"HS256"}"#, expect!["user 7 until 1800000060"]),
            (r#"{"alg":"none"}"#, expect!["the token is not signed with HS256"]),
            (r#"{"alg":"HS512"}"#, expect!["the token is not signed with HS256"]),
            (r#"{"alg":"RS256"}"#, expect!["the token is not signed with HS256"]),
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

    #[test]
    fn an_audience_that_is_asked_for_must_be_named() {
        let verifier = TokenVerifier::new(SECRET).for_audience("tidegate");
        let token = |audience| {
            mint(SECRET, NewToken { user: UserId(7), issued_unix_s: NOW, lifetime_s: 60, audience })
        };
        assert!(verifier.verify(&token(Some("tidegate")), NOW).is_ok());
        assert_eq!(verifier.verify(&token(Some("shop")), NOW), Err(TokenError::Audience));
        assert_eq!(verifier.verify(&token(None), NOW), Err(TokenError::Audience));
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
            let verifier = TokenVerifier::new(SECRET);
            let expires_unix_s = NOW + i64::from(lifetime_s);
            let claims = Claims { user: UserId(user), expires_unix_s };
            let last = expires_unix_s + CLOCK_LEEWAY_S - 1;
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
}
