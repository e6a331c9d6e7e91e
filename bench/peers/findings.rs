//! What was found: for machines, for people, and for the plot.

use std::fmt::Write as _;

use serde::Serialize;

use crate::common::stats::Figures;

use super::measure::{BURST, Showing};
use super::plot::{Bar, Panel, figure};

/// Median of all repetitions, and the outermost ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(figures: &[f64]) -> Spread {
        let mut sorted = Figures::default();
        figures.iter().for_each(|figure| sorted.push(*figure));
        Spread { median: sorted.median(), min: sorted.min(), max: sorted.max() }
    }

    /// Ratios within a repetition.
    fn of_ratios(these: &[f64], those: &[f64]) -> Spread {
        Spread::of(&these.iter().zip(those).map(|(this, that)| this / that).collect::<Vec<_>>())
    }
}

/// Which of the servers this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Gateway,
    Floor,
    Peer,
}

/// A server and what it showed.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) showing: Showing,
}

/// One server's figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerFindings {
    kind: Kind,
    name: String,
    version: String,
    cpu_us_per_delivery: Spread,
    burst_cpu_us_per_delivery: Spread,
    to_floor: Spread,
    burst_to_floor: Spread,
    gateway_to_it: Spread,
    burst_gateway_to_it: Spread,
    user_bytes_per_connection: Spread,
    cpu_us_per_connect: Spread,
    broadcast_ms_p50: Spread,
    broadcast_ms_p100: Spread,
    client_cpu_us_per_delivery: f64,
    client_limited: bool,
    packets_dropped: u64,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Findings {
    connections: u32,
    frame_bytes: usize,
    burst: u16,
    repetitions: u32,
    servers: Vec<ServerFindings>,
}

impl Findings {
    /// The gateway is the first of `shown`, the floor the second.
    pub(crate) fn of(
        connections: u32,
        frame_bytes: usize,
        repetitions: u32,
        shown: &[Shown],
    ) -> Findings {
        let [gateway, floor] = [Kind::Gateway, Kind::Floor].map(|kind| {
            shown.iter().find(|it| it.kind == kind).map(|it| it.showing.clone()).unwrap_or_default()
        });
        let servers = shown
            .iter()
            .map(|Shown { kind, name, version, showing }| ServerFindings {
                kind: *kind,
                name: name.clone(),
                version: version.clone(),
                cpu_us_per_delivery: Spread::of(&showing.one),
                burst_cpu_us_per_delivery: Spread::of(&showing.burst),
                to_floor: Spread::of_ratios(&showing.one, &floor.one),
                burst_to_floor: Spread::of_ratios(&showing.burst, &floor.burst),
                gateway_to_it: Spread::of_ratios(&gateway.one, &showing.one),
                burst_gateway_to_it: Spread::of_ratios(&gateway.burst, &showing.burst),
                user_bytes_per_connection: Spread::of(&showing.bytes_per_connection),
                cpu_us_per_connect: Spread::of(&showing.connect),
                broadcast_ms_p50: Spread::of(&showing.half_ms),
                broadcast_ms_p100: Spread::of(&showing.all_ms),
                client_cpu_us_per_delivery: Spread::of(&showing.client).median,
                client_limited: showing.limited * 2 > showing.broadcasts,
                packets_dropped: showing.packets_dropped,
            })
            .collect();
        Findings { connections, frame_bytes, burst: BURST, repetitions, servers }
    }

    /// For people: one line a server; below, what the columns are.
    pub(crate) fn table(&self) -> String {
        let head = [
            "",
            "one at a time, µs",
            "÷ floor",
            "tidegate ÷ it",
            "burst of 16, µs",
            "tidegate ÷ it",
            "bytes/connection",
            "connect, µs",
            "half, ms",
            "last, ms",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.servers.iter().map(row));
        let mut text = String::new();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
                // Writing to a string cannot fail.
                let _ = if column == 0 {
                    write!(text, "  {cell:width$}")
                } else {
                    write!(text, "  {cell:>width$}")
                };
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "  Medians of {} interleaved repetitions, (smallest–largest); {}. CPU is the server process's own, per \
             delivery\n  and per connect; bytes are its resident memory over that of the empty server; half and last: \
             until half of\n  the clients and all of them had a broadcast.",
            self.repetitions,
            self.conditions()
        );
        for server in self.servers.iter().filter(|server| server.client_limited) {
            let _ = writeln!(text, "  {}: half and last were limited by the client", server.name);
        }
        for server in self.servers.iter().filter(|server| server.packets_dropped > 0) {
            let _ = writeln!(
                text,
                "  {}: this machine dropped {} packets during its broadcasts, which TCP sends again after 200 ms",
                server.name, server.packets_dropped
            );
        }
        text
    }

    /// For the plot.
    pub(crate) fn panels(&self) -> Vec<Panel> {
        type Measure = fn(&ServerFindings) -> Spread;
        let measures: [(&str, Measure); 6] = [
            ("Server CPU per delivery, one broadcast at a time, µs", |it| it.cpu_us_per_delivery),
            ("Server CPU per delivery, bursts of 16, µs", |it| it.burst_cpu_us_per_delivery),
            ("User memory per idle connection, bytes", |it| it.user_bytes_per_connection),
            ("Server CPU per connect, µs", |it| it.cpu_us_per_connect),
            ("A broadcast reaches half of the clients after, ms", |it| it.broadcast_ms_p50),
            ("A broadcast reaches the last client after, ms", |it| it.broadcast_ms_p100),
        ];
        let panel = |(title, measure): &(&str, Measure)| Panel {
            title: (*title).to_owned(),
            bars: self.servers.iter().map(|server| bar(server, measure(server))).collect(),
        };
        measures.iter().map(panel).collect()
    }

    /// What every server was asked to do.
    pub(crate) fn conditions(&self) -> String {
        let Findings { connections, frame_bytes, .. } = self;
        format!("{connections} connections, {frame_bytes} bytes a message on the wire")
    }
}

