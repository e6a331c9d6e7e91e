use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::entropy::SeededEntropy;
use crate::quiz::director::{Command, CommandKind, CommandOutcome};
use crate::quiz::phase::Phase;
use crate::quiz::tests::world::Setup;

/// A director in the lobby whose questions may lie with the clients for two seconds.
fn in_lobby() -> Director {
    let mut definition = Setup::new(1, 2).definition();
    definition.timing.early_push_max = Duration::from_secs(2);
    let mut director = Director::new(Arc::new(definition), 2, 24, Time::ZERO);
    order(&mut director, 0, Command::OpenLobby).unwrap();
    director.take_events();
    director
}

fn order(
    director: &mut Director,
    at: u64,
    command: Command,
) -> Result<CommandOutcome, CommandError> {
    let mut entropy = SeededEntropy::new(1, at);
    director.command(Time::from_millis(at), command, &mut entropy)
}

fn pushed(event: &ShowEvent) -> QuestionPush {
    let ShowEvent::QuestionPushed(push) = event else { panic!("{event:?}") };
    push.clone()
}

#[test]
fn a_question_opens_with_the_keys_that_it_was_pushed_with() {
    let mut director = in_lobby();
    assert!(director.allowed().contains(&CommandKind::PushEarly));
    order(&mut director, 10, Command::PushEarly).unwrap();
    assert_eq!(director.phase(), Phase::Lobby);
    assert_eq!(director.pushed_question(), Some(QuestionIndex(0)));
    order(&mut director, 20, Command::Publish).unwrap();
    let events = director.take_events();
    let push = pushed(&events[0].event);
    let ShowEvent::QuestionOpened(opening) = &events[1].event else { panic!("{events:?}") };
    assert_eq!(opening.question_key, push.question_key);
    assert_eq!(opening.result_key, push.result_key);
    assert_eq!(opening.commitment, push.commitment);
    assert_ne!(push.question_key, push.result_key, "two independent keys");
    assert_eq!(director.pushed_question(), None);
}

#[test]
fn what_is_taken_back_or_lies_too_long_is_never_opened_by_its_key() {
    let mut director = in_lobby();
    for (at, expires) in [(10, false), (500, true)] {
        order(&mut director, at, Command::PushEarly).unwrap();
        if expires {
            director.due(Time::from_millis(at + 1_999));
            assert_eq!(director.deadline(), Some(Time::from_millis(at + 2_000)));
            assert!(director.pushed_question().is_some());
            director.due(Time::from_millis(at + 2_000));
            let question = QuestionIndex(0);
            assert_eq!(director.take_notices(), [Notice::PushExpired { question }]);
        } else {
            order(&mut director, at, Command::Withdraw).unwrap();
        }
        assert_eq!(director.pushed_question(), None);
    }
    order(&mut director, 3_000, Command::Publish).unwrap();
    let events = director.take_events();
    let ShowEvent::QuestionOpened(opening) = &events[4].event else { panic!("{events:?}") };
    let pushes = [pushed(&events[0].event), pushed(&events[2].event)];
    assert_ne!(pushes[0].question_key, pushes[1].question_key, "a key seals once");
    assert!(pushes.iter().all(|push| push.question_key != opening.question_key));
    assert!(pushes.iter().all(|push| push.result_key != opening.result_key));
}

#[test]
fn what_is_pushed_stays_through_a_pause_and_goes_with_the_show() {
    let mut director = in_lobby();
    order(&mut director, 10, Command::PushEarly).unwrap();
    order(&mut director, 20, Command::Pause).unwrap();
    assert_eq!(director.pushed_question(), Some(QuestionIndex(0)));
    assert!(director.allowed().contains(&CommandKind::Withdraw));
    order(&mut director, 30, Command::Resume).unwrap();
    order(&mut director, 40, Command::Cancel).unwrap();
    assert_eq!((director.pushed_question(), director.deadline()), (None, None));
}

#[test]
fn impossible_pushes_are_refused_with_their_reason() {
    let question = QuestionIndex(0);
    let mut director = in_lobby();
    assert_eq!(order(&mut director, 1, Command::Withdraw), Err(CommandError::NothingPushed));
    order(&mut director, 2, Command::PushEarly).unwrap();
    let again = order(&mut director, 3, Command::PushEarly);
    assert_eq!(again, Err(CommandError::PushedAlready { question }));
    let definition = Arc::new(Setup::new(1, 2).definition());
    let mut director = Director::new(definition, 2, 24, Time::ZERO);
    order(&mut director, 0, Command::OpenLobby).unwrap();
    assert!(!director.allowed().contains(&CommandKind::PushEarly));
    assert_eq!(order(&mut director, 1, Command::PushEarly), Err(CommandError::NoEarlyPush));
}
