//! The end of a show: freezing, the split, the check that every cent was paid.

use super::{CommandError, Director, Notice};
use crate::base::ids::BucketId;
use crate::base::time::Time;
use crate::quiz::event::{Settlement, ShowEvent};
use crate::quiz::money::{Cents, split};
use crate::quiz::phase::Phase;
use crate::quiz::report::{FreezeSummary, FrozenBucket, PayoutSummary, game_hash};

impl Director {
    pub(super) fn may_settle(&self) -> Result<(), CommandError> {
        self.next_question().map_or(Ok(()), |next| Err(CommandError::QuestionsLeft { next }))
    }

    pub(super) fn may_end(&self, now: Time) -> Result<(), CommandError> {
        if now < self.tickets_until {
            return Err(CommandError::TicketsOut { until: self.tickets_until });
        }
        if self.phase == Phase::Settled && self.paid.iter().any(Option::is_none) {
            return Err(CommandError::NotPaidOut);
        }
        Ok(())
    }

    /// A shard's buckets are frozen. When all are, the prize is split.
    ///
    /// # Panics
    /// If the shards together do not report every bucket exactly once.
    pub fn frozen(&mut self, now: Time, summary: FreezeSummary) {
        if self.phase != Phase::Settling {
            return;
        }
        let place = summary.shard.index();
        self.frozen[place] = Some(summary);
        if self.frozen.iter().any(Option::is_none) {
            return;
        }
        let mut buckets: Vec<FrozenBucket> =
            self.frozen.iter().flatten().flat_map(|summary| &summary.buckets).copied().collect();
        buckets.sort_unstable_by_key(|frozen| frozen.bucket);
        assert!(
            buckets.iter().map(|frozen| frozen.bucket).eq((0..self.bucket_count).map(BucketId)),
            "every bucket is frozen exactly once"
        );
        let winners = buckets.iter().map(|frozen| frozen.winners).sum();
        let pool = self.definition.prize_pool;
        let shares = split(pool, winners);
        let settlement = Settlement {
            winners,
            pool,
            per_head: shares.per_head,
            remainder: shares.remainder,
            game_hash: game_hash(buckets.iter().map(|frozen| &frozen.digest)),
        };
        self.settlement = Some(settlement);
        self.emit(now, ShowEvent::Settled(settlement));
    }

    /// A shard has paid its winners. When all have, the sum is checked.
    ///
    /// # Panics
    /// If payouts + remainder is not the pool: then a cent was created or lost, and nothing may
    /// go on.
    pub fn paid(&mut self, summary: PayoutSummary) {
        let Some(settlement) = self.settlement.filter(|_| self.phase == Phase::Settled) else {
            return;
        };
        let complete = |paid: &[Option<PayoutSummary>]| paid.iter().all(Option::is_some);
        let before = complete(&self.paid);
        self.paid[summary.shard.index()] = Some(summary);
        if before || !complete(&self.paid) {
            return;
        }
        let mut paid = Cents::ZERO;
        let mut winners = 0;
        for summary in self.paid.iter().flatten() {
            paid = paid.checked_add(summary.paid).expect("payouts are at most the pool");
            winners += summary.winners;
        }
        let remainder = settlement.remainder;
        assert_eq!(winners, settlement.winners, "exactly the winners are paid");
        assert_eq!(
            paid.checked_add(remainder),
            Some(settlement.pool),
            "payouts and remainder are the pool"
        );
        self.notices.push(Notice::PaidOut { paid, remainder });
    }
}
