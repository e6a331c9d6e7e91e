mod races;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::entropy::SeededEntropy;
use crate::base::hash::{Placement, PlacementKey};
use crate::base::ids::ShowId;
use crate::base::limits::REVIVE_CARDS_MAX;
use crate::quiz::director::{Command, Director};
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::judge::RefusalReason;
use crate::quiz::local::{ExpiryError, GrantError, LocalQuiz};
use crate::quiz::money::Cents;
use crate::quiz::replica::snapshot::Standing;
use crate::quiz::report::Report;
use crate::quiz::seal::SealedResult;
use crate::quiz::tests::world::{SHOW, Setup};
use crate::quiz::verdict::{Failing, Verdict};

const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);

/// A show on the one shard of a process, its director at hand.
struct Stage {
    local: LocalQuiz,
    director: Director,
    now: Time,
    entropy: SeededEntropy,
    last: Vec<NumberedEvent>,
}

impl Stage {
    fn new() -> Stage {
        Stage::on(Setup::new(1, 1).placement())
    }

    fn on(placement: Placement) -> Stage {
        let setup = Setup::new(1, 1);
        let bucket_count = placement.bucket_count();
        let mut stage = Stage {
            local: LocalQuiz::new(ShardId(0), placement),
            director: Director::new(Arc::new(setup.definition()), 1, bucket_count, Time::ZERO),
            now: Time::ZERO,
            entropy: SeededEntropy::new(1, 1),
            last: Vec::new(),
        };
        stage.carry();
        stage.order(Command::OpenLobby);
        stage
    }

    /// Alice and Bob are there, connected.
    fn with_two() -> Stage {
        let mut stage = Stage::new();
        for user in [ALICE, BOB] {
            stage.local.join(SHOW, user, stage.now).unwrap();
            stage.local.present(SHOW, user, ShardId(0), stage.now);
        }
        stage
    }

    fn carry(&mut self) {
        self.last = self.director.take_events();
        for event in &self.last {
            self.local.apply(event).unwrap();
            self.director.acknowledged(self.now, ShardId(0), event.number, self.now);
        }
    }

    fn order(&mut self, command: Command) {
        self.director.command(self.now, command, &mut self.entropy).unwrap();
        self.carry();
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.director.due(self.now);
        self.carry();
    }

    fn replica(&self) -> &ShowReplica {
        self.local.show(SHOW).unwrap()
    }

    fn answer(&mut self, user: UserId, option: u8) -> AnswerOutcome {
        let arrived = self.now;
        self.answer_at(user, option, arrived, None)
    }

    fn answer_at(
        &mut self,
        user: UserId,
        option: u8,
        arrived: Time,
        ticket: Option<TicketStamp>,
    ) -> AnswerOutcome {
        let question = QuestionIndex(u16_of(self.replica().voided.len().saturating_sub(1)));
        let sender_applied = self.replica().last_event();
        let option = OptionIndex(option);
        let input = AnswerInput { question, option, arrived, ticket, sender_applied };
        self.local.answer(SHOW, user, &input)
    }

    /// Drains and settles; returns what was pushed.
    fn settle(&mut self) -> Vec<PlayerResult> {
        let question = self.replica().must_drain().unwrap();
        self.local.drained(SHOW, ShardId(0), question);
        let pushed = self.work();
        self.carry();
        pushed
    }

    fn work(&mut self) -> Vec<PlayerResult> {
        let mut pushed = Vec::new();
        loop {
            let progress = self.local.settle_slice(SHOW, 1);
            pushed.extend(progress.results);
            match progress.report {
                Some(Report::Closed(summary)) => self.director.closed(self.now, summary),
                Some(Report::Frozen(summary)) => self.director.frozen(self.now, summary),
                Some(Report::Paid(summary)) => self.director.paid(summary),
                Some(Report::Rain(summary)) => self.director.rain_reported(self.now, summary),
                None => {}
            }
            if !progress.more {
                return pushed;
            }
        }
    }

    fn verdict(&self, user: UserId) -> Option<Verdict> {
        self.replica().record(user, self.local.users()).and_then(|record| record.verdict)
    }

    fn standing(&self, user: UserId) -> Standing {
        self.local.snapshot(SHOW, user).unwrap().standing
    }

