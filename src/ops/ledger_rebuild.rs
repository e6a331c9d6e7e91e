//! `tidegate ledger rebuild`: the book is written anew from the journal.

use std::fs;
use std::path::Path;

use clap::Args;
use thiserror::Error;

use crate::ledger::book::{Book, BookHash};
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::sender;
use crate::ledger::schema::ledger_path;
use crate::ops::cli::ExitStatus;
use crate::ops::commands::Surroundings;
use crate::ops::ledger_command::{DataArgument, done, failed};
use crate::runtime::data::{DataError, DataFolder, RUNS, has_all_runs};
use crate::runtime::feed::{FeedError, feed_all};

/// `tidegate ledger rebuild`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "No gateway may run. The book that was there is kept as ledger.before-rebuild.sqlite; how far \
                        its payouts had come is taken over. Interrupted, it leaves the book as it was. Deleting \
                        the book and starting the gateway comes to the same, but forgets payouts that the balance \
                        system has acknowledged and the journal does not know: those are sent again."
)]
pub struct RebuildArguments {
    /// Where the book and the journal are
    #[command(flatten)]
    pub data: DataArgument,
}

#[derive(Debug, Error)]
enum RebuildError {
    #[error("{0}: there is no journal; --data names the directory that `tidegate serve` was given")]
    NoJournal(String),
    #[error(
        "{0}: the journals of old runs are gone, so what they said of money is in the book only; \
         nothing was changed. Restore the book from a backup (`tidegate restore`)"
    )]
    RunsGone(String),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{what}: {error}; the book is as it was")]
    File { what: String, error: std::io::Error },
}

struct Rebuilt {
    causes: u64,
    hash: BookHash,
    /// That of the book before, if it could be read.
    before: Option<BookHash>,
    payouts: Option<usize>,
}

/// Does what `tidegate ledger rebuild` is asked for.
pub(super) fn rebuild(
    arguments: &RebuildArguments,
    surroundings: &mut Surroundings<'_>,
) -> ExitStatus {
    let directory = &arguments.data.directory;
    let Rebuilt { causes, hash, before, payouts } = match write_anew(directory) {
        Ok(rebuilt) => rebuilt,
        Err(error) => return failed(&error, surroundings),
    };
    let compared = match before {
        Some(before) if before == hash => "as before".to_owned(),
        Some(before) => format!("before it was {before}"),
        None => "there was none that can be read".to_owned(),
    };
    let payouts = payouts.map(|count| format!("{count} payouts stand as they stood\n"));
    let written = write!(
        surroundings.output,
        "the book of {}: written anew from the journal, {causes} causes\n{}hash {hash}, {compared}\n",
        directory.display(),
        payouts.unwrap_or_default(),
    );
    done(written.map(|()| true).map_err(LedgerError::from), surroundings)
}

fn write_anew(directory: &Path) -> Result<Rebuilt, RebuildError> {
    if !directory.join(RUNS).is_dir() {
        return Err(RebuildError::NoJournal(directory.display().to_string()));
    }
    if !has_all_runs(directory)? {
        return Err(RebuildError::RunsGone(directory.display().to_string()));
    }
    let folder = DataFolder::open(directory)?;
    // Nobody may send from the book that is replaced.
    let _payouts = sender::lock(folder.root())?;
    let root = folder.root();
    let part = root.join("ledger.part");
    let failing = |what: &str, path: &Path| {
        let what = format!("{what} {}", path.display());
        move |error| RebuildError::File { what, error }
    };
    if part.exists() {
        fs::remove_dir_all(&part).map_err(failing("removing", &part))?;
    }
    fs::create_dir(&part).map_err(failing("making", &part))?;
    let mut book = Book::open(&part)?;
    let causes = feed_all(root, &mut book)?;
    let old = ledger_path(root);
    let before = Book::open_to_read(root).and_then(|book| book.hash()).ok();
    let payouts = before.map(|_| book.take_over_payouts(&old)).transpose()?;
    let hash = book.hash()?;
    book.close()?;
    for end in ["", "-wal", "-shm"] {
        let from = root.join(format!("ledger.sqlite{end}"));
        let to = root.join(format!("ledger.before-rebuild.sqlite{end}"));
        if from.exists() {
            fs::rename(&from, &to).map_err(failing("renaming", &from))?;
        } else if to.exists() {
            fs::remove_file(&to).map_err(failing("removing", &to))?;
        }
    }
    let new = ledger_path(&part);
    fs::rename(&new, &old).map_err(failing("renaming", &new))?;
    fs::remove_dir_all(&part).map_err(failing("removing", &part))?;
    let synced = fs::File::open(root).and_then(|root| root.sync_all());
    synced.map_err(failing("syncing", root))?;
    Ok(Rebuilt { causes, hash, before, payouts })
}
