//! The HTTP/1.1 request that turns a connection into a WebSocket, RFC 6455 §4.
//!
//! [`parse`] is given all bytes that came so far and says: not yet, here is the request, or here
//! is the response that refuses it. The result depends on the bytes alone, not on how they were
//! cut. Deliberately absent: whether the origin, the token or the room is acceptable; every other
//! use of HTTP, which is [`super::short`]'s.

mod client;
mod extension;
mod refusal;
mod target;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use httparse::{EMPTY_HEADER, Header, Request, Status};
use tungstenite::handshake::derive_accept_key;

use super::codec::Encoding;
use crate::base::ids::RoomId;
use crate::base::limits::{TOKEN_BYTES_MAX, UPGRADE_BYTES_MAX, UPGRADE_HEADERS_MAX};

pub use client::{Accept, AcceptError, ClientRequest, parse_accept, parse_accept_offering};
pub use extension::DeflateTerms;
pub use refusal::UpgradeError;
pub use target::Resume;
use target::Target;

/// The paths at which the gateway speaks WebSocket.
pub const PATHS: [&str; 2] = ["/", "/ws"];
/// Browsers cannot set headers: they offer the token as a sub-protocol behind this prefix.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "tidegate.token.";

/// The key is 16 bytes of base64. The bits behind them may be anything: the RFC's own example
/// (§4.1, bytes 1 to 16) has some set.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// How far an upgrade is.
#[derive(Debug)]
pub enum Upgrade {
    /// The request is not complete: come again with more bytes.
    Incomplete,
    /// The request is good. What stands behind `consumed` bytes are WebSocket frames.
    Complete {
        /// What it asks for.
        request: Box<UpgradeRequest>,
        /// Bytes of the request.
        consumed: usize,
    },
    /// The request is refused: send the response, then close.
    Rejected {
        /// A whole HTTP response.
        response: Vec<u8>,
        /// Why.
        error: UpgradeError,
    },
}

/// A valid upgrade request.
#[derive(Clone, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// One of [`PATHS`].
    pub path: String,
    /// The `Host` header, or the authority of an absolute-form target.
    pub host: String,
    /// The `Origin` header, which browsers send; not judged here.
    pub origin: Option<String>,
    /// How frames are written on this connection.
    pub encoding: Encoding,
    /// Whether a sub-protocol was offered, so that the response has to name the chosen one.
    pub offered: bool,
    /// The access token, not judged here; at most [`TOKEN_BYTES_MAX`] bytes.
    pub token: Option<String>,
    /// The room to enter once the token is accepted.
    pub room: Option<RoomId>,
    /// Where in that room to continue.
    pub resume: Option<Resume>,
    /// The client opens sealed questions: a key is enough for it.
    pub opens_seals: bool,
    /// `Sec-WebSocket-Key`: base64 of 16 bytes.
    pub key: String,
    /// How messages may be compressed, if the client offers it. Whoever does not want that takes
    /// it out.
    pub deflate: Option<DeflateTerms>,
}

