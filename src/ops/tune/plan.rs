//! `tidegate tune plan`: what so many viewers need, from what was measured. The arithmetic is
//! [`crate::ops::capacity`]'s; here are what is asked and how it is told.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::ops::capacity::{Capacity, Costs, Host, Resource, Wanted, capacity};
use crate::ops::tune::figures::{CHAT_FRAME_BYTES, MEASURED, QUESTION_FRAME_BYTES, with_tls};
use crate::ops::tune::profile::{Profile, ProfileName};

const GIB: f64 = 1_073_741_824.0;
/// A report of the bench has a few hundred KiB.
const COSTS_BYTES_MAX: u64 = 64 << 20;

/// `tidegate tune plan`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PlanArguments {
    /// Viewers that are connected at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub viewers: u64,
    /// Cores of a host
    #[arg(long, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub cores: u32,
    /// Memory of a host, GiB
    #[arg(long, value_name = "GIB", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub memory_gib: u32,
    /// NIC of a host, Gbit/s
    #[arg(long, value_name = "GBIT", default_value_t = 25,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub nic_gbit: u32,
    /// Of each resource of a host, this part is kept free: for a lost host and a higher peak
    #[arg(long, value_name = "PERCENT", default_value_t = 25,
        value_parser = clap::value_parser!(u32).range(0..=99))]
    pub headroom_percent: u32,
    /// Minutes in which all viewers join
    #[arg(long, value_name = "MINUTES", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1_440))]
    pub join_minutes: u32,
    /// Seconds between two heartbeats of a viewer
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub heartbeat_seconds: u32,
    /// Within this a question is with everybody
    #[arg(long, value_name = "MS", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub window_ms: u32,
    /// Answers a second at the peak; 3 of 10 viewers by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub answers_per_s: Option<u64>,
    /// Chat messages a second in the room, each to everybody
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub chats_per_s: u32,
    /// Data of a question
    #[arg(long, value_name = "BYTES", default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub question_bytes: u64,
    /// Data of a chat message
    #[arg(long, value_name = "BYTES", default_value_t = 130,
        value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub chat_bytes: u64,
    /// Clients speak TLS to the gateway, not to a balancer before it
    #[arg(long)]
    pub tls: bool,
    /// Count with what was measured here: the output of `tidegate-bench stages --json`, whose sizes
    /// of messages count then
    #[arg(long, value_name = "FILE", conflicts_with_all = ["question_bytes", "chat_bytes"])]
    pub costs: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What it counts with.
    pub costs: Costs,
    /// What was asked for.
    pub wanted: Wanted,
    /// Of which hosts.
    pub host: Host,
    /// What they need.
    pub needed: Capacity,
    /// What each of them carries.
    pub each_host: EachHost,
    /// Hosts with the profile `loadgen` that play such an audience.
    pub load_generators: u64,
}

/// One of the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EachHost {
    /// Its viewers.
    pub viewers: u64,
    /// Of each core.
    pub viewers_per_core: u64,
    /// What they cost at the hardest moment.
    pub cores: f64,
    /// All the time.
    pub memory_bytes: f64,
    /// At the hardest moment.
    pub nic_gbit: f64,
    /// A question is with all of them: the slower of cores and NIC, if they did nothing else.
    pub push_s: f64,
    /// The profile for so many connections, if there is one.
    pub profile: Option<ProfileName>,
}

/// Computes it.
///
/// # Errors
/// What makes no sense, or cannot be read.
pub fn plan(arguments: &PlanArguments) -> Result<Plan, String> {
    let measured = match &arguments.costs {
        Some(path) => read_costs(path)?,
        None => Costs {
            question_frame_bytes: arguments.question_bytes + QUESTION_FRAME_BYTES,
            chat_frame_bytes: arguments.chat_bytes + CHAT_FRAME_BYTES,
            ..MEASURED
        },
    };
    let costs = if arguments.tls { with_tls(measured) } else { measured };
    let answers_per_s = arguments.answers_per_s.unwrap_or_else(|| {
        // 300,000 of a million: seconds 3 to 6 of a countdown.
        (arguments.viewers / 10).saturating_mul(3).max(1)
    });
    let wanted = Wanted {
        viewers: arguments.viewers,
        join_s: f64::from(arguments.join_minutes) * 60.0,
        heartbeat_s: f64::from(arguments.heartbeat_seconds),
        window_ms: f64::from(arguments.window_ms),
        answers_per_s: answers_per_s as f64,
        chats_per_s: f64::from(arguments.chats_per_s),
    };
    let host = Host {
        cores: f64::from(arguments.cores),
        memory_bytes: f64::from(arguments.memory_gib) * GIB,
        nic_gbit: Some(f64::from(arguments.nic_gbit)),
        headroom_percent: f64::from(arguments.headroom_percent),
    };
    let needed = capacity(&costs, &wanted, &host)?;
    let viewers = arguments.viewers.div_ceil(needed.hosts);
    let each = |resource| {
        let found = needed.resources.iter().find(|need| need.resource == resource);
        found.map_or(0.0, |need| need.amount) / needed.hosts as f64
    };
    let loadgen = Profile::new(ProfileName::LoadGenerator, None).connections;
    Ok(Plan {
        each_host: EachHost {
            viewers,
            viewers_per_core: viewers.div_ceil(u64::from(arguments.cores)),
            cores: each(Resource::Cores),
            memory_bytes: each(Resource::Memory),
            nic_gbit: each(Resource::Nic),
            push_s: needed.push_cpu_s.max(needed.push_nic_s.unwrap_or(0.0)),
            profile: [ProfileName::Small, ProfileName::Large]
                .into_iter()
                .find(|name| Profile::new(*name, None).connections >= viewers),
        },
        load_generators: arguments.viewers.div_ceil(loadgen),
        costs,
        wanted,
        host,
        needed,
    })
}

