//! Rooms over HTTP: made, set up, listed, spoken in, read back, ended.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};

use crate::base::ids::RoomId;
use crate::base::limits::{
    HISTORY_BYTES_MAX, HISTORY_VERSIONS_MAX, SERVICE_MESSAGE_BYTES_MAX, SERVICE_MESSAGES_MAX,
};
use crate::base::metrics::Metric;
use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, Shared, ask, run, same_id, whole_number};
use crate::ops::http::media::{Media, RawBody};
use crate::ops::http::port::{OperatorRequest, ServerRequest};
use crate::ops::http::query::{Query, bad_query};
use crate::ops::http::schema::proto::operation::Operation;
use crate::ops::http::schema::{Answer, proto};
use crate::room::lane::Lane;
use crate::shard::service::{Page, ServiceRequest};

/// Entries of one page of a list, if nothing is said, and at most.
pub(super) const LIST_DEFAULT: u64 = 100;
pub(super) const LIST_MAX: u64 = 1_000;

/// As many messages as a request may have, of the greatest size, in base64 and in quotes.
const PUBLISH_BYTES_MAX: usize =
    SERVICE_MESSAGES_MAX * (SERVICE_MESSAGE_BYTES_MAX / 3 * 4 + 16) + 256;
/// The same with a list of rooms.
const BROADCAST_BYTES_MAX: usize = PUBLISH_BYTES_MAX + 32 * 1024;

/// What belongs to rooms.
pub(super) fn routes() -> Router<Arc<OperatorView>> {
    let publish_limit = DefaultBodyLimit::max(PUBLISH_BYTES_MAX);
    let broadcast_limit = DefaultBodyLimit::max(BROADCAST_BYTES_MAX);
    Router::new()
        .route("/v1/rooms", get(list))
        .route("/v1/rooms/{id}", get(show).put(configure))
        .route("/v1/rooms/{id}/online", get(online))
        .route("/v1/rooms/{id}/history", get(history))
        .route("/v1/rooms/{id}/publish", post(publish).layer(publish_limit))
        .route("/v1/rooms/{id}/close", post(close))
        .route("/v1/broadcast", post(broadcast).layer(broadcast_limit))
        .route("/v1/online", get(online_all))
}

type Id = Result<Path<String>, PathRejection>;

/// Publishes messages in a room, in the service's name and in the order of the request.
async fn publish(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = room_id(id)?;
    let form = r#"{"lane":"high","messages":["<base64>"]}"#;
    let mut publish: proto::Publish = media.read(body, "publish", form)?;
    same_id(&mut publish.room, id, "room")?;
    run(&view, media, Operation::Publish(publish)).await
}

/// Publishes the same in many rooms.
async fn broadcast(State(view): Shared, media: Media, body: RawBody) -> Result<Response, ApiError> {
    let form = r#"{"rooms":[7,8],"lane":"high","messages":["<base64>"]}"#;
    let broadcast = media.read(body, "broadcast", form)?;
    run(&view, media, Operation::Broadcast(broadcast)).await
}

/// Ends a room: its members are told, and leave it.
async fn close(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = room_id(id)?;
    let mut close: proto::CloseRoom = media.read(body, "close", "no body")?;
    same_id(&mut close.room, id, "room")?;
    run(&view, media, Operation::CloseRoom(close)).await
}

/// Makes a room if there is none, and sets how it works in place of what was set before.
async fn configure(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let room = room_id(id)?;
    let form = r#"no body or {"chat_per_second":50}, with any of its settings"#;
    let settings = Some(media.read(body, "a room", form)?);
    run(&view, media, Operation::ConfigureRoom(proto::ConfigureRoom { room, settings })).await
}

async fn show(State(view): Shared, media: Media, id: Id) -> Result<Response, ApiError> {
    let room = RoomId(room_id(id)?);
    ask(&view, media, service(ServiceRequest::Room(room))).await
}

async fn online(State(view): Shared, media: Media, id: Id) -> Result<Response, ApiError> {
    let room = RoomId(room_id(id)?);
    ask(&view, media, OperatorRequest::Server(ServerRequest::Online { room })).await
}

/// How many are connected to this gateway, as its shards published.
async fn online_all(State(view): Shared, media: Media) -> Response {
    view.refresh().await;
    let sum = |metric| view.shards.iter().map(|shard| shard.get(metric)).sum();
    let (connections, users) = (sum(Metric::Connections), sum(Metric::Sessions));
    media.answer(&Answer::OnlineAll(proto::OnlineAll { connections, users }))
}

async fn list(State(view): Shared, media: Media, uri: Uri) -> Result<Response, ApiError> {
    ask(&view, media, service(ServiceRequest::Rooms(page(&uri)?))).await
}

/// Which part of the list a query means.
pub(crate) fn page(uri: &Uri) -> Result<Page<RoomId>, ApiError> {
    let query = Query::of(uri, &["after", "limit"])?;
    let after = RoomId(query.number("after", 0..=u64::MAX)?.unwrap_or(0));
    let limit = query.number("limit", 1..=LIST_MAX)?.unwrap_or(LIST_DEFAULT);
    Ok(Page { after, limit: usize::try_from(limit).unwrap_or(usize::MAX) })
}

async fn history(
    State(view): Shared,
    media: Media,
    id: Id,
    uri: Uri,
) -> Result<Response, ApiError> {
    let room = RoomId(room_id(id)?);
    let query = Query::of(&uri, &["lane", "from", "limit"])?;
    let lane = match query.word("lane") {
        None | Some("low") => Lane::Low,
        Some("mid") => Lane::Mid,
        Some("high") => Lane::High,
        Some(other) => {
            return Err(bad_query(format!("`lane={other}`: give `high`, `mid` or `low`")));
        }
    };
    let from = query.number("from", 1..=u64::MAX)?;
    let limit = query.number("limit", 1..=HISTORY_VERSIONS_MAX)?;
    let (versions_max, bytes_max) = (limit.unwrap_or(LIST_DEFAULT), HISTORY_BYTES_MAX);
    let request = ServiceRequest::History { room, lane, from, versions_max, bytes_max };
    ask(&view, media, service(request)).await
}

fn service(request: ServiceRequest) -> OperatorRequest {
    OperatorRequest::Server(ServerRequest::Service(request))
}

fn room_id(id: Id) -> Result<u64, ApiError> {
    let Path(id) = id?;
    whole_number(&id, "room", "bad_room_id")
}
