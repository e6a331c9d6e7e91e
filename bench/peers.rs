//! `peers`: the same work by the gateway, the floor and the servers that others wrote.
//!
//! All clients are in one room, and everybody gets the same message; the client program is the same
//! for all. Peers do less for it: they accept every upgrade and know no users, where the gateway
//! verifies a token and keeps a session. `bench/peers/README.md` says what each of them is.

mod catalog;
mod findings;
mod measure;
mod plot;
mod publisher;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use clap::Args;
use tidegate::wire::frame::header_bytes;

use crate::common::contender::Contender;
use crate::common::floor::LineServer;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::loopback;
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::{Doing as _, Problem};
use crate::common::progress::Progress;
use crate::common::report;
use crate::common::server::Server;
use crate::fanout;

use catalog::{Installed, Peer, Told, installed};
use findings::{Findings, Kind, Shown};
use measure::Showing;
use publisher::PublishedServer;

const REPETITIONS: u32 = 7;
/// Descriptors that a server needs beside those of its connections.
const FILES_RESERVED: u64 = 256;

/// `tidegate-bench peers`
#[derive(Clone, Debug, Args)]
pub(crate) struct PeersArguments {
    /// Peers to measure beside the gateway and the floor, separated by commas; all by default
    #[arg(long, value_enum, value_name = "PEERS", value_delimiter = ',')]
    only: Vec<Peer>,
    /// Connections of each server
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Bytes of a message on the wire, WebSocket header included (one more where the gateway has no
    /// message of that length)
    #[arg(long, value_name = "BYTES", default_value_t = 138,
        value_parser = clap::value_parser!(u16).range(64..=2_048))]
    payload: u16,
    /// Where `bench/peers/install.sh` put the peers
    #[arg(long, value_name = "FOLDER", default_value = "target/peers")]
    installed: PathBuf,
    /// Where the peers' sources are
    #[arg(long, value_name = "FOLDER", default_value = "bench/peers")]
    sources: PathBuf,
    /// Draw the figures into this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// A server that takes part.
enum Entrant {
    Gateway,
    Floor,
    Peer(Installed),
}

/// A server with its clients.
enum Running {
    Gateway(Contender<Gateway>),
    Lines(Contender<LineServer>),
    Published(Contender<PublishedServer>),
}

/// Measures and prints.
pub(crate) fn run(arguments: &PeersArguments, machine: &Machine) -> Result<(), Problem> {
    let entrants = entrants(arguments)?;
    check(arguments, machine, entrants.len())?;
    arguments.options.take_effect()?;
    let _queues = loopback::lengthen_queues_if_possible();
    let repetitions = arguments.options.repetitions_or(REPETITIONS);
    let mut showings = vec![Showing::default(); entrants.len()];
    let progress = Progress::new(0);
    let frame_bytes = frame_bytes(arguments, machine, &progress)?;
    let crowd = Crowd { arguments, machine, progress: &progress, frame_bytes };
    let mut all = Vec::new();
    for repetition in 1..=repetitions {
        for (entrant, showing) in entrants.iter().zip(&mut showings) {
            let stage = format!("{repetition}/{repetitions} {}", entrant.name());
            progress.stage(stage, u64::from(arguments.connections));
            let running = entrant.connect(&crowd, showing);
            let running = running.map_err(|problem| entrant.about(&problem))?;
            if repetition == repetitions {
                all.push(running);
            }
        }
    }
    progress.stage("broadcasting", u64::from(repetitions));
    for repetition in 0..repetitions {
        // Now forwards, now backwards: nobody always comes after the same server.
        let mut order: Vec<usize> = (0..all.len()).collect();
        if repetition % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let turned = all[place].turn(&mut showings[place]);
            turned.map_err(|problem| entrants[place].about(&problem))?;
        }
        progress.at(u64::from(repetition) + 1);
    }
    drop(all);
    let shown: Vec<Shown> =
        entrants.iter().zip(showings).map(|(entrant, showing)| entrant.shown(showing)).collect();
    drop(progress);
    let findings = Findings::of(arguments.connections, frame_bytes, repetitions, &shown);
    if let Some(path) = &arguments.plot {
        draw(path, &findings, machine)?;
    }
    report::print_text("peers", machine, &findings, arguments.options.json, &findings.table())
}

fn entrants(arguments: &PeersArguments) -> Result<Vec<Entrant>, Problem> {
    let wanted: Vec<Peer> =
        if arguments.only.is_empty() { Peer::ALL.to_vec() } else { arguments.only.clone() };
    let peers = installed(&wanted, &arguments.installed, &arguments.sources)?;
    if let Some(absent) = peers.iter().find(|it| !it.sources.is_dir()) {
        return Err(Problem::new(format!(
            "{} is not there: run this in the repository, or say --sources FOLDER",
            absent.sources.display()
        )));
    }
    Ok([Entrant::Gateway, Entrant::Floor]
        .into_iter()
        .chain(peers.into_iter().map(Entrant::Peer))
        .collect())
}

