//! Rehearsals: a show played by robots, with the operator at its controls, and nobody paid.
//!
//! A rehearsal has a gateway of its own in this process: one shard, a free port of the loopback, keys
//! drawn for it, and no data folder. It has a copy of the show under an id that no show has. So there is
//! no way from it to anybody's money: no journal, hence no feed and no book; other buckets with other
//! users in them, whose cards and balances end with it; another room on another port, which no player
//! knows. What the real gateway shares with it is the processor, and that only while no show runs:
//! a rehearsal is refused during a show, and ends when one begins.
//!
//! There is one at most, of [`ROBOTS_MAX`] robots and [`LONGEST`] at most; it ends by itself.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};
use serde_json::{Value, json};
use thiserror::Error;

use crate::auth::token::{NewToken, mint};
use crate::base::entropy::{Entropy, SystemEntropy};
use crate::base::ids::{RoomId, ShowId, UserId};
use crate::base::time::Time;
use crate::net::PlaneSettings;
use crate::ops::autopilot::{Autopilot, PacedShow};
use crate::ops::cli::DemoArguments;
use crate::ops::demo::gateway_settings;
use crate::ops::http::{OperatorView, ReadyState};
use crate::ops::show_file::{ShowFile, rains};
use crate::ops::show_json;
use crate::player::script::Script;
use crate::player::swarm::{Swarm, SwarmError, SwarmSettings};
use crate::quiz::director::Command;
use crate::quiz::phase::Phase;
use crate::runtime::clock::Clock;
use crate::runtime::gateway::{EntropySource, Gateway, GatewaySettings, StartError};
use crate::runtime::operator::{CallError, Caller};
use crate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

#[expect(clippy::disallowed_types, reason = "off the shards; none waits for it")]
type Mutex<T> = std::sync::Mutex<T>;

/// Robots of a rehearsal.
pub const ROBOTS_MAX: u32 = 500;
/// How long a rehearsal may last.
pub const LONGEST: Duration = Duration::from_secs(1_800);
/// The show's id in its rehearsal: the greatest that JavaScript counts up to.
pub const SHOW: ShowId = ShowId((1 << 53) - 1);
const ROOM: RoomId = RoomId((1 << 53) - 1);
/// How often its course is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// So many looks are a second.
const LOOKS_PER_SECOND: u32 = 5;
/// Robots come back on other connections while old ones live.
const SLOTS_PER_RING: u32 = 4_096;
const CONNECTS_IN_FLIGHT: u32 = 64;
/// A token lives longer than any rehearsal.
const TOKEN_LIFETIME_S: u32 = 86_400;

/// What is to be rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The show.
    pub file: ShowFile,
    /// How many robots play.
    pub robots: u32,
    /// Somebody gives the commands; else it runs by the show's pace, or the usual one.
    pub by_hand: bool,
    /// Who wants it.
    pub by: String,
}

