//! `tidegate journal`: what is in a deployment's journals, whether it is sound, and the last resort
//! where it is not.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::base::ids::ShardId;
use crate::ops::cli::ExitStatus;
use crate::runtime::data::journals::{Cut, Dependent, ShardJournal, Tail, journals};
use crate::runtime::data::{DataError, DataFolder};

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

fn repair(
    data: &std::path::Path,
    does_it: bool,
    output: &mut dyn Write,
) -> io::Result<Result<(), DataError>> {
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
