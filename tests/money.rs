//! Red-packet rain, withdrawals, gifts and invitations through every layer, spoken to by players
//! that share no code with the gateway.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate::base::ids::{OptionIndex, RainIndex, RoomId, ShowId, UserId};
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::director::Command;
use tidegate::quiz::money::Cents;
use tidegate::quiz::rain::{CERTAIN, RainCommand, RainPhase, RainSettings, RainStatus};
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest};

use client::{Client, Json, gateway};

const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;
const POOL: Cents = Cents(10_007);
const PACKETS: u32 = 20;

fn call(gateway: &Gateway, request: OperatorRequest) -> Result<OperatorAnswer, String> {
    gateway.call(request).map_err(|error| error.to_string())
}

fn rain(gateway: &Gateway, command: RainCommand) -> Result<OperatorAnswer, String> {
    call(gateway, OperatorRequest::Rain { show: SHOW, command })
}

/// A show in its lobby, with a rain that every tap wins at.
fn stage() -> Gateway {
    let gateway = gateway(2);
    let question = QuestionDefinition {
        text: "Which?".into(),
        options: vec!["a".into(), "b".into()],
        correct: OptionIndex(0),
    };
    let definition = ShowDefinition {
        id: SHOW,
        room: RoomId(ROOM),
        title: "A test".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(0),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing::default(),
        questions: vec![question],
    };
    call(&gateway, OperatorRequest::Announce(Arc::new(definition))).unwrap();
    let command = Command::OpenLobby;
    call(&gateway, OperatorRequest::Command { show: SHOW, command }).unwrap();
    let settings = RainSettings {
        win_per_10000: CERTAIN,
        ..RainSettings::new(POOL, PACKETS, Duration::from_secs(60))
    };
    let unfunded = rain(&gateway, RainCommand::Plan(settings)).unwrap_err();
    assert!(unfunded.contains("the show's fund has 0 cents, the rain needs 10007"), "{unfunded}");
    rain(&gateway, RainCommand::Fund(POOL)).unwrap();
    rain(&gateway, RainCommand::Plan(settings)).unwrap();
    gateway
}

fn rain_status(gateway: &Gateway) -> RainStatus {
    match gateway.call(OperatorRequest::Status { show: SHOW }) {
        Ok(OperatorAnswer::Show(status)) => status.rains[0],
        other => panic!("expected a status, got {other:?}"),
    }
}

async fn ask(client: &mut Client, sequence: &str, request: Json) -> Json {
    client.request(sequence, request).await;
    client.until_response(sequence).await
}

/// The response to a request, or its failure as an error.
async fn until_answer(client: &mut Client, sequence: &str) -> Result<Json, Json> {
    let answer = client.until_response(sequence).await;
    if answer["reason"].is_null() { Ok(answer) } else { Err(answer) }
}

fn cents(grabbed: &Json) -> i64 {
    grabbed["grabbed"]["cents"].as_str().map_or(0, |cents| cents.parse().unwrap())
}

