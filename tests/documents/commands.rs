//! The commands of the pages are run as a reader would run them: all `console` blocks of a page in
//! their order, by one shell in an empty folder, with the binary that was built. What a page shows
//! below a command is what must come; `…` stands for anything, and a line of it for any lines.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use clap::Parser as _;
use clap::error::ErrorKind;
use tidegate::ops::cli::Cli;

use crate::blocks::{Block, blocks, page, pages};

const QUICK_START: &str = "quick-start.md";
/// A page whose commands take longer than this many seconds fails.
const PAGE_SECONDS_MAX: u32 = 240;
/// The ports that pages name; each gets a free one.
const PORTS: [&str; 3] = ["8090", "8091", "8092"];

/// A command of a page, and what it shows.
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in blocks(page).into_iter().filter(|block| block.info == "console") {
        for (index, line) in block.lines.into_iter().enumerate() {
            let line_number = block.line + index + 1;
            match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step {
                    line: line_number,
                    command: command.to_owned(),
                    shown: Vec::new(),
                }),
                None => steps.last_mut().expect("a command comes first").shown.push(line),
            }
        }
    }
    steps
}

/// Files that a page shows: TOML whose first line is a comment with the name.
fn files(page: &str) -> Vec<(String, String)> {
    let named = |block: Block| {
        let name = block.lines.first()?.strip_prefix("# ")?.to_owned();
        name.ends_with(".toml").then(|| (name, block.lines.join("\n")))
    };
    blocks(page).into_iter().filter(|block| block.info == "toml").filter_map(named).collect()
}

/// Ports of this host that are free, in place of those that pages name.
struct Ports(Vec<String>);

impl Ports {
    fn free() -> Ports {
        let listeners = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        Ports(listeners.iter().map(|it| it.local_addr().unwrap().port().to_string()).collect())
    }

    fn put(&self, text: &str) -> String {
        PORTS
            .iter()
            .zip(&self.0)
            .fold(text.to_owned(), |text, (page, free)| text.replace(page, free))
    }

    fn take_back(&self, text: &str) -> String {
        PORTS.iter().zip(&self.0).fold(text.to_owned(), |text, (page, free)| {
            text.replace(&format!(":{free}"), &format!(":{page}"))
        })
    }
}

/// Runs the steps in one shell and compares what they show.
fn run(name: &str, files: &[(String, String)], steps: &[Step]) {
    let ports = Ports::free();
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in files {
        fs::write(folder.path().join(file), ports.put(text)).unwrap();
    }
    // What still runs at the end is killed, so that nothing outlives the test.
    let mut script = "exec 2>&1 </dev/null\ntrap 'kill -KILL $(jobs -p)' EXIT\n".to_owned();
    for (index, step) in steps.iter().enumerate() {
        let command = ports.put(&step.command);
        script += &format!("echo @@begin {index}\n{command}\nprintf '\\n@@end %s\\n' $?\n");
    }
    let path = std::env::var("PATH").unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap();
    let output = Command::new("timeout")
        .args(["--kill-after=5", &PAGE_SECONDS_MAX.to_string(), "bash", "-c", &script])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("HOME", folder.path())
        .env("LANG", "C.UTF-8")
        .output()
        .unwrap();
    let told = ports.take_back(&String::from_utf8(output.stdout).unwrap());
    for (index, step) in steps.iter().enumerate() {
        let Step { line, command, shown } = step;
        let at = format!("docs/{name}:{line}: {command}");
        let begun = told.split_once(&format!("@@begin {index}\n"));
        let ended = begun.and_then(|(_, rest)| rest.split_once("\n@@end "));
        let Some((came, rest)) = ended else { panic!("{at} does not end: {told}") };
        let came = came.trim_end_matches('\n');
        assert_eq!(rest.lines().next(), Some("0"), "{at}: exit status, behind: {came}");
        let came: Vec<&str> = came.lines().collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        assert!(
            shown.is_empty() || fits(&shown, &came),
            "{at}\nshown: {shown:#?}\ncame: {came:#?}"
        );
    }
}

