//! What is raised: each interface of the gateway by itself (the first round), and all of them
//! together (the second).
//!
//! A round is a list of [`Interface`]s. The ramp, the criteria and the report know nothing else of
//! them, so that rounds with several gateways are further lists: an interface's own business is
//! which servers and which audience it starts for an attempt.

use std::time::Duration;

use crate::common::clock::pause;
use crate::common::options::Options;
use crate::common::problem::Problem;
use crate::common::stats::{as_f64_ns, whole};

use super::hall::{Hall, HallSettings, Load};
use super::showing::{Kind, Showing};

/// Pushes of one attempt.
const PUSHES: u32 = 5;
/// Broadcasts are looked at a thousand times a second: it is milliseconds that count in them.
const LOOK_INTERVAL_NS: u64 = 1_000_000;
/// An attempt in which everything happens lasts so many times as long as another: the question has
/// to come before the answers.
const TOGETHER_STEPS: u32 = 3;
/// From one push to the next while everything happens.
const TOGETHER_PUSHES: u32 = 3;
/// An attempt lasts at least so long, even if there are too few clients for a whole step.
const ATTEMPT_PER_S_MAX: u32 = 20;
/// What one gateway leaves to the next: sockets that are being closed.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// What an interface is, for ramp and report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// What its load is counted in.
    pub(crate) load: &'static str,
    /// What its CPU time is divided by.
    pub(crate) work: &'static str,
    /// The first load, and the largest that the bench can make.
    pub(crate) start: u32,
    pub(crate) cap: u32,
}

/// Something whose load can be raised.
pub(crate) trait Interface {
    /// What it is.
    fn about(&self) -> About;

    /// Tries a load, with servers and an audience of its own.
    fn attempt(&mut self, load: u32) -> Result<Showing, Problem>;

    /// How much work was done in an attempt.
    fn work(&self, showing: &Showing) -> f64;
}

/// What all interfaces of one host have in common.
#[derive(Clone, Debug)]
pub(crate) struct OneHost {
    pub(crate) options: Options,
    pub(crate) file_limit: u64,
    /// Members where they are not the load.
    pub(crate) connections: u32,
    pub(crate) connections_max: u32,
    pub(crate) question_bytes: usize,
    pub(crate) chat_bytes: usize,
    pub(crate) step: Duration,
    /// What one viewer does in a second, while everything happens.
    pub(crate) viewer: Viewer,
    /// Answers don't wait longer for a question to be with everybody.
    pub(crate) window: Duration,
}

/// What one of many viewers does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewer {
    pub(crate) connects_per_s: f64,
    pub(crate) heartbeats_per_s: f64,
    pub(crate) answers_per_s: f64,
    /// Of all viewers together: a screen shows so many.
    pub(crate) chats_per_s: f64,
}

/// An interface of one gateway on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Connect,
    Heartbeat,
    Question,
    Answers,
    Chat,
    Together,
}

struct OfOneHost {
    what: What,
    host: OneHost,
}

/// The first round: one interface on one host.
pub(crate) fn each_by_itself(host: &OneHost) -> Vec<Box<dyn Interface>> {
    [What::Connect, What::Heartbeat, What::Question, What::Answers, What::Chat]
        .map(|what| boxed(what, host))
        .into()
}

/// The second round: everything on one host.
pub(crate) fn everything_together(host: &OneHost) -> Vec<Box<dyn Interface>> {
    vec![boxed(What::Together, host)]
}

fn boxed(what: What, host: &OneHost) -> Box<dyn Interface> {
    Box::new(OfOneHost { what, host: host.clone() })
}

impl Interface for OfOneHost {
    fn about(&self) -> About {
        let OneHost { connections, connections_max, .. } = &self.host;
        let by_rate = connections_max.saturating_mul(ATTEMPT_PER_S_MAX);
        let (name, load, work, start, cap) = match self.what {
            What::Connect => ("connect", "connects/s", "connect", 4_000, by_rate),
            What::Heartbeat => ("heartbeat", "heartbeats/s", "heartbeat", 10_000, 4_000_000),
            What::Question => {
                ("question", "connections", "delivery", *connections, *connections_max)
            }
            What::Answers => ("answers", "answers/s", "answer", 10_000, by_rate),
            What::Chat => ("chat", "messages/s", "delivery", 5, 100_000),
            What::Together => {
                // Whoever comes meanwhile needs a place too.
                let cap = f64::from(*connections_max) / (1.0 + self.newcomers_per_member());
                let cap = u32::try_from(whole(cap)).unwrap_or(u32::MAX).saturating_sub(1).max(1);
                ("everything", "viewers", "viewer and second", *connections / 2, cap)
            }
        };
        About { name, load, work, start, cap }
    }

