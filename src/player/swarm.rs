//! Thousands of players on one socket plane, in one thread.
//!
//! A turn: connect whoever may → reap what came → ring alarms → send → close; when nothing is left
//! the thread sleeps on the plane's eventfd until something comes or an alarm is due. Connects are
//! paced by how many are in flight, and come from many loopback addresses so that ports last.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;

use crate::base::ids::{ConnId, RoomId, UserId};
use crate::base::time::Time;
use crate::net::{
    Event, Plane, PlaneError, PlaneSettings, SendOutcome, SendRequest, TurnLimits, Waker,
};
use crate::player::client::{Alarm, Client, Context, Deeds, Order};
use crate::player::record::{Checks, QuestionSums};
use crate::player::script::Script;
use crate::player::violations::Violations;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::verdict::Verdict;
use crate::runtime::clock::Clock;
use crate::wire::proto;

/// How long the gateway has to answer all goodbyes.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a send waits for which the kernel had no memory.
const STARVED_RETRY: Duration = Duration::from_millis(20);
/// A client whose connect failed waits so long.
const CONNECT_RETRY: Duration = Duration::from_millis(200);
/// Loopback addresses that connections come from.
const LOCAL_ADDRESSES: u32 = 200;

/// What a swarm is told.
#[derive(Clone)]
pub struct SwarmSettings {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// How many players there are; their ids begin at 1.
    pub players: u32,
    /// Everything that is drawn is drawn from this.
    pub seed: u64,
    /// The show that they play. They look up nothing but the script's part of it.
    pub definition: Arc<ShowDefinition>,
    /// Connects that may be in flight at the same time.
    pub connects_in_flight: u32,
    /// The socket plane.
    pub plane: PlaneSettings,
    /// The clock of the process.
    pub clock: Clock,
    /// The gateway may die and begin again: connections that end by themselves are no fault.
    pub gateway_may_die: bool,
    /// Makes access tokens.
    pub token: Arc<dyn Fn(UserId) -> String + Send + Sync>,
}

/// Why a swarm did not begin.
#[derive(Debug, Error)]
pub enum SwarmError {
    /// No thread.
    #[error("starting the players' thread failed: {0}; raise the limit on threads")]
    Thread(std::io::Error),
    /// No socket plane.
    #[error("the players' sockets: {0}")]
    Plane(#[from] PlaneError),
    /// No eventfd.
    #[error("the players' eventfd: {0}; raise the limit on open files")]
    EventFd(std::io::Error),
}

/// What the players did and found.
#[derive(Clone, Debug)]
pub struct SwarmReport {
    /// Broken promises.
    pub violations: Violations,
    /// By question.
    pub questions: Vec<QuestionSums>,
    /// Beside answering.
    pub deeds: Deeds,
    /// Everybody's verdicts, by question; users ascending.
    pub verdicts: Vec<(UserId, Vec<Verdict>)>,
    /// Players who passed every question by their own record.
    pub winners: u64,
    /// What everybody was told of the split.
    pub settled: Option<proto::Settled>,
}

/// What the swarm shows of itself while it runs.
#[derive(Debug, Default)]
struct Shown {
    joined: AtomicU64,
    shown: AtomicU64,
    acknowledged: AtomicU64,
    settled: AtomicU64,
    taps: AtomicU64,
    finish: AtomicBool,
}

/// A running swarm.
pub struct Swarm {
    shown: Arc<Shown>,
    waker: Waker,
    /// Closed when the thread ends.
    life: flume::Receiver<()>,
    thread: JoinHandle<SwarmReport>,
}

impl Swarm {
    /// Starts the players; they connect at once.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn start(settings: SwarmSettings) -> Result<Swarm, SwarmError> {
        let shown = Arc::new(Shown::default());
        let (ready_sender, ready) = flume::bounded(1);
        let (life_sender, life) = flume::bounded::<()>(1);
        let thread = std::thread::Builder::new().name("players".to_owned()).spawn({
            let shown = shown.clone();
            move || {
                let _life = life_sender;
                run(settings, shown, &ready_sender)
            }
        });
        let thread = thread.map_err(SwarmError::Thread)?;
        // A thread that ends without a word has panicked, and says so when it is joined.
        match ready.recv() {
            Ok(Ok(waker)) => Ok(Swarm { shown, waker, life, thread }),
            Ok(Err(error)) => Err(error),
            Err(_) => panic!("the players' thread panicked while it began"),
        }
    }

