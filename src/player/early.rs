//! A question that came early, sealed, and the key that opens it: the client's side.

use crate::base::ids::{QuestionIndex, ShowId};
use crate::quiz::seal::{ContentError, KEY_BYTES, QuestionContent, SealedPlace, SecretKey};
use crate::wire::proto;

/// The question that a key opens.
///
/// # Errors
/// If the two do not belong together: then the question comes whole, or for a `join`.
pub fn opened(
    sealed: &proto::SealedQuestion,
    key: &proto::QuestionKey,
) -> Result<proto::Question, ContentError> {
    let number = u16::try_from(key.question).map_err(|_| ContentError::Seal)?;
    let secret = <[u8; KEY_BYTES]>::try_from(&key.key[..]).map_err(|_| ContentError::Seal)?;
    let commitment = sealed.commitment[..].try_into().map_err(|_| ContentError::Seal)?;
    let place =
        SealedPlace { show: ShowId(key.show_id), question: QuestionIndex(number), commitment };
    let secret = SecretKey::from_bytes(secret);
    let QuestionContent { text, options, last } =
        QuestionContent::open(&secret, &place, &sealed.ciphertext)?;
    let show_by_ms = key.show_at_ms.saturating_add(key.show_by_after_ms.into());
    Ok(proto::Question {
        show_id: key.show_id,
        question: key.question,
        text,
        options,
        show_at_ms: key.show_at_ms,
        show_by_ms,
        answer_by_ms: show_by_ms.saturating_add(key.answer_by_after_ms.into()),
        commitment: sealed.commitment.clone(),
        last,
    })
}
