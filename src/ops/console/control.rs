//! The routes of the console, and what is ordered on its pages.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::base::ids::{
    EventNumber, OptionIndex, QuestionIndex, RainIndex, RoomId, ShowId, UserId,
};
use crate::ops::console::accounts::Role;
use crate::ops::console::door::{Door, Visit, admit, log_in, log_out, session};
use crate::ops::console::{Console, LastOrder, assets, editing, figures, planning, rehearsing};
use crate::ops::http::idempotency::{Idempotency, once};
use crate::ops::http::plans::body_limit;
use crate::ops::http::schema::proto;
use crate::ops::http::schema::proto::operation::Operation;
use crate::ops::http::{
    ApiError, OperatorRequest, OperatorTold, OperatorView, ServerRequest, put, server_request,
    show_id, whole_number, without_arguments,
};
use crate::quiz::director::{Command, CommandKind};
use crate::quiz::rain::RainCommand;
use crate::wire::proto::Lane;

/// Bytes of a message to a room.
const TEXT_BYTES_MAX: usize = 1_024;

pub(super) type View = State<Arc<OperatorView>>;
pub(super) type Guest = Extension<Visit>;
pub(super) type OnePath = Result<Path<String>, PathRejection>;
type TwoPaths = Result<Path<(String, String)>, PathRejection>;

/// Pages, login, and what pages ask for.
pub(crate) fn routes(
    view: &Arc<OperatorView>,
    console: &Arc<Console>,
    idempotency: &Arc<Idempotency>,
) -> Router<Arc<OperatorView>> {
    let door = Door { view: Arc::clone(view), console: Arc::clone(console) };
    let outside = Router::new()
        .route("/console/api/login", post(log_in))
        .route("/console/api/session", get(session))
        .with_state(door.clone());
    let logout = Router::new().route("/console/api/logout", post(log_out)).with_state(door.clone());
    let inside = Router::new()
        .route("/console/api/shows", get(shows))
        .route(
            "/console/api/shows/{id}",
            get(live).put(editing::change).delete(editing::withdraw).layer(body_limit()),
        )
        .route("/console/api/shows/{id}/file", get(editing::filed))
        .route("/console/api/questions/check", post(editing::check_questions).layer(body_limit()))
        .route("/console/api/shows/{id}/script", get(script))
        .route("/console/api/shows/{id}/commands/{word}", post(command))
        .route("/console/api/shows/{id}/rains", post(planning::plan_rain))
        .route("/console/api/shows/{id}/rain-fund", post(planning::fund_rains))
        .route("/console/api/shows/{id}/rains/{rain}/{word}", post(rain))
        .route(
            "/console/api/rehearsal",
            get(rehearsing::last).post(rehearsing::begin).delete(rehearsing::stop),
        )
        .route("/console/api/rehearsal/show", get(rehearsing::live))
        .route("/console/api/rehearsal/show/script", get(rehearsing::script))
        .route("/console/api/rehearsal/show/commands/{word}", post(rehearsing::command))
        .route("/console/api/rehearsal/show/rains/{rain}/{word}", post(rehearsing::rain))
        .route("/console/api/words", get(planning::words))
        .route("/console/api/words/check", post(planning::check_text))
        .route("/console/api/words/reload", post(planning::reload_words))
        .route("/console/api/rooms", get(planning::rooms))
        .route("/console/api/rooms/{id}", get(planning::room).put(planning::configure_room))
        .route("/console/api/rooms/{id}/close", post(planning::close_room))
        .route("/console/api/rooms/{id}/say", post(say))
        .route("/console/api/users/{id}/{word}", post(user))
        .route("/console/api/audit", get(audit))
        .merge(logout)
        .route_layer(middleware::from_fn_with_state(Arc::clone(idempotency), once))
        .route_layer(middleware::from_fn_with_state(door, admit));
    Router::new()
        .route("/", get(assets::home))
        .route("/console", get(assets::home))
        .route("/console/", get(assets::index))
        .route("/console/{file}", get(assets::file))
        .merge(outside)
        .merge(inside)
        .layer(middleware::from_fn(assets::guard))
}

