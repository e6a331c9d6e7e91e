//! Draining, as an operator and clients meet it: nobody is refused, no answer is lost, and it can be
//! ended.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "a process of its own is looked at by the wall clock"
)]

mod client;
mod serving;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use client::{Client, token, until};
use serving::{Serving, upgrade_status};

/// When each client was closed, since now, and what it was told; in the order of the closes.
async fn closes(clients: Vec<Client>) -> Vec<(Duration, u16, String)> {
    let begun = Instant::now();
    let closed = clients.into_iter().map(|mut client| async move {
        let (code, text) = client.closed_saying().await;
        (begun.elapsed(), code, text)
    });
    let mut closes = futures_util::future::join_all(closed).await;
    closes.sort();
    closes
}

#[tokio::test]
async fn connections_are_asked_to_leave_over_the_time_and_the_process_ends() {
    const COUNT: usize = 300;
    let serving = Serving::start(&[]);
    let audience = serving.audience(1..COUNT as u64 + 1).await;
    let off = json!({"state": "off", "connections": COUNT});
    until("all are counted", || serving.state() == off);
    let begun = serving.drain(&json!({
        "spread_ms": 3_000, "timeout_ms": 5_000, "to": ["wss://b.example/", "wss://c.example/"],
    }));
    assert_eq!(
        (&begun["spread_ms"], &begun["can_abort"]),
        (&json!(3_000), &json!(true)),
        "{begun}"
    );
    until("it leaves", || serving.state()["state"] == "leaving");
    assert_eq!(serving.ready_state(), "draining");
    assert!(serving.has_metric("tidegate_drain_state{state=\"leaving\"} 1"));
    let twice = serving.ask("POST", "/v1/drain", "");
    assert_eq!((twice.0, &twice.1["error"]["code"]), (409, &json!("not_now")));
    let closes = closes(audience).await;

    assert!(closes.iter().all(|(_, code, _)| *code == 1001), "{closes:?}");
    let sent_to = |to: &str| closes.iter().filter(|(_, _, text)| text.ends_with(to)).count();
    let text = "going_away within_ms=7000 to=wss://";
    let (to_b, to_c) =
        (sent_to(&format!("{text}b.example/")), sent_to(&format!("{text}c.example/")));
    assert_eq!(to_b + to_c, COUNT, "{closes:?}");
    assert!(to_b.abs_diff(to_c) <= 2, "{to_b} and {to_c}");
    // Evenly: each fifth of them takes about a fifth of the time.
    let at = |part: usize| closes[(COUNT - 1) * part / 5].0.as_millis();
    for part in 1..5 {
        let took = at(part + 1) - at(part);
        assert!((150..1_500).contains(&took), "part {part} took {took} ms");
    }
    let (status, log) = serving.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("drain: over, the process ends") && log.contains("stopped"), "{log}");
}

#[tokio::test]
async fn a_countdown_is_waited_for_and_its_answers_count() {
    let serving = Serving::start(&[]);
    serving.done("POST", "/v1/shows/7/open-lobby", &Value::Null);
    let mut player = serving.in_room(1).await;
    serving.done("POST", "/v1/shows/7/publish", &Value::Null);
    player.until("question").await;

    let waits = serving.drain(&json!({"spread_ms": 0, "timeout_ms": 20_000}));
    assert_eq!(waits["state"], "waiting", "{waits}");
    until("it says for what", || {
        serving.state()["waiting_for"] == json!([{"show": 7, "question": 0}])
    });
    assert_eq!(serving.ready_state(), "accepting");
    // Whoever lost its connection comes back.
    let mut late = serving.in_room(2).await;
    let answer = json!({"answer": {"showId": "7", "question": 0, "option": 0}});
    player.request("a", answer).await;
    let response = player.until_response("a").await;
    assert!(!response["answerReceived"].is_null(), "{response}");
    let (code, text) = player.closed_saying().await;
    assert_eq!((code, &*text), (1001, "going_away within_ms=10000"));
    assert_eq!(late.closed().await, 1001);

    // Neither has answered its close frame, so the gateway is there for a moment.
    let show = serving.done("GET", "/v1/shows/7", &Value::Null);
    let counts = &show["questions"][0]["counts"];
    assert_eq!((&counts["answered"], &counts["correct"]), (&json!(1), &json!(1)), "{show}");
    let refused = serving.ask("POST", "/v1/shows/7/publish", "");
    assert_eq!(refused.0, 409, "{refused:?}");
    drop((player, late));
    assert_eq!(serving.end().0, Some(0));
}

