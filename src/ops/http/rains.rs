//! Red-packet rains and withdrawals over HTTP.

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

use crate::base::ids::{RainIndex, ShowId, UserId};
use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, Shared, ask, show_id, whole_number};
use crate::ops::http::media::Media;
use crate::ops::http::port::OperatorRequest;
use crate::quiz::money::Cents;
use crate::quiz::rain::{RainCommand, RainSettings};

pub(super) fn routes() -> Router<std::sync::Arc<OperatorView>> {
    Router::new()
        .route("/v1/shows/{id}/rains", post(plan))
        .route("/v1/shows/{id}/rain-fund", post(fund))
        .route("/v1/shows/{id}/rains/{rain}/{word}", post(move_on))
        .route("/v1/users/{id}/withdrawals/{number}/{word}", post(close_withdrawal))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanBody {
    pool_cents: i64,
    packets: u32,
    duration_ms: u64,
    win_per_10000: Option<u16>,
    taps_max: Option<u8>,
    #[serde(default)]
    show_packets_max: u16,
}

impl PlanBody {
    /// The settings, with the usual ones where nothing is said.
    pub(crate) fn settings(&self) -> RainSettings {
        let duration = Duration::from_millis(self.duration_ms);
        let usual = RainSettings::new(Cents(self.pool_cents), self.packets, duration);
        RainSettings {
            win_per_10000: self.win_per_10000.unwrap_or(usual.win_per_10000),
            taps_max: self.taps_max.unwrap_or(usual.taps_max),
            show_packets_max: self.show_packets_max,
            ..usual
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FundBody {
    cents: i64,
}

type Body = Result<Bytes, BytesRejection>;

/// Plans a rain, paid from the show's fund.
async fn plan(
    State(view): Shared,
    media: Media,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let form = r#"{"pool_cents":100000,"packets":500,"duration_ms":30000}"#;
    let body: PlanBody = read(body, "a rain", form)?;
    let settings = body.settings();
    order(&view, media, show_id(&id)?, RainCommand::Plan(settings)).await
}

/// Puts money into the show's fund.
async fn fund(
    State(view): Shared,
    media: Media,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let FundBody { cents } = read(body, "a fund", r#"{"cents":100000}"#)?;
    order(&view, media, show_id(&id)?, RainCommand::Fund(Cents(cents))).await
}

/// Starts a rain, or ends it.
async fn move_on(
    State(view): Shared,
    media: Media,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((id, rain, word)) = path?;
    let Ok(rain) = rain.parse().map(RainIndex) else {
        let message = format!("`{rain}` is not the number of a rain: they are counted from 0");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_rain", message));
    };
    let command = match word.as_str() {
        "start" => RainCommand::Start(rain),
        "end" => RainCommand::End(rain),
        _ => return Err(unknown(&word, "`start` and `end`")),
    };
    order(&view, media, show_id(&id)?, command).await
}

/// The balance system says what became of a withdrawal.
async fn close_withdrawal(
    State(view): Shared,
    media: Media,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((id, number, word)) = path?;
    let user = UserId(whole_number(&id, "user", "bad_user_id")?);
    let number = whole_number(&number, "withdrawal", "bad_withdrawal_number")?;
    let is_paid = match word.as_str() {
        "paid" => true,
        "reversed" => false,
        _ => return Err(unknown(&word, "`paid` and `reversed`")),
    };
    tracing::info!(%user, number, is_paid, "a withdrawal is closed");
    ask(&view, media, OperatorRequest::CloseWithdrawal { user, number, is_paid }).await
}

async fn order(
    view: &OperatorView,
    media: Media,
    show: ShowId,
    command: RainCommand,
) -> Result<Response, ApiError> {
    tracing::info!(%show, ?command, "operator command");
    ask(view, media, OperatorRequest::Rain { show, command, seen: None }).await
}

fn unknown(word: &str, known: &str) -> ApiError {
    let message = format!("there is no `{word}`; {known} are possible");
    ApiError::new(StatusCode::NOT_FOUND, "unknown_command", message)
}

fn read<T: DeserializeOwned>(body: Body, what: &str, form: &str) -> Result<T, ApiError> {
    let body = body.map_err(|rejection| {
        ApiError::new(rejection.status(), "bad_body", rejection.body_text())
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let message = format!("{what} expects {form}: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message)
    })
}
