//! Shows before they begin: planned, changed and withdrawn over HTTP, and begun for good.
//!
//! A *plan* is a show as a show file says it, with a version. Players see it as announced; the shards know
//! nothing of it. When its lobby is opened, it is announced to them, with its rains, and from then on it
//! is theirs: whatever they know of a show never changes, because answers and money rest on it. So there
//! is no way by which a game that has begun could become another one.
//!
//! Any number of plans may name one room. It is the shards that give a room to one show at a time, from its
//! announcement to its end; until then the next one stays a plan.
//!
//! With a data folder each plan is a file in it ([`shows`](crate::runtime::data::shows)), replaced as a whole and durable
//! before anybody is answered. A plan that is about to begin is marked so first: what a crash cuts off
//! there is gone on with at the next start, as with a show file of `serve --show`. A file whose show has
//! begun stays for what the shards do not know, its pace, until they have forgotten the show.
//!
//! Versions are Unix milliseconds that only grow: greater than the number of any event of a show, so one
//! number says what somebody has seen of a show, before it begins and after.
//!
//! Everything here blocks: on the disk and on the shards.

mod begin;
mod stored;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use thiserror::Error;

use crate::base::ids::{EventNumber, RoomId, ShowId};
use crate::base::limits::SHOWS_MAX;
use crate::ops::autopilot::AutopilotHandle;
use crate::ops::problems::Problems;
use crate::ops::show_file::ShowFile;
use crate::ops::show_json::phase_word;
use crate::quiz::director::{CommandKind, LiveFigures};
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::rain::{RainPhase, RainStatus};
use crate::runtime::clock::Clock;
use crate::runtime::data::DataError;
use crate::runtime::data::shows::{remove_show, store_show};
use crate::runtime::operator::{CallError, Caller};
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest, ShowStatus};

#[expect(clippy::disallowed_types, reason = "off the shards; none waits for it")]
type Mutex<T> = std::sync::Mutex<T>;

/// How far a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanState {
    /// It may be changed and withdrawn.
    Planned,
    /// It is being announced to the shards: whether they know it by now, they say.
    Beginning,
    /// The shards have it.
    Begun,
}

/// A show as it was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Grows with every change.
    pub version: u64,
    /// Whose change it was.
    pub by: String,
    /// How far it is.
    pub state: PlanState,
    /// What it says.
    pub file: ShowFile,
}

/// A change of a plan, or a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanChange {
    /// The version that was changed; none: there is no plan of this show yet.
    pub seen: Option<u64>,
    /// Who changes it.
    pub by: String,
    /// What it is to say.
    pub file: ShowFile,
}

/// Why a plan stays as it is.
#[derive(Debug, Error)]
pub enum PlanError {
    /// There is none.
    #[error("there is no show {0}")]
    NoSuchShow(ShowId),
    /// The shards have it.
    #[error(
        "show {show} has begun ({}), so it cannot be changed or withdrawn any more; possible now: {}",
        phase_word(*phase),
        words(allowed)
    )]
    Begun {
        /// Which.
        show: ShowId,
        /// Where it is.
        phase: Phase,
        /// What can be done with it.
        allowed: Vec<CommandKind>,
    },
    /// It has not begun.
    #[error(
        "show {0} has not begun: open-lobby begins it; until then it can be changed and withdrawn"
    )]
    NotBegun(ShowId),
    /// Somebody else changed it.
    #[error(
        "{by} changed show {show} since you saw it. Nothing was done: look at it again (its version is {version})"
    )]
    Changed {
        /// Which.
        show: ShowId,
        /// Who.
        by: String,
        /// What it is by now.
        version: u64,
    },
    /// There is one.
    #[error(
        "there is a show {show} already, by {by}: give the new one another id, or change that one (its version is {version})"
    )]
    Exists {
        /// Which.
        show: ShowId,
        /// Whose.
        by: String,
        /// What it is.
        version: u64,
    },
    /// Another show has its room: it cannot begin yet.
    #[error(
        "room {room} has show {other} “{title}” ({}): end that one first, or give show {show} another room",
        phase_word(*phase)
    )]
    RoomBusy {
        /// Which cannot begin.
        show: ShowId,
        /// Where.
        room: RoomId,
        /// The one that is there.
        other: ShowId,
        /// What that is called.
        title: String,
        /// Where that is.
        phase: Phase,
    },
    /// As many as there can be.
    #[error("there are {SHOWS_MAX} shows, the most possible: withdraw or end one")]
    TooMany,
    /// Money without a journal.
    #[error(
        "a prize of {0} cents has nothing to be kept in: this gateway has no data folder (data_dir)"
    )]
    PrizeWithoutData(Cents),
    /// The shards.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The disk.
    #[error("the show cannot be kept: {0}")]
    Data(#[from] DataError),
}

