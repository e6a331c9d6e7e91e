//! From the configuration to what a gateway is told.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::auth::keys::KeySet;
use crate::auth::token::TokenVerifier;
use crate::base::addresses::Network;
use crate::base::limits::{CLIENT_MESSAGE_BYTES_MAX, SHARD_COUNT_MAX};
use crate::chat::settings::ChatSettings;
use crate::net::{Limit, ListenSettings, PlaneSettings};
use crate::ops::config::checks::comma_separated;
use crate::ops::config::checks::kinds;
use crate::ops::config::{ChatConfig, Config, LimitsConfig, QuizConfig};
use crate::runtime::edge::{EdgeSettings, GateSettings};
use crate::runtime::gateway::{EntropySource, GatewaySettings};
use crate::shard::config::{Admission, Compression, Downlink, LiveSettings, Slow, SlowPolicy};
use crate::shard::limits::ConnectionLimits;

/// An echo answers the longest message whole, behind one that is still on its way.
const ECHO_SPILL_BYTES: usize = 2 * CLIENT_MESSAGE_BYTES_MAX + 1024 * 1024;

/// How many shards a gateway has: as configured, or one per core.
#[must_use]
pub fn shard_count(config: &Config) -> u16 {
    if config.shards > 0 {
        return config.shards;
    }
    let cores = available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(SHARD_COUNT_MAX).min(SHARD_COUNT_MAX)
}

/// What `config` means for a gateway whose process may open `files` files.
///
/// # Panics
/// If `config` has no secrets: see [`Config::make_missing_secrets`].
#[must_use]
pub fn gateway_settings(config: &Config, files: Limit) -> GatewaySettings {
    let shards = shard_count(config);
    let net = &config.net;
    let limits = &config.limits;
    let quiz = &config.quiz;
    GatewaySettings {
        shards,
        buckets: quiz.bucket_count,
        listen: ListenSettings {
            backlog: net.backlog,
            send_buffer_bytes: Some(net.send_buffer_bytes),
            steer_by_cpu: net.steer_by_cpu,
            beside: net.share_port,
            ..ListenSettings::new(config.listen)
        },
        plane: plane_settings(config, shards, files),
        token_keys: Arc::new(token_keys(config)),
        token_policy: config.token_policy(),
        placement_key: config.placement_key(),
        ticket_key: config.ticket_key(),
        entropy: EntropySource::System,
        message_bytes_max: limits.message_bytes_max,
        spill_bytes_max: limits.spill_bytes,
        handshake_timeout_ms: millis(limits.handshake_timeout_ms),
        heartbeat_interval_ms: millis(limits.heartbeat_interval_ms),
        idle_timeout_ms: millis(limits.idle_timeout_ms),
        limits: connection_limits(config),
        edge: edge_settings(config),
        echo: false,
        admission: admission(quiz),
        downlink: downlink(config),
        chat: chat_settings(&config.chat),
        words: Arc::default(),
    }
}

/// What of `config` shards go on with while they run.
#[must_use]
pub fn live_settings(config: &Config) -> LiveSettings {
    LiveSettings {
        spill_bytes_max: config.limits.spill_bytes,
        handshake_timeout_ms: millis(config.limits.handshake_timeout_ms),
        limits: connection_limits(config),
        admission: admission(&config.quiz),
        downlink: downlink(config),
        chat: chat_settings(&config.chat),
    }
}

fn admission(quiz: &QuizConfig) -> Admission {
    Admission {
        mailbox_age_ms: millis(quiz.retry_mailbox_age_ms),
        turn_ms: millis(quiz.retry_turn_ms),
        force_retry_percent: quiz.force_retry_percent,
        retry_after_max_ms: millis(quiz.retry_delay_max_ms),
    }
}

