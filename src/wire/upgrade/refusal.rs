//! Why an upgrade is refused, and the HTTP response that says so.

use thiserror::Error;

use crate::base::limits::{TOKEN_BYTES_MAX, UPGRADE_BYTES_MAX, UPGRADE_HEADERS_MAX};

/// Why an upgrade request is refused. The text is the body of the response: it says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UpgradeError {
    /// The bytes are not an HTTP request.
    #[error("This is not an HTTP/1.1 request ({0}). Open a WebSocket at /ws.")]
    Malformed(httparse::Error),
    /// Not HTTP/1.1.
    #[error("This server speaks HTTP/1.1 only. Open a WebSocket at /ws.")]
    HttpVersion,
    /// Not `GET`.
    #[error("Use GET: a WebSocket is opened with it (RFC 6455 section 4.1).")]
    Method,
    /// The request target is of a form that is not served.
    #[error("The request target is not a path. Use GET /ws.")]
    Target,
    /// The path is not one of ours.
    #[error("There is nothing here. The WebSocket is at /ws.")]
    NotFound,
    /// The request line is longer than the whole request may be.
    #[error("The request line exceeds {UPGRADE_BYTES_MAX} bytes. Send the token in a header.")]
    TargetTooLong,
    /// The request is longer than it may be.
    #[error("Request line and headers exceed {UPGRADE_BYTES_MAX} bytes. Send fewer cookies.")]
    HeadersTooLarge,
    /// The request has more headers than it may have.
    #[error("There are more than {UPGRADE_HEADERS_MAX} headers. Send fewer.")]
    TooManyHeaders,
    /// No `Upgrade: websocket`.
    #[error("This is a WebSocket. Send Upgrade: websocket, or use a WebSocket client.")]
    NotAnUpgrade,
    /// No `Connection: Upgrade`.
    #[error("Connection: Upgrade is missing. A proxy in between may have removed it.")]
    ConnectionHeader,
    /// Another version of the protocol than 13.
    #[error("Only version 13 of the WebSocket protocol (RFC 6455) is spoken here.")]
    WebSocketVersion,
    /// A required header is missing or empty.
    #[error("The header {0} is missing. Send it.")]
    HeaderMissing(&'static str),
    /// A header that may stand once stands there several times.
    #[error("The header {0} is there more than once. Send it once.")]
    HeaderTwice(&'static str),
    /// A header's value is not text.
    #[error("The header {0} is not valid UTF-8. Send text.")]
    HeaderText(&'static str),
    /// The key is not 16 bytes of base64.
    #[error("Sec-WebSocket-Key is not base64 of 16 bytes. Send a fresh random one.")]
    Key,
    /// The request announces a body.
    #[error("An upgrade request has no body. Leave Content-Length and Transfer-Encoding out.")]
    Body,
    /// Sub-protocols were offered, but none is ours.
    #[error(
        "No sub-protocol that was offered is known. Offer tidegate.v1.proto or tidegate.v1.json."
    )]
    Subprotocol,
    /// The token is there, but empty.
    #[error("The access token is empty. Send one, or leave it out and authenticate later.")]
    TokenEmpty,
    /// The token is longer than it may be.
    #[error("The access token exceeds {TOKEN_BYTES_MAX} bytes. Ask for a shorter one.")]
    TokenTooLong,
    /// Several places hold different tokens.
    #[error("There are two different access tokens. Send one.")]
    TokenTwice,
    /// A value of the query is not percent-encoded UTF-8.
    #[error("The value of {0} in the query is not percent-encoded UTF-8. Encode it.")]
    QueryEscape(&'static str),
    /// A value of the query is not a number in its range.
    #[error("The value of {0} in the query is no valid number. Send a decimal number.")]
    QueryNumber(&'static str),
    /// A name of ours stands in the query several times.
    #[error("The query has {0} more than once. Send it once.")]
    QueryTwice(&'static str),
    /// A part of the query has no meaning without another.
    #[error("The query has {present}, but not {missing}. Send both or neither.")]
    QueryIncomplete {
        /// What stands there.
        present: &'static str,
        /// What has to stand there too.
        missing: &'static str,
    },
    /// The request is longer than this gateway is told to take.
    #[error("Request line and headers exceed {bytes_max} bytes. Send fewer cookies.")]
    HeadersBeyond {
        /// Bytes that are taken.
        bytes_max: usize,
    },
    /// A browser's page of an origin that is not allowed.
    #[error("Pages of this origin may not connect here. Ask the operator to allow it.")]
    Origin,
    /// The address has as many connections as one may have.
    #[error("There are too many connections from this address. Close some, or try again later.")]
    TooManyConnections,
    /// The address connects more often than one may.
    #[error("This address connects too often. Wait, then connect again.")]
    TooManyConnects,
    /// More connect at once than the gateway takes.
    #[error("Too many connect at this moment. Wait, then connect again.")]
    Crowded,
    /// A plain request where TLS is spoken.
    #[error("This port speaks TLS. Connect with wss:// or https://.")]
    PlainOnTls,
    /// The gateway is about to stop.
    #[error("This gateway is stopping. Connect to another one, or to this one in a while.")]
    Stopping,
}

impl UpgradeError {
    /// The HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            UpgradeError::Malformed(_)
            | UpgradeError::Target
            | UpgradeError::ConnectionHeader
            | UpgradeError::HeaderMissing(_)
            | UpgradeError::HeaderTwice(_)
            | UpgradeError::HeaderText(_)
            | UpgradeError::Key
            | UpgradeError::Body
            | UpgradeError::Subprotocol
            | UpgradeError::TokenEmpty
            | UpgradeError::TokenTwice
            | UpgradeError::QueryEscape(_)
            | UpgradeError::QueryNumber(_)
            | UpgradeError::QueryTwice(_)
            | UpgradeError::PlainOnTls
            | UpgradeError::QueryIncomplete { .. } => 400,
            UpgradeError::Origin => 403,
            UpgradeError::NotFound => 404,
            UpgradeError::Method => 405,
            UpgradeError::TargetTooLong => 414,
            UpgradeError::NotAnUpgrade | UpgradeError::WebSocketVersion => 426,
            UpgradeError::HeadersTooLarge
            | UpgradeError::HeadersBeyond { .. }
            | UpgradeError::TooManyHeaders
            | UpgradeError::TokenTooLong => 431,
            UpgradeError::TooManyConnections | UpgradeError::TooManyConnects => 429,
            UpgradeError::Stopping | UpgradeError::Crowded => 503,
            UpgradeError::HttpVersion => 505,
        }
    }

    /// A whole HTTP response with this error as its body; the connection is closed after it.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let status = self.status();
        let (phrase, more) = match status {
            403 => ("Forbidden", ""),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: GET\r\n"),
            414 => ("URI Too Long", ""),
            // RFC 9110 §15.5.22 wants the first, RFC 6455 §4.4 the second.
            426 => ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            431 => ("Request Header Fields Too Large", ""),
            429 if *self == UpgradeError::TooManyConnections => {
                ("Too Many Requests", "Retry-After: 30\r\n")
            }
            429 => ("Too Many Requests", "Retry-After: 5\r\n"),
            503 => ("Service Unavailable", "Retry-After: 1\r\n"),
            505 => ("HTTP Version Not Supported", ""),
            _ => ("Bad Request", ""),
        };
        // `Upgrade` is a hop-by-hop field: `Connection` has to list it.
        let connection = if status == 426 { "Upgrade, close" } else { "close" };
        let body = format!("{self}\n");
        format!(
            "HTTP/1.1 {status} {phrase}\r\n{more}Connection: {connection}\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}
