//! `stages`: the four rounds of load tests before a show goes live. The first two are ramps that find
//! the limit, and what so many viewers would need; rounds 3 and 4 (in `several`) are of a size, and
//! hold or do not.
//!
//! Round 1 takes each interface of one gateway by itself: connects, heartbeats, a question to
//! everybody, answers, chat through the room. Round 2 takes everything at once, counted in viewers: a
//! question and two further messages to all, everybody answering, newcomers, heartbeats, chat. Every
//! attempt has a gateway and an audience of its own. A load is raised until the service that the
//! flags ask for fails; what limited then (the gateway's core or the clients') is in the report.
//!
//! CPU per unit of work is that at the last load that held: at lower loads a good part of it is going
//! to sleep and waking up. Whether the gateway's core is saturated is told by its own account of
//! turns that had something to do.

mod criteria;
mod findings;
mod hall;
mod interfaces;
mod ramp;
pub(crate) mod several;
mod showing;
mod viewers;

use std::time::Duration;

use clap::Args;
use tidegate::ops::capacity::{Host, Wanted, capacity};

use crate::common::clock::now_ns;
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report;
use crate::common::stats::as_f64_ns;

use criteria::Criteria;
use findings::{CapacityReport, Finding, Limit, Round, StagesReport, Step, costs};
use interfaces::{Interface, OneHost, Viewer, each_by_itself, everything_together};
use ramp::{Ramp, RampSettings, Stopped};
use several::Several;

const FACTOR: f64 = 2.0;
const BISECTIONS_MAX: u32 = 2;
const GIB: f64 = (1_u64 << 30) as f64;

/// `tidegate-bench stages`
#[derive(Clone, Debug, Args)]
pub(crate) struct StagesArguments {
    /// Rounds: 1 is each interface by itself, 2 everything together, 3 several gateways behind a
    /// dispatcher of which one is drained and one killed, 4 a whole show on such gateways
    #[arg(long, value_name = "ROUNDS", default_value = "1,2", value_delimiter = ',',
        value_parser = clap::value_parser!(u8).range(1..=4))]
    rounds: Vec<u8>,
    /// Connections where they are not what is raised
    #[arg(long, value_name = "N", default_value_t = 8_000,
        value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    connections: u32,
    /// Connections at most, whatever is raised
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    connections_max: u32,
    /// How long a load is kept up
    #[arg(long, value_name = "MS", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(50..=60_000))]
    step_ms: u32,
    /// Attempts of one ramp at most
    #[arg(long, value_name = "N", default_value_t = 14,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    steps_max: u32,
    /// No attempt of a ramp begins later than this
    #[arg(long, value_name = "SECONDS", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=3_600))]
    ramp_seconds_max: u32,
    #[command(flatten)]
    criteria: Criteria,
    #[command(flatten)]
    several: Several,
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    options: Options,
}

/// For whom the capacity is computed; a viewer of round 2 is one of these.
#[derive(Clone, Debug, Args)]
struct Plan {
    /// Viewers to compute the capacity for
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..))]
    viewers: u64,
    /// Minutes in which all of them join
    #[arg(long, value_name = "MINUTES", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1_440))]
    join_minutes: u32,
    /// Seconds between two heartbeats of a viewer
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=3_600))]
    heartbeat_seconds: u32,
    /// Answers a second at the peak, of all viewers
    #[arg(long, value_name = "N", default_value_t = 300_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    answers_per_s: u32,
    /// Data of a message to everybody, measured and planned
    #[arg(long, value_name = "BYTES", default_value_t = 600,
        value_parser = clap::value_parser!(u16).range(1..=4_000))]
    question_bytes: u16,
    /// Chat messages a second in the room, each to everybody
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    chats_per_s: u32,
    /// Data of a chat message
    #[arg(long, value_name = "BYTES", default_value_t = 130,
        value_parser = clap::value_parser!(u16).range(8..=1_024))]
    chat_bytes: u16,
    /// Cores of a planned host
    #[arg(long, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    cores: u32,
    /// Memory of a planned host, GiB
    #[arg(long, value_name = "GIB", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    memory_gib: u32,
    /// NIC of a planned host, Gbit/s
    #[arg(long, value_name = "GBIT", default_value_t = 25,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nic_gbit: u32,
    /// Of each resource of a host, this part is kept free
    #[arg(long, value_name = "PERCENT", default_value_t = 25,
        value_parser = clap::value_parser!(u32).range(0..=99))]
    headroom_percent: u32,
}

