//! What concerns all players of a shard, bucket by bucket: settling silence, judging again,
//! freezing, paying.
//!
//! A slice takes so many players, across buckets or within one; only freezing, whose digest wants
//! the users of a bucket in order, takes whole buckets. The shard layer asks for slices between
//! other work; a piece of work that is complete yields its report exactly once.

use std::ops::Range;

use super::{Current, OpenQuestion, ShowReplica, eligibility, follows, u16_of};
use crate::base::ids::{BucketId, QuestionIndex, UserId};
use crate::quiz::judge::{Eligibility, Merits, assess, judge_silence};
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::player::Player;
use crate::quiz::report::{
    BucketDigest, ClosedSummary, FreezeSummary, FrozenBucket, PayoutSummary, Report,
};
use crate::quiz::seal::SealedResult;
use crate::quiz::users::{UserPlace, Users};
use crate::quiz::verdict::{Failing, Verdict};

/// A result for a player who did not ask: silence, a late answer, or a revised verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayerResult {
    /// Whose.
    pub user: UserId,
    /// Which question.
    pub question: QuestionIndex,
    /// To be pushed to the session that exists, if one does.
    pub sealed: SealedResult,
}

/// What a slice did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceProgress {
    /// Results to push.
    pub results: Vec<PlayerResult>,
    /// The work is complete: to be posted to the director.
    pub report: Option<Report>,
    /// There is more to do now. False also while the barrier is not passed.
    pub more: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Silence,
    Rejudge,
    Freeze,
    Pay,
}

/// A walk over all buckets.
pub(super) struct Work {
    task: Task,
    /// The bucket to take next, by its place.
    next: usize,
    /// The player of that bucket to take next.
    next_player: usize,
    frozen: Vec<FrozenBucket>,
    winners: u64,
    paid: Cents,
}

impl Work {
    fn new(task: Task) -> Work {
        let frozen = Vec::new();
        Work { task, next: 0, next_player: 0, frozen, winners: 0, paid: Cents::ZERO }
    }

    pub(super) fn silence() -> Work {
        Work::new(Task::Silence)
    }

    pub(super) fn rejudge() -> Work {
        Work::new(Task::Rejudge)
    }

    pub(super) fn freeze() -> Work {
        Work::new(Task::Freeze)
    }

    pub(super) fn pay() -> Work {
        Work::new(Task::Pay)
    }
}

