//! Why a WebSocket is closed: the one table of close codes that the gateway sends.
//!
//! Codes below 3000 are those of RFC 6455 §7.4.1; 4000–4999 are ours to define (§7.4.2). A code
//! is never given another meaning; new ones may be added, and a client treats a code of 4000 or
//! more that it does not know like [`CloseReason::InternalError`].

use std::fmt;

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Not by itself: a person decides, or the client has to be mended first.
    No,
    /// Only with a fresh access token; then at once.
    WithNewToken,
    /// At a random moment within so many milliseconds, so that those who were closed together do
    /// not come back together. Each further attempt in vain doubles the span, up to 30 s.
    Within {
        /// The span in milliseconds, counted from the close.
        span_ms: u32,
    },
}

/// A close code that the gateway sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// 1000: done.
    Normal,
    /// 1001: the gateway is drained or shuts down.
    GoingAway,
    /// 1002: the peer broke RFC 6455.
    ProtocolError,
    /// 1003: text on a Protobuf connection, or binary on a JSON connection.
    Unsupported,
    /// 1007: text that is not UTF-8, or a message that cannot be decoded.
    InvalidData,
    /// 1008: a rule that has no code of its own was broken.
    PolicyViolation,
    /// 1009: a message beyond the size limit.
    TooLarge,
    /// 1011: a fault of the gateway.
    InternalError,
    /// 4000: the same user came by another connection, which took the session over.
    Replaced,
    /// 4001: the access token was refused or has expired.
    TokenRefused,
    /// 4002: nothing was heard for too long.
    HeartbeatTimeout,
    /// 4003: the client reads too slowly for what it is owed.
    TooSlow,
    /// 4004: it took too long from connecting to being authenticated.
    HandshakeTimeout,
    /// 4005: the gateway has no room for the connection now.
    Overloaded,
    /// 4006: the access token was valid, and was revoked.
    TokenRevoked,
    /// 4007: the client sent more than a client may.
    RateLimited,
    /// 4008: the connection has reached the greatest age of connections.
    Aged,
    /// 4009: the service ended the connection.
    Disconnected,
    /// 4010: the user is banned.
    Banned,
    /// 4011: the service wants the client to connect anew.
    Moved,
}

/// What a close frame of [`CloseReason::GoingAway`] may say behind its name: when and where its client
/// comes back. In the frame's text, each field behind a space: `within_ms=500 to=wss://b.example/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moving {
    /// At a random moment within so many milliseconds of the close, in place of what the table says.
    pub within_ms: Option<u32>,
    /// The URL of a gateway to try first.
    pub to: Option<String>,
}

impl Moving {
    /// Bytes of the longest URL: with all else, it fits into a close frame's 123 (RFC 6455 §5.5).
    pub const URL_BYTES_MAX: usize = 88;

    /// The text of a close frame.
    #[must_use]
    pub fn text(&self, reason: CloseReason) -> String {
        let within = self.within_ms.map(|span_ms| format!(" within_ms={span_ms}"));
        let to = self.to.as_ref().map(|url| format!(" to={url}"));
        [Some(reason.name().to_owned()), within, to].into_iter().flatten().collect()
    }

    /// What the text of a close frame says; what is not understood is passed over.
    #[must_use]
    pub fn read(text: &str) -> Moving {
        let mut moving = Moving::default();
        for field in text.split(' ').skip(1) {
            match field.split_once('=') {
                Some(("within_ms", span_ms)) => moving.within_ms = span_ms.parse().ok(),
                Some(("to", url)) => moving.to = Some(url.to_owned()),
                Some(_) | None => {}
            }
        }
        moving
    }
}

/// A line of the table.
struct Entry {
    code: u16,
    name: &'static str,
    meaning: &'static str,
    reconnect: Reconnect,
}

