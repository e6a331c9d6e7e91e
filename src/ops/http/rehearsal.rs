//! Rehearsals over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::ids::ShowId;
use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, Shared, put};
use crate::ops::http::media::{RawBody, bad_body, bytes_of};
use crate::ops::http::port::{OperatorRequest, OperatorTold};
use crate::ops::rehearsal::{RehearsalError, Rehearsals, Wanted};
use crate::ops::show_file;

pub(super) fn routes() -> Router<Arc<OperatorView>> {
    Router::new().route("/v1/rehearsal", get(last).post(begin).delete(stop))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginBody {
    show: u64,
    robots: u32,
    #[serde(default)]
    by_hand: bool,
}

async fn last(State(view): Shared) -> Result<Response, ApiError> {
    Ok(axum::Json(rehearsals(&view)?.to_json()).into_response())
}

async fn begin(State(view): Shared, body: RawBody) -> Result<Response, ApiError> {
    let body = bytes_of(body)?;
    let (show, told) = begin_rehearsal(&view, &body, "the operator API").await?;
    tracing::info!(%show, "operator begins a rehearsal");
    Ok(axum::Json(told).into_response())
}

async fn stop(State(view): Shared) -> Result<Response, ApiError> {
    tracing::info!("operator ends a rehearsal");
    Ok(axum::Json(stop_rehearsal(&view)?).into_response())
}

pub(crate) fn rehearsals(view: &OperatorView) -> Result<&Rehearsals, ApiError> {
    view.rehearsals.as_ref().ok_or_else(|| {
        let message = "this gateway has no rehearsals";
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    })
}

/// Begins what a body asks for: which show, and the rehearsal.
pub(crate) async fn begin_rehearsal(
    view: &OperatorView,
    body: &Bytes,
    by: &str,
) -> Result<(ShowId, Value), ApiError> {
    let BeginBody { show, robots, by_hand } = serde_json::from_slice(body).map_err(|error| {
        bad_body(format!(
            r#"a rehearsal expects {{"show":7,"robots":100,"by_hand":false}}: {error}"#
        ))
    })?;
    let (rehearsals, show) = (rehearsals(view)?.clone(), ShowId(show));
    let OperatorTold::Json(filed) = put(view, OperatorRequest::Filed { show }).await? else {
        panic!("a show as it was filed comes as JSON")
    };
    let file = match show_file::parse_json("the show", &filed["show"].to_string(), Some(show)) {
        Ok(file) => file,
        // Checked when it was filed; one that was announced otherwise may have what files may not.
        Err(problems) => {
            let message = format!("this show cannot be rehearsed: {problems}");
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message));
        }
    };
    let wanted = Wanted { file, robots, by_hand, by: by.to_owned() };
    let begun = tokio::task::spawn_blocking({
        let rehearsals = rehearsals.clone();
        move || rehearsals.begin(wanted)
    });
    match begun.await {
        Ok(Ok(())) => Ok((show, rehearsals.to_json())),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(error) => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string()))
        }
    }
}

/// Ends the one that runs.
pub(crate) fn stop_rehearsal(view: &OperatorView) -> Result<Value, ApiError> {
    match rehearsals(view)?.stop() {
        true => Ok(json!({ "stopped": true })),
        false => Err(ApiError::new(StatusCode::CONFLICT, "not_now", "no rehearsal runs")),
    }
}

fn refusal(error: &RehearsalError) -> ApiError {
    let message = error.to_string();
    match error {
        RehearsalError::Running { .. } | RehearsalError::ShowRuns(_) => {
            ApiError::new(StatusCode::CONFLICT, "not_now", message)
        }
        RehearsalError::Robots(_) => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
        }
        RehearsalError::Call(_)
        | RehearsalError::Gateway(_)
        | RehearsalError::Swarm(_)
        | RehearsalError::Thread(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }
}
