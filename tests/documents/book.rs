//! `docs/` is a book: its summary names every page, and every link leads to a place that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::blocks::{docs, page, pages, prose};

const SUMMARY: &str = "SUMMARY.md";

/// Targets of the links in a text.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let pieces = prose.split("](").skip(1);
    pieces.map(|piece| piece.split(')').next().unwrap().to_owned()).collect()
}

/// What a heading is called in a link, as mdBook and GitHub have it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim().to_lowercase();
    let kept = heading.chars().filter_map(|letter| match letter {
        letter if letter.is_alphanumeric() || letter == '_' || letter == '-' => Some(letter),
        letter if letter.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    let prose = prose(text);
    for heading in prose.lines().filter(|line| line.starts_with('#')) {
        let name = anchor(heading.trim_start_matches('#'));
        let count = seen.entry(name.clone()).or_default();
        // A heading that was there before gets a number.
        anchors.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    anchors
}

#[test]
fn the_summary_names_every_page_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let settings: toml::Table =
        fs::read_to_string(root.join("book.toml")).unwrap().parse().unwrap();
    assert_eq!(settings["book"]["src"].as_str(), Some("docs"));
    let summary = page(SUMMARY);
    let mut lines = summary.lines();
    assert_eq!(lines.next(), Some("# Summary"));
    for line in lines.filter(|line| !line.is_empty()) {
        let is_chapter = line.starts_with("- [") && line.ends_with(".md)");
        assert!(is_chapter || line.starts_with("# "), "docs/{SUMMARY}: {line}");
    }
    let mut named = links(&summary);
    named.sort();
    let there: Vec<String> = pages().into_iter().filter(|name| name != SUMMARY).collect();
    assert_eq!(named, there, "docs/{SUMMARY} and the pages of docs/");
}

#[test]
fn every_link_and_anchor_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut from: Vec<PathBuf> = pages().iter().map(|name| docs().join(name)).collect();
    from.extend([root.join("README.md"), root.join("CHANGELOG.md")]);
    let (mut dead, mut count) = (Vec::new(), 0);
    for path in from {
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            count += 1;
            let (target, wanted) = link.split_once('#').unwrap_or((&link, ""));
            let target = match target {
                "" => path.clone(),
                target => path.parent().unwrap().join(target),
            };
            let is_page = target.extension().is_some_and(|end| end == "md");
            let is_there = match fs::read_to_string(&target) {
                Ok(text) => wanted.is_empty() || !is_page || anchors(&text).contains(wanted),
                // A picture is no text.
                Err(_) => target.exists(),
            };
            if !is_there {
                dead.push(format!("{}: {link}", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere: {dead:#?}");
    assert!(count > 100, "{count} links");
}

#[test]
fn anchors_are_those_of_headings() {
    let text = "# The operator's HTTP\n## A show\n```\n# none\n```\n## A show\n### `run`, `x`\n";
    let expected = ["the-operators-http", "a-show", "a-show-1", "run-x"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
}
