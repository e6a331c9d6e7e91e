//! Chat and likes against a running gateway: what is said, what is refused and why, and what an
//! operator does about it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate::base::ids::{RoomId, UserId};
use tidegate::base::metrics::Metric;
use tidegate::chat::mutes::EVERYWHERE;
use tidegate::chat::settings::ChatSettings;
use tidegate::chat::words::{Action, WordList};
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{Mute, OperatorRequest};

use client::{Client, Json};

fn gateway(shards: u16, change: impl FnOnce(&mut ChatSettings)) -> Gateway {
    let mut settings = client::settings(shards);
    change(&mut settings.chat);
    settings.words = words("敏感词\nfuck\nbombe = refuse\n");
    client::start(&settings)
}

fn words(text: &str) -> Arc<WordList> {
    Arc::new(WordList::parse(text, Action::Replace).unwrap())
}

/// The outcome of a chat: the response, or the failure.
async fn chat(client: &mut Client, sequence: &str, text: &str) -> Json {
    client.request(sequence, json!({"chat": {"text": text}})).await;
    client.until_response(sequence).await
}

/// Waits until all shards together have counted so much.
async fn counted(gateway: &Gateway, metric: Metric, expected: u64) {
    let mut sum = 0;
    for _ in 0..200 {
        gateway.wake_all();
        tokio::time::sleep(Duration::from_millis(20)).await;
        sum = gateway.snapshots().iter().map(|shard| shard.get(metric)).sum();
        if sum == expected {
            return;
        }
    }
    panic!("{metric:?} is {sum}, not {expected}");
}

async fn mute(gateway: &Gateway, user: UserId, room: RoomId, seconds: u64) {
    let lasting = Duration::from_secs(seconds);
    gateway.call(OperatorRequest::Mute(Mute { user, room, lasting })).unwrap();
    // The home tells the others; that takes a turn or two.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_chat_is_acknowledged_with_its_version_and_goes_to_all() {
    let gateway = gateway(2, |_| {});
    let mut clients = Vec::new();
    for user in 1..=8 {
        clients.push(Client::in_room(&gateway, user, 5).await);
    }
    clients[3].request("s1", json!({"chat": {"text": "你好 ｆ.u.c.k!"}})).await;
    let published = clients[3].until_payload("chatPublished").await;
    assert_eq!(published["stamp"]["version"], "1", "{published}");
    assert_eq!(published["stamp"]["lane"], "LANE_LOW");
    for client in &mut clients {
        let notification = client.notification("roomMessage").await;
        assert_eq!(notification["roomMessage"], json!({"userId": "4", "text": "你好 *******!"}));
        assert_eq!(notification["stamp"], published["stamp"]);
    }
    drop(clients);
    counted(&gateway, Metric::ChatReplaced, 1).await;
    gateway.stop();
}

#[tokio::test]
async fn each_refusal_has_its_reason_and_is_counted() {
    let gateway = gateway(1, |chat| {
        chat.duplicate_window = Duration::from_secs(60);
        chat.same_text_max = 1;
    });
    let mut client = Client::in_room(&gateway, 1, 5).await;
    let mut other = Client::in_room(&gateway, 2, 5).await;
    for (text, reason) in [
        (" \u{202E} ".to_owned(), "REASON_TEXT_EMPTY"),
        ("x".repeat(131), "REASON_TEXT_TOO_LONG"),
        ("eine B-o-m-b-e".to_owned(), "REASON_WORD_REFUSED"),
    ] {
        let failure = chat(&mut client, "c", &text).await;
        assert_eq!(failure["reason"], reason, "{failure}");
    }
    assert_eq!(chat(&mut client, "a", "hello").await["chatPublished"]["stamp"]["version"], "1");
    assert_eq!(chat(&mut client, "b", "Hello!").await["reason"], "REASON_DUPLICATE");
    assert_eq!(chat(&mut other, "c", "hello").await["reason"], "REASON_FLOOD");
    client.request("left", json!({"leave": {}})).await;
    client.until_response("left").await;
    assert_eq!(chat(&mut client, "d", "anybody?").await["reason"], "REASON_NOT_IN_ROOM");
    drop((client, other));
    for metric in [
        Metric::ChatAccepted,
        Metric::ChatRefusedEmpty,
        Metric::ChatRefusedTooLong,
        Metric::ChatRefusedWord,
        Metric::ChatRefusedDuplicate,
        Metric::ChatRefusedFlood,
    ] {
        counted(&gateway, metric, 1).await;
    }
    gateway.stop();
}

#[tokio::test]
async fn who_is_too_fast_is_told_when_to_come_again() {
    let gateway = gateway(1, |chat| {
        chat.user_interval = Duration::from_millis(400);
        chat.user_burst = 2;
    });
    let mut client = Client::in_room(&gateway, 1, 5).await;
    for sequence in ["a", "b"] {
        assert!(chat(&mut client, sequence, sequence).await["chatPublished"].is_object());
    }
    let failure = chat(&mut client, "c", "c").await;
    assert_eq!(failure["reason"], "REASON_RATE_LIMITED", "{failure}");
    let wait_ms = failure["retryAfterMs"].as_u64().unwrap();
    assert!((1..=400).contains(&wait_ms), "{failure}");
    let data = json!({"publish": {"lane": "LANE_LOW", "data": "aGVsbG8="}});
    client.request("d", data).await;
    assert_eq!(client.until_response("d").await["reason"], "REASON_RATE_LIMITED");
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    assert!(chat(&mut client, "e", "e").await["chatPublished"].is_object());
    drop(client);
    gateway.stop();
}

