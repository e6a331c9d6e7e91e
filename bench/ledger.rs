//! `ledger`: a show's settlement written to the book, proved, and read back as a leaderboard.
//!
//! Every winner gets a prize, as a cause with a key of its own, in batches as a feed would bring them;
//! each batch is one transaction that is on the disk when it counts. Memory is this process's resident
//! set over what it had before. Time of the book is the only thing that is measured here: the shards
//! are not there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tidegate::base::ids::{ShowId, UserId};
use tidegate::ledger::account::Pool;
use tidegate::ledger::book::{Batch, Book, FeedId, Position};
use tidegate::ledger::cause::{Cause, CauseKind};
use tidegate::ledger::leaderboard::Leaderboards;
use tidegate::ledger::name::Name;
use tidegate::ledger::verify::verify;
use tidegate::quiz::money::Cents;

use crate::common::clock::now_ns;
use crate::common::machine::Machine;
use crate::common::memory::resident_bytes;
use crate::common::problem::{Doing as _, Problem};
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::scratch::Scratch;
use crate::common::stats::as_f64_ns;

const SHOW: ShowId = ShowId(1);
const PER_HEAD: i64 = 7;
/// As many as the book takes into one transaction.
const BATCH_CAUSES: u64 = 20_000;
const PLACES_ASKED: u64 = 10_000;

/// `tidegate-bench ledger`
#[derive(Clone, Debug, Args)]
pub(crate) struct LedgerArguments {
    /// Winners of the show
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    accounts: u64,
    /// Where the book is made and removed again: on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct LedgerReport {
    accounts: u64,
    causes: u64,
    entries: u64,
    book_s: f64,
    causes_per_s: f64,
    rows_per_s: f64,
    longest_batch_ms: f64,
    book_memory_bytes: u64,
    file_bytes: u64,
    repeat_s: f64,
    verify_s: f64,
    board_read_s: f64,
    place_us: f64,
    hash: String,
}

/// Measures and prints.
pub(crate) fn run(arguments: &LedgerArguments, machine: &Machine) -> Result<(), Problem> {
    let LedgerArguments { accounts, directory, json } = arguments;
    let scratch = Scratch::make(directory, "ledger")?;
    let progress = Progress::new(*accounts);
    let own = std::process::id();

    progress.stage("the settlement is written", *accounts);
    let before = resident_bytes(own)?;
    let mut book = Book::open(scratch.path()).doing("making the book")?;
    let (book_s, longest_batch_ms) = settle(&mut book, *accounts, &progress)?;
    let book_memory_bytes = resident_bytes(own)?.saturating_sub(before);
    let file_bytes = fs::metadata(book.path()).doing("looking at the book")?.len();

    progress.stage("all of it is told again", *accounts);
    let (repeat_s, _) = settle(&mut book, *accounts, &progress)?;
    drop(book);

    progress.stage("the book is proved", 1);
    let started = now_ns();
    let verdict = verify(scratch.path(), None).doing("verifying")?;
    let verify_s = seconds_since(started);
    if !verdict.holds() {
        return Err(Problem::new(format!("the book does not hold: {:?}", verdict.findings)));
    }

    progress.stage("the leaderboard is read", 1);
    let (board_read_s, place_us) = board(scratch.path(), *accounts)?;
    drop(progress);
    let causes = verdict.causes;
    let report = LedgerReport {
        accounts: *accounts,
        causes,
        entries: verdict.entries,
        book_s,
        causes_per_s: as_f64_ns(causes) / book_s,
        // A cause, its entries, and the balance of each account.
        rows_per_s: as_f64_ns(causes + verdict.entries + verdict.accounts) / book_s,
        longest_batch_ms,
        book_memory_bytes,
        file_bytes,
        repeat_s,
        verify_s,
        board_read_s,
        place_us,
        hash: verdict.hash.to_string(),
    };
    report::print("ledger", machine, &report, *json, table(&report))
}

