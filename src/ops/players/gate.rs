//! Who asks, how often, and from where: what stands before every request.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};

use crate::auth::token::{Claims, TokenError};
use crate::base::addresses::AddressKey;
use crate::base::ids::UserId;
use crate::base::limits::PLAYER_RATES_MAX;
use crate::base::time::Time;
use crate::chat::pace::Pace;
use crate::ops::http::ApiError;
use crate::ops::players::reply::failure;
use crate::ops::players::{Desk, PlayerCounts, PlayerSettings, is_proxy};
use crate::runtime::operator::CallError;
use crate::shard::operator::{OperatorAnswer, OperatorRequest};
use crate::shard::players::{PlayerAsk, PlayerRequest, TokenHolder};
use crate::wire::proto::response::Payload;

#[expect(clippy::disallowed_types, reason = "the players' own thread; no shard waits for it")]
type Mutex<T> = std::sync::Mutex<T>;

/// How long a shard may take: what it promises waits for the journal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A full table is looked through so often at most.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
/// Who is refused for want of a place in a table.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// Rates by address and by user.
pub(super) struct Gate {
    addresses: Rates,
    users: Rates,
}

impl Gate {
    pub(super) fn new(settings: &PlayerSettings) -> Gate {
        Gate { addresses: Rates::new(settings.address_rate), users: Rates::new(settings.user_rate) }
    }
}

struct Rates {
    pace: Option<Pace>,
    table: Mutex<Table>,
}

/// When each one's bucket is full again. Who asked for nothing lately needs no place.
#[derive(Default)]
struct Table {
    full_at: BTreeMap<u64, Time>,
    /// When those who need no place were looked for.
    swept_at: Option<Time>,
}

impl Rates {
    fn new(per_second: u32) -> Rates {
        let pace = (per_second > 0).then(|| Pace::share(per_second, 1));
        Rates { pace, table: Mutex::default() }
    }

    /// Lets one request through, or says how long to wait.
    fn take(&self, who: u64, now: Time) -> Result<(), Duration> {
        let Some(pace) = &self.pace else { return Ok(()) };
        let mut table = lock(&self.table);
        let Table { full_at, swept_at } = &mut *table;
        let known = full_at.get(&who).copied();
        if known.is_none() && full_at.len() >= PLAYER_RATES_MAX {
            // A bucket that is full is like none. If there are too many that are not: nobody new now.
            // Whoever makes so many must not make us look through all of them each time.
            if swept_at.is_none_or(|swept_at| now.since(swept_at) >= SWEEP_INTERVAL) {
                full_at.retain(|_, full_at| *full_at > now);
                *swept_at = Some(now);
            }
            if full_at.len() >= PLAYER_RATES_MAX {
                return Err(FULL_WAIT);
            }
        }
        let then = pace.take(known.unwrap_or(now), now, 1)?;
        full_at.insert(who, then);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer that says to wait.
pub(super) struct TooMany(pub(super) Duration);

impl Desk {
    /// Counts a request of an address.
    pub(super) fn admit_address(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), TooMany> {
        let settings = &self.view.settings;
        let address = client_address(settings, peer, headers);
        let key = AddressKey::new(address, settings.ipv6_prefix_bits).bits();
        self.gate.addresses.take(key, self.view.clock.now()).map_err(TooMany)
    }

    /// Who holds the token of a request, as the token says: to be confirmed by the user's shard.
    pub(super) fn holder(&self, headers: &HeaderMap) -> Result<TokenHolder, ApiError> {
        let verified = self.verified(headers);
        if verified.is_err() {
            PlayerCounts::count(&self.view.counts.tokens_refused);
        }
        let Claims { user, issued_unix_s, token_id, .. } = verified?;
        let now = self.view.clock.now();
        self.gate.users.take(user.0, now).map_err(|wait| too_many(wait, "this user"))?;
        Ok(TokenHolder { user, issued_unix_s, token_id: token_id.map(Into::into) })
    }

    fn verified(&self, headers: &HeaderMap) -> Result<Claims, ApiError> {
        let denied = |code, message: String| ApiError::new(StatusCode::UNAUTHORIZED, code, message);
        // RFC 6750 §2.1; the scheme's name is in any case (RFC 9110 §11.1).
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_at_checked("Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer "))
            .map(|(_, token)| token);
        let Some(token) = token else {
            let message = "send the access token: `Authorization: Bearer TOKEN`".to_owned();
            return Err(denied("not_authenticated", message));
        };
        let verifier = self.view.verifier.borrow().clone();
        verifier.verify(token, self.now_unix_s()).map_err(|error| {
            let code = match error {
                TokenError::Expired { .. } => "token_expired",
                _ => "token_invalid",
            };
            denied(code, error.to_string())
        })
    }

    /// The user of a request, whose token its shard has not revoked.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Result<UserId, ApiError> {
        let holder = self.holder(headers)?;
        let user = holder.user;
        self.ask(holder, PlayerAsk::Admittance).await.map(|_| user)
    }

