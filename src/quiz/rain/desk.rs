//! The director's part: the fund, the plans, and who is granted which numbers.
//!
//! Everything that is decided is a [`RainEvent`], and every change follows from one
//! ([`RainDesk::apply`]): so a desk is the same again when its events are read back.

use std::fmt;

use super::{RainError, RainEvent, RainSettings, RainSummary};
use crate::base::ids::{RainIndex, ShardId};
use crate::base::limits::{PRIZE_POOL_CENTS_MAX, RAINS_MAX};
use crate::base::time::Time;
use crate::quiz::money::Cents;

/// Where a rain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RainPhase {
    /// Not begun.
    Planned,
    /// Taps are taken.
    Falling,
    /// Shards count what was grabbed.
    Closing,
    /// Over; what was not grabbed is back in the fund.
    Ended,
}

impl fmt::Display for RainPhase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RainPhase::Planned => "planned",
            RainPhase::Falling => "falling",
            RainPhase::Closing => "closing",
            RainPhase::Ended => "ended",
        })
    }
}

/// A rain as its director sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RainStatus {
    /// Which.
    pub rain: RainIndex,
    /// How it was planned.
    pub settings: RainSettings,
    /// Where it stands.
    pub phase: RainPhase,
    /// Numbers that shards were granted.
    pub granted: u32,
    /// Packets that were grabbed; known when it has ended.
    pub grabbed: u32,
    /// What they were worth.
    pub paid: Cents,
    /// What went back into the fund.
    pub returned: Cents,
}

struct Rain {
    status: RainStatus,
    ends_at: Time,
    summaries: Vec<Option<RainSummary>>,
}

/// The rains of one show, and the money for them.
pub(crate) struct RainDesk {
    shard_count: u16,
    fund: Cents,
    rains: Vec<Rain>,
}

impl RainDesk {
    pub(crate) fn new(shard_count: u16) -> RainDesk {
        RainDesk { shard_count, fund: Cents::ZERO, rains: Vec::new() }
    }

    /// What could still be planned.
    pub(crate) fn fund(&self) -> Cents {
        self.fund
    }

    pub(crate) fn status(&self) -> impl Iterator<Item = RainStatus> {
        self.rains.iter().map(|rain| rain.status)
    }

