//! The journals of a deployment as feeds of the book: one for each shard of each run.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use crate::base::ids::ShardId;
use crate::ledger::book::{Batch, FeedId, Position};
use crate::ledger::error::LedgerError;
use crate::ledger::verify::Told;
use crate::runtime::data::{DataError, began_with, run_folder, run_times, runs, shard_folder};
use crate::runtime::feed::reader::{JournalReader, Until};
use crate::runtime::feed::translate::{Axis, Translator};
use crate::shard::record::Record;

/// The feed whose position is the newest run of which everything is in the book.
pub const RUNS_FEED: FeedId = FeedId(0);
/// Causes that one batch takes up, about: a batch ends with a group of the journal.
pub const BATCH_CAUSES: usize = 5_000;

/// The feed of a shard in a run.
///
/// # Panics
/// If there were more runs than the book can count.
#[must_use]
pub fn feed_id(run: u64, shard: ShardId) -> FeedId {
    assert!(run < 1 << 40, "a deployment is not started so often");
    FeedId(run << 16 | u64::from(shard.0))
}

/// One shard's journal in one run, read and translated.
pub struct ShardFeed {
    feed: FeedId,
    reader: JournalReader,
    translator: Translator,
    told: u64,
}

impl ShardFeed {
    /// The feed of a shard from behind `known` on.
    ///
    /// # Errors
    /// If what the shard began with cannot be read.
    pub fn open(
        root: &Path,
        (run, shard): (u64, ShardId),
        axis: Axis,
        known: Position,
    ) -> Result<ShardFeed, DataError> {
        let folder = shard_folder(&run_folder(root, run), shard);
        let mut translator = Translator::new(axis);
        for event in began_with(&folder)? {
            translator.learn(&event);
        }
        let reader = JournalReader::new(folder, run, known.0);
        Ok(ShardFeed { feed: feed_id(run, shard), reader, translator, told: known.0 })
    }

    /// What the next group that is new tells; nothing if there is none yet.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn next(&mut self, until: Until) -> Result<Option<Batch>, DataError> {
        let mut causes = Vec::new();
        while let Some(group) = self.reader.next(until)? {
            for (number, record) in &group.records {
                if *number > self.told {
                    self.translator.tell(record, &mut causes);
                } else if let Record::Event(event) = record {
                    self.translator.learn(event);
                }
            }
            let (after, through) = (self.told, self.reader.taken());
            if through > after {
                self.told = through;
                let (after, through) = (Position(after), Position(through));
                return Ok(Some(Batch { feed: self.feed, after, through, causes }));
            }
        }
        Ok(None)
    }

    /// What is new, up to about [`BATCH_CAUSES`] causes.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn next_batch(&mut self, until: Until) -> Result<Option<Batch>, DataError> {
        let mut whole: Option<Batch> = None;
        while whole.as_ref().is_none_or(|batch| batch.causes.len() < BATCH_CAUSES) {
            let Some(more) = self.next(until)? else { break };
            join(&mut whole, more);
        }
        Ok(whole)
    }
}

/// Appends what follows in the same feed.
pub(super) fn join(whole: &mut Option<Batch>, more: Batch) {
    match whole {
        Some(batch) => {
            assert_eq!((batch.feed, batch.through), (more.feed, more.after), "what follows");
            batch.through = more.through;
            batch.causes.extend(more.causes);
        }
        None => *whole = Some(more),
    }
}

/// How all runs up to one display time.
///
/// # Errors
/// If one cannot be read.
pub fn axis_until(root: &Path, run: u64) -> Result<Axis, DataError> {
    let mut axis = Axis::default();
    for earlier in runs(root)?.into_iter().filter(|earlier| *earlier <= run) {
        let (began, display, _) = run_times(root, earlier)?;
        axis.add(began, display);
    }
    Ok(axis)
}

/// All that the journals of a deployment tell and the book does not know: batch by batch, runs and
/// shards ascending.
pub struct JournalBatches {
    root: PathBuf,
    positions: BTreeMap<FeedId, Position>,
    /// Runs that are not complete in the book, and the shards of the first one.
    runs: VecDeque<u64>,
    shards: VecDeque<ShardFeed>,
    /// The run that `shards` are of, until its end is told.
    open: Option<u64>,
    complete: u64,
}

impl JournalBatches {
    /// Of the folder at `root`, behind the positions that the book has; of the runs before `end`.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn new(
        root: &Path,
        positions: BTreeMap<FeedId, Position>,
        end: Option<u64>,
    ) -> Result<JournalBatches, DataError> {
        let complete = positions.get(&RUNS_FEED).map_or(0, |position| position.0);
        let is_wanted = |run: &u64| *run > complete && end.is_none_or(|end| *run < end);
        let runs = runs(root)?.into_iter().filter(is_wanted).collect();
        let (root, shards, open) = (root.to_path_buf(), VecDeque::new(), None);
        Ok(JournalBatches { root, positions, runs, shards, open, complete })
    }

    /// The next batch; nothing when all is told.
    ///
    /// # Errors
    /// If a journal cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, DataError> {
        loop {
            if let Some(feed) = self.shards.front_mut() {
                if let Some(batch) = feed.next_batch(Until::END)? {
                    return Ok(Some(batch));
                }
                self.shards.pop_front();
                continue;
            }
            if let Some(run) = self.open.take() {
                // The newest run of a folder may go on: only one that is followed is complete.
                if !self.runs.is_empty() || runs(&self.root)?.last().is_some_and(|it| *it > run) {
                    let (after, through) = (Position(self.complete), Position(run));
                    self.complete = run;
                    return Ok(Some(Batch { feed: RUNS_FEED, after, through, causes: Vec::new() }));
                }
            }
            let Some(run) = self.runs.pop_front() else { return Ok(None) };
            self.begin(run)?;
        }
    }

    fn begin(&mut self, run: u64) -> Result<(), DataError> {
        let axis = axis_until(&self.root, run)?;
        let (_, _, shards) = run_times(&self.root, run)?;
        for shard in ShardId::all(shards) {
            let known = self.positions.get(&feed_id(run, shard)).copied().unwrap_or_default();
            self.shards.push_back(ShardFeed::open(&self.root, (run, shard), axis.clone(), known)?);
        }
        self.open = Some(run);
        Ok(())
    }
}

/// Every cause of every journal of a deployment, one by one: what a book is compared with.
pub struct JournalCauses {
    batches: JournalBatches,
    current: VecDeque<Told>,
    has_failed: bool,
}

impl JournalCauses {
    /// Of the folder at `root`, from its beginning.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn new(root: &Path) -> Result<JournalCauses, DataError> {
        let batches = JournalBatches::new(root, BTreeMap::new(), None)?;
        Ok(JournalCauses { batches, current: VecDeque::new(), has_failed: false })
    }
}

impl Iterator for JournalCauses {
    type Item = Result<Told, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(told) = self.current.pop_front() {
                return Some(Ok(told));
            }
            if self.has_failed {
                return None;
            }
            match self.batches.next_batch() {
                Ok(Some(Batch { feed, through, causes, .. })) => {
                    let tell = |cause| Told { cause, place: Some((feed, through)) };
                    self.current.extend(causes.into_iter().map(tell));
                }
                Ok(None) => return None,
                Err(error) => {
                    self.has_failed = true;
                    return Some(Err(LedgerError::Journal { what: error.to_string() }));
                }
            }
        }
    }
}
