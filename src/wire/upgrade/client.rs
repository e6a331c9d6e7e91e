//! The client's side of the upgrade, for our own players.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Response, Status};
use thiserror::Error;
use tungstenite::handshake::derive_accept_key;

use super::Headers;
use crate::base::limits::{UPGRADE_BYTES_MAX, UPGRADE_HEADERS_MAX};
use crate::wire::codec::Encoding;

/// An upgrade request as a client sends it.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// The `Host` header: name or address, with the port if it is not the usual one.
    pub host: &'a str,
    /// Path and query, percent-encoded, beginning with `/`.
    pub target: &'a str,
    /// The encoding to ask for.
    pub encoding: Encoding,
    /// Fresh random bytes: they become `Sec-WebSocket-Key`.
    pub nonce: [u8; 16],
}

impl ClientRequest<'_> {
    /// The whole request.
    ///
    /// # Panics
    /// If `host` or `target` contains a control character or a space: it would be another request
    /// than this.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.request("")
    }

    /// The same, with an offer to compress messages; [`parse_accept_offering`] reads the answer.
    ///
    /// # Panics
    /// Like [`Self::to_bytes`].
    #[must_use]
    pub fn to_bytes_offering_deflate(&self) -> Vec<u8> {
        self.request("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
    }

    fn request(&self, extensions: &str) -> Vec<u8> {
        let is_clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(is_clean(self.host) && is_clean(self.target), "host and target have no spaces");
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\
             Sec-WebSocket-Protocol: {}\r\n{extensions}\r\n",
            self.target,
            self.host,
            STANDARD.encode(self.nonce),
            self.encoding.subprotocol(),
        )
        .into_bytes()
    }
}

/// How far the answer to an upgrade request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// The response is not complete: come again with more bytes.
    Incomplete,
    /// The connection is a WebSocket. What stands behind `consumed` bytes are frames.
    Accepted {
        /// Bytes of the response.
        consumed: usize,
    },
    /// A response of another status than 101.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Bytes of the response up to its body, which says why.
        consumed: usize,
    },
    /// Not a response, or one that does not belong to the request.
    Broken(AcceptError),
}

/// Why a response to an upgrade request is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AcceptError {
    /// The bytes are not an HTTP response.
    #[error("the server did not answer in HTTP/1.1 ({0})")]
    Malformed(httparse::Error),
    /// The response is longer than it may be.
    #[error("the server's response exceeds {UPGRADE_BYTES_MAX} bytes")]
    TooLarge,
    /// A header is missing, stands there twice or has another value than it must have.
    #[error("the server's response has no valid header {0}")]
    Header(&'static str),
}

/// Looks at the bytes that came so far in answer to `request` (RFC 6455 §4.1).
#[must_use]
pub fn parse_accept(bytes: &[u8], request: &ClientRequest<'_>) -> Accept {
    parse(bytes, request, false)
}

/// The same for a request that offered to compress messages.
#[must_use]
pub fn parse_accept_offering(bytes: &[u8], request: &ClientRequest<'_>) -> Accept {
    parse(bytes, request, true)
}

fn parse(bytes: &[u8], request: &ClientRequest<'_>, offered: bool) -> Accept {
    let mut headers = [EMPTY_HEADER; UPGRADE_HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let bytes = &bytes[..bytes.len().min(UPGRADE_BYTES_MAX)];
    let consumed = match response.parse(bytes) {
        Ok(Status::Complete(consumed)) => consumed,
        Ok(Status::Partial) if bytes.len() < UPGRADE_BYTES_MAX => return Accept::Incomplete,
        Ok(Status::Partial) => return Accept::Broken(AcceptError::TooLarge),
        Err(error) => return Accept::Broken(AcceptError::Malformed(error)),
    };
    match response.code {
        Some(101) => match check_accept(&Headers(response.headers), request, offered) {
            Ok(()) => Accept::Accepted { consumed },
            Err(error) => Accept::Broken(error),
        },
        status => Accept::Refused { status: status.unwrap_or_default(), consumed },
    }
}

fn check_accept(
    headers: &Headers<'_>,
    request: &ClientRequest<'_>,
    offered: bool,
) -> Result<(), AcceptError> {
    if !headers.has_token("upgrade", "websocket") {
        return Err(AcceptError::Header("Upgrade"));
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(AcceptError::Header("Connection"));
    }
    let key = STANDARD.encode(request.nonce);
    let accept = headers.single("sec-websocket-accept");
    if accept != Ok(Some(derive_accept_key(key.as_bytes()).as_str())) {
        return Err(AcceptError::Header("Sec-WebSocket-Accept"));
    }
    let subprotocol = headers.single("sec-websocket-protocol");
    if subprotocol != Ok(Some(request.encoding.subprotocol())) {
        return Err(AcceptError::Header("Sec-WebSocket-Protocol"));
    }
    // What was not offered cannot have been accepted.
    let mut accepted = headers.list("sec-websocket-extensions");
    if !accepted.all(|it| offered && it.starts_with("permessage-deflate")) {
        return Err(AcceptError::Header("Sec-WebSocket-Extensions"));
    }
    Ok(())
}
