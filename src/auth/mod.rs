//! Who is who: access tokens and retry tickets.
//!
//! Imports `base` only. Time is an argument: nothing here reads a clock, and no secret is made
//! here. Deliberately absent: sessions (the shard's), revocation (tokens are short-lived), and
//! every algorithm but HMAC with SHA-256.

pub mod ticket;
pub mod token;
