//! Named bugs that the simulator plants to prove that its checkers catch them.
//!
//! Outside the crate's own tests, and without the feature `sim-bugs`, every hook is the constant `false`
//! and disappears. The planted bug is a property of the thread, because a simulation runs on one;
//! nothing but `plant` writes it.

/// A bug that a checker must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Silence is settled as soon as a shard hears of the closing, before all shards drained.
    SettleEarly,
    /// A shard's drained mark for a show's first question is lost.
    LoseDrainedMark,
    /// A repeated answer is counted again.
    CountTwice,
    /// A card may be used twice in one show.
    CardTwice,
    /// Sealed results of different players share one nonce.
    NonceReuse,
    /// The snapshot of somebody who has not answered names the correct option.
    OptionLeakedInSnapshot,
    /// A newer session replaces an older one, but replies still go to the older one.
    StaleSessionReply,
    /// After a short send of a lane, the next frame is skipped without a word.
    HoleInLane,
    /// A shard acknowledges a question that is not queued for those who are in the room.
    AcknowledgeUnqueued,
    /// Messages that were thinned out are missing from the sums.
    LoseCount,
    /// A chat is acknowledged with the version of the next message.
    ChatMisstamped,
    /// A question that is pushed early is not encrypted.
    EarlyPushUnsealed,
    /// Whoever did not get the sealed question in time is forgotten when its key comes.
    MissedSealForgotten,
    /// A red packet is handed out, and handed out again.
    PacketTwice,
    /// A reply that promises something leaves before its record is durable.
    AcknowledgeEarly,
    /// An answer on record is done again twice after a restart.
    AnswerReplayedTwice,
    /// The whole records at the beginning of a torn group are taken for durable.
    TornTailAccepted,
    /// A group whose sync failed is taken for durable.
    FailedSyncTrusted,
    /// An order with a key that comes again is carried out again.
    OrderDoneTwice,
    /// Cards expire while a show is played in which they may be used.
    CardsExpireWhilePlayed,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 20] = [
        Bug::SettleEarly,
        Bug::LoseDrainedMark,
        Bug::CountTwice,
        Bug::CardTwice,
        Bug::NonceReuse,
        Bug::OptionLeakedInSnapshot,
        Bug::StaleSessionReply,
        Bug::HoleInLane,
        Bug::AcknowledgeUnqueued,
        Bug::LoseCount,
        Bug::ChatMisstamped,
        Bug::EarlyPushUnsealed,
        Bug::MissedSealForgotten,
        Bug::PacketTwice,
        Bug::AcknowledgeEarly,
        Bug::AnswerReplayedTwice,
        Bug::TornTailAccepted,
        Bug::FailedSyncTrusted,
        Bug::OrderDoneTwice,
        Bug::CardsExpireWhilePlayed,
    ];
}

#[cfg(any(test, feature = "sim-bugs"))]
mod planted {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants `bug` in this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub(super) fn active(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(any(test, feature = "sim-bugs"))]
pub use planted::plant;

/// Whether `bug` is planted here.
#[cfg(any(test, feature = "sim-bugs"))]
pub(crate) fn active(bug: Bug) -> bool {
    planted::active(bug)
}

/// Whether `bug` is planted here: never, in what serves anybody.
#[cfg(not(any(test, feature = "sim-bugs")))]
#[inline(always)]
pub(crate) const fn active(_bug: Bug) -> bool {
    false
}