/// Measures and prints.
pub(crate) fn run(arguments: &StagesArguments, machine: &Machine) -> Result<(), Problem> {
    let StagesArguments { connections, connections_max, plan, options, criteria, .. } = arguments;
    check(arguments)?;
    memory::check_room(u64::from(*connections_max))?;
    options.take_effect()?;
    let begun_ns = now_ns();
    let host = one_host(arguments, machine);
    let progress = Progress::new(u64::from(arguments.steps_max));
    let mut rounds = Vec::new();
    for (round, title, interfaces) in [
        (1, "one interface on one host", each_by_itself(&host)),
        (2, "everything on one host", everything_together(&host)),
    ] {
        if arguments.rounds.contains(&round) {
            let climbed = interfaces.into_iter().map(|it| climb(it, round, arguments, &progress));
            let interfaces = climbed.collect::<Result<Vec<Finding>, Problem>>()?;
            rounds.push(Round { round, title, interfaces });
        }
    }
    drop(progress);
    let plays = |round| arguments.rounds.contains(&round);
    let exodus = plays(3).then(|| several::exodus(arguments.several, options)).transpose()?;
    let chain = plays(4).then(|| several::chain(arguments.several, options)).transpose()?;
    let (capacity, capacity_missing) = match capacity_report(arguments, &rounds) {
        Ok(report) => (Some(report), None),
        Err(why) => (None, Some(why)),
    };
    let report = StagesReport {
        criteria: *criteria,
        connections: *connections,
        connections_max: *connections_max,
        question_bytes: usize::from(plan.question_bytes),
        chat_bytes: usize::from(plan.chat_bytes),
        server_cores: options.server_core.len(),
        rounds,
        exodus,
        chain,
        capacity,
        capacity_missing,
        took_s: as_f64_ns(now_ns() - begun_ns) / 1e9,
    };
    report::print_text("stages", machine, &report, options.json, &findings::text(&report))?;
    let held =
        report.exodus.iter().all(|round| round.held) && report.chain.iter().all(|round| round.held);
    if held { Ok(()) } else { Err(Problem::new("a round did not hold: the report says what")) }
}

fn check(arguments: &StagesArguments) -> Result<(), Problem> {
    let StagesArguments { connections, connections_max, options, .. } = arguments;
    if options.repetitions.is_some() {
        return Err(Problem::new(
            "--repetitions: a ramp has attempts instead; --steps-max and --step-ms say how many and how long",
        ));
    }
    if connections > connections_max {
        return Err(Problem::new(format!(
            "--connections {connections} is more than --connections-max {connections_max}: raise that, or ask for fewer"
        )));
    }
    Ok(())
}

fn one_host(arguments: &StagesArguments, machine: &Machine) -> OneHost {
    let StagesArguments { connections, connections_max, step_ms, plan, options, criteria, .. } =
        arguments;
    OneHost {
        options: options.clone(),
        file_limit: machine.file_limit(),
        connections: *connections,
        connections_max: *connections_max,
        question_bytes: usize::from(plan.question_bytes),
        chat_bytes: usize::from(plan.chat_bytes),
        step: Duration::from_millis(u64::from(*step_ms)),
        viewer: Viewer {
            connects_per_s: 1.0 / f64::from(plan.join_minutes * 60),
            heartbeats_per_s: 1.0 / f64::from(plan.heartbeat_seconds),
            answers_per_s: f64::from(plan.answers_per_s) / as_f64_ns(plan.viewers),
            chats_per_s: f64::from(plan.chats_per_s),
        },
        window: Duration::from_millis(u64::from(criteria.window_ms())),
    }
}

