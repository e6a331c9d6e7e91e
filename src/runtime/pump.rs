//! A shard's loop: the one task that moves everything in a shard.
//!
//! A turn: reap completions → take mail → fire timers → carry out effects → send what is due →
//! close → post. When nothing is left to do it parks on the rings' eventfd: it blocks the thread for
//! a moment, then waits through glommio. While the journal writes, a busy pump completes a cycle of
//! glommio's own reactor at least every [`CYCLE_INTERVAL`], because a pump that only yields starves
//! the journal's files: a yield does not poll glommio's rings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flume::Receiver;

use crate::base::ids::{ConnId, ShardId};
use crate::base::time::Time;
use crate::net::{Event, Listener, Plane, SendOutcome, SendRequest};
use crate::runtime::clock::Clock;
use crate::runtime::edge::Edge;
use crate::runtime::images::Images;
use crate::runtime::journal::Journal;
use crate::runtime::mailbox::Posts;
use crate::runtime::meter::Meter;
use crate::runtime::operator::{Answer, Call};
use crate::runtime::reactor::{Cycle, Park, Wake};
use crate::shard::Shard;
use crate::shard::drain::Drain;
use crate::shard::input::{Effect, Input, SendResult};
use crate::shard::mail::{Batch, Mail};
use crate::tls::TlsConfig;

/// While the journal waits for its files, glommio's reactor runs after the first turn that ends so
/// long after it ran last.
const CYCLE_INTERVAL: Duration = Duration::from_micros(250);
/// The same while nothing waits for a file: only glommio's own timers are left to be looked at, and
/// each cycle costs 10 µs.
const CYCLE_INTERVAL_IDLE: Duration = Duration::from_millis(10);
/// An idle pump goes on looking for so long before it parks.
const IDLE_SPIN: Duration = Duration::from_micros(5);
/// A parked pump blocks its thread for so long before it waits through glommio, which costs several
/// times as much and is needed only where another task of the shard might have something to do.
const NAP: Duration = Duration::from_millis(1);
/// Sends of one turn, in one batch: some 1.7 ms. Two batches of half the size cost a little more.
const SEND_BATCH: usize = 256;
/// Sends of one turn while clients wait to be read: so many and as many receives are about a
/// millisecond, and that is how long an answer waits for another look at the sockets.
const SEND_BATCH_CROWDED: usize = 128;
/// Batches of mail taken in one turn.
const MAIL_BATCHES: usize = 64;
/// While an arrival decides something, sleep is no longer than this: so old at most is the moment
/// at which a ring was last seen empty.
const OPEN_QUESTION_SLEEP: Duration = Duration::from_millis(10);
/// A sleeping shard looks around this often even if nothing wakes it: the guard should a wake be
/// lost (see [`Wake`]). While a question is open the plane's own timer comes long before it.
const SLEEP_GUARD: Duration = Duration::from_secs(2);
const SLEEP_GUARD_OPEN: Duration = Duration::from_millis(100);
/// When a listener stops, clients that have begun to connect get so long to come through: a round
/// trip, and one more.
const CONNECTING_PATIENCE: Duration = Duration::from_millis(400);
/// How often a busy shard publishes its counters.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// What a pump is made of.
pub(crate) struct Pump {
    pub(crate) me: ShardId,
    pub(crate) shard: Shard,
    pub(crate) plane: Plane,
    pub(crate) clock: Clock,
    pub(crate) mailbox: Receiver<Batch>,
    pub(crate) calls: Receiver<Call>,
    pub(crate) posts: Posts,
    pub(crate) meter: Meter,
    pub(crate) stop: Arc<Stop>,
    pub(crate) edge: Edge,
    pub(crate) orders: Receiver<Order>,
    pub(crate) journal: Journal,
    /// Of the state, where there is a folder for them.
    pub(crate) images: Option<Images>,
}

/// What the process tells a shard's pump, beside stopping.
#[derive(Debug)]
pub(crate) enum Order {
    /// Accept nobody for now, or again.
    HoldAccepting(bool),
    /// Take those who have connected, close the listener, and ask connections to leave.
    Drain(Drain),
    /// Ask no more of them, and accept at this listener, where nobody was before that moment.
    EndDrain(Listener, Time),
    /// TLS begins with these certificates from now on.
    Renew(TlsConfig),
}

/// How the shards of a process stop together: none ends before all are done with each other.
#[derive(Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    /// Written before `asked`.
    goodbye_ms: AtomicU64,
    done: AtomicUsize,
}

