//! The shard core: everything that one core decides, without I/O.
//!
//! [`Shard::step`] takes the time and an [`Input`]; what is to be done about it comes back as
//! [`Effect`]s, and what is to be sent is pulled in batches ([`Shard::plan_sends`]). There are no
//! sockets, clocks, threads or randomness of its own in here, so the same core runs in the
//! gateway and, under a virtual clock, in the simulator.
//!
//! Invariants: one writer — everything in a shard changes in `step` and `sends_done`; mail
//! between two shards stays in order; a reply that promises something leaves through
//! `held` only. Deliberately absent: any knowledge of rings, files or HTTP servers, and,
//! outside of `quiz_bridge`, of the quiz.

mod access;
pub mod account;
mod banning;
mod chat;
mod closing;
mod codecs;
mod column;
pub mod config;
mod conn;
pub mod counters;
pub mod coverage;
pub mod drain;
mod egress;
mod ending;
mod held;
pub mod input;

pub mod limits;
mod live;
pub mod mail;
mod messages;
pub mod money_mail;
pub mod operator;
mod outbox;
pub mod players;
mod push;
mod quiz_bridge;
pub mod quiz_mail;
mod receive;
pub mod record;
pub mod recovery;
pub mod redo;
mod registry;
mod room_settings;
mod rooms;
pub mod service;
pub mod session;
mod short;
mod slow;
pub mod standing;
mod ticks;
pub mod witness;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::auth::ticket::TicketKey;
use crate::auth::token::TokenVerifier;
use crate::base::entropy::Entropy;
use crate::base::hash::{Placement, PlacementKey};
use crate::base::ids::{RecordNumber, ShardId};
use crate::base::time::{DisplayClock, Time};
use crate::room::tally::Tally;
use crate::shard::access::Access;
use crate::shard::chat::ChatState;
use crate::shard::closing::Endings;
use crate::shard::codecs::Codecs;
pub use crate::shard::codecs::Deflated;
use crate::shard::config::ShardConfig;
use crate::shard::conn::ConnTable;
use crate::shard::counters::Counters;
use crate::shard::drain::Leaving;
use crate::shard::egress::Egress;
pub use crate::shard::egress::WireBytes;
use crate::shard::ending::Patrol;
use crate::shard::held::{Held, Post};
use crate::shard::input::{Effect, Input};
use crate::shard::limits::{Ages, Rates};
use crate::shard::mail::{Batch, Mail};
use crate::shard::outbox::Outbox;
use crate::shard::push::Push;
pub use crate::shard::push::SendPlan;
use crate::shard::quiz_bridge::QuizBridge;
use crate::shard::record::Record;
use crate::shard::registry::{Registry, Session};
use crate::shard::room_settings::RoomTable;
use crate::shard::rooms::Rooms;
use crate::shard::standing::{Order, Standing, StandingRecord};

/// Mail of a batch that is looked at before any of it is taken: the records that its answers need
/// fit into the first cache.
const MAIL_WARMED: usize = 64;

/// What the hashes of tokens' names are keyed for.
const TOKEN_NAMES: &[u8; 16] = b"tidegate tokenid";

/// What a shard is given beside its settings.
pub struct Secrets {
    /// Signs retry tickets; the same on every shard, and kept over restarts.
    pub ticket_key: TicketKey,
    /// Checks access tokens.
    pub verifier: TokenVerifier,
    /// Keys, delays and epochs come from here.
    pub entropy: Box<dyn Entropy>,
}

/// One core's share of the gateway.
pub struct Shard {
    config: ShardConfig,
    placement: Placement,
    clock: DisplayClock,
    access: Access,
    ticket_key: TicketKey,
    entropy: Box<dyn Entropy>,
    now: Time,
    /// What reached the host before this moment has been handled.
    received_until: Time,
    /// Nobody is let in any more.
    is_stopping: bool,
    /// Connections are asked to leave.
    leaving: Option<Leaving>,
    conns: ConnTable,
    rooms: Rooms,
    room_table: RoomTable,
    registry: Registry,
    codecs: Codecs,
    egress: Egress,
    outbox: Outbox,
    push: Push,
    held: Held,
    patrol: Patrol,
    rates: Rates,
    ages: Ages,
    endings: Endings,
    quiz: QuizBridge,
    chat: ChatState,
    /// Mail of this shard to itself, delivered before the step ends.
    loopback: VecDeque<Mail>,
    effects: Vec<Effect>,
    counters: Counters,
    standing: Standing,
    /// The order that is being carried out: it goes on record with its first effect.
    pending_order: Option<Order>,
}