    /// Players that have been in the room.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.shown.joined.load(Ordering::Relaxed)
    }

    /// Players that were shown the newest question.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shown.shown.load(Ordering::Relaxed)
    }

    /// Players whose answer to the newest question was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shown.acknowledged.load(Ordering::Relaxed)
    }

    /// True once players know of the settlement.
    #[must_use]
    pub fn knows_settlement(&self) -> bool {
        self.shown.settled.load(Ordering::Relaxed) > 0
    }

    /// Taps at red-packet rains whose outcome is known for good.
    #[must_use]
    pub fn taps(&self) -> u64 {
        self.shown.taps.load(Ordering::Relaxed)
    }

    /// Waits; false if the swarm has ended meanwhile, which only a panic makes it do.
    #[must_use]
    pub fn wait(&self, duration: Duration) -> bool {
        self.life.recv_timeout(duration) != Err(flume::RecvTimeoutError::Disconnected)
    }

    /// Lets all players say goodbye, and returns what they found.
    ///
    /// # Panics
    /// If the swarm has panicked.
    #[must_use]
    pub fn finish(self) -> SwarmReport {
        self.shown.finish.store(true, Ordering::SeqCst);
        self.waker.wake();
        self.thread.join().expect("the players' thread does not panic")
    }
}

/// All clients and what they share.
struct Hall {
    settings: SwarmSettings,
    room: RoomId,
    host: String,
    clients: Vec<Client>,
    /// By place of a connection: whose it is.
    owners: Vec<u32>,
    checks: Checks,
    deeds: Deeds,
    alarms: BinaryHeap<Reverse<(Time, u32, Alarm)>>,
    orders: Vec<Order>,
    /// Clients that wait for their turn to connect.
    queue: VecDeque<u32>,
    in_flight: u32,
    connects: u32,
    /// Clients that may have something to send.
    dirty: Vec<u32>,
}

