//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::base::ids::ShowId;
use crate::ledger::reader::Cursor;
use crate::ops::http::listener::Peer;
use crate::ops::http::query::Query;
use crate::ops::http::{ApiError, show_id};
use crate::ops::players::bonuses::{Page, unknown_show};
use crate::ops::players::gate::{TooMany, too_many};
use crate::ops::players::reply::{self, Caching, answer};
use crate::ops::players::{Desk, PlayerCounts, PlayerView};
use crate::quiz::money::Cents;
use crate::quiz::requests::MoneyKey;
use crate::shard::players::PlayerAsk;
use crate::wire::proto;
use crate::wire::proto::response::Payload;

/// No request has more than a code or an amount.
const BODY_BYTES_MAX: usize = 1_024;
/// Places of a leaderboard.
const PLACES_DEFAULT: u64 = 20;
const PLACES_MAX: u64 = 100;
/// Entries of a page.
const PAGE_DEFAULT: u64 = 50;
const PAGE_MAX: u64 = 200;
/// What everybody may be told from a cache: as old as what we would say ourselves.
const PUBLIC: Caching = Caching::Public { life_s: 1 };

type Shared = State<Arc<Desk>>;
type ShowPath = Result<Path<String>, PathRejection>;

pub(super) fn router(view: PlayerView) -> Router {
    let desk = Arc::new(Desk::new(view));
    Router::new()
        .route("/v1/shows", get(shows))
        .route("/v1/shows/{id}", get(show))
        .route("/v1/shows/{id}/leaderboard", get(show_board))
        .route("/v1/shows/{id}/leaderboard/me", get(show_place))
        .route("/v1/shows/{id}/share", get(share))
        .route("/v1/leaderboard", get(board))
        .route("/v1/leaderboard/me", get(place))
        .route("/v1/me", get(me))
        .route("/v1/me/bonuses", get(bonuses))
        .route("/v1/me/withdrawals", get(withdrawals).post(withdraw))
        .route("/v1/me/invitations", get(invitations).post(redeem))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), before_all))
        .with_state(desk)
}

/// What stands before every request and behind every answer.
async fn before_all(
    State(desk): Shared,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let counts = Arc::clone(&desk.view.counts);
    PlayerCounts::count(&counts.requests);
    let origin = reply::origin_of(request.headers());
    let (mut response, wait) = match desk.admit_address(peer.0.ip(), request.headers()) {
        Err(TooMany(wait)) => (too_many(wait, "this address").into_response(), Some(wait)),
        Ok(()) if request.method() == Method::OPTIONS => {
            (reply::preflight(methods_at(request.uri().path())), None)
        }
        Ok(()) => (next.run(request).await, None),
    };
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        PlayerCounts::count(&counts.too_many);
    } else if response.status().is_server_error() {
        PlayerCounts::count(&counts.failed);
    }
    reply::finish(&mut response, wait);
    reply::allow_pages(&mut response, &desk.view.settings.origins, origin.as_ref());
    response
}

