//! A player's mind: when to connect, what to answer, when to break what. What is heard and said
//! is [`super::talk`]'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::{OptionIndex, QuestionIndex, RoomId, UserId};
use crate::base::time::Time;
use crate::sim::dice::Dice;
use crate::sim::identity::Credentials;
use crate::sim::network::{Break, Link, Stage};
use crate::sim::setup::{LOUNGE, Setup};
use crate::sim::truth::Reply;
use crate::sim::world::{CLOCK, Event, World};
use crate::wire::codec::Encoding;
use crate::wire::proto;

/// How often an answer without a reply is given again.
const REPEATS_MAX: u8 = 3;
/// How often an answer waits for the room.
const TRIES_MAX: u8 = 12;

/// Something that a player does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Connect {
        resume: bool,
    },
    Answer {
        answer: Wish,
        tries: u8,
    },
    Check {
        answer: usize,
        wish: Wish,
    },
    Break {
        how: Break,
    },
    Goodbye,
    Stall {
        millis: u64,
    },
    Unstall {
        link: usize,
    },
    Heartbeat {
        link: usize,
    },
    Chat,
    Switch {
        room: RoomId,
    },
    Leave,
    Garbage {
        show: usize,
        question: u32,
    },
    /// An operator revokes it.
    Revoke,
    Tap {
        show: u64,
        rain: u32,
        slot: u32,
    },
    Spend,
}

/// An answer that a player wants to give.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) show: usize,
    pub(crate) question: QuestionIndex,
    pub(crate) option: OptionIndex,
    pub(crate) ticket: Option<Bytes>,
    pub(crate) repeats: u8,
}

/// What a player knows of a show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// The questions that it has made plans about.
    planned: Option<u32>,
    pub(crate) is_out: bool,
    /// The question that came early, sealed.
    pub(crate) sealed: Option<proto::SealedQuestion>,
    /// The key that came last; what it opens may come behind it.
    pub(crate) key: Option<proto::QuestionKey>,
    /// The connection and shard of the last answer, by question.
    pub(crate) sent: BTreeMap<u16, (usize, usize)>,
}

impl Knowledge {
    /// The player means to tap once more at the question that it planned for last.
    pub(crate) fn forget_plans(&mut self) {
        self.planned = self.planned.and_then(|planned| planned.checked_sub(1));
    }
}

/// A player.
pub(crate) struct Player {
    pub(crate) user: UserId,
    pub(crate) credentials: Credentials,
    pub(crate) dice: Dice,
    pub(crate) encoding: Encoding,
    /// A key is enough for it where a question came early.
    pub(crate) opens_seals: bool,
    drift_ms: i64,
    pub(crate) room: RoomId,
    home_room: RoomId,
    /// The newest connection.
    pub(crate) link: Option<usize>,
    pub(crate) links: Vec<usize>,
    /// Epoch, newest versions and shard, by room.
    pub(crate) positions: BTreeMap<u64, (u64, [u64; 3], usize)>,
    pub(crate) shows: Vec<Knowledge>,
    pub(crate) next_sequence: u64,
    is_connecting: bool,
}

impl Player {
    pub(crate) fn new(setup: &Setup, place: usize) -> Player {
        let mut dice = Dice::new(setup.seed, 1_000 + place as u64);
        let show = dice.index(setup.shows.len());
        let home_room = setup.shows[show].room;
        let is_json = dice.below(100) < setup.json_percent;
        let drift_max = setup.faults.drift_max_ms;
        let drift = i64::try_from(dice.below(2 * drift_max + 1)).unwrap_or(0);
        Player {
            user: UserId(place as u64 + 1),
            credentials: Credentials::new(setup, place),
            encoding: if is_json { Encoding::Json } else { Encoding::Proto },
            opens_seals: Dice::new(setup.seed, 20_000 + place as u64).permille(700),
            drift_ms: drift - i64::try_from(drift_max).unwrap_or(0),
            room: home_room,
            home_room,
            link: None,
            links: Vec::new(),
            positions: BTreeMap::new(),
            shows: vec![Knowledge::default(); setup.shows.len()],
            next_sequence: 0,
            is_connecting: false,
            dice,
        }
    }
}

