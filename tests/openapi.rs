//! `docs/openapi.json` and `docs/openapi-players.json` are what the gateway does: they have its
//! routes and no others, and every operation, asked well and badly, answers as they say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
#[path = "openapi/document.rs"]
mod document;
#[path = "openapi/served.rs"]
mod served;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use document::{Document, routes};
use serde_json::{Value, json};
use served::{At, PACKET, Served};

const OPERATOR: &str = "openapi.json";
const PLAYERS: &str = "openapi-players.json";

#[test]
fn the_documents_have_the_routes_of_the_routers_and_no_others() {
    for (name, folder) in [(OPERATOR, "src/ops/http"), (PLAYERS, "src/ops/players")] {
        let document = Document::read(name);
        assert_eq!(document.root()["openapi"], "3.1.0");
        let mut names = BTreeSet::new();
        let mut described = BTreeSet::new();
        for operation in document.operations() {
            assert!(names.insert(operation.name().to_owned()), "{} twice", operation.name());
            described.insert((operation.method.to_owned(), operation.path.to_owned()));
        }
        let routed = routes(folder);
        assert!(routed.len() > 10, "the routes are where they were");
        let missing: Vec<_> = routed.difference(&described).collect();
        assert!(missing.is_empty(), "{folder} has what docs/{name} has not: {missing:?}");
        let unknown: Vec<_> = described.difference(&routed).collect();
        assert!(unknown.is_empty(), "docs/{name} has what {folder} has not: {unknown:?}");
    }
}

#[test]
fn what_does_something_takes_a_key_and_messages_are_those_of_the_schema() {
    let document = Document::read(OPERATOR);
    for operation in document.operations() {
        let parameters = document.parameters(operation);
        let takes_key = parameters.iter().any(|it| it["name"] == "Idempotency-Key");
        assert_eq!(takes_key, operation.method != "get", "{}", operation.name());
        let asks_for_token = operation.path.starts_with("/v1/");
        assert_eq!(operation.is_open(), !asks_for_token, "{}", operation.name());
    }
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/tidegate/server/v1");
    let schema = fs::read_to_string(schema.join("server.proto")).unwrap();
    let text = document.root().to_string();
    let named: BTreeSet<&str> = text
        .split("tidegate.server.v1.")
        .skip(1)
        .map(|rest| rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap())
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for message in named {
        assert!(schema.contains(&format!("\nmessage {message} {{")), "{message}");
    }
}

/// The codes of errors stand in the sources as words behind their status.
#[test]
fn every_code_of_an_error_is_in_the_document() {
    for (name, folder) in [(OPERATOR, "src/ops/http"), (PLAYERS, "src/ops/players")] {
        let document = Document::read(name);
        let known =
            &document.root()["components"]["schemas"]["Error"]["properties"]["code"]["enum"];
        let known: BTreeSet<&str> =
            known.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() || path.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for piece in code.split("StatusCode::").skip(1) {
                let Some((_, rest)) = piece.split_once(',') else { continue };
                let rest = rest.trim_start();
                if let Some(word) = rest.strip_prefix('"').and_then(|it| it.split('"').next())
                    && word.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
                {
                    found.insert(word.to_owned());
                }
            }
        }
        assert!(found.len() > 5, "{found:?}");
        for code in &found {
            assert!(known.contains(&**code), "{folder} says {code}, docs/{name} does not");
        }
    }
}

#[tokio::test]
async fn every_operation_answers_as_the_documents_say() {
    let served = Served::start();
    health(&served).await;
    let played = play(&served).await;
    shows(&served).await;
    rooms(&served).await;
    protobuf(&served).await;
    users(&served).await;
    plans(&served).await;
    players(&served, &played).await;
    drain(&served).await;
    guarded(&served).await;
    served.prove_coverage();
    served.stop();
}

