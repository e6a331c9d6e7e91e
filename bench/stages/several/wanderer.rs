//! A client that asks the dispatcher where to go, stays there, answers what it is asked, and asks
//! again when its gateway is gone.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tidegate::base::entropy::{Entropy as _, SystemEntropy};
use tidegate::wire::codec::{Encoding, decode_server};
use tidegate::wire::message::Message;
use tidegate::wire::proto::{business, notification, response, server_frame};
use tokio::net::TcpStream;

use crate::common::clients::frame_header;
use crate::common::clock::now_ns;
use crate::common::gateway::request_with_room;
use crate::common::players::answer;
use crate::common::show::OPTIONS;

use super::site::List;

/// A gateway or dispatcher that says nothing for so long is given up.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// A connection that broke without a code comes back within this (`docs/protocol.md`).
const BROKEN_WITHIN_MS: u32 = 1_000;
/// Where no gateway can be had, the dispatcher is asked again within this.
const ASK_AGAIN_MS: u32 = 500;
/// RFC 6455 §5.5.1.
const CLOSE: u8 = 8;
/// No answer of the dispatcher is longer.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;

/// That a client lost its gateway, and is back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    /// Port of the gateway that it lost.
    pub(super) from: u16,
    /// Until it was in its room again.
    pub(super) away_ns: u64,
}

/// What all clients share.
pub(super) struct World {
    /// Where the dispatcher is.
    pub(super) dispatcher: u16,
    /// By client: the port of the gateway on which it is.
    pub(super) homes: RefCell<Vec<Option<u16>>>,
    pub(super) moves: RefCell<Vec<Move>>,
    /// By client: on which gateway it answered.
    pub(super) answered: RefCell<Vec<Option<u16>>>,
    /// By client: whether its answer was acknowledged.
    pub(super) acknowledged: RefCell<Vec<bool>>,
    /// Lists that named a gateway that could not be had.
    pub(super) in_vain: Cell<u32>,
}

impl World {
    pub(super) fn new(dispatcher: u16, clients: u32) -> World {
        World {
            dispatcher,
            homes: RefCell::new(vec![None; clients as usize]),
            moves: RefCell::default(),
            answered: RefCell::new(vec![None; clients as usize]),
            acknowledged: RefCell::new(vec![false; clients as usize]),
            in_vain: Cell::new(0),
        }
    }

    /// How many clients are on this gateway.
    pub(super) fn on(&self, port: u16) -> usize {
        self.homes.borrow().iter().filter(|home| **home == Some(port)).count()
    }

    /// How many clients are in.
    pub(super) fn inside(&self) -> usize {
        self.homes.borrow().iter().filter(|home| home.is_some()).count()
    }
}

/// Lives for ever; `begins_after` spreads those who come.
pub(super) async fn wander(index: u32, begins_after: Duration, world: Rc<World>) {
    tokio::time::sleep(begins_after).await;
    let mut lost: Option<(u16, u64)> = None;
    loop {
        let Ok(ports) = ask(world.dispatcher).await else {
            random_sleep(ASK_AGAIN_MS).await;
            continue;
        };
        let mut link = None;
        for port in ports {
            match tokio::time::timeout(CONNECT_PATIENCE, Link::enter(index, port)).await {
                Ok(Ok(entered)) => {
                    link = Some(entered);
                    break;
                }
                Ok(Err(_)) | Err(_) => world.in_vain.set(world.in_vain.get() + 1),
            }
        }
        let Some(mut link) = link else {
            random_sleep(ASK_AGAIN_MS).await;
            continue;
        };
        if let Some((from, since_ns)) = lost {
            let away_ns = now_ns() - since_ns;
            world.moves.borrow_mut().push(Move { from, away_ns });
        }
        world.homes.borrow_mut()[index as usize] = Some(link.port);
        let within_ms = link.stay(index, &world).await;
        world.homes.borrow_mut()[index as usize] = None;
        lost = Some((link.port, now_ns()));
        drop(link);
        random_sleep(within_ms.unwrap_or(BROKEN_WITHIN_MS)).await;
    }
}