    /// Publishes, lets the given users answer, and closes and reveals.
    fn question(&mut self, answers: &[(UserId, u8)]) {
        self.order(Command::Publish);
        self.pass(600);
        for (user, option) in answers {
            assert!(matches!(self.answer(*user, *option), AnswerOutcome::Recorded(_)));
        }
        self.pass(3_000);
        self.settle();
        self.order(Command::Reveal);
    }
}

fn recorded(outcome: AnswerOutcome) -> SealedResult {
    let AnswerOutcome::Recorded(sealed) = outcome else { panic!("{outcome:?}") };
    sealed
}

#[test]
fn events_apply_once_and_without_gaps() {
    let mut stage = Stage::new();
    let lobby = stage.last[0].clone();
    assert_eq!(stage.local.apply(&lobby), Ok(Applied::Repeated));
    let mut gap = lobby.clone();
    gap.number = EventNumber(4);
    let error = ApplyError::Gap { show: SHOW, expected: EventNumber(3), got: EventNumber(4) };
    assert_eq!(stage.local.apply(&gap), Err(error));
    let mut impossible = lobby;
    impossible.number = EventNumber(3);
    let error = stage.local.apply(&impossible).unwrap_err();
    assert_eq!(
        error.to_string(),
        "show 77: step OpenLobby is impossible while lobby: director and replica disagree"
    );
    assert_eq!(stage.replica().last_event(), EventNumber(2));
    assert_eq!(stage.replica().phase(), Phase::Lobby);
}

#[test]
fn an_event_about_another_question_is_refused() {
    let mut stage = Stage::new();
    stage.director.command(stage.now, Command::Publish, &mut stage.entropy).unwrap();
    let mut events = stage.director.take_events();
    let ShowEvent::QuestionOpened(opening) = &mut events[0].event else { panic!() };
    opening.question = QuestionIndex(1);
    let error = ApplyError::Question { show: SHOW, got: QuestionIndex(1) };
    assert_eq!(stage.local.apply(&events[0]), Err(error));
}

#[test]
fn the_first_well_formed_answer_binds_and_repeats_get_the_same_bytes() {
    let mut stage = Stage::with_two();
    stage.order(Command::Publish);
    stage.pass(600);
    assert_eq!(stage.answer(ALICE, 3), AnswerOutcome::Refused(RefusalReason::NoSuchOption));
    let sealed = recorded(stage.answer(ALICE, 1));
    for option in [1, 0, 2, 200] {
        assert_eq!(stage.answer(ALICE, option), AnswerOutcome::Repeated(sealed));
    }
    stage.pass(3_000);
    assert_eq!(stage.answer(ALICE, 0), AnswerOutcome::Repeated(sealed));
    let pushed = stage.settle();
    assert_eq!(pushed.iter().map(|result| result.user).collect::<Vec<_>>(), [BOB]);
    assert_eq!(stage.answer(BOB, 0), AnswerOutcome::Repeated(pushed[0].sealed));
    stage.order(Command::Reveal);
    assert_eq!(stage.answer(ALICE, 0), AnswerOutcome::Repeated(sealed));
    assert_eq!(stage.local.snapshot(SHOW, ALICE).unwrap().recorded_result, Some(sealed));
    let counts = stage.replica().tally().counts;
    assert_eq!((counts.answered, counts.options[1], counts.silent), (1, 1, 1));
}

#[test]
fn who_may_not_answer_is_told_why() {
    let mut stage = Stage::with_two();
    let refused = AnswerOutcome::Refused;
    assert_eq!(stage.answer(ALICE, 0), refused(RefusalReason::NotCurrentQuestion));
    assert_eq!(stage.answer(UserId(9), 0), refused(RefusalReason::NotJoined));
    stage.question(&[(ALICE, 0), (BOB, 1)]);
    stage.local.join(SHOW, UserId(3), stage.now).unwrap();
    stage.order(Command::Publish);
    stage.pass(600);
    assert_eq!(stage.answer(BOB, 1), refused(RefusalReason::Out));
    assert_eq!(stage.answer(UserId(3), 1), refused(RefusalReason::Spectator));
    let earlier = AnswerInput {
        question: QuestionIndex(0),
        option: OptionIndex(0),
        arrived: stage.now,
        ticket: None,
        sender_applied: EventNumber(1),
    };
    let outcome = stage.local.answer(SHOW, ALICE, &earlier);
    assert_eq!(outcome, refused(RefusalReason::NotCurrentQuestion));
    let ahead = AnswerInput { sender_applied: EventNumber(99), ..earlier };
    assert_eq!(stage.local.answer(SHOW, ALICE, &ahead), AnswerOutcome::Ahead);
    assert!(stage.local.is_behind(SHOW, EventNumber(99)));
    assert_eq!(stage.local.answer(ShowId(5), ALICE, &ahead), AnswerOutcome::Ahead);
    let unknown = AnswerInput { sender_applied: EventNumber(0), ..earlier };
    let outcome = stage.local.answer(ShowId(5), ALICE, &unknown);
    assert_eq!(outcome, refused(RefusalReason::NoSuchShow));
    stage.order(Command::Void);
    assert_eq!(stage.answer(ALICE, 1), refused(RefusalReason::QuestionVoided));
    stage.order(Command::Cancel);
    assert_eq!(stage.answer(ALICE, 1), refused(RefusalReason::ShowEnded));
}

