//! From what the shards of a run have on record to what those of the next run begin with.
//!
//! Three steps: every shard's records are done again ([`redo`]); the run is over for everybody
//! ([`RunBefore::finish`]); users go to whatever shards there are now ([`RunEnd::hand_over`]). Where
//! the bytes come from is the caller's business: files, or the disks of the simulator.

use std::collections::BTreeMap;

use crate::base::bugs::{self, Bug};
use crate::base::hash::Placement;
use crate::base::ids::ShardId;
use crate::base::time::{DisplayClock, Time};
use crate::quiz::event::NumberedEvent;
use crate::quiz::local::LocalQuiz;
use crate::shard::record::Record;
use crate::shard::recovery::{Beginning, Histories, Replay, ReplayError, ShardImage, redistribute};
use crate::shard::standing::Standing;
use crate::store::format::Key;
use crate::store::record::{self, RecordError};
use crate::store::scan::{Damage, Found, Scan, SegmentFile, scan};
use crate::store::state::ShardState;

/// Takes a record with its number among those of its shard.
pub type Visit<'a, Error> = &'a mut dyn FnMut(u64, Record) -> Result<(), Error>;

/// Takes a record with its number, and where in the journal it was found.
pub type VisitFound<'a, Error> = &'a mut dyn FnMut(u64, Found, Record) -> Result<(), Error>;

/// Where the journals of a run are read from.
pub trait StoredRun {
    /// What goes wrong with it.
    type Error;

    /// Hands over the records of a shard's journal behind record `after`. Called twice for each
    /// shard.
    ///
    /// # Errors
    /// If the journal is damaged or cannot be read, or the visitor says so.
    fn records(
        &self,
        shard: ShardId,
        after: u64,
        visit: Visit<'_, Self::Error>,
    ) -> Result<Scan, Self::Error>;

    /// Doing a record of a shard again came out otherwise; 0 for what is behind all of them.
    fn failed(&self, shard: ShardId, record: u64, error: ReplayError) -> Self::Error;
}

/// Why a journal's records cannot be handed over.
#[derive(Debug)]
pub enum JournalError {
    /// The journal is damaged where it was durable.
    Damage(Damage),
    /// A record cannot be read.
    Record {
        /// Which one.
        record: u64,
        /// Why.
        error: RecordError,
    },
}

