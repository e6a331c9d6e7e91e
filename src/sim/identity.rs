//! Tokens that end: by their time, or because an operator revokes their user at some moment. The
//! client then fetches a newer one, as a person who signs in again does.

use std::time::Duration;

use crate::auth::revocation::Revocation;
use crate::auth::token::{NewToken, mint};
use crate::base::ids::UserId;
use crate::base::time::Time;
use crate::shard::operator::OperatorRequest;
use crate::sim::checkers::Promise;
use crate::sim::dice::Dice;
use crate::sim::operator::REVOKE;
use crate::sim::player::Act;
use crate::sim::setup::Setup;
use crate::sim::world::{CLOCK, SECRET, World};
use crate::wire::proto::Reason;

/// By how much a token outlives its end (the default of the verifier).
const LEEWAY_S: i64 = 5;
/// How long a shard may take to close what must be closed: slow mail there and back, pauses, the
/// patrol's round, and a reader that does not take what is said to it before the end.
const CLOSE_PATIENCE: Duration = Duration::from_millis(12_000);

/// How tokens end in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// Players whose tokens last for seconds only, of a hundred.
    short_lived_percent: u64,
    /// Players that an operator revokes once, of a hundred.
    revoked_percent: u64,
}

impl Identity {
    /// Nobody is revoked: that ends with the process.
    pub(crate) fn steady() -> Identity {
        Identity { short_lived_percent: 0, revoked_percent: 0 }
    }

    pub(crate) fn new(seed: u64) -> Identity {
        let mut dice = Dice::new(seed, 11);
        Identity {
            short_lived_percent: dice.pick(&[0, 0, 20]),
            revoked_percent: dice.pick(&[0, 0, 15]),
        }
    }
}

/// A token, and what its holder knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) token: String,
    issued_s: i64,
    expires_s: i64,
    lifetime_s: u32,
    /// It was refused: the next connection needs another one.
    is_refused: bool,
}

impl Credentials {
    pub(crate) fn new(setup: &Setup, place: usize) -> Credentials {
        let mut dice = Dice::new(setup.seed, 30_000 + place as u64);
        let is_short = dice.below(100) < setup.identity.short_lived_percent;
        let lifetime_s = if is_short { dice.pick(&[1, 3, 6]) } else { 86_400 };
        Credentials::issued(place, CLOCK.zero_unix_ms / 1_000, lifetime_s)
    }

    fn issued(place: usize, issued_unix_s: i64, lifetime_s: u32) -> Credentials {
        let user = UserId(place as u64 + 1);
        let token = mint(SECRET, NewToken { user, issued_unix_s, lifetime_s, audience: None });
        let expires_s = issued_unix_s + i64::from(lifetime_s);
        Credentials { token, issued_s: issued_unix_s, expires_s, lifetime_s, is_refused: false }
    }

    /// When and until when it was issued.
    pub(crate) fn times(&self) -> (i64, i64) {
        (self.issued_s, self.expires_s)
    }
}

/// Where and when a user's revocation was applied, and up to which `iat`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied {
    at: Time,
    issued_until_s: i64,
}

fn unix_s(at: Time) -> i64 {
    CLOCK.unix_ms(at) / 1_000
}

impl World {
    /// Some users are to be revoked at some moment.
    pub(crate) fn schedule_revocations(&mut self) {
        let mut dice = Dice::new(self.setup.seed, 12);
        for player in 0..self.players.len() {
            if dice.below(100) < self.setup.identity.revoked_percent {
                let delay = dice.millis(500, 9_000);
                self.later(player, delay, Act::Revoke);
            }
        }
    }

