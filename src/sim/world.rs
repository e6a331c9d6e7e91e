//! The world of one run: hosts, connections, players and operators under a virtual clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use crate::auth::ticket::TicketKey;
use crate::auth::token::TokenVerifier;
use crate::base::entropy::SeededEntropy;
use crate::base::hash::{Placement, PlacementKey};
use crate::base::ids::{ShardId, UserId};
use crate::base::time::{DisplayClock, Time};
use crate::quiz::event::NumberedEvent;
use crate::shard::config::ShardConfig;
use crate::shard::limits::ConnectionLimits;
use crate::shard::mail::Batch;
use crate::shard::{Secrets, Shard};
use crate::sim::cards::CardOrders;
use crate::sim::checkers::chats::Chats;
use crate::sim::checkers::model::Model;
use crate::sim::checkers::promises::Watch;
use crate::sim::checkers::seals::Seals;
use crate::sim::checkers::secrecy::Tape;
use crate::sim::checkers::sums::HeardSums;
use crate::sim::checkers::{Findings, Promise};
use crate::sim::crash::Crashes;
use crate::sim::dice::Dice;
use crate::sim::host::Host;
use crate::sim::network::Link;
use crate::sim::operator::Operator;
use crate::sim::player::{Act, Player};
use crate::sim::races::Races;
use crate::sim::rain::Rains;
use crate::sim::setup::Setup;
use crate::sim::truth::SentAnswer;
use crate::wire::deflate::Inflater;
use crate::wire::message::{Decoder, Role};

pub(crate) const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
/// Unix time of the virtual clock's zero.
pub(crate) const CLOCK: DisplayClock = DisplayClock { zero_unix_ms: 1_800_000_000_000 };
/// No run is longer: then something hangs.
const VIRTUAL_TIME_MAX: Time = Time::from_millis(240_000);
/// No run has more events: then something runs in circles.
const EVENTS_MAX: u64 = 20_000_000;
/// After the last show has ended: players fall silent, and what is owed to them must come.
const QUIET_MS: u64 = 5_000;
/// The same while gifts are on their way: after a restart they wait a minute for an empty room.
const GIFTS_MS: u64 = 70_000;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A host has a turn, unless it was moved.
    Turn { host: usize },
    /// A host stops for a while.
    Pause { host: usize },
    /// A connection reaches a host.
    Accept { link: usize },
    /// Bytes reach a host.
    ToHost { link: usize, bytes: Vec<u8> },
    /// The client's end of a connection reaches a host.
    EndToHost { link: usize, reset: bool },
    /// Bytes reach a client.
    ToClient { link: usize, bytes: Vec<u8> },
    /// The host's end of a connection reaches a client.
    EndToClient { link: usize },
    /// A socket takes bytes again.
    Writable { link: usize },
    /// A batch reaches a shard's mailbox.
    Mail { to: usize, batch: Batch },
    /// The journal has made a record durable.
    Durable { host: usize, number: u64 },
    /// The disk under a journal is done with a step.
    Step { host: usize, number: u64 },
    /// A journal may begin its next step.
    NextStep { host: usize },
    /// The power fails.
    Crash,
    /// The process begins again.
    Restart,
    /// A player does something.
    Player { player: usize, act: Act },
    /// The operator of a show looks.
    Operator { show: usize },
}

/// An event and when it is due.
pub(crate) struct Scheduled {
    at: Time,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Everything that there is in one run.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) now: Time,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    pub(crate) dice: Dice,
    pub(crate) placement: Placement,
    pub(crate) hosts: Vec<Host>,
    pub(crate) links: Vec<Link>,
    pub(crate) players: Vec<Player>,
    pub(crate) operators: Vec<Operator>,
    /// The last delivery on each way between two shards, so that it stays in order.
    pub(crate) mail_ways: Vec<Time>,
    pub(crate) answers: Vec<SentAnswer>,
    /// The events of each show, from number 1.
    pub(crate) events: Vec<Vec<NumberedEvent>>,
    pub(crate) races: Races,
    pub(crate) findings: Findings,
    pub(crate) model: Model,
    pub(crate) watch: Watch,
    /// What clients heard, by host.
    pub(crate) heard: Vec<HeardSums>,
    pub(crate) seals: Seals,
    pub(crate) chats: Chats,
    pub(crate) rains: Rains,
    pub(crate) card_orders: CardOrders,
    /// Written only where two runs are to be compared.
    pub(crate) tape: Option<Tape>,
    /// Since when all shows are over.
    pub(crate) quiet_since: Option<Time>,
    /// The commitments of questions, by show and place.
    pub(crate) commitments: BTreeMap<(usize, u32), Vec<u8>>,
    pub(crate) decoder: Decoder,
    /// Of clients that take compressed messages.
    pub(crate) inflater: Inflater,
    /// The stamp of the bytes that a shard is taking in.
    pub(crate) answer_in_hand: Option<Time>,
    /// Only where the power fails.
    pub(crate) crashes: Option<Box<Crashes>>,
}

