//! The processes of a run, and the folder in which they keep what they know.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::asked::Withdrawal;
use super::check::Broken;
use super::{LINES_LOST, LOOK, Planted};

pub(crate) const SECRET: &str = "a secret of thirty-two bytes or more";
/// Comparing and proving takes no longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of what a process said that are shown.
const SAID_BYTES_MAX: usize = 2_000;
/// Lines of a proof that are shown.
const SAID_LINES_MAX: usize = 10;
/// What a payout's key begins with, and what it begins with when it was forgotten.
const KEY: &str = "\"idempotency_key\":\"withdrawal:";
const FORGOTTEN: &str = "\"idempotency_key\":\"forgotten-withdrawal:";

/// A process, which does not outlive its run.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts it; what it says goes behind what `log` has.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Result<Running, String> {
        let failed = |error| format!("{}: {error}", log.display());
        let file = OpenOptions::new().create(true).append(true).open(&log).map_err(failed)?;
        let other = file.try_clone().map_err(failed)?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(other).spawn();
        let program = command.get_program().display();
        Ok(Running { child: child.map_err(|error| format!("{program}: {error}"))?, log })
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(|_| ()).map_err(|error| format!("a process cannot be killed: {error}"))
    }

    /// SIGTERM, and waits for an end in order.
    pub(crate) fn terminate(&mut self) -> Result<(), String> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        told.map_err(|error| format!("kill cannot be run: {error}"))?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.said(&format!("ended with {status}"))),
                None => sleep(LOOK),
            }
        }
        Err(self.said(&format!("does not end within {PATIENCE:?}")))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| format!("a process cannot be asked: {error}"))
    }

    /// `what`, with the last of what it said.
    pub(crate) fn said(&self, what: &str) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = &text[text.len().saturating_sub(SAID_BYTES_MAX)..];
        format!("{what}\n{}", String::from_utf8_lossy(text))
    }
}

/// Where a run's processes keep what, and where the balance system listens, each time it is started.
pub(crate) struct Place {
    program: PathBuf,
    folder: TempDir,
    service: SocketAddr,
}

/// An address of 127.0.0.0/8 on which nobody listens. It is not 127.0.0.1: who connects from there to a port of
/// its own while the balance system is away would be in its place.
pub(crate) fn own_address(seed: u64) -> Result<SocketAddr, String> {
    let [.., high, low] = std::process::id().to_be_bytes();
    let [.., second] = seed.to_be_bytes();
    let address = Ipv4Addr::new(127, 64 + second % 128, high, low.max(1));
    let listener = TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr());
    listener.map_err(|error| format!("{address} cannot be listened on: {error}"))
}

