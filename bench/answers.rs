//! `answers`: what an answer costs the gateway, received, judged, sealed and acknowledged, beside
//! an io_uring echo of messages of the same sizes at the same rate.
//!
//! Players of a running show answer in a random order at a steady rate, whatever the server does;
//! each answers once to a question, so a repetition is a question or several: the operator opens
//! one over HTTP, it reaches everybody, everybody answers, and it is voided so that nobody is out
//! at the next. Only the answering is measured. Both servers are alive at the same time and take
//! turns on the same core; the floor's turn has as many messages. An acknowledgement's time is
//! counted from the moment at which the answer was due, so a client that is late hides nothing.
//!
//! With a journal, as many plain writers as the gateway has shards take turns with it on the same disk:
//! they commit groups of as many records of the same size at the same rate, and how long theirs take
//! to be durable is the floor of what an acknowledgement can take.
//!
//! At the end the gateway alone is asked once more while broadcasts to everybody are under way. Its
//! own histogram of the time from an answer's arrival stamp to its reply on the socket is in the
//! report, for both.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::common::answering::{Answering, Crowd, Turn};
use crate::common::clock::pause;
use crate::common::floor::LineServer;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::pinned;
use crate::common::problem::{Doing as _, Problem};
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::show::{SHOW, show_file};
use crate::common::stats::{Figures, as_f64_ns, percentile};

const REPETITIONS: u32 = 9;
/// Questions of a show, at most.
const QUESTIONS_MAX: u32 = 100;
/// Questions that nobody counts: the first has a shorter number on the wire.
const WARM_UP_QUESTIONS: u32 = 2;
/// Questions during which there are broadcasts.
const BUSY_QUESTIONS: u32 = 3;
/// Questions that are left for repetitions.
const QUESTIONS_LEFT: u32 = QUESTIONS_MAX - WARM_UP_QUESTIONS - BUSY_QUESTIONS;
/// Answers of one server in one repetition, about.
const ANSWERS_PER_TURN: u32 = 20_000;
/// Nobody must be told that it is too late.
const COUNTDOWN_MS: u32 = 120_000;
/// The gateway publishes its metrics ten times a second.
const METRICS_LAG: Duration = Duration::from_millis(300);
/// From one broadcast to the next.
const BROADCAST_INTERVAL: Duration = Duration::from_millis(50);
/// What a broadcast carries; it has some forty bytes more on the wire.
const BROADCAST_BYTES: usize = 100;

/// `tidegate-bench answers`
#[derive(Clone, Debug, Args)]
pub(crate) struct AnswersArguments {
    /// Connections of each server, one player each
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(1..=16_000))]
    connections: u32,
    /// Answers a second
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Keep what is acknowledged in this folder, which is made if there is none; in memory without
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Of an answer in the journal, its header included.
const RECORD_BYTES: usize = 48;

/// Times from the moment at which an answer was due to its acknowledgement.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct AckTimes {
    p50: f64,
    p99: f64,
    p999: f64,
}

#[derive(Debug, Serialize)]
struct AnswersReport {
    connections: u32,
    rate: u32,
    repetitions: u32,
    answers: u64,
    lost: u64,
    refused: u64,
    server_cpu_us_per_answer: f64,
    server_cpu_us_per_answer_min: f64,
    server_cpu_us_per_answer_max: f64,
    floor_cpu_us_per_answer: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    ratio_interval: [f64; 2],
    ack_ms: AckTimes,
    floor_ack_ms: AckTimes,
    /// While broadcasts to everybody were under way.
    busy_ack_ms: AckTimes,
    /// In the gateway, from the arrival stamp to the reply on the socket: not more than this; nothing
    /// if it was more than its histogram tells apart.
    server_ack_p99_ms: Option<f64>,
    busy_server_ack_p99_ms: Option<f64>,
    /// Of plain writers of the same disk; nothing without a journal.
    writers: Option<BesideWriters>,
    achieved_rate: f64,
    client_cpu_us_per_answer: f64,
    request_bytes: usize,
    reply_bytes: usize,
}

/// Acknowledgements of a gateway with a journal beside as many plain writers as it has shards.
#[derive(Debug, Serialize)]
struct BesideWriters {
    writers: usize,
    ack_ms: AckTimes,
    /// The gateway's 99th percentile, divided by that of the writers.
    p99_ratio: f64,
    p99_ratio_min: f64,
    p99_ratio_max: f64,
}

/// The writers' turns beside the gateway's.
#[derive(Default)]
struct Writers {
    times_ns: Vec<u64>,
    p99_ratios: Vec<f64>,
}

