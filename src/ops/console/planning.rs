//! What is prepared beside a show's questions: rains, rooms, and the list of words.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::ids::{EventNumber, RoomId};
use crate::base::metrics::Metric;
use crate::ops::console::accounts::Role;
use crate::ops::console::control::{
    Guest, OnePath, Order, Target, View, json_of, order, read, recorded, serve,
};
use crate::ops::http::rains::PlanBody;
use crate::ops::http::rooms::page;
use crate::ops::http::schema::proto;
use crate::ops::http::schema::proto::operation::Operation;
use crate::ops::http::words::trial_of;
use crate::ops::http::{ApiError, OperatorRequest, ServerRequest, put, show_id, whole_number};
use crate::quiz::money::Cents;
use crate::quiz::rain::RainCommand;
use crate::shard::service::ServiceRequest;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanOrder {
    event: u64,
    rain: PlanBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FundOrder {
    event: u64,
    cents: i64,
}

/// Plans a rain of a show that has begun, paid from its fund.
pub(super) async fn plan_rain(
    view: View,
    guest: Guest,
    path: OnePath,
    body: Bytes,
) -> Result<Response, ApiError> {
    may_order(&view, &guest, "plan a rain")?;
    let form = r#"{"event":12,"rain":{"pool_cents":100000,"packets":500,"duration_ms":30000}}"#;
    let PlanOrder { event, rain } = read(&body, form)?;
    let settings = rain.settings();
    let action = format!("plan a rain of {} cents", settings.pool.0);
    order_rain(view, guest, path, (event, action, RainCommand::Plan(settings))).await
}

/// Puts money into a show's fund.
pub(super) async fn fund_rains(
    view: View,
    guest: Guest,
    path: OnePath,
    body: Bytes,
) -> Result<Response, ApiError> {
    may_order(&view, &guest, "fund rains")?;
    let FundOrder { event, cents } = read(&body, r#"{"event":12,"cents":100000}"#)?;
    let action = format!("fund rains with {cents} cents");
    order_rain(view, guest, path, (event, action, RainCommand::Fund(Cents(cents)))).await
}

fn may_order(State(view): &View, Extension(visit): &Guest, action: &str) -> Result<(), ApiError> {
    visit.needs(view, Role::ShowOperator, action, "rains")
}

async fn order_rain(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
    (event, action, command): (u64, String, RainCommand),
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let show = show_id(&id)?;
    let about = format!("show {show}");
    let request = OperatorRequest::Rain { show, command, seen: Some(EventNumber(event)) };
    let target = Target { view: &view, show, about };
    order(&target, &visit, Order { action, event, request }).await
}

/// How many words are in force: the fewest on any shard.
pub(super) async fn words(
    State(view): View,
    Extension(visit): Guest,
) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "look", "words")?;
    view.refresh().await;
    let counts = view.shards.iter().map(|shard| shard.get(Metric::ChatWords));
    Ok(Json(json!({ "words": counts.min().unwrap_or(0) })).into_response())
}

/// What would become of a text. Nothing is changed, so it is in no log.
pub(super) async fn check_text(
    State(view): View,
    Extension(visit): Guest,
    body: Bytes,
) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "try a text", "words")?;
    Ok(Json(json_of(put(&view, trial_of(&body)?).await?)).into_response())
}

/// Reads the list again.
pub(super) async fn reload_words(
    State(view): View,
    Extension(visit): Guest,
) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "reload", "words")?;
    recorded(&view, &visit, put(&view, OperatorRequest::ReloadWords).await, "reload", "words")
}

/// Rooms that there are, a page of them.
pub(super) async fn rooms(
    State(view): View,
    Extension(visit): Guest,
    uri: Uri,
) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "look", "rooms")?;
    let request = ServerRequest::Service(ServiceRequest::Rooms(page(&uri)?));
    Ok(Json(json_of(put(&view, OperatorRequest::Server(request)).await?)).into_response())
}

/// One room; null where there is none: a page may be about to make it.
pub(super) async fn room(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let room = whole_number(&id, "room", "bad_room_id")?;
    visit.needs(&view, Role::ShowOperator, "look", &format!("room {room}"))?;
    let request = ServerRequest::Service(ServiceRequest::Room(RoomId(room)));
    let found = match put(&view, OperatorRequest::Server(request)).await {
        Err(error) if error.code() == "unknown_room" => Value::Null,
        told => json_of(told?),
    };
    Ok(Json(found).into_response())
}

/// Makes a room if there is none, and sets how it works in place of what was set before.
pub(super) async fn configure_room(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let room = whole_number(&id, "room", "bad_room_id")?;
    let about = format!("room {room}");
    visit.needs(&view, Role::ShowOperator, "configure", &about)?;
    let settings: proto::RoomSettings = read(&body, r#"{"chat_per_second":50}"#)?;
    let settings = Some(settings);
    let operation = Operation::ConfigureRoom(proto::ConfigureRoom { room, settings });
    serve(&view, &visit, operation, "configure", &about).await
}

/// Ends a room: its members are told, and leave it.
pub(super) async fn close_room(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let room = whole_number(&id, "room", "bad_room_id")?;
    let about = format!("room {room}");
    visit.needs(&view, Role::ShowOperator, "close", &about)?;
    let operation = Operation::CloseRoom(proto::CloseRoom { room });
    serve(&view, &visit, operation, "close", &about).await
}
