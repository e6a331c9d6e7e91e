//! Rehearsals on the pages: the live page of a show that robots play.
//!
//! How robots answered tells what is correct, so all of it is for those who may know that.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use crate::ops::console::accounts::Role;
use crate::ops::console::control::{
    Guest, OnePath, Target, View, command_show, json_of, move_rain, show_now,
};
use crate::ops::http::rehearsal::{begin_rehearsal, rehearsals, stop_rehearsal};
use crate::ops::http::{ApiError, OperatorRequest, OperatorView, put};
use crate::ops::rehearsal::SHOW;

/// What the audit log calls it.
const ABOUT: &str = "rehearsal";

/// The last rehearsal.
pub(super) async fn last(State(view): View, Extension(visit): Guest) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "look", ABOUT)?;
    Ok(Json(rehearsals(&view)?.to_json()).into_response())
}

/// Begins one.
pub(super) async fn begin(
    State(view): View,
    Extension(visit): Guest,
    body: Bytes,
) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "rehearse", ABOUT)?;
    match begin_rehearsal(&view, &body, &visit.session.name).await {
        Ok((show, told)) => {
            visit.record(&view, "rehearse", &format!("show {show}"), "done");
            Ok(Json(told).into_response())
        }
        Err(error) => {
            visit.record(&view, "rehearse", ABOUT, &format!("refused: {}", error.message()));
            Err(error)
        }
    }
}

/// Ends the one that runs.
pub(super) async fn stop(State(view): View, Extension(visit): Guest) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "end the rehearsal", ABOUT)?;
    let stopped = stop_rehearsal(&view)?;
    visit.record(&view, "end the rehearsal", ABOUT, "done");
    Ok(Json(stopped).into_response())
}

/// Its show, and its gateway.
pub(super) async fn live(State(view): View, Extension(visit): Guest) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "look", ABOUT)?;
    show_now(&*stage(&view)?, &visit, SHOW).await
}

/// Its questions.
pub(super) async fn script(
    State(view): View,
    Extension(visit): Guest,
) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "script", ABOUT)?;
    let stage = stage(&view)?;
    Ok(Json(json_of(put(&stage, OperatorRequest::Script { show: SHOW }).await?)).into_response())
}

/// Commands it.
pub(super) async fn command(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path(word) = path?;
    let stage = stage(&view)?;
    let target = Target { view: &stage, show: SHOW, about: ABOUT.to_owned() };
    command_show(&target, &visit, &word, &body).await
}

/// Starts or ends a rain of it.
pub(super) async fn rain(
    State(view): View,
    Extension(visit): Guest,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path((rain, word)) = path?;
    let stage = stage(&view)?;
    let target = Target { view: &stage, show: SHOW, about: ABOUT.to_owned() };
    move_rain(&target, &visit, (&rain, &word), &body).await
}

/// The gateway of the rehearsal that runs.
fn stage(view: &OperatorView) -> Result<Arc<OperatorView>, ApiError> {
    rehearsals(view)?.view().ok_or_else(|| {
        ApiError::new(StatusCode::CONFLICT, "not_now", "no rehearsal runs: it is over")
    })
}
