//! What a plane reports and is asked: the types of its surface.

use std::net::SocketAddr;

use crate::base::ids::ConnId;
use crate::base::time::Time;

/// What happened to a connection. The first event of one is `Accepted`, `Connected` or
/// `ConnectFailed`; none follows after the caller has closed it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client connected.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// Its peer.
        peer: SocketAddr,
    },
    /// [`Plane::connect`](super::Plane::connect) succeeded.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// [`Plane::connect`](super::Plane::connect) failed. The caller closes the connection.
    ConnectFailed {
        /// The connection.
        conn: ConnId,
        /// Why, as in errno(3).
        errno: i32,
    },
    /// Bytes came, in the order of the stream.
    Received {
        /// From whom.
        conn: ConnId,
        /// The bytes; the handler may change them (unmask) and loses them when it returns.
        bytes: &'a mut [u8],
        /// When its ring was last seen empty before these bytes were noticed: at or before the
        /// moment at which they arrived.
        arrived: Time,
    },
    /// A send had been short or blocked, and the socket has room again (or has failed).
    Writable {
        /// Which.
        conn: ConnId,
    },
    /// Nothing more will be received. Reported once; the caller closes the connection.
    Ended {
        /// Which.
        conn: ConnId,
        /// How.
        end: End,
    },
    /// The answer to [`Plane::read_out`](super::Plane::read_out).
    ReadOut {
        /// Which.
        conn: ConnId,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed its direction in order. It may still read what is sent.
    Eof,
    /// The connection failed, with the number of errno(3): reset, timed out, unreachable.
    Reset(i32),
    /// The kernel reported a hang-up and nothing else.
    HungUp,
}

/// One send.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    /// To whom. At most one request for a connection in one call.
    pub conn: ConnId,
    /// What; at most 2³² − 1 bytes are taken.
    pub bytes: &'a [u8],
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// So many bytes were taken. If fewer than asked, `Writable` follows when there is room.
    Sent(usize),
    /// The socket is full: nothing was taken. `Writable` follows when there is room. If the kernel
    /// is short of memory for all sockets no edge may come: try again by a timer too.
    Blocked,
    /// The kernel had no memory: nothing was taken and no event follows. Try again by a timer.
    NoMemory,
    /// The connection is gone, closed, or its id is stale. Bytes may or may not have been taken.
    Gone,
}

/// How much one turn may do.
#[derive(Clone, Copy, Debug)]
pub struct TurnLimits {
    /// Receives.
    pub receives: u32,
    /// `Writable` events.
    pub writables: u32,
    /// Connections that are closed.
    pub closes: u32,
}

impl Default for TurnLimits {
    /// Some 200 µs of work on loopback.
    fn default() -> TurnLimits {
        TurnLimits { receives: 128, writables: 256, closes: 32 }
    }
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnReport {
    /// Events reported.
    pub events: u32,
    /// Work is left that the next turn can do at once: don't park.
    pub more: bool,
}
