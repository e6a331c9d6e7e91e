//! Why a short request cannot be read.

use thiserror::Error;

use crate::base::limits::SHORT_BODY_BYTES_MAX;
use crate::wire::proto::Reason;
use crate::wire::upgrade::UpgradeError;

/// Why a short request cannot be read. The text is for people: it says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShortError {
    /// Request line or headers are wrong in the way in which those of an upgrade can be.
    #[error(transparent)]
    Head(#[from] UpgradeError),
    /// The body comes in chunks.
    #[error("The body comes in chunks. Send Content-Length.")]
    LengthRequired,
    /// `Content-Length` is no number.
    #[error("Content-Length is not a decimal number. Send the number of the body's bytes.")]
    Length,
    /// The body is longer than it may be.
    #[error(
        "The body exceeds {SHORT_BODY_BYTES_MAX} bytes. Nothing that is taken here is as long."
    )]
    BodyTooLarge,
}

impl ShortError {
    /// The HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            ShortError::Head(error) => error.status(),
            ShortError::LengthRequired => 411,
            ShortError::Length => 400,
            ShortError::BodyTooLarge => 413,
        }
    }

    /// The reason in the body of the response.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self.status() {
            413 | 414 | 431 => Reason::TooLarge,
            _ => Reason::Malformed,
        }
    }
}