/// Raises the load of one interface until it fails.
fn climb(
    mut interface: Box<dyn Interface>,
    round: u8,
    arguments: &StagesArguments,
    progress: &Progress,
) -> Result<Finding, Problem> {
    let about = interface.about();
    let mut ramp = Ramp::new(RampSettings {
        start: about.start,
        cap: about.cap,
        factor: FACTOR,
        bisections_max: BISECTIONS_MAX,
        steps_max: arguments.steps_max,
    });
    let last_ns = now_ns() + u64::from(arguments.ramp_seconds_max) * 1_000_000_000;
    let mut steps: Vec<Step> = Vec::new();
    let ended = loop {
        let load = match ramp.next() {
            Ok(_) if now_ns() > last_ns => break "time",
            Ok(load) => load,
            Err(Stopped::Found) => break "found",
            Err(Stopped::Capped) => break "capped",
            Err(Stopped::Steps) => break "steps",
        };
        let what = format!("{round}: {}, {load} {}", about.name, about.load);
        progress.stage(what, u64::from(arguments.steps_max));
        progress.at(steps.len() as u64);
        let showing = interface.attempt(load)?;
        let failed_by = arguments.criteria.judge(&showing);
        ramp.judge(load, failed_by.is_none());
        let each = |cpu_s: f64| cpu_s * 1e6 / interface.work(&showing).max(1.0);
        steps.push(Step {
            load,
            held: failed_by.is_none(),
            failed_by,
            server_cpu_us_per_work: each(showing.server_cpu_s),
            client_cpu_us_per_work: each(showing.client_cpu_s),
            showing,
        });
    };
    let failure = steps.iter().rfind(|step| !step.held && Some(step.load) == ramp.failed());
    let mut finding = Finding {
        interface: about.name,
        load_unit: about.load,
        work_unit: about.work,
        held: ramp.held(),
        failed: ramp.failed(),
        failed_by: failure.and_then(|step| step.failed_by.clone()),
        ended,
        limited_by: failure.map(|step| Limit::of(&step.showing)),
        server_cpu_us_per_work: None,
        client_cpu_us_per_work: None,
        steps,
    };
    let each = finding.best().map(|it| (it.server_cpu_us_per_work, it.client_cpu_us_per_work));
    (finding.server_cpu_us_per_work, finding.client_cpu_us_per_work) = each.unzip();
    Ok(finding)
}

fn capacity_report(
    arguments: &StagesArguments,
    rounds: &[Round],
) -> Result<CapacityReport, String> {
    let StagesArguments { plan, options, criteria, .. } = arguments;
    let of_round = |number: u8| rounds.iter().find(|round| round.round == number);
    let costs = costs(of_round(1).map_or(&[][..], |round| &round.interfaces))?;
    let wanted = Wanted {
        viewers: plan.viewers,
        join_s: f64::from(plan.join_minutes) * 60.0,
        heartbeat_s: f64::from(plan.heartbeat_seconds),
        window_ms: f64::from(criteria.window_ms()),
        answers_per_s: f64::from(plan.answers_per_s),
        chats_per_s: f64::from(plan.chats_per_s),
    };
    let headroom_percent = f64::from(plan.headroom_percent);
    let host = Host {
        cores: f64::from(plan.cores),
        memory_bytes: f64::from(plan.memory_gib) * GIB,
        nic_gbit: Some(f64::from(plan.nic_gbit)),
        headroom_percent,
    };
    let memory = memory::total_bytes().map_err(|problem| problem.to_string())?;
    let this_host = Host {
        cores: as_f64_ns(options.server_core.len() as u64),
        memory_bytes: as_f64_ns(memory),
        nic_gbit: None,
        // The ramp found a limit, not a plan.
        headroom_percent: 0.0,
    };
    let together = of_round(2).and_then(|round| round.interfaces.first()?.held);
    Ok(CapacityReport {
        needed: capacity(&costs, &wanted, &host)?,
        on_this_host: capacity(&costs, &wanted, &this_host)?,
        costs,
        wanted,
        host,
        this_host,
        viewers_held_together: together,
    })
}
