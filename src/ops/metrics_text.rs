//! Metrics as Prometheus reads them: the text format, version 0.0.4.

use std::fmt::Write as _;

use crate::base::metrics::{Metric, MetricKind, MetricUnit, ShardSnapshot};
use crate::base::time::Time;
use crate::ops::drain::{DrainState, DrainStatus};
use crate::ops::key_watch::KeyCounts;
use crate::ops::players::PlayerCounts;
use crate::ops::reload::ConfigCounts;
use crate::runtime::feed::LedgerStatus;

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// All metrics of all shards, as they were published last. Shards are numbered by their place in
/// `shards`.
#[must_use]
pub fn render<S: AsRef<ShardSnapshot>>(
    shards: &[S],
    ready: bool,
    keys: KeyCounts,
    now: Time,
) -> String {
    let mut text = String::new();
    single(&mut text, "tidegate_ready", "gauge", "1 while clients are accepted.", ready.into());
    token_keys(&mut text, keys);
    let name = "tidegate_published_age_seconds";
    header(&mut text, name, "gauge", "How long ago the shard published its metrics.");
    for (shard, snapshot) in shards.iter().enumerate() {
        let age = now.since(snapshot.as_ref().published());
        let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let _ = writeln!(text, "{name}{{shard=\"{shard}\"}} {}", seconds(nanos));
    }
    let mut family = "";
    for metric in Metric::ALL {
        let description = metric.description();
        if family != description.name {
            family = description.name;
            let kind = match description.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Bucket => "histogram",
            };
            header(&mut text, family, kind, description.help);
        }
        for (shard, snapshot) in shards.iter().enumerate() {
            let value = snapshot.as_ref().get(*metric);
            let bucket = if description.kind == MetricKind::Bucket { "_bucket" } else { "" };
            let _ = write!(text, "{family}{bucket}{{shard=\"{shard}\"");
            if let Some((label, of)) = description.label {
                let _ = write!(text, ",{label}=\"{of}\"");
            }
            let _ = match description.unit {
                MetricUnit::Nanoseconds if description.kind == MetricKind::Bucket => {
                    writeln!(text, "}} {value}")
                }
                MetricUnit::Nanoseconds => writeln!(text, "}} {}", seconds(value)),
                MetricUnit::Count | MetricUnit::Bytes => writeln!(text, "}} {value}"),
            };
            if description.label == Some(("le", "+Inf")) {
                let _ = writeln!(text, "{family}_count{{shard=\"{shard}\"}} {value}");
            }
        }
    }
    text
}

/// Appends what became of certificates that were read again.
pub fn render_certificates(text: &mut String, reloads: u64, errors: u64) {
    for (name, help, value) in [
        (
            "tidegate_certificate_reloads_total",
            "Times at which renewed certificates were given to the shards.",
            reloads,
        ),
        (
            "tidegate_certificate_errors_total",
            "Times at which certificates had changed and could not be used.",
            errors,
        ),
    ] {
        single(text, name, "counter", help, value);
    }
}

/// Appends what players asked over HTTP.
pub fn render_players(text: &mut String, counts: &PlayerCounts) {
    for (name, help, value) in counts.series() {
        single(text, name, "counter", help, value);
    }
}

/// Appends how the book of money goes.
pub fn render_ledger(text: &mut String, status: &LedgerStatus) {
    let LedgerStatus { booked, repeated, waits_for, stopped, behind_records, looked } = status;
    for (name, kind, help, value) in [
        ("tidegate_ledger_causes_total", "counter", "Causes that were new to the book.", *booked),
        (
            "tidegate_ledger_repeats_total",
            "counter",
            "Causes that the book had already: told again after a restart.",
            *repeated,
        ),
        (
            "tidegate_ledger_behind_records",
            "gauge",
            "Durable records of the journals that are not in the book yet.",
            *behind_records,
        ),
        (
            "tidegate_ledger_waits",
            "gauge",
            "1 while the book cannot be written and is tried again.",
            u64::from(waits_for.is_some()),
        ),
        (
            "tidegate_ledger_stopped",
            "gauge",
            "1 when the book is fed no longer; the journal goes on.",
            u64::from(stopped.is_some()),
        ),
        (
            "tidegate_ledger_imbalance",
            "gauge",
            "By how much all balances do not sum to zero, as of the last half minute; never but 0.",
            looked.imbalance,
        ),
        (
            "tidegate_payouts_waiting",
            "gauge",
            "Payouts that are to be sent, as of the last half minute.",
            looked.payouts_waiting,
        ),
        (
            "tidegate_payouts_dead",
            "gauge",
            "Payouts that a person has to decide on, as of the last half minute.",
            looked.payouts_dead,
        ),
    ] {
        single(text, name, kind, help, value);
    }
}

