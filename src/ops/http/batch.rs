//! Several operations in one request, done one after the other, each with a result of its own: what
//! fails keeps none of the others from being done.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::{Instant, timeout_at};

use crate::base::limits::BATCH_OPERATIONS_MAX;
use crate::ops::http::OperatorView;
use crate::ops::http::api::{ApiError, Shared, perform};
use crate::ops::http::media::{Media, RawBody, bad_body};
use crate::ops::http::port::BATCH_BYTES_MAX;
use crate::ops::http::schema::proto::outcome;
use crate::ops::http::schema::{Answer, proto};

/// How long all operations together may take; those that were not begun by then are not done. Less
/// than a request has until its answer.
const BATCH_MAX: Duration = Duration::from_secs(10);

/// What a batch's body may have at most.
pub(super) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(BATCH_BYTES_MAX)
}

pub(super) async fn batch(
    State(view): Shared,
    media: Media,
    body: RawBody,
) -> Result<Response, ApiError> {
    let form = r#"{"operations":[{"mute":{"user":5,"seconds":600}}]}"#;
    let proto::Batch { operations } = media.read(body, "batch", form)?;
    let count = operations.len();
    if count == 0 || count > BATCH_OPERATIONS_MAX {
        return Err(bad_body(format!("{count} operations: send 1 to {BATCH_OPERATIONS_MAX}")));
    }
    let until = Instant::now() + BATCH_MAX;
    let mut results = Vec::with_capacity(count);
    for operation in operations {
        results.push(outcome_of(&view, operation, until).await);
    }
    Ok(media.answer(&Answer::Batch(proto::BatchDone { results })))
}

async fn outcome_of(
    view: &OperatorView,
    operation: proto::Operation,
    until: Instant,
) -> proto::Outcome {
    let done = match operation.operation {
        None => Err(bad_body("the operation is empty or not known: name one of the schema's")),
        Some(_) if Instant::now() >= until => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_done",
            "the operations before this one took all the time there is; send it again",
        )),
        Some(operation) => match timeout_at(until, perform(view, operation)).await {
            Ok(done) => done,
            Err(_) => Err(ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "no_answer",
                "no answer in time: it is unknown whether this was done",
            )),
        },
    };
    match done {
        Ok(answer) => {
            let status = u32::from(StatusCode::OK.as_u16());
            proto::Outcome { status, answer: answer.into_outcome() }
        }
        Err(error) => {
            let status = u32::from(error.status().as_u16());
            proto::Outcome { status, answer: Some(outcome::Answer::Error(error.into())) }
        }
    }
}