    /// When the next rain that falls is to end.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.in_phase(RainPhase::Falling).map(|rain| rain.ends_at).min()
    }

    /// Rains that fall and whose time is over.
    pub(crate) fn due(&self, now: Time) -> Vec<RainIndex> {
        let due = self.in_phase(RainPhase::Falling).filter(|rain| rain.ends_at <= now);
        due.map(|rain| rain.status.rain).collect()
    }

    /// Whether a rain falls or is being counted.
    pub(crate) fn is_open(&self) -> bool {
        self.in_phase(RainPhase::Falling).chain(self.in_phase(RainPhase::Closing)).next().is_some()
    }

    /// Whether money can be put into the fund.
    pub(crate) fn may_fund(&self, cents: Cents) -> Result<RainEvent, RainError> {
        let sum = self.fund.checked_add(cents).filter(|sum| sum.0 <= PRIZE_POOL_CENTS_MAX);
        if cents.0 <= 0 || sum.is_none() {
            return Err(RainError::Funding { cents, fund: self.fund });
        }
        Ok(RainEvent::Funded { cents })
    }

    /// The number of the rain that would be planned next.
    pub(crate) fn may_plan(&self, settings: &RainSettings) -> Result<RainIndex, RainError> {
        settings.check()?;
        if settings.pool > self.fund {
            return Err(RainError::NotFunded { fund: self.fund, pool: settings.pool });
        }
        if self.rains.len() == RAINS_MAX {
            return Err(RainError::TooMany);
        }
        Ok(RainIndex(u16::try_from(self.rains.len()).unwrap_or(u16::MAX)))
    }

    /// Whether a rain is in `phase`, from where it is to move on.
    pub(crate) fn must_be(&self, rain: RainIndex, phase: RainPhase) -> Result<(), RainError> {
        let found = self.get(rain).ok_or(RainError::NoSuchRain(rain))?;
        if found.status.phase == phase {
            return Ok(());
        }
        Err(RainError::NotNow { rain, phase: found.status.phase })
    }

    pub(crate) fn settings(&self, rain: RainIndex) -> Option<&RainSettings> {
        self.get(rain).map(|rain| &rain.status.settings)
    }

    /// The next interval for a shard: half of its part of what is left. So the last numbers are
    /// granted one by one, and no shard sits on many while another has none.
    pub(crate) fn grant(&self, rain: RainIndex, shard: ShardId) -> Option<RainEvent> {
        let found = self.get(rain).filter(|rain| rain.status.phase == RainPhase::Falling)?;
        let first = found.status.granted;
        let left = found.status.settings.packets - first;
        if left == 0 {
            return None;
        }
        let count = (left / (2 * u32::from(self.shard_count))).max(1);
        Some(RainEvent::Granted { rain, shard, first, count, left: left - count })
    }

    /// A shard says what was grabbed. When all have said it, the rain has ended.
    ///
    /// # Panics
    /// If more was grabbed than there was: then a cent was created, and nothing may go on.
    pub(crate) fn reported(&mut self, summary: RainSummary) -> Option<RainEvent> {
        let rain = self.rains.get_mut(usize::from(summary.rain.0))?;
        if rain.status.phase != RainPhase::Closing {
            return None;
        }
        rain.summaries[summary.shard.index()] = Some(summary);
        if rain.summaries.iter().any(Option::is_none) {
            return None;
        }
        let (mut grabbed, mut paid) = (0, Cents::ZERO);
        for summary in rain.summaries.iter().flatten() {
            grabbed += summary.packets;
            paid = paid.checked_add(summary.paid).expect("packets are worth at most the pool");
        }
        let RainSettings { pool, packets, .. } = rain.status.settings;
        assert!(grabbed <= rain.status.granted, "more packets were grabbed than granted");
        let whole = grabbed == packets;
        assert!(paid < pool || whole && paid == pool, "packets are worth exactly the pool");
        let returned = Cents(pool.0 - paid.0);
        Some(RainEvent::Ended { rain: summary.rain, grabbed, paid, returned })
    }

    /// The show ends: what was planned and never started returns, and the fund is closed.
    pub(crate) fn closing(&self) -> Vec<RainEvent> {
        let planned = self.in_phase(RainPhase::Planned).map(|rain| rain.status);
        let ended: Vec<RainEvent> = planned
            .map(|status| RainEvent::Ended {
                rain: status.rain,
                grabbed: 0,
                paid: Cents::ZERO,
                returned: status.settings.pool,
            })
            .collect();
        let planned = self.in_phase(RainPhase::Planned).map(|rain| rain.status.settings.pool.0);
        let cents = Cents(self.fund.0 + planned.sum::<i64>());
        let closed = (cents > Cents::ZERO).then_some(RainEvent::FundClosed { cents });
        ended.into_iter().chain(closed).collect()
    }

    /// Does what was decided.
    ///
    /// # Panics
    /// If it could not be decided here: a fault of ours.
    pub(crate) fn apply(&mut self, event: &RainEvent) {
        match event {
            RainEvent::Funded { cents } => self.move_fund(cents.0),
            RainEvent::FundClosed { cents } => self.move_fund(-cents.0),
            RainEvent::Planned { rain, settings, .. } => {
                assert_eq!(usize::from(rain.0), self.rains.len(), "rains are planned in order");
                self.move_fund(-settings.pool.0);
                let status = RainStatus {
                    rain: *rain,
                    settings: *settings,
                    phase: RainPhase::Planned,
                    granted: 0,
                    grabbed: 0,
                    paid: Cents::ZERO,
                    returned: Cents::ZERO,
                };
                let summaries = vec![None; usize::from(self.shard_count)];
                self.rains.push(Rain { status, ends_at: Time::NEVER, summaries });
            }
            RainEvent::Started { rain, ends_at, .. } => {
                let rain = self.rain_mut(*rain);
                (rain.status.phase, rain.ends_at) = (RainPhase::Falling, *ends_at);
            }
            RainEvent::Granted { rain, first, count, .. } => {
                let status = &mut self.rain_mut(*rain).status;
                assert_eq!(*first, status.granted, "grants are disjoint and without gaps");
                status.granted += count;
                assert!(
                    status.granted <= status.settings.packets,
                    "more was granted than there is"
                );
            }
            RainEvent::Closing { rain } => self.rain_mut(*rain).status.phase = RainPhase::Closing,
            RainEvent::Ended { rain, grabbed, paid, returned } => {
                let status = &mut self.rain_mut(*rain).status;
                status.phase = RainPhase::Ended;
                (status.grabbed, status.paid, status.returned) = (*grabbed, *paid, *returned);
                let all = paid.checked_add(*returned);
                assert_eq!(all, Some(status.settings.pool), "a rain creates or loses no cent");
                self.move_fund(returned.0);
            }
        }
    }

    fn move_fund(&mut self, cents: i64) {
        let fund = self.fund.0.checked_add(cents).filter(|fund| *fund >= 0);
        self.fund = Cents(fund.expect("what leaves a fund was in it"));
    }

    fn in_phase(&self, phase: RainPhase) -> impl Iterator<Item = &Rain> {
        self.rains.iter().filter(move |rain| rain.status.phase == phase)
    }

    fn get(&self, rain: RainIndex) -> Option<&Rain> {
        self.rains.get(usize::from(rain.0))
    }

    fn rain_mut(&mut self, rain: RainIndex) -> &mut Rain {
        self.rains.get_mut(usize::from(rain.0)).expect("an event of a rain follows its plan")
    }
}
