//! A client that does nothing but ask whether its shard is there: a ping every two milliseconds, and
//! the time until the pong (RFC 6455 §5.5.2). It sees what any message of a client waits for.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::common::clock::{now_ns, pause};
use crate::common::counting::Request;
use crate::common::problem::{Doing as _, Problem};

/// From a pong to the next ping.
const INTERVAL: Duration = Duration::from_millis(2);
/// No pong takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Any mask will do: nothing is between us and the gateway (RFC 6455 §10.3).
const MASK: [u8; 4] = [0x5A, 0x11, 0xC3, 0x08];
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// What a server may send in one frame to somebody who asks for nothing.
const FRAME_BYTES_MAX: u64 = 1 << 20;

/// Its connection.
pub(crate) struct Pinger {
    stream: TcpStream,
    sent: u64,
}

impl Pinger {
    /// Connects as the client of that index.
    pub(crate) fn connect(port: u16, mut request: Request, index: u32) -> Result<Pinger, Problem> {
        let doing = "connecting a client that pings";
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        stream.set_read_timeout(Some(PATIENCE)).doing(doing)?;
        let mut upgrade = Vec::new();
        request(index, &mut upgrade);
        stream.write_all(&upgrade).doing(doing)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).doing(doing)?;
            answer.extend(byte);
        }
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            return Err(Problem::new(format!("a client that pings was refused: {answer}")));
        }
        Ok(Pinger { stream, sent: 0 })
    }

    /// Pings until `over` says so, asked after each pong; the times, nanoseconds, in order.
    pub(crate) fn until(
        &mut self,
        mut over: impl FnMut() -> Result<bool, Problem>,
    ) -> Result<Vec<u64>, Problem> {
        let mut times_ns = Vec::new();
        while !over()? {
            times_ns.push(self.ping()?);
            pause(INTERVAL);
        }
        Ok(times_ns)
    }

    fn ping(&mut self) -> Result<u64, Problem> {
        self.sent += 1;
        let number = self.sent.to_be_bytes();
        let mut frame = vec![0x80 | PING, 0x80 | 8];
        frame.extend(MASK);
        frame.extend(number.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        let asked_ns = now_ns();
        self.stream.write_all(&frame).doing("pinging")?;
        loop {
            let (opcode, payload) = self.frame()?;
            if opcode == PONG && payload == number {
                return Ok(now_ns() - asked_ns);
            }
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), Problem> {
        let doing = "waiting for a pong";
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).doing(doing)?;
        let length = match head[1] & 0x7F {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).doing(doing)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).doing(doing)?;
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        if length > FRAME_BYTES_MAX {
            return Err(Problem::new(format!("a frame of {length} bytes came to one who pings")));
        }
        let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
        self.stream.read_exact(&mut payload).doing(doing)?;
        Ok((head[0] & 0x0F, payload))
    }
}
