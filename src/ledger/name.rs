//! Names that come from outside, bounded, and written so that they cannot be taken for anything else.

use std::fmt;

use crate::base::limits::NAME_BYTES_MAX;
use crate::ledger::error::CauseError;

/// A name of an account, a gift or a grant: 1 to [`NAME_BYTES_MAX`] bytes of UTF-8.
///
/// It is shown *escaped*: what parts the pieces of a key or of a line (`:`, `|`), `%` and control
/// characters become `%` and two hexadecimal digits a byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// # Errors
    /// It is empty or too long.
    pub fn new(text: impl Into<String>) -> Result<Name, CauseError> {
        let text = text.into();
        match text.len() {
            0 => Err(CauseError::EmptyName),
            1..=NAME_BYTES_MAX => Ok(Name(text)),
            bytes => Err(CauseError::LongName { bytes }),
        }
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 4];
        for letter in self.0.chars() {
            if matches!(letter, ':' | '|' | '%') || letter.is_control() {
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    write!(formatter, "%{byte:02X}")?;
                }
            } else {
                write!(formatter, "{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_bounded_and_escaped() {
        assert_eq!(Name::new(""), Err(CauseError::EmptyName));
        assert_eq!(Name::new("x".repeat(201)), Err(CauseError::LongName { bytes: 201 }));
        let shown = |text: &str| Name::new(text).map(|name| name.to_string());
        assert_eq!(shown("Kinderhilfe e. V."), Ok("Kinderhilfe e. V.".to_owned()));
        assert_eq!(shown("a:b|c%\n\u{85}"), Ok("a%3Ab%7Cc%25%0A%C2%85".to_owned()));
    }

    proptest! {
        #[test]
        fn different_names_stay_different(one in ".{1,20}", other in ".{1,20}") {
            let shown = |text: &str| Name::new(text).map(|name| name.to_string());
            prop_assert_eq!(one == other, shown(&one) == shown(&other));
        }
    }
}
