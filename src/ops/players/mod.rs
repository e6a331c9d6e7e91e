//! The REST for players: what a page or an app asks beside its WebSocket. Shows as the public may
//! see them, leaderboards, what a player got, invitations, links to share, withdrawals.
//!
//! It has an address, a thread and limits of its own, off the shard cores, and takes the same tokens
//! as the WebSocket. Signatures are verified here; whether a token was revoked, its user's shard
//! says. What does something goes into the user's bucket as on a WebSocket.
//!
//! Invariants: whatever is answered before a reveal is the same whatever the right answer is; what
//! grows with who asks (rates by address and user) is bounded; nothing waits for the ledger's file
//! but threads for that.

mod api;
mod bonuses;
mod gate;
pub(crate) mod reply;
mod share;
mod shows;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::auth::token::TokenVerifier;
use crate::base::addresses::Network;
use crate::ledger::reader::BookReader;
use crate::ops::config::Config;
use crate::ops::config::checks::comma_separated;
use crate::ops::http::{HttpError, HttpPlace, HttpServer};
use crate::ops::plans::Plans;
use crate::ops::players::share::Templates;
pub(crate) use crate::ops::players::share::check_template;
use crate::runtime::clock::Clock;
use crate::runtime::operator::Caller;

/// How it is set.
#[derive(Clone, Debug, Default)]
pub struct PlayerSettings {
    /// Which pages of other origins may read the answers.
    pub origins: Origins,
    /// Peers that are believed when they say for whom they ask.
    pub proxies: Vec<Network>,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Requests of one address within a second, as many at once; 0: any number.
    pub address_rate: u32,
    /// Requests with one user's token within a second, as many at once; 0: any number.
    pub user_rate: u32,
    /// Leading bits of an IPv6 address that count as one.
    pub ipv6_prefix_bits: u8,
    /// The link to be shared.
    pub share_url: Option<String>,
    /// What is said with it.
    pub share_text: Option<String>,
}

/// Origins of pages, as browsers name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages of no other origin.
    #[default]
    None,
    /// Pages of every origin.
    All,
    /// These.
    Some(Vec<String>),
}

impl Origins {
    /// Those in a list that is parted by commas; `*` is all.
    #[must_use]
    pub fn of(list: Option<&str>) -> Origins {
        let origins: Vec<String> =
            comma_separated(list.unwrap_or_default()).map(str::to_owned).collect();
        match &*origins {
            [] => Origins::None,
            some if some.iter().any(|origin| origin == "*") => Origins::All,
            _ => Origins::Some(origins),
        }
    }
}

impl PlayerSettings {
    /// Where it listens and how it is set, where the configuration says so.
    #[must_use]
    pub fn of(config: &Config) -> Option<(SocketAddr, PlayerSettings)> {
        let keys = &config.player_api;
        let listen = keys.listen.as_deref()?.parse().ok()?;
        let settings = PlayerSettings {
            origins: Origins::of(keys.origins.as_deref()),
            proxies: Network::list(keys.proxies.as_deref().unwrap_or_default()).unwrap_or_default(),
            connections_max: usize::try_from(keys.connections_max).unwrap_or(usize::MAX),
            address_rate: keys.requests_per_address_per_second_max,
            user_rate: keys.requests_per_user_per_second_max,
            ipv6_prefix_bits: config.limits.ipv6_prefix_bits,
            share_url: keys.share_url.clone(),
            share_text: keys.share_text.clone(),
        };
        Some((listen, settings))
    }
}

/// What was asked, for metrics.
#[derive(Debug, Default)]
pub struct PlayerCounts {
    requests: AtomicU64,
    too_many: AtomicU64,
    tokens_refused: AtomicU64,
    failed: AtomicU64,
}

impl PlayerCounts {
    /// Names, what they count, and how much.
    #[must_use]
    pub fn series(&self) -> [(&'static str, &'static str, u64); 4] {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            (
                "tidegate_player_api_requests_total",
                "Requests of players over HTTP, whatever became of them.",
                now(&self.requests),
            ),
            (
                "tidegate_player_api_rate_limited_total",
                "Of those, refused because their address or user asked too often.",
                now(&self.too_many),
            ),
            (
                "tidegate_player_api_tokens_refused_total",
                "Of those, refused because of their token.",
                now(&self.tokens_refused),
            ),
            (
                "tidegate_player_api_failed_total",
                "Of those, failed by a fault on this side (5xx).",
                now(&self.failed),
            ),
        ]
    }

    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whom it asks.
pub struct PlayerView {
    /// How it is set.
    pub settings: PlayerSettings,
    /// The shards.
    pub caller: Caller,
    /// Shows that have not begun; nothing: there are none.
    pub plans: Option<Plans>,
    /// The clock of the shards.
    pub clock: Clock,
    /// Verifies tokens, with the newest keys.
    pub verifier: watch::Receiver<Arc<TokenVerifier>>,
    /// The folder of the ledger, if there is one.
    pub book: Option<Arc<BookReader>>,
    /// What metrics show.
    pub counts: Arc<PlayerCounts>,
}

impl PlayerView {
    /// The reader of the book in a deployment's folder.
    #[must_use]
    pub fn book_of(data: Option<&Path>) -> Option<Arc<BookReader>> {
        data.map(|folder| Arc::new(BookReader::new(folder)))
    }
}

/// The running server.
pub struct PlayerHttp(HttpServer);

impl PlayerHttp {
    /// Listens on `address` and answers until it is stopped. Port 0 takes a free one.
    ///
    /// # Errors
    /// If the address or the thread cannot be had.
    pub fn start(address: SocketAddr, view: PlayerView) -> Result<PlayerHttp, HttpError> {
        let place = HttpPlace {
            key: "player_api.listen",
            address,
            thread: "players",
            connections_max: view.settings.connections_max,
        };
        let server = HttpServer::start(&place, api::router(view))?;
        tracing::info!(address = %server.local_address(), "player HTTP is listening");
        Ok(PlayerHttp(server))
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.0.local_address()
    }

    /// Takes no more connections, and lets requests that are under way end.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// Everything that a request is answered from.
struct Desk {
    view: PlayerView,
    gate: gate::Gate,
    shows: shows::Shows,
    templates: Templates,
    boards: bonuses::Boards,
}

impl Desk {
    fn new(view: PlayerView) -> Desk {
        let gate = gate::Gate::new(&view.settings);
        let templates = Templates::of(&view.settings);
        Desk {
            view,
            gate,
            shows: shows::Shows::default(),
            templates,
            boards: bonuses::Boards::default(),
        }
    }

    fn now_unix_s(&self) -> i64 {
        let clock = &self.view.clock;
        clock.display().unix_ms(clock.now()).div_euclid(1_000)
    }
}

/// Whether a peer is one of the proxies.
fn is_proxy(proxies: &[Network], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(address))
}