impl World {
    /// Lets a player do something later.
    pub(crate) fn later(&mut self, player: usize, delay: Duration, act: Act) {
        self.schedule(self.now + delay, Event::Player { player, act });
    }

    /// A player does something. Once all shows are over it only keeps its connection.
    pub(crate) fn player_acts(&mut self, player: usize, act: Act) {
        let kept = matches!(act, Act::Heartbeat { .. } | Act::Unstall { .. });
        if self.quiet_since.is_some() && !kept {
            return;
        }
        match act {
            Act::Connect { resume } => self.connect(player, resume),
            Act::Answer { answer, tries } => self.try_answer(player, answer, tries),
            Act::Check { answer, wish } => self.check_reply(player, answer, wish),
            Act::Break { how } => self.break_off(player, how),
            Act::Goodbye => {
                if let Some(link) = self.usable_link(player) {
                    self.races.goodbyes += 1;
                    self.say_goodbye(link, 1_000);
                }
            }
            Act::Stall { millis } => self.stall(player, millis),
            Act::Unstall { link } => self.reach_client(link, Vec::new()),
            Act::Heartbeat { link } => self.beat(player, link),
            Act::Chat => self.chat(player),
            Act::Switch { room } => self.switch(player, room),
            Act::Leave => {
                if let Some(link) = self.usable_link(player) {
                    self.races.switches += 1;
                    self.say_leave(link);
                }
            }
            Act::Revoke => self.revoke(player),
            Act::Tap { show, rain, slot } => self.tap(player, (show, rain, slot)),
            Act::Spend => self.spend(player),
            Act::Garbage { show, question } => {
                if let Some(link) = self.usable_link(player) {
                    self.races.answers_garbage += 1;
                    self.say_garbage(link, show, question);
                }
            }
        }
    }

    /// The newest connection, if it can be used.
    pub(crate) fn usable_link(&self, player: usize) -> Option<usize> {
        self.players[player].link.filter(|link| self.links[*link].is_usable())
    }

    fn connect(&mut self, player: usize, resume: bool) {
        self.players[player].is_connecting = false;
        let open = self.players[player].link.filter(|link| self.links[*link].client_open);
        self.races.reconnects_while_open += u64::from(open.is_some());
        let host = self.players[player].dice.index(self.hosts.len());
        self.fresh_token(player);
        let encoding = self.players[player].encoding;
        self.races.json_connections += u64::from(encoding == Encoding::Json);
        let link = self.links.len();
        self.links.push(Link::new(player, host, encoding, self.now));
        self.links[link].token = self.players[player].credentials.times();
        self.players[player].link = Some(link);
        self.players[player].links.push(link);
        let latency = self.dice.micros(50, self.setup.faults.latency_max_us.max(51));
        self.schedule(self.now + latency, Event::Accept { link });
        self.links[link].delay_to_host(self.now + latency);
        self.say_hello(link, resume);
    }

    /// Comes back after a while, unless a connection is there or on its way.
    pub(crate) fn come_back(&mut self, player: usize) {
        let it = &self.players[player];
        let has_open = it.link.is_some_and(|link| self.links[link].client_open);
        if has_open || it.is_connecting || self.quiet_since.is_some() {
            return;
        }
        // An older connection may be the one that lives.
        let older = it.links.iter().rev().copied().find(|link| self.links[*link].client_open);
        if let Some(older) = older {
            self.players[player].link = Some(older);
            return;
        }
        let it = &mut self.players[player];
        it.is_connecting = true;
        let millis = if it.dice.permille(200) { 1_500 } else { 250 };
        let delay = it.dice.millis(5, millis);
        let resume = !it.dice.permille(200);
        self.later(player, delay, Act::Connect { resume });
    }

    /// The host's end of a connection has reached the client.
    pub(crate) fn client_hears_end(&mut self, link: usize) {
        let it = &mut self.links[link];
        if !it.client_open {
            return;
        }
        it.client_open = false;
        it.ended_at = self.now;
        it.stage = Stage::Over;
        it.lanes.left();
        let player = it.player;
        self.come_back(player);
    }

