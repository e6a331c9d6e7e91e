//! `crowd`: very many join a room within seconds and leave it in one instant, again and again, and
//! some members stay and count what they are told of it.
//!
//! Two shards, so that there is mail between them; it contains one letter or two for each session
//! whose home is on the other shard, which is no message about the room. What members hear about a room
//! whose chat is silent is how many they are.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::common::clients::CONNECTS_IN_FLIGHT;
use crate::common::clock::now_ns;
use crate::common::gateway::{Gateway, GatewaySettings, token};
use crate::common::machine::Machine;
use crate::common::memory;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::progress::Progress;
use crate::common::report::{self, Table};
use crate::common::server::Server as _;
use crate::common::stats::{Figures, as_f64_ns};

use super::hall::{Hall, as_ms, requests};
use super::hearing::LOW;

const REPETITIONS: u32 = 2;
/// How often the room may say how many are in it.
const INFO_INTERVAL_MS: u64 = 2_000;
/// Until the last number has been told.
const SETTLING: Duration = Duration::from_millis(INFO_INTERVAL_MS + 1_500);

/// `tidegate-bench rooms crowd`
#[derive(Clone, Debug, Args)]
pub(crate) struct CrowdArguments {
    /// Members that stay
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    staying: u32,
    /// Members that come and go
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=500_000))]
    comers: u32,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Serialize)]
struct CrowdReport {
    staying: u32,
    comers: u32,
    shards: u16,
    repetitions: u32,
    /// All repetitions together.
    joins_and_leaves: u64,
    seconds: f64,
    /// From the first connect to the last one's joining; and until nobody was counted any more.
    join_ms: f64,
    leave_ms: f64,
    /// What each who stayed was told of it, the least and the most.
    messages_per_member_min: u64,
    messages_per_member_max: u64,
    /// What one message each interval would be.
    messages_bound: u64,
    room_messages: u64,
    mail_batches: u64,
    online_at_end: u64,
    server_cpu_us_per_join_and_leave: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &CrowdArguments, machine: &Machine) -> Result<(), Problem> {
    let CrowdArguments { staying, comers, options } = arguments;
    memory::check_room(u64::from(*staying) + u64::from(*comers))?;
    options.take_effect()?;
    let repetitions = options.repetitions_or(REPETITIONS);
    let progress = Progress::new(u64::from(repetitions));
    let connections = (staying + comers) * 2;
    let settings = GatewaySettings { connections, show: None, retries: true };
    let shards = u16::try_from(options.server_core.len()).unwrap_or(u16::MAX).max(2);
    let more = [
        ("TIDEGATE_SHARDS", shards.to_string()),
        ("TIDEGATE_ROOMS__INFO_INTERVAL_MS", INFO_INTERVAL_MS.to_string()),
    ];
    let mut gateway = Gateway::start_with(&settings, options, &more)?;
    let first = requests(0, *staying, &token);
    let mut stay = Hall::new(&gateway, machine, first, CONNECTS_IN_FLIGHT)?;
    stay.fill()?;
    let coming = requests(*staying, *comers, &token);
    stay.pass(SETTLING)?;
    stay.hearing.begin_accounts();
    let cpu = gateway.cpu()?;
    let messages_from: u64 = gateway.metric("tidegate_room_messages_total")?;
    let mail_from: u64 = gateway.metric("tidegate_mail_batches_total")?;
    let (cpu_from_ns, from_ns) = (cpu.ns()?, now_ns());
    let (mut join_ms, mut leave_ms) = (Figures::default(), Figures::default());
    progress.stage("coming and going", u64::from(repetitions));
    for repetition in 0..repetitions {
        let begun_ns = now_ns();
        let mut crowd = Hall::new(&gateway, machine, coming.clone(), CONNECTS_IN_FLIGHT)?;
        crowd.clients.want(*comers);
        while crowd.hearing.joined() < *comers {
            crowd.turn()?;
            stay.turn()?;
        }
        join_ms.push(as_ms(now_ns() - begun_ns));
        let gone_ns = now_ns();
        drop(crowd);
        forgotten(&mut gateway, &mut stay, *staying)?;
        leave_ms.push(as_ms(now_ns() - gone_ns));
        progress.at(u64::from(repetition) + 1);
    }
    let spent_ns = cpu.ns()? - cpu_from_ns;
    stay.pass(SETTLING)?;
    let took_ns = now_ns() - from_ns;
    drop(progress);
    let told: Vec<u64> = stay.hearing.accounts(LOW).map(|account| account.delivered).collect();
    let joins = u64::from(repetitions) * u64::from(*comers);
    let report = CrowdReport {
        staying: *staying,
        comers: *comers,
        shards,
        repetitions,
        joins_and_leaves: joins * 2,
        seconds: as_f64_ns(took_ns) / 1e9,
        join_ms: join_ms.median(),
        leave_ms: leave_ms.median(),
        messages_per_member_min: told.iter().copied().min().unwrap_or(0),
        messages_per_member_max: told.iter().copied().max().unwrap_or(0),
        messages_bound: took_ns / 1_000_000 / INFO_INTERVAL_MS + 1,
        room_messages: gateway.metric::<u64>("tidegate_room_messages_total")? - messages_from,
        mail_batches: gateway.metric::<u64>("tidegate_mail_batches_total")? - mail_from,
        online_at_end: stay.hearing.online(),
        server_cpu_us_per_join_and_leave: as_f64_ns(spent_ns) / 1e3 / as_f64_ns(joins),
    };
    drop(gateway);
    report::print("rooms", machine, &report, options.json, table(&report))
}

/// Waits until the gateway has noticed that all but those who stay have left.
fn forgotten(gateway: &mut Gateway, stay: &mut Hall, staying: u32) -> Result<(), Problem> {
    let deadline_ns = now_ns() + 60_000_000_000;
    while gateway.metric::<u64>("tidegate_connections")? > u64::from(staying) {
        stay.pass(Duration::from_millis(50))?;
        if now_ns() > deadline_ns {
            return Err(Problem::new("the gateway still has connections of clients that are gone"));
        }
    }
    Ok(())
}

fn table(report: &CrowdReport) -> Table {
    let mut table = Table::default();
    let within = format!("{} each way, {} times", report.comers, report.repetitions);
    table.row("all join", format!("{:.0} ms", report.join_ms), within);
    table.row("all leave, forgotten", format!("{:.0} ms", report.leave_ms), "");
    let told = format!("{} to {}", report.messages_per_member_min, report.messages_per_member_max);
    let note = format!(
        "in {:.1} s, of {} joins and leaves; one each {INFO_INTERVAL_MS} ms would be {}",
        report.seconds, report.joins_and_leaves, report.messages_bound
    );
    table.row("messages to each who stays", told, note);
    table.row("messages of the room", report.room_messages.to_string(), "");
    let note = format!("between {} shards, sessions' own included", report.shards);
    table.row("batches of mail", report.mail_batches.to_string(), note);
    let note = format!("{} are there", report.staying);
    table.row("online, as told last", report.online_at_end.to_string(), note);
    let each = format!("{:.1} µs", report.server_cpu_us_per_join_and_leave);
    table.row("gateway, CPU", each, "each join and leave, connecting included");
    table
}
