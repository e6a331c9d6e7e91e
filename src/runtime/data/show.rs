//! A show's account from the folder of a deployment, read only: its records are done again, run by
//! run, and watched.
//!
//! No lock is taken, so a gateway may run: of every journal no more is done again than was there
//! before the events were read, so every event that a record follows is known. A show that has ended
//! is all there; of one that goes on, what was durable at that moment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::deployment::{Deployment, stored};
use super::recover::{failing_replay, for_each_record, read_about};
use super::{DataError, read, run_folder, runs, shard_folder, state_name};
use crate::base::hash::{Placement, PlacementKey};
use crate::base::hex;
use crate::base::ids::{ShardId, ShowId};
use crate::base::time::Time;
use crate::quiz::phase::Phase;
use crate::shard::account::{Place, RunAccount, ShowAccount, phase};
use crate::shard::record::Record;
use crate::shard::recovery::{Histories, Replay};
use crate::shard::witness::Witness;
use crate::store::state::{self, ShardState};

/// A group that is being written while it is read looks damaged: so often it is read once more.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Why there is no account of a show.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// Not a deployment's folder.
    #[error(
        "{}: there is no deployment in this folder: name the one that the gateway has as data_dir",
        .0.display()
    )]
    NoDeployment(PathBuf),
    /// No such show.
    #[error("{}: there is no show {show} in this folder; {}", path.display(), known_shows(known))]
    NoSuchShow {
        /// The folder.
        path: PathBuf,
        /// Which show.
        show: ShowId,
        /// Those that there are.
        known: Vec<ShowId>,
    },
    /// The records of its beginning are not in the folder any more.
    #[error(
        "{}: show {show} had begun before run {run}, which is the first of it that is here: bring \
         back the folders of the runs before it from a backup",
        path.display()
    )]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// Which show.
        show: ShowId,
        /// The first run of it that is here.
        run: u64,
    },
    /// The folder cannot be read, or is damaged.
    #[error(transparent)]
    Data(#[from] DataError),
}

fn known_shows(known: &[ShowId]) -> String {
    if known.is_empty() {
        return "there is none at all".to_owned();
    }
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    format!("there are: {}", known.join(", "))
}

/// Reads all that is on record of a show.
///
/// # Errors
/// If there is no such show, or the folder cannot be read. Nothing is ever changed.
pub fn show_account(root: &Path, show: ShowId) -> Result<ShowAccount, ShowError> {
    let deployment = if root.is_dir() { stored(root)? } else { None }
        .ok_or_else(|| ShowError::NoDeployment(root.to_path_buf()))?;
    let mut tries = 1;
    loop {
        match read_show(root, &deployment, show) {
            Err(ShowError::Data(DataError::Damage { .. })) if tries < TRIES => {
                tries += 1;
                thread::park_timeout(BETWEEN_TRIES);
            }
            outcome => return outcome,
        }
    }
}

/// One run of the process, as far as it can be done again.
struct RunRead {
    folder: PathBuf,
    shards: u16,
    states: Vec<ShardState>,
    /// Records of each journal that are done again.
    bounds: Vec<u64>,
    histories: Histories,
}

impl RunRead {
    fn open(root: &Path, run: u64, shards: u16, may_grow: bool) -> Result<RunRead, DataError> {
        let folder = run_folder(root, run);
        let mut bounds = Vec::new();
        let mut states = Vec::new();
        let mut histories = Histories::default();
        for shard in ShardId::all(shards) {
            let path = shard_folder(&folder, shard);
            // The first state of all, so that every record of the run is seen.
            let file = path.join(state_name(0));
            let state = state::decode(&read(&file)?)
                .map_err(|error| DataError::State { path: file, error })?;
            for event in &state.image.events {
                histories.note(event.clone()).map_err(failing_replay(&path, 0))?;
            }
            states.push(state);
            let bound = if may_grow {
                for_each_record(&path, u64::MAX, &mut |_, _| Ok(()))?.records
            } else {
                u64::MAX
            };
            bounds.push(bound);
        }
        // Behind the bounds: an event is durable before anybody follows it.
        for shard in ShardId::all(shards) {
            let path = shard_folder(&folder, shard);
            for_each_record(&path, 0, &mut |number, record| match record {
                Record::Event(event) => {
                    histories.note(*event).map_err(failing_replay(&path, number))
                }
                _ => Ok(()),
            })?;
        }
        Ok(RunRead { folder, shards, states, bounds, histories })
    }

