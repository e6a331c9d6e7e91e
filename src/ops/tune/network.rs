//! What is no sysctl of the network: interfaces, their queues and interrupts, queueing disciplines,
//! connection tracking. Loopback and what is virtual is not looked at.

use serde_json::Value;

use crate::ops::tune::check::{Check, State};
use crate::ops::tune::host_files::{HostFiles, Reading};
use crate::ops::tune::machine::{cores, count_of_list};
use crate::ops::tune::profile::{Profile, ProfileName};

/// Packets of one push that a connection may have waiting: a question, twice as a reserve.
const PACKETS_PER_CONNECTION: u64 = 2;
/// The kernel's own: rounds of polling without an interrupt, and how long it waits, ns.
const DEFER_MIN: u64 = 1;
const FLUSH_TIMEOUT_MIN_NS: u64 = 1;

/// What a folder of `/proc/irq` has beside the folder that is named as the interrupt's owner is.
const IRQ_FILES: [&str; 7] = [
    "affinity_hint",
    "effective_affinity",
    "effective_affinity_list",
    "node",
    "smp_affinity",
    "smp_affinity_list",
    "spurious",
];

/// Interfaces with a device behind them that are not down.
#[must_use]
pub fn nics(host: &HostFiles) -> Vec<String> {
    let is_physical = |name: &String| host.has(&format!("sys/class/net/{name}/device"));
    let is_up = |name: &String| {
        host.read(&format!("sys/class/net/{name}/operstate")).text() != Some("down")
    };
    let names = host.names("sys/class/net").into_iter();
    names.filter(|name| is_physical(name) && is_up(name)).collect()
}

/// The fastest of them, Gbit/s, if any says how fast it is.
#[must_use]
pub fn fastest_gbit(host: &HostFiles) -> Option<u32> {
    let speed = |name: String| {
        let reading = host.read(&format!("sys/class/net/{name}/speed"));
        // A virtual one says −1.
        reading.text()?.parse::<u32>().ok().filter(|mbit| *mbit > 0)
    };
    nics(host).into_iter().filter_map(speed).max().map(|mbit| mbit.div_ceil(1_000))
}

/// Everything of the network.
#[must_use]
pub fn network(profile: &Profile, host: &HostFiles, nic_gbit: Option<u32>) -> Vec<Check> {
    let mut checks = vec![speed(nic_gbit), conntrack(profile, host), irqbalance(host)];
    let nics = nics(host);
    if nics.is_empty() {
        checks.push(Check {
            current: "no interface with a device behind it is up".to_owned(),
            ..about("NICs", State::NotHere)
        });
    }
    for nic in &nics {
        let of_nic = Nic { name: nic, host, cores: cores(host) };
        checks.extend([
            of_nic.queueing(profile),
            of_nic.receive_queues(),
            of_nic.transmit_steering(),
            of_nic.receive_steering(),
            of_nic.interrupts(),
            of_nic.polling(),
        ]);
    }
    checks
}

fn about(name: &str, state: State) -> Check {
    let [current, wanted, why, cost, fix] = [const { String::new() }; 5];
    Check { name: name.to_owned(), state, current, wanted, why, cost, fix }
}

fn speed(nic_gbit: Option<u32>) -> Check {
    let (state, current) = match nic_gbit {
        Some(gbit) => (State::Fine, format!("{gbit} Gbit/s")),
        None => (State::Unknown, "no NIC says how fast it is".to_owned()),
    };
    Check {
        current,
        wanted: "known".to_owned(),
        why: "some values depend on it: they were left out of this check".to_owned(),
        cost: "packets are dropped where the kernel's defaults are too small".to_owned(),
        fix: "give --nic-gbit".to_owned(),
        ..about("speed of the NIC", state)
    }
}

