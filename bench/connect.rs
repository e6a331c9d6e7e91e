//! `connect`: what a connect costs the gateway, from the SYN to the room, beside accepting, reading
//! and writing with as many round trips; and what a storm of connects looks like.
//!
//! A repetition connects everybody by one path to one server and lets them go again, for both
//! servers and both paths; only the connecting is measured, the leaving is over before the next
//! begins. With the gateway a client is in when it has heard that it joined its room; tokens are
//! made before. With the floor it is in when each of its messages was answered.
//!
//! The storm: everybody connects as fast as one core can, then all are gone in the same instant and
//! come back at once. Times are the clients'; the gateway must end with as many connections and
//! sessions as there are clients, by its own metrics.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::common::clients::{CONNECTS_IN_FLIGHT, Clients, ClientsSettings};
use crate::common::clock::{ProcessClock, now_ns, pause};
use crate::common::contender::patience_s;
use crate::common::entering::{Entering, Path};
use crate::common::floor::LineServer;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server;
use crate::common::stats::{Figures, as_f64_ns};

const REPETITIONS: u32 = 9;
/// How many of a storm may be between connect and upgrade: a backlog's worth.
const STORM_IN_FLIGHT: u32 = 2_048;
/// What a server still does after the last client is in.
const AFTERMATH: Duration = Duration::from_millis(5);
/// Until those who left are forgotten: between two looks, and how many.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 400;
/// The floor says nothing about who has left: it is given this long.
const FLOOR_FORGETS: Duration = Duration::from_millis(200);

/// `tidegate-bench connect`
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArguments {
    /// Connections of one repetition
    #[arg(long, value_name = "N", default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(1..=16_000))]
    connections: u32,
    /// Connections of the storm; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 16_000,
        value_parser = clap::value_parser!(u32).range(0..=200_000))]
    storm: u32,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Serialize)]
struct PathReport {
    path: Path,
    server_cpu_us_per_connect: f64,
    server_cpu_us_per_connect_min: f64,
    server_cpu_us_per_connect_max: f64,
    floor_cpu_us_per_connect: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    ratio_interval: [f64; 2],
}

#[derive(Debug, Default, Serialize)]
struct StormReport {
    connections: u32,
    /// From the first connect to the last one's joining.
    in_ms: f64,
    /// From the instant at which all were gone until the gateway had forgotten them.
    gone_ms: f64,
    /// From the same instant, without waiting, until everybody was back.
    back_ms: f64,
    connections_at_end: u64,
    sessions_at_end: u64,
    server_cpu_us_per_connect: f64,
}

#[derive(Debug, Serialize)]
struct ConnectReport {
    connections: u32,
    repetitions: u32,
    /// Of the one-round-trip path, as in `paths`.
    server_cpu_us_per_connect: f64,
    floor_cpu_us_per_connect: f64,
    ratio: f64,
    paths: Vec<PathReport>,
    client_cpu_us_per_connect: f64,
    storm: Option<StormReport>,
}

/// What everybody's connecting to one server took.
struct Entry {
    clients: Clients,
    server_us: f64,
    client_us: f64,
    took_ns: u64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &ConnectArguments, machine: &Machine) -> Result<(), Problem> {
    let ConnectArguments { connections, storm, options } = arguments;
    memory::check_room(u64::from(*connections.max(storm)))?;
    options.take_effect()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(u64::from(repetitions));
    let most = *connections.max(storm);
    let settings = GatewaySettings { connections: most, show: None, retries: true };
    let mut gateway = Gateway::start(&settings, options)?;
    let floor = LineServer::floor("floor-connect", &[connections.to_string()], options)?;
    let limit = machine.file_limit();
    let mut client_us = Figures::default();
    let mut paths = Vec::new();
    for path in [Path::OneRoundTrip, Path::SeparateFrames] {
        progress.stage(path.name(), u64::from(repetitions));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The first of each is not counted.
        for repetition in 0..=repetitions {
            let mut of_gateway = |ours: &mut Vec<f64>| {
                let entry = enter(&gateway, path, false, *connections, CONNECTS_IN_FLIGHT, limit)?;
                ours.push(entry.server_us);
                client_us.push(entry.client_us);
                drop(entry.clients);
                forgotten(&mut gateway)
            };
            if repetition % 2 == 0 {
                of_gateway(&mut ours)?;
            }
            let entry = enter(&floor, path, true, *connections, CONNECTS_IN_FLIGHT, limit)?;
            theirs.push(entry.server_us);
            drop(entry.clients);
            pause(FLOOR_FORGETS);
            if repetition % 2 == 1 {
                of_gateway(&mut ours)?;
            }
            progress.at(u64::from(repetition));
        }
        paths.push(compared(path, &ours[1..], &theirs[1..]));
    }
    drop(floor);
    let storm = match *storm {
        0 => None,
        count => {
            progress.stage("storm", 2);
            Some(storm_of(&mut gateway, count, limit)?)
        }
    };
    drop(progress);
    let report = ConnectReport {
        connections: *connections,
        repetitions,
        server_cpu_us_per_connect: paths[0].server_cpu_us_per_connect,
        floor_cpu_us_per_connect: paths[0].floor_cpu_us_per_connect,
        ratio: paths[0].ratio,
        paths,
        client_cpu_us_per_connect: client_us.median(),
        storm,
    };
    report::print("connect", machine, &report, options.json, table(&report))
}

