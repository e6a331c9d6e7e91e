//! The part of a bucket's image that is about money: what only few users have.
//!
//! ```text
//! money       packets 4 · packet rows · requests 4 · rows · invited 4 · rows · accepted 4 · rows
//! packet      user 8 · show 8 · rain 2 · slot 1 · number 4 · cents 8
//! request     user 8 · sort and state 1 · key length 1 · key · cents 8 · room 8 · kind 4
//! invited     user 8 · inviter 8 · accepted 1
//! accepted    inviter 8 · new player 8
//! ```
//!
//! Rows of a user stand in the order in which they came; those of a bucket by user.

use bytes::{Buf, BufMut};

use super::ImageError;
use crate::base::ids::{BucketId, RainIndex, RoomId, ShowId, UserId};
use crate::quiz::local::{Gift, GiftReturn, Given, LocalQuiz, Withdrawal, WithdrawalState};
use crate::quiz::money::Cents;
use crate::quiz::requests::MoneyKey;

/// A request's sort and state in a byte.
const WITHDRAWAL_REQUESTED: u8 = 1;
const WITHDRAWAL_PAID: u8 = 2;
const WITHDRAWAL_REVERSED: u8 = 3;
const GIFT_ON_ITS_WAY: u8 = 4;
const GIFT_SHOWN: u8 = 5;
const GIFT_ROOM_ENDED: u8 = 6;
const GIFT_TOO_MANY: u8 = 7;

/// Rows of one kind, counted in front.
struct Rows {
    count: u32,
    bytes: Vec<u8>,
}

impl Rows {
    fn new() -> Rows {
        Rows { count: 0, bytes: Vec::new() }
    }

    fn row(&mut self) -> &mut Vec<u8> {
        self.count += 1;
        &mut self.bytes
    }

    fn finish(self, out: &mut Vec<u8>) {
        out.put_u32_le(self.count);
        out.extend_from_slice(&self.bytes);
    }
}

impl LocalQuiz {
    pub(super) fn store_money(&self, users: &[UserId], out: &mut Vec<u8>) {
        let (mut packets, mut requests) = (Rows::new(), Rows::new());
        let (mut invited, mut accepted) = (Rows::new(), Rows::new());
        let mut by_id = users.to_vec();
        by_id.sort_unstable();
        for user in by_id {
            for show in self.shows() {
                for (rain, slot, number, cents) in show.rains().wins_of(user) {
                    let row = packets.row();
                    row.put_u64_le(user.0);
                    row.put_u64_le(show.definition().id.0);
                    row.put_u16_le(rain.0);
                    row.put_u8(slot);
                    row.put_u32_le(number);
                    row.put_i64_le(cents.0);
                }
            }
            for (key, withdrawal, _) in self.money().withdrawals.of(user) {
                let state = match withdrawal.state {
                    WithdrawalState::Requested => WITHDRAWAL_REQUESTED,
                    WithdrawalState::Paid => WITHDRAWAL_PAID,
                    WithdrawalState::Reversed => WITHDRAWAL_REVERSED,
                };
                let nothing = Gift { room: RoomId(0), kind: 0, cents: withdrawal.cents };
                store_request(user, state, key, &nothing, requests.row());
            }
            for (key, given, is_open) in self.money().gifts.of(user) {
                let state = match given.returned {
                    None if is_open => GIFT_ON_ITS_WAY,
                    None => GIFT_SHOWN,
                    Some(GiftReturn::RoomEnded) => GIFT_ROOM_ENDED,
                    Some(GiftReturn::TooMany) => GIFT_TOO_MANY,
                };
                store_request(user, state, key, &given.gift, requests.row());
            }
            if let Some((inviter, is_accepted)) = self.money().invitations.asked_by(user) {
                let row = invited.row();
                row.put_u64_le(user.0);
                row.put_u64_le(inviter.0);
                row.put_u8(u8::from(is_accepted));
            }
            for invitee in self.money().invitations.invitees(user) {
                let row = accepted.row();
                row.put_u64_le(user.0);
                row.put_u64_le(invitee.0);
            }
        }
        for rows in [packets, requests, invited, accepted] {
            rows.finish(out);
        }
    }

    pub(super) fn load_money(
        &mut self,
        bucket: BucketId,
        input: &mut &[u8],
    ) -> Result<(), ImageError> {
        for _ in 0..count(input)? {
            let user = self.user_in(bucket, input)?;
            let show = ShowId(eight(input)?);
            if input.len() < 15 {
                return Err(ImageError::Length);
            }
            let (rain, slot) = (RainIndex(input.get_u16_le()), input.get_u8());
            let (number, cents) = (input.get_u32_le(), Cents(input.get_i64_le()));
            let replica = self.show_mut(show).ok_or(ImageError::UnknownShow(show))?;
            if !replica.rains_mut().adopt(user, rain, slot, number, cents) {
                return Err(ImageError::Money(user));
            }
        }
        for _ in 0..count(input)? {
            let user = self.user_in(bucket, input)?;
            self.load_request(user, input)?;
        }
        for _ in 0..count(input)? {
            let user = self.user_in(bucket, input)?;
            let inviter = UserId(eight(input)?);
            let is_accepted = input.try_get_u8().map_err(|_| ImageError::Length)? != 0;
            self.money_mut().invitations.adopt_asked(user, inviter, is_accepted);
        }
        for _ in 0..count(input)? {
            let inviter = self.user_in(bucket, input)?;
            let invitee = UserId(eight(input)?);
            self.money_mut().invitations.adopt_accepted(inviter, invitee);
        }
        Ok(())
    }