    fn break_off(&mut self, player: usize, how: Break) {
        let Some(link) = self.players[player].link else { return };
        self.client_breaks(link, how);
        self.come_back(player);
    }

    fn stall(&mut self, player: usize, millis: u64) {
        let Some(link) = self.usable_link(player) else { return };
        self.races.stalls += 1;
        let until = self.now + Duration::from_millis(millis);
        self.links[link].stalled_until = until;
        self.links[link].reads_well = false;
        self.schedule(until, Event::Player { player, act: Act::Unstall { link } });
    }

    fn beat(&mut self, player: usize, link: usize) {
        if !self.links[link].client_open {
            return;
        }
        if self.links[link].is_usable() {
            self.say_heartbeat(link);
        }
        let every = Duration::from_millis(u64::from(self.setup.idle_timeout_ms) * 4 / 10);
        self.later(player, every, Act::Heartbeat { link });
    }

    fn chat(&mut self, player: usize) {
        let in_room = |link: &usize| self.links[*link].lanes.position().is_some();
        if let Some(link) = self.usable_link(player).filter(in_room) {
            self.races.chat += 1;
            self.say_chat(link);
        }
    }

    fn switch(&mut self, player: usize, room: RoomId) {
        self.players[player].room = room;
        if let Some(link) = self.usable_link(player) {
            self.races.switches += 1;
            let resume = self.players[player].dice.permille(700);
            self.say_join(link, resume);
        }
    }

    fn try_answer(&mut self, player: usize, answer: Wish, tries: u8) {
        let impatient = self.players[player].dice.permille(60);
        let ready = self.usable_link(player).filter(|link| {
            let in_show = self.links[*link].in_show.map(|(show, _)| show);
            in_show == Some(answer.show) || tries == TRIES_MAX || impatient
        });
        if let Some(link) = ready {
            self.say_answer(link, answer);
        } else if tries < TRIES_MAX {
            let delay = self.players[player].dice.millis(20, 200);
            self.later(player, delay, Act::Answer { answer, tries: tries + 1 });
        }
    }

    /// No reply yet: the player taps again.
    fn check_reply(&mut self, player: usize, answer: usize, wish: Wish) {
        if self.answers[answer].reply.is_some() || wish.repeats >= REPEATS_MAX {
            return;
        }
        self.races.repeats += 1;
        let wish = Wish { repeats: wish.repeats + 1, ..wish };
        self.try_answer(player, wish, 0);
    }

    /// An answer has to come again, with a ticket.
    pub(crate) fn retry_later(
        &mut self,
        player: usize,
        answer: usize,
        retry_ms: u32,
        ticket: Bytes,
    ) {
        let sent = &self.answers[answer];
        let wish = Wish {
            show: sent.show,
            question: sent.question,
            option: sent.option,
            ticket: Some(ticket),
            repeats: 0,
        };
        self.answers[answer].reply = Some(Reply::Retry);
        let dice = &mut self.players[player].dice;
        let jitter = if dice.permille(80) { 3_000 } else { dice.between(0, 120) };
        let breaks = dice.permille(60);
        let forgets = dice.permille(40);
        let delay = Duration::from_millis(u64::from(retry_ms) + jitter);
        if breaks {
            self.later(player, delay / 2, Act::Break { how: Break::End });
        }
        if !forgets {
            self.later(player, delay, Act::Answer { answer: wish, tries: 0 });
        }
    }

    /// A question is on the screen: what will the player do?
    pub(crate) fn plan(&mut self, player: usize, show: usize, question: u32, answer_by_ms: i64) {
        let Ok(place) = u16::try_from(question) else { return };
        let knowledge = &mut self.players[player].shows[show];
        if knowledge.planned.is_some_and(|planned| planned >= question) {
            return;
        }
        knowledge.planned = Some(question);
        // By the player's own clock.
        let millis = answer_by_ms - CLOCK.zero_unix_ms + self.players[player].drift_ms;
        let answer_by = Time::from_millis(u64::try_from(millis).unwrap_or(0));
        let left = answer_by.since(self.now);
        let left_us = u64::try_from(left.as_micros()).unwrap_or(0);
        let in_time = self.players[player].dice.micros(20_000.min(left_us), left_us);
        let mut acts = self.answers_of(player, show, place, left, in_time);
        acts.extend(self.mishaps_of(player, left_us, in_time));
        for (delay, act) in acts {
            self.later(player, delay, act);
        }
    }

