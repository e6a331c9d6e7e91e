//! Red-packet rain: money that falls for everybody who watches, also for those who are out.
//!
//! A rain is *planned* with a seed from which every amount and every draw follows, so a shard, a
//! replay and an outsider compute the same. When it *starts*, the director grants the shards
//! disjoint intervals of packet numbers, ever shorter ones; a shard hands the numbers it was granted
//! to taps that win, and never gives one to another shard. When it *closes*, shards report what was
//! grabbed; everything else returns to the fund of the show.
//!
//! Invariants:
//! - `paid + returned = pool`, and no number is handed out twice: each belongs to one grant, and a
//!   grant is durable before it leaves.
//! - A tap names its slot, and a slot has one outcome: whether it wins is drawn from the seed, and
//!   a win is on record in the user's bucket. So repeats need no memory of those who lost.
//! - After a crash nobody knows which of the granted numbers were left: what no record holds
//!   returns with the rest at the end.
//!
//! Absent: who may tap how fast (the shard layer), and accounts (the ledger's).

mod desk;
mod plan;
mod taps;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use desk::RainDesk;
pub use desk::{RainPhase, RainStatus};
pub use plan::Plan;
pub(crate) use taps::RainTaps;
pub use taps::{Grab, GrabRefusal};

use crate::base::ids::{RainIndex, ShardId};
use crate::base::limits::{
    PRIZE_POOL_CENTS_MAX, RAIN_DURATION_MAX_S, RAIN_GRABS_PER_S_MAX, RAIN_PACKETS_MAX,
    RAIN_TAPS_DEFAULT, RAIN_TAPS_MAX, RAINS_MAX,
};
use crate::base::time::Time;
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::seal::SecretKey;

/// The whole of what a probability is a part of: [`RainSettings::win_per_10000`].
pub const CERTAIN: u16 = 10_000;
/// How often a second people tap.
const TAPS_PER_S: u64 = 5;
/// Taps that are let through for each packet and each tap that it takes on average to win one: more
/// would only find the rain empty.
const TAPS_MARGIN: u64 = 4;
/// A rain of few packets takes so many taps a second all the same.
const GRABS_PER_S_MIN: u64 = 1_000;

/// How a rain is to fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RainSettings {
    /// What all packets are worth together.
    pub pool: Cents,
    /// How many packets there are; each is worth a cent at least.
    pub packets: u32,
    /// How many of ten thousand taps win, as long as there are packets.
    pub win_per_10000: u16,
    /// Taps of one user that count.
    pub taps_max: u8,
    /// Whoever has won so many packets in this show wins none of this rain; 0: no such limit.
    pub show_packets_max: u16,
    /// How long it falls.
    pub duration: Duration,
}

impl RainSettings {
    /// A rain with the usual rules.
    #[must_use]
    pub fn new(pool: Cents, packets: u32, duration: Duration) -> RainSettings {
        let (win_per_10000, taps_max) = (CERTAIN / 2, RAIN_TAPS_DEFAULT);
        RainSettings { pool, packets, win_per_10000, taps_max, show_packets_max: 0, duration }
    }

    /// Whether such a rain can fall.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn check(&self) -> Result<(), RainError> {
        let RainSettings { pool, packets, win_per_10000, taps_max, duration, .. } = *self;
        if !(1..=RAIN_PACKETS_MAX).contains(&packets) {
            return Err(RainError::Packets { packets });
        }
        if !(0..=PRIZE_POOL_CENTS_MAX).contains(&pool.0) {
            return Err(RainError::Pool { pool });
        }
        if pool.0 < i64::from(packets) {
            return Err(RainError::LessThanACentEach { pool, packets });
        }
        if !(1..=CERTAIN).contains(&win_per_10000) {
            return Err(RainError::Probability { win_per_10000 });
        }
        if !(1..=RAIN_TAPS_MAX).contains(&taps_max) {
            return Err(RainError::Taps { taps_max });
        }
        if duration.is_zero() || duration > Duration::from_secs(RAIN_DURATION_MAX_S) {
            return Err(RainError::Duration { duration });
        }
        Ok(())
    }

    /// Taps a second that all shards together let through.
    #[must_use]
    pub fn grabs_per_s(&self) -> u32 {
        let seconds = self.duration.as_secs().max(1);
        let useful = u64::from(self.packets) * u64::from(CERTAIN) / u64::from(self.win_per_10000);
        let wanted = (useful * TAPS_MARGIN / seconds).max(GRABS_PER_S_MIN);
        u32::try_from(wanted).unwrap_or(u32::MAX).min(RAIN_GRABS_PER_S_MAX)
    }

    /// Of a million taps of their users, how many clients should send so that about
    /// [`RainSettings::grabs_per_s`] reach the gateway while `online` watch.
    #[must_use]
    pub fn send_per_million(&self, online: u64) -> u32 {
        let taps = online.saturating_mul(TAPS_PER_S).max(1);
        let share = u64::from(self.grabs_per_s()) * 1_000_000 / taps;
        u32::try_from(share.clamp(1, 1_000_000)).unwrap_or(1_000_000)
    }
}

