//! Tokens against a running gateway: refreshed, expired, revoked, restricted, and signed with keys
//! that come and go.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tidegate::auth::keys::KeySet;
use tidegate::auth::revocation::Revocation;
use tidegate::auth::token::{MoreClaims, NewToken, TokenPolicy, TokenVerifier, mint_with};
use tidegate::base::ids::UserId;
use tidegate::ops::config::{Config, Sources};
use tidegate::ops::gateway_settings::verifier_of;
use tidegate::ops::key_watch::{KeyStatus, WatchedKeys};
use tidegate::ops::settings::read_file;
use tidegate::ops::watch::files::FileWatch;
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::OperatorRequest;
use tokio::sync::watch;

use client::{Client, Json};

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const JWKS: &str = include_str!("keys/jwks.json");
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 200;

fn unix_s(gateway: &Gateway) -> i64 {
    gateway.clock().display().unix_ms(gateway.clock().now()) / 1_000
}

fn token(gateway: &Gateway, user: u64, lifetime_s: u32, more: &MoreClaims<'_>) -> String {
    let issued_unix_s = unix_s(gateway);
    let new = NewToken { user: UserId(user), issued_unix_s, lifetime_s, audience: None };
    mint_with(SECRET, new, more)
}

async fn connect(gateway: &Gateway, token: &str) -> Client {
    Client::connect(gateway, &format!("/?token={token}&room=5")).await
}

/// What comes first: the session's user, or the reason of the refusal.
async fn first_word(client: &mut Client) -> String {
    let frame = client.next().await;
    let word = if frame["session"].is_null() {
        &frame["failure"]["reason"]
    } else {
        &frame["session"]["userId"]
    };
    word.as_str().unwrap_or_else(|| panic!("{frame}")).to_owned()
}

#[tokio::test]
async fn a_session_lives_as_long_as_its_newest_token() {
    let mut settings = client::settings(2);
    settings.token_policy = TokenPolicy { leeway_s: 0, ..TokenPolicy::default() };
    let gateway = client::start(&settings);
    let none = MoreClaims::default();
    let mut client = connect(&gateway, &token(&gateway, 7, 2, &none)).await;
    let session: Json = client.next().await;
    let left_ms = session["session"]["tokenExpiresInMs"].as_u64().unwrap();
    assert!((1..=2_000).contains(&left_ms), "{session}");
    client.until_payload("joined").await;
    let newer = token(&gateway, 7, 5, &none);
    let ends_unix_s = unix_s(&gateway) + 4;
    client.send(json!({"type": 0, "token": newer})).await;
    let refreshed = loop {
        let frame = client.next().await;
        if !frame["session"].is_null() {
            break frame;
        }
    };
    assert!(refreshed["session"]["tokenExpiresInMs"].as_u64().unwrap() > left_ms, "{refreshed}");
    let expired = client.next().await;
    assert_eq!(expired["failure"]["reason"], "REASON_TOKEN_EXPIRED", "{expired}");
    assert!(unix_s(&gateway) >= ends_unix_s, "not with the first token");
    assert_eq!(client.closed().await, 4001);
    drop(client);
    gateway.stop();
}

#[tokio::test]
async fn a_token_of_somebody_else_changes_nothing() {
    let gateway = client::gateway(1);
    let none = MoreClaims::default();
    let mut client = Client::in_room(&gateway, 7, 5).await;
    client.send(json!({"type": 0, "token": token(&gateway, 8, 60, &none)})).await;
    assert_eq!(first_word(&mut client).await, "REASON_ALREADY_AUTHENTICATED");
    client.request("x", json!({"leave": {}})).await;
    assert_eq!(client.next().await["business"]["sequence"], "x");
    drop(client);
    gateway.stop();
}