fn run(
    settings: SwarmSettings,
    shown: Arc<Shown>,
    ready: &flume::Sender<Result<Waker, SwarmError>>,
) -> SwarmReport {
    let mut hall = Hall::new(settings);
    let begun = Plane::new(hall.settings.plane, None).map_err(SwarmError::Plane);
    let begun = begun.and_then(|plane| {
        let eventfd = plane.duplicate_eventfd().map_err(SwarmError::EventFd)?;
        Ok((plane, File::from(eventfd)))
    });
    match begun {
        Ok((mut plane, eventfd)) => {
            // Whoever started us waits for this word.
            let _ = ready.send(Ok(plane.waker()));
            hall.play(&mut plane, &eventfd, &shown);
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
    hall.report()
}

impl Hall {
    fn new(settings: SwarmSettings) -> Hall {
        let script = Script::new(settings.seed, &settings.definition);
        let users = (1..=u64::from(settings.players)).map(UserId);
        let clients: Vec<Client> =
            (0..).zip(users).map(|(place, user)| Client::new(place, user, &script)).collect();
        let mut checks = Checks::new(script, &settings.definition);
        checks.gateway_may_die = settings.gateway_may_die;
        Hall {
            room: settings.definition.room,
            host: settings.gateway.to_string(),
            checks,
            owners: Vec::new(),
            deeds: Deeds::default(),
            alarms: BinaryHeap::new(),
            orders: Vec::new(),
            queue: (0..settings.players).collect(),
            in_flight: 0,
            connects: 0,
            dirty: Vec::new(),
            clients,
            settings,
        }
    }

    fn play(&mut self, plane: &mut Plane, eventfd: &File, shown: &Shown) {
        let clock = self.settings.clock;
        let mut goodbye_until = None;
        loop {
            let asked = shown.finish.load(Ordering::SeqCst);
            if asked && goodbye_until.is_none() {
                goodbye_until = Some(clock.now() + GOODBYE);
                self.queue.clear();
                self.say_goodbye();
            }
            let worked = self.turn(plane);
            self.show(shown);
            if let Some(until) = goodbye_until {
                let gone = self.clients.iter().all(Client::is_gone);
                if gone || clock.now() >= until {
                    return self.leave(plane);
                }
            }
            if worked {
                continue;
            }
            let alarm = self.alarms.peek().map(|Reverse((at, _, _))| *at);
            let deadline = [alarm, goodbye_until].into_iter().flatten().min();
            let idle = plane.prepare_park(deadline, &|| clock.now());
            if idle && shown.finish.load(Ordering::SeqCst) == asked {
                let mut counter = [0; 8];
                // An interrupted read is as good as a wake.
                let _ = (&*eventfd).read(&mut counter);
            }
            plane.unpark();
        }
    }

    /// One turn; false if there was nothing to do.
    fn turn(&mut self, plane: &mut Plane) -> bool {
        let clock = self.settings.clock;
        let connected = self.connect(plane);
        let limits = TurnLimits { receives: 512, writables: 512, closes: 128 };
        let report = plane.turn(&|| clock.now(), limits, &mut |event| self.event(event));
        let rang = self.ring_alarms();
        let sent = self.send(plane);
        let ordered = self.carry_out(plane);
        connected || report.events > 0 || report.more || rang || sent || ordered
    }

    fn event(&mut self, event: Event<'_>) {
        let conn = match &event {
            Event::Accepted { conn, .. }
            | Event::Connected { conn }
            | Event::ConnectFailed { conn, .. }
            | Event::Received { conn, .. }
            | Event::Writable { conn }
            | Event::Ended { conn, .. }
            | Event::ReadOut { conn } => *conn,
        };
        let owner = self.owners.get(conn.place as usize).copied();
        let Some(place) = owner.filter(|place| self.clients[*place as usize].owns(conn)) else {
            return;
        };
        self.with(place, |client, context| match event {
            Event::Connected { .. } => client.connected(context),
            Event::ConnectFailed { errno, .. } => {
                client.ended(conn, &format!("connect: error {errno}"), context);
            }
            Event::Received { bytes, .. } => client.received(conn, bytes, context),
            Event::Ended { end, .. } => client.ended(conn, &format!("{end:?}"), context),
            Event::Accepted { .. } | Event::Writable { .. } | Event::ReadOut { .. } => {}
        });
    }

    /// Lets a client do something, and notes what follows from it.
    fn with(&mut self, place: u32, act: impl FnOnce(&mut Client, &mut Context<'_>)) {
        let client = &mut self.clients[place as usize];
        let was_entering = client.is_entering();
        let mut context = Context {
            now: self.settings.clock.now(),
            display: self.settings.clock.display(),
            room: self.room,
            host: &self.host,
            token: &*self.settings.token,
            checks: &mut self.checks,
            deeds: &mut self.deeds,
            alarms: &mut self.alarms,
            orders: &mut self.orders,
        };
        act(client, &mut context);
        match (was_entering, client.is_entering()) {
            (false, true) => self.in_flight += 1,
            (true, false) => self.in_flight -= 1,
            (true, true) | (false, false) => {}
        }
        if !client.outgoing().1.is_empty() {
            self.dirty.push(place);
        }
    }

    /// Connects those whose turn it is.
    fn connect(&mut self, plane: &mut Plane) -> bool {
        let mut worked = false;
        while self.in_flight < self.settings.connects_in_flight {
            let Some(place) = self.queue.pop_front() else {
                return worked;
            };
            worked = true;
            // It may have been sent for twice.
            if !self.clients[place as usize].may_connect() {
                continue;
            }
            let local = self.local_address();
            match plane.connect(self.settings.gateway, local) {
                Ok(conn) => {
                    self.own(conn, place);
                    self.with(place, |client, context| client.connecting(conn, context));
                }
                Err(error) => {
                    self.checks.violations.note(|| format!("connecting: {error}"));
                    let at = self.settings.clock.now() + CONNECT_RETRY;
                    self.alarms.push(Reverse((at, place, Alarm::Connect)));
                }
            }
        }
        worked
    }

    /// One of many loopback addresses: each has some 28,000 ports.
    fn local_address(&mut self) -> Option<SocketAddr> {
        let SocketAddr::V4(remote) = self.settings.gateway else {
            return None;
        };
        if !remote.ip().is_loopback() {
            return None;
        }
        self.connects = self.connects.wrapping_add(1);
        let last = u8::try_from(1 + self.connects % LOCAL_ADDRESSES).unwrap_or(1);
        Some(([127, 0, 3, last], 0).into())
    }

    fn own(&mut self, conn: ConnId, place: u32) {
        let index = conn.place as usize;
        if self.owners.len() <= index {
            self.owners.resize(index + 1, u32::MAX);
        }
        self.owners[index] = place;
    }

    fn ring_alarms(&mut self) -> bool {
        let mut rang = false;
        while let Some(Reverse((at, place, alarm))) = self.alarms.peek().copied() {
            if at > self.settings.clock.now() {
                break;
            }
            self.alarms.pop();
            self.with(place, |client, context| client.alarm(alarm, context));
            rang = true;
        }
        rang
    }

    /// Sends what clients have to say, in the order of their connections' places.
    fn send(&mut self, plane: &mut Plane) -> bool {
        if self.dirty.is_empty() {
            return false;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable_by_key(|place| {
            (self.clients[*place as usize].outgoing().0.place, *place)
        });
        dirty.dedup();
        dirty.retain(|place| !self.clients[*place as usize].outgoing().1.is_empty());
        let requests: Vec<SendRequest<'_>> = dirty
            .iter()
            .map(|place| {
                let (conn, bytes) = self.clients[*place as usize].outgoing();
                SendRequest { conn, bytes }
            })
            .collect();
        let mut outcomes = Vec::with_capacity(requests.len());
        plane.send(&requests, &mut outcomes);
        drop(requests);
        for (place, outcome) in dirty.iter().zip(&outcomes) {
            let client = &mut self.clients[*place as usize];
            match outcome {
                SendOutcome::Sent(count) => client.sent(*count),
                SendOutcome::Gone => client.sent_in_vain(),
                SendOutcome::Blocked | SendOutcome::NoMemory => {}
            }
            if !client.outgoing().1.is_empty() {
                let at = self.settings.clock.now() + STARVED_RETRY;
                self.alarms.push(Reverse((at, *place, Alarm::Send)));
            }
        }
        !dirty.is_empty()
    }

    fn carry_out(&mut self, plane: &mut Plane) -> bool {
        let worked = !self.orders.is_empty();
        for order in std::mem::take(&mut self.orders) {
            match order {
                Order::Connect(place) => self.queue.push_back(place),
                Order::Close(conn, last) => {
                    plane.close(conn, &last);
                }
                Order::Reset(conn) => {
                    plane.abort(conn);
                }
            }
        }
        worked
    }

    fn say_goodbye(&mut self) {
        for place in 0..self.settings.players {
            self.with(place, |client, context| client.say_goodbye(context));
        }
    }

    /// Ends whatever is left, and lets the kernel have its closes.
    fn leave(&mut self, plane: &mut Plane) {
        let left = self.clients.iter().filter(|client| !client.is_gone()).count();
        self.checks.violations.check(left == 0, || {
            format!("{left} players were not let go within {} s", GOODBYE.as_secs())
        });
        for place in 0..self.settings.players {
            self.with(place, |client, context| client.abandon(context));
        }
        self.carry_out(plane);
        let clock = self.settings.clock;
        let until = clock.now() + GOODBYE;
        while plane.counters().slots_used > 0 && clock.now() < until {
            plane.turn(&|| clock.now(), TurnLimits::default(), &mut |_| {});
        }
    }

    fn show(&self, shown: &Shown) {
        let newest = self.checks.questions.iter().rev().find(|sums| !sums.shown_at.is_empty());
        let (seen, acknowledged) =
            newest.map_or((0, 0), |sums| (sums.shown_at.len() as u64, sums.answers_acknowledged));
        shown.taps.store(self.deeds.taps, Ordering::Relaxed);
        shown.joined.store(self.deeds.joined, Ordering::Relaxed);
        shown.shown.store(seen, Ordering::Relaxed);
        shown.acknowledged.store(acknowledged, Ordering::Relaxed);
        shown.settled.store(u64::from(self.checks.settled.is_some()), Ordering::Relaxed);
    }

    fn report(mut self) -> SwarmReport {
        let records = || self.clients.iter().map(Client::record);
        let untold = records().filter(|record| !record.is_settled()).count();
        let is_settled = self.checks.settled.is_some();
        self.checks.violations.check(!is_settled || untold == 0, || {
            format!("{untold} players were not told of the settlement")
        });
        let winners = records().filter(|record| record.has_won()).count() as u64;
        SwarmReport {
            winners,
            verdicts: records().map(|record| (record.user(), record.verdicts().to_vec())).collect(),
            violations: self.checks.violations,
            questions: self.checks.questions,
            deeds: self.deeds,
            settled: self.checks.settled,
        }
    }
}
