//! Moderation over HTTP: who may not speak, and which words are not said.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::base::ids::{RoomId, UserId};
use crate::chat::mutes::EVERYWHERE;
use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, Shared, ask, whole_number};
use crate::ops::http::port::OperatorRequest;
use crate::shard::operator::Mute;

/// A year: whoever is to be silent for longer is to be kept out.
const MUTE_SECONDS_MAX: u64 = 366 * 86_400;

/// What belongs to moderation.
pub(super) fn routes() -> Router<Arc<OperatorView>> {
    Router::new()
        .route("/v1/users/{id}/mute", post(mute))
        .route("/v1/users/{id}/unmute", post(unmute))
        .route("/v1/words/reload", post(reload_words))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MuteBody {
    seconds: u64,
    room: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnmuteBody {
    room: Option<u64>,
}

async fn mute(
    State(view): Shared,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let user = user_id(path)?;
    let form = r#"{"seconds":600} or {"seconds":600,"room":7}"#;
    let MuteBody { seconds, room } = read(&bytes_of(body)?, "mute", form)?;
    if seconds == 0 || seconds > MUTE_SECONDS_MAX {
        let message = format!("seconds is {seconds}: mute for 1 to {MUTE_SECONDS_MAX}");
        return Err(bad_body(message));
    }
    let mute = Mute { user, room: place(room)?, lasting: Duration::from_secs(seconds) };
    tracing::info!(%user, room, seconds, "operator mutes");
    ask(&view, OperatorRequest::Mute(mute)).await
}

async fn unmute(
    State(view): Shared,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let user = user_id(path)?;
    let body = bytes_of(body)?;
    let UnmuteBody { room } = if body.trim_ascii().is_empty() {
        UnmuteBody::default()
    } else {
        read(&body, "unmute", r#"no body or {"room":7}"#)?
    };
    let mute = Mute { user, room: place(room)?, lasting: Duration::ZERO };
    tracing::info!(%user, room, "operator ends a mute");
    ask(&view, OperatorRequest::Mute(mute)).await
}

async fn reload_words(State(view): Shared) -> Result<Response, ApiError> {
    tracing::info!("operator reloads the list of words");
    ask(&view, OperatorRequest::ReloadWords).await
}

fn user_id(path: Result<Path<String>, PathRejection>) -> Result<UserId, ApiError> {
    let Path(id) = path?;
    whole_number(&id, "user", "bad_user_id").map(UserId)
}

/// The room of a body; without one, everywhere.
fn place(room: Option<u64>) -> Result<RoomId, ApiError> {
    match room {
        None => Ok(EVERYWHERE),
        Some(0) => Err(bad_body("room 0 is no room; leave room out for everywhere".to_owned())),
        Some(room) => Ok(RoomId(room)),
    }
}

fn bytes_of(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| ApiError::new(rejection.status(), "bad_body", rejection.body_text()))
}

fn read<T: DeserializeOwned>(body: &[u8], what: &str, form: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| bad_body(format!("{what} expects {form}: {error}")))
}

fn bad_body(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message)
}
