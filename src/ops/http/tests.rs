use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64};

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::base::ids::{RoomId, ShowId};
use crate::base::metrics::{Counters, Metric};
use crate::ops::http::schema::{Answer, proto as server};
use crate::quiz::director::Command;
use crate::shard::mail::ServiceMessages;
use crate::shard::service::{Broadcast, ServiceRequest};

mod once;
mod protobuf;
mod server_api;
mod shows;

/// Knows show 1; answers with what it was asked.
#[derive(Default)]
struct Echo {
    /// How often something was published, to tell whether it was done again.
    published: AtomicU64,
}

impl Echo {
    fn serve(&self, request: ServerRequest) -> Result<Answer, OperatorRefusal> {
        Ok(match request {
            ServerRequest::Publish(ServiceMessages { room, messages, .. }) => {
                if room == RoomId(503) {
                    let reason = "the high lane is full".to_owned();
                    return Err(OperatorRefusal::Unavailable { reason });
                }
                let last_version = self.published.fetch_add(1, Ordering::Relaxed) + 1;
                let first_version = messages.len() as u64;
                let (room, epoch) = (room.0, 1);
                Answer::Published(server::Published { room, epoch, first_version, last_version })
            }
            ServerRequest::Broadcast(Broadcast { rooms, .. }) => {
                let results = rooms.iter().map(|room| server::RoomOutcome {
                    room: room.0,
                    answer: Some(server::room_outcome::Answer::Published(Default::default())),
                });
                Answer::Broadcast(server::BroadcastDone { results: results.collect() })
            }
            ServerRequest::CloseRoom { room } => {
                Answer::RoomClosed(server::RoomClosed { room: room.0, closed: true })
            }
            ServerRequest::Service(ServiceRequest::Room(room)) => {
                return Err(OperatorRefusal::UnknownRoom { reason: format!("no room {room}") });
            }
            // The request itself, where a token's name stands.
            other => {
                let token = format!("{other:?}");
                Answer::TokenRevoked(server::TokenRevoked { token, revoked: true })
            }
        })
    }
}

impl OperatorPort for Echo {
    fn request(&self, request: OperatorRequest, reply: OperatorReply) {
        let outcome: Result<_, _> = match request {
            OperatorRequest::Once { request, .. } => return self.request(*request, reply),
            OperatorRequest::Shows => Ok(json!([{ "id": 1 }])),
            OperatorRequest::Messages { show: ShowId(1) } => Ok(json!([{ "version": 1 }, {}])),
            OperatorRequest::Messages { show } => Err(OperatorRefusal::UnknownShow { show }),
            OperatorRequest::Show { show: ShowId(1) } => Ok(json!({ "id": 1, "phase": "lobby" })),
            OperatorRequest::Command { show: ShowId(1), command, .. } => match command {
                Command::Settle => {
                    Err(OperatorRefusal::NotNow { reason: "the show is in its lobby".to_owned() })
                }
                Command::Rejudge { question, .. } if question.0 > 0 => {
                    Err(OperatorRefusal::Invalid { reason: "question 0 is the last".to_owned() })
                }
                Command::Pause => {
                    Err(OperatorRefusal::Unavailable { reason: "starting".to_owned() })
                }
                // The gateway stops while it is asked.
                Command::End => return drop(reply),
                command => Ok(json!({ "command": format!("{command:?}") })),
            },
            OperatorRequest::Server(request) => return reply.send(self.serve(request)),
            OperatorRequest::Rain { show, command, .. } => {
                Ok(json!({ "id": show.0, "rain": format!("{command:?}") }))
            }
            OperatorRequest::CloseWithdrawal { user, number, is_paid } => {
                Ok(json!({ "user": user.0, "withdrawal": number, "is_paid": is_paid }))
            }
            OperatorRequest::GrantCard { user } => Ok(json!({ "user": user.0, "cards": 1 })),
            OperatorRequest::ExpireCards { user, cards_max } => {
                Ok(json!({ "user": user.0, "cards": 0, "cards_max": cards_max }))
            }
            OperatorRequest::ReloadWords => Ok(json!({ "words": 3 })),
            OperatorRequest::TryText { text } => Ok(json!({ "tried": text })),
            OperatorRequest::ChangePlan(change) => {
                Ok(json!({ "version": change.seen, "title": change.file.definition.title }))
            }
            OperatorRequest::Show { show }
            | OperatorRequest::Script { show }
            | OperatorRequest::Filed { show }
            | OperatorRequest::WithdrawPlan { show, .. }
            | OperatorRequest::Command { show, .. } => Err(OperatorRefusal::UnknownShow { show }),
        };
        reply.send(outcome);
    }
}

struct Server {
    http: OperatorHttp,
    shard: Arc<ShardSnapshot>,
    readiness: Arc<Readiness>,
    /// Whether the shard publishes when it is woken.
    is_alive: Arc<AtomicBool>,
}

