//! `Idempotency-Key`: a request that is sent again does nothing, and gets the answer that the first
//! one got. A client that had no answer need not know whether it was done.
//!
//! Answers are kept for a time, and so many of them at most, the newest: a key that is older is
//! forgotten. An answer that says to come again (503) is not kept, because nothing was done. A request
//! with a key goes on when its client leaves, so that its answer is known when the client comes back.
//!
//! Answers end with the process. What must not be done twice even then goes on with its key
//! ([`with_order`]): the shard that carries it out has the key on record, and answers a repeat by how
//! things stand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::base::limits::{IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX};
use crate::base::time::Time;
use crate::ops::http::OperatorView;
use crate::ops::http::api::ApiError;
use crate::ops::http::media::{Media, bad_body};
use crate::ops::http::port::{BATCH_BYTES_MAX, OperatorRequest};
use crate::ops::http::schema::proto;
use crate::shard::standing::{Order, OrderKey};

#[expect(clippy::disallowed_types, reason = "the operator's own thread; no shard waits for it")]
type Mutex<T> = std::sync::Mutex<T>;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 128;
/// How long an answer is kept.
const WINDOW: Duration = Duration::from_secs(3_600);
/// What an answer's body may have. A batch of broadcasts to many rooms can have more: in its place
/// an error is kept.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

tokio::task_local! {
    /// Of the request that is being done, if it came with a key.
    static ORDER: Order;
}

/// What stands before everything that does something.
pub(crate) struct Idempotency {
    view: Arc<OperatorView>,
    kept: Mutex<Kept>,
}

/// Keys and what became of their requests.
#[derive(Default)]
struct Kept {
    by_key: BTreeMap<String, Entry>,
    /// Keys whose answers are kept, oldest first.
    order: VecDeque<(Time, String)>,
    bytes: usize,
}

struct Entry {
    fingerprint: [u8; 32],
    /// Nothing while the request is being done.
    answer: Option<KeptAnswer>,
}

/// An answer as it is given again.
#[derive(Clone)]
struct KeptAnswer {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
    error: Option<proto::Error>,
}

/// What is known of a key when a request comes with it.
enum Known {
    /// Nothing: the request is to be done.
    No,
    /// It is being done.
    Running,
    /// This was the answer.
    Answered(KeptAnswer),
    /// It came with another request.
    Other,
}

impl Kept {
    fn begin(&mut self, key: &str, fingerprint: [u8; 32], now: Time) -> Known {
        self.forget_old(now);
        match self.by_key.get(key) {
            None => {
                self.by_key.insert(key.to_owned(), Entry { fingerprint, answer: None });
                Known::No
            }
            Some(entry) if entry.fingerprint != fingerprint => Known::Other,
            Some(Entry { answer: None, .. }) => Known::Running,
            Some(Entry { answer: Some(answer), .. }) => Known::Answered(answer.clone()),
        }
    }

    /// The request of a key was done; without an answer it is as if it had not come.
    fn end(&mut self, key: &str, answer: Option<KeptAnswer>, now: Time) {
        let Some(answer) = answer else {
            self.by_key.remove(key);
            return;
        };
        if let Some(entry) = self.by_key.get_mut(key) {
            self.bytes += answer.body.len();
            entry.answer = Some(answer);
            self.order.push_back((now, key.to_owned()));
        }
        self.forget_old(now);
    }

    fn forget_old(&mut self, now: Time) {
        while let Some((at, _)) = self.order.front() {
            let is_old = now.since(*at) >= WINDOW;
            let is_much =
                self.order.len() > IDEMPOTENCY_KEYS_MAX || self.bytes > IDEMPOTENCY_BYTES_MAX;
            if !is_old && !is_much {
                return;
            }
            let forgotten = self.order.pop_front().and_then(|(_, key)| self.by_key.remove(&key));
            let answer = forgotten.and_then(|entry| entry.answer);
            self.bytes -= answer.map_or(0, |answer| answer.body.len());
        }
    }
}

impl KeptAnswer {
    /// Nothing if it is too long to be kept.
    async fn of(response: Response) -> Option<KeptAnswer> {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.ok()?;
        Some(KeptAnswer {
            status: parts.status,
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
            body,
            error: parts.extensions.get::<proto::Error>().cloned(),
        })
    }

    /// In place of an answer that is too long: it must not be as if nothing had been done.
    async fn lost() -> KeptAnswer {
        let message = "the request was done, and its answer is too long to be given: ask for less \
                       at once";
        let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "answer_too_long", message);
        let kept = KeptAnswer::of(error.into_response()).await;
        kept.expect("an error is short")
    }

    fn response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        match self.content_type {
            Some(content_type) => headers.insert(CONTENT_TYPE, content_type),
            None => headers.remove(CONTENT_TYPE),
        };
        if let Some(error) = self.error {
            response.extensions_mut().insert(error);
        }
        response
    }
}

