//! The configuration: a TOML file, `TIDEGATE_…` variables over it, flags over those.
//!
//! Every key stands once, in [`keys::all`], with its bounds and its help; the file, the
//! environment, the flags and the example are all read and written from there. Everything that is
//! wrong is reported at once. Every key has a default, so an empty file is a configuration.

pub mod checks;
pub mod keys;
mod load;
mod secrets;

use std::net::{Ipv4Addr, SocketAddr};

use crate::auth::token::CLOCK_LEEWAY_S;
use crate::base::limits;
use crate::chat::words::Action;
pub use crate::ops::config::load::{ENVIRONMENT_PREFIX, Sources, example};
use crate::ops::log::{LogFormat, LogLevel};
use crate::ops::secret::Secret;

/// Everything an operator can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect. Each shard has a listener of its own for it.
    pub listen: SocketAddr,
    /// Shards, one thread and one core each; 0 means one per core.
    pub shards: u16,
    /// The deployment's folder; without one, nothing outlives the process.
    pub data_dir: Option<String>,
    /// Where users, rooms and shows live is hashed with this; made at start where it is missing.
    pub placement_key: Option<Secret>,
    /// Retry tickets are made with this; made at start where it is missing.
    pub ticket_key: Option<Secret>,
    /// Access tokens.
    pub auth: AuthConfig,
    /// The operator's HTTP.
    pub operator: OperatorConfig,
    /// The REST for players.
    pub player_api: PlayerApiConfig,
    /// What stays of the journal.
    pub journal: JournalConfig,
    /// How much, how long.
    pub limits: LimitsConfig,
    /// How the gateway is drained.
    pub drain: DrainConfig,
    /// TLS.
    pub tls: TlsKeys,
    /// Balancers in front.
    pub proxy: ProxyConfig,
    /// The socket plane.
    pub net: NetConfig,
    /// Rooms' messages.
    pub rooms: RoomsConfig,
    /// What may go out.
    pub egress: EgressConfig,
    /// What is compressed.
    pub compression: CompressionConfig,
    /// The quiz.
    pub quiz: QuizConfig,
    /// What clients say in rooms.
    pub chat: ChatConfig,
    /// Withdrawals on their way out.
    pub payouts: PayoutsConfig,
    /// The log.
    pub log: LogConfig,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// The secret that tokens are signed with, at least 32 bytes; read from
    /// `hs256_secret_file` where that is set instead.
    pub hs256_secret: Option<Secret>,
    /// The file that the secret was read from.
    pub hs256_secret_file: Option<String>,
    /// The public keys of whoever issues tokens, a JSON Web Key Set: the text of `jwks_file`.
    pub jwks: Option<String>,
    /// The file that it was read from, and is read from again.
    pub jwks_file: Option<String>,
    /// How often the file is looked at.
    pub jwks_poll_ms: u64,
    /// What `aud` of a token must name; without it, tokens with `aud` are refused.
    pub audience: Option<String>,
    /// What `iss` of a token must be; without it, it is not looked at.
    pub issuer: Option<String>,
    /// By how much clocks of issuers may differ from ours.
    pub leeway_s: u32,
    /// The longest time from `iat` to `exp` of a token.
    pub token_lifetime_max_s: u32,
}

/// `[operator]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    /// Where metrics, health and the operator API are served.
    pub listen: SocketAddr,
    /// The bearer token of the operator API; without it only loopback peers may use the API.
    pub token: Option<Secret>,
    /// How long a shard may show no sign of life before `/healthz` says so.
    pub health_stale_ms: u64,
    /// The accounts of the console; without it there is no console.
    pub accounts_file: Option<String>,
    /// How long a session of the console lives without a request.
    pub session_idle_s: u64,
    /// How long it lives in all.
    pub session_max_s: u64,
    /// Cookies of the console are for TLS only.
    pub cookie_secure: bool,
}

/// `[player_api]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerApiConfig {
    /// Where it is served; nothing: nowhere.
    pub listen: Option<String>,
    /// Origins of pages that may read its answers, parted by commas; nothing: none.
    pub origins: Option<String>,
    /// Networks of proxies that are believed for whom they ask, parted by commas.
    pub proxies: Option<String>,
    /// Connections at the same time.
    pub connections_max: u32,
    /// Requests of an address within a second; 0: no limit.
    pub requests_per_address_per_second_max: u32,
    /// Requests of a user within a second; 0: no limit.
    pub requests_per_user_per_second_max: u32,
    /// The link to be shared.
    pub share_url: Option<String>,
    /// What is said with it.
    pub share_text: Option<String>,
}

