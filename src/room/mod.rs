//! Rooms: lanes, versions, logs, and who is a member. Pure; imports `base` only.
//!
//! A room's *home* ([`home::HomeRoom`]) orders its messages and keeps the recent ones; every
//! shard that has members keeps a *local* copy ([`local::LocalRoom`]) of the lanes' finished
//! frames, from which each connection is served by its own cursors. Nothing here knows users,
//! encodings by name, or what a frame says.

pub mod home;
pub mod lane;
pub mod lanes;
pub mod local;
pub mod log;
pub mod members;
pub mod tally;
pub mod tick;
