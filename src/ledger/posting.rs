//! What a cause does to the accounts: every one moves an amount from one account to another.

use crate::base::ids::{ShowId, UserId};
use crate::ledger::account::{Account, Pool, Unit};
use crate::ledger::cause::{Cause, CauseKind, GiftPayer, Reward};
use crate::ledger::error::CauseError;
use crate::quiz::money::Cents;

/// A transaction of two entries: `from` loses what `to` gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Movement {
    pub(super) from: Account,
    pub(super) to: Account,
    pub(super) unit: Unit,
    pub(super) amount: i64,
}

/// The movement of a cause; nothing for a reversal, whose movement is that of what it reverses.
pub(super) fn movement(cause: &Cause) -> Result<Option<Movement>, CauseError> {
    let (amount, unit) = cause.amount()?;
    check_ids(cause)?;
    let player = Account::Player;
    let (from, to) = match &cause.kind {
        CauseKind::PoolFunded { show, pool, .. } => {
            let source = match pool {
                Pool::Prize => Account::Funding,
                Pool::Rain(_) => Account::RainFund(*show),
            };
            (source, Account::Pool(*show, *pool))
        }
        CauseKind::RainFunded { show, .. } => (Account::Funding, Account::RainFund(*show)),
        CauseKind::RainFundClosed { show, account, .. } => {
            (Account::RainFund(*show), Account::Remainder(account.clone()))
        }
        CauseKind::Prize { show, user, .. } => (Account::Pool(*show, Pool::Prize), player(*user)),
        CauseKind::Settled { show, pool, winners, per_head, remainder, account } => {
            check_split(*pool, *winners, *per_head, *remainder)?;
            (Account::Pool(*show, Pool::Prize), Account::Remainder(account.clone()))
        }
        CauseKind::CardsGranted(grant) => (Account::CardsIssued, player(grant.user)),
        CauseKind::CardUsed { user, .. } => (player(*user), Account::CardsUsed),
        CauseKind::CardsExpired(grant) => (player(grant.user), Account::CardsExpired),
        CauseKind::PacketGrabbed { show, rain, user, .. } => {
            (Account::Pool(*show, Pool::Rain(*rain)), player(*user))
        }
        CauseKind::RainReturned { show, rain, .. } => {
            (Account::Pool(*show, Pool::Rain(*rain)), Account::RainFund(*show))
        }
        CauseKind::Gift { giver, payer: GiftPayer::Balance, .. } => {
            (player(*giver), Account::Gifts)
        }
        CauseKind::Gift { payer: GiftPayer::Operator, .. } => (Account::Funding, Account::Gifts),
        CauseKind::Invitation { reward, .. } => {
            let source = match reward {
                Reward::Cards(_) => Account::CardsIssued,
                Reward::Cents(_) => Account::Funding,
            };
            (source, player(cause.user().unwrap_or_default()))
        }
        CauseKind::WithdrawalRequested { withdrawal, .. } => {
            (player(withdrawal.user), Account::InFlight)
        }
        CauseKind::WithdrawalPaid { .. } => (Account::InFlight, Account::PaidOut),
        CauseKind::WithdrawalRefused { withdrawal, .. } => {
            (Account::InFlight, player(withdrawal.user))
        }
        CauseKind::Reversal { .. } => return Ok(None),
    };
    Ok(Some(Movement { from, to, unit, amount }))
}

fn check_ids(cause: &Cause) -> Result<(), CauseError> {
    let nobody = [cause.user() == Some(UserId(0)), cause.show() == Some(ShowId(0))];
    if nobody.contains(&true) { Err(CauseError::Nobody) } else { Ok(()) }
}

fn check_split(
    pool: Cents,
    winners: u64,
    per_head: Cents,
    remainder: Cents,
) -> Result<(), CauseError> {
    let paid = i64::try_from(winners).ok().and_then(|heads| per_head.0.checked_mul(heads));
    let sum = paid.and_then(|paid| paid.checked_add(remainder.0));
    if per_head.0 >= 0 && sum == Some(pool.0) {
        return Ok(());
    }
    let (pool, per_head, remainder) = (pool.0, per_head.0, remainder.0);
    Err(CauseError::Split { pool, winners, per_head, remainder })
}
