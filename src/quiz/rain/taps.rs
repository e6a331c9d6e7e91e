//! A shard's part: the numbers that it was granted, and what its users have won with them.
//!
//! Only wins are remembered. A tap that loses loses again whenever it is repeated, because its draw
//! comes from the seed; one that would win finds a number here, or waits for more of them, or the
//! rain is empty for good.

use std::collections::{BTreeMap, VecDeque};

use super::{Plan, RainEvent, RainSettings, RainSummary};
use crate::base::bugs::{self, Bug};
use crate::base::ids::{RainIndex, ShardId, UserId};
use crate::base::time::Time;
use crate::quiz::money::Cents;

/// What became of a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grab {
    /// A packet, just now: to be recorded before anybody hears of it.
    Won {
        /// Which one.
        number: u32,
        /// What it is worth.
        cents: Cents,
    },
    /// The same tap had won before.
    Repeated {
        /// Which packet.
        number: u32,
        /// What it is worth.
        cents: Cents,
    },
    /// Nothing, and that is final.
    Nothing,
    /// It would win, but this shard has no number left and more are on their way: come again.
    Busy,
    /// It does not count.
    Refused(GrabRefusal),
}

/// Why a tap does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrabRefusal {
    /// No such show, or no such rain in it.
    #[error("there is no such rain")]
    NoSuchRain,
    /// It does not fall yet.
    #[error("the rain has not started")]
    NotStarted,
    /// Too many taps.
    #[error("only so many taps of a user count; they are numbered from 0")]
    NoSuchSlot,
    /// The user was never in the show's room.
    #[error("join the show's room first")]
    NotJoined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Planned,
    Falling,
    Closing,
    Ended,
}

struct LocalRain {
    plan: Plan,
    phase: Phase,
    ends_at: Time,
    /// Numbers that may be handed out here: first and end of each interval.
    granted: VecDeque<(u32, u32)>,
    /// More numbers are asked for when so few are left.
    low: u32,
    is_asked: bool,
    /// The director has none left.
    is_dry: bool,
    wins: BTreeMap<(UserId, u8), (u32, Cents)>,
    paid: Cents,
}

/// The rains of one show on one shard.
#[derive(Default)]
pub(crate) struct RainTaps {
    rains: BTreeMap<RainIndex, LocalRain>,
    /// Packets that each user has won in this show.
    won: BTreeMap<UserId, u16>,
}

impl RainTaps {
    /// Does what the director decided, on `me`.
    ///
    /// # Panics
    /// If it speaks of a rain that was not planned: events come in order.
    pub(crate) fn apply(&mut self, event: &RainEvent, me: ShardId) {
        match event {
            RainEvent::Funded { .. } | RainEvent::FundClosed { .. } => {}
            RainEvent::Planned { rain, settings, seed } => {
                let local = LocalRain {
                    plan: Plan::new(*settings, seed),
                    phase: Phase::Planned,
                    ends_at: Time::NEVER,
                    granted: VecDeque::new(),
                    low: 0,
                    is_asked: false,
                    is_dry: false,
                    wins: BTreeMap::new(),
                    paid: Cents::ZERO,
                };
                self.rains.insert(*rain, local);
            }
            RainEvent::Started { rain, ends_at, .. } => {
                let local = self.rain_mut(*rain);
                (local.phase, local.ends_at) = (Phase::Falling, *ends_at);
            }
            RainEvent::Granted { rain, shard, first, count, left } => {
                let local = self.rain_mut(*rain);
                local.is_dry |= *left == 0;
                if *shard == me {
                    local.granted.push_back((*first, first + count));
                    local.low = count / 2;
                    local.is_asked = false;
                }
            }
            RainEvent::Closing { rain } => self.rain_mut(*rain).stop(Phase::Closing),
            RainEvent::Ended { rain, .. } => self.rain_mut(*rain).stop(Phase::Ended),
        }
    }

    /// A user taps.
    pub(crate) fn grab(&mut self, user: UserId, rain: RainIndex, slot: u8) -> Grab {
        let Some(local) = self.rains.get_mut(&rain) else {
            return Grab::Refused(GrabRefusal::NoSuchRain);
        };
        if slot >= local.plan.settings().taps_max {
            return Grab::Refused(GrabRefusal::NoSuchSlot);
        }
        if let Some((number, cents)) = local.wins.get(&(user, slot)).copied() {
            return Grab::Repeated { number, cents };
        }
        if local.phase == Phase::Planned {
            return Grab::Refused(GrabRefusal::NotStarted);
        }
        let most = local.plan.settings().show_packets_max;
        let is_full = most > 0 && self.won.get(&user).is_some_and(|won| *won >= most);
        if is_full || !local.plan.wins(user, slot) || local.phase != Phase::Falling {
            return Grab::Nothing;
        }
        match local.take() {
            Some(number) => {
                let cents = local.plan.amount(number);
                self.enter(user, rain, slot, number, cents);
                Grab::Won { number, cents }
            }
            None if local.is_dry => Grab::Nothing,
            None => Grab::Busy,
        }
    }