/// What a director decides about rains: a part of its numbered events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RainEvent {
    /// Money for rains came into the show's fund.
    Funded {
        /// How much.
        cents: Cents,
    },
    /// A rain is planned; its pool leaves the fund.
    Planned {
        /// Which.
        rain: RainIndex,
        /// How it is to fall.
        settings: RainSettings,
        /// Everything about it is drawn from this.
        seed: SecretKey,
    },
    /// It falls.
    Started {
        /// Which.
        rain: RainIndex,
        /// From when on; the operator's command.
        starts_at: Time,
        /// Until when, at most.
        ends_at: Time,
    },
    /// A shard may hand out an interval of numbers.
    Granted {
        /// Of which rain.
        rain: RainIndex,
        /// To which shard.
        shard: ShardId,
        /// The first number.
        first: u32,
        /// How many.
        count: u32,
        /// How many numbers the director has left.
        left: u32,
    },
    /// It falls no longer: shards report.
    Closing {
        /// Which.
        rain: RainIndex,
    },
    /// It is over, or was never started and its show ends. `paid + returned` is its pool.
    Ended {
        /// Which.
        rain: RainIndex,
        /// Packets that were grabbed.
        grabbed: u32,
        /// What they were worth.
        paid: Cents,
        /// What goes back into the fund.
        returned: Cents,
    },
    /// The show ends: what its fund still has goes to the show's remainder account.
    FundClosed {
        /// How much.
        cents: Cents,
    },
}

/// What an operator can order about rains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RainCommand {
    /// Put money into the fund.
    Fund(Cents),
    /// Plan a rain, paid from the fund.
    Plan(RainSettings),
    /// Let a planned rain fall.
    Start(RainIndex),
    /// End one that falls.
    End(RainIndex),
}

/// What a shard's users grabbed of a rain that has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RainSummary {
    /// Whose.
    pub shard: ShardId,
    /// Of which rain.
    pub rain: RainIndex,
    /// How many packets.
    pub packets: u32,
    /// What they were worth.
    pub paid: Cents,
}

/// Why an order about a rain was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RainError {
    /// Too few packets, or too many.
    #[error("a rain has 1 to {RAIN_PACKETS_MAX} packets, not {packets}")]
    Packets {
        /// How many.
        packets: u32,
    },
    /// A negative or too large pool.
    #[error("a rain's pool is 0 to {PRIZE_POOL_CENTS_MAX} cents, not {pool}")]
    Pool {
        /// How much.
        pool: Cents,
    },
    /// More packets than cents.
    #[error("{pool} cents are less than a cent for each of {packets} packets: plan fewer packets")]
    LessThanACentEach {
        /// How much.
        pool: Cents,
        /// How many.
        packets: u32,
    },
    /// An impossible probability.
    #[error("1 to {CERTAIN} of {CERTAIN} taps win, not {win_per_10000}")]
    Probability {
        /// What was given.
        win_per_10000: u16,
    },
    /// An impossible number of taps.
    #[error("1 to {RAIN_TAPS_MAX} taps of a user count, not {taps_max}")]
    Taps {
        /// What was given.
        taps_max: u8,
    },
    /// No time, or too much.
    #[error("a rain falls for up to {RAIN_DURATION_MAX_S} s, not {duration:?}")]
    Duration {
        /// What was given.
        duration: Duration,
    },
    /// No money, or too much.
    #[error(
        "{cents} cents cannot be put into a fund that has {fund}: 1 cent to {PRIZE_POOL_CENTS_MAX} in all"
    )]
    Funding {
        /// How much.
        cents: Cents,
        /// What there is.
        fund: Cents,
    },
    /// The fund does not suffice.
    #[error("the show's fund has {fund} cents, the rain needs {pool}: fund it first")]
    NotFunded {
        /// What there is.
        fund: Cents,
        /// What is needed.
        pool: Cents,
    },
    /// Too many rains.
    #[error("a show has at most {RAINS_MAX} rains")]
    TooMany,
    /// There is no such rain.
    #[error("the show has no rain {0}; rains are counted from 0")]
    NoSuchRain(RainIndex),
    /// It is not where this would be possible.
    #[error(
        "rain {rain} is {phase}: only a planned one can start, and only one that falls can end"
    )]
    NotNow {
        /// Which.
        rain: RainIndex,
        /// Where it stands.
        phase: RainPhase,
    },
    /// The show is not where rains are possible.
    #[error(
        "the show is {0}: rains fall from the lobby on and until the show is cancelled or ends"
    )]
    ShowPhase(Phase),
}

/// Whether a rain may start while a show is in this phase.
pub(crate) const fn may_fall(phase: Phase) -> bool {
    !matches!(phase, Phase::Announced | Phase::Cancelled | Phase::Ended)
}