fn words(allowed: &[CommandKind]) -> String {
    let words: Vec<&str> = allowed.iter().map(|kind| kind.word()).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// Why plans cannot be taken up when the gateway starts.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// A file cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file makes no sense.
    #[error("{}: {problems}; restore it from a backup, or remove it: then the show is not planned any more", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// All that is wrong.
        problems: Problems,
    },
    /// A show cannot go on beginning.
    #[error("show {show} was to begin and cannot: {error}")]
    Begin {
        /// Which.
        show: ShowId,
        /// Why.
        error: PlanError,
    },
    /// A show file has the id of a plan.
    #[error("show {show} is in {} already: give the show of the file another id, or leave the file out", path.display())]
    Twice {
        /// Which.
        show: ShowId,
        /// Where it is planned.
        path: PathBuf,
    },
}

/// All plans of a gateway.
#[derive(Clone)]
pub struct Plans(Arc<Inner>);

struct Inner {
    /// The data folder.
    root: Option<PathBuf>,
    caller: Caller,
    clock: Clock,
    autopilot: AutopilotHandle,
    /// Held by whoever changes anything, from its first look to its end.
    turn: Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    plans: BTreeMap<ShowId, Arc<Plan>>,
    last_version: u64,
}

impl Plans {
    /// Plans of which there are none yet; kept in `root`, or in memory.
    #[must_use]
    pub fn new(
        root: Option<&Path>,
        caller: Caller,
        clock: Clock,
        autopilot: AutopilotHandle,
    ) -> Plans {
        Plans(Arc::new(Inner {
            root: root.map(Path::to_path_buf),
            caller,
            clock,
            autopilot,
            turn: Mutex::default(),
            known: Mutex::default(),
        }))
    }

    /// The plan of a show, begun ones included.
    #[must_use]
    pub fn get(&self, show: ShowId) -> Option<Arc<Plan>> {
        self.known().plans.get(&show).cloned()
    }

    /// The plan of a show that the shards do not have.
    #[must_use]
    pub fn waiting(&self, show: ShowId) -> Option<Arc<Plan>> {
        self.get(show).filter(|plan| plan.state != PlanState::Begun)
    }

    /// All plans of shows that the shards do not have.
    #[must_use]
    pub fn all_waiting(&self) -> Vec<Arc<Plan>> {
        let known = self.known();
        known.plans.values().filter(|plan| plan.state != PlanState::Begun).cloned().collect()
    }

    /// Makes a plan, or another one of it.
    ///
    /// # Errors
    /// Why not; then all is as it was.
    pub fn change(&self, change: PlanChange) -> Result<Arc<Plan>, PlanError> {
        let _turn = self.turn();
        let PlanChange { seen, by, file } = change;
        let show = file.definition.id;
        let before = self.changeable(show, seen)?;
        let prize = file.definition.prize_pool;
        if self.0.root.is_none() && prize > Cents::ZERO {
            return Err(PlanError::PrizeWithoutData(prize));
        }
        if before.is_none() {
            self.check_place()?;
        }
        let plan = Plan { version: self.next_version(), by, state: PlanState::Planned, file };
        self.keep(plan)
    }

    /// Takes a plan back: the show is none any more.
    ///
    /// # Errors
    /// Why not; then all is as it was.
    pub fn withdraw(&self, show: ShowId, seen: u64) -> Result<(), PlanError> {
        let _turn = self.turn();
        self.changeable(show, Some(seen))?.ok_or(PlanError::NoSuchShow(show))?;
        self.forget(show)
    }

