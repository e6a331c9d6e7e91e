//! What the ramps found, and how it is told.

use serde::Serialize;
use tidegate::ops::capacity::{Capacity, Costs, Host, Resource, Wanted};

use crate::common::stats::{Coverage, as_f64_ns};

use super::criteria::{Criteria, Failure};
use super::several::{Chain, Exodus};
use super::showing::{Kind, Showing};

/// A core that had something to do for so much of the time is what limited.
const BUSY_SHARE_MIN: f64 = 0.9;

/// One attempt.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) load: u32,
    pub(crate) held: bool,
    pub(crate) failed_by: Option<Failure>,
    pub(crate) server_cpu_us_per_work: f64,
    pub(crate) client_cpu_us_per_work: f64,
    #[serde(flatten)]
    pub(crate) showing: Showing,
}

/// Whose core had no time left at the first load that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    Server,
    /// The gateway could have done more: what held is a lower bound.
    Client,
    Both,
    /// Neither was saturated: something waited.
    Neither,
}

impl Limit {
    /// From the shares of time in which each had something to do.
    pub(crate) fn of(showing: &Showing) -> Limit {
        let server = showing.server_busy >= BUSY_SHARE_MIN;
        match (server, showing.client_busy >= BUSY_SHARE_MIN) {
            (true, true) => Limit::Both,
            (true, false) => Limit::Server,
            (false, true) => Limit::Client,
            (false, false) => Limit::Neither,
        }
    }
}

/// One ramp.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) interface: &'static str,
    pub(crate) load_unit: &'static str,
    pub(crate) work_unit: &'static str,
    /// The last load that held.
    pub(crate) held: Option<u32>,
    /// The first that failed, twice.
    pub(crate) failed: Option<u32>,
    pub(crate) failed_by: Option<Failure>,
    /// Why the ramp ended: `found`, `capped`, `steps`, `time`.
    pub(crate) ended: &'static str,
    pub(crate) limited_by: Option<Limit>,
    /// At the last load that held.
    pub(crate) server_cpu_us_per_work: Option<f64>,
    pub(crate) client_cpu_us_per_work: Option<f64>,
    pub(crate) steps: Vec<Step>,
}

impl Finding {
    /// The attempt with the last load that held.
    pub(crate) fn best(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.held && Some(step.load) == self.held)
    }
}

/// One round of load tests.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) round: u8,
    pub(crate) title: &'static str,
    pub(crate) interfaces: Vec<Finding>,
}

