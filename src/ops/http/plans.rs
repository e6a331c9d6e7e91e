//! Shows and questions as they are written, over HTTP: checked as show files are, with everything that is
//! wrong in one answer.

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::base::ids::ShowId;
use crate::base::limits::SETTINGS_FILE_BYTES_MAX;
use crate::ops::http::api::{ApiError, Shared, ask, show_id};
use crate::ops::http::media::{Media, RawBody, bytes_of};
use crate::ops::http::port::OperatorRequest;
use crate::ops::http::query::{Query, bad_query};
use crate::ops::plans::PlanChange;
use crate::ops::problems::{Problem, Problems};
use crate::ops::show_file::import::{self, Form};
use crate::ops::show_file::{self, ShowFile};
use crate::ops::show_json;

/// Whose changes those are that come with the token.
const THE_API: &str = "the operator API";

type Id = Result<Path<String>, PathRejection>;

/// As long as a settings file may be.
pub(crate) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(SETTINGS_FILE_BYTES_MAX + 1)
}

/// Plans a show, or changes one that has not begun.
pub(super) async fn put(
    State(view): Shared,
    media: Media,
    id: Id,
    uri: Uri,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, ApiError> {
    let Path(id) = id?;
    let (show, seen) = (show_id(&id)?, version(&uri)?);
    let file = show_of(show, &headers, &bytes_of(body)?)?;
    tracing::info!(%show, "operator plans a show");
    let change = PlanChange { seen, by: THE_API.to_owned(), file };
    ask(&view, media, OperatorRequest::ChangePlan(Box::new(change))).await
}

/// Withdraws a show that has not begun.
pub(super) async fn withdraw(
    State(view): Shared,
    media: Media,
    id: Id,
    uri: Uri,
) -> Result<Response, ApiError> {
    let Path(id) = id?;
    let (show, version) = (show_id(&id)?, needed_version(&uri)?);
    tracing::info!(%show, "operator withdraws a show");
    ask(&view, media, OperatorRequest::WithdrawPlan { show, version }).await
}

/// A show as it was filed.
pub(super) async fn filed(State(view): Shared, media: Media, id: Id) -> Result<Response, ApiError> {
    let Path(id) = id?;
    ask(&view, media, OperatorRequest::Filed { show: show_id(&id)? }).await
}

/// Whether questions could be those of a show.
pub(super) async fn check_questions(
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, ApiError> {
    Ok(axum::Json(questions_of(&headers, &bytes_of(body)?)?).into_response())
}

/// The version that a query names.
pub(crate) fn version(uri: &Uri) -> Result<Option<u64>, ApiError> {
    Query::of(uri, &["version"])?.number("version", 1..=u64::MAX)
}

/// The same where there must be one.
pub(crate) fn needed_version(uri: &Uri) -> Result<u64, ApiError> {
    version(uri)?.ok_or_else(|| {
        bad_query("name the version that you have seen: `?version=N`, from `…/file`".to_owned())
    })
}

/// The show in a body: JSON, or TOML as in a file where the headers say so.
pub(crate) fn show_of(
    show: ShowId,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<ShowFile, ApiError> {
    let text = std::str::from_utf8(body)
        .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "bad_body", "the show is not UTF-8"))?;
    let read = match names(headers, "application/toml") {
        true => show_file::parse_as("show", text, show),
        false => show_file::parse_json("show", text, Some(show)),
    };
    read.map_err(|problems| {
        let error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_show", summary(&problems));
        error.with_problems(listed(&problems))
    })
}

/// The questions in a body: CSV where the headers say so, else JSON.
pub(crate) fn questions_of(headers: &HeaderMap, body: &Bytes) -> Result<Value, ApiError> {
    let form = if names(headers, "text/csv") { Form::Csv } else { Form::Json };
    match import::questions("questions", body, form) {
        Ok(questions) => Ok(json!({ "questions": show_json::questions(&questions) })),
        Err(problems) => {
            let error = ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_questions",
                summary(&problems),
            );
            Err(error.with_problems(listed(&problems)))
        }
    }
}

fn names(headers: &HeaderMap, media_type: &str) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let first = text.split(';').next().unwrap_or_default();
    first.trim().eq_ignore_ascii_case(media_type)
}

/// All problems for people who read only the message.
fn summary(problems: &Problems) -> String {
    match problems.list() {
        [one] => one.to_string(),
        all => format!("{} things are wrong:\n{problems}", all.len()),
    }
}

/// Each problem: `line` (null where none is known), `key` (of the show, or a column; empty where none is
/// to blame) and `reason`.
fn listed(problems: &Problems) -> Vec<Value> {
    let one = |Problem { origin, key, reason }: &Problem| json!({ "line": origin.line(), "key": key, "reason": reason });
    problems.list().iter().map(one).collect()
}
