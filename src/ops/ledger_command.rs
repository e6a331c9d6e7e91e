//! `tidegate ledger`: what people and scripts ask of the book.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::ledger::error::LedgerError;
use crate::ledger::export::{Format, export};
use crate::ledger::reconcile::{Reconciliation, reconcile};
use crate::ledger::verify::{Journal, Verdict, verify};
use crate::ops::cli::ExitStatus;
use crate::ops::commands::Surroundings;
use crate::ops::ledger_outbox::{OutboxArguments, outbox};
use crate::ops::ledger_rebuild::{RebuildArguments, rebuild};
use crate::runtime::data::{DataError, RUNS, has_all_runs, is_in_use};
use crate::runtime::feed::source::JournalCauses;

/// `tidegate ledger`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "The book is the file ledger.sqlite in the data directory; docs/ledger.md describes \
                        it, and how to check it without tidegate. A gateway may go on running."
)]
pub struct LedgerArguments {
    /// What to ask
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// What can be asked of the book.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum LedgerCommand {
    /// Prove the book, from itself and from the journal: each cause is in it exactly once, transactions sum to
    /// zero, balances follow, each show's pool was paid out
    Verify(VerifyArguments),
    /// Write the book anew from the journal
    Rebuild(RebuildArguments),
    /// Print all entries, one a line
    Export(ExportArguments),
    /// Compare payouts with what the operator's balance system says that it took
    Reconcile(ReconcileArguments),
    /// Payouts on their way to the operator's balance system, and dead letters
    Outbox(OutboxArguments),
}

/// Where the book is.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DataArgument {
    /// The data directory
    #[arg(long = "data", value_name = "DIR")]
    pub directory: PathBuf,
}

/// `tidegate ledger verify`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "Exit status: 0 the book is proved, 1 something does not hold, the book cannot be read, \
                        or no show was settled, so that there is nothing to prove it by."
)]
pub struct VerifyArguments {
    /// Where the book is
    #[command(flatten)]
    pub data: DataArgument,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArgument {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// `tidegate ledger export`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ExportArguments {
    /// Where the book is
    #[command(flatten)]
    pub data: DataArgument,
    /// How to write them
    #[arg(long, value_enum, default_value = "csv")]
    pub format: FormatArgument,
}

/// `tidegate ledger reconcile`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "FILE has a line for each payout that the balance system took, with idempotency_key and \
                        amount_cents, and user if it likes; other columns are ignored. Every difference is a \
                        line of the output. Exit status: 0 both sides agree, 1 they don't."
)]
pub struct ReconcileArguments {
    /// Where the book is
    #[command(flatten)]
    pub data: DataArgument,
    /// What the balance system took, as CSV with a header or as JSON lines
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How FILE is written; by default what its name ends with says it
    #[arg(long, value_enum)]
    pub format: Option<FormatArgument>,
    /// Print one JSON object, and the differences not one by one
    #[arg(long)]
    pub json: bool,
}

impl From<FormatArgument> for Format {
    fn from(format: FormatArgument) -> Format {
        match format {
            FormatArgument::Csv => Format::Csv,
            FormatArgument::Jsonl => Format::JsonLines,
        }
    }
}

/// Does what `tidegate ledger` is asked for.
pub fn ledger(arguments: &LedgerArguments, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    match &arguments.command {
        LedgerCommand::Verify(arguments) => verify_book(arguments, surroundings),
        LedgerCommand::Rebuild(arguments) => rebuild(arguments, surroundings),
        LedgerCommand::Export(arguments) => {
            let exported =
                export(&arguments.data.directory, arguments.format.into(), surroundings.output);
            done(exported.map(|_| true), surroundings)
        }
        LedgerCommand::Reconcile(arguments) => {
            let compared = compare(arguments, surroundings.output);
            done(compared, surroundings)
        }
        LedgerCommand::Outbox(arguments) => outbox(arguments, surroundings),
    }
}

/// The status of a command that found all well, or not; complains of what kept it from finding out.
pub(super) fn done(
    outcome: Result<bool, LedgerError>,
    surroundings: &mut Surroundings<'_>,
) -> ExitStatus {
    match outcome {
        Ok(true) => ExitStatus::Success,
        Ok(false) => ExitStatus::Failed,
        // Who reads no further has what it wanted.
        Err(LedgerError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitStatus::Failed
        }
        Err(error) => failed(&error, surroundings),
    }
}

