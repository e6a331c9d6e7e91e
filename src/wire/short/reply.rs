//! The response to a short request.

use prost::Message;
use serde::Serialize;

use crate::wire::codec::Encoding;
use crate::wire::proto::Reason;

/// How long a browser may remember what a preflight said. Chromium remembers two hours at most.
const PREFLIGHT_MAX_AGE_S: u32 = 7_200;

/// Which pages of browsers may read a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Every page.
    All,
    /// Those of the origin that asked, which is allowed.
    Of(Box<str>),
    /// None: the origin that asked is not allowed, or what asked is no page.
    None,
}

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

    /// With the headers that let pages read it (the Fetch standard's CORS protocol). No
    /// credentials are allowed: a token is in a header that a page has to set itself, never in a
    /// cookie, so no page can act for a user who did not give it a token.
    #[must_use]
    pub fn readable_by(self, pages: &Pages) -> Reply {
        let reply = match pages {
            Pages::All => self.header("Access-Control-Allow-Origin", "*"),
            // Another page must not get this from a cache.
            Pages::Of(origin) => {
                self.header("Access-Control-Allow-Origin", origin).header("Vary", "Origin")
            }
            Pages::None => return self.header("Vary", "Origin"),
        };
        reply.header("Access-Control-Expose-Headers", "Retry-After")
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

    /// With the moment at which it is made (RFC 9110 §6.6.1).
    #[must_use]
    pub fn date(self, unix_s: i64) -> Reply {
        self.header("Date", &http_date(unix_s))
    }

    /// The whole response.
    #[must_use]
    pub fn with_body(self, media_type: &str, body: &[u8]) -> Vec<u8> {
        let reply = self
            .header("Content-Type", media_type)
            .header("Content-Length", &body.len().to_string());
        let mut bytes = reply.bytes;
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }

    /// The whole response, with a message as its body.
    #[must_use]
    pub fn with_message<M>(self, encoding: Encoding, message: &M) -> Vec<u8>
    where
        M: Message + Serialize,
    {
        match encoding {
            Encoding::Proto => self.with_body("application/x-protobuf", &message.encode_to_vec()),
            Encoding::Json => match serde_json::to_vec(message) {
                Ok(body) => self.with_body("application/json", &body),
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

/// Leaves the body out, though not its length: the answer to `HEAD`.
pub fn cut_body(response: &mut Vec<u8>) {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n");
    response.truncate(end.map_or(response.len(), |end| end + 4));
}

/// A moment as HTTP writes it (RFC 9110 §5.6.7), as in `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub fn http_date(unix_s: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
    };
    let (days, second) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    // Years that begin in March, within eras of 400 years: the leap day is the last of its year.
    let since = days + 719_468;
    let (era, day_of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400 + i64::from(month >= 10);
    let (weekday, month) = (name(&DAYS, days.rem_euclid(7)), name(&MONTHS, month));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// The HTTP status that goes with a reason. What asks to come again is 429: a balancer in between
/// takes a 503 for a sick gateway, and would send nobody here at the moment of the peak.
#[must_use]
pub fn status_of(reason: Reason) -> u16 {
    match reason {
        Reason::Malformed
        | Reason::NoSuchOption
        | Reason::TicketInvalid
        | Reason::TextEmpty
        | Reason::TextTooLong => 400,
        Reason::TokenInvalid
        | Reason::TokenExpired
        | Reason::TokenRevoked
        | Reason::NotAuthenticated => 401,
        Reason::IdentityMismatch
        | Reason::LaneForbidden
        | Reason::RoomForbidden
        | Reason::Muted
        | Reason::Banned
        | Reason::WordRefused
        | Reason::OpaqueForbidden
        | Reason::NotInRoom
        | Reason::OutOfGame => 403,
        Reason::UnknownType | Reason::NoSuchRoom | Reason::NoSuchShow => 404,
        Reason::ShowEnded | Reason::QuestionClosed => 410,
        Reason::TooLarge => 413,
        Reason::RateLimited | Reason::Duplicate | Reason::Flood | Reason::RoomOverloaded => 429,
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
