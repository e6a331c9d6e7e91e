use std::time::Duration;

use super::*;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{OptionIndex, RainIndex};
use crate::quiz::rain::{RainCommand, RainEvent, RainSettings, RainSummary};
use crate::quiz::report::{ClosedSummary, QuestionCounts};
use crate::quiz::tests::world::Setup;
use expect_test::{Expect, expect};

const SHARDS: u16 = 2;

pub(super) fn millis(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// A director whose question opened at 0: shown by 500 ms, answered by 2,500 ms, closing at
/// 3,100 ms, extended by 2,000 ms at most.
pub(super) fn opened() -> Director {
    let definition = Arc::new(Setup::new(1, SHARDS).definition());
    let mut director = Director::new(definition, SHARDS, 24, Time::ZERO);
    for command in [Command::OpenLobby, Command::Publish] {
        order(&mut director, 0, command).unwrap();
    }
    director.take_events();
    director
}

fn order(
    director: &mut Director,
    at: u64,
    command: Command,
) -> Result<CommandOutcome, CommandError> {
    director.command(millis(at), command, &mut SeededEntropy::new(1, 1))
}

pub(super) fn acknowledge(director: &mut Director, shard: u16, applied_at: u64) {
    let now = millis(applied_at);
    director.acknowledged(now, ShardId(shard), EventNumber(3), now);
}

fn close(director: &mut Director, now: u64) {
    for shard in ShardId::all(SHARDS) {
        director.closed(millis(now), summary(shard));
    }
}

fn summary(shard: ShardId) -> ClosedSummary {
    let counts = QuestionCounts { options: [3, 2, 0, 0, 0, 0], ..QuestionCounts::default() };
    ClosedSummary { shard, question: QuestionIndex(0), revision: 0, in_play: 3, counts }
}

#[test]
fn a_question_closes_by_time_and_summaries() {
    let mut director = opened();
    assert_eq!(director.deadline(), Some(millis(500)));
    acknowledge(&mut director, 0, 10);
    acknowledge(&mut director, 1, 500);
    assert_eq!(director.deadline(), Some(millis(3_100)));
    director.due(millis(3_099));
    assert_eq!(director.phase(), Phase::Open);
    director.due(millis(3_100));
    assert_eq!(director.phase(), Phase::Closing);
    assert_eq!(director.deadline(), None);
    director.closed(millis(3_200), summary(ShardId(0)));
    director.closed(millis(3_200), summary(ShardId(0)));
    let stale = ClosedSummary { revision: 1, ..summary(ShardId(1)) };
    director.closed(millis(3_200), stale);
    assert_eq!(director.phase(), Phase::Closing, "one shard twice is not two shards");
    director.closed(millis(3_200), summary(ShardId(1)));
    assert_eq!(director.phase(), Phase::Closed);
    let events = director.take_events();
    let ShowEvent::QuestionClosed { counts, in_play, .. } = &events[1].event else {
        panic!("{events:?}")
    };
    assert_eq!((counts.options[0], *in_play), (6, 6));
    assert!(director.take_notices().is_empty());
}

#[test]
fn a_late_shard_extends_the_question_until_it_had_it_in_time() {
    let mut director = opened();
    acknowledge(&mut director, 0, 10);
    director.due(millis(500));
    let late = vec![ShardId(1)];
    let (question, show_by) = (QuestionIndex(0), millis(1_000));
    let notice = Notice::QuestionExtended { question, late, show_by };
    assert_eq!(director.take_notices(), [notice]);
    let answer_by = millis(3_000);
    let events = director.take_events();
    assert_eq!(events[0].event, ShowEvent::QuestionExtended { question, show_by, answer_by });
    acknowledge(&mut director, 1, 900);
    assert_eq!(director.deadline(), Some(millis(3_600)));
}

#[test]
fn a_question_that_is_not_offered_in_time_can_only_be_voided_or_cancelled() {
    let mut director = opened();
    acknowledge(&mut director, 0, 10);
    for at in [500, 1_000, 1_500, 2_000] {
        assert_eq!(director.deadline(), Some(millis(at)));
        director.due(millis(at));
    }
    director.due(millis(2_500));
    let late = vec![ShardId(1)];
    let needed = Notice::VoidNeeded { question: QuestionIndex(0), late };
    assert_eq!(director.take_notices().last(), Some(&needed));
    acknowledge(&mut director, 1, 2_600);
    director.due(millis(5_100));
    assert_eq!(director.phase(), Phase::Closing);
    close(&mut director, 5_200);
    assert_eq!(director.phase(), Phase::Closing);
    assert_eq!(director.allowed(), [CommandKind::Void, CommandKind::Cancel]);
    order(&mut director, 5_300, Command::Void).unwrap();
    assert_eq!(director.phase(), Phase::Voided);
    assert_eq!(director.next_question(), Some(QuestionIndex(1)));
}

#[test]
fn a_proof_that_comes_late_still_counts() {
    let mut director = opened();
    acknowledge(&mut director, 0, 10);
    for at in [500, 1_000, 1_500, 2_000, 2_500, 5_100] {
        director.due(millis(at));
    }
    close(&mut director, 5_200);
    assert_eq!(director.phase(), Phase::Closing);
    director.acknowledged(millis(5_300), ShardId(1), EventNumber(4), millis(400));
    assert_eq!(director.phase(), Phase::Closed);
    let question = QuestionIndex(0);
    assert_eq!(director.take_notices().last(), Some(&Notice::OfferedAfterAll { question }));
}

#[test]
fn an_acknowledgement_of_an_earlier_event_proves_nothing() {
    let mut director = opened();
    for shard in ShardId::all(SHARDS) {
        director.acknowledged(millis(10), shard, EventNumber(2), millis(10));
    }
    assert_eq!(director.deadline(), Some(millis(500)));
}

fn refused(director: &mut Director, at: u64, command: Command, expected: Expect) {
    let phase = director.phase();
    let error = order(director, at, command).unwrap_err();
    expected.assert_eq(&error.to_string());
    assert_eq!(director.phase(), phase);
    assert!(director.take_events().is_empty(), "a refused command decides nothing");
}

#[test]
fn refused_commands_say_what_is_possible() {
    let mut director = opened();
    refused(
        &mut director,
        0,
        Command::Reveal,
        expect!["reveal is not possible while the show is open; possible now: void, cancel"],
    );
    for shard in 0..SHARDS {
        acknowledge(&mut director, shard, 10);
    }
    director.due(millis(3_100));
    close(&mut director, 3_200);
    order(&mut director, 3_300, Command::Reveal).unwrap();
    director.take_events();
    refused(
        &mut director,
        3_400,
        Command::Settle,
        expect!["question 1 has not been asked: publish it, or cancel the show"],
    );
    let rejudge = |question, correct| Command::Rejudge {
        question: QuestionIndex(question),
        correct: OptionIndex(correct),
        confirm: true,
    };
    refused(
        &mut director,
        3_400,
        rejudge(1, 0),
        expect!["question 1 is not the one revealed last: earlier questions stand"],
    );
    refused(
        &mut director,
        3_400,
        rejudge(0, 3),
        expect!["question 0 has 3 options, counted from 0: there is no option 3"],
    );
    refused(
        &mut director,
        3_400,
        rejudge(0, 0),
        expect!["option 0 of question 0 counts as correct already"],
    );
    for _ in 1..4 {
        order(&mut director, 4_000, Command::Publish).unwrap();
        order(&mut director, 4_000, Command::Void).unwrap();
    }
    director.take_events();
    refused(
        &mut director,
        4_100,
        Command::Publish,
        expect!["the show has no question left: settle it"],
    );
    order(&mut director, 4_100, Command::Cancel).unwrap();
    director.take_events();
    refused(
        &mut director,
        4_200,
        Command::End,
        expect!["retry tickets can be redeemed until 7.100000 s: end the show after that"],
    );
    order(&mut director, 8_000, Command::End).unwrap();
    director.take_events();
    refused(
        &mut director,
        8_000,
        Command::Cancel,
        expect!["cancel is not possible while the show is ended; possible now: nothing"],
    );
}

#[test]
fn a_preview_shows_the_money_and_changes_nothing() {
    let mut director = opened();
    for shard in 0..SHARDS {
        acknowledge(&mut director, shard, 10);
    }
    director.due(millis(3_100));
    close(&mut director, 3_200);
    order(&mut director, 3_300, Command::Reveal).unwrap();
    director.take_events();
    let (question, correct) = (QuestionIndex(0), OptionIndex(1));
    let preview =
        order(&mut director, 3_400, Command::Rejudge { question, correct, confirm: false });
    let expected = RejudgePreview {
        question,
        correct_before: OptionIndex(0),
        correct_after: correct,
        in_play_before: 6,
        in_play_after: 4,
        per_head_before: Cents(16_667),
        per_head_after: Cents(25_000),
    };
    assert_eq!(preview, Ok(CommandOutcome::Preview(expected)));
    assert_eq!(director.phase(), Phase::Revealed);
    assert!(director.take_events().is_empty());
}

#[test]
fn keys_differ_by_question_and_purpose() {
    let mut director = opened();
    let mut entropy = SeededEntropy::new(9, 9);
    let mut keys = Vec::new();
    for _ in 1..4 {
        director.command(Time::ZERO, Command::Void, &mut entropy).unwrap();
        director.command(Time::ZERO, Command::Publish, &mut entropy).unwrap();
    }
    for numbered in director.take_events() {
        if let ShowEvent::QuestionOpened(opening) = numbered.event {
            keys.push(*opening.result_key.expose());
            keys.push(*opening.question_key.expose());
            assert_eq!(opening.show_by.since(opening.show_at), Duration::from_millis(300));
        }
    }
    assert_eq!(keys.len(), 6);
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 6);
}

