//! Payouts on their way to the operator's balance system.
//!
//! A withdrawal's request and its payout come into the book in one transaction ([`queue`]). A
//! [`sender`] posts payouts, signed ([`sign`]), to the operator's address ([`webhook`]) until each is
//! acknowledged, and records that in the book; then the gateway is told, journals that the
//! withdrawal is paid, and the feed brings that back as a cause. So a payout is sent *at least*
//! once: a crash between any two of these steps sends it again, with the same idempotency key.
//!
//! One payout of a user is under way at a time, in the order of the requests. What is refused for
//! good, or has failed too often, becomes a *dead letter*: it steps aside, so that it holds up
//! nothing, and waits for a person.

pub mod queue;
pub mod sender;
pub mod settings;
pub mod sign;
pub mod webhook;

#[cfg(test)]
mod tests;

use crate::ledger::cause::WithdrawalId;
use crate::quiz::money::Cents;

/// A withdrawal to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Its place in the order of requests.
    pub id: i64,
    /// Whose, and which.
    pub withdrawal: WithdrawalId,
    /// How much.
    pub amount: Cents,
    /// When it was requested, Unix milliseconds.
    pub at_unix_ms: i64,
    /// How often it was sent.
    pub tries: u32,
}

/// How a withdrawal ended, for the gateway to journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whose, and which.
    pub withdrawal: WithdrawalId,
    /// How much.
    pub amount: Cents,
    /// Whether the balance system has it; otherwise the money is the player's again.
    pub is_paid: bool,
}
