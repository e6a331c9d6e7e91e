//! Round 4, the full chain: a show file, gateways with a folder and a book of money, players who ask
//! the dispatcher where to go, questions, answers, reveals, the settlement, and the proof of every
//! book.
//!
//! The players are those of `tidegate demo`, who check every promise; the operator speaks HTTP, as
//! people's programs do. Each gateway plays the show for its own audience, and shares its own prize.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tidegate::base::ids::UserId;
use tidegate::ledger::verify::{Journal, verify};
use tidegate::net::PlaneSettings;
use tidegate::ops::show_file::{self, ShowFile};
use tidegate::player::script::Script;
use tidegate::player::swarm::{Swarm, SwarmReport, SwarmSettings};
use tidegate::runtime::clock::Clock;
use tidegate::runtime::feed::source::JournalCauses;

use crate::common::clock::{now_ns, pause};
use crate::common::gateway::{GatewaySettings, ROOM, token};
use crate::common::options::Options;
use crate::common::problem::{Doing as _, Problem};
use crate::common::stats::as_f64_ns;

use super::Several;
use super::exodus::verdict;
use super::site::{Site, nanos};

const SHOW: u64 = 4;
const PRIZE_CENTS: i64 = 1_000_000;
const QUESTIONS: usize = 3;
const COUNTDOWN_MS: u32 = 4_000;
/// Players' connects that are under way at a time, of each gateway.
const CONNECTS_IN_FLIGHT: u32 = 64;
const SEED: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// A gateway that is stopped has this long to close its journal and its book.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Chain {
    pub(crate) round: u8,
    pub(crate) title: &'static str,
    pub(crate) several: Several,
    pub(crate) questions: usize,
    pub(crate) countdown_ms: u32,
    pub(crate) gateways: Vec<Played>,
    pub(crate) held: bool,
    /// What did not hold.
    pub(crate) failures: Vec<String>,
    pub(crate) took_s: f64,
}

/// The show of one gateway.
#[derive(Debug, Serialize)]
pub(crate) struct Played {
    /// As many as the dispatcher sent here.
    pub(crate) players: u32,
    pub(crate) answers_sent: u64,
    pub(crate) answers_acknowledged: u64,
    /// By the director's account, and by the players' own.
    pub(crate) winners: u64,
    pub(crate) winners_by_players: u64,
    pub(crate) prize_cents: i64,
    pub(crate) per_head_cents: i64,
    /// Promises that players found broken.
    pub(crate) violations: u64,
    /// Causes in the book.
    pub(crate) ledger_causes: u64,
    /// The book is proved, from itself and from the journal.
    pub(crate) ledger_is_proved: bool,
    pub(crate) exit_status: Option<i32>,
}

fn show_text() -> String {
    let question = |number: usize| {
        format!(
            "[[questions]]\ntext = \"Question {number}?\"\noptions = [\"a\", \"b\", \"c\"]\ncorrect = {}\n",
            number % 3
        )
    };
    let questions: String = (0..QUESTIONS).map(question).collect();
    format!(
        "id = {SHOW}\nroom = {ROOM}\ntitle = \"The full chain\"\nprize_pool_cents = {PRIZE_CENTS}\n\
         remainder_account = \"house\"\n[revive]\nwrong = true\nlate = false\nunreachable = true\n\
         [timing]\nlead_ms = 500\ndisplay_slack_ms = 500\ncountdown_ms = {COUNTDOWN_MS}\n\
         ticket_life_ms = 1500\nstream_delay_ms = 0\nextension_max_ms = 5000\n{questions}"
    )
}

/// Folders of the gateways, which go when they are dropped.
struct Folders(PathBuf);

impl Folders {
    fn make() -> Result<Folders, Problem> {
        let path =
            std::env::temp_dir().join(format!("tidegate-bench-chain-{}", std::process::id()));
        std::fs::create_dir_all(&path).doing(format!("making {}", path.display()))?;
        Ok(Folders(path))
    }

