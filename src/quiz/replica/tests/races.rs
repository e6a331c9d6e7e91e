//! What came in another order than it happened: none of it may decide anything.

use super::*;
use crate::quiz::event::QuestionOpening;

/// Alice and Bob at the first question, which was just published.
fn asked() -> (Stage, QuestionOpening) {
    let mut stage = Stage::with_two();
    stage.order(Command::Publish);
    let ShowEvent::QuestionOpened(opening) = stage.last[0].event.clone() else { panic!() };
    (stage, opening)
}

fn ticket(option: u8, arrived: Time) -> TicketStamp {
    TicketStamp { option: OptionIndex(option), arrived }
}

fn before(time: Time, millis: u64) -> Time {
    time - Duration::from_millis(millis)
}

fn after(time: Time, millis: u64) -> Time {
    time + Duration::from_millis(millis)
}

impl Stage {
    fn apply(&mut self, number: u64, event: ShowEvent) {
        let number = EventNumber(number);
        let event = NumberedEvent { show: SHOW, number, decided_at: self.now, event };
        self.local.apply(&event).unwrap();
    }

    fn begin_closing(&mut self, number: u64, answer_by: Time) {
        let question = QuestionIndex(0);
        self.apply(
            number,
            ShowEvent::QuestionClosing {
                question,
                answer_by,
                close_after: answer_by,
                is_offered: true,
            },
        );
    }

    /// Behind the barrier, everybody at once.
    fn settle_all(&mut self) -> Vec<PlayerResult> {
        self.local.drained(SHOW, ShardId(0), QuestionIndex(0));
        self.local.settle_slice(SHOW, usize::MAX).results
    }
}

#[test]
fn a_late_repeat_that_overtook_the_answer_in_time_gives_way_to_it() {
    for closing in [false, true] {
        let (mut stage, QuestionOpening { answer_by, .. }) = asked();
        if closing {
            stage.begin_closing(4, answer_by);
        }
        let late = after(answer_by, 1);
        assert_eq!(stage.answer_at(ALICE, 0, late, None), AnswerOutcome::Deferred);
        assert_eq!(stage.answer_at(ALICE, 0, after(late, 1), None), AnswerOutcome::StillDeferred);
        let outcome = stage.answer_at(ALICE, 0, answer_by, None);
        assert!(matches!(outcome, AnswerOutcome::Recorded(_)), "{outcome:?}");
        assert_eq!(stage.verdict(ALICE), Some(Verdict::Passed));
        assert_eq!(stage.replica().tally().counts.answered, 1);
    }
}

#[test]
fn another_option_does_not_replace_a_late_answer_on_record() {
    let (mut stage, QuestionOpening { answer_by, .. }) = asked();
    assert_eq!(stage.answer_at(ALICE, 1, after(answer_by, 1), None), AnswerOutcome::Deferred);
    // Given after that, on a shard whose stamp favours it.
    assert_eq!(stage.answer_at(ALICE, 0, answer_by, None), AnswerOutcome::StillDeferred);
    stage.begin_closing(4, answer_by);
    stage.settle_all();
    let record = stage.replica().record(ALICE, stage.local.users()).unwrap();
    assert_eq!(record.answer, Some((OptionIndex(1), after(answer_by, 1))));
    assert_eq!(record.verdict, Some(Verdict::Out(Failing::Late)));
}

#[test]
fn a_ticket_does_not_bind_what_arrived_before_it() {
    let (mut stage, QuestionOpening { question, answer_by, .. }) = asked();
    let stamp = before(answer_by, 500);
    assert!(stage.local.ticket_issued(SHOW, ALICE, question, ticket(1, stamp)));
    let later = stage.answer_at(ALICE, 0, after(stamp, 1), None);
    assert_eq!(later, AnswerOutcome::Refused(RefusalReason::AnswerBound));
    recorded(stage.answer_at(ALICE, 0, before(stamp, 1), None));
    assert_eq!(stage.verdict(ALICE), Some(Verdict::Passed));
    // What is on record stays, whatever ticket comes for something earlier.
    assert!(stage.local.ticket_issued(SHOW, ALICE, question, ticket(2, before(stamp, 2))));
    let redeemed = stage.answer_at(ALICE, 2, stamp, Some(ticket(2, before(stamp, 2))));
    assert!(matches!(redeemed, AnswerOutcome::Repeated(_)), "{redeemed:?}");
}

