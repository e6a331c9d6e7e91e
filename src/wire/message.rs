//! The bytes of a connection to whole WebSocket messages, RFC 6455 §5.
//!
//! A [`Decoder`] is shared by all connections. It works in place on the scratch memory into which
//! a receive went: frames are unmasked there and messages are lent from there. Only what is
//! incomplete at the end of the input is copied, into a [`Pending`] that the connection keeps;
//! between two whole messages there is none.
//!
//! Invariants: the result depends on the bytes alone, not on how they were cut into pieces; every
//! byte is unmasked, copied and checked once, so a message costs linear time however it arrives;
//! memory grows with what came, never with what a header announces.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

pub use tungstenite::protocol::Role;
use tungstenite::protocol::frame::coding::CloseCode;

use super::deflate::{InflateError, Inflater};
use super::frame::parse_head;
use super::frame::{CONTROL_BYTES_MAX, FrameError, HEADER_BYTES_MAX, Head, HeadRules, Kind};
use super::mask::apply_mask;

/// A message may have so many fragments, whatever its size.
const FRAGMENTS_MIN: usize = 1_024;
/// A longer message may have one for so many bytes.
const FRAGMENT_BYTES_MIN: usize = 16;

/// A whole message or control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload; at most 125 bytes.
    Ping(&'a [u8]),
    /// The answer to a ping, or unasked; at most 125 bytes.
    Pong(&'a [u8]),
    /// The peer closes; to be answered with a close frame of the same code. Nothing follows.
    Close(Option<Close<'a>>),
}

/// What a close frame says, if it is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// A code that may stand in a close frame (RFC 6455 §7.4).
    pub code: u16,
    /// At most 123 bytes, for people.
    pub reason: &'a str,
}

/// How far [`Decoder::decode`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// All of the input was taken.
    All,
    /// The visitor broke off after the message that ends here.
    Stopped {
        /// Bytes of the input that were taken. Those behind them were not touched: they can be
        /// given again later.
        consumed: usize,
    },
    /// A close frame was visited. What the peer sends after it is to be ignored (RFC 6455 §5.5.1).
    Closed,
}

/// Makes messages of bytes; the same for all connections of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// Which side we are: a server takes masked frames only, a client unmasked ones only.
    pub role: Role,
    /// Bytes of a message, all fragments together, that are taken at most.
    pub message_bytes_max: usize,
}

/// What a connection keeps while something is incomplete.
#[derive(Debug, Default)]
pub struct Pending {
    partial: Partial,
    /// The message that was begun and has not ended.
    message: Option<Begun>,
    /// The payload so far of a control frame that is incomplete.
    control: Vec<u8>,
}

/// The frame that the last input ended in.
#[derive(Clone, Copy, Debug, Default)]
enum Partial {
    #[default]
    Nothing,
    Header {
        bytes: [u8; HEADER_BYTES_MAX],
        length: usize,
    },
    Payload {
        head: Head,
        taken: usize,
    },
}

#[derive(Debug)]
struct Begun {
    is_text: bool,
    /// Its bytes are compressed; whether it is text is seen when it is whole.
    is_compressed: bool,
    bytes: Vec<u8>,
    /// The start of `bytes` that was checked; behind it stands at most one incomplete character.
    valid_bytes: usize,
    /// Fragments that have come wholly.
    fragments: usize,
}

/// Where whole messages go, decompressed on the way.
struct Plain<'a, V> {
    inflater: Option<&'a mut Inflater>,
    bytes_max: usize,
    visit: &'a mut V,
}