impl World {
    /// A world in which nothing has happened yet.
    pub(crate) fn new(setup: Setup, tape: bool) -> World {
        let key = PlacementKey(Dice::new(setup.seed, 2).bytes());
        let placement = Placement::new(key, setup.bucket_count, setup.shard_count);
        let shards = usize::from(setup.shard_count);
        let hosts = ShardId::all(setup.shard_count)
            .map(|me| Host::new(make_shard(&setup, placement, me, 0), shards))
            .collect();
        let players = (0..setup.player_count).map(|place| Player::new(&setup, place));
        let mut world = World {
            now: Time::from_millis(1_000),
            queue: BinaryHeap::new(),
            scheduled: 0,
            dice: Dice::new(setup.seed, 3),
            placement,
            hosts,
            links: Vec::new(),
            players: players.collect(),
            operators: (0..setup.shows.len()).map(|_| Operator::default()).collect(),
            mail_ways: vec![Time::ZERO; shards * shards],
            answers: Vec::new(),
            events: vec![Vec::new(); setup.shows.len()],
            races: Races::default(),
            findings: Findings::default(),
            model: Model::new(placement, &setup.shows),
            heard: vec![HeardSums::default(); shards],
            watch: Watch::new(shards, setup.shows.len()),
            seals: Seals::default(),
            chats: Chats::default(),
            rains: Rains::default(),
            card_orders: CardOrders::new(setup.seed),
            tape: tape.then(Tape::default),
            quiet_since: None,
            commitments: BTreeMap::new(),
            inflater: Inflater::default(),
            decoder: Decoder { role: Role::Client, message_bytes_max: 1 << 20 },
            answer_in_hand: None,
            crashes: None,
            setup,
        };
        world.begin();
        world
    }

    /// A world in which nothing has happened yet and the power will fail.
    pub(crate) fn with_crashes(setup: Setup) -> World {
        let mut world = World::new(setup, false);
        world.begin_crashes();
        world
    }

    fn begin(&mut self) {
        let start = self.now;
        for player in 0..self.players.len() {
            // Some come early, most before the first question, some too late.
            let span = if self.dice.permille(150) { 6_000 } else { 1_800 };
            let at = start + self.dice.millis(1, span);
            self.schedule(at, Event::Player { player, act: Act::Connect { resume: false } });
        }
        for show in 0..self.setup.shows.len() {
            let late = if self.setup.early_rooms { 1_500 } else { 0 };
            let at = if late > 0 { start + self.dice.millis(1, late) } else { start };
            self.schedule(at, Event::Operator { show });
        }
        for host in 0..self.hosts.len() {
            self.schedule_pause(host);
        }
        self.schedule_revocations();
    }

    pub(crate) fn schedule_pause(&mut self, host: usize) {
        let every = self.setup.faults.pause_every_ms;
        if every > 0 && self.quiet_since.is_none() {
            let at = self.now + self.dice.millis(1, 2 * every);
            self.schedule(at, Event::Pause { host });
        }
    }

