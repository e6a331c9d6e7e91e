//! Client and server frames in a message, and messages back into them.
//!
//! A server frame is written once, with its WebSocket header, in the form in which it is sent.
//! Protobuf knows its size beforehand; JSON is written behind a gap that fits most headers.
//! Deliberately absent: what a frame means. Unknown fields are ignored in both encodings; an
//! unknown enum value is kept in Protobuf and refused in JSON, where it has no name.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::close::CloseReason;
use super::frame::{HEADER_BYTES_MAX, format_header, header_bytes, write_header};
use super::mask::apply_mask;
use super::message::Message;
use super::proto::{ClientFrame, ServerFrame};

/// `ClientFrame.type` of a heartbeat.
pub const TYPE_HEARTBEAT: i32 = -1;
/// `ClientFrame.type` of the authentication.
pub const TYPE_AUTHENTICATE: i32 = 0;
/// `ClientFrame.type` of business; `ServerFrame.type` of notifications.
pub const TYPE_BUSINESS: i32 = 1;

/// `ServerFrame.error_code`: the token was refused.
pub const ERROR_TOKEN_REFUSED: u32 = 100;
/// `ServerFrame.error_code`: a business request failed.
pub const ERROR_BUSINESS_FAILED: u32 = 101;

/// How a connection's frames are written; negotiated as the WebSocket sub-protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// Binary messages of Protobuf, `tidegate.v1.proto`.
    #[default]
    Proto,
    /// Text messages of canonical ProtoJSON, `tidegate.v1.json`.
    Json,
}

impl Encoding {
    /// All of them, in the order of [`Encoding::index`].
    pub const ALL: [Encoding; 2] = [Encoding::Proto, Encoding::Json];

    /// The name in `Sec-WebSocket-Protocol`.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Encoding::Proto => "tidegate.v1.proto",
            Encoding::Json => "tidegate.v1.json",
        }
    }

    /// The encoding that a sub-protocol stands for. Case matters (RFC 6455 §11.3.4).
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| encoding.subprotocol() == name)
    }

    /// The place in a table that has one entry per encoding.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    fn opcode(self) -> OpCode {
        match self {
            Encoding::Proto => OpCode::Data(Data::Binary),
            Encoding::Json => OpCode::Data(Data::Text),
        }
    }
}

/// How a connection gets a room's messages: in which encoding, and whether compressed. A compressed
/// frame is one that all connections of the form share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// How they are written.
    pub encoding: Encoding,
    /// Whether they are compressed where that makes them shorter.
    pub is_deflated: bool,
}

impl Form {
    /// All of them, in the order of [`Form::index`]; the others are made from the first.
    pub const ALL: [Form; 4] = [
        Form { encoding: Encoding::Proto, is_deflated: false },
        Form { encoding: Encoding::Json, is_deflated: false },
        Form { encoding: Encoding::Proto, is_deflated: true },
        Form { encoding: Encoding::Json, is_deflated: true },
    ];

    /// The place in a table that has one entry per form.
    #[must_use]
    pub fn index(self) -> usize {
        self.encoding.index() + if self.is_deflated { Encoding::ALL.len() } else { 0 }
    }
}

/// Why a message is not a frame of ours.
#[derive(Debug, Error)]
pub enum CodecError {
    /// Text on a Protobuf connection, binary on a JSON one, or a control frame.
    #[error("a {kind} message came on a {} connection", .encoding.subprotocol())]
    WrongKind {
        /// What came.
        kind: &'static str,
        /// What was negotiated.
        encoding: Encoding,
    },
    /// The bytes are not a Protobuf message of this schema.
    #[error("a binary message is not a frame of tidegate.v1: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The text is not JSON, or not a message of this schema.
    #[error("a text message is not a frame of tidegate.v1: {0}")]
    Json(#[from] serde_json::Error),
}

impl CodecError {
    /// What to close the connection with, if it is closed for this.
    #[must_use]
    pub fn close_reason(&self) -> CloseReason {
        match self {
            CodecError::WrongKind { .. } => CloseReason::Unsupported,
            CodecError::Protobuf(_) | CodecError::Json(_) => CloseReason::InvalidData,
        }
    }

