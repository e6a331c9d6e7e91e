//! How answers look: JSON, what may be cached and by whom, and which pages may read it.

use std::time::Duration;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, ORIGIN, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::base::hex;
use crate::ops::http::ApiError;
use crate::ops::players::Origins;
use crate::wire::proto;
use crate::wire::short::status_of;

/// How long a browser may remember what it was told about methods and headers.
const PREFLIGHT_LIFE_S: &str = "7200";

/// Who may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caching {
    /// Everybody, for so long: caches in between spare us most of a crowd.
    Public {
        /// How long, seconds.
        life_s: u32,
    },
    /// Whoever asked, who asks each time whether it is still so.
    Own,
    /// Nobody.
    No,
}

/// A JSON answer, or that it is what the client has already (RFC 9110 §13.1.2).
pub(super) fn answer(headers: &HeaderMap, caching: Caching, body: &Value) -> Response {
    let body = body.to_string();
    let (kept, varies) = match caching {
        Caching::Public { life_s } => (format!("public, max-age={life_s}"), false),
        Caching::Own => ("private, no-cache".to_owned(), true),
        Caching::No => ("no-store".to_owned(), true),
    };
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    let tag = format!("\"{}\"", hex::encode(&digest[..16]));
    let known = caching != Caching::No && has_tag(headers, &tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], body).into_response()
    };
    let put = response.headers_mut();
    put.insert(CACHE_CONTROL, value(&kept));
    if caching != Caching::No {
        put.insert(ETAG, value(&tag));
    }
    if varies {
        put.append(VARY, HeaderValue::from_static("authorization"));
    }
    response
}

fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|given| given.to_str().ok());
    given
        .flat_map(|list| list.split(','))
        .map(|given| given.trim().trim_start_matches("W/"))
        .any(|given| given == tag || given == "*")
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// What every answer carries, errors too.
pub(super) fn finish(response: &mut Response, wait: Option<Duration>) {
    let status = response.status();
    let put = response.headers_mut();
    if !put.contains_key(CACHE_CONTROL) {
        put.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let wait_s = match status {
        StatusCode::TOO_MANY_REQUESTS => Some(wait.map_or(1, |wait| wait.as_secs().max(1))),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Some(1),
        _ => None,
    };
    if let Some(wait_s) = wait_s {
        put.insert(RETRY_AFTER, HeaderValue::from(wait_s));
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 §15.5.2.
        let bearer = HeaderValue::from_static("Bearer");
        put.insert(axum::http::header::WWW_AUTHENTICATE, bearer);
    }
}

/// Lets pages of the origins that are set read an answer. No cookie is ever looked at, so a page that
/// may not read it cannot use anybody's rights either.
pub(crate) fn allow_pages(
    response: &mut Response,
    origins: &Origins,
    origin: Option<&HeaderValue>,
) {
    let put = response.headers_mut();
    let allowed = match (origins, origin) {
        (Origins::All, _) => HeaderValue::from_static("*"),
        (Origins::Some(known), origin) => {
            put.append(VARY, HeaderValue::from_static("origin"));
            match origin {
                Some(origin) if known.iter().any(|it| it.as_bytes() == origin.as_bytes()) => {
                    origin.clone()
                }
                _ => return,
            }
        }
        (Origins::None, _) => return,
    };
    put.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    put.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, retry-after"));
}

/// The answer to a browser that asks what a page may send.
pub(super) fn preflight(methods: &'static str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let put = response.headers_mut();
    put.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    let headers = "authorization, content-type, idempotency-key, if-none-match";
    put.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers));
    put.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_LIFE_S));
    response
}

/// The origin that a browser names.
pub(crate) fn origin_of(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ORIGIN).cloned()
}

/// A shard's refusal, in the words that the WebSocket has for it.
pub(super) fn failure(refused: &proto::Failure) -> ApiError {
    let reason = refused.reason();
    let status = StatusCode::from_u16(status_of(reason)).unwrap_or(StatusCode::CONFLICT);
    ApiError::new(status, code_of(reason), refused.message.clone())
}

/// The reasons that a player's request can have here.
fn code_of(reason: proto::Reason) -> &'static str {
    match reason {
        proto::Reason::TokenInvalid => "token_invalid",
        proto::Reason::TokenExpired => "token_expired",
        proto::Reason::TokenRevoked => "token_revoked",
        proto::Reason::Banned => "banned",
        proto::Reason::RateLimited => "rate_limited",
        proto::Reason::NotEnough => "not_enough",
        proto::Reason::AmountInvalid => "amount_invalid",
        proto::Reason::KeyInvalid => "key_invalid",
        proto::Reason::CodeInvalid => "code_invalid",
        proto::Reason::InvitationRefused => "invitation_refused",
        _ => "refused",
    }
}