/// The methods of a path of the console.
pub(crate) fn allowed_at(path: &str) -> &'static str {
    let parts: Vec<&str> = path.split('/').skip(3).collect();
    match parts[..] {
        ["login" | "logout"] | ["questions", "check"] => "POST",
        ["shows", _] => "GET, HEAD, PUT, DELETE",
        ["shows", _, "commands" | "rains" | "rain-fund", ..] => "POST",
        ["rehearsal"] => "GET, HEAD, POST, DELETE",
        ["rehearsal", "show", "commands" | "rains", ..] | ["words", _] => "POST",
        ["rooms", _] => "GET, HEAD, PUT",
        ["rooms" | "users", _, _] => "POST",
        _ => "GET, HEAD",
    }
}

async fn shows(State(view): View, Extension(visit): Guest) -> Result<Response, ApiError> {
    let mut shows = json_of(put(&view, OperatorRequest::Shows).await?);
    if let Some(shows) = shows.as_array_mut().filter(|_| visit.session.role == Role::Viewer) {
        for show in shows {
            *show = figures::summary_for_viewers(show);
        }
    }
    Ok(Json(shows).into_response())
}

/// A show and the gateway, as they are now.
async fn live(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    show_now(&view, &visit, show_id(&id)?).await
}

/// The same for any gateway.
pub(super) async fn show_now(
    view: &OperatorView,
    visit: &Visit,
    id: ShowId,
) -> Result<Response, ApiError> {
    let mut show = json_of(put(view, OperatorRequest::Show { show: id }).await?);
    let room = show["room"].as_u64().unwrap_or_default();
    let request = ServerRequest::Online { room: RoomId(room) };
    // A room that nobody has entered is no reason to show nothing.
    let online = put(view, OperatorRequest::Server(request)).await.map(json_of);
    view.refresh().await;
    if visit.session.role == Role::Viewer {
        show = figures::for_viewers(&show);
    }
    let last = visit
        .console
        .last_order(id)
        .map(|it| json!({ "account": it.name, "action": it.action, "at_ms": it.at_unix_ms }));
    let answer = json!({
        "now_ms": view.clock.unix_ms((view.now)()),
        "show": show,
        "online": online.map_or(Value::Null, |online| online["online"].clone()),
        "gateway": figures::gateway(view),
        "last": last,
    });
    Ok(Json(answer).into_response())
}

