//! The one table of all keys: where each is kept, what it may be, what it means.

use std::net::SocketAddr;

use crate::base::limits;
use crate::chat::words::Action;
use crate::ops::config::Config;
use crate::ops::config::checks::{is_networks, is_origins, kinds, token_secret};
use crate::ops::secret::{Secret, bytes_of_hex};
use crate::shard::limits::{MESSAGES_PER_SECOND_MOST, PINGS_PER_SECOND_MOST};

/// One key of the configuration.
pub struct Key {
    /// Its table; empty for the top level.
    pub section: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// One sentence or two, for the example.
    pub help: &'static str,
    /// What it may be, and where it is kept.
    pub kind: Kind,
}

/// What a key may be. Each kind knows how to keep a value and how to show the present one.
pub enum Kind {
    /// A socket address.
    Address(fn(&mut Config) -> &mut SocketAddr),
    /// A whole number in a range.
    Integer {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// Only powers of two.
        power_of_two: bool,
        /// Keeps one in the range.
        set: fn(&mut Config, u64),
        /// The present one.
        get: fn(&Config) -> u64,
    },
    /// `true` or `false`.
    Boolean(fn(&mut Config) -> &mut bool),
    /// One of some words.
    Choice {
        /// The words.
        words: &'static [&'static str],
        /// Keeps the word of that index.
        set: fn(&mut Config, usize),
        /// The index of the present one.
        get: fn(&Config) -> usize,
    },
    /// A text that may be absent.
    Text {
        /// What else it must be; says what is wrong.
        check: fn(&str) -> Result<(), String>,
        /// Where it is kept.
        place: fn(&mut Config) -> &mut Option<String>,
    },
    /// A secret that may be absent. It is never shown.
    Secret {
        /// Turns the text into the secret, or says what is wrong without repeating it.
        read: fn(&str) -> Result<Secret, String>,
        /// How it is described in the example.
        shape: &'static str,
        /// Where it is kept.
        place: fn(&mut Config) -> &mut Option<Secret>,
    },
}

/// A number's range, and the two functions that reach its field.
macro_rules! integer {
    ($($field:ident).+, $least:expr, $most:expr) => {
        integer!($($field).+, $least, $most, false)
    };
    ($($field:ident).+, $least:expr, $most:expr, $power_of_two:expr) => {
        Kind::Integer {
            least: $least as u64,
            most: $most as u64,
            power_of_two: $power_of_two,
            set: |config, number| {
                config.$($field).+ =
                    number.try_into().unwrap_or_else(|_| panic!("the range fits the field"));
            },
            get: |config| {
                config.$($field).+.try_into().unwrap_or_else(|_| panic!("a setting fits 64 bits"))
            },
        }
    };
}

const fn key(section: &'static str, name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { section, name, help, kind }
}

const HOUR_MS: u64 = 3_600_000;
const TEN_YEARS_S: u64 = 315_360_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// io_uring's `IORING_MAX_CQ_ENTRIES`.
const COMPLETION_ENTRIES_MAX: u64 = 65_536;
/// With an interval of an hour, times of users still fit into 32 bits of milliseconds.
const CHAT_BURST_MAX: u64 = 100;

mod operator;
mod services;

/// Every key, in the order of the example.
pub fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(operator::KEYS).chain(services::KEYS)
}