/// One shard that publishes when it is woken, if it is alive.
fn view(token: Option<&str>, shard: Arc<ShardSnapshot>, is_alive: Arc<AtomicBool>) -> OperatorView {
    let woken = Arc::clone(&shard);
    OperatorView {
        token: token.map(|token| Secret::new(token.as_bytes().to_vec())),
        health_stale: Duration::from_secs(5),
        connections_max: 1_000,
        shards: vec![shard],
        readiness: Arc::new(Readiness::new()),
        keys: Arc::default(),
        config: Arc::default(),
        certificates: Arc::default(),
        kernel: Arc::default(),
        players: Arc::default(),
        ledger: None,
        drain: None,
        rehearsals: None,
        port: Arc::new(Echo::default()),
        clock: DisplayClock::default(),
        console: None,
        wake: Box::new(move || {
            if is_alive.load(Ordering::Relaxed) {
                woken.publish(&Counters::new(), Time::from_millis(10_000));
            }
        }),
        now: Box::new(|| Time::from_millis(10_000)),
    }
}

/// A server whose clock stands at 10 s.
fn server(token: Option<&str>) -> Server {
    let shard = Arc::new(ShardSnapshot::new(Time::from_millis(9_000)));
    let is_alive = Arc::<AtomicBool>::default();
    let view = view(token, Arc::clone(&shard), Arc::clone(&is_alive));
    let readiness = Arc::clone(&view.readiness);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let http = OperatorHttp::start(address, view).expect("a free port");
    Server { http, shard, readiness, is_alive }
}

