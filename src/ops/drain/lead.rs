//! The main thread's life while the gateway serves: it waits for signals and for what the operator
//! wants, and leads a drain from its beginning until the process is to end.

use std::time::Duration;

use flume::{Receiver, Sender};
use tokio::sync::watch;

use super::course::{Course, Facts, Next};
use super::{
    Countdown, DrainHandle, DrainRefusal, DrainSettings, DrainState, DrainStatus, WISHES_MAX, Wish,
};
use crate::base::metrics::Metric;
use crate::base::time::Time;
use crate::ops::http::{Readiness, ReadyState};
use crate::ops::service;
use crate::quiz::phase::Phase;
use crate::runtime::gateway::Gateway;
use crate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

/// From one look at how far a drain is to the next.
const LOOK: Duration = Duration::from_millis(50);
/// How often the log says how far it is.
const TELL: Duration = Duration::from_secs(5);
/// How often a service manager is asked for more time than it allows by itself. Not at each look: it
/// reads when it has the time, and what it has not read holds up who writes more.
const EXTEND: Duration = Duration::from_secs(5);
/// What it is asked for: far more than it takes until it is asked again.
const EXTENSION: Duration = Duration::from_secs(30);

/// What is wanted, and where it stands, before anybody leads.
pub struct Wishes {
    sender: Sender<Wish>,
    receiver: Receiver<Wish>,
    status: watch::Sender<DrainStatus>,
    defaults: watch::Sender<DrainSettings>,
}

impl Wishes {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(defaults: DrainSettings) -> Wishes {
        let (sender, receiver) = flume::bounded(WISHES_MAX);
        let defaults = watch::Sender::new(defaults);
        Wishes { sender, receiver, status: watch::Sender::default(), defaults }
    }

    /// Sets what holds where a wish says nothing.
    #[must_use]
    pub fn defaults(&self) -> watch::Sender<DrainSettings> {
        self.defaults.clone()
    }

    /// Where wishes go.
    #[must_use]
    pub fn sender(&self) -> Sender<Wish> {
        self.sender.clone()
    }

    /// For the operator's HTTP.
    #[must_use]
    pub fn handle(&self) -> DrainHandle {
        DrainHandle {
            wishes: self.sender.clone(),
            status: self.status.subscribe(),
            defaults: self.defaults.subscribe(),
        }
    }
}

/// Who leads.
pub struct Lead<'a> {
    wishes: &'a Wishes,
    gateway: &'a Gateway,
    readiness: &'a Readiness,
    course: Option<Course>,
    countdowns: Vec<Countdown>,
    /// The process is to end.
    is_final: bool,
    began_at_ms: i64,
    begun: u64,
    aborted: u64,
    told_at: Time,
    extended_at: Option<Time>,
}

