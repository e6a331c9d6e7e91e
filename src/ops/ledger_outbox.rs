//! `tidegate ledger outbox`: payouts on their way, and what a person does about dead letters.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::base::entropy::SystemEntropy;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::queue::{Listed, Queue};
use crate::ledger::outbox::sender::{SendUntil, Sender, SenderWorld};
use crate::ledger::outbox::settings::OutboxSettings;
use crate::ops::cli::ExitStatus;
use crate::ops::commands::Surroundings;
use crate::ops::ledger_command::{DataArgument, done, failed};
use crate::runtime::clock::Clock;

/// The secret of webhooks, where no file is given.
pub const SECRET_VARIABLE: &str = "TIDEGATE_PAYOUTS__SECRET";

/// `tidegate ledger outbox`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct OutboxArguments {
    /// What to do
    #[command(subcommand)]
    pub command: OutboxCommand,
}

/// What can be done about payouts.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum OutboxCommand {
    /// Print the payouts that wait, and dead letters with what was answered
    List(ListArguments),
    /// Send dead letters again
    Retry(RetryArguments),
    /// Give up on a dead letter: the money goes back to its player, once a gateway runs
    ///
    /// Only where the balance system surely did not take it: after a timeout it may have.
    GiveBack(GiveBackArguments),
    /// Send what waits, without a gateway, until nothing does
    Send(SendArguments),
}

/// `tidegate ledger outbox list`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ListArguments {
    /// Where the book is
    #[command(flatten)]
    pub data: DataArgument,
    /// Those that are acknowledged, paid or refused, too
    #[arg(long)]
    pub all: bool,
    /// Print each as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// `tidegate ledger outbox retry`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RetryArguments {
    /// Where the book is
    #[command(flatten)]
    pub data: DataArgument,
    /// Which dead letter, by the key that `list` prints
    #[arg(value_name = "KEY", required_unless_present = "all", conflicts_with = "all")]
    pub key: Option<String>,
    /// All dead letters
    #[arg(long)]
    pub all: bool,
}

/// `tidegate ledger outbox give-back`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct GiveBackArguments {
    /// Where the book is
    #[command(flatten)]
    pub data: DataArgument,
    /// Which dead letter, by the key that `list` prints
    #[arg(value_name = "KEY")]
    pub key: String,
}

/// `tidegate ledger outbox send`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "Interrupted, it loses nothing: what was not acknowledged is sent again, with the same \
                        idempotency key. docs/ledger.md says what the balance system gets and answers."
)]
pub struct SendArguments {
    /// Where the book is
    #[command(flatten)]
    pub data: DataArgument,
    /// The balance system: https://…, or http://… to a private address
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// File with the secret that webhooks are signed with; TIDEGATE_PAYOUTS__SECRET without
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Certificates to trust in place of the public ones (PEM)
    #[arg(long, value_name = "FILE")]
    pub certificates: Option<PathBuf>,
    /// Payouts under way at the same time; of one player there is one
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// How long one try may take
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub timeout_ms: u64,
    /// Tries before a payout is a dead letter
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub tries: u32,
    /// The wait after a first failure; twice as long after each further one
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub backoff_ms: u64,
    /// The longest wait
    #[arg(long, value_name = "N", default_value_t = 900_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub backoff_max_ms: u64,
}

/// Does what `tidegate ledger outbox` is asked for.
pub(super) fn outbox(
    arguments: &OutboxArguments,
    surroundings: &mut Surroundings<'_>,
) -> ExitStatus {
    let outcome = match &arguments.command {
        OutboxCommand::List(arguments) => list(arguments, surroundings),
        OutboxCommand::Retry(arguments) => retry(arguments, surroundings),
        OutboxCommand::GiveBack(arguments) => give_back(arguments, surroundings),
        OutboxCommand::Send(arguments) => {
            let secret = match secret(arguments.secret_file.as_ref(), surroundings) {
                Ok(secret) => secret,
                Err(why) => {
                    failed(&why, surroundings);
                    return ExitStatus::Settings;
                }
            };
            send(arguments, secret, surroundings)
        }
    };
    done(outcome, surroundings)
}

