//! Peers that are told by a publisher of their own protocol: nats-server and Nchan.
//!
//! Both are configured by a file, say nothing when they listen, and take what is published over
//! TCP: the publisher is a connection that is kept open, and what it costs the server is part of
//! the server's cost, as the operator's HTTP is part of the gateway's.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::clock::{now_ns, pause};
use crate::common::counting::{Greeting, Request};
use crate::common::floor::plain_request;
use crate::common::options::Options;
use crate::common::pinned;
use crate::common::problem::{Doing as _, Problem};
use crate::common::server::Server;

use super::catalog::{Installed, Peer};

/// A server listens within so long.
const START_SECONDS: u64 = 10;
/// A publication is taken within so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What makes a client of nats-server a member of the room, and asks for a word in return.
pub(crate) const SUBSCRIBE: &[u8] = b"CONNECT {\"verbose\":false}\r\nSUB room 1\r\nPING\r\n";
const NATS_CONNECT: &[u8] = b"CONNECT {\"verbose\":false}\r\n";

/// How one of them is spoken to.
struct Protocol {
    /// Said once, at connect.
    hello: &'static [u8],
    /// Publishes one message.
    publication: Vec<u8>,
    /// Said after the last one of a broadcast.
    end: &'static [u8],
    /// What the server answers, and whether to each message or to all of a broadcast.
    word: &'static [u8],
    word_for_each: bool,
    greeting: Greeting,
}

impl Protocol {
    fn of(peer: Peer, body_bytes: usize) -> Protocol {
        if peer == Peer::Nats {
            // Delivered as `MSG room 1 LENGTH CRLF DATA CRLF`, which is to be as long as the bodies
            // of the others.
            let overhead = |length: usize| format!("MSG room 1 {length}\r\n\r\n").len();
            let length = (0..body_bytes)
                .rev()
                .find(|length| length + overhead(*length) <= body_bytes)
                .unwrap_or(0);
            let (data, message_bytes) = ("t".repeat(length), length + overhead(length));
            return Protocol {
                hello: NATS_CONNECT,
                publication: format!("PUB room {length}\r\n{data}\r\n").into_bytes(),
                end: b"PING\r\n",
                word: b"PONG\r\n",
                word_for_each: false,
                greeting: Greeting::Subscribed { hello: SUBSCRIBE, word: b"PONG", message_bytes },
            };
        }
        let body = "t".repeat(body_bytes);
        let request = format!(
            "POST /publish HTTP/1.1\r\nHost: bench\r\nContent-Length: {body_bytes}\r\n\r\n{body}"
        );
        Protocol {
            hello: b"",
            publication: request.into_bytes(),
            end: b"",
            word: b"HTTP/1.1 20",
            word_for_each: true,
            greeting: Greeting::Upgraded,
        }
    }
}

/// A running peer with its publisher.
pub(crate) struct PublishedServer {
    name: &'static str,
    child: Child,
    port: u16,
    publisher: TcpStream,
    protocol: Protocol,
    words_due: usize,
    /// The configuration and whatever the server writes beside it.
    folder: PathBuf,
}

