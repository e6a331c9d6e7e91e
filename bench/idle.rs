//! `idle`: what a connection costs while nothing happens.
//!
//! Every connection is authenticated (an HS256 token in the upgrade request), a member of the room
//! of a running show, and has a player record; the gateway's own count of players must agree. User
//! memory is the gateway's resident set over that of the empty gateway; the smaller `--connections`,
//! the more of what is allocated once is in it. Kernel memory is slab, of *both* ends of each
//! loopback connection and of what the clients arm (a poll, some 260 bytes); beside it stands the
//! same of the floor, sockets in direct descriptors with nothing armed at their end. The rate of
//! connects is what one core of each side makes of it; CPU per connect is `connect`'s to tell.

use clap::Args;
use serde::Serialize;

use crate::common::contender::Contender;
use crate::common::counting::per_second;
use crate::common::floor::LineServer;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server;
use crate::common::show::{SHOW, show_file};
use crate::common::stats::{Figures, as_f64_ns};

const REPETITIONS: u32 = 3;

/// `tidegate-bench idle`
#[derive(Clone, Debug, Args)]
pub(crate) struct IdleArguments {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Serialize)]
struct IdleReport {
    connected: u32,
    /// By the gateway's own count.
    players: u64,
    repetitions: u32,
    server_rss_bytes_per_connection: f64,
    server_rss_bytes_per_connection_min: f64,
    server_rss_bytes_per_connection_max: f64,
    server_rss_bytes_empty: u64,
    kernel_bytes_per_connection: f64,
    floor_kernel_bytes_per_connection: f64,
    connects_per_s: f64,
    floor_connects_per_s: f64,
}

/// What one server with everybody connected showed.
struct Showing {
    resident_empty: u64,
    resident_each: f64,
    kernel_each: f64,
    connects_per_s: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &IdleArguments, machine: &Machine) -> Result<(), Problem> {
    let IdleArguments { connections, options } = arguments;
    memory::check_room(u64::from(*connections))?;
    options.take_effect()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(u64::from(*connections));
    let [mut rss, mut kernel, mut floor_kernel, mut rate, mut floor_rate, mut empty]: [Figures; 6] =
        Default::default();
    let mut players = 0;
    for repetition in 1..=repetitions {
        progress.stage(format!("gateway {repetition}/{repetitions}"), u64::from(*connections));
        let settings = GatewaySettings {
            connections: *connections,
            show: Some(show_file(10_000)),
            retries: true,
        };
        let before = memory::slab_at_rest()?;
        let mut gateway = Gateway::start(&settings, options)?;
        gateway.command(SHOW, "open-lobby")?;
        let mut contender = Contender::new(gateway, *connections, machine.file_limit())?;
        let shown = fill(&mut contender, before, &progress)?;
        let show = contender.server.operator().ask("GET", &format!("/v1/shows/{SHOW}"), "")?;
        players = show["joined"].as_u64().unwrap_or(0);
        drop(contender);
        rss.push(shown.resident_each);
        kernel.push(shown.kernel_each);
        rate.push(shown.connects_per_s);
        empty.push(as_f64_ns(shown.resident_empty));

        progress.stage(format!("floor {repetition}/{repetitions}"), u64::from(*connections));
        let before = memory::slab_at_rest()?;
        let sizes = [connections.to_string(), "138".to_owned()];
        let floor = LineServer::floor("floor-fanout-ring", &sizes, options)?;
        let mut contender = Contender::new(floor, *connections, machine.file_limit())?;
        let shown = fill(&mut contender, before, &progress)?;
        floor_kernel.push(shown.kernel_each);
        floor_rate.push(shown.connects_per_s);
    }
    drop(progress);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was a count of bytes"
    )]
    let server_rss_bytes_empty = empty.median() as u64;
    let report = IdleReport {
        connected: *connections,
        players,
        repetitions,
        server_rss_bytes_per_connection: rss.median(),
        server_rss_bytes_per_connection_min: rss.min(),
        server_rss_bytes_per_connection_max: rss.max(),
        server_rss_bytes_empty,
        kernel_bytes_per_connection: kernel.median(),
        floor_kernel_bytes_per_connection: floor_kernel.median(),
        connects_per_s: rate.median(),
        floor_connects_per_s: floor_rate.median(),
    };
    report::print("idle", machine, &report, options.json, table(&report))
}

/// Connects everybody and looks at what that took; `before` is the slab without any of it.
fn fill<S: Server>(
    contender: &mut Contender<S>,
    before: u64,
    progress: &Progress,
) -> Result<Showing, Problem> {
    let server = contender.server.process_id();
    let resident_empty = memory::resident_bytes(server)?;
    let connections = contender.clients.len();
    let took_ns = contender.fill(connections, progress)?;
    let kernel = memory::slab_at_rest()?.saturating_sub(before);
    let resident = memory::resident_bytes(server)?.saturating_sub(resident_empty);
    let each = |bytes: u64| as_f64_ns(bytes) / f64::from(connections);
    Ok(Showing {
        resident_empty,
        resident_each: each(resident),
        kernel_each: each(kernel),
        connects_per_s: per_second(connections as usize, took_ns),
    })
}

fn table(report: &IdleReport) -> Table {
    let mut table = Table::default();
    let bytes = |figure: f64| format!("{figure:.0} bytes");
    table.row(
        "connected",
        report.connected.to_string(),
        format!("{} players by the gateway's count", report.players),
    );
    let spread = format!(
        "median of {}; {:.0} to {:.0}; empty: {} KiB",
        report.repetitions,
        report.server_rss_bytes_per_connection_min,
        report.server_rss_bytes_per_connection_max,
        report.server_rss_bytes_empty >> 10
    );
    table.row("user memory per connection", bytes(report.server_rss_bytes_per_connection), spread);
    table.row(
        "kernel memory per connection",
        bytes(report.kernel_bytes_per_connection),
        "slab, both ends",
    );
    table.row(
        "floor's kernel memory",
        bytes(report.floor_kernel_bytes_per_connection),
        "slab, both ends",
    );
    let floor = format!("floor, which checks nothing: {:.0}/s", report.floor_connects_per_s);
    table.row("connects", format!("{:.0}/s", report.connects_per_s), floor);
    table
}
