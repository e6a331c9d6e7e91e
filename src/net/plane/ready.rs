//! The list of connections that may have something to read, and the oldest stamp in it.

use std::collections::VecDeque;

use crate::base::ids::ConnId;
use crate::base::time::Time;

/// A connection that may have something to read. Each stands in the list at most once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) conn: ConnId,
    /// Nothing of what waits in the kernel arrived before this.
    pub(super) stamp: Time,
    /// All that arrived before this is read once as many bytes as fit in a receive queue are.
    pub(super) listed_at: Time,
    /// Bytes read since.
    pub(super) bytes: u64,
}

impl Ready {
    pub(super) fn new(conn: ConnId, stamp: Time, listed_at: Time) -> Ready {
        Ready { conn, stamp, listed_at, bytes: 0 }
    }
}

/// First in, first out, with its minimum at hand: a hundred thousand may wait, and every turn asks.
#[derive(Debug, Default)]
pub(super) struct ReadyList {
    entries: VecDeque<Ready>,
    /// Stamps that are lower than all that follow, each with the number of its entry; they grow.
    minima: VecDeque<(u64, Time)>,
    /// Entries that were ever added, and taken.
    added: u64,
    taken: u64,
}

impl ReadyList {
    /// Adds an entry at the end.
    pub(super) fn push(&mut self, entry: Ready) {
        while self.minima.back().is_some_and(|(_, stamp)| *stamp >= entry.stamp) {
            self.minima.pop_back();
        }
        self.minima.push_back((self.added, entry.stamp));
        self.added += 1;
        self.entries.push_back(entry);
    }

    /// Takes the first entry.
    pub(super) fn pop(&mut self) -> Option<Ready> {
        let entry = self.entries.pop_front()?;
        if self.minima.front().is_some_and(|(number, _)| *number == self.taken) {
            self.minima.pop_front();
        }
        self.taken += 1;
        Some(entry)
    }

    /// The lowest stamp of all entries.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.minima.front().map(|(_, stamp)| *stamp)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::{Entropy, SeededEntropy};

    #[test]
    fn the_oldest_stamp_is_known_without_walking_the_list() {
        let mut entropy = SeededEntropy::new(7, 0);
        let mut list = ReadyList::default();
        let mut model: VecDeque<Time> = VecDeque::new();
        for _ in 0..20_000 {
            if entropy.below(100) < 52 {
                let stamp = Time::from_millis(entropy.below(50));
                list.push(Ready::new(ConnId::default(), stamp, stamp));
                model.push_back(stamp);
            } else {
                assert_eq!(list.pop().map(|entry| entry.stamp), model.pop_front());
            }
            assert_eq!(list.oldest(), model.iter().min().copied());
            assert_eq!(list.is_empty(), model.is_empty());
        }
        // What turns add is in order, so what is kept does not grow with the list.
        let mut list = ReadyList::default();
        for entry in 0..100_000_u64 {
            let stamp = Time::from_millis(entry / 1_000);
            list.push(Ready::new(ConnId::default(), stamp, stamp));
        }
        assert_eq!((list.entries.len(), list.minima.len()), (100_000, 100));
    }
}
