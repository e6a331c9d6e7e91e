//! The operator's side: a small HTTP/1.1 client on one connection that is kept open.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::common::problem::{Doing as _, Problem};

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the gateway's operator HTTP.
pub(crate) struct Operator {
    address: SocketAddr,
    stream: TcpStream,
    asked: String,
}

impl Operator {
    /// Connects.
    pub(crate) fn connect(port: u16) -> Result<Operator, Problem> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Operator { address, stream: open(address)?, asked: String::new() })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects once more.
    pub(crate) fn another(&self) -> Result<Operator, Problem> {
        Operator::connect(self.address.port())
    }

    /// Sends a request and does not wait for the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> Result<(), Problem> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.asked = format!("{method} {path}");
        if self.was_closed()? {
            self.stream = open(self.address)?;
        }
        self.stream.write_all(request.as_bytes()).doing(&self.asked)
    }

    /// Whether the gateway has closed the connection, as it does with those that were silent for
    /// long.
    fn was_closed(&self) -> Result<bool, Problem> {
        let doing = "looking at the connection to the gateway's operator HTTP";
        self.stream.set_nonblocking(true).doing(doing)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).doing(doing)?;
        Ok(!peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    /// The answer to what was sent; one that is an error is a [`Problem`].
    pub(crate) fn answer(&mut self) -> Result<Value, Problem> {
        let text = self.answer_text()?;
        serde_json::from_str(&text).doing(format!("reading the answer to {}", self.asked))
    }

    /// A request and its answer, which is not JSON.
    pub(crate) fn ask_text(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<String, Problem> {
        self.send(method, path, body)?;
        self.answer_text()
    }

    fn answer_text(&mut self) -> Result<String, Problem> {
        let asked = self.asked.clone();
        let mut bytes = Vec::new();
        let (body, length) = loop {
            self.read_some(&mut bytes)?;
            if let Some(found) = body_of(&bytes) {
                break found;
            }
        };
        while bytes.len() < body + length {
            self.read_some(&mut bytes)?;
        }
        let text = String::from_utf8_lossy(&bytes[body..]).into_owned();
        if !bytes.starts_with(b"HTTP/1.1 200") {
            let status = String::from_utf8_lossy(
                bytes.split(|byte| *byte == b'\r').next().unwrap_or_default(),
            )
            .into_owned();
            return Err(Problem::new(format!("{asked}: the gateway answered {status}: {text}")));
        }
        Ok(text)
    }

    /// A request and its answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Value, Problem> {
        self.send(method, path, body)?;
        self.answer()
    }

    fn read_some(&mut self, bytes: &mut Vec<u8>) -> Result<(), Problem> {
        let mut piece = [0; 4_096];
        // Rings that are being taken down interrupt calls with a timeout, which are not restarted.
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read.doing(format!("waiting for the answer to {}", self.asked))? {
            0 => Err(Problem::new(format!("{}: the gateway closed the connection", self.asked))),
            count => {
                bytes.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }
}

fn open(address: SocketAddr) -> Result<TcpStream, Problem> {
    let doing = format!("connecting to the gateway's operator HTTP at {address}");
    let stream = TcpStream::connect(address).doing(&doing)?;
    stream.set_nodelay(true).doing(&doing)?;
    stream.set_read_timeout(Some(PATIENCE)).doing(&doing)?;
    Ok(stream)
}

/// Where the body begins and how long it is, once the head is whole.
fn body_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some((head + 4, length.unwrap_or(0)))
}
