//! What concerns all players of a shard, bucket by bucket: settling silence, judging again,
//! freezing, paying.
//!
//! A slice takes so many players, across buckets or within one; only freezing, whose digest wants
//! the users of a bucket in order, takes whole buckets. The shard layer asks for slices between
//! other work; a piece of work that is complete yields its report exactly once.

use std::ops::Range;

use super::{Current, OpenQuestion, ShowReplica, eligibility, follows, u16_of};
use crate::base::ids::{BucketId, QuestionIndex, UserId};
use crate::base::time::Time;
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

/// How far a piece of work has come in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkStep {
    /// Which bucket.
    pub bucket: BucketId,
    /// So many of its players are done, in the order in which they joined.
    pub until: u32,
}

/// Winners of a bucket who were paid, each the same. A slice that is done again says the same again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prizes {
    /// Which bucket.
    pub bucket: BucketId,
    /// What each of them got; may be nothing.
    pub per_head: Cents,
    /// When the prize was split.
    pub at: Time,
    /// Who.
    pub users: Vec<UserId>,
}

/// Cards that players of a bucket used in a show of which nothing can be undone any more. It may be said
/// again, and then says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedCards {
    /// Which bucket.
    pub bucket: BucketId,
    /// Since when nothing can be undone.
    pub at: Time,
    /// Who, and at which question.
    pub uses: Vec<(UserId, QuestionIndex)>,
}

/// Cards that one [`UsedCards`] holds: it becomes one record, whose size has a limit.
const USED_CARDS_MAX: usize = 4_096;

/// What a slice did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceProgress {
    /// How far it came, by bucket.
    pub steps: Vec<WorkStep>,
    /// Results to push.
    pub results: Vec<PlayerResult>,
    /// Who was paid.
    pub prizes: Vec<Prizes>,
    /// Cards that are used for good.
    pub cards: Vec<UsedCards>,
    /// The work is complete: to be posted to the director.
    pub report: Option<Report>,
    /// There is more to do now. False also while the barrier is not passed.
    pub more: bool,
}

/// A step on record that re-execution cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bucket {}: no work under way reaches player {}", .0.bucket.0, .0.until)]
pub struct NoSuchStep(pub WorkStep);

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
    /// How many players of each bucket are done.
    done: Vec<usize>,
    frozen: Vec<FrozenBucket>,
    winners: u64,
    paid: Cents,
}

impl Work {
    fn new(task: Task, bucket_count: usize) -> Work {
        let done = vec![0; bucket_count];
        Work { task, next: 0, done, frozen: Vec::new(), winners: 0, paid: Cents::ZERO }
    }

    pub(super) fn silence(bucket_count: usize) -> Work {
        Work::new(Task::Silence, bucket_count)
    }

    pub(super) fn rejudge(bucket_count: usize) -> Work {
        Work::new(Task::Rejudge, bucket_count)
    }

    pub(super) fn freeze(bucket_count: usize) -> Work {
        Work::new(Task::Freeze, bucket_count)
    }

