//! Causes: what the journal tells the book. This is the interface between the two.
//!
//! What the feed promises:
//!
//! - **A cause is told as it was journaled.** Told again, after a restart, by another shard, or when
//!   the book is written anew, it has the same contents, its time included; so that time comes from
//!   the record, never from a clock at the time of telling.
//! - **Keys come from causes**, never from offsets: [`Cause::key`]. A repeated cause is a no-op, the
//!   same key with other contents stops the feed.
//! - **A settled show is told by exactly one [`CauseKind::Settled`]**, also when nothing was left over
//!   or nobody won; a rain that is over by exactly one [`CauseKind::RainReturned`]. A show that is called
//!   off is not settled: its pool is reversed.
//! - **Nothing before the reveal**: what a cause tells may be read by players.
//! - A reversal comes after what it reverses. For the rest, causes of different users may come in any
//!   order; those of one user in the order of its bucket.

use std::fmt;

use crate::base::ids::{EventNumber, QuestionIndex, RoomId, ShowId, UserId};
use crate::base::limits::LEDGER_AMOUNT_MAX;
use crate::ledger::account::{Pool, Unit};
use crate::ledger::error::CauseError;
use crate::ledger::name::Name;
use crate::quiz::money::Cents;

/// Something that moved money or cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// When it happened, Unix milliseconds, as its record says.
    pub at_unix_ms: i64,
    /// What happened.
    pub kind: CauseKind,
}

/// A player's withdrawal: whose, and which of that player's, as the bucket numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WithdrawalId {
    /// Whose balance.
    pub user: UserId,
    /// Which of this user's withdrawals.
    pub number: u64,
}

/// A grant of cards to a user, by the name that it was granted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who holds them.
    pub user: UserId,
    /// Which grant to this user.
    pub grant: Name,
    /// How many cards.
    pub cards: u32,
}

/// Who of the two an invitation's reward is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who invited.
    Inviter,
    /// Who came.
    Invitee,
}

/// What an invitation brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reward {
    /// Revive cards.
    Cards(u32),
    /// Money of the operator's.
    Cents(Cents),
}

/// Who pays for a gift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiftPayer {
    /// The giver's balance.
    Balance,
    /// The operator took the money elsewhere, and brings it in.
    Operator,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named by what they hold; the variants say the rest")]
pub enum CauseKind {
    /// A pool was put up; a rain's comes from the show's fund for rains.
    PoolFunded { show: ShowId, pool: Pool, amount: Cents },
    /// A winner's share.
    Prize { show: ShowId, user: UserId, amount: Cents },
    /// A show's split: what it came to, and where the rest goes (the whole pool where nobody won).
    Settled {
        show: ShowId,
        pool: Cents,
        winners: u64,
        per_head: Cents,
        remainder: Cents,
        account: Name,
    },
    /// Cards were granted.
    CardsGranted(Grant),
    /// A card was used; there is one use per user and show.
    CardUsed { show: ShowId, user: UserId, question: QuestionIndex },
    /// What was left of a grant expired.
    CardsExpired(Grant),
    /// A red packet was grabbed; packets of a rain are numbered.
    PacketGrabbed { show: ShowId, rain: u32, packet: u32, user: UserId, amount: Cents },
    /// Money came into a show's fund for rains: by which of the show's events.
    RainFunded { show: ShowId, event: EventNumber, amount: Cents },
    /// A rain is over: what nobody grabbed goes back to the show's fund for rains.
    RainReturned { show: ShowId, rain: u32, amount: Cents },
    /// The show ends: what its fund for rains still has goes to the account.
    RainFundClosed { show: ShowId, amount: Cents, account: Name },
    /// A gift to a room, by its number among its giver's.
    Gift { room: RoomId, giver: UserId, gift: u64, amount: Cents, payer: GiftPayer },
    /// A reward for an invitation; there is one inviter per new player.
    Invitation { inviter: UserId, invitee: UserId, side: Side, reward: Reward },
    /// A player asked for money: it is on its way to the operator's balance system.
    WithdrawalRequested { withdrawal: WithdrawalId, amount: Cents },
    /// The operator's balance system has it.
    WithdrawalPaid { withdrawal: WithdrawalId, amount: Cents },
    /// It will never have it: the money is the player's again.
    WithdrawalRefused { withdrawal: WithdrawalId, amount: Cents },
    /// An earlier cause is undone by its mirror image. Only once, and reversals are not reversed.
    Reversal { of: CauseKey, reason: Name },
}

