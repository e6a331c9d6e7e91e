//! What the documents list is what the code has, what they show is what comes, and they are a book.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "documents/blocks.rs"]
mod blocks;
#[path = "documents/book.rs"]
mod book;
#[path = "documents/commands.rs"]
mod commands;
#[path = "documents/session.rs"]
mod session;

use std::fs;
use std::path::{Path, PathBuf};

use tidegate::wire::close::{CloseReason, Reconnect};
use tidegate::wire::proto::Reason;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn protocol() -> String {
    fs::read_to_string(root().join("docs/protocol.md")).unwrap()
}

/// The cells of the table below a heading of the protocol, without its head.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = protocol();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    // What stands below headings of its own is another table.
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether the code of the gateway ever closes for this reason.
fn is_sent(reason: CloseReason) -> bool {
    let mut files = Vec::new();
    for layer in ["shard", "wire"] {
        sources(&root().join("src").join(layer), &mut files);
    }
    files.retain(|path| !path.ends_with("wire/close.rs"));
    files.retain(|path| !path.components().any(|part| part.as_os_str() == "tests"));
    files.iter().any(|path| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        !path.ends_with("tests.rs") && code.contains(&format!("CloseReason::{reason:?}"))
    })
}

#[test]
fn the_close_codes_are_those_of_the_code() {
    let rows = table("Close codes");
    assert_eq!(rows.len(), CloseReason::ALL.len());
    for (row, reason) in rows.iter().zip(CloseReason::ALL) {
        let [code, name, meaning, reconnect] = &row[..] else { panic!("four cells: {row:?}") };
        assert_eq!((code, &**name), (&reason.code().to_string(), reason.name()));
        let expected = match reason.reconnect() {
            Reconnect::No => "no".to_owned(),
            Reconnect::WithNewToken => "with a new token".to_owned(),
            Reconnect::Within { span_ms } => {
                format!("yes, spread over {} s", f64::from(span_ms) / 1_000.0)
            }
        };
        assert_eq!(reconnect.split([',', ':']).next(), expected.split(',').next(), "{reason}");
        assert!(reason.reconnect() == Reconnect::No || *reconnect == expected, "{reason}");
        // A client closes a connection normally; the gateway answers with the client's own code.
        let is_reserved = reason != CloseReason::Normal && !is_sent(reason);
        assert_eq!(meaning.contains("reserved, not sent yet"), is_reserved, "{reason}");
    }
}

#[test]
fn every_reason_of_a_failure_is_explained() {
    let text = protocol();
    let mut count = 0;
    for number in 1..1_000 {
        let Ok(reason) = Reason::try_from(number) else { continue };
        let name = reason.as_str_name().trim_start_matches("REASON_");
        assert!(text.contains(&format!("`{name}` {number}")), "{name} {number}");
        count += 1;
    }
    assert!(count > 20, "the reasons are where they were");
}

#[test]
fn the_javascript_client_knows_every_close_code_and_reason() {
    let text = fs::read_to_string(root().join("src/web/tidegate.js")).unwrap();
    for reason in CloseReason::ALL {
        let what = match reason.reconnect() {
            Reconnect::No => "undefined".to_owned(),
            Reconnect::WithNewToken => "'token'".to_owned(),
            Reconnect::Within { span_ms } if span_ms < 1_000 => span_ms.to_string(),
            Reconnect::Within { span_ms } => format!("{}_{:03}", span_ms / 1_000, span_ms % 1_000),
        };
        assert!(text.contains(&format!(" {}: {what}", reason.code())), "{reason} {what}");
    }
    for number in 0..1_000 {
        if let Ok(reason) = Reason::try_from(number) {
            let name = reason.as_str_name().trim_start_matches("REASON_").to_lowercase();
            assert!(text.contains(&format!("{number}: '{name}'")), "{number} {name}");
        }
    }
}
