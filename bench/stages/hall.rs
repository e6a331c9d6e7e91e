//! One gateway with its audience, under a load: requests of each kind at a steady rate whatever the
//! gateway does, and pushes to everybody. Times count from the moment at which something was due, so
//! a client that is late hides nothing.

use std::time::Duration;

use crate::common::answering::shuffled;
use crate::common::clients::{Clients, ClientsSettings};
use crate::common::clock::{ProcessClock, now_ns, pause};
use crate::common::contender::patience_s;
use crate::common::gateway::{Gateway, GatewaySettings};
use crate::common::memory;
use crate::common::options::Options;
use crate::common::players::answer_to;
use crate::common::problem::Problem;
use crate::common::server::Server;
use crate::common::show::{SHOW, show_file};
use crate::common::stats::{Coverage, Coverages, as_f64_ns, whole};

use super::showing::{ChatShown, FlowShown, Kind, PushShown, Showing, Weight};
use super::viewers::{Replies, Viewers, heartbeat};

/// Nobody must be told that it is too late.
const COUNTDOWN_MS: u32 = 600_000;
/// How many may be between connect and upgrade: below the smallest backlog of a host that was tuned,
/// and enough never to be what limits.
const IN_FLIGHT_MAX: u32 = 1_024;
/// What did not come so long after everything was due is lost.
const LOST_AFTER_NS: u64 = 4_000_000_000;
/// What the gateway still does after the last reply.
const AFTERMATH: Duration = Duration::from_millis(5);
/// The gateway publishes its metrics ten times a second.
const METRICS_LAG: Duration = Duration::from_millis(150);
/// Time of turns that had something to do, and sends from a room to one of its members.
const TURN_SECONDS: &str = "tidegate_turn_seconds_total";
const ROOM_SENDS: &str = "tidegate_room_sends_total";
/// Messages of one kind and turn of the clients at most, so that a client that is late does not
/// wait longer.
const SPOKEN_PER_LOOK: usize = 256;
/// The rate of fewer replies is not looked at: one that is late would change it by percents.
const RATE_REPLIES_MIN: u64 = 20;
/// The correct option.
const OPTION: u32 = 1;

/// Who is there, and what is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HallSettings {
    /// In before anything is measured.
    pub(crate) members: u32,
    /// Others who may come.
    pub(crate) newcomers: u32,
    /// Data of a message to everybody.
    pub(crate) push_bytes: usize,
    /// Data of a chat message.
    pub(crate) chat_bytes: usize,
    /// How long sockets are left alone after a look at them, nanoseconds.
    pub(crate) look_interval_ns: u64,
    /// Whether memory is looked at: it takes a while to settle.
    pub(crate) weighs: bool,
}

/// What everybody together does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    pub(crate) duration: Duration,
    pub(crate) connects_per_s: f64,
    pub(crate) heartbeats_per_s: f64,
    /// At most one of each member.
    pub(crate) answers_per_s: f64,
    pub(crate) chats_per_s: f64,
    pub(crate) pushes: u32,
    /// From the beginning of one push to that of the next, if the first is at its end by then.
    pub(crate) push_interval: Duration,
    /// The first push is the question, and answers begin when everybody has it.
    pub(crate) asks: bool,
    /// Answers begin when everybody has the question, or so long after the command.
    pub(crate) answers_after: Duration,
}

/// Requests of one kind under way.
#[derive(Clone, Copy, Debug)]
struct Flow {
    kind: Kind,
    per_s: f64,
    planned: u64,
    begun: u64,
    /// When the first is due; nothing while that is not known.
    from_ns: Option<u64>,
}

impl Flow {
    /// When the next one is due, if there is one.
    fn due_ns(&self) -> Option<u64> {
        let from_ns = self.from_ns.filter(|_| self.begun < self.planned)?;
        let offset_ns = as_f64_ns(self.begun) * 1e9 / self.per_s;
        Some(from_ns + whole(offset_ns))
    }
}

/// Pushes under way.
#[derive(Clone, Debug, Default)]
struct Pushes {
    begun: u32,
    /// One is on its way since then.
    from_ns: Option<u64>,
    /// When the last one began, and when the next may.
    begun_ns: u64,
    next_ns: u64,
    reached: u64,
    coverages: Coverages,
}

