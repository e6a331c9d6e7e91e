//! What a user has and may do with it: packets, withdrawals, gifts, invitations.
//!
//! The balance and the cards are in the user's entry; what only few users need is in tables beside
//! it. Nothing here is decided in two buckets at once, so a balance is never overdrawn.

use super::LocalQuiz;
use crate::base::ids::{RainIndex, RoomId, ShowId, UserId};
use crate::base::limits::{PRIZE_POOL_CENTS_MAX, REVIVE_CARDS_MAX};
use crate::base::time::Time;
use crate::quiz::invitation::{Accepted, Asked, InvitationError, Invitations};
use crate::quiz::money::Cents;
use crate::quiz::rain::{Grab, GrabRefusal, RainSettings, RainSummary};
use crate::quiz::replica::ShowReplica;
use crate::quiz::requests::{MoneyKey, NoPlace, Requests};

/// Where a withdrawal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithdrawalState {
    /// The money has left the balance and is on its way out.
    Requested,
    /// It arrived.
    Paid,
    /// It could not be paid and is back in the balance.
    Reversed,
}

/// A withdrawal as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Which of the user's, from 1: the name by which its end is told, never used again.
    pub number: u64,
    /// How much.
    pub cents: Cents,
    /// Where it stands.
    pub state: WithdrawalState,
}

/// A gift as its giver's bucket keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gift {
    /// For whom: the room that it is shown in.
    pub room: RoomId,
    /// Which one; what the numbers mean is the operator's.
    pub kind: u32,
    /// What it costs; 0 is possible.
    pub cents: Cents,
}

/// A gift that was given, as its giver's bucket keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// What, and where.
    pub gift: Gift,
    /// It could not be shown, and the money is back in the balance.
    pub returned: Option<GiftReturn>,
}

/// Why a gift could not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GiftReturn {
    /// Its room had ended when it came there.
    #[error("the room has ended; the gift was not shown and its price is back in the balance")]
    RoomEnded,
    /// More waited for the room's high lane than may.
    #[error(
        "too many gifts waited in the room; this one was not shown and its price is back in the \
         balance"
    )]
    TooMany,
}

/// What became of a request that carries a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested<T> {
    /// It was done now: to be recorded before anybody hears of it.
    Fresh(T),
    /// It had been done before, and stands like this.
    Repeated(T),
}

/// Why a request about money was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// An impossible amount.
    #[error("{cents} cents are no possible amount")]
    Amount {
        /// How much.
        cents: Cents,
    },
    /// More than there is.
    #[error("the balance has {balance} cents, not {cents}")]
    NotEnough {
        /// What there is.
        balance: Cents,
        /// What was asked for.
        cents: Cents,
    },
    /// The key is taken.
    #[error("this key was used for another request: use a new one")]
    KeyTaken,
    /// No place for another request.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// There is no such withdrawal.
    #[error("the user has no withdrawal with this number that is not long done")]
    NoSuchWithdrawal,
    /// It is done already, in another way.
    #[error("this withdrawal is done already, and otherwise")]
    DoneOtherwise,
}

/// What few users need.
#[derive(Default)]
pub(crate) struct Money {
    pub(crate) withdrawals: Requests<Withdrawal>,
    pub(crate) gifts: Requests<Given>,
    pub(crate) invitations: Invitations,
}

impl LocalQuiz {
    pub(crate) fn money(&self) -> &Money {
        &self.money
    }

    pub(crate) fn money_mut(&mut self) -> &mut Money {
        &mut self.money
    }

    /// A user taps at a rain. A packet is in the balance at once.
    pub fn grab(&mut self, show: ShowId, user: UserId, rain: RainIndex, slot: u8) -> Grab {
        match self.place(show) {
            Ok(place) => self.shows[place].grab(user, rain, slot, &mut self.users),
            Err(_) => Grab::Refused(GrabRefusal::NoSuchRain),
        }
    }

