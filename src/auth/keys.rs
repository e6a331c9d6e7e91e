//! The keys that access tokens are verified with: one secret of our own, and the public keys of
//! whoever issues tokens, as a JSON Web Key Set (RFC 7517).
//!
//! Invariants: a key has one algorithm, and no token is verified with a key of another one than
//! its header names, so a public key can never pass for a secret (RFC 8725 §3.1); a set holds no
//! private key. Deliberately absent: where the set comes from and when it is read again.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::auth::signatures;
use crate::auth::token::TokenError;
use crate::base::limits::{JWKS_KEYS_MAX, TOKEN_SECRET_BYTES_MIN};

/// Members of a key that only its owner may know (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// RFC 7518 §3.3 asks for 2,048 bits; longer ones than these cost a shard milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;
/// Exponents of more bytes are not taken by the library that verifies.
const RSA_EXPONENT_BYTES_MAX: usize = 4;
/// Of a coordinate of P-256, and of an Ed25519 key (RFC 8037 §2).
const COORDINATE_BYTES: usize = 32;

/// What tokens are verified with; made when the keys change, shared by all shards.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    secret: Option<DecodingKey>,
    public: Vec<PublicKey>,
}

#[derive(Clone, Debug)]
struct PublicKey {
    /// `kid`.
    id: Option<Box<str>>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A key set that was read, and what was left out of it.
#[derive(Clone, Debug)]
pub struct Jwks {
    /// The keys.
    pub keys: KeySet,
    /// Keys that are for something else than tokens of ours: one sentence each.
    pub left_out: Vec<String>,
}

/// One thing that is wrong with a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JwksError {
    /// Not a JSON object with an array `keys` (RFC 7517 §5).
    #[error("is not a JSON Web Key Set, an object with an array `keys`: {0}")]
    Form(String),
    /// Too many keys.
    #[error("has {0} keys, more than {JWKS_KEYS_MAX}; remove those that are out of use")]
    TooMany(usize),
    /// Nothing is left to verify tokens with.
    #[error("has no key for RS256, ES256 or EdDSA; add the issuer's public signature key")]
    Empty,
    /// One of the keys.
    #[error("{key}: {fault}")]
    Key {
        /// Which.
        key: KeyName,
        /// What is wrong with it, and what to do.
        fault: KeyFault,
    },
}