pub(super) fn failed(error: &dyn Display, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    // If even complaining fails, the status still tells.
    let _ = writeln!(surroundings.complaints, "{error}");
    ExitStatus::Failed
}

fn verify_book(arguments: &VerifyArguments, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    let verdict = match proof(&arguments.data.directory) {
        Ok(verdict) => verdict,
        Err(error) => return failed(&error, surroundings),
    };
    for finding in &verdict.findings {
        let _ = writeln!(surroundings.complaints, "{finding}");
    }
    let unsaid = verdict.findings_count - verdict.findings.len() as u64;
    if unsaid > 0 {
        let _ = writeln!(surroundings.complaints, "and {unsaid} more");
    }
    if verdict.shows_settled == 0 {
        let _ = writeln!(surroundings.complaints, "no show was settled: there is nothing to prove");
    }
    let written = match arguments.json {
        true => writeln!(surroundings.output, "{}", verdict_json(&verdict)),
        false => describe(&verdict, &arguments.data.directory, surroundings.output),
    };
    done(written.map(|()| verdict.holds()).map_err(LedgerError::from), surroundings)
}

/// Against the journal where there is one; a gateway may be writing both.
fn proof(directory: &Path) -> Result<Verdict, LedgerError> {
    if !directory.join(RUNS).is_dir() {
        return verify(directory, None);
    }
    let unreadable = |error: DataError| LedgerError::Journal { what: error.to_string() };
    let mut causes = JournalCauses::new(directory).map_err(unreadable)?;
    let is_fed = is_in_use(directory);
    let is_whole = has_all_runs(directory).map_err(unreadable)?;
    verify(directory, Some(Journal { causes: &mut causes, is_fed, is_whole }))
}

fn verdict_json(verdict: &Verdict) -> serde_json::Value {
    json!({
        "holds": verdict.holds(),
        "causes": verdict.causes,
        "entries": verdict.entries,
        "accounts": verdict.accounts,
        "shows_settled": verdict.shows_settled,
        "journal_causes": verdict.journal_causes,
        "behind": verdict.behind,
        "hash": verdict.hash.to_string(),
        "findings": verdict.findings,
        "findings_count": verdict.findings_count,
    })
}

fn describe(verdict: &Verdict, directory: &Path, output: &mut dyn Write) -> io::Result<()> {
    let Verdict { causes, entries, accounts, shows_settled, hash, .. } = verdict;
    let word = if verdict.holds() { "proved" } else { "NOT proved" };
    writeln!(output, "the book of {}: {word}", directory.display())?;
    writeln!(
        output,
        "{causes} causes, {entries} entries, {accounts} accounts, {shows_settled} settled shows"
    )?;
    match verdict.journal_causes {
        Some(told) if verdict.behind > 0 => {
            writeln!(
                output,
                "{told} causes of the journal compared, {} not fed yet",
                verdict.behind
            )?;
        }
        Some(told) => writeln!(output, "{told} causes of the journal compared")?,
        None => writeln!(output, "the journal was not compared: the book is proved from itself")?,
    }
    writeln!(output, "hash {hash}")
}

