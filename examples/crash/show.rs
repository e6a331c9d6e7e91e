//! One show, its gateway killed now and then.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate::auth::token::{NewToken, mint};
use tidegate::base::entropy::{Entropy, SeededEntropy};
use tidegate::base::hash::{Placement, PlacementKey};
use tidegate::base::hex;
use tidegate::base::ids::UserId;
use tidegate::net::PlaneSettings;
use tidegate::net::probe::raise_file_limit;
use tidegate::ops::demo::own_game_hash;
use tidegate::ops::show_file;
use tidegate::player::script::Script;
use tidegate::player::swarm::{Swarm, SwarmSettings};
use tidegate::runtime::clock::Clock;

use crate::Arguments;
use crate::child::{Place, TOKEN, beside, free_address};

const BUNDLED: &str = include_str!("../../src/ops/bundled_show.toml");
const SECRET: &str = "a secret of thirty-two bytes or more";
const PLACEMENT_KEY: [u8; 16] = [7; 16];
const BUCKETS: u16 = 1_024;
/// No show takes longer, kills included.
const SHOW_PATIENCE: Duration = Duration::from_secs(300);
/// From one kill to the next, at least: the players have to come back.
const BETWEEN_KILLS_MS: (u64, u64) = (1_500, 9_000);
/// Kills of one show at most, or an open question would be extended for ever.
const KILLS_MAX: u32 = 6;

/// Lines of the recomputation that are kept.
const COMPLAINTS_MAX: usize = 20;

/// What became of a show.
pub(crate) struct Outcome {
    pub(crate) kills: u32,
    pub(crate) restart_ms_longest: u128,
    pub(crate) acknowledged: u64,
    pub(crate) violations: Vec<String>,
}

/// Plays one show to its end.
pub(crate) fn play(arguments: &Arguments, number: u64) -> Result<Outcome, String> {
    let mut dice = SeededEntropy::new(arguments.seed, number);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let place = Place {
        program: arguments.gateway.clone().map_or_else(beside, Ok)?,
        folder: folder.path().to_path_buf(),
        clients: free_address()?,
        operator: free_address()?,
    };
    let mut show = show_file::bundled();
    show.definition.questions.truncate(arguments.questions);
    // Kept beside the gateway's own reading of the same text.
    write_files(&place, arguments)?;
    let (mut child, _) = place.start(1 + dice.below(3))?;
    let script = Script::new(arguments.seed ^ number << 32, &show.definition);
    for user in (1..=u64::from(arguments.players)).map(UserId) {
        if script.holds_card(user) {
            expect(place.ask("POST", &format!("/v1/users/{user}/cards"))?, "granting a card")?;
        }
    }
    let definition = Arc::new(show.definition.clone());
    let swarm = swarm(arguments, number, place.clients, definition)?;
    let mut outcome =
        Outcome { kills: 0, restart_ms_longest: 0, acknowledged: 0, violations: Vec::new() };
    let begun = Instant::now();
    let mut next_kill = begun + between(&mut dice);
    let status = loop {
        if begun.elapsed() > SHOW_PATIENCE {
            let _ = child.kill();
            return Err(format!("show {number} did not end within {SHOW_PATIENCE:?}"));
        }
        if !swarm.wait(Duration::from_millis(20)) {
            return Err("the players' thread ended".to_owned());
        }
        if Instant::now() >= next_kill && outcome.kills < KILLS_MAX.min(arguments.kills) {
            // SIGKILL: nothing is written, flushed or closed any more.
            child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
            let (again, took) = place.start(1 + dice.below(3))?;
            child = again;
            outcome.kills += 1;
            outcome.restart_ms_longest = outcome.restart_ms_longest.max(took.as_millis());
            next_kill = Instant::now() + between(&mut dice);
        }
        if let Ok((200, status)) = place.ask("GET", "/v1/shows/1")
            && status["phase"] == "ended"
        {
            break status;
        }
    };
    outcome.acknowledged = swarm.acknowledged();
    let report = swarm.finish();
    let _ = child.kill();
    let _ = child.wait();
    outcome.violations = report.violations.sentences().to_vec();
    let placement = Placement::new(PlacementKey(PLACEMENT_KEY), BUCKETS, 1);
    let own_hash = hex::encode(&own_game_hash(&report.verdicts, &placement));
    check_money(&status, report.winners, &own_hash, &mut outcome.violations);
    outcome.violations.extend(recompute(&place)?);
    Ok(outcome)
}