fn rain(director: &mut Director, at: u64, command: RainCommand) -> Result<(), String> {
    let outcome = director.rain_command(millis(at), command, &mut SeededEntropy::new(1, 1));
    outcome.map_err(|error| error.to_string())
}

/// A rain has an end before its show has one, and every cent of the fund goes somewhere.
#[test]
fn a_show_waits_for_its_rains_and_closes_their_fund() {
    let definition = Arc::new(Setup::new(1, SHARDS).definition());
    let mut director = Director::new(definition, SHARDS, 24, Time::ZERO);
    let settings = RainSettings::new(Cents(100), 10, Duration::from_secs(5));
    let start = RainCommand::Start(RainIndex(0));
    for (command, expected) in [
        (
            RainCommand::Fund(Cents(-1)),
            expect![
                "-1 cents cannot be put into a fund that has 0: 1 cent to 10000000000000 in all"
            ],
        ),
        (
            RainCommand::Plan(settings),
            expect!["the show's fund has 0 cents, the rain needs 100: fund it first"],
        ),
        (start, expect!["the show has no rain 0; rains are counted from 0"]),
    ] {
        expected.assert_eq(&rain(&mut director, 0, command).unwrap_err());
    }
    rain(&mut director, 0, RainCommand::Fund(Cents(250))).unwrap();
    rain(&mut director, 0, RainCommand::Plan(settings)).unwrap();
    rain(&mut director, 0, RainCommand::Plan(settings)).unwrap();
    let early = rain(&mut director, 0, start).unwrap_err();
    expect!["the show is announced: rains fall from the lobby on and until the show is cancelled or ends"].assert_eq(&early);
    order(&mut director, 0, Command::OpenLobby).unwrap();
    rain(&mut director, 1_000, start).unwrap();
    assert_eq!(director.deadline(), Some(millis(6_000)));
    order(&mut director, 2_000, Command::Cancel).unwrap();
    assert_eq!(order(&mut director, 2_000, Command::End), Err(CommandError::RainsFall));
    for shard in ShardId::all(SHARDS) {
        let (packets, paid) = (u32::from(shard.0 == 0), Cents(7 * i64::from(shard.0 == 0)));
        let summary = RainSummary { shard, rain: RainIndex(0), packets, paid };
        director.rain_reported(millis(2_100), summary);
    }
    let status = director.rains();
    assert_eq!((status[0].paid, status[0].returned), (Cents(7), Cents(93)));
    assert_eq!(director.rain_fund(), Cents(143));
    director.take_events();
    order(&mut director, 9_000, Command::End).unwrap();
    let last: Vec<_> = director.take_events().into_iter().map(|it| it.event).collect();
    let (rain, returned) = (RainIndex(1), Cents(100));
    assert_eq!(
        last,
        [
            ShowEvent::Rain(RainEvent::Ended { rain, grabbed: 0, paid: Cents::ZERO, returned }),
            ShowEvent::Rain(RainEvent::FundClosed { cents: Cents(243) }),
            ShowEvent::Ended,
        ]
    );
}