#[test]
fn a_ticket_binds_the_option_and_is_judged_by_its_stamp() {
    let mut stage = Stage::with_two();
    stage.order(Command::Publish);
    stage.pass(600);
    let stamp = |option, arrived| Some(TicketStamp { option: OptionIndex(option), arrived });
    let first = stage.now;
    for option in [0, 2] {
        let ticket = TicketStamp { option: OptionIndex(option), arrived: first };
        assert!(stage.local.ticket_issued(SHOW, ALICE, QuestionIndex(0), ticket));
    }
    let bound = AnswerOutcome::Refused(RefusalReason::AnswerBound);
    assert_eq!(stage.answer(ALICE, 1), bound);
    assert_eq!(stage.answer_at(ALICE, 2, first, stamp(2, first)), bound);
    assert_eq!(stage.answer_at(BOB, 1, first, stamp(0, first)), bound);
    // 400 ms after `answer_by`, within the life of tickets.
    stage.pass(2_300);
    let late = stage.now;
    recorded(stage.answer_at(ALICE, 0, late, stamp(0, first)));
    assert_eq!(stage.verdict(ALICE), Some(Verdict::Passed));
    let record = stage.replica().record(ALICE, stage.local.users()).unwrap();
    assert_eq!(record.answer, Some((OptionIndex(0), first)));
    assert!(record.by_ticket);
    assert_eq!(stage.replica().tally().counts.by_ticket, 1);
}

#[test]
fn silence_waits_for_the_drained_mark_of_every_shard() {
    let setup = Setup::new(1, 3);
    let placement = setup.placement();
    let definition = Arc::new(setup.definition());
    let mut director = Director::new(definition, 3, placement.bucket_count(), Time::ZERO);
    let mut local = LocalQuiz::new(ShardId(0), placement);
    let user = (1..).map(UserId).find(|user| placement.user_home(*user) == ShardId(0)).unwrap();
    let mut entropy = SeededEntropy::new(1, 1);
    for command in [Command::OpenLobby, Command::Publish] {
        director.command(Time::ZERO, command, &mut entropy).unwrap();
    }
    let opened = director.take_events();
    for event in &opened {
        local.apply(event).unwrap();
    }
    local.join(SHOW, user, Time::ZERO).unwrap();
    for shard in ShardId::all(3) {
        director.acknowledged(Time::ZERO, shard, EventNumber(3), Time::ZERO);
    }
    // All three drain, but this shard has not heard of the closing: nothing happens.
    let question = QuestionIndex(0);
    for from in [ShardId(1), ShardId(2)] {
        local.drained(SHOW, from, question);
    }
    assert_eq!(local.settle_slice(SHOW, 100), SliceProgress::default());
    director.due(director.deadline().unwrap());
    for event in director.take_events() {
        local.apply(&event).unwrap();
    }
    assert_eq!(local.show(SHOW).unwrap().must_drain(), Some(question));
    // One mark is missing, and a repeated one does not stand in for it.
    local.drained(SHOW, ShardId(1), question);
    assert_eq!(local.settle_slice(SHOW, 100), SliceProgress::default());
    local.drained(SHOW, ShardId(0), question);
    let progress = local.settle_slice(SHOW, usize::MAX);
    assert_eq!(progress.results.len(), 1);
    assert!(matches!(progress.report, Some(Report::Closed(_))));
    assert_eq!(local.settle_slice(SHOW, 100), SliceProgress::default(), "the report comes once");
}

