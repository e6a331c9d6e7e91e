//! Secrets that never appear in a log and are wiped when they go.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: `Debug` shows only how many there are, and they are wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The secret itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret({} bytes)", self.0.len())
    }
}

/// Reads hexadecimal digits, two a byte, in either case.
///
/// # Errors
/// What is wrong with `text`, without repeating it: it may be a secret.
pub fn bytes_of_hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|letter| letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let Some(digits) = digits else {
        return Err(format!("expects {} hexadecimal digits, got other characters", 2 * N));
    };
    if digits.len() != 2 * N {
        return Err(format!("expects {} hexadecimal digits, got {}", 2 * N, digits.len()));
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new(b"swordfish".to_vec())), "Secret(9 bytes)");
    }

    #[test]
    fn hex() {
        assert_eq!(bytes_of_hex::<3>("00fFa7"), Ok([0, 255, 0xa7]));
        for (text, expected) in [
            ("00ff", "expects 6 hexadecimal digits, got 4"),
            ("00ff0g", "expects 6 hexadecimal digits, got other characters"),
            ("00ffa70", "expects 6 hexadecimal digits, got 7"),
            ("ä", "expects 6 hexadecimal digits, got other characters"),
        ] {
            assert_eq!(bytes_of_hex::<3>(text), Err(expected.to_owned()), "{text}");
        }
    }
}
