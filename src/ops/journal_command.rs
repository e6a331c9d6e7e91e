//! `tidegate journal`: what is in a deployment's journals, whether it is sound, and the last resort
//! where it is not.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::base::ids::ShardId;
use crate::ops::cli::ExitStatus;
use crate::ops::config::JournalConfig;
use crate::runtime::data::journals::{Cut, Dependent, ShardJournal, Tail, journals, stored_bytes};
use crate::runtime::data::retention::{self, Keep, Kept, OldRun};
use crate::runtime::data::{DataError, DataFolder};
use crate::shard::record::Record;

/// `tidegate journal`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct JournalArguments {
    /// What to do
    #[command(subcommand)]
    pub verb: JournalVerb,
}

/// What can be done with journals.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum JournalVerb {
    /// Print records, one a line: keys are left out, verdicts are not
    Inspect {
        /// Folder of the deployment
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Of this run only; all by default
        #[arg(long, value_name = "N")]
        run: Option<u64>,
        /// Of this shard only; all by default
        #[arg(long, value_name = "N")]
        shard: Option<u16>,
        /// So many records of each journal at most
        #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
        limit: u64,
    },
    /// Read every journal and say whether it is sound; exit status 1 if one is not
    Verify {
        /// Folder of the deployment
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Say what records take: of each kind how many, and their bytes
    Sizes {
        /// Folder of the deployment
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Remove runs that nobody needs any more: a later one goes on from them, the ledger has them, and
    /// they are old enough. A gateway may run in the folder; it does the same when it starts
    Prune {
        /// Folder of the deployment
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Runs that stay whatever their age, the newest one included
        #[arg(long, value_name = "N", default_value_t = JournalConfig::default().keep_runs,
            value_parser = clap::value_parser!(u32).range(1..))]
        keep_runs: u32,
        /// Days that a run stays after its end: so long its shows can be exported and explained
        #[arg(long, value_name = "N", default_value_t = JournalConfig::default().keep_days,
            value_parser = clap::value_parser!(u32).range(0..=36_500))]
        keep_days: u32,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Cut the newest run's journals where they are damaged, and the others where they rest on events of
    /// shows that were lost by that. What was acknowledged behind those places is lost: restore a backup
    /// if there is one
    Repair {
        /// Folder of the deployment
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Do it; without this, only say what would be done
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// If the output cannot be written.
pub fn journal(
    arguments: &JournalArguments,
    now_unix_ms: i64,
    output: &mut dyn Write,
    complaints: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let outcome = match &arguments.verb {
        JournalVerb::Inspect { data, run, shard, limit } => {
            let wanted = |journal: &ShardJournal| {
                run.is_none_or(|run| run == journal.run)
                    && shard.is_none_or(|shard| ShardId(shard) == journal.shard)
            };
            match journals(data) {
                Ok(found) => inspect(found.into_iter().filter(wanted), *limit, output)?,
                Err(error) => Err(error),
            }
        }
        JournalVerb::Verify { data } => match journals(data) {
            Ok(found) => return verify(&found, output, complaints),
            Err(error) => Err(error),
        },
        JournalVerb::Sizes { data } => match journals(data) {
            Ok(found) => sizes(&found, output)?,
            Err(error) => Err(error),
        },
        JournalVerb::Prune { data, keep_runs, keep_days, dry_run } => {
            let keep = Keep { runs: *keep_runs, days: *keep_days };
            return prune(data, keep, now_unix_ms, *dry_run, output, complaints);
        }
        JournalVerb::Repair { data, yes } => repair(data, *yes, output)?,
    };
    match outcome {
        Ok(()) => Ok(ExitStatus::Success),
        Err(error) => {
            writeln!(complaints, "{error}")?;
            Ok(ExitStatus::Failed)
        }
    }
}

fn inspect(
    found: impl Iterator<Item = ShardJournal>,
    limit: u64,
    output: &mut dyn Write,
) -> io::Result<Result<(), DataError>> {
    for journal in found {
        let (run, shard) = (journal.run, journal.shard);
        let mut written = Ok(());
        let scan = journal.read(&mut |number, record| {
            if number <= limit && written.is_ok() {
                written = writeln!(output, "run {run} shard {shard} record {number}: {record:?}");
            }
            Ok(())
        });
        written?;
        if let Err(error) = scan {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// What records of each kind take, of all runs together: their own bytes, and the journal's.
fn sizes(found: &[ShardJournal], output: &mut dyn Write) -> io::Result<Result<(), DataError>> {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut counted, mut of_records) = (0, 0);
    for journal in found {
        let scan = journal.read(&mut |_, record| {
            let bytes = stored_bytes(&record);
            let kind = kinds.entry(kind_of(&record)).or_default();
            *kind = (kind.0 + 1, kind.1 + bytes);
            of_records += bytes;
            Ok(())
        });
        match scan {
            Ok(scan) => counted += scan.bytes,
            Err(error) => return Ok(Err(error)),
        }
    }
    for (kind, (count, bytes)) in &kinds {
        let each = *bytes as f64 / *count as f64;
        writeln!(output, "{kind}: {count} records, {bytes} bytes, {each:.1} each")?;
    }
    writeln!(
        output,
        "all records: {of_records} bytes; the journals, in whole blocks: {counted} bytes"
    )?;
    Ok(Ok(()))
}

/// The first word of a record as it is printed.
fn kind_of(record: &Record) -> String {
    let text = format!("{record:?}");
    text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn prune(
    data: &Path,
    keep: Keep,
    now_unix_ms: i64,
    is_dry: bool,
    output: &mut dyn Write,
    complaints: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let done = match retention::old_runs(data, keep, now_unix_ms) {
        Ok(found) if is_dry => Ok(found),
        Ok(found) => retention::prune(data, keep, now_unix_ms).map(|_| found),
        Err(error) => Err(error),
    };
    let found = match done {
        Ok(found) => found,
        Err(error) => {
            writeln!(complaints, "{error}")?;
            return Ok(ExitStatus::Failed);
        }
    };
    for OldRun { run, bytes, kept, .. } in &found {
        let what = match kept {
            None if is_dry => "would be removed",
            None => "removed",
            Some(Kept::Newest) => "stays: it is one of the newest",
            Some(Kept::Recent) => "stays: it ended not long enough ago",
            Some(Kept::NotInBook) => {
                "stays: the ledger does not have all of it; a gateway that runs brings it in"
            }
            Some(Kept::Needed) => "stays: the newest run cannot be read; restore a backup",
        };
        writeln!(output, "run {run}: {bytes} bytes on disk; {what}")?;
    }
    if found.is_empty() {
        writeln!(output, "there is no run but the newest, which stays")?;
    }
    Ok(ExitStatus::Success)
}

fn verify(
    found: &[ShardJournal],
    output: &mut dyn Write,
    complaints: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let mut status = ExitStatus::Success;
    for journal in found {
        let (run, shard) = (journal.run, journal.shard);
        match journal.read(&mut |_, _| Ok(())) {
            Ok(scan) => {
                let end = match scan.tail {
                    Tail::Empty => "nothing was written".to_owned(),
                    Tail::Closed => "ended in order".to_owned(),
                    Tail::Clean => {
                        "did not end in order; everything acknowledged is there".to_owned()
                    }
                    Tail::Torn { segment, offset, until } => format!(
                        "ends within a group: segment {segment}, bytes {offset} to {until} may \
                         have been acknowledged or not"
                    ),
                };
                let (records, groups) = (scan.records, scan.groups);
                writeln!(
                    output,
                    "run {run} shard {shard}: {records} records in {groups} groups; {end}"
                )?;
            }
            Err(error) => {
                status = ExitStatus::Failed;
                writeln!(complaints, "run {run} shard {shard}: {error}")?;
            }
        }
    }
    Ok(status)
}

fn repair(data: &Path, does_it: bool, output: &mut dyn Write) -> io::Result<Result<(), DataError>> {
    let found = match DataFolder::open(data).and_then(|folder| Ok((journals(data)?, folder))) {
        Ok((found, folder)) => (found, folder),
        Err(error) => return Ok(Err(error)),
    };
    let (found, folder) = found;
    let newest = found.iter().map(|journal| journal.run).max();
    for journal in found.iter().filter(|journal| Some(journal.run) == newest) {
        let damage = match journal.read(&mut |_, _| Ok(())) {
            Ok(_) => continue,
            Err(DataError::Damage { damage, .. }) => damage,
            Err(error) => return Ok(Err(error)),
        };
        writeln!(output, "run {} shard {}: {damage}", journal.run, journal.shard)?;
        if !does_it {
            writeln!(output, "nothing was changed; --yes cuts the journal there")?;
            continue;
        }
        match folder.cut(journal, damage) {
            Ok(aside) => {
                for path in aside {
                    writeln!(output, "put aside: {}", path.display())?;
                }
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    match newest {
        Some(run) => repair_dependents(&folder, run, does_it, output),
        None => Ok(Ok(())),
    }
}

/// The journals that rest on what was cut.
fn repair_dependents(
    folder: &DataFolder,
    run: u64,
    does_it: bool,
    output: &mut dyn Write,
) -> io::Result<Result<(), DataError>> {
    if !does_it {
        let dependents = match folder.dependents(run) {
            Ok(dependents) => dependents,
            // Damage was told already; what rests on it is known when it is cut.
            Err(DataError::Damage { .. }) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        };
        for dependent in dependents {
            tell_dependent(&dependent, output)?;
            writeln!(output, "nothing was changed; --yes cuts the journal there")?;
        }
        return Ok(Ok(()));
    }
    let done = match folder.cut_dependents(run) {
        Ok(done) => done,
        Err(error) => return Ok(Err(error)),
    };
    for (dependent, aside) in done {
        tell_dependent(&dependent, output)?;
        for path in aside {
            writeln!(output, "put aside: {}", path.display())?;
        }
    }
    Ok(Ok(()))
}

fn tell_dependent(dependent: &Dependent, output: &mut dyn Write) -> io::Result<()> {
    let Dependent { journal: ShardJournal { run, shard, .. }, cut, states } = dependent;
    if let Some(Cut { segment, offset, show, number }) = cut {
        writeln!(
            output,
            "run {run} shard {shard}: segment {segment}, offset {offset}: what follows rests on \
             event {number} of show {show}, which is on no journal"
        )?;
    }
    for path in states {
        writeln!(
            output,
            "run {run} shard {shard}: {} rests on events that are on no journal",
            path.display()
        )?;
    }
    Ok(())
}