/// `[journal]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Runs that stay whatever their age.
    pub keep_runs: u32,
    /// Days that a run stays after its end; 0: it goes at the next start.
    pub keep_days: u32,
}

impl Default for PlayerApiConfig {
    fn default() -> PlayerApiConfig {
        PlayerApiConfig {
            listen: None,
            origins: None,
            proxies: None,
            connections_max: 1_024,
            requests_per_address_per_second_max: 100,
            requests_per_user_per_second_max: 10,
            share_url: None,
            share_text: None,
        }
    }
}

impl Default for JournalConfig {
    fn default() -> JournalConfig {
        JournalConfig { keep_runs: 3, keep_days: 30 }
    }
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Connections of the whole process.
    pub connections_max: u32,
    /// Bytes of one message from a client.
    pub message_bytes_max: usize,
    /// Bytes of replies that wait for a client that does not read.
    pub spill_bytes: usize,
    /// From accept to the end of the upgrade request, and again from there to a valid token.
    pub handshake_timeout_ms: u64,
    /// How often a client is told to send a heartbeat.
    pub heartbeat_interval_ms: u64,
    /// A connection that sent nothing for so long is closed.
    pub idle_timeout_ms: u64,
    /// How long connections have to leave after all were asked to.
    pub drain_timeout_ms: u64,
    /// Bytes of an upgrade request.
    pub upgrade_bytes_max: usize,
    /// Messages of a connection within a second; 0: no limit.
    pub messages_per_second_max: u16,
    /// Pings of a connection within a second; 0: no limit.
    pub pings_per_second_max: u16,
    /// How old a connection gets; 0: no limit.
    pub age_max_ms: u64,
    /// Origins of pages that may connect, parted by commas; nothing: all.
    pub origins: Option<String>,
    /// Connections of one address; 0: no limit.
    pub connections_per_address_max: u32,
    /// Connects of one address within a second; 0: no limit.
    pub connects_per_address_per_second_max: u32,
    /// Connects of all within a second; 0: no limit.
    pub connects_per_second_max: u32,
    /// Leading bits of an IPv6 address that count as one address.
    pub ipv6_prefix_bits: u8,
    /// Count who would be refused by these four, and refuse nobody.
    pub connects_dry_run: bool,
    /// Resident memory at which accepting is held; 0: no limit.
    pub user_memory_bytes_max: u64,
    /// Memory that the host must have left; 0: no limit.
    pub memory_available_bytes_min: u64,
}

/// `[drain]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// The time over which connections are asked to leave.
    pub spread_ms: u64,
    /// How long a drain waits for countdowns.
    pub countdown_wait_max_ms: u64,
    /// Gateways that clients are sent to, parted by commas.
    pub to: Option<String>,
}

impl Default for DrainConfig {
    fn default() -> DrainConfig {
        DrainConfig { spread_ms: 10_000, countdown_wait_max_ms: 30_000, to: None }
    }
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsKeys {
    /// Files with certificates, parted by commas; nothing: no TLS.
    pub certificate_files: Option<String>,
    /// Files with their keys, in the same order.
    pub key_files: Option<String>,
    /// How long a handshake may take.
    pub handshake_timeout_ms: u64,
}

/// `[proxy]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Networks whose connections begin with a PROXY header, parted by commas.
    pub sources: Option<String>,
    /// How long the header may take.
    pub header_timeout_ms: u64,
}

/// `[net]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Rings of one shard.
    pub rings_max: u32,
    /// Connections of one ring: the size of its fixed-file table. Smaller where the limit of open
    /// files or the share of the shard is.
    pub slots_per_ring: u32,
    /// Entries of a ring's completion queue; a power of two.
    pub completion_entries: u32,
    /// `SO_SNDBUF` of a connection.
    pub send_buffer_bytes: u32,
    /// Connections that wait to be accepted, per listener.
    pub backlog: u32,
    /// Gives a connection to the shard of the CPU that received it.
    pub steer_by_cpu: bool,
    /// Listens although another gateway of the same user listens there.
    pub share_port: bool,
}

