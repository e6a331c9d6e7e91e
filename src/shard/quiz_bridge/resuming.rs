//! Beginning with what outlived a restart, and saying what must outlive the next one.

use std::time::Duration;

use crate::base::ids::ShowId;
use crate::quiz::phase::Phase;
use crate::shard::Shard;
use crate::shard::quiz_bridge::directing::{ADMITTING_SHARD, Directed};
use crate::shard::record::Record;
use crate::shard::recovery::{Beginning, ShardImage, close_after, has_ended};

/// How long players have to come back before a question that was open must be shown: clients that
/// spread their reconnects do it within a few seconds.
pub(super) const COME_BACK: Duration = Duration::from_secs(3);
/// A question that was open for longer than this, the outage included, is not opened again by
/// itself: the operator decides.
const OPEN_MAX: Duration = Duration::from_secs(120);

impl Shard {
    /// Takes in what a shard begins with; to be called before its first step.
    pub fn begin_with(&mut self, beginning: Beginning) {
        let Beginning { local, histories, standing } = beginning;
        self.begin_standing(standing);
        self.note_gifts_resume();
        let (me, shards) = (self.config.me, self.placement.shard_count());
        for (show, history) in histories.iter() {
            if self.placement.show_home(show) == me {
                let buckets = self.placement.bucket_count();
                let directed = Directed::restored(history, shards, buckets, self.clock);
                self.quiz.directors.insert(show, directed);
            }
            if has_ended(history) {
                continue;
            }
            if let Some(replica) = local.show(show) {
                let room = replica.definition().room;
                self.quiz.by_room.entry(room).or_insert(show);
                if me == ADMITTING_SHARD {
                    self.quiz.reserved.insert(show, room);
                }
            }
            if let Some(until) = close_after(&local, history) {
                self.quiz.draining.insert(show, until);
            }
        }
        self.quiz.local = local;
    }

    /// See [`crate::shard::input::Input::Resume`].
    pub(crate) fn resume_quiz(&mut self) {
        let now = self.now;
        for (show, cards) in self.quiz.local.take_owed_cards() {
            self.journal(Record::CardsUsed { show, cards }, Vec::new());
        }
        let shows: Vec<ShowId> = self.quiz.local.shows().map(|it| it.definition().id).collect();
        for show in shows {
            if self.quiz.local.show(show).is_some_and(|it| it.open_question().is_some()) {
                self.record_offer(show);
            }
            self.acknowledge(show);
            self.record_cards_of_cancelled(show);
            self.quiz.has_work = true;
            self.quiz.tally_due.get_or_insert(now);
        }
        let directed: Vec<ShowId> = self.quiz.directors.keys().copied().collect();
        for show in directed {
            if let Some(directed) = self.quiz.directors.get_mut(&show) {
                directed.resume(now, COME_BACK, OPEN_MAX);
            }
            self.post_decided(show);
        }
        self.resume_money();
    }

    /// Whether now is a good moment for an image: no question is under way, no work on all players,
    /// and no mail waits for its event.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let calm = |phase| {
            // What is made of an image pays once more to sum up, and may not end before that.
            !matches!(
                phase,
                Phase::Open | Phase::Closing | Phase::Rejudging | Phase::Settling | Phase::Settled
            )
        };
        !self.quiz.has_work
            && self.quiz.waiting.is_empty()
            && self.quiz.local.shows().all(|show| calm(show.phase()) && !show.has_work())
    }

    /// All that this shard knows of users and shows, as of its last record.
    #[must_use]
    pub fn image(&self) -> ShardImage {
        let directors = self.quiz.directors.iter();
        ShardImage::of(
            &self.quiz.local,
            directors.map(|(show, directed)| (*show, directed.history())),
            self.standing.clone(),
        )
    }
}
