//! `tidegate`: see [`tidegate::ops::cli`].

use std::io::{BufReader, stderr, stdin, stdout};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use tidegate::ops::account_command::{account, password_from_people_or_programs};
use tidegate::ops::backup_command::{back_up, bring_back};
use tidegate::ops::cli::{Cli, Command, ExitStatus};
use tidegate::ops::commands::{Surroundings, check_config, token};
use tidegate::ops::connect::connect;
use tidegate::ops::demo::demo;
use tidegate::ops::dispatch::dispatch;
use tidegate::ops::generate::{completions, man};
use tidegate::ops::journal_command::journal;
use tidegate::ops::ledger_command::ledger;
use tidegate::ops::ledger_standin::stand_in;
use tidegate::ops::log::{self, LogFormat, LogLevel};
use tidegate::ops::serve::serve;
use tidegate::ops::show_command::show;
use tidegate::ops::tune::tune;
use tidegate::runtime::fatal::end_process_on_panic;

fn main() -> ExitCode {
    let status = match Cli::parse().command {
        Command::CheckConfig(arguments) => shortly(|world| check_config(&arguments, world)),
        Command::Account(arguments) => {
            shortly(|world| account(&arguments, world, &mut password_from_people_or_programs))
        }
        Command::Token(arguments) => shortly(|world| token(&arguments, world)),
        Command::Connect(arguments) => {
            shortly(|world| connect(&arguments, world, BufReader::new(stdin())))
        }
        Command::Serve(arguments) => match serve(&arguments, std::env::vars_os().collect()) {
            Ok(()) => ExitStatus::Success,
            Err(error) => {
                eprintln!("{error}");
                error.exit_status()
            }
        },
        Command::Dispatch(arguments) => {
            let environment: Vec<_> = std::env::vars_os().collect();
            match dispatch(&arguments, &environment, &mut stdout()) {
                Ok(()) => ExitStatus::Success,
                Err(error) => {
                    eprintln!("{error}");
                    error.exit_status()
                }
            }
        }
        Command::Demo(arguments) => watched(|world| demo(&arguments, world)),
        Command::Journal(arguments) => shortly(|world| {
            let now_unix_ms = world.now_unix_s.saturating_mul(1_000);
            let outcome = journal(&arguments, now_unix_ms, world.output, world.complaints);
            // Whoever reads no further has seen enough.
            outcome.unwrap_or(ExitStatus::Failed)
        }),
        Command::Show(arguments) => shortly(|world| show(&arguments, world)),
        Command::Backup(arguments) => shortly(|world| {
            let outcome = back_up(&arguments, world.output, world.complaints);
            outcome.unwrap_or(ExitStatus::Failed)
        }),
        Command::Restore(arguments) => shortly(|world| {
            let outcome = bring_back(&arguments, world.output, world.complaints);
            outcome.unwrap_or(ExitStatus::Failed)
        }),
        Command::Ledger(arguments) => watched(|world| ledger(&arguments, world)),
        Command::BalanceStandin(arguments) => watched(|world| stand_in(&arguments, world)),
        Command::Tune(arguments) => shortly(|world| tune(&arguments, world)),
        Command::Completions { shell } => shortly(|world| completions(shell, world)),
        Command::Man { folder } => shortly(|world| man(&folder, world)),
    };
    status.into()
}

/// Runs a command with threads of its own but without settings for its log: what they warn of is
/// shown, and a fault of our own ends it as it ends a served gateway.
fn watched(command: impl FnOnce(&mut Surroundings<'_>) -> ExitStatus) -> ExitStatus {
    if let Err(error) = log::start(LogLevel::Warn, LogFormat::Text, None) {
        eprintln!("{error}");
    }
    end_process_on_panic();
    command(&mut Surroundings {
        environment: std::env::vars_os().collect(),
        now_unix_s: now_unix_s(),
        output: &mut stdout(),
        complaints: &mut stderr(),
    })
}

/// Runs a command that writes and ends. The long ones must not hold the lock of standard error:
/// their threads log.
fn shortly(command: impl FnOnce(&mut Surroundings<'_>) -> ExitStatus) -> ExitStatus {
    command(&mut Surroundings {
        environment: std::env::vars_os().collect(),
        now_unix_s: now_unix_s(),
        output: &mut stdout().lock(),
        complaints: &mut stderr().lock(),
    })
}

#[expect(clippy::disallowed_methods, reason = "short commands run without the gateway's clock")]
fn now_unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