/// `[rooms]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomsConfig {
    /// From one tick of a room to the next.
    pub tick_ms: u64,
    /// The same in large rooms while waiting saves bytes.
    pub tick_max_ms: u64,
    /// Members from which on a room is large.
    pub large_members: u32,
    /// Messages per second that go out in the low lane of one room, 0: any number.
    pub low_rate_max: u32,
    /// Kinds of messages of the service that are never thinned out, separated by commas.
    pub kept_kinds: Option<String>,
    /// From one message about how a room is to the next; 0: there are none.
    pub info_interval_ms: u64,
    /// Chat messages per minute that a member is expected to send.
    pub chat_per_minute: u32,
    /// Clients per second that the deployment lets in again.
    pub reconnects_per_s: u32,
    /// A full socket that has waited for so long is too slow.
    pub slow_age_ms: u64,
    /// So is one with more than this to get in one lane.
    pub slow_bytes_max: usize,
    /// Whether such a connection is closed, by lane; else it skips forward.
    pub slow_closes: [bool; 3],
}

/// `[egress]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressConfig {
    /// What the line carries; 0: any number.
    pub line_rate_mbit: u64,
    /// Viewers that the line is planned for.
    pub viewers_max: u64,
    /// Bytes of the longest question as it is sent.
    pub question_bytes_max: u64,
    /// Questions per minute.
    pub questions_per_minute_max: u64,
    /// Bytes of a reveal or of a key.
    pub key_bytes_max: u64,
    /// Messages per second that the service may publish in the high lane of a room, with a line rate.
    pub gift_rate_max: u32,
    /// Bytes of such a message.
    pub gift_bytes_max: usize,
}

/// `[compression]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionConfig {
    /// Clients that offer `permessage-deflate` get it.
    pub enabled: bool,
    /// Bytes of a frame from which on it is compressed.
    pub bytes_min: usize,
    /// 1 (fast) to 9 (small).
    pub level: u32,
}

/// `[quiz]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuizConfig {
    /// Buckets of the deployment; never changed once it holds users.
    pub bucket_count: u16,
    /// Mail older than this makes a shard ask for retries.
    pub retry_mailbox_age_ms: u64,
    /// A turn longer than this makes a shard ask for retries.
    pub retry_turn_ms: u64,
    /// The longest random delay that a retry is asked to wait.
    pub retry_delay_max_ms: u64,
    /// Asks this many percent of the answers to retry whatever the load; for tests.
    pub force_retry_percent: u8,
}

/// `[chat]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatConfig {
    /// Bytes of one text.
    pub text_bytes_max: usize,
    /// A user may say something this often; 0: as often as wanted.
    pub user_interval_ms: u64,
    /// What a user who was quiet may say at once.
    pub user_burst: u32,
    /// What a room takes per second; 0: everything.
    pub room_per_second: u32,
    /// The same text of the same user is refused within this time; 0: never.
    pub duplicate_window_ms: u64,
    /// How often a room takes the same text within that time, on each shard; 0: always.
    pub same_text_max: u32,
    /// A user may like this often; 0: as often as wanted.
    pub like_interval_ms: u64,
    /// Likes that one request may bring.
    pub like_burst: u32,
    /// The list of sensitive words.
    pub words_file: Option<String>,
    /// What is done about words that say nothing of their own.
    pub words_action: Action,
    /// Clients may publish opaque data.
    pub opaque_publish: bool,
}

/// `[payouts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutsConfig {
    /// Where they are sent; without it they wait.
    pub url: Option<String>,
    /// What they are signed with; read from `secret_file` where that is set instead.
    pub secret: Option<Secret>,
    /// The file that the secret was read from.
    pub secret_file: Option<String>,
    /// Certificates to trust in place of the public ones.
    pub certificates_file: Option<String>,
    /// How long one try may take.
    pub timeout_ms: u64,
    /// Payouts under way at the same time.
    pub concurrency: u16,
    /// Tries before a payout is a dead letter.
    pub tries_max: u32,
    /// The wait after a first failure.
    pub backoff_ms: u64,
    /// The longest wait.
    pub backoff_max_ms: u64,
}

