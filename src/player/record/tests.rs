//! Each check is seen to hold, and to fail when its promise is broken.

#![allow(clippy::type_complexity, reason = "a table of functions and what they say")]

use std::time::Duration;

use super::*;
use crate::base::ids::RoomId;
use crate::quiz::definition::{QuestionDefinition, Timing};
use crate::quiz::money::Cents;
use crate::quiz::seal::{SecretKey, VerdictRecord, commitment};
use crate::quiz::verdict::Failing;

const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];
const CORRECT: OptionIndex = OptionIndex(1);

fn definition() -> ShowDefinition {
    let question = |number: u8| QuestionDefinition {
        text: format!("{number}?"),
        options: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        correct: CORRECT,
    };
    ShowDefinition {
        id: ShowId(9),
        room: RoomId(4),
        title: "Show".to_owned(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(100),
        remainder_account: "house".to_owned(),
        revive: ReviveCoverage::default(),
        timing: Timing { ticket_life: Duration::from_millis(1_500), ..Timing::default() },
        questions: (0..2).map(question).collect(),
    }
}

/// A player in its room with its checks.
struct Table {
    record: Record,
    checks: Checks,
}

impl Table {
    /// With a user who holds a card, or one who does not.
    fn new(holds_card: bool) -> Table {
        let definition = definition();
        let script = Script::new(1, &definition);
        let user =
            (1..100).map(UserId).find(|user| script.holds_card(*user) == holds_card).unwrap();
        let mut checks = Checks::new(script.clone(), &definition);
        let mut record = Record::new(user, &script);
        record.joined(&joined(5, 3, false), &mut checks);
        Table { record, checks }
    }

    /// Shown a question and answered it.
    fn answered(holds_card: bool, option: u8, when: Answered) -> Table {
        let mut table = Table::new(holds_card);
        assert!(table.show(&question(0)));
        let (record, checks) = (&mut table.record, &mut table.checks);
        assert!(record.answers(QuestionIndex(0), OptionIndex(option), when, checks));
        table
    }

    fn show(&mut self, question: &proto::Question) -> bool {
        let shown = Shown { at: Time::from_millis(5), server_ms: 1_500, stamped: true };
        self.record.question(question, shown, &mut self.checks)
    }

    /// Gets a result from a gateway that judged so.
    fn result(&mut self, key: [u8; KEY_BYTES], verdict: Verdict, option: Option<u8>) {
        let sealed = self.seal(key, verdict, option);
        self.record.result(&sealed, &mut self.checks);
    }

    fn seal(
        &self,
        key: [u8; KEY_BYTES],
        verdict: Verdict,
        option: Option<u8>,
    ) -> proto::SealedResult {
        let sealer = Sealer::new(&SecretKey::from_bytes(key), ShowId(9), QuestionIndex(0));
        let record = VerdictRecord {
            verdict,
            new_record: false,
            by_ticket: false,
            option: option.map(OptionIndex),
            passed: u8::from(verdict.passes()),
        };
        let sealed = sealer.seal(self.record.user(), 0, record);
        proto::SealedResult {
            show_id: 9,
            question: 0,
            nonce: sealed.nonce.to_vec().into(),
            ciphertext: sealed.ciphertext.to_vec().into(),
        }
    }

    fn acknowledge(&mut self, result: Option<proto::SealedResult>) {
        let received = proto::AnswerReceived { result };
        self.record.acknowledged(0, &received, Encoding::Proto, &mut self.checks);
    }

    fn reveal(&mut self, reveal: &proto::Reveal) {
        self.record.reveal(reveal, 20_000, &mut self.checks);
    }

    fn stamp(&mut self, lane: proto::Lane, version: u64) {
        let stamp = proto::RoomStamp { room_id: 4, epoch: 5, lane: lane.into(), version };
        self.record.stamped(&stamp, version, &mut self.checks);
    }

    /// The one violation, or none.
    #[track_caller]
    fn expect(&self, expected: &str) {
        let sentences = self.checks.violations.sentences();
        if expected.is_empty() {
            assert!(sentences.is_empty(), "{sentences:?}");
        } else {
            assert_eq!(sentences.len(), 1, "{sentences:?}");
            assert!(sentences[0].contains(expected), "{sentences:?}");
        }
    }
}

fn joined(epoch: u64, high: u64, resumed: bool) -> proto::Joined {
    let position = proto::LanePosition { lane: proto::Lane::High.into(), version: high };
    proto::Joined { room_id: 4, epoch, positions: vec![position], resumed, info: None }
}

fn question(index: u16) -> proto::Question {
    let key = SecretKey::from_bytes(KEY);
    proto::Question {
        show_id: 9,
        question: index.into(),
        text: "?".to_owned(),
        options: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        show_at_ms: 1_000,
        show_by_ms: 2_000,
        answer_by_ms: 12_000,
        commitment: commitment(&key, CORRECT, ShowId(9), QuestionIndex(index)).to_vec().into(),
        last: index == 1,
    }
}

fn reveal() -> proto::Reveal {
    proto::Reveal {
        show_id: 9,
        question: 0,
        result_key: KEY.to_vec().into(),
        correct_option: CORRECT.0.into(),
        option_counts: vec![0, 1, 0],
        in_play: 1,
    }
}

#[test]
fn what_the_gateway_judges_is_what_the_player_expects() {
    use Answered::{InTime, TooLate};
    let wrong = Verdict::Out(Failing::Wrong);
    let table = [
        (false, Some((1, InTime)), Verdict::Passed),
        (false, Some((0, InTime)), wrong),
        (true, Some((0, InTime)), Verdict::Revived(Failing::Wrong)),
        (true, Some((1, TooLate)), Verdict::Out(Failing::Late)),
        (false, None, Verdict::Out(Failing::Silent)),
    ];
    for (card, answer, verdict) in table {
        // The gateway's verdict as it should be, and every other one.
        for judged in Verdict::ALL {
            let mut table = Table::new(card);
            table.show(&question(0));
            if let Some((option, when)) = answer {
                let option = OptionIndex(option);
                table.record.answers(QuestionIndex(0), option, when, &mut table.checks);
            }
            table.result(KEY, judged, answer.map(|(option, _)| option));
            table.reveal(&reveal());
            table.expect(if judged == verdict { "" } else { "the gateway says" });
            assert_eq!(table.record.verdicts(), [verdict]);
            assert_eq!(table.record.is_in_play(), verdict.passes());
        }
    }
}

#[test]
fn a_wrong_key_is_noticed_by_seal_and_commitment() {
    let mut table = Table::answered(false, 1, Answered::InTime);
    table.result([8; KEY_BYTES], Verdict::Passed, Some(1));
    table.reveal(&reveal());
    table.expect("the sealed result does not open");

    let mut table = Table::answered(false, 1, Answered::InTime);
    table.result([8; KEY_BYTES], Verdict::Passed, Some(1));
    table.reveal(&proto::Reveal { result_key: vec![8; KEY_BYTES].into(), ..reveal() });
    table.expect("not what was committed to");
}

#[test]
fn another_correct_option_is_noticed() {
    let mut table = Table::answered(false, 2, Answered::InTime);
    table.result(KEY, Verdict::Passed, Some(2));
    table.reveal(&proto::Reveal { correct_option: 2, ..reveal() });
    let sentences = table.checks.violations.sentences();
    assert_eq!(sentences.len(), 2, "{sentences:?}");
    assert!(sentences[0].contains("committed to") && sentences[1].contains("said to be correct"));
}

#[test]
fn a_hole_or_a_repeat_in_the_high_lane_is_noticed_across_reconnects() {
    let mut table = Table::new(false);
    table.stamp(proto::Lane::High, 4);
    table.stamp(proto::Lane::Low, 7);
    table.record.joined(
        &proto::Joined {
            positions: vec![
                proto::LanePosition { lane: proto::Lane::High.into(), version: 4 },
                proto::LanePosition { lane: proto::Lane::Low.into(), version: 7 },
            ],
            ..joined(5, 0, true)
        },
        &mut table.checks,
    );
    table.stamp(proto::Lane::High, 5);
    table.expect("");
    table.stamp(proto::Lane::High, 7);
    table.expect("version 7 came in the high lane where 6 was next");

    let mut table = Table::new(false);
    table.stamp(proto::Lane::High, 3);
    table.expect("version 3 came in the high lane where 4 was next");

    let mut table = Table::new(false);
    table.record.joined(&joined(5, 6, true), &mut table.checks);
    table.expect("coming back at [3, 0, 0]");

    let mut table = Table::new(false);
    table.record.joined(&joined(6, 3, false), &mut table.checks);
    table.expect("coming back at");

    let mut table = Table::new(false);
    let gap = proto::Gap {
        room_id: 4,
        epoch: 5,
        lane: proto::Lane::High.into(),
        first_missing: 4,
        last_missing: 9,
    };
    table.record.gap(&gap, &mut table.checks);
    table.expect("a hole in the high lane");
}

#[test]
fn a_repeated_reply_is_the_same_byte_for_byte() {
    let mut table = Table::answered(false, 1, Answered::InTime);
    let sealed = table.seal(KEY, Verdict::Passed, Some(1));
    table.acknowledge(Some(sealed.clone()));
    table.acknowledge(Some(sealed.clone()));
    table.expect("");
    assert_eq!(table.checks.questions[0].answers_acknowledged, 1);
    let mut changed = sealed.ciphertext.to_vec();
    changed[0] ^= 1;
    table.acknowledge(Some(proto::SealedResult { ciphertext: changed.into(), ..sealed }));
    table.expect("another result than the first");
}

#[test]
fn replies_have_one_size() {
    let mut table = Table::answered(false, 1, Answered::InTime);
    let sealed = table.seal(KEY, Verdict::Passed, Some(1));
    table.acknowledge(Some(sealed.clone()));
    table.acknowledge(Some(proto::SealedResult { show_id: 300, ..sealed }));
    let sentences = table.checks.violations.sentences();
    assert!(sentences[0].contains("a reply of"), "{sentences:?}");
}

#[test]
fn an_answer_in_time_gets_a_result_and_is_never_refused() {
    let mut table = Table::answered(false, 1, Answered::InTime);
    table.acknowledge(None);
    table.expect("no result for an answer in time");

    let mut table = Table::answered(false, 1, Answered::TooLate);
    table.acknowledge(None);
    table.expect("");

    let mut table = Table::answered(false, 1, Answered::InTime);
    let failure =
        proto::Failure { reason: proto::Reason::NotCurrentQuestion.into(), ..Default::default() };
    table.record.refused(QuestionIndex(0), &failure, &mut table.checks);
    table.expect("the answer was refused");
    assert_eq!(table.checks.questions[0].in_time_refused, 1);
}

#[test]
fn a_question_comes_in_time_and_stays_the_same() {
    let mut table = Table::new(false);
    let late = Shown { at: Time::ZERO, server_ms: 2_001, stamped: true };
    table.record.question(&question(0), late, &mut table.checks);
    table.expect("1 ms after its latest display");

    // Who was away is shown it as soon as it is back.
    let mut table = Table::new(false);
    let back = Shown { stamped: false, ..late };
    assert!(table.record.question(&question(0), back, &mut table.checks));
    assert!(!table.show(&question(0)));
    table.expect("");
    assert_eq!(table.checks.questions[0].shown_at.len(), 1);
    table.show(&proto::Question { commitment: vec![0; 32].into(), ..question(0) });
    table.expect("came again and is another one");
}

#[test]
fn a_reveal_comes_after_the_end_to_all_alike_and_with_a_result() {
    let mut table = Table::answered(false, 1, Answered::InTime);
    table.result(KEY, Verdict::Passed, Some(1));
    table.record.reveal(&reveal(), 12_000, &mut table.checks);
    table.expect("revealed while answers were taken");

    let mut table = Table::answered(false, 1, Answered::InTime);
    table.reveal(&reveal());
    table.expect("has no result");

    let mut table = Table::new(false);
    table.reveal(&reveal());
    table.expect("was never shown question 0");

    let mut table = Table::answered(false, 1, Answered::InTime);
    table.checks.questions[0].reveal = Some(proto::Reveal { in_play: 2, ..reveal() });
    table.result(KEY, Verdict::Passed, Some(1));
    table.reveal(&reveal());
    table.expect("is not that of others");
}

#[test]
fn a_snapshot_agrees_with_the_record() {
    let snapshot = |table: &Table| proto::Snapshot {
        standing: proto::Standing::InPlay.into(),
        revive_cards: 1,
        open_question: Some(question(0)),
        recorded_option: Some(0),
        recorded_result: Some(table.seal(KEY, Verdict::Revived(Failing::Wrong), Some(0))),
        ..Default::default()
    };
    let answered = || {
        let mut table = Table::answered(true, 0, Answered::InTime);
        table.acknowledge(Some(table.seal(KEY, Verdict::Revived(Failing::Wrong), Some(0))));
        table
    };
    let mut table = answered();
    table.record.snapshot(&snapshot(&table), 0, &mut table.checks);
    table.expect("");

    let cases: [(fn(&mut proto::Snapshot), &str); 5] = [
        (|it| it.recorded_option = Some(1), "the snapshot has option 1"),
        (|it| it.recorded_option = None, "is not in the snapshot"),
        (|it| it.revive_cards = 0, "with 0 cards"),
        (|it| it.standing = proto::Standing::Out.into(), "the snapshot says Out"),
        (
            |it| it.recorded_result.as_mut().unwrap().nonce = vec![9; 12].into(),
            "another result than the first",
        ),
    ];
    for (spoil, expected) in cases {
        let mut table = answered();
        let mut spoilt = snapshot(&table);
        spoil(&mut spoilt);
        table.record.snapshot(&spoilt, 0, &mut table.checks);
        table.expect(expected);
    }
}

/// Only a snapshot still says it: the gateway died while the reveal was on its way.
#[test]
fn a_reveal_that_died_with_the_gateway_is_learnt_from_the_snapshot() {
    let snapshot = |table: &Table, verdict| proto::Snapshot {
        show: Some(proto::ShowState { phase: proto::Phase::Settled.into(), ..Default::default() }),
        standing: proto::Standing::Out.into(),
        last_revealed: Some(0),
        last_reveal: Some(reveal()),
        recorded_option: Some(0),
        recorded_question: Some(0),
        recorded_result: Some(table.seal(KEY, verdict, Some(0))),
        ..Default::default()
    };
    let verdict = Verdict::Out(Failing::Wrong);
    let mut table = Table::answered(false, 0, Answered::InTime);
    table.checks.gateway_may_die = true;
    table.record.snapshot(&snapshot(&table, verdict), 20_000, &mut table.checks);
    // It may come by the lane all the same.
    table.reveal(&reveal());
    table.expect("");
    assert_eq!(table.record.verdicts(), [verdict]);
    assert!(!table.record.is_in_play() && table.record.is_settled());

    let mut table = Table::answered(false, 0, Answered::InTime);
    table.checks.gateway_may_die = true;
    table.record.snapshot(&snapshot(&table, Verdict::Passed), 20_000, &mut table.checks);
    table.expect("the gateway says");
}

#[test]
fn who_was_not_back_in_time_and_silent_is_unreachable_where_the_gateway_died() {
    for (may_die, answer, expected) in
        [(true, None, ""), (true, Some(1), "says"), (false, None, "says")]
    {
        let mut table = Table::new(false);
        table.checks.gateway_may_die = may_die;
        assert!(table.show(&question(0)));
        if let Some(option) = answer {
            let (option, checks) = (OptionIndex(option), &mut table.checks);
            table.record.answers(QuestionIndex(0), option, Answered::InTime, checks);
        }
        table.result(KEY, Verdict::Out(Failing::Unreachable), None);
        table.reveal(&reveal());
        table.expect(expected);
    }
}

#[test]
fn the_prize_is_what_was_announced() {
    let settled = proto::Settled {
        show_id: 9,
        winners: 3,
        prize_pool_cents: 100,
        per_head_cents: 33,
        remainder_cents: 1,
    };
    let snapshot = |prize_cents| proto::Snapshot {
        show: Some(proto::ShowState { phase: proto::Phase::Settled.into(), ..Default::default() }),
        standing: proto::Standing::Winner.into(),
        prize_cents,
        ..Default::default()
    };
    for (prize, expected) in [(33, ""), (34, "won 33, was told 34")] {
        let mut table = Table::new(false);
        table.record.settled(&settled, &mut table.checks);
        table.record.snapshot(&snapshot(prize), 0, &mut table.checks);
        table.expect(expected);
    }
    let mut table = Table::new(false);
    table.record.settled(&settled, &mut table.checks);
    table.record.settled(&proto::Settled { winners: 2, ..settled }, &mut table.checks);
    table.expect("another settlement");
}

#[test]
fn who_is_out_is_refused_and_gets_no_result() {
    let mut table = Table::answered(false, 0, Answered::InTime);
    table.result(KEY, Verdict::Out(Failing::Wrong), Some(0));
    table.reveal(&reveal());
    table.show(&question(1));
    assert!(!table.record.answers(QuestionIndex(1), CORRECT, Answered::InTime, &mut table.checks));
    let failure =
        |reason: proto::Reason| proto::Failure { reason: reason.into(), ..Default::default() };
    let out = failure(proto::Reason::OutOfGame);
    table.record.refused(QuestionIndex(1), &out, &mut table.checks);
    table.expect("");
    let closed = failure(proto::Reason::QuestionClosed);
    table.record.refused(QuestionIndex(1), &closed, &mut table.checks);
    table.expect("is out; its answer to question 1 got");

    let mut table = Table::answered(false, 0, Answered::InTime);
    table.result(KEY, Verdict::Out(Failing::Wrong), Some(0));
    table.reveal(&reveal());
    table.show(&question(1));
    let sealed = table.seal(KEY, Verdict::Passed, Some(1));
    let sealed = proto::SealedResult { question: 1, ..sealed };
    table.record.result(&sealed, &mut table.checks);
    table.expect("is out and got a result");
}