impl Stop {
    /// Asks all shards to stop, with `goodbye` for their clients to answer the close frames; the
    /// caller wakes them.
    pub(crate) fn ask(&self, goodbye: Duration) {
        let goodbye_ms = u64::try_from(goodbye.as_millis()).unwrap_or(u64::MAX);
        self.goodbye_ms.store(goodbye_ms, Ordering::SeqCst);
        self.asked.store(true, Ordering::SeqCst);
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    fn goodbye(&self) -> Duration {
        Duration::from_millis(self.goodbye_ms.load(Ordering::SeqCst))
    }
}

/// Bytes and batches on their way, kept between turns for their capacity.
#[derive(Default)]
struct Way {
    posts: Vec<Vec<Mail>>,
    closes: Vec<(ConnId, Bytes)>,
    answers: Vec<(u64, Answer)>,
    outcomes: Vec<SendOutcome>,
    results: Vec<SendResult>,
}

struct Running {
    pump: Pump,
    way: Way,
    callers: BTreeMap<u64, flume::Sender<Answer>>,
    next_ticket: u64,
    received_all: Time,
    /// The last look at the sockets left some unread.
    clients_wait: bool,
    /// How old the mail was that was taken in last.
    mail_age: Duration,
    status_due: Time,
    goodbye_until: Option<Time>,
    done: bool,
}

/// Runs the shard until all shards were asked to stop and have done so. What was given to the
/// journal last may not be durable then.
pub(crate) async fn run(pump: Pump, park: Park, mut cycle: Cycle) {
    let shard_count = usize::from(pump.posts.shard_count());
    let way = Way { posts: vec![Vec::new(); shard_count], ..Way::default() };
    let mut running = Running {
        pump,
        way,
        callers: BTreeMap::new(),
        next_ticket: 0,
        received_all: Time::ZERO,
        clients_wait: false,
        mail_age: Duration::ZERO,
        status_due: Time::ZERO,
        goodbye_until: None,
        done: false,
    };
    let mut last_work = running.pump.clock.now();
    running.pump.shard.step(last_work, Input::Resume);
    let mut last_cycle = last_work;
    while !running.is_over(shard_count) {
        let begun = running.pump.clock.now();
        let worked = running.turn();
        let now = running.pump.clock.now();
        if worked {
            let took = now.since(begun);
            running.pump.meter.note_turn(now, took);
            running.pump.shard.note_load(took, running.mail_age);
            last_work = now;
        } else if now.since(last_work) >= IDLE_SPIN {
            running.park(&park).await;
            last_cycle = running.pump.clock.now();
            last_work = last_cycle - IDLE_SPIN;
            continue;
        }
        let interval =
            if running.pump.journal.is_writing() { CYCLE_INTERVAL } else { CYCLE_INTERVAL_IDLE };
        if now.since(last_cycle) >= interval {
            running.note_wake(cycle.complete().await);
            last_cycle = running.pump.clock.now();
        }
    }
    running.publish_status(running.pump.clock.now());
}

impl Running {
    /// One turn; false if there was nothing to do.
    fn turn(&mut self) -> bool {
        self.take_orders();
        let received = self.receive() | self.work_at_edge();
        let mailed = self.take_mail();
        let called = self.take_calls();
        let ticked = self.tick();
        self.stop_if_asked();
        let mut worked = received | mailed | called | ticked;
        worked |= self.carry_out();
        worked |= self.send();
        worked |= self.close();
        self.post();
        let now = self.pump.clock.now();
        if now >= self.status_due {
            self.publish_status(now);
            self.take_image(now);
        }
        worked
    }

    fn receive(&mut self) -> bool {
        let Pump { plane, shard, clock, posts, edge, .. } = &mut self.pump;
        let crowded = posts.deliver_waiting() || shard.is_overfull();
        plane.pause_reading(crowded);
        let is_plain = edge.is_off();
        let limits = edge.turn_limits();
        let report = plane.turn(&|| clock.now(), limits, &mut |event| {
            if !is_plain {
                let now = clock.now();
                return edge.take(event, now, &mut |input| shard.step(now, input));
            }
            let input = match event {
                Event::Accepted { conn, peer } => Input::Opened { conn, peer },
                Event::Received { conn, bytes, arrived } => {
                    Input::Received { conn, bytes, arrived }
                }
                Event::Writable { conn } => Input::Writable { conn },
                Event::Ended { conn, .. } => Input::Ended { conn },
                Event::ReadOut { conn } => Input::ReadOut { conn },
                Event::Connected { .. } | Event::ConnectFailed { .. } => return,
            };
            shard.step(clock.now(), input);
        });
        self.clients_wait = report.more;
        let until = plane.received_all_until();
        if until > self.received_all {
            self.received_all = until;
            shard.step(clock.now(), Input::ReceivedAll { until });
        }
        report.events > 0 || report.more
    }

