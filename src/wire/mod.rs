//! Bytes to messages and back: HTTP upgrade, WebSocket frames, Protobuf and JSON.
//!
//! Pure: no sockets, no clock. Imports `base` only.

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
