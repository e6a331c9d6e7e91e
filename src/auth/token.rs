//! Access tokens: JSON Web Tokens (RFC 7519), signed with HS256, RS256, ES256 (RFC 7518 §3) or
//! EdDSA (RFC 8037).
//!
//! A token says who a user is (`sub`, the decimal user id), until when (`exp`), and perhaps what
//! its holder may do. Invariants: the key that verifies a token has the algorithm that its header
//! names, and `none` is none; a token without `exp` is refused; a token made for somebody else
//! (`aud`, RFC 7519 §4.1.3) is refused. The signature is checked before any claim is believed.

use std::sync::Arc;

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use crate::auth::claims::{Claims, Permission};
use crate::auth::keys::{KeySet, assert_secret};
use crate::auth::signatures;
use crate::base::ids::UserId;
use crate::base::limits::{TOKEN_BYTES_MAX, TOKEN_ID_BYTES_MAX, TOKEN_LIFETIME_MAX_DEFAULT_S};

/// By how much the clock of the token's issuer may differ from ours, seconds, by default. Small,
/// because both are servers; not 0, because a token is often used in the second it was made in.
pub const CLOCK_LEEWAY_S: u32 = 5;

/// The algorithms that tokens are signed with, in the order of [`TokenVerifier::validations`].
const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// What is asked of a token beside its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// What `aud` must name; nothing: tokens that have `aud` are refused.
    pub audience: Option<String>,
    /// What `iss` must be; nothing: it is not looked at.
    pub issuer: Option<String>,
    /// By how much clocks may differ, seconds.
    pub leeway_s: u32,
    /// From `iat` (or now) to `exp`, seconds, at most: how long a revocation has to be kept.
    pub lifetime_max_s: u32,
}

impl Default for TokenPolicy {
    fn default() -> TokenPolicy {
        TokenPolicy {
            audience: None,
            issuer: None,
            leeway_s: CLOCK_LEEWAY_S,
            lifetime_max_s: TOKEN_LIFETIME_MAX_DEFAULT_S,
        }
    }
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
    /// The header names an algorithm that no key here has, or none.
    #[error("the token is signed with an algorithm that this gateway has no key for")]
    Algorithm,
    /// The header names a key that is not known.
    #[error("the token is signed with a key (`kid`) that this gateway does not know")]
    UnknownKey,
    /// The header names no key, and there are several.
    #[error("the token does not say which key (`kid`) it is signed with, and there are several")]
    KeyNotNamed,
    /// The header names an extension as critical (RFC 7515 §4.1.11); we know none.
    #[error("the token's header has a critical extension, and none is supported")]
    CriticalExtension,
    /// Signed with another key, or changed since.
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
    /// `iss` is somebody else.
    #[error("the token is from another issuer")]
    Issuer,
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
    /// `iat` has not come: a revocation of what was issued until now would miss it.
    #[error(
        "the token says it was made at {issued_unix_s} (Unix seconds), which is to come: set the \
         clock of whoever makes tokens"
    )]
    IssuedLater {
        /// `iat`.
        issued_unix_s: i64,
    },
    /// It is valid for longer than the policy allows.
    #[error("the token is valid for {lifetime_s} s, longer than the {lifetime_max_s} s allowed")]
    TooLongLived {
        /// From `iat`, or from now, to `exp`.
        lifetime_s: i64,
        /// The most.
        lifetime_max_s: u32,
    },
}

/// Checks tokens; made once, used by all connections of a shard.
pub struct TokenVerifier {
    keys: Arc<KeySet>,
    policy: TokenPolicy,
    /// What the library checks, per algorithm: it takes no list of algorithms of several families.
    validations: [Validation; ALGORITHMS.len()],
}

/// The claims as they are in the token. Others are ignored (RFC 7519 §4).
#[derive(Deserialize)]
struct Payload {
    sub: Option<String>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: Option<String>,
    // `null` is no permission, and no lack of one either.
    #[serde(default = "every_room")]
    rooms: Value,
    #[serde(default = "every_lane")]
    publish: Value,
}

fn every_room() -> Value {
    Value::String("*".to_owned())
}

fn every_lane() -> Value {
    Value::Bool(true)
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519 §2).
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum NumericDate {
    Whole(i64),
    Fraction(f64),
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

/// What a token says of itself. Nothing of it may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// Whose it says it is.
    pub user: UserId,
    /// When it says it ends, Unix seconds.
    pub expires_unix_s: i64,
}

/// Reads a token without its signature, for what costs nobody anything: whether it is worth
/// verifying at all.
#[must_use]
pub fn unverified(token: &str) -> Option<Unverified> {
    #[derive(Deserialize)]
    struct Said {
        sub: String,
        exp: NumericDate,
    }
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let said = jsonwebtoken::dangerous::insecure_decode_claims::<Said>(token).ok()?;
    let user = user_of(Some(&said.sub)).ok()?;
    Some(Unverified { user, expires_unix_s: said.exp.unix_s() })
}

impl TokenVerifier {
    /// A verifier for tokens signed with `secret`, by the policy of defaults.
    ///
    /// # Panics
    /// If the secret is too short: see [`KeySet::of_secret`].
    #[must_use]
    pub fn new(secret: &[u8]) -> TokenVerifier {
        TokenVerifier::with_keys(Arc::new(KeySet::of_secret(secret)), TokenPolicy::default())
    }