fn conntrack(profile: &Profile, host: &HostFiles) -> Check {
    let max = host.sysctl("net.netfilter.nf_conntrack_max");
    let count = host.sysctl("net.netfilter.nf_conntrack_count");
    let number = |reading: &Reading| reading.text().and_then(|text| text.parse::<u64>().ok());
    let bypass = || {
        let table = ["list", "table", "inet", "tidegate_notrack"];
        host.command("nft-notrack", "nft", &table).text().is_some_and(|it| it.contains("notrack"))
    };
    let (state, current) = match (number(&max), number(&count)) {
        (None, _) if max == Reading::Absent => {
            (State::NotHere, "connections are not tracked".to_owned())
        }
        (Some(max), _) if max >= profile.connections.saturating_mul(2) => {
            (State::Fine, format!("at most {max} connections are tracked"))
        }
        _ if bypass() => (State::Fine, "the table tidegate_notrack exempts our port".to_owned()),
        (Some(max), Some(count)) if count > 0 => {
            (State::Wrong, format!("{count} connections are tracked, at most {max}"))
        }
        (Some(max), _) => (
            State::Unknown,
            format!(
                "conntrack is there and tracks nothing now, at most {max}: whether a rule will have it \
                 track the clients' port cannot be told"
            ),
        ),
        (None, _) => (State::Unknown, "net.netfilter.nf_conntrack_max cannot be read".to_owned()),
    };
    Check {
        current,
        wanted: "no tracking of the clients' port, in both directions".to_owned(),
        why: "a tracked connection needs an entry; the table has 262,144 by default".to_owned(),
        cost: "when it is full new connections are dropped: an outage at a quarter of a million"
            .to_owned(),
        fix: "tuning/conntrack.sh --port PORT --apply".to_owned(),
        ..about("connection tracking", state)
    }
}

fn irqbalance(host: &HostFiles) -> Check {
    let is_process = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    let mut processes = host.names("proc").into_iter().filter(is_process);
    let runs = processes
        .any(|process| host.read(&format!("proc/{process}/comm")).text() == Some("irqbalance"));
    Check {
        current: if runs { "it runs" } else { "it does not run" }.to_owned(),
        wanted: "not running".to_owned(),
        why: "it moves the NIC's interrupts away from the cores to which they were given"
            .to_owned(),
        cost: "receiving on another core than the shard's: each socket's cache lines travel"
            .to_owned(),
        fix: "systemctl disable --now irqbalance".to_owned(),
        ..about("irqbalance", if runs { State::Wrong } else { State::Fine })
    }
}

struct Nic<'h> {
    name: &'h str,
    host: &'h HostFiles,
    cores: Option<u64>,
}