impl Idempotency {
    pub(super) fn new(view: Arc<OperatorView>) -> Idempotency {
        Idempotency { view, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here stops half way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        (self.view.now)()
    }

    /// Does the request, and keeps its answer.
    async fn carry_out(&self, key: &str, order: Order, request: Request, next: Next) -> Response {
        let response = ORDER.scope(order, next.run(request)).await;
        let answer = match KeptAnswer::of(response).await {
            Some(answer) => answer,
            None => KeptAnswer::lost().await,
        };
        let is_done = answer.status != StatusCode::SERVICE_UNAVAILABLE;
        self.kept().end(key, Some(answer.clone()).filter(|_| is_done), self.now());
        answer.response()
    }
}

/// Lets a request with a key be done once.
pub(crate) async fn once(
    State(idempotency): State<Arc<Idempotency>>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let key = match key_of(request.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BATCH_BYTES_MAX).await else {
        let message = format!("the body has more than {BATCH_BYTES_MAX} bytes, or ended early");
        let error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_body", message);
        return error.into_response();
    };
    let mut hash = Sha256::new();
    let Media { is_protobuf, wants_protobuf } = Media::of(&parts.headers);
    hash.update(format!("{} {} {is_protobuf} {wants_protobuf} ", parts.method, parts.uri));
    hash.update(&body);
    let fingerprint: [u8; 32] = hash.finalize().into();
    let order = order_of(&key, &fingerprint);
    let known = idempotency.kept().begin(&key, fingerprint, idempotency.now());
    match known {
        Known::No => {}
        Known::Answered(answer) => {
            let mut response = answer.response();
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            return response;
        }
        Known::Running => {
            let message = "a request with this key is being done; ask again in a second";
            let error = ApiError::new(StatusCode::CONFLICT, "in_progress", message);
            let mut response = error.into_response();
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
        Known::Other => {
            let message = "this key came with another request: give each request a key of its own";
            let error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", message);
            return error.into_response();
        }
    }
    let request = Request::from_parts(parts, Body::from(body));
    let done = tokio::spawn({
        let (idempotency, key) = (Arc::clone(&idempotency), key.clone());
        async move { idempotency.carry_out(&key, order, request, next).await }
    });
    done.await.unwrap_or_else(|error| {
        idempotency.kept().end(&key, None, idempotency.now());
        tracing::error!(%error, "an operator's request ended without an answer");
        let message = "the request ended without an answer";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).into_response()
    })
}

/// The request, with the key that it came with where that must outlive the process.
pub(super) fn with_order(request: OperatorRequest) -> OperatorRequest {
    match ORDER.try_with(|order| *order) {
        Ok(order) if request.counts_once() => {
            OperatorRequest::Once { order, request: Box::new(request) }
        }
        _ => request,
    }
}

/// What is kept of a key and of what it came with, for as long as journals are.
fn order_of(key: &str, fingerprint: &[u8; 32]) -> Order {
    let hashed: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let mut short = OrderKey([0; 16]);
    short.0.copy_from_slice(&hashed[..16]);
    let mut eight = [0; 8];
    eight.copy_from_slice(&fingerprint[..8]);
    Order { key: short, fingerprint: u64::from_be_bytes(eight) }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    let is_good = (1..=KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic())
        && keys.next().is_none();
    if is_good {
        return Ok(Some(key.to_owned()));
    }
    let message =
        format!("Idempotency-Key is sent once, with 1 to {KEY_BYTES_MAX} visible ASCII characters");
    Err(bad_body(message).with_code("bad_idempotency_key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> KeptAnswer {
        let body = Bytes::from(vec![0; bytes]);
        KeptAnswer { status: StatusCode::OK, content_type: None, body, error: None }
    }

    fn is_new(kept: &mut Kept, key: &str, now: Time) -> bool {
        matches!(kept.begin(key, [0; 32], now), Known::No)
    }

    #[test]
    fn answers_are_kept_for_a_time_and_so_many_of_them() {
        let at = |second: u64| Time::from_millis(second * 1_000);
        let mut kept = Kept::default();
        assert!(is_new(&mut kept, "a", at(0)));
        assert!(matches!(kept.begin("a", [0; 32], at(0)), Known::Running));
        kept.end("a", Some(answer(10)), at(1));
        assert!(matches!(kept.begin("a", [0; 32], at(3_600)), Known::Answered(_)));
        assert!(matches!(kept.begin("a", [1; 32], at(3_600)), Known::Other));
        assert!(is_new(&mut kept, "a", at(3_601)), "the window is over");
        assert_eq!((kept.order.len(), kept.bytes), (0, 0));
        for key in 0..=IDEMPOTENCY_KEYS_MAX {
            let key = key.to_string();
            assert!(is_new(&mut kept, &key, at(3_601)));
            kept.end(&key, Some(answer(1)), at(3_601));
        }
        assert_eq!(kept.order.len(), IDEMPOTENCY_KEYS_MAX);
        assert!(is_new(&mut kept, "0", at(3_601)), "the oldest made way");
        assert!(!is_new(&mut kept, "1", at(3_601)));
    }

    /// It was done: forgotten, it would be done once more each time it is asked for.
    #[tokio::test]
    async fn an_answer_that_is_too_long_is_kept_as_an_error() {
        let long = vec![b'x'; ANSWER_BYTES_MAX + 1].into_response();
        assert!(KeptAnswer::of(long).await.is_none());
        let fits = vec![b'x'; ANSWER_BYTES_MAX].into_response();
        assert_eq!(KeptAnswer::of(fits).await.expect("fits").body.len(), ANSWER_BYTES_MAX);
        let lost = KeptAnswer::lost().await;
        assert_eq!(lost.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(lost.body.windows(15).any(|it| it == b"answer_too_long"), "{:?}", lost.body);
        assert!(lost.error.is_some(), "for those who read Protobuf");
    }

    #[test]
    fn what_was_not_done_can_be_asked_again_and_bytes_are_bounded() {
        let mut kept = Kept::default();
        assert!(is_new(&mut kept, "a", Time::ZERO));
        kept.end("a", None, Time::ZERO);
        assert!(is_new(&mut kept, "a", Time::ZERO));
        for key in ["b", "c", "d"] {
            assert!(is_new(&mut kept, key, Time::ZERO));
            kept.end(key, Some(answer(IDEMPOTENCY_BYTES_MAX / 2)), Time::ZERO);
        }
        assert!(kept.bytes <= IDEMPOTENCY_BYTES_MAX);
        assert!(is_new(&mut kept, "b", Time::ZERO));
        assert!(!is_new(&mut kept, "d", Time::ZERO));
    }
}