    /// The code to close the connection with: 1003 or 1007.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        self.close_reason().code()
    }
}

/// Appends `frame` to `out` as a whole WebSocket frame, as a server sends it.
///
/// # Panics
/// With JSON, if an enum field holds a number that the schema does not name: what comes from a
/// peer is converted before it goes into a frame.
pub fn encode_server(encoding: Encoding, frame: &ServerFrame, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Proto => {
            let payload_bytes = frame.encoded_len();
            out.reserve(header_bytes(payload_bytes) + payload_bytes);
            write_header(encoding.opcode(), payload_bytes, None, out);
            frame.encode_raw(out);
        }
        Encoding::Json => encode_json(encoding.opcode(), frame, None, out),
    }
}

/// Like [`encode_server`], as bytes that can be shared by all who get them.
///
/// # Panics
/// Like [`encode_server`].
#[must_use]
pub fn encode_server_bytes(encoding: Encoding, frame: &ServerFrame) -> Bytes {
    let mut out = Vec::new();
    encode_server(encoding, frame, &mut out);
    Bytes::from(out)
}

/// Appends `frame` to `out` as a whole WebSocket frame, as a client sends it: masked.
///
/// # Panics
/// Like [`encode_server`].
pub fn encode_client(encoding: Encoding, frame: &ClientFrame, mask: [u8; 4], out: &mut Vec<u8>) {
    match encoding {
        Encoding::Proto => {
            let payload_bytes = frame.encoded_len();
            out.reserve(HEADER_BYTES_MAX + payload_bytes);
            write_header(encoding.opcode(), payload_bytes, Some(mask), out);
            let start = out.len();
            frame.encode_raw(out);
            apply_mask(&mut out[start..], mask, 0);
        }
        Encoding::Json => encode_json(encoding.opcode(), frame, Some(mask), out),
    }
}

/// The client frame in a message.
///
/// # Errors
/// When the message is of the other kind, or cannot be decoded.
pub fn decode_client(encoding: Encoding, message: &Message<'_>) -> Result<ClientFrame, CodecError> {
    decode(encoding, message)
}

/// The server frame in a message.
///
/// # Errors
/// When the message is of the other kind, or cannot be decoded.
pub fn decode_server(encoding: Encoding, message: &Message<'_>) -> Result<ServerFrame, CodecError> {
    decode(encoding, message)
}

fn decode<F>(encoding: Encoding, message: &Message<'_>) -> Result<F, CodecError>
where
    F: prost::Message + Default + DeserializeOwned,
{
    let kind = match (encoding, message) {
        (Encoding::Proto, Message::Binary(bytes)) => return Ok(F::decode(*bytes)?),
        (Encoding::Json, Message::Text(text)) => return Ok(serde_json::from_str(text)?),
        (Encoding::Json, Message::Binary(_)) => "binary",
        (Encoding::Proto, Message::Text(_)) => "text",
        (_, Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => "control",
    };
    Err(CodecError::WrongKind { kind, encoding })
}

/// Writes the payload behind a gap of the size that most headers have, and moves it if this one
/// is of another.
fn encode_json(opcode: OpCode, frame: &impl Serialize, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    const GAP: [u8; 4] = [0; 4];
    let start = out.len();
    out.extend_from_slice(&GAP);
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
    let gap_end = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, frame) {
        panic!("a frame of ours has no JSON form: {error}");
    }
    if let Some(mask) = mask {
        apply_mask(&mut out[gap_end..], mask, 0);
    }
    let payload_bytes = out.len() - gap_end;
    let (header, length) = format_header(opcode, payload_bytes, mask);
    let header_end = start + length;
    if header_end > gap_end {
        out.resize(out.len() + (header_end - gap_end), 0);
    }
    out.copy_within(gap_end..gap_end + payload_bytes, header_end);
    out.truncate(header_end + payload_bytes);
    out[start..header_end].copy_from_slice(&header[..length]);
}