async fn health(served: &Served) {
    for path in ["/metrics", "/healthz", "/readyz"] {
        served.ask(At::Operator, "GET", path, "", 200).await;
    }
    let load = served.ask(At::Operator, "GET", "/v1/load", "", 200).await;
    assert_eq!((&load["state"], &load["connections_max"]), (&json!("accepting"), &json!(1_000)));
    // A shard's first turn may be to come.
    let has_turned = |load: &Value| {
        let turns = load["turn_us_total"].as_array().unwrap();
        turns.len() == 2 && turns.iter().all(|it| it.as_u64().unwrap() > 0)
    };
    served.until("/v1/load", has_turned).await;
    let token = "authorization: Bearer sixteen-bytes-or\r\n";
    let load = served.ask_with(At::Guarded, "GET", "/v1/load", token, "", 200).await;
    assert_eq!(load["state"], "starting");
    // Its shards are never fresh enough, and it does not accept clients.
    served.ask(At::Guarded, "GET", "/healthz", "", 503).await;
    let answer = served.ask(At::Guarded, "GET", "/readyz", "", 503).await;
    assert_eq!(answer["state"], "starting");
}

/// A show from its lobby to the prize, with a rain; the winner's number of its withdrawal.
async fn play(served: &Served) -> Played {
    let operator = async |method: &str, path: &str, body: &str| {
        served.ask(At::Operator, method, path, body, 200).await
    };
    let show = "/v1/shows/3";
    operator("POST", "/v1/shows/3/open-lobby", "").await;
    let mut player = served.player(1).await;
    operator("POST", "/v1/shows/3/rain-fund", &json!({"cents": PACKET}).to_string()).await;
    let rain =
        json!({"pool_cents": PACKET, "packets": 1, "duration_ms": 60_000, "win_per_10000": 10_000});
    operator("POST", "/v1/shows/3/rains", &rain.to_string()).await;
    operator("POST", "/v1/shows/3/rains/0/start", "").await;
    served.grab(&mut player).await;
    operator("POST", "/v1/shows/3/rains/0/end", "").await;
    served.until(show, |show| show["rains"][0]["phase"] == "ended").await;
    operator("POST", "/v1/shows/3/publish", "").await;
    player.until("question").await;
    let answer = json!({"answer": {"showId": "3", "question": 0, "option": 0}});
    player.request("answer", answer).await;
    player.until_response("answer").await;
    served.until(show, |show| show["phase"] == "closed").await;
    operator("POST", "/v1/shows/3/reveal", "").await;
    let preview = r#"{"question":0,"correct":1}"#;
    let preview = operator("POST", "/v1/shows/3/rejudge", preview).await;
    assert_eq!(preview["preview"]["in_play_after"], 0);
    operator("POST", "/v1/shows/3/settle", "").await;
    served.until(show, |show| show["phase"] == "settled").await;
    let told = operator("GET", show, "").await;
    assert!(told["settlement"].is_object() && told["questions"][0]["counts"].is_object());
    let messages = served.text(At::Operator, "GET", "/v1/shows/3/messages").await;
    assert!(messages.lines().count() > 3, "{messages}");
    operator("GET", "/v1/shows", "").await;

    let withdraw = r#"{"cents":1000}"#;
    let key = "idempotency-key: openapi-1\r\n";
    served.own_with(1, "POST", "/v1/me/withdrawals", key, withdraw, 200).await;
    operator("POST", "/v1/users/1/withdrawals/1/paid", "").await;
    let code = served.own(1, "GET", "/v1/me", "", 200).await["invitation_code"].take();
    Played { code: code.as_str().unwrap().to_owned() }
}

struct Played {
    code: String,
}

