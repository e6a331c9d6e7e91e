//! `overload`: chat at twice what the line carries, and questions that go out meanwhile.
//!
//! Questions here are messages of the high lane as long as one; when nobody speaks and while the chat
//! is going on. What counts is when the last member has it. Of the low lane it is counted per member
//! what came, what was thinned out for everybody, and what only this one missed.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::common::gateway::{Gateway, GatewaySettings, token};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::stats::{Coverage, Coverages, Figures, as_f64, as_f64_ns, whole};
use crate::common::{clients, clock};

use super::hall::{Chat, Hall, requests, spread};
use super::hearing::{Account, HIGH, LOW};

/// Questions in silence before the chat, as many after it, and twice as many during it.
const REPETITIONS: u32 = 8;
/// The gateway is told of a budget's use once a second: until then the lanes wait.
const RISING: Duration = Duration::from_secs(4);
/// The service may publish once a second in the high lane here.
const BETWEEN: Duration = Duration::from_millis(1_100);
/// Until what was said last has gone out, or has been thinned out.
const DRAINING: Duration = Duration::from_secs(3);
/// What a message of 130 bytes costs on the wire in a merged frame, as `chat` measures it.
const WIRE_BYTES_BESIDE: u32 = 27;
/// Bars of the histogram: members by what they missed, in thousandths more than the mean.
const BARS: [(&str, f64); 6] = [
    ("1 ‰ less or more", 1.0),
    ("5 ‰", 5.0),
    ("10 ‰", 10.0),
    ("50 ‰", 50.0),
    ("100 ‰", 100.0),
    ("beyond", f64::INFINITY),
];

/// `tidegate-bench rooms overload`
#[derive(Clone, Debug, Args)]
pub(crate) struct OverloadArguments {
    /// Connections, all in one room
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(1..=200_000))]
    connections: u32,
    /// Messages per second that are said
    #[arg(long, value_name = "MESSAGES", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Bytes of a message's text
    #[arg(long, value_name = "BYTES", default_value_t = 130,
        value_parser = clap::value_parser!(u16).range(8..=1_024))]
    payload: u16,
    /// Bytes of a question's data
    #[arg(long, value_name = "BYTES", default_value_t = 560,
        value_parser = clap::value_parser!(u16).range(16..=4_096))]
    question: u16,
    /// What chat needs, as a multiple of what the line carries
    #[arg(long, value_name = "TIMES", default_value_t = 2.0)]
    overload: f64,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Serialize)]
struct Bar {
    within: &'static str,
    members: usize,
}

