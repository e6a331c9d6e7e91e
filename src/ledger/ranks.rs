//! A board of scores: who is where, ties ranked equally, in memory.
//!
//! Scores stand in one order, best first, cut into chunks; so a change moves the rest of one chunk
//! and nothing else, and a rank is a sum over the chunks before. Beside it stands each player's
//! score. A player costs some 50 bytes: 16 in a chunk that is three quarters full on average, and
//! some 28 in the table of scores.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::ids::UserId;

/// Entries of a chunk before it is cut in two: 16 KiB.
const CHUNK_ENTRIES_MAX: usize = 1_024;

/// Best score first; equal ones in the order of their users, so that a list is always the same.
type Entry = (Reverse<i64>, u64);

/// A place on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// One more than there are players with a better score.
    pub rank: u64,
    /// Who.
    pub user: UserId,
    /// What it has.
    pub score: i64,
}

/// The board. Players without a score above zero are not on it.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    /// Not one of them is empty.
    chunks: Vec<Vec<Entry>>,
    scores: BTreeMap<u64, i64>,
}

impl Ranks {
    /// An empty board.
    #[must_use]
    pub fn new() -> Ranks {
        Ranks::default()
    }

    /// A board of scores that are known already, in any order; much faster than one at a time. The
    /// scores of one user are added.
    #[must_use]
    pub fn of(scores: impl IntoIterator<Item = (UserId, i64)>) -> Ranks {
        let mut totals = BTreeMap::new();
        for (UserId(user), score) in scores {
            let total: &mut i64 = totals.entry(user).or_default();
            *total = total.saturating_add(score);
        }
        let mut entries: Vec<Entry> = totals
            .iter()
            .filter(|(_, score)| **score > 0)
            .map(|(user, score)| (Reverse(*score), *user))
            .collect();
        entries.sort_unstable();
        // Three quarters, so that the next change does not cut every chunk.
        let chunks = entries.chunks(CHUNK_ENTRIES_MAX * 3 / 4).map(<[Entry]>::to_vec).collect();
        Ranks { chunks, scores: totals }
    }

    /// Players on the board.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }

    /// Adds to a player's score, or takes from it.
    pub fn add(&mut self, user: UserId, change: i64) {
        let score = self.scores.entry(user.0).or_default();
        let old = *score;
        *score = old.saturating_add(change);
        let new = *score;
        if old > 0 {
            self.remove((Reverse(old), user.0));
        }
        if new > 0 {
            self.insert((Reverse(new), user.0));
        }
    }

    /// Where a player is; nowhere without a score.
    #[must_use]
    pub fn place(&self, user: UserId) -> Option<Place> {
        let score = *self.scores.get(&user.0)?;
        (score > 0).then(|| Place { rank: self.better_than(score) + 1, user, score })
    }

    /// The first `count` places.
    pub fn top(&self, count: usize) -> impl Iterator<Item = Place> {
        let mut rank = 0;
        let mut last = None;
        self.chunks.iter().flatten().take(count).zip(1..).map(
            move |((Reverse(score), user), position)| {
                if last != Some(*score) {
                    (rank, last) = (position, Some(*score));
                }
                Place { rank, user: UserId(*user), score: *score }
            },
        )
    }

    /// How many have a better score.
    fn better_than(&self, score: i64) -> u64 {
        let bound = (Reverse(score), 0);
        let index = self.chunk_of(bound);
        let before: usize = self.chunks[..index].iter().map(Vec::len).sum();
        let inside =
            self.chunks.get(index).map_or(0, |chunk| chunk.partition_point(|it| *it < bound));
        (before + inside) as u64
    }

    /// The chunk whose last entry is the first not before `entry`; the number of chunks if none is.
    fn chunk_of(&self, entry: Entry) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| *last < entry))
    }

    fn insert(&mut self, entry: Entry) {
        let index = self.chunk_of(entry).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(index) else {
            self.chunks.push(vec![entry]);
            return;
        };
        chunk.insert(chunk.partition_point(|it| *it < entry), entry);
        if chunk.len() > CHUNK_ENTRIES_MAX {
            let rest = chunk.split_off(CHUNK_ENTRIES_MAX / 2);
            self.chunks.insert(index + 1, rest);
        }
    }

    fn remove(&mut self, entry: Entry) {
        let index = self.chunk_of(entry);
        let place = self.chunks[index].binary_search(&entry);
        self.chunks[index].remove(place.expect("a player with a score stands in its order"));
        if self.chunks[index].is_empty() {
            self.chunks.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by sorting everything.
    fn naive(scores: &BTreeMap<u64, i64>) -> Vec<Place> {
        let mut places: Vec<_> = scores
            .iter()
            .filter(|(_, score)| **score > 0)
            .map(|(user, score)| {
                let rank = scores.values().filter(|other| *other > score).count() as u64 + 1;
                Place { rank, user: UserId(*user), score: *score }
            })
            .collect();
        places.sort_by_key(|place| (Reverse(place.score), place.user));
        places
    }

    #[test]
    fn ties_are_ranked_equally() {
        let board =
            Ranks::of([(1, 5), (2, 9), (3, 5), (4, 0), (5, 1)].map(|(u, s)| (UserId(u), s)));
        let top: Vec<_> = board.top(10).map(|place| (place.rank, place.user.0)).collect();
        assert_eq!(top, [(1, 2), (2, 1), (2, 3), (4, 5)]);
        assert_eq!(board.place(UserId(4)), None);
        assert_eq!(board.place(UserId(3)).map(|place| place.rank), Some(2));
    }

    proptest! {
        #[test]
        fn a_board_is_what_sorting_gives(
            start in prop::collection::vec((0..40_u64, -3..9_i64), 0..60),
            changes in prop::collection::vec((0..40_u64, -9..20_i64), 0..200),
            top in 0..50_usize,
        ) {
            let mut scores = BTreeMap::new();
            for (user, change) in start.iter().chain(&changes) {
                *scores.entry(*user).or_insert(0) += change;
            }
            let mut board = Ranks::of(start.into_iter().map(|(user, score)| (UserId(user), score)));
            for (user, change) in changes {
                board.add(UserId(user), change);
            }
            let expected = naive(&scores);
            prop_assert_eq!(board.count(), expected.len() as u64);
            for user in 0..40 {
                let place = expected.iter().find(|place| place.user.0 == user).copied();
                prop_assert_eq!(board.place(UserId(user)), place);
            }
            let first: Vec<_> = expected.into_iter().take(top).collect();
            prop_assert_eq!(board.top(top).collect::<Vec<_>>(), first);
        }
    }

    #[test]
    fn many_chunks_are_one_order() {
        let mut board = Ranks::new();
        let mut scores = BTreeMap::new();
        for step in 0..30_000_u64 {
            let user = step * 7_919 % 10_007;
            let change = i64::try_from(step * 31 % 97).expect("small") - 30;
            board.add(UserId(user), change);
            *scores.entry(user).or_insert(0) += change;
        }
        assert!(board.chunks.len() > 5);
        assert!(board.chunks.iter().all(|chunk| !chunk.is_empty()));
        let sorted: Vec<_> = board.top(usize::MAX).collect();
        assert!(sorted.is_sorted_by_key(|place| (Reverse(place.score), place.user)));
        assert_eq!(sorted.len(), scores.values().filter(|score| **score > 0).count());
        for place in sorted.iter().step_by(97) {
            assert_eq!(board.place(place.user), Some(*place));
        }
    }
}
