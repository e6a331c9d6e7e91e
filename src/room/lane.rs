//! The three lanes of a room, and positions in them.

/// What a lane is for; the order is the order of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Questions, results, gifts: reliable, recovered after a reconnect.
    High,
    /// What should arrive but may be skipped by those who are late.
    Mid,
    /// Chat and likes: thinned out first.
    Low,
}

impl Lane {
    /// All lanes, in the order of service.
    pub const ALL: [Lane; 3] = [Lane::High, Lane::Mid, Lane::Low];

    /// The lane's place in [`Lane::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Lane::High => 0,
            Lane::Mid => 1,
            Lane::Low => 2,
        }
    }
}

/// Number of encodings that a room's messages may be kept in.
pub const ENCODING_COUNT: usize = 4;

/// Which of the encodings; what they are is the wire layer's business.
pub type EncodingIndex = usize;

/// The encoding that a home always keeps, and that others are made from.
pub const BASE_ENCODING: EncodingIndex = 0;

/// Which messages a frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first one's version.
    pub first: u64,
    /// How many versions, one after the other.
    pub versions: u32,
    /// How many of them the frame carries; the others were thinned out.
    pub carried: u32,
}

impl Span {
    /// Of a frame that carries one message.
    #[must_use]
    pub fn one(version: u64) -> Span {
        Span { first: version, versions: 1, carried: 1 }
    }

    /// The version that follows the last one.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.versions)
    }
}

/// One version number for each lane, by [`Lane::index`].
pub type Versions = [u64; 3];

/// Where a client that returns has been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Versions of different epochs do not compare.
    pub epoch: u64,
    /// The newest version seen in each lane, 0: none; nothing where the client does not care for
    /// what it missed.
    pub seen: [Option<u64>; 3],
}
