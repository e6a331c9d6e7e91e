//! A gateway without any show is a complete room server: spoken to by a client that shares no
//! code with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tidegate::base::ids::RoomId;
use tidegate::room::lane::Lane;
use tidegate::shard::mail::ServiceMessages;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest};

use client::{Client, Json, gateway, token};

#[tokio::test]
async fn a_client_is_in_its_room_after_one_round_trip() {
    let gateway = gateway(2);
    let mut client = Client::connect(&gateway, &format!("/?token={}&room=7", token(42))).await;
    let session = client.next().await;
    assert_eq!(session["session"]["userId"], "42", "{session}");
    let joined = client.next().await;
    assert_eq!(joined["business"]["response"]["joined"]["roomId"], "7", "{joined}");
    drop(client);
    gateway.stop();
}

#[tokio::test]
async fn what_one_says_all_in_the_room_hear_on_every_shard() {
    let gateway = gateway(2);
    let mut clients = Vec::new();
    for user in 1..=8 {
        clients.push(Client::in_room(&gateway, user, 5).await);
    }
    let mut outsider = Client::in_room(&gateway, 99, 6).await;
    clients[3].request("s1", json!({"publish": {"lane": "LANE_LOW", "data": "aGVsbG8="}})).await;
    for client in &mut clients {
        let message = client.until("roomMessage").await;
        assert_eq!(message["data"], "aGVsbG8=");
        assert_eq!(message["userId"], "4");
    }
    outsider.request("s2", json!({"leave": {}})).await;
    let left = outsider.next().await;
    assert_eq!(left["business"]["response"]["left"]["roomId"], "6", "nothing came before: {left}");
    drop((clients, outsider));
    gateway.stop();
}

#[tokio::test]
async fn what_the_service_says_all_in_the_room_hear_in_order() {
    let gateway = gateway(2);
    let mut clients = Vec::new();
    for user in 1..=4 {
        clients.push(Client::in_room(&gateway, user, 5).await);
    }
    let messages = ["one", "two", "three"].map(Bytes::from).to_vec();
    let (room, lane) = (RoomId(5), Lane::High);
    let request = OperatorRequest::Publish(ServiceMessages { room, lane, kind: 0, messages });
    let OperatorAnswer::Published(published) = gateway.call(request).unwrap() else {
        panic!("another answer");
    };
    assert_eq!((published.first_version, published.last_version), (1, 3));
    for client in &mut clients {
        for (data, version) in [("b25l", "1"), ("dHdv", "2"), ("dGhyZWU=", "3")] {
            let notification = client.notification("roomMessage").await;
            assert_eq!(notification["roomMessage"]["data"], data);
            assert!(notification["roomMessage"].get("userId").is_none(), "{notification}");
            assert_eq!(notification["stamp"]["lane"], "LANE_HIGH");
            assert_eq!(notification["stamp"]["version"], version);
        }
    }
    drop(clients);
    gateway.stop();
}

#[tokio::test]
async fn the_newest_session_of_a_user_wins() {
    let gateway = gateway(2);
    let mut older = Client::in_room(&gateway, 7, 5).await;
    let mut newer = Client::in_room(&gateway, 7, 5).await;
    assert_eq!(older.closed().await, 4000);
    newer.request("x", json!({"leave": {}})).await;
    assert_eq!(newer.next().await["business"]["sequence"], "x");
    drop((older, newer));
    gateway.stop();
}

#[tokio::test]
async fn a_returning_client_gets_exactly_what_it_missed() {
    let gateway = gateway(2);
    let mut speaker = Client::in_room(&gateway, 1, 5).await;
    let mut listener = Client::in_room(&gateway, 2, 5).await;
    let say = |text: &str| json!({"publish": {"lane": "LANE_LOW", "data": text}});
    speaker.request("1", say("b25l")).await;
    let stamp = listener.notification("roomMessage").await["stamp"].clone();
    drop(listener);
    for text in ["dHdv", "dGhyZWU="] {
        speaker.request(text, say(text)).await;
        speaker.until_response(text).await;
    }
    let (epoch, version) = (stamp["epoch"].as_str().unwrap(), stamp["version"].as_str().unwrap());
    let target = format!("/?token={}&room=5&epoch={epoch}&low={version}", token(2));
    let mut listener = Client::connect(&gateway, &target).await;
    let joined = listener.until_payload("joined").await;
    assert_eq!(joined["resumed"], true, "{joined}");
    assert_eq!(listener.until("roomMessage").await["data"], "dHdv");
    assert_eq!(listener.until("roomMessage").await["data"], "dGhyZWU=");
    drop((speaker, listener));
    gateway.stop();
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_closed() {
    let gateway = gateway(1);
    let mut client = Client::connect(&gateway, "/?token=nonsense&room=7").await;
    let refusal = client.next().await;
    assert_eq!(refusal["errorCode"], 100, "{refusal}");
    assert_eq!(refusal["failure"]["reason"], "REASON_TOKEN_INVALID");
    assert_eq!(client.closed().await, 4001);
    drop(client);
    gateway.stop();
}

#[tokio::test]
async fn clocks_can_be_compared() {
    let gateway = gateway(1);
    let mut client = Client::in_room(&gateway, 3, 5).await;
    client.send(json!({"type": -1, "heartbeat": {"clientSentMs": "12345"}})).await;
    let reply: Json = client.next().await;
    assert_eq!(reply["type"], -1);
    assert_eq!(reply["heartbeat"]["clientSentMs"], "12345");
    let millis = |key: &str| reply["heartbeat"][key].as_str().unwrap().parse::<i64>().unwrap();
    assert!(millis("serverSentMs") >= millis("serverReceivedMs"));
    drop(client);
    gateway.stop();
}

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let mut settings = client::settings(1);
    settings.handshake_timeout_ms = 300;
    let gateway = client::start(&settings);
    let mut client = Client::connect(&gateway, "/").await;
    let closed = tokio::time::timeout(Duration::from_secs(5), client.closed()).await;
    assert_eq!(closed.unwrap(), 4004);
    drop(client);
    gateway.stop();
}