async fn random_sleep(within_ms: u32) {
    let drawn_ms = SystemEntropy.below(u64::from(within_ms) + 1);
    tokio::time::sleep(Duration::from_millis(drawn_ms)).await;
}

/// Asks the dispatcher; the ports to try, in order.
async fn ask(dispatcher: u16) -> io::Result<Vec<u16>> {
    let asked = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, dispatcher)).await?;
        write(&stream, b"GET /v1/gateways HTTP/1.1\r\nHost: dispatch\r\n\r\n").await?;
        // It closes the connection behind its answer.
        let mut bytes = Vec::new();
        while read_some(&stream, &mut bytes).await? > 0 {
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
        }
        Ok(bytes)
    };
    let bytes = tokio::time::timeout(CONNECT_PATIENCE, asked).await??;
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let is_good = bytes.starts_with(b"HTTP/1.1 200");
    let body = body.filter(|_| is_good).ok_or(io::ErrorKind::InvalidData)?;
    let list: List = serde_json::from_slice(&bytes[body + 4..])?;
    Ok(list.ports())
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// 0 at the end.
async fn read_some(stream: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4_096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Ok(count) => {
                bytes.extend_from_slice(&piece[..count]);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// A connection to a gateway.
struct Link {
    port: u16,
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Link {
    /// Connects, and waits until it is in the room.
    async fn enter(index: u32, port: u16) -> io::Result<Link> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut request = Vec::new();
        request_with_room()(index, &mut request);
        write(&stream, &request).await?;
        let mut link = Link { port, stream, bytes: Vec::new() };
        let head = loop {
            if let Some(end) = link.bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            link.read().await?;
        };
        if !link.bytes.starts_with(b"HTTP/1.1 101") {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        link.bytes.drain(..head);
        loop {
            let (opcode, payload) = link.frame().await?;
            if opcode == CLOSE {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if matches!(heard(&payload), Some(Heard::Joined)) {
                return Ok(link);
            }
        }
    }

    /// Until the connection ends; within how long the gateway asks to come back, if it does.
    async fn stay(&mut self, index: u32, world: &World) -> Option<u32> {
        loop {
            let (opcode, payload) = self.frame().await.ok()?;
            if opcode == CLOSE {
                let text = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                let within = text.split(' ').find_map(|word| word.strip_prefix("within_ms="));
                return within.and_then(|ms| ms.parse().ok());
            }
            match heard(&payload) {
                Some(Heard::Question) if world.answered.borrow()[index as usize].is_none() => {
                    world.answered.borrow_mut()[index as usize] = Some(self.port);
                    write(&self.stream, &answer(index % OPTIONS, &[])).await.ok()?;
                }
                Some(Heard::AnswerReceived) => {
                    world.acknowledged.borrow_mut()[index as usize] = true;
                }
                Some(Heard::Joined | Heard::Question) | None => {}
            }
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        match read_some(&self.stream, &mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let header = frame_header(&self.bytes).map_err(io::Error::other)?;
            if let Some((opcode, header, length)) = header
                && let Some(payload) = self.bytes.get(header..header + length)
            {
                let payload = payload.to_vec();
                self.bytes.drain(..header + length);
                return Ok((opcode, payload));
            }
            self.read().await?;
        }
    }
}

/// What matters here of what a gateway says.
enum Heard {
    Joined,
    Question,
    AnswerReceived,
}

fn heard(payload: &[u8]) -> Option<Heard> {
    let frame = decode_server(Encoding::Proto, &Message::Binary(payload)).ok()?;
    let server_frame::Body::Business(business) = frame.body? else { return None };
    match business.body? {
        business::Body::Notification(it) => match it.payload? {
            notification::Payload::Question(_) => Some(Heard::Question),
            _ => None,
        },
        business::Body::Response(it) => match it.payload? {
            response::Payload::Joined(_) => Some(Heard::Joined),
            response::Payload::AnswerReceived(_) => Some(Heard::AnswerReceived),
            _ => None,
        },
        business::Body::Request(_) => None,
    }
}