/// The gateway and everybody.
pub(crate) struct Hall {
    // Clients go first: the gateway has nobody left to say goodbye to.
    clients: Clients,
    viewers: Viewers,
    gateway: Gateway,
    settings: HallSettings,
    cpu: ProcessClock,
    cores: usize,
    weight: Option<Weight>,
    /// The order in which members speak.
    order: Vec<u32>,
    /// By member: the turn in which it spoke last. Clients say one thing a turn.
    spoke: Vec<u64>,
    turn: u64,
    heartbeat: Vec<u8>,
    answer: Vec<u8>,
}

impl Hall {
    /// Starts a gateway with a show in its lobby, and lets the members in.
    pub(crate) fn open(
        settings: HallSettings,
        options: &Options,
        file_limit: u64,
    ) -> Result<Hall, Problem> {
        let HallSettings { members, newcomers, look_interval_ns, .. } = settings;
        let slab = if settings.weighs { memory::slab_at_rest()? } else { 0 };
        let connections = members + newcomers;
        let show = Some(show_file(COUNTDOWN_MS));
        let mut gateway =
            Gateway::start(&GatewaySettings { connections, show, retries: false }, options)?;
        gateway.command(SHOW, "open-lobby")?;
        gateway.adjust(settings.push_bytes, 0)?;
        let empty = memory::resident_bytes(gateway.process_id())?;
        let clients = ClientsSettings {
            port: gateway.port(),
            connections,
            file_limit,
            in_flight_max: IN_FLIGHT_MAX,
            look_interval_ns,
        };
        let mut hall = Hall {
            clients: Clients::new(clients)?,
            viewers: Viewers::new(members, newcomers, settings.chat_bytes, gateway.request()),
            cpu: gateway.cpu()?,
            gateway,
            settings,
            cores: options.server_core.len(),
            weight: None,
            order: shuffled(members),
            spoke: vec![0; members as usize],
            turn: 0,
            heartbeat: heartbeat(),
            answer: answer_to(0, OPTION, &[]),
        };
        hall.clients.want(members);
        let what = "everybody's joining";
        hall.clients.until(&mut hall.viewers, patience_s(members), what, |_, viewers| {
            viewers.members_in() >= members
        })?;
        if settings.weighs {
            let kernel = memory::slab_at_rest()?.saturating_sub(slab);
            let user = memory::resident_bytes(hall.gateway.process_id())?.saturating_sub(empty);
            let each = |bytes: u64| as_f64_ns(bytes) / f64::from(members.max(1));
            hall.weight = Some(Weight { user_bytes: each(user), kernel_bytes: each(kernel) });
        }
        Ok(hall)
    }

    /// Opens the question and waits until every member has it.
    pub(crate) fn ask(&mut self) -> Result<(), Problem> {
        self.viewers.begin_push();
        self.gateway.command(SHOW, "publish")?;
        self.until_reached("the question's reaching everybody")
    }

    /// Sends everybody a message and waits until all have it; nobody measures that.
    pub(crate) fn warm_up(&mut self) -> Result<(), Problem> {
        self.viewers.begin_push();
        self.gateway.broadcast(1)?;
        self.until_reached("the message's reaching everybody")?;
        self.gateway.await_word()
    }

    fn until_reached(&mut self, what: &str) -> Result<(), Problem> {
        let members = self.settings.members;
        self.clients.until(&mut self.viewers, patience_s(members), what, |_, viewers| {
            viewers.reached() >= members
        })?;
        pause(AFTERMATH);
        Ok(())
    }