fn list(
    arguments: &ListArguments,
    surroundings: &mut Surroundings<'_>,
) -> Result<bool, LedgerError> {
    let all = ["waiting", "dead", "returned", "acknowledged", "paid", "refused"];
    let states = if arguments.all { &all[..] } else { &all[..3] };
    let queue = Queue::open(&arguments.data.directory)?;
    let output = &mut *surroundings.output;
    let count = queue.list(states, &mut |listed| {
        let Listed { payout, state, next_try_unix_ms, answer, reference } = listed;
        let key = payout.withdrawal.idempotency_key();
        let (tries, amount) = (payout.tries, payout.amount);
        if arguments.json {
            let object = json!({
                "idempotency_key": key,
                "user": payout.withdrawal.user.to_string(),
                "amount_cents": amount.0,
                "state": state,
                "tries": tries,
                "next_try_unix_ms": next_try_unix_ms,
                "answer": answer,
                "reference": reference,
            });
            writeln!(output, "{object}")?;
        } else {
            let answer = answer.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
            writeln!(output, "{key}  {amount} cents  {state} after {tries} tries{answer}")?;
        }
        Ok(())
    })?;
    if !arguments.json {
        writeln!(output, "{count} payouts")?;
    }
    Ok(true)
}

fn retry(
    arguments: &RetryArguments,
    surroundings: &mut Surroundings<'_>,
) -> Result<bool, LedgerError> {
    let mut queue = Queue::open(&arguments.data.directory)?;
    let count = queue.retry(arguments.key.as_deref())?;
    writeln!(surroundings.output, "{count} dead letters are sent again")?;
    Ok(count > 0 || arguments.all)
}

fn give_back(
    arguments: &GiveBackArguments,
    surroundings: &mut Surroundings<'_>,
) -> Result<bool, LedgerError> {
    let GiveBackArguments { data, key } = arguments;
    let was_dead = Queue::open(&data.directory)?.give_back(key)?;
    if was_dead {
        writeln!(surroundings.output, "{key} goes back to its player when a gateway journals it")?;
    } else {
        writeln!(
            surroundings.complaints,
            "{key} is no dead letter: `tidegate ledger outbox list`"
        )?;
    }
    Ok(was_dead)
}

fn send(
    arguments: &SendArguments,
    secret: Vec<u8>,
    surroundings: &mut Surroundings<'_>,
) -> Result<bool, LedgerError> {
    let clock = Clock::start();
    let settings = OutboxSettings {
        certificates: arguments.certificates.clone(),
        timeout: Duration::from_millis(arguments.timeout_ms),
        concurrency: arguments.concurrency,
        tries_max: arguments.tries,
        backoff_first: Duration::from_millis(arguments.backoff_ms),
        backoff_max: Duration::from_millis(arguments.backoff_max_ms),
        ..OutboxSettings::new(&arguments.url, secret)
    };
    let world = SenderWorld {
        now_unix_ms: Arc::new(move || clock.display().unix_ms(clock.now())),
        entropy: Box::new(SystemEntropy),
        // Without a gateway there is no journal to tell; the next gateway finds it in the book.
        ended: Box::new(|_| {}),
    };
    let directory = &arguments.data.directory;
    Sender::start(directory, settings, SendUntil::NothingWaits, world)?.wait()?;
    let queue = Queue::open(directory)?;
    let dead = queue.list(&["dead"], &mut |_| Ok(()))?;
    let acknowledged = queue.list(&["acknowledged", "paid"], &mut |_| Ok(()))?;
    writeln!(
        surroundings.output,
        "{acknowledged} payouts are acknowledged, {dead} are dead letters"
    )?;
    Ok(dead == 0)
}

/// The secret of webhooks, without the line feed that editors leave behind.
pub(super) fn secret(
    file: Option<&PathBuf>,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<u8>, String> {
    let Some(path) = file else {
        let found = surroundings.environment.iter().find(|(name, _)| name == SECRET_VARIABLE);
        return found.map(|(_, value)| value.as_encoded_bytes().to_vec()).ok_or_else(|| {
            format!("there is no secret: give --secret-file or set {SECRET_VARIABLE}")
        });
    };
    let text = std::fs::read(path);
    let text = text.map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    Ok(text.trim_ascii().to_vec())
}