/// Exports the show, and lets a program that shares nothing with the gateway recompute it: what it
/// complains about.
fn recompute(place: &Place) -> Result<Vec<String>, String> {
    let export = place.folder.join("show.jsonl");
    let exported = Command::new(&place.program)
        .args(["show", "export", "1", "--data"])
        .arg(place.folder.join("data"))
        .arg("--out")
        .arg(&export)
        .output()
        .map_err(|error| format!("{}: {error}", place.program.display()))?;
    if !exported.status.success() {
        let complaint = String::from_utf8_lossy(&exported.stderr);
        return Ok(vec![format!("the show cannot be exported: {complaint}")]);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recompute.py");
    let checked = Command::new("python3").arg("-B").arg(script).arg(&export).output();
    let checked = checked.map_err(|error| {
        format!("python3 cannot be run ({error}): Python 3 recomputes the show from its export")
    })?;
    if checked.status.success() {
        return Ok(Vec::new());
    }
    let text = [checked.stdout, checked.stderr].concat();
    let lines = String::from_utf8_lossy(&text);
    Ok(lines.lines().take(COMPLAINTS_MAX).map(|line| format!("recomputed: {line}")).collect())
}

fn check_money(status: &Value, winners: u64, own_hash: &str, violations: &mut Vec<String>) {
    let settlement = &status["settlement"];
    let number = |key: &str| settlement[key].as_i64().unwrap_or(-1);
    if settlement["game_hash"] != own_hash {
        let theirs = &settlement["game_hash"];
        violations.push(format!("the game hash is {theirs}, the players' own {own_hash}"));
    }
    if u64::try_from(number("winners")) != Ok(winners) {
        let theirs = number("winners");
        violations.push(format!("{theirs} winners, by the players' own records {winners}"));
    }
    let paid = number("winners") * number("per_head_cents") + number("remainder_cents");
    if paid != number("pool_cents") {
        violations.push(format!("{paid} cents of {}", number("pool_cents")));
    }
    if status["is_paid_out"] != true {
        violations.push("the prize is not paid out".to_owned());
    }
}

fn between(dice: &mut SeededEntropy) -> Duration {
    let (least, most) = BETWEEN_KILLS_MS;
    Duration::from_millis(least + dice.below(most - least))
}

fn expect((status, answer): (u16, Value), what: &str) -> Result<(), String> {
    if status == 200 { Ok(()) } else { Err(format!("{what}: {status} {answer}")) }
}

/// The text of the bundled show, with its first questions only.
fn first_questions(count: usize) -> String {
    let mark = "[[questions]]";
    let mut parts = BUNDLED.split(mark);
    let head = parts.next().unwrap_or_default().to_owned();
    parts.take(count).fold(head, |text, question| text + mark + question)
}

/// The same with a pace at which whoever loses its connection is back before the next step.
fn slower(show: &str) -> String {
    let paces = [
        ("next_pause_ms = 1_000", "next_pause_ms = 3_000"),
        ("end_pause_ms = 2_000", "end_pause_ms = 5_000"),
    ];
    paces.iter().fold(show.to_owned(), |text, (bundled, slower)| {
        assert!(text.contains(bundled), "the bundled show has no `{bundled}`");
        text.replace(bundled, slower)
    })
}

/// The settings and the show.
fn write_files(place: &Place, arguments: &Arguments) -> Result<(), String> {
    let config = format!(
        "placement_key = \"{}\"\n[auth]\nhs256_secret = \"{SECRET}\"\n[operator]\nlisten = \"{}\"\n\
         token = \"{TOKEN}\"\n",
        hex::encode(&PLACEMENT_KEY),
        place.operator
    );
    let write = |name: &str, text: &str| {
        let path = place.folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("tidegate.toml", &config)?;
    write("show.toml", &slower(&first_questions(arguments.questions)))
}

fn swarm(
    arguments: &Arguments,
    number: u64,
    gateway: SocketAddr,
    definition: Arc<tidegate::quiz::definition::ShowDefinition>,
) -> Result<Swarm, String> {
    let clock = Clock::start();
    let issued_unix_s = clock.display().zero_unix_ms / 1_000;
    let token = move |user| {
        let token = NewToken { user, issued_unix_s, lifetime_s: 86_400, audience: None };
        mint(SECRET.as_bytes(), token)
    };
    let files = raise_file_limit().map_or(1_024, |limit| limit.soft);
    let slots_per_ring = 16_384.min(u32::try_from(files).unwrap_or(u32::MAX));
    let settings = SwarmSettings {
        gateway,
        players: arguments.players,
        seed: arguments.seed ^ number << 32,
        definition,
        connects_in_flight: 256,
        plane: PlaneSettings { slots_per_ring, ..PlaneSettings::default() },
        clock,
        gateway_may_die: true,
        token: Arc::new(token),
    };
    Swarm::start(settings).map_err(|error| error.to_string())
}
