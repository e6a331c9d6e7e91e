//! Who may connect and what each may do: tokens, their refresh and their revocation.
//!
//! What a connection's token says is kept where it costs least: who and until when in the
//! connection itself, eight bytes for its name (`jti`) and four for what it restricts only where
//! tokens have such claims.
//!
//! A revocation is applied by every shard to its own table, before it is answered. A shard then
//! asks the user's home whose session it is; the home answers behind all that was posted before, so
//! no connection that this shard let in earlier is missed, wherever its session stands by then.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use crate::auth::bans::Bans;
use crate::auth::keys::KeySet;
use crate::auth::revocation::{Lifetimes, Revocation, Revocations, Subject, UserRevocation};
use crate::auth::token::{Claims, Permission, TokenError, TokenVerifier, unverified};
use crate::base::hash::PlacementKey;
use crate::base::ids::{ConnId, UserId};
use crate::room::log::low_bits;
use crate::shard::Shard;
use crate::shard::banning::told_until_ms;
use crate::shard::column::Column;
use crate::shard::conn::{JoinWish, NO_ROOM, clock_ms};
use crate::shard::mail::{Mail, SessionEnd};
use crate::shard::messages;
use crate::shard::operator::{OperatorAnswer, OperatorError};
use crate::shard::players::TokenHolder;
use crate::shard::session::{Event, State};
use crate::shard::standing::StandingRecord;
use crate::wire::close::CloseReason;
use crate::wire::codec::{ERROR_TOKEN_REFUSED, TYPE_AUTHENTICATE};
use crate::wire::proto;

static EVERYTHING: Permission = Permission::EVERYTHING;

/// What a shard knows of tokens.
pub(crate) struct Access {
    verifier: TokenVerifier,
    revocations: Revocations,
    /// Everybody who is banned.
    pub(crate) bans: Bans,
    /// Those who live here: other shards' copies are bounded by these.
    pub(crate) own_bans: Bans,
    check_key: PlacementKey,
    /// Names of tokens are hashed with it: the same in every run, because revocations are on record.
    id_key: PlacementKey,
    /// A keyed hash of each connection's `jti`; 0: it has none.
    token_ids: Column<u64>,
    /// `iat` of each connection's token, Unix seconds; 0: it has none, or the place is free.
    issued_s: Column<u32>,
    permissions: Permissions,
}

/// What connections may do. Few permissions differ, so each is kept once.
#[derive(Default)]
struct Permissions {
    numbers: BTreeMap<Arc<Permission>, u32>,
    /// By number less one, with how many connections have it.
    kept: Vec<(Arc<Permission>, u32)>,
    free: Vec<u32>,
    /// The number of each connection's; 0: everything.
    of: Column<u32>,
}

impl Permissions {
    fn get(&self, place: u32) -> &Permission {
        match self.of.get(place) {
            0 => &EVERYTHING,
            number => &self.kept[number as usize - 1].0,
        }
    }

    fn set(&mut self, place: u32, permission: Permission) {
        self.clear(place);
        if permission == EVERYTHING {
            return;
        }
        let permission = Arc::new(permission);
        let number = match self.numbers.get(&permission) {
            Some(number) => *number,
            None => self.keep(permission),
        };
        self.kept[number as usize - 1].1 += 1;
        self.of.set(place, number);
    }

    fn keep(&mut self, permission: Arc<Permission>) -> u32 {
        let entry = (Arc::clone(&permission), 0);
        let number = if let Some(number) = self.free.pop() {
            self.kept[number as usize - 1] = entry;
            number
        } else {
            self.kept.push(entry);
            // Not more than there are places.
            u32::try_from(self.kept.len()).unwrap_or(u32::MAX)
        };
        self.numbers.insert(permission, number);
        number
    }

    fn clear(&mut self, place: u32) {
        let number = self.of.get(place);
        if number == 0 {
            return;
        }
        self.of.set(place, 0);
        let (permission, count) = &mut self.kept[number as usize - 1];
        *count -= 1;
        if *count == 0 {
            self.numbers.remove(permission);
            *permission = Arc::new(Permission::EVERYTHING);
            self.free.push(number);
        }
    }
}

impl Access {
    pub(crate) fn new(
        verifier: TokenVerifier,
        check_key: PlacementKey,
        id_key: PlacementKey,
    ) -> Access {
        let policy = verifier.policy();
        let lifetimes =
            Lifetimes { lifetime_max_s: policy.lifetime_max_s, leeway_s: policy.leeway_s };
        Access {
            verifier,
            revocations: Revocations::new(lifetimes),
            bans: Bans::default(),
            own_bans: Bans::default(),
            check_key,
            id_key,
            token_ids: Column::default(),
            issued_s: Column::default(),
            permissions: Permissions::default(),
        }
    }

