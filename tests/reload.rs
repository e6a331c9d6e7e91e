//! SIGHUP, as operators use it: the configuration is read again, whole or not at all, and nobody is
//! disconnected.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod serving;

use serde_json::json;

use client::{Client, Json, until};
use serving::{Serving, upgrade_status};

const CONFIG: &str = r#"
[limits]
connections_per_address_max = 100
[chat]
user_interval_ms = 0
duplicate_window_ms = 0
"#;

/// What becomes of a text of twelve bytes.
async fn says(client: &mut Client) -> Json {
    client.request("say", json!({"chat": {"text": "twelve bytes"}})).await;
    client.until_response("say").await
}

fn reload(serving: &Serving, config: &str, metric: &str) {
    serving.write_config(config);
    serving.signal("-HUP");
    until(metric, || serving.has_metric(metric));
}

#[tokio::test]
async fn another_configuration_is_in_force_without_a_restart() {
    let serving = Serving::start_with("127.0.0.1:0", &[], CONFIG);
    let mut clients = Vec::new();
    for user in 1..=4 {
        clients.push(serving.in_room(user).await);
    }
    for client in &mut clients {
        assert!(says(client).await["chatPublished"].is_object());
    }
    let next = format!("{CONFIG}text_bytes_max = 11\n[drain]\nto = \"wss://b.example/\"\n")
        .replace("= 100", "= 4");
    reload(&serving, &next, "tidegate_config_reloads_total 1");
    // Those who were there before, on every shard, stay and go by it.
    for client in &mut clients {
        let refused = says(client).await;
        assert_eq!(refused["reason"], "REASON_TEXT_TOO_LONG", "{refused}");
    }
    assert_eq!(upgrade_status(serving.clients).unwrap(), "429", "a fifth of this address");
    let drain = serving.drain(&json!({"spread_ms": 3_600_000}));
    assert_eq!(drain["to"], json!(["wss://b.example/"]), "{drain}");
    serving.done("DELETE", "/v1/drain", &Json::Null);
    reload(&serving, &next, "tidegate_config_reloads_total 2");
    serving.signal("-KILL");
    let (_, log) = serving.end();
    assert!(log.contains("\"keys\":3"), "{log}");
    assert!(log.contains("nothing has changed"), "{log}");
}

#[tokio::test]
async fn what_cannot_be_put_in_force_changes_nothing() {
    let serving = Serving::start_with("127.0.0.1:0", &[], CONFIG);
    let mut client = serving.in_room(1).await;
    let longer = format!("{CONFIG}text_bytes_max = 11\n");
    for (errors, config) in [
        (1, format!("{longer}[limits]\n")),
        (2, format!("{longer}like_burst = 0\nlike_burts = 7\n")),
        (3, format!("shards = 1\n{longer}")),
        (4, longer.replace("= 100", "= 0")),
    ] {
        let metric = format!("tidegate_config_errors_total {errors}");
        reload(&serving, &config, &metric);
        assert!(serving.has_metric("tidegate_config_stale 1"));
        assert!(says(&mut client).await["chatPublished"].is_object(), "{config}");
    }
    reload(&serving, &longer, "tidegate_config_stale 0");
    assert_eq!(says(&mut client).await["reason"], "REASON_TEXT_TOO_LONG");
    serving.signal("-KILL");
    let (_, log) = serving.end();
    for part in [
        "duplicate key",
        "chat.like_burst: ",
        "chat.like_burts: ",
        "these need a restart, and nothing was changed: shards",
        "nothing was changed: limits on connecting, from none or to none",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