fn read_costs(path: &Path) -> Result<Costs, String> {
    let name = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(COSTS_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| format!("{name}: cannot be read: {error}"))?;
    let remedy = "give the output of `tidegate-bench stages --json`, both rounds";
    let report: Value = serde_json::from_str(text.trim())
        .map_err(|error| format!("{name}: not one JSON object: {error}; {remedy}"))?;
    let why = report["capacity_missing"].as_str().unwrap_or("it is another report");
    let costs = report.pointer("/capacity/costs");
    let costs = costs.ok_or_else(|| format!("{name}: has no capacity.costs: {why}; {remedy}"))?;
    let costs: Costs = serde_json::from_value(costs.clone())
        .map_err(|error| format!("{name}: capacity.costs: {error}; {remedy}"))?;
    let Costs { connect_cpu_us, heartbeat_cpu_us, delivery_cpu_us, answer_cpu_us, .. } = costs;
    let Costs { user_bytes_per_connection, kernel_bytes_per_connection, chat_send_cpu_us, .. } =
        costs;
    let all = [
        connect_cpu_us,
        heartbeat_cpu_us,
        delivery_cpu_us,
        answer_cpu_us,
        chat_send_cpu_us,
        user_bytes_per_connection,
        kernel_bytes_per_connection,
    ];
    // No measurement has given such a number.
    match all.iter().find(|cost| !cost.is_finite() || **cost < 0.0) {
        Some(cost) => Err(format!("{name}: capacity.costs has {cost}, which is no cost")),
        None => Ok(costs),
    }
}

