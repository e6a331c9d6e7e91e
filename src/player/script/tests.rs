//! Tests of the script: the mix of fates, and the distance from every limit.

#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

use super::*;
use crate::base::ids::{RoomId, ShowId};
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, Timing};
use crate::quiz::money::Cents;

fn show(questions: usize) -> ShowDefinition {
    let question = |number: usize| QuestionDefinition {
        text: format!("{number}?"),
        options: (0..2 + number % 5).map(|option| format!("{option}")).collect(),
        correct: OptionIndex(u8::try_from(number % 2).unwrap()),
    };
    ShowDefinition {
        id: ShowId(1),
        room: RoomId(1),
        title: "Show".to_owned(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(100),
        remainder_account: "house".to_owned(),
        revive: ReviveCoverage::default(),
        timing: Timing { ticket_life: Duration::from_millis(1_500), ..Timing::default() },
        questions: (0..questions).map(question).collect(),
    }
}

/// (winners, eliminated, revived) of so many players, by the rules and the script alone.
fn play(script: &Script, players: u64) -> (u64, u64, u64) {
    let (mut winners, mut eliminated, mut revived) = (0, 0, 0);
    for user in (1..=players).map(UserId) {
        let mut card = script.holds_card(user);
        let mut in_play = true;
        for question in (0..script.question_count()).map(|it| QuestionIndex(it as u16)) {
            let last = question.index() + 1 == script.question_count();
            let intent = script.plan(user, question).intent;
            in_play = match intent {
                Intent::InTime(option) if option == script.correct(question) => true,
                Intent::InTime(_) if card && !last => {
                    card = false;
                    revived += 1;
                    true
                }
                _ => false,
            };
            if !in_play {
                eliminated += 1;
                break;
            }
        }
        winners += u64::from(in_play);
    }
    (winners, eliminated, revived)
}

#[test]
fn fifty_players_have_winners_eliminated_and_revived() {
    for seed in 0..300 {
        for questions in [2, 3, 5, 12, 100] {
            let (winners, eliminated, revived) = play(&Script::new(seed, &show(questions)), 50);
            assert!(
                winners > 0 && eliminated > 0 && revived > 0,
                "seed {seed}, {questions} questions: {winners}, {eliminated}, {revived}"
            );
            assert_eq!(winners + eliminated, 50);
        }
        let (winners, eliminated, _) = play(&Script::new(seed, &show(1)), 50);
        assert!(winners > 0 && eliminated > 0, "seed {seed}, one question");
    }
}

#[test]
fn decisions_repeat_and_differ_by_seed() {
    let plans = |seed| {
        let script = Script::new(seed, &show(5));
        let plan = |user| script.plan(UserId(user), QuestionIndex(user as u16 % 5));
        (1..200).map(plan).collect::<Vec<_>>()
    };
    assert_eq!(plans(7), plans(7));
    assert_ne!(plans(7), plans(8));
}

#[test]
fn every_moment_stays_away_from_the_limits() {
    let shortest = 1_000_u64;
    let show = show(6);
    let window = show.timing.ticket_life.as_millis() as u64;
    let margin = MARGIN.as_millis() as u64;
    for seed in 0..20 {
        let script = Script::new(seed, &show);
        for user in (1..500).map(UserId) {
            for question in (0..6).map(QuestionIndex) {
                let plan = script.plan(user, question);
                let late = matches!(plan.intent, Intent::TooLate(_));
                let mut before = 0;
                for step in &plan.steps {
                    match step.at {
                        Moment::Countdown(permille) => {
                            assert!(!late && permille >= before, "{plan:?}");
                            before = permille;
                            assert!(permille <= 700, "back by 70 %: {plan:?}");
                            let left = shortest - shortest * u64::from(permille) / 1_000;
                            assert!(left >= margin, "{plan:?}");
                            if step.act == Act::Answer {
                                assert!((300..=600).contains(&permille), "{plan:?}");
                            }
                        }
                        Moment::AfterEnd(ms) => {
                            assert!(late && u64::from(ms) >= margin, "{plan:?}");
                            assert!(u64::from(ms) + margin <= window, "{plan:?}");
                        }
                    }
                }
                let leaves =
                    plan.steps.iter().filter(|step| matches!(step.act, Act::Leave { .. })).count();
                let returns = plan.steps.iter().filter(|step| step.act == Act::Return).count();
                assert_eq!(leaves, returns, "{plan:?}");
                let answers = plan.steps.iter().any(|step| step.act == Act::Answer);
                assert_eq!(answers, plan.intent != Intent::Silence, "{plan:?}");
            }
        }
    }
}

#[test]
fn a_wrong_option_exists_and_is_wrong() {
    let show = show(6);
    for seed in 0..20 {
        let script = Script::new(seed, &show);
        for user in (1..300).map(UserId) {
            for (place, question) in show.questions.iter().enumerate() {
                let plan = script.plan(user, QuestionIndex(place as u16));
                let Intent::InTime(option) = plan.intent else { continue };
                assert!(option.index() < question.options.len());
                for step in &plan.steps {
                    if let Act::AnswerAgain(other) = step.act {
                        assert!(other != option && other.index() < question.options.len());
                    }
                }
            }
        }
    }
}

#[test]
fn without_a_window_for_it_nobody_is_late() {
    let mut show = show(3);
    show.timing.ticket_life = Duration::from_millis(600);
    let script = Script::new(1, &show);
    for user in (1..200).map(UserId) {
        for question in (0..3).map(QuestionIndex) {
            assert!(!matches!(script.plan(user, question).intent, Intent::TooLate(_)));
        }
    }
}

#[test]
fn every_manner_and_every_garbage_occurs() {
    let script = Script::new(3, &show(3));
    let acts: Vec<Act> = (1..2_000)
        .flat_map(|user| script.plan(UserId(user), QuestionIndex(1)).steps)
        .map(|step| step.act)
        .collect();
    for kind in Garbage::ALL {
        assert!(acts.contains(&Act::Garbage(kind)), "{kind:?}");
    }
    for reset in [true, false] {
        assert!(acts.contains(&Act::Leave { reset }));
    }
    assert!(acts.contains(&Act::TakeOver) && acts.contains(&Act::Return));
    assert!(acts.iter().any(|act| matches!(act, Act::AnswerAgain(_))));
    let tempted = (1..300).filter(|user| {
        matches!(script.watch(UserId(*user), QuestionIndex(1)).intent, Intent::Tempted(_))
    });
    assert!((10..60).contains(&tempted.count()));
}
