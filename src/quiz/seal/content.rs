//! A question that goes out early: sealed until its key comes.
//!
//! - **Key**: the question's own, drawn when it is pushed. It seals one plaintext, ever: a question
//!   that was taken back and is pushed again gets another one. So the nonce is 12 zero bytes.
//! - **Additional data**: show, 8 bytes ‖ question, 2 bytes ‖ commitment, 32 bytes, big-endian.
//! - **Plaintext**: as below, and zeros up to the next multiple of [`CONTENT_PADDING_BYTES`], so that
//!   its length says next to nothing. The correct option is not in it.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | version of this layout: 1 |
//! | 1 | flags: 1 the last question of the show |
//! | 1 | number of options |
//! | 2 and as many as they say | the text, UTF-8 |
//! | 2 and as many as they say, for each option | the option, UTF-8 |

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};

use super::{NONCE_BYTES, SecretKey};
use crate::base::bugs::{self, Bug};
use crate::base::ids::{QuestionIndex, ShowId};
use crate::base::limits::{OPTIONS_MAX, QUESTION_TEXT_BYTES_MAX};

/// Plaintexts are multiples of this: most questions have one length.
pub const CONTENT_PADDING_BYTES: usize = 256;

const LAYOUT_VERSION: u8 = 1;
const FLAG_LAST: u8 = 1;
const TAG_BYTES: usize = 16;
const NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];

const _: () = assert!(QUESTION_TEXT_BYTES_MAX <= u16::MAX as usize && OPTIONS_MAX <= 255);

/// What a sealed question is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPlace {
    /// Which show.
    pub show: ShowId,
    /// Which question.
    pub question: QuestionIndex,
    /// What went out with it; see [`super::commitment`].
    pub commitment: [u8; 32],
}

/// What a player reads of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionContent {
    /// What is asked.
    pub text: String,
    /// The options, in order.
    pub options: Vec<String>,
    /// Whether this is the show's last question.
    pub last: bool,
}

/// Why a sealed question does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Authentication failed.
    #[error("the sealed question does not open: another key, show, question or commitment")]
    Seal,
    /// What was sealed has a layout that this reader does not know, or is cut short.
    #[error("the question inside the seal cannot be read: this reader knows layout version 1")]
    Layout,
}

impl SealedPlace {
    fn additional_data(&self) -> [u8; 42] {
        let mut bytes = [0; 42];
        bytes[..8].copy_from_slice(&self.show.0.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.question.0.to_be_bytes());
        bytes[10..].copy_from_slice(&self.commitment);
        bytes
    }
}

impl QuestionContent {
    /// Seals the question under its own key: padded ciphertext and tag. The same arguments give the
    /// same bytes.
    ///
    /// # Panics
    /// If the question breaks the limits of its definition.
    #[must_use]
    pub fn seal(&self, key: &SecretKey, place: &SealedPlace) -> Vec<u8> {
        let mut bytes = self.encode();
        let tag = Aes256Gcm::new(key.expose().into())
            .encrypt_inout_detached(
                &Nonce::from(NONCE),
                &place.additional_data(),
                bytes.as_mut_slice().into(),
            )
            .expect("a question is within what GCM takes");
        if bugs::active(Bug::EarlyPushUnsealed) {
            bytes = self.encode();
        }
        bytes.extend_from_slice(&tag);
        bytes
    }

    /// Opens what was sealed: the client's side, once the key came.
    ///
    /// # Errors
    /// If key, place and bytes do not belong together, or the layout is unknown.
    pub fn open(
        key: &SecretKey,
        place: &SealedPlace,
        sealed: &[u8],
    ) -> Result<QuestionContent, ContentError> {
        let split = sealed.len().checked_sub(TAG_BYTES).ok_or(ContentError::Seal)?;
        let mut bytes = sealed[..split].to_vec();
        let mut tag = Tag::default();
        tag.copy_from_slice(&sealed[split..]);
        Aes256Gcm::new(key.expose().into())
            .decrypt_inout_detached(
                &Nonce::from(NONCE),
                &place.additional_data(),
                bytes.as_mut_slice().into(),
                &tag,
            )
            .map_err(|_| ContentError::Seal)?;
        QuestionContent::decode(&bytes).ok_or(ContentError::Layout)
    }

    fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.options.len()).expect("a question has at most 6 options");
        let mut bytes = vec![LAYOUT_VERSION, if self.last { FLAG_LAST } else { 0 }, count];
        for text in std::iter::once(&self.text).chain(&self.options) {
            let length = u16::try_from(text.len()).expect("texts have at most 1,024 bytes");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        let padded = bytes.len().next_multiple_of(CONTENT_PADDING_BYTES);
        bytes.resize(padded, 0);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<QuestionContent> {
        let &[LAYOUT_VERSION, flags, count, ref rest @ ..] = bytes else { return None };
        let mut rest = rest;
        let mut text = || {
            let (length, behind) = rest.split_first_chunk()?;
            let (text, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = behind;
            String::from_utf8(text.to_vec()).ok()
        };
        Some(QuestionContent {
            last: flags & FLAG_LAST != 0,
            text: text()?,
            options: (0..count).map(|_| text()).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: SealedPlace =
        SealedPlace { show: ShowId(7), question: QuestionIndex(3), commitment: [5; 32] };

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes([byte; 32])
    }

    fn content(text: &str) -> QuestionContent {
        let options = vec!["北京".to_owned(), String::new(), "c".to_owned()];
        QuestionContent { text: text.to_owned(), options, last: true }
    }

    #[test]
    fn a_sealed_question_opens_with_its_key_and_its_place_only() {
        let sealed = content("Which?").seal(&key(1), &PLACE);
        assert_eq!(QuestionContent::open(&key(1), &PLACE, &sealed), Ok(content("Which?")));
        let elsewhere = [
            SealedPlace { show: ShowId(8), ..PLACE },
            SealedPlace { question: QuestionIndex(4), ..PLACE },
            SealedPlace { commitment: [6; 32], ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(QuestionContent::open(&key(1), &place, &sealed), Err(ContentError::Seal));
        }
        assert_eq!(QuestionContent::open(&key(2), &PLACE, &sealed), Err(ContentError::Seal));
        for end in [0, 15, sealed.len() - 1] {
            let cut = QuestionContent::open(&key(1), &PLACE, &sealed[..end]);
            assert_eq!(cut, Err(ContentError::Seal), "{end}");
        }
    }

    #[test]
    fn lengths_tell_little() {
        let length = |text: &str| content(text).seal(&key(1), &PLACE).len();
        assert_eq!(length("?"), CONTENT_PADDING_BYTES + TAG_BYTES);
        assert_eq!(length(&"?".repeat(200)), CONTENT_PADDING_BYTES + TAG_BYTES);
        assert_eq!(length(&"?".repeat(300)), 2 * CONTENT_PADDING_BYTES + TAG_BYTES);
    }

    #[test]
    fn what_is_cut_short_inside_the_seal_is_refused() {
        for bytes in [&[][..], &[2, 0, 0, 0, 0], &[1, 0, 1, 0, 0, 0], &[1, 0, 0, 0, 2, 0xff, 0xff]]
        {
            assert_eq!(QuestionContent::decode(bytes), None, "{bytes:?}");
        }
    }
}
