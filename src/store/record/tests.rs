//! Every kind of record comes back as it was.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::hash::PlacementKey;
use crate::base::ids::{
    BucketId, EventNumber, OptionIndex, QuestionIndex, RainIndex, RoomId, ShardId, ShowId, UserId,
};
use crate::base::time::Time;
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use crate::quiz::event::{
    NumberedEvent, QuestionOpening, QuestionPush, Reveal, Settlement, ShowEvent,
};
use crate::quiz::local::{Gift, GiftReturn};
use crate::quiz::money::Cents;
use crate::quiz::rain::{RainEvent, RainSettings, RainSummary};
use crate::quiz::replica::{AnswerInput, Prizes, TicketStamp, UsedCards, WorkStep};
use crate::quiz::report::{
    ClosedSummary, FreezeSummary, FrozenBucket, PayoutSummary, QuestionCounts, Report,
};
use crate::quiz::requests::MoneyKey;
use crate::quiz::seal::SecretKey;
use crate::quiz::verdict::Verdict;
use crate::shard::config::SlowPolicy;
use crate::shard::coverage::Reach;
use crate::shard::record::MoneyRecord;
use crate::shard::service::RoomSettings;
use crate::shard::standing::{Order, OrderKey, StandingRecord, UserRevocation};

const SHOW: ShowId = ShowId(77);
const USER: UserId = UserId(1 << 60);
const QUESTION: QuestionIndex = QuestionIndex(3);
const APPLIED: EventNumber = EventNumber(12);
const TICKET: TicketStamp = TicketStamp { option: OptionIndex(2), arrived: Time(99) };

fn counts() -> QuestionCounts {
    QuestionCounts {
        answered: 1,
        options: [2, 0, 4, 5, 6, 7],
        revivable: [8, 9, 10, 11, 12, 0],
        correct: 13,
        late: 14,
        silent: 15,
        unreachable: 16,
        revived: 17,
        revived_unanswered: 18,
        eliminated: 19,
        by_ticket: 20,
        new_records: u64::MAX,
    }
}

fn definition() -> ShowDefinition {
    ShowDefinition {
        id: SHOW,
        room: RoomId(5),
        title: "答题".to_string(),
        starts_at_unix_ms: -1,
        prize_pool: Cents(1_000_000),
        remainder_account: "remainder".to_string(),
        revive: ReviveCoverage { wrong: true, late: false, unreachable: true },
        timing: Timing {
            stream_delay: Duration::from_nanos(7),
            early_push_max: Duration::from_secs(8),
            ..Timing::default()
        },
        questions: vec![QuestionDefinition {
            text: "1 + 1?".to_string(),
            options: vec!["1".to_string(), "2".to_string()],
            correct: OptionIndex(1),
        }],
    }
}

fn events() -> Vec<ShowEvent> {
    let (question, correct) = (QUESTION, OptionIndex(1));
    let (show_at, show_by, answer_by) = (Time(1), Time(2), Time(u64::MAX));
    vec![
        ShowEvent::Announced(Arc::new(definition())),
        ShowEvent::LobbyOpened,
        ShowEvent::QuestionPushed(QuestionPush {
            question,
            result_key: SecretKey::from_bytes([6; 32]),
            question_key: SecretKey::from_bytes([7; 32]),
            commitment: [8; 32],
        }),
        ShowEvent::QuestionWithdrawn { question },
        ShowEvent::QuestionOpened(QuestionOpening {
            question,
            show_at,
            show_by,
            answer_by,
            result_key: SecretKey::from_bytes([1; 32]),
            question_key: SecretKey::from_bytes([2; 32]),
            commitment: [3; 32],
        }),
        ShowEvent::QuestionExtended { question, show_by, answer_by },
        ShowEvent::QuestionClosing { question, answer_by, close_after: Time(9), is_offered: true },
        ShowEvent::QuestionClosed { question, counts: counts(), in_play: 21 },
        ShowEvent::Revealed(Reveal {
            question,
            result_key: [4; 32],
            correct,
            option_counts: [1, 2, 3, 4, 5, 6],
            in_play: 22,
        }),
        ShowEvent::QuestionVoided { question },
        ShowEvent::Rejudging { question, correct, revision: 255 },
        ShowEvent::Rejudged { question, correct, in_play: 23, counts: counts() },
        ShowEvent::Paused,
        ShowEvent::Resumed,
        ShowEvent::Settling,
        ShowEvent::Settled(Settlement {
            winners: 3,
            pool: Cents(10),
            per_head: Cents(3),
            remainder: Cents(1),
            game_hash: [5; 32],
        }),
        ShowEvent::Cancelled,
        ShowEvent::Ended,
    ]
    .into_iter()
    .chain(rain_events().into_iter().map(ShowEvent::Rain))
    .collect()
}