#[tokio::test]
async fn a_countdown_is_waited_for_no_longer_than_allowed() {
    let serving = Serving::start(&[]);
    serving.done("POST", "/v1/shows/7/open-lobby", &Value::Null);
    serving.done("POST", "/v1/shows/7/publish", &Value::Null);
    serving.drain(&json!({"countdown_wait_max_ms": 200}));
    let (status, log) = serving.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("a countdown runs on"), "{log}");
}

#[tokio::test]
async fn an_aborted_drain_leaves_no_trace() {
    let serving = Serving::start(&[]);
    let nothing = serving.done("DELETE", "/v1/drain", &Value::Null);
    assert_eq!(nothing["state"], "off");
    serving.done("POST", "/v1/shows/7/open-lobby", &Value::Null);
    let mut audience = serving.audience(1..11).await;
    for _ in 0..2 {
        serving.drain(&json!({"spread_ms": 3_600_000}));
        until("the listeners are closed", || {
            serving.has_metric("tidegate_listening{shard=\"0\"} 0")
                && serving.has_metric("tidegate_listening{shard=\"1\"} 0")
        });
        assert!(TcpStream::connect(serving.clients).is_err(), "nobody listens");
        assert_eq!(serving.ask("POST", "/v1/shows/7/publish", "").0, 409);
        let ended = serving.done("DELETE", "/v1/drain", &Value::Null);
        assert_eq!(ended["state"], "off", "{ended}");
        assert_eq!(serving.ready_state(), "accepting");
        audience.push(serving.in_room(100).await);
    }
    assert!(serving.has_metric("tidegate_drains_aborted_total 2"));
    serving.done("POST", "/v1/shows/7/publish", &Value::Null);
    // The first of each shard was asked at once, each time; all others have stayed.
    let mut count = 0;
    for client in &mut audience {
        let told = tokio::time::timeout(Duration::from_secs(2), client.until_question_or_end());
        count += usize::from(told.await.unwrap_or(false));
    }
    assert!((7..12).contains(&count), "{count} have got the question");
    // Ended while it is still closing the listeners.
    for _ in 0..5 {
        serving.drain(&json!({"spread_ms": 3_600_000, "countdown_wait_max_ms": 0}));
        until("it leaves", || serving.state()["state"] == "leaving");
        serving.done("DELETE", "/v1/drain", &Value::Null);
    }
    serving.in_room(200).await;
    serving.signal("-KILL");
}

#[tokio::test]
async fn a_signal_goes_the_same_way_and_to_the_end() {
    let environment = [("TIDEGATE_DRAIN__SPREAD_MS", "1000"), ("TIDEGATE_DRAIN__TO", "ws://b/")];
    let serving = Serving::start(&environment);
    let audience = serving.audience(1..41).await;
    serving.signal("-TERM");
    until("it drains", || serving.state()["state"] == "leaving");
    assert_eq!(serving.state()["can_abort"], false);
    let (status, refusal) = serving.ask("DELETE", "/v1/drain", "");
    assert_eq!((status, &refusal["error"]["code"]), (409, &json!("not_now")));
    let closes = closes(audience).await;
    assert!(closes.iter().all(|(_, code, text)| *code == 1001 && text.ends_with(" to=ws://b/")));
    assert!(closes[39].0 - closes[0].0 > Duration::from_millis(400), "{closes:?}");
    assert_eq!(serving.end().0, Some(0));
}

