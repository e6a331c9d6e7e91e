//! The book of money: double entry in SQLite, the payouts that leave from it, and what is proved
//! from it.
//!
//! The journal is the truth and the book follows it: everything here can be deleted and written again
//! from the journal, and has the same hash then. What happened comes as [`cause`]s, in batches that
//! may be repeated at will; a cause's key says what it is, never where it was read, so that one cause
//! is booked once, whatever was repeated, reordered or lost on the way.
//!
//! Invariants: a transaction sums to zero in each unit; a balance is the sum of its entries; one
//! batch is one SQLite transaction, with the place in the journal that it reaches. Absent: who may
//! pay what (the user's bucket decides, before its record is journaled), time and randomness of its
//! own, and every thought of shards. It blocks, so it lives on threads of its own.

pub mod account;
pub mod backup;
pub mod book;
pub mod cause;
pub mod error;
pub mod export;
pub mod leaderboard;
pub mod name;
pub mod outbox;
pub mod ranks;
pub mod reader;
pub mod reconcile;
pub mod schema;
pub mod standin;
pub mod thread;
pub mod verify;

mod posting;
mod row;
mod shows;
