//! Where the pure core meets the machine: one pinned glommio executor per shard, mailboxes, the
//! pump, the clock, and how a process starts and stops.
//!
//! Invariants: a shard is touched by its own thread only; threads speak through queues; a panic in
//! a shard ends the process.

pub mod clock;
pub mod data;
pub mod disk_journal;
pub mod edge;
pub mod fatal;
pub mod feed;
pub mod gateway;
mod images;
mod journal;
pub mod mailbox;
mod meter;
pub mod operator;
mod pump;
pub mod reactor;
