//! Keys of what stands beside the shards: the REST for players, and what stays of the journal.

use std::net::SocketAddr;

use super::{Key, Kind, is_networks, is_origins, key};
use crate::ops::players::check_template;

/// In the order of the example.
pub(super) static KEYS: &[Key] = &[
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
];

fn is_address(text: &str) -> Result<(), String> {
    match text.parse::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(format!("`{text}` is no address with a port, such as 127.0.0.1:8092 or [::]:8092"))
        }
    }
}