/// An answer behind the `answer_by` that this shard knows waits: an extension may be on its way.
#[test]
fn an_extension_that_overtakes_nothing_still_counts_for_who_answered_in_it() {
    let mut stage = Stage::with_two();
    stage.order(Command::Publish);
    let opened = stage.last[0].clone();
    let ShowEvent::QuestionOpened(opening) = &opened.event else { panic!() };
    let arrived = opening.answer_by + Duration::from_millis(400);
    assert_eq!(stage.answer_at(ALICE, 0, arrived, None), AnswerOutcome::Deferred);
    assert_eq!(stage.answer_at(ALICE, 1, arrived, None), AnswerOutcome::StillDeferred);
    let later = arrived + Duration::from_millis(400);
    assert_eq!(stage.answer_at(BOB, 0, later, None), AnswerOutcome::Deferred);
    let answer_by = arrived + Duration::from_millis(100);
    let event = |number, event| NumberedEvent {
        show: SHOW,
        number: EventNumber(number),
        decided_at: stage.now,
        event,
    };
    let question = QuestionIndex(0);
    let show_by = opening.show_by;
    let extended = event(4, ShowEvent::QuestionExtended { question, show_by, answer_by });
    let close_after = answer_by;
    let closing = ShowEvent::QuestionClosing { question, answer_by, close_after, is_offered: true };
    let closing = event(5, closing);
    stage.local.apply(&extended).unwrap();
    assert_eq!(stage.replica().open_question().unwrap().answer_by, answer_by);
    stage.local.apply(&closing).unwrap();
    stage.local.drained(SHOW, ShardId(0), question);
    let pushed = stage.local.settle_slice(SHOW, usize::MAX).results;
    assert_eq!(pushed.len(), 2);
    assert_eq!(stage.verdict(ALICE), Some(Verdict::Passed));
    assert_eq!(stage.verdict(BOB), Some(Verdict::Out(Failing::Late)));
}

#[test]
fn who_had_a_connection_by_the_latest_display_is_silent_not_unreachable() {
    // (present, absent) in ms after the publish; the question is shown by 500 ms, and open for
    // 2,500 ms.
    let cases: [(Option<u64>, Option<u64>, Failing); 10] = [
        (None, None, Failing::Unreachable),
        (Some(0), None, Failing::Silent),
        (Some(100), Some(200), Failing::Silent),
        (Some(500), None, Failing::Silent),
        (Some(501), None, Failing::Unreachable),
        (Some(600), Some(700), Failing::Unreachable),
        (Some(2_400), None, Failing::Unreachable),
        (Some(2_600), None, Failing::Unreachable),
        (Some(0), Some(0), Failing::Unreachable),
        (Some(0), Some(2_900), Failing::Silent),
    ];
    for (present, absent, failing) in cases {
        let mut stage = Stage::new();
        stage.local.join(SHOW, ALICE, stage.now).unwrap();
        stage.pass(1_000);
        let start = stage.now;
        if present == Some(0) {
            stage.local.present(SHOW, ALICE, ShardId(0), start - Duration::from_millis(500));
        }
        stage.order(Command::Publish);
        let after = |millis| start + Duration::from_millis(millis);
        if let Some(millis) = present.filter(|millis| *millis > 0) {
            stage.local.present(SHOW, ALICE, ShardId(0), after(millis));
        }
        if let Some(millis) = absent {
            stage.local.absent(SHOW, ALICE, after(millis));
        }
        stage.pass(3_200);
        stage.settle();
        let verdict = stage.verdict(ALICE);
        assert_eq!(verdict, Some(Verdict::Out(failing)), "{present:?} {absent:?}");
    }
}

#[test]
fn the_offer_on_record_is_the_first_one() {
    let mut stage = Stage::new();
    stage.local.join(SHOW, ALICE, stage.now).unwrap();
    stage.local.present(SHOW, ALICE, ShardId(0), Time::ZERO);
    stage.pass(1_000);
    let opened_at = stage.now;
    stage.order(Command::Publish);
    stage.pass(300);
    let now = stage.now;
    stage.local.absent(SHOW, ALICE, now);
    stage.local.present(SHOW, ALICE, ShardId(0), now + Duration::from_millis(200));
    stage.pass(3_000);
    stage.settle();
    let record = stage.replica().record(ALICE, stage.local.users()).unwrap();
    assert_eq!(record.offered, Some((opened_at, ShardId(0))));
}

