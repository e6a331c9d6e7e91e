//! In which form a request comes and its answer goes: JSON, or Protobuf where the headers ask for it.
//!
//! Everything inside answers in messages of the schema; errors are made JSON at once, because those
//! of the framework are, and made over for who asked for Protobuf on their way out.

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde::de::DeserializeOwned;
use std::convert::Infallible;

use crate::ops::http::api::ApiError;
use crate::ops::http::schema::{Answer, proto};

const PROTOBUF: &str = "application/x-protobuf";
/// What some call it instead.
const PROTOBUF_TOO: &str = "application/protobuf";

/// What one request's headers say about forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Media {
    /// The body is Protobuf. Whatever else it is called, it is read as JSON: tools for the command
    /// line call it a form.
    pub(super) is_protobuf: bool,
    /// So is the answer to be.
    pub(super) wants_protobuf: bool,
}

/// A body as it came, or why it did not.
pub(super) type RawBody = Result<Bytes, BytesRejection>;

impl<S: Sync> FromRequestParts<S> for Media {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Media, Infallible> {
        Ok(Media::of(&parts.headers))
    }
}

impl Media {
    pub(super) fn of(headers: &HeaderMap) -> Media {
        let is_protobuf = names_protobuf(headers.get(CONTENT_TYPE));
        // Who says nothing, or that anything will do, gets what it sent.
        let accept = headers.get(ACCEPT).filter(|accept| accept.as_bytes() != b"*/*");
        let wants_protobuf = accept.map_or(is_protobuf, |_| names_protobuf(accept));
        Media { is_protobuf, wants_protobuf }
    }

    /// The message in a body. An empty one is the message without fields, in JSON too: whatever a
    /// request needs is asked for afterwards.
    pub(super) fn read<T>(self, body: RawBody, what: &str, form: &str) -> Result<T, ApiError>
    where
        T: Message + Default + DeserializeOwned,
    {
        let body = bytes_of(body)?;
        if self.is_protobuf {
            return T::decode(body).map_err(|error| {
                bad_body(format!("{what} expects a message of tidegate.server.v1: {error}"))
            });
        }
        if body.trim_ascii().is_empty() {
            return Ok(T::default());
        }
        serde_json::from_slice(&body)
            .map_err(|error| bad_body(format!("{what} expects {form}: {error}")))
    }

    /// An answer in the form that is wanted.
    pub(super) fn answer(self, answer: &Answer) -> Response {
        if self.wants_protobuf {
            protobuf(StatusCode::OK, answer.encode())
        } else {
            axum::Json(answer.to_json()).into_response()
        }
    }
}

pub(super) fn bytes_of(body: RawBody) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| ApiError::new(rejection.status(), "bad_body", rejection.body_text()))
}

pub(super) fn bad_body(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message)
}

/// Makes errors over for who wants Protobuf.
pub(super) async fn translate_errors(request: Request, next: Next) -> Response {
    let media = Media::of(request.headers());
    let mut response = next.run(request).await;
    if media.wants_protobuf
        && let Some(error) = response.extensions_mut().remove::<proto::Error>()
    {
        let (mut parts, _) = response.into_parts();
        let body = proto::Failure { error: Some(error) }.encode_to_vec();
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        parts.headers.remove(axum::http::header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::from(body));
    }
    response
}

fn protobuf(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF))], body).into_response()
}

/// Whether a header names Protobuf, whatever its parameters, alone or first of several.
fn names_protobuf(header: Option<&HeaderValue>) -> bool {
    let text = header.and_then(|header| header.to_str().ok()).unwrap_or_default();
    let first = text.split([',', ';']).next().unwrap_or_default().trim();
    first.eq_ignore_ascii_case(PROTOBUF) || first.eq_ignore_ascii_case(PROTOBUF_TOO)
}
