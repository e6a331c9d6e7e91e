//! Red-packet rains, withdrawals and gifts: who orders them, who taps, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::ids::{RainIndex, ShowId, UserId};
use crate::quiz::money::Cents;
use crate::quiz::rain::{CERTAIN, RainCommand, RainEvent, RainPhase, RainSettings};
use crate::shard::operator::{OperatorRequest, ShowStatus};
use crate::shard::record::MoneyRecord;
use crate::sim::checkers::Promise;
use crate::sim::network::Asked;
use crate::sim::operator::COMMAND;
use crate::sim::player::Act;
use crate::sim::world::World;
use crate::wire::proto;

/// A packet on record.
struct Won {
    user: UserId,
    cents: i64,
    record: Place,
}

/// On which host, and in which of its records.
type Place = (usize, u64);

/// A gift on record.
struct Given {
    cents: i64,
    record: Place,
    /// Where it is on record that it was shown, or that its price came back.
    ended: Option<Place>,
}

/// What is known of all rains.
#[derive(Default)]
pub(crate) struct Rains {
    /// By show, rain and number.
    won: BTreeMap<(ShowId, RainIndex, u32), Won>,
    /// By show, rain, user and slot: what a client was told.
    told: BTreeMap<(u64, u32, UserId, u32), i64>,
    /// Gifts on record.
    gifts: BTreeMap<(UserId, String), Given>,
    /// Withdrawals on record.
    withdrawn: BTreeMap<(UserId, String), Place>,
    /// Requests of which a client was told that they are done: by whom, by which key, and whether
    /// it was a withdrawal.
    done: BTreeSet<(UserId, String, bool)>,
    pools: BTreeMap<(ShowId, RainIndex), RainSettings>,
}

impl Rains {
    /// The process ended: so many records of each host were found, and the rest never was.
    pub(crate) fn roll_back(&mut self, found: &[u64]) {
        let is_found = |(host, number): Place| number <= found[host];
        self.won.retain(|_, won| is_found(won.record));
        self.won.values_mut().for_each(|won| won.record = (0, 0));
        self.withdrawn.retain(|_, place| is_found(*place));
        self.withdrawn.values_mut().for_each(|place| *place = (0, 0));
        self.gifts.retain(|_, gift| is_found(gift.record));
        for gift in self.gifts.values_mut() {
            gift.record = (0, 0);
            gift.ended = gift.ended.filter(|ended| is_found(*ended)).map(|_| (0, 0));
        }
    }
}

impl World {
    /// In some seeds rains are planned and started. True if something was ordered.
    pub(crate) fn operator_rains(&mut self, show: usize, status: &ShowStatus) -> bool {
        let Some(settings) = self.setup.rain else { return false };
        let command = match status.rains.last() {
            None if status.rain_fund == Cents::ZERO => RainCommand::Fund(settings.pool),
            None => RainCommand::Plan(settings),
            Some(rain) if rain.phase == RainPhase::Planned && self.dice.permille(300) => {
                RainCommand::Start(rain.rain)
            }
            Some(rain) if rain.phase == RainPhase::Falling && self.dice.permille(20) => {
                RainCommand::End(rain.rain)
            }
            Some(_) => return false,
        };
        let id = self.setup.shows[show].id;
        self.order(show, COMMAND, OperatorRequest::Rain { show: id, command });
        true
    }

    /// A director's decision.
    pub(crate) fn see_rain(&mut self, show: ShowId, event: &RainEvent) {
        match event {
            RainEvent::Planned { rain, settings, .. } => {
                self.rains.pools.insert((show, *rain), *settings);
            }
            RainEvent::Started { .. } => self.races.rains += 1,
            RainEvent::Ended { rain, grabbed, paid, returned } => {
                let of_rain = (show, *rain, 0)..=(show, *rain, u32::MAX);
                let won: Vec<_> = self.rains.won.range(of_rain).map(|(_, won)| won).collect();
                let sum: i64 = won.iter().map(|won| won.cents).sum();
                let settings = self.rains.pools.get(&(show, *rain));
                let pool = settings.map_or(0, |settings| settings.pool.0);
                let holds = won.len() == *grabbed as usize
                    && sum == paid.0
                    && paid.0 + returned.0 == pool
                    && settings.is_some_and(|settings| *grabbed <= settings.packets);
                let count = won.len();
                self.findings.check(holds, Promise::Money, || {
                    format!("{event:?}: on record are {count} packets with {sum} of {pool} cents")
                });
            }
            RainEvent::Funded { .. }
            | RainEvent::Granted { .. }
            | RainEvent::Closing { .. }
            | RainEvent::FundClosed { .. } => {}
        }
    }

