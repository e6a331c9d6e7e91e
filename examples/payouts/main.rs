//! Kills a balance system and whoever pays at random moments of many payouts, starts them again, and
//! checks that every withdrawal arrives once and in order:
//! `cargo build --release && cargo run --release --example payouts -- --payouts 10000 --kills 200`.
//!
//! The balance system is `tidegate balance-standin`, which also fails, loses its answers, talks nonsense and is
//! late. `tidegate ledger outbox send` pays what waits in a book that this program writes; with `--whole` it is a
//! gateway, whose players ask for it meanwhile. The exit status is 0 if nothing is off.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the command line, which kills at moments of the wall clock"
)]

mod course;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};

use course::child::beside;
use course::{Payer, Planted, Settings};

/// What to do.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Withdrawals
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    payouts: u32,
    /// Kills in all, of the balance system and of who pays
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    kills: u32,
    /// Everything random but time is drawn from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A fault of the balance system that this program must find
    #[arg(long, value_enum)]
    planted: Option<Planted>,
    /// The whole way: players who won a show ask a gateway, which journals that and pays; each time it is started
    /// it takes 64 to 192 MiB of the temporary folder
    #[arg(long)]
    whole: bool,
    /// The program; by default the `tidegate` that was built beside this one
    #[arg(long)]
    gateway: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
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

/// Runs once; says how many promises were broken.
fn run(arguments: &Arguments) -> Result<usize, String> {
    let settings = Settings {
        program: arguments.gateway.clone().map_or_else(beside, Ok)?,
        payouts: arguments.payouts,
        kills: arguments.kills,
        seed: arguments.seed,
        planted: arguments.planted,
        payer: if arguments.whole { Payer::Gateway } else { Payer::Sender },
    };
    if let Some(planted) = arguments.planted.and_then(|planted| planted.to_possible_value()) {
        println!("planted: the balance system {}", planted.get_name());
    }
    let report = course::run(&settings)?;
    println!("{report}");
    Ok(report.broken.count())
}
