//! `tidegate balance-standin`: a balance system to try payouts with.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::ledger::standin::{Faults, StandIn, StandInSettings};
use crate::ops::cli::ExitStatus;
use crate::ops::commands::Surroundings;
use crate::ops::ledger_command::failed;
use crate::ops::ledger_outbox::secret;
use crate::runtime::clock::Clock;

/// `tidegate balance-standin`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "It takes payouts as POST / or POST /payouts, and shows what it took as GET /taken. \
                        It may be killed at any moment. Percentages are of requests; together the first \
                        three are at most 100."
)]
pub struct StandInArguments {
    /// Where it listens; port 0 finds a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// File with the secret that webhooks are signed with; TIDEGATE_PAYOUTS__SECRET without
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Keep what it took in this file, one line of JSON each; `tidegate ledger reconcile` reads it
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Note each signed request in this file, one line of JSON each: which payout, what it did, how it answered
    #[arg(long, value_name = "FILE")]
    pub requests: Option<PathBuf>,
    /// What its dice are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Fails and takes nothing
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub fail: u8,
    /// Takes the payout, and its answer is lost
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub lose: u8,
    /// Takes the payout, and answers nonsense
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub nonsense: u8,
    /// Answers late
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub delay: u8,
    /// How late at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub delay_max_ms: u64,
    /// Refuses payouts of more than this
    #[arg(long, value_name = "CENTS", default_value_t = i64::MAX)]
    pub refuse_above_cents: i64,
}

/// Serves until a signal ends the process.
pub fn stand_in(arguments: &StandInArguments, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    let StandInArguments { listen, fail, lose, nonsense, delay, .. } = *arguments;
    if u16::from(fail) + u16::from(lose) + u16::from(nonsense) > 100 {
        failed(&"--fail, --lose and --nonsense are together more than 100", surroundings);
        return ExitStatus::Settings;
    }
    let secret = match secret(arguments.secret_file.as_ref(), surroundings) {
        Ok(secret) => secret,
        Err(why) => {
            failed(&why, surroundings);
            return ExitStatus::Settings;
        }
    };
    let clock = Clock::start();
    let settings = StandInSettings {
        secret,
        store: arguments.store.clone(),
        requests: arguments.requests.clone(),
        seed: arguments.seed,
        faults: Faults {
            fail_percent: fail,
            lose_percent: lose,
            nonsense_percent: nonsense,
            delay_percent: delay,
            delay_max: Duration::from_millis(arguments.delay_max_ms),
        },
        refuse_above_cents: arguments.refuse_above_cents,
        now_unix_ms: Arc::new(move || clock.display().unix_ms(clock.now())),
    };
    let listener = match TcpListener::bind(listen) {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("--listen {listen}: {error}"), surroundings),
    };
    let served = StandIn::start(listener, settings).and_then(|service| {
        writeln!(surroundings.output, "takes payouts on http://{}/payouts", service.address())?;
        surroundings.output.flush()?;
        service.wait()
    });
    match served {
        Ok(()) => ExitStatus::Success,
        Err(error) => failed(&error, surroundings),
    }
}