fn seconds_since(started_ns: u64) -> f64 {
    as_f64_ns(now_ns() - started_ns) / 1e9
}

/// Tells the book the whole show; says how long it took, and the longest batch.
fn settle(book: &mut Book, accounts: u64, progress: &Progress) -> Result<(f64, f64), Problem> {
    let pool = i64::try_from(accounts).doing("counting")? * PER_HEAD + 1;
    let cause = |kind| Cause { at_unix_ms: 1_800_000_000_000, kind };
    let pool = Cents(pool);
    let mut longest_ns = 0;
    let mut took_ns = 0;
    let mut tell = |after: u64, causes: Vec<Cause>| {
        let through = Position(after + causes.len() as u64);
        let batch = Batch { feed: FeedId(1), after: Position(after), through, causes };
        let started = now_ns();
        book.apply(&[batch]).doing("writing to the book")?;
        let batch_ns = now_ns() - started;
        (longest_ns, took_ns) = (batch_ns.max(longest_ns), took_ns + batch_ns);
        Ok::<(), Problem>(())
    };
    tell(0, vec![cause(CauseKind::PoolFunded { show: SHOW, pool: Pool::Prize, amount: pool })])?;
    let mut told = 0;
    while told < accounts {
        let end = (told + BATCH_CAUSES).min(accounts);
        // Users in an order that is not that of their ids, as buckets have it.
        let prize = |place: u64| {
            let user = UserId(1 + place.wrapping_mul(7_919) % accounts);
            cause(CauseKind::Prize { show: SHOW, user, amount: Cents(PER_HEAD) })
        };
        tell(1 + told, (told..end).map(prize).collect())?;
        told = end;
        progress.at(told);
    }
    let account = Name::new("remainders").doing("naming an account")?;
    let settled = CauseKind::Settled {
        show: SHOW,
        pool,
        winners: accounts,
        per_head: Cents(PER_HEAD),
        remainder: Cents(1),
        account,
    };
    tell(1 + accounts, vec![cause(settled)])?;
    Ok((as_f64_ns(took_ns) / 1e9, as_f64_ns(longest_ns) / 1e6))
}

/// Reads the boards, the show's and that of all time; says how long that took, and what asking for a
/// place does.
fn board(directory: &Path, accounts: u64) -> Result<(f64, f64), Problem> {
    let started = now_ns();
    let boards = Leaderboards::read(directory).doing("reading the leaderboards")?;
    let read_s = seconds_since(started);
    let ranks = boards.all_time();
    let started = now_ns();
    for place in 0..PLACES_ASKED {
        let user = UserId(1 + place.wrapping_mul(104_729) % accounts);
        if ranks.place(user).is_none_or(|place| place.rank != 1) {
            return Err(Problem::new(format!("user {user} is not in the first place, as all are")));
        }
    }
    Ok((read_s, seconds_since(started) * 1e6 / as_f64_ns(PLACES_ASKED)))
}

fn table(report: &LedgerReport) -> Table {
    let mut table = Table::default();
    let seconds = |figure: f64| format!("{figure:.2} s");
    table.row(
        "settlement written",
        seconds(report.book_s),
        format!(
            "{} winners; {:.0} causes/s, {:.0} rows/s; longest transaction {:.0} ms",
            report.accounts, report.causes_per_s, report.rows_per_s, report.longest_batch_ms
        ),
    );
    let file = format!("the file has {} MiB", report.file_bytes >> 20);
    table.row("memory", format!("{} MiB", report.book_memory_bytes >> 20), file);
    table.row("told again", seconds(report.repeat_s), "every cause is found and compared");
    table.row("proved", seconds(report.verify_s), format!("hash {}", report.hash));
    table.row(
        "leaderboards read",
        seconds(report.board_read_s),
        format!("two boards; a place in {:.1} us", report.place_us),
    );
    table
}
