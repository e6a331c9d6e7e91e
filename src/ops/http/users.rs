//! Users over HTTP: who may not speak, who may not connect, whose tokens are refused.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};

use crate::base::ids::UserId;
use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, Shared, ask, run, same_id, whole_number};
use crate::ops::http::media::{Media, RawBody};
use crate::ops::http::port::{OperatorRequest, ServerRequest};
use crate::ops::http::query::Query;
use crate::ops::http::rooms::{LIST_DEFAULT, LIST_MAX};
use crate::ops::http::schema::proto;
use crate::ops::http::schema::proto::operation::Operation;
use crate::shard::service::{Page, ServiceRequest};

/// What belongs to users.
pub(super) fn routes() -> Router<Arc<OperatorView>> {
    Router::new()
        .route("/v1/users/{id}/mute", post(mute))
        .route("/v1/users/{id}/unmute", post(unmute))
        .route("/v1/users/{id}/disconnect", post(disconnect))
        .route("/v1/users/{id}/ban", post(ban))
        .route("/v1/users/{id}/unban", post(unban))
        .route("/v1/users/{id}/revoke", post(revoke_user))
        .route("/v1/tokens/{id}/revoke", post(revoke_token))
        .route("/v1/bans", get(bans))
}

type Id = Result<Path<String>, PathRejection>;

async fn mute(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = user_id(id)?;
    let form = r#"{"seconds":600} or {"seconds":600,"room":7}"#;
    let mut mute: proto::Mute = media.read(body, "mute", form)?;
    same_id(&mut mute.user, id, "user")?;
    run(&view, media, Operation::Mute(mute)).await
}

async fn unmute(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = user_id(id)?;
    let mut unmute: proto::Unmute = media.read(body, "unmute", r#"no body or {"room":7}"#)?;
    same_id(&mut unmute.user, id, "user")?;
    run(&view, media, Operation::Unmute(unmute)).await
}

async fn disconnect(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = user_id(id)?;
    let form = r#"no body or {"reconnect":true}"#;
    let mut disconnect: proto::Disconnect = media.read(body, "disconnect", form)?;
    same_id(&mut disconnect.user, id, "user")?;
    run(&view, media, Operation::Disconnect(disconnect)).await
}

async fn ban(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = user_id(id)?;
    let mut ban: proto::Ban = media.read(body, "ban", r#"no body or {"until":1800000600}"#)?;
    same_id(&mut ban.user, id, "user")?;
    run(&view, media, Operation::Ban(ban)).await
}

async fn unban(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = user_id(id)?;
    let mut unban: proto::Unban = media.read(body, "unban", "no body")?;
    same_id(&mut unban.user, id, "user")?;
    run(&view, media, Operation::Unban(unban)).await
}

/// Revokes the tokens of a user that were issued until a moment.
async fn revoke_user(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let id = user_id(id)?;
    let form = r#"nothing, or {"issued_until":1800000000,"until":1800000600} with either or both"#;
    let mut revoke: proto::RevokeUser = media.read(body, "revoke", form)?;
    same_id(&mut revoke.user, id, "user")?;
    run(&view, media, Operation::RevokeUser(revoke)).await
}

/// Revokes one token by its name.
async fn revoke_token(
    State(view): Shared,
    media: Media,
    id: Id,
    body: RawBody,
) -> Result<Response, ApiError> {
    let Path(id) = id?;
    let form = r#"nothing, or {"expires":1800000000}"#;
    let revoke: proto::RevokeToken = media.read(body, "revoke", form)?;
    run(&view, media, Operation::RevokeToken(proto::RevokeToken { token: id, ..revoke })).await
}

async fn bans(State(view): Shared, media: Media, uri: Uri) -> Result<Response, ApiError> {
    let query = Query::of(&uri, &["after", "limit"])?;
    let after = UserId(query.number("after", 0..=u64::MAX)?.unwrap_or(0));
    let limit = query.number("limit", 1..=LIST_MAX)?.unwrap_or(LIST_DEFAULT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let request = ServiceRequest::Bans(Page { after, limit });
    ask(&view, media, OperatorRequest::Server(ServerRequest::Service(request))).await
}

fn user_id(id: Id) -> Result<u64, ApiError> {
    let Path(id) = id?;
    whole_number(&id, "user", "bad_user_id")
}
