//! What follows from a rain's seed: the amount of every packet, and which taps win.
//!
//! Amounts are not kept in a table: a million packets would be eight megabytes on every shard. They
//! are the leaves of a tree. Its root has the whole pool; each node shares what it has between its
//! two halves, by a draw of its own. So a leaf is found in twenty draws, and the sum is exact
//! because it is at every node. What a packet is worth varies like this from some cents to four
//! times the average; numbers are permuted, because neighbours in the tree share a fate.

use sha2::{Digest, Sha256};

use super::{CERTAIN, RainSettings};
use crate::base::entropy::{Entropy, KeyedDraw};
use crate::base::ids::UserId;
use crate::quiz::money::Cents;
use crate::quiz::seal::SecretKey;

/// Rounds of the permutation; four make it as good as any (Luby and Rackoff).
const ROUNDS: u64 = 4;

/// A rain's amounts and draws.
#[derive(Clone)]
pub struct Plan {
    settings: RainSettings,
    amounts: [u8; 32],
    order: [u8; 32],
    taps: [u8; 32],
}

impl Plan {
    /// What follows from a seed.
    ///
    /// # Panics
    /// If the settings were not checked.
    #[must_use]
    pub fn new(settings: RainSettings, seed: &SecretKey) -> Plan {
        assert_eq!(settings.check(), Ok(()), "settings are checked before a rain is planned");
        let key = |purpose: &str| -> [u8; 32] {
            let mut hash = Sha256::new();
            hash.update(seed.expose());
            hash.update(purpose.as_bytes());
            hash.finalize().into()
        };
        Plan { settings, amounts: key("amounts"), order: key("order"), taps: key("taps") }
    }

    /// How the rain is to fall.
    #[must_use]
    pub fn settings(&self) -> &RainSettings {
        &self.settings
    }

    /// What a packet is worth: a cent at least.
    ///
    /// # Panics
    /// If there is no such number.
    #[must_use]
    pub fn amount(&self, number: u32) -> Cents {
        let leaf = self.leaf(number);
        let (mut first, mut end) = (0, self.settings.packets);
        // Beyond the cent that each has for certain.
        let mut extra = u64::try_from(self.settings.pool.0).unwrap_or(0) - u64::from(end);
        while end - first > 1 {
            let middle = first + (end - first) / 2;
            let left = self.left_share(first, middle, end, extra);
            if leaf < middle {
                (end, extra) = (middle, left);
            } else {
                (first, extra) = (middle, extra - left);
            }
        }
        Cents(i64::try_from(extra).unwrap_or(i64::MAX - 1) + 1)
    }

    /// Whether a user's tap wins, if there is a packet.
    #[must_use]
    pub fn wins(&self, user: UserId, slot: u8) -> bool {
        let mut draw = KeyedDraw::new(&self.taps, user.0, u32::from(slot));
        draw.below(u64::from(CERTAIN)) < u64::from(self.settings.win_per_10000)
    }

    /// What the packets `first..middle` get of `extra`, which those up to `end` share: on average
    /// their part. Half of two packets may get anything; the more they are, the less it varies.
    fn left_share(&self, first: u32, middle: u32, end: u32, extra: u64) -> u64 {
        let node = u64::from(first) << 32 | u64::from(end);
        let mut draw = KeyedDraw::new(&self.amounts, node, 0);
        let count = u64::from(end - first);
        let part = u128::from(extra) * u128::from(middle - first);
        let rest = u64::try_from(part % u128::from(count)).unwrap_or(0);
        // Rounded up as often as it should be, or odd cents would gather at one end.
        let average = u64::try_from(part / u128::from(count)).unwrap_or(extra)
            + u64::from(draw.below(count) < rest);
        let width = (2 * average.min(extra - average)).min(extra / count.isqrt());
        average - width / 2 + draw.below(width + 1)
    }

    /// Where a number's leaf is: a permutation of all numbers.
    fn leaf(&self, number: u32) -> u32 {
        let packets = self.settings.packets;
        assert!(number < packets, "there is no packet {number}");
        let half_bits = (u32::BITS - (packets - 1).leading_zeros()).div_ceil(2);
        // What falls beyond the numbers is permuted again: it comes back before it comes round.
        let mut place = self.shuffle(number, half_bits);
        while place >= packets {
            place = self.shuffle(place, half_bits);
        }
        place
    }

    /// A permutation of all numbers of twice `half_bits` bits.
    fn shuffle(&self, number: u32, half_bits: u32) -> u32 {
        let mask = (1_u32 << half_bits) - 1;
        let (mut left, mut right) = (number >> half_bits, number & mask);
        for round in 0..ROUNDS {
            let mut drawn = [0; 4];
            KeyedDraw::new(&self.order, round, right).fill(&mut drawn);
            (left, right) = (right, left ^ u32::from_le_bytes(drawn) & mask);
        }
        left << half_bits | right
    }
}
