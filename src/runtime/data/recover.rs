//! From the newest run of a deployment to the beginning of the next one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    DataError, DataFolder, LAYOUT_VERSION, failing, make_folder, read, run_folder, runs, segments,
    shard_folder, state_name, states, sync_folder, write_whole,
};
use crate::base::hash::Placement;
use crate::base::ids::ShardId;
use crate::base::time::{DisplayClock, Time};
use crate::quiz::event::NumberedEvent;
use crate::runtime::clock::Clock;
use crate::runtime::disk_journal::segment_name;
use crate::shard::record::Record;
use crate::shard::recovery::{Beginning, ReplayError};
use crate::store::format::Key;
use crate::store::recovery::{
    self, JournalError, NextShard, RunEnd, ShardBefore, StoredRun, Visit, VisitFound,
};
use crate::store::scan::{Found, Scan, SegmentFile, Tail};
use crate::store::state::{self, ShardState, StateError};
use crate::store::writer::SEGMENT_BYTES_DEFAULT;

/// The moment at which a process knows itself to be later than the one before.
const LATER: Duration = Duration::from_millis(1);

/// What a run says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    layout: u32,
    pub(super) shards: u16,
    /// Unix time of the zero of the deployment's time, as this run displays it.
    pub(super) zero_unix_ms: i64,
    /// The same of the first run of the deployment: what stamps that clients hold are counted from.
    /// Runs that were begun by older versions have none.
    #[serde(default)]
    stamps_zero_unix_ms: Option<i64>,
    /// When it began.
    pub(super) began_unix_ms: i64,
}

/// What a shard of the next run begins with.
pub struct ShardStart {
    /// Users, shows, and what directors decided.
    pub beginning: Beginning,
    /// Where its journal goes.
    pub folder: PathBuf,
    /// The number of the run, for its segments.
    pub run: u64,
    /// Bytes of its journal's segments.
    pub segment_bytes: u64,
    /// Where buckets and shows are in their sequences.
    pub sequences: BTreeMap<Key, u64>,
    /// The newest record that is durable; the shard says it, whoever reads its journal looks.
    pub durable: Arc<AtomicU64>,
}

/// Everything that the next run begins with.
pub struct Recovered {
    /// The deployment's time, which goes on.
    pub clock: Clock,
    /// By shard.
    pub shards: Vec<ShardStart>,
    /// What was found.
    pub report: RecoveryReport,
}

/// Bytes behind the last durable group of a shard's journal: they may have been acknowledged, or
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Which shard.
    pub shard: ShardId,
    /// In which segment.
    pub segment: u64,
    /// Where they begin.
    pub offset: u64,
    /// Where they end.
    pub until: u64,
}

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The number of the run that begins.
    pub run: u64,
    /// Shards of the run before; 0 if there was none.
    pub shards_before: u16,
    /// True if every shard of the run before had ended in order.
    pub ended_in_order: bool,
    /// Records that are on the journals of the run before.
    pub records: u64,
    /// Of those, done again; the others are in the states.
    pub redone: u64,
    /// Shows that have not ended.
    pub shows: usize,
    /// Users that are known.
    pub users: usize,
    /// Journals that end within a group.
    pub torn: Vec<TornTail>,
    /// How long the process was gone, as far as the clocks say.
    pub outage: Duration,
}

impl DataFolder {
    /// Does again what the newest run has on record, hands it to the shards of `placement`, and
    /// begins the next run: when this returns, it is durable.
    ///
    /// # Errors
    /// If anything durable cannot be read, or the next run cannot be written. The run before stays
    /// as it is.
    pub fn begin_run(&self, placement: Placement) -> Result<Recovered, DataError> {
        let newest = runs(self.root())?.last().copied();
        let (end, KnownOfRun { zero_unix_ms, stamps_zero_unix_ms, mut report }) = match newest {
            Some(run) => self.read_run(run, placement)?,
            None => (RunEnd::default(), KnownOfRun::default()),
        };
        let run = newest.unwrap_or(0) + 1;
        let latest = end.latest;
        let mut clock = Clock::resume(latest + LATER, zero_unix_ms);
        if let Some(zero_unix_ms) = stamps_zero_unix_ms {
            clock = clock.with_stamps(DisplayClock { zero_unix_ms });
        }
        let at = clock.now();
        report.outage = at.since(latest);
        let next = end.hand_over(placement, at, clock.display());
        let next = next.map_err(failing_replay(self.root(), 0))?;
        report.run = run;
        report.users = next.iter().map(|next| next.beginning.local.users().count()).sum();
        report.shows = next.first().map_or(0, |next| next.beginning.local.shows().count());
        let shards = self.write_run(run, placement, clock, next)?;
        Ok(Recovered { clock, shards, report })
    }