    /// Puts an event into the queue; among those of one moment the first stays the first.
    pub(crate) fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        let at = at.max(self.now);
        self.queue.push(Reverse(Scheduled { at, number: self.scheduled, event }));
    }

    /// Lets everything happen until all shows are over and quiet has come.
    pub(crate) fn run(&mut self) {
        let mut events = 0_u64;
        while let Some(Reverse(scheduled)) = self.queue.pop() {
            self.now = scheduled.at;
            self.findings.now = self.now;
            events += 1;
            if self.quiet_since.is_some_and(|since| self.is_over(since)) {
                return self.finish();
            }
            if self.now > VIRTUAL_TIME_MAX || events > EVENTS_MAX {
                let now = self.now;
                self.findings.broken(Promise::Progress, || {
                    format!("no end after {now} and {events} events")
                });
                return self.finish();
            }
            if self.findings.violations.iter().any(|it| it.promise == Promise::Progress) {
                return self.finish();
            }
            self.happen(scheduled.event);
        }
        if self.quiet_since.is_some() {
            // Everybody had left when the last show ended.
            return self.finish();
        }
        self.findings.broken(Promise::Progress, || "nothing is left to happen".into());
    }

    /// All is said: what was on its way had time to come. A gift for a room that nobody came back to
    /// after a restart waits for longer.
    fn is_over(&self, quiet_since: Time) -> bool {
        let quiet = self.now.since(quiet_since);
        let patience = if self.has_gifts_on_the_way() { GIFTS_MS } else { QUIET_MS };
        quiet > Duration::from_millis(patience)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn { host } => {
                if self.hosts[host].turn_at == self.now {
                    self.turn(host);
                }
            }
            Event::Pause { host } => self.pause(host),
            Event::Step { host, number } => self.step_ends(host, number),
            Event::NextStep { host } => self.write_journal(host),
            Event::Crash => self.crash(),
            Event::Restart => self.restart(),
            Event::Accept { link } if self.is_down() => self.refuse_connection(link),
            Event::Accept { link } => {
                self.links[link].run = self.run_number();
                let host = self.links[link].host;
                self.hosts[host].accepts.push(link);
                self.wake(host, self.now);
            }
            Event::ToHost { link, bytes } => self.reach_host(link, bytes),
            Event::EndToHost { link, reset } => self.end_reaches_host(link, reset),
            Event::ToClient { link, bytes } => self.reach_client(link, bytes),
            Event::EndToClient { link } => self.client_hears_end(link),
            Event::Writable { link } => self.becomes_writable(link),
            Event::Mail { to, batch } => {
                self.hosts[to].inbox.push_back(batch);
                self.wake(to, self.now);
            }
            Event::Durable { host, number } => {
                self.hosts[host].durable.push_back(number);
                self.wake(host, self.now);
            }
            Event::Player { player, act } => self.player_acts(player, act),
            Event::Operator { show } => self.operator_looks(show),
        }
    }

    fn pause(&mut self, host: usize) {
        let max = self.setup.faults.pause_max_ms;
        let until = self.now + self.dice.millis(1, max);
        self.races.pauses += 1;
        self.note_pause(host, until);
        let it = &mut self.hosts[host];
        it.paused_until = it.paused_until.max(until);
        self.schedule_pause(host);
    }

    /// Nobody listens.
    fn refuse_connection(&mut self, link: usize) {
        let now = self.now;
        let it = &mut self.links[link];
        (it.server_open, it.server_closed_at) = (false, now);
        self.races.crash_refused += 1;
        let latency = self.dice.micros(50, self.setup.faults.latency_max_us.max(51));
        self.schedule(now + latency, Event::EndToClient { link });
    }

    /// The hosts are gone: what they awaited comes to nobody.
    pub(crate) fn forget_what_hosts_await(&mut self) {
        let links = &self.links;
        self.queue.retain(|Reverse(scheduled)| match &scheduled.event {
            Event::Turn { .. }
            | Event::Pause { .. }
            | Event::Accept { .. }
            | Event::ToHost { .. }
            | Event::EndToHost { .. }
            | Event::Writable { .. }
            | Event::Mail { .. }
            | Event::Durable { .. }
            | Event::Step { .. }
            | Event::NextStep { .. }
            | Event::Crash => false,
            Event::ToClient { link, .. } => !links[*link].lost,
            Event::EndToClient { .. }
            | Event::Restart
            | Event::Player { .. }
            | Event::Operator { .. } => true,
        });
    }

    /// Whether a connection was taken by the process that runs now.
    pub(crate) fn is_of_this_run(&self, link: usize) -> bool {
        self.crashes.is_none() || self.links[link].run == self.run_number()
    }

    /// The shard that a show's director lives on.
    pub(crate) fn director_of(&self, show: usize) -> usize {
        self.placement.show_home(self.setup.shows[show].id).index()
    }

    /// The shard that a user lives on.
    pub(crate) fn home_of(&self, user: UserId) -> usize {
        self.placement.user_home(user).index()
    }
}

/// A shard of a start of the process.
pub(crate) fn make_shard(setup: &Setup, placement: Placement, me: ShardId, run: u64) -> Shard {
    let config = ShardConfig {
        me,
        placement,
        clock: CLOCK,
        decoder: Decoder { role: Role::Server, message_bytes_max: 4_096 },
        spill_bytes_max: setup.spill_bytes_max,
        lane_bytes_max: setup.lane_bytes_max,
        handshake_timeout_ms: 2_000,
        heartbeat_interval_ms: 700,
        idle_timeout_ms: setup.idle_timeout_ms,
        limits: ConnectionLimits::default(),
        echo: false,
        admission: setup.admission,
        downlink: setup.downlink.clone(),
        chat: setup.chat,
        words: setup.words.clone(),
    };
    let secrets = Secrets {
        ticket_key: TicketKey::new([9; 32], CLOCK),
        verifier: TokenVerifier::new(SECRET),
        entropy: Box::new(SeededEntropy::new(setup.seed, 100 + u64::from(me.0) + run * 100_000)),
    };
    Shard::new(config, secrets)
}