#[test]
fn a_card_is_used_once_and_hidden_until_the_reveal() {
    let mut stage = Stage::with_two();
    for _ in 0..2 {
        stage.local.grant_card(ALICE).unwrap();
    }
    stage.order(Command::Publish);
    stage.pass(600);
    recorded(stage.answer(ALICE, 1));
    assert_eq!(stage.verdict(ALICE), Some(Verdict::Revived(Failing::Wrong)));
    let place = stage.local.users().find(ALICE).unwrap();
    assert_eq!(stage.local.users().entry(place).cards, 1);
    assert_eq!(stage.local.visible_cards(ALICE), 2);
    stage.pass(3_000);
    stage.settle();
    assert_eq!(stage.local.snapshot(SHOW, ALICE).unwrap().cards, 2);
    stage.order(Command::Reveal);
    assert_eq!(stage.local.snapshot(SHOW, ALICE).unwrap().cards, 1);
    assert_eq!(stage.standing(ALICE), Standing::InPlay);
    assert_eq!(stage.standing(BOB), Standing::Out);
    stage.question(&[(ALICE, 0)]);
    assert_eq!(stage.standing(ALICE), Standing::Out, "the second card does not help");
    assert_eq!(stage.local.visible_cards(ALICE), 1);
}

#[test]
fn one_card_is_not_spent_in_two_shows_at_once() {
    let mut stage = Stage::with_two();
    let mut definition = Setup::new(1, 1).definition();
    definition.id = ShowId(78);
    let bucket_count = Setup::new(1, 1).placement().bucket_count();
    let mut other = Director::new(Arc::new(definition), 1, bucket_count, Time::ZERO);
    for command in [Command::OpenLobby, Command::Publish] {
        other.command(stage.now, command, &mut stage.entropy).unwrap();
    }
    for event in other.take_events() {
        stage.local.apply(&event).unwrap();
    }
    stage.local.join(ShowId(78), ALICE, stage.now).unwrap();
    stage.local.grant_card(ALICE).unwrap();
    stage.order(Command::Publish);
    stage.pass(600);
    recorded(stage.answer(ALICE, 1));
    let input = AnswerInput {
        question: QuestionIndex(0),
        option: OptionIndex(1),
        arrived: stage.now,
        ticket: None,
        sender_applied: EventNumber(3),
    };
    recorded(stage.local.answer(ShowId(78), ALICE, &input));
    let there = stage.local.show(ShowId(78)).unwrap();
    let record = there.record(ALICE, stage.local.users()).unwrap();
    assert_eq!(stage.verdict(ALICE), Some(Verdict::Revived(Failing::Wrong)));
    assert_eq!(record.verdict, Some(Verdict::Out(Failing::Wrong)));
    assert_eq!(stage.local.visible_cards(ALICE), 1, "neither show is revealed");
}

#[test]
fn a_refused_grant_does_not_tell_of_a_secretly_spent_card() {
    let mut stage = Stage::with_two();
    for count in 1..=REVIVE_CARDS_MAX {
        assert_eq!(stage.local.grant_card(ALICE), Ok(count));
    }
    stage.order(Command::Publish);
    stage.pass(600);
    recorded(stage.answer(ALICE, 1));
    assert_eq!(stage.local.grant_card(ALICE), Err(GrantError::TooMany { user: ALICE }));
    stage.order(Command::Void);
    assert_eq!(stage.local.visible_cards(ALICE), REVIVE_CARDS_MAX);
}

