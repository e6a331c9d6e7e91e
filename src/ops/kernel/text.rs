//! The kernel's figures as Prometheus reads them.

use std::fmt::Write as _;

use crate::ops::kernel::KernelFigures;
use crate::ops::kernel::counters::{HOST_METRICS, HostCounters, Traffic};
use crate::ops::kernel::sockets::{QUEUE_BOUNDS_BYTES, QueueHistogram, STATES, SocketFigures};
use crate::ops::metrics_text::{header, seconds, single};

pub(super) fn render(text: &mut String, figures: &KernelFigures) {
    let nanos = u64::try_from(figures.took.as_nanos()).unwrap_or(u64::MAX);
    for (name, help, value) in [
        (
            "tidegate_kernel_looks_total",
            "Times at which the kernel was asked for the figures below.",
            figures.looks.to_string(),
        ),
        (
            "tidegate_kernel_look_errors_total",
            "Times at which some of them could not be read.",
            figures.errors.to_string(),
        ),
        (
            "tidegate_kernel_look_seconds_total",
            "Time that asking took, on a thread of its own.",
            seconds(nanos),
        ),
    ] {
        header(text, name, "counter", help);
        let _ = writeln!(text, "{name} {value}");
    }
    if let Some(host) = &figures.host {
        host_counters(text, host);
        interfaces(text, host);
    }
    if let Some(sockets) = &figures.sockets {
        states(text, sockets);
        for (queue, histogram) in ["send", "receive"].iter().zip(&sockets.queues) {
            queues(text, queue, histogram);
        }
    }
}

fn host_counters(text: &mut String, host: &HostCounters) {
    for (metric, value) in HOST_METRICS.iter().zip(&host.counters) {
        if let Some(value) = value {
            header(text, metric.name, "counter", metric.help);
            let _ = writeln!(text, "{} {value}", metric.name);
        }
    }
    for (name, kind, help, value) in [
        (
            "tidegate_host_softnet_dropped_total",
            "counter",
            "Packets dropped because a core's queue of received ones was full.",
            host.softnet_dropped,
        ),
        (
            "tidegate_host_softnet_squeezed_total",
            "counter",
            "Times at which a core ran out of its budget for received packets.",
            host.softnet_squeezed,
        ),
        (
            "tidegate_host_tcp_time_wait",
            "gauge",
            "Sockets of the host in TIME_WAIT.",
            host.time_wait,
        ),
        (
            "tidegate_host_tcp_orphans",
            "gauge",
            "Sockets of the host that no process has any more.",
            host.orphans,
        ),
    ] {
        single(text, name, kind, help, value);
    }
}

/// One of the figures of an interface in a direction.
type OfTraffic = fn(&Traffic) -> u64;

fn interfaces(text: &mut String, host: &HostCounters) {
    let columns: [(&str, &str, OfTraffic); 4] = [
        ("bytes", "Bytes by interface and direction.", |it| it.bytes),
        ("packets", "Packets by interface and direction.", |it| it.packets),
        ("errors", "Packets with errors by interface and direction.", |it| it.errors),
        ("dropped", "Packets dropped by interface and direction.", |it| it.dropped),
    ];
    for (column, help, value) in columns {
        let name = format!("tidegate_interface_{column}_total");
        header(text, &name, "counter", help);
        for interface in &host.interfaces {
            for (direction, traffic) in
                [("received", &interface.received), ("sent", &interface.sent)]
            {
                let _ = writeln!(
                    text,
                    "{name}{{interface=\"{}\",direction=\"{direction}\"}} {}",
                    escaped(&interface.name),
                    value(traffic)
                );
            }
        }
    }
    let name = "tidegate_interface_speed_bits_per_second";
    header(text, name, "gauge", "The line's speed, of interfaces that say one.");
    for interface in &host.interfaces {
        if let Some(speed) = interface.speed_bits_per_second {
            let interface = escaped(&interface.name);
            let _ = writeln!(text, "{name}{{interface=\"{interface}\"}} {speed}");
        }
    }
}

/// An interface may have any name but one with a slash or white space.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}

fn states(text: &mut String, sockets: &SocketFigures) {
    let name = "tidegate_sockets_in_state";
    let help = "The gateway's sockets by their state, but those that are open. Many in close_wait: \
                the gateway does not close what clients have closed.";
    header(text, name, "gauge", help);
    for ((_, state), count) in STATES.iter().zip(&sockets.by_state) {
        let _ = writeln!(text, "{name}{{state=\"{state}\"}} {count}");
    }
    for (name, help, value) in [
        (
            "tidegate_sockets_in_state_truncated",
            "1 if there were more sockets in these states than are counted.",
            u64::from(sockets.is_truncated),
        ),
        ("tidegate_listeners", "Listening sockets on the clients' port.", sockets.listeners),
        (
            "tidegate_accept_backlog",
            "Connections that wait to be accepted, at all listeners.",
            sockets.backlog,
        ),
        (
            "tidegate_accept_backlog_longest",
            "The same at the listener that has most.",
            sockets.backlog_longest,
        ),
        (
            "tidegate_accept_backlog_max",
            "As many as may wait at one listener; beyond, clients are turned away.",
            sockets.backlog_max,
        ),
    ] {
        header(text, name, "gauge", help);
        let _ = writeln!(text, "{name} {value}");
    }
}

fn queues(text: &mut String, queue: &str, histogram: &QueueHistogram) {
    let name = format!("tidegate_{queue}_queue_bytes");
    let help = if queue == "send" {
        "Send-Q of sampled connections: what the kernel has for them and they have not acknowledged."
    } else {
        "Recv-Q of sampled connections: what came from them and the gateway has not read."
    };
    header(text, &name, "histogram", help);
    let mut below = 0;
    for (bound, count) in QUEUE_BOUNDS_BYTES.iter().zip(&histogram.counts) {
        below += count;
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {below}");
    }
    let all: u64 = histogram.counts.iter().sum();
    let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {all}");
    let _ = writeln!(text, "{name}_sum {}\n{name}_count {all}", histogram.sum_bytes);
}