impl<'a> Lead<'a> {
    /// Leads a gateway that serves.
    #[must_use]
    pub fn new(wishes: &'a Wishes, gateway: &'a Gateway, readiness: &'a Readiness) -> Lead<'a> {
        Lead {
            wishes,
            gateway,
            readiness,
            course: None,
            countdowns: Vec::new(),
            is_final: false,
            began_at_ms: 0,
            begun: 0,
            aborted: 0,
            told_at: Time::ZERO,
            extended_at: None,
        }
    }

    /// Leads until the gateway is drained: everybody has left, or had time enough. The settings with
    /// which it was come back.
    pub fn until_drained(mut self) -> DrainSettings {
        loop {
            let wish = match &self.course {
                None => self.wishes.receiver.recv().ok(),
                Some(_) => self.wishes.receiver.recv_timeout(LOOK).ok(),
            };
            match wish {
                Some(Wish::Begin(settings, reply)) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.begin(settings));
                }
                Some(Wish::Abort(reply)) => {
                    let _ = reply.send(self.abort());
                }
                Some(Wish::Signal(signal)) => self.end_process(signal),
                None => {}
            }
            if let Some(settings) = self.go_on() {
                return settings;
            }
        }
    }

    fn begin(&mut self, settings: DrainSettings) -> Result<(), DrainRefusal> {
        if self.course.is_some() {
            return Err(DrainRefusal::Draining);
        }
        let clock = self.gateway.clock();
        let now = clock.now();
        tracing::info!(?settings, "drain: no question begins from now on");
        self.gateway.caller().hold_questions(true);
        self.course = Some(Course::new(settings, now));
        self.began_at_ms = clock.display().unix_ms(now);
        self.begun += 1;
        self.told_at = now;
        self.tell();
        Ok(())
    }

    fn abort(&mut self) -> Result<(), DrainRefusal> {
        let Some(course) = &self.course else { return Ok(()) };
        if self.is_final {
            return Err(DrainRefusal::Final("a signal asked for it"));
        }
        if course.leaving_since().is_some() {
            self.gateway.end_drain().map_err(|error| DrainRefusal::Listen(error.to_string()))?;
        }
        self.gateway.caller().hold_questions(false);
        self.readiness.set(ReadyState::Accepting);
        tracing::info!("drain: ended by the operator; clients are accepted as before");
        self.course = None;
        self.countdowns.clear();
        self.aborted += 1;
        self.tell();
        Ok(())
    }

    /// A drain that is under way goes on as it began, to the end.
    fn end_process(&mut self, signal: &'static str) {
        self.is_final = true;
        service::stopping(service::CLIENTS_LEAVE);
        if self.course.is_some() {
            tracing::info!(signal, "stopping: the drain that is under way goes to its end");
            return;
        }
        tracing::info!(signal, "stopping: clients are asked to leave");
        let defaults = self.wishes.defaults.borrow().clone();
        let begun = self.begin(defaults);
        assert!(begun.is_ok(), "there was no drain");
    }

    /// Does what is due; the settings, once it is over.
    fn go_on(&mut self) -> Option<DrainSettings> {
        let now = self.gateway.clock().now();
        let leaving_since = self.course.as_ref()?.leaving_since();
        let facts = match leaving_since {
            None => Facts { is_counting: self.look_for_countdowns(), left: None },
            Some(since) => Facts { is_counting: false, left: self.left_since(since) },
        };
        let course = self.course.as_mut()?;
        let next = course.next(now, facts);
        let settings = course.settings().clone();
        match next {
            Next::Wait => self.tell_log(now),
            Next::Leave => {
                if facts.is_counting {
                    tracing::warn!(countdowns = ?self.countdowns, "drain: a countdown runs on");
                }
                tracing::info!("drain: clients are asked to leave, and nobody is accepted");
                self.countdowns.clear();
                self.readiness.set(ReadyState::Draining);
                self.gateway.orders().drain(&settings.for_shards());
            }
            Next::Stop => {
                let left = self.sum(Metric::Connections);
                tracing::info!(connections = left, "drain: over, the process ends");
            }
        }
        if self.is_final && self.extended_at.is_none_or(|at| now.since(at) >= EXTEND) {
            self.extended_at = Some(now);
            service::stopping_takes(EXTENSION);
        }
        if next == Next::Stop {
            self.wishes.status.send_modify(|status| status.state = DrainState::Stopping);
            return Some(settings);
        }
        self.tell();
        None
    }

    /// Whether a countdown runs, or nobody can say.
    fn look_for_countdowns(&mut self) -> bool {
        match self.gateway.call(OperatorRequest::Shows) {
            Ok(OperatorAnswer::Shows(shows)) => {
                self.countdowns = shows.iter().filter_map(countdown).collect();
                !self.countdowns.is_empty()
            }
            Ok(_) | Err(_) => true,
        }
    }

    /// What is left of connections and listeners; nothing while a shard has not said so since it was
    /// asked to drain.
    fn left_since(&self, since: Time) -> Option<u64> {
        self.gateway.wake_all();
        let is_fresh = self.gateway.snapshots().iter().all(|shard| shard.published() > since);
        let metrics = [Metric::Connections, Metric::EdgeWaiting, Metric::Listening];
        is_fresh.then(|| metrics.map(|metric| self.sum(metric)).iter().sum())
    }

    fn sum(&self, metric: Metric) -> u64 {
        self.gateway.snapshots().iter().map(|shard| shard.get(metric)).sum()
    }

    fn tell(&self) {
        let display = self.gateway.clock().display();
        let course = self.course.as_ref();
        let leaving_since = course.and_then(Course::leaving_since);
        self.wishes.status.send_replace(DrainStatus {
            state: match (course, leaving_since) {
                (None, _) => DrainState::Off,
                (Some(_), None) => DrainState::Waiting,
                (Some(_), Some(_)) => DrainState::Leaving,
            },
            is_final: self.is_final,
            settings: course.map(|course| course.settings().clone()),
            began_at_ms: self.began_at_ms,
            leaving_at_ms: leaving_since.map(|since| display.unix_ms(since)),
            ends_by_ms: course.map_or(0, |course| display.unix_ms(course.ends_by())),
            countdowns: self.countdowns.clone(),
            begun: self.begun,
            aborted: self.aborted,
        });
    }

    fn tell_log(&mut self, now: Time) {
        if now.since(self.told_at) >= TELL {
            self.told_at = now;
            let (connections, countdowns) = (self.sum(Metric::Connections), &self.countdowns);
            tracing::info!(connections, ?countdowns, "drain: goes on");
        }
    }
}

/// The countdown of a show, if one runs.
fn countdown(status: &ShowStatus) -> Option<Countdown> {
    let question = status.live.question?;
    match status.live.phase {
        Phase::Open | Phase::Closing => Some(Countdown { show: status.show, question }),
        Phase::Announced
        | Phase::Lobby
        | Phase::Closed
        | Phase::Revealed
        | Phase::Rejudging
        | Phase::Voided
        | Phase::PausedInLobby
        | Phase::PausedInClosed
        | Phase::PausedInRevealed
        | Phase::PausedInVoided
        | Phase::Settling
        | Phase::Settled
        | Phase::Ended
        | Phase::Cancelled => None,
    }
}
