//! The routes, and what they answer. Everything but the metrics is JSON, errors too:
//! `{"error":{"code":"…","message":"…"}}`.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use crate::ops::console;
use crate::ops::http::access::{self, Denied, Quiet};
use crate::ops::http::idempotency::{Idempotency, once};
use crate::ops::http::listener::Peer;
use crate::ops::http::media::{Media, RawBody, bad_body, bytes_of, translate_errors};
use crate::ops::http::port::{
    OperatorRefusal, OperatorReply, OperatorRequest, OperatorTold, ServerRequest,
};
use crate::ops::http::schema::proto::operation::Operation;
use crate::ops::http::schema::{Answer, proto};
use crate::ops::http::{
    OperatorView, ReadyState, batch, drain, idempotency, load, operations, plans, rains, rehearsal,
    rooms, users, words,
};
use crate::ops::metrics_text;
use crate::ops::nearest::suggestion;
use crate::quiz::director::{Command, CommandKind};

/// How long the answer of a director may take.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// No command has a body of more than three small fields.
const BODY_BYTES_MAX: usize = 4 * 1024;

pub(super) type Shared = State<Arc<OperatorView>>;

pub(super) fn router(view: OperatorView) -> Router {
    let view = Arc::new(view);
    let idempotency = Arc::new(Idempotency::new(Arc::clone(&view)));
    let gate = Gate { view: Arc::clone(&view), quiet: Quiet::default() };
    let api = Router::new()
        .route("/v1/shows", get(shows))
        .route(
            "/v1/shows/{id}",
            get(show).put(plans::put).delete(plans::withdraw).layer(plans::body_limit()),
        )
        .route("/v1/shows/{id}/file", get(plans::filed))
        .route("/v1/shows/{id}/messages", get(messages))
        .route("/v1/shows/{id}/{command}", post(command))
        .route("/v1/questions/check", post(plans::check_questions).layer(plans::body_limit()))
        .route("/v1/users/{id}/cards", post(grant_card))
        .route("/v1/users/{id}/cards/expire", post(expire_cards))
        .merge(users::routes())
        .merge(rooms::routes())
        .merge(rains::routes())
        .merge(drain::routes())
        .merge(load::routes())
        .merge(rehearsal::routes())
        .merge(words::routes())
        .route("/v1/batch", post(batch::batch).layer(batch::body_limit()))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&idempotency), once))
        .route_layer(middleware::from_fn_with_state(Arc::new(gate), admit));
    let pages = view.console.as_ref().map(|it| console::routes(&view, it, &idempotency));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .merge(api)
        .merge(pages.unwrap_or_default())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(translate_errors))
        .with_state(view)
}

