//! `tidegate show`: what became of a show, for those who have to prove it or to answer a complaint.
//!
//! Both read the folder of the deployment and change nothing; a gateway may go on running. The lines
//! of the export are described in `docs/fairness.md`, and are a contract.

mod explain;
mod export;
mod lines;
mod moment;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::base::ids::{ShowId, UserId};
use crate::ops::cli::ExitStatus;
use crate::ops::commands::Surroundings;
use crate::runtime::data::show::show_account;
use crate::shard::account::ShowAccount;

/// `tidegate show`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "Both read the data folder and change nothing; a gateway may go on running. Of a show \
                  that is not over nothing is said that tells before a reveal. docs/fairness.md \
                  describes the export, and docs/recompute.py checks one."
)]
pub struct ShowArguments {
    /// What to do
    #[command(subcommand)]
    pub verb: ShowVerb,
}

/// What can be asked about a show.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ShowVerb {
    /// Write everything that it takes to recompute every verdict and payout of a show
    Export(ExportArguments),
    /// Say in sentences what became of a user in a show, and why
    Explain(ExplainArguments),
}

/// `tidegate show export`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ExportArguments {
    /// The show
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub show: u64,
    /// Folder of the deployment
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: ExportFormat,
    /// Write to this file, which only its owner may read; it must not exist. Standard output by default
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line
    Jsonl,
}

/// `tidegate show explain`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ExplainArguments {
    /// The show
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub show: u64,
    /// The user who complains
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub user: u64,
    /// Folder of the deployment
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Print one JSON object: the sentences, and the lines of the export that are about the user
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn show(arguments: &ShowArguments, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    let Surroundings { output, complaints, .. } = surroundings;
    let outcome = match &arguments.verb {
        ShowVerb::Export(arguments) => export_show(arguments, *output),
        ShowVerb::Explain(arguments) => explain_user(arguments, *output),
    };
    match outcome {
        Ok(()) => ExitStatus::Success,
        Err(complaint) => {
            // If even complaining fails, the status still tells.
            let _ = writeln!(complaints, "{complaint}");
            ExitStatus::Failed
        }
    }
}

fn account(data: &Path, show: u64) -> Result<ShowAccount, String> {
    show_account(data, ShowId(show)).map_err(|error| error.to_string())
}

fn export_show(arguments: &ExportArguments, output: &mut dyn Write) -> Result<(), String> {
    let ExportFormat::Jsonl = arguments.format;
    let account = account(&arguments.data, arguments.show)?;
    match &arguments.out {
        None => {
            let mut output = BufWriter::new(output);
            let written = export::write(&account, &mut output).and_then(|()| output.flush());
            written.map_err(|error| format!("the export could not be written: {error}"))
        }
        Some(path) => write_file(&account, path).map_err(|error| {
            format!("{}: the export could not be written: {error}", path.display())
        }),
    }
}

fn write_file(account: &ShowAccount, path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut output = BufWriter::new(file);
    export::write(account, &mut output)?;
    output.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn explain_user(arguments: &ExplainArguments, output: &mut dyn Write) -> Result<(), String> {
    let account = account(&arguments.data, arguments.show)?;
    let user = UserId(arguments.user);
    let explained = explain::explain(&account, user).ok_or_else(|| {
        let (show, joined) = (account.show, account.players.len());
        format!(
            "show {show}: user {user} never joined it, so nothing was judged and nothing won; {joined} \
             users did join"
        )
    })?;
    let written = if arguments.json {
        writeln!(output, "{}", explained.json(&account))
    } else {
        explained.sentences.iter().try_for_each(|sentence| writeln!(output, "{sentence}"))
    };
    written.map_err(|error| format!("the explanation could not be written: {error}"))
}
