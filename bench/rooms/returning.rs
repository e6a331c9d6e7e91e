//! `return`: many members are gone in the same instant and come back at once, while a question is
//! open.
//!
//! The returning clients say what they have seen, as a client of ours does. Times are counted from the
//! instant at which all were gone, nobody waits for anything, and who has the question again is back.
//! The gateway's CPU contains forgetting the old connections and everything about the new ones.
//! Several numbers in one run tell whether a return costs more when more return.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::Serialize;
use serde_json::json;

use crate::common::clients::CONNECTS_IN_FLIGHT;
use crate::common::clock::{now_ns, unix_s};
use crate::common::gateway::{self, Gateway, GatewaySettings};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::{Doing as _, Problem};
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server as _;
use crate::common::show::{SHOW, show_file};
use crate::common::stats::{Coverage, Coverages, Figures, as_f64_ns};

use super::hall::{Hall, request_to_resume, requests};

const REPETITIONS: u32 = 3;
/// The question stays open longer than any run.
const COUNTDOWN_MS: u32 = 600_000;
/// What the gateway still does after the last one is back.
const AFTERMATH: Duration = Duration::from_millis(300);
/// Everybody at once: a backlog's worth.
const ALL_IN_FLIGHT: u32 = 16_384;
/// Longer than any run.
const TOKEN_LIFETIME_S: i64 = 86_400;

/// `tidegate-bench rooms return`
#[derive(Clone, Debug, Args)]
pub(crate) struct ReturnArguments {
    /// Connections that stay, in the same room
    #[arg(long, value_name = "N", default_value_t = 3_000,
        value_parser = clap::value_parser!(u32).range(1..=200_000))]
    staying: u32,
    /// How many drop and return, one number after another
    #[arg(long, value_name = "N,…", default_value = "1250,2500,5000", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=16_000))]
    returning: Vec<u32>,
    /// What tokens are signed with
    #[arg(long, value_enum, default_value_t = Signature::Hs256)]
    token: Signature,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Signature {
    /// A secret that gateway and issuer share
    Hs256,
    /// A key pair on the curve P-256
    Es256,
}

#[derive(Debug, Serialize)]
struct Step {
    returning: u32,
    /// From the instant at which all were gone until they had the question again.
    back_ms: Coverage,
    /// Of the last repetition: how many continue where they were.
    resumed: usize,
    server_cpu_us_per_return: f64,
    server_cpu_us_per_return_min: f64,
    server_cpu_us_per_return_max: f64,
}

#[derive(Debug, Serialize)]
struct ReturnReport {
    staying: u32,
    token: Signature,
    repetitions: u32,
    steps: Vec<Step>,
    /// CPU per return, the most ÷ the least of all numbers.
    cpu_largest_to_smallest: f64,
}

/// Who may come in, and what shows it.
struct Tokens {
    key: Option<EncodingKey>,
    file: Option<KeyFile>,
}

/// The issuer's public key, while it is needed.
struct KeyFile(PathBuf);