#[tokio::test]
async fn who_is_revoked_is_closed_wherever_the_connection_lives() {
    let gateway = client::gateway(2);
    let none = MoreClaims::default();
    let mut clients = Vec::new();
    for user in 1..=6 {
        let mut client = connect(&gateway, &token(&gateway, user, 60, &none)).await;
        assert_eq!(first_word(&mut client).await, user.to_string());
        client.until_payload("joined").await;
        clients.push(client);
    }
    let revoked = token(&gateway, 1, 60, &none);
    for user in 1..=5 {
        let revocation = Revocation::User {
            user: UserId(user),
            issued_until_unix_s: None,
            refused_until_unix_s: None,
        };
        gateway.call(OperatorRequest::Revoke(revocation)).unwrap();
    }
    for client in &mut clients[..5] {
        assert_eq!(first_word(client).await, "REASON_TOKEN_REVOKED");
        assert_eq!(client.closed().await, 4006);
    }
    // Several connects, so that each shard is met: all know it.
    for _ in 0..6 {
        let mut client = connect(&gateway, &revoked).await;
        assert_eq!(first_word(&mut client).await, "REASON_TOKEN_REVOKED");
        assert_eq!(client.closed().await, 4006);
    }
    clients[5].request("x", json!({"leave": {}})).await;
    assert_eq!(clients[5].next().await["business"]["sequence"], "x");
    drop(clients);
    gateway.stop();
}

#[tokio::test]
async fn one_token_of_a_user_is_revoked_by_its_name() {
    let gateway = client::gateway(2);
    let named = |id| MoreClaims { token_id: Some(id), ..MoreClaims::default() };
    let stolen = token(&gateway, 7, 60, &named("stolen"));
    let mut client = connect(&gateway, &stolen).await;
    assert_eq!(first_word(&mut client).await, "7");
    client.until_payload("joined").await;
    let revocation = Revocation::Token { id: "stolen".to_owned(), expires_unix_s: None };
    gateway.call(OperatorRequest::Revoke(revocation)).unwrap();
    assert_eq!(first_word(&mut client).await, "REASON_TOKEN_REVOKED");
    assert_eq!(client.closed().await, 4006);
    let mut other = connect(&gateway, &token(&gateway, 7, 60, &named("fresh"))).await;
    assert_eq!(first_word(&mut other).await, "7");
    drop((client, other));
    gateway.stop();
}

#[tokio::test]
async fn a_token_says_which_rooms_and_whether_to_speak() {
    let gateway = client::gateway(2);
    let rooms = [5];
    let listens = MoreClaims { rooms: Some(&rooms), publish: Some(false), ..MoreClaims::default() };
    let mut client = connect(&gateway, &token(&gateway, 7, 60, &listens)).await;
    client.until_payload("joined").await;
    client.request("say", json!({"publish": {"lane": "LANE_LOW", "data": "aGk="}})).await;
    assert_eq!(client.until_response("say").await["reason"], "REASON_LANE_FORBIDDEN");
    client.request("go", json!({"join": {"roomId": "6"}})).await;
    assert_eq!(client.until_response("go").await["reason"], "REASON_ROOM_FORBIDDEN");
    drop(client);
    gateway.stop();
}

/// A gateway whose tokens are signed with the public keys of a file.
struct Rotating {
    gateway: Gateway,
    watch: FileWatch,
    status: Arc<KeyStatus>,
    /// What verifies tokens off the shards.
    verifier: watch::Receiver<Arc<TokenVerifier>>,
    directory: tempfile::TempDir,
}

impl Rotating {
    fn start(keys: &[&str]) -> Rotating {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jwks.json");
        std::fs::write(&path, set_of(keys)).unwrap();
        let text = format!(
            "[auth]\njwks_file = \"{}\"\njwks_poll_ms = 100\naudience = \"gate\"\nissuer = \"us\"",
            path.display()
        );
        let sources = Sources { file: Some(("test.toml".to_owned(), text)), ..Sources::default() };
        let config = Config::load(&sources, &|path| read_file(Path::new(path))).unwrap();
        let mut settings = client::settings(2);
        let keys = config.token_keys(config.auth.jwks.as_deref()).unwrap().keys;
        settings.token_keys = Arc::new(keys);
        settings.token_policy = config.token_policy();
        let gateway = client::start(&settings);
        let status = Arc::new(KeyStatus::default());
        let (tell, verifier) = watch::channel(Arc::new(verifier_of(&config)));
        let keys = WatchedKeys::of(&config, gateway.caller(), Arc::clone(&status), tell).unwrap();
        let watch = FileWatch::start(vec![Box::new(keys)]).unwrap();
        Rotating { gateway, watch, status, verifier, directory }
    }

