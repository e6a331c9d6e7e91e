//! The gateway as a child process, and its operator's HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a gateway has to be ready: it reads its journals' last segments, 64 MiB a shard, from a disk that
/// others may keep busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// The operator's token.
pub(crate) const TOKEN: &str = "a-token-that-is-long-enough";

/// Where a gateway keeps what, and where it listens, each time it is started.
pub(crate) struct Place {
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) clients: SocketAddr,
    pub(crate) operator: SocketAddr,
}

/// An address on which nobody listens.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

/// The threads of a process, and in what of the kernel's each waits.
fn waits(pid: u32) -> String {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return format!("process {pid} has no threads any more");
    };
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let waits = threads.flatten().map(|thread| {
        let (name, wait) = (thread.path().join("comm"), thread.path().join("wchan"));
        format!("thread {} waits in {}", read(name).trim(), read(wait).trim())
    });
    waits.collect::<Vec<_>>().join("\n")
}

impl Place {
    /// Starts the gateway and waits until it is ready; says how long that took.
    pub(crate) fn start(&self, shards: u64) -> Result<(Child, Duration), String> {
        let begun = Instant::now();
        let log =
            std::fs::File::create(self.folder.join("log")).map_err(|error| error.to_string())?;
        let child = Command::new(&self.program)
            .arg("serve")
            .arg("--config")
            .arg(self.folder.join("tidegate.toml"))
            .arg("--show")
            .arg(self.folder.join("show.toml"))
            .arg("--data")
            .arg(self.folder.join("data"))
            .args(["--listen", &self.clients.to_string(), "--shards", &shards.to_string()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", self.program.display()))?;
        while begun.elapsed() < PATIENCE {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("the gateway ended: {status}\n{}", self.log()));
            }
            if matches!(self.ask("GET", "/readyz"), Ok((200, _))) {
                return Ok((child, begun.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let threads = waits(child.id());
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("the gateway is not ready after {PATIENCE:?}\n{threads}\n{}", self.log()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// One request to the operator's HTTP: the status and the JSON.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Result<(u16, Value), String> {
        let text = |error: std::io::Error| format!("{method} {path}: {error}");
        let mut stream =
            TcpStream::connect_timeout(&self.operator, Duration::from_secs(2)).map_err(text)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(text)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: operator\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(text)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(text)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("{method} {path}: no answer"))?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }
}

/// The gateway beside this program.
pub(crate) fn beside() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = here.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let program = folder.join("tidegate");
    if program.exists() {
        return Ok(program);
    }
    Err(format!("{} is missing: build it first, or name one with --gateway", program.display()))
}