impl Writers {
    /// As many records as the gateway just acknowledged, whose times go through; nothing without a
    /// journal.
    fn turn(
        &mut self,
        mut ours_ns: Vec<u64>,
        arguments: &AnswersArguments,
    ) -> Result<Vec<u64>, Problem> {
        let Some(folder) = &arguments.journal else { return Ok(ours_ns) };
        let options = &arguments.options;
        let own = std::env::current_exe().doing("finding this program's own file")?;
        let mut command = Command::new(own);
        let writers = options.server_core.len();
        let numbers = [writers, arguments.rate as usize, ours_ns.len(), RECORD_BYTES];
        command.arg("floor-writers").arg(folder).args(numbers.map(|number| number.to_string()));
        command.stdout(Stdio::piped());
        let child = pinned::spawn(&mut command, &options.server_core, options.client_core)?;
        let output = child.wait_with_output().doing("waiting for the writers")?;
        if !output.status.success() {
            return Err(Problem::new(
                "the writers failed; what they wrote above says why".to_owned(),
            ));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut times_ns: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        self.p99_ratios.push(AckTimes::of(&mut ours_ns).p99 / AckTimes::of(&mut times_ns).p99);
        self.times_ns.extend(times_ns);
        Ok(ours_ns)
    }

    fn report(mut self, writers: usize) -> Option<BesideWriters> {
        let ratios = figures(&self.p99_ratios);
        (!self.times_ns.is_empty()).then(|| BesideWriters {
            writers,
            ack_ms: AckTimes::of(&mut self.times_ns),
            p99_ratio: ratios.median(),
            p99_ratio_min: ratios.min(),
            p99_ratio_max: ratios.max(),
        })
    }
}

impl AckTimes {
    fn of(times_ns: &mut [u64]) -> AckTimes {
        times_ns.sort_unstable();
        let at = |share| as_f64_ns(percentile(times_ns, share)) / 1e6;
        AckTimes { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// What one server showed.
#[derive(Default)]
struct Showing {
    cpu_us: Vec<f64>,
    client_us: Figures,
    rate: Figures,
    times_ns: Vec<u64>,
    answers: u64,
    lost: u64,
    refused: u64,
}

impl Showing {
    fn note(&mut self, turns: &[Turn]) {
        let sum = |what: fn(&Turn) -> u64| turns.iter().map(what).sum::<u64>();
        let answers = sum(|turn| turn.answers).max(1);
        let each = |ns: u64| as_f64_ns(ns) / 1e3 / as_f64_ns(answers);
        self.cpu_us.push(each(sum(|turn| turn.server_ns)));
        self.client_us.push(each(sum(|turn| turn.client_ns)));
        self.rate.push(as_f64_ns(answers) * 1e9 / as_f64_ns(sum(|turn| turn.wall_ns).max(1)));
        self.answers += sum(|turn| turn.answers);
        self.lost += sum(|turn| turn.lost);
        self.refused += sum(|turn| turn.refused);
    }

    fn times(&mut self) -> AckTimes {
        AckTimes::of(&mut self.times_ns)
    }
}

fn repetitions(options: &Options) -> Result<u32, Problem> {
    let repetitions = options.repetitions_or(REPETITIONS);
    if repetitions <= QUESTIONS_LEFT {
        return Ok(repetitions);
    }
    Err(Problem::new(format!(
        "--repetitions {repetitions}: each takes a question, and a show has {QUESTIONS_MAX}; take \
         {QUESTIONS_LEFT} or fewer"
    )))
}

/// Measures and prints.
pub(crate) fn run(arguments: &AnswersArguments, machine: &Machine) -> Result<(), Problem> {
    let AnswersArguments { connections, rate, options, .. } = arguments;
    memory::check_room(u64::from(*connections) * 2)?;
    let repetitions = repetitions(options)?;
    options.take_effect()?;
    let per_turn = (ANSWERS_PER_TURN / connections).clamp(1, QUESTIONS_LEFT / repetitions);
    let progress = Progress::new(u64::from(*connections));
    progress.stage("connecting", u64::from(*connections));
    let mut gateway = start_gateway(arguments, machine)?;
    let reply_bytes = gateway.audience.reply_bytes();
    let sizes = [connections.to_string(), reply_bytes.to_string()];
    let floor = LineServer::floor("floor-echo", &sizes, options)?;
    let mut floor = Crowd::new(floor, *connections, machine.file_limit(), Answering::of_floor)?;
    floor.fill(*connections)?;
    floor.answer(1, *rate, None)?;
    let (mut ours, mut theirs) = (Showing::default(), Showing::default());
    let mut writers = Writers::default();
    progress.stage("measuring", u64::from(repetitions));
    let before = gateway_times(&mut gateway)?;
    for repetition in 0..repetitions {
        let floor_first = repetition % 2 == 1;
        if floor_first {
            theirs.note(&floor_turn(&mut floor, per_turn, *rate)?);
        }
        ours.note(&gateway_turn(&mut gateway, per_turn, *rate, None)?);
        ours.times_ns.extend(writers.turn(gateway.audience.take_times_ns(), arguments)?);
        if !floor_first {
            theirs.note(&floor_turn(&mut floor, per_turn, *rate)?);
        }
        progress.at(u64::from(repetition) + 1);
    }
    let after = gateway_times(&mut gateway)?;
    theirs.times_ns = floor.audience.take_times_ns();
    progress.stage("with broadcasts under way", 1);
    let mut busy = Showing::default();
    busy.note(&gateway_turn(&mut gateway, BUSY_QUESTIONS, *rate, Some(BROADCAST_INTERVAL))?);
    busy.times_ns = gateway.audience.take_times_ns();
    let last = gateway_times(&mut gateway)?;
    drop(progress);
    let ratios =
        figures(&ours.cpu_us.iter().zip(&theirs.cpu_us).map(|(a, b)| a / b).collect::<Vec<_>>());
    let cpu = figures(&ours.cpu_us);
    let report = AnswersReport {
        connections: *connections,
        rate: *rate,
        repetitions,
        answers: ours.answers + busy.answers,
        lost: ours.lost + busy.lost,
        refused: ours.refused + busy.refused,
        server_cpu_us_per_answer: cpu.median(),
        server_cpu_us_per_answer_min: cpu.min(),
        server_cpu_us_per_answer_max: cpu.max(),
        floor_cpu_us_per_answer: figures(&theirs.cpu_us).median(),
        ratio: ratios.median(),
        ratio_min: ratios.min(),
        ratio_max: ratios.max(),
        ratio_interval: ratios.interval(),
        ack_ms: ours.times(),
        floor_ack_ms: theirs.times(),
        busy_ack_ms: busy.times(),
        server_ack_p99_ms: p99_ms(&before, &after),
        busy_server_ack_p99_ms: p99_ms(&after, &last),
        writers: writers.report(options.server_core.len()),
        achieved_rate: ours.rate.median(),
        client_cpu_us_per_answer: ours.client_us.median(),
        request_bytes: gateway.audience.request_bytes(),
        reply_bytes,
    };
    report::print("answers", machine, &report, options.json, table(&report))
}

fn start_gateway(
    arguments: &AnswersArguments,
    machine: &Machine,
) -> Result<Crowd<Gateway>, Problem> {
    let connections = arguments.connections;
    let mut show = show_file(COUNTDOWN_MS);
    for number in 1..QUESTIONS_MAX {
        show.push_str(&format!(
            "[[questions]]\ntext = \"Question {number}\"\noptions = [\"a\", \"b\", \"c\"]\ncorrect = 1\n"
        ));
    }
    let settings = GatewaySettings { connections, show: Some(show), retries: false };
    // A folder of its own in it: one that was used goes on with its show.
    let folder = arguments.journal.as_ref().map(|folder| {
        let folder = folder.join(format!("answers-{}", std::process::id()));
        ("TIDEGATE_DATA_DIR", folder.display().to_string())
    });
    let mut gateway = Gateway::start_with(&settings, &arguments.options, folder.as_slice())?;
    gateway.command(SHOW, "open-lobby")?;
    let mut crowd = Crowd::new(gateway, connections, machine.file_limit(), Answering::of_gateway)?;
    crowd.server.adjust(BROADCAST_BYTES, 0)?;
    crowd.fill(connections)?;
    gateway_turn(&mut crowd, WARM_UP_QUESTIONS, arguments.rate, None)?;
    crowd.audience.take_times_ns();
    Ok(crowd)
}

/// So many questions, one after the other.
fn gateway_turn(
    gateway: &mut Crowd<Gateway>,
    questions: u32,
    rate: u32,
    broadcasts: Option<Duration>,
) -> Result<Vec<Turn>, Problem> {
    let mut turns = Vec::new();
    for _ in 0..questions {
        let question = gateway.open_question()?;
        turns.push(gateway.answer(question, rate, broadcasts)?);
        gateway.void_question()?;
    }
    Ok(turns)
}

fn floor_turn(
    floor: &mut Crowd<LineServer>,
    questions: u32,
    rate: u32,
) -> Result<Vec<Turn>, Problem> {
    (0..questions).map(|_| floor.answer(1, rate, None)).collect()
}

/// The gateway's histogram of answers: bounds in milliseconds, and how many were within them.
fn gateway_times(gateway: &mut Crowd<Gateway>) -> Result<Vec<(f64, u64)>, Problem> {
    pause(METRICS_LAG);
    let text = gateway.server.operator().ask_text("GET", "/metrics", "")?;
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("tidegate_answer_seconds_bucket")) {
        let bound = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
        let bound = bound.map(|bound| bound.parse().unwrap_or(f64::INFINITY) * 1e3);
        let count = line.rsplit(' ').next().and_then(|count| count.parse().ok());
        let (Some(bound), Some(count)) = (bound, count) else { continue };
        match buckets.iter_mut().find(|(other, _)| other.total_cmp(&bound).is_eq()) {
            Some((_, sum)) => *sum += count,
            None => buckets.push((bound, count)),
        }
    }
    Ok(buckets)
}

/// The bound that 99 % of the answers between two looks did not exceed, milliseconds.
fn p99_ms(before: &[(f64, u64)], after: &[(f64, u64)]) -> Option<f64> {
    let counts =
        after.iter().zip(before).map(|((bound, after), (_, before))| (*bound, after - before));
    let counts: Vec<(f64, u64)> = counts.collect();
    let all = counts.last().map_or(0, |(_, all)| *all);
    let found = counts.iter().find(|(_, within)| within * 100 >= all * 99);
    found.map(|(bound, _)| *bound).filter(|bound| bound.is_finite())
}

fn figures(figures: &[f64]) -> Figures {
    let mut sorted = Figures::default();
    figures.iter().for_each(|figure| sorted.push(*figure));
    sorted
}

fn table(report: &AnswersReport) -> Table {
    let mut table = Table::default();
    let us = |figure: f64| format!("{figure:.3} µs");
    let size = format!(
        "{} players, {:.0} a second; {} bytes, reply {}",
        report.connections, report.achieved_rate, report.request_bytes, report.reply_bytes
    );
    table.row("answers", report.answers.to_string(), size);
    table.row("lost", report.lost.to_string(), format!("{} refused", report.refused));
    let spread = format!(
        "{:.3} to {:.3}",
        report.server_cpu_us_per_answer_min, report.server_cpu_us_per_answer_max
    );
    table.row("gateway, CPU per answer", us(report.server_cpu_us_per_answer), spread);
    table.row("floor, CPU per answer", us(report.floor_cpu_us_per_answer), "io_uring echo");
    let [low, high] = report.ratio_interval;
    let spread = format!(
        "median of {}; {:.3} to {:.3}, 95 % interval {low:.3} to {high:.3}",
        report.repetitions, report.ratio_min, report.ratio_max
    );
    table.row("ratio", format!("{:.3}", report.ratio), spread);
    for (who, times, server_ms) in [
        ("gateway", report.ack_ms, Some(report.server_ack_p99_ms)),
        ("floor", report.floor_ack_ms, None),
        ("gateway, broadcasting", report.busy_ack_ms, Some(report.busy_server_ack_p99_ms)),
    ] {
        let inside = match server_ms {
            None => String::new(),
            Some(None) => "; in the server 99 % > 50 ms".to_owned(),
            Some(Some(ms)) => format!("; in the server 99 % ≤ {ms} ms"),
        };
        let others = format!("99 % {:.2}, 99.9 % {:.2}{inside}", times.p99, times.p999);
        table.row(&format!("{who}, acknowledged"), format!("{:.2} ms", times.p50), others);
    }
    if let Some(beside) = &report.writers {
        let times = beside.ack_ms;
        let others = format!("99 % {:.2}, 99.9 % {:.2}", times.p99, times.p999);
        let who = format!("{} plain writers, durable", beside.writers);
        table.row(&who, format!("{:.2} ms", times.p50), others);
        let spread = format!(
            "median of {}; {:.3} to {:.3}",
            report.repetitions, beside.p99_ratio_min, beside.p99_ratio_max
        );
        table.row("ratio of the 99 %", format!("{:.3}", beside.p99_ratio), spread);
    }
    table.row("client, CPU per answer", us(report.client_cpu_us_per_answer), "");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_of_the_99th_percentile_is_that_of_the_answers_between_two_looks() {
        let before = [(1.0, 100), (3.0, 100), (f64::INFINITY, 100)];
        let after = [(1.0, 198), (3.0, 199), (f64::INFINITY, 200)];
        assert_eq!(p99_ms(&before, &after), Some(3.0));
        let late = [(1.0, 198), (3.0, 198), (f64::INFINITY, 200)];
        assert_eq!(p99_ms(&before, &late), None);
        assert_eq!(p99_ms(&[], &[]), None);
    }
}