impl ShowReplica {
    /// Whether [`ShowReplica::settle_slice`] would do something now.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.work
            .as_ref()
            .is_some_and(|work| work.task != Task::Silence || self.barrier_is_passed())
    }

    /// Works on the next `players_max` players, or, freezing, on whole buckets until so many are
    /// done. Does nothing while the closing barrier is not passed.
    pub fn settle_slice(&mut self, players_max: usize, users: &mut Users) -> SliceProgress {
        let mut progress = SliceProgress::default();
        if !self.has_work() {
            return progress;
        }
        let Some(mut work) = self.work.take() else { return progress };
        let mut left = players_max.max(1);
        while work.next < self.roster.bucket_count() && left > 0 {
            let bucket = work.next;
            let count = self.roster.count(bucket);
            let start = work.next_player;
            let end = if work.task == Task::Freeze { count } else { count.min(start + left) };
            let players = start..end;
            left = left.saturating_sub(players.len());
            match work.task {
                Task::Silence => self.settle_silence(bucket, players, users, &mut progress.results),
                Task::Rejudge => self.rejudge(bucket, players, users, &mut progress.results),
                Task::Freeze => work.frozen.push(self.freeze(bucket, users)),
                Task::Pay => self.pay(bucket, players, users, &mut work),
            }
            (work.next, work.next_player) =
                if end < count { (bucket, end) } else { (bucket + 1, 0) };
        }
        if work.next == self.roster.bucket_count() {
            progress.report = Some(self.report(work));
        } else {
            self.work = Some(work);
            progress.more = true;
        }
        progress
    }

    /// Whether silence in the bucket at `place` is settled at the current question, or begun to be.
    pub(super) fn bucket_is_settled(&self, place: usize) -> bool {
        let reached = |work: &Work| (place, 0) < (work.next, work.next_player);
        self.phase == Phase::Closing && self.work.as_ref().is_none_or(reached)
    }

    fn report(&self, work: Work) -> Report {
        let shard = self.shard;
        match work.task {
            Task::Silence | Task::Rejudge => {
                let current = self.current.as_ref().expect("this work is about a question");
                Report::Closed(ClosedSummary {
                    shard,
                    question: current.shown.question,
                    revision: current.revision,
                    in_play: self.in_play(),
                    counts: current.counts,
                })
            }
            Task::Freeze => Report::Frozen(FreezeSummary { shard, buckets: work.frozen }),
            Task::Pay => {
                let (winners, paid) = (work.winners, work.paid);
                Report::Paid(PayoutSummary { shard, winners, paid })
            }
        }
    }

    /// Gives a verdict to everybody among some players of a bucket who has none.
    fn settle_silence(
        &mut self,
        bucket: usize,
        players: Range<usize>,
        users: &mut Users,
        results: &mut Vec<PlayerResult>,
    ) {
        let current = self.current_mut();
        let opened_at = current.opened_at;
        let OpenQuestion { question, show_by, answer_by, .. } = current.shown;
        for index in players {
            let player = self.roster.at_mut(bucket, index);
            let place = UserPlace { bucket, slot: player.slot };
            player.turn_to(question, users.entry_mut(place));
            player.note_offer(opened_at, answer_by);
            if player.verdict().is_some()
                || eligibility(&self.voided, player) != Eligibility::InPlay
            {
                continue;
            }
            let is_next = follows(&self.voided, player, question);
            assert!(is_next, "who is in play has passed the one before");
            let current = self.current.as_mut().expect("this work is about a question");
            let entry = users.entry_mut(place);
            if player.option().is_some() {
                current.judge_recorded(player, entry);
            } else {
                let card = current.card_facts(player, entry.cards > 0);
                let verdict = judge_silence(player.offered(show_by).is_some(), &card);
                current.enter_verdict(player, verdict, entry);
            }
            self.push_result(place, index, users, results);
        }
    }

    /// Judges again, among some players of a bucket, everybody who answered in time; all else does
    /// not depend on which option is correct.
    fn rejudge(
        &mut self,
        bucket: usize,
        players: Range<usize>,
        users: &mut Users,
        results: &mut Vec<PlayerResult>,
    ) {
        for index in players {
            let player = self.roster.at_mut(bucket, index);
            let place = UserPlace { bucket, slot: player.slot };
            let (Some(before), Some(option)) = (player.verdict(), player.option()) else {
                continue;
            };
            if !matches!(before.failing(), None | Some(Failing::Wrong)) {
                continue;
            }
            let entry = users.entry_mut(place);
            let returned = u8::from(before.uses_card());
            // Only a card that was held when the answer was judged, and is still there.
            let held = player.held_card() && entry.cards + returned > 0;
            let current = self.current.as_mut().expect("this work is about a question");
            let correct = option == current.correct;
            let card = current.card_facts(player, held);
            let after = assess(&Merits { in_time: true, correct, card });
            // An unchanged verdict keeps its record to the byte: its nonce is used.
            if after != before {
                entry.cards += returned;
                current.retract_verdict(player, before);
                current.enter_verdict(player, after, entry);
                player.revision += 1;
                self.push_result(place, index, users, results);
            }
        }
    }

    /// Makes the last question of a bucket history and hashes what became of everybody.
    fn freeze(&mut self, bucket: usize, users: &mut Users) -> FrozenBucket {
        let mut order = Vec::with_capacity(self.roster.count(bucket));
        for index in 0..self.roster.count(bucket) {
            let player = self.roster.at_mut(bucket, index);
            let entry = users.entry_mut(UserPlace { bucket, slot: player.slot });
            player.freeze(entry);
            order.push((entry.user, index));
        }
        order.sort_unstable();
        let mut digest = BucketDigest::new();
        let mut winners = 0;
        for (user, index) in order {
            let player = self.roster.at(bucket, index);
            winners += u64::from(self.is_winner(player));
            if self.eligibility(player) == Eligibility::Spectator {
                continue;
            }
            for (place, voided) in self.voided.iter().enumerate() {
                let question = QuestionIndex(u16_of(place));
                if let Some(verdict) = player.verdict_at(question).filter(|_| !voided) {
                    digest.add(user, question, verdict);
                }
            }
        }
        let id = users.buckets()[bucket];
        FrozenBucket { bucket: BucketId(id.0), winners, digest: digest.finish() }
    }

    /// Pays the winners among some players of a bucket, each once.
    fn pay(&mut self, bucket: usize, players: Range<usize>, users: &mut Users, work: &mut Work) {
        let per_head = self.settlement.as_ref().expect("the prize is split").per_head;
        for index in players {
            let player = self.roster.at(bucket, index);
            if !self.is_winner(player) || player.is_paid() {
                continue;
            }
            let player = self.roster.at_mut(bucket, index);
            player.set_paid();
            let entry = users.entry_mut(UserPlace { bucket, slot: player.slot });
            // A pool is at most `PRIZE_POOL_CENTS_MAX`: nobody wins that often.
            entry.balance = entry.balance.checked_add(per_head).expect("a balance fits in 64 bits");
            work.paid = work.paid.checked_add(per_head).expect("payouts are at most the pool");
            work.winners += 1;
        }
    }

    /// Whether a player, whose record is frozen, passed every question that counts, and at least
    /// one did.
    pub(super) fn is_winner(&self, player: &Player) -> bool {
        let winner = self.eligibility(player) == Eligibility::InPlay && player.passed > 0;
        if winner {
            let next = QuestionIndex(u16_of(self.voided.len()));
            assert!(self.follows(player, next), "a winner passed the last question that counts");
        }
        winner
    }

    fn push_result(
        &self,
        place: UserPlace,
        index: usize,
        users: &Users,
        results: &mut Vec<PlayerResult>,
    ) {
        let player = self.roster.at(place.bucket, index);
        let user = users.entry(place).user;
        let current = self.current.as_ref().expect("this work is about a question");
        let sealed = current.sealed(user, player).expect("a verdict was just entered");
        results.push(PlayerResult { user, question: current.shown.question, sealed });
    }
}

impl Current {
    fn retract_verdict(&mut self, player: &mut Player, verdict: Verdict) {
        let new_record = player.is_new_record();
        player.clear_verdict();
        self.counts.retract_verdict(verdict);
        self.counts.new_records -= u64::from(new_record);
    }
}
