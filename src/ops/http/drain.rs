//! Draining over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::metrics::Metric;
use crate::ops::drain::{
    Countdown, DrainHandle, DrainRefusal, DrainSettings, DrainState, DrainStatus,
};
use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, REPLY_TIMEOUT, Shared};
use crate::ops::http::media::{RawBody, bad_body, bytes_of};

/// What a body may say.
const FORM: &str = r#"no body or {"spread_ms":10000,"countdown_wait_max_ms":30000,"timeout_ms":10000,"to":["wss://b.example/"]}"#;

pub(super) fn routes() -> Router<Arc<OperatorView>> {
    Router::new().route("/v1/drain", get(show).post(begin).delete(abort))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainBody {
    spread_ms: Option<u64>,
    countdown_wait_max_ms: Option<u64>,
    timeout_ms: Option<u64>,
    to: Option<Vec<String>>,
}

impl DrainBody {
    fn read(body: RawBody) -> Result<DrainBody, ApiError> {
        let body = bytes_of(body)?;
        if body.trim_ascii().is_empty() {
            return Ok(DrainBody::default());
        }
        serde_json::from_slice(&body)
            .map_err(|error| bad_body(format!("a drain expects {FORM}: {error}")))
    }

    fn over(self, defaults: DrainSettings) -> DrainSettings {
        let millis = |said: Option<u64>, default| said.map_or(default, Duration::from_millis);
        DrainSettings {
            spread: millis(self.spread_ms, defaults.spread),
            countdown_wait_max: millis(self.countdown_wait_max_ms, defaults.countdown_wait_max),
            timeout: millis(self.timeout_ms, defaults.timeout),
            to: self.to.unwrap_or(defaults.to),
        }
    }
}

impl From<DrainRefusal> for ApiError {
    fn from(refusal: DrainRefusal) -> ApiError {
        let (status, code) = match refusal {
            DrainRefusal::Draining | DrainRefusal::Final(_) => (StatusCode::CONFLICT, "not_now"),
            DrainRefusal::Listen(_) | DrainRefusal::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        ApiError::new(status, code, refusal.to_string())
    }
}

async fn show(State(view): Shared) -> Result<Response, ApiError> {
    shown(&view).await
}

async fn begin(State(view): Shared, body: RawBody) -> Result<Response, ApiError> {
    let handle = handle(&view)?;
    let settings = DrainBody::read(body)?.over(handle.defaults());
    settings.check().map_err(bad_body)?;
    within(handle.begin(settings)).await?;
    shown(&view).await
}

async fn abort(State(view): Shared) -> Result<Response, ApiError> {
    within(handle(&view)?.abort()).await?;
    shown(&view).await
}

fn handle(view: &OperatorView) -> Result<&DrainHandle, ApiError> {
    view.drain.as_ref().ok_or_else(|| DrainRefusal::Unavailable.into())
}

async fn within(answer: impl Future<Output = Result<(), DrainRefusal>>) -> Result<(), ApiError> {
    match tokio::time::timeout(REPLY_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "no_answer",
            "whether it was done is not known: look at GET /v1/drain",
        )),
    }
}

async fn shown(view: &OperatorView) -> Result<Response, ApiError> {
    let status = handle(view)?.status();
    view.refresh().await;
    let connections = view.shards.iter().map(|shard| shard.get(Metric::Connections)).sum();
    Ok(Json(json_of(&status, connections)).into_response())
}

fn json_of(status: &DrainStatus, connections: u64) -> Value {
    let mut shown = json!({
        "state": status.state.word(),
        "connections": connections,
    });
    if let (Some(settings), Value::Object(fields)) = (&status.settings, &mut shown) {
        let waiting_for = status.countdowns.iter();
        let waiting_for = waiting_for
            .map(|Countdown { show, question }| json!({ "show": show.0, "question": question.0 }));
        let can_abort = !status.is_final && status.state != DrainState::Stopping;
        let more = json!({
            "can_abort": can_abort,
            "waiting_for": waiting_for.collect::<Value>(),
            "began_at_ms": status.began_at_ms,
            "leaving_at_ms": status.leaving_at_ms,
            "ends_by_ms": status.ends_by_ms,
            "spread_ms": millis(settings.spread),
            "countdown_wait_max_ms": millis(settings.countdown_wait_max),
            "timeout_ms": millis(settings.timeout),
            "to": settings.to,
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
    }
    shown
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
