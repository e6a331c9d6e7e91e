//! `fanout`: what one delivery of a broadcast costs the gateway, beside a plain `send()` loop.
//!
//! Both servers are alive at the same time, each with as many connections, and take turns on the
//! same core: in each repetition first one, then the other, the next time in the other order. A
//! turn begins with a broadcast that is not counted, so both find the caches as their own last
//! broadcast left them. The ratio is that of a repetition; reported is the median of all.
//!
//! The gateway is told through its operator HTTP; that, and everything else that its process does,
//! is part of its cost. Its clients are authenticated members of a room and get the messages
//! through the high lane, `--payload` bytes long on the wire, or one byte longer where no message of
//! the protocol has that length (138 is such a one); the floor sends as many bytes as the gateway
//! does. In a burst 16 messages are handed over at once; the floor's burst is one `send()` of 16 messages.

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::common::contender::Contender;
use crate::common::floor::LineServer;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server;
use crate::common::stats::{Coverage, Coverages, Figures};

const REPETITIONS: u32 = 15;
/// Messages of a burst.
const BURST: u16 = 16;
/// Broadcasts over which fairness is looked at.
const FAIRNESS_BROADCASTS: u32 = 100;
/// Deliveries after which looking at fairness would take too long.
const FAIRNESS_DELIVERIES_MAX: u64 = 10_000_000;
/// Deliveries of one server in one repetition, about.
const DELIVERIES_PER_TURN: u32 = 40_000;
/// Stamps from this version on have a number of two bytes, up to 16,383: before, frames would grow
/// during a measurement.
const VERSIONS_SKIPPED: u16 = 130;
const ADJUSTMENTS_MAX: u32 = 4;
const BROADCASTS_PER_TURN_MAX: u32 = 20;

/// `tidegate-bench fanout`
#[derive(Clone, Debug, Args)]
pub(crate) struct FanoutArguments {
    /// Connections of each server
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Bytes of a message on the wire, WebSocket header included (one more where the gateway has no
    /// message of that length)
    #[arg(long, value_name = "BYTES", default_value_t = 138,
        value_parser = clap::value_parser!(u16).range(64..=8_192))]
    payload: u16,
    /// What the gateway is compared with
    #[arg(long, value_enum, default_value_t = Floor::Auto)]
    floor: Floor,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// Floor programs of fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Floor {
    /// The `send()` loop while descriptors last, io_uring beyond
    Auto,
    /// A plain `send()` loop
    Send,
    /// An io_uring loop on direct descriptors
    Ring,
}

/// What was found.
#[derive(Debug, Serialize)]
struct FanoutReport {
    connections: u32,
    payload_bytes: u16,
    /// What messages of both have on the wire.
    frame_bytes: usize,
    repetitions: u32,
    floor: &'static str,
    /// Whether both servers were alive at the same time.
    interleaved: bool,
    deliveries: u64,
    server_cpu_us_per_delivery: f64,
    floor_cpu_us_per_delivery: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    ratio_interval: [f64; 2],
    burst_cpu_us_per_delivery: f64,
    floor_burst_cpu_us_per_delivery: f64,
    burst_ratio: f64,
    coverage_ms: Coverage,
    floor_coverage_ms: Coverage,
    fairness_rank_p99_to_p50: Option<f64>,
    floor_fairness_rank_p99_to_p50: Option<f64>,
    client_cpu_us_per_delivery: f64,
    client_limited: bool,
    /// Other work on this machine stretched most broadcasts: CPU per delivery holds, coverage does
    /// not.
    disturbed: bool,
}

/// What one server showed, repetition by repetition.
#[derive(Default)]
struct Showing {
    one: Vec<f64>,
    burst: Vec<f64>,
    coverages: Coverages,
    client: Figures,
    deliveries: u64,
    limited: u32,
    disturbed: u32,
    broadcasts: u32,
    frame_bytes: usize,
    fairness: Option<f64>,
}

