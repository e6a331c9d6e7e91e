//! `flood`: how long a message of the high lane takes to the last connection while the low lane is
//! flooded, beside the same message alone.
//!
//! One gateway, everybody in one room. The service publishes in the low lane at a rate at which the
//! gateway has a sweep under way at every moment: when it comes round to a connection, there is
//! something for it again. Then, now and then, a longer message goes out in the high lane, and what
//! counts is when the last client has it. In each repetition the same is done without the flood,
//! after all of that has been delivered.
//!
//! What waits in a socket already goes before it in any case: where clients can hardly read as fast as
//! the flood comes, it is they who decide, and the report says how busy they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;

use crate::common::clock::{now_ns, pause};
use crate::common::contender::{Broadcast, Contender};
use crate::common::drops::Drops;
use crate::common::gateway::{Gateway, ROOM};
use crate::common::http::Operator;
use crate::common::loopback;
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::{Doing as _, Problem};
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::stats::{Coverage, Coverages, Figures, as_f64_ns};
use crate::fanout::{Crowd, ratios};

const REPETITIONS: u32 = 15;
/// High-lane messages of a repetition, alone and under the flood each.
const MESSAGES: u32 = 3;
/// What the flood's messages carry: as long as a short line of chat.
const LOW_DATA_BYTES: usize = 110;
/// Requests of the flood, a second.
const REQUESTS_PER_SECOND: u32 = 50;
/// How long the flood rises before the first message, and between two.
const RISING: Duration = Duration::from_millis(400);
const BETWEEN: Duration = Duration::from_millis(150);
/// After the flood everything that was published arrives within so many seconds.
const DRAIN_SECONDS: u64 = 30;

/// `tidegate-bench flood`
#[derive(Clone, Debug, Args)]
pub(crate) struct FloodArguments {
    /// Connections, all in one room
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Messages a second in the low lane
    #[arg(long, value_name = "N", default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(50..=3_000))]
    rate: u32,
    /// Bytes on the wire of a message in the high lane
    #[arg(long, value_name = "BYTES", default_value_t = 600,
        value_parser = clap::value_parser!(u16).range(300..=4_096))]
    payload: u16,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What was found.
#[derive(Debug, Serialize)]
struct FloodReport {
    connections: u32,
    frame_bytes: usize,
    repetitions: u32,
    /// Of the low lane: published a second, delivered a second, and by how many messages connections
    /// were behind when a message of the high lane went out.
    low_published_per_s: f64,
    low_deliveries_per_s: f64,
    low_behind: f64,
    alone_ms: Coverage,
    flood_ms: Coverage,
    /// Time to the last under the flood by time to the last alone.
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    ratio_interval: [f64; 2],
    /// The part of the time in which clients were at work under the flood.
    client_share: f64,
    packets_dropped: u64,
}

/// What repetitions showed.
#[derive(Default)]
struct Showing {
    alone: Coverages,
    flood: Coverages,
    /// Time to the last: the median of each repetition.
    alone_last: Vec<f64>,
    flood_last: Vec<f64>,
    published_per_s: Figures,
    deliveries_per_s: Figures,
    behind: Figures,
    client_share: Figures,
}

/// Measures and prints.
pub(crate) fn run(arguments: &FloodArguments, machine: &Machine) -> Result<(), Problem> {
    let FloodArguments { connections, rate, payload, options } = arguments;
    memory::check_room(u64::from(*connections))?;
    options.take_effect()?;
    let _queues = loopback::lengthen_queues_if_possible();
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(0);
    let drops = Drops::count()?;
    let crowd = Crowd { connections: *connections, machine, options, progress: &progress };
    let (mut gateway, frame_bytes) = crowd.gateway(usize::from(*payload))?;
    // Longer than what the flood carries, with room for what a frame has beside.
    gateway.counting.count_from(frame_bytes - 8);
    let mut showing = Showing::default();
    progress.stage("measuring", u64::from(repetitions));
    for repetition in 0..repetitions {
        if repetition % 2 == 0 {
            alone(&mut gateway, &mut showing)?;
            under_flood(&mut gateway, *rate, &mut showing)?;
        } else {
            under_flood(&mut gateway, *rate, &mut showing)?;
            alone(&mut gateway, &mut showing)?;
        }
        progress.at(u64::from(repetition) + 1);
    }
    drop(progress);
    let ratio = ratios(&showing.flood_last, &showing.alone_last);
    let report = FloodReport {
        connections: *connections,
        frame_bytes,
        repetitions,
        low_published_per_s: showing.published_per_s.median(),
        low_deliveries_per_s: showing.deliveries_per_s.median(),
        low_behind: showing.behind.median(),
        alone_ms: showing.alone.median(),
        flood_ms: showing.flood.median(),
        ratio: ratio.median(),
        ratio_min: ratio.min(),
        ratio_max: ratio.max(),
        ratio_interval: ratio.interval(),
        client_share: showing.client_share.median(),
        packets_dropped: drops.so_far()?,
    };
    report::print("flood", machine, &report, options.json, table(&report))
}

fn alone(gateway: &mut Contender<Gateway>, showing: &mut Showing) -> Result<(), Problem> {
    let mut last = Figures::default();
    gateway.broadcast(1)?;
    for _ in 0..MESSAGES {
        let Broadcast { coverage, .. } = gateway.broadcast(1)?;
        showing.alone.push(coverage);
        last.push(coverage.p100);
    }
    showing.alone_last.push(last.median());
    Ok(())
}

