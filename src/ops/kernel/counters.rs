//! The counters of the host's network, as /proc/net has them (proc_net(5), kernel
//! Documentation/networking/snmp_counter.rst).

use std::fs;
use std::io;

/// More interfaces than these are not shown: labels are bounded.
pub(super) const INTERFACES_MAX: usize = 32;

/// A counter of the kernel's and what it is called here.
pub(super) struct HostMetric {
    /// The line that it stands in, `Tcp` in /proc/net/snmp or `TcpExt` in /proc/net/netstat.
    group: &'static str,
    field: &'static str,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

const fn metric(
    group: &'static str,
    field: &'static str,
    name: &'static str,
    help: &'static str,
) -> HostMetric {
    HostMetric { group, field, name, help }
}

pub(super) const HOST_METRICS: &[HostMetric] = &[
    metric(
        "Tcp",
        "InSegs",
        "tidegate_host_tcp_segments_received_total",
        "TCP segments that the host received.",
    ),
    metric(
        "Tcp",
        "OutSegs",
        "tidegate_host_tcp_segments_sent_total",
        "TCP segments that the host sent, repeated ones left out.",
    ),
    metric(
        "Tcp",
        "RetransSegs",
        "tidegate_host_tcp_segments_retransmitted_total",
        "TCP segments that the host sent again. Divided by those sent: the retransmission rate.",
    ),
    metric(
        "Tcp",
        "PassiveOpens",
        "tidegate_host_tcp_accepts_total",
        "Connections that came to the host's listeners.",
    ),
    metric(
        "Tcp",
        "EstabResets",
        "tidegate_host_tcp_resets_total",
        "Open connections that ended by a reset.",
    ),
    metric(
        "TcpExt",
        "ListenOverflows",
        "tidegate_host_tcp_listen_overflows_total",
        "Connections that found a listener's accept backlog full.",
    ),
    metric(
        "TcpExt",
        "ListenDrops",
        "tidegate_host_tcp_listen_drops_total",
        "Connections that a listener dropped, for whatever reason.",
    ),
    metric(
        "TcpExt",
        "TCPReqQFullDrop",
        "tidegate_host_tcp_syn_drops_total",
        "Requests to connect dropped because a listener's SYN queue was full.",
    ),
    metric(
        "TcpExt",
        "TCPAbortOnMemory",
        "tidegate_host_tcp_memory_aborts_total",
        "Connections ended because sockets had all the memory that they may have (tcp_mem).",
    ),
    metric(
        "TcpExt",
        "TCPBacklogDrop",
        "tidegate_host_tcp_backlog_drops_total",
        "Segments dropped because their socket was busy and its backlog full.",
    ),
    metric(
        "TcpExt",
        "TCPTimeouts",
        "tidegate_host_tcp_timeouts_total",
        "Retransmission timers that ran out.",
    ),
];

/// What an interface has carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Received: bytes, packets, errors, dropped.
    pub received: Traffic,
    /// Sent: the same.
    pub sent: Traffic,
    /// Its speed, bits per second, where it says one.
    pub speed_bits_per_second: Option<u64>,
}

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets with errors.
    pub errors: u64,
    /// Packets dropped.
    pub dropped: u64,
}

/// The host's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// In the order of [`HOST_METRICS`]; nothing for what this kernel does not count.
    pub(super) counters: Vec<Option<u64>>,
    /// The first 32 by name.
    pub interfaces: Vec<Interface>,
    /// Packets dropped because a core's queue of received packets was full
    /// (`net.core.netdev_max_backlog`), all cores.
    pub softnet_dropped: u64,
    /// Times at which a core ran out of its budget for received packets (`net.core.netdev_budget`).
    pub softnet_squeezed: u64,
    /// Sockets of the host in TIME_WAIT.
    pub time_wait: u64,
    /// Sockets of the host that no process has any more.
    pub orphans: u64,
}

impl HostCounters {
    /// Reads them.
    ///
    /// # Errors
    /// If /proc/net is not there or has another form.
    pub fn read() -> io::Result<HostCounters> {
        let read = |name: &str| fs::read_to_string(format!("/proc/net/{name}"));
        let groups = read("snmp")? + &read("netstat")?;
        let mut counters =
            HostCounters::parse(&groups, &read("dev")?, &read("softnet_stat")?, &read("sockstat")?)
                .ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "/proc/net has another form")
                })?;
        for interface in &mut counters.interfaces {
            // An interface that is down, or is none of hardware, says -1 or an error.
            let speed = fs::read_to_string(format!("/sys/class/net/{}/speed", interface.name));
            let megabits = speed.ok().and_then(|text| text.trim().parse::<u64>().ok());
            interface.speed_bits_per_second = megabits.map(|speed| speed.saturating_mul(1_000_000));
        }
        Ok(counters)
    }

    pub(super) fn parse(
        groups: &str,
        devices: &str,
        softnet: &str,
        sockets: &str,
    ) -> Option<HostCounters> {
        let counters = HOST_METRICS.iter().map(|it| field(groups, it.group, it.field)).collect();
        let mut interfaces: Vec<Interface> =
            devices.lines().skip(2).map(interface).collect::<Option<_>>()?;
        interfaces.sort_by(|one, other| one.name.cmp(&other.name));
        interfaces.truncate(INTERFACES_MAX);
        let (mut softnet_dropped, mut softnet_squeezed) = (0_u64, 0_u64);
        for line in softnet.lines() {
            let mut columns = line.split_whitespace().skip(1);
            let mut next = || u64::from_str_radix(columns.next()?, 16).ok();
            softnet_dropped = softnet_dropped.saturating_add(next()?);
            softnet_squeezed = softnet_squeezed.saturating_add(next()?);
        }
        let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP:"))?;
        let of_tcp = |name: &str| -> Option<u64> {
            let mut words = tcp.split_whitespace().skip_while(|word| *word != name);
            words.nth(1)?.parse().ok()
        };
        Some(HostCounters {
            counters,
            interfaces,
            softnet_dropped,
            softnet_squeezed,
            time_wait: of_tcp("tw")?,
            orphans: of_tcp("orphan")?,
        })
    }
}

/// The files have two lines a group: the names of its fields, and their values.
fn field(groups: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = groups.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
    let place = lines.next()?.split_whitespace().position(|it| it == name)?;
    lines.next()?.split_whitespace().nth(place)?.parse().ok()
}

/// A line of /proc/net/dev: name, eight columns of what was received, eight of what was sent.
fn interface(line: &str) -> Option<Interface> {
    let (name, columns) = line.rsplit_once(':')?;
    let columns: Vec<u64> =
        columns.split_whitespace().map(|column| column.parse().ok()).collect::<Option<_>>()?;
    let traffic = |from: usize| -> Option<Traffic> {
        let [bytes, packets, errors, dropped] = *columns.get(from..from + 4)? else { return None };
        Some(Traffic { bytes, packets, errors, dropped })
    };
    Some(Interface {
        name: name.trim().to_owned(),
        received: traffic(0)?,
        sent: traffic(8)?,
        speed_bits_per_second: None,
    })
}
