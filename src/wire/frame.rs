//! WebSocket frames, RFC 6455 §5: what a header may say, and writing whole frames.
//!
//! The header's format is tungstenite's [`FrameHeader`]; its per-connection buffers are not used.
//! A frame that is written is always a whole message: the gateway never fragments.

use std::io::Cursor;

use thiserror::Error;
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::FrameHeader;
pub use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::CloseReason;
use super::mask::apply_mask;

/// Bytes of the longest header: two, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;
/// Bytes of the payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Bytes of the reason in a close frame: two of a control frame's payload are the code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Why a peer's frames end the connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Bits are set that only an extension gives a meaning (RFC 6455 §5.2).
    #[error("a frame has reserved bits set, but no extension was negotiated")]
    ReservedBits,
    /// Opcodes 3–7 and 11–15.
    #[error("a frame has the reserved opcode {opcode}")]
    ReservedOpcode {
        /// The four bits.
        opcode: u8,
    },
    /// A client masks all its frames (RFC 6455 §5.1).
    #[error("a client sent a frame without a mask")]
    MaskMissing,
    /// A server masks none (RFC 6455 §5.1).
    #[error("a server sent a frame with a mask")]
    MaskUnexpected,
    /// A control frame cannot be fragmented (RFC 6455 §5.5).
    #[error("a control frame ({opcode}) is fragmented")]
    ControlFragmented {
        /// Which kind of frame.
        opcode: OpCode,
    },
    /// A control frame has at most 125 bytes (RFC 6455 §5.5).
    #[error("a control frame ({opcode}) has {payload_bytes} bytes of payload, more than 125")]
    ControlTooLong {
        /// Which kind of frame.
        opcode: OpCode,
        /// Bytes of its payload.
        payload_bytes: u64,
    },
    /// A continuation follows a fragment that was not the last.
    #[error("a continuation frame came, but no message was begun")]
    ContinuationUnexpected,
    /// Only control frames may stand between the fragments of a message (RFC 6455 §5.4).
    #[error("a {opcode} frame came before the message that was begun had ended")]
    ContinuationMissing {
        /// Which kind of frame.
        opcode: OpCode,
    },
    /// A length of 64 bits has the highest bit 0 (RFC 6455 §5.2).
    #[error("a frame's 64-bit length has its highest bit set")]
    LengthHighBit,
    /// The message is larger than it may be; noticed from the header, before anything is stored.
    #[error("a message of at least {message_bytes} bytes came, the limit is {limit_bytes}")]
    MessageTooLarge {
        /// Bytes so far, with those that the last header announced.
        message_bytes: u64,
        /// The limit.
        limit_bytes: usize,
    },
    /// The message has more fragments than any that is meant.
    #[error("a message came in more than {limit} fragments")]
    TooManyFragments {
        /// The limit.
        limit: usize,
    },
    /// What is marked as compressed is not (RFC 7692 §6.2).
    #[error("a compressed message is not valid DEFLATE")]
    Deflate,
    /// A text is UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not valid UTF-8")]
    InvalidUtf8,
    /// A close frame's payload is empty, or at least a code of two bytes (RFC 6455 §5.5.1).
    #[error("a close frame has a payload of one byte")]
    CloseTruncated,
    /// A code that may not stand in a close frame (RFC 6455 §7.4).
    #[error("a close frame carries the code {code}, which may not be sent")]
    CloseCodeInvalid {
        /// The code.
        code: u16,
    },
    /// The reason is UTF-8 (RFC 6455 §5.5.1).
    #[error("the reason in a close frame is not valid UTF-8")]
    CloseReasonInvalid,
}

impl FrameError {
    /// What to close the connection with.
    #[must_use]
    pub fn close_reason(&self) -> CloseReason {
        match self {
            FrameError::MessageTooLarge { .. } | FrameError::TooManyFragments { .. } => {
                CloseReason::TooLarge
            }
            FrameError::InvalidUtf8 | FrameError::CloseReasonInvalid | FrameError::Deflate => {
                CloseReason::InvalidData
            }
            FrameError::ReservedBits
            | FrameError::ReservedOpcode { .. }
            | FrameError::MaskMissing
            | FrameError::MaskUnexpected
            | FrameError::ControlFragmented { .. }
            | FrameError::ControlTooLong { .. }
            | FrameError::ContinuationUnexpected
            | FrameError::ContinuationMissing { .. }
            | FrameError::LengthHighBit
            | FrameError::CloseTruncated
            | FrameError::CloseCodeInvalid { .. } => CloseReason::ProtocolError,
        }
    }

    /// The code to close the connection with: 1002, 1007 or 1009.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        self.close_reason().code()
    }
}

