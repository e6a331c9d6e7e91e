//! One client: it joins, answers, is asked to leave, and comes back where it is told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidegate::auth::token::{NewToken, mint};
use tidegate::base::ids::UserId;
use tidegate::wire::close::Moving;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::SECRET;

/// A client waits no longer for what it is to hear next.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers are spread over so long.
const ANSWER_WITHIN_MS: u64 = 2_500;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What became of a client.
pub(crate) struct Story {
    pub(crate) is_acknowledged: bool,
    pub(crate) closed_at: Instant,
    /// Within what time it was to come back.
    pub(crate) within: Duration,
    pub(crate) back_at: Instant,
    /// It stays: whoever comes later meets all who came before.
    _socket: Socket,
}

impl Story {
    pub(crate) fn returned_after(&self) -> Duration {
        self.back_at.duration_since(self.closed_at)
    }
}

/// What a client hears.
enum Heard {
    Message(Value),
    Close { code: u16, text: String },
}

async fn next(socket: &mut Socket) -> Result<Heard, String> {
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next()).await;
        let next = next.map_err(|_| "silence".to_owned())?.ok_or("an end without a close frame")?;
        match next.map_err(|error| error.to_string())? {
            Message::Text(text) => {
                let message = serde_json::from_str(text.as_str());
                return message.map(Heard::Message).map_err(|error| error.to_string());
            }
            Message::Close(Some(frame)) => {
                return Ok(Heard::Close {
                    code: frame.code.into(),
                    text: frame.reason.to_string(),
                });
            }
            _ => {}
        }
    }
}

async fn in_room(url: &str, user: u64) -> Result<Socket, String> {
    let issued_unix_s = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|error| error.to_string())?
        .as_secs();
    let issued_unix_s = i64::try_from(issued_unix_s).map_err(|error| error.to_string())?;
    let token = NewToken { user: UserId(user), issued_unix_s, lifetime_s: 3_600, audience: None };
    let url = format!("{url}?token={}&room=7", mint(SECRET.as_bytes(), token));
    let mut request = url.into_client_request().map_err(|error| error.to_string())?;
    let protocol = "tidegate.v1.json".parse().map_err(|_| "a header".to_owned())?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let (mut socket, _) = connect_async(request).await.map_err(|error| error.to_string())?;
    loop {
        match next(&mut socket).await? {
            Heard::Message(message) if message["business"]["response"]["joined"].is_object() => {
                return Ok(socket);
            }
            Heard::Message(_) => {}
            Heard::Close { code, text } => return Err(format!("not let in: {code} {text}")),
        }
    }
}

/// A part of a time that is each user's own.
fn share_of(user: u64, whole: Duration) -> Duration {
    let part = u32::try_from(user.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54).unwrap_or(0);
    whole * part / 1_024
}

/// Lives through a drain.
pub(crate) async fn live(
    user: u64,
    gateway: SocketAddr,
    joined: UnboundedSender<()>,
) -> Result<Story, String> {
    let told = |what: String| format!("user {user}: {what}");
    let mut socket = in_room(&format!("ws://{gateway}/"), user).await.map_err(told)?;
    let _ = joined.send(());
    let mut is_acknowledged = false;
    let moving = loop {
        match next(&mut socket).await.map_err(told)? {
            Heard::Message(message) => {
                let business = &message["business"];
                if business["notification"]["question"].is_object() {
                    let wait = share_of(user, Duration::from_millis(ANSWER_WITHIN_MS));
                    tokio::time::sleep(wait).await;
                    let answer = json!({"answer": {"showId": "7", "question": 0, "option": 0}});
                    let request =
                        json!({"type": 1, "business": {"sequence": "a", "request": answer}});
                    let sent = socket.send(Message::text(request.to_string())).await;
                    sent.map_err(|error| told(error.to_string()))?;
                }
                is_acknowledged |= business["response"]["answerReceived"].is_object();
            }
            Heard::Close { code: 1001, text } => break Moving::read(&text),
            Heard::Close { code, text } => return Err(told(format!("{code} {text}"))),
        }
    };
    let closed_at = Instant::now();
    drop(socket);
    let within = Duration::from_millis(moving.within_ms.unwrap_or(0).into());
    let to = moving.to.ok_or_else(|| told("it was not told where to".to_owned()))?;
    tokio::time::sleep(share_of(user, within)).await;
    let socket = in_room(&to, user).await.map_err(told)?;
    Ok(Story { is_acknowledged, closed_at, within, back_at: Instant::now(), _socket: socket })
}