/// An answer that is an error.
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// One by one, where there are several; else empty.
    problems: Vec<Value>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> ApiError {
        ApiError { status, code, message: message.into(), problems: Vec::new() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn with_problems(self, problems: Vec<Value>) -> ApiError {
        ApiError { problems, ..self }
    }

    pub(crate) fn with_code(self, code: &'static str) -> ApiError {
        ApiError { code, ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": { "code": self.code, "message": self.message } });
        if !self.problems.is_empty() {
            body["error"]["problems"] = self.problems.iter().cloned().collect();
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        response.extensions_mut().insert(proto::Error::from(self));
        response
    }
}

impl From<ApiError> for proto::Error {
    fn from(error: ApiError) -> proto::Error {
        proto::Error { code: error.code.to_owned(), message: error.message }
    }
}

impl From<OperatorRefusal> for ApiError {
    fn from(refusal: OperatorRefusal) -> ApiError {
        let (status, code) = match refusal {
            OperatorRefusal::UnknownShow { .. } => (StatusCode::NOT_FOUND, "unknown_show"),
            OperatorRefusal::UnknownRoom { .. } => (StatusCode::NOT_FOUND, "unknown_room"),
            OperatorRefusal::NotNow { .. } => (StatusCode::CONFLICT, "not_now"),
            OperatorRefusal::MovedOn { .. } => (StatusCode::CONFLICT, "moved_on"),
            OperatorRefusal::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            OperatorRefusal::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        ApiError::new(status, code, refusal.to_string())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> ApiError {
        ApiError::new(rejection.status(), "bad_path", rejection.body_text())
    }
}

async fn not_found(request: Request) -> ApiError {
    let message = format!("there is nothing at {}", request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn method_not_allowed(request: Request) -> Response {
    let path = request.uri().path();
    let allowed = match path.starts_with("/console/api/") {
        true => console::allowed_at(path),
        false => allowed_at(path),
    };
    let message = format!("{} is not for {path}; use {allowed}", request.method());
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    let mut response = error.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The methods of a path: what does something is posted.
fn allowed_at(path: &str) -> &'static str {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("v1"), Some("drain" | "rehearsal"), None, None) => "GET, HEAD, POST, DELETE",
        (Some("v1"), Some("rooms"), Some(_), None) => "GET, HEAD, PUT",
        (Some("v1"), Some("rooms"), Some(_), Some("online" | "history")) => "GET, HEAD",
        (Some("v1"), Some("shows"), Some(_), None) => "GET, HEAD, PUT, DELETE",
        (Some("v1"), Some("shows"), Some(_), Some("messages" | "file")) => "GET, HEAD",
        (Some("v1"), Some("batch" | "broadcast" | "words" | "questions"), ..)
        | (Some("v1"), Some(_), Some(_), Some(_)) => "POST",
        _ => "GET, HEAD",
    }
}

async fn metrics(State(view): Shared) -> impl IntoResponse {
    view.refresh().await;
    let ready = view.readiness.get() == ReadyState::Accepting;
    let mut text = metrics_text::render(&view.shards, ready, view.keys.counts(), (view.now)());
    let certificates = &view.certificates;
    metrics_text::render_certificates(&mut text, certificates.reloads(), certificates.errors());
    metrics_text::render_config(&mut text, view.config.counts());
    view.kernel.render(&mut text);
    metrics_text::render_players(&mut text, &view.players);
    if let Some(ledger) = &view.ledger {
        metrics_text::render_ledger(&mut text, &ledger.status());
    }
    if let Some(drain) = &view.drain {
        metrics_text::render_drain(&mut text, &drain.status());
    }
    ([(CONTENT_TYPE, metrics_text::CONTENT_TYPE)], text)
}

/// Alive: every shard published within the limit, or does when it is woken.
async fn health(State(view): Shared) -> Response {
    view.refresh().await;
    let ages = view.ages();
    let healthy = ages.iter().all(|age| *age <= view.health_stale);
    let shards: Vec<Value> = ages
        .iter()
        .enumerate()
        .map(|(shard, age)| {
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            json!({ "shard": shard, "healthy": *age <= view.health_stale, "age_ms": age_ms })
        })
        .collect();
    answer(healthy, json!({ "healthy": healthy, "shards": shards }))
}

/// Accepting clients, and not asking them to leave.
async fn ready(State(view): Shared) -> Response {
    let state = match view.readiness.get() {
        ReadyState::Starting => "starting",
        ReadyState::Accepting => "accepting",
        ReadyState::Draining => "draining",
    };
    let ready = state == "accepting";
    answer(ready, json!({ "ready": ready, "state": state }))
}

fn answer(good: bool, body: Value) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(body)).into_response()
}

/// What stands before the API.
struct Gate {
    view: Arc<OperatorView>,
    quiet: Quiet,
}

async fn admit(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let denied = match access::check(gate.view.token.as_ref(), peer, request.headers()) {
        Ok(()) => return next.run(request).await,
        Err(denied) => denied,
    };
    if let Some(unsaid) = gate.quiet.say((gate.view.now)()) {
        let path = request.uri().path();
        tracing::warn!(peer = %peer.0, path, ?denied, unsaid, "operator API refused");
    }
    let (status, message) = match denied {
        Denied::Token => (
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer …` with the token of operator.token",
        ),
        Denied::Remote => (
            StatusCode::FORBIDDEN,
            "operator.token is not set, so only this host may use the API; set it",
        ),
        Denied::WebPage => (
            StatusCode::FORBIDDEN,
            "operator.token is not set, so web pages may not use the API; set it",
        ),
        Denied::Host => (
            StatusCode::FORBIDDEN,
            "operator.token is not set, so the API answers to localhost, 127.0.0.1 and [::1] only; \
             set it, or ask for one of those",
        ),
        Denied::Proxy => (
            StatusCode::FORBIDDEN,
            "operator.token is not set, so proxies may not use the API; set it",
        ),
    };
    let mut response = ApiError::new(status, "not_allowed", message).into_response();
    if denied == Denied::Token {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

async fn shows(State(view): Shared, media: Media) -> Result<Response, ApiError> {
    ask(&view, media, OperatorRequest::Shows).await
}

async fn show(
    State(view): Shared,
    media: Media,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    ask(&view, media, OperatorRequest::Show { show: show_id(&id)? }).await
}

/// What the audience was told, one JSON object a line.
async fn messages(
    State(view): Shared,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let told = put(&view, OperatorRequest::Messages { show: show_id(&id)? }).await?;
    let OperatorTold::Json(answer) = told else { panic!("messages come as JSON") };
    let messages = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: String = messages.iter().map(|message| format!("{message}\n")).collect();
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

async fn command(
    State(view): Shared,
    media: Media,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path((id, word)) = path?;
    let show = show_id(&id)?;
    let Some(kind) = CommandKind::ALL.into_iter().find(|kind| kind.word() == word) else {
        let hint = suggestion(&word, &CommandKind::ALL.map(CommandKind::word));
        let message = format!("there is no command `{word}`{hint}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_command", message));
    };
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| {
        ApiError::new(rejection.status(), "bad_body", rejection.body_text())
    })?;
    let command = show_command(kind, &body)?;
    tracing::info!(%show, ?command, "operator command");
    ask(&view, media, OperatorRequest::Command { show, command, seen: None }).await
}

async fn grant_card(
    State(view): Shared,
    media: Media,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let user = UserId(whole_number(&id, "user", "bad_user_id")?);
    tracing::info!(%user, "operator grants a revive card");
    ask(&view, media, OperatorRequest::GrantCard { user }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpireBody {
    cards_max: NonZeroU8,
}

async fn expire_cards(
    State(view): Shared,
    media: Media,
    path: Result<Path<String>, PathRejection>,
    body: RawBody,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let user = UserId(whole_number(&id, "user", "bad_user_id")?);
    let cards_max = cards_to_expire(&bytes_of(body)?)?;
    tracing::info!(%user, cards_max, "operator lets revive cards expire");
    ask(&view, media, OperatorRequest::ExpireCards { user, cards_max }).await
}

/// How many cards a body says; all, where there is none.
fn cards_to_expire(body: &[u8]) -> Result<u8, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(u8::MAX);
    }
    let ExpireBody { cards_max } = serde_json::from_slice(body).map_err(|error| {
        let form = r#"no body, or {"cards_max":1} with 1 to 255"#;
        bad_body(format!("an expiry of cards expects {form}: {error}"))
    })?;
    Ok(cards_max.get())
}

pub(crate) fn show_id(text: &str) -> Result<ShowId, ApiError> {
    whole_number(text, "show", "bad_show_id").map(ShowId)
}

pub(crate) fn whole_number(text: &str, of: &str, code: &'static str) -> Result<u64, ApiError> {
    match text.parse() {
        Ok(id) if id != 0 => Ok(id),
        _ => {
            let message = format!("`{text}` is not the id of a {of}: a whole number from 1");
            Err(ApiError::new(StatusCode::BAD_REQUEST, code, message))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RejudgeBody {
    question: u16,
    correct: u8,
    #[serde(default)]
    confirm: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// A command with what its body says.
fn show_command(kind: CommandKind, body: &[u8]) -> Result<Command, ApiError> {
    if kind != CommandKind::Rejudge
        && !body.trim_ascii().is_empty()
        && serde_json::from_slice::<NoFields>(body).is_err()
    {
        let word = kind.word();
        return Err(bad_body(format!("{word} has no fields: send no body, or an empty object")));
    }
    if let Some(command) = without_arguments(kind) {
        return Ok(command);
    }
    let RejudgeBody { question, correct, confirm } =
        serde_json::from_slice(body).map_err(|error| {
            let form = r#"{"question":0,"correct":1,"confirm":false}"#;
            bad_body(format!("rejudge expects {form}: {error}"))
        })?;
    let (question, correct) = (QuestionIndex(question), OptionIndex(correct));
    Ok(Command::Rejudge { question, correct, confirm })
}

/// The command of a kind, if its word says all of it.
pub(crate) fn without_arguments(kind: CommandKind) -> Option<Command> {
    Some(match kind {
        CommandKind::OpenLobby => Command::OpenLobby,
        CommandKind::Publish => Command::Publish,
        CommandKind::Reveal => Command::Reveal,
        CommandKind::Pause => Command::Pause,
        CommandKind::Resume => Command::Resume,
        CommandKind::PushEarly => Command::PushEarly,
        CommandKind::Withdraw => Command::Withdraw,
        CommandKind::Void => Command::Void,
        CommandKind::Settle => Command::Settle,
        CommandKind::Cancel => Command::Cancel,
        CommandKind::End => Command::End,
        CommandKind::Rejudge => return None,
    })
}

/// Gives the id that the path names to a message whose body need not.
pub(super) fn same_id(in_body: &mut u64, in_path: u64, of: &str) -> Result<(), ApiError> {
    if *in_body != 0 && *in_body != in_path {
        let message = format!("the path names {of} {in_path} and the body {of} {in_body}");
        return Err(bad_body(format!("{message}: leave {of} out of the body")));
    }
    *in_body = in_path;
    Ok(())
}

/// Does one operation of the server API.
pub(super) async fn perform(view: &OperatorView, operation: Operation) -> Result<Answer, ApiError> {
    let request = operations::request(operation)?;
    if !matches!(request, ServerRequest::Publish(_) | ServerRequest::Broadcast(_)) {
        tracing::info!(?request, "server API");
    }
    match put(view, OperatorRequest::Server(request)).await? {
        OperatorTold::Answer(answer) => Ok(answer),
        OperatorTold::Json(value) => panic!("the port answered an operation with {value}"),
    }
}

/// Does one operation that is a request of its own.
pub(super) async fn run(
    view: &OperatorView,
    media: Media,
    operation: Operation,
) -> Result<Response, ApiError> {
    perform(view, operation).await.map(|answer| media.answer(&answer))
}

/// Asks, and gives the answer in the form that is wanted; about shows there is JSON only.
pub(super) async fn ask(
    view: &OperatorView,
    media: Media,
    request: OperatorRequest,
) -> Result<Response, ApiError> {
    Ok(match put(view, request).await? {
        OperatorTold::Answer(answer) => media.answer(&answer),
        OperatorTold::Json(value) => axum::Json(value).into_response(),
    })
}

pub(crate) async fn put(
    view: &OperatorView,
    request: OperatorRequest,
) -> Result<OperatorTold, ApiError> {
    let (reply, answer) = OperatorReply::channel();
    view.port.request(idempotency::with_order(request), reply);
    match tokio::time::timeout(REPLY_TIMEOUT, answer).await {
        Ok(Ok(Ok(told))) => Ok(told),
        Ok(Ok(Err(refusal))) => Err(refusal.into()),
        Ok(Err(_)) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the gateway is stopping and gave no answer",
        )),
        Err(_) => Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "no_answer",
            "no answer within 5 s: it is unknown whether this was done; ask how things are before you \
             repeat it",
        )),
    }
}
