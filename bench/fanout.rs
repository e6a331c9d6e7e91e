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
//!
//! With `--rps` another core does what receiving costs, as across a NIC: `common/loopback.rs`.

mod turns;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::common::contender::Contender;
use crate::common::drops::Drops;
use crate::common::floor::LineServer;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::loopback;
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::pinned;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server;
use crate::common::stats::Coverage;

use turns::FAIRNESS_BROADCASTS;
pub(crate) use turns::{BURST, Showing, Turn, figures_of, interleave, ratios};

const REPETITIONS: u32 = 15;
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
    /// Let this core do the receiver's half of TCP, as a NIC would have it, in a network namespace
    /// that is made for the measurement; needs root
    #[arg(long, value_name = "CORE")]
    rps: Option<usize>,
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
    /// Which core did the receiver's half of TCP, if not the server's own.
    rps_core: Option<usize>,
    /// By this machine, between the first connect and the end; TCP sends them again after 200 ms.
    packets_dropped: u64,
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

/// Measures and prints.
pub(crate) fn run(arguments: &FanoutArguments, machine: &Machine) -> Result<(), Problem> {
    let FanoutArguments { connections, options, .. } = arguments;
    memory::check_room(u64::from(*connections))?;
    let interleaved = memory::check_room(u64::from(*connections) * 2).is_ok();
    let floor = floor_program(arguments, machine)?;
    options.take_effect()?;
    let _queues = arguments.rps.map(|core| steer(core, options)).transpose()?;
    let drops = Drops::count()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(u64::from(*connections));
    let (mut gateway_showing, mut floor_showing) = (Showing::default(), Showing::default());
    let crowd = Crowd { connections: *connections, machine, options, progress: &progress };
    let (mut gateway, frame_bytes) = crowd.gateway(usize::from(arguments.payload))?;
    let broadcasts = (DELIVERIES_PER_TURN / connections).clamp(1, BROADCASTS_PER_TURN_MAX);
    let turn = Turn { warm_up: true, broadcasts, burst: true };
    if interleaved {
        let mut floor = crowd.floor(floor, frame_bytes)?;
        progress.stage("measuring", u64::from(repetitions));
        let one = (&mut gateway, &mut gateway_showing);
        let other = (&mut floor, &mut floor_showing);
        interleave(one, other, turn, repetitions, |done| progress.at(u64::from(done)))?;
        progress.stage("looking at fairness", 2);
        gateway_showing.fairness(&mut gateway)?;
        progress.at(1);
        floor_showing.fairness(&mut floor)?;
    } else {
        alone(&mut gateway, &mut gateway_showing, turn, repetitions, &progress)?;
        drop(gateway);
        let mut floor = crowd.floor(floor, frame_bytes)?;
        alone(&mut floor, &mut floor_showing, turn, repetitions, &progress)?;
    }
    drop(progress);
    let packets_dropped = drops.so_far()?;
    if arguments.rps.is_some() && packets_dropped > 0 {
        return Err(Problem::new(format!(
            "--rps: {packets_dropped} packets were dropped on this machine meanwhile, so these figures would be \
             those of an accident: run it again, with nothing else at work here"
        )));
    }
    let mut report = report(arguments, floor, interleaved, &gateway_showing, &floor_showing);
    report.packets_dropped = packets_dropped;
    report::print("fanout", machine, &report, options.json, table(&report))
}

/// Lets `core` receive, if the server under test does not need it.
fn steer(core: usize, options: &Options) -> Result<loopback::LongQueues, Problem> {
    if options.server_core.contains(&core) || !pinned::available().contains(&core) {
        return Err(Problem::new(format!(
            "--rps {core}: take a core that exists and is not the server's; the client's will do, {}",
            options.client_core
        )));
    }
    loopback::steer(core)
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

/// What every server of a comparison gets.
pub(crate) struct Crowd<'a> {
    pub(crate) connections: u32,
    pub(crate) machine: &'a Machine,
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Progress,
}

impl Crowd<'_> {
    /// A gateway with everybody in one room, whose messages are so long on the wire, or a byte longer:
    /// how long is returned.
    pub(crate) fn gateway(&self, payload: usize) -> Result<(Contender<Gateway>, usize), Problem> {
        let settings = GatewaySettings { connections: self.connections, show: None, retries: true };
        let gateway = Gateway::start(&settings, self.options)?;
        let mut contender = self.meets(gateway, "connecting to the gateway")?;
        let frame_bytes = prepare(&mut contender, payload, self.progress)?;
        contender.fill(self.connections, self.progress)?;
        Ok((contender, frame_bytes))
    }

    /// The floor `program` with as many clients.
    pub(crate) fn floor(
        &self,
        program: &str,
        frame_bytes: usize,
    ) -> Result<Contender<LineServer>, Problem> {
        let sizes = [self.connections.to_string(), frame_bytes.to_string()];
        let server = LineServer::floor(program, &sizes, self.options)?;
        let mut contender = self.meets(server, "connecting to the floor")?;
        contender.fill(self.connections, self.progress)?;
        Ok(contender)
    }

    fn meets<S: Server>(&self, server: S, stage: &str) -> Result<Contender<S>, Problem> {
        self.progress.stage(stage, u64::from(self.connections));
        Contender::new(server, self.connections, self.machine.file_limit())
    }
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
    turn: Turn,
    repetitions: u32,
    progress: &Progress,
) -> Result<(), Problem> {
    progress.stage("measuring", u64::from(repetitions));
    showing.turns(contender, turn, repetitions, |done| progress.at(u64::from(done)))?;
    showing.fairness(contender)
}

fn report(
    arguments: &FanoutArguments,
    floor: &'static str,
    interleaved: bool,
    gateway: &Showing,
    beside: &Showing,
) -> FanoutReport {
    let median = |figures: &[f64]| figures_of(figures.iter().copied()).median();
    let ratio = ratios(&gateway.one, &beside.one);
    FanoutReport {
        connections: arguments.connections,
        payload_bytes: arguments.payload,
        frame_bytes: gateway.frame_bytes,
        repetitions: arguments.options.repetitions_or(REPETITIONS),
        floor,
        rps_core: arguments.rps,
        packets_dropped: 0,
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
        client_limited: gateway.is_client_limited(),
        disturbed: gateway.is_disturbed(),
    }
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
    if let Some(core) = report.rps_core {
        table.row("received by core", core.to_string(), "in a network namespace with RPS on lo");
    }
    if report.packets_dropped > 0 {
        let note = "on this machine meanwhile; TCP sends them again after 200 ms";
        table.row("packets dropped", report.packets_dropped.to_string(), note);
    }
    if !report.interleaved {
        table.row("not interleaved", "", "both servers at a time don't fit into memory");
    }
    table
}