/// A key by its place in the set and, where it has one, its `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// Counted from 0.
    pub index: usize,
    /// `kid`.
    pub id: Option<String>,
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(formatter, "keys[{}] (kid {id:?})", self.index),
            None => write!(formatter, "keys[{}]", self.index),
        }
    }
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// Not an object.
    #[error("is not a JSON object; write {{\"kty\":…}}")]
    NotAnObject,
    /// A private key.
    #[error(
        "has the private member `{0}`: whoever reads this file could sign tokens; make a new key \
         pair, since this one is no secret any more, and put only the public members here"
    )]
    Private(&'static str),
    /// A shared secret.
    #[error(
        "is a shared secret (kty `oct`); give it to `auth.hs256_secret_file`, not to a set of \
         public keys"
    )]
    Secret,
    /// A member is missing or has another type.
    #[error("`{0}` is missing or not a text; RFC 7518 §6 says what a key has")]
    Member(&'static str),
    /// A member is not base64url.
    #[error("`{0}` is not base64url without padding (RFC 4648 §5)")]
    Base64(&'static str),
    /// A coordinate has another length.
    #[error("`{member}` has {bytes} bytes, this kind of key has 32")]
    Coordinate {
        /// Which member.
        member: &'static str,
        /// How many it has.
        bytes: usize,
    },
    /// Not on the curve.
    #[error("is not a point of its curve; copy the key again from its issuer")]
    NotOnCurve,
    /// An RSA key that is too short or too long.
    #[error("has {0} bits; RS256 needs 2048 to 4096, so make a new key pair")]
    RsaBits(usize),
    /// An even modulus.
    #[error("`n` is even, which no RSA modulus is; copy the key again from its issuer")]
    RsaModulus,
    /// An exponent that RSA does not have.
    #[error("`e` is no usable exponent; it is AQAB (65537) as a rule")]
    RsaExponent,
    /// `alg` and `kty` do not fit.
    #[error("`alg` is {algorithm}, which a key of this kind is not for: {expected} is")]
    Algorithm {
        /// What it says.
        algorithm: String,
        /// What a key of its kind is for.
        expected: &'static str,
    },
    /// Several keys, and this one has no name.
    #[error("has no `kid`; a set of several keys needs one for each")]
    NoId,
    /// Two keys of one name.
    #[error("has the `kid` of an earlier key; give each its own")]
    SameId,
}

/// A key as it stands in the set: usable, or not for us, and why.
enum Read {
    Usable(PublicKey),
    LeftOut(&'static str),
}

impl KeySet {
    /// A set of nothing but a secret for HS256.
    ///
    /// # Panics
    /// If the secret is shorter than [`TOKEN_SECRET_BYTES_MIN`]: the configuration is checked
    /// before.
    #[must_use]
    pub fn of_secret(secret: &[u8]) -> KeySet {
        KeySet::default().with_secret(secret)
    }

    /// This set, and a secret for HS256.
    ///
    /// # Panics
    /// As [`KeySet::of_secret`].
    #[must_use]
    pub fn with_secret(self, secret: &[u8]) -> KeySet {
        assert_secret(secret);
        KeySet { secret: Some(DecodingKey::from_secret(secret)), ..self }
    }

    /// The keys of a JSON Web Key Set. Keys for encryption and for algorithms that no token of ours
    /// has are left out, as RFC 7517 §5 asks.
    ///
    /// # Errors
    /// Everything that is wrong with it; then nothing of it may be used.
    pub fn from_jwks(text: &str) -> Result<Jwks, Vec<JwksError>> {
        let listed = listed_keys(text).map_err(|error| vec![error])?;
        let (mut errors, mut left_out, mut public) = (Vec::new(), Vec::new(), Vec::new());
        let mut ids = BTreeSet::new();
        let count = listed.len();
        for (index, value) in listed.iter().enumerate() {
            let id = value.get("kid").and_then(Value::as_str).map(str::to_owned);
            let key = KeyName { index, id };
            match read_key(value) {
                Ok(Read::LeftOut(why)) => left_out.push(format!("{key} is left out: {why}")),
                Ok(Read::Usable(_)) if key.id.is_none() && count > 1 => {
                    errors.push(JwksError::Key { key, fault: KeyFault::NoId });
                }
                Ok(Read::Usable(_)) if !ids.insert(key.id.clone()) => {
                    errors.push(JwksError::Key { key, fault: KeyFault::SameId });
                }
                Ok(Read::Usable(usable)) => public.push(usable),
                Err(fault) => errors.push(JwksError::Key { key, fault }),
            }
        }
        if errors.is_empty() && public.is_empty() {
            errors.push(JwksError::Empty);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Jwks { keys: KeySet { secret: None, public }, left_out })
    }

    /// Number of public keys.
    #[must_use]
    pub fn public_count(&self) -> usize {
        self.public.len()
    }

    /// The one key that may have signed a token with this header.
    ///
    /// # Errors
    /// There is none for the algorithm, or none of that name.
    pub(super) fn find(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<&DecodingKey, TokenError> {
        if algorithm == Algorithm::HS256 {
            // There is one secret, whatever name its issuer has for it.
            return self.secret.as_ref().ok_or(TokenError::Algorithm);
        }
        let mut fitting = self.public.iter().filter(|key| key.algorithm == algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(TokenError::Algorithm);
        }
        let found = match id {
            Some(id) => fitting.find(|key| key.id.as_deref().is_none_or(|known| known == id)),
            None => {
                let only = fitting.next();
                if fitting.next().is_some() {
                    return Err(TokenError::KeyNotNamed);
                }
                only
            }
        };
        found.map(|key| &key.key).ok_or(TokenError::UnknownKey)
    }
}

/// # Panics
/// If the secret is too short for HS256.
pub(super) fn assert_secret(secret: &[u8]) {
    assert!(
        secret.len() >= TOKEN_SECRET_BYTES_MIN,
        "a token secret has at least {TOKEN_SECRET_BYTES_MIN} bytes, not {}",
        secret.len()
    );
}

fn listed_keys(text: &str) -> Result<Vec<Value>, JwksError> {
    let form = |reason: &str| JwksError::Form(reason.to_owned());
    let set: Value =
        serde_json::from_str(text).map_err(|error| JwksError::Form(error.to_string()))?;
    let Value::Object(mut set) = set else { return Err(form("it is no object")) };
    let Some(Value::Array(keys)) = set.remove("keys") else {
        return Err(form("`keys` is missing or no array"));
    };
    if keys.len() > JWKS_KEYS_MAX {
        return Err(JwksError::TooMany(keys.len()));
    }
    Ok(keys)
}

fn read_key(value: &Value) -> Result<Read, KeyFault> {
    let Value::Object(members) = value else { return Err(KeyFault::NotAnObject) };
    let kind = text(members, "kty")?;
    if kind == "oct" {
        return Err(KeyFault::Secret);
    }
    // Whatever the key is for: it lies open in this file.
    if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|name| members.contains_key(*name)) {
        return Err(KeyFault::Private(member));
    }
    if members.get("use").is_some_and(|used| used != "sig") {
        return Ok(Read::LeftOut("its `use` is not `sig`"));
    }
    let (algorithm, name) = match (kind, members.get("crv").and_then(Value::as_str)) {
        ("RSA", _) => (Algorithm::RS256, "RS256"),
        ("EC", Some("P-256")) => (Algorithm::ES256, "ES256"),
        ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA"),
        _ => return Ok(Read::LeftOut("no token of ours is signed with a key of its kind")),
    };
    match members.get("alg").and_then(Value::as_str) {
        None => {}
        Some(said) if said == name => {}
        Some("HS256" | "RS256" | "ES256" | "EdDSA") => {
            let algorithm = text(members, "alg")?.to_owned();
            return Err(KeyFault::Algorithm { algorithm, expected: name });
        }
        Some(_) => return Ok(Read::LeftOut("its `alg` is not RS256, ES256 or EdDSA")),
    }
    let key = match algorithm {
        Algorithm::RS256 => rsa_key(members)?,
        Algorithm::ES256 => curve_key(members, &["x", "y"], algorithm)?,
        _ => curve_key(members, &["x"], algorithm)?,
    };
    let id = members.get("kid").and_then(Value::as_str).map(Box::from);
    Ok(Read::Usable(PublicKey { id, algorithm, key }))
}

fn rsa_key(members: &Map<String, Value>) -> Result<DecodingKey, KeyFault> {
    let modulus = number(members, "n")?;
    let bits =
        modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyFault::RsaBits(bits));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !is_odd(&modulus) {
        return Err(KeyFault::RsaModulus);
    }
    let exponent = number(members, "e")?;
    let usable = is_odd(&exponent) && exponent != [1] && exponent.len() <= RSA_EXPONENT_BYTES_MAX;
    if !usable {
        return Err(KeyFault::RsaExponent);
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// A key of one coordinate or two.
fn curve_key(
    members: &Map<String, Value>,
    coordinates: &[&'static str],
    algorithm: Algorithm,
) -> Result<DecodingKey, KeyFault> {
    for member in coordinates {
        let bytes = decoded(members, member)?.len();
        if bytes != COORDINATE_BYTES {
            return Err(KeyFault::Coordinate { member, bytes });
        }
    }
    let key = if coordinates.len() == 2 {
        DecodingKey::from_ec_components(text(members, "x")?, text(members, "y")?)
    } else {
        DecodingKey::from_ed_components(text(members, "x")?)
    };
    let key = key.map_err(|_| KeyFault::NotOnCurve)?;
    if signatures::is_point(algorithm, &key) { Ok(key) } else { Err(KeyFault::NotOnCurve) }
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, KeyFault> {
    members.get(name).and_then(Value::as_str).ok_or(KeyFault::Member(name))
}

fn decoded(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    URL_SAFE_NO_PAD.decode(text(members, name)?).map_err(|_| KeyFault::Base64(name))
}

/// A number without zeros before it (RFC 7518 §2 asks for none; some write one).
fn number(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    let bytes = decoded(members, name)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes[zeros..].to_vec())
}

#[cfg(test)]
mod tests;
