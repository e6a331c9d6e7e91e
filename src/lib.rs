//! tidegate: an edge gateway for live quiz shows, io_uring and thread per core.
//!
//! The order of the modules is the order of the layers and the tour: each imports only what
//! stands above it. `docs/architecture.md` is the map.

pub mod auth;
pub mod base;
pub mod ops;
pub mod quiz;
pub mod wire;
