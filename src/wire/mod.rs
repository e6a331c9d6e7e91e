//! Bytes to messages and back: HTTP upgrade, WebSocket frames, Protobuf and JSON.
//!
//! A connection's bytes pass [`upgrade`] once, then [`message`] for ever; what is in a message
//! goes through [`codec`]. A short connection's pass [`short`], request by request. Nothing here
//! holds a connection: an idle one costs no memory, because all state that there is between two
//! calls is an `Option` that the caller keeps.
//!
//! Pure: no sockets, no clock, no randomness. Imports `base` only. Deliberately absent:
//! HTTP beyond the upgrade, and any judgement of tokens, rooms or users.

pub mod close;
pub mod codec;
pub mod deflate;
pub mod frame;
pub mod message;
pub mod proxy;
pub mod short;
pub mod upgrade;

mod batch;
mod mask;

/// The messages of `proto/tidegate/v1`, generated, with canonical ProtoJSON.
pub mod proto {
    #![allow(
        missing_docs,
        unused_qualifications,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        clippy::pedantic,
        reason = "generated from the schema, whose comments are the documentation"
    )]
    include!(concat!(env!("OUT_DIR"), "/tidegate.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/tidegate.v1.serde.rs"));
}