    /// Lets everybody do what `load` says, until that is done or lost.
    pub(crate) fn run(&mut self, load: &Load) -> Result<Showing, Problem> {
        pause(METRICS_LAG);
        let turns_from_s: f64 = self.gateway.metric(TURN_SECONDS)?;
        let sends_from: u64 = self.gateway.metric(ROOM_SENDS)?;
        self.clients.take_busy_ns();
        let cpu_from_ns = self.cpu.ns()?;
        let from_ns = now_ns();
        let (mut flows, mut pushes) = (self.flows(load, from_ns), Pushes::default());
        pushes.next_ns = from_ns;
        let broke = self.drive(load, from_ns, &mut flows, &mut pushes)?;
        let wall_s = seconds(now_ns() - from_ns);
        let client_cpu_s = seconds(self.clients.take_busy_ns());
        pause(AFTERMATH);
        let server_cpu_s = seconds(self.cpu.ns()? - cpu_from_ns);
        pause(METRICS_LAG);
        let turns_s = self.gateway.metric::<f64>(TURN_SECONDS)? - turns_from_s;
        let room_sends = self.gateway.metric::<u64>(ROOM_SENDS)? - sends_from;
        let mut frames = self.viewers.frames();
        frames.answer_bytes = self.answer.len();
        Ok(Showing {
            push: (pushes.begun > 0).then(|| PushShown {
                members: self.settings.members,
                pushes: load.pushes,
                reached: pushes.reached,
                coverage_ms: pushes.coverages.median(),
            }),
            chat: self.chat_shown(&flows),
            flows: flows
                .iter()
                .map(|flow| flow_shown(flow, self.viewers.replies(flow.kind)))
                .collect(),
            closed: self.clients.ended(),
            broke,
            wall_s,
            server_cpu_s,
            client_cpu_s,
            server_busy: turns_s / (wall_s * as_f64_ns(self.cores as u64)),
            client_busy: client_cpu_s / wall_s,
            room_sends,
            weight: self.weight,
            frames,
        })
    }

    fn flows(&self, load: &Load, from_ns: u64) -> Vec<Flow> {
        let HallSettings { members, newcomers, .. } = self.settings;
        let rates = [
            (Kind::Connect, load.connects_per_s, u64::from(newcomers)),
            (Kind::Heartbeat, load.heartbeats_per_s, u64::MAX),
            (Kind::Answer, load.answers_per_s, u64::from(members)),
            (Kind::Chat, load.chats_per_s, u64::MAX),
        ];
        let flow = |(kind, per_s, most): (Kind, f64, u64)| {
            let planned = whole((per_s * load.duration.as_secs_f64()).ceil()).min(most);
            let waits = kind == Kind::Answer && load.asks;
            Flow { kind, per_s, planned, begun: 0, from_ns: (!waits).then_some(from_ns) }
        };
        rates.into_iter().map(flow).filter(|flow| flow.planned > 0).collect()
    }

    /// Until all is done or lost; says why if it cannot be kept up.
    fn drive(
        &mut self,
        load: &Load,
        from_ns: u64,
        flows: &mut [Flow],
        pushes: &mut Pushes,
    ) -> Result<Option<String>, Problem> {
        let all_due_ns = from_ns + nanoseconds(load.duration + load.answers_after);
        loop {
            let now = now_ns();
            self.turn += 1;
            self.push(load, now, flows, pushes)?;
            for flow in flows.iter_mut() {
                self.speak(flow, now);
            }
            if let Err(problem) = self.clients.turn(&mut self.viewers) {
                return Ok(Some(problem.to_string()));
            }
            let is_done = pushes.begun == load.pushes
                && pushes.from_ns.is_none()
                && flows.iter().all(|flow| self.is_done(flow));
            let late = all_due_ns.max(pushes.begun_ns) + LOST_AFTER_NS;
            if is_done || now > late || self.clients.ended() > 0 {
                break;
            }
        }
        if pushes.from_ns.is_some() {
            self.end_push(pushes)?;
        }
        Ok(None)
    }

    fn is_done(&mut self, flow: &Flow) -> bool {
        let members = u64::from(self.settings.members);
        let delivered = self.viewers.chat_delivered();
        let replies = self.viewers.replies(flow.kind);
        let heard = flow.kind != Kind::Chat || delivered >= replies.done * members;
        replies.done + replies.refused >= flow.planned && heard
    }

