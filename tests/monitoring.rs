//! Rules and dashboard name metrics that there are, and every alert has its place in the runbook.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate::base::entropy::SeededEntropy;
use tidegate::base::metrics::ShardSnapshot;
use tidegate::base::time::Time;
use tidegate::ops::dispatch;
use tidegate::ops::dispatch::answers::Counts;
use tidegate::ops::dispatch::board::Looker;
use tidegate::ops::dispatch::settings::DispatchSettings;
use tidegate::ops::kernel::{KernelStatus, KernelWatch};
use tidegate::ops::key_watch::KeyCounts;
use tidegate::ops::metrics_text::{render, render_certificates, render_config, render_ledger};
use tidegate::ops::reload::ConfigCounts;
use tidegate::runtime::clock::Clock;
use tidegate::runtime::feed::LedgerStatus;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Names of series that a gateway of one shard shows.
fn shown() -> BTreeSet<String> {
    let shards = [Arc::new(ShardSnapshot::new(Time::ZERO))];
    let mut text = render(&shards, true, KeyCounts::default(), Time::ZERO);
    render_certificates(&mut text, 0, 0);
    render_config(&mut text, ConfigCounts::default());
    render_ledger(&mut text, &LedgerStatus::default());
    let kernel = Arc::<KernelStatus>::default();
    let watch = KernelWatch::start(9, Clock::start(), Arc::clone(&kernel)).unwrap();
    until(|| kernel.latest().looks > 0);
    watch.stop();
    kernel.render(&mut text);
    text += &dispatchers();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut names: BTreeSet<String> =
        lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect();
    // An interface without a speed, as in a virtual machine, shows none.
    names.insert("tidegate_interface_speed_bits_per_second".to_owned());
    names
}

/// What a dispatcher of one gateway shows.
fn dispatchers() -> String {
    let file = "[[gateways]]\nname = \"a\"\nurls = [\"wss://a.example/\"]\n\
                operator = \"http://127.0.0.1:8091\"\n";
    let settings = DispatchSettings::parse("d.toml", file, &[], &|_| Err(String::new())).unwrap();
    let mut looker = Looker::new(Arc::new(settings));
    let board = looker.look(Time::ZERO, &mut SeededEntropy::new(1, 0));
    dispatch::metrics::render(&board, &Counts::default(), ConfigCounts::default())
}

#[expect(clippy::disallowed_methods, reason = "another thread does it, soon")]
fn until(mut is_done: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not happen");
}

/// Words that begin as the names of our metrics do. Of a pattern, nothing: it names several.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("tidegate_") && !word.ends_with('_'));
    names.map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let shown = shown();
    for file in ["monitoring/alerts.yml", "monitoring/alerts_test.yml", "monitoring/dashboard.json"]
    {
        let named = named(&read(file));
        assert!(named.len() > 4, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&shown).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn every_alert_has_its_place_in_the_runbook_and_the_other_way_round() {
    let (rules, book) = (read("monitoring/alerts.yml"), read("runbook.md"));
    let after = |text: &str, start: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.trim().strip_prefix(start).map(str::to_owned)).collect()
    };
    let alerts = after(&rules, "- alert: ");
    assert!(alerts.len() > 15, "{alerts:?}");
    assert_eq!(alerts, after(&book, "## "));
    let places: Vec<String> =
        alerts.iter().map(|alert| format!("docs/runbook.md#{}", alert.to_lowercase())).collect();
    assert_eq!(places, after(&rules, "runbook: "));
}

#[test]
fn all_of_the_book_and_of_dispatch_is_on_the_dashboard() {
    let on_it = named(&read("monitoring/dashboard.json"));
    for (start, least) in
        [("tidegate_ledger_", 6), ("tidegate_payouts_", 2), ("tidegate_dispatch_", 13)]
    {
        let shown: Vec<String> = shown().into_iter().filter(|it| it.starts_with(start)).collect();
        assert!(shown.len() >= least, "{shown:?}");
        let missing: Vec<&String> = shown.iter().filter(|name| !on_it.contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn the_dashboard_is_json_with_every_panel_at_its_place() {
    let board: serde_json::Value =
        serde_json::from_str(&read("monitoring/dashboard.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let number = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in number("x")..number("x") + number("w") {
            for y in number("y")..number("y") + number("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} overlaps", panel["title"]);
            }
        }
    }
    assert!(panels.len() > 15);
}
