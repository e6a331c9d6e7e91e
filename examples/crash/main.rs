//! Kills a gateway with SIGKILL at random moments of live shows, starts it again on what it kept,
//! and checks that nothing acknowledged is lost:
//! `cargo build --release && cargo run --release --example crash -- --kills 200`.
//!
//! Each show is played by real WebSocket players on 127.0.0.0/8, who remember what they were told.
//! At its end every sealed result is opened and compared with what its player did, the players' own
//! verdicts are hashed and compared with the gateway's hash, and payouts plus remainder with the
//! pool; then the show is exported and `docs/recompute.py` computes it again. `--log FILE` keeps the shows that are done, one line each, and a repeated call goes on
//! behind them.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the command line, which kills at moments of the wall clock"
)]

mod child;
mod show;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use show::{Outcome, play};

/// What to do.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Kills in all, over as many shows as that takes
    #[arg(long, default_value_t = 5)]
    kills: u32,
    /// Players of each show
    #[arg(long, default_value_t = 2_000)]
    players: u32,
    /// Questions of each show
    #[arg(long, default_value_t = 3)]
    questions: usize,
    /// Everything random is drawn from this and the number of the show
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Shows that are done are kept here; a repeated call goes on behind them
    #[arg(long)]
    log: Option<PathBuf>,
    /// The gateway; by default the `tidegate` that was built beside this program
    #[arg(long)]
    gateway: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(broken) => {
            println!("{broken} promises were broken");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays until there were enough kills; says how many promises were broken.
fn run(arguments: &Arguments) -> Result<usize, String> {
    tidegate::net::probe::raise_file_limit().map_err(|error| error.to_string())?;
    let (mut shows, mut kills, mut broken) = done_before(arguments)?;
    println!("show kills restarts_ms_longest acknowledged broken");
    loop {
        shows += 1;
        let outcome = play(arguments, shows)?;
        let Outcome { kills: killed, restart_ms_longest, acknowledged, violations } = &outcome;
        for violation in violations {
            println!("  broken: {violation}");
        }
        kills += killed;
        broken += violations.len();
        let line =
            format!("{shows} {killed} {restart_ms_longest} {acknowledged} {}", violations.len());
        println!("{line}");
        if let Some(path) = &arguments.log {
            let mut log = OpenOptions::new().create(true).append(true).open(path);
            let written = log.as_mut().map(|log| writeln!(log, "{line}"));
            written
                .map_err(|error| format!("{}: {error}", path.display()))?
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if kills >= arguments.kills {
            break;
        }
    }
    println!("{kills} kills in {shows} shows");
    Ok(broken)
}

/// Shows, kills and broken promises that the log has already.
fn done_before(arguments: &Arguments) -> Result<(u64, u32, usize), String> {
    let Some(path) = arguments.log.as_ref().filter(|path| path.exists()) else {
        return Ok((0, 0, 0));
    };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let (mut shows, mut kills, mut broken) = (0, 0, 0);
    for line in text.lines() {
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [show, killed, _, _, violations] = numbers[..] else {
            return Err(format!("{}: {line:?} is no line of this program", path.display()));
        };
        shows = shows.max(show);
        kills += u32::try_from(killed).unwrap_or(0);
        broken += usize::try_from(violations).unwrap_or(usize::MAX);
    }
    Ok((shows, kills, broken))
}
