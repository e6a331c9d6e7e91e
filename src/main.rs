//! `tidegate`: see [`tidegate::ops::cli`].

use std::io::{stderr, stdout};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use tidegate::ops::cli::{Cli, Command, ExitStatus};
use tidegate::ops::commands::{Surroundings, check_config, token};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (mut output, mut complaints) = (stdout().lock(), stderr().lock());
    let mut surroundings = Surroundings {
        environment: std::env::vars_os().collect(),
        now_unix_s: now_unix_s(),
        output: &mut output,
        complaints: &mut complaints,
    };
    let status = match cli.command {
        Command::CheckConfig(arguments) => check_config(&arguments, &mut surroundings),
        Command::Token(arguments) => token(&arguments, &mut surroundings),
        Command::Serve(_) | Command::Demo(_) => {
            let _ = writeln!(surroundings.complaints, "this build has no gateway");
            ExitStatus::Failed
        }
    };
    status.into()
}

#[expect(clippy::disallowed_methods, reason = "short commands run without the gateway's clock")]
fn now_unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