impl Default for PayoutsConfig {
    fn default() -> PayoutsConfig {
        PayoutsConfig {
            url: None,
            secret: None,
            secret_file: None,
            certificates_file: None,
            timeout_ms: 10_000,
            concurrency: 8,
            tries_max: 20,
            backoff_ms: 1_000,
            backoff_max_ms: 900_000,
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important level that is written.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
    /// Directives by module, in place of `level`.
    pub filter: Option<String>,
}

impl Default for RoomsConfig {
    fn default() -> RoomsConfig {
        RoomsConfig {
            tick_ms: 200,
            tick_max_ms: 500,
            large_members: 1_000,
            low_rate_max: 100,
            kept_kinds: None,
            info_interval_ms: 2_000,
            chat_per_minute: 6,
            reconnects_per_s: 20_000,
            slow_age_ms: 30_000,
            slow_bytes_max: limits::LANE_BYTES_MAX,
            slow_closes: [false; 3],
        }
    }
}

impl Default for EgressConfig {
    fn default() -> EgressConfig {
        EgressConfig {
            line_rate_mbit: 0,
            viewers_max: 10_000,
            question_bytes_max: 1_000,
            questions_per_minute_max: 4,
            key_bytes_max: 200,
            gift_rate_max: 5,
            gift_bytes_max: 500,
        }
    }
}

impl Default for CompressionConfig {
    fn default() -> CompressionConfig {
        CompressionConfig { enabled: true, bytes_min: 160, level: 6 }
    }
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig {
            connections_max: 1_000_000,
            message_bytes_max: limits::CLIENT_MESSAGE_BYTES_DEFAULT,
            spill_bytes: limits::SPILL_BYTES_DEFAULT,
            handshake_timeout_ms: 10_000,
            heartbeat_interval_ms: 20_000,
            idle_timeout_ms: 50_000,
            drain_timeout_ms: 10_000,
            upgrade_bytes_max: limits::UPGRADE_BYTES_MAX,
            messages_per_second_max: 100,
            pings_per_second_max: 10,
            age_max_ms: 86_400_000,
            origins: None,
            connections_per_address_max: 0,
            connects_per_address_per_second_max: 0,
            connects_per_second_max: 0,
            ipv6_prefix_bits: 64,
            connects_dry_run: false,
            user_memory_bytes_max: 0,
            memory_available_bytes_min: 128 * 1024 * 1024,
        }
    }
}

impl Default for ChatConfig {
    fn default() -> ChatConfig {
        ChatConfig {
            text_bytes_max: 130,
            user_interval_ms: 2_000,
            user_burst: 3,
            room_per_second: 100,
            duplicate_window_ms: 10_000,
            same_text_max: 20,
            like_interval_ms: 100,
            like_burst: 50,
            words_file: None,
            words_action: Action::Replace,
            opaque_publish: true,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Config {
            listen: loopback(8090),
            shards: 0,
            data_dir: None,
            placement_key: None,
            ticket_key: None,
            auth: AuthConfig {
                hs256_secret: None,
                hs256_secret_file: None,
                jwks: None,
                jwks_file: None,
                jwks_poll_ms: 5_000,
                audience: None,
                issuer: None,
                leeway_s: CLOCK_LEEWAY_S,
                token_lifetime_max_s: limits::TOKEN_LIFETIME_MAX_DEFAULT_S,
            },
            operator: OperatorConfig {
                listen: loopback(8091),
                token: None,
                health_stale_ms: 5_000,
                accounts_file: None,
                session_idle_s: 1_800,
                session_max_s: 43_200,
                cookie_secure: false,
            },
            player_api: PlayerApiConfig::default(),
            journal: JournalConfig::default(),
            limits: LimitsConfig::default(),
            drain: DrainConfig::default(),
            tls: TlsKeys { certificate_files: None, key_files: None, handshake_timeout_ms: 10_000 },
            proxy: ProxyConfig { sources: None, header_timeout_ms: 3_000 },
            net: NetConfig {
                rings_max: 64,
                slots_per_ring: 131_072,
                completion_entries: 4_096,
                send_buffer_bytes: 32 * 1024,
                backlog: 65_535,
                steer_by_cpu: false,
                share_port: false,
            },
            rooms: RoomsConfig::default(),
            egress: EgressConfig::default(),
            compression: CompressionConfig::default(),
            quiz: QuizConfig {
                bucket_count: limits::BUCKET_COUNT_DEFAULT,
                retry_mailbox_age_ms: 200,
                retry_turn_ms: 50,
                retry_delay_max_ms: 500,
                force_retry_percent: 0,
            },
            chat: ChatConfig::default(),
            payouts: PayoutsConfig::default(),
            log: LogConfig { level: LogLevel::Info, format: LogFormat::Text, filter: None },
        }
    }
}

#[cfg(test)]
mod tests;