impl<V> Plain<'_, V>
where
    V: FnMut(Message<'_>) -> ControlFlow<()>,
{
    fn message(
        &mut self,
        is_text: bool,
        is_compressed: bool,
        payload: &[u8],
    ) -> Result<After, FrameError> {
        let payload = match &mut self.inflater {
            Some(inflater) if is_compressed => {
                let limit_bytes = self.bytes_max;
                inflater.inflate(payload, limit_bytes).map_err(|error| match error {
                    InflateError::TooLarge => FrameError::MessageTooLarge {
                        message_bytes: limit_bytes as u64 + 1,
                        limit_bytes,
                    },
                    InflateError::Corrupt => FrameError::Deflate,
                })?
            }
            _ => payload,
        };
        let message = if is_text {
            Message::Text(std::str::from_utf8(payload).map_err(|_| FrameError::InvalidUtf8)?)
        } else {
            Message::Binary(payload)
        };
        Ok(after(message, self.visit))
    }
}

/// What is done with a connection after a frame.
enum After {
    Continue,
    Stop,
    Close,
}

impl Decoder {
    /// Visits all messages that `input` completes, in order. `pending` is what the connection
    /// kept since the last call, and what it has to keep until the next. The content of `input`
    /// is undefined afterwards, up to what was consumed.
    ///
    /// # Errors
    /// When the peer breaks RFC 6455 or a limit: all messages before that were visited, and the
    /// connection is to be closed with [`FrameError::close_reason`].
    pub fn decode(
        &self,
        pending: &mut Option<Box<Pending>>,
        input: &mut [u8],
        visit: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<Decoded, FrameError> {
        self.decode_with(pending, None, input, visit)
    }

    /// The same on a connection on which messages may be compressed, with an `inflater` that all
    /// such connections may share.
    ///
    /// # Errors
    /// Like [`Self::decode`]; a message that becomes larger than it may be is one as well.
    pub fn decode_with(
        &self,
        pending: &mut Option<Box<Pending>>,
        inflater: Option<&mut Inflater>,
        input: &mut [u8],
        mut visit: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<Decoded, FrameError> {
        let bytes_max = self.message_bytes_max;
        let mut plain = Plain { inflater, bytes_max, visit: &mut visit };
        let result = self.decode_all(pending, input, &mut plain);
        let keep = matches!(result, Ok(Decoded::All | Decoded::Stopped { .. }));
        if !keep || pending.as_ref().is_some_and(|pending| pending.is_empty()) {
            *pending = None;
        }
        result
    }

    fn decode_all<V>(
        &self,
        pending: &mut Option<Box<Pending>>,
        input: &mut [u8],
        out: &mut Plain<'_, V>,
    ) -> Result<Decoded, FrameError>
    where
        V: FnMut(Message<'_>) -> ControlFlow<()>,
    {
        let mut consumed = 0;
        while consumed < input.len() {
            let rest = &mut input[consumed..];
            let Some((head, taken, header_bytes)) =
                self.head(pending, rest, out.inflater.is_some())?
            else {
                return Ok(Decoded::All);
            };
            let payload_bytes = (head.payload_bytes - taken).min(rest.len() - header_bytes);
            let payload = &mut rest[header_bytes..header_bytes + payload_bytes];
            if let Some(mask) = head.mask {
                apply_mask(payload, mask, taken);
            }
            consumed += header_bytes + payload_bytes;
            let after = if payload_bytes == head.payload_bytes {
                self.whole_frame(pending, head, payload, out)?
            } else {
                self.part_of_frame(pending, head, taken, payload, out)?
            };
            match after {
                After::Continue => {}
                After::Stop => return Ok(Decoded::Stopped { consumed }),
                After::Close => return Ok(Decoded::Closed),
            }
        }
        Ok(Decoded::All)
    }

    /// The frame that `rest` continues or begins, how much of its payload was taken before, and
    /// how many bytes of `rest` its header is. Nothing if the header is still incomplete: then
    /// all of `rest` was kept.
    fn head(
        &self,
        pending: &mut Option<Box<Pending>>,
        rest: &[u8],
        deflate: bool,
    ) -> Result<Option<(Head, usize, usize)>, FrameError> {
        let begun = pending.as_ref().and_then(|pending| pending.message.as_ref());
        let rules = HeadRules {
            role: self.role,
            message_bytes_max: self.message_bytes_max,
            deflate,
            begun_bytes: begun.map(|begun| begun.bytes.len()),
        };
        let partial = pending
            .as_mut()
            .map_or(Partial::Nothing, |pending| std::mem::take(&mut pending.partial));
        let (mut bytes, before) = match partial {
            Partial::Payload { head, taken } => return Ok(Some((head, taken, 0))),
            Partial::Nothing => match parse_head(rest, rules)? {
                Some((head, header_bytes)) => return Ok(Some((head, 0, header_bytes))),
                None => ([0; HEADER_BYTES_MAX], 0),
            },
            Partial::Header { bytes, length } => (bytes, length),
        };
        // No header is longer than the array: if it is full, the header is complete.
        let added = rest.len().min(HEADER_BYTES_MAX - before);
        let length = before + added;
        bytes[before..length].copy_from_slice(&rest[..added]);
        match parse_head(&bytes[..length], rules)? {
            Some((head, header_bytes)) => Ok(Some((head, 0, header_bytes - before))),
            None => {
                assert_eq!(added, rest.len(), "an incomplete header takes all that there is");
                let pending = pending.get_or_insert_default();
                pending.partial = Partial::Header { bytes, length };
                Ok(None)
            }
        }
    }

    /// A frame whose payload arrived in one piece: nothing is copied unless it is a fragment.
    fn whole_frame<V>(
        &self,
        pending: &mut Option<Box<Pending>>,
        head: Head,
        payload: &[u8],
        out: &mut Plain<'_, V>,
    ) -> Result<After, FrameError>
    where
        V: FnMut(Message<'_>) -> ControlFlow<()>,
    {
        match head.kind {
            Kind::Text | Kind::Binary if head.is_final => {
                out.message(head.kind == Kind::Text, head.is_compressed, payload)
            }
            Kind::Ping | Kind::Pong | Kind::Close => {
                Ok(after(control(head.kind, payload)?, out.visit))
            }
            Kind::Text | Kind::Binary | Kind::Continuation => {
                let pending = pending.get_or_insert_default();
                pending.add(&head, payload, self.message_bytes_max)?;
                if head.is_final {
                    pending.end_message(out)
                } else {
                    pending.end_fragment(self.message_bytes_max)
                }
            }
        }
    }

    /// A frame whose payload arrives in several pieces, of which `payload` is one.
    fn part_of_frame<V>(
        &self,
        pending: &mut Option<Box<Pending>>,
        head: Head,
        taken: usize,
        payload: &[u8],
        out: &mut Plain<'_, V>,
    ) -> Result<After, FrameError>
    where
        V: FnMut(Message<'_>) -> ControlFlow<()>,
    {
        let pending = pending.get_or_insert_default();
        let is_control = matches!(head.kind, Kind::Ping | Kind::Pong | Kind::Close);
        if is_control {
            pending.control.extend_from_slice(payload);
        } else if !payload.is_empty() {
            // An empty piece (only the header came) begins no message, because the payload may
            // still arrive in one piece.
            pending.add(&head, payload, self.message_bytes_max)?;
        }
        let taken = taken + payload.len();
        if taken < head.payload_bytes {
            pending.partial = Partial::Payload { head, taken };
            return Ok(After::Continue);
        }
        if is_control {
            let payload = std::mem::take(&mut pending.control);
            return Ok(after(control(head.kind, &payload)?, out.visit));
        }
        if head.is_final {
            pending.end_message(out)
        } else {
            pending.end_fragment(self.message_bytes_max)
        }
    }
}

impl Pending {
    /// Bytes of memory behind this, for a shard's accounting.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let message_bytes = self.message.as_ref().map_or(0, |begun| begun.bytes.capacity());
        size_of::<Pending>() + message_bytes + self.control.capacity()
    }

    fn is_empty(&self) -> bool {
        self.message.is_none() && matches!(self.partial, Partial::Nothing)
    }

    /// Adds `payload` to the message that was begun, or begins one of this kind with it.
    fn add(&mut self, head: &Head, payload: &[u8], bytes_max: usize) -> Result<(), FrameError> {
        let begun = self.message.get_or_insert_with(|| Begun {
            is_text: head.kind == Kind::Text,
            is_compressed: head.is_compressed,
            bytes: Vec::new(),
            valid_bytes: 0,
            fragments: 0,
        });
        grow(&mut begun.bytes, payload.len(), bytes_max);
        begun.bytes.extend_from_slice(payload);
        if begun.is_text && !begun.is_compressed { begun.check_text() } else { Ok(()) }
    }

    /// A fragment that is not the last has come wholly. Fragments may be empty, so that the size of
    /// a message does not bound their number.
    fn end_fragment(&mut self, bytes_max: usize) -> Result<After, FrameError> {
        let limit = FRAGMENTS_MIN.max(bytes_max / FRAGMENT_BYTES_MIN);
        let Some(begun) = &mut self.message else { return Ok(After::Continue) };
        begun.fragments += 1;
        if begun.fragments > limit {
            Err(FrameError::TooManyFragments { limit })
        } else {
            Ok(After::Continue)
        }
    }

    fn end_message<V>(&mut self, out: &mut Plain<'_, V>) -> Result<After, FrameError>
    where
        V: FnMut(Message<'_>) -> ControlFlow<()>,
    {
        let Some(begun) = self.message.take() else {
            unreachable!("a message ends that was not begun: headers are checked against that");
        };
        out.message(begun.is_text, begun.is_compressed, &begun.bytes)
    }
}

impl Begun {
    /// Checks what is new. A character that is incomplete at the end is looked at again next time;
    /// one that cannot become valid is an error at its first wrong byte.
    fn check_text(&mut self) -> Result<(), FrameError> {
        match std::str::from_utf8(&self.bytes[self.valid_bytes..]) {
            Ok(text) => self.valid_bytes += text.len(),
            Err(error) if error.error_len().is_none() => self.valid_bytes += error.valid_up_to(),
            Err(_) => return Err(FrameError::InvalidUtf8),
        }
        Ok(())
    }
}

/// Makes room for `added` bytes: doubling, but never beyond `bytes_max`.
fn grow(bytes: &mut Vec<u8>, added: usize, bytes_max: usize) {
    let needed = bytes.len() + added;
    if needed > bytes.capacity() {
        let capacity = bytes.capacity().saturating_mul(2).min(bytes_max).max(needed);
        bytes.reserve_exact(capacity - bytes.len());
    }
}

/// The message of a control frame whose payload is complete.
fn control(kind: Kind, payload: &[u8]) -> Result<Message<'_>, FrameError> {
    assert!(payload.len() <= CONTROL_BYTES_MAX, "the header was checked");
    match (kind, payload) {
        (Kind::Ping, _) => Ok(Message::Ping(payload)),
        (Kind::Pong, _) => Ok(Message::Pong(payload)),
        (_, []) => Ok(Message::Close(None)),
        (_, [_]) => Err(FrameError::CloseTruncated),
        (_, [high, low, reason @ ..]) => {
            let reason = std::str::from_utf8(reason).map_err(|_| FrameError::CloseReasonInvalid)?;
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(FrameError::CloseCodeInvalid { code });
            }
            Ok(Message::Close(Some(Close { code, reason })))
        }
    }
}

fn after<V>(message: Message<'_>, visit: &mut V) -> After
where
    V: FnMut(Message<'_>) -> ControlFlow<()>,
{
    let flow = visit(message);
    match (message, flow) {
        (Message::Close(_), _) => After::Close,
        (_, ControlFlow::Break(())) => After::Stop,
        (_, ControlFlow::Continue(())) => After::Continue,
    }
}