fn downlink(config: &Config) -> Downlink {
    let rooms = &config.rooms;
    Downlink {
        tick_ms: millis(rooms.tick_ms),
        tick_max_ms: millis(rooms.tick_max_ms),
        large_members: rooms.large_members,
        low_rate_max: rooms.low_rate_max,
        info_interval_ms: millis(rooms.info_interval_ms),
        chat_per_minute: rooms.chat_per_minute,
        reconnects_per_s: rooms.reconnects_per_s,
        slow: Slow {
            age_ms: millis(rooms.slow_age_ms),
            bytes_max: rooms.slow_bytes_max,
            policies: rooms
                .slow_closes
                .map(|closes| if closes { SlowPolicy::Close } else { SlowPolicy::Gap }),
        },
        egress_bytes_per_s: config.egress.line_rate_mbit * 125_000 / u64::from(shard_count(config)),
        // Without a line there is nothing that a rate would protect.
        gift_rate_max: if config.egress.line_rate_mbit > 0 {
            config.egress.gift_rate_max
        } else {
            0
        },
        gift_bytes_max: config.egress.gift_bytes_max,
        compression: Compression {
            enabled: config.compression.enabled,
            bytes_min: config.compression.bytes_min,
            level: config.compression.level,
        },
        kept_kinds: rooms.kept_kinds.as_deref().and_then(|it| kinds(it).ok()).unwrap_or_default(),
    }
}

fn chat_settings(chat: &ChatConfig) -> ChatSettings {
    ChatSettings {
        text_bytes_max: chat.text_bytes_max,
        user_interval: Duration::from_millis(chat.user_interval_ms),
        user_burst: chat.user_burst,
        room_per_second: chat.room_per_second,
        duplicate_window: Duration::from_millis(chat.duplicate_window_ms),
        same_text_max: chat.same_text_max,
        like_interval: Duration::from_millis(chat.like_interval_ms),
        like_burst: chat.like_burst,
        opaque_allowed: chat.opaque_publish,
    }
}

/// What verifies tokens as the shards of `config` do.
#[must_use]
pub fn verifier_of(config: &Config) -> TokenVerifier {
    TokenVerifier::with_keys(Arc::new(token_keys(config)), config.token_policy())
}

fn token_keys(config: &Config) -> KeySet {
    match config.token_keys(config.auth.jwks.as_deref()) {
        Ok(jwks) => jwks.keys,
        Err(errors) => panic!("the configuration has checked its keys: {errors:?}"),
    }
}

/// Makes an echo for WebSocket conformance suites of a gateway: no tokens, no rooms, and messages
/// far longer than any client of ours sends, which need more than a small send buffer to flow.
#[must_use]
pub fn as_echo(settings: GatewaySettings) -> GatewaySettings {
    GatewaySettings {
        listen: ListenSettings { send_buffer_bytes: None, ..settings.listen },
        message_bytes_max: CLIENT_MESSAGE_BYTES_MAX,
        spill_bytes_max: ECHO_SPILL_BYTES,
        limits: ConnectionLimits::default(),
        edge: EdgeSettings::default(),
        echo: true,
        ..settings
    }
}

/// Limits on connecting.
#[must_use]
pub fn gate_settings(limits: &LimitsConfig) -> GateSettings {
    GateSettings {
        connections_per_address_max: limits.connections_per_address_max,
        connects_per_address_per_second_max: limits.connects_per_address_per_second_max,
        connects_per_second_max: limits.connects_per_second_max,
        ipv6_prefix_bits: limits.ipv6_prefix_bits,
        is_dry_run: limits.connects_dry_run,
    }
}

/// All but the certificates, which are in files.
fn edge_settings(config: &Config) -> EdgeSettings {
    let limits = &config.limits;
    let sources = config.proxy.sources.as_deref().unwrap_or_default();
    EdgeSettings {
        gate: gate_settings(limits),
        // The configuration was checked: a list that is none is not here.
        proxy_sources: Network::list(sources).unwrap_or_default().into(),
        proxy_timeout: Duration::from_millis(config.proxy.header_timeout_ms),
        tls: None,
        tls_timeout: Duration::from_millis(config.tls.handshake_timeout_ms),
    }
}