    /// A connection is gone.
    pub(crate) fn forget(&mut self, place: u32) {
        self.token_ids.set(place, 0);
        self.issued_s.set(place, 0);
        self.permissions.clear(place);
    }

    /// Tokens are verified with these keys from now on; who is connected stays.
    pub(crate) fn set_keys(&mut self, keys: Arc<KeySet>) {
        self.verifier.set_keys(keys);
    }

    /// By how much a token outlives its `exp`, seconds.
    pub(crate) fn leeway_s(&self) -> i64 {
        i64::from(self.verifier.policy().leeway_s)
    }

    /// Number of revocations that are kept.
    pub(crate) fn revocation_count(&self) -> usize {
        self.revocations.count()
    }

    /// See [`Revocations::restore_user`].
    pub(crate) fn restore_user_revocation(&mut self, user: UserId, revocation: UserRevocation) {
        self.revocations.restore_user(user, revocation);
    }

    /// See [`Revocations::restore_token`].
    pub(crate) fn restore_token_revocation(&mut self, id: u64, kept_until_unix_s: i64) {
        self.revocations.restore_token(id, kept_until_unix_s);
    }

    /// A keyed hash of a token's name; never 0.
    fn id_hash(&self, id: &str) -> u64 {
        hash(self.id_key, id).max(1)
    }

    fn check(&self, token: &str) -> u32 {
        low_bits(hash(self.check_key, token))
    }

    /// What the token says, unless it is refused.
    fn admit(&self, token: &str, user: UserId, now_unix_s: i64) -> Result<Claims, Refused> {
        let claims = match self.verifier.verify(token, now_unix_s) {
            Ok(claims) => claims,
            Err(error) => {
                let reason = if matches!(error, TokenError::Expired { .. }) {
                    proto::Reason::TokenExpired
                } else {
                    proto::Reason::TokenInvalid
                };
                return Err(Refused::new(reason, &error.to_string()));
            }
        };
        if user != UserId(0) && user != claims.user {
            let text = "the token belongs to another user";
            return Err(Refused::new(proto::Reason::IdentityMismatch, text));
        }
        let (issued_unix_s, token_id) = (claims.issued_unix_s, claims.token_id.as_deref());
        match self.refusal(claims.user, issued_unix_s, token_id, now_unix_s) {
            None => Ok(claims),
            Some(refused) => Err(refused),
        }
    }

    /// Why a token that is valid is refused all the same.
    fn refusal(
        &self,
        user: UserId,
        issued_unix_s: Option<i64>,
        token_id: Option<&str>,
        now_unix_s: i64,
    ) -> Option<Refused> {
        let token_id = token_id.map(|id| self.id_hash(id));
        if self.revocations.refuses(Subject { user, issued_unix_s, token_id }, now_unix_s) {
            return Some(Refused::revoked());
        }
        self.bans.until(user, now_unix_s).map(Refused::banned)
    }

    /// Remembers what the token of a connection is called and allows.
    fn note(&mut self, place: u32, claims: Claims) {
        let id = claims.token_id.as_deref().map_or(0, |id| self.id_hash(id));
        self.token_ids.set(place, id);
        let issued_s = claims.issued_unix_s.unwrap_or(0).max(0);
        self.issued_s.set(place, u32::try_from(issued_s).unwrap_or(u32::MAX));
        self.permissions.set(place, claims.permission);
    }
}