/// What would fail in the middle is said at the beginning.
fn check(arguments: &PeersArguments, machine: &Machine, servers: usize) -> Result<(), Problem> {
    let connections = u64::from(arguments.connections);
    if arguments.options.port != 0 {
        return Err(Problem::new(
            "--port: there are several servers here, each takes a free port; leave --port out",
        ));
    }
    let files = machine.file_limit();
    if connections + FILES_RESERVED > files {
        return Err(Problem::new(format!(
            "--connections {connections}: peers need a descriptor for each, and {files} is the limit of open \
             files; take {} at most, or raise the limit",
            files.saturating_sub(FILES_RESERVED)
        )));
    }
    if let Some(path) = &arguments.plot {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.doing(format!("--plot: writing {}", path.display()))?;
    }
    memory::check_room(connections * servers as u64)
}

/// How long everybody's messages will be: as wanted, or a byte longer where the gateway's protocol has
/// no message of that length.
fn frame_bytes(
    arguments: &PeersArguments,
    machine: &Machine,
    progress: &Progress,
) -> Result<usize, Problem> {
    let settings = GatewaySettings { connections: 1, show: None, retries: true };
    let gateway = Gateway::start(&settings, &arguments.options)?;
    let mut contender = Contender::new(gateway, 1, machine.file_limit())?;
    fanout::prepare(&mut contender, usize::from(arguments.payload), progress)
}

fn draw(path: &Path, findings: &Findings, machine: &Machine) -> Result<(), Problem> {
    let spread =
        "Bars are medians, whiskers the smallest and the largest repetition; shorter is better.";
    let notes = [&findings.conditions(), &machine.line(), spread];
    let title = "tidegate and its peers: the same work, the same client";
    let drawn = plot::svg(title, &notes, &findings.panels());
    std::fs::write(path, drawn).doing(format!("writing {}", path.display()))
}

impl Entrant {
    fn name(&self) -> &str {
        match self {
            Entrant::Gateway => "tidegate",
            Entrant::Floor => "floor: send() loop",
            Entrant::Peer(installed) => installed.peer.title(),
        }
    }

    /// A problem with the name of the server that had it.
    fn about(&self, problem: &Problem) -> Problem {
        Problem::new(format!("{}: {problem}", self.name()))
    }

    fn shown(&self, showing: Showing) -> Shown {
        let (kind, version) = match self {
            Entrant::Gateway => (Kind::Gateway, ""),
            Entrant::Floor => (Kind::Floor, ""),
            Entrant::Peer(installed) => (Kind::Peer, installed.version.as_str()),
        };
        Shown { kind, name: self.name().to_owned(), version: version.to_owned(), showing }
    }

    /// A fresh server with all its clients.
    fn connect(&self, crowd: &Crowd<'_>, showing: &mut Showing) -> Result<Running, Problem> {
        let Crowd { arguments, frame_bytes, .. } = crowd;
        let PeersArguments { connections, options, .. } = arguments;
        let body_bytes = frame_bytes - header_bytes(frame_bytes - 2);
        match self {
            Entrant::Gateway => {
                let settings =
                    GatewaySettings { connections: *connections, show: None, retries: true };
                let gateway = Gateway::start(&settings, options)?;
                let prepared = |contender: &mut Contender<Gateway>| {
                    fanout::prepare(contender, *frame_bytes, crowd.progress).map(drop)
                };
                crowd.meets(gateway, showing, prepared).map(Running::Gateway)
            }
            Entrant::Floor => {
                let sizes = [connections.to_string(), frame_bytes.to_string()];
                let floor = LineServer::floor("floor-fanout", &sizes, options)?;
                crowd.meets(floor, showing, |_| Ok(())).map(Running::Lines)
            }
            Entrant::Peer(installed) if installed.peer.told() == Told::InLines => {
                let mut command = installed.command(0, body_bytes);
                let server = LineServer::start(installed.peer.title(), &mut command, options)?;
                crowd.meets(server, showing, |_| Ok(())).map(Running::Lines)
            }
            Entrant::Peer(installed) => {
                let server = PublishedServer::start(installed, body_bytes, options)?;
                crowd.meets(server, showing, |_| Ok(())).map(Running::Published)
            }
        }
    }
}

/// The clients that every server gets.
struct Crowd<'a> {
    arguments: &'a PeersArguments,
    machine: &'a Machine,
    progress: &'a Progress,
    /// What everybody's messages have on the wire.
    frame_bytes: usize,
}

impl Crowd<'_> {
    /// Everybody connects to a server that was empty, after what it needs to be prepared.
    fn meets<S: Server>(
        &self,
        server: S,
        showing: &mut Showing,
        prepare: impl FnOnce(&mut Contender<S>) -> Result<(), Problem>,
    ) -> Result<Contender<S>, Problem> {
        let connections = self.arguments.connections;
        let empty_bytes = memory::resident_bytes(server.process_id())?;
        let mut contender = Contender::new(server, connections, self.machine.file_limit())?;
        prepare(&mut contender)?;
        measure::connect(&mut contender, empty_bytes, connections, showing, self.progress)?;
        Ok(contender)
    }
}

impl Running {
    fn turn(&mut self, showing: &mut Showing) -> Result<(), Problem> {
        match self {
            Running::Gateway(contender) => measure::turn(contender, showing),
            Running::Lines(contender) => measure::turn(contender, showing),
            Running::Published(contender) => measure::turn(contender, showing),
        }
    }
}