impl Shard {
    /// A shard without connections, rooms or shows.
    #[must_use]
    pub fn new(config: ShardConfig, secrets: Secrets) -> Shard {
        let Secrets { ticket_key, verifier, mut entropy } = secrets;
        let registry = Registry::new(config.placement);
        let egress = Egress::new(config.downlink.egress_bytes_per_s);
        let codecs = Codecs::new(config.downlink.compression);
        let mut check_key = PlacementKey([0; 16]);
        entropy.fill(&mut check_key.0);
        let id_key = PlacementKey(ticket_key.mac_of(TOKEN_NAMES, &[0; 8]));
        Shard {
            placement: config.placement,
            clock: config.clock,
            quiz: QuizBridge::new(&config),
            chat: ChatState::new(&config, check_key),
            config,
            access: Access::new(verifier, check_key, id_key),
            ticket_key,
            entropy,
            now: Time::ZERO,
            received_until: Time::ZERO,
            is_stopping: false,
            leaving: None,
            conns: ConnTable::default(),
            rooms: Rooms::default(),
            room_table: RoomTable::default(),
            registry,
            codecs,
            egress,
            outbox: Outbox::default(),
            push: Push::default(),
            held: Held::default(),
            patrol: Patrol::default(),
            rates: Rates::default(),
            ages: Ages::default(),
            endings: Endings::default(),
            loopback: VecDeque::new(),
            effects: Vec::new(),
            counters: Counters::default(),
            standing: Standing::default(),
            pending_order: None,
        }
    }

