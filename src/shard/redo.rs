//! Records about money, done again: what a restart does, and what proves that they say all.
//!
//! Show events and joins are done again by their own means, in the order of the records; what was
//! refused is on no record and needs nothing.

use crate::base::ids::UserId;
use crate::quiz::invitation::{Accepted, Asked};
use crate::quiz::local::{LocalQuiz, Requested};
use crate::shard::record::MoneyRecord;

/// Does again what a record says, on the users' home. False if something else came of it than is on
/// record: then the record is damaged, or the game is not the same.
#[must_use]
pub fn redo_money(local: &mut LocalQuiz, user: UserId, what: &MoneyRecord) -> bool {
    match what {
        MoneyRecord::Grabbed { show, rain, slot, number, cents } => {
            local.grab_again(*show, user, *rain, *slot, (*number, *cents))
        }
        MoneyRecord::Withdrawn { key, cents, balance } => {
            let outcome = local.withdraw(user, key, *cents);
            matches!(outcome, Ok(Requested::Fresh(_))) && local.balance(user) == *balance
        }
        MoneyRecord::WithdrawalClosed { key, is_paid, balance } => {
            let outcome = local.close_withdrawal(user, key, *is_paid);
            matches!(outcome, Ok(Requested::Fresh(_))) && local.balance(user) == *balance
        }
        MoneyRecord::Gifted { key, gift, balance } => {
            let outcome = local.give(user, key, *gift);
            matches!(outcome, Ok(Requested::Fresh(_))) && local.balance(user) == *balance
        }
        MoneyRecord::GiftShown { key } => local.gift_shown(user, key),
        MoneyRecord::GiftReturned { key, why, balance } => {
            local.gift_returned(user, key, *why) && local.balance(user) == *balance
        }
        MoneyRecord::RequestForgotten { key, is_gift } => local.forget_request(user, key, *is_gift),
        MoneyRecord::InvitationAsked { inviter } => {
            local.ask_to_be_invited(user, *inviter) == Ok(Asked::Fresh)
        }
        MoneyRecord::InvitationAccepted { invitee, cards } => {
            local.accept_invitation(user, *invitee, *cards) == (Accepted::Fresh, *cards)
        }
        MoneyRecord::InvitationAnswered { inviter, is_accepted, cards } => {
            local.invitation_answered(user, *inviter, *is_accepted, *cards) == Some(*cards)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::{Placement, PlacementKey};
    use crate::base::ids::{RoomId, ShardId};
    use crate::quiz::local::{Gift, GiftReturn};
    use crate::quiz::money::Cents;
    use crate::quiz::requests::MoneyKey;

    const USER: UserId = UserId(7);

    fn shard() -> LocalQuiz {
        let mut local = LocalQuiz::new(ShardId(0), Placement::new(PlacementKey([5; 16]), 8, 1));
        let place = local.users_mut().enter(USER).unwrap();
        local.users_mut().entry_mut(place).balance = Cents(100);
        local
    }

    fn records() -> Vec<MoneyRecord> {
        let [key, other] = ["a", "b"].map(|key| MoneyKey::new(key).unwrap());
        let gift = Gift { room: RoomId(1), kind: 1, cents: Cents(5) };
        let (invitee, inviter) = (UserId(8), UserId(9));
        vec![
            MoneyRecord::Withdrawn { key: key.clone(), cents: Cents(30), balance: Cents(70) },
            MoneyRecord::Gifted { key: key.clone(), gift, balance: Cents(65) },
            MoneyRecord::WithdrawalClosed { key: key.clone(), is_paid: false, balance: Cents(95) },
            MoneyRecord::GiftShown { key },
            MoneyRecord::Gifted { key: other.clone(), gift, balance: Cents(90) },
            MoneyRecord::GiftReturned {
                key: other,
                why: GiftReturn::RoomEnded,
                balance: Cents(95),
            },
            MoneyRecord::InvitationAsked { inviter },
            MoneyRecord::InvitationAnswered { inviter, is_accepted: true, cards: 1 },
            MoneyRecord::InvitationAccepted { invitee, cards: 2 },
        ]
    }

    #[test]
    fn what_is_on_record_comes_out_again_and_nothing_twice() {
        let mut local = shard();
        for record in records() {
            assert!(redo_money(&mut local, USER, &record), "{record:?}");
        }
        assert_eq!((local.balance(USER), local.visible_cards(USER)), (Cents(95), 3));
        for record in records() {
            assert!(!redo_money(&mut local, USER, &record), "{record:?} again");
        }
        assert_eq!((local.balance(USER), local.visible_cards(USER)), (Cents(95), 3));
    }

    #[test]
    fn a_key_that_was_forgotten_can_be_used_again_when_it_is_done_again_too() {
        let (mut local, key) = (shard(), MoneyKey::new("a").unwrap());
        let withdrawn = |balance| {
            let (key, cents) = (key.clone(), Cents(30));
            MoneyRecord::Withdrawn { key, cents, balance: Cents(balance) }
        };
        let forgotten = MoneyRecord::RequestForgotten { key: key.clone(), is_gift: false };
        let (is_paid, balance) = (true, Cents(70));
        let closed = MoneyRecord::WithdrawalClosed { key: key.clone(), is_paid, balance };
        assert!(redo_money(&mut local, USER, &withdrawn(70)));
        assert!(!redo_money(&mut local, USER, &forgotten), "never what is open");
        assert!(redo_money(&mut local, USER, &closed));
        assert!(redo_money(&mut local, USER, &forgotten));
        assert!(redo_money(&mut local, USER, &withdrawn(40)));
    }

    #[test]
    fn another_outcome_is_noticed() {
        let wrong = MoneyRecord::Withdrawn {
            key: MoneyKey::new("a").unwrap(),
            cents: Cents(30),
            balance: Cents(69),
        };
        assert!(!redo_money(&mut shard(), USER, &wrong));
    }
}