    /// Asks the user's shard in the name of a token's holder.
    pub(super) async fn ask(
        &self,
        holder: TokenHolder,
        ask: PlayerAsk,
    ) -> Result<Option<Payload>, ApiError> {
        let request = OperatorRequest::Player(PlayerRequest { holder, ask });
        match self.ask_shards(request).await? {
            OperatorAnswer::Player(said) => said.map_err(|refused| {
                if (100..=106).contains(&refused.reason) {
                    PlayerCounts::count(&self.view.counts.tokens_refused);
                }
                failure(&refused)
            }),
            other => panic!("a shard answered a player with {other:?}"),
        }
    }

    pub(super) async fn ask_shards(
        &self,
        request: OperatorRequest,
    ) -> Result<OperatorAnswer, ApiError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.view.caller.ask(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(CallError::Refused(error))) => {
                let message = error.to_string();
                Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message))
            }
            Ok(Err(CallError::NoAnswer(_) | CallError::Draining)) => Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the gateway is busy or stopping, and nothing was done: ask again in a second",
            )),
            Err(_) => Err(ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "no_answer",
                "no answer within 5 s: this may be done or not; ask again, with the same key",
            )),
        }
    }
}

pub(super) fn too_many(wait: Duration, who: &str) -> ApiError {
    let wait_ms = wait.as_millis().max(1);
    let message = format!("{who} asks too often; wait {wait_ms} ms");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
}

/// For whom a peer asks: itself, or whom a proxy that is believed names last (the entries before
/// that are whatever the client wrote).
fn client_address(settings: &PlayerSettings, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !is_proxy(&settings.proxies, peer) {
        return peer;
    }
    let named = headers.get_all("x-forwarded-for").iter().rev();
    let named = named.filter_map(|value| value.to_str().ok()).flat_map(|list| list.rsplit(','));
    let mut client = peer;
    for name in named {
        let Ok(address) = name.trim().parse() else { break };
        client = address;
        if !is_proxy(&settings.proxies, address) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addresses::Network;

    #[test]
    fn rates_are_bounded_and_forget_who_is_quiet() {
        let rates = Rates::new(2);
        let at = Time::from_millis;
        assert_eq!((rates.take(1, at(0)), rates.take(1, at(0))), (Ok(()), Ok(())));
        assert_eq!(rates.take(1, at(0)), Err(Duration::from_millis(500)));
        assert_eq!(rates.take(1, at(500)), Ok(()));
        assert_eq!(rates.take(2, at(500)), Ok(()), "another one has a bucket of its own");
        for who in 3..=PLAYER_RATES_MAX as u64 {
            assert_eq!(rates.take(who, at(600)), Ok(()));
        }
        assert_eq!(
            rates.take(u64::MAX, at(600)),
            Err(FULL_WAIT),
            "nobody new, and nobody known out"
        );
        assert_eq!(rates.take(3, at(600)), Ok(()));
        assert_eq!(rates.take(u64::MAX, at(5_000)), Ok(()));
        assert_eq!(lock(&rates.table).full_at.len(), 1);
        assert_eq!(Rates::new(0).take(1, at(0)), Ok(()), "no limit keeps nothing");
    }

    #[test]
    fn only_proxies_are_believed() {
        let settings = PlayerSettings {
            proxies: Network::list("10.0.0.0/8").expect("networks"),
            ..PlayerSettings::default()
        };
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // What stands before was written by the client.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().expect("a value"));
            }
            let peer = peer.parse().expect("an address");
            let found = client_address(&settings, peer, &headers);
            assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