async fn not_found(request: Request) -> ApiError {
    let message = format!("there is nothing at {}", request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn method_not_allowed(request: Request) -> Response {
    let path = request.uri().path();
    let allowed = methods_at(path);
    let message = format!("{} is not for {path}; use {allowed}", request.method());
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    let mut response = error.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn methods_at(path: &str) -> &'static str {
    match path {
        "/v1/me/withdrawals" | "/v1/me/invitations" => "GET, HEAD, POST, OPTIONS",
        _ => "GET, HEAD, OPTIONS",
    }
}

async fn shows(State(desk): Shared, headers: HeaderMap) -> Result<Response, ApiError> {
    let shows = desk.shows().await?;
    let shows: Vec<Value> = shows.values().map(|show| show.to_json()).collect();
    Ok(answer(&headers, PUBLIC, &json!({ "shows": shows })))
}

async fn show(
    State(desk): Shared,
    headers: HeaderMap,
    path: ShowPath,
) -> Result<Response, ApiError> {
    let id = show_of(path)?;
    let shows = desk.shows().await?;
    let show = shows.get(&id).ok_or_else(|| unknown_show(id))?;
    Ok(answer(&headers, PUBLIC, &show.to_json()))
}

async fn show_board(
    State(desk): Shared,
    headers: HeaderMap,
    uri: Uri,
    path: ShowPath,
) -> Result<Response, ApiError> {
    let show = show_of(path)?;
    let board = desk.board(Some(show), count_of(&uri)?).await?;
    Ok(answer(&headers, PUBLIC, &board))
}

async fn board(State(desk): Shared, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    let board = desk.board(None, count_of(&uri)?).await?;
    Ok(answer(&headers, PUBLIC, &board))
}

async fn show_place(
    State(desk): Shared,
    headers: HeaderMap,
    path: ShowPath,
) -> Result<Response, ApiError> {
    let show = show_of(path)?;
    let user = desk.admit(&headers).await?;
    let place = desk.place(Some(show), user).await?;
    Ok(answer(&headers, Caching::Own, &place))
}

async fn place(State(desk): Shared, headers: HeaderMap) -> Result<Response, ApiError> {
    let user = desk.admit(&headers).await?;
    let place = desk.place(None, user).await?;
    Ok(answer(&headers, Caching::Own, &place))
}

/// What the player has now, as its bucket says.
async fn me(State(desk): Shared, headers: HeaderMap) -> Result<Response, ApiError> {
    let holder = desk.holder(&headers)?;
    let user = holder.user;
    let purse = purse_of(desk.ask(holder, PlayerAsk::Purse).await?);
    let body = json!({
        "user": user.to_string(),
        "balance_cents": purse.balance_cents,
        "revive_cards": purse.revive_cards,
        "invitation_code": purse.invitation_code,
        "invited": purse.invited,
    });
    Ok(answer(&headers, Caching::Own, &body))
}

async fn bonuses(State(desk): Shared, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    let user = desk.admit(&headers).await?;
    let page = page_of(&uri)?;
    Ok(answer(&headers, Caching::Own, &desk.bonuses(user, page).await?))
}

async fn withdrawals(
    State(desk): Shared,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let user = desk.admit(&headers).await?;
    let page = page_of(&uri)?;
    Ok(answer(&headers, Caching::Own, &desk.withdrawals(user, page).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithdrawBody {
    cents: i64,
}

async fn withdraw(
    State(desk): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let holder = desk.holder(&headers)?;
    let key = key_of(&headers)?;
    let WithdrawBody { cents } = body_of(body, r#"{"cents":500}"#)?;
    let ask = PlayerAsk::Withdraw { key, cents: Cents(cents) };
    let withdrawal = match desk.ask(holder, ask).await? {
        Some(Payload::Withdrawal(withdrawal)) => withdrawal,
        other => panic!("a shard answered a withdrawal with {other:?}"),
    };
    let state = match withdrawal.state() {
        proto::WithdrawalState::Paid => "paid",
        proto::WithdrawalState::Reversed => "returned",
        _ => "requested",
    };
    let body = json!({
        "key": withdrawal.key,
        "cents": withdrawal.cents,
        "state": state,
        "balance_cents": withdrawal.balance_cents,
    });
    Ok(answer(&headers, Caching::No, &body))
}

async fn invitations(
    State(desk): Shared,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let holder = desk.holder(&headers)?;
    let user = holder.user;
    let page = page_of(&uri)?;
    let purse = purse_of(desk.ask(holder, PlayerAsk::Purse).await?);
    let mut body = desk.invitations(user, page).await?;
    if let Value::Object(fields) = &mut body {
        fields.insert("code".to_owned(), json!(purse.invitation_code));
        fields.insert("invited".to_owned(), json!(purse.invited));
    }
    Ok(answer(&headers, Caching::Own, &body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedeemBody {
    code: String,
}

async fn redeem(
    State(desk): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let holder = desk.holder(&headers)?;
    let RedeemBody { code } = body_of(body, r#"{"code":"4F2Y…"}"#)?;
    let redeemed = match desk.ask(holder, PlayerAsk::Redeem { code }).await? {
        Some(Payload::Redeemed(redeemed)) => redeemed,
        other => panic!("a shard answered an invitation with {other:?}"),
    };
    let body =
        json!({ "inviter": redeemed.inviter_id.to_string(), "revive_cards": redeemed.cards });
    Ok(answer(&headers, Caching::No, &body))
}

async fn share(
    State(desk): Shared,
    headers: HeaderMap,
    path: ShowPath,
) -> Result<Response, ApiError> {
    let id = show_of(path)?;
    let holder = desk.holder(&headers)?;
    let purse = purse_of(desk.ask(holder, PlayerAsk::Purse).await?);
    let shows = desk.shows().await?;
    let show = shows.get(&id).ok_or_else(|| unknown_show(id))?;
    let Some(shared) = desk.templates.share(show, &purse.invitation_code) else {
        let message = "this gateway has no link to share: player_api.share_url is not set";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_configured", message));
    };
    Ok(answer(&headers, Caching::Own, &shared))
}

fn purse_of(payload: Option<Payload>) -> proto::Purse {
    match payload {
        Some(Payload::Purse(purse)) => purse,
        other => panic!("a shard answered a question for a purse with {other:?}"),
    }
}

fn show_of(path: ShowPath) -> Result<ShowId, ApiError> {
    let Path(id) = path?;
    show_id(&id)
}

fn count_of(uri: &Uri) -> Result<usize, ApiError> {
    let query = Query::of(uri, &["limit"])?;
    let limit = query.number("limit", 1..=PLACES_MAX)?.unwrap_or(PLACES_DEFAULT);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn page_of(uri: &Uri) -> Result<Page, ApiError> {
    let query = Query::of(uri, &["before", "limit"])?;
    let limit = query.number("limit", 1..=PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
    let before = query.number("before", 1..=i64::MAX as u64)?;
    let before = before.and_then(|it| i64::try_from(it).ok()).map_or(Cursor::NEWEST, Cursor);
    Ok(Page { before, limit: u32::try_from(limit).unwrap_or(u32::MAX) })
}

fn key_of(headers: &HeaderMap) -> Result<MoneyKey, ApiError> {
    let bad = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "key_invalid", message);
    let mut keys = headers.get_all("idempotency-key").iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        let message = "send one `Idempotency-Key`, new for each withdrawal and the same when you \
                       repeat it: with it, it happens once";
        return Err(bad(message.to_owned()));
    };
    let text = key.to_str().unwrap_or_default();
    MoneyKey::new(text).map_err(|error| bad(format!("`Idempotency-Key`: {error}")))
}

fn body_of<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    form: &str,
) -> Result<T, ApiError> {
    let body = body.map_err(|rejection| {
        ApiError::new(rejection.status(), "bad_body", rejection.body_text())
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is to be {form}: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message)
    })
}