    /// An operator revokes the player's user, on all shards.
    pub(crate) fn revoke(&mut self, player: usize) {
        self.races.revocations += 1;
        let user = self.players[player].user;
        let hosts = self.hosts.len();
        self.watch.revoked.entry(player).or_insert_with(|| vec![None; hosts]);
        for host in 0..hosts {
            let revocation =
                Revocation::User { user, issued_until_unix_s: None, refused_until_unix_s: None };
            let request = OperatorRequest::Revoke(revocation);
            self.hosts[host].calls.push_back((REVOKE, request));
            self.wake(host, self.now);
        }
    }

    /// A shard is about to apply a revocation.
    pub(crate) fn see_revocation(&mut self, host: usize, request: &OperatorRequest) {
        let OperatorRequest::Revoke(Revocation::User { user, .. }) = request else { return };
        let player = usize::try_from(user.0 - 1).unwrap_or(usize::MAX);
        let (at, issued_until_s) = (self.now, unix_s(self.now));
        if let Some(applied) = self.watch.revoked.get_mut(&player) {
            applied[host] = Some(Applied { at, issued_until_s });
        }
    }

    /// Before a connection: another token where the last one was refused.
    pub(crate) fn fresh_token(&mut self, player: usize) {
        let held = &self.players[player].credentials;
        if held.is_refused {
            let issued = Credentials::issued(player, unix_s(self.now), held.lifetime_s);
            self.players[player].credentials = issued;
        }
    }

    /// A token was refused, or ended on a living connection: only for a reason.
    pub(crate) fn token_refused(&mut self, link: usize, reason: Option<Reason>) {
        let (player, (_, expires_s)) = (self.links[link].player, self.links[link].token);
        let is_revoked = self.watch.revoked.contains_key(&player);
        let is_expired = unix_s(self.now) >= expires_s;
        let holds = match reason {
            Some(Reason::TokenRevoked) => is_revoked,
            Some(Reason::TokenExpired) => is_expired,
            None => is_revoked || is_expired,
            Some(_) => false,
        };
        self.races.tokens_expired += u64::from(is_expired);
        self.findings.check(holds, Promise::Tokens, || {
            format!("link {link}: the token was refused for nothing: {reason:?}")
        });
        self.links[link].token_ended = true;
        if self.links[link].token == self.players[player].credentials.times() {
            self.players[player].credentials.is_refused = true;
        }
    }

    /// A client heard something else than a refusal: its token must not have been revoked on that
    /// shard before it connected.
    pub(crate) fn check_token_holds(&mut self, link: usize) {
        let ended = self.links[link].token_ended;
        self.findings.check(!ended, Promise::Tokens, || {
            format!("link {link} was told something after the end of its token")
        });
        if let Some(applied) = self.revoked_on(link) {
            let accepted_at = self.links[link].accepted_at;
            self.findings.check(accepted_at <= applied.at, Promise::Tokens, || {
                format!("link {link} was let in with a token revoked before: {applied:?}")
            });
        }
    }

    /// The revocation, on the shard of a connection, that its token falls under.
    fn revoked_on(&self, link: usize) -> Option<Applied> {
        let it = &self.links[link];
        let applied = self.watch.revoked.get(&it.player)?[it.host]?;
        (it.token.0 <= applied.issued_until_s).then_some(applied)
    }

    /// At the end of a run: whose token ended, or was revoked, was closed in time.
    pub(crate) fn check_tokens_ended(&mut self) {
        for link in 0..self.links.len() {
            let it = &self.links[link];
            let end_s = it.token.1 + LEEWAY_S - CLOCK.zero_unix_ms / 1_000;
            let expires = Time::from_millis(u64::try_from(end_s * 1_000).unwrap_or(u64::MAX));
            let revoked = self.revoked_on(link).map_or(Time::NEVER, |applied| applied.at);
            let ended = expires.min(revoked).max(it.accepted_at);
            let closed = if it.server_open { self.now } else { it.server_closed_at };
            self.findings.check(closed <= ended + CLOSE_PATIENCE, Promise::Tokens, || {
                format!("link {link} outlived its token, which ended at {ended}, until {closed}")
            });
        }
    }
}