    /// A win is read back from its record. False if it does not follow from the plan: then the
    /// record is not of this show.
    pub(crate) fn grab_again(
        &mut self,
        user: UserId,
        rain: RainIndex,
        slot: u8,
        number: u32,
        cents: Cents,
    ) -> bool {
        let Some(local) = self.rains.get(&rain) else { return false };
        let settings = local.plan.settings();
        let follows = local.phase == Phase::Falling
            && slot < settings.taps_max
            && number < settings.packets
            && !local.wins.contains_key(&(user, slot))
            && local.plan.wins(user, slot)
            && local.plan.amount(number) == cents;
        if follows {
            self.enter(user, rain, slot, number, cents);
        }
        follows
    }

    /// After records were read back: which of the granted numbers were left is not known any more,
    /// so none is handed out. They return at the end.
    pub(crate) fn drop_grants(&mut self) {
        for local in self.rains.values_mut() {
            (local.granted, local.low, local.is_asked) = (VecDeque::new(), 0, false);
        }
    }

    /// True if the director is to be asked for more numbers; asked once until they come.
    pub(crate) fn must_ask(&mut self, rain: RainIndex) -> bool {
        let Some(local) = self.rains.get_mut(&rain) else { return false };
        let falls = local.phase == Phase::Falling;
        let asks = falls && !local.is_dry && !local.is_asked && local.left() <= local.low;
        local.is_asked |= asks;
        asks
    }

    /// What was grabbed here of a rain that falls no longer.
    pub(crate) fn summary(&self, rain: RainIndex, shard: ShardId) -> Option<RainSummary> {
        let local = self.rains.get(&rain).filter(|local| local.phase == Phase::Closing)?;
        let packets = u32::try_from(local.wins.len()).unwrap_or(u32::MAX);
        Some(RainSummary { shard, rain, packets, paid: local.paid })
    }

    /// The summaries of all rains that are closing.
    pub(crate) fn to_report(&self, shard: ShardId) -> Vec<RainSummary> {
        self.rains.keys().filter_map(|rain| self.summary(*rain, shard)).collect()
    }

    /// A user's packets.
    pub(crate) fn wins_of(
        &self,
        user: UserId,
    ) -> impl Iterator<Item = (RainIndex, u8, u32, Cents)> {
        self.rains.iter().flat_map(move |(rain, local)| {
            let wins = local.wins.range((user, 0)..=(user, u8::MAX));
            wins.map(|((_, slot), (number, cents))| (*rain, *slot, *number, *cents))
        })
    }

    /// Takes in one of those that [`RainTaps::wins_of`] named, whose balance has it already. False
    /// if the rain is not known.
    pub(crate) fn adopt(
        &mut self,
        user: UserId,
        rain: RainIndex,
        slot: u8,
        number: u32,
        cents: Cents,
    ) -> bool {
        let is_known = self.rains.contains_key(&rain);
        if is_known {
            self.enter(user, rain, slot, number, cents);
        }
        is_known
    }

    /// The rains that fall, and when each ends.
    pub(crate) fn falling(&self) -> impl Iterator<Item = (RainIndex, &RainSettings, Time)> {
        let falling = self.rains.iter().filter(|(_, local)| local.phase == Phase::Falling);
        falling.map(|(rain, local)| (*rain, local.plan.settings(), local.ends_at))
    }

    /// The settings of a rain.
    pub(crate) fn settings(&self, rain: RainIndex) -> Option<&RainSettings> {
        self.rains.get(&rain).map(|local| local.plan.settings())
    }

    fn enter(&mut self, user: UserId, rain: RainIndex, slot: u8, number: u32, cents: Cents) {
        let local = self.rain_mut(rain);
        local.wins.insert((user, slot), (number, cents));
        local.paid = local.paid.checked_add(cents).expect("packets are worth at most the pool");
        *self.won.entry(user).or_default() += 1;
    }

    fn rain_mut(&mut self, rain: RainIndex) -> &mut LocalRain {
        self.rains.get_mut(&rain).expect("an event of a rain follows its plan")
    }
}

impl LocalRain {
    /// No more numbers are handed out.
    fn stop(&mut self, phase: Phase) {
        (self.phase, self.granted) = (phase, VecDeque::new());
    }

    fn left(&self) -> u32 {
        self.granted.iter().map(|(first, end)| end - first).sum()
    }

    fn take(&mut self) -> Option<u32> {
        let (first, end) = self.granted.front_mut()?;
        let number = *first;
        *first += u32::from(!bugs::active(Bug::PacketTwice));
        if first == end {
            self.granted.pop_front();
        }
        Some(number)
    }
}
