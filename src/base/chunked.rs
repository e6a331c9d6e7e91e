//! A table by place that comes into being chunk by chunk: growing never copies, and what is never
//! written costs nothing.

/// Entries of one chunk.
const CHUNK: usize = 4_096;

/// A value for each place; those never written are at their default.
#[derive(Debug)]
pub struct Chunked<T> {
    chunks: Vec<Option<Box<[T]>>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Chunked<T> {
        Chunked { chunks: Vec::new() }
    }
}

impl<T: Default> Chunked<T> {
    /// The value at a place, if its chunk exists.
    pub fn find_mut(&mut self, place: u32) -> Option<&mut T> {
        let place = place as usize;
        self.chunks.get_mut(place / CHUNK)?.as_mut()?.get_mut(place % CHUNK)
    }

    /// The value at a place, if its chunk exists.
    #[must_use]
    pub fn find(&self, place: u32) -> Option<&T> {
        let place = place as usize;
        self.chunks.get(place / CHUNK)?.as_ref()?.get(place % CHUNK)
    }

    /// The value at a place, whose chunk comes into being.
    pub fn get_mut(&mut self, place: u32) -> &mut T {
        let (chunk, place) = (place as usize / CHUNK, place as usize % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let fresh = || std::iter::repeat_with(T::default).take(CHUNK).collect();
        &mut self.chunks[chunk].get_or_insert_with(fresh)[place]
    }

    /// Takes the value away from a place.
    pub fn take(&mut self, place: u32) -> T {
        self.find_mut(place).map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_into_being_when_they_are_written() {
        let mut table: Chunked<u16> = Chunked::default();
        assert_eq!(table.find(9_000), None);
        assert_eq!(table.take(9_000), 0);
        *table.get_mut(9_000) = 7;
        assert_eq!((table.find(9_000), table.find(0)), (Some(&7), None));
        assert_eq!((table.take(9_000), table.take(9_000)), (7, 0));
    }
}