    fn work_at_edge(&mut self) -> bool {
        let Pump { plane, shard, clock, edge, .. } = &mut self.pump;
        if edge.is_off() {
            return false;
        }
        let now = clock.now();
        edge.work(now, plane, &mut |input| shard.step(now, input))
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.pump.orders.try_recv() {
            match order {
                Order::HoldAccepting(hold) => self.pump.plane.hold_accepting(hold),
                Order::Drain(drain) => {
                    let now = self.pump.clock.now();
                    self.pump.plane.stop_accepting(now + CONNECTING_PATIENCE);
                    self.pump.shard.step(now, Input::Drain(Some(drain)));
                }
                Order::EndDrain(listener, listened_at) => {
                    self.pump.plane.accept_at(listener, listened_at);
                    self.pump.shard.step(self.pump.clock.now(), Input::Drain(None));
                }
                Order::Renew(config) => self.pump.edge.renew(config),
            }
        }
    }

    fn take_mail(&mut self) -> bool {
        let mut taken = 0;
        while taken < MAIL_BATCHES {
            let Ok(batch) = self.pump.mailbox.try_recv() else {
                break;
            };
            let now = self.pump.clock.now();
            self.mail_age = now.since(batch.posted_at);
            self.pump.meter.note_mail_age(now, self.mail_age);
            self.pump.shard.step(now, Input::Mail(batch));
            taken += 1;
        }
        if taken == 0 {
            self.mail_age = Duration::ZERO;
        }
        taken > 0
    }

    fn take_calls(&mut self) -> bool {
        let mut taken = false;
        while let Ok(call) = self.pump.calls.try_recv() {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.callers.insert(ticket, call.answer);
            let input = Input::Operator { ticket, request: call.request };
            self.pump.shard.step(self.pump.clock.now(), input);
            taken = true;
        }
        taken
    }

    fn tick(&mut self) -> bool {
        let now = self.pump.clock.now();
        let due = self.pump.shard.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            self.pump.shard.step(now, Input::Tick);
        }
        due
    }

    /// Effects, and what the journal says about them, until there are none.
    fn carry_out(&mut self) -> bool {
        let mut worked = false;
        loop {
            let Pump { shard, plane, journal, .. } = &mut self.pump;
            for effect in shard.effects() {
                worked = true;
                match effect {
                    Effect::Close { conn, last } => self.way.closes.push((conn, last)),
                    Effect::ReadOut { conn } => {
                        plane.read_out(conn);
                    }
                    Effect::Post { to, mail } => self.way.posts[to.index()].push(mail),
                    Effect::Journal { number, record } => journal.append(number, &record),
                    Effect::Answer { ticket, answer } => self.way.answers.push((ticket, answer)),
                }
            }
            for (ticket, answer) in self.way.answers.drain(..) {
                if let Some(caller) = self.callers.remove(&ticket) {
                    // A caller that did not wait for its answer is none of our business.
                    let _ = caller.try_send(answer);
                }
            }
            let Some(record) = self.pump.journal.newly_durable() else {
                return worked;
            };
            if let Some(images) = &mut self.pump.images {
                images.durable(record);
            }
            self.pump.shard.step(self.pump.clock.now(), Input::Durable { record });
        }
    }

    fn send(&mut self) -> bool {
        let most = if self.clients_wait { SEND_BATCH_CROWDED } else { SEND_BATCH };
        let worked = self.pump.shard.plan_sends(most) > 0;
        if worked {
            self.send_planned();
        }
        // What must precede a close is sent before it, however much it is.
        while !self.way.closes.is_empty() && self.pump.shard.has_replies() {
            self.pump.shard.plan_sends(SEND_BATCH);
            self.send_planned();
        }
        worked || self.pump.shard.has_sends_due()
    }

    fn send_planned(&mut self) {
        let Pump { shard, plane, clock, edge, .. } = &mut self.pump;
        if let Some(seals) = edge.seals() {
            self.way.results.clear();
            seals.send(shard, plane, clock.now(), &mut self.way.results);
            return shard.sends_done(clock.now(), &self.way.results);
        }
        let requests: Vec<SendRequest<'_>> = shard
            .plans()
            .iter()
            .map(|plan| SendRequest { conn: plan.conn, bytes: shard.bytes_of(plan) })
            .collect();
        plane.send(&requests, &mut self.way.outcomes);
        drop(requests);
        self.way.results.clear();
        self.way.results.extend(self.way.outcomes.iter().map(|outcome| match outcome {
            SendOutcome::Sent(count) => SendResult::Sent(*count),
            SendOutcome::Blocked => SendResult::Blocked,
            SendOutcome::NoMemory => SendResult::NoMemory,
            SendOutcome::Gone => SendResult::Gone,
        }));
        shard.sends_done(clock.now(), &self.way.results);
    }

