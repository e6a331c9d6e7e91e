//! Nothing tells before the reveal: two runs that differ only in which option is correct send the
//! same bytes at the same times until that question is revealed, ciphertext and commitments
//! masked.

use prost::Message as _;

use crate::base::time::Time;
use crate::sim::checkers::{Findings, Promise};
use crate::wire::codec::{Encoding, decode_server};
use crate::wire::message::{Decoder, Message, Role};
use crate::wire::proto;

/// Everything that was sent to players in one run, until the reveal.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    /// When, on which connection, how many bytes; a close has none.
    sends: Vec<(Time, usize, usize)>,
    /// By connection.
    bytes: Vec<Vec<u8>>,
    encodings: Vec<Encoding>,
    /// The question was revealed: nothing is written any more.
    pub(crate) is_over: bool,
}

impl Tape {
    /// Bytes were sent.
    pub(crate) fn sent(&mut self, at: Time, link: usize, encoding: Encoding, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        if self.bytes.len() <= link {
            self.bytes.resize_with(link + 1, Vec::new);
            self.encodings.resize(link + 1, Encoding::Proto);
        }
        self.encodings[link] = encoding;
        self.sends.push((at, link, bytes.len()));
        self.bytes[link].extend_from_slice(bytes);
    }

    /// Compares two runs.
    pub(crate) fn compare(&self, other: &Tape, findings: &mut Findings) {
        let differing = self.sends.iter().zip(&other.sends).find(|(one, two)| one != two);
        findings.check(differing.is_none(), Promise::Secrecy, || {
            format!("two runs that differ in a key only: sends {differing:?} (time, link, bytes)")
        });
        let same = self.sends.len() == other.sends.len();
        findings.check(same, Promise::Secrecy, || {
            format!("two runs: {} and {} sends", self.sends.len(), other.sends.len())
        });
        for (link, (one, two)) in self.bytes.iter().zip(&other.bytes).enumerate() {
            let (one, two) = (self.masked(link, one), other.masked(link, two));
            if let Some((one, two)) = one.iter().zip(&two).find(|(one, two)| one != two) {
                findings.broken(Promise::Secrecy, || {
                    format!("two runs that differ in a key only, link {link}: {one} and {two}")
                });
                return;
            }
        }
    }

    /// The messages of a connection, without what may differ.
    fn masked(&self, link: usize, bytes: &[u8]) -> Vec<String> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return vec![String::from_utf8_lossy(bytes).into_owned()];
        };
        let mut messages = vec![String::from_utf8_lossy(&bytes[..end]).into_owned()];
        let mut frames = bytes[end + 4..].to_vec();
        let decoder = Decoder { role: Role::Client, message_bytes_max: 1 << 20 };
        let encoding = self.encodings[link];
        // What cannot be read is the lanes' or the seals' business to complain of.
        let _ = decoder.decode(&mut None, &mut frames, |message| {
            messages.push(masked_message(encoding, &message));
            std::ops::ControlFlow::Continue(())
        });
        messages
    }
}

fn masked_message(encoding: Encoding, message: &Message<'_>) -> String {
    let Ok(mut frame) = decode_server(encoding, message) else {
        return format!("{message:?}");
    };
    let size = frame.encoded_len();
    mask(&mut frame);
    format!("{size} {frame:?}")
}

fn mask(frame: &mut proto::ServerFrame) {
    use proto::notification::Payload as Notice;
    use proto::response::Payload as Response;
    let Some(proto::server_frame::Body::Business(business)) = &mut frame.body else { return };
    match &mut business.body {
        Some(proto::business::Body::Response(response)) => {
            if let Some(Response::AnswerReceived(received)) = &mut response.payload
                && let Some(result) = &mut received.result
            {
                result.ciphertext.clear();
            }
        }
        Some(proto::business::Body::Notification(notification)) => {
            match &mut notification.payload {
                Some(Notice::Question(question)) => question.commitment.clear(),
                Some(Notice::SealedQuestion(sealed)) => {
                    // The commitment is bound into the tag; what is encrypted must be the same.
                    sealed.commitment.clear();
                    let tag_from = sealed.ciphertext.len().saturating_sub(16);
                    sealed.ciphertext.truncate(tag_from);
                }
                Some(Notice::Result(result)) => result.ciphertext.clear(),
                Some(Notice::Snapshot(snapshot)) => {
                    if let Some(question) = &mut snapshot.open_question {
                        question.commitment.clear();
                    }
                    if let Some(result) = &mut snapshot.recorded_result {
                        result.ciphertext.clear();
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}
