//! The server API over HTTP, against a running gateway and its clients. The examples of
//! `docs/server-api.md` are run as they stand there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::ops::http::{OperatorHttp, OperatorView};
use tidegate::runtime::gateway::Gateway;

use client::{Client, gateway, token};

/// A gateway with the operator's HTTP.
struct Served {
    gateway: Gateway,
    http: OperatorHttp,
}

impl Served {
    fn start(shards: u16) -> Served {
        let gateway = gateway(shards);
        let view = OperatorView::of(&gateway);
        let http = OperatorHttp::start(SocketAddr::from(([127, 0, 0, 1], 0)), view).unwrap();
        Served { gateway, http }
    }

    /// Status and JSON of the answer.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.ask_with(method, path, "", body).await
    }

    async fn ask_with(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let address = self.http.local_address();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        );
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = asked.await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, &body.to_string()).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn stop(self) {
        self.http.stop();
        self.gateway.stop();
    }
}

#[tokio::test]
async fn what_is_broadcast_all_rooms_hear_and_history_has_it() {
    let served = Served::start(2);
    let mut clients = Vec::new();
    for room in 1..=6 {
        clients.push(Client::in_room(&served.gateway, 100 + room, room).await);
    }
    let message = json!({"lane": "high", "rooms": [1, 2, 3, 4, 5], "messages": ["aGk="]});
    let done = served.post("/v1/broadcast", message).await;
    for (place, result) in (1..).zip(done["results"].as_array().unwrap()) {
        assert_eq!(
            (&result["room"], &result["published"]["last_version"]),
            (&json!(place), &json!(1))
        );
    }
    for client in &mut clients[..5] {
        assert_eq!(client.until("roomMessage").await["data"], "aGk=");
    }
    for count in 0..3 {
        clients[0].request("say", json!({"chat": {"text": format!("hello {count}")}})).await;
        clients[0].until_response("say").await;
    }
    // What is said has its version at once, and its place with the room's next tick.
    let mut next = Value::Null;
    for _ in 0..200 {
        next = served.get("/v1/rooms/1/history").await["next_version"].take();
        if next == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(next, 4);
    let page = served.get("/v1/rooms/1/history?lane=low&from=1&limit=2").await;
    let texts: Vec<_> = page["messages"].as_array().unwrap().iter().map(|it| &it["text"]).collect();
    assert_eq!(texts, ["hello 0", "hello 1"], "{page}");
    assert_eq!((&page["next_from"], &page["messages"][0]["user"]), (&json!(3), &json!(101)));
    let rest = served.get("/v1/rooms/1/history?from=3").await;
    assert_eq!(rest["messages"][0]["text"], "hello 2", "{rest}");
    assert_eq!(rest["next_from"], Value::Null);
    let high = served.get("/v1/rooms/1/history?lane=high").await;
    assert_eq!(high["messages"][0]["data"], "aGk=", "{high}");
    assert_eq!(served.ask("GET", "/v1/rooms/77/history", "").await.0, 404);
    drop(clients);
    served.stop();
}

#[tokio::test]
async fn rooms_have_settings_and_a_count() {
    let served = Served::start(2);
    let settings = r#"{"opaque_allowed":false,"chat_per_second":40}"#;
    let (status, room) = served.ask("PUT", "/v1/rooms/5", settings).await;
    assert_eq!((status, &room["created"]), (200, &json!(true)), "{room}");
    assert_eq!(room["settings"], json!({"opaque_allowed": false, "chat_per_second": 40}));
    assert_eq!(room["effective"]["low_per_second"], 100, "{room}");
    let mut clients = Vec::new();
    for user in 1..=4 {
        clients.push(Client::in_room(&served.gateway, user, 5).await);
    }
    for client in &mut clients {
        // On whichever shard it is.
        client.request("data", json!({"publish": {"lane": "LANE_LOW", "data": "aGk="}})).await;
        assert_eq!(client.until_response("data").await["reason"], "REASON_OPAQUE_FORBIDDEN");
    }
    let mut online = Value::Null;
    for _ in 0..200 {
        online = served.get("/v1/rooms/5/online").await["online"].take();
        if online == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(online, 4, "shards tell the home soon");
    assert_eq!(served.get("/v1/rooms/99/online").await["online"], 0);
    let rooms = served.get("/v1/rooms").await;
    assert_eq!(rooms["rooms"], json!([{"room": 5, "online": 4, "created": true}]));
    assert_eq!(served.get("/v1/online").await["users"], 4);
    served.post("/v1/rooms/5/close", json!({})).await;
    assert_eq!(served.ask("PUT", "/v1/rooms/5", "").await.0, 422);
    drop(clients);
    served.stop();
}

#[tokio::test]
async fn users_are_banned_on_every_shard_and_disconnected() {
    let served = Served::start(2);
    let mut banned = Client::in_room(&served.gateway, 7, 5).await;
    let mut moved = Client::in_room(&served.gateway, 8, 5).await;
    assert_eq!(served.post("/v1/users/7/ban", json!({})).await["banned"], true);
    assert_eq!(banned.closed().await, 4010);
    for _ in 0..6 {
        let mut again = Client::connect(&served.gateway, &format!("/?token={}", token(7))).await;
        assert_eq!(again.next().await["failure"]["reason"], "REASON_BANNED");
        assert_eq!(again.closed().await, 4010);
    }
    let listed = served.get("/v1/bans").await;
    assert_eq!(listed["bans"], json!([{"user": 7, "banned": true}]));
    let done = served.post("/v1/users/8/disconnect", json!({"reconnect": true})).await;
    assert_eq!(done["disconnected"], true);
    assert_eq!(moved.closed().await, 4011);
    served.post("/v1/users/7/unban", json!({})).await;
    Client::in_room(&served.gateway, 7, 5).await;
    served.stop();
}

#[tokio::test]
async fn a_key_publishes_once_and_a_batch_does_what_it_can() {
    let served = Served::start(2);
    let body = r#"{"lane":"high","messages":["aGk="]}"#;
    let key = "idempotency-key: order-66\r\n";
    let first = served.ask_with("POST", "/v1/rooms/5/publish", key, body).await;
    assert_eq!(served.ask_with("POST", "/v1/rooms/5/publish", key, body).await, first);
    assert_eq!(served.get("/v1/rooms/5").await["lanes"][0]["next_version"], 2);
    let operations = json!({"operations": [
        {"publish": {"room": 5, "lane": "high", "messages": ["aGk="]}},
        {"configure_room": {"room": 6, "settings": {"low_per_second": 9}}},
        {"mute": {"user": 3, "seconds": 60}},
        {"ban": {"user": 4, "until": 1}},
        {"close_room": {"room": 5}},
        {"publish": {"room": 5, "lane": "high", "messages": ["aGk="]}},
    ]});
    let done = served.post("/v1/batch", operations).await;
    let results = done["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 200, 200, 422, 200, 422].map(Some), "{done}");
    assert_eq!(results[0]["published"]["last_version"], 2);
    assert_eq!(results[1]["room"]["effective"]["low_per_second"], 9);
    served.stop();
}

/// The words of a shell's line: single quotes keep what is in them together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[tokio::test]
async fn the_examples_of_the_document_work() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/server-api.md");
    let text = std::fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let examples = text.lines().filter(|line| line.starts_with("curl "));
    let served = Served::start(2);
    let _member = Client::in_room(&served.gateway, 42, 7).await;
    let mut count = 0;
    for example in examples {
        let (mut method, mut headers, mut body, mut target) =
            ("GET".to_owned(), String::new(), String::new(), String::new());
        let mut rest = words(example).into_iter().skip(1);
        while let Some(word) = rest.next() {
            match &*word {
                "-s" => {}
                "-X" => method = rest.next().unwrap(),
                "-H" => headers += &format!("{}\r\n", rest.next().unwrap()),
                "-d" => {
                    body = rest.next().unwrap();
                    if method == "GET" {
                        method = "POST".to_owned();
                    }
                }
                _ => target = word.strip_prefix("localhost:8091").unwrap().to_owned(),
            }
        }
        let (status, answer) = served.ask_with(&method, &target, &headers, &body).await;
        assert_eq!(status, 200, "{example}\n{answer}");
        count += 1;
    }
    assert!(count >= 12, "{count} examples");
    served.stop();
}