    /// The plan of a show that may be changed by who has seen `seen` of it; nothing if there is neither.
    fn changeable(&self, show: ShowId, seen: Option<u64>) -> Result<Option<Arc<Plan>>, PlanError> {
        let plan = self.get(show);
        if plan.as_ref().is_none_or(|plan| plan.state != PlanState::Planned)
            && let Some(status) = self.status(show)?
        {
            let (phase, allowed) = (status.live.phase, status.allowed.clone());
            return Err(PlanError::Begun { show, phase, allowed });
        }
        match (plan, seen) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(PlanError::NoSuchShow(show)),
            (Some(plan), _) if plan.state != PlanState::Planned => {
                let (phase, allowed) = (Phase::Announced, vec![CommandKind::OpenLobby]);
                Err(PlanError::Begun { show, phase, allowed })
            }
            (Some(plan), None) => {
                let (by, version) = (plan.by.clone(), plan.version);
                Err(PlanError::Exists { show, by, version })
            }
            (Some(plan), Some(seen)) if plan.version != seen => {
                let (by, version) = (plan.by.clone(), plan.version);
                Err(PlanError::Changed { show, by, version })
            }
            (Some(plan), Some(_)) => Ok(Some(plan)),
        }
    }

    /// Whether there is a place for another show.
    fn check_place(&self) -> Result<(), PlanError> {
        let statuses = self.statuses()?;
        self.forget_ended(&statuses)?;
        let running = statuses.iter().filter(|it| it.live.phase != Phase::Ended).count();
        if self.all_waiting().len() + running >= SHOWS_MAX {
            return Err(PlanError::TooMany);
        }
        Ok(())
    }

    /// Plans of shows that are over tell nothing that the shards do not.
    fn forget_ended(&self, statuses: &[ShowStatus]) -> Result<(), PlanError> {
        let ended = statuses.iter().filter(|it| it.live.phase == Phase::Ended);
        for show in ended.map(|status| status.show) {
            if self.get(show).is_some_and(|plan| plan.state == PlanState::Begun) {
                self.forget(show)?;
            }
        }
        Ok(())
    }

    /// What the shards say of a show, if they have it.
    fn status(&self, show: ShowId) -> Result<Option<Box<ShowStatus>>, PlanError> {
        match self.0.caller.call(OperatorRequest::Status { show }) {
            Ok(OperatorAnswer::Show(status)) => Ok(Some(status)),
            Err(CallError::Refused(OperatorError::NoSuchShow(_))) => Ok(None),
            Ok(other) => panic!("a shard was asked for a show's status and answered {other:?}"),
            Err(error) => Err(error.into()),
        }
    }

    fn statuses(&self) -> Result<Vec<ShowStatus>, PlanError> {
        match self.0.caller.call(OperatorRequest::Shows)? {
            OperatorAnswer::Shows(shows) => Ok(shows),
            other => panic!("shards were asked for shows and answered {other:?}"),
        }
    }

    /// Makes a plan durable, and then known.
    fn keep(&self, plan: Plan) -> Result<Arc<Plan>, PlanError> {
        let show = plan.file.definition.id;
        if let Some(root) = &self.0.root {
            store_show(root, show, &stored::encode(&plan))?;
        }
        let plan = Arc::new(plan);
        let mut known = self.known();
        known.last_version = known.last_version.max(plan.version);
        known.plans.insert(show, Arc::clone(&plan));
        Ok(plan)
    }

    fn forget(&self, show: ShowId) -> Result<(), PlanError> {
        if let Some(root) = &self.0.root {
            remove_show(root, show)?;
        }
        self.known().plans.remove(&show);
        Ok(())
    }

    fn next_version(&self) -> u64 {
        let now_unix_ms = self.0.clock.display().unix_ms(self.0.clock.now());
        let now = u64::try_from(now_unix_ms).unwrap_or(0);
        now.max(self.known().last_version + 1)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing in here stops half way.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// The show as the shards would show it, had they heard of it and nothing more.
    #[must_use]
    pub fn status(&self) -> ShowStatus {
        let ShowFile { definition, rains, .. } = &self.file;
        let planned = |(index, rain): (u16, &crate::ops::show_file::rains::FiledRain)| RainStatus {
            rain: crate::base::ids::RainIndex(index),
            settings: rain.settings,
            phase: RainPhase::Planned,
            granted: 0,
            grabbed: 0,
            paid: Cents::ZERO,
            returned: Cents::ZERO,
        };
        ShowStatus {
            show: definition.id,
            title: definition.title.clone(),
            room: definition.room,
            starts_at_unix_ms: definition.starts_at_unix_ms,
            prize_pool: definition.prize_pool,
            question_count: definition.questions.len(),
            early_push_max: definition.timing.early_push_max,
            pushed: None,
            last_event: EventNumber(self.version),
            live: LiveFigures {
                phase: Phase::Announced,
                question: None,
                joined: 0,
                answered: 0,
                options: Default::default(),
                correct: 0,
                late: 0,
                eliminated: 0,
                revived: 0,
                cards_used: 0,
                in_play: 0,
                per_head: Cents::ZERO,
            },
            allowed: vec![CommandKind::OpenLobby],
            questions: Vec::new(),
            settlement: None,
            is_paid_out: false,
            journals_standing: Vec::new(),
            notices: Vec::new(),
            rains: (0..).zip(rains).map(planned).collect(),
            rain_fund: Cents::ZERO,
        }
    }
}
