//! A dispatcher's metrics as Prometheus reads them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ops::metrics_text::{header, render_config, single};
use crate::ops::reload::ConfigCounts;

use super::answers::Counts;
use super::board::Board;
use super::load::as_f64;
use super::order::ORDERS;
use super::roster::{Known, Unlisted};
use super::settings::DispatchSettings;

/// All of them.
#[must_use]
pub fn render(board: &Board, counts: &Counts, config: ConfigCounts) -> String {
    let mut text = String::new();
    let settings = &*board.settings;
    let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    for (name, help, value) in [
        (
            "tidegate_dispatch_empty_answers_total",
            "Requests of clients for which no gateway took any.",
            now(&counts.empty),
        ),
        (
            "tidegate_dispatch_refused_total",
            "Requests of clients that were answered with an error of theirs.",
            now(&counts.refused),
        ),
    ] {
        single(&mut text, name, "counter", help, value);
    }
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> String| {
        header(&mut text, name, kind, help);
        for (index, gateway) in settings.gateways.iter().enumerate() {
            let label = escaped(&gateway.name);
            let _ = writeln!(text, "{name}{{gateway=\"{label}\"}} {}", value(index));
        }
    };
    family(
        "tidegate_dispatch_first_total",
        "counter",
        "Lists given to clients, by the gateway that comes first.",
        &|index| board.firsts.get(index).map_or(0, |it| now(it)).to_string(),
    );
    family(
        "tidegate_dispatch_first_ratio",
        "gauge",
        "Share of the present lists in which the gateway comes first.",
        &|index| format!("{:.3}", as_f64(board.answers.first_permille(index) as u64) / 1_000.0),
    );
    for (name, kind, help, value) in OF_GATEWAYS {
        family(name, kind, help, &|index| {
            board.gateways.get(index).map_or_else(|| "0".to_owned(), value)
        });
    }
    listed(&mut text, settings, board);
    render_config(&mut text, config);
    single(
        &mut text,
        "tidegate_dispatch_orders",
        "gauge",
        "Orders that are drawn at each look.",
        ORDERS as u64,
    );
    text
}

/// A family of one series a gateway.
type OfGateway = (&'static str, &'static str, &'static str, fn(&Known) -> String);

const OF_GATEWAYS: [OfGateway; 8] = [
    (
        "tidegate_dispatch_gateway_room",
        "gauge",
        "Connections that the gateway could take more, by the scarcest of connections, packets and bits.",
        |it| format!("{:.0}", it.room()),
    ),
    (
        "tidegate_dispatch_gateway_connections",
        "gauge",
        "Connections of the gateway, as it said last.",
        |it| it.load().map_or(0, |load| load.connections).to_string(),
    ),
    (
        "tidegate_dispatch_gateway_connects_per_second",
        "gauge",
        "Connections that the gateway accepted each second, between its last two reports.",
        |it| format!("{:.1}", it.rates().connects_per_s),
    ),
    (
        "tidegate_dispatch_gateway_packets_per_second",
        "gauge",
        "Packets that the gateway sent each second, between its last two reports.",
        |it| format!("{:.1}", it.rates().packets_per_s),
    ),
    (
        "tidegate_dispatch_gateway_bits_per_second",
        "gauge",
        "Bits that the gateway put on the wire each second, between its last two reports.",
        |it| format!("{:.0}", it.rates().bits_per_s),
    ),
    (
        "tidegate_dispatch_gateway_busy_ratio",
        "gauge",
        "Share of the time in which the gateway's busiest shard had something to do.",
        |it| format!("{:.3}", it.rates().busy_share),
    ),
    (
        "tidegate_dispatch_asks_answered_total",
        "counter",
        "Times at which the gateway was asked and answered.",
        |it| it.answered.to_string(),
    ),
    (
        "tidegate_dispatch_asks_failed_total",
        "counter",
        "Times at which the gateway was asked and did not answer as it should.",
        |it| it.failed.to_string(),
    ),
];

/// One series for each place in which a gateway can be.
fn listed(text: &mut String, settings: &DispatchSettings, board: &Board) {
    let name = "tidegate_dispatch_gateway_state";
    header(text, name, "gauge", "1 for where the gateway stands: listed, or why it is not.");
    let states = [
        None,
        Some(Unlisted::Unheard),
        Some(Unlisted::Silent),
        Some(Unlisted::Starting),
        Some(Unlisted::Draining),
        Some(Unlisted::Held),
        Some(Unlisted::Full),
    ];
    for (gateway, unlisted) in settings.gateways.iter().zip(&board.unlisted) {
        let label = escaped(&gateway.name);
        for state in states {
            let word = state.map_or("listed", Unlisted::word);
            let is_in = u8::from(state == *unlisted);
            let _ = writeln!(text, "{name}{{gateway=\"{label}\",state=\"{word}\"}} {is_in}");
        }
    }
}

/// A name may have any visible letter.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