    pub(super) fn pay(bucket_count: usize) -> Work {
        Work::new(Task::Pay, bucket_count)
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
            let (start, count) = (work.done[bucket], self.roster.count(bucket));
            let end = if work.task == Task::Freeze { count } else { count.min(start + left) };
            left = left.saturating_sub(end - start);
            self.work_on(&mut work, bucket, start..end, users, &mut progress);
            if end > start {
                let until = u32::try_from(end).expect("users are numbered in 32 bits");
                progress.steps.push(WorkStep { bucket: users.buckets()[bucket], until });
            }
            work.next += usize::from(end == count);
        }
        if work.next == self.roster.bucket_count() {
            progress.report = Some(self.report(work));
        } else {
            self.work = Some(work);
            progress.more = true;
        }
        progress
    }

    fn work_on(
        &mut self,
        work: &mut Work,
        bucket: usize,
        players: Range<usize>,
        users: &mut Users,
        told: &mut SliceProgress,
    ) {
        work.done[bucket] = players.end;
        match work.task {
            Task::Silence => self.settle_silence(bucket, players, users, &mut told.results),
            Task::Rejudge => self.rejudge(bucket, players, users, &mut told.results),
            Task::Freeze => {
                work.frozen.push(self.freeze(bucket, users));
                self.tell_cards(bucket, users, &mut told.cards);
            }
            Task::Pay => {
                let winners = self.pay(bucket, players, users, work);
                if !winners.is_empty() {
                    let per_head = self.settlement.as_ref().expect("the prize is split").per_head;
                    let (bucket, at) = (users.buckets()[bucket], self.settled_at);
                    told.prizes.push(Prizes { bucket, per_head, at, users: winners });
                }
            }
        }
    }

    /// Does again what a slice did, in re-execution: up to where a step on record says. Results
    /// were told when it was done first.
    ///
    /// # Errors
    /// If there is no such work here, or not so many players: the records are not this shard's.
    pub fn redo_step(&mut self, step: WorkStep, users: &mut Users) -> Result<(), NoSuchStep> {
        let place = users.place_of(step.bucket);
        let (Some(bucket), Some(mut work)) = (place, self.work.take()) else {
            return Err(NoSuchStep(step));
        };
        let players = work.done[bucket]..step.until as usize;
        if players.is_empty() || players.end > self.roster.count(bucket) {
            return Err(NoSuchStep(step));
        }
        self.work_on(&mut work, bucket, players, users, &mut SliceProgress::default());
        self.work = Some(work);
        Ok(())
    }

    /// The report of the work under way, in re-execution: a report is on record, so all of it was
    /// done. Nothing if there is no work.
    pub fn redo_report(&mut self, users: &mut Users) -> Option<Report> {
        let mut work = self.work.take()?;
        if self.restart_sums(&mut work) {
            for bucket in 0..self.roster.bucket_count() {
                let players = 0..self.roster.count(bucket);
                self.work_on(&mut work, bucket, players, users, &mut SliceProgress::default());
            }
        }
        Some(self.report(work))
    }

    /// Does all that is left of the work under way, because the next event says that it was done or
    /// leaves no time for it; nobody is told of results. In re-execution nothing is left of it where every
    /// record is there.
    pub fn complete_work(&mut self, users: &mut Users) {
        let Some(mut work) = self.work.take() else { return };
        for bucket in 0..self.roster.bucket_count() {
            let players = work.done[bucket]..self.roster.count(bucket);
            self.work_on(&mut work, bucket, players, users, &mut SliceProgress::default());
        }
    }

    /// How many players of a bucket are done with the work of this phase: all, if it is complete.
    pub(crate) fn done_in(&self, bucket: usize) -> usize {
        self.work.as_ref().map_or_else(|| self.roster.count(bucket), |work| work.done[bucket])
    }

    /// The work of this phase, as if it had not begun; its report may be lost. What was done of it
    /// is said by [`ShowReplica::adopt_done`].
    pub(super) fn begin_work_again(&mut self) {
        let buckets = self.roster.bucket_count();
        self.work = match self.phase {
            Phase::Closing => Some(Work::silence(buckets)),
            Phase::Rejudging => Some(Work::rejudge(buckets)),
            Phase::Settling => Some(Work::freeze(buckets)),
            Phase::Settled => Some(Work::pay(buckets)),
            Phase::Announced
            | Phase::Lobby
            | Phase::Open
            | Phase::Closed
            | Phase::Revealed
            | Phase::Voided
            | Phase::PausedInLobby
            | Phase::PausedInClosed
            | Phase::PausedInRevealed
            | Phase::PausedInVoided
            | Phase::Ended
            | Phase::Cancelled => None,
        };
    }

    /// So many players of a bucket are done already. Freezing and paying change nothing the second
    /// time and begin at the first player, because they sum up.
    pub(crate) fn adopt_done(&mut self, bucket: usize, players: usize) {
        let once = |work: &&mut Work| matches!(work.task, Task::Silence | Task::Rejudge);
        if let Some(work) = self.work.as_mut().filter(once) {
            work.done[bucket] = players;
        }
    }

    /// What freezing and paying sum up is to be summed up from the beginning: doing them twice
    /// changes no player. False for work that sums up nothing.
    fn restart_sums(&self, work: &mut Work) -> bool {
        let sums = matches!(work.task, Task::Freeze | Task::Pay);
        if sums {
            *work = Work::new(work.task, self.roster.bucket_count());
        }
        sums
    }

    /// Whether silence in the bucket at `place` is settled at the current question, or begun to be.
    pub(super) fn bucket_is_settled(&self, place: usize) -> bool {
        let reached = |work: &Work| place < work.next || work.done[place] > 0;
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

    /// Cards that were used in a show of which nothing can be undone any more, because it was called
    /// off. Of one that is being settled they are told when its players are frozen.
    #[must_use]
    pub fn cards_of_cancelled(&self, users: &Users) -> Vec<UsedCards> {
        let mut told = Vec::new();
        if self.phase == Phase::Cancelled {
            for bucket in 0..self.roster.bucket_count() {
                self.tell_cards(bucket, users, &mut told);
            }
        }
        told
    }

    fn tell_cards(&self, bucket: usize, users: &Users, told: &mut Vec<UsedCards>) {
        let mut uses = Vec::new();
        for index in 0..self.roster.count(bucket) {
            let player = self.roster.at(bucket, index);
            if let Some(question) = player.card_used_at() {
                let place = UserPlace { bucket, slot: player.slot };
                uses.push((users.entry(place).user, question));
            }
        }
        let (bucket, at) = (users.buckets()[bucket], self.final_since);
        let pieces = uses.chunks(USED_CARDS_MAX);
        told.extend(pieces.map(|piece| UsedCards { bucket, at, uses: piece.to_vec() }));
    }

    /// Pays the winners among some players of a bucket, each once; says who they are.
    fn pay(
        &mut self,
        bucket: usize,
        players: Range<usize>,
        users: &mut Users,
        work: &mut Work,
    ) -> Vec<UserId> {
        let mut winners = Vec::new();
        let per_head = self.settlement.as_ref().expect("the prize is split").per_head;
        for index in players {
            let player = self.roster.at(bucket, index);
            if !self.is_winner(player) {
                continue;
            }
            work.paid = work.paid.checked_add(per_head).expect("payouts are at most the pool");
            work.winners += 1;
            let place = UserPlace { bucket, slot: player.slot };
            winners.push(users.entry(place).user);
            if player.is_paid() {
                continue;
            }
            self.roster.at_mut(bucket, index).set_paid();
            let entry = users.entry_mut(place);
            // A pool is at most `PRIZE_POOL_CENTS_MAX`: nobody wins that often.
            entry.balance = entry.balance.checked_add(per_head).expect("a balance fits in 64 bits");
        }
        winners
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
