//! Rules of style that a machine can see: `docs/hacking.md` says why each is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Layers, innermost first, and what each may import of this crate.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("room", &["base"]),
    ("chat", &["base"]),
    ("quiz", &["base"]),
    ("auth", &["base"]),
    ("shard", &["base", "wire", "room", "chat", "quiz", "auth"]),
    ("net", &["base"]),
    ("tls", &["base"]),
    ("store", &["base", "quiz", "shard"]),
    ("ledger", &["base", "quiz"]),
    (
        "runtime",
        &["base", "wire", "room", "chat", "quiz", "auth", "shard", "net", "tls", "store", "ledger"],
    ),
    ("player", &["base", "wire", "quiz", "net", "runtime"]),
    ("sim", &["base", "wire", "room", "chat", "quiz", "auth", "shard", "store"]),
    (
        "ops",
        &[
            "base", "wire", "room", "chat", "quiz", "auth", "shard", "net", "tls", "ledger",
            "runtime", "player",
        ],
    ),
];

/// Layers that are pure: no I/O, no clock, no `unsafe`.
const PURE: &[&str] = &["base", "wire", "room", "chat", "quiz", "auth", "shard", "store", "sim"];

/// What a pure layer does not name.
const IMPURE: &[&str] = &[
    "unsafe ",
    "std::fs",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "glommio",
    "io_uring",
    "socket2",
    "flume",
    "tokio",
    "libc::",
    "tracing::",
    "async fn",
    "TcpStream",
];

const FILE_LINES_MAX: usize = 800;

struct Source {
    path: PathBuf,
    layer: String,
    text: String,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    files(&root().join("src"), &mut found);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(found.len() > 20, "the sources are where they were");
    let source = |path: PathBuf| {
        let relative = path.strip_prefix(root().join("src")).unwrap().to_path_buf();
        let layer = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let layer = layer.trim_end_matches(".rs").to_string();
        Source { text: fs::read_to_string(&path).unwrap(), path: relative, layer }
    };
    found.into_iter().map(source).collect()
}

/// The text without its tests and comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    body.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn layers_import_only_what_stands_above_them() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == source.layer) else {
            assert!(["lib", "main"].contains(&source.layer.as_str()), "{:?}", source.path);
            continue;
        };
        for (index, line) in code(&source.text) {
            for (position, _) in line.match_indices("crate::") {
                let name: String = line[position + "crate::".len()..]
                    .chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect();
                let known = LAYERS.iter().any(|(layer, _)| *layer == name);
                let grouped = name.is_empty();
                if grouped || known && name != source.layer && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("src/{}:{}: {line}", source.path.display(), index + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn pure_layers_do_no_io() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.layer.as_str())) {
        for (index, line) in code(&source.text) {
            if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("src/{}:{}: {word}", source.path.display(), index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "a pure layer names what it may not:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_bridge_knows_rooms_and_quiz() {
    for source in sources().iter().filter(|source| source.layer == "shard") {
        let both = source.text.contains("crate::quiz::") && source.text.contains("crate::room::");
        let path = source.path.to_str().unwrap();
        // Tests of the whole shard see both from outside.
        let bridge = path.contains("quiz_bridge") || path.contains("tests");
        assert!(!both || bridge, "src/{} knows rooms and quiz", source.path.display());
    }
}

/// Outside of `net`, only what truly needs `unsafe`: glommio takes a descriptor over in no other
/// way.
const UNSAFE_TOO: &str = "runtime/reactor.rs";

#[test]
fn unsafe_is_in_net() {
    for source in sources().iter().filter(|source| source.layer != "net") {
        if source.path == Path::new(UNSAFE_TOO) {
            continue;
        }
        for (index, line) in code(&source.text) {
            let found = ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|it| line.contains(it));
            assert!(!found, "src/{}:{}: {line}", source.path.display(), index + 1);
        }
    }
}

#[test]
fn files_are_rooms_not_halls() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "src/{} has {lines} lines", source.path.display());
        let is_test = source.path.ends_with("tests.rs");
        let described = is_test || source.text.trim_start().starts_with("//!");
        assert!(described, "src/{} does not say what it is", source.path.display());
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    files(&root().join("docs"), &mut pages);
    let mut dead = Vec::new();
    for page in pages.iter().filter(|page| page.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(page).unwrap();
        for piece in text.split("](").skip(1) {
            let target = piece.split(')').next().unwrap().split('#').next().unwrap();
            let elsewhere = target.is_empty() || target.contains("://");
            if !elsewhere && !page.parent().unwrap().join(target).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn the_changelog_has_its_form() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    assert!(text.starts_with("# Changelog\n") && text.contains("\n## [Unreleased]\n"));
    for line in text.lines().filter(|line| line.starts_with("### ")) {
        let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
        assert!(kinds.contains(&&line[4..]), "{line}");
    }
}

/// The names in a braced list of `file` that begins with the line `start`.
fn names_after(file: &str, start: &str, is_name: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let (_, list) = text.split_once(start).unwrap_or_else(|| panic!("{file} has {start}"));
    let names: Vec<_> = list.lines().take_while(|line| *line != "}").filter_map(is_name).collect();
    assert!(names.len() > 20, "{file} lists what it did");
    names
}

#[test]
fn no_metric_stands_still() {
    let mut metrics = Vec::new();
    let text = fs::read_to_string(root().join("src/base/metrics.rs")).unwrap();
    let (_, list) = text.split_once("\nmetrics! {\n").unwrap();
    let (list, _) = list.split_once("\n}\n").unwrap();
    for piece in list.split('{').skip(1) {
        let series = piece.split('}').next().unwrap();
        let names = series.split(',').map(|one| one.split('(').next().unwrap().trim());
        metrics.extend(names.filter(|name| !name.is_empty()).map(str::to_string));
    }
    assert!(metrics.len() > 40, "the metrics are where they were");
    let runtime: String = sources()
        .iter()
        .filter(|source| source.layer == "runtime")
        .flat_map(|source| {
            code(&source.text).map(|(_, line)| format!("{line}\n")).collect::<Vec<_>>()
        })
        .collect();
    for metric in metrics {
        let is_set = ["set", "add", "increment"]
            .iter()
            .any(|how| runtime.contains(&format!("{how}(Metric::{metric}")))
            || runtime.contains(&format!("(Metric::{metric},"))
            || runtime.contains(&format!("=> Metric::{metric},"));
        assert!(is_set, "nobody in src/runtime counts Metric::{metric}");
    }
}

#[test]
fn no_counter_stands_still() {
    let field = |line: &str| {
        let name = line.trim().strip_prefix("pub ")?.split(':').next()?;
        Some(name.to_string())
    };
    for (file, start, layer) in [
        ("src/shard/counters.rs", "pub struct Counters {", "shard"),
        ("src/net/counters.rs", "pub struct PlaneCounters {", "net"),
    ] {
        let sources = sources();
        for name in names_after(file, start, field) {
            let counted = |line: &str| {
                let place = line.find(&format!("counters.{name}"));
                place.is_some_and(|place| line[place..].contains('='))
            };
            let found = sources
                .iter()
                .filter(|source| source.layer == layer)
                .any(|source| code(&source.text).any(|(_, line)| counted(line)));
            assert!(found, "nobody counts {name} of {file}");
        }
    }
}
