//! Accounts, and the units in which they are kept.

use std::fmt;

use crate::base::ids::{ShowId, UserId};
use crate::ledger::name::Name;

/// What is counted. Amounts of different units are never added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Money, the smallest coin.
    Cent,
    /// Revive cards.
    Card,
}

impl Unit {
    /// As the book writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Unit::Cent => "cent",
            Unit::Card => "card",
        }
    }
}

/// A pool of a show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// What those who passed the last question split.
    Prize,
    /// What this rain of red packets holds, counted from 0 in its show.
    Rain(u32),
}

impl fmt::Display for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pool::Prize => write!(formatter, "prize"),
            Pool::Rain(rain) => write!(formatter, "rain:{rain}"),
        }
    }
}

/// Where money or cards are, or come from. Displayed as the book writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// What the operator put in; its balance is negative by what is in the game or went out.
    Funding,
    /// What a show has for rains that are not planned yet.
    RainFund(ShowId),
    /// A pool of a show; nothing is in it once it is settled.
    Pool(ShowId, Pool),
    /// What a player can withdraw, and the cards that it holds.
    Player(UserId),
    /// The account that a show names for what is left over.
    Remainder(Name),
    /// Withdrawals on their way to the operator's balance system.
    InFlight,
    /// Withdrawals that the operator's balance system took.
    PaidOut,
    /// What gifts brought in.
    Gifts,
    /// Where cards come from; negative by all that were ever granted.
    CardsIssued,
    /// Cards that were used.
    CardsUsed,
    /// Cards that expired.
    CardsExpired,
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Funding => write!(formatter, "funding"),
            Account::RainFund(show) => write!(formatter, "pool:{show}:rains"),
            Account::Pool(show, pool) => write!(formatter, "pool:{show}:{pool}"),
            Account::Player(user) => write!(formatter, "player:{user}"),
            Account::Remainder(name) => write!(formatter, "remainder:{name}"),
            Account::InFlight => write!(formatter, "payouts:in-flight"),
            Account::PaidOut => write!(formatter, "payouts:paid"),
            Account::Gifts => write!(formatter, "gifts"),
            Account::CardsIssued => write!(formatter, "cards:issued"),
            Account::CardsUsed => write!(formatter, "cards:used"),
            Account::CardsExpired => write!(formatter, "cards:expired"),
        }
    }
}
