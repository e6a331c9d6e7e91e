//! Cards that an operator orders, or lets expire, each order with a key of its own. One that nobody
//! answered before the power failed is given again, and so is, now and then, one that was answered: each is
//! carried out once.

use crate::base::ids::UserId;
use crate::shard::operator::OperatorRequest;
use crate::shard::standing::{Order, OrderKey};
use crate::sim::checkers::Promise;
use crate::sim::dice::Dice;
use crate::sim::operator::{CARDS, KINDS};
use crate::sim::world::World;

/// What is ordered about a user's cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// One more.
    Grant,
    /// So many fewer, if it has them.
    Expire(u8),
}

/// One order.
#[derive(Clone, Copy, Debug)]
struct CardOrder {
    user: UserId,
    what: What,
    is_told: bool,
    is_refused: bool,
}

/// All orders about cards.
pub(crate) struct CardOrders {
    dice: Dice,
    orders: Vec<CardOrder>,
}

impl CardOrders {
    pub(crate) fn new(seed: u64) -> CardOrders {
        CardOrders { dice: Dice::new(seed, 43), orders: Vec::new() }
    }

    /// How many orders there were for a user, and of how many the operator was told that they are
    /// carried out.
    fn of(&self, user: UserId, is_grant: bool) -> (u64, u64) {
        let own = self.orders.iter().filter(|order| order.user == user);
        let own = own.filter(|order| (order.what == What::Grant) == is_grant);
        own.fold((0, 0), |(ordered, told), order| (ordered + 1, told + u64::from(order.is_told)))
    }
}

impl World {
    /// Orders a card.
    pub(crate) fn grant_card(&mut self, user: UserId) {
        self.races.cards_granted += 1;
        self.order_new(user, What::Grant);
    }

    /// Now and then, in a new phase, lets somebody's cards expire.
    pub(crate) fn expire_some(&mut self, is_new_phase: bool) {
        if is_new_phase && self.setup.cards_percent > 0 && self.card_orders.dice.below(3) == 0 {
            let user = UserId(self.card_orders.dice.below(self.setup.player_count as u64) + 1);
            let cards_max = if self.card_orders.dice.below(2) == 0 { 1 } else { u8::MAX };
            self.order_new(user, What::Expire(cards_max));
        }
    }

    fn order_new(&mut self, user: UserId, what: What) {
        self.card_orders.orders.push(CardOrder { user, what, is_told: false, is_refused: false });
        self.order_cards(self.card_orders.orders.len() - 1);
        if self.card_orders.dice.below(4) == 0 {
            self.repeat_order(self.card_orders.orders.len() - 1);
        }
    }

    fn order_cards(&mut self, number: usize) {
        let CardOrder { user, what, .. } = self.card_orders.orders[number];
        let mut key = OrderKey([0; 16]);
        key.0[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let order = Order { key, fingerprint: user.0 };
        let request = Box::new(match what {
            What::Grant => OperatorRequest::GrantCard { user },
            What::Expire(cards_max) => OperatorRequest::ExpireCards { user, cards_max },
        });
        let request = OperatorRequest::Once { order, request };
        let home = self.home_of(user);
        self.hosts[home].calls.push_back((number as u64 * KINDS + CARDS, request));
        self.wake(home, self.now);
    }

    fn repeat_order(&mut self, number: usize) {
        self.races.orders_repeated += 1;
        self.order_cards(number);
    }

    /// The process began again: what was not answered is ordered again, and some of the rest.
    pub(crate) fn repeat_orders(&mut self) {
        for number in 0..self.card_orders.orders.len() {
            let CardOrder { is_told, is_refused, .. } = self.card_orders.orders[number];
            if !is_refused && (!is_told || self.card_orders.dice.below(4) == 0) {
                self.repeat_order(number);
            }
        }
    }

    /// The operator heard of an order.
    pub(crate) fn cards_were_ordered(&mut self, number: u64, is_done: bool) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let order = &mut self.card_orders.orders[number];
        order.is_told |= is_done;
        order.is_refused |= !is_done;
        self.races.expiries_refused += u64::from(!is_done && order.what != What::Grant);
    }

    /// Each order that the operator was told of was carried out, and none twice.
    pub(crate) fn check_card_orders(&mut self, promise: Promise) {
        for (user, wallet) in &self.model.wallets {
            for (is_grant, done) in [(true, wallet.granted), (false, wallet.expiries)] {
                let (ordered, told) = self.card_orders.of(*user, is_grant);
                self.findings.check(told <= done && done <= ordered, promise, || {
                    let what = if is_grant { "grants" } else { "expiries" };
                    format!("user {user}, {what}: {ordered} ordered, {done} done, {told} told")
                });
            }
        }
        for order in self.card_orders.orders.iter().filter(|order| order.is_told) {
            let user = order.user;
            self.findings.check(self.model.wallets.contains_key(&user), promise, || {
                format!("user {user}: the operator was told of an order about cards, and none is on record")
            });
        }
    }
}
