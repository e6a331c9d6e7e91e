//! Sensitive words over HTTP: their list read again, and texts tried on it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;

use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, Shared, ask};
use crate::ops::http::media::{Media, RawBody, bad_body, bytes_of};
use crate::ops::http::port::OperatorRequest;

/// What belongs to words.
pub(super) fn routes() -> Router<Arc<OperatorView>> {
    Router::new().route("/v1/words/reload", post(reload)).route("/v1/words/check", post(check))
}

async fn reload(State(view): Shared, media: Media) -> Result<Response, ApiError> {
    tracing::info!("operator reloads the list of words");
    ask(&view, media, OperatorRequest::ReloadWords).await
}

/// What would become of a text. Nothing is changed, and nobody's text is logged.
async fn check(State(view): Shared, media: Media, body: RawBody) -> Result<Response, ApiError> {
    ask(&view, media, trial_of(&bytes_of(body)?)?).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckBody {
    text: String,
}

/// The text in a body, to be tried.
pub(crate) fn trial_of(body: &Bytes) -> Result<OperatorRequest, ApiError> {
    let CheckBody { text } = serde_json::from_slice(body)
        .map_err(|error| bad_body(format!(r#"check expects {{"text":"…"}}: {error}"#)))?;
    Ok(OperatorRequest::TryText { text })
}