    /// A packet is read back from its record. False if it does not follow from the rain's plan: the
    /// record is damaged, or not of this show.
    pub fn grab_again(
        &mut self,
        show: ShowId,
        user: UserId,
        rain: RainIndex,
        slot: u8,
        (number, cents): (u32, Cents),
    ) -> bool {
        self.place(show).is_ok_and(|place| {
            let win = (number, cents);
            self.shows[place].grab_again(user, rain, slot, win, &mut self.users)
        })
    }

    /// To be called when all records were read back: numbers that had been granted and not grabbed
    /// return to the director at the end of their rains.
    pub fn drop_rain_grants(&mut self) {
        for show in &mut self.shows {
            show.rains_mut().drop_grants();
        }
    }

    /// Rains that fall no longer, and whose end this shard has not heard of: what was grabbed here is
    /// to be reported, once more if the process ended meanwhile.
    #[must_use]
    pub fn rains_to_report(&self) -> Vec<(ShowId, RainSummary)> {
        let shard = self.users.shard();
        let of_show = |show: &ShowReplica| {
            let id = show.definition().id;
            show.rains()
                .to_report(shard)
                .into_iter()
                .map(|summary| (id, summary))
                .collect::<Vec<_>>()
        };
        self.shows.iter().flat_map(of_show).collect()
    }

    /// True if the director is to be asked for more packets; asked once until they come.
    pub fn must_ask_for_packets(&mut self, show: ShowId, rain: RainIndex) -> bool {
        self.place(show).is_ok_and(|place| self.shows[place].rains_mut().must_ask(rain))
    }

    /// What was grabbed here of a rain that falls no longer.
    #[must_use]
    pub fn rain_summary(&self, show: ShowId, rain: RainIndex) -> Option<RainSummary> {
        self.show(show)?.rains().summary(rain, self.users.shard())
    }

    /// How a rain falls; nothing if it does not.
    #[must_use]
    pub fn falling_rain(&self, show: ShowId, rain: RainIndex) -> Option<&RainSettings> {
        let mut falling = self.show(show)?.rains().falling();
        falling.find(|(of, ..)| *of == rain).map(|(_, settings, _)| settings)
    }

    /// How a rain was planned.
    #[must_use]
    pub fn rain_settings(&self, show: ShowId, rain: RainIndex) -> Option<&RainSettings> {
        self.show(show)?.rains().settings(rain)
    }

    /// Takes money out of a user's balance, to be paid out.
    ///
    /// # Errors
    /// If there is not so much, or the key means something else.
    pub fn withdraw(
        &mut self,
        user: UserId,
        key: &MoneyKey,
        cents: Cents,
    ) -> Result<Requested<Withdrawal>, MoneyError> {
        if let Some(known) = self.money.withdrawals.get(user, key).copied() {
            let is_same = known.cents == cents;
            return if is_same {
                Ok(Requested::Repeated(known))
            } else {
                Err(MoneyError::KeyTaken)
            };
        }
        if !(1..=PRIZE_POOL_CENTS_MAX).contains(&cents.0) {
            return Err(MoneyError::Amount { cents });
        }
        self.money.withdrawals.may_open(user)?;
        self.spend(user, cents)?;
        let bucket = self.users.placement().bucket(user);
        let number = self.money.withdrawals.next_number(bucket, user);
        let withdrawal = Withdrawal { number, cents, state: WithdrawalState::Requested };
        self.money.withdrawals.open(bucket, user, key.clone(), withdrawal);
        Ok(Requested::Fresh(withdrawal))
    }