impl Drop for KeyFile {
    fn drop(&mut self) {
        // A file too many in the folder for such files is no reason to fail.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Tokens {
    fn new(signature: Signature) -> Result<Tokens, Problem> {
        if signature == Signature::Hs256 {
            return Ok(Tokens { key: None, file: None });
        }
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
        let pair = pair.doing("making a key pair")?;
        let key = EncodingKey::from_ec_der(pair.as_ref());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).doing("showing a public key")?;
        let mut jwk = serde_json::to_value(jwk).doing("writing a public key")?;
        jwk["kid"] = json!("bench");
        let name = format!("tidegate-bench-{}.jwks.json", std::process::id());
        let file = KeyFile(std::env::temp_dir().join(name));
        let set = json!({ "keys": [jwk] }).to_string();
        std::fs::write(&file.0, set).doing(format!("writing {}", file.0.display()))?;
        Ok(Tokens { key: Some(key), file: Some(file) })
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.0.as_path())
    }

    /// The token of a client; users are numbered from 1.
    fn of(&self, index: u32) -> String {
        let Some(key) = &self.key else {
            return gateway::token(index);
        };
        let header = Header { kid: Some("bench".to_owned()), ..Header::new(Algorithm::ES256) };
        let issued_unix_s = unix_s();
        let claims = json!({
            "sub": (u64::from(index) + 1).to_string(),
            "iat": issued_unix_s,
            "exp": issued_unix_s + TOKEN_LIFETIME_S,
        });
        match jsonwebtoken::encode(&header, &claims, key) {
            Ok(token) => token,
            Err(error) => unreachable!("the key was made for this: {error}"),
        }
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &ReturnArguments, machine: &Machine) -> Result<(), Problem> {
    let ReturnArguments { staying, returning, token, options } = arguments;
    let most = returning.iter().copied().max().unwrap_or(0);
    // For a moment both ends of the old connections are still there.
    memory::check_room(u64::from(*staying) + 2 * u64::from(most))?;
    options.take_effect()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(0);
    let tokens = Tokens::new(*token)?;
    let connections = staying + 2 * most;
    let show = Some(show_file(COUNTDOWN_MS));
    let settings = GatewaySettings { connections, show, retries: true };
    let jwks = tokens.path().map(|path| ("TIDEGATE_AUTH__JWKS_FILE", path.display().to_string()));
    let mut gateway = Gateway::start_with(&settings, options, jwks.as_slice())?;
    gateway.command(SHOW, "open-lobby")?;
    progress.stage("making tokens and connecting", 0);
    let made: Vec<String> = (0..staying + most).map(|index| tokens.of(index)).collect();
    let token_of = |index: u32| made[index as usize].clone();
    let first = requests(0, *staying, &token_of);
    let mut stay = Hall::new(&gateway, machine, first, CONNECTS_IN_FLIGHT)?;
    stay.fill()?;
    gateway.command(SHOW, "publish")?;
    let asked = *staying;
    stay.until("the question", |_, hearing| hearing.asked() >= asked)?;
    let mut steps = Vec::new();
    for count in returning {
        progress.stage(format!("{count} drop and return"), u64::from(repetitions));
        let mut step = Showing::default();
        let users = &made[*staying as usize..(staying + count) as usize];
        let entering = requests(*staying, *count, &token_of);
        let mut hall = Hall::new(&gateway, machine, entering, CONNECTS_IN_FLIGHT)?;
        hall.fill()?;
        hall.until("the question", |_, hearing| hearing.asked() >= *count)?;
        // The first is not counted.
        for repetition in 0..=repetitions {
            stay.pass(AFTERMATH)?;
            hall = once(&gateway, machine, hall, users, (repetition > 0).then_some(&mut step))?;
            progress.at(u64::from(repetition));
        }
        drop(hall);
        stay.pass(AFTERMATH)?;
        steps.push(Step {
            returning: *count,
            back_ms: step.coverages.median(),
            resumed: step.resumed,
            server_cpu_us_per_return: step.cpu_us.median(),
            server_cpu_us_per_return_min: step.cpu_us.min(),
            server_cpu_us_per_return_max: step.cpu_us.max(),
        });
    }
    drop(progress);
    let costs = steps.iter().map(|step| step.server_cpu_us_per_return);
    let largest = costs.clone().fold(0.0, f64::max);
    let report = ReturnReport {
        staying: *staying,
        token: *token,
        repetitions,
        cpu_largest_to_smallest: largest / costs.fold(f64::INFINITY, f64::min),
        steps,
    };
    drop(gateway);
    report::print("rooms", machine, &report, options.json, table(&report))
}

#[derive(Default)]
struct Showing {
    coverages: Coverages,
    cpu_us: Figures,
    resumed: usize,
}

/// All of a group are gone and come back; returns them.
fn once(
    gateway: &Gateway,
    machine: &Machine,
    hall: Hall,
    tokens: &[String],
    showing: Option<&mut Showing>,
) -> Result<Hall, Problem> {
    let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let epoch = hall.hearing.epoch();
    let seen = |index: usize| hall.hearing.seen(index);
    let requests = tokens
        .iter()
        .enumerate()
        .map(|(index, token)| request_to_resume(token, epoch, seen(index)))
        .collect();
    let mut back = Hall::new(gateway, machine, requests, ALL_IN_FLIGHT)?;
    let cpu = gateway.cpu()?;
    let (cpu_from_ns, from_ns) = (cpu.ns()?, now_ns());
    drop(hall);
    back.clients.want(count);
    back.until("everybody's return", |_, hearing| {
        hearing.joined() >= count && hearing.asked() >= count
    })?;
    back.pass(AFTERMATH)?;
    if let Some(showing) = showing {
        let spent_ns = cpu.ns()? - cpu_from_ns;
        let mut times_ns = back.hearing.asked_ns();
        times_ns.iter_mut().for_each(|time| *time = time.saturating_sub(from_ns));
        showing.coverages.push(Coverage::of(&mut times_ns));
        showing.cpu_us.push(as_f64_ns(spent_ns) / 1e3 / f64::from(count));
        showing.resumed = back.hearing.resumed();
    }
    Ok(back)
}

fn table(report: &ReturnReport) -> Table {
    let mut table = Table::default();
    for step in &report.steps {
        let Coverage { p50, p99, p100, .. } = step.back_ms;
        let note = format!(
            "until all had the question again; 50 % {p50:.0}, 99 % {p99:.0}; {} resumed",
            step.resumed
        );
        table.row(&format!("{} return", step.returning), format!("{p100:.0} ms"), note);
        let spread = format!(
            "median of {}; {:.1} to {:.1}",
            report.repetitions,
            step.server_cpu_us_per_return_min,
            step.server_cpu_us_per_return_max
        );
        let each = format!("{:.1} µs", step.server_cpu_us_per_return);
        table.row("  gateway, CPU per return", each, spread);
    }
    let note = "CPU per return, the most ÷ the least";
    table.row("largest to smallest", format!("{:.3}", report.cpu_largest_to_smallest), note);
    table
}