    /// A record about a user's money.
    pub(crate) fn see_money(&mut self, host: usize, number: u64, user: UserId, what: &MoneyRecord) {
        let wallet = &mut self.model.wallets.entry(user).or_default().balance;
        match what {
            MoneyRecord::Grabbed { show, rain, slot, number: packet, cents } => {
                *wallet += cents.0;
                self.races.packets += 1;
                let won = Won { user, cents: cents.0, record: (host, number) };
                let twice = self.rains.won.insert((*show, *rain, *packet), won).is_some();
                let of_rain = (*show, *rain, 0)..=(*show, *rain, u32::MAX);
                let own = self.rains.won.range(of_rain).filter(|(_, won)| won.user == user).count();
                let settings = self.rains.pools.get(&(*show, *rain)).copied();
                let holds = settings.is_some_and(|settings| {
                    *packet < settings.packets
                        && *slot < settings.taps_max
                        && own <= usize::from(settings.taps_max)
                });
                self.findings.check(!twice && holds && cents.0 > 0, Promise::Money, || {
                    format!("user {user} has {own} packets, and packet {packet} for {what:?}")
                });
            }
            MoneyRecord::Withdrawn { key, cents, balance, .. } => {
                *wallet -= cents.0;
                self.races.withdrawn += 1;
                let of_user = (user, key.as_str().to_owned());
                let is_new = self.rains.withdrawn.insert(of_user, (host, number)).is_none();
                self.findings.check(is_new && balance.0 >= 0, Promise::Money, || {
                    format!("{user}: {what:?}")
                });
            }
            MoneyRecord::Gifted { key, gift, balance, .. } => {
                *wallet -= gift.cents.0;
                self.races.gifts += 1;
                let given = Given { cents: gift.cents.0, record: (host, number), ended: None };
                let of_user = (user, key.as_str().to_owned());
                let is_new = self.rains.gifts.insert(of_user, given).is_none();
                self.findings.check(is_new && balance.0 >= 0, Promise::Money, || {
                    format!("{user}: {what:?}")
                });
            }
            MoneyRecord::GiftShown { key } => {
                let gift = self.rains.gifts.get_mut(&(user, key.as_str().to_owned()));
                let is_first =
                    gift.is_some_and(|gift| gift.ended.replace((host, number)).is_none());
                self.findings.check(is_first, Promise::Money, || format!("{user}: {what:?}"));
            }
            MoneyRecord::GiftReturned { key, cents, .. } => {
                *wallet += cents.0;
                let gift = self.rains.gifts.get_mut(&(user, key.as_str().to_owned()));
                let is_first = gift.is_some_and(|gift| {
                    gift.cents == cents.0 && gift.ended.replace((host, number)).is_none()
                });
                self.findings.check(is_first, Promise::Money, || format!("{user}: {what:?}"));
            }
            MoneyRecord::RequestForgotten { key, is_gift } => {
                let of_user = (user, key.as_str().to_owned());
                let was_over = if *is_gift {
                    self.rains.gifts.remove(&of_user).is_some_and(|gift| gift.ended.is_some())
                } else {
                    self.rains.withdrawn.remove(&of_user).is_some()
                };
                self.rains.done.remove(&(user, of_user.1, !*is_gift));
                self.findings.check(was_over, Promise::Money, || format!("{user}: {what:?}"));
            }
            MoneyRecord::WithdrawalClosed { .. }
            | MoneyRecord::InvitationAsked { .. }
            | MoneyRecord::InvitationAccepted { .. }
            | MoneyRecord::InvitationAnswered { .. } => {}
        }
    }

    /// A client hears of a rain: its player plans to tap, to tap again, and to spend what it wins.
    pub(crate) fn hear_rain(&mut self, link: usize, told: &proto::Rain) {
        let player = self.links[link].player;
        if told.phase() != proto::RainPhase::Falling {
            return;
        }
        for slot in 0..=told.taps_max {
            for _ in 0..self.players[player].dice.between(0, 2) {
                let delay = self.players[player].dice.millis(1, 4_000);
                let (show, rain) = (told.show_id, told.rain);
                self.later(player, delay, Act::Tap { show, rain, slot });
            }
        }
        let delay = self.players[player].dice.millis(100, 5_000);
        self.later(player, delay, Act::Spend);
    }

    /// A player taps, perhaps again.
    pub(crate) fn tap(&mut self, player: usize, (show_id, rain, slot): (u64, u32, u32)) {
        let Some(link) = self.usable_link(player) else { return };
        self.races.taps += 1;
        let payload = proto::request::Payload::Grab(proto::Grab { show_id, rain, slot });
        self.ask_to_say(link, Asked::Money, payload);
    }

