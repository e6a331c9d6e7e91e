//! Sealed results and commitments.
//!
//! A result is encrypted with AES-256-GCM (NIST SP 800-38D) under the question's *result key*; the
//! reveal releases that key to everybody at once. Browsers open it with WebCrypto.
//!
//! - **Nonce** (12 bytes): user id, 8 bytes ‖ revision, 4 bytes, big-endian. It is unique under its
//!   key because a key serves one question of one show, a question opens at most once, a user has
//!   one result for it, and a result that changes (a re-judged question) gets the next revision:
//!   one nonce, one plaintext. Sealing is a function of its inputs, so the same result sealed
//!   again is the same bytes.
//! - **Additional data**: show, 8 bytes ‖ question, 2 bytes ‖ user, 8 bytes, big-endian.
//! - **Plaintext**: a [`VerdictRecord`], always 16 bytes, whatever it says.
//! - **A question** that is pushed early is sealed with a key of its own: [`QuestionContent`].
//! - **Commitment**: SHA-256(result key ‖ correct option, 1 byte ‖ show, 8 bytes ‖ question,
//!   2 bytes), big-endian, published with the question.
//!
//! Absent: where keys come from (an [`Entropy`]) and who keeps them (the director's events).

mod content;

use std::fmt;

pub use self::content::{CONTENT_PADDING_BYTES, ContentError, QuestionContent, SealedPlace};

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::base::bugs::{self, Bug};
use crate::base::entropy::Entropy;
use crate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use crate::quiz::verdict::Verdict;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a [`VerdictRecord`].
pub const RECORD_BYTES: usize = 16;
/// Bytes of a sealed record: the record and GCM's tag of 16 bytes.
pub const SEALED_BYTES: usize = RECORD_BYTES + 16;

const RECORD_VERSION: u8 = 1;
const NO_OPTION: u8 = 0xff;
const FLAG_NEW_RECORD: u8 = 1;
const FLAG_BY_TICKET: u8 = 2;

/// A key that must not be known yet: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// A fresh key.
    pub fn generate(entropy: &mut dyn Entropy) -> SecretKey {
        let mut bytes = [0; KEY_BYTES];
        entropy.fill(&mut bytes);
        SecretKey(bytes)
    }

    /// A key that was released or journaled.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> SecretKey {
        SecretKey(bytes)
    }

    /// The key itself: to release or to journal it.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(..)")
    }
}

/// What a player learns from an opened result.
///
/// | byte | meaning |
/// |---|---|
/// | 0 | version of this layout: 1 |
/// | 1 | [`Verdict::code`] |
/// | 2 | flags: 1 new record, 2 judged by a ticket's stamp |
/// | 3 | the recorded option, 255 if there was no answer |
/// | 4 | questions of this show passed by now, this one included |
/// | 5–15 | reserved: 0, to be ignored by readers |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictRecord {
    /// What became of the player.
    pub verdict: Verdict,
    /// More questions passed than this player ever did before.
    pub new_record: bool,
    /// The answer came with a retry ticket and was judged by its stamp.
    pub by_ticket: bool,
    /// The answer that counts.
    pub option: Option<OptionIndex>,
    /// Questions of this show that the player has passed by now.
    pub passed: u8,
}

impl VerdictRecord {
    fn encode(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = RECORD_VERSION;
        bytes[1] = self.verdict.code();
        bytes[2] = if self.new_record { FLAG_NEW_RECORD } else { 0 }
            | if self.by_ticket { FLAG_BY_TICKET } else { 0 };
        bytes[3] = self.option.map_or(NO_OPTION, |option| option.0);
        bytes[4] = self.passed;
        bytes
    }

    fn decode(bytes: [u8; RECORD_BYTES]) -> Result<VerdictRecord, OpenError> {
        if bytes[0] != RECORD_VERSION {
            return Err(OpenError::Version(bytes[0]));
        }
        Ok(VerdictRecord {
            verdict: Verdict::from_code(bytes[1]).ok_or(OpenError::Verdict(bytes[1]))?,
            new_record: bytes[2] & FLAG_NEW_RECORD != 0,
            by_ticket: bytes[2] & FLAG_BY_TICKET != 0,
            option: (bytes[3] != NO_OPTION).then_some(OptionIndex(bytes[3])),
            passed: bytes[4],
        })
    }
}