/// Taps until the outcome is final.
async fn grab(client: &mut Client, slot: u8) -> i64 {
    for attempt in 0..50 {
        let tap = json!({"grab": {"showId": SHOW.0.to_string(), "rain": 0, "slot": slot}});
        let sequence = format!("{slot}-{attempt}");
        client.request(&sequence, tap).await;
        match until_answer(client, &sequence).await {
            Ok(grabbed) => return cents(&grabbed),
            Err(failure) => assert_eq!(failure["reason"], "REASON_RATE_LIMITED", "{failure}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no packet came from the director")
}

#[tokio::test]
async fn a_rain_pays_out_its_pool_to_the_cent_and_a_repeat_brings_the_same() {
    let gateway = stage();
    let mut players = Vec::new();
    for user in 1..=10 {
        players.push(Client::in_room(&gateway, user, ROOM).await);
    }
    rain(&gateway, RainCommand::Start(RainIndex(0))).unwrap();
    for player in &mut players {
        let told = player.until("rain").await;
        assert_eq!((&told["phase"], &told["tapsMax"]), (&json!("RAIN_PHASE_FALLING"), &json!(3)));
    }
    // Thirty taps at twenty packets; a player who came back on a new connection gets the same.
    let mut brought = Vec::new();
    for (user, player) in (1..).zip(&mut players) {
        for slot in 0..3 {
            brought.push((user, slot, grab(player, slot).await));
        }
    }
    let tap = json!({"grab": {"showId": SHOW.0.to_string(), "rain": 0, "slot": 3}});
    players[0].request("too many", tap).await;
    let failure = until_answer(&mut players[0], "too many").await.unwrap_err();
    assert_eq!(failure["reason"], "REASON_NO_SUCH_SLOT");
    drop(players);
    let packets = brought.iter().filter(|(_, _, cents)| *cents > 0).count();
    assert_eq!(packets, PACKETS as usize, "all are grabbed");
    assert_eq!(brought.iter().map(|tap| tap.2).sum::<i64>(), POOL.0);
    for user in 1..=10 {
        let mut player = Client::in_room(&gateway, user, ROOM).await;
        let mut balance = 0;
        for (_, slot, cents) in brought.iter().filter(|tap| tap.0 == user) {
            assert_eq!(grab(&mut player, *slot).await, *cents);
            balance += cents;
        }
        let purse = ask(&mut player, "purse", json!({"askPurse": {}})).await;
        let told = purse["purse"]["balanceCents"].as_str().unwrap_or("0").to_owned();
        assert_eq!(told, balance.to_string());
    }
    rain(&gateway, RainCommand::End(RainIndex(0))).unwrap();
    for _ in 0..200 {
        if rain_status(&gateway).phase == RainPhase::Ended {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = rain_status(&gateway);
    assert_eq!((status.phase, status.grabbed, status.paid), (RainPhase::Ended, PACKETS, POOL));
    gateway.stop();
}

#[tokio::test]
async fn money_leaves_a_balance_once_and_comes_back_once() {
    let gateway = stage();
    let mut player = Client::in_room(&gateway, 1, ROOM).await;
    rain(&gateway, RainCommand::Start(RainIndex(0))).unwrap();
    player.until("rain").await;
    let has = grab(&mut player, 0).await;
    let withdraw =
        |key: &str, cents: i64| json!({"withdraw": {"key": key, "cents": cents.to_string()}});
    player.request("1", withdraw("a", has + 1)).await;
    assert_eq!(until_answer(&mut player, "1").await.unwrap_err()["reason"], "REASON_NOT_ENOUGH");
    player.request("2", withdraw("a", -1)).await;
    assert_eq!(
        until_answer(&mut player, "2").await.unwrap_err()["reason"],
        "REASON_AMOUNT_INVALID"
    );
    let first = ask(&mut player, "3", withdraw("a", has)).await;
    assert_eq!(first["withdrawal"]["state"], "WITHDRAWAL_STATE_REQUESTED");
    assert_eq!(first["withdrawal"]["number"], "1");
    let again = ask(&mut player, "4", withdraw("a", has)).await;
    assert_eq!(again["withdrawal"], first["withdrawal"], "the same request happens once");
    player.request("5", withdraw("b", has)).await;
    assert_eq!(until_answer(&mut player, "5").await.unwrap_err()["reason"], "REASON_NOT_ENOUGH");
    for _ in 0..2 {
        let (user, number) = (UserId(1), 1);
        let request = OperatorRequest::CloseWithdrawal { user, number, is_paid: false };
        call(&gateway, request).unwrap();
    }
    let purse = ask(&mut player, "6", json!({"askPurse": {}})).await;
    assert_eq!(purse["purse"]["balanceCents"], has.to_string(), "back, and once");
    gateway.stop();
}

#[tokio::test]
async fn a_gift_is_paid_and_everybody_sees_it() {
    let gateway = stage();
    let mut giver = Client::in_room(&gateway, 1, ROOM).await;
    let mut other = Client::in_room(&gateway, 2, ROOM).await;
    rain(&gateway, RainCommand::Start(RainIndex(0))).unwrap();
    giver.until("rain").await;
    let has = grab(&mut giver, 0).await;
    let give = json!({"give": {"key": "rose-1", "kind": 7, "cents": "1"}});
    for sequence in ["first", "again"] {
        let given = ask(&mut giver, sequence, give.clone()).await;
        let left = given["given"]["balanceCents"].as_str().unwrap_or("0").to_owned();
        assert_eq!(left, (has - 1).to_string());
    }
    let shown = other.until("giftShown").await;
    assert_eq!(shown, json!({"userId": "1", "kind": 7, "cents": "1"}));
    gateway.stop();
}

#[tokio::test]
async fn a_code_brings_a_card_to_each_side_and_only_once() {
    let gateway = stage();
    let mut inviter = Client::in_room(&gateway, 1, ROOM).await;
    let mut invitee = Client::in_room(&gateway, 2, ROOM).await;
    let purse = ask(&mut inviter, "purse", json!({"askPurse": {}})).await;
    let code = purse["purse"]["invitationCode"].as_str().unwrap().to_owned();
    let redeem = |code: &str| json!({"redeem": {"code": code}});
    inviter.request("own", redeem(&code)).await;
    let own = until_answer(&mut inviter, "own").await.unwrap_err();
    assert_eq!(own["reason"], "REASON_INVITATION_REFUSED");
    invitee.request("no code", redeem("NOCODE")).await;
    let wrong = until_answer(&mut invitee, "no code").await.unwrap_err();
    assert_eq!(wrong["reason"], "REASON_CODE_INVALID");
    let redeemed = ask(&mut invitee, "1", redeem(&code)).await;
    assert_eq!(redeemed["redeemed"], json!({"inviterId": "1", "cards": 1}));
    let again = ask(&mut invitee, "2", redeem(&code)).await;
    assert_eq!(again["redeemed"], json!({"inviterId": "1"}));
    for (player, invited) in [(&mut inviter, 1), (&mut invitee, 0)] {
        let purse = ask(player, "cards", json!({"askPurse": {}})).await["purse"].clone();
        assert_eq!(purse["reviveCards"], 1, "{purse}");
        assert_eq!(purse["invited"].as_u64().unwrap_or(0), invited);
    }
    // Whoever was invited may invite, but not in a circle.
    let code = ask(&mut invitee, "3", json!({"askPurse": {}})).await;
    let code = code["purse"]["invitationCode"].as_str().unwrap().to_owned();
    inviter.request("circle", redeem(&code)).await;
    let circle = until_answer(&mut inviter, "circle").await.unwrap_err();
    assert_eq!(circle["reason"], "REASON_INVITATION_REFUSED");
    gateway.stop();
}