#[derive(Debug, Serialize)]
struct OverloadReport {
    connections: u32,
    rate: u32,
    line_rate_mbit: u64,
    /// What everything said would have needed, by what was sent of it, ÷ the line.
    demand_by_line: f64,
    /// What went out while the chat was going on ÷ the line.
    sent_by_line: f64,
    silence_ms: Coverage,
    overload_ms: Coverage,
    /// Time to the last under overload by time to the last in silence.
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    questions: u32,
    /// Of all questions, over all members.
    high: Account,
    high_lost: u64,
    /// Of the chat, over all members.
    low: Account,
    /// The part of the chat that a member did not get: least, mean and most of all members.
    loss_min: f64,
    loss_mean: f64,
    loss_max: f64,
    histogram: Vec<Bar>,
    messages: u64,
    client_share: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &OverloadArguments, machine: &Machine) -> Result<(), Problem> {
    let OverloadArguments { connections, options, .. } = arguments;
    memory::check_room(u64::from(*connections))?;
    options.take_effect()?;
    let progress = Progress::new(0);
    let line_rate_mbit = line_rate_mbit(arguments);
    let settings = GatewaySettings { connections: *connections, show: None, retries: true };
    let mut gateway = Gateway::start_with(&settings, options, &line(arguments, line_rate_mbit))?;
    let requests = requests(0, *connections, &token);
    let mut hall = Hall::new(&gateway, machine, requests, clients::CONNECTS_IN_FLIGHT)?;
    progress.stage("connecting", u64::from(*connections));
    hall.fill()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let question = usize::from(arguments.question);
    let (mut silence, mut overload) = (Showing::default(), Showing::default());
    // The first one is not counted.
    for repetition in 0..=repetitions {
        hall.pass(BETWEEN)?;
        let coverage = spread(&mut gateway, &mut hall, question, None)?;
        silence.push_unless(repetition == 0, coverage);
    }
    progress.stage("chat", 0);
    hall.hearing.begin_accounts();
    let mut chat = Chat::new(arguments.rate, arguments.payload.into());
    chatting(&mut hall, &mut chat, RISING)?;
    let wire_from: u64 = gateway.metric("tidegate_wire_bytes_total")?;
    hall.clients.take_busy_ns();
    let from_ns = clock::now_ns();
    for _ in 0..repetitions * 2 {
        overload.push(spread(&mut gateway, &mut hall, question, Some(&mut chat))?);
        chatting(&mut hall, &mut chat, BETWEEN)?;
    }
    let took_ns = clock::now_ns() - from_ns;
    let wire = gateway.metric::<u64>("tidegate_wire_bytes_total")? - wire_from;
    let client_share = as_f64_ns(hall.clients.take_busy_ns()) / as_f64_ns(took_ns);
    hall.pass(DRAINING)?;
    let wire_low: u64 = gateway.lane_metric("tidegate_wire_bytes_total", "low")?;
    let (low, high) = (hall.hearing.account(LOW), hall.hearing.account(HIGH));
    let losses = losses(&hall);
    progress.stage("silence again", u64::from(repetitions));
    for _ in 0..repetitions {
        hall.pass(BETWEEN)?;
        silence.push(spread(&mut gateway, &mut hall, question, None)?);
    }
    drop(progress);
    let line_bytes_per_s = as_f64_ns(line_rate_mbit * 125_000);
    let each_wire = as_f64_ns(wire_low) / as_f64_ns(low.delivered.max(1));
    let needed = each_wire * f64::from(arguments.rate) * f64::from(*connections);
    let in_silence = silence.last.median();
    let report = OverloadReport {
        connections: *connections,
        rate: arguments.rate,
        line_rate_mbit,
        demand_by_line: needed / line_bytes_per_s,
        sent_by_line: as_f64_ns(wire) / (as_f64_ns(took_ns) / 1e9) / line_bytes_per_s,
        silence_ms: silence.coverages.median(),
        overload_ms: overload.coverages.median(),
        ratio: overload.last.median() / in_silence,
        ratio_min: overload.last.min() / in_silence,
        ratio_max: overload.last.max() / in_silence,
        questions: repetitions * 2,
        high,
        high_lost: u64::from(repetitions * 2) * u64::from(*connections) - high.delivered,
        low,
        loss_min: losses.first().copied().unwrap_or(0.0),
        loss_mean: losses.iter().sum::<f64>() / as_f64(losses.len().max(1)),
        loss_max: losses.last().copied().unwrap_or(0.0),
        histogram: histogram(&losses),
        messages: chat.said(),
        client_share,
    };
    report::print("rooms", machine, &report, options.json, table(&report))
}

/// Half of what the chat needs, or what else was asked for.
fn line_rate_mbit(arguments: &OverloadArguments) -> u64 {
    let bytes = u32::from(arguments.payload) + WIRE_BYTES_BESIDE;
    let needed = f64::from(arguments.rate) * f64::from(arguments.connections) * f64::from(bytes);
    whole(needed * 8.0 / 1e6 / arguments.overload.max(0.01)).max(1)
}

/// A line that carries so much, on which one question a second is always let through.
fn line(arguments: &OverloadArguments, line_rate_mbit: u64) -> Vec<(&'static str, String)> {
    vec![
        ("TIDEGATE_EGRESS__LINE_RATE_MBIT", line_rate_mbit.to_string()),
        ("TIDEGATE_EGRESS__VIEWERS_MAX", arguments.connections.to_string()),
        ("TIDEGATE_EGRESS__QUESTION_BYTES_MAX", "64".to_owned()),
        ("TIDEGATE_EGRESS__QUESTIONS_PER_MINUTE_MAX", "0".to_owned()),
        ("TIDEGATE_EGRESS__GIFT_RATE_MAX", "1".to_owned()),
        ("TIDEGATE_EGRESS__GIFT_BYTES_MAX", arguments.question.to_string()),
        ("TIDEGATE_ROOMS__INFO_INTERVAL_MS", "2000".to_owned()),
    ]
}

