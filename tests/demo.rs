//! Small demos, whole: the gateway, real players, a show from the announcement to the payout.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::time::Duration;

use tidegate::ops::cli::DemoArguments;
use tidegate::ops::demo::{DemoOutcome, play};
use tidegate::ops::show_file::{Pace, bundled};

/// Plays two questions with 150 players.
fn demo(shards: u16, force_retry: u8, data: Option<PathBuf>) -> DemoOutcome {
    let arguments = DemoArguments {
        players: 150,
        questions: 2,
        countdown_ms: Some(2_000),
        shards: Some(shards),
        seed: 11,
        force_retry,
        show: None,
        data,
        json: true,
        keep: false,
        listen: None,
        guests: None,
    };
    let short = Duration::from_millis(100);
    let mut show = bundled();
    show.pace =
        Some(Pace { lobby: short, reveal_pause: short, next_pause: short, end_pause: short });
    play(&arguments, show).unwrap()
}

#[track_caller]
fn assert_whole(outcome: &DemoOutcome) {
    assert!(outcome.violations.count() == 0, "{:#?}", outcome.violations.sentences());
    assert_eq!(outcome.questions.len(), 2);
    let sum = |pick: fn(&tidegate::ops::demo::QuestionOutcome) -> u64| {
        outcome.questions.iter().map(pick).sum::<u64>()
    };
    for question in &outcome.questions {
        assert_eq!(question.delivered, 150);
        assert_eq!(question.answers_sent, question.answers_acknowledged);
        assert_eq!(question.answers_sent, question.answers_accepted);
        assert_eq!(question.in_time_refused, 0);
        let coverage = question.coverage_ms;
        assert!(coverage.p50 > 0.0 && coverage.p50 <= coverage.p100, "{coverage:?}");
    }
    assert!(outcome.winners > 0 && sum(|it| it.eliminated) > 0 && sum(|it| it.revived) > 0);
    assert_eq!(outcome.winners + sum(|it| it.eliminated), 150);
    let winners = i64::try_from(outcome.winners).unwrap();
    let paid = winners * outcome.per_head_cents;
    assert_eq!(paid + outcome.remainder_cents, outcome.prize_pool_cents);
    assert!(outcome.reconnects > 0 && outcome.garbage > 0 && outcome.replaced > 0);
    assert!(outcome.repeated > 0 && outcome.heartbeats.0 >= 150);
}

/// All in one test, one after the other: the players of several demos would disturb each other.
#[test]
fn one_seed_plays_one_game_on_any_number_of_shards_and_under_retries() {
    let one = demo(1, 0, None);
    assert_whole(&one);
    let two = demo(2, 0, None);
    assert_whole(&two);
    assert_eq!(one.game_hash, two.game_hash);
    // With a folder, and a book in it.
    let folder = tempfile::tempdir().unwrap();
    let retried = demo(2, 30, Some(folder.path().to_path_buf()));
    assert_whole(&retried);
    assert_eq!(one.game_hash, retried.game_hash);
    assert!(retried.retried > 0, "some were told to retry");
    let json: serde_json::Value = serde_json::from_str(&retried.to_json()).unwrap();
    assert_eq!(json["game_hash"], one.game_hash.as_str());
    assert_eq!(json["questions"][1]["delivered"], 150);
    assert_eq!(json["ledger"]["proved"], true);
    let ledger = retried.ledger.as_ref().unwrap();
    // Pool, winners, split, and what cards and rains there were.
    assert!(ledger.is_proved && ledger.causes > 2 + retried.winners, "{ledger:?}");
    assert!(one.ledger.is_none());
    assert!(json["violations"].as_array().unwrap().is_empty());
    assert!(retried.summary().ends_with("every check held\n"), "{}", retried.summary());
}