    fn read_run(&self, run: u64, placement: Placement) -> Result<(RunEnd, KnownOfRun), DataError> {
        let folder = run_folder(self.root(), run);
        let about = read_about(&folder)?;
        let states =
            ShardId::all(about.shards).map(|shard| newest_state(&shard_folder(&folder, shard)));
        let states = states.collect::<Result<Vec<_>, _>>()?;
        let source = RunFolder { folder };
        let before = recovery::redo(&source, &states, placement.with_shards(about.shards))?;
        let mut report = RecoveryReport {
            shards_before: about.shards,
            ended_in_order: true,
            ..RecoveryReport::default()
        };
        for (shard, ShardBefore { replay, scan }) in ShardId::all(about.shards).zip(&before.shards)
        {
            report.records += scan.records;
            report.redone += replay.redone();
            report.ended_in_order &= scan.tail == Tail::Closed;
            if let Tail::Torn { segment, offset, until } = scan.tail {
                report.torn.push(TornTail { shard, segment, offset, until });
            }
        }
        let end = before.finish(&source)?;
        let known = KnownOfRun {
            zero_unix_ms: Some(about.zero_unix_ms),
            stamps_zero_unix_ms: about.stamps_zero_unix_ms.or(Some(about.zero_unix_ms)),
            report,
        };
        Ok((end, known))
    }

    fn write_run(
        &self,
        run: u64,
        placement: Placement,
        clock: Clock,
        next: Vec<NextShard>,
    ) -> Result<Vec<ShardStart>, DataError> {
        let folder = run_folder(self.root(), run);
        let aside = folder.with_extension("new");
        if aside.exists() {
            // A process died while it wrote this: nothing was promised on it.
            fs::remove_dir_all(&aside).map_err(failing("removing", &aside))?;
        }
        make_folder(&aside)?;
        let mut shards = Vec::with_capacity(next.len());
        let mut at = Time::ZERO;
        for NextShard { state, beginning } in next {
            at = state.at;
            let path = shard_folder(&aside, state.shard);
            make_folder(&path)?;
            write_whole(&path.join(state_name(0)), &state::encode(&state))?;
            let folder = shard_folder(&folder, state.shard);
            let (sequences, segment_bytes) = (state.sequences, SEGMENT_BYTES_DEFAULT);
            let durable = Arc::default();
            shards.push(ShardStart { beginning, folder, run, segment_bytes, sequences, durable });
        }
        let about = Run {
            layout: LAYOUT_VERSION,
            shards: placement.shard_count(),
            zero_unix_ms: clock.display().zero_unix_ms,
            stamps_zero_unix_ms: Some(clock.stamps().zero_unix_ms),
            began_unix_ms: clock.display().unix_ms(at),
        };
        let text = serde_json::to_vec_pretty(&about).expect("numbers can be written");
        write_whole(&aside.join(ABOUT), &text)?;
        fs::rename(&aside, &folder).map_err(failing("naming", &folder))?;
        sync_folder(&self.root().join(super::RUNS))?;
        Ok(shards)
    }
}

const ABOUT: &str = "run.json";

/// What is known of the run before, beside what its shards were.
#[derive(Default)]
struct KnownOfRun {
    zero_unix_ms: Option<i64>,
    stamps_zero_unix_ms: Option<i64>,
    report: RecoveryReport,
}

/// A run's files.
struct RunFolder {
    folder: PathBuf,
}

impl StoredRun for RunFolder {
    type Error = DataError;

    fn records(
        &self,
        shard: ShardId,
        after: u64,
        visit: Visit<'_, DataError>,
    ) -> Result<Scan, DataError> {
        for_each_record(&shard_folder(&self.folder, shard), after, visit)
    }

    fn failed(&self, shard: ShardId, record: u64, error: ReplayError) -> DataError {
        failing_replay(&shard_folder(&self.folder, shard), record)(error)
    }
}

pub(super) fn read_about(folder: &Path) -> Result<Run, DataError> {
    let path = folder.join(ABOUT);
    let about: Run = serde_json::from_slice(&read(&path)?).map_err(|error| {
        DataError::Malformed { path: path.clone(), what: format!("{error}; restore a backup") }
    })?;
    if about.layout == LAYOUT_VERSION && about.shards > 0 {
        return Ok(about);
    }
    let (has, reads) = (about.layout, LAYOUT_VERSION);
    let what = format!(
        "the run has layout {has} and this program reads layout {reads}: use the program that \
         wrote it"
    );
    Err(DataError::Malformed { path, what })
}