/// Measures and prints.
pub(crate) fn run(arguments: &FanoutArguments, machine: &Machine) -> Result<(), Problem> {
    let FanoutArguments { connections, options, .. } = arguments;
    let twice = u64::from(*connections) * 2;
    memory::check_room(u64::from(*connections))?;
    let interleaved = memory::check_room(twice).is_ok();
    let floor = floor_program(arguments, machine)?;
    options.take_effect()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(u64::from(*connections));
    let start_floor = |frame_bytes: usize| {
        let sizes = [connections.to_string(), frame_bytes.to_string()];
        let server = LineServer::floor(floor, &sizes, options)?;
        let mut contender = Contender::new(server, *connections, machine.file_limit())?;
        progress.stage("connecting to the floor", u64::from(*connections));
        contender.fill(*connections, &progress)?;
        Ok(contender)
    };
    let (mut gateway_showing, mut floor_showing) = (Showing::default(), Showing::default());
    let (mut gateway, frame_bytes) = start_gateway(arguments, machine, &progress)?;
    if interleaved {
        let mut floor = start_floor(frame_bytes)?;
        progress.stage("measuring", u64::from(repetitions));
        for repetition in 0..repetitions {
            if repetition % 2 == 0 {
                turn(&mut gateway, &mut gateway_showing)?;
                turn(&mut floor, &mut floor_showing)?;
            } else {
                turn(&mut floor, &mut floor_showing)?;
                turn(&mut gateway, &mut gateway_showing)?;
            }
            progress.at(u64::from(repetition) + 1);
        }
        progress.stage("looking at fairness", 2);
        fairness(&mut gateway, &mut gateway_showing)?;
        progress.at(1);
        fairness(&mut floor, &mut floor_showing)?;
    } else {
        alone(&mut gateway, &mut gateway_showing, repetitions, &progress)?;
        drop(gateway);
        alone(&mut start_floor(frame_bytes)?, &mut floor_showing, repetitions, &progress)?;
    }
    drop(progress);
    let report = report(arguments, floor, interleaved, &gateway_showing, &floor_showing);
    report::print("fanout", machine, &report, options.json, table(&report))
}

fn floor_program(arguments: &FanoutArguments, machine: &Machine) -> Result<&'static str, Problem> {
    let files = machine.file_limit();
    let fits = u64::from(arguments.connections) + 2_000 <= files;
    match arguments.floor {
        Floor::Send if !fits => Err(Problem::new(format!(
            "--floor send: {} connections need as many descriptors, and {files} is the limit of open files; \
             use --floor ring, or raise the limit",
            arguments.connections
        ))),
        Floor::Send => Ok("floor-fanout"),
        Floor::Auto if fits => Ok("floor-fanout"),
        Floor::Auto | Floor::Ring => Ok("floor-fanout-ring"),
    }
}

fn start_gateway(
    arguments: &FanoutArguments,
    machine: &Machine,
    progress: &Progress,
) -> Result<(Contender<Gateway>, usize), Problem> {
    let connections = arguments.connections;
    let settings = GatewaySettings { connections, show: None, retries: true };
    let gateway = Gateway::start(&settings, &arguments.options)?;
    let mut contender = Contender::new(gateway, connections, machine.file_limit())?;
    progress.stage("connecting to the gateway", u64::from(connections));
    let frame_bytes = prepare(&mut contender, usize::from(arguments.payload), progress)?;
    contender.fill(connections, progress)?;
    Ok((contender, frame_bytes))
}

/// Connects the first client and makes messages as long as they are wanted, if there are such:
/// returns how long they will be. Versions, and with them frames, grow at the beginning: while nobody
/// but one client listens.
pub(crate) fn prepare(
    contender: &mut Contender<Gateway>,
    wanted: usize,
    progress: &Progress,
) -> Result<usize, Problem> {
    contender.fill(1, progress)?;
    for _ in 0..VERSIONS_SKIPPED.div_ceil(BURST) {
        contender.broadcast(BURST)?;
    }
    lengthen(contender, wanted)
}

/// Makes messages as long as they are wanted, or longer by as little as can be: where a length inside
/// of the frame needs one more byte, some lengths don't exist. Returns what they are.
fn lengthen(contender: &mut Contender<Gateway>, wanted: usize) -> Result<usize, Problem> {
    let mut was = 0;
    for _ in 0..ADJUSTMENTS_MAX {
        contender.broadcast(1)?;
        was = contender.counting.frame_bytes().unwrap_or(0);
        if was == wanted || was == wanted + 1 {
            return Ok(was);
        }
        contender.server.adjust(if was + 1 == wanted { wanted + 1 } else { wanted }, was)?;
    }
    Err(Problem::new(format!(
        "--payload {wanted}: the gateway's messages cannot be made so long, the nearest have {was} bytes"
    )))
}

/// All repetitions of one server, where two don't fit at a time.
fn alone<S: Server>(
    contender: &mut Contender<S>,
    showing: &mut Showing,
    repetitions: u32,
    progress: &Progress,
) -> Result<(), Problem> {
    progress.stage("measuring", u64::from(repetitions));
    for repetition in 0..repetitions {
        turn(contender, showing)?;
        progress.at(u64::from(repetition) + 1);
    }
    fairness(contender, showing)
}

/// One server's part of a repetition.
fn turn<S: Server>(contender: &mut Contender<S>, showing: &mut Showing) -> Result<(), Problem> {
    let count = (DELIVERIES_PER_TURN / contender.clients.len()).clamp(1, BROADCASTS_PER_TURN_MAX);
    contender.broadcast(1)?;
    let mut one = Figures::default();
    for _ in 0..count {
        let broadcast = contender.broadcast(1)?;
        one.push(broadcast.server_us);
        showing.client.push(broadcast.client_us);
        showing.coverages.push(broadcast.coverage);
        showing.deliveries += broadcast.deliveries;
        showing.limited += u32::from(broadcast.client_limited);
        showing.disturbed += u32::from(broadcast.disturbed);
        showing.broadcasts += 1;
    }
    showing.frame_bytes = contender.counting.frame_bytes().unwrap_or(0);
    let burst = contender.broadcast(BURST)?;
    showing.one.push(one.median());
    showing.burst.push(burst.server_us);
    Ok(())
}

