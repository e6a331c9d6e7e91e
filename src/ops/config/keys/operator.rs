//! Keys of what operators reach.

use super::{HOUR_MS, Key, Kind, key};
use crate::ops::config::checks::operator_token;

pub(super) static KEYS: &[Key] = &[
    key(
        "operator",
        "listen",
        Kind::Address(|config| &mut config.operator.listen),
        "Where metrics, health and the operator API are served. Keep it away from players.",
    ),
    key(
        "operator",
        "token",
        Kind::Secret {
            read: operator_token,
            shape: "at least 16 bytes of text",
            place: |config| &mut config.operator.token,
        },
        "The bearer token of the operator API. Without it only loopback peers may use the API.",
    ),
    key(
        "operator",
        "health_stale_ms",
        integer!(operator.health_stale_ms, 500, HOUR_MS),
        "How long a shard may show no sign of life before /healthz fails.",
    ),
    key(
        "operator",
        "accounts_file",
        Kind::Text { check: |_| Ok(()), place: |config| &mut config.operator.accounts_file },
        "The accounts of the operations console, /console/ on this address; without it there is no \
         console. `tidegate account add` writes it, and it is read again when it changes.",
    ),
    key(
        "operator",
        "session_idle_s",
        integer!(operator.session_idle_s, 60, 86_400),
        "How long a login of the console lives without a request; an open page asks all the time.",
    ),
    key(
        "operator",
        "session_max_s",
        integer!(operator.session_max_s, 60, 30 * 86_400),
        "How long a login of the console lives in all.",
    ),
    key(
        "operator",
        "cookie_secure",
        Kind::Boolean(|config| &mut config.operator.cookie_secure),
        "The console's cookies are for TLS only. Without it they are where a proxy says so \
         (`X-Forwarded-Proto: https`).",
    ),
];
