//! Short connections: plain HTTP/1.1 requests on the address of the WebSockets (RFC 9110, 9112).
//!
//! Whatever does not ask for one of the WebSocket's paths ([`upgrade::PATHS`]) is such a request,
//! [`is_short`]. [`parse`] is given all bytes that came so far, like [`upgrade::parse`]: the result
//! depends on them alone, not on how they were cut. Deliberately absent: routes, and whether a
//! token or an origin is acceptable; chunked bodies, of which no client of ours has need; and
//! pipelining: what stands behind a request is dropped, and the reply says `Connection: close`, so
//! that its sender gives it again (RFC 9112 §9.3.2).

mod fault;
mod reply;
#[cfg(test)]
mod tests;

use httparse::{EMPTY_HEADER, Header, Request, Status};
use prost::Message;
use serde::de::DeserializeOwned;

use super::codec::{CodecError, Encoding};
use super::upgrade::{self, Headers, UpgradeError};
use crate::base::limits::{
    SHORT_BODY_BYTES_MAX, TOKEN_BYTES_MAX, UPGRADE_BYTES_MAX, UPGRADE_HEADERS_MAX,
};

pub use fault::ShortError;
pub use reply::{Pages, Reply, cut_body, http_date, status_of};

/// What a client that waits before it sends its body is told (RFC 9110 §10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How far a request is.
#[derive(Debug)]
pub enum Short<'a> {
    /// The request is not complete: come again with more bytes.
    Incomplete {
        /// The headers are here, and the client waits for [`CONTINUE`] before it sends the body.
        waits: bool,
    },
    /// The whole request, its body included.
    Complete(ShortRequest<'a>),
    /// It cannot be answered, and what follows on this connection cannot be understood.
    Broken(ShortError),
}

/// A whole request.
#[derive(Debug)]
pub struct ShortRequest<'a> {
    /// As it came: methods know no other case.
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// The access token behind `Authorization: Bearer`, not judged here.
    pub token: Option<&'a str>,
    /// What `Content-Type` says of the body: one of the two encodings, or something else.
    pub encoding: Option<Encoding>,
    /// `Origin`, which browsers send; not judged here.
    pub origin: Option<&'a str>,
    /// `If-None-Match`.
    pub known_tag: Option<&'a str>,
    /// At most [`SHORT_BODY_BYTES_MAX`] bytes.
    pub body: &'a [u8],
    /// Whether the connection may be used again.
    pub keep_alive: bool,
    /// Bytes of the request.
    pub consumed: usize,
}

impl ShortRequest<'_> {
    /// The message in the body.
    ///
    /// # Errors
    /// If it is none in the encoding that its type names.
    pub fn message<M>(&self, encoding: Encoding) -> Result<M, CodecError>
    where
        M: Message + Default + DeserializeOwned,
    {
        Ok(match encoding {
            Encoding::Proto => M::decode(self.body)?,
            Encoding::Json => serde_json::from_slice(self.body)?,
        })
    }
}

/// True if the bytes begin a request for something else than a WebSocket. False as long as they
/// do not say, and for what is no request at all: the upgrade has the words for that.
#[must_use]
pub fn is_short(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start();
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (Some(_), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let Ok(target) = std::str::from_utf8(target) else { return false };
    path_of(target).is_some_and(|path| !upgrade::PATHS.contains(&path))
}

/// The path in a request target: in origin form, or in absolute form as proxies get it.
fn path_of(target: &str) -> Option<&str> {
    let rest = match target.split_once("://") {
        Some(("http" | "https", rest)) => match rest.find(['/', '?']) {
            Some(start) if rest[start..].starts_with('/') => &rest[start..],
            Some(_) | None => "/",
        },
        _ => target,
    };
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    path.starts_with('/').then_some(path)
}

/// Looks at the bytes that came so far.
#[must_use]
pub fn parse(bytes: &[u8]) -> Short<'_> {
    match parse_request(bytes) {
        Ok(short) => short,
        Err(error) => Short::Broken(error),
    }
}

fn parse_request(bytes: &[u8]) -> Result<Short<'_>, ShortError> {
    let mut headers = [EMPTY_HEADER; UPGRADE_HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    // Nothing beyond the limit is looked at, so that pieces and the whole give the same result.
    let head = &bytes[..bytes.len().min(UPGRADE_BYTES_MAX)];
    let head_bytes = match request.parse(head) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Ok(Status::Partial) if head.len() < UPGRADE_BYTES_MAX => {
            return Ok(Short::Incomplete { waits: false });
        }
        Ok(Status::Partial) if request.version.is_none() => {
            return Err(UpgradeError::TargetTooLong.into());
        }
        Ok(Status::Partial) => return Err(UpgradeError::HeadersTooLarge.into()),
        Err(httparse::Error::TooManyHeaders) => return Err(UpgradeError::TooManyHeaders.into()),
        Err(httparse::Error::Version) => return Err(UpgradeError::HttpVersion.into()),
        Err(error) => return Err(UpgradeError::Malformed(error).into()),
    };
    if request.version != Some(1) {
        return Err(UpgradeError::HttpVersion.into());
    }
    let path = request.path.and_then(path_of).ok_or(UpgradeError::Target)?;
    let method = request.method.unwrap_or_default();
    let list = Headers(request.headers);
    if upgrade::single(request.headers, "host")?.is_none() {
        return Err(UpgradeError::HeaderMissing("Host").into());
    }
    let body_bytes = body_bytes(request.headers)?;
    let consumed = head_bytes + body_bytes;
    let Some(body) = bytes.get(head_bytes..consumed) else {
        return Ok(Short::Incomplete { waits: list.has_token("expect", "100-continue") });
    };
    let token = upgrade::single(request.headers, "authorization")?.and_then(upgrade::bearer);
    if token.is_some_and(|token| token.len() > TOKEN_BYTES_MAX) {
        return Err(UpgradeError::TokenTooLong.into());
    }
    Ok(Short::Complete(ShortRequest {
        method,
        path,
        token,
        encoding: upgrade::single(request.headers, "content-type")?.and_then(encoding_of),
        origin: upgrade::single(request.headers, "origin")?,
        known_tag: upgrade::single(request.headers, "if-none-match")?,
        body,
        keep_alive: !list.has_token("connection", "close")
            && bytes[consumed..].iter().all(|byte| matches!(byte, b'\r' | b'\n')),
        consumed,
    }))
}

/// The length of the body, known before it comes.
fn body_bytes(headers: &[Header<'_>]) -> Result<usize, ShortError> {
    if Headers(headers).has("transfer-encoding") {
        return Err(ShortError::LengthRequired);
    }
    let Some(length) = upgrade::single(headers, "content-length")? else { return Ok(0) };
    // `parse` alone would take a plus sign.
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ShortError::Length);
    }
    match length.parse() {
        Ok(length) if length <= SHORT_BODY_BYTES_MAX => Ok(length),
        Ok(_) | Err(_) => Err(ShortError::BodyTooLarge),
    }
}

/// The encoding that a media type stands for, whatever its parameters.
fn encoding_of(media_type: &str) -> Option<Encoding> {
    let essence = media_type.split(';').next().unwrap_or_default().trim_ascii();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    if is("application/json") {
        Some(Encoding::Json)
    } else if is("application/x-protobuf") || is("application/protobuf") {
        Some(Encoding::Proto)
    } else {
        None
    }
}
