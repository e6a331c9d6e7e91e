//! `million`: as many connections as a host is for, on one gateway process, in one show.
//!
//! Everybody connects with token and room in the upgrade request; then the operator publishes a
//! question over HTTP, every client answers at once when it has arrived, and all acknowledgements
//! are waited for. That is the harshest audience: a real one takes seconds to read. An answer is
//! lost if it was sent and neither acknowledged nor refused when the countdown was over and nothing
//! came any more; the gateway's own count of answers is in the report too. Coverage is counted from
//! the moment at which the operator's command is sent, and the answers go through the same core as
//! the delivery of the question: the two slow each other down. Load and gateway share the machine's
//! memory bandwidth, and every segment's receive work on loopback is done by the core that sends.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::common::clients::{CONNECTS_IN_FLIGHT, Clients, ClientsSettings};
use crate::common::clock::{now_ns, pause};
use crate::common::contender::patience_s;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::players::Players;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server;
use crate::common::show::{LEAD_MS, SHOW, show_file};
use crate::common::stats::{Coverage, as_f64_ns};

/// After the countdown, how long nothing may come until nothing more will.
const SILENCE_NS: u64 = 5_000_000_000;
/// The gateway's own tallies are asked for so often, and so many times.
const TALLY_LOOK: Duration = Duration::from_millis(100);
const TALLY_LOOKS_MAX: u32 = 30;
/// How often the bar moves.
const SHOW_NS: u64 = 250_000_000;

/// `tidegate-bench million`
#[derive(Clone, Debug, Args)]
pub(crate) struct MillionArguments {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Countdown of the question; it must last until the slowest answer has come
    #[arg(long, value_name = "MS", default_value_t = 60_000,
        value_parser = clap::value_parser!(u32).range(1_000..=600_000))]
    countdown_ms: u32,
    #[command(flatten)]
    options: Options,
}

/// What connecting and playing showed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct MillionReport {
    connected: u32,
    pub(crate) delivered: u32,
    pub(crate) answers: u32,
    lost: u32,
    late: u32,
    retried: u32,
    refused: u32,
    /// Connections that the gateway closed.
    closed: u32,
    /// By the gateway's own count, in time and late.
    answers_counted_by_gateway: u64,
    players_counted_by_gateway: u64,
    coverage_ms: Coverage,
    /// From the command to the acknowledgement of the answer.
    acknowledged_ms: Coverage,
    /// From the answer to its acknowledgement.
    answer_ms: Coverage,
    countdown_ms: u32,
    connects_per_s: f64,
    server_rss_bytes_per_connection: f64,
    server_rss_bytes_empty: u64,
    server_rss_bytes_end: u64,
    kernel_bytes_per_connection: f64,
    server_cpu_us_per_connect: f64,
    /// Question delivered, answer judged and acknowledged.
    server_cpu_us_per_question_and_answer: f64,
    client_us_per_connect: f64,
    client_us_per_question_and_answer: f64,
}

impl MillionReport {
    /// Nothing has happened yet.
    pub(crate) fn of_countdown(countdown_ms: u32) -> MillionReport {
        MillionReport { countdown_ms, ..MillionReport::default() }
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &MillionArguments, machine: &Machine) -> Result<(), Problem> {
    let MillionArguments { connections, countdown_ms, options } = arguments;
    if options.repetitions.is_some_and(|repetitions| repetitions > 1) {
        return Err(Problem::new(
            "--repetitions: million runs once; call it again for another run",
        ));
    }
    memory::check_room(u64::from(*connections))?;
    options.take_effect()?;
    let progress = Progress::new(u64::from(*connections));
    let slab_before = memory::slab_bytes()?;
    let settings = GatewaySettings {
        connections: *connections,
        show: Some(show_file(*countdown_ms)),
        retries: false,
    };
    let gateway = Gateway::start(&settings, options)?;
    let players = Players::new(*connections, gateway.request());
    let mut hall = Hall::open(gateway, players, *connections, machine, progress)?;
    let mut report = MillionReport::of_countdown(*countdown_ms);
    hall.connect(&mut report)?;
    report.kernel_bytes_per_connection =
        each(memory::slab_bytes()?.saturating_sub(slab_before), *connections);
    hall.play(&mut report)?;
    drop(hall);
    report::print("million", machine, &report, options.json, table(&report))
}

/// A gateway and its audience.
pub(crate) struct Hall {
    // Clients go first: the gateway has nobody left to say goodbye to.
    clients: Clients,
    players: Players,
    pub(crate) gateway: Gateway,
    pub(crate) progress: Progress,
}

impl Hall {
    /// Opens the lobby; nobody is there yet.
    pub(crate) fn open(
        mut gateway: Gateway,
        players: Players,
        connections: u32,
        machine: &Machine,
        progress: Progress,
    ) -> Result<Hall, Problem> {
        gateway.command(SHOW, "open-lobby")?;
        let clients = ClientsSettings {
            port: gateway.port(),
            connections,
            file_limit: machine.file_limit(),
            in_flight_max: CONNECTS_IN_FLIGHT,
            look_interval_ns: 0,
        };
        Ok(Hall { clients: Clients::new(clients)?, players, gateway, progress })
    }

    /// Lets everybody go; the gateway with them.
    pub(crate) fn close(self) -> Progress {
        self.progress
    }

