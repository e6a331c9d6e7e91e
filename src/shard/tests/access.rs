//! Tokens on a connection: refreshed, expired, revoked, and what they allow.

use super::*;
use crate::auth::revocation::Revocation;
use crate::auth::token::{MoreClaims, mint_with};

const LIFETIME_S: u32 = 100;

/// A token of user 1, issued so many seconds after the shard's zero; what ends later than one of
/// second 2 lives longer instead, because nobody is believed who comes from the future.
fn issued_at(second: i64, more: &MoreClaims<'_>) -> String {
    token_of(1, second, more)
}

fn token_of(user: u64, second: i64, more: &MoreClaims<'_>) -> String {
    let issued = second.min(2);
    let longer = u32::try_from(second - issued).unwrap();
    let new = NewToken {
        user: UserId(user),
        issued_unix_s: CLOCK.zero_unix_ms / 1_000 + issued,
        lifetime_s: LIFETIME_S + longer,
        audience: None,
    };
    mint_with(SECRET, new, more)
}

fn plain(second: i64) -> String {
    issued_at(second, &MoreClaims::default())
}

fn authenticate(token: &str) -> Vec<u8> {
    let token = token.to_owned();
    let frame =
        proto::ClientFrame { r#type: TYPE_AUTHENTICATE, token, ..proto::ClientFrame::default() };
    encoded(&frame)
}

fn join(sequence: &str, room_id: u64) -> Vec<u8> {
    let join = proto::Join { room_id, ..proto::Join::default() };
    request(sequence, proto::request::Payload::Join(join))
}

impl Stage {
    fn enter_with(&mut self, token: &str) -> ConnId {
        let conn = self.upgrade(&format!("/?token={token}&room={ROOM}"));
        self.send();
        conn
    }

    fn hear(&mut self, conn: ConnId, bytes: Vec<u8>) -> Heard {
        self.receive(conn, bytes);
        self.send();
        self.heard(conn)
    }

    /// A client sends a heartbeat every second until then.
    fn live_until(&mut self, second: u64, conn: ConnId) {
        let beat = proto::ClientFrame { r#type: TYPE_HEARTBEAT, ..proto::ClientFrame::default() };
        while self.now < Time::from_millis(second * 1_000) {
            self.now = self.now + Duration::from_secs(1);
            self.step(Input::ReceivedAll { until: self.now });
            self.receive(conn, encoded(&beat));
            self.step(Input::Tick);
            self.send();
        }
    }

    fn revoke(&mut self, revocation: Revocation) {
        self.step(Input::Operator { ticket: 1, request: OperatorRequest::Revoke(revocation) });
        self.send();
    }
}

impl Heard {
    /// How long each `Session` said that its token is valid.
    fn sessions_ms(&self) -> Vec<u32> {
        let body = |frame: &proto::ServerFrame| match &frame.body {
            Some(proto::server_frame::Body::Session(it)) => Some(it.token_expires_in_ms),
            _ => None,
        };
        self.frames.iter().filter_map(body).collect()
    }

    fn failures(&self) -> Vec<proto::Reason> {
        self.frames
            .iter()
            .filter_map(|it| it.failure.as_ref())
            .map(proto::Failure::reason)
            .collect()
    }
}

#[test]
fn a_newer_token_moves_the_end_of_the_session() {
    let mut stage = Stage::new();
    let conn = stage.enter_with(&plain(0));
    let heard = stage.hear(conn, authenticate(&plain(50)));
    // The shard's clock stands at one second.
    assert_eq!(heard.sessions_ms(), [99_000, 149_000]);
    stage.live_until(150, conn);
    assert_eq!(stage.heard(conn).closed, None, "long behind the first token's end");
    assert_eq!(stage.shard.counters().tokens_refreshed, 1);
    stage.live_until(156, conn);
    assert_eq!(stage.heard(conn).closed, Some(CloseReason::TokenRefused.code()));
}

#[test]
fn the_same_token_again_is_answered_and_verified_by_nobody() {
    let mut stage = Stage::new();
    let conn = stage.enter_with(&plain(0));
    let heard = stage.hear(conn, authenticate(&plain(0)));
    assert_eq!(heard.sessions_ms(), [99_000, 99_000]);
    assert_eq!(stage.shard.counters().tokens_refreshed, 0);
}

#[test]
fn only_a_newer_token_of_the_same_user_is_taken() {
    let none = MoreClaims::default();
    for (token, reason) in [
        (plain(-10), proto::Reason::AlreadyAuthenticated),
        (token_of(2, 50, &none), proto::Reason::AlreadyAuthenticated),
    ] {
        let mut stage = Stage::new();
        let conn = stage.enter_with(&plain(0));
        let heard = stage.hear(conn, authenticate(&token));
        assert_eq!(heard.failures(), [reason]);
        // The connection goes on as it was.
        assert!(stage.hear(conn, join("j", 9)).reply("j").contains("Joined"));
    }
    let mut stage = Stage::new();
    let conn = stage.enter_with(&plain(0));
    let heard = stage.hear(conn, authenticate(&plain(-200)));
    assert_eq!(heard.failures(), [proto::Reason::AlreadyAuthenticated]);
    let forged = format!("{}x", plain(50));
    let heard = stage.hear(conn, authenticate(&forged));
    assert_eq!(heard.failures()[1..], [proto::Reason::TokenInvalid]);
    assert_eq!(heard.closed, Some(CloseReason::TokenRefused.code()));
}

#[test]
fn a_token_expires_behind_its_leeway() {
    let mut stage = Stage::new();
    let conn = stage.enter_with(&plain(-60));
    // It ends at second 40, and five more are its leeway.
    stage.live_until(44, conn);
    assert_eq!(stage.heard(conn).closed, None);
    stage.live_until(45, conn);
    let heard = stage.heard(conn);
    assert_eq!(heard.closed, Some(CloseReason::TokenRefused.code()));
    assert_eq!(heard.failures(), [proto::Reason::TokenExpired]);
}

#[test]
fn a_revoked_user_is_closed_and_stays_out_until_there_is_a_newer_token() {
    let mut stage = Stage::new();
    let conn = stage.enter_with(&plain(0));
    let other = stage.enter(2);
    stage.revoke(Revocation::User {
        user: UserId(1),
        issued_until_unix_s: None,
        refused_until_unix_s: None,
    });
    let heard = stage.heard(conn);
    assert_eq!(heard.failures(), [proto::Reason::TokenRevoked]);
    assert_eq!(heard.closed, Some(CloseReason::TokenRevoked.code()));
    assert_eq!(stage.heard(other).closed, None);
    let again = stage.enter_with(&plain(1));
    assert_eq!(stage.heard(again).closed, Some(CloseReason::TokenRevoked.code()));
    let newer = stage.enter_with(&plain(2));
    assert_eq!(stage.heard(newer).closed, None);
    assert_eq!(stage.shard.gauges().revocations, 1);
}

/// Revocations may be posted again at any time, by whoever is not sure that they arrived.
#[test]
fn a_session_whose_token_is_newer_than_a_revocation_goes_on() {
    let mut stage = Stage::new();
    stage.now = Time::from_millis(10_000);
    let dated = |user: u64, second: i64| {
        let issued_unix_s = CLOCK.zero_unix_ms / 1_000 + second;
        let new = NewToken { user: UserId(user), issued_unix_s, lifetime_s: 60, audience: None };
        mint_with(SECRET, new, &MoreClaims::default())
    };
    let conn = stage.enter_with(&dated(1, 9));
    let until = |second: i64| Some(CLOCK.zero_unix_ms / 1_000 + second);
    let revocation = |issued, refused| Revocation::User {
        user: UserId(1),
        issued_until_unix_s: until(issued),
        refused_until_unix_s: refused,
    };
    stage.revoke(revocation(8, None));
    assert_eq!(stage.heard(conn).closed, None);
    stage.revoke(revocation(8, until(60)));
    let heard = stage.heard(conn);
    assert_eq!(heard.closed, Some(CloseReason::TokenRevoked.code()), "newer ones, too, until then");
    let other = stage.enter_with(&dated(2, 9));
    let of_other = |issued| Revocation::User {
        user: UserId(2),
        issued_until_unix_s: until(issued),
        refused_until_unix_s: None,
    };
    stage.revoke(of_other(8));
    assert_eq!(stage.heard(other).closed, None);
    // A newer token makes the session newer, and an equal moment is not newer.
    stage.live_until(12, other);
    assert_eq!(stage.hear(other, authenticate(&dated(2, 11))).closed, None);
    stage.revoke(of_other(10));
    assert_eq!(stage.heard(other).closed, None);
    stage.revoke(of_other(11));
    assert_eq!(stage.heard(other).closed, Some(CloseReason::TokenRevoked.code()));
}

#[test]
fn a_room_in_the_url_waits_for_the_token_in_the_first_frame() {
    let mut stage = Stage::new();
    let conn = stage.upgrade(&format!("/?room={ROOM}"));
    stage.send();
    let heard = stage.hear(conn, authenticate(&plain(0)));
    assert_eq!(heard.sessions_ms().len(), 1);
    assert!(heard.epoch() > 0, "{heard:?}");
    assert_eq!(stage.shard.gauges().rooms, 1);
}

#[test]
fn a_token_dated_in_the_future_does_not_escape_a_revocation() {
    let mut stage = Stage::new();
    stage.revoke(Revocation::User {
        user: UserId(1),
        issued_until_unix_s: None,
        refused_until_unix_s: None,
    });
    // The shard's clock stands at one second, and the leeway is five.
    let issued_unix_s = CLOCK.zero_unix_ms / 1_000 + 7;
    let new = NewToken { user: UserId(1), issued_unix_s, lifetime_s: 60, audience: None };
    let conn = stage.enter_with(&mint_with(SECRET, new, &MoreClaims::default()));
    let heard = stage.heard(conn);
    assert_eq!(heard.failures(), [proto::Reason::TokenInvalid]);
    assert_eq!(heard.closed, Some(CloseReason::TokenRefused.code()));
}

#[test]
fn a_revoked_token_is_closed_by_its_name_and_no_other_is() {
    let named = |id| MoreClaims { token_id: Some(id), ..MoreClaims::default() };
    let mut stage = Stage::new();
    let one = stage.enter_with(&token_of(1, 0, &named("one")));
    let two = stage.enter_with(&token_of(2, 0, &named("two")));
    let three = stage.enter_with(&token_of(3, 0, &MoreClaims::default()));
    // Who has gone leaves no name behind.
    stage.step(Input::Ended { conn: one });
    let one = stage.enter_with(&token_of(1, 0, &named("one")));
    stage.revoke(Revocation::Token { id: "one".to_owned(), expires_unix_s: None });
    let closed = [one, two, three].map(|conn| stage.heard(conn).closed);
    assert_eq!(closed, [Some(CloseReason::TokenRevoked.code()), None, None]);
    let again = stage.enter_with(&token_of(1, 0, &named("one")));
    assert_eq!(stage.heard(again).closed, Some(CloseReason::TokenRevoked.code()));
    // A newer token takes the name of the older one off the connection.
    stage.hear(two, authenticate(&token_of(2, 9, &named("2b"))));
    stage.revoke(Revocation::Token { id: "two".to_owned(), expires_unix_s: None });
    assert_eq!(stage.heard(two).closed, None);
    stage.revoke(Revocation::Token { id: "2b".to_owned(), expires_unix_s: None });
    assert_eq!(stage.heard(two).closed, Some(CloseReason::TokenRevoked.code()));
}

#[test]
fn claims_say_which_rooms_and_whether_to_speak() {
    let rooms = [ROOM.0, 9];
    let listens = MoreClaims { rooms: Some(&rooms), publish: Some(false), ..MoreClaims::default() };
    let mut stage = Stage::new();
    let conn = stage.enter_with(&issued_at(0, &listens));
    assert_eq!(stage.hear(conn, chat()).reply("p"), "LaneForbidden");
    assert_eq!(stage.hear(conn, join("a", 8)).reply("a"), "RoomForbidden");
    assert!(stage.hear(conn, join("b", 9)).reply("b").contains("Joined"));
    // A room that was asked for in the upgrade is one like any other.
    let other = [8];
    let elsewhere = MoreClaims { rooms: Some(&other), ..MoreClaims::default() };
    let outside = stage.enter_with(&token_of(2, 0, &elsewhere));
    assert_eq!(stage.heard(outside).failures(), [proto::Reason::RoomForbidden]);
    // A newer token allows more, and another less: then the room is left.
    stage.hear(conn, authenticate(&plain(10)));
    assert!(stage.hear(conn, join("c", 8)).reply("c").contains("Joined"));
    assert_eq!(stage.hear(conn, chat()).failures().len(), 2, "spoken without a failure");
    let heard = stage.hear(conn, authenticate(&issued_at(20, &listens)));
    assert!(format!("{heard:?}").contains("Left(Left { room_id: 8 })"), "{heard:?}");
    assert_eq!(stage.hear(conn, join("d", 8)).reply("d"), "RoomForbidden");
}