static KEYS: &[Key] = &[
    key(
        "",
        "listen",
        Kind::Address(|config| &mut config.listen),
        "Where clients connect: a socket address, IPv4 or IPv6; [::] is all of both, 0.0.0.0 all of IPv4.",
    ),
    key(
        "",
        "shards",
        integer!(shards, 0, limits::SHARD_COUNT_MAX),
        "Shards, one pinned thread each; 0 means one per core. More than cores works.",
    ),
    key(
        "",
        "data_dir",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.data_dir },
        "Folder for the journal: with it, what was acknowledged outlives the process. Shows with a \
         prize need one. Keeps placement_key and ticket_key too. Without it, all is in memory.",
    ),
    key(
        "",
        "placement_key",
        Kind::Secret {
            read: |text| bytes_of_hex::<16>(text).map(|bytes| Secret::new(bytes.to_vec())),
            shape: "32 hexadecimal digits",
            place: |config| &mut config.placement_key,
        },
        "The deployment's secret for where users, rooms and shows live. Made at start if missing.",
    ),
    key(
        "",
        "ticket_key",
        Kind::Secret {
            read: |text| bytes_of_hex::<32>(text).map(|bytes| Secret::new(bytes.to_vec())),
            shape: "64 hexadecimal digits",
            place: |config| &mut config.ticket_key,
        },
        "The secret of retry tickets. Made at start if missing: then tickets end with the process.",
    ),
    key(
        "auth",
        "hs256_secret",
        Kind::Secret {
            read: token_secret,
            shape: "at least 32 bytes of text",
            place: |config| &mut config.auth.hs256_secret,
        },
        "The secret that access tokens are signed with. Made at start if missing: then no token \
         from outside is valid.",
    ),
    key(
        "auth",
        "hs256_secret_file",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.auth.hs256_secret_file },
        "A file with that secret, instead; one line end after it is cut off.",
    ),
    key(
        "auth",
        "jwks_file",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.auth.jwks_file },
        "A file with the public keys (JSON Web Key Set) that tokens are signed with by RS256, ES256 \
         or EdDSA. It is read again when it changes: keys come and go without a restart.",
    ),
    key(
        "auth",
        "jwks_poll_ms",
        integer!(auth.jwks_poll_ms, 100, HOUR_MS),
        "How often that file is looked at.",
    ),
    key(
        "auth",
        "audience",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.auth.audience },
        "What `aud` of a token must name. Without it, tokens that have `aud` are refused.",
    ),
    key(
        "auth",
        "issuer",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.auth.issuer },
        "What `iss` of a token must be. Without it, `iss` is not looked at.",
    ),
    key(
        "auth",
        "leeway_s",
        integer!(auth.leeway_s, 0, 300),
        "By how much the clocks of whoever issues tokens may differ from this host's.",
    ),
    key(
        "auth",
        "token_lifetime_max_s",
        integer!(auth.token_lifetime_max_s, 60, TEN_YEARS_S),
        "The longest time from `iat` to `exp` of a token; longer ones are refused. A revocation is \
         kept for as long.",
    ),
    key(
        "limits",
        "connections_max",
        integer!(limits.connections_max, 1, u32::MAX),
        "Connections of the whole process, an equal part for each shard; what comes beyond waits in \
         the backlog.",
    ),
    key(
        "limits",
        "message_bytes_max",
        integer!(limits.message_bytes_max, 1_024, limits::CLIENT_MESSAGE_BYTES_MAX),
        "Bytes of one message from a client; a longer one closes the connection with 1009.",
    ),
    key(
        "limits",
        "spill_bytes",
        integer!(limits.spill_bytes, 16 * 1024, 16 * 1024 * 1024),
        "Bytes of replies that may wait for a client that does not read; then it is closed.",
    ),
    key(
        "limits",
        "handshake_timeout_ms",
        integer!(limits.handshake_timeout_ms, 100, HOUR_MS),
        "From accept to the end of the upgrade request, and again from there to a valid token.",
    ),
    key(
        "limits",
        "heartbeat_interval_ms",
        integer!(limits.heartbeat_interval_ms, 100, HOUR_MS),
        "How often a client is told to send a heartbeat when it sends nothing else.",
    ),
    key(
        "limits",
        "idle_timeout_ms",
        integer!(limits.idle_timeout_ms, 200, HOUR_MS),
        "A connection that sent nothing for so long is dead; at least two heartbeats.",
    ),
    key(
        "limits",
        "drain_timeout_ms",
        integer!(limits.drain_timeout_ms, 0, HOUR_MS),
        "How long connections have to leave once all were asked to, by SIGTERM or a drain.",
    ),
    key(
        "limits",
        "upgrade_bytes_max",
        integer!(limits.upgrade_bytes_max, 1_024, limits::UPGRADE_BYTES_MAX),
        "Bytes of an upgrade request, headers included; a longer one is refused with 431.",
    ),
    key(
        "limits",
        "messages_per_second_max",
        integer!(limits.messages_per_second_max, 0, MESSAGES_PER_SECOND_MOST),
        "Messages of one connection within a second; more close it with 4007, but answers count up to \
         four times as many. 0: no limit.",
    ),
    key(
        "limits",
        "pings_per_second_max",
        integer!(limits.pings_per_second_max, 0, PINGS_PER_SECOND_MOST),
        "Pings of one connection within a second; more close it with 4007. 0: no limit.",
    ),
    key(
        "limits",
        "age_max_ms",
        integer!(limits.age_max_ms, 0, 30 * DAY_MS),
        "How old a connection gets, less up to an eighth so that not all go together; then it is \
         closed with 4008, but never out of a show. 0: no limit.",
    ),
    key(
        "limits",
        "origins",
        Kind::Text { check: is_origins, place: |config| &mut config.limits.origins },
        "Origins of the pages from which browsers may connect, parted by commas, such as \
         \"https://quiz.example\"; others get 403. Without it all may. Clients that are no browsers \
         send no origin, and are let in.",
    ),
    key(
        "limits",
        "connections_per_address_max",
        integer!(limits.connections_per_address_max, 0, u32::MAX),
        "Connections of one address; more are refused with 429. 0: no limit, because thousands of \
         people may share a carrier's address.",
    ),
    key(
        "limits",
        "connects_per_address_per_second_max",
        integer!(limits.connects_per_address_per_second_max, 0, 1_000_000),
        "Connects of one address within a second, as many at once; more are refused with 429. 0: no \
         limit.",
    ),
    key(
        "limits",
        "connects_per_second_max",
        integer!(limits.connects_per_second_max, 0, 10_000_000),
        "Connects of all within a second, as many at once; more are refused with 503. 0: no limit.",
    ),
    key(
        "limits",
        "ipv6_prefix_bits",
        integer!(limits.ipv6_prefix_bits, 16, 64),
        "Leading bits of an IPv6 address that count as one address.",
    ),
    key(
        "limits",
        "connects_dry_run",
        Kind::Boolean(|config| &mut config.limits.connects_dry_run),
        "Counts and logs who would be refused by these limits on connecting, and lets them in.",
    ),
    key(
        "limits",
        "user_memory_bytes_max",
        integer!(limits.user_memory_bytes_max, 0, 1_u64 << 46),
        "Resident memory of the process from which on nobody new is accepted, until it is 5 percent \
         less. 0: no limit; set it in a container.",
    ),
    key(
        "limits",
        "memory_available_bytes_min",
        integer!(limits.memory_available_bytes_min, 0, 1_u64 << 46),
        "Memory that the host must have left (MemAvailable); with less nobody new is accepted, until \
         there is a quarter more. 0: no limit.",
    ),
    key(
        "tls",
        "certificate_files",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.tls.certificate_files },
        "TLS is spoken with the certificates in these PEM files, parted by commas; each begins with \
         the server's own. The first is for clients that name none of them. Written anew, they are \
         read again, on SIGHUP too. Without it connections are plain.",
    ),
    key(
        "tls",
        "key_files",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.tls.key_files },
        "The private keys of these certificates, PEM, in the same order.",
    ),
    key(
        "tls",
        "handshake_timeout_ms",
        integer!(tls.handshake_timeout_ms, 100, HOUR_MS),
        "How long a TLS handshake may take.",
    ),
    key(
        "proxy",
        "sources",
        Kind::Text { check: is_networks, place: |config| &mut config.proxy.sources },
        "Networks of balancers, parted by commas, such as \"10.0.0.0/8, ::1\". Connections from there \
         must begin with a PROXY header of version 2, and count as its client's.",
    ),
    key(
        "proxy",
        "header_timeout_ms",
        integer!(proxy.header_timeout_ms, 100, HOUR_MS),
        "How long that header may take.",
    ),
    key(
        "net",
        "rings_max",
        integer!(net.rings_max, 1, 1_024),
        "Rings of one shard; they are made as connections come.",
    ),
    key(
        "net",
        "slots_per_ring",
        integer!(net.slots_per_ring, 64, 1 << 20),
        "Connections of one ring, at most; fewer where the limit of open files (RLIMIT_NOFILE) is lower.",
    ),
    key(
        "net",
        "completion_entries",
        integer!(net.completion_entries, 64, COMPLETION_ENTRIES_MAX, true),
        "Entries of a ring's completion queue; a power of two.",
    ),
    key(
        "net",
        "send_buffer_bytes",
        integer!(net.send_buffer_bytes, 4_096, 16 * 1024 * 1024),
        "The kernel's send buffer of a connection (SO_SNDBUF); it bounds what a client that does \
         not read can cost.",
    ),
    key(
        "net",
        "backlog",
        integer!(net.backlog, 1, 65_535),
        "Connections that wait to be accepted, per listener; net.core.somaxconn bounds it too.",
    ),
    key(
        "net",
        "steer_by_cpu",
        Kind::Boolean(|config| &mut config.net.steer_by_cpu),
        "Gives a connection to the shard of the CPU that received it: only where the NIC has one \
         queue per core. Never on loopback.",
    ),
    key(
        "net",
        "share_port",
        Kind::Boolean(|config| &mut config.net.share_port),
        "Listens although another gateway of the same user does: for an upgrade beside it. Both get \
         clients until one of them is drained.",
    ),
    key(
        "rooms",
        "tick_ms",
        integer!(rooms.tick_ms, 1, 60_000),
        "Messages of the lanes mid and low go out together, at ticks that far apart; the first one \
         after a silence goes at once.",
    ),
    key(
        "rooms",
        "tick_max_ms",
        integer!(rooms.tick_max_ms, 1, 60_000),
        "In large rooms a tick waits so long at most, while what waits does not fill a packet.",
    ),
    key(
        "rooms",
        "large_members",
        integer!(rooms.large_members, 0, u32::MAX),
        "Members from which on a room is large.",
    ),
    key(
        "rooms",
        "low_rate_max",
        integer!(rooms.low_rate_max, 0, 1_000_000),
        "Messages per second that go out in the low lane of one room; others are left out, for \
         everybody alike. 0 means any number.",
    ),
    key(
        "rooms",
        "kept_kinds",
        Kind::Text {
            check: |text| kinds(text).map(drop),
            place: |config| &mut config.rooms.kept_kinds,
        },
        "Kinds of messages that the service publishes and that are never left out, for example \
         \"1,7\".",
    ),
    key(
        "rooms",
        "info_interval_ms",
        integer!(rooms.info_interval_ms, 0, HOUR_MS),
        "How often members are told, at most, how many they are and how fast they may chat and \
         come back; 0 means never.",
    ),
    key(
        "rooms",
        "chat_per_minute",
        integer!(rooms.chat_per_minute, 1, 6_000),
        "Chat messages that a member sends per minute if nothing slows it down: with it and the \
         number of members, the factor is computed that clients are told.",
    ),
    key(
        "rooms",
        "reconnects_per_s",
        integer!(rooms.reconnects_per_s, 1, 10_000_000),
        "Clients per second that the deployment lets in again: with it and the number of members, \
         the time is computed over which clients spread their return.",
    ),
    key(
        "rooms",
        "slow_age_ms",
        integer!(rooms.slow_age_ms, 1_000, 250_000),
        "A client whose socket has taken nothing for so long is too slow.",
    ),
    key(
        "rooms",
        "slow_bytes_max",
        integer!(rooms.slow_bytes_max, 4_096, limits::LANE_BYTES_MAX),
        "So is one that takes nothing and has more than this to get in one lane.",
    ),
    key(
        "rooms",
        "slow_high",
        Kind::Choice {
            words: &["gap", "close"],
            set: |config, word| config.rooms.slow_closes[0] = word == 1,
            get: |config| usize::from(config.rooms.slow_closes[0]),
        },
        "What becomes of a client that is too slow for the high lane (gap: what is gone is skipped, nothing else): gap or close.",
    ),
    key(
        "rooms",
        "slow_mid",
        Kind::Choice {
            words: &["gap", "close"],
            set: |config, word| config.rooms.slow_closes[1] = word == 1,
            get: |config| usize::from(config.rooms.slow_closes[1]),
        },
        "What becomes of a client that is too slow for the lane mid: gap or close.",
    ),
    key(
        "rooms",
        "slow_low",
        Kind::Choice {
            words: &["gap", "close"],
            set: |config, word| config.rooms.slow_closes[2] = word == 1,
            get: |config| usize::from(config.rooms.slow_closes[2]),
        },
        "What becomes of a client that is too slow for the low lane: gap or close.",
    ),
    key(
        "egress",
        "line_rate_mbit",
        integer!(egress.line_rate_mbit, 0, 10_000_000),
        "What the host's line carries, in Mbit/s, an equal part for each shard. The high lane always \
         goes out; chat is thinned out before the line is full. 0 means any number.",
    ),
    key(
        "egress",
        "viewers_max",
        integer!(egress.viewers_max, 1, u32::MAX),
        "Viewers on this host that the line is planned for. With a line rate, the ceilings below \
         must fit into it.",
    ),
    key(
        "egress",
        "question_bytes_max",
        integer!(egress.question_bytes_max, 64, 1 << 20),
        "Bytes of the longest question as it is sent.",
    ),
    key(
        "egress",
        "questions_per_minute_max",
        integer!(egress.questions_per_minute_max, 0, 600),
        "Questions per minute, each with a reveal.",
    ),
    key(
        "egress",
        "key_bytes_max",
        integer!(egress.key_bytes_max, 64, 1 << 20),
        "Bytes of a reveal, or of a frame with a key.",
    ),
    key(
        "egress",
        "gift_rate_max",
        integer!(egress.gift_rate_max, 1, 1_000_000),
        "With a line rate: messages per second that the service may publish in the high lane of a \
         room; what comes faster is refused and to be sent again.",
    ),
    key(
        "egress",
        "gift_bytes_max",
        integer!(egress.gift_bytes_max, 16, limits::SERVICE_MESSAGE_BYTES_MAX),
        "Bytes of such a message, with a line rate.",
    ),
    key(
        "compression",
        "enabled",
        Kind::Boolean(|config| &mut config.compression.enabled),
        "Clients that offer permessage-deflate get rooms' messages compressed, each once for all, \
         and may compress theirs.",
    ),
    key(
        "compression",
        "bytes_min",
        integer!(compression.bytes_min, 0, 1 << 20),
        "Bytes of a frame from which on it is compressed; one that gets no shorter never is.",
    ),
    key("compression", "level", integer!(compression.level, 1, 9), "From 1 (fast) to 9 (small)."),
    key(
        "quiz",
        "bucket_count",
        integer!(quiz.bucket_count, 1, limits::BUCKET_COUNT_MAX),
        "Slices of all users; part of the deployment, not to be changed while it holds users.",
    ),
    key(
        "quiz",
        "retry_mailbox_age_ms",
        integer!(quiz.retry_mailbox_age_ms, 1, 60_000),
        "When mail between shards is older than this, answers are told to retry.",
    ),
    key(
        "quiz",
        "retry_turn_ms",
        integer!(quiz.retry_turn_ms, 1, 60_000),
        "When a shard's turn takes longer than this, answers are told to retry.",
    ),
    key(
        "quiz",
        "retry_delay_max_ms",
        integer!(quiz.retry_delay_max_ms, 1, 60_000),
        "The longest random delay that a retry is told to wait; keep it below a show's \
         ticket_life_ms.",
    ),
    key(
        "quiz",
        "force_retry_percent",
        integer!(quiz.force_retry_percent, 0, 100),
        "Tells this many percent of the answers to retry whatever the load. For tests.",
    ),
    key(
        "chat",
        "text_bytes_max",
        integer!(chat.text_bytes_max, 1, limits::CHAT_BYTES_MAX),
        "Bytes of one text that a client says in a room.",
    ),
    key(
        "chat",
        "user_interval_ms",
        integer!(chat.user_interval_ms, 0, HOUR_MS),
        "A user may say something this often, on each shard; 0: as often as wanted.",
    ),
    key(
        "chat",
        "user_burst",
        integer!(chat.user_burst, 1, CHAT_BURST_MAX),
        "What a user who was quiet for a while may say at once.",
    ),
    key(
        "chat",
        "room_per_second",
        integer!(chat.room_per_second, 0, 1_000_000),
        "What one room takes per second, all shards together; what is beyond is discarded before \
         it reaches the room. 0: everything.",
    ),
    key(
        "chat",
        "duplicate_window_ms",
        integer!(chat.duplicate_window_ms, 0, HOUR_MS),
        "The same text of the same user is refused within this time; 0: never.",
    ),
    key(
        "chat",
        "same_text_max",
        integer!(chat.same_text_max, 0, 1_000_000),
        "How often a room takes the same text within duplicate_window_ms, on each shard; 0: always.",
    ),
    key(
        "chat",
        "like_interval_ms",
        integer!(chat.like_interval_ms, 0, HOUR_MS),
        "A user may like this often; 0: as often as wanted.",
    ),
    key(
        "chat",
        "like_burst",
        integer!(chat.like_burst, 1, CHAT_BURST_MAX),
        "Likes that one request may bring, and a user who was quiet at once.",
    ),
    key(
        "chat",
        "words_file",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.chat.words_file },
        "The list of sensitive words: one a line, `#` begins a comment, ` = refuse`, ` = replace` and \
         ` = whole` behind a word. Read again when it changes.",
    ),
    key(
        "chat",
        "words_action",
        Kind::Choice {
            words: Action::WORDS,
            set: |config, index| config.chat.words_action = Action::ALL[index],
            get: |config| config.chat.words_action as usize,
        },
        "What is done about words that say nothing of their own: each character replaced by `*`, or \
         the text refused.",
    ),
    key(
        "chat",
        "opaque_publish",
        Kind::Boolean(|config| &mut config.chat.opaque_publish),
        "Clients may publish opaque data, which has the rates of chat but no check of its text.",
    ),
];