/// Connects everybody.
fn enter<S: Server>(
    server: &S,
    path: Path,
    of_floor: bool,
    connections: u32,
    in_flight_max: u32,
    file_limit: u64,
) -> Result<Entry, Problem> {
    let settings = ClientsSettings {
        port: server.port(),
        connections,
        file_limit,
        in_flight_max,
        look_interval_ns: 0,
    };
    let mut clients = Clients::new(settings)?;
    let mut audience = Entering::new(path, of_floor, connections);
    let cpu: ProcessClock = server.cpu()?;
    clients.want(connections);
    let cpu_from_ns = cpu.ns()?;
    let from_ns = now_ns();
    let what = "everybody's connecting";
    clients.until(&mut audience, patience_s(connections), what, |_, audience| {
        audience.joined() >= connections
    })?;
    let took_ns = now_ns() - from_ns;
    pause(AFTERMATH);
    let each = |ns: u64| as_f64_ns(ns) / 1e3 / f64::from(connections);
    let server_us = each(cpu.ns()? - cpu_from_ns);
    let client_us = each(clients.take_busy_ns());
    Ok(Entry { clients, server_us, client_us, took_ns })
}

/// Waits until the gateway has noticed that all have left.
fn forgotten(gateway: &mut Gateway) -> Result<(), Problem> {
    for _ in 0..LOOKS_MAX {
        if gateway.metric::<u64>("tidegate_connections")? == 0 {
            return Ok(());
        }
        pause(LOOK);
    }
    Err(Problem::new("the gateway still has connections 20 s after their clients were gone"))
}

fn storm_of(gateway: &mut Gateway, count: u32, limit: u64) -> Result<StormReport, Problem> {
    let path = Path::OneRoundTrip;
    let first = enter(gateway, path, false, count, STORM_IN_FLIGHT, limit)?;
    let in_ns = first.took_ns;
    let gone_from_ns = now_ns();
    drop(first.clients);
    forgotten(gateway)?;
    let gone_ns = now_ns() - gone_from_ns;
    // Once more, and this time nobody waits for anything.
    let again = enter(gateway, path, false, count, STORM_IN_FLIGHT, limit)?;
    let back_from_ns = now_ns();
    drop(again.clients);
    let back = enter(gateway, path, false, count, STORM_IN_FLIGHT, limit)?;
    let back_ns = now_ns() - back_from_ns;
    let mut report = StormReport {
        connections: count,
        in_ms: as_f64_ns(in_ns) / 1e6,
        gone_ms: as_f64_ns(gone_ns) / 1e6,
        back_ms: as_f64_ns(back_ns) / 1e6,
        server_cpu_us_per_connect: back.server_us,
        ..StormReport::default()
    };
    for _ in 0..LOOKS_MAX {
        report.connections_at_end = gateway.metric("tidegate_connections")?;
        report.sessions_at_end = gateway.metric("tidegate_sessions")?;
        let wanted = u64::from(count);
        if report.connections_at_end == wanted && report.sessions_at_end == wanted {
            return Ok(report);
        }
        pause(LOOK);
    }
    Err(Problem::new(format!(
        "{count} clients came back after the storm, but the gateway has {} connections and {} sessions",
        report.connections_at_end, report.sessions_at_end
    )))
}

fn compared(path: Path, ours: &[f64], theirs: &[f64]) -> PathReport {
    let figures = |figures: Vec<f64>| {
        let mut sorted = Figures::default();
        figures.into_iter().for_each(|figure| sorted.push(figure));
        sorted
    };
    let ratios = figures(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
    let (ours, theirs) = (figures(ours.to_vec()), figures(theirs.to_vec()));
    PathReport {
        path,
        server_cpu_us_per_connect: ours.median(),
        server_cpu_us_per_connect_min: ours.min(),
        server_cpu_us_per_connect_max: ours.max(),
        floor_cpu_us_per_connect: theirs.median(),
        ratio: ratios.median(),
        ratio_min: ratios.min(),
        ratio_max: ratios.max(),
        ratio_interval: ratios.interval(),
    }
}

fn table(report: &ConnectReport) -> Table {
    let mut table = Table::default();
    let us = |figure: f64| format!("{figure:.2} µs");
    for path in &report.paths {
        let name = path.path.name();
        let spread = format!(
            "{:.2} to {:.2}; {} connections, {} repetitions",
            path.server_cpu_us_per_connect_min,
            path.server_cpu_us_per_connect_max,
            report.connections,
            report.repetitions
        );
        table.row(
            &format!("{name}: gateway, CPU per connect"),
            us(path.server_cpu_us_per_connect),
            spread,
        );
        table.row(
            &format!("{name}: floor"),
            us(path.floor_cpu_us_per_connect),
            "accept, read, write",
        );
        let [low, high] = path.ratio_interval;
        let spread = format!(
            "{:.3} to {:.3}, 95 % interval {low:.3} to {high:.3}",
            path.ratio_min, path.ratio_max
        );
        table.row(&format!("{name}: ratio"), format!("{:.3}", path.ratio), spread);
    }
    table.row("client, CPU per connect", us(report.client_cpu_us_per_connect), "");
    if let Some(storm) = &report.storm {
        let count = format!("{} connections, all in", storm.connections);
        table.row("storm: everybody comes", format!("{:.0} ms", storm.in_ms), count);
        table.row("storm: all gone, forgotten", format!("{:.0} ms", storm.gone_ms), "");
        let end = format!(
            "{} connections and {} sessions at the end; {} CPU per connect",
            storm.connections_at_end,
            storm.sessions_at_end,
            us(storm.server_cpu_us_per_connect)
        );
        table.row("storm: all gone, all back", format!("{:.0} ms", storm.back_ms), end);
    }
    table
}