    /// What a player means to answer, and when.
    fn answers_of(
        &mut self,
        player: usize,
        show: usize,
        place: u16,
        left: Duration,
        in_time: Duration,
    ) -> Vec<(Duration, Act)> {
        let count = self.setup.shows[show].questions[usize::from(place)].options.len();
        let known = self.setup.known[show][usize::from(place)];
        let it = &mut self.players[player];
        if it.shows[show].is_out && !it.dice.permille(150) {
            return Vec::new();
        }
        let other = OptionIndex(u8::try_from(it.dice.index(count)).unwrap_or(0));
        let option = if it.dice.permille(720) { known } else { other };
        let question = QuestionIndex(place);
        let wish = |option| Wish { show, question, option, ticket: None, repeats: 0 };
        let answer = |option| Act::Answer { answer: wish(option), tries: 0 };
        let again = in_time + it.dice.millis(1, 300);
        match it.dice.below(100) {
            0..=55 => vec![(in_time, answer(option))],
            56..=64 => vec![(in_time, answer(option)), (again, answer(option))],
            65..=70 => {
                self.races.answers_other_option += 1;
                vec![(in_time, answer(option)), (again, answer(other))]
            }
            71..=77 => vec![(left + it.dice.millis(10, 1_500), answer(option))],
            78..=84 => Vec::new(),
            85..=93 => vec![(left.saturating_sub(it.dice.millis(0, 40)), answer(option))],
            _ => {
                let far = u32::try_from(it.dice.below(2)).unwrap_or(0) * 70_000;
                let garbage = Act::Garbage { show, question: u32::from(place) + far };
                vec![(in_time / 2, garbage), (in_time, answer(option))]
            }
        }
    }

    /// What else happens to a player while a question is open.
    fn mishaps_of(
        &mut self,
        player: usize,
        left_us: u64,
        in_time: Duration,
    ) -> Vec<(Duration, Act)> {
        let (breaks, stalls) = (self.setup.faults.break_permille, self.setup.faults.stall_permille);
        let rooms = [LOUNGE, self.setup.shows[self.setup.shows.len() - 1].room];
        let it = &mut self.players[player];
        let whole = left_us + 600_000;
        let moment = it.dice.micros(1, whole);
        let mut acts = Vec::new();
        if it.dice.permille(breaks) {
            let act = match it.dice.below(10) {
                0..=1 => Act::Break { how: Break::End },
                2..=4 => Act::Break { how: Break::Reset },
                5..=6 => Act::Break { how: Break::HalfOpen },
                7 => Act::Goodbye,
                _ => Act::Connect { resume: it.dice.permille(600) },
            };
            // Breaking right behind an answer loses its reply.
            let soon = in_time + it.dice.micros(0, 80_000);
            acts.push((if it.dice.permille(400) { soon } else { moment }, act));
        }
        if it.dice.permille(stalls) {
            let is_long = it.dice.permille(200);
            let millis = if is_long { 7_000 } else { it.dice.between(50, 3_000) };
            acts.push((it.dice.micros(1, whole), Act::Stall { millis }));
        }
        for _ in 0..3 {
            if it.dice.below(100) < self.setup.chat_percent {
                acts.push((it.dice.micros(1, whole), Act::Chat));
            }
        }
        if it.dice.permille(40) {
            let back = moment + it.dice.millis(20, 2_500);
            let room = it.dice.pick(&rooms);
            let away = if it.dice.below(3) == 0 { Act::Leave } else { Act::Switch { room } };
            acts.extend([(moment, away), (back, Act::Switch { room: it.home_room })]);
        }
        acts
    }
}