impl Server {
    /// Sends `head` (request line and headers, in lines) and `body`; the answer as it came.
    fn raw(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.http.local_address()).expect("connects");
        let head = head.replace('\n', "\r\n");
        let request = format!(
            "{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Status and body of an answer.
    fn ask(&self, line: &str, body: &str) -> String {
        let answer = self.raw(&format!("{line} HTTP/1.1"), body);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.lines().next().and_then(|line| line.split(' ').nth(1));
        format!("{} {body}", status.expect("a status"))
    }

    fn check(&self, line: &str, body: &str, expected: &Expect) {
        expected.assert_eq(&self.ask(line, body));
    }
}

#[test]
fn health_is_the_age_of_the_shards() {
    let server = server(None);
    server.check(
        "GET /healthz",
        "",
        &expect![[r#"200 {"healthy":true,"shards":[{"age_ms":1000,"healthy":true,"shard":0}]}"#]],
    );
    server.shard.publish(&Counters::new(), Time::from_millis(4_999));
    server.check(
        "GET /healthz",
        "",
        &expect![[r#"503 {"healthy":false,"shards":[{"age_ms":5001,"healthy":false,"shard":0}]}"#]],
    );
    server.http.stop();
}

#[test]
fn a_shard_that_only_slept_is_healthy() {
    let server = server(None);
    server.shard.publish(&Counters::new(), Time::ZERO);
    server.is_alive.store(true, Ordering::Relaxed);
    server.check(
        "GET /healthz",
        "",
        &expect![[r#"200 {"healthy":true,"shards":[{"age_ms":0,"healthy":true,"shard":0}]}"#]],
    );
    server.http.stop();
}

#[test]
fn readiness_is_what_the_process_says() {
    let server = server(None);
    server.check("GET /readyz", "", &expect![[r#"503 {"ready":false,"state":"starting"}"#]]);
    server.readiness.set(ReadyState::Accepting);
    server.check("GET /readyz", "", &expect![[r#"200 {"ready":true,"state":"accepting"}"#]]);
    server.readiness.set(ReadyState::Draining);
    server.check("GET /readyz", "", &expect![[r#"503 {"ready":false,"state":"draining"}"#]]);
    server.http.stop();
}

#[test]
fn metrics_are_prometheus_text() {
    let server = server(Some("sixteen-bytes-or"));
    let mut counters = Counters::new();
    counters.add(Metric::ConnectionsAccepted, 42);
    server.shard.publish(&counters, Time::from_millis(10_000));
    let answer = server.raw("GET /metrics HTTP/1.1", "");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(answer.contains("\ntidegate_connections_accepted_total{shard=\"0\"} 42\n"), "{answer}");
    server.http.stop();
}

#[test]
fn rains_and_withdrawals() {
    let server = server(None);
    for (line, body, expected) in [
        (
            "POST /v1/shows/1/rain-fund",
            r#"{"cents":500}"#,
            expect![[r#"200 {"id":1,"rain":"Fund(Cents(500))"}"#]],
        ),
        (
            "POST /v1/shows/1/rains",
            r#"{"pool_cents":500,"packets":50,"duration_ms":3000,"taps_max":2}"#,
            expect![[
                r#"200 {"id":1,"rain":"Plan(RainSettings { pool: Cents(500), packets: 50, win_per_10000: 5000, taps_max: 2, show_packets_max: 0, duration: 3s })"}"#
            ]],
        ),
        (
            "POST /v1/shows/1/rains",
            r#"{"pool_cents":500}"#,
            expect![[
                r#"400 {"error":{"code":"bad_body","message":"a rain expects {\"pool_cents\":100000,\"packets\":500,\"duration_ms\":30000}: missing field `packets` at line 1 column 18"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/rains/0/start",
            "",
            expect![[r#"200 {"id":1,"rain":"Start(RainIndex(0))"}"#]],
        ),
        (
            "POST /v1/shows/1/rains/-1/end",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_rain","message":"`-1` is not the number of a rain: they are counted from 0"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/rains/0/stop",
            "",
            expect![[
                r#"404 {"error":{"code":"unknown_command","message":"there is no `stop`; `start` and `end` are possible"}}"#
            ]],
        ),
        (
            "POST /v1/users/7/withdrawals/3/reversed",
            "",
            expect![[r#"200 {"is_paid":false,"user":7,"withdrawal":3}"#]],
        ),
        (
            "POST /v1/users/7/withdrawals/w-1/paid",
            "",
            expect![[
                r#"400 {"error":{"code":"bad_withdrawal_number","message":"`w-1` is not the id of a withdrawal: a whole number from 1"}}"#
            ]],
        ),
    ] {
        server.check(line, body, &expected);
    }
    server.http.stop();
}

#[test]
fn what_is_not_there() {
    let server = server(None);
    for (line, expected) in [
        (
            "GET /v1/shows/%ff",
            expect![[
                r#"400 {"error":{"code":"bad_path","message":"Invalid URL: Invalid UTF-8 in `id`"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1/%ff",
            expect![[
                r#"400 {"error":{"code":"bad_path","message":"Invalid URL: Invalid UTF-8 in `command`"}}"#
            ]],
        ),
        (
            "GET /",
            expect![[r#"404 {"error":{"code":"not_found","message":"there is nothing at /"}}"#]],
        ),
        (
            "GET /v1/show",
            expect![[
                r#"404 {"error":{"code":"not_found","message":"there is nothing at /v1/show"}}"#
            ]],
        ),
        (
            "POST /metrics",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"POST is not for /metrics; use GET, HEAD"}}"#
            ]],
        ),
        (
            "POST /v1/shows/1",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"POST is not for /v1/shows/1; use GET, HEAD, PUT, DELETE"}}"#
            ]],
        ),
        (
            "GET /v1/shows/1/publish",
            expect![[
                r#"405 {"error":{"code":"method_not_allowed","message":"GET is not for /v1/shows/1/publish; use POST"}}"#
            ]],
        ),
    ] {
        server.check(line, "", &expected);
    }
    let answer = server.raw("GET /v1/shows/1/publish HTTP/1.1", "");
    assert_eq!(answer.matches("allow: ").count(), 1, "{answer}");
    assert!(answer.contains("allow: POST\r\n"), "{answer}");
    let answer = server.ask("POST /v1/shows/1/publish", &"x".repeat(5_000));
    assert!(answer.starts_with("413 {\"error\":{\"code\":\"bad_body\""), "{answer}");
    server.http.stop();
}

#[test]
fn the_token_guards_the_shows_but_not_the_health() {
    let server = server(Some("sixteen-bytes-or"));
    server.check("GET /v1/shows", "", &expect![[r#"401 {"error":{"code":"not_allowed","message":"send `Authorization: Bearer …` with the token of operator.token"}}"#]]);
    server.check("POST /v1/shows/1/publish", "", &expect![[r#"401 {"error":{"code":"not_allowed","message":"send `Authorization: Bearer …` with the token of operator.token"}}"#]]);
    let with = |line: &str, token: &str| {
        server.raw(&format!("{line} HTTP/1.1\nauthorization: Bearer {token}"), "")
    };
    let answer = with("POST /v1/shows/1/publish", "sixteen-bytes-or");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = with("POST /v1/shows/1/publish", "sixteen-bytes-ox");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    assert!(server.ask("GET /healthz", "").starts_with("200 "));
    server.http.stop();
}

#[test]
fn without_a_token_no_web_page_gets_in() {
    let server = server(None);
    let head = "POST /v1/shows/1/publish HTTP/1.1\norigin: https://example.org";
    assert!(server.raw(head, "").starts_with("HTTP/1.1 403 "));
    server.http.stop();
}

#[test]
fn a_taken_port_is_said_with_the_remedy() {
    let server = server(None);
    let address = server.http.local_address();
    let view = view(None, Arc::new(ShardSnapshot::new(Time::ZERO)), Arc::default());
    let Err(error) = OperatorHttp::start(address, view) else { panic!("the port is taken") };
    let text = error.to_string().replace(&address.to_string(), "ADDRESS");
    expect!["operator.listen ADDRESS: Address already in use (os error 98); stop what listens there, or set operator.listen to another"].assert_eq(&text);
    server.http.stop();
}

#[test]
fn stopping_closes_idle_connections_and_frees_the_port() {
    let server = server(None);
    let address = server.http.local_address();
    let mut idle = TcpStream::connect(address).expect("connects");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("sends");
    let mut first = [0; 12];
    idle.read_exact(&mut first).expect("an answer");
    server.http.stop();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("closed in order");
    assert!(TcpStream::connect(address).is_err());
}