#[test]
fn cards_expire_only_where_no_verdict_depends_on_it_or_would_be_told() {
    let mut stage = Stage::with_two();
    for _ in 0..4 {
        stage.local.grant_card(ALICE).unwrap();
    }
    for user in [BOB, UserId(99)] {
        assert_eq!(stage.local.expire_cards(user, 1), Err(ExpiryError::NoCard { user }));
    }
    assert_eq!(stage.local.expire_cards(ALICE, 1), Ok(1));
    stage.order(Command::Publish);
    stage.pass(600);
    recorded(stage.answer(ALICE, 1));
    recorded(stage.answer(BOB, 1));
    // Whether one is spent, or there is none: the refusal is the same, until nothing is undone any more.
    let refused = |stage: &mut Stage| {
        for user in [ALICE, BOB] {
            let error = ExpiryError::InShow { user, show: SHOW };
            assert_eq!(stage.local.expire_cards(user, 9), Err(error));
        }
    };
    refused(&mut stage);
    stage.pass(3_000);
    stage.settle();
    for command in [Command::Pause, Command::Resume, Command::Reveal, Command::Void] {
        refused(&mut stage);
        stage.order(command);
    }
    refused(&mut stage);
    assert_eq!(stage.local.visible_cards(ALICE), 3, "the one that was spent came back");
    stage.order(Command::Cancel);
    assert_eq!(stage.local.expire_cards(BOB, 9), Err(ExpiryError::NoCard { user: BOB }));
    assert_eq!(stage.local.expire_cards(ALICE, 2), Ok(2));
    assert!(!stage.local.redo_expiry(ALICE, 2), "it has one");
    assert_eq!(stage.local.expire_cards(ALICE, u8::MAX), Ok(1));
    assert_eq!(stage.local.visible_cards(ALICE), 0);
}

#[test]
fn the_last_question_neither_uses_nor_consumes_a_card() {
    let mut stage = Stage::with_two();
    stage.local.grant_card(ALICE).unwrap();
    for correct in [0, 1, 2] {
        stage.question(&[(ALICE, correct), (BOB, correct)]);
    }
    assert!(!stage.replica().current_question().unwrap().last);
    stage.question(&[(ALICE, 1), (BOB, 0)]);
    assert!(stage.replica().current_question().unwrap().last);
    assert_eq!((stage.standing(ALICE), stage.standing(BOB)), (Standing::Out, Standing::InPlay));
    assert_eq!(stage.local.visible_cards(ALICE), 1);
    stage.order(Command::Settle);
    stage.work();
    stage.carry();
    stage.work();
    assert_eq!(stage.standing(BOB), Standing::Winner);
    assert_eq!(stage.local.balance(BOB), Cents(100_003));
    assert_eq!(stage.local.snapshot(SHOW, ALICE).unwrap().prize, Some(Cents::ZERO));
}

#[test]
fn a_record_is_new_only_beyond_the_best_before() {
    let mut stage = Stage::with_two();
    let place = stage.local.users().find(ALICE).unwrap();
    stage.local.users_mut().entry_mut(place).best_passed = 1;
    stage.question(&[(ALICE, 0), (BOB, 0)]);
    assert_eq!(stage.replica().tally().counts.new_records, 1, "Bob's first");
    stage.question(&[(ALICE, 1), (BOB, 1)]);
    assert_eq!(stage.replica().tally().counts.new_records, 2);
    // What counts as passed is history once the next question is open and touched.
    stage.question(&[(ALICE, 2), (BOB, 2)]);
    assert_eq!(stage.local.users().entry(place).best_passed, 2);
}

#[test]
fn a_card_that_came_after_the_answer_does_not_help_when_it_is_judged_again() {
    let mut stage = Stage::with_two();
    stage.question(&[(ALICE, 0), (BOB, 1)]);
    stage.local.grant_card(ALICE).unwrap();
    let (question, correct) = (QuestionIndex(0), OptionIndex(1));
    stage.order(Command::Rejudge { question, correct, confirm: true });
    stage.work();
    assert_eq!(stage.verdict(ALICE), Some(Verdict::Out(Failing::Wrong)));
    assert_eq!(stage.local.visible_cards(ALICE), 1);
}

#[test]
fn a_void_of_the_first_question_lets_latecomers_play() {
    let mut stage = Stage::with_two();
    stage.question(&[(ALICE, 0), (BOB, 1)]);
    stage.local.join(SHOW, UserId(3), stage.now).unwrap();
    stage.local.present(SHOW, UserId(3), ShardId(0), stage.now);
    assert_eq!(stage.standing(UserId(3)), Standing::Spectator);
    assert_eq!(stage.standing(BOB), Standing::Out);
    stage.order(Command::Void);
    for user in [ALICE, BOB, UserId(3)] {
        assert_eq!(stage.standing(user), Standing::InPlay);
        let snapshot = stage.local.snapshot(SHOW, user).unwrap();
        assert_eq!((snapshot.question, snapshot.last_revealed), (None, None));
    }
    assert_eq!(stage.replica().tally().in_play, 3);
    stage.question(&[(ALICE, 1), (BOB, 1), (UserId(3), 1)]);
    assert_eq!(stage.replica().tally().in_play, 3);
}