/// What a cause is: two causes with one key are the same cause. Pieces parted by colons, names
/// escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CauseKey(String);

impl CauseKey {
    /// A key that was read.
    #[must_use]
    pub fn read(text: impl Into<String>) -> CauseKey {
        CauseKey(text.into())
    }

    /// The key of a user's gift, by its number among them.
    #[must_use]
    pub fn gift(giver: UserId, gift: u64) -> CauseKey {
        CauseKey(format!("gift:{giver}:{gift}"))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CauseKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl WithdrawalId {
    /// The key under which the operator's balance system knows it.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("withdrawal:{}:{}", self.user, self.number)
    }
}

impl Cause {
    /// What makes it this cause and no other.
    #[must_use]
    pub fn key(&self) -> CauseKey {
        CauseKey(match &self.kind {
            CauseKind::PoolFunded { show, pool, .. } => format!("fund:{show}:{pool}"),
            CauseKind::Prize { show, user, .. } => format!("prize:{show}:{user}"),
            CauseKind::Settled { show, .. } => format!("settled:{show}"),
            CauseKind::CardsGranted(Grant { user, grant, .. }) => {
                format!("cards-granted:{user}:{grant}")
            }
            CauseKind::CardUsed { show, user, .. } => format!("card-used:{show}:{user}"),
            CauseKind::CardsExpired(Grant { user, grant, .. }) => {
                format!("cards-expired:{user}:{grant}")
            }
            CauseKind::PacketGrabbed { show, rain, packet, .. } => {
                format!("packet:{show}:{rain}:{packet}")
            }
            CauseKind::RainFunded { show, event, .. } => format!("fund:{show}:rains:{event}"),
            CauseKind::RainReturned { show, rain, .. } => format!("rain-returned:{show}:{rain}"),
            CauseKind::RainFundClosed { show, .. } => format!("rains-closed:{show}"),
            CauseKind::Gift { giver, gift, .. } => return CauseKey::gift(*giver, *gift),
            CauseKind::Invitation { invitee, side, .. } => {
                format!("invitation:{invitee}:{}", side.word())
            }
            CauseKind::WithdrawalRequested { withdrawal, .. } => withdrawal.idempotency_key(),
            // One key for both: a withdrawal has one end.
            CauseKind::WithdrawalPaid { withdrawal, .. }
            | CauseKind::WithdrawalRefused { withdrawal, .. } => {
                format!("{}:end", withdrawal.idempotency_key())
            }
            CauseKind::Reversal { of, .. } => format!("reversal:{of}"),
        })
    }