    fn close(&mut self) -> bool {
        let mut worked = self.carry_out() || !self.way.closes.is_empty();
        let Pump { plane, clock, edge, .. } = &mut self.pump;
        if edge.is_off() {
            for (conn, last) in self.way.closes.drain(..) {
                plane.close(conn, &last);
            }
            return worked;
        }
        let now = clock.now();
        for (conn, last) in self.way.closes.drain(..) {
            plane.close(conn, &edge.part(conn, last, now));
        }
        while let Some(farewell) = edge.next_farewell(now) {
            worked = true;
            if farewell.abort {
                plane.abort(farewell.conn);
            } else {
                plane.close(farewell.conn, &farewell.last);
            }
        }
        worked
    }

    fn post(&mut self) {
        let posted_at = self.pump.clock.now();
        for (to, mail) in ShardId::all(self.pump.posts.shard_count()).zip(&mut self.way.posts) {
            if !mail.is_empty() {
                let mail = std::mem::take(mail);
                let (from, lag) = (self.pump.me, self.mail_age);
                self.pump.posts.post(to, Batch { from, posted_at, lag, mail });
            }
        }
    }

    fn take_image(&mut self, now: Time) {
        let Pump { images, shard, journal, .. } = &mut self.pump;
        if let (Some(images), Some(journal)) = (images, journal.stored()) {
            images.take_if_due(now, shard, journal);
        }
    }

    fn publish_status(&mut self, now: Time) {
        let Pump { me, meter, clock, shard, plane, mailbox, edge, journal, .. } = &mut self.pump;
        // Time that decides something is monotonic: a step is worth knowing, and moves nothing.
        if let (Some(moved_ms), ShardId(0)) =
            (meter.note_wall_clock(clock.wall_clock_step_ms()), *me)
        {
            tracing::warn!(moved_ms, "the wall clock was stepped");
        }
        meter.take_edge(&edge.counters());
        meter.take_journal_failures(journal.failures_total());
        meter.publish(now, shard, &plane.counters(), mailbox.len());
        self.status_due = now + STATUS_INTERVAL;
    }

    async fn park(&mut self, park: &Park) {
        let now = self.pump.clock.now();
        let awake = self.pump.shard.must_stay_awake().then(|| now + OPEN_QUESTION_SLEEP);
        let edge = self.pump.edge.deadline();
        let deadlines = [self.pump.shard.deadline(), awake, self.goodbye_until, edge];
        let deadline = deadlines.into_iter().flatten().min();
        let Pump { plane, clock, .. } = &mut self.pump;
        let idle = plane.prepare_park(deadline, &|| clock.now());
        // Whoever posts after this look wakes us; whoever posted before is seen by it.
        let Pump { mailbox, calls, orders, .. } = &self.pump;
        let alone = mailbox.is_empty() && calls.is_empty() && orders.is_empty();
        if idle && alone && !self.has_news_of_stopping() {
            let guard = if awake.is_some() { SLEEP_GUARD_OPEN } else { SLEEP_GUARD };
            if self.pump.journal.is_writing() || !self.pump.plane.nap(NAP) {
                // Not before each nap: a shard with a little to do naps ten thousand times a second.
                self.publish_status(self.pump.clock.now());
                let wake = park.sleep(guard).await;
                self.note_wake(wake);
            }
        }
        self.pump.plane.unpark();
    }

    fn note_wake(&mut self, wake: Wake) {
        if wake == Wake::Late {
            let shard = self.pump.me.0;
            tracing::warn!(shard, "a wake came late: glommio lost it, or the host stood still");
            self.pump.meter.note_wake_late();
        }
    }

    fn has_news_of_stopping(&self) -> bool {
        self.pump.stop.is_asked() && self.goodbye_until.is_none() || self.done
    }

    fn stop_if_asked(&mut self) {
        let now = self.pump.clock.now();
        if self.pump.stop.is_asked() && self.goodbye_until.is_none() {
            self.pump.plane.stop_accepting(now);
            self.pump.shard.step(now, Input::Shutdown);
            self.goodbye_until = Some(now + self.pump.stop.goodbye());
        }
        let over = self
            .goodbye_until
            .is_some_and(|until| now >= until || self.pump.shard.gauges().connections == 0);
        if over && !self.done {
            self.done = true;
            self.pump.posts.be_done();
            self.pump.stop.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// True once every shard is done: until then others may still post here.
    fn is_over(&self, shard_count: usize) -> bool {
        self.done && self.pump.stop.done.load(Ordering::SeqCst) == shard_count
    }
}
