//! A stand-in for the operator's balance system: takes payouts, and fails, delays, loses its answers
//! and talks nonsense as seeded dice say. For tests, the demo, and whoever writes the real one.
//!
//! What it took is a line of JSON in a file, written and made durable before it answers, so it may be
//! killed at any moment; the file is what `tidegate ledger reconcile` reads.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, oneshot};

use crate::base::entropy::{Entropy as _, SeededEntropy};
use crate::ledger::outbox::sign::{
    IDEMPOTENCY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE_S, is_signed,
};
use crate::ledger::outbox::webhook::{PayoutAnswer, PayoutRequest};

/// How often out of a hundred it misbehaves, each in its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Answers 500, 503 or 429 and takes nothing.
    pub fail_percent: u8,
    /// Takes the payout, and answers 500 or breaks off its answer.
    pub lose_percent: u8,
    /// Takes the payout, and answers 200 with a page instead of an acknowledgement.
    pub nonsense_percent: u8,
    /// Waits before it answers, up to `delay_max`.
    pub delay_percent: u8,
    /// The longest delay.
    pub delay_max: Duration,
}

/// How it behaves.
#[derive(Clone)]
pub struct StandInSettings {
    /// What webhooks are signed with.
    pub secret: Vec<u8>,
    /// Where it keeps what it took; in memory only without.
    pub store: Option<PathBuf>,
    /// What the dice are drawn from.
    pub seed: u64,
    /// What the dice decide.
    pub faults: Faults,
    /// Payouts of more than this are refused for good.
    pub refuse_above_cents: i64,
    /// The time, Unix milliseconds.
    pub now_unix_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// A payout that it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// What makes it this payout.
    pub idempotency_key: String,
    /// Whose balance.
    pub user: String,
    /// Which of this user's withdrawals.
    pub withdrawal: String,
    /// How much.
    pub amount_cents: i64,
    /// Its own name for it.
    pub reference: String,
}

/// What it has and how often it was asked.
struct Shelf {
    taken: Vec<Taken>,
    places: BTreeMap<String, usize>,
    file: Option<File>,
    requests: u64,
    repeats: u64,
}

#[derive(Clone)]
struct Desk {
    settings: Arc<StandInSettings>,
    shelf: Arc<Mutex<Shelf>>,
}

/// The running service.
pub struct StandIn {
    address: SocketAddr,
    desk: Desk,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl StandIn {
    /// Serves on `listener`, from a thread of its own.
    ///
    /// # Errors
    /// The store cannot be read or written, or the system gives no thread.
    pub fn start(listener: TcpListener, settings: StandInSettings) -> io::Result<StandIn> {
        let shelf = Shelf::open(settings.store.as_deref())?;
        let desk = Desk { settings: Arc::new(settings), shelf: Arc::new(Mutex::new(shelf)) };
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new()
            .route("/", post(take))
            .route("/payouts", post(take))
            .route("/taken", get(list))
            .with_state(desk.clone());
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router)
                .with_graceful_shutdown(async {
                    let _ = stopped.await;
                })
                .await
        };
        let thread = thread::Builder::new()
            .name("stand-in".to_owned())
            .spawn(move || runtime.block_on(serve))?;
        Ok(StandIn { address, desk, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it took, in order.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        self.desk.shelf.blocking_lock().taken.clone()
    }

    /// How often it was asked, and how often for what it had taken before.
    #[must_use]
    pub fn requests_and_repeats(&self) -> (u64, u64) {
        let shelf = self.desk.shelf.blocking_lock();
        (shelf.requests, shelf.repeats)
    }

    /// Waits for its end, which only a signal brings.
    ///
    /// # Errors
    /// The listener fails.
    pub fn wait(mut self) -> io::Result<()> {
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_else(|| Err(io::Error::other("its thread panicked")))
    }
}

impl Drop for StandIn {
    /// Ends it after the requests that are under way; kept connections are closed with it.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shelf {
    fn open(store: Option<&Path>) -> io::Result<Shelf> {
        let mut shelf = Shelf {
            taken: Vec::new(),
            places: BTreeMap::new(),
            file: None,
            requests: 0,
            repeats: 0,
        };
        let Some(path) = store else {
            return Ok(shelf);
        };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A line without its end was being written when the process died: nobody was told of it.
        let whole = text.rfind('\n').map_or(0, |place| place + 1);
        for (index, line) in text[..whole].lines().enumerate() {
            let taken: Taken = serde_json::from_str(line).map_err(|error| {
                io::Error::other(format!("{}:{}: {error}", path.display(), index + 1))
            })?;
            shelf.keep(taken);
        }
        file.set_len(whole as u64)?;
        file.seek(io::SeekFrom::End(0))?;
        shelf.file = Some(file);
        Ok(shelf)
    }

    fn keep(&mut self, taken: Taken) {
        self.places.insert(taken.idempotency_key.clone(), self.taken.len());
        self.taken.push(taken);
    }