/// Appends where a drain stands.
pub fn render_drain(text: &mut String, status: &DrainStatus) {
    let name = "tidegate_drain_state";
    header(text, name, "gauge", "1 for the state in which draining is; off while there is none.");
    for state in DrainState::ALL {
        let is_in = u8::from(state == status.state);
        let _ = writeln!(text, "{name}{{state=\"{}\"}} {is_in}", state.word());
    }
    for (name, help, value) in [
        ("tidegate_drains_begun_total", "Drains that were begun.", status.begun),
        ("tidegate_drains_aborted_total", "Drains that the operator ended.", status.aborted),
    ] {
        single(text, name, "counter", help, value);
    }
}

/// Appends what became of the configuration that was read again.
pub fn render_config(text: &mut String, counts: ConfigCounts) {
    let ConfigCounts { reloads, errors, is_stale } = counts;
    for (name, kind, help, value) in [
        (
            "tidegate_config_stale",
            "gauge",
            "1 while the configuration that was read last is not in force.",
            u64::from(is_stale),
        ),
        (
            "tidegate_config_reloads_total",
            "counter",
            "Times at which the configuration was read again and is in force.",
            reloads,
        ),
        (
            "tidegate_config_errors_total",
            "counter",
            "Times at which the configuration was read again and nothing changed.",
            errors,
        ),
    ] {
        single(text, name, kind, help, value);
    }
}

fn token_keys(text: &mut String, keys: KeyCounts) {
    for (name, kind, help, value) in [
        (
            "tidegate_token_keys",
            "gauge",
            "Public keys that tokens are verified with.",
            keys.public_keys,
        ),
        (
            "tidegate_token_keys_stale",
            "gauge",
            "1 while auth.jwks_file cannot be used and older keys go on.",
            u64::from(keys.is_stale),
        ),
        (
            "tidegate_token_key_reloads_total",
            "counter",
            "Times at which other keys were taken from auth.jwks_file.",
            keys.reloads,
        ),
        (
            "tidegate_token_key_errors_total",
            "counter",
            "Times at which auth.jwks_file had changed and could not be used.",
            keys.errors,
        ),
    ] {
        single(text, name, kind, help, value);
    }
}

pub(super) fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A family of one series, without labels.
pub(super) fn single(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    header(text, name, kind, help);
    let _ = writeln!(text, "{name} {value}");
}