#[test]
fn of_two_tickets_the_earlier_binds_in_whatever_order_they_come() {
    for order in [[0, 1], [1, 0]] {
        let (mut stage, QuestionOpening { question, answer_by, .. }) = asked();
        let tickets = [ticket(0, before(answer_by, 500)), ticket(1, before(answer_by, 400))];
        for place in order {
            stage.local.ticket_issued(SHOW, ALICE, question, tickets[place]);
        }
        let later = stage.answer_at(ALICE, 1, answer_by, Some(tickets[1]));
        assert_eq!(later, AnswerOutcome::Refused(RefusalReason::AnswerBound), "{order:?}");
        recorded(stage.answer_at(ALICE, 0, answer_by, Some(tickets[0])));
    }
}

#[test]
fn a_ticket_for_nobody_or_nothing_is_said_to_be_so() {
    let (mut stage, QuestionOpening { question, answer_by, .. }) = asked();
    assert!(!stage.local.ticket_issued(SHOW, UserId(9), question, ticket(0, answer_by)));
    assert!(!stage.local.ticket_issued(SHOW, ALICE, QuestionIndex(1), ticket(0, answer_by)));
    assert!(!stage.local.ticket_issued(SHOW, ALICE, question, ticket(3, answer_by)));
}

#[test]
fn a_join_counts_by_its_moment_and_not_by_its_slice() {
    let (mut stage, QuestionOpening { answer_by, .. }) = asked();
    let [in_time, too_late] = [UserId(3), UserId(4)];
    let join = |stage: &mut Stage, user, since| stage.local.join(SHOW, user, since).unwrap();
    // While the question is open by what is known here, and while it is closing.
    join(&mut stage, too_late, after(answer_by, 1));
    stage.begin_closing(4, answer_by);
    join(&mut stage, in_time, answer_by);
    join(&mut stage, UserId(5), after(answer_by, 1));
    stage.settle_all();
    assert_eq!(stage.standing(in_time), Standing::InPlay);
    assert_eq!(stage.verdict(in_time), Some(Verdict::Out(Failing::Unreachable)));
    for user in [too_late, UserId(5)] {
        assert_eq!(stage.standing(user), Standing::Spectator);
        assert_eq!(stage.verdict(user), None);
    }
}

#[test]
fn a_join_within_an_extension_that_is_not_known_yet_counts() {
    let (mut stage, QuestionOpening { question, show_by, answer_by, .. }) = asked();
    for (user, millis) in [(UserId(3), 100), (UserId(4), 600)] {
        stage.local.join(SHOW, user, after(answer_by, millis)).unwrap();
        assert_eq!(stage.standing(user), Standing::Spectator);
        let early = stage.answer_at(user, 0, after(answer_by, millis), None);
        assert_eq!(early, AnswerOutcome::Ahead, "nothing is refused before it is known to be late");
    }
    let stamp = after(answer_by, 100);
    let answer_by = after(answer_by, 500);
    stage.apply(4, ShowEvent::QuestionExtended { question, show_by, answer_by });
    assert_eq!(stage.standing(UserId(3)), Standing::InPlay);
    assert_eq!(stage.standing(UserId(4)), Standing::Spectator);
    assert_eq!(stage.replica().tally().in_play, 3);
    recorded(stage.answer_at(UserId(3), 0, stamp, None));
    stage.begin_closing(5, answer_by);
    let refused = stage.answer_at(UserId(4), 0, after(answer_by, 100), None);
    assert_eq!(refused, AnswerOutcome::Refused(RefusalReason::Spectator));
}