    /// The withdrawal of this number was paid, or could not be and comes back. Its key does not do: a
    /// client may use one again, and a late repeat would close another withdrawal.
    ///
    /// # Errors
    /// If there is none with this number, or it was done otherwise.
    pub fn close_withdrawal(
        &mut self,
        user: UserId,
        number: u64,
        is_paid: bool,
    ) -> Result<Requested<Withdrawal>, MoneyError> {
        let found = self.money.withdrawals.by_number(user, number);
        let (key, known) = found.ok_or(MoneyError::NoSuchWithdrawal)?;
        let (key, known) = (key.clone(), *known);
        let state = if is_paid { WithdrawalState::Paid } else { WithdrawalState::Reversed };
        if known.state == state {
            return Ok(Requested::Repeated(known));
        }
        if known.state != WithdrawalState::Requested {
            return Err(MoneyError::DoneOtherwise);
        }
        if !is_paid {
            let place = self.users.find(user).ok_or(MoneyError::NoSuchWithdrawal)?;
            let entry = self.users.entry_mut(place);
            let back = entry.balance.checked_add(known.cents);
            entry.balance = back.expect("what was in a balance fits into it");
        }
        self.money.withdrawals.close(user, &key, |withdrawal| withdrawal.state = state);
        Ok(Requested::Fresh(Withdrawal { state, ..known }))
    }

    /// A user gives something to a room, paid from the balance if it costs anything.
    ///
    /// # Errors
    /// If there is not so much, or the key means something else.
    pub fn give(
        &mut self,
        user: UserId,
        key: &MoneyKey,
        gift: Gift,
    ) -> Result<Requested<Given>, MoneyError> {
        if let Some(known) = self.given(user, key) {
            let is_same = known.gift == gift;
            return if is_same {
                Ok(Requested::Repeated(known))
            } else {
                Err(MoneyError::KeyTaken)
            };
        }
        if !(0..=PRIZE_POOL_CENTS_MAX).contains(&gift.cents.0) {
            return Err(MoneyError::Amount { cents: gift.cents });
        }
        self.money.gifts.may_open(user)?;
        self.may_spend(user, gift.cents)?;
        // Whoever has something on record is kept with its bucket, players or not.
        self.users.enter(user).ok_or(NoPlace::Shard)?;
        self.spend(user, gift.cents)?;
        let given = Given { gift, returned: None };
        let bucket = self.users.placement().bucket(user);
        self.money.gifts.open(bucket, user, key.clone(), given);
        Ok(Requested::Fresh(given))
    }

    /// What a user gave with a key, if that is known.
    #[must_use]
    pub fn given(&self, user: UserId, key: &MoneyKey) -> Option<Given> {
        self.money.gifts.get(user, key).copied()
    }

    /// Which of its giver's gifts one is, from 1; nothing if it is not known.
    #[must_use]
    pub fn gift_number(&self, user: UserId, key: &MoneyKey) -> Option<u64> {
        self.money.gifts.number_of(user, key)
    }

    /// A gift is in its room's lane. False if that was known.
    pub fn gift_shown(&mut self, user: UserId, key: &MoneyKey) -> bool {
        self.money.gifts.close(user, key, |_| {})
    }

    /// A gift cannot be shown: its price comes back. False if it is done already.
    pub fn gift_returned(&mut self, user: UserId, key: &MoneyKey, why: GiftReturn) -> bool {
        let Some(given) = self.given(user, key) else { return false };
        if !self.money.gifts.close(user, key, |it| it.returned = Some(why)) {
            return false;
        }
        if let Some(place) = self.users.find(user) {
            let entry = self.users.entry_mut(place);
            let back = entry.balance.checked_add(given.gift.cents);
            entry.balance = back.expect("what was in a balance fits into it");
        }
        true
    }

    /// Gifts that have not reached their rooms: to be posted again when records were read back.
    pub fn gifts_on_the_way(&self) -> impl Iterator<Item = (UserId, &MoneyKey, &Gift)> {
        self.money.gifts.open_ones().map(|(user, key, given)| (user, key, &given.gift))
    }

