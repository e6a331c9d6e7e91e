//! What every layer needs: identifiers, time, limits, keyed hashing, entropy.
//!
//! Imports no other module of this crate. Nothing here reads a clock or does I/O; randomness from
//! the operating system enters only through the [`entropy::Entropy`] trait.

pub mod addresses;
pub mod bugs;
pub mod chunked;
pub mod entropy;
pub mod hash;
pub mod hex;
pub mod ids;
pub mod limits;
pub mod metrics;
pub mod pool;
pub mod priority;
pub mod slots;
pub mod time;
