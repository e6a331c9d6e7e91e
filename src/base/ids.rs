//! Identifiers as types of their own, so that one cannot be taken for another.

use std::fmt;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}", self.0)
            }
        }
    };
}

id! {
    /// A user of the deployment, as its operator numbers them: the `sub` of the access token.
    /// 0 is nobody.
    UserId(u64)
}
id! {
    /// A room. 0 is no room.
    RoomId(u64)
}
id! {
    /// A show ("activity"). 0 is no show.
    ShowId(u64)
}
id! {
    /// A question's place in its show, counted from 0.
    QuestionIndex(u16)
}
id! {
    /// A red-packet rain's place among those planned in its show, counted from 0.
    RainIndex(u16)
}
id! {
    /// An option's place in its question, counted from 0.
    OptionIndex(u8)
}
id! {
    /// A fixed slice of all users: the unit of settlement, journal and recovery.
    BucketId(u16)
}
id! {
    /// A shard of this process: one thread, one core.
    ShardId(u16)
}
id! {
    /// The number of a show event; without gaps within a show, beginning at 1.
    EventNumber(u64)
}
id! {
    /// The place of a record in a shard's journal; without gaps, beginning at 1.
    RecordNumber(u64)
}

/// A connection of one shard: a place in its tables, and which use of that place it is.
///
/// Places are dense and are used again; a generation never returns within 2²⁸ uses of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Place among all connections of the shard: `ring index × slots per ring + slot`.
    pub place: u32,
    /// Which use of that place; 28 bits.
    pub generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.place, self.generation)
    }
}

impl QuestionIndex {
    /// The place as an index into a list of questions.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl OptionIndex {
    /// The place as an index into a list of options.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl BucketId {
    /// The place as an index into a list of buckets.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The shard that this bucket lives on, in a process of `shard_count` shards.
    ///
    /// # Panics
    /// If `shard_count` is 0.
    #[must_use]
    pub fn home(self, shard_count: u16) -> ShardId {
        ShardId(self.0 % shard_count)
    }
}

impl ShardId {
    /// The place as an index into a list of shards.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// All shards of a process.
    pub fn all(shard_count: u16) -> impl Iterator<Item = ShardId> {
        (0..shard_count).map(ShardId)
    }
}

impl EventNumber {
    /// The number that follows.
    #[must_use]
    pub fn next(self) -> EventNumber {
        EventNumber(self.0 + 1)
    }
}
