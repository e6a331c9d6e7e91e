//! Cards that an operator orders, each with a key of its own. An order that nobody answered before the
//! power failed is given again, and so is, now and then, one that was answered: each gives one card.

use crate::base::ids::UserId;
use crate::shard::operator::OperatorRequest;
use crate::shard::standing::{Order, OrderKey};
use crate::sim::checkers::Promise;
use crate::sim::dice::Dice;
use crate::sim::operator::{GRANT, KINDS};
use crate::sim::world::World;

/// One card for one user.
#[derive(Clone, Copy, Debug)]
struct Grant {
    user: UserId,
    is_told: bool,
    is_refused: bool,
}

/// All cards that were ordered.
pub(crate) struct Grants {
    dice: Dice,
    orders: Vec<Grant>,
}

impl Grants {
    pub(crate) fn new(seed: u64) -> Grants {
        Grants { dice: Dice::new(seed, 43), orders: Vec::new() }
    }

    /// How many cards were ordered for a user, and of how many the operator was told that they are
    /// granted.
    fn of(&self, user: UserId) -> (u64, u64) {
        let own = self.orders.iter().filter(|grant| grant.user == user);
        own.fold((0, 0), |(ordered, told), grant| (ordered + 1, told + u64::from(grant.is_told)))
    }
}

impl World {
    /// Orders a card.
    pub(crate) fn grant_card(&mut self, user: UserId) {
        self.races.cards_granted += 1;
        self.grants.orders.push(Grant { user, is_told: false, is_refused: false });
        self.order_card(self.grants.orders.len() - 1);
        if self.grants.dice.below(4) == 0 {
            self.repeat_card(self.grants.orders.len() - 1);
        }
    }

    fn order_card(&mut self, number: usize) {
        let user = self.grants.orders[number].user;
        let mut key = OrderKey([0; 16]);
        key.0[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let order = Order { key, fingerprint: user.0 };
        let request =
            OperatorRequest::Once { order, request: Box::new(OperatorRequest::GrantCard { user }) };
        let home = self.home_of(user);
        self.hosts[home].calls.push_back((number as u64 * KINDS + GRANT, request));
        self.wake(home, self.now);
    }

    fn repeat_card(&mut self, number: usize) {
        self.races.orders_repeated += 1;
        self.order_card(number);
    }

    /// The process began again: what was not answered is ordered again, and some of the rest.
    pub(crate) fn repeat_cards(&mut self) {
        for number in 0..self.grants.orders.len() {
            let Grant { is_told, is_refused, .. } = self.grants.orders[number];
            if !is_refused && (!is_told || self.grants.dice.below(4) == 0) {
                self.repeat_card(number);
            }
        }
    }

    /// The operator heard of an order.
    pub(crate) fn card_was_ordered(&mut self, number: u64, is_granted: bool) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let grant = &mut self.grants.orders[number];
        grant.is_told |= is_granted;
        grant.is_refused |= !is_granted;
    }

    /// Each card that the operator was told of was granted, and none twice.
    pub(crate) fn check_grants(&mut self, promise: Promise) {
        for (user, wallet) in &self.model.wallets {
            let (ordered, told) = self.grants.of(*user);
            let granted = wallet.granted;
            self.findings.check(told <= granted && granted <= ordered, promise, || {
                format!("user {user}: {ordered} cards ordered, {granted} granted, {told} told")
            });
        }
        for grant in self.grants.orders.iter().filter(|grant| grant.is_told) {
            let user = grant.user;
            self.findings.check(self.model.wallets.contains_key(&user), promise, || {
                format!("user {user}: the operator was told of a card, and none is on record")
            });
        }
    }
}