impl Key {
    /// The key with its table: `limits.connections_max`.
    #[must_use]
    pub fn path(&self) -> String {
        if self.section.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}.{}", self.section, self.name)
        }
    }
}

/// What takes effect without a restart: tables whole, or single keys of theirs. A file that is read
/// again by itself counts by its path, which stays.
static LIVE: &[(&str, &[&str])] = &[
    (
        "limits",
        &[
            "spill_bytes",
            "handshake_timeout_ms",
            "drain_timeout_ms",
            "upgrade_bytes_max",
            "messages_per_second_max",
            "pings_per_second_max",
            "origins",
            "connections_per_address_max",
            "connects_per_address_per_second_max",
            "connects_per_second_max",
            "connects_dry_run",
            "user_memory_bytes_max",
            "memory_available_bytes_min",
        ],
    ),
    ("rooms", &[]),
    ("egress", &[]),
    ("compression", &[]),
    (
        "quiz",
        &["retry_mailbox_age_ms", "retry_turn_ms", "retry_delay_max_ms", "force_retry_percent"],
    ),
    (
        "chat",
        &[
            "text_bytes_max",
            "user_interval_ms",
            "user_burst",
            "room_per_second",
            "duplicate_window_ms",
            "same_text_max",
            "like_interval_ms",
            "like_burst",
            "opaque_publish",
        ],
    ),
    ("log", &["level", "filter"]),
    ("drain", &[]),
];