impl fmt::Debug for UpgradeRequest {
    /// Leaves the token out: it is a secret, and logs are not.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UpgradeRequest")
            .field("path", &self.path)
            .field("host", &self.host)
            .field("origin", &self.origin)
            .field("encoding", &self.encoding)
            .field("has_token", &self.token.is_some())
            .field("room", &self.room)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// Looks at the bytes that came so far. `default` is the encoding of clients that offer no
/// sub-protocol.
#[must_use]
pub fn parse(bytes: &[u8], default: Encoding) -> Upgrade {
    match parse_request(bytes, default) {
        Ok(Some((request, consumed))) => Upgrade::Complete { request: Box::new(request), consumed },
        Ok(None) => Upgrade::Incomplete,
        Err(error) => Upgrade::Rejected { response: error.response(), error },
    }
}

/// The response that accepts the upgrade (101).
#[must_use]
pub fn accept_response(request: &UpgradeRequest) -> Vec<u8> {
    let accept = derive_accept_key(request.key.as_bytes());
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if request.offered {
        // A client that offered none must not be told one (RFC 6455 §4.1).
        response.push_str("Sec-WebSocket-Protocol: ");
        response.push_str(request.encoding.subprotocol());
        response.push_str("\r\n");
    }
    if let Some(terms) = request.deflate {
        response.push_str("Sec-WebSocket-Extensions: ");
        response.push_str(&terms.response());
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
    response.into_bytes()
}

fn parse_request(
    bytes: &[u8],
    default: Encoding,
) -> Result<Option<(UpgradeRequest, usize)>, UpgradeError> {
    let mut headers = [EMPTY_HEADER; UPGRADE_HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    // Nothing beyond the limit is looked at, so that pieces and the whole give the same result.
    let bytes = &bytes[..bytes.len().min(UPGRADE_BYTES_MAX)];
    let consumed = match request.parse(bytes) {
        Ok(Status::Complete(consumed)) => consumed,
        Ok(Status::Partial) if bytes.len() < UPGRADE_BYTES_MAX => return Ok(None),
        Ok(Status::Partial) if request.version.is_none() => {
            return Err(UpgradeError::TargetTooLong);
        }
        Ok(Status::Partial) => return Err(UpgradeError::HeadersTooLarge),
        Err(httparse::Error::TooManyHeaders) => return Err(UpgradeError::TooManyHeaders),
        Err(httparse::Error::Version) => return Err(UpgradeError::HttpVersion),
        Err(error) => return Err(UpgradeError::Malformed(error)),
    };
    if request.version != Some(1) {
        return Err(UpgradeError::HttpVersion);
    }
    if request.method != Some("GET") {
        return Err(UpgradeError::Method);
    }
    let target = Target::parse(request.path.unwrap_or_default())?;
    let headers = Headers(request.headers);
    check_upgrade(&headers)?;
    let request = read_request(target, &headers, default)?;
    Ok(Some((request, consumed)))
}

/// What makes the request an upgrade to WebSocket 13, RFC 6455 §4.2.1.
fn check_upgrade(headers: &Headers<'_>) -> Result<(), UpgradeError> {
    if !headers.has_token("upgrade", "websocket") {
        return Err(UpgradeError::NotAnUpgrade);
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(UpgradeError::ConnectionHeader);
    }
    let version = headers.single("sec-websocket-version")?;
    match version {
        Some("13") => {}
        Some(_) => return Err(UpgradeError::WebSocketVersion),
        None => return Err(UpgradeError::HeaderMissing("Sec-WebSocket-Version")),
    }
    // Its bytes would be taken for frames.
    let has_body = headers.has("transfer-encoding")
        || headers.single("content-length")?.is_some_and(|length| length != "0");
    if has_body { Err(UpgradeError::Body) } else { Ok(()) }
}

fn read_request(
    target: Target<'_>,
    headers: &Headers<'_>,
    default: Encoding,
) -> Result<UpgradeRequest, UpgradeError> {
    let host = headers.single("host")?.ok_or(UpgradeError::HeaderMissing("Host"))?;
    let host = target.authority.unwrap_or(host);
    if host.is_empty() {
        return Err(UpgradeError::HeaderMissing("Host"));
    }
    let key = headers
        .single("sec-websocket-key")?
        .ok_or(UpgradeError::HeaderMissing("Sec-WebSocket-Key"))?;
    if KEY_BASE64.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(UpgradeError::Key);
    }
    let offer = Offer::read(headers)?;
    let query = target.query()?;
    let token = one_token([
        headers.single("authorization")?.and_then(bearer).map(str::to_owned),
        offer.token.map(str::to_owned),
        query.token,
    ])?;
    Ok(UpgradeRequest {
        path: target.path.to_owned(),
        host: host.to_owned(),
        origin: headers.single("origin")?.map(str::to_owned),
        encoding: offer.encoding.unwrap_or(default),
        offered: offer.encoding.is_some(),
        token,
        room: query.room,
        resume: query.resume,
        opens_seals: query.opens_seals,
        key: key.to_owned(),
        deflate: DeflateTerms::negotiate(headers),
    })
}

/// The token behind the scheme `Bearer`; other schemes are somebody else's (a proxy's).
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_ascii())
}

/// The one token among the places where it may stand.
fn one_token(places: [Option<String>; 3]) -> Result<Option<String>, UpgradeError> {
    let mut found: Option<String> = None;
    for token in places.into_iter().flatten() {
        if token.is_empty() {
            return Err(UpgradeError::TokenEmpty);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(UpgradeError::TokenTooLong);
        }
        match &found {
            Some(other) if *other != token => return Err(UpgradeError::TokenTwice),
            Some(_) | None => found = Some(token),
        }
    }
    Ok(found)
}

/// What the client offers as sub-protocols.
#[derive(Default)]
struct Offer<'a> {
    /// The first of ours, in the client's order of preference; nothing if nothing was offered.
    encoding: Option<Encoding>,
    token: Option<&'a str>,
}

impl<'a> Offer<'a> {
    fn read(headers: &Headers<'a>) -> Result<Offer<'a>, UpgradeError> {
        let mut offer = Offer::default();
        let mut any = false;
        for name in headers.list("sec-websocket-protocol") {
            any = true;
            if let Some(token) = name.strip_prefix(TOKEN_SUBPROTOCOL_PREFIX) {
                if offer.token.is_some_and(|other| other != token) {
                    return Err(UpgradeError::TokenTwice);
                }
                offer.token = Some(token);
            } else if offer.encoding.is_none() {
                offer.encoding = Encoding::from_subprotocol(name);
            }
        }
        if any && offer.encoding.is_none() { Err(UpgradeError::Subprotocol) } else { Ok(offer) }
    }
}

/// The value of a header that may stand only once, without the space around it.
pub(super) fn single<'a>(
    headers: &[Header<'a>],
    name: &'static str,
) -> Result<Option<&'a str>, UpgradeError> {
    let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let Some(header) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(UpgradeError::HeaderTwice(name));
    }
    let value = std::str::from_utf8(header.value).map_err(|_| UpgradeError::HeaderText(name))?;
    Ok(Some(value.trim_ascii()))
}

/// The headers of a message; names are compared without case.
pub(super) struct Headers<'a>(pub(super) &'a [Header<'a>]);

impl<'a> Headers<'a> {
    fn named(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let headers = self.0;
        headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    pub(super) fn has(&self, name: &'static str) -> bool {
        self.named(name).next().is_some()
    }

    fn single(&self, name: &'static str) -> Result<Option<&'a str>, UpgradeError> {
        single(self.0, name)
    }

    /// The elements of a comma-separated header, over all lines of that name. An element that is
    /// not text equals nothing that is looked for.
    fn list(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.named(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|element| std::str::from_utf8(element).unwrap_or("\u{fffd}").trim_ascii())
            .filter(|element| !element.is_empty())
    }

    pub(super) fn has_token(&self, name: &'static str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }
}