impl CloseReason {
    /// All of them, in the order of their codes.
    pub const ALL: [CloseReason; 20] = [
        CloseReason::Normal,
        CloseReason::GoingAway,
        CloseReason::ProtocolError,
        CloseReason::Unsupported,
        CloseReason::InvalidData,
        CloseReason::PolicyViolation,
        CloseReason::TooLarge,
        CloseReason::InternalError,
        CloseReason::Replaced,
        CloseReason::TokenRefused,
        CloseReason::HeartbeatTimeout,
        CloseReason::TooSlow,
        CloseReason::HandshakeTimeout,
        CloseReason::Overloaded,
        CloseReason::TokenRevoked,
        CloseReason::RateLimited,
        CloseReason::Aged,
        CloseReason::Disconnected,
        CloseReason::Banned,
        CloseReason::Moved,
    ];

    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self.entry().code
    }

    /// A word for logs, metrics and the close frame's reason; at most 123 bytes (RFC 6455 §5.5).
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// A sentence for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// Whether and when a client comes back.
    #[must_use]
    pub fn reconnect(self) -> Reconnect {
        self.entry().reconnect
    }

    /// The reason with this code, if the gateway has it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<CloseReason> {
        CloseReason::ALL.into_iter().find(|reason| reason.code() == code)
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    fn entry(self) -> Entry {
        let within = |span_ms| Reconnect::Within { span_ms };
        let (code, name, reconnect, meaning) = match self {
            CloseReason::Normal => (1000, "normal", Reconnect::No, "Both sides are done."),
            CloseReason::GoingAway => (
                1001,
                "going_away",
                within(10_000),
                "This gateway stops; another one, or this one restarted, takes over.",
            ),
            CloseReason::ProtocolError => (
                1002,
                "protocol_error",
                Reconnect::No,
                "The client's frames break RFC 6455: the client has to be mended.",
            ),
            CloseReason::Unsupported => (
                1003,
                "unsupported_data",
                Reconnect::No,
                "Text came on a tidegate.v1.proto connection, or binary on a tidegate.v1.json one.",
            ),
            CloseReason::InvalidData => (
                1007,
                "invalid_data",
                Reconnect::No,
                "A text was not UTF-8, or a message could not be decoded.",
            ),
            CloseReason::PolicyViolation => (
                1008,
                "policy_violation",
                Reconnect::No,
                "The client did what it is not allowed to do.",
            ),
            CloseReason::TooLarge => (
                1009,
                "message_too_large",
                Reconnect::No,
                "A message is larger than the gateway takes.",
            ),
            CloseReason::InternalError => {
                (1011, "internal_error", within(5_000), "The gateway made a mistake.")
            }
            CloseReason::Replaced => (
                4000,
                "replaced",
                Reconnect::No,
                "The same user connected again elsewhere; reconnecting would throw that one out.",
            ),
            CloseReason::TokenRefused => (
                4001,
                "token_refused",
                Reconnect::WithNewToken,
                "The access token was refused or has expired.",
            ),
            CloseReason::HeartbeatTimeout => (
                4002,
                "heartbeat_timeout",
                within(500),
                "Nothing was heard from the client for too long.",
            ),
            CloseReason::TooSlow => (
                4003,
                "too_slow",
                within(2_000),
                "The client read too slowly, and what it was owed grew beyond the limit.",
            ),
            CloseReason::HandshakeTimeout => (
                4004,
                "handshake_timeout",
                within(2_000),
                "The client did not authenticate itself in time.",
            ),
            CloseReason::Overloaded => (
                4005,
                "overloaded",
                within(10_000),
                "The gateway has no room for this connection now.",
            ),
            CloseReason::TokenRevoked => (
                4006,
                "token_revoked",
                Reconnect::No,
                "The access token was revoked: the user has to sign in again.",
            ),
            CloseReason::RateLimited => (
                4007,
                "rate_limited",
                within(30_000),
                "The client sent more messages or pings in a second than one client may.",
            ),
            CloseReason::Aged => (
                4008,
                "aged",
                within(5_000),
                "The connection is as old as connections get here; a new one goes on.",
            ),
            CloseReason::Disconnected => (
                4009,
                "disconnected",
                Reconnect::No,
                "The service ended this connection; connect again when the user asks for it.",
            ),
            CloseReason::Banned => {
                (4010, "banned", Reconnect::No, "The user may not connect, for now or at all.")
            }
            CloseReason::Moved => (
                4011,
                "moved",
                within(5_000),
                "The service asks for a new connection, perhaps to another gateway.",
            ),
        };
        Entry { code, name, meaning, reconnect }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.code(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::frame::coding::CloseCode;

    #[test]
    fn the_table_is_ordered_unique_and_allowed_on_the_wire() {
        let codes: Vec<u16> = CloseReason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(
            codes,
            [
                1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 4000, 4001, 4002, 4003, 4004, 4005,
                4006, 4007, 4008, 4009, 4010, 4011
            ]
        );
        for reason in CloseReason::ALL {
            assert!(CloseCode::from(reason.code()).is_allowed(), "{reason}");
            assert_eq!(CloseReason::from_code(reason.code()), Some(reason));
            assert!(reason.name().len() <= 123, "{reason}");
        }
        assert_eq!(CloseReason::from_code(1006), None);
    }

    #[test]
    fn a_close_says_when_and_where_its_client_comes_back() {
        let reason = CloseReason::GoingAway;
        let url = format!("wss://{}/", "x".repeat(Moving::URL_BYTES_MAX - 7));
        for (within_ms, to, text) in [
            (None, None, "going_away".to_owned()),
            (Some(500), None, "going_away within_ms=500".to_owned()),
            (None, Some("wss://b.example/"), "going_away to=wss://b.example/".to_owned()),
            (Some(u32::MAX), Some(&*url), format!("going_away within_ms=4294967295 to={url}")),
        ] {
            let moving = Moving { within_ms, to: to.map(str::to_owned) };
            assert_eq!(moving.text(reason), text);
            assert!(text.len() <= 123, "{text}");
            assert_eq!(Moving::read(&text), moving);
        }
        let unknown = "going_away of=2 within_ms=x to=a=b alone";
        assert_eq!(Moving::read(unknown), Moving { within_ms: None, to: Some("a=b".to_owned()) });
    }

    #[test]
    fn only_a_fresh_token_helps_against_a_refused_one_and_a_replaced_session_stays_away() {
        assert_eq!(CloseReason::TokenRefused.reconnect(), Reconnect::WithNewToken);
        assert_eq!(CloseReason::Replaced.reconnect(), Reconnect::No);
        assert_eq!(CloseReason::GoingAway.reconnect(), Reconnect::Within { span_ms: 10_000 });
    }
}