fn row(server: &ServerFindings) -> [String; 10] {
    let with = |Spread { median, min, max }| {
        format!("{} ({}–{})", figure(median), figure(min), figure(max))
    };
    let ratio = |Spread { median, min, max }| format!("{median:.2} ({min:.2}–{max:.2})");
    let to_it =
        |spread| if server.kind == Kind::Gateway { "–".to_owned() } else { ratio(spread) };
    [
        format!("{} {}", server.name, server.version).trim_end().to_owned(),
        with(server.cpu_us_per_delivery),
        if server.kind == Kind::Floor { "1".to_owned() } else { ratio(server.to_floor) },
        to_it(server.gateway_to_it),
        with(server.burst_cpu_us_per_delivery),
        to_it(server.burst_gateway_to_it),
        with(server.user_bytes_per_connection),
        with(server.cpu_us_per_connect),
        figure(server.broadcast_ms_p50.median),
        with(server.broadcast_ms_p100),
    ]
}

fn bar(server: &ServerFindings, Spread { median, min, max }: Spread) -> Bar {
    let label = match server.kind {
        Kind::Peer => format!("{} {}", server.name, server.version),
        Kind::Gateway | Kind::Floor => server.name.clone(),
    };
    Bar { server: label, median, min, max, ours: server.kind == Kind::Gateway }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::plot::svg;

    fn shown(kind: Kind, name: &str, factor: f64) -> Shown {
        let of = |figures: [f64; 3]| figures.map(|figure| figure * factor).to_vec();
        let showing = Showing {
            one: of([5.0, 6.0, 4.0]),
            burst: of([0.5, 0.4, 0.6]),
            half_ms: of([20.0, 21.0, 22.0]),
            all_ms: of([40.0, 42.0, 44.0]),
            connect: of([20.0, 22.0, 21.0]),
            bytes_per_connection: of([200.0, 210.0, 205.0]),
            client: of([0.3, 0.3, 0.3]),
            broadcasts: 15,
            limited: 0,
            packets_dropped: 0,
        };
        Shown { kind, name: name.to_owned(), version: "1.0".to_owned(), showing }
    }

    fn findings() -> Findings {
        let shown = [
            shown(Kind::Gateway, "tidegate", 1.0),
            shown(Kind::Floor, "send() loop", 1.25),
            shown(Kind::Peer, "Bun", 2.0),
        ];
        Findings::of(8_000, 138, 3, &shown)
    }

    #[test]
    fn ratios_are_taken_within_a_repetition() {
        let findings = findings();
        let [gateway, _, bun] = &findings.servers[..] else { panic!("three servers") };
        assert_eq!(bun.gateway_to_it, Spread { median: 0.5, min: 0.5, max: 0.5 });
        assert_eq!(gateway.to_floor, Spread { median: 0.8, min: 0.8, max: 0.8 });
        assert_eq!(bun.cpu_us_per_delivery, Spread { median: 10.0, min: 8.0, max: 12.0 });
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["servers"][2]["burst_gateway_to_it"]["median"], 0.5);
        assert_eq!(json["servers"][1]["kind"], "floor");
    }

    #[test]
    fn everybody_is_in_the_table_and_in_every_panel() {
        let findings = findings();
        let table = findings.table();
        for cell in
            ["tidegate 1.0", "send() loop 1.0", "Bun 1.0", "10.0 (8.00–12.0)", "0.50 (0.50–0.50)"]
        {
            assert!(table.contains(cell), "{cell} is missing:\n{table}");
        }
        let drawn = svg("tidegate", &[&findings.conditions()], &findings.panels());
        assert_eq!(drawn.matches("<rect x=").count(), 6 * 3);
        assert_eq!(drawn.matches(">Bun 1.0<").count(), 6);
    }
}
