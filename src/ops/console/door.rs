//! Who comes in: login, logout, and what stands before everything else.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{COOKIE, HOST, ORIGIN, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::ops::console::Console;
use crate::ops::console::accounts::Role;
use crate::ops::console::audit::AuditEntry;
use crate::ops::console::sessions::Session;
use crate::ops::http::listener::Peer;
use crate::ops::http::{ApiError, OperatorView};
use crate::ops::secret::Secret;

/// What each change carries beside the cookie, which browsers send whoever asks.
const TOKEN: HeaderName = HeaderName::from_static("x-tidegate-token");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What browsers say of who asks (Fetch Metadata §2.1).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The console, with what belongs to all of its requests.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) view: Arc<OperatorView>,
    pub(super) console: Arc<Console>,
}

/// A request of somebody who is logged in.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) console: Arc<Console>,
    pub(super) session: Session,
    pub(super) peer: IpAddr,
}

impl Visit {
    /// Records what was done, and how it ended.
    pub(super) fn record(&self, view: &OperatorView, action: &str, about: &str, outcome: &str) {
        self.console.audit.record(&AuditEntry {
            at_unix_ms: view.clock.unix_ms((view.now)()),
            name: self.session.name.clone(),
            role: Some(self.session.role),
            peer: self.peer.to_string(),
            action: action.to_owned(),
            about: about.to_owned(),
            outcome: outcome.to_owned(),
        });
    }

    /// Refuses who may not.
    pub(super) fn needs(
        &self,
        view: &OperatorView,
        role: Role,
        action: &str,
        about: &str,
    ) -> Result<(), ApiError> {
        if self.session.role >= role {
            return Ok(());
        }
        self.record(view, action, about, "refused: not this account's to do");
        let message =
            format!("{} is a {}; this needs a {role}", self.session.name, self.session.role);
        Err(ApiError::new(StatusCode::FORBIDDEN, "not_allowed", message))
    }
}

/// Lets in who has a session, and changes only from pages of ours with the session's token.
pub(super) async fn admit(
    State(door): State<Door>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let Some(session) = session_of(&door, headers) else {
        let message = "log in: there is no session, or its time is over";
        return ApiError::new(StatusCode::UNAUTHORIZED, "no_session", message).into_response();
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        if let Err(error) = check_origin(headers) {
            return error.into_response();
        }
        let token = headers.get(TOKEN).map_or(&b""[..], HeaderValue::as_bytes);
        if !session.has_token(token) {
            let message = "the session's token is missing or another one: load the page again";
            return ApiError::new(StatusCode::FORBIDDEN, "bad_token", message).into_response();
        }
    }
    let (console, peer) = (Arc::clone(&door.console), peer.ip().to_canonical());
    request.extensions_mut().insert(Visit { console, session, peer });
    next.run(request).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    name: String,
    password: String,
}

/// Begins a session.
pub(super) async fn log_in(
    State(door): State<Door>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    check_origin(&headers)?;
    let LoginBody { name, password } = serde_json::from_slice(&body).map_err(|_| {
        // What is wrong is not repeated: it may be the password.
        let message = r#"login expects {"name":"…","password":"…"}"#;
        ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message)
    })?;
    let password = Secret::new(password.into_bytes());
    let Door { view, console } = door;
    let (peer, now) = (peer.ip().to_canonical(), (view.now)());
    if let Err(wait) = console.take_try(peer, &name, now) {
        let seconds = wait.as_secs() + 1;
        tracing::warn!(%peer, seconds, "console: too many logins");
        let message = format!("too many tries: wait {seconds} s");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", message);
        let mut response = error.into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    let begun = console.log_in(&name, password, now).await;
    let outcome = if begun.is_some() { "done" } else { "refused" };
    let is_known = console.state().accounts.get(&name).is_some();
    console.audit.record(&AuditEntry {
        at_unix_ms: view.clock.unix_ms(now),
        // Whoever types a password into the wrong field has it in no log.
        name: if is_known { name.clone() } else { "?".to_owned() },
        role: begun.as_ref().map(|(_, session)| session.role),
        peer: peer.to_string(),
        action: "login".to_owned(),
        about: String::new(),
        outcome: outcome.to_owned(),
    });
    let Some((id, session)) = begun else {
        let message = "name or password is wrong";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "bad_login", message));
    };
    if let Some(old) = cookie(&headers, &console.cookie_name()) {
        console.state().sessions.end(old);
    }
    console.state().throttle.give_back(peer, &name);
    let cookie = set_cookie(&console, &headers, &id, console.state().sessions.whole().as_secs());
    let mut response = about(&session).into_response();
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// Ends the session.
pub(super) async fn log_out(
    State(door): State<Door>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Response {
    let Door { view, console } = door;
    if let Some(id) = cookie(&headers, &console.cookie_name()) {
        console.state().sessions.end(id);
    }
    visit.record(&view, "logout", "", "done");
    let cookie = set_cookie(&console, &headers, "", 0);
    ([(SET_COOKIE, cookie)], axum::Json(json!({}))).into_response()
}

/// Who is logged in. That nobody is, is no error: pages ask before they show the login, and browsers
/// note every refusal as one.
pub(super) async fn session(State(door): State<Door>, headers: HeaderMap) -> Response {
    match session_of(&door, &headers) {
        Some(session) => about(&session).into_response(),
        None => axum::Json(json!({ "name": null, "role": null, "token": null })).into_response(),
    }
}

/// The session of a request's cookie, which lives on with it.
fn session_of(door: &Door, headers: &HeaderMap) -> Option<Session> {
    let id = cookie(headers, &door.console.cookie_name())?;
    door.console.session(id, (door.view.now)())
}

fn about(session: &Session) -> axum::Json<serde_json::Value> {
    let Session { name, role, token, .. } = session;
    axum::Json(json!({ "name": name, "role": role.word(), "token": token }))
}

/// The value of a cookie (RFC 6265 §5.4).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn set_cookie(console: &Console, headers: &HeaderMap, id: &str, seconds: u64) -> HeaderValue {
    let through_tls = headers.get(FORWARDED_PROTO).is_some_and(|it| it.as_bytes() == b"https");
    let secure = if console.settings.cookie_secure || through_tls { "; Secure" } else { "" };
    let name = console.cookie_name();
    let cookie =
        format!("{name}={id}; Path=/console; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    match HeaderValue::try_from(cookie) {
        Ok(cookie) => cookie,
        Err(error) => panic!("digits and letters make a header: {error}"),
    }
}

/// Whether a page of ours asks: browsers name the page's origin with what may change something (RFC
/// 6454 §7), and it must be the host that was asked.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let only = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next().and_then(|it| it.to_str().ok()), values.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    };
    let origin = only(&ORIGIN).and_then(|it| it.split_once("://")).map(|(_, host)| host);
    let is_ours = matches!((origin, only(&HOST)), (Some(origin), Some(host))
        if origin.eq_ignore_ascii_case(host));
    let is_same_site = headers.get(FETCH_SITE).is_none_or(|site| site.as_bytes() == b"same-origin");
    if is_ours && is_same_site {
        return Ok(());
    }
    let message = "this is for the console's own pages: `Origin` must name the host that is asked; a \
                   proxy in between must leave `Host` as it is";
    Err(ApiError::new(StatusCode::FORBIDDEN, "bad_origin", message))
}