impl Key {
    /// Whether a running gateway can take another value ([`crate::ops::reload`]).
    #[must_use]
    pub fn is_live(&self) -> bool {
        LIVE.iter().any(|(section, names)| {
            *section == self.section && (names.is_empty() || names.contains(&self.name))
        })
    }

    /// Whether two configurations say the same.
    #[must_use]
    pub fn is_same(&self, one: &Config, other: &Config) -> bool {
        match &self.kind {
            Kind::Integer { get, .. } => get(one) == get(other),
            Kind::Choice { get, .. } => get(one) == get(other),
            // What is kept can be reached by those who change it only.
            Kind::Address(place) => same_place(*place, one, other),
            Kind::Boolean(place) => same_place(*place, one, other),
            Kind::Text { place, .. } => same_place(*place, one, other),
            Kind::Secret { place, .. } => same_place(*place, one, other),
        }
    }
}

fn same_place<T: PartialEq>(
    place: fn(&mut Config) -> &mut T,
    one: &Config,
    other: &Config,
) -> bool {
    place(&mut one.clone()) == place(&mut other.clone())
}

/// The names of all tables, in the order of the example.
#[must_use]
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = Vec::new();
    for key in all() {
        if !key.section.is_empty() && !sections.contains(&key.section) {
            sections.push(key.section);
        }
    }
    sections
}
