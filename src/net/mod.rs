//! The socket plane: listeners and connections on private io_urings, one [`Plane`] per thread.
//!
//! It speaks bytes, [`ConnId`](crate::base::ids::ConnId) and [`Time`](crate::base::time::Time) and
//! knows no rooms. It reads no clock (the caller's is passed in), starts no threads and waits for
//! nothing: a turn does what can be done now. Waiting is the caller's, through one eventfd.
//!
//! Invariants:
//! - *Receiving and sending borrow nothing beyond the call*: with `MSG_DONTWAIT` they end within
//!   the enter that submits them, and none of their entries is queued after it: `Ring::submit`
//!   returns with an empty queue or ends the process. (What their completions cause to be queued
//!   then, polls, points nowhere.)
//! - *A slot is freed only by [`Plane::close`]*, so an id stays valid until its owner lets go; late
//!   completions of an earlier use are recognised by the generation, dropped and counted.
//! - *No accept is armed without a free slot of its own*: a full table would accept and drop.
//! - *Arrival stamps favour the sender*: they are never later than the arrival of the bytes.
//!
//! Absent on purpose: `IORING_OP_SHUTDOWN` (it resolves its slot late and may hit the next
//! connection), provided buffers, zero-copy sends, timers (but one, to end parking).

mod counters;
mod listener;
mod places;
mod plane;
pub mod probe;
mod ring;
mod socket;
mod user_data;
mod wake;

#[cfg(test)]
mod tests;

pub use counters::PlaneCounters;
pub use listener::{BindError, ListenSettings, Listener};
pub use plane::{
    ConnectError, End, Event, Plane, PlaneError, PlaneSettings, SendOutcome, SendRequest,
    TurnLimits, TurnReport,
};
pub use ring::RingError;
pub use socket::Limit;
pub use socket::new_eventfd;
pub use wake::Waker;
