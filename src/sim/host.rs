//! A host's side of a shard: its turns in the order of the real pump, its kernel, its journal.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::{ConnId, RecordNumber, ShardId};
use crate::base::time::Time;
use crate::shard::Shard;
use crate::shard::input::{Effect, Input};
use crate::shard::mail::{Batch, Mail};
use crate::shard::operator::OperatorRequest;
use crate::sim::truth::Taken;
use crate::sim::world::{Event, World};

/// As in the pump.
const SEND_BATCH: usize = 128;
const SEND_BATCHES: usize = 4;
const MAIL_BATCHES: usize = 64;
const OPEN_QUESTION_SLEEP: Duration = Duration::from_millis(10);
/// From one turn to the next while there is work.
const TURN: Duration = Duration::from_micros(100);
/// Receives in one turn.
const RECEIVES: usize = 64;

/// A connection that may have something to read.
#[derive(Clone, Copy, Debug)]
struct Ready {
    link: usize,
    stamp: Time,
}

/// A shard and what the pump keeps for it.
pub(crate) struct Host {
    pub(crate) shard: Shard,
    pub(crate) inbox: VecDeque<Batch>,
    pub(crate) calls: VecDeque<(u64, OperatorRequest)>,
    pub(crate) accepts: Vec<usize>,
    pub(crate) news: Vec<usize>,
    pub(crate) writables: Vec<usize>,
    pub(crate) durable: VecDeque<u64>,
    pub(crate) durable_upto: u64,
    last_durable_at: Time,
    seen_empty: Time,
    pub(crate) received_all: Time,
    ready: VecDeque<Ready>,
    read_outs: Vec<usize>,
    closes: Vec<(ConnId, Bytes)>,
    pub(crate) posts: Vec<Vec<Mail>>,
    pub(crate) turn_at: Time,
    pub(crate) paused_until: Time,
    mail_age: Duration,
    places: Vec<(u32, Option<usize>)>,
    free: Vec<u32>,
}

impl Host {
    pub(crate) fn new(shard: Shard, shard_count: usize) -> Host {
        Host {
            shard,
            inbox: VecDeque::new(),
            calls: VecDeque::new(),
            accepts: Vec::new(),
            news: Vec::new(),
            writables: Vec::new(),
            durable: VecDeque::new(),
            durable_upto: 0,
            last_durable_at: Time::ZERO,
            seen_empty: Time::ZERO,
            received_all: Time::ZERO,
            ready: VecDeque::new(),
            read_outs: Vec::new(),
            closes: Vec::new(),
            posts: vec![Vec::new(); shard_count],
            turn_at: Time::NEVER,
            paused_until: Time::ZERO,
            mail_age: Duration::ZERO,
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The connection at a place, unless the place was freed since.
    pub(crate) fn link_of(&self, conn: ConnId) -> Option<usize> {
        let (generation, link) = self.places.get(conn.place as usize)?;
        link.filter(|_| *generation == conn.generation)
    }

    fn take_place(&mut self, link: usize) -> ConnId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let entry = &mut self.places[place as usize];
        *entry = (entry.0 + 1, Some(link));
        ConnId { place, generation: entry.0 }
    }

    fn free_place(&mut self, conn: ConnId) {
        self.places[conn.place as usize].1 = None;
        self.free.push(conn.place);
    }
}

impl World {
    /// Makes sure that a host has a turn at `at`, or when its pause is over.
    pub(crate) fn wake(&mut self, host: usize, at: Time) {
        if self.is_down() {
            return;
        }
        let it = &mut self.hosts[host];
        let at = at.max(it.paused_until).max(self.now);
        if at < it.turn_at {
            it.turn_at = at;
            self.schedule(at, Event::Turn { host });
        }
    }

    /// A turn, in the order of the pump: receive, mail, calls, timers, effects, sends, closes,
    /// posts.
    pub(crate) fn turn(&mut self, host: usize) {
        let now = self.now;
        self.hosts[host].turn_at = Time::NEVER;
        if self.hosts[host].paused_until > now {
            return self.wake(host, now);
        }
        self.receive(host);
        self.take_mail(host);
        while let Some((ticket, request)) = self.hosts[host].calls.pop_front() {
            self.see_revocation(host, &request);
            self.step(host, Input::Operator { ticket, request });
        }
        if self.hosts[host].shard.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(host, Input::Tick);
        }
        self.take_durable(host);
        let more = self.send(host);
        self.take_durable(host);
        for (conn, last) in std::mem::take(&mut self.hosts[host].closes) {
            if let Some(link) = self.hosts[host].link_of(conn) {
                self.hosts[host].free_place(conn);
                self.host_closes(link, &last);
            }
        }
        self.post(host);
        self.take_image(host);
        self.write_journal(host);
        self.after_turn(host, more);
    }

