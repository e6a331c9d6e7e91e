//! What the kernel says of a host: files of `/proc` and `/sys`, and the few things that only a
//! program can ask. With a folder in place of `/`, a copy of another host can be looked at, and a
//! test can plant what it likes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// No file of these is longer; a copy of another host may be anything.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// No folder of these has more; one of a process for each connection would be wrong anyway.
const ENTRIES_MAX: usize = 100_000;
/// Where a copy has the output of programs.
const COMMANDS: &str = "commands";

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is there: without white space at its ends.
    Text(String),
    /// There is no such thing on this host.
    Absent,
    /// It is there, or may be, and cannot be read: why.
    Unreadable(String),
}

impl Reading {
    /// The text, where there is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Reading::Text(text) => Some(text),
            Reading::Absent | Reading::Unreadable(_) => None,
        }
    }
}

/// A host, or a copy of one.
#[derive(Clone, Debug)]
pub struct HostFiles {
    root: PathBuf,
}

impl HostFiles {
    /// `/` is this host; anything else has `proc` and `sys` in it.
    #[must_use]
    pub fn new(root: &Path) -> HostFiles {
        HostFiles { root: root.to_owned() }
    }

    /// Whether it is the host that this process runs on.
    #[must_use]
    pub fn is_this_host(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Reads a file, such as `proc/sys/net/core/somaxconn`.
    #[must_use]
    pub fn read(&self, path: &str) -> Reading {
        reading(read_text(&self.root.join(path)))
    }

    /// The sysctl of this name.
    #[must_use]
    pub fn sysctl(&self, key: &str) -> Reading {
        self.read(&format!("proc/sys/{}", key.replace('.', "/")))
    }

    /// Whether there is something of this name.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The names in a folder, in order; none if there is no such folder.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(path)).into_iter().flatten();
        let names = entries.take(ENTRIES_MAX).flatten();
        let mut names: Vec<String> =
            names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// What a program writes. In a copy, what is in the file `commands/NAME`.
    #[must_use]
    pub fn command(&self, name: &str, program: &str, arguments: &[&str]) -> Reading {
        if !self.is_this_host() {
            return self.read(&format!("{COMMANDS}/{name}"));
        }
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .output();
        match output {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Absent,
            Err(error) => Reading::Unreadable(format!("{program}: {error}")),
            Ok(output) if output.status.success() => {
                Reading::Text(String::from_utf8_lossy(&output.stdout).trim().to_owned())
            }
            Ok(output) => {
                let complaint = String::from_utf8_lossy(&output.stderr);
                let first = complaint.lines().next().unwrap_or("failed and said nothing");
                Reading::Unreadable(format!("{program}: {first}"))
            }
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn reading(outcome: io::Result<String>) -> Reading {
    match outcome {
        Ok(text) => Reading::Text(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Absent,
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}
