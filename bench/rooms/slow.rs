//! `slow`: some members stop reading for a while, with chat and now and then a question going on.
//!
//! The lanes are filled before anybody else is in, so that what the process grows by is not their
//! history. Memory of the process is its resident set; the kernel's is what is charged to the gateway's
//! own ends of the sockets. What others feel of it is how chat and questions reach them, before and
//! meanwhile. When they read again, what each of them is told must add up to what the room had.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::common::clients::CONNECTS_IN_FLIGHT;
use crate::common::clock::now_ns;
use crate::common::gateway::{Gateway, GatewaySettings, token};
use crate::common::machine::Machine;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server as _;
use crate::common::stats::{Coverage, Coverages, as_f64_ns, percentile};
use crate::common::{memory, sockets};

use super::hall::{Chat, Hall, as_ms, publish, requests, spread};
use super::hearing::{Account, HIGH, LOW};

/// Bytes of a question's data.
const QUESTION_BYTES: usize = 560;
/// Between two questions.
const BETWEEN: Duration = Duration::from_secs(1);
/// What fills the lanes up to their limit of a mebibyte: messages of one request, their bytes, and
/// requests.
const FILL: (usize, usize, usize) = (64, 3_000, 7);
/// Memory is looked at so often.
const LOOK_NS: u64 = 1_000_000_000;
/// Of so many looks the least counts.
const LOOKS_AT_REST: usize = 10;

/// `tidegate-bench rooms slow`
#[derive(Clone, Debug, Args)]
pub(crate) struct SlowArguments {
    /// Connections, all in one room
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(2..=200_000))]
    connections: u32,
    /// Of those, how many stop reading
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slow: u32,
    /// For so long, seconds; the others are measured a third of it before
    #[arg(long, value_name = "S", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(3..=3_600))]
    seconds: u32,
    /// Chat messages per second that everybody gets
    #[arg(long, value_name = "MESSAGES", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Bytes of a message's text
    #[arg(long, value_name = "BYTES", default_value_t = 130,
        value_parser = clap::value_parser!(u16).range(8..=1_024))]
    payload: u16,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What others felt.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Felt {
    chat_ms_p50: f64,
    chat_ms_p99: f64,
    question_ms: Coverage,
}

#[derive(Debug, Serialize)]
struct SlowReport {
    connections: u32,
    slow: u32,
    seconds: u32,
    /// The most of the process beyond what it had before.
    user_growth_bytes: u64,
    /// What is charged to the gateway's sockets at the end beyond that, per reader that did not read.
    kernel_growth_bytes_each: f64,
    before: Felt,
    meanwhile: Felt,
    /// Of the slow ones: chat, and questions, from before they stopped until they had caught up.
    low: Account,
    high: Account,
    /// Versions of both lanes that each of them was owed.
    low_owed_each: u64,
    high_owed_each: u64,
    /// Slow ones whose counts add up.
    recovered: u32,
    closed: u32,
    recovered_ms: f64,
}

struct Stage {
    gateway: Gateway,
    others: Hall,
    slow: Hall,
    chat: Chat,
}

/// What was seen while time passed.
struct Seen {
    felt: Felt,
    user_bytes: u64,
    kernel_bytes: u64,
}

impl Stage {
    /// Chat and questions for a while; those who are slow read, or do not.
    fn watch(&mut self, seconds: u32, slow_read: bool) -> Result<Seen, Problem> {
        let from_ns = now_ns();
        let until_ns = from_ns + u64::from(seconds) * 1_000_000_000;
        let (mut look_ns, mut question_ns) = (from_ns, from_ns + LOOK_NS / 2);
        let (mut user_bytes, mut kernel_bytes) = (0, Vec::new());
        let mut coverages = Coverages::default();
        self.others.hearing.begin_accounts();
        while now_ns() < until_ns {
            self.chat.speak(&mut self.others);
            self.others.turn()?;
            if slow_read {
                self.slow.turn()?;
            }
            if now_ns() >= question_ns {
                question_ns += u64::try_from(BETWEEN.as_nanos()).unwrap_or(LOOK_NS);
                let chat = Some(&mut self.chat);
                let Stage { gateway, others, .. } = self;
                coverages.push(spread(gateway, others, QUESTION_BYTES, chat)?);
            }
            if now_ns() >= look_ns {
                look_ns += LOOK_NS;
                let pid = self.gateway.process_id();
                user_bytes = memory::resident_bytes(pid)?.max(user_bytes);
                kernel_bytes.push(sockets::charged_bytes(self.gateway.port())?);
            }
        }
        let latencies_us = self.others.hearing.take_latencies_us();
        let latency_ms = |share: f64| f64::from(percentile(&latencies_us, share)) / 1e3;
        let felt = Felt {
            chat_ms_p50: latency_ms(0.5),
            chat_ms_p99: latency_ms(0.99),
            question_ms: coverages.median(),
        };
        // What stays, at the end: a sweep that is under way charges each socket for a moment.
        let last = kernel_bytes.iter().rev().take(LOOKS_AT_REST);
        let kernel_bytes = last.min().copied().unwrap_or(0);
        Ok(Seen { felt, user_bytes, kernel_bytes })
    }