/// Hands over the records of a shard's segments behind record `after`, with their numbers, and where
/// each was found.
///
/// # Errors
/// If the journal is damaged, a record cannot be read, or the visitor says so.
pub fn for_each_record<E: From<JournalError>>(
    files: &[SegmentFile<'_>],
    after: u64,
    visit: VisitFound<'_, E>,
) -> Result<Scan, E> {
    let mut number = 0;
    let mut outcome = Ok(());
    let scan = scan(files, &mut |found, stored| {
        number += 1;
        if number <= after || outcome.is_err() {
            return;
        }
        outcome = match record::decode(stored.payload) {
            Ok(record) if is_twice(&record) => {
                visit(number, found, record.clone()).and_then(|()| visit(number, found, record))
            }
            Ok(record) => visit(number, found, record),
            Err(error) => Err(JournalError::Record { record: number, error }.into()),
        };
    });
    let scan = scan.map_err(|damage| E::from(JournalError::Damage(damage)))?;
    outcome.map(|()| scan)
}

fn is_twice(record: &Record) -> bool {
    bugs::active(Bug::AnswerReplayedTwice) && matches!(record, Record::Answer { .. })
}

/// A shard of the run before, its records done again.
pub struct ShardBefore {
    /// What it was at its last record.
    pub replay: Replay,
    /// What its journal holds.
    pub scan: Scan,
}

/// The run before at its last durable records.
#[derive(Default)]
pub struct RunBefore {
    /// By shard.
    pub shards: Vec<ShardBefore>,
    /// What all directors decided.
    pub histories: Histories,
    /// Where buckets and shows are in their sequences.
    pub sequences: BTreeMap<Key, u64>,
    /// What is in force by operators' orders, of all shards together.
    pub standing: Standing,
    /// The newest moment that is known.
    pub latest: Time,
}

/// Does again what the shards of a run have on record behind `states`, one for each shard of
/// `placement`.
///
/// # Errors
/// If a journal cannot be read, or comes out otherwise.
pub fn redo<Source: StoredRun>(
    source: &Source,
    states: &[ShardState],
    placement: Placement,
) -> Result<RunBefore, Source::Error> {
    let mut before = RunBefore::default();
    for state in states {
        for event in &state.image.events {
            let noted = before.note(event.clone());
            noted.map_err(|error| source.failed(state.shard, state.record, error))?;
        }
    }
    // What directors decided must be known before any shard can do again what it made of it.
    for state in states {
        source.records(state.shard, state.record, &mut |number, record| match record {
            Record::Event(event) => {
                before.note(*event).map_err(|error| source.failed(state.shard, number, error))
            }
            _ => Ok(()),
        })?;
    }
    for state in states {
        let shard = before.redo_shard(source, state, placement)?;
        before.shards.push(shard);
    }
    Ok(before)
}

impl RunBefore {
    fn note(&mut self, event: NumberedEvent) -> Result<(), ReplayError> {
        self.latest = self.latest.max(event.decided_at);
        self.histories.note(event)
    }

    fn redo_shard<Source: StoredRun>(
        &mut self,
        source: &Source,
        state: &ShardState,
        placement: Placement,
    ) -> Result<ShardBefore, Source::Error> {
        let ShardState { shard, record, .. } = *state;
        let histories = &self.histories;
        let local = state.image.restore(shard, placement, histories);
        let local = local.map_err(|error| source.failed(shard, record, error))?;
        let mut replay = Replay::new(local, state.image.standing.clone());
        let scan = source.records(shard, record, &mut |number, record| {
            replay.redo(&record, histories).map_err(|error| source.failed(shard, number, error))
        })?;
        self.latest = self.latest.max(state.at).max(replay.latest());
        self.standing.merge(replay.standing());
        for (key, last) in state.sequences.iter().chain(&scan.continuation.sequences) {
            if !matches!(key, Key::Shard(_)) {
                let known = self.sequences.entry(*key).or_default();
                *known = (*known).max(*last);
            }
        }
        Ok(ShardBefore { replay, scan })
    }

    /// The run is over: every shard learns what it had not heard yet, and nobody has a session.
    ///
    /// # Errors
    /// If an event cannot be applied.
    pub fn finish<Source: StoredRun>(self, source: &Source) -> Result<RunEnd, Source::Error> {
        let RunBefore { shards, histories, sequences, standing, latest } = self;
        let mut locals = Vec::with_capacity(shards.len());
        for ShardBefore { replay, .. } in shards {
            let shard = replay.local().users().shard();
            let finished = replay.finish(&histories, latest);
            locals.push(finished.map_err(|error| source.failed(shard, 0, error))?);
        }
        Ok(RunEnd { locals, histories, sequences, standing, latest })
    }
}

/// All that is left of a run; nothing, if there was none.
#[derive(Default)]
pub struct RunEnd {
    locals: Vec<LocalQuiz>,
    histories: Histories,
    sequences: BTreeMap<Key, u64>,
    standing: Standing,
    /// The newest moment that is known.
    pub latest: Time,
}

/// What a shard of the next run begins with.
pub struct NextShard {
    /// To be made durable before anything is promised.
    pub state: ShardState,
    /// The same, in memory.
    pub beginning: Beginning,
}

impl RunEnd {
    /// What all directors decided.
    #[must_use]
    pub fn histories(&self) -> &Histories {
        &self.histories
    }

    /// Hands the users to the shards of `placement`, which begin at `at`, as `display` shows time.
    /// What is over by then is forgotten.
    ///
    /// # Errors
    /// If a bucket cannot be taken in.
    pub fn hand_over(
        self,
        placement: Placement,
        at: Time,
        display: DisplayClock,
    ) -> Result<Vec<NextShard>, ReplayError> {
        let RunEnd { locals, mut histories, sequences, mut standing, .. } = self;
        standing.forget_over(at, display.unix_ms(at) / 1_000);
        let locals = redistribute(&locals, &histories, placement)?;
        // All shards have heard of their ends by now, so nothing rests on them but looking back.
        histories.forget_ended(at);
        let next = |local: LocalQuiz| {
            let shard = local.users().shard();
            let lives_here = |key: &Key| match key {
                Key::Bucket(bucket) => bucket.home(placement.shard_count()) == shard,
                Key::Show(show) => placement.show_home(*show) == shard,
                Key::Shard(_) => false,
            };
            let sequences = sequences.iter().filter(|(key, _)| lives_here(key));
            let state = ShardState {
                shard,
                shard_count: placement.shard_count(),
                bucket_count: placement.bucket_count(),
                record: 0,
                at,
                sequences: sequences.map(|(key, last)| (*key, *last)).collect(),
                image: ShardImage::of(
                    &local,
                    histories.iter(),
                    standing.of_shard(shard, &placement),
                ),
            };
            let (histories, standing) = (histories.clone(), standing.clone());
            NextShard { state, beginning: Beginning { local, histories, standing } }
        };
        Ok(locals.into_iter().map(next).collect())
    }
}
