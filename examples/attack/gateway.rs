//! The gateway under attack, what it costs, and an honest client beside the attackers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Socket, Type};
use tidegate::auth::token::{NewToken, mint};
use tidegate::base::ids::UserId;
use tidegate::ops::cli::ServeArguments;

use crate::pause;

/// The hidden argument.
pub(crate) const SUBCOMMAND: &str = "gateway-under-attack";
const SECRET: &str = "the attackers' own secret, known to all";
/// Tokens are older than whatever is revoked now.
const TOKEN_AGE_S: i64 = 60;
const PATIENCE: Duration = Duration::from_secs(20);
/// Clock ticks of /proc, the same on every Linux that is in use.
const TICKS_PER_SECOND: u64 = 100;

/// Serves until the program that started it is gone.
pub(crate) fn serve() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    let served =
        tidegate::ops::serve::serve(&ServeArguments::default(), std::env::vars_os().collect());
    if let Err(error) = served {
        println!("{error}");
    }
}

/// What it costs at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Readings {
    /// Resident memory.
    pub(crate) user_bytes: u64,
    /// Of all TCP sockets of the host: pages that hold data.
    pub(crate) socket_bytes: u64,
    /// CPU time so far.
    pub(crate) cpu: Duration,
    /// When.
    pub(crate) at: Instant,
}

pub(crate) struct Gateway {
    child: Child,
    clients: SocketAddr,
    operator: SocketAddr,
    is_over: AtomicBool,
}

impl Gateway {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Gateway {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(SUBCOMMAND)
            .env("TIDEGATE_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_AUTH__HS256_SECRET", SECRET)
            .env("TIDEGATE_LOG__FORMAT", "json")
            .env("TIDEGATE_LIMITS__CONNECTIONS_MAX", "20000")
            .env("TIDEGATE_LIMITS__HANDSHAKE_TIMEOUT_MS", "3000")
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = |message: &str| {
            let found = log.by_ref().map_while(Result::ok).find(|line| line.contains(message));
            let line: serde_json::Value = serde_json::from_str(&found.unwrap()).unwrap();
            line["address"].as_str().unwrap().parse().unwrap()
        };
        let clients = address("listening for clients");
        let operator = address("operator HTTP is listening");
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        Gateway { child, clients, operator, is_over: AtomicBool::new(false) }
    }

    /// A connection from 127.0.0.`last`; nothing if it is refused by the kernel.
    pub(crate) fn connect(&self, last: u8) -> Option<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).ok()?;
        socket.connect(&self.clients.into()).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        socket.set_tcp_nodelay(true).ok()?;
        Some(socket.into())
    }

    /// One that has been upgraded, and is a user's in room 1.
    pub(crate) fn enter(&self, last: u8, user: u64) -> Option<TcpStream> {
        self.enter_with(last, user, "")
    }

    /// The same with more headers.
    pub(crate) fn enter_with(&self, last: u8, user: u64, headers: &str) -> Option<TcpStream> {
        self.upgrade(last, &request(user, headers))
    }

    fn upgrade(&self, last: u8, request: &str) -> Option<TcpStream> {
        let mut stream = self.connect(last)?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = [0; 4_096];
        loop {
            let count = stream.peek(&mut answer).ok().filter(|count| *count > 0)?;
            // What comes behind the head is left to whoever reads next.
            if let Some(end) = answer[..count].windows(4).position(|it| it == b"\r\n\r\n") {
                stream.read_exact(&mut answer[..end + 4]).ok()?;
                return answer.starts_with(b"HTTP/1.1 101 ").then_some(stream);
            }
        }
    }

    /// The service says something in the attackers' room.
    pub(crate) fn publish(&self, messages: u32, bytes: usize) {
        let message = format!("\"{}\"", "eHh4".repeat(bytes / 3));
        let messages = vec![message; messages as usize].join(",");
        let body = format!("{{\"lane\":\"high\",\"messages\":[{messages}]}}");
        self.operate("/v1/rooms/1/publish", &body);
    }

    /// The operator posts something.
    pub(crate) fn operate(&self, path: &str, body: &str) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.ask(&request);
    }

    /// The values of a metric, by shard.
    pub(crate) fn metric(&self, begin: &str) -> Vec<String> {
        let text =
            self.ask("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let lines = text.lines().filter(|line| line.starts_with(begin));
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.1.to_owned())).collect()
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.operator).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    pub(crate) fn readings(&self) -> Readings {
        let id = self.child.id();
        let read = |path: String| std::fs::read_to_string(path).unwrap();
        let status = read(format!("/proc/{id}/status"));
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let stat = read(format!("/proc/{id}/stat"));
        let times = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
        let ticks: u64 = times.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        let sockets = read("/proc/net/sockstat".to_owned());
        let tcp = sockets.lines().find(|line| line.starts_with("TCP:")).unwrap();
        let pages: u64 = tcp.rsplit(' ').next().unwrap().parse().unwrap();
        Readings {
            user_bytes: resident.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024,
            socket_bytes: pages * 4_096,
            cpu: Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND),
            at: now(),
        }
    }

    /// The most memory that is seen until [`Gateway::stop_watching`].
    pub(crate) fn watch(&self) -> Readings {
        let mut peak = self.readings();
        while !self.is_over.load(Ordering::Relaxed) {
            let Readings { user_bytes, socket_bytes, .. } = self.readings();
            peak.user_bytes = peak.user_bytes.max(user_bytes);
            peak.socket_bytes = peak.socket_bytes.max(socket_bytes);
            pause(Duration::from_millis(20));
        }
        peak
    }

    pub(crate) fn stop_watching(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// An honest client that goes on until it is asked.
    pub(crate) fn witness(&self) -> Witness {
        // In no room: what is said there is not its business.
        let request = request(1_000_000, "").replace("room=1&", "");
        let mut stream = self.upgrade(200, &request).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            // A heartbeat in Protobuf: type -1, in zigzag.
            let frame = [0x82, 0x82, 0, 0, 0, 0, 0x08, 0x01];
            while !over.load(Ordering::Relaxed) {
                let begun = now();
                stream.write_all(&frame).unwrap();
                assert!(stream.read(&mut [0; 65_536]).unwrap() > 0, "the honest client stays");
                took.push(begun.elapsed());
                pause(Duration::from_millis(20));
            }
            took
        });
        Witness { is_over, thread }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The honest client.
pub(crate) struct Witness {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Witness {
    /// Within what 99 of 100 heartbeats were answered.
    pub(crate) fn p99(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().unwrap();
        took.sort();
        took[took.len().saturating_sub(1) * 99 / 100]
    }
}

/// An upgrade request into room 1 (0: without a token), with more headers.
pub(crate) fn request(user: u64, headers: &str) -> String {
    let issued_unix_s = unix_s() - TOKEN_AGE_S;
    let new = NewToken { user: UserId(user), issued_unix_s, lifetime_s: 86_400, audience: None };
    let query = match user {
        0 => String::new(),
        _ => format!("?room=1&token={}", mint(SECRET.as_bytes(), new)),
    };
    format!(
        "GET /ws{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
    )
}

#[expect(clippy::disallowed_methods, reason = "tokens are dated by the wall clock")]
fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this program's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
