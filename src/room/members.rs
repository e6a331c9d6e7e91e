//! Who is in a room, on one shard: a bitmap over the places of its connections.
//!
//! Walked in the order of places, which is the order of memory: in random order a push costs
//! 8–18 % more. It grows by chunks, never by doubling.

/// Places in one chunk: 4 KiB of bits.
const CHUNK_PLACES: u32 = 32_768;
const CHUNK_WORDS: usize = CHUNK_PLACES as usize / 64;

/// A set of places.
#[derive(Debug, Default)]
pub struct Members {
    chunks: Vec<Option<Box<[u64; CHUNK_WORDS]>>>,
    count: u32,
    /// One more than the greatest place ever inserted.
    places_end: u32,
}

impl Members {
    /// Number of members.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// One more than the greatest place that was ever a member.
    #[must_use]
    pub fn places_end(&self) -> u32 {
        self.places_end
    }

    /// Adds a place; false if it was there.
    pub fn insert(&mut self, place: u32) -> bool {
        let (chunk, word, bit) = split(place);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let words = self.chunks[chunk].get_or_insert_with(|| Box::new([0; CHUNK_WORDS]));
        let added = words[word] & bit == 0;
        words[word] |= bit;
        self.count += u32::from(added);
        self.places_end = self.places_end.max(place + 1);
        added
    }

    /// Takes a place out; false if it was not there.
    pub fn remove(&mut self, place: u32) -> bool {
        let (chunk, word, bit) = split(place);
        let Some(Some(words)) = self.chunks.get_mut(chunk) else {
            return false;
        };
        let removed = words[word] & bit != 0;
        words[word] &= !bit;
        self.count -= u32::from(removed);
        removed
    }

    /// True if the place is a member.
    #[must_use]
    pub fn contains(&self, place: u32) -> bool {
        let (chunk, word, bit) = split(place);
        matches!(self.chunks.get(chunk), Some(Some(words)) if words[word] & bit != 0)
    }

    /// The first member at or after `place`.
    #[must_use]
    pub fn next_from(&self, place: u32) -> Option<u32> {
        let (first_chunk, first_word, bit) = split(place);
        for chunk in first_chunk..self.chunks.len() {
            let Some(words) = &self.chunks[chunk] else {
                continue;
            };
            let from = if chunk == first_chunk { first_word } else { 0 };
            for (word, bits) in words.iter().enumerate().skip(from) {
                // In the first word, members before `place` are masked away.
                let before = chunk == first_chunk && word == first_word;
                let bits = if before { bits & !(bit - 1) } else { *bits };
                if bits != 0 {
                    let index = chunk * CHUNK_PLACES as usize + word * 64;
                    return u32::try_from(index).ok().map(|index| index + bits.trailing_zeros());
                }
            }
        }
        None
    }
}

fn split(place: u32) -> (usize, usize, u64) {
    let within = place % CHUNK_PLACES;
    ((place / CHUNK_PLACES) as usize, (within / 64) as usize, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in proptest::collection::vec((0_u32..100_000, any::<bool>()), 0..300)) {
            let mut members = Members::default();
            let mut model = BTreeSet::new();
            for (place, insert) in steps {
                if insert {
                    prop_assert_eq!(members.insert(place), model.insert(place));
                } else {
                    prop_assert_eq!(members.remove(place), model.remove(&place));
                }
                prop_assert_eq!(members.count() as usize, model.len());
                prop_assert_eq!(members.contains(place), model.contains(&place));
                prop_assert_eq!(members.next_from(place), model.range(place..).next().copied());
            }
            let mut walked = Vec::new();
            let mut place = 0;
            while let Some(member) = members.next_from(place) {
                walked.push(member);
                place = member + 1;
            }
            prop_assert_eq!(walked, model.into_iter().collect::<Vec<_>>());
        }
    }
}