    fn of(&self, gateway: impl std::fmt::Display) -> PathBuf {
        self.0.join(format!("gateway-{gateway}"))
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        // A folder too many among temporary ones is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Plays it.
pub(super) fn play(several: Several, options: &Options) -> Result<Chain, Problem> {
    let begun_ns = now_ns();
    let text = show_text();
    let show = show_file::parse("the show of round 4", &text)
        .map_err(|problems| Problem::new(problems.to_string()))?;
    let settings =
        GatewaySettings { connections: several.clients, show: Some(text), retries: true };
    let folders = Folders::make()?;
    let mut site = Site::start(several.gateways, &settings, options, |index| {
        vec![
            ("TIDEGATE_DATA_DIR", folders.of(index).display().to_string()),
            ("TIDEGATE_LIMITS__DRAIN_TIMEOUT_MS", "2000".to_owned()),
            ("TIDEGATE_LIMITS__HEARTBEAT_INTERVAL_MS", "10000".to_owned()),
        ]
    })?;
    let mut parts = vec![0; site.gateways.len()];
    let ports = site.ports();
    for _ in 0..several.clients {
        let first = site.dispatcher.listed()?.first().copied();
        let gateway = ports.iter().position(|port| Some(*port) == first);
        parts[gateway.ok_or_else(|| Problem::new("the dispatcher lists nobody"))?] += 1;
    }
    let mut stages = Vec::new();
    for (gateway, players) in parts.iter().enumerate() {
        stages.push(enter(&mut site, gateway, *players, &show)?);
    }
    run_show(&mut site, &parts, &stages)?;
    let mut chain = Chain {
        round: 4,
        title: "the full chain: show file, dispatch, questions, settlement, proof",
        several,
        questions: QUESTIONS,
        countdown_ms: COUNTDOWN_MS,
        gateways: Vec::new(),
        held: false,
        failures: Vec::new(),
        took_s: 0.0,
    };
    for (gateway, (swarm, players)) in stages.into_iter().zip(parts).enumerate() {
        let status = show_of(&mut site, gateway)?;
        site.gateways[gateway].command(SHOW, "end")?;
        pause(Duration::from_millis(200));
        let report = swarm.finish();
        let exit_status = stop(&mut site, gateway)?;
        let played = judge(players, &status, &report, exit_status, &folders.of(gateway));
        chain
            .failures
            .extend(played.1.into_iter().map(|text| format!("gateway {gateway}: {text}")));
        chain.gateways.push(played.0);
    }
    chain.held = chain.failures.is_empty();
    chain.took_s = as_f64_ns(now_ns() - begun_ns) / 1e9;
    Ok(chain)
}

/// Opens the lobby of a gateway, grants the cards of its players, and lets them in.
fn enter(site: &mut Site, gateway: usize, players: u32, show: &ShowFile) -> Result<Swarm, Problem> {
    let port = site.ports()[gateway];
    site.gateways[gateway].command(SHOW, "open-lobby")?;
    let definition = Arc::new(show.definition.clone());
    let script = Script::new(SEED, &definition);
    for user in (1..=u64::from(players)).map(UserId).filter(|user| script.holds_card(*user)) {
        let path = format!("/v1/users/{user}/cards");
        site.gateways[gateway].operator().ask("POST", &path, "")?;
    }
    // Tokens of the bench are numbered from 0.
    let token_of = |user: UserId| token(u32::try_from(user.0 - 1).unwrap_or(u32::MAX));
    Swarm::start(SwarmSettings {
        gateway: ([127, 0, 0, 1], port).into(),
        players,
        seed: SEED,
        definition,
        connects_in_flight: CONNECTS_IN_FLIGHT,
        plane: PlaneSettings { slots_per_ring: 1_024, ..PlaneSettings::default() },
        clock: Clock::start(),
        gateway_may_die: false,
        token: Arc::new(token_of),
    })
    .doing("starting the players")
}

/// From the lobby to the prize, on all gateways at the same time.
fn run_show(site: &mut Site, parts: &[u32], swarms: &[Swarm]) -> Result<(), Problem> {
    let count = site.gateways.len();
    until_all(site, "all players are in", |gateway, _| {
        swarms[gateway].joined() == u64::from(parts[gateway])
    })?;
    for question in 0..QUESTIONS {
        for gateway in 0..count {
            site.gateways[gateway].command(SHOW, "publish")?;
        }
        until_all(site, "a question is closed", |_, show| {
            !show["questions"][question]["counts"].is_null()
        })?;
        for gateway in 0..count {
            site.gateways[gateway].command(SHOW, "reveal")?;
        }
        // Results and the reveal go by different ways: players compare both.
        pause(Duration::from_secs(1));
    }
    for gateway in 0..count {
        site.gateways[gateway].command(SHOW, "settle")?;
    }
    until_all(site, "the prize is paid out", |gateway, show| {
        show["is_paid_out"] == true && (parts[gateway] == 0 || swarms[gateway].knows_settlement())
    })?;
    pause(Duration::from_secs(1));
    Ok(())
}

/// Waits until something is so on every gateway.
fn until_all(
    site: &mut Site,
    what: &str,
    holds: impl Fn(usize, &Value) -> bool,
) -> Result<(), Problem> {
    let end_ns = now_ns() + nanos(PATIENCE);
    for gateway in 0..site.gateways.len() {
        loop {
            let show = show_of(site, gateway)?;
            if holds(gateway, &show) {
                break;
            }
            if now_ns() > end_ns {
                let seconds = PATIENCE.as_secs();
                return Err(Problem::new(format!(
                    "it did not come to pass within {seconds} s that {what}: {show}"
                )));
            }
            pause(Duration::from_millis(25));
        }
    }
    Ok(())
}

fn show_of(site: &mut Site, gateway: usize) -> Result<Value, Problem> {
    site.gateways[gateway].operator().ask("GET", &format!("/v1/shows/{SHOW}"), "")
}

fn stop(site: &mut Site, gateway: usize) -> Result<Option<i32>, Problem> {
    site.gateways[gateway].terminate()?;
    let end_ns = now_ns() + nanos(STOP_PATIENCE);
    while now_ns() < end_ns {
        if let Some(status) = site.gateways[gateway].exit_status()? {
            return Ok(Some(status));
        }
        pause(Duration::from_millis(20));
    }
    Ok(None)
}

/// What became of one gateway's show, and what did not hold.
fn judge(
    players: u32,
    status: &Value,
    report: &SwarmReport,
    exit_status: Option<i32>,
    folder: &std::path::Path,
) -> (Played, Vec<String>) {
    let mut failures: Vec<String> = Vec::new();
    let (ledger_causes, ledger_is_proved) = match prove(folder) {
        Ok(proved) => proved,
        Err(error) => {
            failures.push(format!("the book cannot be proved: {error}"));
            (0, false)
        }
    };
    let settlement = &status["settlement"];
    let sum = |of: fn(&tidegate::player::record::QuestionSums) -> u64| -> u64 {
        report.questions.iter().map(of).sum()
    };
    let played = Played {
        players,
        answers_sent: sum(|it| it.answers_sent),
        answers_acknowledged: sum(|it| it.answers_acknowledged),
        winners: settlement["winners"].as_u64().unwrap_or(0),
        winners_by_players: report.winners,
        prize_cents: PRIZE_CENTS,
        per_head_cents: settlement["per_head_cents"].as_i64().unwrap_or(0),
        violations: report.violations.count(),
        ledger_causes,
        ledger_is_proved,
        exit_status,
    };
    let mut check = |holds: bool, text: String| {
        if !holds {
            failures.push(text);
        }
    };
    let Played { winners, winners_by_players, violations, .. } = played;
    check(violations == 0, format!("{violations} broken promises: {:?}", report.violations));
    check(
        winners == winners_by_players,
        format!("{winners} winners, {winners_by_players} by the players' own count"),
    );
    check(winners > 0 || players == 0, "nobody has won".to_owned());
    check(ledger_is_proved, "the book is not proved".to_owned());
    check(exit_status == Some(0), format!("it ended with {exit_status:?}"));
    (played, failures)
}

/// Causes in a book, and whether it is proved from itself and from the journal.
fn prove(folder: &std::path::Path) -> Result<(u64, bool), String> {
    let mut causes = JournalCauses::new(folder).map_err(|error| error.to_string())?;
    let journal = Journal { causes: &mut causes, is_fed: false, is_whole: true };
    let verdict = verify(folder, Some(journal)).map_err(|error| error.to_string())?;
    Ok((verdict.causes, verdict.holds() && verdict.shows_settled == 1))
}

impl Chain {
    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("  round {}: {}", self.round, self.title)];
        for (index, it) in self.gateways.iter().enumerate() {
            lines.push(format!(
                "    gateway {index}: {} players, {} of {} answers acknowledged, {} winners of {} cents \
                 each, {} broken promises; book of {} causes {}",
                it.players,
                it.answers_acknowledged,
                it.answers_sent,
                it.winners,
                it.per_head_cents,
                it.violations,
                it.ledger_causes,
                if it.ledger_is_proved { "proved" } else { "NOT proved" },
            ));
        }
        lines.push(verdict(self.held, &self.failures));
        lines
    }
}
