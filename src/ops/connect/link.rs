//! One connection of the text client: a thread reads, whoever holds the [`Link`] writes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::ops::ControlFlow;
use std::time::Duration;

use flume::Sender;
use thiserror::Error;

use crate::base::entropy::{Entropy, SystemEntropy};
use crate::wire::close::CloseReason;
use crate::wire::codec::{Encoding, decode_server, encode_client};
use crate::wire::frame::{Control, OpCode, encode_masked_close, encode_masked_frame};
use crate::wire::message::{Decoded, Decoder, Message, Pending, Role};
use crate::wire::proto;
use crate::wire::upgrade::{Accept, AcceptError, ClientRequest, parse_accept};

/// How long connecting and the upgrade may take, each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a message from the gateway.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const ENCODING: Encoding = Encoding::Proto;

/// Where a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Name or address, and port.
    authority: String,
    path: String,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// No such host, or nobody listens there.
    #[error("{authority} cannot be reached: {error}")]
    Unreachable {
        /// Who.
        authority: String,
        /// Why.
        error: io::Error,
    },
    /// Something else than a gateway, or one that refuses.
    #[error("the gateway refuses the connection with HTTP {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body.
        reason: String,
    },
    /// No answer to the upgrade.
    #[error(transparent)]
    Broken(#[from] AcceptError),
}

/// What comes over a connection.
#[derive(Debug)]
pub(super) enum Heard {
    Frame(Box<proto::ServerFrame>),
    Ping(Vec<u8>),
    /// The end, with the close frame's code and text, if there was one.
    Closed(Option<u16>, String),
}

/// A connection that stands.
pub(super) struct Link {
    stream: TcpStream,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ws://{}{}", self.authority, self.path)
    }
}

impl LinkError {
    /// Any gateway would refuse: for what the client is or sends.
    pub(super) fn is_of_the_client(&self) -> bool {
        matches!(self, LinkError::Refused { status, .. }
            if *status < 500 && ![404, 429].contains(status))
    }

    /// It may be otherwise in a while.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            LinkError::Unreachable { .. } => true,
            LinkError::Refused { status, .. } => *status >= 500 || *status == 429,
            LinkError::Broken(_) => false,
        }
    }
}

/// Addresses of one kind, as they are written for this client, which speaks no TLS.
pub(super) struct Spoken {
    /// The first is meant where none is written.
    pub(super) schemes: &'static [&'static str],
    pub(super) with_tls: &'static [&'static str],
    /// What to do instead of TLS.
    pub(super) without_tls: &'static str,
    /// Whose addresses they are.
    pub(super) what: &'static str,
    pub(super) example: &'static str,
}

