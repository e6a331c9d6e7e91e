//! The promises, one checker each, and what was broken.

pub(crate) mod chats;
pub(crate) mod durability;
pub(crate) mod lanes;
pub(crate) mod model;
pub(crate) mod offers;
pub(crate) mod promises;
pub(crate) mod seals;
pub(crate) mod secrecy;
pub(crate) mod sums;

use std::fmt;

use crate::base::time::Time;

/// What the gateway promises; each has a checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Every acknowledged answer is counted exactly once.
    Counting,
    /// No answer in time is refused.
    InTime,
    /// Nobody is settled before the barrier.
    Barrier,
    /// One card per show, and cards are conserved.
    Cards,
    /// Payouts and remainder are the pool; the winners are those of the rules.
    Money,
    /// Versions of a lane come in order on a connection, without silent holes, across resumes.
    Lanes,
    /// Of every message and member it is known whether it was delivered, thinned out, skipped, or
    /// the member was gone.
    Sums,
    /// Nobody is out for a question that was not offered.
    Offers,
    /// Nothing tells before the reveal.
    Secrecy,
    /// Seals open with the revealed key and say what the rules say; one nonce, one plaintext.
    Seals,
    /// Replies go to the session that exists; a replaced one gets nothing more.
    Sessions,
    /// A show that is moved along ends.
    Progress,
    /// Verdicts are those of the rules.
    Verdicts,
    /// A token counts until it ends or is revoked, and not longer.
    Tokens,
    /// Nothing acknowledged is lost when the power fails, and what is read back is what was there.
    Durability,
    /// An acknowledged chat stands under its version, the same for everybody; likes add up.
    Chat,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub promise: Promise,
    /// When it was noticed, virtual time.
    pub at: Time,
    /// What was wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} at {}: {}", self.promise, self.at, self.text)
    }
}

/// Violations of one run that are kept; the first are the telling ones.
const VIOLATIONS_MAX: usize = 20;

/// Collects what was broken.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) now: Time,
    pub(crate) violations: Vec<Violation>,
}

impl Findings {
    /// Notes a broken promise.
    pub(crate) fn broken(&mut self, promise: Promise, text: impl FnOnce() -> String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { promise, at: self.now, text: text() });
        }
    }

    /// Notes a broken promise unless `holds`.
    pub(crate) fn check(&mut self, holds: bool, promise: Promise, text: impl FnOnce() -> String) {
        if !holds {
            self.broken(promise, text);
        }
    }
}