/// When a run began, how it displays time, and its number of shards.
///
/// # Errors
/// If it cannot be read.
pub fn run_times(root: &Path, run: u64) -> Result<(Time, DisplayClock, u16), DataError> {
    let about = read_about(&run_folder(root, run))?;
    let passed_ms = about.began_unix_ms.saturating_sub(about.zero_unix_ms);
    let began = Time::from_millis(u64::try_from(passed_ms).unwrap_or(0));
    Ok((began, DisplayClock { zero_unix_ms: about.zero_unix_ms }, about.shards))
}

/// The events that a shard began a run with: of the shows whose director lives there.
///
/// # Errors
/// If they cannot be read.
pub fn began_with(folder: &Path) -> Result<Vec<NumberedEvent>, DataError> {
    let path = folder.join(state_name(0));
    let state = state::decode(&read(&path)?);
    state.map(|state| state.image.events).map_err(|error| DataError::State { path, error })
}

/// The newest state of a shard that can be read; what it began with can always be, or the folder is
/// damaged.
fn newest_state(folder: &Path) -> Result<ShardState, DataError> {
    let mut error = (folder.join(state_name(0)), StateError::NoState);
    for record in states(folder)?.into_iter().rev() {
        let path = folder.join(state_name(record));
        match state::decode(&read(&path)?) {
            Ok(state) => return Ok(state),
            Err(problem) => {
                tracing::warn!(path = %path.display(), error = %problem, "a state cannot be read; an older one is taken");
                error = (path, problem);
            }
        }
    }
    let (path, error) = error;
    Err(DataError::State { path, error })
}

/// All states of a shard that can be read, with their files.
pub(super) fn readable_states(folder: &Path) -> Result<Vec<(PathBuf, ShardState)>, DataError> {
    let mut found = Vec::new();
    for record in states(folder)? {
        let path = folder.join(state_name(record));
        if let Ok(state) = state::decode(&read(&path)?) {
            found.push((path, state));
        }
    }
    Ok(found)
}

/// Hands over the records of a shard's journal, and where each was found.
pub(super) fn for_each_found(
    folder: &Path,
    visit: &mut dyn FnMut(Found, Record),
) -> Result<Scan, DataError> {
    scan_records(folder, 0, &mut |_, found, record| {
        visit(found, record);
        Ok(())
    })
}

/// Hands over the records of a shard's journal behind record `after`, with their numbers.
pub(super) fn for_each_record(
    folder: &Path,
    after: u64,
    visit: &mut dyn FnMut(u64, Record) -> Result<(), DataError>,
) -> Result<Scan, DataError> {
    scan_records(folder, after, &mut |number, _, record| visit(number, record))
}

fn scan_records(
    folder: &Path,
    after: u64,
    visit: VisitFound<'_, DataError>,
) -> Result<Scan, DataError> {
    let segments = segments(folder)?;
    let mut contents = Vec::with_capacity(segments.len());
    for segment in &segments {
        contents.push(read(&folder.join(segment_name(*segment)))?);
    }
    let files: Vec<SegmentFile<'_>> = segments
        .iter()
        .zip(&contents)
        .map(|(segment, bytes)| SegmentFile { segment: *segment, bytes })
        .collect();
    recovery::for_each_record::<Unreadable>(&files, after, &mut |number, found, record| {
        visit(number, found, record).map_err(Unreadable::Visit)
    })
    .map_err(|error| {
        let path = folder.to_path_buf();
        match error {
            Unreadable::Journal(JournalError::Damage(damage)) => DataError::Damage { path, damage },
            Unreadable::Journal(JournalError::Record { record, error }) => {
                DataError::Record { path, record, error }
            }
            Unreadable::Visit(error) => error,
        }
    })
}

/// Why a journal's records could not all be handed over.
enum Unreadable {
    Journal(JournalError),
    Visit(DataError),
}

impl From<JournalError> for Unreadable {
    fn from(error: JournalError) -> Unreadable {
        Unreadable::Journal(error)
    }
}

pub(super) fn failing_replay(path: &Path, record: u64) -> impl FnOnce(ReplayError) -> DataError {
    move |error| match error {
        ReplayError::EventMissing { show, number } => {
            DataError::EventCut { path: path.to_path_buf(), record, show, number }
        }
        error => failed_replay(path, record, error),
    }
}

fn failed_replay(path: &Path, record: u64, error: ReplayError) -> DataError {
    DataError::Replay { path: path.to_path_buf(), record, error: Box::new(error) }
}