fn rain_events() -> Vec<RainEvent> {
    let rain = RainIndex(3);
    let settings = RainSettings::new(Cents(1_000), 10, Duration::from_secs(30));
    let settings = RainSettings { show_packets_max: 5, win_per_10000: 77, ..settings };
    vec![
        RainEvent::Funded { cents: Cents(1_000) },
        RainEvent::Planned { rain, settings, seed: SecretKey::from_bytes([8; 32]) },
        RainEvent::Started { rain, starts_at: Time(4), ends_at: Time(5) },
        RainEvent::Granted { rain, shard: ShardId(1), first: 6, count: 2, left: 2 },
        RainEvent::Closing { rain },
        RainEvent::Ended { rain, grabbed: 7, paid: Cents(800), returned: Cents(200) },
        RainEvent::FundClosed { cents: Cents(200) },
    ]
}

fn money_records() -> Vec<MoneyRecord> {
    let (show, rain, key) = (SHOW, RainIndex(3), MoneyKey::new("key").unwrap());
    let (cents, balance, other) = (Cents(9), Cents(1), UserId(8));
    let gift = Gift { room: RoomId(5), kind: 6, cents };
    vec![
        MoneyRecord::Grabbed { show, rain, slot: 2, number: 9, cents },
        MoneyRecord::Withdrawn { key: key.clone(), number: 1 << 40, cents, balance },
        MoneyRecord::WithdrawalClosed { number: 3, is_paid: true, cents, balance },
        MoneyRecord::Gifted { key: key.clone(), number: 4, gift, balance },
        MoneyRecord::GiftShown { key: key.clone() },
        MoneyRecord::GiftReturned {
            key: key.clone(),
            number: 5,
            cents,
            why: GiftReturn::RoomEnded,
            balance,
        },
        MoneyRecord::GiftReturned {
            key: key.clone(),
            number: 5,
            cents,
            why: GiftReturn::TooMany,
            balance,
        },
        MoneyRecord::RequestForgotten { key: key.clone(), is_gift: true },
        MoneyRecord::RequestForgotten { key, is_gift: false },
        MoneyRecord::InvitationAsked { inviter: other },
        MoneyRecord::InvitationAccepted { invitee: other, cards: 1 },
        MoneyRecord::InvitationAnswered { inviter: other, is_accepted: true, cards: 1 },
    ]
}

fn standing_records() -> Vec<StandingRecord> {
    let (user, room) = (USER, RoomId(5));
    let settings = |settings| StandingRecord::RoomConfigured { room, settings: Arc::new(settings) };
    let revocation = UserRevocation {
        issued_until_unix_s: 1_800_000_000,
        refused_until_unix_s: i64::MIN,
        kept_until_unix_s: i64::MAX,
    };
    let order = Order { key: OrderKey([7; 16]), fingerprint: u64::MAX };
    vec![
        StandingRecord::Banned { user, until_unix_s: Some(i64::MAX) },
        StandingRecord::Banned { user, until_unix_s: None },
        StandingRecord::Muted { user, room: RoomId(0), until: Time(77) },
        StandingRecord::UserRevoked { user, revocation },
        StandingRecord::TokenRevoked { id: u64::MAX, kept_until_unix_s: -1 },
        settings(RoomSettings::default()),
        settings(RoomSettings {
            chat_per_second: Some(0),
            opaque_allowed: Some(false),
            low_per_second: Some(7),
            kept_kinds: Some(Vec::new()),
            slow: [None, Some(SlowPolicy::Gap), Some(SlowPolicy::Close)],
            egress_bytes_per_s: Some(u64::MAX),
        }),
        StandingRecord::RoomEnded { room, at: Time(78) },
        StandingRecord::Ordered { order, at: Time(79) },
    ]
}

fn prizes() -> Prizes {
    Prizes {
        bucket: BucketId(1_023),
        per_head: Cents(333),
        at: Time(78),
        users: vec![USER, UserId(u64::MAX)],
    }
}

fn used_cards() -> UsedCards {
    UsedCards {
        bucket: BucketId(0),
        at: Time(79),
        uses: vec![(USER, QUESTION), (UserId(1), QuestionIndex(0))],
    }
}

