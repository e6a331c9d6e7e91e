//! The user's own results: kept sealed until their key comes, then checked and opened.

use std::collections::BTreeMap;

use crate::base::ids::{QuestionIndex, ShowId, UserId};
use crate::ops::connect::lines::{option, place};
use crate::quiz::seal::{SealedResult, Sealer, SecretKey, VerdictRecord, commitment};
use crate::wire::proto;
use proto::notification::Payload as Notice;

/// Questions of which something is kept; a show has at most a hundred.
const QUESTIONS_KEPT: usize = 128;

/// What is known of a question.
#[derive(Default)]
struct Known {
    commitment: Option<Vec<u8>>,
    sealed: Option<proto::SealedResult>,
    reveal: Option<proto::Reveal>,
}

/// A result that was opened, or why it does not open.
pub(super) struct Opened {
    pub(super) show: ShowId,
    pub(super) question: QuestionIndex,
    pub(super) outcome: Result<VerdictRecord, String>,
}

/// Everything that is known of the questions so far.
#[derive(Default)]
pub(super) struct Results {
    known: BTreeMap<(ShowId, QuestionIndex), Known>,
}

impl Results {
    /// Takes what a frame tells of results; those that can be opened now come back.
    pub(super) fn learn(&mut self, user: UserId, frame: &proto::ServerFrame) -> Vec<Opened> {
        use proto::business::Body as Business;
        let Some(proto::server_frame::Body::Business(business)) = &frame.body else {
            return Vec::new();
        };
        let opened = match &business.body {
            Some(Business::Response(response)) => match &response.payload {
                Some(proto::response::Payload::AnswerReceived(received)) => {
                    received.result.as_ref().map(|sealed| self.sealed(user, sealed))
                }
                _ => None,
            },
            Some(Business::Notification(notification)) => match &notification.payload {
                Some(Notice::Question(question)) => Some(self.asked(question)),
                Some(Notice::SealedQuestion(sealed)) => Some(self.promised(sealed)),
                Some(Notice::Result(sealed)) => Some(self.sealed(user, sealed)),
                Some(Notice::Reveal(reveal)) => Some(self.revealed(user, reveal)),
                Some(Notice::Snapshot(snapshot)) => {
                    let asked = snapshot.open_question.as_ref().map(|it| self.asked(it));
                    let sealed = snapshot.recorded_result.as_ref().map(|it| self.sealed(user, it));
                    let revealed = snapshot.last_reveal.as_ref().map(|it| self.revealed(user, it));
                    asked.flatten().or(sealed.flatten()).or(revealed.flatten()).map(Some)
                }
                _ => None,
            },
            Some(Business::Request(_)) | None => None,
        };
        opened.flatten().into_iter().collect()
    }

    fn known(&mut self, show: u64, question: u32) -> Option<(ShowId, QuestionIndex, &mut Known)> {
        let (show, question) = place(show, question)?;
        if self.known.len() > QUESTIONS_KEPT {
            self.known.pop_first();
        }
        Some((show, question, self.known.entry((show, question)).or_default()))
    }

    fn asked(&mut self, question: &proto::Question) -> Option<Opened> {
        let (_, _, known) = self.known(question.show_id, question.question)?;
        known.commitment = Some(question.commitment.to_vec());
        None
    }

    fn promised(&mut self, sealed: &proto::SealedQuestion) -> Option<Opened> {
        let (_, _, known) = self.known(sealed.show_id, sealed.question)?;
        known.commitment = Some(sealed.commitment.to_vec());
        None
    }

    fn sealed(&mut self, user: UserId, sealed: &proto::SealedResult) -> Option<Opened> {
        let (show, question, known) = self.known(sealed.show_id, sealed.question)?;
        if known.sealed.as_ref() == Some(sealed) {
            return None;
        }
        known.sealed = Some(sealed.clone());
        open(user, show, question, known)
    }

    fn revealed(&mut self, user: UserId, reveal: &proto::Reveal) -> Option<Opened> {
        let (show, question, known) = self.known(reveal.show_id, reveal.question)?;
        if known.reveal.replace(reveal.clone()).is_some() {
            return None;
        }
        open(user, show, question, known)
    }
}

/// Checks the key against what the question promised, and opens the result with it.
fn open(user: UserId, show: ShowId, question: QuestionIndex, known: &Known) -> Option<Opened> {
    let (Some(sealed), Some(reveal)) = (&known.sealed, &known.reveal) else { return None };
    let outcome = try_open(user, show, question, known.commitment.as_deref(), sealed, reveal);
    Some(Opened { show, question, outcome })
}

fn try_open(
    user: UserId,
    show: ShowId,
    question: QuestionIndex,
    promised: Option<&[u8]>,
    sealed: &proto::SealedResult,
    reveal: &proto::Reveal,
) -> Result<VerdictRecord, String> {
    let key = <[u8; 32]>::try_from(&reveal.result_key[..]);
    let key = SecretKey::from_bytes(key.map_err(|_| "the reveal has no key of 32 bytes")?);
    let correct = option(reveal.correct_option).ok_or("the reveal names no option")?;
    let promised = promised.unwrap_or_default();
    if !promised.is_empty() && commitment(&key, correct, show, question) != *promised {
        return Err("the reveal is not what the question promised".to_owned());
    }
    let sealed = SealedResult {
        nonce: sealed.nonce[..].try_into().map_err(|_| "the result's nonce has another size")?,
        ciphertext: sealed.ciphertext[..].try_into().map_err(|_| "the result has another size")?,
    };
    Sealer::new(&key, show, question).open(user, &sealed).map_err(|error| error.to_string())
}