    /// Requests that have been done for so long that they are to be forgotten, of some that are looked
    /// at in turn; true for gifts.
    pub fn requests_to_forget(&mut self, now: Time, count: usize) -> Vec<(UserId, MoneyKey, bool)> {
        let withdrawals = self.money.withdrawals.sweep(now, count).into_iter();
        let gifts = self.money.gifts.sweep(now, count).into_iter();
        let withdrawals = withdrawals.map(|(user, key)| (user, key, false));
        withdrawals.chain(gifts.map(|(user, key)| (user, key, true))).collect()
    }

    /// Forgets a request that is done. False if there is none.
    pub fn forget_request(&mut self, user: UserId, key: &MoneyKey, is_gift: bool) -> bool {
        let bucket = self.users.placement().bucket(user);
        if is_gift {
            self.money.gifts.forget(bucket, user, key)
        } else {
            self.money.withdrawals.forget(bucket, user, key)
        }
    }

    /// True if no request is known.
    #[must_use]
    pub fn has_no_requests(&self) -> bool {
        self.money.withdrawals.is_empty() && self.money.gifts.is_empty()
    }

    /// At the new player's home: see [`Asked`].
    ///
    /// # Errors
    /// If this player cannot be invited by that one.
    pub fn ask_to_be_invited(
        &mut self,
        invitee: UserId,
        inviter: UserId,
    ) -> Result<Asked, InvitationError> {
        let place = self.users.enter(invitee).ok_or(InvitationError::Full)?;
        let is_new = self.users.entry(place).best_passed == 0;
        self.money.invitations.ask(invitee, inviter, is_new)
    }

    /// To be called when all records were read back: see `Invitations::ask_again`.
    #[must_use]
    pub fn invitations_to_ask_again(&mut self) -> Vec<(UserId, UserId)> {
        self.money.invitations.ask_again()
    }

    /// At the inviter's home: see [`Accepted`]. The first time it is worth `cards`, as far as the
    /// inviter can hold them; says how many it got.
    pub fn accept_invitation(
        &mut self,
        inviter: UserId,
        invitee: UserId,
        cards: u8,
    ) -> (Accepted, u8) {
        // Kept with its bucket before anything of it is on record.
        if self.users.enter(inviter).is_none() {
            return (Accepted::Refused, 0);
        }
        let accepted = self.money.invitations.accept(inviter, invitee);
        let cards = if accepted == Accepted::Fresh { self.grant_cards(inviter, cards) } else { 0 };
        (accepted, cards)
    }

    /// At the new player's home: the answer has come. The number of cards that it brought, the
    /// first time.
    pub fn invitation_answered(
        &mut self,
        invitee: UserId,
        inviter: UserId,
        is_accepted: bool,
        cards: u8,
    ) -> Option<u8> {
        let fresh = self.money.invitations.answered(invitee, inviter, is_accepted);
        fresh.then(|| if is_accepted { self.grant_cards(invitee, cards) } else { 0 })
    }

    /// Who invited a player, and how many the player has invited.
    #[must_use]
    pub fn invitations(&self, user: UserId) -> (Option<UserId>, usize) {
        let invitations = &self.money.invitations;
        (invitations.inviter(user), invitations.accepted_by(user))
    }

    /// Gives a user as many cards as it can hold, and says how many those are.
    fn grant_cards(&mut self, user: UserId, cards: u8) -> u8 {
        let visible = self.visible_cards(user);
        let Some(place) = self.users.enter(user) else { return 0 };
        let granted = cards.min(REVIVE_CARDS_MAX.saturating_sub(visible));
        self.users.entry_mut(place).cards += granted;
        granted
    }

    fn may_spend(&self, user: UserId, cents: Cents) -> Result<Cents, MoneyError> {
        let balance = self.balance(user);
        if cents > balance {
            return Err(MoneyError::NotEnough { balance, cents });
        }
        Ok(balance)
    }

    fn spend(&mut self, user: UserId, cents: Cents) -> Result<(), MoneyError> {
        let balance = self.may_spend(user, cents)?;
        if let Some(place) = self.users.find(user) {
            self.users.entry_mut(place).balance = Cents(balance.0 - cents.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
