//! Keys of what stands beside the shards: payouts, the log, the REST for players, what stays of the
//! journal, and how the gateway is drained.

use std::net::SocketAddr;

use super::{DAY_MS, HOUR_MS, Key, Kind, is_networks, is_origins, key};
use crate::base::limits;
use crate::ops::config::checks::{is_gateways, is_payout_url, payout_secret};
use crate::ops::log::{LogFormat, LogLevel, is_filter};
use crate::ops::players::check_template;

/// In the order of the example.
pub(super) static KEYS: &[Key] = &[
    key(
        "payouts",
        "url",
        Kind::Text { check: is_payout_url, place: |config| &mut config.payouts.url },
        "Where withdrawals are sent, signed: the operator's balance system, https://, or http:// to a \
         private address or a name. Without it they wait in the ledger.",
    ),
    key(
        "payouts",
        "secret",
        Kind::Secret {
            read: payout_secret,
            shape: "at least 32 bytes of text",
            place: |config| &mut config.payouts.secret,
        },
        "The secret that those requests are signed with.",
    ),
    key(
        "payouts",
        "secret_file",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.payouts.secret_file },
        "A file with that secret, instead; one line end after it is cut off.",
    ),
    key(
        "payouts",
        "certificates_file",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.payouts.certificates_file },
        "Certificates to trust in place of the public ones (PEM).",
    ),
    key(
        "payouts",
        "timeout_ms",
        integer!(payouts.timeout_ms, 10, 600_000),
        "How long one try may take.",
    ),
    key(
        "payouts",
        "concurrency",
        integer!(payouts.concurrency, 1, limits::PAYOUT_CONCURRENCY_MAX),
        "Payouts under way at the same time; of one player there is one.",
    ),
    key(
        "payouts",
        "tries_max",
        integer!(payouts.tries_max, 1, 1_000_000),
        "Tries before a payout is a dead letter.",
    ),
    key(
        "payouts",
        "backoff_ms",
        integer!(payouts.backoff_ms, 1, 60_000),
        "The wait after a first failure; twice as long after each further one.",
    ),
    key(
        "payouts",
        "backoff_max_ms",
        integer!(payouts.backoff_max_ms, 1, DAY_MS),
        "The longest wait.",
    ),
    key(
        "log",
        "level",
        Kind::Choice {
            words: LogLevel::WORDS,
            set: |config, index| config.log.level = LogLevel::ALL[index],
            get: |config| config.log.level as usize,
        },
        "The least important level that is written: error, warn, info, debug or trace.",
    ),
    key(
        "log",
        "format",
        Kind::Choice {
            words: LogFormat::WORDS,
            set: |config, index| config.log.format = LogFormat::ALL[index],
            get: |config| config.log.format as usize,
        },
        "text for people, json for machines (one object a line).",
    ),
    key(
        "log",
        "filter",
        Kind::Text { check: is_filter, place: |config| &mut config.log.filter },
        "Levels by module in place of `level`, for example \"info,tidegate::net=debug\".",
    ),
    key(
        "player_api",
        "listen",
        Kind::Text { check: is_address, place: |config| &mut config.player_api.listen },
        "Where players ask by HTTP for shows, leaderboards and what they have, such as \
         \"0.0.0.0:8092\"; plain HTTP, for a proxy that speaks TLS. Without it, nowhere.",
    ),
    key(
        "player_api",
        "origins",
        Kind::Text { check: is_origins, place: |config| &mut config.player_api.origins },
        "Origins of the pages that may read its answers (CORS), parted by commas; \"*\" is all. Without \
         it, pages of no other origin than its own.",
    ),
    key(
        "player_api",
        "proxies",
        Kind::Text { check: is_networks, place: |config| &mut config.player_api.proxies },
        "Networks of proxies, parted by commas: what comes from there counts as the request of the \
         address that X-Forwarded-For names last.",
    ),
    key(
        "player_api",
        "connections_max",
        integer!(player_api.connections_max, 1, 65_536),
        "Connections at the same time; more wait in the backlog.",
    ),
    key(
        "player_api",
        "requests_per_address_per_second_max",
        integer!(player_api.requests_per_address_per_second_max, 0, 1_000_000),
        "Requests of one address within a second, as many at once; more are refused with 429. 0: no \
         limit. Thousands of people may share a carrier's address.",
    ),
    key(
        "player_api",
        "requests_per_user_per_second_max",
        integer!(player_api.requests_per_user_per_second_max, 0, 1_000_000),
        "Requests with tokens of one user within a second, as many at once; more are refused with \
         429. 0: no limit.",
    ),
    key(
        "player_api",
        "share_url",
        Kind::Text {
            check: |text| check_template(text, true),
            place: |config| &mut config.player_api.share_url,
        },
        "The link that a player shares: {code} becomes the player's invitation code, {show} the \
         show's id; {title} and {prize} are known, too. Without it, nothing is to be shared.",
    ),
    key(
        "player_api",
        "share_text",
        Kind::Text {
            check: |text| check_template(text, false),
            place: |config| &mut config.player_api.share_text,
        },
        "What is said with the link, in which {url} becomes that; \"{title}: {url}\" by default.",
    ),
    key(
        "journal",
        "keep_runs",
        integer!(journal.keep_runs, 1, 1_000_000),
        "Runs of the process whose journals stay whatever their age, the present one included.",
    ),
    key(
        "journal",
        "keep_days",
        integer!(journal.keep_days, 0, 36_500),
        "Days that an older run's journal stays after the run's end: for so long its shows can be \
         exported and explained. 0: it goes at the next start. None goes before the ledger has it.",
    ),
    key(
        "drain",
        "spread_ms",
        integer!(drain.spread_ms, 0, HOUR_MS),
        "The time over which connections are asked to leave, evenly, after SIGTERM and where the \
         operator says nothing else. 0: all at once.",
    ),
    key(
        "drain",
        "countdown_wait_max_ms",
        integer!(drain.countdown_wait_max_ms, 0, HOUR_MS),
        "How long a drain waits before that for the end of countdowns that run. 0: it does not.",
    ),
    key(
        "drain",
        "to",
        Kind::Text { check: is_gateways, place: |config| &mut config.drain.to },
        "Gateways that clients are sent to then, each client to one of them in turn: wss:// or ws://, \
         parted by commas. Without it they come back to where they came from.",
    ),
];

fn is_address(text: &str) -> Result<(), String> {
    match text.parse::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(format!("`{text}` is no address with a port, such as 127.0.0.1:8092 or [::]:8092"))
        }
    }
}