fn compare(arguments: &ReconcileArguments, output: &mut dyn Write) -> Result<bool, LedgerError> {
    let ReconcileArguments { data, file, format, json } = arguments;
    let is_csv = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let guess = if is_csv { Format::Csv } else { Format::JsonLines };
    let mut written = Ok(());
    let sum = reconcile(&data.directory, file, format.map_or(guess, Format::from), &mut |said| {
        if !json && written.is_ok() {
            written = writeln!(output, "{said}");
        }
    })?;
    written?;
    let Reconciliation { matched, matched_cents, outstanding, missing_there, missing_here, .. } =
        sum;
    let Reconciliation { differing, unacknowledged, repeated, .. } = sum;
    if *json {
        let object = json!({
            "clean": sum.is_clean(),
            "matched": matched,
            "matched_cents": i64::try_from(matched_cents).unwrap_or(i64::MAX),
            "outstanding": outstanding,
            "missing_there": missing_there,
            "missing_here": missing_here,
            "differing": differing,
            "unacknowledged": unacknowledged,
            "repeated": repeated,
        });
        writeln!(output, "{object}")?;
    } else {
        let word = if sum.is_clean() { "clean" } else { "NOT clean" };
        writeln!(
            output,
            "{word}: {matched} matched ({matched_cents} cents), {missing_there} missing there, \
             {missing_here} missing here, {differing} differing, {unacknowledged} unacknowledged, \
             {repeated} repeated; {outstanding} outstanding on both sides"
        )?;
    }
    Ok(sum.is_clean())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{ShowId, UserId};
    use crate::ledger::account::Pool;
    use crate::ledger::book::{Batch, Book, FeedId, Position};
    use crate::ledger::cause::{Cause, CauseKind, WithdrawalId};
    use crate::ledger::name::Name;
    use crate::ops::cli::{Cli, Command};
    use crate::quiz::money::Cents;
    use clap::Parser as _;
    use expect_test::expect;

    /// Status, results and complaints of a command line, with the directory shortened.
    fn run(directory: &Path, line: &str) -> String {
        let line = line.replace("DIR", &directory.display().to_string());
        let words = std::iter::once("tidegate").chain(line.split_whitespace());
        let Ok(Cli { command: Command::Ledger(arguments) }) = Cli::try_parse_from(words) else {
            panic!("{line} is no command of the ledger");
        };
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let status = ledger(
            &arguments,
            &mut Surroundings {
                environment: vec![],
                now_unix_s: 0,
                output: &mut output,
                complaints: &mut complaints,
            },
        );
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let shown = format!("{}\n{}{}", status.code(), text(output), text(complaints));
        shown.replace(&directory.display().to_string(), "DIR")
    }

    fn book(kinds: Vec<CauseKind>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let causes: Vec<_> =
            kinds.into_iter().map(|kind| Cause { at_unix_ms: 1_700_000_000_000, kind }).collect();
        let (feed, through) = (FeedId(1), Position(causes.len() as u64));
        let batch = Batch { feed, after: Position(0), through, causes };
        Book::open(directory.path()).and_then(|mut book| book.apply(&[batch])).expect("booked");
        directory
    }

    fn a_show() -> Vec<CauseKind> {
        let show = ShowId(1);
        let withdrawal = WithdrawalId { user: UserId(8), number: 1 };
        vec![
            CauseKind::PoolFunded { show, pool: Pool::Prize, amount: Cents(101) },
            CauseKind::Prize { show, user: UserId(7), amount: Cents(50) },
            CauseKind::Prize { show, user: UserId(8), amount: Cents(50) },
            CauseKind::Settled {
                show,
                pool: Cents(101),
                winners: 2,
                per_head: Cents(50),
                remainder: Cents(1),
                account: Name::new("charity").expect("a name"),
            },
            CauseKind::WithdrawalRequested { withdrawal, amount: Cents(20) },
        ]
    }

    #[test]
    fn a_good_book_is_proved_exported_and_reconciled() {
        let directory = book(a_show());
        let path = directory.path();
        expect![[r#"
            0
            the book of DIR: proved
            5 causes, 10 entries, 6 accounts, 1 settled shows
            the journal was not compared: the book is proved from itself
            hash 66b6c6b40eaa2bbf0df6885f9ebf116f910e58573e40a152c04b7deb59401fbc
        "#]]
        .assert_eq(&run(path, "ledger verify --data DIR"));
        assert!(run(path, "ledger verify --data DIR --json").starts_with("0\n{\"accounts\":6,"));
        expect![[r#"
            0
            cause,kind,at_unix_ms,show,user,account,unit,amount,about
            fund:1:prize,pool-funded,1700000000000,1,,funding,cent,-101,"{""pool"":""prize""}"
            fund:1:prize,pool-funded,1700000000000,1,,pool:1:prize,cent,101,"{""pool"":""prize""}"
            prize:1:7,prize,1700000000000,1,7,pool:1:prize,cent,-50,{}
            prize:1:7,prize,1700000000000,1,7,player:7,cent,50,{}
            prize:1:8,prize,1700000000000,1,8,pool:1:prize,cent,-50,{}
            prize:1:8,prize,1700000000000,1,8,player:8,cent,50,{}
            settled:1,settled,1700000000000,1,,pool:1:prize,cent,-1,"{""account"":""charity"",""per_head"":50,""pool"":101,""winners"":2}"
            settled:1,settled,1700000000000,1,,remainder:charity,cent,1,"{""account"":""charity"",""per_head"":50,""pool"":101,""winners"":2}"
            withdrawal:8:1,withdrawal-requested,1700000000000,,8,player:8,cent,-20,"{""withdrawal"":1}"
            withdrawal:8:1,withdrawal-requested,1700000000000,,8,payouts:in-flight,cent,20,"{""withdrawal"":1}"
        "#]].assert_eq(&run(path, "ledger export --data DIR --format csv"));
        let lines = run(path, "ledger export --data DIR --format jsonl");
        assert_eq!(lines.lines().count(), 11);
        expect![[r#"{"cause":"prize:1:7","kind":"prize","at_unix_ms":1700000000000,"show":"1","user":"7","account":"pool:1:prize","unit":"cent","amount":-50,"about":"{}"}"#]].assert_eq(lines.lines().nth(3).unwrap_or_default());
        let theirs = path.join("theirs.csv");
        std::fs::write(&theirs, "idempotency_key,amount_cents\n").expect("written");
        expect![[r#"
            0
            clean: 0 matched (0 cents), 0 missing there, 0 missing here, 0 differing, 0 unacknowledged, 0 repeated; 1 outstanding on both sides
        "#]].assert_eq(&run(path, "ledger reconcile --data DIR DIR/theirs.csv"));
        std::fs::write(&theirs, "idempotency_key,amount_cents\nx,5\n").expect("written");
        expect![[r#"
            1
            missing here: x: 5 cents were taken, the book has no such payout
            NOT clean: 0 matched (0 cents), 0 missing there, 1 missing here, 0 differing, 0 unacknowledged, 0 repeated; 1 outstanding on both sides
        "#]].assert_eq(&run(path, "ledger reconcile --data DIR DIR/theirs.csv"));
        expect![[r#"
            1
            {"clean":false,"differing":0,"matched":0,"matched_cents":0,"missing_here":1,"missing_there":0,"outstanding":1,"repeated":0,"unacknowledged":0}
        "#]].assert_eq(&run(path, "ledger reconcile --data DIR DIR/theirs.csv --json"));
        expect![[r#"
            0
            withdrawal:8:1  20 cents  waiting after 0 tries
            1 payouts
        "#]]
        .assert_eq(&run(path, "ledger outbox list --data DIR --all"));
        expect![[r#"
            0
            0 dead letters are sent again
        "#]]
        .assert_eq(&run(path, "ledger outbox retry --data DIR --all"));
        expect![[r#"
            1
            withdrawal:8:1 is no dead letter: `tidegate ledger outbox list`
        "#]]
        .assert_eq(&run(path, "ledger outbox give-back --data DIR withdrawal:8:1"));
    }

    #[test]
    fn what_is_not_proved_is_said() {
        let unsettled = book(a_show().into_iter().take(1).collect());
        expect![[r#"
            1
            the book of DIR: NOT proved
            1 causes, 2 entries, 2 accounts, 0 settled shows
            the journal was not compared: the book is proved from itself
            hash 656f728fc7418f84b7f2f3d0e4eed67b8fa05cc6b555480d3a84028ff28d1f6a
            no show was settled: there is nothing to prove
        "#]]
        .assert_eq(&run(unsettled.path(), "ledger verify --data DIR"));
        let wrong = book(a_show().into_iter().skip(1).collect());
        expect![[r#"
            1
            the book of DIR: NOT proved
            4 causes, 8 entries, 5 accounts, 1 settled shows
            the journal was not compared: the book is proved from itself
            hash 70ce24ad040d6b0d599d71c5b227872769d29629f626a00a30bfeb374a4260f0
            pool:1:prize: has -101 cent, less than nothing
            show 1: settled for 101 cents, funded with 0
        "#]]
        .assert_eq(&run(wrong.path(), "ledger verify --data DIR"));
        let none = tempfile::tempdir().expect("a directory");
        expect![[r#"
            1
            DIR/ledger.sqlite: there is no ledger; --data names the directory that `tidegate serve` was given
        "#]].assert_eq(&run(none.path(), "ledger verify --data DIR"));
        expect![[r#"
            1
            DIR/ledger.sqlite: there is no ledger; --data names the directory that `tidegate serve` was given
        "#]].assert_eq(&run(none.path(), "ledger outbox list --data DIR"));
        expect![[r#"
            1
            DIR/nothing.csv: cannot be read: No such file or directory (os error 2)
        "#]]
        .assert_eq(&run(wrong.path(), "ledger reconcile --data DIR DIR/nothing.csv"));
    }
}
