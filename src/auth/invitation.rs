//! Invitation codes: a user's id, and a proof that this deployment made it into a code.
//!
//! Nothing is stored for a code. Without the proof anybody could name any number as an inviter; it
//! is short, because all that can be won by guessing is a card for somebody else.

use super::ticket::TicketKey;
use crate::base::ids::UserId;

/// Bytes of the proof.
const PROOF_BYTES: usize = 5;
const CODE_BYTES: usize = 8 + PROOF_BYTES;
/// Characters of a code, at most.
pub const CODE_CHARS_MAX: usize = (CODE_BYTES * 8).div_ceil(5);
/// Crockford's: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The code by which others name `user` as their inviter.
#[must_use]
pub fn code(key: &TicketKey, user: UserId) -> String {
    let mut bits = u128::from(user.0) << (PROOF_BYTES * 8) | u128::from(proof(key, user));
    let mut text = Vec::new();
    while bits > 0 {
        text.push(ALPHABET[usize::try_from(bits & 31).unwrap_or(0)]);
        bits >>= 5;
    }
    text.reverse();
    String::from_utf8_lossy(&text).into_owned()
}

/// Whose code this is; nothing if it is none. Small letters are taken for large ones.
#[must_use]
pub fn user_of(key: &TicketKey, code: &str) -> Option<UserId> {
    if code.is_empty() || code.len() > CODE_CHARS_MAX {
        return None;
    }
    let mut bits = 0_u128;
    for letter in code.bytes().map(|letter| letter.to_ascii_uppercase()) {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = bits << 5 | u128::try_from(value).ok()?;
    }
    let user = UserId(u64::try_from(bits >> (PROOF_BYTES * 8)).ok()?);
    let given = u64::try_from(bits & ((1 << (PROOF_BYTES * 8)) - 1)).ok()?;
    (user.0 != 0 && given == proof(key, user)).then_some(user)
}

fn proof(key: &TicketKey, user: UserId) -> u64 {
    let mac = key.mac_of(b"tidegate invite ", &user.0.to_be_bytes());
    mac[..PROOF_BYTES].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::DisplayClock;

    #[test]
    fn a_code_leads_back_to_its_user_and_to_nobody_else() {
        let key = |byte| TicketKey::new([byte; 32], DisplayClock::default());
        for user in [1, 77, 1 << 40, u64::MAX].map(UserId) {
            let code = code(&key(1), user);
            assert!(code.len() <= CODE_CHARS_MAX);
            assert_eq!(user_of(&key(1), &code), Some(user));
            assert_eq!(user_of(&key(1), &code.to_lowercase()), Some(user));
            assert_eq!(user_of(&key(2), &code), None);
            assert_eq!(user_of(&key(1), &code[1..]), None);
        }
        for wrong in ["", "U", "0", "ZZZZZZZZZZZZZZZZZZZZZ", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            assert_eq!(user_of(&key(1), wrong), None, "{wrong}");
        }
    }
}
