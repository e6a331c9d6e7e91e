//! tidegate: an edge gateway for live quiz shows, io_uring and thread per core.
//!
//! The order of the modules is the order of the layers and the tour: each imports only what
//! stands above it. `docs/architecture.md` is the map.

// Without the feature `gateway`, which fuzzers do without, there is what does no input and output.
// The empty lines keep rustfmt from sorting the layers.
pub mod base;

pub mod wire;

pub mod room;

pub mod chat;

pub mod quiz;

pub mod auth;

pub mod shard;

#[cfg(feature = "gateway")]
pub mod net;

pub mod tls;

#[cfg(feature = "gateway")]
pub mod store;

#[cfg(feature = "gateway")]
pub mod ledger;

#[cfg(feature = "gateway")]
pub mod runtime;

#[cfg(feature = "gateway")]
pub mod player;

#[cfg(feature = "gateway")]
pub mod sim;

#[cfg(feature = "gateway")]
pub mod ops;
