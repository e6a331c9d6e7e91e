//! `tidegate backup` and `tidegate restore`: a deployment's folder copied, also while a gateway runs,
//! and made again from a copy.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::ops::cli::ExitStatus;
use crate::runtime::data::backup::{BackupError, Manifest, backup, restore};

/// `tidegate backup`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "A gateway may run in the folder: the copy is as a crash at one moment would have left it. \
                  It has secrets of the deployment and what players own: keep it as you keep those."
)]
pub struct BackupArguments {
    /// Folder of the deployment
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for the copy, which must not be there or be empty
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// `tidegate restore`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "What happened after the copy was made is not in it: money that was paid out since then is \
                  in the balances again. Compare with the balance system (tidegate ledger reconcile) \
                  before players come back."
)]
pub struct RestoreArguments {
    /// Folder of the copy
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Folder of the deployment, which must not be there or be empty
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Runs `tidegate backup`.
///
/// # Errors
/// If the output cannot be written.
pub fn back_up(
    arguments: &BackupArguments,
    output: &mut dyn Write,
    complaints: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let BackupArguments { data, to } = arguments;
    let made = backup(data, to);
    let place = to.display();
    say(made, &format!("{place}: copied and read back"), output, complaints)
}

/// Runs `tidegate restore`.
///
/// # Errors
/// If the output cannot be written.
pub fn bring_back(
    arguments: &RestoreArguments,
    output: &mut dyn Write,
    complaints: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let RestoreArguments { from, data } = arguments;
    let made = restore(from, data);
    let place = data.display();
    say(made, &format!("{place}: restored, and every checksum agrees"), output, complaints)
}

fn say(
    made: Result<Manifest, BackupError>,
    done: &str,
    output: &mut dyn Write,
    complaints: &mut dyn Write,
) -> io::Result<ExitStatus> {
    match made {
        Ok(manifest) => {
            let Manifest { run, moment_unix_ms, records, files, .. } = &manifest;
            let (count, bytes) = (files.len(), manifest.bytes());
            let book = if manifest.has_book() { "with" } else { "without" };
            writeln!(
                output,
                "{done}: run {run} with {records} records, as it was at {moment_unix_ms} (Unix ms), \
                 {book} the ledger; {count} files, {bytes} bytes"
            )?;
            Ok(ExitStatus::Success)
        }
        Err(error) => {
            writeln!(complaints, "{error}")?;
            Ok(ExitStatus::Failed)
        }
    }
}