/// The questions, with what is correct.
async fn script(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let show = show_id(&id)?;
    visit.needs(&view, Role::ShowOperator, "script", &format!("show {show}"))?;
    Ok(Json(json_of(put(&view, OperatorRequest::Script { show }).await?)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandBody {
    event: u64,
    question: Option<u16>,
    correct: Option<u8>,
    #[serde(default)]
    confirm: bool,
}

async fn command(
    State(view): View,
    Extension(visit): Guest,
    path: TwoPaths,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path((id, word)) = path?;
    let show = show_id(&id)?;
    let target = Target { view: &view, show, about: format!("show {show}") };
    command_show(&target, &visit, &word, &body).await
}

/// A show, where it is, and what the audit log calls it.
pub(super) struct Target<'a> {
    pub(super) view: &'a OperatorView,
    pub(super) show: ShowId,
    pub(super) about: String,
}

/// Gives a command to a show of any gateway.
pub(super) async fn command_show(
    target: &Target<'_>,
    visit: &Visit,
    word: &str,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let Target { view, show, about } = target;
    let kind = CommandKind::ALL.into_iter().find(|kind| kind.word() == word);
    let kind = kind.ok_or_else(|| unknown(word))?;
    visit.needs(view, Role::ShowOperator, kind.word(), about)?;
    let CommandBody { event, question, correct, confirm } = read(body, r#"{"event":12}"#)?;
    let command = match (without_arguments(kind), question, correct) {
        (Some(command), None, None) => command,
        (None, Some(question), Some(correct)) => {
            let (question, correct) = (QuestionIndex(question), OptionIndex(correct));
            Command::Rejudge { question, correct, confirm }
        }
        _ => return Err(bad_body(r#"{"event":12}, and rejudge question and correct, too"#)),
    };
    let is_preview = matches!(command, Command::Rejudge { confirm: false, .. });
    let seen = Some(EventNumber(event));
    let request = OperatorRequest::Command { show: *show, command, seen };
    if is_preview {
        return Ok(Json(json_of(put(view, request).await?)).into_response());
    }
    order(target, visit, Order { action: kind.word().to_owned(), event, request }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenBody {
    event: u64,
}

async fn rain(
    State(view): View,
    Extension(visit): Guest,
    path: Result<Path<(String, String, String)>, PathRejection>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path((id, rain, word)) = path?;
    let show = show_id(&id)?;
    let target = Target { view: &view, show, about: format!("show {show}") };
    move_rain(&target, &visit, (&rain, &word), &body).await
}

/// Starts or ends a rain of a show of any gateway.
pub(super) async fn move_rain(
    target: &Target<'_>,
    visit: &Visit,
    (rain, word): (&str, &str),
    body: &Bytes,
) -> Result<Response, ApiError> {
    let index = rain.parse().map(RainIndex).map_err(|_| unknown(rain))?;
    let command = match word {
        "start" => RainCommand::Start(index),
        "end" => RainCommand::End(index),
        _ => return Err(unknown(word)),
    };
    let action = format!("rain {rain} {word}");
    visit.needs(target.view, Role::ShowOperator, &action, &target.about)?;
    let SeenBody { event } = read(body, r#"{"event":12}"#)?;
    let (show, seen) = (target.show, Some(EventNumber(event)));
    let request = OperatorRequest::Rain { show, command, seen };
    order(target, visit, Order { action, event, request }).await
}

/// Something that moves a show on.
pub(super) struct Order {
    pub(super) action: String,
    /// The last event that was seen.
    pub(super) event: u64,
    pub(super) request: OperatorRequest,
}

/// Carries an order out, unless the show has moved on since; then whoever moved it is named.
pub(super) async fn order(
    target: &Target<'_>,
    visit: &Visit,
    order: Order,
) -> Result<Response, ApiError> {
    let (event, now) = (order.event, (target.view.now)());
    let Refused { error, before } = match carry_out(target, visit, order).await {
        Ok(answer) => return Ok(answer),
        Err(refused) => refused,
    };
    if error.code() != "moved_on" {
        return Err(error);
    }
    let by = match before.filter(|before| before.seen.0 >= event) {
        Some(LastOrder { name, action, at, .. }) => {
            let seconds = now.since(at).as_secs();
            format!("{name} ordered `{action}` {seconds} s ago")
        }
        None => "by itself, or by another way than this console".to_owned(),
    };
    let about = &target.about;
    let message = format!("{about} has moved on since you saw it: {by}. Nothing was done.");
    Err(ApiError::new(StatusCode::CONFLICT, "moved_on", message))
}

/// An order was not carried out.
pub(super) struct Refused {
    /// Why.
    pub(super) error: ApiError,
    /// The last order about the show before it.
    before: Option<LastOrder>,
}

/// Carries an order out, and keeps in mind and on record whose it was.
pub(super) async fn carry_out(
    target: &Target<'_>,
    visit: &Visit,
    order: Order,
) -> Result<Response, Refused> {
    let Target { view, show, about } = target;
    let Order { action, event, request } = order;
    let now = (view.now)();
    let noted = LastOrder {
        name: visit.session.name.clone(),
        action: action.clone(),
        at: now,
        at_unix_ms: view.clock.unix_ms(now),
        seen: EventNumber(event),
    };
    let before = visit.console.note_order(*show, noted.clone());
    match put(view, request).await {
        Ok(told) => {
            visit.record(view, &action, about, "done");
            Ok(Json(json_of(told)).into_response())
        }
        Err(error) => {
            visit.record(view, &action, about, &format!("refused: {}", error.message()));
            visit.console.forget_order(*show, &noted, before.clone());
            Err(Refused { error, before })
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SayBody {
    text: String,
    kind: u32,
}

/// Says something to everybody in a room, in the service's name and in its high lane.
async fn say(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let room = whole_number(&id, "room", "bad_room_id")?;
    let about = format!("room {room}");
    visit.needs(&view, Role::ShowOperator, "say", &about)?;
    let form = r#"{"text":"We go on at nine.","kind":1}"#;
    let SayBody { text, kind } = read(&body, form)?;
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX || kind == 0 {
        return Err(bad_body(&format!(
            "{form}: 1 to {TEXT_BYTES_MAX} bytes of text, a kind from 1"
        )));
    }
    let lane = Lane::High.into();
    let action = format!("say (kind {kind}): {text}");
    let messages = vec![Bytes::from(text)];
    let operation = Operation::Publish(proto::Publish { room, lane, kind, messages });
    serve(&view, &visit, operation, &action, &about).await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    seconds: Option<u64>,
    room: Option<u64>,
    until: Option<i64>,
}

/// Keeps a user from speaking or from connecting, ends that, grants a card, or lets all cards expire.
async fn user(
    State(view): View,
    Extension(visit): Guest,
    path: TwoPaths,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path((id, word)) = path?;
    let user = whole_number(&id, "user", "bad_user_id")?;
    let about = format!("user {user}");
    let known = ["mute", "unmute", "ban", "unban", "cards", "expire-cards"];
    if !known.contains(&word.as_str()) {
        return Err(unknown(&word));
    }
    visit.needs(&view, Role::ShowOperator, &word, &about)?;
    let UserBody { seconds, room, until } = match body.trim_ascii() {
        [] => UserBody::default(),
        _ => read(&body, r#"no body, {"seconds":600,"room":7} or {"until":1800000600}"#)?,
    };
    let operation = match word.as_str() {
        "mute" => Operation::Mute(proto::Mute { user, seconds: seconds.unwrap_or_default(), room }),
        "unmute" => Operation::Unmute(proto::Unmute { user, room }),
        "ban" => Operation::Ban(proto::Ban { user, until }),
        "unban" => Operation::Unban(proto::Unban { user }),
        _ => {
            let user = UserId(user);
            let (request, action) = match word.as_str() {
                "cards" => (OperatorRequest::GrantCard { user }, "grant card"),
                _ => {
                    let cards_max = u8::MAX;
                    (OperatorRequest::ExpireCards { user, cards_max }, "expire cards")
                }
            };
            return recorded(&view, &visit, put(&view, request).await, action, &about);
        }
    };
    let action = match (word.as_str(), seconds, until) {
        ("mute", Some(seconds), _) => format!("mute for {seconds} s"),
        ("ban", _, Some(until)) => format!("ban until {until}"),
        _ => word,
    };
    serve(&view, &visit, operation, &action, &about).await
}

/// Does an operation of the server API.
pub(super) async fn serve(
    view: &OperatorView,
    visit: &Visit,
    operation: Operation,
    action: &str,
    about: &str,
) -> Result<Response, ApiError> {
    let request = OperatorRequest::Server(server_request(operation)?);
    recorded(view, visit, put(view, request).await, action, about)
}

pub(super) fn recorded(
    view: &OperatorView,
    visit: &Visit,
    outcome: Result<OperatorTold, ApiError>,
    action: &str,
    about: &str,
) -> Result<Response, ApiError> {
    match outcome {
        Ok(told) => {
            visit.record(view, action, about, "done");
            Ok(Json(json_of(told)).into_response())
        }
        Err(error) => {
            visit.record(view, action, about, &format!("refused: {}", error.message()));
            Err(error)
        }
    }
}

/// What was done through the console, newest first.
async fn audit(State(view): View, Extension(visit): Guest) -> Result<Response, ApiError> {
    visit.needs(&view, Role::Administrator, "audit", "")?;
    Ok(Json(json!({ "entries": visit.console.audit.newest_first() })).into_response())
}

pub(super) fn json_of(told: OperatorTold) -> Value {
    match told {
        OperatorTold::Json(value) => value,
        OperatorTold::Answer(answer) => answer.to_json(),
    }
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8], form: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| bad_body(&format!("{form}: {error}")))
}

fn bad_body(form: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_body", format!("expects {form}"))
}

fn unknown(word: &str) -> ApiError {
    let message = format!("there is nothing called `{word}`");
    ApiError::new(StatusCode::NOT_FOUND, "unknown_command", message)
}
