//! Who is who: access tokens, what they allow, which are revoked, who is banned; retry tickets and
//! invitation codes.
//!
//! Imports `base` only. Time is an argument: nothing here reads a clock, and no secret is made
//! here. Deliberately absent: sessions and connections (the shard's), files, and every algorithm
//! but HS256, RS256, ES256 and EdDSA.

pub mod bans;
pub mod claims;
pub mod invitation;
pub mod keys;
pub mod revocation;
mod signatures;
pub mod ticket;
pub mod token;
