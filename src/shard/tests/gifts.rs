//! Gifts, on a shard that is the home of givers and rooms.

use super::*;
use crate::quiz::local::{Gift, GiftReturn, LocalQuiz};
use crate::quiz::requests::MoneyKey;
use crate::shard::mail::{Batch, Mail};
use crate::shard::money_mail::{MoneyAsk, MoneyMail, ReplyTo};
use crate::shard::record::MoneyRecord;
use crate::shard::recovery::{Beginning, Histories};
use crate::shard::standing::Standing;

const GIVER: UserId = UserId(1);

fn key(name: &str) -> MoneyKey {
    MoneyKey::new(name).unwrap()
}

fn gift(room: u64, cents: i64) -> Gift {
    Gift { room: RoomId(room), kind: 7, cents: Cents(cents) }
}

impl Stage {
    /// A shard that goes on: its user has 100 cents, and has given what is on its way.
    fn resumed(on_the_way: Option<Gift>) -> Stage {
        let mut stage = Stage::new();
        let mut local = LocalQuiz::new(ShardId(0), stage.shard.placement);
        let place = local.users_mut().enter(GIVER).unwrap();
        local.users_mut().entry_mut(place).balance = Cents(100);
        if let Some(gift) = on_the_way {
            local.give(GIVER, &key("before"), gift).unwrap();
        }
        let (histories, standing) = (Histories::default(), Standing::default());
        stage.shard.begin_with(Beginning { local, histories, standing });
        stage.step(Input::Resume);
        stage
    }

    fn mail(&mut self, mail: MoneyMail) {
        let mail = vec![Mail::Money(mail)];
        self.step(Input::Mail(Batch {
            from: ShardId(0),
            posted_at: self.now,
            lag: Duration::ZERO,
            mail,
        }));
        self.send();
    }

    /// The answer to a gift of the connection's user.
    fn give(&mut self, conn: ConnId, name: &str, gift: Gift) -> String {
        let reply_to = ReplyTo::Client { shard: ShardId(0), conn, sequence: name.into() };
        let ask = MoneyAsk::Give { key: key(name), gift };
        self.mail(MoneyMail::Ask { user: GIVER, ask, reply_to });
        self.heard(conn).reply(name)
    }

    /// Gifts that a client was shown.
    fn shown(&mut self, conn: ConnId) -> usize {
        self.send();
        let heard = self.heard(conn);
        let shown = heard.frames.iter().filter(|frame| format!("{frame:?}").contains("GiftShown("));
        shown.count()
    }

    fn money_records(&self) -> Vec<&MoneyRecord> {
        let money = self.records.iter().filter_map(|record| match record {
            Record::Money { what, .. } => Some(&**what),
            _ => None,
        });
        money.collect()
    }
}

#[test]
fn a_paid_gift_to_a_room_that_has_ended_is_refused_before_it_is_taken() {
    let mut stage = Stage::resumed(None);
    let conn = stage.enter_room(1, RoomId(30));
    stage.step(Input::Operator { ticket: 1, request: OperatorRequest::CloseRoom(RoomId(31)) });
    assert_eq!(stage.give(conn, "late", gift(31, 40)), "NoSuchRoom");
    assert!(stage.money_records().is_empty(), "nothing was taken");
}

#[test]
fn a_gift_whose_room_ends_on_its_way_goes_back_with_the_reason_on_record() {
    let mut stage = Stage::resumed(None);
    let conn = stage.enter_room(1, RoomId(30));
    // After a restart gifts wait for a moment; meanwhile the room ends.
    assert!(stage.give(conn, "a", gift(31, 40)).contains("balance_cents: 60"));
    stage.step(Input::Operator { ticket: 1, request: OperatorRequest::CloseRoom(RoomId(31)) });
    stage.patrol(1);
    let (why, balance) = (GiftReturn::RoomEnded, Cents(100));
    let returned =
        MoneyRecord::GiftReturned { key: key("a"), number: 1, cents: Cents(40), why, balance };
    assert_eq!(stage.money_records().last(), Some(&&returned));
    // Who repeats the request is told what became of it.
    let reply_to = ReplyTo::Client { shard: ShardId(0), conn, sequence: "again".into() };
    let ask = MoneyAsk::Give { key: key("a"), gift: gift(31, 40) };
    stage.mail(MoneyMail::Ask { user: GIVER, ask, reply_to });
    assert_eq!(stage.heard(conn).reply("again"), "NoSuchRoom");
    assert_eq!(stage.money_records().len(), 2, "given and returned, once");
}

#[test]
fn gifts_on_the_way_at_a_crash_wait_until_members_had_time_to_come_back() {
    let mut stage = Stage::resumed(Some(gift(30, 40)));
    stage.patrol(2);
    let late = stage.enter_room(2, RoomId(30));
    assert_eq!(stage.shown(late), 0, "others may be about to come");
    stage.patrol(2);
    assert_eq!(stage.shown(late), 1);
    let mut stage = Stage::resumed(Some(gift(30, 40)));
    stage.patrol(20);
    let later = stage.enter_room(2, RoomId(30));
    stage.patrol(2);
    assert_eq!(stage.shown(later), 1, "an empty room is waited for");
}

#[test]
fn gifts_of_one_room_do_not_hold_up_those_of_another() {
    let mut stage = Stage::new();
    stage.shard.config.downlink.gift_rate_max = 1;
    let quiet = stage.enter_room(31, RoomId(31));
    for number in 0..70 {
        let (key, gift) = (key(&format!("busy-{number}")), gift(30, 0));
        stage.mail(MoneyMail::Gift { user: GIVER, key, gift });
    }
    stage.mail(MoneyMail::Gift { user: GIVER, key: key("quiet"), gift: gift(31, 0) });
    // The busy room's lane took as many as it takes at once, and the others wait.
    assert_eq!(stage.shard.counters().gifts_shown, 64 + 1);
    assert_eq!(stage.shown(quiet), 1);
}

#[test]
fn what_is_too_much_for_a_room_goes_back_to_its_giver() {
    let mut stage = Stage::resumed(None);
    let conn = stage.enter_room(1, RoomId(30));
    for number in 0..crate::base::limits::ROOM_GIFTS_WAITING_MAX {
        let (key, gift) = (key(&format!("other-{number}")), gift(30, 0));
        stage.mail(MoneyMail::Gift { user: GIVER, key, gift });
    }
    assert!(stage.give(conn, "a", gift(30, 40)).contains("Given"));
    let (why, balance) = (GiftReturn::TooMany, Cents(100));
    let returned =
        MoneyRecord::GiftReturned { key: key("a"), number: 1, cents: Cents(40), why, balance };
    assert_eq!(stage.money_records().last(), Some(&&returned));
}
