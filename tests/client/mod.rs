//! A gateway on a free port, and a client on tokio-tungstenite that speaks the JSON sub-protocol
//! with its own decoding.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tidegate::auth::keys::KeySet;
use tidegate::auth::token::{MoreClaims, NewToken, TokenPolicy, mint_with};
use tidegate::base::hash::PlacementKey;
use tidegate::base::ids::{OptionIndex, RoomId, ShowId, UserId};
use tidegate::chat::settings::ChatSettings;
use tidegate::net::{ListenSettings, PlaneSettings};
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::money::Cents;
use tidegate::runtime::clock::Clock;
use tidegate::runtime::edge::EdgeSettings;
use tidegate::runtime::gateway::{EntropySource, Gateway, GatewaySettings};
use tidegate::shard::config::{Admission, Downlink};
use tidegate::shard::limits::ConnectionLimits;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

pub(crate) type Json = serde_json::Value;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const PATIENCE: Duration = Duration::from_secs(10);

/// Settings of a small gateway on a free port.
pub(crate) fn settings(shards: u16) -> GatewaySettings {
    GatewaySettings {
        shards,
        buckets: 64,
        listen: ListenSettings::new("127.0.0.1:0".parse().unwrap()),
        plane: PlaneSettings { slots_per_ring: 1_024, ..PlaneSettings::default() },
        token_keys: Arc::new(KeySet::of_secret(SECRET)),
        token_policy: TokenPolicy::default(),
        placement_key: PlacementKey([7; 16]),
        ticket_key: [9; 32],
        entropy: EntropySource::Seed(1),
        message_bytes_max: 4_096,
        spill_bytes_max: 65_536,
        handshake_timeout_ms: 5_000,
        heartbeat_interval_ms: 10_000,
        idle_timeout_ms: 30_000,
        limits: ConnectionLimits::default(),
        edge: EdgeSettings::default(),
        echo: false,
        admission: Admission {
            mailbox_age_ms: 1_000,
            turn_ms: 1_000,
            force_retry_percent: 0,
            retry_after_max_ms: 500,
        },
        downlink: Downlink { info_interval_ms: 0, ..Downlink::default() },
        chat: ChatSettings::unlimited(),
        words: Arc::default(),
    }
}

pub(crate) fn gateway(shards: u16) -> Gateway {
    start(&settings(shards))
}

pub(crate) fn start(settings: &GatewaySettings) -> Gateway {
    Gateway::start(settings, Clock::start()).unwrap()
}

/// Waits until something holds, for ten seconds at most.
///
/// # Panics
/// If it does not.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    const LOOK: Duration = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
        if holds() {
            return;
        }
        std::thread::park_timeout(LOOK);
    }
    panic!("in vain: {what}");
}

/// A show at a quick pace: questions with three options each, of which the second is correct, and cards
/// that save from wrong answers and from not being reached.
pub(crate) fn quick_show(id: ShowId, room: u64, question_count: usize) -> ShowDefinition {
    let question = |number: usize| QuestionDefinition {
        text: format!("Question {number}?"),
        options: vec!["a".into(), "b".into(), "c".into()],
        correct: OptionIndex(1),
    };
    ShowDefinition {
        id,
        room: RoomId(room),
        title: "A test".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(10_001),
        remainder_account: "house".into(),
        revive: ReviveCoverage { wrong: true, late: false, unreachable: true },
        timing: Timing {
            lead: Duration::from_millis(50),
            display_slack: Duration::from_millis(50),
            countdown: Duration::from_millis(1_500),
            ticket_life: Duration::from_millis(100),
            stream_delay: Duration::ZERO,
            extension_max: Duration::from_secs(2),
            early_push_max: Duration::ZERO,
        },
        questions: (0..question_count).map(question).collect(),
    }
}

pub(crate) fn token(user: u64) -> String {
    token_for(user, None)
}

