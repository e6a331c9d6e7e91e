//! What clients will send at the end of a turn: one arena for all of it.

/// Messages that wait, in the order in which they were pushed; at most one a client and turn.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    arena: Vec<u8>,
    /// Client, and where its message ends in the arena.
    ends: Vec<(u32, usize)>,
}

impl Outgoing {
    /// Lets `write` append the message of client `index`, whole and masked.
    pub(crate) fn push(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.arena);
        self.ends.push((index, self.arena.len()));
    }

    /// Whether nobody has anything to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How much waits.
    pub(super) fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// All of it.
    pub(super) fn messages(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        self.ends.iter().zip(begins).map(|((index, end), begin)| (*index, &self.arena[begin..*end]))
    }

    /// Forgets what was sent.
    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.ends.clear();
    }
}
