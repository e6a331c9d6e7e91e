//! Rooms over HTTP: what the service itself says in them.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::base::ids::RoomId;
use crate::base::limits::{SERVICE_MESSAGE_BYTES_MAX, SERVICE_MESSAGES_MAX};
use crate::ops::http::api::{ApiError, Shared, ask, whole_number};
use crate::ops::http::port::OperatorRequest;
use crate::room::lane::Lane;
use crate::shard::mail::ServiceMessages;

/// As many messages as a request may have, of the greatest size, in base64 and in quotes.
const BODY_BYTES_MAX: usize = SERVICE_MESSAGES_MAX * (SERVICE_MESSAGE_BYTES_MAX / 3 * 4 + 16) + 256;

/// What a request's body may have at most.
pub(super) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(BODY_BYTES_MAX)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishBody {
    lane: LaneName,
    #[serde(default)]
    kind: u32,
    messages: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LaneName {
    High,
    Mid,
    Low,
}

impl From<LaneName> for Lane {
    fn from(name: LaneName) -> Lane {
        match name {
            LaneName::High => Lane::High,
            LaneName::Mid => Lane::Mid,
            LaneName::Low => Lane::Low,
        }
    }
}

/// Publishes messages in a room, in the service's name and in the order of the request.
pub(super) async fn publish(
    State(view): Shared,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let room = RoomId(whole_number(&id, "room", "bad_room_id")?);
    let body = body.map_err(|rejection| {
        ApiError::new(rejection.status(), "bad_body", rejection.body_text())
    })?;
    let messages = read_body(room, &body)?;
    ask(&view, OperatorRequest::Publish(messages)).await
}

/// Ends a room: its members are told, and leave it.
pub(super) async fn close(
    State(view): Shared,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let room = RoomId(whole_number(&id, "room", "bad_room_id")?);
    ask(&view, OperatorRequest::CloseRoom { room }).await
}

fn read_body(room: RoomId, body: &[u8]) -> Result<ServiceMessages, ApiError> {
    let bad_body = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message);
    let PublishBody { lane, kind, messages } = serde_json::from_slice(body).map_err(|error| {
        let form = r#"{"lane":"high","messages":["<base64>"]}"#;
        bad_body(format!("publish expects {form}: {error}"))
    })?;
    if messages.is_empty() || messages.len() > SERVICE_MESSAGES_MAX {
        let count = messages.len();
        return Err(bad_body(format!("{count} messages: send 1 to {SERVICE_MESSAGES_MAX}")));
    }
    let mut read = Vec::with_capacity(messages.len());
    for (place, text) in messages.iter().enumerate() {
        let message = STANDARD.decode(text).map_err(|error| {
            bad_body(format!("message {place} (counted from 0) is not base64: {error}"))
        })?;
        if message.len() > SERVICE_MESSAGE_BYTES_MAX {
            let length = message.len();
            return Err(bad_body(format!(
                "message {place} (counted from 0) has {length} bytes; at most \
                 {SERVICE_MESSAGE_BYTES_MAX} are possible"
            )));
        }
        read.push(Bytes::from(message));
    }
    Ok(ServiceMessages { room, lane: lane.into(), kind, messages: read })
}
