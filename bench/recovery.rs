//! `recovery`: a gateway that is killed in the middle of a question, what the next one does until it
//! serves, and a settlement that is written to the book beside a shard that serves.
//!
//! Everybody connects, is asked and answers as in `million`, and all of it is journaled. When the last
//! answer is acknowledged the process is killed. The next one begins with the same folder: from its
//! start until it listens for clients is the recovery. It must know every player and every answer.
//! Then the question runs out, the prize is split, and everybody has won: the feed brings a prize for
//! each to the book. One client pings meanwhile, and before anything was settled: the two times are
//! what the feed and the book take from the shard, which here shares its one core with them. At the end
//! the gateway stops in order, and the book is proved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tidegate::ledger::verify::verify;

use crate::common::clock::{now_ns, pause};
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::pinger::Pinger;
use crate::common::players::Players;
use crate::common::problem::{Doing as _, Problem};
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::scratch::Scratch;
use crate::common::server::Server as _;
use crate::common::show::{CORRECT, SHOW, show_file_with_prize};
use crate::common::stats::{as_f64_ns, percentile};
use crate::million::{Hall, MillionReport};

/// What each winner gets; one cent remains.
const PER_HEAD_CENTS: u64 = 7;
/// Pings before anything is settled.
const CALM_NS: u64 = 10_000_000_000;
/// The gateway is asked how far it is so often.
const LOOK: Duration = Duration::from_nanos(LOOK_NS);
const LOOK_NS: u64 = 500_000_000;
/// The gateway's own tallies are complete by then.
const TALLY_PATIENCE: Duration = Duration::from_secs(10);
/// A phase of the show takes longer by as much than its countdown, at most.
const PHASE_PATIENCE: Duration = Duration::from_secs(120);
/// Paying and booking have so long for a million winners.
const BOOK_PATIENCE_NS: u64 = 900_000_000_000;

