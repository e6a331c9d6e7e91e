//! The quiz: shows, directors, buckets, answers, seals and the prize. Pure and deterministic.
//!
//! A show's [`director::Director`] lives on one shard, takes the operator's commands and emits
//! numbered [`event::ShowEvent`]s. Every shard has a [`local::LocalQuiz`]: the users of its buckets
//! and a [`replica::ShowReplica`] of each show, which applies those events strictly in order,
//! judges the answers of its users and sends summaries up. Nothing else crosses between shards,
//! and both directions are idempotent.
//!
//! Invariants:
//! - Time is an input and settles nobody by itself: silence is judged only behind the closing
//!   barrier (the event *closing* and a drained mark from every shard).
//! - Before the reveal nothing that a player can read depends on which option is correct, apart
//!   from ciphertext of one fixed length and the commitment.
//! - No cent appears or vanishes: payouts + remainder = pool; packets + what returns = a rain's pool.
//!
//! Imports `base` only: it knows neither connections nor rooms nor bytes on the wire. Absent by
//! design: record formats (the journal's), and the ledger.
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod definition;
pub mod director;
pub mod event;
pub mod image;
pub mod invitation;
pub mod judge;
pub mod local;
pub mod money;
pub mod phase;
pub mod player;
pub mod rain;
pub mod replica;
pub mod report;
pub mod requests;
pub mod seal;
pub mod users;
pub mod verdict;

#[cfg(test)]
mod tests;
