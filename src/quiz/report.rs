//! What travels from the shards up to a director: tallies, summaries, and the hash of a game.
//!
//! All of it is cumulative for its question and shard, so a repeat changes nothing.

use sha2::{Digest, Sha256};

use crate::base::ids::{BucketId, EventNumber, QuestionIndex, ShardId, UserId};
use crate::base::limits::OPTIONS_MAX;
use crate::quiz::money::Cents;
use crate::quiz::rain::RainSummary;
use crate::quiz::verdict::{Failing, Verdict};

/// How a question went. Every field counts players; sums over shards are field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuestionCounts {
    /// Answers that count: in time or late, one per player.
    pub answered: u64,
    /// Answers in time, per option.
    pub options: [u64; OPTIONS_MAX],
    /// Answers in time per option, of players whom a card would revive were that option wrong.
    pub revivable: [u64; OPTIONS_MAX],
    /// Passed by the correct answer.
    pub correct: u64,
    /// Answers after the time.
    pub late: u64,
    /// Offered, but no answer.
    pub silent: u64,
    /// Not offered: no open connection.
    pub unreachable: u64,
    /// Failed and saved by a card, for whatever reason.
    pub revived: u64,
    /// Of those, not for a wrong option: what a corrected key does not change.
    pub revived_unanswered: u64,
    /// Failed and out.
    pub eliminated: u64,
    /// Answers that were judged by a retry ticket's stamp.
    pub by_ticket: u64,
    /// Players for whom this is a new record.
    pub new_records: u64,
}

impl QuestionCounts {
    /// Adds the counts of another shard.
    pub fn add(&mut self, other: &QuestionCounts) {
        for (sum, more) in self.options.iter_mut().zip(other.options) {
            *sum += more;
        }
        for (sum, more) in self.revivable.iter_mut().zip(other.revivable) {
            *sum += more;
        }
        self.answered += other.answered;
        self.correct += other.correct;
        self.late += other.late;
        self.silent += other.silent;
        self.unreachable += other.unreachable;
        self.revived += other.revived;
        self.revived_unanswered += other.revived_unanswered;
        self.eliminated += other.eliminated;
        self.by_ticket += other.by_ticket;
        self.new_records += other.new_records;
    }

    /// How many would pass if the option with index `correct` were the correct one.
    #[must_use]
    pub fn passing_if(&self, correct: usize) -> u64 {
        let revived: u64 = (0..OPTIONS_MAX)
            .filter(|option| *option != correct)
            .map(|option| self.revivable[option])
            .sum();
        self.options[correct] + revived + self.revived_unanswered
    }

    pub(crate) fn count_verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.correct += 1,
            Verdict::Revived(failing) => {
                self.revived += 1;
                if failing != Failing::Wrong {
                    self.revived_unanswered += 1;
                }
            }
            Verdict::Out(_) => self.eliminated += 1,
        }
        match verdict.failing() {
            Some(Failing::Late) => self.late += 1,
            Some(Failing::Silent) => self.silent += 1,
            Some(Failing::Unreachable) => self.unreachable += 1,
            Some(Failing::Wrong) | None => {}
        }
    }
}

impl QuestionCounts {
    /// Takes back the verdict of somebody who answered in time.
    pub(crate) fn retract_verdict(&mut self, verdict: Verdict) {
        assert!(
            matches!(verdict.failing(), None | Some(Failing::Wrong)),
            "only answers in time are judged again"
        );
        match verdict {
            Verdict::Passed => self.correct -= 1,
            Verdict::Revived(_) => self.revived -= 1,
            Verdict::Out(_) => self.eliminated -= 1,
        }
    }
}

/// Live figures of one shard, whenever the shard layer cares to send them. For operators only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Whose.
    pub shard: ShardId,
    /// The last event that the shard had applied.
    pub applied: EventNumber,
    /// The current question, if there is one that counts.
    pub question: Option<QuestionIndex>,
    /// Users who joined, spectators included.
    pub joined: u64,
    /// Players in the game by all verdicts so far, unrevealed ones included.
    pub in_play: u64,
    /// How the current question goes.
    pub counts: QuestionCounts,
}

/// A shard's buckets have all settled a question, or judged it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedSummary {
    /// Whose.
    pub shard: ShardId,
    /// Which question.
    pub question: QuestionIndex,
    /// 0 for the closing, then the number of the re-judgement.
    pub revision: u8,
    /// Players still in the game after the question.
    pub in_play: u64,
    /// How the question went here.
    pub counts: QuestionCounts,
}