impl Spoken {
    /// The authority and the path of a URL; the path may be empty.
    ///
    /// # Errors
    /// What is wrong with it, and how one looks.
    pub(super) fn parts<'u>(&self, url: &'u str) -> Result<(&'u str, &'u str), String> {
        let Spoken { schemes, with_tls, without_tls, what, example } = self;
        let (scheme, rest) = url.split_once("://").unwrap_or((schemes[0], url));
        if with_tls.contains(&scheme) {
            return Err(format!("{url}: this client speaks no TLS; {without_tls}"));
        }
        if !schemes.contains(&scheme) {
            return Err(format!("{url}: `{scheme}` is not spoken; write one like {example}"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_clean = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['?', '#']);
        if authority.is_empty() || !is_clean {
            return Err(format!("{url}: is no address of {what}; write one like {example}"));
        }
        Ok((authority, path))
    }
}

impl Address {
    /// The address in a URL.
    ///
    /// # Errors
    /// What is wrong with it, and how one looks.
    pub(super) fn parse(url: &str) -> Result<Address, String> {
        let (authority, path) = Spoken {
            schemes: &["ws", "http"],
            with_tls: &["wss", "https"],
            without_tls: "connect behind what ends it, with ws://",
            what: "a gateway",
            example: "ws://127.0.0.1:8090",
        }
        .parts(url)?;
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port { "" } else { ":80" };
        let path = if matches!(path, "" | "/") { "/ws" } else { path };
        Ok(Address { authority: format!("{authority}{port}"), path: path.to_owned() })
    }
}

impl Link {
    /// Connects and upgrades; what comes then goes to `heard`, marked with `number`.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) fn open<E: Send + 'static>(
        address: &Address,
        query: &str,
        heard: Sender<E>,
        event: impl Fn(Heard) -> E + Send + 'static,
    ) -> Result<Link, LinkError> {
        let unreachable =
            |error| LinkError::Unreachable { authority: address.authority.clone(), error };
        let mut stream = dial(&address.authority).map_err(unreachable)?;
        let mut nonce = [0; 16];
        SystemEntropy.fill(&mut nonce);
        let target = format!("{}?{query}", address.path);
        let request =
            ClientRequest { host: &address.authority, target: &target, encoding: ENCODING, nonce };
        stream.write_all(&request.to_bytes()).map_err(unreachable)?;
        let rest = upgrade(&mut stream, &request).map_err(|error| match error {
            UpgradeEnd::Io(error) => unreachable(error),
            UpgradeEnd::Link(error) => error,
        })?;
        stream.set_read_timeout(None).map_err(unreachable)?;
        let reading = stream.try_clone().map_err(unreachable)?;
        std::thread::Builder::new()
            .name("connect-read".to_owned())
            .spawn(move || read(reading, rest, |it| heard.send(event(it)).is_ok()))
            .map_err(unreachable)?;
        Ok(Link { stream })
    }

    /// Says something. A connection that is gone says so by itself.
    pub(super) fn send(&mut self, frame: &proto::ClientFrame) {
        let mut bytes = Vec::new();
        encode_client(ENCODING, frame, mask(), &mut bytes);
        let _ = self.stream.write_all(&bytes);
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, data: &[u8]) {
        let mut bytes = Vec::new();
        encode_masked_frame(OpCode::Control(Control::Pong), data, mask(), &mut bytes);
        let _ = self.stream.write_all(&bytes);
    }

    /// Says goodbye, or answers the gateway's.
    pub(super) fn close(mut self, code: Option<u16>) {
        let mut bytes = Vec::new();
        encode_masked_close(code, "", mask(), &mut bytes);
        let _ = self.stream.write_all(&bytes);
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// Between a client and its own terminal no proxy reads along; but the gateway wants a mask.
fn mask() -> [u8; 4] {
    let mut mask = [0; 4];
    SystemEntropy.fill(&mut mask);
    mask
}

fn dial(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A text as a value in a query.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

enum UpgradeEnd {
    Io(io::Error),
    Link(LinkError),
}

/// Reads the answer to the upgrade; what stands behind it comes back.
fn upgrade(stream: &mut TcpStream, request: &ClientRequest<'_>) -> Result<Vec<u8>, UpgradeEnd> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let count = stream.read(&mut piece).map_err(UpgradeEnd::Io)?;
        bytes.extend_from_slice(&piece[..count]);
        match parse_accept(&bytes, request) {
            Accept::Incomplete if count > 0 => {}
            Accept::Incomplete => {
                return Err(UpgradeEnd::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            Accept::Accepted { consumed } => return Ok(bytes.split_off(consumed)),
            Accept::Refused { status, consumed } => {
                let reason = String::from_utf8_lossy(&bytes[consumed..]).trim().to_owned();
                return Err(UpgradeEnd::Link(LinkError::Refused { status, reason }));
            }
            Accept::Broken(error) => return Err(UpgradeEnd::Link(error.into())),
        }
    }
}

/// Reads until the end, and says it. `say` is false once nobody listens.
fn read(mut stream: TcpStream, mut bytes: Vec<u8>, say: impl Fn(Heard) -> bool) {
    let decoder = Decoder { role: Role::Client, message_bytes_max: MESSAGE_BYTES_MAX };
    let mut pending: Option<Box<Pending>> = None;
    let mut end = None;
    loop {
        let decoded = decoder.decode(&mut pending, &mut bytes, |message| {
            match message {
                Message::Close(close) => {
                    end = close.map(|close| (close.code, close.reason.to_owned()));
                }
                Message::Ping(data) => {
                    say(Heard::Ping(data.to_vec()));
                }
                Message::Pong(_) => {}
                // What this version does not understand is passed over.
                Message::Text(_) | Message::Binary(_) => {
                    if let Ok(frame) = decode_server(ENCODING, &message) {
                        say(Heard::Frame(Box::new(frame)));
                    }
                }
            }
            ControlFlow::Continue(())
        });
        match decoded {
            Ok(Decoded::Closed) => break,
            Ok(Decoded::All | Decoded::Stopped { .. }) => {}
            Err(error) => {
                end = Some((CloseReason::ProtocolError.code(), error.to_string()));
                break;
            }
        }
        bytes.resize(16 * 1024, 0);
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.truncate(count),
        }
    }
    let (code, text) = end.map_or((None, String::new()), |(code, text)| (Some(code), text));
    say(Heard::Closed(code, text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn urls() {
        let mut shown = String::new();
        for url in [
            "ws://127.0.0.1:8090",
            "http://quiz.example/",
            "quiz.example:81/live/ws",
            "ws://[::1]:8090/ws",
            "ws://[::1]",
            "wss://quiz.example",
            "ftp://quiz.example",
            "ws://",
            "ws://quiz.example/?room=7",
            "ws://quiz example",
        ] {
            shown += &match Address::parse(url) {
                Ok(address) => format!("{} {}\n", address.authority, address.path),
                Err(error) => format!("{error}\n"),
            };
        }
        expect![[r#"
            127.0.0.1:8090 /ws
            quiz.example:80 /ws
            quiz.example:81 /live/ws
            [::1]:8090 /ws
            [::1]:80 /ws
            wss://quiz.example: this client speaks no TLS; connect behind what ends it, with ws://
            ftp://quiz.example: `ftp` is not spoken; write one like ws://127.0.0.1:8090
            ws://: is no address of a gateway; write one like ws://127.0.0.1:8090
            ws://quiz.example/?room=7: is no address of a gateway; write one like ws://127.0.0.1:8090
            ws://quiz example: is no address of a gateway; write one like ws://127.0.0.1:8090
        "#]]
        .assert_eq(&shown);
    }
}
