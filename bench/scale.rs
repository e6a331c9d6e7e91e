//! `scale`: whether fan-out's ratio to the floor stays the same however many are connected.
//!
//! What a delivery costs grows with the number of sockets, because the kernel's state of each leaves
//! the caches before its turn comes again: for any program. What is ours is the ratio. The floor is the
//! same at all numbers, the io_uring loop on direct descriptors, because a `send()` loop ends where
//! descriptors do. Both servers are alive at the same time and take turns, if memory has room for both.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use crate::common::drops::Drops;
use crate::common::loopback;
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report;
use crate::fanout::{Crowd, Showing, Turn, figures_of, interleave, ratios};

/// A broadcast to everybody takes seconds from here on.
const MANY_CONNECTIONS: u32 = 100_000;
const REPETITIONS: u32 = 15;
const REPETITIONS_OF_MANY: u32 = 7;
/// Deliveries of one server in one repetition, about.
const DELIVERIES_PER_TURN: u32 = 200_000;
/// At small numbers a broadcast is so short that whatever else the core does in it counts: there are
/// many, and their median is taken.
const BROADCASTS_PER_TURN_MAX: u32 = 100;
const FLOOR: &str = "floor-fanout-ring";

/// `tidegate-bench scale`
#[derive(Clone, Debug, Args)]
pub(crate) struct ScaleArguments {
    /// Numbers of connections, separated by commas
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',',
        default_values_t = [1_000, 10_000, 100_000],
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    at: Vec<u32>,
    /// Bytes of a message on the wire, WebSocket header included (one more where the gateway has no
    /// message of that length)
    #[arg(long, value_name = "BYTES", default_value_t = 138,
        value_parser = clap::value_parser!(u16).range(64..=8_192))]
    payload: u16,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// One number of connections.
#[derive(Debug, Serialize)]
struct Step {
    connections: u32,
    repetitions: u32,
    /// Broadcasts of each server in each repetition.
    broadcasts: u32,
    /// Whether both servers were alive at the same time.
    interleaved: bool,
    server_cpu_us_per_delivery: f64,
    floor_cpu_us_per_delivery: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    ratio_interval: [f64; 2],
    coverage_ms_p100: f64,
    floor_coverage_ms_p100: f64,
    packets_dropped: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
struct ScaleReport {
    floor: &'static str,
    frame_bytes: usize,
    steps: Vec<Step>,
    /// The largest ratio by the smallest.
    largest_to_smallest: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &ScaleArguments, machine: &Machine) -> Result<(), Problem> {
    let ScaleArguments { at, options, .. } = arguments;
    for connections in at {
        memory::check_room(u64::from(*connections))?;
    }
    options.take_effect()?;
    let _queues = loopback::lengthen_queues_if_possible();
    let mut report =
        ScaleReport { floor: FLOOR, frame_bytes: 0, steps: Vec::new(), largest_to_smallest: 0.0 };
    let progress = Progress::new(0);
    for connections in at {
        let crowd = Crowd { connections: *connections, machine, options, progress: &progress };
        let (step, frame_bytes) = step(&crowd, usize::from(arguments.payload))?;
        report.frame_bytes = frame_bytes;
        report.steps.push(step);
    }
    drop(progress);
    let all = figures_of(report.steps.iter().map(|step| step.ratio));
    report.largest_to_smallest = all.max() / all.min();
    report::print_text("scale", machine, &report, options.json, &table(&report))
}

fn step(crowd: &Crowd<'_>, payload: usize) -> Result<(Step, usize), Problem> {
    let connections = crowd.connections;
    let is_many = connections >= MANY_CONNECTIONS;
    let default = if is_many { REPETITIONS_OF_MANY } else { REPETITIONS };
    let repetitions = crowd.options.repetitions_or(default);
    let broadcasts = (DELIVERIES_PER_TURN / connections).clamp(1, BROADCASTS_PER_TURN_MAX);
    // Among so many the caches forget a broadcast before it ends: there is nothing to warm up.
    let turn = Turn { warm_up: !is_many, broadcasts, burst: false };
    let interleaved = memory::check_room(u64::from(connections) * 2).is_ok();
    let drops = Drops::count()?;
    let (mut gateway_showing, mut floor_showing) = (Showing::default(), Showing::default());
    let (mut gateway, frame_bytes) = crowd.gateway(payload)?;
    let at = |done: u32| crowd.progress.at(u64::from(done));
    let stage = || crowd.progress.stage(format!("{connections}: measuring"), repetitions.into());
    if interleaved {
        let mut floor = crowd.floor(FLOOR, frame_bytes)?;
        stage();
        let one = (&mut gateway, &mut gateway_showing);
        interleave(one, (&mut floor, &mut floor_showing), turn, repetitions, at)?;
    } else {
        stage();
        gateway_showing.turns(&mut gateway, turn, repetitions, at)?;
        drop(gateway);
        let mut floor = crowd.floor(FLOOR, frame_bytes)?;
        stage();
        floor_showing.turns(&mut floor, turn, repetitions, at)?;
    }
    let ratio = ratios(&gateway_showing.one, &floor_showing.one);
    let median = |showing: &Showing| figures_of(showing.one.iter().copied()).median();
    let step = Step {
        connections,
        repetitions,
        broadcasts,
        interleaved,
        server_cpu_us_per_delivery: median(&gateway_showing),
        floor_cpu_us_per_delivery: median(&floor_showing),
        ratio: ratio.median(),
        ratio_min: ratio.min(),
        ratio_max: ratio.max(),
        ratio_interval: ratio.interval(),
        coverage_ms_p100: gateway_showing.coverages.median().p100,
        floor_coverage_ms_p100: floor_showing.coverages.median().p100,
        packets_dropped: drops.so_far()?,
    };
    Ok((step, frame_bytes))
}

fn table(report: &ScaleReport) -> String {
    let mut text = format!(
        "  {:>11}  {:>10}  {:>10}  {:>7}  {:<25}  {:>13}  {:>12}\n",
        "connections", "gateway", "floor", "ratio", "95 % interval (all)", "last: gateway", "floor"
    );
    for step in &report.steps {
        let [low, high] = step.ratio_interval;
        let spread = format!("{low:.3}–{high:.3} ({:.3}–{:.3})", step.ratio_min, step.ratio_max);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:>11}  {:>7.2} µs  {:>7.2} µs  {:>7.3}  {spread:<25}  {:>10.1} ms  {:>9.1} ms",
            step.connections,
            step.server_cpu_us_per_delivery,
            step.floor_cpu_us_per_delivery,
            step.ratio,
            step.coverage_ms_p100,
            step.floor_coverage_ms_p100
        );
    }
    let _ = writeln!(
        text,
        "  CPU per delivery of {} bytes on the wire; the floor is an io_uring loop on direct descriptors. The largest\n  \
         ratio is {:.3} of the smallest.",
        report.frame_bytes, report.largest_to_smallest
    );
    for step in &report.steps {
        if !step.interleaved {
            let _ = writeln!(
                text,
                "  {} connections: gateway first, then floor; memory has no room for both at a time",
                step.connections
            );
        }
        if step.packets_dropped > 0 {
            let _ = writeln!(
                text,
                "  {} connections: this machine dropped {} packets meanwhile",
                step.connections, step.packets_dropped
            );
        }
    }
    text
}