#[test]
fn a_session_that_was_over_before_its_join_was_taken_up_was_offered_the_question() {
    let (mut stage, QuestionOpening { show_at, show_by, answer_by, .. }) = asked();
    let cases = [
        (UserId(3), show_at, show_by, Failing::Silent),
        (UserId(4), before(show_at, 200), before(show_at, 200), Failing::Unreachable),
        (UserId(5), after(show_by, 1), answer_by, Failing::Unreachable),
    ];
    for (user, since, until, _) in cases {
        stage.local.join(SHOW, user, since).unwrap();
        stage.local.visited(SHOW, user, ShardId(0), since, until);
    }
    stage.begin_closing(4, answer_by);
    stage.settle_all();
    for (user, _, _, failing) in cases {
        assert_eq!(stage.verdict(user), Some(Verdict::Out(failing)), "{user}");
    }
}

#[test]
fn a_winner_who_repeats_the_last_answer_gets_the_same_reply_to_the_end() {
    let mut stage = Stage::with_two();
    for correct in [0, 1, 2] {
        stage.question(&[(ALICE, correct), (BOB, correct)]);
    }
    stage.question(&[(ALICE, 0), (BOB, 1)]);
    let sealed = stage.local.snapshot(SHOW, ALICE).unwrap().recorded_result.unwrap();
    stage.order(Command::Settle);
    let step = |stage: &mut Stage| {
        for user in [ALICE, BOB] {
            let seen = stage.local.snapshot(SHOW, user).unwrap().recorded_result.unwrap();
            assert_eq!(stage.answer(user, 1), AnswerOutcome::Repeated(seen));
        }
        assert_eq!(stage.answer(ALICE, 0), AnswerOutcome::Repeated(sealed));
    };
    step(&mut stage);
    stage.work();
    step(&mut stage);
    stage.carry();
    stage.work();
    step(&mut stage);
    assert_eq!((stage.standing(ALICE), stage.standing(BOB)), (Standing::Winner, Standing::Out));
    assert_eq!(stage.local.balance(ALICE), Cents(100_003));
}

#[test]
fn cards_that_voids_give_back_on_top_of_the_most_are_not_lost() {
    let mut stage = Stage::with_two();
    for _ in 0..REVIVE_CARDS_MAX {
        stage.local.grant_card(ALICE).unwrap();
    }
    stage.question(&[(ALICE, 1), (BOB, 0)]);
    assert_eq!(stage.local.grant_card(ALICE), Ok(REVIVE_CARDS_MAX));
    stage.order(Command::Void);
    assert_eq!(stage.local.visible_cards(ALICE), REVIVE_CARDS_MAX + 1);
    assert_eq!(stage.local.grant_card(ALICE), Err(GrantError::TooMany { user: ALICE }));
}

#[test]
fn one_bucket_does_not_settle_everybody_in_one_turn() {
    let placement = Placement::new(PlacementKey([5; 16]), 1, 1);
    let mut stage = Stage::on(placement);
    for user in (1..=100).map(UserId) {
        stage.local.join(SHOW, user, stage.now).unwrap();
    }
    stage.order(Command::Publish);
    stage.pass(100);
    stage.pass(3_000);
    stage.local.drained(SHOW, ShardId(0), QuestionIndex(0));
    for slice in 1..=10 {
        let progress = stage.local.settle_slice(SHOW, 10);
        assert_eq!((progress.results.len(), progress.more), (10, slice < 10));
    }
}

#[test]
fn the_last_reveal_stays_known_until_its_question_is_void() {
    let mut stage = Stage::with_two();
    assert_eq!(stage.replica().last_reveal(), None);
    stage.question(&[(ALICE, 0), (BOB, 0)]);
    let first = stage.replica().last_reveal().unwrap().clone();
    assert_eq!(first.question, QuestionIndex(0));
    stage.order(Command::Publish);
    stage.order(Command::Void);
    assert_eq!(stage.replica().last_reveal(), Some(&first));
    stage.question(&[(ALICE, 2), (BOB, 2)]);
    assert_eq!(stage.replica().last_reveal().unwrap().question, QuestionIndex(2));
    stage.order(Command::Void);
    assert_eq!(stage.replica().last_reveal(), None);
}