impl Nic<'_> {
    fn read(&self, path: &str) -> Reading {
        self.host.read(&format!("sys/class/net/{}/{path}", self.name))
    }

    fn queues(&self, prefix: &str) -> Vec<String> {
        let names = self.host.names(&format!("sys/class/net/{}/queues", self.name));
        names.into_iter().filter(|name| name.starts_with(prefix)).collect()
    }

    fn about(&self, what: &str, (state, current): (State, String)) -> Check {
        let fix = format!("tuning/nic.sh --device {} --apply", self.name);
        Check { current, fix, ..about(&format!("{}: {what}", self.name), state) }
    }

    /// The discipline of each of its queues, and how much fits into it.
    fn queueing(&self, profile: &Profile) -> Check {
        let queues = u64::try_from(self.queues("tx-").len().max(1)).unwrap_or(u64::MAX);
        let packets = match profile.name {
            // It sends answers, one by one.
            ProfileName::LoadGenerator => 0,
            ProfileName::Small | ProfileName::Large => {
                profile.connections.div_ceil(queues) * PACKETS_PER_CONNECTION
            }
        };
        let arguments = ["-j", "qdisc", "show", "dev", self.name];
        let reading = self.host.command(&format!("tc-{}", self.name), "tc", &arguments);
        let seen = match &reading {
            Reading::Text(text) => judge_queueing(text, packets),
            Reading::Absent => (State::Unknown, "tc is not installed".to_owned()),
            Reading::Unreadable(why) => (State::Unknown, why.clone()),
        };
        Check {
            wanted: format!("fq with a limit of {packets} packets or more in each queue"),
            why: format!(
                "{} connections ÷ {queues} queues × {PACKETS_PER_CONNECTION} packets; fq has 10,000 by \
                 default, and bbr paces by it",
                profile.connections
            ),
            cost: "an unpaced push overruns it: what is dropped comes 200 ms later".to_owned(),
            ..self.about("queueing discipline", seen)
        }
    }

    fn receive_queues(&self) -> Check {
        let queues = u64::try_from(self.queues("rx-").len()).unwrap_or(u64::MAX);
        let seen = match self.cores {
            _ if queues == 0 => (State::Unknown, "its queues cannot be seen".to_owned()),
            None => (State::Unknown, "the number of cores cannot be read".to_owned()),
            Some(cores) if queues >= cores => (State::Fine, format!("{queues} for {cores} cores")),
            Some(cores) => (State::Wrong, format!("{queues} for {cores} cores")),
        };
        Check {
            wanted: "one receive queue for each core".to_owned(),
            why: "a connection's packets then arrive on the core of its shard (with net.steer_by_cpu)"
                .to_owned(),
            cost: "the cores with queues do everybody's receiving: half of the work of a push"
                .to_owned(),
            ..self.about("receive queues", seen)
        }
    }

    /// The masks of its queues of one kind: nothing where one cannot be read.
    fn masks(&self, queues: &str, file: &str) -> Option<Vec<u32>> {
        let queues = self.queues(queues).into_iter();
        let bits = |mask: &str| {
            let words = mask.split(',').map(|word| u64::from_str_radix(word, 16));
            words.map(|word| word.ok().map(u64::count_ones)).sum::<Option<u32>>()
        };
        queues
            .map(|queue| self.read(&format!("queues/{queue}/{file}")).text().and_then(bits))
            .collect()
    }

    fn transmit_steering(&self) -> Check {
        let seen = match self.masks("tx-", "xps_cpus") {
            Some(masks) if masks.len() == 1 => {
                (State::NotHere, "one transmit queue: there is nothing to steer".to_owned())
            }
            Some(masks) if !masks.is_empty() => {
                let each = masks.iter().all(|cores| *cores == 1);
                let state = if each { State::Fine } else { State::Wrong };
                let single = masks.iter().filter(|cores| **cores == 1).count();
                (state, format!("{single} of {} queues belong to one core", masks.len()))
            }
            // The kernel refuses to show it for a device with one queue.
            _ if self.queues("tx-").len() == 1 => {
                (State::NotHere, "one transmit queue: there is nothing to steer".to_owned())
            }
            _ => (State::Unknown, "xps_cpus cannot be read".to_owned()),
        };
        Check {
            wanted: "each transmit queue for one core (XPS)".to_owned(),
            why: "a shard then sends through a queue of its own, whose completions come back to it"
                .to_owned(),
            cost: "cores wait for each other's queue locks during a push".to_owned(),
            ..self.about("transmit steering", seen)
        }
    }

    fn receive_steering(&self) -> Check {
        let enough = self.cores.is_some_and(|cores| {
            u64::try_from(self.queues("rx-").len()).is_ok_and(|queues| queues >= cores)
        });
        let seen = match self.masks("rx-", "rps_cpus") {
            Some(masks) if !masks.is_empty() => {
                let off = masks.iter().all(|cores| *cores == 0);
                match (off, enough) {
                    (true, _) => (State::Fine, "off".to_owned()),
                    (false, true) => (State::Wrong, "on".to_owned()),
                    (false, false) => {
                        (State::Fine, "on, and there are fewer queues than cores".to_owned())
                    }
                }
            }
            _ => (State::Unknown, "rps_cpus cannot be read".to_owned()),
        };
        Check {
            wanted: "off where each core has a queue (RPS)".to_owned(),
            why: "it moves packets to other cores in software".to_owned(),
            cost: "an interrupt between cores for each burst of packets".to_owned(),
            ..self.about("receive steering", seen)
        }
    }

    /// Drivers end the names of queues' interrupts in a number (eth0-TxRx-3, virtio0-input.3,
    /// mlx5_comp3@pci:…); `tuning/nic.sh` goes by the same rule. One without a name may be one.
    fn is_of_a_queue(&self, interrupt: &str) -> bool {
        let names = self.host.names(&format!("proc/irq/{interrupt}"));
        let owner = names.iter().find(|name| !IRQ_FILES.contains(&name.as_str()));
        owner.is_none_or(|owner| {
            let owner = owner.split('@').next().unwrap_or(owner);
            owner != self.name && owner.ends_with(|letter: char| letter.is_ascii_digit())
        })
    }

    fn interrupts(&self) -> Check {
        let of_device = |folder: &str| {
            self.host.names(&format!("sys/class/net/{}/{folder}/msi_irqs", self.name))
        };
        let mut interrupts = of_device("device");
        if interrupts.is_empty() {
            // virtio: the interrupts are its parent's.
            interrupts = of_device("device/..");
        }
        let all = interrupts.len();
        interrupts.retain(|interrupt| self.is_of_a_queue(interrupt));
        let cores_of = |interrupt: &String| {
            let reading = self.host.read(&format!("proc/irq/{interrupt}/smp_affinity_list"));
            reading.text().and_then(count_of_list)
        };
        let cores: Option<Vec<u64>> = interrupts.iter().map(cores_of).collect();
        let seen = match cores {
            Some(cores) if !cores.is_empty() => {
                let loose = cores.iter().filter(|cores| **cores != 1).count();
                let all = cores.len();
                let state = if loose == 0 { State::Fine } else { State::Wrong };
                (state, format!("{} of {all} interrupts belong to one core", all - loose))
            }
            Some(_) if all > 0 => (State::NotHere, "none of them belongs to a queue".to_owned()),
            Some(_) => (State::Unknown, "its interrupts cannot be seen".to_owned()),
            None => (State::Unknown, "/proc/irq cannot be read".to_owned()),
        };
        Check {
            wanted: "each queue's interrupt on one core".to_owned(),
            why: "the core that takes a queue's interrupt does its receiving".to_owned(),
            cost: "queues pile up on few cores, and shards there are late".to_owned(),
            ..self.about("interrupts", seen)
        }
    }

    fn polling(&self) -> Check {
        let number = |file: &str| self.read(file).text().and_then(|text| text.parse::<u64>().ok());
        let seen = match (number("napi_defer_hard_irqs"), number("gro_flush_timeout")) {
            (Some(defer), Some(flush)) => {
                let on = defer >= DEFER_MIN && flush >= FLUSH_TIMEOUT_MIN_NS;
                let state = if on { State::Fine } else { State::Advice };
                (state, format!("napi_defer_hard_irqs {defer}, gro_flush_timeout {flush} ns"))
            }
            _ => (State::NotHere, "this kernel has no such setting".to_owned()),
        };
        Check {
            wanted: "napi_defer_hard_irqs 10, gro_flush_timeout 20000 ns".to_owned(),
            why: "while packets come the kernel polls instead of taking an interrupt for each few; 20 µs is \
                  nothing beside a phone's network"
                .to_owned(),
            cost: "interrupts in the middle of a push. Not measured".to_owned(),
            ..self.about("deferred interrupts", seen)
        }
    }
}