    /// Takes in what happened. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input<'_>) {
        assert!(now >= self.now, "time goes forward");
        self.now = now;
        match input {
            Input::Opened { conn, .. } => {
                self.counters.connections_opened += 1;
                self.conns.open(conn, now);
                self.begin_limits(conn);
                self.begin_patrol();
            }
            Input::Received { conn, bytes, arrived } => self.received(conn, bytes, arrived),
            Input::Writable { conn } => self.writable(conn),
            Input::Ended { conn } => self.peer_ended(conn),
            Input::ReadOut { conn } => self.read_out(conn),
            Input::ReceivedAll { until } => {
                self.received_until = until;
                self.quiz_received_all(until);
            }
            Input::Mail(batch) => self.mail_batch(batch),
            Input::Durable { record } => self.durable(record),
            Input::Tick => self.tick(),
            Input::Operator { ticket, request } => self.operator(ticket, request),
            Input::Resume => self.resume_quiz(),
            Input::Drain(drain) => self.drain(drain),
            Input::Shutdown => self.shutdown(),
        }
        while let Some(mail) = self.loopback.pop_front() {
            self.mail(self.config.me, mail);
        }
    }

    /// What is to be done, in order; the caller does it all before the next step.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// When the next [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let deadlines = [
            self.patrol_deadline(),
            self.leaving_deadline(),
            self.starved_deadline(),
            self.tick_deadline(),
            self.egress_deadline(),
            self.endings_deadline(),
            self.quiz.deadline(),
            self.chat.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// True if clients should be left unread until the journal has caught up.
    #[must_use]
    pub fn is_overfull(&self) -> bool {
        self.held.is_full()
    }

    /// For how long something has waited for the journal and nothing became durable.
    #[must_use]
    pub fn journal_stands_for(&self, now: Time) -> Duration {
        self.held.stands_for(now)
    }

    /// While an answer's arrival decides something, the caller does not sleep longer than this,
    /// so that "last seen empty" is never long ago.
    #[must_use]
    pub fn must_stay_awake(&self) -> bool {
        self.quiz.has_open_question()
    }

    /// True if replies are waiting to be planned.
    #[must_use]
    pub fn has_replies(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// What this shard has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What there is now: connections, sessions of users that live here, and so on.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            connections: u64::from(self.conns.open_count()),
            sessions: self.registry.count() as u64,
            rooms: self.rooms.local_count() as u64,
            revocations: self.access.revocation_count() as u64,
            bans: self.access.bans.count() as u64,
            journal_waiting: self.held.waiting(),
            words: self.chat.word_count() as u64,
        }
    }

    /// What was compressed for rooms.
    #[must_use]
    pub fn deflated(&self) -> Deflated {
        self.codecs.deflated
    }

    /// What became of rooms' messages, per lane: versions times members.
    #[must_use]
    pub fn tallies(&self) -> [Tally; 3] {
        self.rooms.tallies()
    }

    fn tick(&mut self) {
        self.patrol();
        self.ask_to_leave();
        self.retry_starved();
        self.report_rooms();
        self.end_rooms();
        self.tick_rooms();
        self.quiz_tick();
        self.chat_tick();
    }

    fn durable(&mut self, record: RecordNumber) {
        self.held.durable(record, self.now);
        while let Some(post) = self.held.release() {
            self.post_now(post);
        }
    }

    fn mail_batch(&mut self, batch: Batch) {
        self.counters.mail_batches += 1;
        self.counters.mail += batch.mail.len() as u64;
        self.quiz_note_lag(batch.from, batch.lag);
        let mut mail = batch.mail.into_iter();
        while mail.len() > 0 {
            self.quiz_warm(&mail.as_slice()[..mail.len().min(MAIL_WARMED)]);
            for one in mail.by_ref().take(MAIL_WARMED) {
                self.mail(batch.from, one);
            }
        }
    }

    fn mail(&mut self, from: ShardId, mail: Mail) {
        match mail {
            Mail::SessionOpened { user, conn } => {
                let session = Session { shard: from, conn };
                if let Some(older) = self.registry.open(user, session) {
                    self.post(older.shard, Mail::SessionReplaced { conn: older.conn });
                    self.quiz_absent(user, older);
                }
                self.post(from, Mail::SessionConfirmed { conn });
            }
            Mail::SessionConfirmed { conn } => self.session_confirmed(conn),
            Mail::SessionReplaced { conn } => self.session_replaced(conn),
            Mail::EndSession { user, why } => self.end_session_of(from, user, why),
            Mail::SessionEnded { conn, why } => self.session_ended(conn, why),
            Mail::Ban { user, until_unix_s } => self.banned(user, until_unix_s),
            Mail::SessionClosed { user, conn } => {
                let session = Session { shard: from, conn };
                if self.registry.close(user, session) {
                    self.quiz_absent(user, session);
                }
            }
            Mail::Subscribe { room, encoding } => self.subscribe(from, room, encoding),
            Mail::Subscribed(mail) => self.subscribed(mail),
            Mail::Unsubscribe { room } => self.unsubscribe(from, room),
            Mail::Publish(publish) => self.publish_at_home(from, *publish),
            Mail::Published { conn, room, epoch, lane, version, is_chat, sequence } => {
                let stamp = messages::stamp(room, epoch, lane, version);
                self.published(conn, stamp, is_chat, &sequence);
            }
            Mail::RoomFrames(frames) => self.room_frames(*frames),
            Mail::RoomClosed { room } => self.room_closed(room),
            Mail::RoomSettings { room, settings } => self.room_settings_came(room, settings),
            Mail::RoomReport { room, report } => self.room_reported(from.index(), room, report),
            Mail::Chat(mail) => self.chat_mail(mail),
            Mail::Quiz(mail) => self.quiz_mail(from, mail),
            Mail::Money(mail) => self.money_mail(from, mail),
        }
    }

    /// Posts mail in order; to this shard itself through the loopback.
    fn post(&mut self, to: ShardId, mail: Mail) {
        if to == self.config.me {
            self.loopback.push_back(mail);
        } else {
            self.effects.push(Effect::Post { to, mail });
        }
    }

    /// Journals a record, and posts mail when it is durable.
    fn journal(&mut self, record: Record, mail: Vec<(ShardId, Mail)>) {
        if let Some(order) = self.pending_order.take() {
            self.journal_standing(StandingRecord::Ordered { order, at: self.now });
        }
        let number = self.held.next_record(self.now);
        self.counters.records += 1;
        self.effects.push(Effect::Journal { number, record });
        for (to, mail) in mail {
            self.post_when_durable(Post::Mail(to, mail));
        }
    }

    /// Posts when everything recorded so far is durable.
    fn post_when_durable(&mut self, post: Post) {
        if let Some(post) = self.held.hold(post) {
            self.post_now(post);
        }
    }

    fn post_now(&mut self, post: Post) {
        match post {
            Post::Mail(to, mail) => self.post(to, mail),
            Post::Answer(ticket, answer) => {
                self.effects.push(Effect::Answer { ticket, answer: *answer });
            }
            Post::ToSession(user, reply) => self.post_to_session(user, reply),
        }
    }
}

/// What a shard has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Open connections.
    pub connections: u64,
    /// Users with a session, among those who live on this shard.
    pub sessions: u64,
    /// Rooms with members on this shard.
    pub rooms: u64,
    /// Revocations that the shard remembers.
    pub revocations: u64,
    /// Bans that the shard knows of.
    pub bans: u64,
    /// Records that are not durable yet.
    pub journal_waiting: u64,
    /// Sensitive words in force.
    pub words: u64,
}