    /// Until those who were slow have caught up; how long that took.
    fn recover(&mut self) -> Result<u64, Problem> {
        let from_ns = now_ns();
        let seen = self.others.hearing.seen(0);
        let count = self.slow.clients.len() as usize;
        let caught_up = |stage: &Stage| {
            let hearing = &stage.slow.hearing;
            (0..count).all(|index| {
                let its = hearing.seen(index);
                its[HIGH] >= seen[HIGH] && its[LOW] >= seen[LOW]
            })
        };
        let deadline_ns = from_ns + 60_000_000_000;
        while !caught_up(self) && self.slow.clients.ended() == 0 && now_ns() < deadline_ns {
            for _ in 0..64 {
                self.slow.turn()?;
                self.others.turn()?;
            }
        }
        Ok(now_ns() - from_ns)
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &SlowArguments, machine: &Machine) -> Result<(), Problem> {
    let SlowArguments { connections, slow, seconds, options, .. } = arguments;
    if slow >= connections {
        return Err(Problem::new(format!(
            "--slow {slow}: of {connections} connections somebody must go on reading"
        )));
    }
    memory::check_room(u64::from(*connections) * 4)?;
    options.take_effect()?;
    let progress = Progress::new(0);
    let mut stage = begin(arguments, machine)?;
    progress.stage("before", 0);
    let before = stage.watch((*seconds / 3).max(2), true)?;
    stage.slow.hearing.begin_accounts();
    let owed_from = stage.slow.hearing.seen(0);
    let from: Vec<[u64; 3]> =
        (0..*slow as usize).map(|index| stage.slow.hearing.seen(index)).collect();
    progress.stage("some do not read", 0);
    let meanwhile = stage.watch(*seconds, false)?;
    progress.stage("they read again", 0);
    let recovered_ns = stage.recover()?;
    let hearing = &stage.slow.hearing;
    let adds_up = |index: &usize| {
        [HIGH, LOW].iter().all(|lane| {
            let account = hearing.accounts(*lane).nth(*index).unwrap_or_default();
            let due = hearing.seen(*index)[*lane] - from[*index][*lane];
            account.unexplained == 0 && account.all() == due && due > 0
        })
    };
    let recovered = (0..*slow as usize).filter(adds_up).count();
    drop(progress);
    let kernel_bytes = meanwhile.kernel_bytes.saturating_sub(before.kernel_bytes);
    let report = SlowReport {
        connections: *connections,
        slow: *slow,
        seconds: *seconds,
        user_growth_bytes: meanwhile.user_bytes.saturating_sub(before.user_bytes),
        kernel_growth_bytes_each: as_f64_ns(kernel_bytes) / f64::from(*slow),
        before: before.felt,
        meanwhile: meanwhile.felt,
        low: hearing.account(LOW),
        high: hearing.account(HIGH),
        low_owed_each: hearing.seen(0)[LOW] - owed_from[LOW],
        high_owed_each: hearing.seen(0)[HIGH] - owed_from[HIGH],
        recovered: u32::try_from(recovered).unwrap_or(u32::MAX),
        closed: stage.slow.clients.ended(),
        recovered_ms: as_ms(recovered_ns),
    };
    drop(stage);
    report::print("rooms", machine, &report, options.json, table(&report))
}

/// Everybody is in, and the lanes are full.
fn begin(arguments: &SlowArguments, machine: &Machine) -> Result<Stage, Problem> {
    let SlowArguments { connections, slow, rate, payload, options, .. } = arguments;
    let settings = GatewaySettings { connections: *connections, show: None, retries: true };
    let mut gateway = Gateway::start(&settings, options)?;
    let (reading, in_flight) = (connections - slow, CONNECTS_IN_FLIGHT);
    let mut first = Hall::new(&gateway, machine, requests(*connections, 1, &token), in_flight)?;
    first.fill()?;
    let (messages, bytes, times) = FILL;
    for _ in 0..times {
        for lane in ["high", "low"] {
            publish(gateway.operator(), lane, messages, bytes)?;
            first.pass(Duration::from_millis(20))?;
        }
    }
    let mut others = Hall::new(&gateway, machine, requests(0, reading, &token), in_flight)?;
    others.fill()?;
    let mut slow = Hall::new(&gateway, machine, requests(reading, *slow, &token), in_flight)?;
    slow.fill()?;
    let chat = Chat::new(*rate, usize::from(*payload));
    Ok(Stage { gateway, others, slow, chat })
}

fn table(report: &SlowReport) -> Table {
    let mut table = Table::default();
    let whom =
        format!("{} of {} read nothing for {} s", report.slow, report.connections, report.seconds);
    let growth = format!("{} KiB", report.user_growth_bytes >> 10);
    table.row("user memory, growth", growth, whom);
    let each = format!("{:.1} KiB", report.kernel_growth_bytes_each / 1_024.0);
    table.row("kernel memory, growth", each, "per such reader, the gateway's end");
    for (when, felt) in [("before", report.before), ("meanwhile", report.meanwhile)] {
        let p99 = format!("99 % within {:.0} ms", felt.chat_ms_p99);
        let name = format!("others' chat, {when}");
        table.row(&name, format!("{:.0} ms", felt.chat_ms_p50), p99);
        let Coverage { p50, p99, p100, .. } = felt.question_ms;
        let note = format!("to all; 50 % {p50:.1}, 99 % {p99:.1}");
        table.row(&format!("others' questions, {when}"), format!("{p100:.1} ms"), note);
    }
    let note = format!("counts add up; {} closed", report.closed);
    table.row("recovered", format!("{} of {}", report.recovered, report.slow), note);
    table.row("caught up after", format!("{:.0} ms", report.recovered_ms), "");
    for (lane, account, owed) in [
        ("chat", report.low, report.low_owed_each),
        ("questions", report.high, report.high_owed_each),
    ] {
        let Account { delivered, thinned, skipped, unexplained } = account;
        let note = format!(
            "of {owed} each; {thinned} thinned out, {skipped} in gaps, {unexplained} unexplained"
        );
        table.row(&format!("{lane} to the slow"), delivered.to_string(), note);
    }
    table
}