    fn attempt(&mut self, load: u32) -> Result<Showing, Problem> {
        let rate = f64::from(load);
        let step = self.host.step;
        pause(BETWEEN_ATTEMPTS);
        match self.what {
            What::Connect => {
                let newcomers = self.fitting(load);
                let duration = Duration::from_secs_f64(f64::from(newcomers) / rate);
                let load = Load { duration, connects_per_s: rate, ..Load::default() };
                self.open(0, newcomers, 0)?.run(&load)
            }
            What::Heartbeat => {
                let load = Load { duration: step, heartbeats_per_s: rate, ..Load::default() };
                self.open(self.host.connections, 0, 0)?.run(&load)
            }
            What::Question => {
                let mut hall = self.open(load, 0, LOOK_INTERVAL_NS)?;
                hall.warm_up()?;
                hall.run(&Load { pushes: PUSHES, ..Load::default() })
            }
            What::Answers => {
                let members = self.fitting(load);
                let duration = Duration::from_secs_f64(f64::from(members) / rate);
                let mut hall = self.open(members, 0, 0)?;
                hall.ask()?;
                hall.run(&Load { duration, answers_per_s: rate, ..Load::default() })
            }
            What::Chat => {
                let mut hall = self.open(self.host.connections, 0, LOOK_INTERVAL_NS)?;
                hall.warm_up()?;
                hall.run(&Load { duration: step, chats_per_s: rate, ..Load::default() })
            }
            What::Together => {
                let newcomers = whole((rate * self.newcomers_per_member()).ceil());
                let newcomers = u32::try_from(newcomers).unwrap_or(u32::MAX);
                let mut hall = self.open(load, newcomers, LOOK_INTERVAL_NS)?;
                hall.warm_up()?;
                hall.run(&self.together(rate))
            }
        }
    }

    fn work(&self, showing: &Showing) -> f64 {
        match self.what {
            What::Connect => as_f64_ns(showing.done(Kind::Connect)),
            What::Heartbeat => as_f64_ns(showing.done(Kind::Heartbeat)),
            What::Answers => as_f64_ns(showing.done(Kind::Answer)),
            What::Question => as_f64_ns(showing.push.as_ref().map_or(0, |push| push.reached)),
            What::Chat => as_f64_ns(showing.chat.as_ref().map_or(0, |chat| chat.delivered)),
            What::Together => {
                let members = showing.push.as_ref().map_or(0, |push| push.members);
                f64::from(members) * showing.wall_s
            }
        }
    }
}

impl OfOneHost {
    /// Clients for a step at such a rate, as far as they are allowed.
    fn fitting(&self, per_s: u32) -> u32 {
        let wanted = whole(f64::from(per_s) * self.host.step.as_secs_f64());
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        wanted.clamp(1, self.host.connections_max)
    }

    fn newcomers_per_member(&self) -> f64 {
        let duration = self.host.step * TOGETHER_STEPS;
        self.host.viewer.connects_per_s * duration.as_secs_f64()
    }

    fn together(&self, viewers: f64) -> Load {
        let Viewer { connects_per_s, heartbeats_per_s, answers_per_s, chats_per_s } =
            self.host.viewer;
        let duration = self.host.step * TOGETHER_STEPS;
        Load {
            duration,
            connects_per_s: viewers * connects_per_s,
            heartbeats_per_s: viewers * heartbeats_per_s,
            answers_per_s: viewers * answers_per_s,
            chats_per_s,
            pushes: TOGETHER_PUSHES,
            push_interval: duration / TOGETHER_PUSHES,
            asks: true,
            answers_after: self.host.window,
        }
    }

    fn open(&self, members: u32, newcomers: u32, look_interval_ns: u64) -> Result<Hall, Problem> {
        let OneHost { options, file_limit, question_bytes, chat_bytes, .. } = &self.host;
        let settings = HallSettings {
            members,
            newcomers,
            push_bytes: *question_bytes,
            chat_bytes: *chat_bytes,
            look_interval_ns,
            weighs: self.what == What::Question,
        };
        Hall::open(settings, options, *file_limit)
    }
}
