//! Operations that complete within the call that submits them: receives, sends, closes.

use super::{Bank, Plane};
use crate::net::user_data::GENERATION_MASK;

/// Enters that are spent on results that did not come with the submission (a full completion
/// queue) before they count as lost.
const ROUNDS_MAX: u32 = 1_000_000;

/// The batch in progress. Its number is in the user data, so that nothing late gets in.
#[derive(Debug, Default)]
pub(super) struct Batch {
    number: u32,
    results: Vec<Option<i32>>,
    outstanding: usize,
    /// Closes, whose results go to their places and not into `results`.
    closes: usize,
}

impl Batch {
    /// Begins the next batch.
    pub(super) fn begin(&mut self) {
        assert!(!self.is_waiting(), "one batch at a time");
        self.number = (self.number + 1) & GENERATION_MASK;
        self.results.clear();
    }

    /// The number of the batch, for user data.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Expects one more result; returns its place in the batch.
    pub(super) fn expect(&mut self) -> u32 {
        self.results.push(None);
        self.outstanding += 1;
        u32::try_from(self.results.len() - 1).unwrap_or(u32::MAX)
    }

    /// Expects one more close.
    pub(super) fn expect_close(&mut self) {
        self.closes += 1;
    }

    /// A close has completed. One that was given up earlier may end a batch early: its own closes
    /// are then found undone and repeated.
    pub(super) fn complete_close(&mut self) {
        self.closes = self.closes.saturating_sub(1);
    }

    /// Takes a result; false if it belongs to no expected one of this batch.
    pub(super) fn complete(&mut self, number: u32, place: u32, result: i32) -> bool {
        if number != self.number {
            return false;
        }
        match self.results.get_mut(place as usize) {
            Some(entry @ None) if self.outstanding > 0 => {
                *entry = Some(result);
                self.outstanding -= 1;
                true
            }
            _ => false,
        }
    }

    /// The result at a place; nothing if it never came.
    pub(super) fn result(&self, place: u32) -> Option<i32> {
        self.results.get(place as usize).copied().flatten()
    }

    /// Whether results are missing.
    pub(super) fn is_waiting(&self) -> bool {
        self.outstanding > 0 || self.closes > 0
    }

    /// Expects no more.
    pub(super) fn give_up(&mut self) {
        self.outstanding = 0;
        self.closes = 0;
    }
}

impl Plane {
    /// Submits what the batch pushed onto the banks it touched, and reaps until all results are in.
    /// Afterwards the kernel holds no pointer of the batch.
    pub(super) fn finish_batch(&mut self) {
        let lost_before = self.counters.lost_completions;
        for bank in 0..self.banks.len() {
            if self.banks[bank].touched {
                self.banks[bank].ring.submit();
                self.reap(bank);
            }
        }
        let mut rounds = 0;
        while self.batch.is_waiting() && rounds < ROUNDS_MAX {
            for bank in 0..self.banks.len() {
                if self.banks[bank].touched {
                    self.banks[bank].ring.collect(0);
                    self.reap(bank);
                }
            }
            rounds += 1;
            // What the kernel could not keep does not come any more once all the rest has.
            let waits_in_vain = lost_before != self.counters.lost_completions
                && self.banks.iter_mut().all(|bank| !bank.touched || bank.ring.is_quiet());
            if waits_in_vain {
                break;
            }
        }
        self.batch.give_up();
        for Bank { touched, .. } in &mut self.banks {
            *touched = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_expected_results_of_this_batch_count() {
        let mut batch = Batch::default();
        batch.begin();
        let first = batch.number();
        let (a, b) = (batch.expect(), batch.expect());
        assert!(batch.complete(first, b, 7));
        assert!(!batch.complete(first, b, 8), "twice");
        assert!(!batch.complete(first, 2, 8), "not expected");
        assert!(batch.is_waiting());
        batch.give_up();
        assert_eq!((batch.result(a), batch.result(b)), (None, Some(7)));
        assert!(!batch.complete(first, a, 9), "given up");
        batch.begin();
        let c = batch.expect();
        assert!(!batch.complete(first, c, 9), "of an older batch");
        assert!(batch.complete(batch.number(), c, 10));
        assert!(!batch.is_waiting());
    }
}
