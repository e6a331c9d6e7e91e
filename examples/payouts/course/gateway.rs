//! The whole way: a gateway whose players won a show, and ask for their money over HTTP, again and again until
//! they are told that it is on its way.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::auth::token::{NewToken, mint};
use tidegate::base::ids::UserId;
use tidegate::ledger::outbox::queue::Queue;
use tidegate::net::PlaneSettings;
use tidegate::net::probe::raise_file_limit;
use tidegate::ops::show_file;
use tidegate::player::swarm::{Swarm, SwarmSettings};
use tidegate::quiz::verdict::Verdict;
use tidegate::runtime::clock::Clock;

use super::asked::{PER_HEAD, Withdrawal};
use super::child;
use super::processes::{Place, Running, SECRET, own_address, write};

/// Players of the show, for each that must win: of eight players two know every answer, two are right now and
/// then, and the others have no cards here.
const PLAYERS_EACH: u64 = 4;
/// No show takes longer.
const SHOW_PATIENCE: Duration = Duration::from_secs(120);
/// No answer takes longer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Who was not answered asks again after this.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// So many withdrawals are acknowledged and not taken at most, so that players ask until the end of the run.
const AHEAD: u64 = 200;
/// Threads that ask, each for users of its own.
const THREADS: usize = 4;
/// How often the book is asked whether all is paid.
const BOOK_LOOK: Duration = Duration::from_millis(200);

/// A gateway, and who asks it.
pub(crate) struct Gateway {
    place: child::Place,
    players: String,
    askers: Vec<JoinHandle<Result<(), String>>>,
    progress: Arc<Progress>,
    looked: Instant,
}

/// What askers share.
#[derive(Default)]
struct Progress {
    repeats: AtomicUsize,
    /// Withdrawals that were acknowledged, and payouts that the balance system took.
    acknowledged: AtomicU64,
    taken: AtomicU64,
    is_over: AtomicBool,
}

fn show_text(players: u64) -> String {
    let pool = PER_HEAD.0.unsigned_abs() * players;
    format!(
        "id = 1\nroom = 1\ntitle = \"Winners\"\nprize_pool_cents = {pool}\n\
         timing = {{ countdown_ms = 3000, ticket_life_ms = 1500 }}\n\
         pace = {{ lobby_ms = 2000, reveal_pause_ms = 100, next_pause_ms = 100, end_pause_ms = 500 }}\n\
         questions = [{{ text = \"One?\", options = [\"a\", \"b\", \"c\"], correct = 1 }}]\n"
    )
}

impl Gateway {
    /// Writes the settings of a gateway that pays to the balance system of `place`.
    pub(crate) fn new(place: &Place, program: PathBuf, seed: u64) -> Result<Gateway, String> {
        let (clients, operator, players) =
            (own_address(seed)?, own_address(seed)?, own_address(seed)?);
        let config = format!(
            "[auth]\nhs256_secret = \"{SECRET}\"\n\
             [operator]\nlisten = \"{operator}\"\ntoken = \"{}\"\n\
             [player_api]\nlisten = \"{players}\"\nrequests_per_address_per_second_max = 0\n\
             requests_per_user_per_second_max = 0\n\
             [payouts]\nurl = \"http://{}/payouts\"\nsecret = \"{SECRET}\"\ntimeout_ms = 100\n\
             concurrency = 16\ntries_max = 1000000\nbackoff_ms = 1\nbackoff_max_ms = 50\n",
            child::TOKEN,
            place.service_address(),
        );
        write(&place.path("tidegate.toml"), &config)?;
        Ok(Gateway {
            place: child::Place { program, folder: place.folder(), clients, operator },
            players: format!("http://{players}/v1/me/withdrawals"),
            askers: Vec::new(),
            progress: Arc::default(),
            looked: Instant::now(),
        })
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self, shards: u64) -> Result<Running, String> {
        let (child, _) = self.place.start(shards)?;
        Ok(Running { child, log: self.place.folder.join("log") })
    }