impl PublishedServer {
    /// Starts it and waits until it listens.
    pub(crate) fn start(
        installed: &Installed,
        body_bytes: usize,
        options: &Options,
    ) -> Result<PublishedServer, Problem> {
        let name = installed.peer.title();
        let (port, publish_port) = (free_port()?, free_port()?);
        let folder =
            std::env::temp_dir().join(format!("tidegate-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
        let mut command = command(installed, port, publish_port, &folder)?;
        command.env("GOMAXPROCS", "1").stdin(Stdio::null()).stdout(Stdio::null());
        end_with_parent(&mut command);
        let mut child = pinned::spawn(&mut command, &options.server_core, options.client_core)?;
        let publisher_port = if installed.peer == Peer::Nats { publish_port } else { port };
        let publisher = connect(name, &mut child, publisher_port)
            .and_then(|publisher| connect(name, &mut child, port).map(|_| publisher));
        let publisher = match publisher {
            Ok(publisher) => publisher,
            Err(problem) => {
                end(&mut child, &folder);
                return Err(problem);
            }
        };
        let protocol = Protocol::of(installed.peer, body_bytes);
        let mut server =
            PublishedServer { name, child, port, publisher, protocol, words_due: 0, folder };
        server
            .publisher
            .set_nodelay(true)
            .and_then(|()| server.publisher.set_read_timeout(Some(PATIENCE)))
            .doing(name)?;
        server.publisher.write_all(server.protocol.hello).doing(format!("greeting {name}"))?;
        Ok(server)
    }
}

fn command(
    installed: &Installed,
    port: u16,
    publish_port: u16,
    folder: &Path,
) -> Result<Command, Problem> {
    let (program, template) = match installed.peer {
        Peer::Nats => ("nats-server", "nats.conf"),
        _ => ("usr/sbin/nginx", "nginx.conf"),
    };
    let template = installed.sources.join(template);
    let text =
        std::fs::read_to_string(&template).doing(format!("reading {}", template.display()))?;
    let here = std::path::absolute(&installed.folder).doing("finding the installed peers")?;
    let text = text
        .replace("PUBLISH_PORT", &publish_port.to_string())
        .replace("PORT", &port.to_string())
        .replace("FOLDER", &folder.display().to_string())
        .replace("INSTALLED", &here.display().to_string());
    let configuration = folder.join("configuration");
    std::fs::write(&configuration, text).doing(format!("writing {}", configuration.display()))?;
    let mut command = Command::new(here.join(program));
    command.arg("-c").arg(&configuration);
    match installed.peer {
        // It logs a line for each thing it does to standard error; only errors are of interest.
        Peer::Nats => command.stderr(Stdio::null()),
        _ => command.arg("-p").arg(folder).args(["-e", "stderr"]),
    };
    Ok(command)
}

/// Those that we wrote end when their standard input does; these would outlive a bench that was killed.
fn end_with_parent(command: &mut Command) {
    let at_start = || {
        // SAFETY: a system call without pointers (prctl(2)).
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(at_start) };
}

/// A port that nobody listens on. Should somebody take it before the server does, the server ends,
/// which is noticed.
fn free_port() -> Result<u16, Problem> {
    let doing = "finding a free port";
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|listener| listener.local_addr())
        .map(|it| it.port())
        .doing(doing)
}

fn connect(name: &str, child: &mut Child, port: u16) -> Result<TcpStream, Problem> {
    let deadline_ns = now_ns() + START_SECONDS * 1_000_000_000;
    loop {
        let attempt = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        if let Some(status) = child.try_wait().doing(format!("looking after {name}"))? {
            return Err(Problem::new(format!(
                "{name} ended at once ({status}): is port {port} taken?"
            )));
        }
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) if now_ns() > deadline_ns => {
                return Err(Problem::new(format!(
                    "{name} does not listen on port {port} after {START_SECONDS} s: {error}"
                )));
            }
            Err(_) => pause(Duration::from_millis(10)),
        }
    }
}

fn end(child: &mut Child, folder: &Path) {
    // One that has ended already is what we want, and a folder too many among temporary files is no
    // reason to fail.
    let _ = child.kill();
    let _ = child.wait();
    let _ = std::fs::remove_dir_all(folder);
}

impl PublishedServer {
    /// Whether the server has given up its publisher: what is written then is lost without a word.
    fn was_closed(&self) -> Result<bool, Problem> {
        let doing = || format!("looking at the publisher's connection to {}", self.name);
        self.publisher.set_nonblocking(true).doing(doing())?;
        let peeked = self.publisher.peek(&mut [0]);
        self.publisher.set_nonblocking(false).doing(doing())?;
        Ok(match peeked {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        })
    }
}

fn closed(name: &str) -> Problem {
    Problem::new(format!(
        "{name} closed its publisher's connection; its configuration has a time limit too many"
    ))
}

impl Server for PublishedServer {
    fn process_id(&self) -> u32 {
        self.child.id()
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn request(&self) -> Request {
        plain_request()
    }

    fn greeting(&self) -> Greeting {
        self.protocol.greeting
    }

    fn broadcast(&mut self, messages: u32) -> Result<(), Problem> {
        if self.was_closed()? {
            return Err(closed(self.name));
        }
        let mut bytes = self.protocol.publication.repeat(messages as usize);
        bytes.extend_from_slice(self.protocol.end);
        self.words_due = if self.protocol.word_for_each { messages as usize } else { 1 };
        self.publisher.write_all(&bytes).doing(format!("publishing to {}", self.name))
    }

    fn await_word(&mut self) -> Result<(), Problem> {
        let (mut answer, mut piece) = (Vec::new(), [0; 4_096]);
        let word = self.protocol.word;
        while answer.windows(word.len()).filter(|window| *window == word).count() < self.words_due {
            let count =
                self.publisher.read(&mut piece).doing(format!("listening to {}", self.name))?;
            if count == 0 {
                return Err(closed(self.name));
            }
            answer.extend_from_slice(&piece[..count]);
        }
        Ok(())
    }
}

impl Drop for PublishedServer {
    fn drop(&mut self) {
        end(&mut self.child, &self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_nats_is_as_long_as_the_others() {
        for body_bytes in [60, 134, 1_000] {
            let publication = Protocol::of(Peer::Nats, body_bytes).publication;
            let text = String::from_utf8(publication).unwrap();
            let delivered = text.replace("PUB room ", "MSG room 1 ");
            assert_eq!(delivered.len(), body_bytes);
        }
        let http = String::from_utf8(Protocol::of(Peer::Nchan, 134).publication).unwrap();
        assert!(http.contains("Content-Length: 134\r\n") && http.ends_with(&"t".repeat(134)));
    }
}