    fn load_request(&mut self, user: UserId, input: &mut &[u8]) -> Result<(), ImageError> {
        if input.len() < 2 {
            return Err(ImageError::Length);
        }
        let (state, length) = (input.get_u8(), usize::from(input.get_u8()));
        if input.len() < length + 20 {
            return Err(ImageError::Length);
        }
        let key =
            std::str::from_utf8(&input[..length]).ok().and_then(|key| MoneyKey::new(key).ok());
        let key = key.ok_or(ImageError::Money(user))?;
        input.advance(length);
        let cents = Cents(input.get_i64_le());
        let (room, kind) = (RoomId(input.get_u64_le()), input.get_u32_le());
        let withdrawal = match state {
            WITHDRAWAL_REQUESTED => WithdrawalState::Requested,
            WITHDRAWAL_PAID => WithdrawalState::Paid,
            WITHDRAWAL_REVERSED => WithdrawalState::Reversed,
            GIFT_ON_ITS_WAY | GIFT_SHOWN | GIFT_ROOM_ENDED | GIFT_TOO_MANY => {
                let returned = match state {
                    GIFT_ROOM_ENDED => Some(GiftReturn::RoomEnded),
                    GIFT_TOO_MANY => Some(GiftReturn::TooMany),
                    _ => None,
                };
                let given = Given { gift: Gift { room, kind, cents }, returned };
                let is_open = state == GIFT_ON_ITS_WAY;
                self.money_mut().gifts.adopt(user, key, given, is_open);
                return Ok(());
            }
            _ => return Err(ImageError::Money(user)),
        };
        let is_open = withdrawal == WithdrawalState::Requested;
        let withdrawal = Withdrawal { cents, state: withdrawal };
        self.money_mut().withdrawals.adopt(user, key, withdrawal, is_open);
        Ok(())
    }

    fn user_in(&self, bucket: BucketId, input: &mut &[u8]) -> Result<UserId, ImageError> {
        let user = UserId(eight(input)?);
        let is_here = self.users().placement().bucket(user) == bucket;
        if is_here { Ok(user) } else { Err(ImageError::Misplaced(user)) }
    }
}

fn store_request(user: UserId, state: u8, key: &MoneyKey, gift: &Gift, row: &mut Vec<u8>) {
    row.put_u64_le(user.0);
    row.put_u8(state);
    row.put_u8(u8::try_from(key.as_str().len()).expect("keys are short"));
    row.put_slice(key.as_str().as_bytes());
    row.put_i64_le(gift.cents.0);
    row.put_u64_le(gift.room.0);
    row.put_u32_le(gift.kind);
}

fn count(input: &mut &[u8]) -> Result<u32, ImageError> {
    input.try_get_u32_le().map_err(|_| ImageError::Length)
}

fn eight(input: &mut &[u8]) -> Result<u64, ImageError> {
    input.try_get_u64_le().map_err(|_| ImageError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::{Placement, PlacementKey};
    use crate::base::ids::ShardId;

    const USERS: std::ops::Range<u64> = 1..60;

    fn shard() -> LocalQuiz {
        LocalQuiz::new(ShardId(0), Placement::new(PlacementKey([7; 16]), 4, 1))
    }

    /// Users with all that money can be: balances, requests in every state, invitations.
    fn rich() -> LocalQuiz {
        let mut local = shard();
        for user in USERS.map(UserId) {
            let place = local.users_mut().enter(user).unwrap();
            local.users_mut().entry_mut(place).balance = Cents(1_000);
            let keys = ["a", "b", "c"].map(|key| MoneyKey::new(key).unwrap());
            for key in &keys {
                local.withdraw(user, key, Cents(i64::try_from(user.0).unwrap())).unwrap();
            }
            local.close_withdrawal(user, &keys[0], true).unwrap();
            local.close_withdrawal(user, &keys[1], false).unwrap();
            let gift = Gift { room: RoomId(9), kind: 3, cents: Cents(user.0.cast_signed() % 2) };
            local.give(user, &keys[0], gift).unwrap();
            local.give(user, &keys[1], gift).unwrap();
            local.gift_shown(user, &keys[1]);
            local.give(user, &keys[2], gift).unwrap();
            let why = if user.0 % 2 == 0 { GiftReturn::RoomEnded } else { GiftReturn::TooMany };
            assert!(local.gift_returned(user, &keys[2], why));
            let inviter = UserId(user.0 % 3 + 100);
            local.ask_to_be_invited(user, inviter).unwrap();
            if user.0 % 2 == 0 {
                local.accept_invitation(inviter, user, 1);
                local.invitation_answered(user, inviter, true, 1);
            }
        }
        local
    }

    fn images(local: &LocalQuiz) -> Vec<Vec<u8>> {
        let image = |bucket: &BucketId| {
            let mut image = Vec::new();
            local.store_bucket(*bucket, &mut image);
            image
        };
        local.users().buckets().iter().map(image).collect()
    }

    #[test]
    fn money_comes_back_and_every_request_is_known_again() {
        let old = rich();
        let mut new = shard();
        images(&old).iter().for_each(|image| new.load_bucket(image).unwrap());
        assert_eq!(images(&new), images(&old));
        for user in USERS.map(UserId) {
            let key = MoneyKey::new("c").unwrap();
            let cents = Cents(user.0.cast_signed());
            let mut old = rich();
            assert_eq!(new.balance(user), old.balance(user));
            assert_eq!(new.withdraw(user, &key, cents), old.withdraw(user, &key, cents));
            assert_eq!(new.invitations(user), old.invitations(user));
        }
        assert_eq!(new.gifts_on_the_way().count(), old.gifts_on_the_way().count());
    }

    #[test]
    fn an_image_that_ends_too_early_is_refused() {
        let image = images(&rich()).remove(0);
        for length in 0..image.len() {
            assert_eq!(shard().load_bucket(&image[..length]), Err(ImageError::Length), "{length}");
        }
    }
}
