//! tidegate: an edge gateway for live quiz shows, io_uring and thread per core.
//!
//! The order of the modules is the order of the layers and the tour: each imports only what
//! stands above it. `docs/architecture.md` is the map.

// The empty lines keep rustfmt from sorting the layers.
pub mod base;

pub mod wire;

pub mod room;

pub mod chat;

pub mod quiz;

pub mod auth;

pub mod shard;

pub mod net;

pub mod tls;

pub mod store;

pub mod ledger;

pub mod runtime;

pub mod player;

pub mod sim;

pub mod ops;