fn chatting(hall: &mut Hall, chat: &mut Chat, time: Duration) -> Result<(), Problem> {
    let until_ns = clock::now_ns() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    while clock::now_ns() < until_ns {
        chat.speak(hall);
        hall.turn()?;
    }
    Ok(())
}

#[derive(Default)]
struct Showing {
    coverages: Coverages,
    /// Times to the last.
    last: Figures,
}

impl Showing {
    fn push(&mut self, coverage: Coverage) {
        self.last.push(coverage.p100);
        self.coverages.push(coverage);
    }

    fn push_unless(&mut self, is_first: bool, coverage: Coverage) {
        if !is_first {
            self.push(coverage);
        }
    }
}

/// The part of the chat that each member did not get, sorted.
fn losses(hall: &Hall) -> Vec<f64> {
    let accounts = hall.hearing.accounts(LOW);
    let mut losses: Vec<f64> = accounts
        .map(|account| 1.0 - as_f64_ns(account.delivered) / as_f64_ns(account.all().max(1)))
        .collect();
    losses.sort_by(f64::total_cmp);
    losses
}

/// How many members are how far from the mean.
fn histogram(losses: &[f64]) -> Vec<Bar> {
    let mean = losses.iter().sum::<f64>() / as_f64(losses.len().max(1));
    let mut below = 0.0;
    BARS.iter()
        .map(|(within, most)| {
            let far = |loss: &&f64| {
                let far = (**loss - mean).abs() * 1_000.0;
                far < *most && far >= below
            };
            let members = losses.iter().filter(far).count();
            below = *most;
            Bar { within, members }
        })
        .collect()
}

fn table(report: &OverloadReport) -> Table {
    let mut table = Table::default();
    for (who, coverage) in [("in silence", report.silence_ms), ("overload", report.overload_ms)] {
        let Coverage { p50, p99, p999, p100 } = coverage;
        let others = format!("to all; 50 % {p50:.1}, 99 % {p99:.1}, 99.9 % {p999:.1}");
        table.row(&format!("a question, {who}"), format!("{p100:.1} ms"), others);
    }
    let spread = format!(
        "to the last; median of {}; {:.2} to {:.2}",
        report.questions, report.ratio_min, report.ratio_max
    );
    table.row("ratio", format!("{:.3}", report.ratio), spread);
    let line = format!("of {} Mbit/s; sent {:.2}", report.line_rate_mbit, report.sent_by_line);
    table.row("chat needs", format!("{:.2} times", report.demand_by_line), line);
    let note = format!("of {} delivered to {}", report.high.delivered, report.connections);
    table.row("high lane, lost", report.high_lost.to_string(), note);
    let loss = format!("least {:.4}, most {:.4} of all members", report.loss_min, report.loss_max);
    table.row("chat, lost", format!("{:.4}", report.loss_mean), loss);
    let Account { delivered, thinned, skipped, unexplained } = report.low;
    let note = format!("{thinned} thinned out, {skipped} in gaps, {unexplained} unexplained");
    table.row("chat, delivered", delivered.to_string(), note);
    for Bar { within, members } in &report.histogram {
        table.row("members whose loss is off the mean by", members.to_string(), *within);
    }
    table.row("clients", format!("{:.0} %", report.client_share * 100.0), "of their time at work");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_member_once() {
        let bars = histogram(&[0.1, 0.1, 0.1, 0.5]);
        let counts: Vec<usize> = bars.iter().map(|bar| bar.members).collect();
        assert_eq!(counts, [0, 0, 0, 0, 0, 4]);
        let bars = histogram(&[0.3; 7]);
        assert_eq!(bars[0].members, 7);
    }
}