    /// Replaces the file, as it should be done: whole.
    fn write(&self, text: &str) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.directory.path().join("jwks.json")).unwrap();
    }

    fn token(&self, user: u64, key: &str) -> String {
        let (algorithm, der): (_, &[u8]) = match key {
            "rsa" => (Algorithm::RS256, include_bytes!("keys/rsa.der")),
            "ec" => (Algorithm::ES256, include_bytes!("keys/ec.der")),
            "ed" => (Algorithm::EdDSA, include_bytes!("keys/ed.der")),
            _ => (Algorithm::EdDSA, include_bytes!("keys/next.der")),
        };
        let private = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_der(der),
            Algorithm::ES256 => EncodingKey::from_ec_der(der),
            _ => EncodingKey::from_ed_der(der),
        };
        let header = Header { kid: Some(key.to_owned()), ..Header::new(algorithm) };
        let now = unix_s(&self.gateway);
        let user = user.to_string();
        let claims = json!({"sub": user, "iat": now, "exp": now + 60, "aud": "gate", "iss": "us"});
        jsonwebtoken::encode(&header, &claims, &private).unwrap()
    }

    async fn first_word(&self, key: &str) -> String {
        first_word(&mut connect(&self.gateway, &self.token(7, key)).await).await
    }

    async fn until(&self, what: &str, holds: impl Fn(&KeyStatus) -> bool) {
        for _ in 0..LOOKS {
            if holds(&self.status) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("{what} did not come: {:?}", self.status.counts());
    }
}

/// The test set with only these keys.
fn set_of(ids: &[&str]) -> String {
    let mut set: Json = serde_json::from_str(JWKS).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.retain(|key| ids.contains(&key["kid"].as_str().unwrap()));
    set.to_string()
}

#[tokio::test]
async fn keys_come_and_go_without_a_restart() {
    let rotating = Rotating::start(&["rsa", "ec", "ed"]);
    for key in ["rsa", "ec", "ed"] {
        assert_eq!(rotating.first_word(key).await, "7", "{key}");
    }
    assert_eq!(rotating.first_word("next").await, "REASON_TOKEN_INVALID");
    let mut connected = connect(&rotating.gateway, &rotating.token(8, "ed")).await;
    assert_eq!(first_word(&mut connected).await, "8");
    connected.until_payload("joined").await;

    rotating.write(&set_of(&["ed", "next"]));
    rotating.until("the next key", |it| it.counts().reloads == 1).await;
    assert_eq!(rotating.first_word("rsa").await, "REASON_TOKEN_INVALID");
    for key in ["ed", "next"] {
        assert_eq!(rotating.first_word(key).await, "7", "{key}");
    }

    rotating.write("{ a file that somebody broke");
    rotating.until("the complaint", |it| it.counts().is_stale).await;
    for key in ["ed", "next"] {
        assert_eq!(rotating.first_word(key).await, "7", "{key} goes on");
    }

    rotating.write(&set_of(&["next"]));
    rotating.until("the only key", |it| it.counts().reloads == 2).await;
    assert_eq!(rotating.first_word("ed").await, "REASON_TOKEN_INVALID");
    assert_eq!(rotating.first_word("next").await, "7");
    let verifier = rotating.verifier.borrow().clone();
    let now = unix_s(&rotating.gateway);
    let verifies = |key: &str| verifier.verify(&rotating.token(7, key), now).is_ok();
    assert_eq!((verifies("ed"), verifies("next")), (false, true), "off the shards it is the same");
    connected.request("x", json!({"leave": {}})).await;
    assert_eq!(connected.next().await["business"]["sequence"], "x", "its token still counts");
    let counts = rotating.status.counts();
    assert_eq!((counts.public_keys, counts.errors, counts.is_stale), (1, 1, false));
    drop(connected);
    rotating.watch.stop();
    rotating.gateway.stop();
}

#[tokio::test]
async fn a_public_key_signs_nothing() {
    let rotating = Rotating::start(&["rsa"]);
    let now = unix_s(&rotating.gateway);
    let claims = json!({"sub": "7", "iat": now, "exp": now + 60, "aud": "gate", "iss": "us"});
    let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
    let public = set_of(&["rsa"]);
    let forged =
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes()));
    let mut client = connect(&rotating.gateway, &forged.unwrap()).await;
    assert_eq!(first_word(&mut client).await, "REASON_TOKEN_INVALID");
    assert_eq!(client.closed().await, 4001);
    assert_eq!(KeySet::from_jwks(&public).unwrap().keys.public_count(), 1);
    drop(client);
    rotating.watch.stop();
    rotating.gateway.stop();
}
