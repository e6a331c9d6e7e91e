//! The two listeners: one for clients, which has the list and nothing else, and one for operators.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::watch;

use crate::ops::http::ApiError;
use crate::ops::http::query::Query;
use crate::ops::metrics_text::CONTENT_TYPE as METRICS_TYPE;
use crate::ops::players::reply::{allow_pages, origin_of};
use crate::ops::reload::ConfigStatus;
use crate::runtime::clock::Clock;

use super::answers::{Answer, Counts};
use super::board::Board;
use super::metrics;
use super::order::ORDERS;
use super::settings::DispatchSettings;

/// A look that is older says that the process does not work.
const LOOK_AGE_MAX: Duration = Duration::from_secs(5);

/// What requests are answered from.
pub(super) struct Desk {
    pub(super) board: watch::Receiver<Arc<Board>>,
    pub(super) counts: Counts,
    pub(super) status: Arc<ConfigStatus>,
    pub(super) clock: Clock,
}

type Shared = State<Arc<Desk>>;

/// What clients may ask.
pub(super) fn clients(desk: &Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/gateways", get(gateways))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(desk), after_all))
        .with_state(Arc::clone(desk))
}

/// What operators may ask.
pub(super) fn operators(desk: &Arc<Desk>) -> Router {
    Router::new()
        .route("/metrics", get(shown))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(desk))
}

async fn gateways(State(desk): Shared, uri: Uri) -> Result<Response, ApiError> {
    let query = Query::of(&uri, &["part"])?;
    let part = query.number("part", 0..=ORDERS as u64 - 1)?;
    let part = part.and_then(|part| usize::try_from(part).ok());
    let board = Arc::clone(&desk.board.borrow());
    let Some(Answer { first, json, cache_control }) = board.answers.answer(part) else {
        Counts::count(&desk.counts.empty);
        return Ok(nowhere(&board.settings));
    };
    if let Some(counter) = board.firsts.get(first) {
        Counts::count(counter);
    }
    let kind = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, cache_control)], json).into_response())
}

/// There is no gateway to be tried: the next look may find one.
fn nowhere(settings: &DispatchSettings) -> Response {
    let message = "no gateway takes clients now: ask again later";
    let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
    let mut response = error.into_response();
    let wait_s = settings.interval.as_millis().div_ceil(1_000);
    let wait_s = HeaderValue::from(u64::try_from(wait_s).unwrap_or(1));
    response.headers_mut().insert(RETRY_AFTER, wait_s);
    response
}

/// What every answer to a client carries, errors too.
async fn after_all(State(desk): Shared, request: Request, next: Next) -> Response {
    let origin = origin_of(request.headers());
    let mut response = next.run(request).await;
    if response.status().is_client_error() {
        Counts::count(&desk.counts.refused);
    }
    let settings = Arc::clone(&desk.board.borrow().settings);
    allow_pages(&mut response, &settings.origins, origin.as_ref());
    let put = response.headers_mut();
    if !put.contains_key(CACHE_CONTROL) {
        put.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // A client asks once and goes: kept open, its connection would hold a place for nothing.
    put.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn not_found(request: Request) -> ApiError {
    let message = format!("there is nothing at {}", request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn method_not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{method} is not for {path}; use GET, HEAD");
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    let mut response = error.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

async fn shown(State(desk): Shared) -> impl IntoResponse {
    let board = Arc::clone(&desk.board.borrow());
    ([(CONTENT_TYPE, METRICS_TYPE)], metrics::render(&board, &desk.counts, desk.status.counts()))
}

/// Alive: the gateways are looked at.
async fn health(State(desk): Shared) -> Response {
    let looked_at = desk.board.borrow().looked_at;
    let age = desk.clock.now().since(looked_at);
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let healthy = age <= LOOK_AGE_MAX;
    answer(healthy, &json!({ "healthy": healthy, "look_age_ms": age_ms }))
}

/// There is a gateway to send clients to.
async fn ready(State(desk): Shared) -> Response {
    let board = Arc::clone(&desk.board.borrow());
    let listed = board.unlisted.iter().filter(|unlisted| unlisted.is_none()).count();
    let known = board.unlisted.len();
    answer(listed > 0, &json!({ "ready": listed > 0, "listed": listed, "gateways": known }))
}

fn answer(good: bool, body: &serde_json::Value) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(body)).into_response()
}
