//! The console's pages, which are part of the program, and what browsers may do with them.

use axum::extract::{Path, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::ops::http::ApiError;

/// Scripts, styles and requests of our own only; no HTML is ever made of text (Trusted Types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

const INDEX: &str = include_str!("../../web/console/index.html");

/// Name, media type and body.
const FILES: &[(&str, &str, &str)] = &[
    ("console.css", STYLE, include_str!("../../web/console/console.css")),
    ("icon.svg", PICTURE, include_str!("../../web/console/icon.svg")),
    ("main.js", SCRIPT, include_str!("../../web/console/main.js")),
    ("server.js", SCRIPT, include_str!("../../web/console/server.js")),
    ("dom.js", SCRIPT, include_str!("../../web/console/dom.js")),
    ("words.js", SCRIPT, include_str!("../../web/console/words.js")),
    ("live.js", SCRIPT, include_str!("../../web/console/live.js")),
    ("orders.js", SCRIPT, include_str!("../../web/console/orders.js")),
    ("lists.js", SCRIPT, include_str!("../../web/console/lists.js")),
    ("editor.js", SCRIPT, include_str!("../../web/console/editor.js")),
    ("questions.js", SCRIPT, include_str!("../../web/console/questions.js")),
    ("fields.js", SCRIPT, include_str!("../../web/console/fields.js")),
    ("rehearsal.js", SCRIPT, include_str!("../../web/console/rehearsal.js")),
    ("rooms.js", SCRIPT, include_str!("../../web/console/rooms.js")),
    ("wordlist.js", SCRIPT, include_str!("../../web/console/wordlist.js")),
    ("charts.js", SCRIPT, include_str!("../../web/console/charts.js")),
];

/// Where the pages are.
pub(super) async fn home() -> Redirect {
    Redirect::permanent("/console/")
}

/// The one page; what it shows, its scripts decide.
pub(super) async fn index() -> Response {
    ([(CONTENT_TYPE, HTML)], INDEX).into_response()
}

/// What the page loads.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, media_type, body)) => Ok(([(CONTENT_TYPE, *media_type)], *body).into_response()),
        None => {
            let message = format!("the console has no `{name}`");
            Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message))
        }
    }
}

/// Puts in front of browsers what they must not do with any answer of the console.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        // The pages and the gateway are updated together.
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