#[test]
fn a_show_of_voids_has_no_winner() {
    let mut stage = Stage::with_two();
    for _ in 0..4 {
        stage.order(Command::Publish);
        stage.order(Command::Void);
    }
    stage.order(Command::Settle);
    stage.work();
    stage.carry();
    let settlement = *stage.replica().settlement().unwrap();
    assert_eq!((settlement.winners, settlement.remainder), (0, settlement.pool));
    assert_eq!(stage.standing(ALICE), Standing::InPlay);
}

#[test]
fn a_corrected_key_moves_cards_and_gives_changed_results_a_new_nonce() {
    let mut stage = Stage::with_two();
    stage.local.join(SHOW, UserId(3), stage.now).unwrap();
    for user in [ALICE, BOB] {
        stage.local.grant_card(user).unwrap();
    }
    stage.question(&[(ALICE, 0), (BOB, 1), (UserId(3), 2)]);
    let before: Vec<_> = [ALICE, BOB, UserId(3)]
        .map(|user| stage.local.snapshot(SHOW, user).unwrap().recorded_result.unwrap())
        .into();
    let (question, correct) = (QuestionIndex(0), OptionIndex(1));
    stage.order(Command::Rejudge { question, correct, confirm: true });
    let pushed = stage.work();
    stage.carry();
    assert_eq!(stage.replica().phase(), Phase::Revealed);
    assert_eq!(stage.verdict(ALICE), Some(Verdict::Revived(Failing::Wrong)));
    assert_eq!(stage.verdict(BOB), Some(Verdict::Passed));
    assert_eq!(stage.verdict(UserId(3)), Some(Verdict::Out(Failing::Wrong)));
    assert_eq!((stage.local.visible_cards(ALICE), stage.local.visible_cards(BOB)), (0, 1));
    assert_eq!(pushed.len(), 2);
    for result in pushed {
        assert!(before.iter().all(|sealed| sealed.nonce != result.sealed.nonce));
    }
    let unchanged = stage.local.snapshot(SHOW, UserId(3)).unwrap().recorded_result;
    assert_eq!(unchanged, Some(before[2]), "an unchanged result is the same to the byte");
    stage.order(Command::Void);
    assert_eq!((stage.local.visible_cards(ALICE), stage.local.visible_cards(BOB)), (1, 1));
}

#[test]
fn a_show_that_is_called_off_while_it_is_judged_again_treats_all_alike() {
    let mut stage = Stage::with_two();
    for user in [ALICE, BOB] {
        stage.local.grant_card(user).unwrap();
    }
    stage.question(&[(ALICE, 1), (BOB, 1)]);
    let (question, correct) = (QuestionIndex(0), OptionIndex(1));
    stage.order(Command::Rejudge { question, correct, confirm: true });
    let first = stage.local.settle_slice(SHOW, 1);
    assert!(first.results.len() == 1 && first.more, "one of two");
    stage.order(Command::Cancel);
    assert!(!stage.replica().has_work());
    for user in [ALICE, BOB] {
        assert_eq!(stage.verdict(user), Some(Verdict::Passed));
        assert_eq!(stage.local.visible_cards(user), 1, "the card of user {user} came back");
    }
    assert!(stage.replica().cards_of_cancelled(stage.local.users()).is_empty());
}

#[test]
fn slices_take_so_many_players_and_report_once() {
    let mut stage = Stage::new();
    for user in (1..200).map(UserId) {
        stage.local.join(SHOW, user, stage.now).unwrap();
    }
    stage.order(Command::Publish);
    stage.pass(100);
    stage.pass(3_000);
    stage.local.drained(SHOW, ShardId(0), QuestionIndex(0));
    let (mut slices, mut results, mut reports) = (0, 0, 0);
    while stage.replica().has_work() {
        let progress = stage.local.settle_slice(SHOW, 20);
        assert!(progress.results.len() <= 20, "a slice is as long as asked");
        assert_eq!(progress.more, progress.report.is_none());
        slices += 1;
        results += progress.results.len();
        reports += usize::from(progress.report.is_some());
    }
    assert!(slices > 5);
    assert_eq!((results, reports), (199, 1));
}