fn records() -> Vec<Record> {
    let (show, user, question, applied) = (SHOW, USER, QUESTION, APPLIED);
    let answer = |ticket, verdict| {
        let (option, arrived, sender_applied) = (OptionIndex(255), Time(1 << 50), EventNumber(9));
        let input = AnswerInput { question, option, arrived, ticket, sender_applied };
        Record::Answer { show, user, input, verdict, applied }
    };
    let joined = |until| Record::Joined {
        show,
        user,
        shard: ShardId(65_535),
        since: Time(5),
        until,
        applied,
    };
    let shard = ShardId(2);
    let frozen = FrozenBucket { bucket: BucketId(1_023), winners: 4, digest: [6; 32] };
    let reports = [
        Report::Closed(ClosedSummary {
            shard,
            question,
            revision: 1,
            in_play: 24,
            counts: counts(),
        }),
        Report::Frozen(FreezeSummary { shard, buckets: vec![frozen; 3] }),
        Report::Paid(PayoutSummary { shard, winners: 5, paid: Cents(6) }),
        Report::Rain(RainSummary { shard, rain: RainIndex(2), packets: 3, paid: Cents(7) }),
    ];
    let mut records = vec![
        answer(None, Some(Verdict::Passed)),
        answer(Some(TICKET), None),
        joined(None),
        joined(Some(Time(0))),
        Record::Absent { show, user, at: Time(8), applied },
        Record::TicketIssued { show, user, question, ticket: TICKET, applied },
        Record::Drained { show, question, from: shard, applied },
        Record::Applied { show, number: APPLIED },
        Record::Worked { show, step: WorkStep { bucket: BucketId(7), until: 4_000 }, applied },
        Record::CardGranted { user, grant: u64::MAX, at: Time(77) },
        Record::CardsExpired { user, expiry: u64::MAX, cards: 190, at: Time(78) },
        Record::Prizes { show, prizes: prizes() },
        Record::CardsUsed { show, cards: used_cards() },
        Record::Offered { show, question, at: Time(6), connections: 1 << 40 },
    ];
    let slots = vec![(5, 6), (1 << 40, 7)];
    let reaches = [
        Reach::default(),
        Reach { connections: 9, first: Some(Time(0)), last: Some(Time(8)), slots },
    ];
    records.extend(reaches.map(|reach| Record::Covered { show, question, reach: Box::new(reach) }));
    records.extend(events().into_iter().map(|event| {
        let (number, decided_at) = (EventNumber(40), Time(41));
        Record::Event(Box::new(NumberedEvent { show, number, decided_at, event }))
    }));
    records.extend(money_records().into_iter().map(|what| {
        let applied = if what.show() == SHOW { applied } else { EventNumber(0) };
        Record::Money { user, what: Box::new(what), applied, at: Time(80) }
    }));
    records.extend(standing_records().into_iter().map(|it| Record::Standing(Box::new(it))));
    records.extend(reports.map(|report| Record::Reported { show, report: Box::new(report) }));
    records
}

#[test]
fn every_record_comes_back() {
    for record in records() {
        let mut payload = Vec::new();
        encode(&record, &mut payload);
        assert_eq!(decode(&payload).as_ref(), Ok(&record));
    }
}

#[test]
fn a_record_belongs_to_its_users_bucket_its_show_or_its_shard() {
    let placement = Placement::new(PlacementKey([1; 16]), 1_024, 2);
    for record in records() {
        let expected = match &record {
            Record::Event(_) => Key::Show(SHOW),
            Record::Applied { .. }
            | Record::Drained { .. }
            | Record::Reported { .. }
            | Record::Standing(_)
            | Record::Offered { .. }
            | Record::Covered { .. } => Key::Shard(ShardId(4)),
            Record::Worked { step, .. } => Key::Bucket(step.bucket),
            Record::Prizes { prizes, .. } => Key::Bucket(prizes.bucket),
            Record::CardsUsed { cards, .. } => Key::Bucket(cards.bucket),
            _ => Key::Bucket(placement.bucket(USER)),
        };
        assert_eq!(key(&record, &placement, ShardId(4)), expected, "{record:?}");
    }
}

#[test]
fn what_is_no_record_is_refused() {
    assert!(matches!(decode(&[0xff; 9]), Err(RecordError::Message(_))));
    assert_eq!(decode(&[]), Err(RecordError::Unknown("body")));
    let mut payload = Vec::new();
    encode(&Record::CardGranted { user: USER, grant: 5, at: Time(6) }, &mut payload);
    assert!(decode(&payload[..payload.len() - 1]).is_err());
    payload.clear();
    encode(&Record::CardsExpired { user: USER, expiry: 5, cards: 0, at: Time(6) }, &mut payload);
    assert_eq!(decode(&payload), Err(RecordError::Impossible("number of cards")));
}

/// What a million answers cost on disk, apart from the headers: it is stated in the documentation.
#[test]
fn an_answer_is_small() {
    let (show, user, applied) = (ShowId(1_000), UserId(123_456_789), EventNumber(30));
    let input = AnswerInput {
        question: QUESTION,
        option: OptionIndex(1),
        arrived: Time(3_600_000_000_000),
        ticket: None,
        sender_applied: applied,
    };
    let verdict = Some(Verdict::Passed);
    let mut payload = Vec::new();
    encode(&Record::Answer { show, user, input, verdict, applied }, &mut payload);
    assert!(payload.len() <= 32, "{} bytes", payload.len());
}