    /// A verifier for tokens signed with any of `keys`.
    #[must_use]
    pub fn with_keys(keys: Arc<KeySet>, policy: TokenPolicy) -> TokenVerifier {
        signatures::install();
        let validations = ALGORITHMS.map(|algorithm| validation(algorithm, &policy));
        TokenVerifier { keys, policy, validations }
    }

    /// Takes tokens signed with `keys` from now on, and with no others.
    pub fn set_keys(&mut self, keys: Arc<KeySet>) {
        self.keys = keys;
    }

    /// What is asked of tokens.
    #[must_use]
    pub fn policy(&self) -> &TokenPolicy {
        &self.policy
    }

    /// What `token` says, if it is ours and valid at `now_unix_s` (Unix seconds), give or take the
    /// leeway.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn verify(&self, token: &str, now_unix_s: i64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| refusal(&error))?;
        let known = ALGORITHMS.iter().position(|algorithm| *algorithm == header.alg);
        let validation = &self.validations[known.ok_or(TokenError::Algorithm)?];
        if header.crit.is_some() {
            return Err(TokenError::CriticalExtension);
        }
        let key = self.keys.find(header.alg, header.kid.as_deref())?;
        let decoded = jsonwebtoken::decode::<Payload>(token, key, validation)
            .map_err(|error| refusal(&error))?;
        self.judge(decoded.claims, now_unix_s)
    }

    fn judge(&self, payload: Payload, now_unix_s: i64) -> Result<Claims, TokenError> {
        let leeway_s = i64::from(self.policy.leeway_s);
        let user = user_of(payload.sub.as_deref())?;
        let Some(expires_unix_s) = payload.exp.map(NumericDate::unix_s) else {
            return Err(claims_error("`exp` is missing"));
        };
        if now_unix_s >= expires_unix_s.saturating_add(leeway_s) {
            return Err(TokenError::Expired { expires_unix_s });
        }
        if let Some(not_before_unix_s) = payload.nbf.map(NumericDate::unix_s)
            && now_unix_s < not_before_unix_s.saturating_sub(leeway_s)
        {
            return Err(TokenError::NotYetValid { not_before_unix_s });
        }
        let issued_unix_s = payload.iat.map(NumericDate::unix_s);
        if let Some(issued_unix_s) = issued_unix_s
            && issued_unix_s > now_unix_s.saturating_add(leeway_s)
        {
            return Err(TokenError::IssuedLater { issued_unix_s });
        }
        let lifetime_s = expires_unix_s.saturating_sub(issued_unix_s.unwrap_or(now_unix_s));
        let lifetime_max_s = self.policy.lifetime_max_s;
        if lifetime_s > i64::from(lifetime_max_s) {
            return Err(TokenError::TooLongLived { lifetime_s, lifetime_max_s });
        }
        if payload.jti.as_ref().is_some_and(|id| id.len() > TOKEN_ID_BYTES_MAX) {
            return Err(claims_error(&format!("`jti` has more than {TOKEN_ID_BYTES_MAX} bytes")));
        }
        let permission = Permission::from_claims(&payload.rooms, &payload.publish)
            .map_err(|reason| TokenError::Claims { reason })?;
        let token_id = payload.jti.map(String::into_boxed_str);
        Ok(Claims { user, expires_unix_s, issued_unix_s, token_id, permission })
    }
}

fn validation(algorithm: Algorithm, policy: &TokenPolicy) -> Validation {
    let mut validation = Validation::new(algorithm);
    // Those would read the clock; `judge` checks against the time that it is given.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let mut required = Vec::new();
    if let Some(audience) = &policy.audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    if let Some(issuer) = &policy.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    validation
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

/// What a new token says beyond [`NewToken`]; nothing of it by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MoreClaims<'a> {
    /// Who made it, where the gateway asks for an issuer.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'a str>,
    /// What it is called, so that it can be revoked by name.
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub token_id: Option<&'a str>,
    /// The rooms that may be entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<&'a [u64]>,
    /// Whether anything may be published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<bool>,
}

#[derive(Serialize)]
struct NewPayload<'a> {
    sub: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(flatten)]
    more: &'a MoreClaims<'a>,
}

/// A token signed with `secret`.
///
/// # Panics
/// If the secret is too short (see [`KeySet::of_secret`]) or the user is 0.
#[must_use]
pub fn mint(secret: &[u8], new: NewToken<'_>) -> String {
    mint_with(secret, new, &MoreClaims::default())
}

/// Like [`mint`], with more claims.
///
/// # Panics
/// As [`mint`].
#[must_use]
pub fn mint_with(secret: &[u8], new: NewToken<'_>, more: &MoreClaims<'_>) -> String {
    signatures::install();
    assert_secret(secret);
    assert!(new.user.0 != 0, "user 0 is nobody");
    let payload = NewPayload {
        sub: new.user.to_string(),
        iat: new.issued_unix_s,
        exp: new.issued_unix_s.saturating_add(i64::from(new.lifetime_s)),
        aud: new.audience,
        more,
    };
    let header = Header::new(Algorithm::HS256);
    match jsonwebtoken::encode(&header, &payload, &EncodingKey::from_secret(secret)) {
        Ok(token) => token,
        Err(error) => panic!("numbers and strings always encode, and HMAC takes any key: {error}"),
    }
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
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenError::Issuer,
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
mod tests;
