//! Journals that stand still: a disk that is full, fails or is far too slow.
//!
//! Nothing is acknowledged then and nothing is lost. What this adds: every shard knows of it, so that
//! answers are asked to come again, with tickets that keep their stamps, instead of being left
//! without a word; and directors know, so that no question runs out meanwhile.

use std::time::Duration;

use crate::base::ids::{ShardId, ShowId};
use crate::base::time::Time;
use crate::shard::Shard;
use crate::shard::mail::Mail;
use crate::shard::quiz_mail::QuizMail;

/// Nothing became durable for so long, although something waits: an ordinary disk takes a
/// thousandth of this, and a bad moment of one a third.
const STANDS_AFTER: Duration = Duration::from_secs(1);
/// A shard whose journal stands still says so this often.
const TELL_INTERVAL: Duration = Duration::from_millis(200);
/// What a shard said counts for so long: several of these may be late.
const TOLD_VALID: Duration = Duration::from_secs(2);

/// Which journals stand still, as far as this shard knows.
pub(super) struct Standing {
    /// By shard: when it said so last.
    told_at: Vec<Option<Time>>,
    /// When this shard says so next; nothing while its journal moves.
    tell_at: Option<Time>,
    /// Directors know of some that stand still.
    is_known: bool,
}

impl Standing {
    pub(super) fn new(shards: usize) -> Standing {
        Standing { told_at: vec![None; shards], tell_at: None, is_known: false }
    }

    /// Whether a shard's journal stands still.
    pub(super) fn stands(&self, shard: ShardId, now: Time) -> bool {
        self.told_at[shard.index()].is_some_and(|at| now.since(at) < TOLD_VALID)
    }

    /// All shards whose journals do.
    pub(super) fn shards(&self, now: Time) -> Vec<ShardId> {
        let shards = (0_u16..).map(ShardId).take(self.told_at.len());
        shards.filter(|shard| self.stands(*shard, now)).collect()
    }
}

impl Shard {
    /// Another shard said how its journal is.
    pub(super) fn journal_was_told(&mut self, from: ShardId, stands: bool) {
        self.quiz.standing.told_at[from.index()] = stands.then_some(self.now);
    }

    /// Looks whether this shard's journal stands still, says so, and lets directors know.
    pub(super) fn watch_journals(&mut self) {
        let now = self.now;
        let stands = self.held.stands_for(now) >= STANDS_AFTER;
        let stood = self.quiz.standing.tell_at.is_some();
        if stands || stood {
            self.journal_was_told(self.config.me, stands);
        }
        let is_due = self.quiz.standing.tell_at.is_none_or(|due| due <= now);
        if stands && is_due || stood && !stands {
            self.quiz.standing.tell_at = stands.then(|| now + TELL_INTERVAL);
            let me = self.config.me;
            let others = ShardId::all(self.placement.shard_count()).filter(|shard| *shard != me);
            for shard in others {
                self.post(shard, Mail::Quiz(QuizMail::JournalStands { stands }));
            }
        }
        let standing = self.quiz.standing.shards(now);
        let was_known = std::mem::replace(&mut self.quiz.standing.is_known, !standing.is_empty());
        if standing.is_empty() && !was_known {
            return;
        }
        let shows: Vec<ShowId> = self.quiz.directors.keys().copied().collect();
        for show in shows {
            if let Some(directed) = self.quiz.directors.get_mut(&show) {
                directed.director_mut().journals_stand(now, &standing);
            }
            self.post_decided(show);
        }
    }
}
