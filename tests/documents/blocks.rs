//! The pages of the book, and the fenced blocks in them.

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block: what stands behind its fence, its lines, and where it stands.
pub(crate) struct Block {
    pub(crate) info: String,
    pub(crate) lines: Vec<String>,
    /// The line of the fence, from 1.
    pub(crate) line: usize,
}

pub(crate) fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// All pages, by their path below `docs`.
pub(crate) fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for folder in [".", "decisions", "monitoring"] {
        for entry in fs::read_dir(docs().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "md") {
                let name = path.file_name().unwrap().to_str().unwrap();
                let name = Path::new(folder).join(name);
                pages.push(name.strip_prefix(".").unwrap_or(&name).to_str().unwrap().to_owned());
            }
        }
    }
    pages.sort();
    pages
}

pub(crate) fn page(name: &str) -> String {
    fs::read_to_string(docs().join(name)).unwrap_or_else(|error| panic!("docs/{name}: {error}"))
}

pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(info) => {
                is_open = true;
                let info = info.trim().to_owned();
                blocks.push(Block { info, lines: Vec::new(), line: index + 1 });
            }
            None if is_open => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            None => {}
        }
    }
    assert!(!is_open, "the last block has no end");
    blocks
}

/// The text without what stands in fenced blocks.
pub(crate) fn prose(text: &str) -> String {
    let mut is_open = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_open = !is_open;
        } else if !is_open {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}