impl Place {
    /// An empty folder, and a free address.
    pub(crate) fn new(program: PathBuf, seed: u64) -> Result<Place, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("a folder: {error}"))?;
        let place = Place { program, folder, service: own_address(seed)? };
        std::fs::create_dir(place.data()).map_err(|error| format!("a folder: {error}"))?;
        Ok(place)
    }

    /// A file of the run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the book is.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Where everything is.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Where the balance system listens.
    pub(crate) fn service_address(&self) -> SocketAddr {
        self.service
    }

    /// What the balance system took.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("taken.jsonl")
    }

    /// Leaves the folder for people to look at.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("TIDEGATE_PAYOUTS__SECRET", SECRET);
        command
    }

    /// The balance system, which draws from `seed`.
    pub(crate) fn service(&self, seed: u64) -> Command {
        let mut command = self.command();
        command
            .args(["balance-standin", "--fail", "10", "--lose", "5", "--nonsense", "5"])
            .args(["--delay", "5", "--delay-max-ms", "150"])
            .args(["--listen", &self.service.to_string(), "--seed", &seed.to_string()])
            .arg("--store")
            .arg(self.store())
            .arg("--requests")
            .arg(self.path("requests.jsonl"));
        command
    }

    /// Starts the balance system.
    pub(crate) fn start_service(&self, seed: u64) -> Result<Running, String> {
        Running::start(&mut self.service(seed), self.path("standin.log"))
    }

    /// Starts what pays until nothing waits.
    pub(crate) fn start_sender(&self) -> Result<Running, String> {
        let mut command = self.command();
        command
            .args(["ledger", "outbox", "send", "--url", &format!("http://{}/", self.service)])
            .args(["--timeout-ms", "100", "--tries", "1000000", "--concurrency", "16"])
            .args(["--backoff-ms", "1", "--backoff-max-ms", "50", "--data"])
            .arg(self.data());
        Running::start(&mut command, self.path("sender.log"))
    }

    /// Counts what the balance system took, from the beginning.
    pub(crate) fn count_taken(&self) -> Count {
        Count { path: self.store(), bytes: 0, lines: 0 }
    }

    /// What a planted fault does to the balance system's memory while it is down.
    pub(crate) fn spoil(&self, planted: Option<Planted>) -> Result<(), String> {
        let Some(planted) = planted else {
            return Ok(());
        };
        let text = read(&self.store())?;
        let spoiled = match planted {
            Planted::Forgets => text.replace(KEY, FORGOTTEN),
            Planted::Loses => {
                // The first ones were acknowledged long ago.
                text.split_inclusive('\n').skip(LINES_LOST).collect()
            }
        };
        write(&self.store(), &spoiled)
    }

    /// What the balance system took, as it says; also what it took before it forgot.
    pub(crate) fn store_text(&self) -> Result<String, String> {
        let text = read(&self.store())?;
        if !text.contains(FORGOTTEN) {
            return Ok(text);
        }
        let text = text.replace(FORGOTTEN, KEY);
        write(&self.store(), &text)?;
        Ok(text)
    }

    /// What the balance system was asked.
    pub(crate) fn requests_text(&self) -> Result<String, String> {
        read(&self.path("requests.jsonl"))
    }

    /// `tidegate ledger reconcile`: everything must match, and nothing else be there.
    pub(crate) fn reconcile(
        &self,
        asked: &[Withdrawal],
        broken: &mut Broken,
    ) -> Result<String, String> {
        let mut command = self.command();
        command.args(["ledger", "reconcile", "--data"]).arg(self.data()).arg(self.store());
        let (status, said) = self.finish(&mut command, "reconcile.log")?;
        let (count, cents) = (asked.len(), asked.iter().map(|it| it.cents).sum::<i64>());
        let clean = format!(
            "clean: {count} matched ({cents} cents), 0 missing there, 0 missing here, 0 differing, \
             0 unacknowledged, 0 repeated; 0 outstanding on both sides"
        );
        let last = said.lines().last().unwrap_or_default().to_owned();
        if !status.success() || said.trim() != clean {
            broken.add(format!("reconcile ended with {status}: {last}"));
        }
        Ok(last)
    }

    /// `tidegate ledger verify`: the book must be proved.
    pub(crate) fn verify(&self, broken: &mut Broken) -> Result<String, String> {
        let mut command = self.command();
        command.args(["ledger", "verify", "--data"]).arg(self.data());
        let (status, said) = self.finish(&mut command, "verify.log")?;
        let said: Vec<&str> = said.lines().take(SAID_LINES_MAX).collect();
        if !status.success() {
            broken.add(format!("verify ended with {status}: {}", said.join("; ")));
        }
        let word = if status.success() { "proved" } else { "NOT proved" };
        Ok(format!("{word}; {}", said.get(1..3).unwrap_or_default().join("; ")))
    }

    /// Runs a command to its end: how it ended, and what it said.
    fn finish(&self, command: &mut Command, log: &str) -> Result<(ExitStatus, String), String> {
        let begun = Instant::now();
        let mut running = Running::start(command, self.path(log))?;
        while begun.elapsed() < PATIENCE {
            if let Some(status) = running.ended()? {
                return Ok((status, read(&self.path(log))?));
            }
            sleep(LOOK);
        }
        Err(running.said(&format!("{command:?} does not end within {PATIENCE:?}")))
    }
}

/// Lines of a file that grows.
pub(crate) struct Count {
    path: PathBuf,
    bytes: u64,
    lines: u64,
}

impl Count {
    /// How many there are by now.
    pub(crate) fn look(&mut self) -> Result<u64, String> {
        // It is made by the balance system.
        if !self.path.exists() {
            return Ok(0);
        }
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.bytes))?;
            file.read_to_end(&mut text)
        });
        read.map_err(|error| format!("{}: cannot be read: {error}", self.path.display()))?;
        self.bytes += text.len() as u64;
        self.lines += text.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(self.lines)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    let written = std::fs::write(path, text);
    written.map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}
