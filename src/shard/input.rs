//! What goes into a shard and what comes out: one closed enum each way.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::base::ids::{ConnId, RecordNumber, ShardId};
use crate::base::time::Time;
use crate::shard::drain::Drain;
use crate::shard::mail::{Batch, Mail};
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest};
use crate::shard::record::Record;

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A client connected.
    Opened {
        /// Its place from now on.
        conn: ConnId,
        /// Its address, as the kernel says.
        peer: SocketAddr,
    },
    /// Bytes came. They are unmasked in place.
    Received {
        /// From whom.
        conn: ConnId,
        /// What; valid during the call only.
        bytes: &'a mut [u8],
        /// Not later than the moment at which they reached the host.
        arrived: Time,
    },
    /// A socket that had refused bytes takes some again.
    Writable {
        /// Which.
        conn: ConnId,
    },
    /// The peer is gone: end of stream, reset, or hang-up.
    Ended {
        /// Which.
        conn: ConnId,
    },
    /// The answer to [`Effect::ReadOut`]: all that the kernel had was delivered.
    ReadOut {
        /// Which.
        conn: ConnId,
    },
    /// Every byte that reached the host before this moment has been delivered.
    ReceivedAll {
        /// The moment.
        until: Time,
    },
    /// Another shard's post.
    Mail(Batch),
    /// The journal has made everything up to this record durable.
    Durable {
        /// The newest durable record.
        record: RecordNumber,
    },
    /// The moment that [`crate::shard::Shard::deadline`] named has come, or is near.
    Tick,
    /// An operator asks for something; the answer comes as [`Effect::Answer`].
    Operator {
        /// Matches the answer to the request.
        ticket: u64,
        /// What.
        request: OperatorRequest,
    },
    /// The shard was made of what outlived a restart, and all others are there: directors and
    /// shards tell each other where they stand.
    Resume,
    /// Ask connections to leave, spread over a time; nothing: ask no more of them.
    Drain(Option<Drain>),
    /// Say goodbye to everybody: the process is about to stop.
    Shutdown,
}

/// Something to be done for the shard, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Send these last bytes, then close. Whatever was planned before is sent first.
    Close {
        /// Which connection; its place may be used again afterwards.
        conn: ConnId,
        /// A close frame or an HTTP error, or nothing.
        last: Bytes,
    },
    /// Deliver what the kernel has for this connection, then say [`Input::ReadOut`].
    ReadOut {
        /// Which.
        conn: ConnId,
    },
    /// Put this into the turn's batch for a shard. Never for the shard itself.
    Post {
        /// For whom.
        to: ShardId,
        /// What.
        mail: Mail,
    },
    /// Make this durable, in the order of the numbers.
    Journal {
        /// Without gaps.
        number: RecordNumber,
        /// What.
        record: Record,
    },
    /// The answer to an operator's request.
    Answer {
        /// The request's.
        ticket: u64,
        /// The answer, or what was wrong.
        answer: Result<OperatorAnswer, OperatorError>,
    },
}

/// What became of a planned send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// So many bytes were taken; fewer than planned means that the socket is full.
    Sent(usize),
    /// The socket is full; [`Input::Writable`] follows.
    Blocked,
    /// The kernel is short of memory; nothing follows by itself.
    NoMemory,
    /// There is no such connection any more.
    Gone,
}
