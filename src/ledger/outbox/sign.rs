//! Signatures of webhooks: HMAC-SHA256 over the timestamp, a dot, and the body.
//!
//! The timestamp is inside, so that a request that somebody recorded cannot be sent again for ever.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base::hex;

/// When the request was made, Unix seconds.
pub const TIMESTAMP_HEADER: &str = "tidegate-timestamp";
/// `v1=` and 64 hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "tidegate-signature";
/// Equal for all tries of one payout.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// How far a timestamp may be from the receiver's clock, in seconds; what the stand-in allows.
pub const TIMESTAMP_TOLERANCE_S: u64 = 300;

/// Bytes of the secret, at least: as many as the hash has.
pub const SECRET_BYTES_MIN: usize = 32;

fn mac(secret: &[u8], timestamp_s: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(timestamp_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// The value of [`SIGNATURE_HEADER`].
#[must_use]
pub fn sign(secret: &[u8], timestamp_s: i64, body: &[u8]) -> String {
    let digest = mac(secret, timestamp_s, body).finalize().into_bytes();
    format!("v1={}", hex::encode(&digest))
}

/// Whether `signature` is that of `body`, in time that does not depend on how much of it is right.
#[must_use]
pub fn is_signed(secret: &[u8], timestamp_s: i64, body: &[u8], signature: &str) -> bool {
    let bytes = signature.strip_prefix("v1=").and_then(hex::decode);
    bytes.is_some_and(|bytes| mac(secret, timestamp_s, body).verify_slice(&bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_this_time_and_this_body() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let secret = b"0123456789abcdef0123456789abcdef";
        let signature = sign(secret, 1_700_000_000, b"{\"a\":1}");
        let known = "v1=f05f2539e3ae1c49aec5f8cfdad75ef6b06480b133973ffbb7ec9e18827af177";
        assert_eq!(signature, known);
        assert!(is_signed(secret, 1_700_000_000, b"{\"a\":1}", &signature));
        assert!(!is_signed(secret, 1_700_000_001, b"{\"a\":1}", &signature));
        assert!(!is_signed(secret, 1_700_000_000, b"{\"a\":2}", &signature));
        assert!(!is_signed(b"another", 1_700_000_000, b"{\"a\":1}", &signature));
        for wrong in ["", "v1=", "v1=00", &signature[3..], &signature.replace("v1", "v2"), "v1=ä"]
        {
            assert!(!is_signed(secret, 1_700_000_000, b"{\"a\":1}", wrong), "{wrong}");
        }
    }
}