#[tokio::test]
async fn what_a_room_cannot_carry_is_discarded_before_it_and_counted() {
    let gateway = gateway(2, |chat| chat.room_per_second = 10);
    // One member: its shard has the whole rate, although there are two.
    let mut client = Client::in_room(&gateway, 1, 5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (mut said, mut discarded) = (0, 0);
    for number in 0..40 {
        let outcome = chat(&mut client, &number.to_string(), &format!("chat {number}")).await;
        if outcome["reason"] == "REASON_ROOM_OVERLOADED" {
            assert!(outcome["retryAfterMs"].as_u64().unwrap() <= 100, "{outcome}");
            discarded += 1;
        } else {
            said += 1;
            assert_eq!(outcome["chatPublished"]["stamp"]["version"], said.to_string());
        }
    }
    assert!((10..=30).contains(&said), "{said} were said");
    drop(client);
    counted(&gateway, Metric::RoomMessages, said).await;
    counted(&gateway, Metric::ChatDiscarded, discarded).await;
    gateway.stop();
}

#[tokio::test]
async fn opaque_data_can_be_forbidden() {
    let gateway = gateway(1, |chat| chat.opaque_allowed = false);
    let mut client = Client::in_room(&gateway, 1, 5).await;
    client.request("p", json!({"publish": {"lane": "LANE_LOW", "data": "aGVsbG8="}})).await;
    assert_eq!(client.until_response("p").await["reason"], "REASON_OPAQUE_FORBIDDEN");
    assert!(chat(&mut client, "c", "hello").await["chatPublished"].is_object());
    drop(client);
    gateway.stop();
}

#[tokio::test]
async fn a_muted_user_is_told_until_when_on_every_shard() {
    let gateway = gateway(2, |_| {});
    let user = UserId(7);
    mute(&gateway, user, RoomId(5), 600).await;
    for attempt in 0..4 {
        // Each connection may be on another shard.
        let mut client = Client::in_room(&gateway, user.0, 5).await;
        let failure = chat(&mut client, "c", "hello").await;
        assert_eq!(failure["reason"], "REASON_MUTED", "{failure}");
        let until_ms: i64 = failure["untilMs"].as_str().unwrap().parse().unwrap();
        let left_ms = until_ms - gateway.clock().display().unix_ms(gateway.clock().now());
        assert!((590_000..=600_000).contains(&left_ms), "{failure}");
        client.request("j", json!({"join": {"roomId": "6"}})).await;
        client.until_response("j").await;
        let said = chat(&mut client, "d", &format!("free {attempt}")).await;
        assert!(said["chatPublished"].is_object(), "{said}");
    }
    mute(&gateway, user, RoomId(5), 0).await;
    let mut client = Client::in_room(&gateway, user.0, 5).await;
    assert!(chat(&mut client, "e", "again").await["chatPublished"].is_object());
    mute(&gateway, user, EVERYWHERE, 600).await;
    assert_eq!(chat(&mut client, "f", "and again").await["reason"], "REASON_MUTED");
    drop(client);
    counted(&gateway, Metric::ChatRefusedMuted, 5).await;
    gateway.stop();
}

#[tokio::test]
async fn other_words_are_in_force_without_a_restart() {
    let gateway = gateway(2, |_| {});
    let mut clients = Vec::new();
    for user in 1..=4 {
        clients.push(Client::in_room(&gateway, user, 5).await);
    }
    gateway.call(OperatorRequest::SetWords(words("hello = refuse"))).unwrap();
    for client in &mut clients {
        assert_eq!(chat(client, "a", "h e l l o").await["reason"], "REASON_WORD_REFUSED");
        assert!(chat(client, "b", "bombe").await["chatPublished"].is_object());
    }
    drop(clients);
    gateway.stop();
}

#[tokio::test]
async fn likes_of_all_are_merged_into_one_count() {
    let gateway = gateway(2, |chat| chat.like_interval = Duration::from_secs(60));
    let mut clients = Vec::new();
    for user in 1..=8 {
        clients.push(Client::in_room(&gateway, user, 5).await);
    }
    for client in &mut clients {
        client.request("l", json!({"like": {"count": 30}})).await;
        assert_eq!(client.until_payload("liked").await["count"], 30);
        // The burst is 50, then comes one a minute.
        client.request("m", json!({"like": {"count": 30}})).await;
        assert_eq!(client.until_payload("liked").await["count"], 20);
        client.request("n", json!({"like": {}})).await;
        assert_eq!(client.until_response("n").await["reason"], "REASON_RATE_LIMITED");
    }
    let (mut total, mut messages) = (0, 0);
    while total < 400 {
        // What came while it waited for its own replies, it has passed over.
        let likes = clients[0].until("roomMessage").await["likes"].take();
        let number = |key: &str| likes[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(number("count") > 0 && total + number("count") <= number("total"), "{likes}");
        total = number("total");
        messages += 1;
    }
    assert!(total == 400 && messages <= 16, "{total} likes in {messages} messages");
    drop(clients);
    counted(&gateway, Metric::Likes, 400).await;
    gateway.stop();
}