#[test]
fn a_drain_that_makes_no_sense_is_refused_with_the_reason() {
    let serving = Serving::start(&[]);
    let long = format!("wss://{}/", "x".repeat(90));
    for (body, part) in [
        ("{", "a drain expects"),
        (r#"{"spread":1}"#, "unknown field `spread`"),
        (r#"{"spread_ms":-1}"#, "a drain expects"),
        (r#"{"spread_ms":3600001}"#, "spread_ms is more than 3600000"),
        (r#"{"timeout_ms":18446744073709551615}"#, "timeout_ms is more than"),
        (r#"{"to":["https://b.example/"]}"#, "is no address of a gateway"),
        (r#"{"to":["wss://b.example/ x"]}"#, "is no address of a gateway"),
        (&format!(r#"{{"to":["{long}"]}}"#), "more than 88"),
        (&json!({"to": vec!["ws://b/"; 65]}).to_string(), "65 gateways: name at most 64"),
    ] {
        let (status, answer) = serving.ask("POST", "/v1/drain", body);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(part), "{body}: {status} {answer}");
    }
    let (status, answer) = serving.ask("PUT", "/v1/drain", "");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(status == 405 && message.ends_with("use GET, HEAD, POST, DELETE"), "{answer}");
    assert_eq!(serving.state()["state"], "off");
}

#[test]
fn a_gateway_beside_takes_over_and_nobody_is_refused() {
    let old = Serving::start(&[]);
    let (address, is_over) = (old.clients, Arc::new(AtomicBool::new(false)));
    let connects = Arc::new(AtomicUsize::new(0));
    let connecting: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, connects) = (Arc::clone(&is_over), Arc::clone(&connects));
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let status = upgrade_status(address).map_err(|error| error.to_string());
                    if status.as_deref() != Ok("101") {
                        failures.push(status);
                    }
                    connects.fetch_add(1, Ordering::Relaxed);
                    // Ports of this host are not to run out.
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                failures
            })
        })
        .collect();
    let more_come = |what: &str| {
        let before = connects.load(Ordering::Relaxed);
        until(what, || connects.load(Ordering::Relaxed) > before + 50);
    };
    more_come("the old one takes them");
    let new = Serving::start_at(&address.to_string(), &[("TIDEGATE_NET__SHARE_PORT", "true")]);
    more_come("both take them");
    old.drain(&json!({"spread_ms": 500}));
    assert_eq!(old.end().0, Some(0));
    more_come("the new one takes them");
    is_over.store(true, Ordering::Relaxed);
    let failures: Vec<Result<String, String>> =
        connecting.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(failures.is_empty(), "{} of {connects:?}: {failures:?}", failures.len());
    new.signal("-TERM");
    assert_eq!(new.end().0, Some(0));
}

#[test]
fn a_terminal_goes_where_it_is_sent() {
    let (first, second) = (Serving::start(&[]), Serving::start(&[]));
    let url = |serving: &Serving| format!("ws://{}/", serving.clients);
    let mut terminal = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["connect", &url(&first), "--stay", "--room", "7", "--token", &token(1)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
    let mut says = |part: &str| {
        let said = lines.by_ref().map_while(Result::ok).find(|line| line.contains(part));
        assert!(said.is_some(), "it never said: {part}");
    };
    says("in room 7");
    first.drain(&json!({"spread_ms": 0, "to": [url(&second)]}));
    says("closed with 1001");
    says("in room 7");
    until("it is counted there", || second.state()["connections"] == 1);
    // With TLS it cannot go on, and says so.
    second.drain(&json!({"spread_ms": 0, "to": ["wss://b.example/"]}));
    says("not where it was sent: wss://b.example/: this client speaks no TLS");
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    assert_eq!((first.end().0, second.end().0), (Some(0), Some(0)));
}
