//! Floor programs as servers: started as processes of their own, spoken to in lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::common::counting::{Greeting, Request};
use crate::common::options::Options;
use crate::common::pinned;
use crate::common::problem::{Doing as _, Problem};
use crate::common::server::Server;

/// A program that says `ready PORT` when it listens, and a line whenever it has done what a line
/// told it.
pub(crate) struct LineServer {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl LineServer {
    /// Starts the floor `name`, a hidden subcommand of this binary.
    pub(crate) fn floor(
        name: &str,
        arguments: &[String],
        options: &Options,
    ) -> Result<LineServer, Problem> {
        let own = std::env::current_exe().doing("finding this program's own file")?;
        let mut command = Command::new(own);
        command.arg(name).args(arguments);
        LineServer::start(name, &mut command, options)
    }

    /// Starts any program that speaks in such lines.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        options: &Options,
    ) -> Result<LineServer, Problem> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pinned::spawn(command, &options.server_core, options.client_core)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for");
        };
        let output = BufReader::new(output);
        let mut server = LineServer { name: name.to_owned(), child, input, output, port: 0 };
        let word = server.read_word()?;
        let port = word.strip_prefix("ready ").and_then(|port| port.parse().ok());
        server.port =
            port.ok_or_else(|| Problem::new(format!("{name} did not begin: it said `{word}`")))?;
        Ok(server)
    }

    fn read_word(&mut self) -> Result<String, Problem> {
        let mut line = String::new();
        let count =
            self.output.read_line(&mut line).doing(format!("listening to {}", self.name))?;
        if count == 0 {
            return Err(Problem::new(format!("{} ended; what it wrote above says why", self.name)));
        }
        Ok(line.trim().to_owned())
    }

    /// Tells it something.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), Problem> {
        writeln!(self.input, "{line}").doing(format!("speaking to {}", self.name))
    }
}

/// The upgrade request for servers that ask nothing of it: the example of RFC 6455 §1.2.
pub(crate) fn plain_request() -> Request {
    Box::new(|_, request| {
        request.extend_from_slice(
            b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
    })
}

impl Server for LineServer {
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
        Greeting::Upgraded
    }

    fn broadcast(&mut self, messages: u32) -> Result<(), Problem> {
        self.tell(&format!("b {messages}"))
    }

    fn await_word(&mut self) -> Result<(), Problem> {
        match self.read_word()?.as_str() {
            "done" => Ok(()),
            word => Err(Problem::new(format!("{} said `{word}` instead of `done`", self.name))),
        }
    }
}

impl Drop for LineServer {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
