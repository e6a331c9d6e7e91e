//! Whatever is asked for in whatever order: no balance is overdrawn, every request happens once, and
//! what was done can be done again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::hash::{Placement, PlacementKey};
use crate::base::ids::ShardId;

const USERS: u64 = 3;
const START: Cents = Cents(100);

#[derive(Clone, Copy, Debug)]
enum Ask {
    Withdraw { user: u64, key: u8, cents: i64 },
    Close { user: u64, key: u8, is_paid: bool },
    Give { user: u64, key: u8, cents: i64 },
}

fn ask() -> impl Strategy<Value = Ask> {
    let user = || 1..=USERS;
    let cents = || prop_oneof![-3_i64..60, Just(i64::MAX), Just(i64::MIN)];
    prop_oneof![
        (user(), 0_u8..6, cents()).prop_map(|(user, key, cents)| Ask::Withdraw {
            user,
            key,
            cents
        }),
        (user(), 0_u8..6, any::<bool>()).prop_map(|(user, key, is_paid)| Ask::Close {
            user,
            key,
            is_paid
        }),
        (user(), 0_u8..6, cents()).prop_map(|(user, key, cents)| Ask::Give { user, key, cents }),
    ]
}

fn shard() -> LocalQuiz {
    let mut local = LocalQuiz::new(ShardId(0), Placement::new(PlacementKey([5; 16]), 8, 1));
    for user in (1..=USERS).map(UserId) {
        let place = local.users_mut().enter(user).unwrap();
        local.users_mut().entry_mut(place).balance = START;
    }
    local
}

fn key(number: u8) -> MoneyKey {
    MoneyKey::new(&format!("key-{number}")).unwrap()
}

/// How the balance changed; nothing if nothing new happened.
fn perform(local: &mut LocalQuiz, ask: Ask) -> Option<i64> {
    match ask {
        Ask::Withdraw { user, key: number, cents } => {
            let outcome = local.withdraw(UserId(user), &key(number), Cents(cents));
            matches!(outcome, Ok(Requested::Fresh(_))).then(|| -cents)
        }
        Ask::Close { user, key: number, is_paid } => {
            let outcome = local.close_withdrawal(UserId(user), u64::from(number), is_paid);
            match outcome {
                Ok(Requested::Fresh(closed)) => Some(if is_paid { 0 } else { closed.cents.0 }),
                _ => None,
            }
        }
        Ask::Give { user, key: number, cents } => {
            let gift = Gift { room: RoomId(1), kind: 2, cents: Cents(cents) };
            let outcome = local.give(UserId(user), &key(number), gift);
            matches!(outcome, Ok(Requested::Fresh(_))).then(|| -cents)
        }
    }
}

fn user_of(ask: Ask) -> u64 {
    match ask {
        Ask::Withdraw { user, .. } | Ask::Close { user, .. } | Ask::Give { user, .. } => user,
    }
}

proptest! {
    #[test]
    fn no_balance_is_overdrawn_and_what_was_done_can_be_done_again(
        asks in prop::collection::vec(ask(), 0..80)
    ) {
        let mut local = shard();
        let mut balances: BTreeMap<u64, i64> = (1..=USERS).map(|user| (user, START.0)).collect();
        let mut done = Vec::new();
        for ask in asks {
            if let Some(change) = perform(&mut local, ask) {
                *balances.get_mut(&user_of(ask)).unwrap() += change;
                done.push(ask);
            }
            // At once again, nothing happens.
            prop_assert_eq!(perform(&mut local, ask), None);
            let balance = local.balance(UserId(user_of(ask)));
            prop_assert_eq!(balance.0, balances[&user_of(ask)]);
            prop_assert!(balance >= Cents::ZERO);
        }
        let mut again = shard();
        for ask in &done {
            prop_assert!(perform(&mut again, *ask).is_some(), "{ask:?} is on record");
        }
        for user in (1..=USERS).map(UserId) {
            prop_assert_eq!(again.balance(user), local.balance(user));
        }
    }
}

#[test]
fn refusals_say_why() {
    let (mut local, user) = (shard(), UserId(1));
    let mut refused = |cents, expected: &str| {
        let error = local.withdraw(user, &key(0), Cents(cents)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    refused(101, "the balance has 100 cents, not 101");
    refused(0, "0 cents are no possible amount");
    refused(-1, "-1 cents are no possible amount");
    refused(i64::MAX, "9223372036854775807 cents are no possible amount");
    local.withdraw(user, &key(0), Cents(1)).unwrap();
    assert_eq!(local.withdraw(user, &key(0), Cents(2)), Err(MoneyError::KeyTaken));
    assert_eq!(local.close_withdrawal(user, 2, true), Err(MoneyError::NoSuchWithdrawal));
    local.close_withdrawal(user, 1, true).unwrap();
    assert_eq!(local.close_withdrawal(user, 1, false), Err(MoneyError::DoneOtherwise));
}