fn connection_limits(config: &Config) -> ConnectionLimits {
    let limits = &config.limits;
    let origins = limits.origins.as_deref().unwrap_or_default();
    ConnectionLimits {
        messages_per_second_max: limits.messages_per_second_max,
        pings_per_second_max: limits.pings_per_second_max,
        age_max_ms: millis(limits.age_max_ms),
        upgrade_bytes_max: limits.upgrade_bytes_max,
        origins: comma_separated(origins).map(str::to_owned).collect(),
    }
}

/// Every shard gets an equal part of the connections, in rings whose tables the limit of open
/// files allows.
fn plane_settings(config: &Config, shards: u16, files: Limit) -> PlaneSettings {
    let net = &config.net;
    let per_shard = config.limits.connections_max.div_ceil(u32::from(shards));
    // A table as large as the limit allows, because every ring costs a look in every turn; rounded
    // down, so that the numbers of places have no gaps between rings.
    let files = u32::try_from(files.soft).unwrap_or(u32::MAX).max(1);
    let slots_per_ring = match net.slots_per_ring {
        wanted if wanted > files => 1 << files.ilog2(),
        wanted => wanted,
    };
    let slots_per_ring = slots_per_ring.min(per_shard);
    let defaults = PlaneSettings::default();
    PlaneSettings {
        slots_per_ring,
        rings_max: net.rings_max.min(per_shard.div_ceil(slots_per_ring)),
        sq_entries: defaults.sq_entries.min(net.completion_entries),
        cq_entries: net.completion_entries,
        ..defaults
    }
}

/// The configuration allows thirty days at most.
fn millis(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;

    fn settings(change: impl FnOnce(&mut Config), files: u64) -> GatewaySettings {
        let mut config = Config::default();
        config.make_missing_secrets(&mut SeededEntropy::new(1, 1));
        change(&mut config);
        gateway_settings(&config, Limit { soft: files, hard: files })
    }

    #[test]
    fn connections_are_spread_over_shards_and_rings() {
        // connections_max, shards, slots, rings, files → slots, rings of each shard
        for (connections, shards, slots, rings, files, expected) in [
            (1_000_000, 2, 16_384, 64, 20_000, (16_384, 31)),
            (1_000_000, 2, 16_384, 8, 20_000, (16_384, 8)),
            (1_000_000, 2, 16_384, 64, 1_024, (1_024, 64)),
            (1_000_000, 2, 131_072, 64, 20_000, (16_384, 31)),
            (1_000_000, 2, 131_072, 64, 524_288, (131_072, 4)),
            (1_000_000, 16, 131_072, 64, 524_288, (62_500, 1)),
            (100, 1, 16_384, 64, 20_000, (100, 1)),
            (101, 2, 64, 64, 20_000, (51, 1)),
            (129, 1, 64, 64, 20_000, (64, 3)),
            (1, 4, 64, 64, 20_000, (1, 1)),
        ] {
            let settings = settings(
                |config| {
                    config.limits.connections_max = connections;
                    config.shards = shards;
                    config.net.slots_per_ring = slots;
                    config.net.rings_max = rings;
                },
                files,
            );
            assert_eq!((settings.plane.slots_per_ring, settings.plane.rings_max), expected);
        }
    }

    #[test]
    fn a_small_completion_queue_has_a_submission_queue_no_larger() {
        let settings = settings(|config| config.net.completion_entries = 64, 20_000);
        assert_eq!((settings.plane.sq_entries, settings.plane.cq_entries), (64, 64));
    }

    #[test]
    fn without_a_number_there_is_a_shard_for_each_core() {
        let cores = available_parallelism().expect("a number of cores").get();
        assert_eq!(usize::from(settings(|_| {}, 20_000).shards), cores.min(256));
    }

    #[test]
    fn the_defaults_of_chat_are_the_same_everywhere() {
        assert_eq!(settings(|_| {}, 20_000).chat, ChatSettings::default());
    }

    #[test]
    fn an_echo_holds_two_of_the_longest_messages() {
        let echo = as_echo(settings(|_| {}, 20_000));
        assert!(echo.echo && echo.spill_bytes_max > 2 * echo.message_bytes_max);
    }
}