    /// Whether the run began with the show.
    fn began_with(&self, show: ShowId) -> bool {
        self.states.iter().any(|state| state.image.applied.iter().any(|(of, _)| *of == show))
    }

    /// Whether the show was announced in this run.
    fn announced(&self, show: ShowId) -> bool {
        let knew = |state: &ShardState| state.image.events.iter().any(|event| event.show == show);
        !self.histories.of(show).is_empty() && !self.states.iter().any(knew)
    }

    /// Does all records again; says when the run knew its last moment.
    fn watch(
        &self,
        run: u64,
        placement: Placement,
        is_newest: bool,
        witness: &mut Witness,
    ) -> Result<Time, DataError> {
        let mut latest = Time::ZERO;
        for ((shard, state), bound) in ShardId::all(self.shards).zip(&self.states).zip(&self.bounds)
        {
            let path = shard_folder(&self.folder, shard);
            let histories = &self.histories;
            let local = state.image.restore(shard, placement, histories);
            let mut replay =
                Replay::new(local.map_err(failing_replay(&path, 0))?, state.image.standing.clone());
            let scan = for_each_record(&path, 0, &mut |record, said| {
                if record > *bound {
                    return Ok(());
                }
                let place = Place { run, record, shard };
                let redone = witness.redo(place, &mut replay, &said, histories);
                redone.map_err(failing_replay(&path, record))
            })?;
            if !is_newest {
                // The next run begins with these applied.
                for (record, (show, number)) in (scan.records + 1..).zip(replay.pending(histories))
                {
                    let place = Place { run, record, shard };
                    let said = Record::Applied { show, number };
                    let redone = witness.redo(place, &mut replay, &said, histories);
                    redone.map_err(failing_replay(&path, record))?;
                }
            }
            witness.collect(replay.local());
            latest = latest.max(state.at).max(replay.latest());
        }
        Ok(latest)
    }
}

fn read_show(root: &Path, deployment: &Deployment, show: ShowId) -> Result<ShowAccount, ShowError> {
    let mut witness = Witness::new(show, deployment.buckets);
    let mut histories = Histories::default();
    let (mut latest, mut has_begun) = (Time::ZERO, false);
    let all = runs(root)?;
    for run in &all {
        let about = read_about(&run_folder(root, *run))?;
        let placement = placement(root, deployment, about.shards)?;
        let read = RunRead::open(root, *run, about.shards, Some(run) == all.last())?;
        let is_here = read.began_with(show) || read.announced(show);
        if is_here && !has_begun && !read.announced(show) {
            let (path, run) = (root.to_path_buf(), *run);
            return Err(ShowError::Incomplete { path, show, run });
        }
        if is_here {
            has_begun = true;
            let began_at = read.states.iter().map(|state| state.at).max().unwrap_or(Time::ZERO);
            let (shards, zero_unix_ms) = (about.shards, about.zero_unix_ms);
            witness.begin_run(RunAccount { run: *run, shards, began_at, zero_unix_ms }, latest);
            latest = read.watch(*run, placement, Some(run) == all.last(), &mut witness)?;
        }
        histories = read.histories;
    }
    let path = root.to_path_buf();
    match histories.of(show) {
        [] => {
            let known = histories.iter().map(|(show, _)| show).collect();
            Err(ShowError::NoSuchShow { path, show, known })
        }
        _ if !has_begun => {
            let run = all.first().copied().unwrap_or(0);
            Err(ShowError::Incomplete { path, show, run })
        }
        _ => {
            let others = histories.iter().filter(|(of, _)| *of != show);
            let hiding = others.filter(|(_, history)| {
                let phase = phase(history);
                phase.hides_verdicts() || phase == Phase::Rejudging
            });
            let hiding: BTreeSet<ShowId> = hiding.map(|(of, _)| of).collect();
            Ok(witness.finish(&histories, hiding))
        }
    }
}

fn placement(root: &Path, deployment: &Deployment, shards: u16) -> Result<Placement, DataError> {
    let key = hex::decode(&deployment.placement_key).and_then(|key| key.try_into().ok());
    let malformed = || DataError::Malformed {
        path: root.join("deployment.json"),
        what: "the placement key is not 32 hexadecimal digits; restore it from a backup".to_owned(),
    };
    if deployment.buckets == 0 {
        return Err(malformed());
    }
    Ok(Placement::new(PlacementKey(key.ok_or_else(malformed)?), deployment.buckets, shards))
}