impl Plan {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Plan { wanted, host, needed, each_host, .. } = self;
        let nic_gbit = host.nic_gbit.unwrap_or(0.0);
        let mut lines = vec![
            format!(
                "{} viewers on hosts of {} cores, {:.0} GiB and {nic_gbit} Gbit/s, {} % of each kept free:",
                wanted.viewers,
                host.cores,
                host.memory_bytes / GIB,
                host.headroom_percent
            ),
            String::new(),
            format!(
                "  hosts               {}, limited by {} (a host holds {} viewers)",
                needed.hosts,
                needed.limited_by.name(),
                needed.viewers_per_host
            ),
            format!(
                "  each host           {} viewers, {} a core",
                each_host.viewers, each_host.viewers_per_core
            ),
        ];
        for need in &needed.resources {
            let hosts = needed.hosts as f64;
            let (name, amount, unit, of) = match need.resource {
                Resource::Cores => ("cores", need.amount / hosts, "", host.cores),
                Resource::Memory => {
                    ("memory", need.amount / hosts / GIB, " GiB", host.memory_bytes / GIB)
                }
                Resource::Nic => ("NIC", need.amount / hosts, " Gbit/s", nic_gbit),
            };
            let phase = need.phase;
            lines.push(format!("    {name:<17} {amount:.1} of {of:.0}{unit} ({phase})"));
        }
        lines.extend([
            format!(
                "  seconds per push    {:.2} by the NIC, {:.2} by the cores, if they did nothing else",
                needed.push_nic_s.unwrap_or(0.0),
                needed.push_cpu_s
            ),
            match each_host.profile {
                Some(name) => format!(
                    "  profile             {} (`tidegate tune check --profile {} --nic-gbit {nic_gbit}`)",
                    name.text(),
                    name.text()
                ),
                None => "  profile             none: a host would hold more than a million; 1m is the \
                         largest"
                    .to_owned(),
            },
            format!("  load generators     {} hosts with the profile loadgen", self.load_generators),
            String::new(),
            "  all hosts together    cores  Gbit/s".to_owned(),
        ]);
        for phase in &needed.phases {
            let (name, cores, gbit) = (phase.phase, phase.cores, phase.nic_gbit);
            lines.push(format!("    {name:<15} {cores:>9.2} {gbit:>7.2}"));
        }
        lines.extend([
            String::new(),
            "Heartbeats and chat go on during the other phases. From figures of one small machine \
             (docs/performance.md): measure yours with `tidegate-bench stages --json` and give it with \
             --costs."
                .to_owned(),
        ]);
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use expect_test::expect;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: PlanArguments,
    }

    fn parsed(line: &str) -> PlanArguments {
        Line::parse_from(std::iter::once("plan").chain(line.split_whitespace())).plan
    }

    fn planned(line: &str) -> Plan {
        plan(&parsed(line)).expect(line)
    }

    #[test]
    fn a_million_viewers() {
        expect![[r#"
            1000000 viewers on hosts of 16 cores, 64 GiB and 25 Gbit/s, 25 % of each kept free:

              hosts               4, limited by cores (a host holds 304182 viewers)
              each host           250000 viewers, 15625 a core
                cores             9.9 of 16 (question)
                memory            1.0 of 64 GiB (all the time)
                NIC               10.8 of 25 Gbit/s (question)
              seconds per push    0.06 by the NIC, 0.09 by the cores, if they did nothing else
              profile             1m (`tidegate tune check --profile 1m --nic-gbit 25`)
              load generators     2 hosts with the profile loadgen

              all hosts together    cores  Gbit/s
                heartbeats           0.35    0.00
                chat                27.20   31.36
                join                 0.16    0.00
                question            11.90   11.78
                answers              3.51    0.40

            Heartbeats and chat go on during the other phases. From figures of one small machine (docs/performance.md): measure yours with `tidegate-bench stages --json` and give it with --costs.
        "#]]
        .assert_eq(&planned("--viewers 1000000").text());
    }

    #[test]
    fn what_is_asked_changes_the_answer() {
        let plain = planned("--viewers 1000000 --chats-per-s 0 --headroom-percent 10");
        assert_eq!((plain.needed.hosts, plain.each_host.profile), (1, Some(ProfileName::Large)));
        let slow = planned("--viewers 1000000 --chats-per-s 0 --headroom-percent 10 --nic-gbit 10");
        assert_eq!((slow.needed.hosts, slow.needed.limited_by), (2, Resource::Nic));
        assert_eq!(slow.each_host.viewers, 500_000);
        let small = planned("--viewers 100000 --chats-per-s 0 --headroom-percent 10");
        assert_eq!(small.each_host.profile, Some(ProfileName::Small));
        assert_eq!((small.load_generators, plain.load_generators), (1, 2));
        let tls = planned("--viewers 1000000 --chats-per-s 0 --headroom-percent 10 --tls");
        assert!(tls.needed.memory_bytes > 1.5 * plain.needed.memory_bytes);
        assert!((plain.wanted.answers_per_s - 300_000.0).abs() < 1e-9);
        let large = planned(
            "--viewers 3000000 --chats-per-s 0 --headroom-percent 10 --cores 128 --nic-gbit 400",
        );
        assert_eq!((large.needed.hosts, large.each_host.profile), (1, None));
        assert!(large.text().contains("more than a million"), "{}", large.text());
    }

    #[test]
    fn measured_costs_are_taken_from_a_report() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("stages.json");
        let with = |text: &str| {
            std::fs::write(&file, text).expect("written");
            plan(&parsed(&format!("--viewers 10 --costs {}", file.display())))
        };
        let costs = Costs { delivery_cpu_us: 1.25, question_frame_bytes: 99, ..MEASURED };
        let report = serde_json::json!({ "subject": "stages", "capacity": { "costs": costs } });
        assert_eq!(with(&report.to_string()).expect("a plan").costs, costs);
        let negative = Costs { answer_cpu_us: -1.0, ..MEASURED };
        let negative = serde_json::json!({ "capacity": { "costs": negative } }).to_string();
        for (text, expected) in [
            ("", "not one JSON object"),
            ("{}", "has no capacity.costs: it is another report"),
            (r#"{"capacity":null,"capacity_missing":"no load held"}"#, "costs: no load held"),
            (r#"{"capacity":{"costs":{}}}"#, "missing field"),
            (&negative, "has -1"),
        ] {
            let error = with(text).expect_err(text);
            assert!(error.contains(expected) && error.contains("stages.json"), "{error}");
        }
        std::fs::remove_file(&file).expect("removed");
        let line = format!("--viewers 10 --costs {}", file.display());
        assert!(plan(&parsed(&line)).expect_err("no file").contains("cannot be read"));
    }
}
