//! The response to a short request.

use prost::Message;
use serde::Serialize;

use crate::wire::codec::Encoding;
use crate::wire::proto::Reason;

/// How long a browser may remember what a preflight said. Chromium remembers two hours at most.
const PREFLIGHT_MAX_AGE_S: u32 = 7_200;

/// A response in the making: status and headers, then the body.
pub struct Reply {
    status: u16,
    bytes: Vec<u8>,
}

impl Reply {
    /// A response with this status.
    #[must_use]
    pub fn new(status: u16) -> Reply {
        let bytes = format!("HTTP/1.1 {status} {}\r\n", phrase(status)).into_bytes();
        Reply { status, bytes }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Reply {
        for part in [name, ": ", value, "\r\n"] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self
    }

    /// With the headers that let any page read it (the Fetch standard's CORS protocol). No
    /// credentials are allowed: a token is in a header that a page has to set itself, never in a
    /// cookie, so no page can act for a user who did not give it a token.
    #[must_use]
    pub fn for_any_page(self) -> Reply {
        self.header("Access-Control-Allow-Origin", "*")
            .header("Access-Control-Expose-Headers", "Retry-After")
    }

    /// With what answers a preflight.
    #[must_use]
    pub fn preflight(self, methods: &str) -> Reply {
        self.header("Access-Control-Allow-Methods", methods)
            .header("Access-Control-Allow-Headers", "Authorization, Content-Type")
            .header("Access-Control-Max-Age", &PREFLIGHT_MAX_AGE_S.to_string())
    }

    /// With the header that asks for patience, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(self, milliseconds: u32) -> Reply {
        self.header("Retry-After", &milliseconds.div_ceil(1_000).to_string())
    }

    /// The whole response; the body is left out, though not its length, in answer to `HEAD`.
    #[must_use]
    pub fn with_body(self, media_type: &str, body: &[u8], is_head: bool) -> Vec<u8> {
        let reply = self
            .header("Content-Type", media_type)
            .header("Content-Length", &body.len().to_string());
        let mut bytes = reply.bytes;
        bytes.extend_from_slice(b"\r\n");
        if !is_head {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    /// The whole response, with a message as its body.
    #[must_use]
    pub fn with_message<M>(self, encoding: Encoding, message: &M) -> Vec<u8>
    where
        M: Message + Serialize,
    {
        match encoding {
            Encoding::Proto => {
                self.with_body("application/x-protobuf", &message.encode_to_vec(), false)
            }
            Encoding::Json => match serde_json::to_vec(message) {
                Ok(body) => self.with_body("application/json", &body, false),
                Err(error) => panic!("a message of ours has no JSON form: {error}"),
            },
        }
    }

    /// The whole response, without a body.
    #[must_use]
    pub fn empty(self) -> Vec<u8> {
        // RFC 9110 §8.6: no length where there cannot be a body.
        let reply = match self.status {
            204 | 304 => self,
            _ => self.header("Content-Length", "0"),
        };
        let mut bytes = reply.bytes;
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// The HTTP status that goes with a reason. What asks to come again is 429: a balancer in between
/// takes a 503 for a sick gateway, and would send nobody here at the moment of the peak.
#[must_use]
pub fn status_of(reason: Reason) -> u16 {
    match reason {
        Reason::Malformed | Reason::NoSuchOption | Reason::TicketInvalid => 400,
        Reason::TokenInvalid | Reason::TokenExpired | Reason::NotAuthenticated => 401,
        Reason::IdentityMismatch
        | Reason::LaneForbidden
        | Reason::NotInRoom
        | Reason::OutOfGame => 403,
        Reason::UnknownType | Reason::NoSuchRoom | Reason::NoSuchShow => 404,
        Reason::ShowEnded | Reason::QuestionClosed => 410,
        Reason::TooLarge => 413,
        Reason::RateLimited => 429,
        // The request is well, and the state of things is against it.
        _ => 409,
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