/// Whether lines are as they are shown.
fn fits(shown: &[&str], came: &[&str]) -> bool {
    match shown.split_first() {
        None => came.is_empty(),
        Some((&"…", rest)) => (0..=came.len()).any(|skip| fits(rest, &came[skip..])),
        Some((line, rest)) => came
            .split_first()
            .is_some_and(|(first, others)| line_fits(line, first) && fits(rest, others)),
    }
}

fn line_fits(shown: &str, came: &str) -> bool {
    let pieces: Vec<&str> = shown.split('…').collect();
    let [first, middle @ .., last] = &pieces[..] else { return shown == came };
    let Some(mut rest) = came.strip_prefix(first) else { return false };
    for piece in middle {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[test]
fn lines_fit_what_is_shown() {
    assert!(line_fits("a…c", "abc") && line_fits("…", "") && line_fits("a", "a"));
    assert!(!line_fits("a…c", "ab") && !line_fits("a", "ab") && !line_fits("ab…ba", "aba"));
    assert!(fits(&["a", "…", "c"], &["a", "b", "b", "c"]) && fits(&["…"], &[]));
    assert!(!fits(&["a", "…", "c"], &["a", "b"]) && !fits(&["a"], &["a", "b"]));
}

#[test]
fn the_commands_of_the_pages_do_what_is_shown() {
    let mut count = 0;
    for name in pages() {
        let text = page(&name);
        let steps = steps(&text);
        if !steps.is_empty() {
            count += steps.len();
            run(&name, &files(&text), &steps);
        }
    }
    assert!(count >= 15, "{count} commands");
}

/// The commands of the protocol need a question that is open, as the quick start has it.
#[test]
fn the_commands_of_the_protocol_work_while_a_question_is_open() {
    let quick_start = page(QUICK_START);
    let mut steps = steps(&quick_start);
    let token = steps.iter().position(|step| step.command.starts_with("TOKEN=")).unwrap();
    steps.truncate(token + 1);
    let text = page("protocol.md");
    let before = steps.len();
    for block in blocks(&text).into_iter().filter(|block| block.info == "sh") {
        for command in block.lines.join("\n").replace("\\\n", " ").lines() {
            let shown = vec![r#"{"serverTimeMs":"…","answerReceived":{…}}"#.to_owned()];
            steps.push(Step { line: block.line, command: command.to_owned(), shown });
        }
    }
    assert!(steps.len() > before, "the protocol has a command");
    run("protocol.md", &files(&quick_start), &steps);
}

/// The words of a command line up to where the shell's own signs begin.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (' ', None) => words.push(String::new()),
            (letter, _) => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    let ends = |word: &String| ["|", "#", "&", "&&", "2>", ">", "<", ";"].contains(&word.as_str());
    let end = words.iter().position(ends).unwrap_or(words.len());
    words.truncate(end);
    words
}

#[test]
fn every_command_line_is_one_that_the_binary_knows() {
    let mut texts: Vec<(String, String)> =
        pages().into_iter().map(|name| (format!("docs/{name}"), page(&name))).collect();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    texts.push(("README.md".to_owned(), fs::read_to_string(readme).unwrap()));
    let mut count = 0;
    for (name, text) in texts {
        for block in blocks(&text) {
            if !["sh", "console"].contains(&&*block.info) {
                continue;
            }
            let prompt = if block.info == "console" { "$ " } else { "" };
            for line in block.lines.iter().filter_map(|line| line.strip_prefix(prompt)) {
                if !line.starts_with("tidegate ") {
                    continue;
                }
                count += 1;
                // `[--flag N]` in a page says that it may be left out.
                let words = words(&line.replace(['[', ']'], ""));
                let Err(error) = Cli::try_parse_from(words) else { continue };
                // Words in capitals stand for values; help and version are no errors.
                let is_fine = matches!(
                    error.kind(),
                    ErrorKind::ValueValidation | ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
                );
                assert!(is_fine, "{name}: {line}\n{error}");
            }
        }
    }
    assert!(count >= 25, "{count} command lines");
}