    /// Takes a payout, or finds that it was taken; refuses another one of the same key.
    fn take(&mut self, request: &PayoutRequest) -> io::Result<Result<String, &'static str>> {
        if let Some(place) = self.places.get(&request.idempotency_key) {
            let had = &self.taken[*place];
            self.repeats += 1;
            let is_same = had.amount_cents == request.amount_cents && had.user == request.user;
            let other = "another payout was taken under this key";
            return Ok(if is_same { Ok(had.reference.clone()) } else { Err(other) });
        }
        let taken = Taken {
            idempotency_key: request.idempotency_key.clone(),
            user: request.user.clone(),
            withdrawal: request.withdrawal.clone(),
            amount_cents: request.amount_cents,
            reference: format!("B{}", self.taken.len() + 1),
        };
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&taken)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.sync_data()?;
        }
        let reference = taken.reference.clone();
        self.keep(taken);
        Ok(Ok(reference))
    }
}

/// What the dice say about one request.
struct Throw {
    fate: Fate,
    delay: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Fail(u64),
    Lose(u64),
    Nonsense,
}

impl Faults {
    fn throw(self, seed: u64, request: u64) -> Throw {
        let mut dice = SeededEntropy::new(seed, request);
        let delay = match dice.below(100) < u64::from(self.delay_percent) {
            true => {
                let millis = u64::try_from(self.delay_max.as_millis()).unwrap_or(u64::MAX);
                Duration::from_millis(dice.below(millis.saturating_add(1).max(1)))
            }
            false => Duration::ZERO,
        };
        let (roll, how) = (dice.below(100), dice.below(3));
        let fail = u64::from(self.fail_percent);
        let lose = fail + u64::from(self.lose_percent);
        let nonsense = lose + u64::from(self.nonsense_percent);
        let fate = match roll {
            roll if roll < fail => Fate::Fail(how),
            roll if roll < lose => Fate::Lose(how),
            roll if roll < nonsense => Fate::Nonsense,
            _ => Fate::Well,
        };
        Throw { fate, delay }
    }
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let settings = &desk.settings;
    let request_number = {
        let mut shelf = desk.shelf.lock().await;
        shelf.requests += 1;
        shelf.requests
    };
    if let Err(why) = check_signature(settings, &headers, &body) {
        return (StatusCode::UNAUTHORIZED, why).into_response();
    }
    let request: PayoutRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let header = headers.get(IDEMPOTENCY_HEADER).and_then(|value| value.to_str().ok());
    if header != Some(&request.idempotency_key) {
        return (StatusCode::BAD_REQUEST, "header and body have different keys").into_response();
    }
    let Throw { fate, delay } = settings.faults.throw(settings.seed, request_number);
    if let Fate::Fail(how) = fate {
        tokio::time::sleep(delay).await;
        return match how {
            0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response(),
        };
    }
    let refused = request.amount_cents > settings.refuse_above_cents;
    let outcome = match refused {
        true => Ok(Err("the amount is too large")),
        false => desk.shelf.lock().await.take(&request),
    };
    tokio::time::sleep(delay).await;
    answer(&request, fate, outcome)
}

fn answer(
    request: &PayoutRequest,
    fate: Fate,
    outcome: io::Result<Result<String, &'static str>>,
) -> Response {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        // Its disk is full, say: it may be there, or half of it, and is not acknowledged.
        Err(error) => {
            return (StatusCode::INSUFFICIENT_STORAGE, error.to_string()).into_response();
        }
    };
    match fate {
        Fate::Lose(0) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fate::Lose(_) => return broken_off(),
        Fate::Nonsense => return "<html><title>Welcome</title></html>".into_response(),
        Fate::Well | Fate::Fail(_) => {}
    }
    let (status, word) = match outcome {
        Ok(_) => (StatusCode::OK, "accepted"),
        Err(_) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
    };
    let answer = PayoutAnswer {
        status: word.to_owned(),
        idempotency_key: request.idempotency_key.clone(),
        reference: outcome.as_ref().ok().cloned(),
        reason: outcome.err().map(str::to_owned),
    };
    (status, axum::Json(answer)).into_response()
}

/// An answer whose connection breaks in the middle of it.
fn broken_off() -> Response {
    let pieces = [Ok(Bytes::from_static(b"{\"status\":")), Err(io::Error::other("broken off"))];
    Body::from_stream(futures_util::stream::iter(pieces)).into_response()
}

fn check_signature(
    settings: &StandInSettings,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp_s: i64 =
        text(TIMESTAMP_HEADER).and_then(|text| text.parse().ok()).ok_or("there is no timestamp")?;
    let now_s = (settings.now_unix_ms)().div_euclid(1_000);
    if now_s.abs_diff(timestamp_s) > TIMESTAMP_TOLERANCE_S {
        return Err("the timestamp is too far from this clock");
    }
    let signature = text(SIGNATURE_HEADER).ok_or("there is no signature")?;
    match is_signed(&settings.secret, timestamp_s, body, signature) {
        true => Ok(()),
        false => Err("the signature is wrong"),
    }
}

async fn list(State(desk): State<Desk>) -> Response {
    let shelf = desk.shelf.lock().await;
    let lines: Vec<_> =
        shelf.taken.iter().filter_map(|it| serde_json::to_string(it).ok()).collect();
    let text = lines.into_iter().map(|line| line + "\n").collect::<String>();
    ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response()
}
