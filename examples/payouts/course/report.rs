//! What came of a run.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tidegate::ledger::standin::{Answered, Did};

use super::check::{Broken, Requests};

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Withdrawals that were asked for, of how many users, and their sum.
    pub(crate) payouts: usize,
    pub(crate) users: usize,
    pub(crate) cents: i64,
    /// Kills of the balance system, and of who pays.
    pub(crate) kills_of_service: u32,
    pub(crate) kills_of_payer: u32,
    /// How often what had ended was journaled meanwhile.
    pub(crate) rounds: u32,
    /// How often players had to ask again, where they ask a gateway.
    pub(crate) asked_again: Option<usize>,
    /// What the balance system was asked.
    pub(crate) requests: Requests,
    /// How often the book knows that payouts were sent.
    pub(crate) tries: u64,
    /// What `ledger reconcile` and `ledger verify` said.
    pub(crate) reconciled: String,
    pub(crate) verified: String,
    /// What does not hold.
    pub(crate) broken: Broken,
    /// Where everything is, if something does not hold.
    pub(crate) left_in: Option<PathBuf>,
    /// From the first payout to the end of the last.
    pub(crate) took: Duration,
}

impl Report {
    /// Kills in all.
    pub(crate) fn kills(&self) -> u32 {
        self.kills_of_service + self.kills_of_payer
    }

    /// Requests that the balance system noted and that are `of` a kind.
    pub(crate) fn requests(&self, of: impl Fn(Did, Answered) -> bool) -> u64 {
        self.requests.iter().filter(|((did, answered), _)| of(*did, *answered)).map(|it| it.1).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { payouts, users, cents, tries, rounds, .. } = self;
        let count = |of: fn(Did, Answered) -> bool| self.requests(of);
        writeln!(formatter, "{payouts} payouts of {users} users, {cents} cents")?;
        writeln!(
            formatter,
            "{} kills of the balance system, {} of who pays; {}",
            self.kills_of_service,
            self.kills_of_payer,
            match self.asked_again {
                None => format!("{rounds} rounds of journaling meanwhile"),
                Some(count) => format!("{count} times players asked again"),
            }
        )?;
        writeln!(
            formatter,
            "{} requests noted: {} took, {} repeated what was taken, {} failed; of the first two {} \
             were answered by nothing or nonsense. {tries} tries in the book",
            count(|_, _| true),
            count(|did, _| did == Did::Took),
            count(|did, _| did == Did::Had),
            count(|did, _| did == Did::Failed),
            count(|did, answered| did != Did::Failed && answered != Answered::Told),
        )?;
        writeln!(formatter, "reconcile: {}", self.reconciled)?;
        writeln!(formatter, "verify: {}", self.verified)?;
        for broken in self.broken.said() {
            writeln!(formatter, "broken: {broken}")?;
        }
        if let Some(folder) = &self.left_in {
            writeln!(formatter, "what it left is in {}", folder.display())?;
        }
        write!(formatter, "{:.1} s", self.took.as_secs_f64())
    }
}