async fn shows(served: &Served) {
    let operator = async |method: &str, path: &str, body: &str, status: u16| {
        served.ask(At::Operator, method, path, body, status).await
    };
    operator("GET", "/v1/shows/9", "", 404).await;
    operator("GET", "/v1/shows/x", "", 400).await;
    operator("GET", "/v1/shows/9/messages", "", 404).await;
    operator("POST", "/v1/shows/3/publish", "", 409).await;
    operator("POST", "/v1/shows/3/publsh", "", 404).await;
    operator("POST", "/v1/shows/3/publish", r#"{"question":1}"#, 400).await;
    operator("POST", "/v1/shows/3/rejudge", r#"{"question":0,"correct":9,"confirm":true}"#, 409)
        .await;
    operator("POST", "/v1/shows/9/rain-fund", r#"{"cents":1}"#, 404).await;
    operator("POST", "/v1/shows/3/rain-fund", "", 400).await;
    operator("POST", "/v1/shows/3/rains", r#"{"pool_cents":1}"#, 400).await;
    operator("POST", "/v1/shows/3/rains/0/stop", "", 404).await;
    operator("POST", "/v1/shows/3/rains/0/start", "", 409).await;
    operator("POST", "/v1/users/1/withdrawals/99/paid", "", 422).await;
    operator("POST", "/v1/users/1/withdrawals/1/lost", "", 404).await;
    operator("POST", "/v1/users/5/cards", "", 200).await;
    operator("POST", "/v1/users/0/cards", "", 400).await;
    operator("POST", "/v1/users/5/cards/expire", r#"{"cards_max":1}"#, 200).await;
    operator("POST", "/v1/users/5/cards/expire", "", 422).await;
    operator("POST", "/v1/users/5/cards/expire", r#"{"cards_max":0}"#, 400).await;
    operator("POST", "/v1/users/5/cards/expire", &" ".repeat(5_000), 413).await;
    operator("POST", "/v1/words/reload", "", 200).await;
    served.ask(At::WithoutWords, "POST", "/v1/words/reload", "", 422).await;
    for text in ["hello", " \u{200b}"] {
        operator("POST", "/v1/words/check", &json!({ "text": text }).to_string(), 200).await;
    }
    operator("POST", "/v1/words/check", "", 400).await;
}

/// Shows that have not begun, questions, and a rehearsal.
async fn plans(served: &Served) {
    let operator = async |method: &str, path: &str, body: &str, status: u16| {
        served.ask(At::Operator, method, path, body, status).await
    };
    let show = json!({
        "title": "Tomorrow",
        "starts_at": "2030-01-31T20:00:00Z",
        "prize_pool_cents": 0,
        "timing": { "lead_ms": 50, "countdown_ms": 1_000 },
        "pace": { "lobby_ms": 100 },
        "questions": [{ "text": "Which?", "options": ["a", "b"], "correct": 0 }],
        "rains": [{ "pool_cents": 100, "packets": 10, "duration_ms": 1_000 }],
    });
    let filed = operator("PUT", "/v1/shows/8", &show.to_string(), 200).await;
    operator("PUT", "/v1/shows/8", &show.to_string(), 409).await;
    let path = format!("/v1/shows/8?version={}", filed["version"]);
    let filed = operator("PUT", &path, &show.to_string(), 200).await;
    operator("PUT", &path, "{}", 422).await;
    let mut prize = show.clone();
    prize["prize_pool_cents"] = json!(100);
    let refused = operator("PUT", "/v1/shows/9", &prize.to_string(), 422).await;
    assert_eq!(refused["error"]["code"], "invalid", "there is no data folder");
    let toml = "title = \"A\"\nprize_pool_cents = 0\n[[questions]]\ntext = \"\"\n";
    let as_toml = "content-type: application/toml\r\n";
    let refused = served.ask_with(At::Operator, "PUT", "/v1/shows/9", as_toml, toml, 422).await;
    assert_eq!(refused["error"]["problems"][0]["line"], 3, "{refused}");
    assert_eq!(operator("GET", "/v1/shows/8", "", 200).await["is_planned"], true);
    operator("GET", "/v1/shows/8/file", "", 200).await;
    operator("GET", "/v1/shows/3/file", "", 200).await;
    operator("GET", "/v1/shows/9/file", "", 404).await;
    operator("GET", "/v1/shows", "", 200).await;
    operator("POST", "/v1/shows/8/cancel", "", 409).await;
    let questions = show["questions"].to_string();
    let answer = operator("POST", "/v1/questions/check", &questions, 200).await;
    assert_eq!(answer["questions"], show["questions"]);
    let as_csv = "content-type: text/csv\r\n";
    let csv = "text,option_1,option_2,correct\nWhich?,a,a,1\n";
    let path = "/v1/questions/check";
    let refused = served.ask_with(At::Operator, "POST", path, as_csv, csv, 422).await;
    assert_eq!(refused["error"]["problems"][0]["key"], "option_2", "{refused}");

    assert_eq!(operator("GET", "/v1/rehearsal", "", 200).await["state"], "none");
    let begin = |robots: u32| json!({ "show": 8, "robots": robots, "by_hand": true }).to_string();
    // One whose prize is settled is not over until it has ended.
    operator("POST", "/v1/rehearsal", &begin(5), 409).await;
    served
        .until("/v1/shows/3", |show| {
            show["allowed"].as_array().is_some_and(|it| it.iter().any(|word| word == "end"))
        })
        .await;
    operator("POST", "/v1/shows/3/end", "", 200).await;
    served.until("/v1/shows/3", |show| show["phase"] == "ended").await;
    operator("POST", "/v1/rehearsal", &begin(501), 422).await;
    assert_eq!(operator("POST", "/v1/rehearsal", &begin(5), 200).await["state"], "runs");
    operator("POST", "/v1/rehearsal", &begin(5), 409).await;
    operator("DELETE", "/v1/rehearsal", "", 200).await;
    served.until("/v1/rehearsal", |it| it["state"] == "over").await;
    operator("DELETE", "/v1/rehearsal", "", 409).await;

    let path = format!("/v1/shows/8?version={}", filed["version"]);
    operator("DELETE", "/v1/shows/8", "", 400).await;
    operator("DELETE", &path, "", 200).await;
    operator("DELETE", &path, "", 404).await;
}

async fn rooms(served: &Served) {
    let operator = async |method: &str, path: &str, body: &str, status: u16| {
        served.ask(At::Operator, method, path, body, status).await
    };
    let settings = r#"{"chat_per_second":50,"opaque_allowed":false,"low_per_second":9,"kept_kinds":[1],
        "slow_readers":{"low":"gap"},"egress_bytes_per_second":100000}"#;
    operator("PUT", "/v1/rooms/7", settings, 200).await;
    operator("PUT", "/v1/rooms/7", r#"{"chats":1}"#, 400).await;
    operator("PUT", "/v1/rooms/8", "", 200).await;
    operator("GET", "/v1/rooms/7", "", 200).await;
    operator("GET", "/v1/rooms/77", "", 404).await;
    let page = operator("GET", "/v1/rooms?after=1&limit=1", "", 200).await;
    assert_eq!(page["next_after"], 7, "{page}");
    operator("GET", "/v1/rooms?limit=0", "", 400).await;
    operator("GET", "/v1/rooms/7/online", "", 200).await;
    operator("GET", "/v1/rooms/0/online", "", 400).await;
    operator("GET", "/v1/online", "", 200).await;
    let publish = r#"{"lane":"high","kind":1,"messages":["aGVsbG8="]}"#;
    operator("POST", "/v1/rooms/7/publish", publish, 200).await;
    operator("POST", "/v1/rooms/7/publish", r#"{"lane":"top","messages":["aGk="]}"#, 400).await;
    served.until("/v1/rooms/7/history?lane=high", |page| page["next_version"] == 2).await;
    operator("GET", "/v1/rooms/7/history?lane=high&from=1&limit=5", "", 200).await;
    operator("GET", "/v1/rooms/7/history?lane=left", "", 400).await;
    let mut member = served.member(2, 7).await;
    member.request("say", json!({"chat": {"text": "hello"}})).await;
    member.until_response("say").await;
    served.until("/v1/rooms/7/history", |page| page["next_version"] == 2).await;
    let chats = operator("GET", "/v1/rooms/7/history", "", 200).await;
    assert_eq!(chats["messages"][0]["text"], "hello", "{chats}");
    let broadcast = r#"{"rooms":[7,30],"lane":"mid","messages":["aGk="]}"#;
    operator("POST", "/v1/broadcast", broadcast, 200).await;
    operator("POST", "/v1/broadcast", r#"{"rooms":[],"lane":"mid","messages":["aGk="]}"#, 400)
        .await;
    once(served).await;
    let batch = json!({"operations": [
        {"publish": {"room": 7, "lane": "high", "messages": ["aGk="]}},
        {"broadcast": {"rooms": [7], "lane": "mid", "messages": ["aGk="]}},
        {"configure_room": {"room": 6, "settings": {"low_per_second": 9}}},
        {"mute": {"user": 3, "seconds": 60}},
        {"unmute": {"user": 3}},
        {"ban": {"user": 4}},
        {"unban": {"user": 4}},
        {"disconnect": {"user": 4}},
        {"revoke_user": {"user": 4}},
        {"revoke_token": {"token": "a-phone"}},
        {"close_room": {"room": 30}},
        {"close_room": {"room": 6}},
    ]});
    let done = operator("POST", "/v1/batch", &batch.to_string(), 200).await;
    assert_eq!(done["results"][10]["error"]["code"], "invalid", "{done}");
    operator("POST", "/v1/batch", r#"{"operations":[]}"#, 400).await;
    operator("POST", "/v1/rooms/8/close", "", 200).await;
    operator("POST", "/v1/rooms/30/close", "", 422).await;
}

/// With a key, a request is done once.
async fn once(served: &Served) {
    let publish =
        |kind: u32| json!({"lane": "high", "kind": kind, "messages": ["aGk="]}).to_string();
    let (path, key) = ("/v1/rooms/7/publish", "idempotency-key: gift-1\r\n");
    let with = async |headers: &str, kind: u32, status: u16| {
        served.ask_with(At::Operator, "POST", path, headers, &publish(kind), status).await
    };
    let first = with(key, 1, 200).await;
    assert_eq!(with(key, 1, 200).await, first);
    with(key, 2, 422).await;
    with("idempotency-key: a b\r\n", 1, 400).await;
    let long = format!(r#"{{"lane":"{}"}}"#, "x".repeat(3 << 20));
    served.ask(At::Operator, "POST", path, &long, 413).await;
}

/// Whoever accepts Protobuf gets it where the document says so, errors too; shows speak JSON.
async fn protobuf(served: &Served) {
    let accept = "accept: application/x-protobuf\r\n";
    for (path, status) in [
        ("/v1/rooms", 200),
        ("/v1/rooms/7", 200),
        ("/v1/rooms/77", 404),
        ("/v1/rooms/7/online", 200),
        ("/v1/rooms/7/history?lane=high", 200),
        ("/v1/online", 200),
        ("/v1/bans", 200),
    ] {
        let json = served.ask_with(At::Operator, "GET", path, accept, "", status).await;
        assert_eq!(json, Value::Null, "{path}");
    }
    let show = served.ask_with(At::Operator, "GET", "/v1/shows/3", accept, "", 200).await;
    assert_eq!(show["id"], 3);
}

async fn users(served: &Served) {
    let operator = async |method: &str, path: &str, body: &str, status: u16| {
        served.ask(At::Operator, method, path, body, status).await
    };
    for (word, body, wrong, status) in [
        ("mute", r#"{"seconds":600,"room":7}"#, r#"{"seconds":0}"#, 400),
        ("unmute", r#"{"room":7}"#, r#"{"room":0}"#, 400),
        ("ban", r#"{"until":4000000000}"#, r#"{"until":1}"#, 422),
        ("disconnect", r#"{"reconnect":true}"#, r#"{"user":8}"#, 400),
        ("revoke", r#"{"issued_until":1800000000}"#, r#"{"issued":1}"#, 400),
    ] {
        let path = format!("/v1/users/43/{word}");
        operator("POST", &path, body, 200).await;
        operator("POST", &path, wrong, status).await;
    }
    operator("POST", "/v1/users/43/mute", r#"{"seconds":600}"#, 200).await;
    operator("GET", "/v1/bans?limit=1", "", 200).await;
    operator("GET", "/v1/bans?before=1", "", 400).await;
    operator("POST", "/v1/users/43/unban", "", 200).await;
    operator("POST", "/v1/users/x/unban", "", 400).await;
    operator("POST", "/v1/tokens/phone-7/revoke", r#"{"expires":4000000000}"#, 200).await;
    operator("POST", &format!("/v1/tokens/{}/revoke", "x".repeat(257)), "", 400).await;
}

async fn drain(served: &Served) {
    let operator = async |method: &str, body: &str, status: u16| {
        served.ask(At::Operator, method, "/v1/drain", body, status).await
    };
    assert_eq!(operator("GET", "", 200).await["state"], "off");
    let plan = r#"{"spread_ms":3600000,"countdown_wait_max_ms":3600000,"timeout_ms":1000,"to":["wss://b.example/"]}"#;
    assert_eq!(operator("POST", plan, 200).await["to"], json!(["wss://b.example/"]));
    operator("POST", "", 409).await;
    served.until("/v1/drain", |drain| drain["state"] == "leaving").await;
    let load = served.ask(At::Operator, "GET", "/v1/load", "", 200).await;
    assert_eq!(load["state"], "draining");
    assert_eq!(operator("DELETE", "", 200).await["state"], "off");
    operator("POST", r#"{"spread_ms":3600001}"#, 400).await;
}

async fn players(served: &Served, played: &Played) {
    for path in ["/v1/shows", "/v1/shows/3", "/v1/leaderboard?limit=3"] {
        served.ask(At::Players, "GET", path, "", 200).await;
    }
    served.fill_the_book();
    served.until_at(At::Players, "/v1/shows/3/leaderboard", |it| it["players"] != 0).await;
    served.ask(At::Players, "GET", "/v1/shows/3/leaderboard?limit=3", "", 200).await;
    for path in [
        "/v1/shows/3/leaderboard/me",
        "/v1/shows/3/share",
        "/v1/leaderboard/me",
        "/v1/me/bonuses?limit=2",
        "/v1/me/bonuses",
        "/v1/me/withdrawals",
        "/v1/me/invitations?limit=10",
    ] {
        let answer = served.own(1, "GET", path, "", 200).await;
        assert!(answer.as_object().is_some_and(|it| !it.is_empty()), "{path}");
    }
    served.own(9, "GET", "/v1/leaderboard/me", "", 200).await;
    let redeem = json!({"code": played.code}).to_string();
    served.own(2, "POST", "/v1/me/invitations", &redeem, 200).await;
    served.own(2, "POST", "/v1/me/invitations", r#"{"code":"NOCODE"}"#, 409).await;
    served.own(1, "POST", "/v1/me/withdrawals", r#"{"cents":1}"#, 400).await;
    let key = "idempotency-key: openapi-2\r\n";
    served.own_with(1, "POST", "/v1/me/withdrawals", key, r#"{"cents":1000000}"#, 409).await;
    for path in ["/v1/shows/9", "/v1/shows/9/leaderboard"] {
        served.ask(At::Players, "GET", path, "", 404).await;
    }
    served.ask(At::Players, "GET", "/v1/leaderboard?limit=0", "", 400).await;
    for path in ["/v1/shows/9/leaderboard/me", "/v1/shows/9/share"] {
        served.own(1, "GET", path, "", 404).await;
    }
    for path in ["/v1/me/bonuses?limit=0", "/v1/me/withdrawals?after=1", "/v1/me/invitations?x=1"] {
        served.own(1, "GET", path, "", 400).await;
    }
    too_often(served).await;
    // Tokens that were issued by then are of no use any more.
    served.ask(At::Operator, "POST", "/v1/users/8/ban", "", 200).await;
    served.own(8, "GET", "/v1/me", "", 403).await;
}

async fn too_often(served: &Served) {
    for operation in Document::read(PLAYERS).operations() {
        let target = filled(operation.path);
        served.ask(At::Crowded, &operation.method.to_uppercase(), &target, "", 429).await;
    }
}

/// A path with something for its variables.
fn filled(path: &str) -> String {
    let fill = |part: &str| match part {
        "{command}" => "publish".to_owned(),
        "{word}" => "start".to_owned(),
        part if part.starts_with('{') => "3".to_owned(),
        part => part.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// Without its token, everything that asks for one is refused; without any, a web page is.
async fn guarded(served: &Served) {
    for (name, guarded) in [(OPERATOR, At::Guarded), (PLAYERS, At::Players)] {
        for operation in Document::read(name).operations().iter().filter(|it| !it.is_open()) {
            let (method, target) = (operation.method.to_uppercase(), filled(operation.path));
            let refused: Value = served.ask(guarded, &method, &target, "", 401).await;
            assert!(refused["error"]["message"].as_str().is_some());
            if name == OPERATOR {
                let page = "origin: https://quiz.example\r\n";
                served.ask_with(At::Operator, &method, &target, page, "", 403).await;
            }
        }
    }
    let token = "authorization: Bearer sixteen-bytes-or\r\n";
    served.ask_with(At::Guarded, "GET", "/v1/shows", token, "", 200).await;
}