/// What a frame carries, as far as a header may say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first or only frame of a text message.
    Text,
    /// The first or only frame of a binary message.
    Binary,
    /// A further frame of the message that was begun.
    Continuation,
    /// A control frame.
    Ping,
    /// A control frame.
    Pong,
    /// A control frame.
    Close,
}

/// A header that passed all checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) is_final: bool,
    /// The message that it begins is compressed (RFC 7692 §6).
    pub(super) is_compressed: bool,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: usize,
}

/// What the checks of a header depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadRules {
    /// Which side we are.
    pub(super) role: Role,
    pub(super) message_bytes_max: usize,
    /// Whether messages may be compressed.
    pub(super) deflate: bool,
    /// Bytes of the message that was begun, if one was.
    pub(super) begun_bytes: Option<usize>,
}

/// The header at the start of `bytes` and its length, or nothing while it is incomplete.
pub(super) fn parse_head(
    bytes: &[u8],
    rules: HeadRules,
) -> Result<Option<(Head, usize)>, FrameError> {
    let [first, ..] = bytes else { return Ok(None) };
    let mut cursor = Cursor::new(bytes);
    let (header, length) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        // Reading from memory does not fail: a reserved opcode is the only error there is.
        Err(_) => return Err(FrameError::ReservedOpcode { opcode: first & 0x0f }),
    };
    let header_bytes = usize::try_from(cursor.position()).unwrap_or(bytes.len());
    check_head(&header, length, rules).map(|head| Some((head, header_bytes)))
}

fn check_head(header: &FrameHeader, length: u64, rules: HeadRules) -> Result<Head, FrameError> {
    // The first bit stands on the first frame of a compressed message only (RFC 7692 §6).
    let begins_message = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
    let may_be_compressed = rules.deflate && begins_message;
    if header.rsv1 && !may_be_compressed || header.rsv2 || header.rsv3 {
        return Err(FrameError::ReservedBits);
    }
    match (rules.role, header.mask) {
        (Role::Server, None) => return Err(FrameError::MaskMissing),
        (Role::Client, Some(_)) => return Err(FrameError::MaskUnexpected),
        (Role::Server, Some(_)) | (Role::Client, None) => {}
    }
    if length >> 63 != 0 {
        return Err(FrameError::LengthHighBit);
    }
    let opcode = header.opcode;
    let kind = kind_of(opcode)?;
    let limit_bytes = match opcode {
        OpCode::Control(_) => {
            if !header.is_final {
                return Err(FrameError::ControlFragmented { opcode });
            }
            if length > CONTROL_BYTES_MAX as u64 {
                return Err(FrameError::ControlTooLong { opcode, payload_bytes: length });
            }
            CONTROL_BYTES_MAX
        }
        OpCode::Data(_) => rules.message_bytes_max,
    };
    let before = match (kind, rules.begun_bytes) {
        (Kind::Continuation, None) => return Err(FrameError::ContinuationUnexpected),
        (Kind::Continuation, Some(begun_bytes)) => begun_bytes as u64,
        (Kind::Text | Kind::Binary, Some(_)) => {
            return Err(FrameError::ContinuationMissing { opcode });
        }
        (_, _) => 0,
    };
    let message_bytes = before.saturating_add(length);
    let payload_bytes = usize::try_from(length)
        .ok()
        .filter(|_| message_bytes <= limit_bytes as u64)
        .ok_or(FrameError::MessageTooLarge { message_bytes, limit_bytes })?;
    let (is_final, is_compressed) = (header.is_final, header.rsv1);
    Ok(Head { kind, is_final, is_compressed, mask: header.mask, payload_bytes })
}

fn kind_of(opcode: OpCode) -> Result<Kind, FrameError> {
    match opcode {
        OpCode::Data(Data::Text) => Ok(Kind::Text),
        OpCode::Data(Data::Binary) => Ok(Kind::Binary),
        OpCode::Data(Data::Continue) => Ok(Kind::Continuation),
        OpCode::Control(Control::Ping) => Ok(Kind::Ping),
        OpCode::Control(Control::Pong) => Ok(Kind::Pong),
        OpCode::Control(Control::Close) => Ok(Kind::Close),
        OpCode::Data(Data::Reserved(opcode)) | OpCode::Control(Control::Reserved(opcode)) => {
            Err(FrameError::ReservedOpcode { opcode })
        }
    }
}

/// The header of a frame that is a whole message, and its length.
pub(super) fn format_header(
    opcode: OpCode,
    payload_bytes: usize,
    mask: Option<[u8; 4]>,
) -> ([u8; HEADER_BYTES_MAX], usize) {
    let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
    let mut bytes = [0; HEADER_BYTES_MAX];
    let length = header.len(payload_bytes as u64);
    let formatted = header.format(payload_bytes as u64, &mut &mut bytes[..]);
    assert!(formatted.is_ok(), "the longest header fits");
    (bytes, length)
}

