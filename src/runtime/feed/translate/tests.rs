use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::ids::{BucketId, EventNumber, OptionIndex, QuestionIndex, RainIndex, RoomId};
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, Timing};
use crate::quiz::event::Settlement;
use crate::quiz::local::Gift;
use crate::quiz::rain::RainSettings;
use crate::quiz::replica::{Prizes, UsedCards};
use crate::quiz::requests::MoneyKey;
use crate::quiz::seal::SecretKey;

const SHOW: ShowId = ShowId(3);
const USER: UserId = UserId(7);

fn axis() -> Axis {
    let mut axis = Axis::default();
    axis.add(Time::ZERO, DisplayClock { zero_unix_ms: 1_000 });
    axis.add(Time::from_millis(500), DisplayClock { zero_unix_ms: 9_000 });
    axis
}

fn event(number: u64, at_ms: u64, event: ShowEvent) -> Record {
    let (number, decided_at) = (EventNumber(number), Time::from_millis(at_ms));
    Record::Event(Box::new(NumberedEvent { show: SHOW, number, decided_at, event }))
}

fn announced(account: &str) -> Record {
    let question = QuestionDefinition {
        text: "?".into(),
        options: vec!["a".into(), "b".into()],
        correct: OptionIndex(0),
    };
    let definition = ShowDefinition {
        id: SHOW,
        room: RoomId(1),
        title: String::new(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(100),
        remainder_account: account.into(),
        revive: ReviveCoverage::default(),
        timing: Timing::default(),
        questions: vec![question],
    };
    event(1, 1, ShowEvent::Announced(Arc::new(definition)))
}

fn settled(number: u64, winners: u64, per_head: i64, remainder: i64) -> Record {
    let (per_head, remainder) = (Cents(per_head), Cents(remainder));
    let split = Settlement { winners, pool: Cents(100), per_head, remainder, game_hash: [0; 32] };
    event(number, 600, ShowEvent::Settled(split))
}

fn about_money(what: MoneyRecord) -> Record {
    let (what, at) = (Box::new(what), Time::from_millis(700));
    Record::Money { user: USER, what, applied: EventNumber(0), at }
}

/// Key, time and amount of each cause.
fn told(records: &[Record]) -> Vec<String> {
    let mut translator = Translator::new(axis());
    let mut causes = Vec::new();
    for record in records {
        translator.tell(record, &mut causes);
    }
    let shown = |cause: &Cause| {
        let (amount, unit) = cause.amount().expect("possible");
        format!("{} at {}: {amount} {}", cause.key(), cause.at_unix_ms, unit.word())
    };
    causes.iter().map(shown).collect()
}

#[test]
fn a_show_is_funded_settled_once_and_each_winner_paid() {
    let prizes = Prizes {
        bucket: BucketId(1),
        per_head: Cents(33),
        at: Time::from_millis(600),
        users: vec![USER, UserId(8)],
    };
    let prizes = Record::Prizes { show: SHOW, prizes };
    let records = [announced("house"), settled(9, 3, 33, 1), prizes.clone(), prizes];
    assert_eq!(
        told(&records),
        [
            "fund:3:prize at 1001: 100 cent",
            // In the second run, which displays time by another zero.
            "settled:3 at 9600: 1 cent",
            "prize:3:7 at 9600: 33 cent",
            "prize:3:8 at 9600: 33 cent",
            // Paid again after a restart: the same causes.
            "prize:3:7 at 9600: 33 cent",
            "prize:3:8 at 9600: 33 cent",
        ]
    );
}

#[test]
fn a_show_that_nobody_won_is_settled_and_one_that_was_called_off_is_reversed() {
    let nobody = [announced("house"), settled(5, 0, 0, 100)];
    assert_eq!(told(&nobody)[1..], ["settled:3 at 9600: 100 cent"]);
    let void = event(3, 2, ShowEvent::QuestionVoided { question: QuestionIndex(0) });
    let off = [announced("house"), void, event(4, 3, ShowEvent::Cancelled)];
    let ended = event(5, 4, ShowEvent::Ended);
    let off = [off.as_slice(), &[ended]].concat();
    assert_eq!(told(&off)[1..], ["reversal:fund:3:prize at 1003: 0 cent"]);
}

#[test]
fn the_remainder_goes_where_the_announcement_said_also_after_a_restart() {
    let account_of = |records: &[Record], learned: bool| {
        let mut translator = Translator::new(axis());
        if let (true, Record::Event(event)) = (learned, announced("charity")) {
            translator.learn(&event);
        }
        let mut causes = Vec::new();
        records.iter().for_each(|record| translator.tell(record, &mut causes));
        match causes.pop().map(|cause| cause.kind) {
            Some(CauseKind::Settled { account, .. }) => account.as_str().to_owned(),
            other => panic!("expected a settlement, got {other:?}"),
        }
    };
    assert_eq!(account_of(&[settled(5, 0, 0, 100)], true), "charity");
    assert_eq!(account_of(&[announced("house"), settled(5, 0, 0, 100)], false), "house");
    // The book takes no nameless account.
    assert_eq!(account_of(&[announced(""), settled(5, 0, 0, 100)], false), "remainder");
}

#[test]
fn a_rain_leaves_its_fund_and_comes_back_once() {
    let rain = RainIndex(0);
    let settings = RainSettings::new(Cents(50), 10, Duration::from_secs(1));
    let seed = SecretKey::from_bytes([1; 32]);
    let events = [
        RainEvent::Funded { cents: Cents(60) },
        RainEvent::Planned { rain, settings, seed },
        RainEvent::Started { rain, starts_at: Time(1), ends_at: Time(2) },
        RainEvent::Closing { rain },
        RainEvent::Ended { rain, grabbed: 2, paid: Cents(9), returned: Cents(41) },
        RainEvent::FundClosed { cents: Cents(51) },
    ];
    let events = (2..).zip(events).map(|(number, it)| event(number, 10, ShowEvent::Rain(it)));
    let mut records = vec![announced("house")];
    records.extend(events);
    let grabbed = MoneyRecord::Grabbed { show: SHOW, rain, slot: 0, number: 4, cents: Cents(9) };
    records.push(about_money(grabbed));
    assert_eq!(
        told(&records)[1..],
        [
            "fund:3:rains:2 at 1010: 60 cent",
            "fund:3:rain:0 at 1010: 50 cent",
            "rain-returned:3:0 at 1010: 41 cent",
            "rains-closed:3 at 1010: 51 cent",
            "packet:3:0:4 at 9700: 9 cent",
        ]
    );
}

#[test]
fn withdrawals_gifts_invitations_and_cards() {
    let key = MoneyKey::new("same").expect("a key");
    let withdrawn = |number| MoneyRecord::Withdrawn {
        key: key.clone(),
        number,
        cents: Cents(5),
        balance: Cents(0),
    };
    let closed = |number, is_paid| MoneyRecord::WithdrawalClosed {
        number,
        is_paid,
        cents: Cents(5),
        balance: Cents(0),
    };
    let gifted = |number, cents| {
        let gift = Gift { room: RoomId(1), kind: 2, cents: Cents(cents) };
        MoneyRecord::Gifted { key: key.clone(), number, gift, balance: Cents(0) }
    };
    let (other, user) = (UserId(8), USER);
    let cards = UsedCards {
        bucket: BucketId(1),
        at: Time::from_millis(3),
        uses: vec![(user, QuestionIndex(2))],
    };
    let mut records: Vec<Record> = [
        // One key, used again: two withdrawals.
        withdrawn(1),
        closed(1, true),
        withdrawn(2),
        closed(2, false),
        gifted(1, 6),
        gifted(2, 0),
        MoneyRecord::GiftShown { key: key.clone() },
        MoneyRecord::InvitationAsked { inviter: other },
        MoneyRecord::InvitationAccepted { invitee: other, cards: 1 },
        MoneyRecord::InvitationAnswered { inviter: other, is_accepted: true, cards: 2 },
        MoneyRecord::InvitationAnswered { inviter: other, is_accepted: false, cards: 0 },
    ]
    .map(about_money)
    .into();
    records.push(Record::CardGranted { user, grant: 99, at: Time::from_millis(2) });
    let at = Time::from_millis(4);
    records.push(Record::CardsExpired { user, expiry: 98, cards: 3, at });
    records.push(Record::CardsUsed { show: SHOW, cards });
    assert_eq!(
        told(&records),
        [
            "withdrawal:7:1 at 9700: 5 cent",
            "withdrawal:7:1:end at 9700: 5 cent",
            "withdrawal:7:2 at 9700: 5 cent",
            "withdrawal:7:2:end at 9700: 5 cent",
            "gift:7:1 at 9700: 6 cent",
            "invitation:8:inviter at 9700: 1 card",
            "invitation:7:invitee at 9700: 2 card",
            "cards-granted:7:99 at 1002: 1 card",
            "cards-expired:7:98 at 1004: 3 card",
            "card-used:3:7 at 1003: 1 card",
        ]
    );
}