    /// Begins a push that is due, and ends one that everybody has.
    fn push(
        &mut self,
        load: &Load,
        now_ns: u64,
        flows: &mut [Flow],
        pushes: &mut Pushes,
    ) -> Result<(), Problem> {
        let is_question = load.asks && pushes.begun <= 1;
        if let Some(from_ns) = pushes.from_ns {
            let is_whole = self.viewers.reached() >= self.settings.members;
            let patience_ns = nanoseconds(load.answers_after);
            let may_answer = is_whole || now_ns > from_ns + patience_ns;
            for flow in flows.iter_mut().filter(|_| is_question && may_answer) {
                flow.from_ns = flow.from_ns.or(Some(now_ns));
            }
            return if is_whole { self.end_push(pushes) } else { Ok(()) };
        }
        if pushes.begun == load.pushes || now_ns < pushes.next_ns {
            return Ok(());
        }
        self.viewers.begin_push();
        if load.asks && pushes.begun == 0 {
            self.gateway.operator().send("POST", &format!("/v1/shows/{SHOW}/publish"), "")?;
        } else {
            self.gateway.broadcast(1)?;
        }
        pushes.begun += 1;
        pushes.from_ns = Some(now_ns);
        pushes.begun_ns = now_ns;
        pushes.next_ns = now_ns + nanoseconds(load.push_interval);
        Ok(())
    }

    fn end_push(&mut self, pushes: &mut Pushes) -> Result<(), Problem> {
        if let Some(from_ns) = pushes.from_ns.take() {
            pushes.reached += u64::from(self.viewers.reached());
            pushes.coverages.push(self.viewers.push_coverage(from_ns));
        }
        self.gateway.await_word()
    }

    /// Says what is due.
    fn speak(&mut self, flow: &mut Flow, now_ns: u64) {
        let HallSettings { members, .. } = self.settings;
        for _ in 0..SPOKEN_PER_LOOK {
            let Some(due_ns) = flow.due_ns().filter(|due_ns| *due_ns <= now_ns) else { return };
            if flow.kind == Kind::Connect {
                let index = members + u32::try_from(flow.begun).unwrap_or(u32::MAX);
                self.viewers.replies(Kind::Connect).expect(index, due_ns);
                self.clients.want(index + 1);
                flow.begun += 1;
                continue;
            }
            // Kinds begin at different places, or they would all wait for the same clients.
            let offset = u64::from(members) / 4 * flow.kind as u64;
            let place = usize::try_from((flow.begun + offset) % u64::from(members.max(1)));
            let index = self.order[place.unwrap_or(0)];
            let spoke = &mut self.spoke[index as usize];
            if *spoke == self.turn || self.viewers.replies(flow.kind).is_awaited(index) {
                return;
            }
            *spoke = self.turn;
            self.viewers.replies(flow.kind).expect(index, due_ns);
            let (viewers, outgoing) = (&self.viewers, self.clients.outgoing());
            outgoing.push(index, |bytes| match flow.kind {
                Kind::Chat => viewers.write_chat(due_ns, bytes),
                Kind::Heartbeat => bytes.extend_from_slice(&self.heartbeat),
                Kind::Answer | Kind::Connect => bytes.extend_from_slice(&self.answer),
            });
            flow.begun += 1;
        }
    }

    fn chat_shown(&mut self, flows: &[Flow]) -> Option<ChatShown> {
        let chat = flows.iter().find(|flow| flow.kind == Kind::Chat)?;
        Some(ChatShown {
            expected: chat.planned * u64::from(self.settings.members),
            delivered: self.viewers.chat_delivered(),
            gaps: self.viewers.gaps(),
            delivery_ms: self.viewers.chat_coverage(),
        })
    }
}

fn flow_shown(flow: &Flow, replies: &mut Replies) -> FlowShown {
    let span_s = seconds(replies.last_ns.saturating_sub(replies.first_ns));
    let enough = replies.done >= RATE_REPLIES_MIN && span_s > 0.0;
    FlowShown {
        kind: flow.kind,
        planned: flow.planned,
        done: replies.done,
        refused: replies.refused,
        asked_per_s: flow.per_s,
        per_s: if enough { as_f64_ns(replies.done - 1) / span_s } else { flow.per_s },
        ms: Coverage::of(&mut replies.times_ns),
    }
}

fn seconds(ns: u64) -> f64 {
    as_f64_ns(ns) / 1e9
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