/// One bucket at the end of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrozenBucket {
    /// Which bucket.
    pub bucket: BucketId,
    /// Winners in it.
    pub winners: u64,
    /// Over every user, question and verdict of the bucket; see [`BucketDigest`].
    pub digest: [u8; 32],
}

/// A shard's buckets are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeSummary {
    /// Whose.
    pub shard: ShardId,
    /// All buckets of the shard, ascending.
    pub buckets: Vec<FrozenBucket>,
}

/// A shard's buckets have paid their winners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutSummary {
    /// Whose.
    pub shard: ShardId,
    /// How many were paid; winners, also when each gets nothing.
    pub winners: u64,
    /// What was paid in all.
    pub paid: Cents,
}

/// What a shard reports when a piece of its work is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A question is settled in all buckets: for [`crate::quiz::director::Director::closed`].
    Closed(ClosedSummary),
    /// All buckets are frozen: for [`crate::quiz::director::Director::frozen`].
    Frozen(FreezeSummary),
    /// All winners are paid: for [`crate::quiz::director::Director::paid`].
    Paid(PayoutSummary),
    /// A rain has closed: for [`crate::quiz::director::Director::rain_reported`].
    Rain(RainSummary),
}

/// The digest of one bucket: SHA-256 over (user, 8 bytes ‖ question, 2 bytes ‖ verdict code,
/// 1 byte), big-endian, for every verdict of every question that counts, users ascending.
pub struct BucketDigest(Sha256);

impl BucketDigest {
    /// Of an empty bucket.
    #[expect(clippy::new_without_default, reason = "an empty digest is a deliberate beginning")]
    #[must_use]
    pub fn new() -> BucketDigest {
        BucketDigest(Sha256::new())
    }

    /// Adds one verdict; users ascending, then questions ascending.
    pub fn add(&mut self, user: UserId, question: QuestionIndex, verdict: Verdict) {
        let mut row = [0; 11];
        row[..8].copy_from_slice(&user.0.to_be_bytes());
        row[8..10].copy_from_slice(&question.0.to_be_bytes());
        row[10] = verdict.code();
        self.0.update(row);
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The hash of a whole game: SHA-256 over the digests of all buckets, ascending. It does not
/// depend on how many shards there were or in which order players came.
#[must_use]
pub fn game_hash<'a>(digests: impl Iterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for digest in digests {
        hash.update(digest);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_field_by_field() {
        let counts = |factor: u64| QuestionCounts {
            answered: factor,
            options: [factor, 2 * factor, 3 * factor, 4 * factor, 5 * factor, 6 * factor],
            revivable: [6 * factor, 5 * factor, 4 * factor, 3 * factor, 2 * factor, factor],
            correct: 7 * factor,
            late: 8 * factor,
            silent: 9 * factor,
            unreachable: 10 * factor,
            revived: 11 * factor,
            revived_unanswered: 12 * factor,
            eliminated: 13 * factor,
            by_ticket: 14 * factor,
            new_records: 15 * factor,
        };
        let mut sum = counts(1);
        sum.add(&counts(10));
        assert_eq!(sum, counts(11));
        // Option 1 right (2), saved by a card for any other (6 + 4 + 3 + 2 + 1), or anyway (12).
        assert_eq!(counts(1).passing_if(1), 2 + 16 + 12);
    }

    #[test]
    fn the_game_hash_sees_every_row_and_the_order_of_buckets() {
        let digest = |rows: &[(u64, u16, Verdict)]| {
            let mut digest = BucketDigest::new();
            for (user, question, verdict) in rows {
                digest.add(UserId(*user), QuestionIndex(*question), *verdict);
            }
            digest.finish()
        };
        let base = digest(&[(1, 0, Verdict::Passed)]);
        for other in [
            digest(&[]),
            digest(&[(2, 0, Verdict::Passed)]),
            digest(&[(1, 1, Verdict::Passed)]),
            digest(&[(1, 0, Verdict::Out(Failing::Wrong))]),
        ] {
            assert_ne!(base, other);
            assert_ne!(
                game_hash([&base, &other].into_iter()),
                game_hash([&other, &base].into_iter())
            );
        }
    }
}