fn fairness<S: Server>(contender: &mut Contender<S>, showing: &mut Showing) -> Result<(), Problem> {
    let deliveries = u64::from(contender.clients.len()) * u64::from(FAIRNESS_BROADCASTS);
    if deliveries > FAIRNESS_DELIVERIES_MAX {
        return Ok(());
    }
    for _ in 0..FAIRNESS_BROADCASTS {
        contender.broadcast(1)?;
        contender.counting.note_ranks();
    }
    showing.fairness = contender.counting.rank_p99_to_p50();
    Ok(())
}

fn report(
    arguments: &FanoutArguments,
    floor: &'static str,
    interleaved: bool,
    gateway: &Showing,
    beside: &Showing,
) -> FanoutReport {
    let median = |figures: &[f64]| figures_of(figures).median();
    let ratios = |these: &[f64], those: &[f64]| {
        figures_of(&these.iter().zip(those).map(|(this, that)| this / that).collect::<Vec<_>>())
    };
    let ratio = ratios(&gateway.one, &beside.one);
    FanoutReport {
        connections: arguments.connections,
        payload_bytes: arguments.payload,
        frame_bytes: gateway.frame_bytes,
        repetitions: arguments.options.repetitions_or(REPETITIONS),
        floor,
        interleaved,
        deliveries: gateway.deliveries,
        server_cpu_us_per_delivery: median(&gateway.one),
        floor_cpu_us_per_delivery: median(&beside.one),
        ratio: ratio.median(),
        ratio_min: ratio.min(),
        ratio_max: ratio.max(),
        ratio_interval: ratio.interval(),
        burst_cpu_us_per_delivery: median(&gateway.burst),
        floor_burst_cpu_us_per_delivery: median(&beside.burst),
        burst_ratio: ratios(&gateway.burst, &beside.burst).median(),
        coverage_ms: gateway.coverages.median(),
        floor_coverage_ms: beside.coverages.median(),
        fairness_rank_p99_to_p50: gateway.fairness,
        floor_fairness_rank_p99_to_p50: beside.fairness,
        client_cpu_us_per_delivery: gateway.client.median(),
        client_limited: gateway.limited * 2 > gateway.broadcasts,
        disturbed: gateway.disturbed * 2 > gateway.broadcasts,
    }
}

fn figures_of(figures: &[f64]) -> Figures {
    let mut sorted = Figures::default();
    figures.iter().for_each(|figure| sorted.push(*figure));
    sorted
}

fn table(report: &FanoutReport) -> Table {
    let mut table = Table::default();
    let us = |figure: f64| format!("{figure:.3} µs");
    let size =
        format!("{} connections, {} bytes on the wire", report.connections, report.frame_bytes);
    table.row("deliveries", report.deliveries.to_string(), size);
    table.row("gateway, CPU per delivery", us(report.server_cpu_us_per_delivery), "");
    table.row("floor, CPU per delivery", us(report.floor_cpu_us_per_delivery), report.floor);
    let [low, high] = report.ratio_interval;
    let spread = format!(
        "median of {}; {:.3} to {:.3}, 95 % interval {low:.3} to {high:.3}",
        report.repetitions, report.ratio_min, report.ratio_max
    );
    table.row("ratio", format!("{:.3}", report.ratio), spread);
    table.row("gateway, burst of 16", us(report.burst_cpu_us_per_delivery), "per message");
    let burst = format!("per message; ratio {:.3}", report.burst_ratio);
    table.row("floor, burst of 16", us(report.floor_burst_cpu_us_per_delivery), burst);
    for (who, coverage) in [("gateway", report.coverage_ms), ("floor", report.floor_coverage_ms)] {
        let Coverage { p50, p99, p999, p100 } = coverage;
        let others = format!("ms to 50 %; 99 % {p99:.1}, 99.9 % {p999:.1}, all {p100:.1}");
        table.row(&format!("{who}, coverage"), format!("{p50:.1}"), others);
    }
    if let Some(fairness) = report.fairness_rank_p99_to_p50 {
        let floor = report.floor_fairness_rank_p99_to_p50.unwrap_or(0.0);
        let note = format!(
            "mean rank, p99 ÷ p50, over {FAIRNESS_BROADCASTS} broadcasts; floor {floor:.3}"
        );
        table.row("fairness", format!("{fairness:.3}"), note);
    }
    let note = match (report.client_limited, report.disturbed) {
        (true, _) => "the clients limited coverage",
        (false, true) => "other work on this machine stretched coverage",
        (false, false) => "",
    };
    table.row("client, CPU per delivery", us(report.client_cpu_us_per_delivery), note);
    if !report.interleaved {
        table.row("not interleaved", "", "both servers at a time don't fit into memory");
    }
    table
}
