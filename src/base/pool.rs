//! Memory for many small tables that grow: pieces of one size, cut from large chunks that never
//! move.
//!
//! Tables that each grow their own allocation leave holes between them: a sixth of the memory of
//! a million users was holes. Here a table is a [`List`] of pieces; what it gives back another one
//! takes. A chunk is touched by the operating system's measure only as far as its pieces were in
//! use, so that few entries cost little.

/// Bytes of a chunk: so many that the allocator asks the operating system for each, and somewhat
/// less than a whole number of pages, because it keeps a few bytes of them for itself.
const CHUNK_BYTES: usize = (1 << 20) - 64;
/// A list makes room for the numbers of so many more pieces.
const PIECES_STEP: usize = 8;

/// Memory for the entries of many lists, `PIECE` of them at a time.
#[derive(Debug)]
pub struct Pool<T, const PIECE: usize> {
    chunks: Vec<Vec<[T; PIECE]>>,
    /// Pieces that no list has.
    free: Vec<u32>,
}

/// A table whose entries are in a [`Pool`], always the same one.
#[derive(Debug, Default)]
pub struct List {
    pieces: Vec<u32>,
    count: u32,
}

impl List {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<T, const PIECE: usize> Default for Pool<T, PIECE> {
    fn default() -> Self {
        Pool { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T: Copy + Default, const PIECE: usize> Pool<T, PIECE> {
    const CHUNK_PIECES: usize = CHUNK_BYTES / size_of::<[T; PIECE]>();

    /// The entry at `place` of `list`.
    ///
    /// # Panics
    /// If the list is not that long.
    #[inline]
    #[must_use]
    pub fn at(&self, list: &List, place: usize) -> &T {
        assert!(place < list.len(), "a list of {} has no place {place}", list.count);
        let piece = list.pieces[place / PIECE] as usize;
        &self.chunks[piece / Self::CHUNK_PIECES][piece % Self::CHUNK_PIECES][place % PIECE]
    }

    /// The entry at `place` of `list`, to change it.
    ///
    /// # Panics
    /// If the list is not that long.
    #[inline]
    pub fn at_mut(&mut self, list: &List, place: usize) -> &mut T {
        assert!(place < list.len(), "a list of {} has no place {place}", list.count);
        let piece = list.pieces[place / PIECE] as usize;
        &mut self.chunks[piece / Self::CHUNK_PIECES][piece % Self::CHUNK_PIECES][place % PIECE]
    }

    /// Adds an entry at the end of `list`.
    pub fn push(&mut self, list: &mut List, entry: T) {
        let place = list.len();
        if place == list.pieces.len() * PIECE {
            self.lengthen(list);
        }
        list.count = list.count.checked_add(1).expect("a list has less than 2³² entries");
        *self.at_mut(list, place) = entry;
    }

    /// Takes out the entry at `place` of `list`; the last one takes its place.
    ///
    /// # Panics
    /// If the list is not that long.
    pub fn swap_remove(&mut self, list: &mut List, place: usize) -> T {
        let removed = *self.at(list, place);
        *self.at_mut(list, place) = *self.at(list, list.len() - 1);
        list.count -= 1;
        if list.len().is_multiple_of(PIECE) {
            self.free.extend(list.pieces.pop());
        }
        removed
    }

    /// A list of `piece_count` pieces, filled with the default entry.
    #[must_use]
    pub fn filled(&mut self, piece_count: usize) -> List {
        let mut list = List { pieces: Vec::with_capacity(piece_count), count: 0 };
        for _ in 0..piece_count {
            self.lengthen(&mut list);
        }
        let count = piece_count.checked_mul(PIECE).and_then(|count| u32::try_from(count).ok());
        list.count = count.expect("a list has less than 2³² entries");
        list
    }

    /// Takes all entries of a list back.
    pub fn release(&mut self, list: List) {
        self.free.extend(list.pieces);
    }

    /// Gives `list` one piece more.
    fn lengthen(&mut self, list: &mut List) {
        if list.pieces.len() == list.pieces.capacity() {
            list.pieces.reserve_exact(PIECES_STEP);
        }
        let blank = [T::default(); PIECE];
        if let Some(piece) = self.free.pop() {
            let place = piece as usize;
            self.chunks[place / Self::CHUNK_PIECES][place % Self::CHUNK_PIECES] = blank;
            return list.pieces.push(piece);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == Self::CHUNK_PIECES) {
            self.chunks.push(Vec::with_capacity(Self::CHUNK_PIECES));
        }
        let full = (self.chunks.len() - 1) * Self::CHUNK_PIECES;
        let chunk = self.chunks.last_mut().expect("there is a chunk with room");
        let piece = u32::try_from(full + chunk.len()).expect("a pool has less than 2³² pieces");
        chunk.push(blank);
        list.pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Small = Pool<u32, 4>;

    proptest! {
        #[test]
        fn lists_behave_like_vectors_and_share_nothing(
            steps in proptest::collection::vec((0_usize..3, 0_usize..20, 0_u8..10), 0..400),
        ) {
            let mut pool = Small::default();
            let mut lists: [List; 3] = Default::default();
            let mut models: [Vec<u32>; 3] = Default::default();
            for (number, (which, place, step)) in (0_u32..).zip(steps) {
                let (list, model) = (&mut lists[which], &mut models[which]);
                match step {
                    0 => {
                        pool.release(std::mem::take(list));
                        model.clear();
                    }
                    1..=3 if place < model.len() => {
                        prop_assert_eq!(pool.swap_remove(list, place), model.swap_remove(place));
                    }
                    _ => {
                        pool.push(list, number);
                        model.push(number);
                    }
                }
                for (list, model) in lists.iter().zip(&models) {
                    prop_assert_eq!(list.len(), model.len());
                    let found: Vec<u32> = (0..list.len()).map(|place| *pool.at(list, place)).collect();
                    prop_assert_eq!(&found, model);
                }
            }
        }
    }

    #[test]
    fn what_one_list_gives_back_another_takes() {
        let mut pool = Small::default();
        let first = pool.filled(10);
        pool.release(first);
        let second = pool.filled(10);
        assert_eq!((second.len(), pool.chunks[0].len()), (40, 10));
    }

    #[test]
    fn chunks_are_filled_one_after_the_other() {
        let mut pool: Pool<u64, 16> = Pool::default();
        let mut list = List::default();
        let chunk = u64::try_from(CHUNK_BYTES / 128 * 16).unwrap();
        (0..chunk * 2 + 1).for_each(|entry| pool.push(&mut list, entry));
        assert_eq!(pool.chunks.iter().map(Vec::len).collect::<Vec<_>>(), [8_191, 8_191, 1]);
        assert_eq!(*pool.at(&list, list.len() - 1), chunk * 2);
    }
}