    /// Its amount in its unit; a reversal's is that of what it reverses, which only the book knows.
    ///
    /// # Errors
    /// It is negative, or beyond [`LEDGER_AMOUNT_MAX`].
    pub fn amount(&self) -> Result<(i64, Unit), CauseError> {
        let (amount, unit) = match &self.kind {
            CauseKind::PoolFunded { amount, .. }
            | CauseKind::Prize { amount, .. }
            | CauseKind::Settled { remainder: amount, .. }
            | CauseKind::PacketGrabbed { amount, .. }
            | CauseKind::RainFunded { amount, .. }
            | CauseKind::RainReturned { amount, .. }
            | CauseKind::RainFundClosed { amount, .. }
            | CauseKind::Gift { amount, .. }
            | CauseKind::Invitation { reward: Reward::Cents(amount), .. }
            | CauseKind::WithdrawalRequested { amount, .. }
            | CauseKind::WithdrawalPaid { amount, .. }
            | CauseKind::WithdrawalRefused { amount, .. } => (amount.0, Unit::Cent),
            CauseKind::CardsGranted(grant) | CauseKind::CardsExpired(grant) => {
                (i64::from(grant.cards), Unit::Card)
            }
            CauseKind::Invitation { reward: Reward::Cards(cards), .. } => {
                (i64::from(*cards), Unit::Card)
            }
            CauseKind::CardUsed { .. } => (1, Unit::Card),
            CauseKind::Reversal { .. } => (0, Unit::Cent),
        };
        check_amount(amount)?;
        Ok((amount, unit))
    }

    /// The show that it belongs to.
    #[must_use]
    pub fn show(&self) -> Option<ShowId> {
        match &self.kind {
            CauseKind::PoolFunded { show, .. }
            | CauseKind::Prize { show, .. }
            | CauseKind::Settled { show, .. }
            | CauseKind::CardUsed { show, .. }
            | CauseKind::PacketGrabbed { show, .. }
            | CauseKind::RainFunded { show, .. }
            | CauseKind::RainReturned { show, .. }
            | CauseKind::RainFundClosed { show, .. } => Some(*show),
            _ => None,
        }
    }

    /// The user whose money or cards it is about.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        match &self.kind {
            CauseKind::Prize { user, .. }
            | CauseKind::CardUsed { user, .. }
            | CauseKind::PacketGrabbed { user, .. }
            | CauseKind::Gift { giver: user, .. } => Some(*user),
            CauseKind::CardsGranted(grant) | CauseKind::CardsExpired(grant) => Some(grant.user),
            CauseKind::Invitation { inviter, side: Side::Inviter, .. } => Some(*inviter),
            CauseKind::Invitation { invitee, side: Side::Invitee, .. } => Some(*invitee),
            CauseKind::WithdrawalRequested { withdrawal, .. }
            | CauseKind::WithdrawalPaid { withdrawal, .. }
            | CauseKind::WithdrawalRefused { withdrawal, .. } => Some(withdrawal.user),
            _ => None,
        }
    }
}

impl CauseKind {
    /// As the book writes it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            CauseKind::PoolFunded { .. } => "pool-funded",
            CauseKind::Prize { .. } => "prize",
            CauseKind::Settled { .. } => "settled",
            CauseKind::CardsGranted(_) => "cards-granted",
            CauseKind::CardUsed { .. } => "card-used",
            CauseKind::CardsExpired(_) => "cards-expired",
            CauseKind::PacketGrabbed { .. } => "packet-grabbed",
            CauseKind::RainFunded { .. } => "rain-funded",
            CauseKind::RainReturned { .. } => "rain-returned",
            CauseKind::RainFundClosed { .. } => "rains-closed",
            CauseKind::Gift { .. } => "gift",
            CauseKind::Invitation { .. } => "invitation",
            CauseKind::WithdrawalRequested { .. } => "withdrawal-requested",
            CauseKind::WithdrawalPaid { .. } => "withdrawal-paid",
            CauseKind::WithdrawalRefused { .. } => "withdrawal-refused",
            CauseKind::Reversal { .. } => "reversal",
        }
    }
}

impl Side {
    /// As the book writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Side::Inviter => "inviter",
            Side::Invitee => "invitee",
        }
    }
}

/// # Errors
/// It is negative, or beyond [`LEDGER_AMOUNT_MAX`].
pub(super) fn check_amount(amount: i64) -> Result<(), CauseError> {
    match amount {
        ..0 => Err(CauseError::Negative { amount }),
        0..=LEDGER_AMOUNT_MAX => Ok(()),
        _ => Err(CauseError::TooMuch { amount }),
    }
}
