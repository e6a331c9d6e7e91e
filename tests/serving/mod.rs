//! tidegate as a process of its own, on ports of the kernel's choice.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, Range};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, token, until};

const SECRET: &str = "a secret of thirty-two bytes or more";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const SHOW: &str = r#"
id = 7
title = "By hand"
prize_pool_cents = 100
timing = { countdown_ms = 2000, lead_ms = 1, display_slack_ms = 1 }
questions = [
    { text = "One?", options = ["a", "b"], correct = 0 },
    { text = "Two?", options = ["a", "b"], correct = 0 },
]
"#;

/// A process of this program, and where it listens by its log, which is in JSON.
pub(crate) struct Process {
    child: Child,
    pub(crate) clients: SocketAddr,
    pub(crate) operator: SocketAddr,
    log: Option<JoinHandle<String>>,
}

impl Drop for Process {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it, and waits until it listens for clients and for its operator.
    pub(crate) fn start(command: &mut Command) -> Process {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut clients, mut operator, mut said) = (None, None, String::new());
        while clients.is_none() || operator.is_none() {
            let Some(Ok(line)) = lines.next() else { panic!("it did not start: {said}") };
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            let address = || entry["address"].as_str()?.parse().ok();
            match entry["message"].as_str() {
                Some(message) if message.contains("listening for clients") => clients = address(),
                Some("operator HTTP is listening") => operator = address(),
                _ => {}
            }
            said += &line;
        }
        let log = std::thread::spawn(move || {
            lines.map_while(Result::ok).map(|line| line + "\n").collect()
        });
        let (clients, operator) = (clients.unwrap(), operator.unwrap());
        Process { child, clients, operator, log: Some(log) }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for its end: its exit status and its log from then on.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), self.log.take().unwrap().join().unwrap())
    }

    /// A client in room 7.
    pub(crate) async fn in_room(&self, user: u64) -> Client {
        let target = format!("/?token={}&room=7", token(user));
        let mut client = Client::connect_to(self.clients, &target).await;
        client.until_payload("joined").await;
        client
    }

    pub(crate) async fn audience(&self, users: Range<u64>) -> Vec<Client> {
        let mut clients = Vec::new();
        for user in users {
            clients.push(self.in_room(user).await);
        }
        clients
    }

    /// Status, head in small letters, and body of an answer of its operator's HTTP.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let length = body.len();
        let length = format!("content-length: {length}\r\n");
        ask(self.operator, method, path, &length, body)
    }
}

/// Status, head in small letters, and body of an answer.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// `tidegate serve` with a show, on ports of the kernel's choice.
pub(crate) struct Serving {
    process: Process,
    folder: tempfile::TempDir,
}

impl Deref for Serving {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Serving {
    pub(crate) fn start(environment: &[(&str, &str)]) -> Serving {
        Serving::start_at("127.0.0.1:0", environment)
    }

    pub(crate) fn start_at(listen: &str, environment: &[(&str, &str)]) -> Serving {
        Serving::start_with(listen, environment, "")
    }

    /// With a configuration file, which [`Serving::write_config`] replaces.
    pub(crate) fn start_with(listen: &str, environment: &[(&str, &str)], config: &str) -> Serving {
        let folder = tempfile::tempdir().unwrap();
        let config_file = folder.path().join("tidegate.toml");
        std::fs::write(&config_file, with_shards(config)).unwrap();
        let show = folder.path().join("show.toml");
        std::fs::write(&show, SHOW).unwrap();
        let mut command = serve(listen);
        command
            .arg("--show")
            .arg(&show)
            .arg("--config")
            .arg(&config_file)
            .arg("--data")
            .arg(folder.path().join("data"))
            .envs(environment.iter().copied());
        let serving = Serving { process: Process::start(&mut command), folder };
        until("it is ready", || serving.ready_state() == "accepting");
        serving
    }

    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.folder.path().join("tidegate.toml"), with_shards(text)).unwrap();
    }

    /// Status and JSON of an answer of the operator's HTTP.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.process.ask(method, path, body);
        (status, serde_json::from_str(&body).unwrap_or_else(|_| json!(body)))
    }

    pub(crate) fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask(method, path, &body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    pub(crate) fn drain(&self, body: &Value) -> Value {
        self.done("POST", "/v1/drain", body)
    }

    pub(crate) fn state(&self) -> Value {
        self.done("GET", "/v1/drain", &Value::Null)
    }

    pub(crate) fn ready_state(&self) -> String {
        self.ask("GET", "/readyz", "").1["state"].as_str().unwrap().to_owned()
    }

    pub(crate) fn has_metric(&self, line: &str) -> bool {
        let metrics = self.ask("GET", "/metrics", "").1;
        metrics.as_str().unwrap().lines().any(|it| it == line)
    }

    /// A number of `/metrics`, by its series.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let metrics = self.ask("GET", "/metrics", "").1;
        let mut lines = metrics.as_str().unwrap().lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    }

    /// Waits for the end of the process: its exit status and its log.
    pub(crate) fn end(self) -> (Option<i32>, String) {
        self.process.end()
    }
}

/// A gateway for tests that tells its log in JSON.
pub(crate) fn serve(listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(["serve", "--listen", listen])
        .env_clear()
        .env("TIDEGATE_AUTH__HS256_SECRET", SECRET)
        .env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_LOG__FORMAT", "json");
    command
}

/// Two, where a configuration does not say how many.
fn with_shards(config: &str) -> String {
    if config.contains("shards = ") { config.to_owned() } else { format!("shards = 2\n{config}") }
}

/// Connects and asks to upgrade: the status of the answer.
pub(crate) fn upgrade_status(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(String::from_utf8_lossy(&head[9..]).into_owned())
}