    /// Plays a show that `users` win, at least; says who won.
    pub(crate) fn play(&self, users: u64, seed: u64) -> Result<(Running, Vec<UserId>), String> {
        let players = users * PLAYERS_EACH + 50;
        let text = show_text(players);
        write(&self.place.folder.join("show.toml"), &text)?;
        let show = show_file::parse("show.toml", &text).map_err(|error| error.to_string())?;
        let running = self.start(2)?;
        let files = raise_file_limit().map_err(|error| error.to_string())?.soft;
        let clock = Clock::start();
        let settings = SwarmSettings {
            gateway: self.place.clients,
            players: u32::try_from(players).map_err(|error| error.to_string())?,
            seed,
            definition: Arc::new(show.definition),
            connects_in_flight: 256,
            plane: PlaneSettings {
                slots_per_ring: 16_384.min(u32::try_from(files).unwrap_or(u32::MAX)),
                ..PlaneSettings::default()
            },
            clock,
            gateway_may_die: false,
            token: Arc::new(token_maker(clock)),
        };
        let swarm = Swarm::start(settings).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        loop {
            let answer = self.place.ask("GET", "/v1/shows/1")?;
            if answer.1["phase"] == "ended" && answer.1["is_paid_out"] == true {
                break;
            }
            if begun.elapsed() > SHOW_PATIENCE || !swarm.wait(Duration::from_millis(20)) {
                return Err(running.said(&format!("the show does not end: {answer:?}")));
            }
        }
        let verdicts = swarm.finish().verdicts;
        let has_won = |verdicts: &[Verdict]| {
            !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.passes())
        };
        let winners: Vec<UserId> =
            verdicts.iter().filter(|it| has_won(&it.1)).map(|it| it.0).collect();
        if (winners.len() as u64) < users {
            return Err(format!("{} of {players} players won, not {users}", winners.len()));
        }
        Ok((running, winners))
    }

    /// Begins to ask for withdrawals, each user's one after the other.
    pub(crate) fn ask_for(&mut self, asked: &[Withdrawal]) {
        let mut shares = vec![Vec::new(); THREADS];
        for it in asked {
            let thread = usize::try_from(it.id.user.0 % THREADS as u64).unwrap_or(0);
            shares[thread].push(*it);
        }
        for share in shares {
            let (url, progress) = (self.players.clone(), Arc::clone(&self.progress));
            self.askers.push(std::thread::spawn(move || ask_for_all(&url, &share, &progress)));
        }
    }

    /// So many payouts are taken by now.
    pub(crate) fn pace(&self, taken: u64) {
        self.progress.taken.store(taken, Ordering::Relaxed);
    }

    /// How often somebody had to ask again.
    pub(crate) fn asked_again(&self) -> Option<usize> {
        Some(self.progress.repeats.load(Ordering::Relaxed))
    }

    /// Whether everybody was acknowledged, and `payouts` are paid in the book.
    pub(crate) fn is_done(&mut self, place: &Place, payouts: u64) -> Result<bool, String> {
        if self.looked.elapsed() < BOOK_LOOK {
            return Ok(false);
        }
        self.looked = Instant::now();
        let is_over = |asker: &JoinHandle<_>| asker.is_finished();
        if !self.askers.iter().all(is_over) {
            return Ok(false);
        }
        for asker in self.askers.drain(..) {
            asker.join().map_err(|_| "a thread that asks has panicked".to_owned())??;
        }
        let paid = Queue::open(&place.data()).and_then(|it| it.list(&["paid"], &mut |_| Ok(())));
        paid.map(|paid| paid >= payouts).map_err(|error| error.to_string())
    }
}

impl Drop for Gateway {
    /// Whoever still asks stops.
    fn drop(&mut self) {
        self.progress.is_over.store(true, Ordering::Relaxed);
        for asker in self.askers.drain(..) {
            let _ = asker.join();
        }
    }
}

fn token_maker(clock: Clock) -> impl Fn(UserId) -> String + Send + Sync + 'static {
    let issued_unix_s = clock.display().zero_unix_ms / 1_000;
    move |user| {
        let token = NewToken { user, issued_unix_s, lifetime_s: 86_400, audience: None };
        mint(SECRET.as_bytes(), token)
    }
}

fn ask_for_all(url: &str, asked: &[Withdrawal], progress: &Progress) -> Result<(), String> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(ANSWER_PATIENCE))
        .build()
        .new_agent();
    let token = token_maker(Clock::start());
    for Withdrawal { id, cents } in asked {
        let (token, body) = (token(id.user), json!({ "cents": cents }).to_string());
        let ask = || -> Result<(u16, Value), String> {
            let sent = agent
                .post(url)
                .header("authorization", format!("Bearer {token}"))
                .header("idempotency-key", format!("key-{}", id.number))
                .send(&body);
            let mut answer = sent.map_err(|error| error.to_string())?;
            let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
            Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
        };
        loop {
            if progress.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let ahead = progress.taken.load(Ordering::Relaxed) + AHEAD;
            if progress.acknowledged.load(Ordering::Relaxed) >= ahead {
                sleep(ASK_AGAIN);
                continue;
            }
            match ask() {
                Ok((200, told)) if told["cents"] == *cents && told["state"] != "returned" => break,
                // Nobody knows, or nothing was done.
                Err(_) | Ok((503 | 504, _)) => {}
                Ok((status, told)) => {
                    let key = id.idempotency_key();
                    return Err(format!("asking for {key} was answered by {status}: {told}"));
                }
            }
            progress.repeats.fetch_add(1, Ordering::Relaxed);
            sleep(ASK_AGAIN);
        }
        progress.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