/// A token that is good for these rooms only, or for all.
pub(crate) fn token_for(user: u64, rooms: Option<&[u64]>) -> String {
    token_by(SECRET, UserId(user), rooms)
}

/// A token that is signed with another secret than the tests' own gateways have.
pub(crate) fn token_by(secret: &[u8], user: UserId, rooms: Option<&[u64]>) -> String {
    let issued_unix_s = Clock::start().display().zero_unix_ms / 1_000;
    let new = NewToken { user, issued_unix_s, lifetime_s: 86_400, audience: None };
    mint_with(secret, new, &MoreClaims { rooms, ..MoreClaims::default() })
}

pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// Messages of a batch that were not asked for yet, each as if it had come alone.
    unpacked: VecDeque<Json>,
}

impl Client {
    pub(crate) async fn connect(gateway: &Gateway, target: &str) -> Client {
        Client::connect_to(gateway.local_address(), target).await
    }

    pub(crate) async fn connect_to(address: SocketAddr, target: &str) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
        let protocol = "tidegate.v1.json".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Client { socket, unpacked: VecDeque::new() }
    }

    /// Connected, authenticated, and a member of a room.
    pub(crate) async fn in_room(gateway: &Gateway, user: u64, room: u64) -> Client {
        let target = format!("/?token={}&room={room}", token(user));
        let mut client = Client::connect(gateway, &target).await;
        client.until_payload("joined").await;
        client
    }

    pub(crate) async fn send(&mut self, frame: Json) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub(crate) async fn request(&mut self, sequence: &str, request: Json) {
        let business = json!({"sequence": sequence, "request": request});
        self.send(json!({"type": 1, "business": business})).await;
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Json {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("a message in time").expect("the connection lives").unwrap() {
                Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    /// The next notification with this payload, whole. Messages of a batch come one by one.
    pub(crate) async fn notification(&mut self, payload: &str) -> Json {
        loop {
            let notification = match self.unpacked.pop_front() {
                Some(notification) => notification,
                None => self.next().await["business"]["notification"].take(),
            };
            if !notification[payload].is_null() {
                return notification;
            }
            let messages = notification["roomBatch"]["messages"].as_array().cloned();
            for (place, message) in (0..).zip(messages.unwrap_or_default()) {
                let mut stamp = notification["stamp"].clone();
                let first: u64 = stamp["version"].as_str().unwrap().parse().unwrap();
                stamp["version"] = json!((first + place).to_string());
                self.unpacked.push_back(json!({"stamp": stamp, "roomMessage": message}));
            }
        }
    }

    /// The payload of the next notification that has it.
    pub(crate) async fn until(&mut self, payload: &str) -> Json {
        self.notification(payload).await[payload].take()
    }

    /// The payload of the next response that has it.
    pub(crate) async fn until_payload(&mut self, payload: &str) -> Json {
        loop {
            let found = self.next().await["business"]["response"][payload].take();
            if !found.is_null() {
                return found;
            }
        }
    }

    /// The response to a request, or its failure.
    pub(crate) async fn until_response(&mut self, sequence: &str) -> Json {
        loop {
            let mut frame = self.next().await;
            if frame["failure"]["sequence"] == sequence {
                return frame["failure"].take();
            }
            if frame["business"]["sequence"] == sequence {
                return frame["business"]["response"].take();
            }
        }
    }

    /// Whether a question comes before the connection ends.
    pub(crate) async fn until_question_or_end(&mut self) -> bool {
        while let Some(Ok(message)) = self.socket.next().await {
            if message.to_text().is_ok_and(|text| text.contains("\"question\"")) {
                return true;
            }
        }
        false
    }

    /// The code of the close frame that comes.
    pub(crate) async fn closed(&mut self) -> u16 {
        self.closed_saying().await.0
    }

    /// The code and the text of the close frame that comes.
    pub(crate) async fn closed_saying(&mut self) -> (u16, String) {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("a close frame in time") {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }
}