    /// A player spends something: the same keys again and again, and more than it has.
    pub(crate) fn spend(&mut self, player: usize) {
        let Some(link) = self.usable_link(player) else { return };
        let dice = &mut self.players[player].dice;
        let key = format!("key-{}", dice.below(3));
        let cents = i64::try_from(dice.below(30)).unwrap_or(0);
        let payload = if dice.below(2) == 0 {
            proto::request::Payload::Withdraw(proto::Withdraw { key, cents: cents - 1 })
        } else {
            let kind = 7;
            proto::request::Payload::Give(proto::Give { key, kind, cents })
        };
        self.ask_to_say(link, Asked::Money, payload);
        if self.players[player].dice.below(3) > 0 {
            let delay = self.players[player].dice.millis(1, 1_000);
            self.later(player, delay, Act::Spend);
        }
    }

    /// A client is told what a tap brought: the same as ever, and on a durable record.
    pub(crate) fn hear_grabbed(&mut self, link: usize, told: &proto::Grabbed) {
        let user = self.players[self.links[link].player].user;
        let place = (told.show_id, told.rain, user, told.slot);
        let first = *self.rains.told.entry(place).or_insert(told.cents);
        self.findings.check(first == told.cents, Promise::Money, || {
            format!("user {user} was told of {first} cents, then {told:?}")
        });
        if told.cents > 0 {
            let rain = RainIndex(u16::try_from(told.rain).unwrap_or(u16::MAX));
            let show = ShowId(told.show_id);
            let of_rain = (show, rain, 0)..=(show, rain, u32::MAX);
            let durable = |(host, number): (usize, u64)| number <= self.hosts[host].durable_upto;
            let is_on_record =
                self.rains.won.range(of_rain).any(|(_, won)| {
                    won.user == user && won.cents == told.cents && durable(won.record)
                });
            self.findings.check(is_on_record, Promise::Money, || {
                format!("user {user} was told of a packet that is not durable: {told:?}")
            });
        }
    }

    /// A client is told that a withdrawal or a gift is done: it is on record for good.
    pub(crate) fn hear_request_done(&mut self, link: usize, key: &str, is_withdrawal: bool) {
        let user = self.players[self.links[link].player].user;
        self.rains.done.insert((user, key.to_owned(), is_withdrawal));
        self.check_request_done(user, key, is_withdrawal);
    }

    fn check_request_done(&mut self, user: UserId, key: &str, is_withdrawal: bool) {
        let of_user = (user, key.to_owned());
        let is_on_record = if is_withdrawal {
            self.rains.withdrawn.contains_key(&of_user)
        } else {
            self.rains.gifts.contains_key(&of_user)
        };
        self.findings.check(is_on_record, Promise::Durability, || {
            format!("user {user} was told that {key} is done, and it is not on record")
        });
    }

    /// After the power failed: everything about money that somebody was told is on record.
    pub(crate) fn check_told_money(&mut self) {
        for (user, key, is_withdrawal) in self.rains.done.clone() {
            self.check_request_done(user, &key, is_withdrawal);
        }
        let told = self.rains.told.iter().filter(|(_, cents)| **cents > 0);
        let mut lost = Vec::new();
        for ((show, rain, user, slot), cents) in told {
            let rain = RainIndex(u16::try_from(*rain).unwrap_or(u16::MAX));
            let of_rain = (ShowId(*show), rain, 0)..=(ShowId(*show), rain, u32::MAX);
            let mut won = self.rains.won.range(of_rain).map(|(_, won)| won);
            if !won.any(|won| won.user == *user && won.cents == *cents) {
                lost.push(format!("user {user} was told of {cents} cents for tap {slot}"));
            }
        }
        for lost in lost {
            self.findings.broken(Promise::Durability, || format!("{lost}; they are gone"));
        }
    }

    /// Some gifts were neither shown nor returned so far.
    pub(crate) fn has_gifts_on_the_way(&self) -> bool {
        self.rains.gifts.values().any(|gift| gift.ended.is_none())
    }

    /// When all is quiet, every gift has been shown, or its price came back.
    pub(crate) fn check_gifts(&mut self) {
        for ((user, key), gift) in &self.rains.gifts {
            self.findings.check(gift.ended.is_some(), Promise::Money, || {
                format!("the gift {key} of user {user}, record {:?}, never came", gift.record)
            });
        }
    }
}

/// The rain of a seed: few packets, so that it runs dry, or many; in one seed of three.
pub(crate) fn draw(dice: &mut crate::sim::dice::Dice) -> Option<RainSettings> {
    if dice.below(3) > 0 {
        return None;
    }
    let packets = dice.pick(&[1, 3, 20, 200]);
    let pool = Cents(i64::from(packets) + i64::try_from(dice.below(500)).unwrap_or(0));
    let duration = Duration::from_millis(dice.pick(&[300, 2_000, 4_000]));
    Some(RainSettings {
        win_per_10000: dice.pick(&[CERTAIN, CERTAIN / 2, 1_000]),
        taps_max: dice.pick(&[1, 3, 3]),
        show_packets_max: dice.pick(&[0, 0, 2]),
        ..RainSettings::new(pool, packets, duration)
    })
}