fn hash(key: PlacementKey, text: &str) -> u64 {
    let mut hasher = key.build_hasher();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Why a token is refused, and what the connection ends with.
struct Refused {
    failure: proto::Failure,
    close: CloseReason,
}

impl Refused {
    fn new(reason: proto::Reason, text: &str) -> Refused {
        Refused { failure: messages::failure(reason, text), close: CloseReason::TokenRefused }
    }

    fn revoked() -> Refused {
        let text = "the token was revoked; sign in again";
        let failure = messages::failure(proto::Reason::TokenRevoked, text);
        Refused { failure, close: CloseReason::TokenRevoked }
    }

    fn banned(until_unix_s: i64) -> Refused {
        let failure = messages::failure(proto::Reason::Banned, "this user is banned");
        let failure = proto::Failure { until_ms: told_until_ms(until_unix_s), ..failure };
        Refused { failure, close: CloseReason::Banned }
    }
}

impl Shard {
    /// Verifies a token and asks the user's home for the session; a second token moves the end.
    pub(crate) fn authenticate(
        &mut self,
        id: ConnId,
        user: UserId,
        token: &str,
        join: Option<JoinWish>,
    ) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if conn.state.has_user() {
            return self.refresh(id, user, token);
        }
        let claims = match self.access.admit(token, user, self.now_unix_s()) {
            Ok(claims) => claims,
            Err(refused) => return self.refuse_token(id, refused),
        };
        self.counters.tokens_accepted += 1;
        let token_check = self.access.check(token);
        let now_ms = clock_ms(self.now);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(next) = conn.state.next(Event::Authenticate) else {
            return;
        };
        let user = claims.user;
        conn.state = next;
        conn.user = user;
        conn.clock_ms = now_ms;
        conn.token_expires_s = expires_s(&claims);
        conn.token_check = token_check;
        conn.entry_mut().join = join;
        self.access.note(id.place, claims);
        let home = self.placement.user_home(user);
        self.post(home, Mail::SessionOpened { user, conn: id });
    }

    /// Makes the token's user the one who asks on a short connection, until [`Access::forget`].
    ///
    /// # Errors
    /// Why the token is refused.
    pub(crate) fn authenticate_short(
        &mut self,
        id: ConnId,
        token: &str,
    ) -> Result<(), proto::Failure> {
        let admitted = self.access.admit(token, UserId(0), self.now_unix_s());
        let claims = admitted.map_err(|refused| refused.failure)?;
        self.counters.tokens_accepted += 1;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.user = claims.user;
            self.access.note(id.place, claims);
        }
        Ok(())
    }

    /// Why somebody whose token was verified elsewhere is refused all the same.
    pub(crate) fn refuses_holder(&self, holder: &TokenHolder) -> Option<proto::Failure> {
        let TokenHolder { user, issued_unix_s, token_id } = holder;
        let now_unix_s = self.now_unix_s();
        let refused = self.access.refusal(*user, *issued_unix_s, token_id.as_deref(), now_unix_s);
        refused.map(|refused| refused.failure)
    }

    /// A second token on a connection. Only one that ends later is worth the work of verifying it,
    /// so whoever repeats tokens costs no more than the issuer makes of them.
    fn refresh(&mut self, id: ConnId, user: UserId, token: &str) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let session_user = conn.user;
        let is_same = self.access.check(token) == conn.token_check;
        let said = unverified(token);
        let refusal = if conn.state == State::Confirming {
            Some("wait for the answer to the first token")
        } else if user != UserId(0) && user != session_user
            || said.is_some_and(|said| said.user != session_user)
        {
            Some("the connection has another user; open another connection")
        } else if !is_same
            && said.is_some_and(|said| said.expires_unix_s <= i64::from(conn.token_expires_s))
        {
            Some("the token ends no later than the present one")
        } else {
            None
        };
        if let Some(text) = refusal {
            let failure = messages::failure(proto::Reason::AlreadyAuthenticated, text);
            let frame = messages::failed(TYPE_AUTHENTICATE, ERROR_TOKEN_REFUSED, failure);
            return self.send(id, &frame);
        }
        if is_same {
            return self.tell_session(id);
        }
        match self.access.admit(token, session_user, self.now_unix_s()) {
            Ok(claims) => self.refreshed(id, token, claims),
            Err(refused) => self.refuse_token(id, refused),
        }
    }

    fn refreshed(&mut self, id: ConnId, token: &str, claims: Claims) {
        self.counters.tokens_refreshed += 1;
        let token_check = self.access.check(token);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.token_expires_s = expires_s(&claims);
        conn.token_check = token_check;
        let room = conn.room;
        self.access.note(id.place, claims);
        self.tell_session(id);
        if room == NO_ROOM {
            return;
        }
        let room = self.rooms.id(room);
        if !self.permission(id).may_join(room) {
            self.drop_wish(id);
            self.leave_room(id);
            let left = proto::Left { room_id: room.0 };
            self.respond(id, "", proto::response::Payload::Left(left));
        }
    }

    /// Tells a client who it is, and when it needs a newer token.
    pub(crate) fn tell_session(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let server_time_ms = self.clock.unix_ms(self.now);
        let expires_ms = i64::from(conn.token_expires_s) * 1_000;
        let left_ms = expires_ms.saturating_sub(server_time_ms).clamp(0, i64::from(u32::MAX));
        let session = proto::Session {
            user_id: conn.user.0,
            heartbeat_interval_ms: self.config.heartbeat_interval_ms,
            server_time_ms,
            token_expires_in_ms: u32::try_from(left_ms).unwrap_or(u32::MAX),
        };
        let body = proto::server_frame::Body::Session(session);
        self.send(id, &messages::done(TYPE_AUTHENTICATE, body));
    }

    /// The connection's token has expired.
    pub(crate) fn token_expired(&mut self, id: ConnId) {
        let text = "the token has expired; fetch a new one";
        self.end_session(id, Refused::new(proto::Reason::TokenExpired, text));
    }

    /// The user's home says that tokens of the connection's user were revoked: a session whose token
    /// is newer than those goes on.
    pub(crate) fn user_revoked(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let issued_s = self.access.issued_s.get(id.place);
        let issued_unix_s = Some(i64::from(issued_s)).filter(|issued| *issued > 0);
        let subject = Subject { user: conn.user, issued_unix_s, token_id: None };
        if self.access.revocations.refuses(subject, self.now_unix_s()) {
            self.session_revoked(id);
        }
    }

    fn session_revoked(&mut self, id: ConnId) {
        self.end_session(id, Refused::revoked());
    }

    /// The connection's user is banned.
    pub(crate) fn session_banned(&mut self, id: ConnId, until_unix_s: i64) {
        self.end_session(id, Refused::banned(until_unix_s));
    }

    /// An operator revokes tokens: newcomers are refused from now on, and who is here is closed.
    pub(crate) fn revoke(
        &mut self,
        revocation: &Revocation,
    ) -> Result<OperatorAnswer, OperatorError> {
        let now_unix_s = self.now_unix_s();
        let kept = match revocation {
            Revocation::User { user, issued_until_unix_s, refused_until_unix_s } => {
                let (issued, refused) = (*issued_until_unix_s, *refused_until_unix_s);
                let kept = self.access.revocations.revoke_user(*user, issued, refused, now_unix_s);
                kept.map(|revocation| StandingRecord::UserRevoked { user: *user, revocation })
            }
            Revocation::Token { id, expires_unix_s } => {
                let id = self.access.id_hash(id);
                let kept = self.access.revocations.revoke_token(id, *expires_unix_s, now_unix_s);
                kept.map(|kept_until_unix_s| StandingRecord::TokenRevoked { id, kept_until_unix_s })
            }
        };
        match kept {
            Ok(record) => self.journal_standing(record),
            Err(error) => {
                self.counters.revocations_refused += 1;
                return Err(error.into());
            }
        }
        match revocation {
            Revocation::User { user, .. } => {
                let home = self.placement.user_home(*user);
                self.post(home, Mail::EndSession { user: *user, why: SessionEnd::Revoked });
            }
            Revocation::Token { id, .. } => {
                let id = self.access.id_hash(id);
                for place in self.access.token_ids.places_of(id) {
                    if let Some((conn, _)) = self.conns.at(place) {
                        self.session_revoked(conn);
                    }
                }
            }
        }
        Ok(OperatorAnswer::Done)
    }

    /// What the holder of the connection's token may do. Ask here before anything is done.
    pub(crate) fn permission(&self, id: ConnId) -> &Permission {
        self.access.permissions.get(id.place)
    }

    /// A later frame may carry no other token than the session's.
    pub(crate) fn token_check(&self, token: &str) -> u32 {
        self.access.check(token)
    }

    fn refuse_token(&mut self, id: ConnId, refused: Refused) {
        self.counters.tokens_refused += 1;
        self.end_session(id, refused);
    }

    /// Says why, and closes.
    fn end_session(&mut self, id: ConnId, refused: Refused) {
        let Refused { failure, close } = refused;
        let closes = self.conns.get(id).is_some_and(|conn| conn.state.next(Event::Close).is_some());
        if closes {
            self.send(id, &messages::failed(TYPE_AUTHENTICATE, ERROR_TOKEN_REFUSED, failure));
            self.close(id, close);
        }
    }

    pub(crate) fn now_unix_s(&self) -> i64 {
        self.clock.unix_ms(self.now) / 1_000
    }
}

/// When a token ends, in the 32 bits that a connection has for it: in 2106 at the latest.
fn expires_s(claims: &Claims) -> u32 {
    u32::try_from(claims.expires_unix_s.max(0)).unwrap_or(u32::MAX)
}