    /// Everybody comes.
    pub(crate) fn connect(&mut self, report: &mut MillionReport) -> Result<(), Problem> {
        let connections = self.clients.len();
        self.progress.stage("connecting", u64::from(connections));
        let (server, cpu) = (self.gateway.process_id(), self.gateway.cpu()?);
        let (empty, cpu_from_ns, from_ns) = (memory::resident_bytes(server)?, cpu.ns()?, now_ns());
        self.clients.want(connections);
        let progress = &self.progress;
        let mut shown_ns = from_ns;
        self.clients.until(
            &mut self.players,
            patience_s(connections),
            "everybody's joining",
            |_, players| {
                if now_ns() > shown_ns + SHOW_NS {
                    shown_ns = now_ns();
                    progress.at(u64::from(players.counts().joined));
                }
                players.counts().joined >= connections
            },
        )?;
        let took_ns = now_ns() - from_ns;
        report.connected = self.clients.connected();
        report.connects_per_s = f64::from(connections) * 1e9 / as_f64_ns(took_ns);
        report.server_cpu_us_per_connect = each(cpu.ns()? - cpu_from_ns, connections) / 1e3;
        report.client_us_per_connect = each(self.clients.take_busy_ns(), connections) / 1e3;
        report.server_rss_bytes_empty = empty;
        let resident = memory::resident_bytes(server)?.saturating_sub(empty);
        report.server_rss_bytes_per_connection = each(resident, connections);
        Ok(())
    }

    /// Everybody is asked and answers.
    pub(crate) fn play(&mut self, report: &mut MillionReport) -> Result<(), Problem> {
        let connections = self.clients.len();
        self.progress.stage("question and answers", u64::from(connections));
        let cpu = self.gateway.cpu()?;
        let (cpu_from_ns, from_ns) = (cpu.ns()?, now_ns());
        self.gateway.operator().send("POST", &format!("/v1/shows/{SHOW}/publish"), "")?;
        let over_ns = from_ns + u64::from(report.countdown_ms + LEAD_MS) * 1_000_000;
        let mut shown_ns = from_ns;
        loop {
            self.clients.turn(&mut self.players)?;
            self.players.retry(self.clients.outgoing());
            let (counts, now_ns) = (self.players.counts(), now_ns());
            if now_ns > shown_ns + SHOW_NS {
                shown_ns = now_ns;
                self.progress.at(u64::from(counts.acknowledged));
            }
            let silent = now_ns > over_ns.max(self.players.last_at_ns()) + SILENCE_NS;
            if counts.acknowledged + counts.refused + self.clients.ended() >= connections || silent
            {
                break;
            }
        }
        self.gateway.operator().answer()?;
        report.server_cpu_us_per_question_and_answer =
            each(cpu.ns()? - cpu_from_ns, connections) / 1e3;
        report.client_us_per_question_and_answer =
            each(self.clients.take_busy_ns(), connections) / 1e3;
        let counts = self.players.counts();
        report.delivered = counts.asked;
        report.answers = counts.acknowledged;
        report.lost = counts.asked.saturating_sub(counts.acknowledged + counts.refused);
        report.late = counts.late;
        report.retried = counts.retried;
        report.refused = counts.refused;
        report.closed = self.clients.ended();
        [report.coverage_ms, report.acknowledged_ms, report.answer_ms] =
            self.players.coverages(from_ns);
        self.compare(report)?;
        report.server_rss_bytes_end = memory::resident_bytes(self.gateway.process_id())?;
        Ok(())
    }

    /// Asks the gateway what it has counted; its tallies come a moment after the answers.
    fn compare(&mut self, report: &mut MillionReport) -> Result<(), Problem> {
        for _ in 0..TALLY_LOOKS_MAX {
            let show = self.gateway.operator().ask("GET", &format!("/v1/shows/{SHOW}"), "")?;
            report.answers_counted_by_gateway = count(&show["live"]["answered"]);
            report.players_counted_by_gateway = count(&show["joined"]);
            if report.answers_counted_by_gateway >= u64::from(report.answers) {
                break;
            }
            pause(TALLY_LOOK);
        }
        Ok(())
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn each(total: u64, connections: u32) -> f64 {
    as_f64_ns(total) / f64::from(connections)
}

fn table(report: &MillionReport) -> Table {
    let mut table = Table::default();
    let us = |figure: f64| format!("{figure:.2} µs");
    let players = format!("{} players by the gateway's count", report.players_counted_by_gateway);
    table.row("connected", report.connected.to_string(), players);
    let connect = format!(
        "gateway {} CPU, clients {}",
        us(report.server_cpu_us_per_connect),
        us(report.client_us_per_connect)
    );
    table.row("connects", format!("{:.0}/s", report.connects_per_s), connect);
    let memory = format!("over {} KiB when empty", report.server_rss_bytes_empty >> 10);
    table.row(
        "user memory per connection",
        format!("{:.0} bytes", report.server_rss_bytes_per_connection),
        memory,
    );
    table.row(
        "kernel memory per connection",
        format!("{:.0} bytes", report.kernel_bytes_per_connection),
        "slab, both ends",
    );
    table.row("question delivered", report.delivered.to_string(), "");
    for (what, Coverage { p50, p99, p999, p100 }) in [
        ("question, coverage", report.coverage_ms),
        ("acknowledged, coverage", report.acknowledged_ms),
        ("answer to acknowledgement", report.answer_ms),
    ] {
        table.row(
            what,
            format!("{p50:.0} ms"),
            format!("to 50 %; 99 % {p99:.0}, 99.9 % {p999:.0}, all {p100:.0}"),
        );
    }
    let counted = format!(
        "{} by the gateway's count; {} late, {} told to come again, {} refused",
        report.answers_counted_by_gateway, report.late, report.retried, report.refused
    );
    table.row("answers acknowledged", report.answers.to_string(), counted);
    table.row(
        "answers lost",
        report.lost.to_string(),
        format!("{} connections closed by the gateway", report.closed),
    );
    let clients = format!("clients {}", us(report.client_us_per_question_and_answer));
    table.row(
        "question and answer, CPU",
        us(report.server_cpu_us_per_question_and_answer),
        clients,
    );
    table
}