/// A sealed result as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedResult {
    /// User ‖ revision.
    pub nonce: [u8; NONCE_BYTES],
    /// Record and tag, encrypted.
    pub ciphertext: [u8; SEALED_BYTES],
}

/// Why a sealed result does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Authentication failed.
    #[error(
        "the sealed result does not open: another key, show, question or user, or it was altered"
    )]
    Seal,
    /// The record has a layout that this reader does not know.
    #[error("the result has layout version {0}, this reader knows version 1: update it")]
    Version(u8),
    /// The record names no verdict.
    #[error("the result has verdict code {0}, known are 1 to 9")]
    Verdict(u8),
}

/// Seals and opens the results of one question.
pub struct Sealer {
    cipher: Aes256Gcm,
    show: ShowId,
    question: QuestionIndex,
}

impl Sealer {
    /// For one question of one show; the key schedule is computed here, once.
    #[must_use]
    pub fn new(key: &SecretKey, show: ShowId, question: QuestionIndex) -> Sealer {
        Sealer { cipher: Aes256Gcm::new(key.expose().into()), show, question }
    }

    /// Seals `record` for `user`. The same arguments give the same bytes; another record for the
    /// same user needs the next `revision`.
    ///
    /// # Panics
    /// Never: 16 bytes are within what GCM takes.
    #[must_use]
    pub fn seal(&self, user: UserId, revision: u8, record: VerdictRecord) -> SealedResult {
        let mut nonce = [0; NONCE_BYTES];
        if !bugs::active(Bug::NonceReuse) {
            nonce[..8].copy_from_slice(&user.0.to_be_bytes());
        }
        nonce[8..].copy_from_slice(&u32::from(revision).to_be_bytes());
        let mut body = record.encode();
        let tag = self
            .cipher
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &self.additional_data(user),
                body.as_mut_slice().into(),
            )
            .expect("16 bytes are within what GCM takes");
        let mut ciphertext = [0; SEALED_BYTES];
        ciphertext[..RECORD_BYTES].copy_from_slice(&body);
        ciphertext[RECORD_BYTES..].copy_from_slice(&tag);
        SealedResult { nonce, ciphertext }
    }

    /// Opens what was sealed for `user`: the client's side, after the reveal.
    ///
    /// # Errors
    /// If key, show, question, user and bytes do not belong together, or the record is unknown.
    pub fn open(&self, user: UserId, sealed: &SealedResult) -> Result<VerdictRecord, OpenError> {
        let mut body = [0; RECORD_BYTES];
        body.copy_from_slice(&sealed.ciphertext[..RECORD_BYTES]);
        let mut tag = Tag::default();
        tag.copy_from_slice(&sealed.ciphertext[RECORD_BYTES..]);
        self.cipher
            .decrypt_inout_detached(
                &Nonce::from(sealed.nonce),
                &self.additional_data(user),
                body.as_mut_slice().into(),
                &tag,
            )
            .map_err(|_| OpenError::Seal)?;
        VerdictRecord::decode(body)
    }

    fn additional_data(&self, user: UserId) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[..8].copy_from_slice(&self.show.0.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.question.0.to_be_bytes());
        bytes[10..].copy_from_slice(&user.0.to_be_bytes());
        bytes
    }
}

/// What is published with a question and checked after its reveal: it fixes key, correct option
/// and place in the show. The client's side compares it with the one that it was given.
#[must_use]
pub fn commitment(
    result_key: &SecretKey,
    correct: OptionIndex,
    show: ShowId,
    question: QuestionIndex,
) -> [u8; 32] {
    Sha256::new()
        .chain_update(result_key.expose())
        .chain_update([correct.0])
        .chain_update(show.0.to_be_bytes())
        .chain_update(question.0.to_be_bytes())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests;
