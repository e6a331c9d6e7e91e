//! Causes and shows that tests fill books with.

use tempfile::TempDir;

use crate::base::ids::{EventNumber, QuestionIndex, RoomId, ShowId, UserId};
use crate::ledger::account::Pool;
use crate::ledger::book::{Batch, FeedId, Position};
use crate::ledger::cause::{
    Cause, CauseKey, CauseKind, GiftPayer, Grant, Reward, Side, WithdrawalId,
};
use crate::ledger::name::Name;
use crate::quiz::money::Cents;

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn cause(kind: CauseKind) -> Cause {
    Cause { at_unix_ms: 1_800_000_000_000, kind }
}

pub(crate) fn batch(feed: u64, after: u64, causes: Vec<Cause>) -> Batch {
    let through = Position(after + causes.len() as u64);
    Batch { feed: FeedId(feed), after: Position(after), through, causes }
}

pub(crate) fn funded(show: u64, pool: Pool, amount: i64) -> Cause {
    cause(CauseKind::PoolFunded { show: ShowId(show), pool, amount: Cents(amount) })
}

pub(crate) fn prize(show: u64, user: u64, amount: i64) -> Cause {
    cause(CauseKind::Prize { show: ShowId(show), user: UserId(user), amount: Cents(amount) })
}

pub(crate) fn settled(show: u64, winners: u64, per_head: i64, remainder: i64) -> Cause {
    cause(CauseKind::Settled {
        show: ShowId(show),
        pool: Cents(per_head * i64::try_from(winners).expect("few") + remainder),
        winners,
        per_head: Cents(per_head),
        remainder: Cents(remainder),
        account: name("charity: a|b"),
    })
}

pub(crate) fn requested(user: u64, number: u64, amount: i64) -> Cause {
    let withdrawal = WithdrawalId { user: UserId(user), number };
    cause(CauseKind::WithdrawalRequested { withdrawal, amount: Cents(amount) })
}

pub(crate) fn paid(user: u64, number: u64, amount: i64) -> Cause {
    let withdrawal = WithdrawalId { user: UserId(user), number };
    cause(CauseKind::WithdrawalPaid { withdrawal, amount: Cents(amount) })
}

pub(crate) fn refused(user: u64, number: u64, amount: i64) -> Cause {
    let withdrawal = WithdrawalId { user: UserId(user), number };
    cause(CauseKind::WithdrawalRefused { withdrawal, amount: Cents(amount) })
}

pub(crate) fn reversal(of: &Cause) -> Cause {
    cause(CauseKind::Reversal { of: of.key(), reason: name("wrong key") })
}

pub(crate) fn reversal_of(key: &str) -> Cause {
    cause(CauseKind::Reversal { of: CauseKey::read(key), reason: name("wrong key") })
}

/// A settled show of so many winners, ten cents each and three left, in a feed of its own.
pub(crate) fn a_show(show: u64, winners: u64) -> Vec<Batch> {
    let pool = i64::try_from(winners).expect("few") * 10 + 3;
    let mut causes = vec![funded(show, Pool::Prize, pool)];
    causes.extend((1..=winners).map(|user| prize(show, user, 10)));
    causes.push(settled(show, winners, 10, 3));
    vec![batch(show, 0, causes)]
}

/// One of everything, in an order that a feed could have; user 7 ends with 63 cents and 1 card.
pub(crate) fn everything() -> Vec<Cause> {
    let (show, user) = (ShowId(1), UserId(7));
    let grant = |cards| Grant { user, grant: name("welcome:1"), cards };
    let packet = |packet, amount| {
        let amount = Cents(amount);
        cause(CauseKind::PacketGrabbed { show, rain: 0, packet, user, amount })
    };
    let gift = |gift, amount, payer| {
        let (room, amount) = (RoomId(30), Cents(amount));
        cause(CauseKind::Gift { room, giver: user, gift, amount, payer })
    };
    let invitation = |side, reward| {
        let (inviter, invitee) = (user, UserId(u64::MAX));
        cause(CauseKind::Invitation { inviter, invitee, side, reward })
    };
    let account = name("charity: a|b");
    vec![
        funded(1, Pool::Prize, 1_001),
        cause(CauseKind::RainFunded { show, event: EventNumber(2), amount: Cents(60) }),
        funded(1, Pool::Rain(0), 50),
        cause(CauseKind::CardsGranted(grant(3))),
        cause(CauseKind::CardUsed { show, user, question: QuestionIndex(2) }),
        packet(4, 20),
        packet(9, 5),
        cause(CauseKind::RainReturned { show, rain: 0, amount: Cents(25) }),
        cause(CauseKind::RainFundClosed { show, amount: Cents(35), account }),
        prize(1, 7, 500),
        prize(1, 8, 500),
        settled(1, 2, 500, 1),
        gift(1, 62, GiftPayer::Balance),
        gift(2, 900, GiftPayer::Operator),
        invitation(Side::Inviter, Reward::Cards(1)),
        invitation(Side::Invitee, Reward::Cents(Cents(30))),
        requested(7, 1, 400),
        paid(7, 1, 400),
        requested(7, 2, 40),
        refused(7, 2, 40),
        requested(8, 1, 500),
        cause(CauseKind::CardsExpired(grant(2))),
        funded(2, Pool::Prize, 77),
        reversal_of("fund:2:prize"),
    ]
}
