use std::time::Duration;

use super::*;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{QuestionIndex, ShardId};
use crate::quiz::director::Command;
use crate::quiz::tests::world::{Setup, World};

/// What an operator sees of a director and could do with it.
fn face(director: &Director) -> String {
    let correct = director.question.as_ref().map(|state| (state.index, state.correct));
    let money = director.question.as_ref().map(|state| (state.in_play, state.counts));
    format!(
        "{:?} {:?} {:?} {:?} {correct:?} {money:?} {:?} {:?} {}",
        director.phase(),
        director.allowed(),
        director.pushed_question(),
        director.settlement(),
        director.voided,
        director.tickets_until,
        director.revived_before,
    )
}

#[test]
fn a_director_from_its_history_is_the_director_at_every_event() {
    let setup = Setup { rejudges: vec![1], ..Setup::new(4, 2) };
    let mut world = World::new(Setup { voids: [(2, Phase::Closed)].into(), ..setup });
    world.between = |world| {
        // The sums of a question that is closing are not on record before it is closed.
        let phase = world.director.phase();
        let last = world.events.last().map(|event| event.number);
        let is_spread = last == Some(world.director.last_event);
        if !is_spread || matches!(phase, Phase::Closing | Phase::Rejudging) {
            return;
        }
        let restored = Director::restored(&world.events, 2, 24);
        assert_eq!(face(&restored), face(&world.director));
        world.interrupted += 1;
    };
    world.play();
    assert!(world.interrupted > 200);
}

fn opened_at(at: Time) -> Vec<NumberedEvent> {
    let mut director =
        Director::new(std::sync::Arc::new(Setup::new(1, 2).definition()), 2, 24, Time::ZERO);
    let mut entropy = SeededEntropy::new(1, 1);
    director.command(Time::ZERO, Command::OpenLobby, &mut entropy).expect("possible");
    director.command(at, Command::Publish, &mut entropy).expect("possible");
    director.take_events()
}

#[test]
fn an_open_question_gets_its_whole_time_again() {
    let history = opened_at(Time::ZERO);
    let mut director = Director::restored(&history, 3, 24);
    let now = Time::from_millis(20_000);
    director.resume(now, Duration::from_millis(700), Duration::from_secs(60));
    let events = director.take_events();
    let question = QuestionIndex(0);
    let (show_by, answer_by) = (Time::from_millis(21_200), Time::from_millis(23_200));
    assert_eq!(events[0].event, ShowEvent::QuestionExtended { question, show_by, answer_by });
    assert_eq!(director.take_notices(), [Notice::ResumedAfterRestart { question, show_by }]);
    // The shards say again how far they are; all had it in time by the new measure.
    for shard in ShardId::all(3) {
        director.acknowledged(now, shard, history.last().expect("an event").number, now);
    }
    director.due(Time::from_millis(23_800));
    assert_eq!(director.phase(), Phase::Closing);
}

#[test]
fn a_question_that_was_open_for_too_long_is_offered_for_voiding() {
    let mut director = Director::restored(&opened_at(Time::ZERO), 1, 24);
    director.resume(Time::from_millis(70_000), Duration::ZERO, Duration::from_secs(60));
    assert!(director.take_events().is_empty());
    let notices = director.take_notices();
    assert!(matches!(notices[..], [Notice::VoidNeeded { .. }]), "{notices:?}");
}

#[test]
fn a_question_that_closes_without_proof_still_waits_for_it() {
    for (is_offered, notices) in [(true, 0), (false, 1)] {
        let mut history = opened_at(Time::ZERO);
        let last = history.last().expect("an event").clone();
        let (answer_by, close_after) = (Time::from_millis(2_500), Time::from_millis(3_100));
        let event = ShowEvent::QuestionClosing {
            question: QuestionIndex(0),
            answer_by,
            close_after,
            is_offered,
        };
        history.push(NumberedEvent { number: last.number.next(), event, ..last });
        let mut director = Director::restored(&history, 1, 24);
        director.resume(Time::from_millis(9_000), Duration::ZERO, Duration::from_secs(60));
        assert_eq!(director.take_notices().len(), notices, "offered: {is_offered}");
        assert!(director.take_events().is_empty());
    }
}
