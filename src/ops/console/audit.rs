//! What was done through the console: who, what, when, and how it ended.
//!
//! Every entry goes to the log (target `tidegate::audit`), to a ring that administrators read, and,
//! where there is a data folder, to a file in it, a JSON object a line. A thread of its own writes the
//! file, so that no disk holds the operator's HTTP up. A file that has grown goes on under another
//! name; none is ever removed here.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use flume::{Receiver, Sender};
use serde_json::{Value, json};

use crate::ops::console::accounts::Role;

#[expect(clippy::disallowed_types, reason = "the operator's own thread; no shard waits for it")]
type Mutex<T> = std::sync::Mutex<T>;

/// The file in the data folder.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// Entries that administrators can read in the console; the file has all.
const RECENT_MAX: usize = 500;
/// Entries that may wait for the disk.
const WAITING_MAX: usize = 4_096;
/// Bytes of a file before it goes on under another name.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How much of the file of before is read at start.
const TAIL_BYTES: u64 = 128 * 1024;

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, Unix milliseconds.
    pub at_unix_ms: i64,
    /// The account.
    pub name: String,
    /// What it was allowed.
    pub role: Option<Role>,
    /// From where.
    pub peer: String,
    /// In a word or two.
    pub action: String,
    /// Show, room or user; empty if none.
    pub about: String,
    /// `done`, or why not.
    pub outcome: String,
}

impl AuditEntry {
    fn to_json(&self) -> Value {
        json!({
            "at_ms": self.at_unix_ms,
            "account": self.name,
            "role": self.role.map(Role::word),
            "peer": self.peer,
            "action": self.action,
            "about": self.about,
            "outcome": self.outcome,
        })
    }
}

/// The ring, and the way to the file.
pub struct AuditLog {
    recent: Mutex<VecDeque<Value>>,
    file: Option<AuditFile>,
}

struct AuditFile {
    /// Dropped to stop.
    lines: Option<Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// What was done lately, and no more: it ends with the process.
    #[must_use]
    pub fn in_memory() -> AuditLog {
        AuditLog { recent: Mutex::default(), file: None }
    }

    /// Goes on with the file in `folder`; without a folder there is none.
    ///
    /// # Errors
    /// If the file cannot be opened, or a thread cannot be had.
    pub fn start(folder: Option<&Path>) -> io::Result<AuditLog> {
        let Some(folder) = folder else {
            return Ok(AuditLog::in_memory());
        };
        let path = folder.join(AUDIT_FILE);
        let mut writing = Writing::open(path)?;
        let recent = writing.tail()?;
        let (lines, waiting) = flume::bounded(WAITING_MAX);
        let thread =
            thread::Builder::new().name("audit".to_owned()).spawn(move || writing.run(&waiting))?;
        let file = AuditFile { lines: Some(lines), thread: Some(thread) };
        Ok(AuditLog { recent: Mutex::new(recent), file: Some(file) })
    }

    /// Records an action.
    pub fn record(&self, entry: &AuditEntry) {
        let AuditEntry { name, role, peer, action, about, outcome, .. } = entry;
        let role = role.map(Role::word);
        tracing::info!(
            target: "tidegate::audit", account = name, role, peer, action, about, outcome, "console"
        );
        let value = entry.to_json();
        let lines = self.file.as_ref().and_then(|file| file.lines.as_ref());
        if let Some(lines) = lines
            && lines.try_send(value.to_string()).is_err()
        {
            tracing::error!("the audit file cannot keep up with its entries: one is missing in it");
        }
        let mut recent = self.recent();
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(value);
    }

    /// The newest entries, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Value> {
        self.recent().iter().rev().cloned().collect()
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Value>> {
        // Nothing in here stops half way.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AuditFile {
    /// What was recorded is written before the process ends.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the audit file had panicked");
        }
    }
}

struct Writing {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Writing {
    fn open(path: PathBuf) -> io::Result<Writing> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Writing { path, file, bytes })
    }

    /// The newest entries that the file has.
    fn tail(&mut self) -> io::Result<VecDeque<Value>> {
        let from = self.bytes.saturating_sub(TAIL_BYTES);
        self.file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(TAIL_BYTES).read_to_end(&mut bytes)?;
        if bytes.last().is_some_and(|last| *last != b'\n') {
            // The process ended within a line; the next one must not be glued to it.
            self.file.write_all(b"\n")?;
            self.bytes += 1;
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let mut entries: VecDeque<Value> = lines.collect();
        while entries.len() > RECENT_MAX {
            entries.pop_front();
        }
        Ok(entries)
    }

    fn run(mut self, lines: &Receiver<String>) {
        let mut is_broken = false;
        for line in lines {
            match self.write(&line) {
                Ok(()) => is_broken = false,
                Err(error) => {
                    if !is_broken {
                        let path = self.path.display();
                        tracing::error!(%path, %error, "the audit file cannot be written: entries are in the log only");
                    }
                    is_broken = true;
                }
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.bytes >= FILE_BYTES_MAX {
            self.go_on()?;
        }
        let line = format!("{line}\n");
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        self.file.sync_data()
    }

    /// Puts the file aside under the first number that is free, and begins another.
    fn go_on(&mut self) -> io::Result<()> {
        let aside = |number: u32| self.path.with_file_name(format!("audit-{number}.jsonl"));
        let free = (1..u32::MAX).map(aside).find(|path| !path.exists());
        if let Some(free) = free {
            fs::rename(&self.path, free)?;
        }
        *self = Writing::open(self.path.clone())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize) -> AuditEntry {
        AuditEntry {
            at_unix_ms: 5,
            name: "anna".to_owned(),
            role: Some(Role::ShowOperator),
            peer: "127.0.0.1".to_owned(),
            action: format!("publish {number}"),
            about: "show 1".to_owned(),
            outcome: "done".to_owned(),
        }
    }

    #[test]
    fn entries_outlive_the_process_also_behind_half_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(AUDIT_FILE);
        let log = AuditLog::start(Some(folder.path())).expect("begins");
        log.record(&entry(1));
        log.record(&entry(2));
        drop(log);
        let text = fs::read_to_string(&path).expect("written");
        assert_eq!(text.lines().count(), 2);
        fs::write(&path, format!("{text}{{\"at_ms\"")).expect("written");
        let log = AuditLog::start(Some(folder.path())).expect("goes on");
        log.record(&entry(3));
        let actions: Vec<Value> =
            log.newest_first().into_iter().map(|it| it["action"].clone()).collect();
        assert_eq!(actions, ["publish 3", "publish 2", "publish 1"]);
        drop(log);
        let text = fs::read_to_string(&path).expect("written");
        let last = text.lines().last().expect("a line");
        assert_eq!(serde_json::from_str::<Value>(last).expect("whole"), entry(3).to_json());
    }

    #[test]
    fn a_file_that_has_grown_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(AUDIT_FILE);
        let mut writing = Writing::open(path.clone()).expect("opens");
        for number in 1..=2 {
            writing.bytes = FILE_BYTES_MAX;
            writing.write("{}").expect("written");
            assert!(folder.path().join(format!("audit-{number}.jsonl")).exists());
        }
        assert_eq!(fs::read_to_string(&path).expect("there"), "{}\n");
    }

    #[test]
    fn the_ring_is_bounded() {
        let log = AuditLog::start(None).expect("begins");
        for number in 0..=RECENT_MAX {
            log.record(&entry(number));
        }
        let entries = log.newest_first();
        assert_eq!(entries.len(), RECENT_MAX);
        assert_eq!(entries[RECENT_MAX - 1]["action"], "publish 1");
    }
}