/// Why there is no rehearsal.
#[derive(Debug, Error)]
pub enum RehearsalError {
    /// There is one.
    #[error("{by} rehearses show {show} now: wait until that ends, or end it")]
    Running {
        /// Who.
        by: String,
        /// What.
        show: ShowId,
    },
    /// A show runs.
    #[error("show {0} runs: rehearse when no show does, so that nothing is in its way")]
    ShowRuns(ShowId),
    /// None or too many.
    #[error("{0} robots: give 1 to {ROBOTS_MAX}")]
    Robots(u32),
    /// The shards of the real gateway.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The gateway.
    #[error("its gateway did not start: {0}")]
    Gateway(#[from] StartError),
    /// The robots.
    #[error("its robots did not start: {0}")]
    Swarm(#[from] SwarmError),
    /// A thread.
    #[error("its thread cannot be started: {0}; raise the limit on threads")]
    Thread(#[from] std::io::Error),
}

/// What became of a rehearsal.
#[derive(Clone, Debug)]
enum Course {
    Runs,
    /// It is over, for this reason, and this was the show at its end.
    Over {
        reason: &'static str,
        last: Option<Value>,
    },
    Failed(String),
}

/// A rehearsal, also one that is over.
struct Rehearsal {
    wanted: Wanted,
    began_unix_ms: i64,
    course: Course,
    /// How the pages see it; nothing when it is over.
    view: Option<Arc<OperatorView>>,
    /// Dropped to end it.
    stop: Option<Sender<()>>,
}

/// The rehearsals of a gateway, one at a time.
#[derive(Clone)]
pub struct Rehearsals(Arc<Inner>);

struct Inner {
    /// The real gateway's.
    caller: Caller,
    last: Mutex<Option<Rehearsal>>,
    /// Held by whoever begins one.
    turn: Mutex<()>,
}

impl Rehearsals {
    /// None yet. `caller` leads to the gateway whose shows come first.
    #[must_use]
    pub fn new(caller: Caller) -> Rehearsals {
        Rehearsals(Arc::new(Inner { caller, last: Mutex::default(), turn: Mutex::default() }))
    }

    /// Begins one; takes as long as a gateway takes to start.
    ///
    /// # Errors
    /// Why there is none.
    pub fn begin(&self, wanted: Wanted) -> Result<(), RehearsalError> {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !(1..=ROBOTS_MAX).contains(&wanted.robots) {
            return Err(RehearsalError::Robots(wanted.robots));
        }
        if let Some(Rehearsal { course: Course::Runs, wanted, .. }) = &*self.last() {
            let (by, show) = (wanted.by.clone(), wanted.file.definition.id);
            return Err(RehearsalError::Running { by, show });
        }
        if let Some(show) = running_show(&self.0.caller)? {
            return Err(RehearsalError::ShowRuns(show));
        }
        let stage = Stage::set(&wanted)?;
        let view = Arc::new(stage.view());
        let (stop, stopped) = flume::bounded(0);
        let now = stage.gateway.clock().now();
        *self.last() = Some(Rehearsal {
            began_unix_ms: stage.gateway.clock().display().unix_ms(now),
            wanted,
            course: Course::Runs,
            view: Some(view),
            stop: Some(stop),
        });
        let rehearsals = self.clone();
        let spawned = std::thread::Builder::new()
            .name("rehearsal".to_owned())
            .spawn(move || rehearsals.run(stage, &stopped));
        if let Err(error) = spawned {
            self.end(Course::Failed(error.to_string()));
            return Err(error.into());
        }
        Ok(())
    }

    /// Ends the one that runs, soon; whether there was one.
    #[must_use]
    pub fn stop(&self) -> bool {
        self.last().as_mut().is_some_and(|it| it.stop.take().is_some())
    }

    /// How the pages see the one that runs.
    pub(crate) fn view(&self) -> Option<Arc<OperatorView>> {
        self.last().as_ref().and_then(|it| it.view.clone())
    }

    /// The last one, or that there was none: `state` (`none`, `runs`, `over`, `failed`), and then `show`,
    /// `title`, `robots`, `by_hand`, `by`, `began_at_ms`, `reason` (why it is over or failed) and `last`
    /// (the show at its end, or null).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let last = self.last();
        let Some(Rehearsal { wanted, began_unix_ms, course, .. }) = &*last else {
            return json!({ "state": "none" });
        };
        let (state, reason, show) = match course {
            Course::Runs => ("runs", None, &None),
            Course::Over { reason, last } => ("over", Some((*reason).to_owned()), last),
            Course::Failed(reason) => ("failed", Some(reason.clone()), &None),
        };
        json!({
            "state": state,
            "show": wanted.file.definition.id.0,
            "title": wanted.file.definition.title,
            "robots": wanted.robots,
            "by_hand": wanted.by_hand,
            "by": wanted.by,
            "began_at_ms": began_unix_ms,
            "reason": reason,
            "last": show,
        })
    }

    fn run(&self, stage: Stage, stopped: &Receiver<()>) {
        let played = stage.play(&self.0.caller, stopped);
        let course = match played {
            Ok((reason, last)) => Course::Over { reason, last },
            Err(error) => Course::Failed(error.to_string()),
        };
        tracing::info!(?course, "a rehearsal is over");
        self.end(course);
    }

    fn end(&self, course: Course) {
        if let Some(rehearsal) = &mut *self.last() {
            *rehearsal = Rehearsal {
                course,
                view: None,
                stop: None,
                wanted: rehearsal.wanted.clone(),
                began_unix_ms: rehearsal.began_unix_ms,
            };
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Rehearsal>> {
        // Nothing in here stops half way.
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A show that has begun and is not over.
fn running_show(caller: &Caller) -> Result<Option<ShowId>, CallError> {
    let runs = |status: &ShowStatus| {
        !matches!(status.live.phase, Phase::Announced | Phase::Cancelled | Phase::Ended)
    };
    match caller.call(OperatorRequest::Shows)? {
        OperatorAnswer::Shows(shows) => {
            Ok(shows.iter().find(|status| runs(status)).map(|status| status.show))
        }
        other => panic!("shards were asked for shows and answered {other:?}"),
    }
}

/// A gateway for one rehearsal.
struct Stage {
    gateway: Gateway,
    settings: GatewaySettings,
    secret: [u8; 32],
    file: ShowFile,
    robots: u32,
    by_hand: bool,
    /// Of what the robots do.
    seed: u64,
}

impl Stage {
    /// Starts the gateway, announces the copy of the show to it, and opens its lobby.
    fn set(wanted: &Wanted) -> Result<Stage, RehearsalError> {
        let mut secret = [0; 32];
        SystemEntropy.fill(&mut secret);
        let mut seed = [0; 8];
        SystemEntropy.fill(&mut seed);
        let mut file = wanted.file.clone();
        file.definition.id = SHOW;
        file.definition.room = ROOM;
        file.definition.starts_at_unix_ms = 0;
        let arguments = DemoArguments {
            players: wanted.robots,
            questions: u16::try_from(file.definition.questions.len()).unwrap_or(u16::MAX),
            countdown_ms: None,
            shards: Some(1),
            seed: u64::from_le_bytes(seed),
            force_retry: 0,
            show: None,
            data: None,
            json: true,
            keep: false,
            listen: None,
            guests: None,
        };
        let settings = gateway_settings(&arguments, &secret, ([127, 0, 0, 1], 0).into());
        let slots_per_ring = settings.plane.slots_per_ring.min(SLOTS_PER_RING);
        let plane = PlaneSettings { slots_per_ring, ..settings.plane };
        let settings = GatewaySettings { plane, entropy: EntropySource::System, ..settings };
        let gateway = Gateway::start(&settings, Clock::start())?;
        let (robots, by_hand) = (wanted.robots, wanted.by_hand);
        let seed = arguments.seed;
        let stage = Stage { gateway, settings, secret, file, robots, by_hand, seed };
        match stage.open() {
            Ok(()) => Ok(stage),
            Err(error) => {
                stage.gateway.stop();
                Err(error.into())
            }
        }
    }

    fn open(&self) -> Result<(), CallError> {
        let definition = Arc::new(self.file.definition.clone());
        let script = Script::new(self.seed, &definition);
        self.gateway.call(OperatorRequest::Announce(definition))?;
        for command in rains::orders(&self.file.rains) {
            self.gateway.call(OperatorRequest::Rain { show: SHOW, command })?;
        }
        for user in (1..=u64::from(self.robots)).map(UserId).filter(|it| script.holds_card(*it)) {
            self.gateway.call(OperatorRequest::GrantCard { user })?;
        }
        let command = Command::OpenLobby;
        self.gateway.call(OperatorRequest::Command { show: SHOW, command })?;
        Ok(())
    }

    fn view(&self) -> OperatorView {
        let view = OperatorView::of(&self.gateway);
        view.readiness.set(ReadyState::Accepting);
        view
    }

    /// Plays until the show is over, or somebody ends it; why it ended, and how.
    fn play(
        self,
        real: &Caller,
        stopped: &Receiver<()>,
    ) -> Result<(&'static str, Option<Value>), RehearsalError> {
        let played = self.play_with_robots(real, stopped);
        self.gateway.stop();
        played
    }

    fn play_with_robots(
        &self,
        real: &Caller,
        stopped: &Receiver<()>,
    ) -> Result<(&'static str, Option<Value>), RehearsalError> {
        let swarm = self.robots()?;
        let paced = (!self.by_hand).then(|| {
            let pace = Some(self.file.pace.unwrap_or_default());
            PacedShow::of(&ShowFile { pace, ..self.file.clone() })
        });
        let autopilot = match paced.flatten() {
            None => None,
            Some(show) => {
                let autopilot = Autopilot::start(self.gateway.caller(), self.gateway.clock())?;
                autopilot.handle().fly(show);
                Some(autopilot)
            }
        };
        let reason = self.until_over(real, stopped);
        if let Some(autopilot) = autopilot {
            autopilot.stop();
        }
        let last =
            self.status().map(|status| show_json::show(&status, self.gateway.clock().display()));
        let _ = swarm.finish();
        Ok((reason, last))
    }

    fn robots(&self) -> Result<Swarm, SwarmError> {
        let clock = self.gateway.clock();
        let (secret, issued_unix_s) = (self.secret, clock.display().zero_unix_ms / 1_000);
        let token = move |user| {
            let lifetime_s = TOKEN_LIFETIME_S;
            mint(&secret, NewToken { user, issued_unix_s, lifetime_s, audience: None })
        };
        Swarm::start(SwarmSettings {
            gateway: self.gateway.local_address(),
            players: self.robots,
            seed: self.seed,
            definition: Arc::new(self.file.definition.clone()),
            connects_in_flight: CONNECTS_IN_FLIGHT,
            plane: self.settings.plane,
            clock,
            gateway_may_die: false,
            token: Arc::new(token),
        })
    }

    fn until_over(&self, real: &Caller, stopped: &Receiver<()>) -> &'static str {
        let clock = self.gateway.clock();
        let until: Time = clock.now() + LONGEST;
        for look in 1_u32.. {
            if stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
                return "it was ended";
            }
            if self.status().is_some_and(|it| it.live.phase == Phase::Ended) {
                return "the show is over";
            }
            if look % LOOKS_PER_SECOND == 0 && matches!(running_show(real), Ok(Some(_))) {
                return "a show began";
            }
            if clock.now() > until {
                break;
            }
        }
        "it took too long"
    }

    fn status(&self) -> Option<Box<ShowStatus>> {
        match self.gateway.call(OperatorRequest::Status { show: SHOW }) {
            Ok(OperatorAnswer::Show(status)) => Some(status),
            Ok(_) | Err(_) => None,
        }
    }
}