    /// How long the turn took, and when the next one is due.
    fn after_turn(&mut self, host: usize, more: bool) {
        let now = self.now;
        let is_long = self.setup.admission.turn_ms < 1_000 && self.dice.permille(20);
        let took = if is_long { self.dice.millis(10, 60) } else { TURN };
        let it = &mut self.hosts[host];
        it.shard.note_load(took, it.mail_age);
        if is_long {
            it.paused_until = it.paused_until.max(now + took);
        }
        let busy = more
            || !it.ready.is_empty()
            || !it.inbox.is_empty()
            || !it.read_outs.is_empty()
            || !it.durable.is_empty();
        let mut next = Time::NEVER;
        if busy {
            next = now + TURN;
        }
        if let Some(deadline) = it.shard.deadline() {
            next = next.min(deadline.max(now + TURN));
        }
        if it.shard.must_stay_awake() {
            next = next.min(now + OPEN_QUESTION_SLEEP);
        }
        if next < Time::NEVER {
            self.wake(host, next);
        }
    }

    fn receive(&mut self, host: usize) {
        let now = self.now;
        let before = std::mem::replace(&mut self.hosts[host].seen_empty, now);
        for link in std::mem::take(&mut self.hosts[host].accepts) {
            let conn = self.hosts[host].take_place(link);
            self.links[link].conn = Some(conn);
            self.links[link].accepted_at = self.now;
            self.races.connections += 1;
            let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
            self.step(host, Input::Opened { conn, peer });
        }
        for link in std::mem::take(&mut self.hosts[host].writables) {
            if let Some(conn) = self.live_conn(link) {
                self.step(host, Input::Writable { conn });
            }
        }
        let read_outs = std::mem::take(&mut self.hosts[host].read_outs);
        let news = std::mem::take(&mut self.hosts[host].news);
        for link in news.into_iter().chain(read_outs) {
            if self.live_conn(link).is_some() && !self.links[link].is_listed {
                self.links[link].is_listed = true;
                self.hosts[host].ready.push_back(Ready { link, stamp: before });
            }
        }
        if self.dice.permille(self.setup.faults.unread_permille) {
            self.races.reading_paused += 1;
        } else {
            for _ in 0..RECEIVES {
                let Some(ready) = self.hosts[host].ready.pop_front() else { break };
                self.receive_from(host, ready);
            }
        }
        let stamps = self.hosts[host].ready.iter().map(|ready| ready.stamp);
        let until = stamps.chain([now]).min().unwrap_or(now);
        if until > self.hosts[host].received_all {
            self.hosts[host].received_all = until;
            self.step(host, Input::ReceivedAll { until });
        }
    }

    /// The connection's id while the host has it.
    fn live_conn(&self, link: usize) -> Option<ConnId> {
        let it = &self.links[link];
        it.conn.filter(|_| it.server_open)
    }

    /// One receive from a connection; it is listed again if it may have more.
    fn receive_from(&mut self, host: usize, ready: Ready) {
        let link = ready.link;
        let Some(conn) = self.live_conn(link) else {
            self.links[link].is_listed = false;
            return;
        };
        let max = self.setup.faults.piece_bytes;
        let (mut bytes, answers) = self.links[link].take(max);
        if !bytes.is_empty() {
            let state = self.hosts[host].shard.connection_state(conn);
            let applied: Vec<_> = answers
                .iter()
                .map(|answer| {
                    let show = self.setup.shows[self.answers[*answer].show].id;
                    self.hosts[host].shard.applied_event(show)
                })
                .collect();
            let deferred = self.hosts[host].shard.counters().answers_deferred;
            self.answer_in_hand = Some(ready.stamp);
            self.step(host, Input::Received { conn, bytes: &mut bytes, arrived: ready.stamp });
            self.answer_in_hand = None;
            let deferred = self.hosts[host].shard.counters().answers_deferred > deferred;
            let after = self.hosts[host].shard.connection_state(conn);
            let state = state.filter(|_| state == after);
            for (answer, applied) in answers.into_iter().zip(applied) {
                let run = self.run_number();
                let stamp = ready.stamp;
                let taken = Taken { at: self.now, stamp, state, applied, deferred, run };
                self.answer_taken(answer, taken);
            }
            if self.links[link].unread() > 0 {
                self.hosts[host].ready.push_back(ready);
                return;
            }
        }
        self.links[link].is_listed = false;
        if std::mem::take(&mut self.links[link].read_out) {
            self.step(host, Input::ReadOut { conn });
        }
        if self.links[link].has_ended {
            self.step(host, Input::Ended { conn });
        }
    }