/// What `tc -j qdisc show dev …` says: the root `mq` and what hangs below it, or one alone.
fn judge_queueing(json: &str, packets_min: u64) -> (State, String) {
    let Ok(Value::Array(all)) = serde_json::from_str(json) else {
        return (State::Unknown, "tc did not answer in JSON: it is too old".to_owned());
    };
    let kind = |discipline: &Value| discipline["kind"].as_str().unwrap_or("?").to_owned();
    let leaves: Vec<&Value> =
        all.iter().filter(|it| !["mq", "ingress", "clsact"].contains(&kind(it).as_str())).collect();
    if leaves.is_empty() {
        return (State::Unknown, "tc shows no queueing discipline".to_owned());
    }
    let mut others: Vec<String> =
        leaves.iter().map(|it| kind(it)).filter(|it| it != "fq").collect();
    others.sort_unstable();
    others.dedup();
    if !others.is_empty() {
        return (State::Wrong, others.join(", "));
    }
    let limits: Option<Vec<u64>> =
        leaves.iter().map(|it| tc_number(&it["options"]["limit"])).collect();
    match limits.and_then(|limits| limits.into_iter().min()) {
        Some(limit) => {
            let state = if limit >= packets_min { State::Fine } else { State::Wrong };
            (state, format!("fq, limit {limit} packets in each of {} queues", leaves.len()))
        }
        None => (State::Unknown, "tc does not tell the limits of fq".to_owned()),
    }
}

/// Some versions write `10000`, others `"10000p"`.
fn tc_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim_end_matches('p').parse().ok())
}

#[cfg(test)]
mod tests;
