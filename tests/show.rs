//! A question through every layer, spoken to by players that share no code with the gateway.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate::base::ids::{ShowId, UserId};
use tidegate::quiz::definition::{ReviveCoverage, ShowDefinition};
use tidegate::quiz::director::Command;
use tidegate::quiz::phase::Phase;
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

use client::{Client, Json, gateway, quick_show};

const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;

fn definition(question_count: usize) -> Arc<ShowDefinition> {
    let mut definition = quick_show(SHOW, ROOM, question_count);
    definition.revive = ReviveCoverage::default();
    definition.timing.countdown = Duration::from_millis(1_200);
    definition.timing.ticket_life = Duration::from_millis(600);
    definition.timing.early_push_max = Duration::from_secs(30);
    Arc::new(definition)
}

fn command(gateway: &Gateway, command: Command) {
    let answer = gateway.call(OperatorRequest::Command { show: SHOW, command });
    assert!(matches!(answer, Ok(OperatorAnswer::Done)), "{command:?}: {answer:?}");
}

fn status(gateway: &Gateway) -> ShowStatus {
    match gateway.call(OperatorRequest::Status { show: SHOW }) {
        Ok(OperatorAnswer::Show(status)) => *status,
        other => panic!("expected a status, got {other:?}"),
    }
}

/// Waits until the show is in this phase; the director gets there by its own timers.
async fn until_phase(gateway: &Gateway, phase: Phase) -> ShowStatus {
    for _ in 0..1_000 {
        let status = status(gateway);
        if status.live.phase == phase {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the show never came to {phase}");
}

fn announce(gateway: &Gateway, question_count: usize) {
    let request = OperatorRequest::Announce(definition(question_count));
    assert!(matches!(gateway.call(request), Ok(OperatorAnswer::Done)));
    command(gateway, Command::OpenLobby);
}

async fn answer(client: &mut Client, sequence: &str, question: u64, option: u64) -> Json {
    let answer = json!({"showId": SHOW.0.to_string(), "question": question, "option": option});
    client.request(sequence, json!({"answer": answer})).await;
    client.until_response(sequence).await
}

#[tokio::test]
async fn one_question_a_hundred_players_and_a_prize_to_the_cent() {
    let gateway = gateway(2);
    announce(&gateway, 1);
    let mut players = Vec::new();
    for user in 1..=100 {
        players.push(Client::in_room(&gateway, user, ROOM).await);
    }
    command(&gateway, Command::Publish);
    let mut sealed = Vec::new();
    for (index, player) in players.iter_mut().enumerate() {
        let question = player.until("question").await;
        assert_eq!(question["text"], "Question 0?");
        // Every third is right; the last ten say nothing.
        if index < 90 {
            let option = if index % 3 == 0 { 1 } else { 2 };
            let reply = answer(player, "a", 0, option).await;
            let result = reply["answerReceived"]["result"].clone();
            assert!(result["ciphertext"].is_string(), "{reply}");
            // A repeat, even with another option, gets the same reply.
            let repeat = answer(player, "b", 0, 0).await;
            assert_eq!(repeat["answerReceived"]["result"], result);
            sealed.push(result);
        }
    }
    let lengths: Vec<usize> =
        sealed.iter().map(|result| result["ciphertext"].as_str().unwrap().len()).collect();
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    until_phase(&gateway, Phase::Closed).await;
    command(&gateway, Command::Reveal);
    let reveal = players[0].until("reveal").await;
    assert_eq!(reveal["correctOption"], 1);
    assert_eq!(reveal["optionCounts"], json!(["0", "30", "60"]));
    assert_eq!(reveal["inPlay"], "30");
    command(&gateway, Command::Settle);
    let settled = players[0].until("settled").await;
    assert_eq!((&settled["winners"], &settled["perHeadCents"]), (&json!("30"), &json!("333")));
    assert_eq!(settled["remainderCents"], "11");
    let status = until_phase(&gateway, Phase::Settled).await;
    let counts = status.questions[0].counts.unwrap();
    assert_eq!((counts.answered, counts.correct, counts.silent), (90, 30, 10));
    drop(players);
    gateway.stop();
}

#[tokio::test]
async fn whoever_returns_gets_the_question_and_what_it_answered() {
    let gateway = gateway(2);
    announce(&gateway, 2);
    let mut player = Client::in_room(&gateway, 5, ROOM).await;
    command(&gateway, Command::Publish);
    player.until("question").await;
    let result = answer(&mut player, "a", 0, 1).await["answerReceived"]["result"].take();
    drop(player);
    let mut player = Client::in_room(&gateway, 5, ROOM).await;
    let question = player.notification("question").await;
    assert!(question["stamp"].is_null(), "ahead of any backlog, outside of the lanes");
    let snapshot = player.until("snapshot").await;
    assert_eq!(snapshot["recordedOption"], 1, "{snapshot}");
    assert_eq!(snapshot["recordedResult"], result);
    assert_eq!(snapshot["standing"], "STANDING_IN_PLAY");
    drop(player);
    gateway.stop();
}

#[tokio::test]
async fn a_retried_answer_is_judged_by_its_first_arrival() {
    let mut settings = client::settings(2);
    settings.admission.force_retry_percent = 100;
    let gateway = client::start(&settings);
    announce(&gateway, 1);
    let mut player = Client::in_room(&gateway, 5, ROOM).await;
    command(&gateway, Command::Publish);
    player.until("question").await;
    let retry = answer(&mut player, "a", 0, 1).await["retryAnswer"].take();
    let ticket = retry["ticket"].as_str().expect("a ticket").to_string();
    let with_ticket = |option: u64| {
        let show = SHOW.0.to_string();
        json!({"answer": {"showId": show, "question": 0, "option": option, "ticket": ticket}})
    };
    // The ticket is bound to its option, for this player and question.
    player.request("b", with_ticket(0)).await;
    assert_eq!(player.until_response("b").await["reason"], "REASON_TICKET_INVALID");
    let refused = answer(&mut player, "c", 0, 2).await;
    assert_eq!(refused["reason"], "REASON_ANSWER_BOUND", "{refused}");
    // Well after the countdown, within the life of the ticket.
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    player.request("d", with_ticket(1)).await;
    let received = player.until_response("d").await;
    assert!(received["answerReceived"]["result"].is_object(), "{received}");
    let counts = until_phase(&gateway, Phase::Closed).await.questions[0].counts.unwrap();
    assert_eq!((counts.correct, counts.by_ticket, counts.late), (1, 1, 0));
    drop(player);
    gateway.stop();
}

#[tokio::test]
async fn a_card_saves_once_and_a_void_gives_it_back() {
    let gateway = gateway(2);
    announce(&gateway, 3);
    assert!(gateway.call(OperatorRequest::GrantCard { user: UserId(5) }).is_ok());
    let mut player = Client::in_room(&gateway, 5, ROOM).await;
    command(&gateway, Command::Publish);
    player.until("question").await;
    answer(&mut player, "a", 0, 0).await;
    until_phase(&gateway, Phase::Closed).await;
    command(&gateway, Command::Reveal);
    player.until("reveal").await;
    assert_eq!(status(&gateway).questions[0].counts.unwrap().revived, 1);
    command(&gateway, Command::Void);
    player.until("questionVoided").await;
    drop(player);
    let mut player = Client::in_room(&gateway, 5, ROOM).await;
    let snapshot = player.until("snapshot").await;
    assert_eq!(snapshot["reviveCards"], 1, "{snapshot}");
    assert_eq!(snapshot["standing"], "STANDING_IN_PLAY");
    drop(player);
    gateway.stop();
}