fn under_flood(
    gateway: &mut Contender<Gateway>,
    rate: u32,
    showing: &mut Showing,
) -> Result<(), Problem> {
    let mut last = Figures::default();
    let connections = f64::from(gateway.clients.connected());
    let heard_before = gateway.counting.passed_over();
    let from_ns = now_ns();
    gateway.clients.take_busy_ns();
    let flood = Flood::begin(gateway.server.another_operator()?, rate)?;
    pass(gateway, RISING)?;
    let (mut busy_ns, busy_from_ns) = (0, now_ns());
    gateway.clients.take_busy_ns();
    for _ in 0..MESSAGES {
        let due = as_f64_ns(flood.published()) * connections;
        let behind = due - as_f64_ns(gateway.counting.passed_over() - heard_before);
        showing.behind.push(behind / connections);
        busy_ns += gateway.clients.take_busy_ns();
        let Broadcast { coverage, client_busy_ns, .. } = gateway.broadcast(1)?;
        busy_ns += client_busy_ns;
        showing.flood.push(coverage);
        last.push(coverage.p100);
        pass(gateway, BETWEEN)?;
    }
    busy_ns += gateway.clients.take_busy_ns();
    showing.client_share.push(as_f64_ns(busy_ns) / as_f64_ns(now_ns() - busy_from_ns));
    let seconds = as_f64_ns(now_ns() - from_ns) / 1e9;
    let heard = gateway.counting.passed_over() - heard_before;
    let published = flood.end()?;
    showing.published_per_s.push(as_f64_ns(published) / seconds);
    showing.deliveries_per_s.push(as_f64_ns(heard) / seconds);
    showing.flood_last.push(last.median());
    let all = heard_before + published * u64::from(gateway.clients.connected());
    let Contender { clients, counting, .. } = gateway;
    clients
        .until(counting, DRAIN_SECONDS, "the delivery of the flood", |_, counting| {
            counting.passed_over() >= all
        })
        .map_err(|problem| {
            Problem::new(format!(
                "{problem}: what the low lane no longer has is skipped, so take a smaller --rate"
            ))
        })
}

/// Lets clients read for a while.
fn pass(gateway: &mut Contender<Gateway>, time: Duration) -> Result<(), Problem> {
    let until_ns = now_ns() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let Contender { clients, counting, .. } = gateway;
    clients.until(counting, DRAIN_SECONDS, "the passing of time", |_, _| now_ns() >= until_ns)
}

/// A thread that publishes in the low lane; on the clients' core, of which it needs a hundredth.
struct Flood {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), Problem>>,
}

impl Flood {
    fn begin(mut operator: Operator, rate: u32) -> Result<Flood, Problem> {
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&published));
        let messages = (rate / REQUESTS_PER_SECOND).max(1);
        let message = format!("\"{}\"", STANDARD.encode([b'x'; LOW_DATA_BYTES]));
        let list = vec![message; messages as usize].join(",");
        let body = format!("{{\"lane\":\"low\",\"messages\":[{list}]}}");
        let interval_ns = u64::from(messages) * 1_000_000_000 / u64::from(rate);
        let publish = move || {
            let mut due_ns = now_ns();
            while !told.load(Ordering::Relaxed) {
                operator.ask("POST", &format!("/v1/rooms/{ROOM}/publish"), &body)?;
                count.fetch_add(u64::from(messages), Ordering::Relaxed);
                due_ns += interval_ns;
                pause(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().spawn(publish).doing("starting a thread")?;
        Ok(Flood { stop, published, thread })
    }

    fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Ends it; returns how many messages were published.
    fn end(self) -> Result<u64, Problem> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(ended) => ended.map(|()| self.published.load(Ordering::Relaxed)),
            Err(_) => Err(Problem::new("the thread that floods the low lane has panicked")),
        }
    }
}

fn table(report: &FloodReport) -> Table {
    let mut table = Table::default();
    let size = format!("bytes on the wire, to {} connections", report.connections);
    for (who, coverage) in [("alone", report.alone_ms), ("under the flood", report.flood_ms)] {
        let Coverage { p50, p99, p999, p100 } = coverage;
        let others = format!("ms to all; 50 % {p50:.1}, 99 % {p99:.1}, 99.9 % {p999:.1}");
        table.row(&format!("high lane, {who}"), format!("{p100:.1}"), others);
    }
    let [low, high] = report.ratio_interval;
    let spread = format!(
        "to the last; median of {}; {:.3} to {:.3}, 95 % interval {low:.3} to {high:.3}",
        report.repetitions, report.ratio_min, report.ratio_max
    );
    table.row("ratio", format!("{:.3}", report.ratio), spread);
    table.row("message", report.frame_bytes.to_string(), size);
    let delivered = format!("a second; delivered {:.0} a second", report.low_deliveries_per_s);
    table.row("flood, published", format!("{:.0}", report.low_published_per_s), delivered);
    let note = "messages, the mean connection, when one of the high lane goes out";
    table.row("flood, behind by", format!("{:.1}", report.low_behind), note);
    let note = "of the clients' time they were at work under the flood";
    table.row("clients", format!("{:.0} %", report.client_share * 100.0), note);
    if report.packets_dropped > 0 {
        let note = "on this machine meanwhile; TCP sends them again after 200 ms";
        table.row("packets dropped", report.packets_dropped.to_string(), note);
    }
    table
}