/// Appends the header of a frame that is a whole message; the caller appends the payload.
pub(super) fn write_header(
    opcode: OpCode,
    payload_bytes: usize,
    mask: Option<[u8; 4]>,
    out: &mut Vec<u8>,
) {
    let (header, length) = format_header(opcode, payload_bytes, mask);
    out.extend_from_slice(&header[..length]);
}

/// Bytes of the header of an unmasked frame with such a payload: 2, 4 or 10.
#[must_use]
pub fn header_bytes(payload_bytes: usize) -> usize {
    FrameHeader::default().len(payload_bytes as u64)
}

/// Where the payload of an unmasked frame begins that was written here.
#[must_use]
pub fn payload_start(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    }
}

/// Appends a whole frame as a server sends it, without a mask.
///
/// # Panics
/// If a control frame's payload is longer than [`CONTROL_BYTES_MAX`].
pub fn encode_frame(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    assert_control_fits(opcode, payload.len());
    out.reserve(header_bytes(payload.len()) + payload.len());
    write_header(opcode, payload.len(), None, out);
    out.extend_from_slice(payload);
}

/// Appends a whole frame as a client sends it. `mask` should be fresh for every frame and not to
/// be guessed where the payload is chosen by others (RFC 6455 §10.3).
///
/// # Panics
/// If a control frame's payload is longer than [`CONTROL_BYTES_MAX`].
pub fn encode_masked_frame(opcode: OpCode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    assert_control_fits(opcode, payload.len());
    out.reserve(HEADER_BYTES_MAX + payload.len());
    write_header(opcode, payload.len(), Some(mask), out);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask, 0);
}

/// Appends a close frame as a server sends it: the code, and its name as the reason.
pub fn encode_close(reason: CloseReason, out: &mut Vec<u8>) {
    encode_close_code(Some(reason.code()), reason.name(), out);
}

/// Appends a close frame as a server sends it. Without a code it is empty, as the answer to an
/// empty one; a longer reason is cut at a character so that it fits.
pub fn encode_close_code(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let (payload, length) = close_payload(code, reason);
    encode_frame(OpCode::Control(Control::Close), &payload[..length], out);
}

/// Appends a close frame as a client sends it; otherwise like [`encode_close_code`].
pub fn encode_masked_close(code: Option<u16>, reason: &str, mask: [u8; 4], out: &mut Vec<u8>) {
    let (payload, length) = close_payload(code, reason);
    encode_masked_frame(OpCode::Control(Control::Close), &payload[..length], mask, out);
}

fn close_payload(code: Option<u16>, reason: &str) -> ([u8; CONTROL_BYTES_MAX], usize) {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let Some(code) = code else { return (payload, 0) };
    let end = reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX);
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + end].copy_from_slice(&reason.as_bytes()[..end]);
    (payload, 2 + end)
}

fn assert_control_fits(opcode: OpCode, payload_bytes: usize) {
    let is_control = matches!(opcode, OpCode::Control(_));
    assert!(
        !is_control || payload_bytes <= CONTROL_BYTES_MAX,
        "a control frame of {payload_bytes} bytes"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: OpCode = OpCode::Data(Data::Text);

    #[test]
    fn writes_the_examples_of_rfc_6455_section_5_7() {
        let mut out = Vec::new();
        encode_frame(TEXT, b"Hello", &mut out);
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        encode_masked_frame(TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        for (length, header) in [
            (125, &[0x82, 125][..]),
            (126, &[0x82, 126, 0, 126]),
            (256, &[0x82, 126, 1, 0]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            out.clear();
            encode_frame(OpCode::Data(Data::Binary), &vec![7; length], &mut out);
            assert_eq!(&out[..header.len()], header, "{length}");
            assert_eq!(out.len(), header.len() + length);
            assert_eq!(header_bytes(length), header.len());
        }
    }

    #[test]
    fn a_close_frame_holds_its_code_and_as_much_of_the_reason_as_fits() {
        let mut out = Vec::new();
        encode_close(CloseReason::Replaced, &mut out);
        assert_eq!(out, b"\x88\x0a\x0f\xa0replaced");
        out.clear();
        encode_close_code(None, "is not sent", &mut out);
        assert_eq!(out, [0x88, 0]);
        out.clear();
        encode_close_code(Some(1000), &"ä".repeat(100), &mut out);
        assert_eq!(out.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
        out.clear();
        encode_masked_close(Some(1000), "x", [1, 2, 3, 4], &mut out);
        assert_eq!(out, [0x88, 0x83, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2, b'x' ^ 3]);
    }
}