/// What so many viewers need, and what this host holds.
#[derive(Debug, Serialize)]
pub(crate) struct CapacityReport {
    pub(crate) costs: Costs,
    pub(crate) wanted: Wanted,
    pub(crate) host: Host,
    pub(crate) needed: Capacity,
    pub(crate) this_host: Host,
    pub(crate) on_this_host: Capacity,
    /// What of the second round held, on the cores that were measured.
    pub(crate) viewers_held_together: Option<u32>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct StagesReport {
    pub(crate) criteria: Criteria,
    pub(crate) connections: u32,
    pub(crate) connections_max: u32,
    pub(crate) question_bytes: usize,
    pub(crate) chat_bytes: usize,
    pub(crate) server_cores: usize,
    pub(crate) rounds: Vec<Round>,
    /// Round 3.
    pub(crate) exodus: Option<Exodus>,
    /// Round 4.
    pub(crate) chain: Option<Chain>,
    pub(crate) capacity: Option<CapacityReport>,
    /// Why there is none.
    pub(crate) capacity_missing: Option<String>,
    pub(crate) took_s: f64,
}

/// What was measured of one connection's life, from the findings of the first round.
pub(crate) fn costs(findings: &[Finding]) -> Result<Costs, String> {
    let best = |name: &str| {
        let finding = findings.iter().find(|finding| finding.interface == name);
        let finding = finding.ok_or("the first round was left out: add --rounds 1".to_owned())?;
        finding.best().ok_or(format!("no load of `{name}` held"))
    };
    let (connect, heartbeat, question) = (best("connect")?, best("heartbeat")?, best("question")?);
    let (answers, chat) = (best("answers")?, best("chat")?);
    let chat_sends = as_f64_ns(chat.showing.room_sends.max(1));
    let weight = question.showing.weight.ok_or("memory was not measured".to_owned())?;
    Ok(Costs {
        connect_cpu_us: connect.server_cpu_us_per_work,
        heartbeat_cpu_us: heartbeat.server_cpu_us_per_work,
        delivery_cpu_us: question.server_cpu_us_per_work,
        answer_cpu_us: answers.server_cpu_us_per_work,
        chat_send_cpu_us: chat.showing.server_cpu_s * 1e6 / chat_sends,
        user_bytes_per_connection: weight.user_bytes,
        // Both ends were here, and they are alike.
        kernel_bytes_per_connection: weight.kernel_bytes / 2.0,
        question_frame_bytes: question.showing.frames.push_bytes as u64,
        chat_frame_bytes: chat.showing.frames.chat_bytes as u64,
        answer_frame_bytes: answers.showing.frames.answer_bytes as u64,
        reply_frame_bytes: answers.showing.frames.reply_bytes as u64,
    })
}

/// The report for people.
pub(crate) fn text(report: &StagesReport) -> String {
    let mut lines = Vec::new();
    for round in &report.rounds {
        lines.push(format!("  round {}: {}", round.round, round.title));
        lines.extend(round.interfaces.iter().flat_map(finding_lines));
    }
    lines.extend(report.exodus.iter().flat_map(Exodus::lines));
    lines.extend(report.chain.iter().flat_map(Chain::lines));
    match (&report.capacity, &report.capacity_missing) {
        (Some(capacity), _) => lines.extend(capacity_lines(capacity)),
        (None, Some(why)) => lines.push(format!("  no capacity report: {why}")),
        (None, None) => {}
    }
    lines.push(format!("  took {:.0} s", report.took_s));
    lines.join("\n") + "\n"
}

fn finding_lines(finding: &Finding) -> Vec<String> {
    let Finding { interface, load_unit, work_unit, .. } = finding;
    let held = match finding.held {
        Some(load) => format!("{load} {load_unit} held"),
        None => format!("no {load_unit} held"),
    };
    let failed = match (finding.failed, &finding.failed_by) {
        (Some(load), Some(by)) => format!("{load} failed: {}", by.text),
        _ if finding.ended == "capped" => "the largest load that was allowed".to_owned(),
        _ => format!("nothing failed until the ramp's limit of {}", finding.ended),
    };
    let mut lines = vec![format!("    {interface:10}  {held}; {failed}")];
    let mut detail = |text: String| lines.push(format!("{:16}{text}", ""));
    if let Some(best) = finding.best() {
        let Showing { server_busy, client_busy, .. } = &best.showing;
        detail(format!(
            "CPU per {work_unit}: gateway {:.2} µs, clients {:.2} µs; at work {:.0} % and {:.0} % of the time",
            best.server_cpu_us_per_work,
            best.client_cpu_us_per_work,
            server_busy * 100.0,
            client_busy * 100.0,
        ));
        times(&best.showing).into_iter().for_each(&mut detail);
    }
    match finding.limited_by {
        Some(Limit::Client) => detail(
            "the clients' core was saturated and the gateway's was not: the gateway holds more"
                .to_owned(),
        ),
        Some(Limit::Both) => {
            detail("both cores were saturated: the gateway may hold more".to_owned());
        }
        Some(Limit::Neither) => detail("neither core was saturated: something waited".to_owned()),
        Some(Limit::Server) => detail("the gateway's core was saturated".to_owned()),
        None => {}
    }
    lines
}

fn times(showing: &Showing) -> Vec<String> {
    let line = |what: String, ms: Coverage| {
        let Coverage { p50, p99, p100, .. } = ms;
        format!("{what}: 50 % {p50:.1} ms, 99 % {p99:.1}, all {p100:.1}")
    };
    let done = |kind| if kind == Kind::Connect { "joined" } else { "acknowledged" };
    let flows = showing.flows.iter();
    let mut lines: Vec<String> = flows
        .map(|flow| line(format!("{}, {}", flow.kind.name(), done(flow.kind)), flow.ms))
        .collect();
    let push = showing.push.as_ref();
    lines.extend(push.map(|push| line("pushed to everybody".to_owned(), push.coverage_ms)));
    if let Some(chat) = &showing.chat {
        lines.push(line("chat, heard".to_owned(), chat.delivery_ms));
    }
    lines
}

fn capacity_lines(report: &CapacityReport) -> Vec<String> {
    let CapacityReport { wanted, host, needed, this_host, on_this_host, .. } = report;
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    let nic = host.nic_gbit.unwrap_or(0.0);
    let mut lines = vec![format!(
        "  capacity: {} viewers on hosts of {} cores, {:.0} GiB, {nic} Gbit/s, {:.0} % of each kept free",
        wanted.viewers,
        host.cores,
        gib(host.memory_bytes),
        host.headroom_percent
    )];
    for phase in &needed.phases {
        lines.push(format!(
            "    {:10}  {:8.2} cores  {:8.2} Gbit/s",
            phase.phase, phase.cores, phase.nic_gbit
        ));
    }
    for need in &needed.resources {
        let amount = match need.resource {
            Resource::Cores => format!("{:.1} cores", need.amount),
            Resource::Memory => format!("{:.1} GiB", gib(need.amount)),
            Resource::Nic => format!("{:.1} Gbit/s", need.amount),
        };
        let share = need.share_of_host * 100.0;
        let name = need.resource.name();
        lines.push(format!("    {name:10}  {amount} ({}): {share:.0} % of one host", need.phase));
    }
    lines.push(format!(
        "    hosts       {}; first limit: {}; one host holds {} viewers",
        needed.hosts,
        needed.limited_by.name(),
        needed.viewers_per_host
    ));
    lines.push(format!(
        "    a question  {:.2} s on the NICs, {:.2} s of CPU",
        needed.push_nic_s.unwrap_or(0.0),
        needed.push_cpu_s
    ));
    let together = report.viewers_held_together;
    let together = together.map_or(String::new(), |viewers| format!("; round 2 held {viewers}"));
    lines.push(format!(
        "    this host   {} viewers by the same arithmetic (limit: {}), gateway cores {}, {:.0} GiB{together}",
        on_this_host.viewers_per_host,
        on_this_host.limited_by.name(),
        this_host.cores,
        gib(this_host.memory_bytes)
    ));
    lines.push(
        "    cores include the receiver's half of TCP, which loopback bills to the sender"
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_had_no_time_left_was_the_limit() {
        for (server_busy, client_busy, limit) in [
            (0.95, 0.5, Limit::Server),
            (0.5, 0.95, Limit::Client),
            (0.95, 0.95, Limit::Both),
            (0.5, 0.5, Limit::Neither),
        ] {
            let showing = Showing { server_busy, client_busy, ..Showing::default() };
            assert_eq!(Limit::of(&showing), limit);
        }
    }

    #[test]
    fn without_the_first_round_there_is_no_capacity() {
        assert!(costs(&[]).unwrap_err().contains("--rounds 1"));
    }
}
