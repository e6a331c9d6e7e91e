//! A stand-in for the operator's balance system: takes payouts, and fails, delays, loses its answers
//! and talks nonsense as seeded dice say. For tests, the demo, and whoever writes the real one.
//!
//! What it took is a line of JSON in a file, written and made durable before it answers, so it may be
//! killed at any moment; the file is what `tidegate ledger reconcile` reads. A disk that is full makes it
//! answer 507 and take nothing.

mod lines;

use std::collections::BTreeMap;
use std::io;
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
use crate::ledger::standin::lines::{Lasting, Lines};

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
    /// Where it notes what it was asked and what it did about it, a line of JSON each ([`Asked`]).
    pub requests: Option<PathBuf>,
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

/// A signed request, and what it did about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which payout.
    pub idempotency_key: String,
    /// What it did.
    pub did: Did,
    /// How it answered.
    pub answered: Answered,
}

/// What it did about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Did {
    /// Took the payout.
    Took,
    /// Found that it had taken it before.
    Had,
    /// Refused it for good.
    Refused,
    /// Nothing.
    Failed,
}

/// How it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answered {
    /// By saying what it did.
    Told,
    /// With an error, or an answer that broke off.
    Lost,
    /// With something else.
    Nonsense,
}

/// What it has and how often it was asked.
struct Shelf {
    taken: Vec<Taken>,
    places: BTreeMap<String, usize>,
    file: Option<Lines>,
    notes: Option<Lines>,
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
        let shelf = Shelf::open(settings.store.as_deref(), settings.requests.as_deref())?;
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
    fn open(store: Option<&Path>, requests: Option<&Path>) -> io::Result<Shelf> {
        let notes = requests.map(|path| Lines::open(path, Lasting::Process)).transpose()?;
        let mut shelf = Shelf {
            taken: Vec::new(),
            places: BTreeMap::new(),
            file: None,
            notes: notes.map(|(notes, _)| notes),
            requests: 0,
            repeats: 0,
        };
        let Some(path) = store else {
            return Ok(shelf);
        };
        let (file, text) = Lines::open(path, Lasting::Power)?;
        for (index, line) in text.lines().enumerate() {
            let taken: Taken = serde_json::from_str(line).map_err(|error| {
                io::Error::other(format!("{}:{}: {error}", path.display(), index + 1))
            })?;
            shelf.keep(taken);
        }
        shelf.file = Some(file);
        Ok(shelf)
    }

    fn keep(&mut self, taken: Taken) {
        self.places.insert(taken.idempotency_key.clone(), self.taken.len());
        self.taken.push(taken);
    }

    /// Takes a payout, or finds that it was taken; refuses another one of the same key.
    fn take(&mut self, request: &PayoutRequest) -> io::Result<Outcome> {
        if let Some(place) = self.places.get(&request.idempotency_key) {
            let had = &self.taken[*place];
            self.repeats += 1;
            let is_same = had.amount_cents == request.amount_cents && had.user == request.user;
            let other = "another payout was taken under this key";
            return Ok(match is_same {
                true => Outcome::Had { reference: had.reference.clone() },
                false => Outcome::Refused { why: other },
            });
        }
        let taken = Taken {
            idempotency_key: request.idempotency_key.clone(),
            user: request.user.clone(),
            withdrawal: request.withdrawal.clone(),
            amount_cents: request.amount_cents,
            reference: format!("B{}", self.taken.len() + 1),
        };
        if let Some(file) = &mut self.file {
            file.add(&taken)?;
        }
        let reference = taken.reference.clone();
        self.keep(taken);
        Ok(Outcome::Took { reference })
    }

    /// Notes a request, if requests are noted.
    fn note(&mut self, request: &PayoutRequest, did: Did, fate: Fate) -> io::Result<()> {
        let Some(notes) = &mut self.notes else {
            return Ok(());
        };
        let answered = match fate {
            Fate::Well | Fate::Fail(_) => Answered::Told,
            Fate::Lose(_) => Answered::Lost,
            Fate::Nonsense => Answered::Nonsense,
        };
        notes.add(&Asked { idempotency_key: request.idempotency_key.clone(), did, answered })
    }
}

/// What became of a request.
enum Outcome {
    Took { reference: String },
    Had { reference: String },
    Refused { why: &'static str },
}

impl Outcome {
    fn did(&self) -> Did {
        match self {
            Outcome::Took { .. } => Did::Took,
            Outcome::Had { .. } => Did::Had,
            Outcome::Refused { .. } => Did::Refused,
        }
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
        let noted = desk.shelf.lock().await.note(&request, Did::Failed, fate);
        tokio::time::sleep(delay).await;
        return match (how, noted) {
            (_, Err(error)) => disk_failed(&error),
            (0, _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (1, _) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response(),
        };
    }
    let outcome = {
        let mut shelf = desk.shelf.lock().await;
        let refused = request.amount_cents > settings.refuse_above_cents;
        let outcome = match refused {
            true => Ok(Outcome::Refused { why: "the amount is too large" }),
            false => shelf.take(&request),
        };
        outcome.and_then(|outcome| {
            shelf.note(&request, outcome.did(), fate)?;
            Ok(outcome)
        })
    };
    tokio::time::sleep(delay).await;
    match outcome {
        Ok(outcome) => answer(&request, fate, outcome),
        Err(error) => disk_failed(&error),
    }
}

/// Its disk is full, say: nothing is acknowledged.
fn disk_failed(error: &io::Error) -> Response {
    (StatusCode::INSUFFICIENT_STORAGE, error.to_string()).into_response()
}

fn answer(request: &PayoutRequest, fate: Fate, outcome: Outcome) -> Response {
    match fate {
        Fate::Lose(0) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fate::Lose(_) => return broken_off(),
        Fate::Nonsense => return "<html><title>Welcome</title></html>".into_response(),
        Fate::Well | Fate::Fail(_) => {}
    }
    let (status, word, reference, reason) = match outcome {
        Outcome::Took { reference } | Outcome::Had { reference } => {
            (StatusCode::OK, "accepted", Some(reference), None)
        }
        Outcome::Refused { why } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "refused", None, Some(why.to_owned()))
        }
    };
    let answer = PayoutAnswer {
        status: word.to_owned(),
        idempotency_key: request.idempotency_key.clone(),
        reference,
        reason,
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
