//! A value for some of the connections, by place: memory is taken for a thousand places at a time,
//! where one of them has a value.

/// Places in one chunk.
const CHUNK: usize = 1_024;

/// Values by place; whoever has none has the default one.
#[derive(Default)]
pub(crate) struct Column<T> {
    chunks: Vec<Option<Box<[T]>>>,
}

impl<T: Copy + Default + PartialEq> Column<T> {
    /// The value of a place.
    pub(crate) fn get(&self, place: u32) -> T {
        let (chunk, index) = split(place);
        let chunk = self.chunks.get(chunk).and_then(Option::as_ref);
        chunk.map_or(T::default(), |chunk| chunk[index])
    }

    /// Gives a place a value; the default one takes no memory.
    pub(crate) fn set(&mut self, place: u32, value: T) {
        let (chunk, index) = split(place);
        if self.chunks.len() <= chunk {
            if value == T::default() {
                return;
            }
            self.chunks.resize_with(chunk + 1, || None);
        }
        match &mut self.chunks[chunk] {
            Some(chunk) => chunk[index] = value,
            None if value == T::default() => {}
            none => none.insert(vec![T::default(); CHUNK].into())[index] = value,
        }
    }

    /// The places that have this value, which is not the default one.
    pub(crate) fn places_of(&self, value: T) -> Vec<u32> {
        let chunks = self.chunks.iter().enumerate();
        let values = chunks.filter_map(|(number, chunk)| Some((number, chunk.as_ref()?)));
        values
            .flat_map(|(number, chunk)| (number * CHUNK..).zip(chunk))
            .filter(|(_, present)| **present == value)
            .filter_map(|(place, _)| u32::try_from(place).ok())
            .collect()
    }
}

fn split(place: u32) -> (usize, usize) {
    (place as usize / CHUNK, place as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chunks_with_a_value_take_memory() {
        let mut column = Column::default();
        column.set(5_000, 0_u64);
        assert!(column.chunks.is_empty());
        column.set(5_000, 9);
        column.set(4_096, 9);
        column.set(70, 0);
        assert_eq!(column.chunks.iter().filter(|chunk| chunk.is_some()).count(), 1);
        assert_eq!([0, 70, 5_000, 5_001, 90_000].map(|place| column.get(place)), [0, 0, 9, 0, 0]);
        assert_eq!(column.places_of(9), [4_096, 5_000]);
        column.set(5_000, 0);
        assert_eq!(column.places_of(9), [4_096]);
    }
}
