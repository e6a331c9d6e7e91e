//! The gateway's sockets as the kernel lists them: sock_diag(7), `linux/inet_diag.h`.
//!
//! A request names a family, states and the local port; the answer is a run of messages, one a socket,
//! as many as fit into each read. The two structures are fixed, 72 bytes each, so they are read here
//! instead of by a library.

use std::io::{self, Read as _};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Sockets in rare states that are counted at most, a family; beyond that the count says so.
const COUNTED_MAX: u64 = 262_144;
/// Open connections that are looked at each time.
const SAMPLE_MAX: u64 = 2_048;
/// The kernel fills as much of it as it likes, up to 32 KiB.
const READ_BYTES: usize = 64 * 1_024;
/// The kernel answers within the read; a wait means that something is wrong.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// `AF_INET` and `AF_INET6`.
const FAMILIES: [u8; 2] = [2, 10];
const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 72;

/// States of a socket, `enum` in `net/tcp_states.h`, with the names that labels have.
pub(super) const STATES: [(u8, &str); 6] = [
    (3, "syn_recv"),
    (4, "fin_wait1"),
    (5, "fin_wait2"),
    (8, "close_wait"),
    (9, "last_ack"),
    (11, "closing"),
];
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// Upper bounds of the buckets of queues, bytes; beyond is `+Inf`.
pub(super) const QUEUE_BOUNDS_BYTES: [u32; 8] =
    [0, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576];

/// How full sampled queues were, over all looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueHistogram {
    /// By the first bound of `QUEUE_BOUNDS_BYTES` that is not below; the last are beyond all.
    pub(super) counts: [u64; QUEUE_BOUNDS_BYTES.len() + 1],
    /// Bytes, all together.
    pub(super) sum_bytes: u64,
}

impl QueueHistogram {
    pub(super) fn note(&mut self, bytes: u32) {
        let bucket = QUEUE_BOUNDS_BYTES.partition_point(|bound| *bound < bytes);
        self.counts[bucket] += 1;
        self.sum_bytes += u64::from(bytes);
    }
}

/// What was seen of the gateway's sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketFigures {
    /// How many are in each of `STATES`.
    pub(super) by_state: [u64; STATES.len()],
    /// There were more in these states than are counted.
    pub is_truncated: bool,
    /// Listeners.
    pub listeners: u64,
    /// Connections that wait to be accepted, all listeners together.
    pub backlog: u64,
    /// The same of the listener that has most.
    pub backlog_longest: u64,
    /// As many as may wait at one listener; the least of all.
    pub backlog_max: u64,
    /// Send-Q and Recv-Q of sampled open connections.
    pub queues: [QueueHistogram; 2],
}

/// Counts rare states, looks at the listeners, and samples open connections. The sample begins where
/// the kernel's table does, in which connections stand by a hash of their addresses.
pub(super) fn look(port: u16, queues: [QueueHistogram; 2]) -> io::Result<SocketFigures> {
    let mut figures = SocketFigures { queues, ..SocketFigures::default() };
    let rare = STATES.iter().fold(1 << LISTEN, |mask, (state, _)| mask | (1_u32 << state));
    for family in FAMILIES {
        let is_whole = list(family, rare, port, COUNTED_MAX, |it| figures_of(&mut figures, &it))?;
        figures.is_truncated |= !is_whole;
        let queues = &mut figures.queues;
        list(family, 1 << ESTABLISHED, port, SAMPLE_MAX, |socket| {
            queues[0].note(socket.send_queue);
            queues[1].note(socket.receive_queue);
        })?;
    }
    Ok(figures)
}

fn figures_of(figures: &mut SocketFigures, socket: &Listed) {
    if socket.state == LISTEN {
        let [waiting, most] = [socket.receive_queue, socket.send_queue].map(u64::from);
        let is_first = figures.listeners == 0;
        figures.backlog_max = if is_first { most } else { figures.backlog_max.min(most) };
        figures.listeners += 1;
        figures.backlog += waiting;
        figures.backlog_longest = figures.backlog_longest.max(waiting);
    } else if let Some(place) = STATES.iter().position(|(state, _)| *state == socket.state) {
        figures.by_state[place] += 1;
    }
}

/// One socket. Of a listener, the queues are the backlog and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) state: u8,
    pub(super) receive_queue: u32,
    pub(super) send_queue: u32,
}

/// Lists sockets of a family in some states on a local port, `max` of them or a few more; false if
/// there were more. A list that is not read to its end is ended by closing the socket.
fn list(
    family: u8,
    states: u32,
    port: u16,
    max: u64,
    mut each: impl FnMut(Listed),
) -> io::Result<bool> {
    let kind = Type::DGRAM.cloexec();
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        kind,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    socket.send(&request(family, states, port))?;
    let mut bytes = vec![0; READ_BYTES];
    let mut count = 0;
    loop {
        let length = socket.read(&mut bytes)?;
        match take(&bytes[..length], |listed| {
            count += 1;
            each(listed);
        })? {
            Answer::Complete => return Ok(true),
            Answer::More if count >= max => return Ok(false),
            Answer::More => {}
        }
    }
}

/// `nlmsghdr` and `inet_diag_req_v2`.
pub(super) fn request(family: u8, states: u32, port: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MESSAGE_BYTES);
    bytes.extend_from_slice(&72_u32.to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
    bytes.extend_from_slice(&states.to_ne_bytes());
    bytes.extend_from_slice(&port.to_be_bytes());
    // The other port, both addresses and the interface: any. The cookie is not looked at in lists.
    bytes.resize(MESSAGE_BYTES, 0);
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Another read has the rest.
    More,
    /// That was all.
    Complete,
}

/// Takes apart what one read brought.
pub(super) fn take(mut bytes: &[u8], mut each: impl FnMut(Listed)) -> io::Result<Answer> {
    let other = || io::Error::new(io::ErrorKind::InvalidData, "sock_diag answers in another form");
    while !bytes.is_empty() {
        let length = number(bytes, 0).ok_or_else(other)? as usize;
        let kind = bytes.get(4..6).ok_or_else(other)?;
        let kind = u16::from_ne_bytes([kind[0], kind[1]]);
        let message = bytes.get(HEADER_BYTES..length).ok_or_else(other)?;
        match kind {
            NLMSG_DONE => return Ok(Answer::Complete),
            NLMSG_ERROR => {
                let code = number(message, 0).ok_or_else(other)?.cast_signed();
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => each(listed(message).ok_or_else(other)?),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Answer::More)
}

/// `inet_diag_msg`: family, state, timer, retransmits; 48 bytes of who with whom; then the expiry of
/// the timer and the queues.
fn listed(message: &[u8]) -> Option<Listed> {
    let state = *message.get(1)?;
    Some(Listed { state, receive_queue: number(message, 56)?, send_queue: number(message, 60)? })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}