    fn take_mail(&mut self, host: usize) {
        let now = self.now;
        for taken in 0..=MAIL_BATCHES {
            let batch =
                if taken < MAIL_BATCHES { self.hosts[host].inbox.pop_front() } else { None };
            let Some(batch) = batch else {
                if taken == 0 {
                    self.hosts[host].mail_age = Duration::ZERO;
                }
                return;
            };
            self.hosts[host].mail_age = now.since(batch.posted_at);
            self.see_mail(host, &batch);
            self.step(host, Input::Mail(batch));
        }
    }

    fn take_durable(&mut self, host: usize) {
        while let Some(record) = self.hosts[host].durable.pop_front() {
            self.hosts[host].durable_upto = record;
            self.step(host, Input::Durable { record: RecordNumber(record) });
        }
    }

    /// True if there is more to send.
    fn send(&mut self, host: usize) -> bool {
        for _ in 0..SEND_BATCHES {
            if self.hosts[host].shard.plan_sends(SEND_BATCH) == 0 {
                return self.hosts[host].shard.has_sends_due();
            }
            self.send_planned(host);
        }
        while !self.hosts[host].closes.is_empty() && self.hosts[host].shard.has_replies() {
            self.hosts[host].shard.plan_sends(SEND_BATCH);
            self.send_planned(host);
        }
        true
    }

    fn send_planned(&mut self, host: usize) {
        let shard = &self.hosts[host].shard;
        let plans: Vec<(ConnId, Vec<u8>)> =
            shard.plans().iter().map(|plan| (plan.conn, shard.bytes_of(plan).to_vec())).collect();
        let mut results = Vec::with_capacity(plans.len());
        for (conn, bytes) in plans {
            results.push(match self.hosts[host].link_of(conn) {
                Some(link) => self.host_sends(link, bytes),
                None => crate::shard::input::SendResult::Gone,
            });
        }
        self.hosts[host].shard.sends_done(self.now, &results);
        self.collect(host);
    }

    fn post(&mut self, host: usize) {
        let now = self.now;
        let from = ShardId(u16::try_from(host).unwrap_or(u16::MAX));
        for to in 0..self.hosts.len() {
            let mail = std::mem::take(&mut self.hosts[host].posts[to]);
            if mail.is_empty() {
                continue;
            }
            assert!(to != host, "a shard posts nothing to itself");
            let lag = self.hosts[host].mail_age;
            let is_slow = self.dice.permille(self.setup.faults.slow_mail_permille);
            let max = if is_slow { 1_200_000 } else { self.setup.faults.mail_delay_max_us };
            let delay = self.dice.micros(5, max);
            self.races.late_mail += u64::from(delay > Duration::from_millis(200));
            let place = host * self.hosts.len() + to;
            let at = self.mail_ways[place].max(now + delay);
            self.mail_ways[place] = at;
            let batch = Batch { from, posted_at: now, lag, mail };
            self.schedule(at, Event::Mail { to, batch });
        }
    }

    /// One step of a shard, and what came of it.
    pub(crate) fn step(&mut self, host: usize, input: Input<'_>) {
        self.hosts[host].shard.step(self.now, input);
        self.collect(host);
    }

    /// Takes up a shard's effects, and tells the checkers what it recorded and applied.
    fn collect(&mut self, host: usize) {
        let effects: Vec<Effect> = self.hosts[host].shard.effects().collect();
        for effect in effects {
            match effect {
                Effect::Close { conn, last } => self.hosts[host].closes.push((conn, last)),
                Effect::ReadOut { conn } => {
                    if let Some(link) = self.hosts[host].link_of(conn) {
                        self.see_read_out(link);
                        self.links[link].read_out = true;
                        self.hosts[host].read_outs.push(link);
                    }
                }
                Effect::Post { to, mail } => self.hosts[host].posts[to.index()].push(mail),
                Effect::Journal { number, record } => {
                    self.append(host, number, &record);
                    self.see_record(host, number, record);
                    self.make_durable(host, number.0);
                }
                Effect::Answer { ticket, answer } => self.operator_hears(ticket, answer),
            }
        }
        self.see_applied(host, None);
        self.see_queued(host);
    }

    fn make_durable(&mut self, host: usize, number: u64) {
        if self.crashes.is_some() {
            return;
        }
        let max = self.setup.faults.journal_delay_max_us;
        if max == 0 {
            self.hosts[host].durable.push_back(number);
            return;
        }
        let delay = self.dice.micros(1, max);
        self.races.late_records += u64::from(delay > Duration::from_millis(50));
        let it = &mut self.hosts[host];
        it.last_durable_at = it.last_durable_at.max(self.now + delay);
        let at = it.last_durable_at;
        self.schedule(at, Event::Durable { host, number });
    }
}