/// Seconds to the nanosecond, without going through a float.
pub(super) fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / NANOSECONDS_PER_SECOND, nanos % NANOSECONDS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Counters;
    use expect_test::expect;
    use std::sync::Arc;

    #[test]
    fn the_text_of_two_shards() {
        let shards = [Arc::new(ShardSnapshot::new(Time(0))), Arc::new(ShardSnapshot::new(Time(0)))];
        let mut counters = Counters::new();
        counters.add(Metric::ClosedReplaced, 3);
        counters.add(Metric::TurnTime, 1_000_000_001);
        counters.set(Metric::SentBytes, u64::MAX);
        shards[1].publish(&counters, Time::from_millis(2_000));
        let text = render(&shards, true, KeyCounts::default(), Time::from_millis(2_500));
        let shown: String = text
            .lines()
            .filter(|line| {
                ["_ready", "_age_s", "_closes", "_turn_seconds", "_sent_bytes"]
                    .iter()
                    .any(|part| line.contains(part))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        expect![[r##"
            # HELP tidegate_ready 1 while clients are accepted.
            # TYPE tidegate_ready gauge
            tidegate_ready 1
            # HELP tidegate_published_age_seconds How long ago the shard published its metrics.
            # TYPE tidegate_published_age_seconds gauge
            tidegate_published_age_seconds{shard="0"} 2.500000000
            tidegate_published_age_seconds{shard="1"} 0.500000000
            # HELP tidegate_closes_total Connections that the gateway closed, by the reason in its close frame.
            # TYPE tidegate_closes_total counter
            tidegate_closes_total{shard="0",reason="going_away"} 0
            tidegate_closes_total{shard="1",reason="going_away"} 0
            tidegate_closes_total{shard="0",reason="protocol_error"} 0
            tidegate_closes_total{shard="1",reason="protocol_error"} 0
            tidegate_closes_total{shard="0",reason="unsupported_data"} 0
            tidegate_closes_total{shard="1",reason="unsupported_data"} 0
            tidegate_closes_total{shard="0",reason="invalid_data"} 0
            tidegate_closes_total{shard="1",reason="invalid_data"} 0
            tidegate_closes_total{shard="0",reason="message_too_large"} 0
            tidegate_closes_total{shard="1",reason="message_too_large"} 0
            tidegate_closes_total{shard="0",reason="replaced"} 0
            tidegate_closes_total{shard="1",reason="replaced"} 3
            tidegate_closes_total{shard="0",reason="token_refused"} 0
            tidegate_closes_total{shard="1",reason="token_refused"} 0
            tidegate_closes_total{shard="0",reason="heartbeat_timeout"} 0
            tidegate_closes_total{shard="1",reason="heartbeat_timeout"} 0
            tidegate_closes_total{shard="0",reason="too_slow"} 0
            tidegate_closes_total{shard="1",reason="too_slow"} 0
            tidegate_closes_total{shard="0",reason="handshake_timeout"} 0
            tidegate_closes_total{shard="1",reason="handshake_timeout"} 0
            tidegate_closes_total{shard="0",reason="token_revoked"} 0
            tidegate_closes_total{shard="1",reason="token_revoked"} 0
            tidegate_closes_total{shard="0",reason="rate_limited"} 0
            tidegate_closes_total{shard="1",reason="rate_limited"} 0
            tidegate_closes_total{shard="0",reason="aged"} 0
            tidegate_closes_total{shard="1",reason="aged"} 0
            tidegate_closes_total{shard="0",reason="disconnected"} 0
            tidegate_closes_total{shard="1",reason="disconnected"} 0
            tidegate_closes_total{shard="0",reason="banned"} 0
            tidegate_closes_total{shard="1",reason="banned"} 0
            tidegate_closes_total{shard="0",reason="moved"} 0
            tidegate_closes_total{shard="1",reason="moved"} 0
            tidegate_closes_total{shard="0",reason="other"} 0
            tidegate_closes_total{shard="1",reason="other"} 0
            # HELP tidegate_sent_bytes_total Bytes sent to clients.
            # TYPE tidegate_sent_bytes_total counter
            tidegate_sent_bytes_total{shard="0"} 0
            tidegate_sent_bytes_total{shard="1"} 18446744073709551615
            # HELP tidegate_turn_seconds_total Time spent in those turns.
            # TYPE tidegate_turn_seconds_total counter
            tidegate_turn_seconds_total{shard="0"} 0.000000000
            tidegate_turn_seconds_total{shard="1"} 1.000000001
        "##]].assert_eq(&shown);
    }

    /// Every line is a comment or `name{labels} value`, and a family's header stands once, first.
    /// Readiness, the age of the one shard, and four of the token keys.
    const SERIES_OF_PROCESS: usize = 6;

    #[test]
    fn every_line_has_the_form() {
        let shards = [Arc::new(ShardSnapshot::new(Time(0)))];
        let text = render(&shards, false, KeyCounts::default(), Time(7));
        let mut families: Vec<&str> = Vec::new();
        for line in text.lines() {
            if let Some(header) = line.strip_prefix("# TYPE ") {
                let (name, kind) = header.split_once(' ').expect("a kind");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(!families.contains(&name), "{line}");
                families.push(name);
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = series.split('{').next().expect("a name");
                let name = ["_bucket", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let name = name.or(series.split('{').next()).expect("a name");
                assert_eq!(families.last(), Some(&name), "{line}");
            }
        }
        // Every histogram has a count beside its buckets.
        let counts = text.lines().filter(|line| line.ends_with(" histogram")).count();
        assert_eq!(
            text.lines().filter(|line| !line.starts_with('#')).count(),
            SERIES_OF_PROCESS + Metric::ALL.len() + counts
        );
        assert!(text.ends_with('\n'));
    }
}