/// `tidegate-bench recovery`
#[derive(Clone, Debug, Args)]
pub(crate) struct RecoveryArguments {
    /// Players
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Countdown of the question; it must last until the slowest answer has come
    #[arg(long, value_name = "MS", default_value_t = 60_000,
        value_parser = clap::value_parser!(u32).range(1_000..=600_000))]
    countdown_ms: u32,
    /// Where the data folder is made and removed again: on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// Times of pings, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Pings {
    count: u64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Pings {
    fn of(mut times_ns: Vec<u64>) -> Pings {
        times_ns.sort_unstable();
        let at = |share| as_f64_ns(percentile(&times_ns, share)) / 1e6;
        Pings { count: times_ns.len() as u64, p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

#[derive(Debug, Default, Serialize)]
struct RecoveryReport {
    players: u32,
    /// Acknowledged before the process was killed.
    acknowledged: u32,
    /// Of those, unknown to the next process.
    lost: u64,
    journal_bytes: u64,
    /// From the start of the next process until it listens, wall and CPU.
    recovery_s: f64,
    recovery_cpu_s: f64,
    recovered_rss_bytes: u64,
    winners: u64,
    /// From the command until every winner's balance has its share, at their shards.
    paid_s: f64,
    /// From the command until the book has all of it.
    booked_s: f64,
    booked_rss_bytes: u64,
    pings_calm_ms: Pings,
    /// While balances got their shares, and the book was written as well.
    pings_paying_ms: Pings,
    /// While the book was written, and nothing else was done.
    pings_booking_ms: Pings,
    book_bytes: u64,
    causes: u64,
    hash: String,
}

/// Measures and prints.
pub(crate) fn run(arguments: &RecoveryArguments, machine: &Machine) -> Result<(), Problem> {
    let RecoveryArguments { connections, countdown_ms, directory, options } = arguments;
    if options.repetitions.is_some_and(|repetitions| repetitions > 1) {
        return Err(Problem::new(
            "--repetitions: recovery runs once; call it again for another run",
        ));
    }
    memory::check_room(u64::from(*connections))?;
    options.take_effect()?;
    let scratch = Scratch::make(directory, "recovery")?;
    let folder = scratch.path().join("data");
    let progress = Progress::new(u64::from(*connections));
    let mut report = RecoveryReport { players: *connections, ..RecoveryReport::default() };

    let prize_cents = u64::from(*connections) * PER_HEAD_CENTS + 1;
    let show = show_file_with_prize(*countdown_ms, prize_cents);
    let start = |show| {
        let settings = GatewaySettings { connections: *connections, show, retries: false };
        let folder = ("TIDEGATE_DATA_DIR", folder.display().to_string());
        let pings = ("TIDEGATE_LIMITS__PINGS_PER_SECOND_MAX", "0".to_owned());
        Gateway::start_with(&settings, options, &[folder, pings])
    };
    let gateway = start(Some(show))?;
    let players = Players::choosing(|_| CORRECT, *connections, gateway.request());
    let mut hall = Hall::open(gateway, players, *connections, machine, progress)?;
    let mut played = MillionReport::of_countdown(*countdown_ms);
    hall.connect(&mut played)?;
    hall.play(&mut played)?;
    report.acknowledged = played.answers;
    hall.gateway.kill()?;
    hall.gateway.wait()?;
    let progress = hall.close();
    report.journal_bytes = bytes_in(&folder)?;

    progress.stage("recovering", 1);
    let from_ns = now_ns();
    let mut gateway = start(None)?;
    note_recovery(&mut gateway, from_ns, &mut report)?;

    progress.stage("the question runs out", 1);
    let patience = Duration::from_millis(u64::from(*countdown_ms)) + PHASE_PATIENCE;
    await_show(&mut gateway, patience, |show| show["phase"] == "closed")?;
    gateway.command(SHOW, "reveal")?;
    let mut pinger = Pinger::connect(gateway.port(), gateway.request(), *connections)?;
    let calm_until_ns = now_ns() + CALM_NS;
    report.pings_calm_ms = Pings::of(pinger.until(|| Ok(now_ns() >= calm_until_ns))?);
    settle(&mut gateway, &mut pinger, &progress, &mut report)?;
    drop(pinger);

    progress.stage("the book is proved", 1);
    prove(gateway, &folder, &mut report)?;
    drop(progress);
    report::print("recovery", machine, &report, options.json, table(&report))
}

/// What the recovery took, and that it knows everybody and everything.
fn note_recovery(
    gateway: &mut Gateway,
    from_ns: u64,
    report: &mut RecoveryReport,
) -> Result<(), Problem> {
    report.recovery_s = as_f64_ns(now_ns() - from_ns) / 1e9;
    report.recovery_cpu_s = as_f64_ns(gateway.cpu()?.own_ns()?) / 1e9;
    report.recovered_rss_bytes = memory::resident_bytes(gateway.process_id())?;
    let (players, acknowledged) = (report.players, u64::from(report.acknowledged));
    let answered = |show: &Value| show["live"]["answered"].as_u64().unwrap_or(0);
    // What each shard counts reaches the show's home some turns later.
    let knows_all = |show: &Value| show["joined"] == players && answered(show) >= acknowledged;
    let (show, is_whole) = look_until(gateway, TALLY_PATIENCE, knows_all)?;
    report.lost = acknowledged.saturating_sub(answered(&show));
    if is_whole {
        return Ok(());
    }
    Err(Problem::new(format!(
        "{acknowledged} answers were acknowledged by {players} players, and after the restart there are \
         {} of {}",
        answered(&show),
        show["joined"]
    )))
}

/// Splits the prize, and waits until it is paid and in the book. One pings all the while.
fn settle(
    gateway: &mut Gateway,
    pinger: &mut Pinger,
    progress: &Progress,
    report: &mut RecoveryReport,
) -> Result<(), Problem> {
    let booked_before = gateway.single_metric("tidegate_ledger_causes_total")?;
    let from_ns = now_ns();
    gateway.command(SHOW, "settle")?;
    let is_paid = every_look(from_ns, || {
        let show = look(gateway)?;
        report.winners = show["settlement"]["winners"].as_u64().unwrap_or(0);
        Ok(show["is_paid_out"] == true)
    });
    report.pings_paying_ms = Pings::of(pinger.until(is_paid)?);
    report.paid_s = as_f64_ns(now_ns() - from_ns) / 1e9;
    progress.stage("the settlement is written", report.winners);
    let is_booked = every_look(from_ns, || {
        let booked = gateway.single_metric("tidegate_ledger_causes_total")? - booked_before;
        progress.at(booked);
        let behind = gateway.single_metric("tidegate_ledger_behind_records")?;
        Ok(booked >= report.winners && behind == 0)
    });
    report.pings_booking_ms = Pings::of(pinger.until(is_booked)?);
    report.booked_s = as_f64_ns(now_ns() - from_ns) / 1e9;
    report.booked_rss_bytes = memory::resident_bytes(gateway.process_id())?;
    Ok(())
}

/// Looks once in a while whether it is so, but not for ever.
fn every_look(
    from_ns: u64,
    mut is_so: impl FnMut() -> Result<bool, Problem>,
) -> impl FnMut() -> Result<bool, Problem> {
    let mut next_ns = from_ns;
    move || {
        if now_ns() < next_ns {
            return Ok(false);
        }
        if now_ns() > from_ns + BOOK_PATIENCE_NS {
            return Err(Problem::new("the settlement does not come to its end"));
        }
        next_ns = now_ns() + LOOK_NS;
        is_so()
    }
}

/// Stops the gateway, and proves the book.
fn prove(mut gateway: Gateway, folder: &Path, report: &mut RecoveryReport) -> Result<(), Problem> {
    gateway.terminate()?;
    gateway.wait()?;
    if gateway.exit_status()? != Some(0) {
        return Err(Problem::new("the gateway did not stop in order".to_owned()));
    }
    let verdict = verify(folder, None).doing("verifying")?;
    if !verdict.holds() || verdict.causes < report.winners {
        return Err(Problem::new(format!("the book does not hold: {verdict:?}")));
    }
    report.causes = verdict.causes;
    report.hash = verdict.hash.to_string();
    report.book_bytes = bytes_in(folder)?.saturating_sub(report.journal_bytes);
    Ok(())
}

fn look(gateway: &mut Gateway) -> Result<Value, Problem> {
    gateway.operator().ask("GET", &format!("/v1/shows/{SHOW}"), "")
}

/// Waits until the show is as it is wanted.
fn await_show(
    gateway: &mut Gateway,
    patience: Duration,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<(), Problem> {
    let (show, is_so) = look_until(gateway, patience, is_wanted)?;
    if is_so {
        return Ok(());
    }
    Err(Problem::new(format!("the show does not get on: {} {}", show["phase"], show["notices"])))
}

/// Looks until the show is as it is wanted, or for so long: how it is then, and whether it is so.
fn look_until(
    gateway: &mut Gateway,
    patience: Duration,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<(Value, bool), Problem> {
    for _ in 0..patience.as_millis() / LOOK.as_millis() {
        let show = look(gateway)?;
        if is_wanted(&show) {
            return Ok((show, true));
        }
        pause(LOOK);
    }
    let show = look(gateway)?;
    let is_so = is_wanted(&show);
    Ok((show, is_so))
}

/// Bytes of all files in a folder.
fn bytes_in(folder: &Path) -> Result<u64, Problem> {
    let doing = format!("looking at {}", folder.display());
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).doing(&doing)? {
        let entry = entry.doing(&doing)?;
        let about = entry.metadata().doing(&doing)?;
        bytes += if about.is_dir() { bytes_in(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

fn table(report: &RecoveryReport) -> Table {
    let mut table = Table::default();
    let seconds = |figure: f64| format!("{figure:.2} s");
    let lost = format!("{} players; {} lost", report.players, report.lost);
    table.row("answers acknowledged", report.acknowledged.to_string(), lost);
    let work = format!(
        "{:.2} s of CPU time; the data folder has {} MiB, the process {} MiB",
        report.recovery_cpu_s,
        report.journal_bytes >> 20,
        report.recovered_rss_bytes >> 20
    );
    table.row("from start to listening", seconds(report.recovery_s), work);
    table.row("paid", seconds(report.paid_s), format!("{} winners", report.winners));
    let book = format!(
        "{:.0} prizes/s; the folder grew by {} MiB, the process has {} MiB",
        as_f64_ns(report.winners) / report.booked_s,
        report.book_bytes >> 20,
        report.booked_rss_bytes >> 20
    );
    table.row("in the book", seconds(report.booked_s), book);
    for (when, pings) in [
        ("ping, calm", report.pings_calm_ms),
        ("ping, paying", report.pings_paying_ms),
        ("ping, booking", report.pings_booking_ms),
    ] {
        let Pings { count, p50, p99, max } = pings;
        table.row(when, format!("{p50:.2} ms"), format!("99 % {p99:.2}, most {max:.2}; {count}"));
    }
    table.row("proved", format!("{} causes", report.causes), format!("hash {}", report.hash));
    table
}
