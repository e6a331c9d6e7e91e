//! The fairness report: a show with everything in it, over two runs of the process, is exported, and a
//! program that shares nothing with the gateway computes every verdict and payout of it again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use tidegate::base::hash::Placement;
use tidegate::base::hex;
use tidegate::base::ids::{OptionIndex, QuestionIndex, RainIndex, ShowId, UserId};
use tidegate::quiz::definition::ShowDefinition;
use tidegate::quiz::director::Command;
use tidegate::quiz::money::Cents;
use tidegate::quiz::phase::Phase;
use tidegate::quiz::rain::{CERTAIN, RainCommand, RainSettings};
use tidegate::runtime::data::{DataFolder, Deployment};
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

use client::{Client, Json, quick_show, settings};

const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;

/// What each of them does is said where it happens.
const KEEN: u64 = 1;
const CARDED: u64 = 2;
const WRONG: u64 = 3;
const LATE: u64 = 4;
const SILENT: u64 = 5;
const ABSENT: u64 = 6;
const MISJUDGED: u64 = 7;
const RIGHTED: u64 = 8;
const SPECTATOR: u64 = 9;

fn definition() -> Arc<ShowDefinition> {
    let mut definition = quick_show(SHOW, ROOM, 4);
    definition.timing.countdown = Duration::from_millis(2_000);
    definition.timing.ticket_life = Duration::from_millis(1_500);
    Arc::new(definition)
}

fn begin(path: &Path, shards: u16) -> (Gateway, DataFolder) {
    let settings = settings(shards);
    let folder = DataFolder::open(path).unwrap();
    if folder.deployment().unwrap().is_none() {
        let deployment =
            Deployment::new(settings.buckets, &settings.placement_key.0, &settings.ticket_key);
        folder.begin_deployment(&deployment).unwrap();
    }
    let placement = Placement::new(settings.placement_key, settings.buckets, shards);
    let recovered = folder.begin_run(placement).unwrap();
    (Gateway::start_recovered(&settings, recovered).unwrap(), folder)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn order(gateway: &Gateway, request: OperatorRequest) {
    gateway.call(request).unwrap();
}

fn command(gateway: &Gateway, command: Command) {
    order(gateway, OperatorRequest::Command { show: SHOW, command });
}

fn rain(gateway: &Gateway, command: RainCommand) {
    order(gateway, OperatorRequest::Rain { show: SHOW, command });
}

fn status(gateway: &Gateway) -> ShowStatus {
    match gateway.call(OperatorRequest::Status { show: SHOW }) {
        Ok(OperatorAnswer::Show(status)) => *status,
        other => panic!("expected a status, got {other:?}"),
    }
}

async fn until_phase(gateway: &Gateway, phase: Phase) {
    for _ in 0..1_000 {
        if status(gateway).live.phase == phase {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the show never came to {phase}");
}

type Players = BTreeMap<u64, Client>;

async fn enter(gateway: &Gateway, players: &mut Players, users: impl IntoIterator<Item = u64>) {
    for user in users {
        players.insert(user, Client::in_room(gateway, user, ROOM).await);
    }
}

async fn answer(players: &mut Players, user: u64, question: u64, option: u64) -> Json {
    let player = players.get_mut(&user).unwrap();
    let answer = json!({"showId": SHOW.0.to_string(), "question": question, "option": option});
    player.request("a", json!({"answer": answer})).await;
    player.until_response("a").await
}

/// Publishes the next question, and these answer it, each its option.
async fn ask(gateway: &Gateway, players: &mut Players, question: u64, options: &[(u64, u64)]) {
    command(gateway, Command::Publish);
    for player in players.values_mut() {
        // Whoever came while an earlier one was open was told that one.
        while player.until("question").await["question"].as_u64().unwrap_or(0) != question {}
    }
    for (user, option) in options {
        let reply = answer(players, *user, question, *option).await;
        assert!(reply["reason"].is_null(), "user {user}: {reply}");
    }
}

fn tidegate(arguments: &[&str], data: &Path) -> (i32, String) {
    let mut process = Process::new(env!("CARGO_BIN_EXE_tidegate"));
    let Output { status, stdout, stderr } =
        process.args(arguments).arg("--data").arg(data).output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// What `docs/recompute.py` says to an export.
fn recompute(export: &Path) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recompute.py");
    // -B: nothing is left beside the script.
    let output = Process::new("python3").arg("-B").arg(script).arg(export).output();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| {
        panic!(
            "python3 cannot be run ({error}): this test needs Python 3.8 or newer, because it proves \
             that somebody without tidegate can recompute a show. Install it; there is no other way \
             to pass"
        )
    });
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// The first run: up to a question that is open, when the process dies.
async fn first_run(folder: &Path, died: &Path) {
    let (gateway, _lock) = begin(folder, 2);
    order(&gateway, OperatorRequest::Announce(definition()));
    for user in [CARDED, ABSENT] {
        order(&gateway, OperatorRequest::GrantCard { user: UserId(user) });
    }
    let mut players = Players::new();
    enter(&gateway, &mut players, KEEN..SPECTATOR).await;
    command(&gateway, Command::OpenLobby);
    for _ in 0..2 {
        order(&gateway, OperatorRequest::GrantCard { user: UserId(CARDED) });
    }
    order(&gateway, OperatorRequest::ExpireCards { user: UserId(CARDED), cards_max: 1 });
    let all = RainSettings {
        win_per_10000: CERTAIN / 10 * 9,
        ..RainSettings::new(Cents(1_007), 20, Duration::from_secs(60))
    };
    rain(&gateway, RainCommand::Fund(Cents(1_100)));
    rain(&gateway, RainCommand::Plan(all));
    rain(&gateway, RainCommand::Start(RainIndex(0)));
    for (user, slot) in [(KEEN, 0), (KEEN, 1), (KEEN, 2), (WRONG, 0), (WRONG, 1), (LATE, 0)] {
        let tap = json!({"grab": {"showId": SHOW.0.to_string(), "rain": 0, "slot": slot}});
        let player = players.get_mut(&user).unwrap();
        // The packets come from the director a moment later.
        for attempt in 0..50 {
            let sequence = format!("{slot}-{attempt}");
            player.request(&sequence, tap.clone()).await;
            if player.until_response(&sequence).await["reason"].is_null() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    rain(&gateway, RainCommand::End(RainIndex(0)));
    let right = [KEEN, ABSENT, MISJUDGED, RIGHTED].map(|user| (user, 1));
    ask(&gateway, &mut players, 0, &[&right[..], &[(CARDED, 2), (WRONG, 0)]].concat()).await;
    // Behind the deadline, while tickets are still taken.
    tokio::time::sleep(Duration::from_millis(2_150)).await;
    answer(&mut players, LATE, 0, 1).await;
    until_phase(&gateway, Phase::Closed).await;
    command(&gateway, Command::Reveal);
    enter(&gateway, &mut players, [SPECTATOR]).await;
    ask(&gateway, &mut players, 1, &[(KEEN, 1), (CARDED, 0)]).await;
    copy(folder, died);
    drop(players);
    gateway.stop();
    tell_nothing(died);
}

/// A question is open, of which nothing may be told that tells.
fn tell_nothing(folder: &Path) {
    let (code, text) = tidegate(&["show", "export", "3"], folder);
    assert_eq!(code, 0, "{text}");
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_kind = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
    assert_eq!(of_kind("show").next().unwrap()["phase"], "open");
    let questions: Vec<&Json> = of_kind("question").collect();
    assert_eq!(questions.len(), 2, "only what was asked is there");
    assert_eq!(questions[0]["correct"], json!([1]));
    for key in ["result_key", "question_key", "counts", "in_play"] {
        assert!(questions[1][key].is_null() && !questions[0][key].is_null(), "{key}");
    }
    assert_eq!(questions[1]["correct"], json!([]));
    assert!(of_kind("answer").all(|answer| answer["question"] == 0), "no answer to it");
    assert_eq!(of_kind("answer").count(), 8);
    let (code, text) = tidegate(&["show", "explain", "3", "--user", "1"], folder);
    assert!(code == 0 && text.contains("is still running (open)"), "{text}");
    assert!(text.contains("An answer is on record."), "{text}");
    assert!(text.contains("It is not revealed, so what it came to cannot be told."), "{text}");
}

/// The second run, with other shards: to the end of the show.
async fn second_run(folder: &Path) -> (Gateway, DataFolder) {
    let (gateway, lock) = begin(folder, 3);
    let mut players = Players::new();
    // One does not come back, and holds a card.
    enter(&gateway, &mut players, [KEEN, CARDED, MISJUDGED, RIGHTED]).await;
    answer(&mut players, MISJUDGED, 1, 2).await;
    answer(&mut players, RIGHTED, 1, 1).await;
    until_phase(&gateway, Phase::Closed).await;
    command(&gateway, Command::Reveal);
    // Whoever failed it is in the game again.
    command(&gateway, Command::Void);
    let options = [(KEEN, 1), (CARDED, 1), (MISJUDGED, 1), (RIGHTED, 0)];
    ask(&gateway, &mut players, 2, &options).await;
    until_phase(&gateway, Phase::Closed).await;
    command(&gateway, Command::Reveal);
    // The key was wrong: option 0 is correct, and who has no card to make it good is out.
    let (question, correct) = (QuestionIndex(2), OptionIndex(0));
    command(&gateway, Command::Rejudge { question, correct, confirm: true });
    until_phase(&gateway, Phase::Revealed).await;
    ask(&gateway, &mut players, 3, &[(RIGHTED, 1)]).await;
    until_phase(&gateway, Phase::Closed).await;
    command(&gateway, Command::Reveal);
    command(&gateway, Command::Settle);
    until_phase(&gateway, Phase::Settled).await;
    client::until("the payout", || status(&gateway).is_paid_out);
    command(&gateway, Command::End);
    until_phase(&gateway, Phase::Ended).await;
    (gateway, lock)
}

/// The export with one line changed, and the line at its end put right: as somebody would who means
/// to deceive.
fn altered(export: &str, to: &Path, is_it: fn(&Json) -> bool, change: fn(&mut Json)) {
    let mut changed = 0;
    let mut lines: Vec<String> = Vec::new();
    for line in export.lines() {
        let mut line: Json = serde_json::from_str(line).unwrap();
        if line["kind"] == "end" {
            continue;
        }
        if is_it(&line) {
            change(&mut line);
            changed += 1;
        }
        lines.push(line.to_string());
    }
    assert_eq!(changed, 1, "one line");
    let text = lines.join("\n") + "\n";
    let sha256 = hex::encode(&Sha256::digest(&text));
    let end = json!({"kind": "end", "lines": lines.len(), "sha256": sha256});
    std::fs::write(to, format!("{text}{end}\n")).unwrap();
}

fn explained(folder: &Path, user: u64) -> String {
    let (code, text) = tidegate(&["show", "explain", "3", "--user", &user.to_string()], folder);
    assert_eq!(code, 0, "{text}");
    text
}

#[tokio::test]
async fn a_stranger_recomputes_a_show_from_its_export() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    first_run(&first, &second).await;
    let (gateway, _lock) = second_run(&second).await;

    // The gateway still runs.
    let export = folder.path().join("show.jsonl");
    let path = export.to_str().unwrap();
    let (code, text) = tidegate(&["show", "export", "3", "--out", path], &second);
    assert!(code == 0 && text.is_empty(), "{text}");
    let (code, text) = tidegate(&["show", "export", "3", "--out", path], &second);
    assert!(code == 1 && text.contains("File exists"), "nothing is overwritten: {text}");
    gateway.stop();
    let written = std::fs::read_to_string(&export).unwrap();
    let (code, again) = tidegate(&["show", "export", "3", "--format", "jsonl"], &second);
    assert!(code == 0 && again == written, "it is the same when the gateway is gone");

    let (code, text) = recompute(&export);
    assert!(code == 0 && text.contains("show 3 holds: 9 players"), "{text}\n{written}");
    check_outcomes(&written);
    check_alterations(&written, folder.path());
    check_explanations(&second);
    check_complaints(&second, folder.path());
}

fn check_outcomes(export: &str) {
    let lines: Vec<Json> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = |user: u64, question: u64| {
        let found = lines.iter().find(|line| {
            line["kind"] == "answer" && line["user"] == user && line["question"] == question
        });
        found.map(|line| (line["verdict"].clone(), line["reason"].clone()))
    };
    for (user, question, verdict, reason) in [
        (KEEN, 0, json!("passed"), Json::Null),
        (CARDED, 0, json!("revived"), json!("wrong")),
        (WRONG, 0, json!("out"), json!("wrong")),
        (LATE, 0, json!("out"), json!("late")),
        (SILENT, 0, json!("out"), json!("silent")),
        (MISJUDGED, 1, Json::Null, Json::Null),
        (ABSENT, 2, json!("revived"), json!("unreachable")),
        (RIGHTED, 2, json!("passed"), Json::Null),
        (MISJUDGED, 2, json!("out"), json!("wrong")),
    ] {
        assert_eq!(answer(user, question), Some((verdict, reason)), "user {user} at {question}");
    }
    assert_eq!(answer(WRONG, 2), None, "who is out is asked nothing");
    assert_eq!(answer(SPECTATOR, 2), None);
    let question = lines.iter().find(|line| line["kind"] == "question" && line["question"] == 2);
    let question = question.unwrap();
    assert_eq!(question["correct"], json!([1, 0]));
    assert_eq!(question["coverage"]["served"], 4, "{question}");
    assert_eq!(question["shards"].as_array().unwrap().len(), 3);
    assert_eq!(lines.iter().filter(|line| line["kind"] == "run").count(), 2);
    let rain = lines.iter().find(|line| line["kind"] == "rain").unwrap();
    assert!(rain["ended"]["grabbed"].as_u64().unwrap() > 0, "{rain}");
}

/// A line that is altered, how, and what is said of it.
type Alteration = (fn(&Json) -> bool, fn(&mut Json), &'static str);

fn is_answer(line: &Json, user: u64) -> bool {
    line["kind"] == "answer" && line["user"] == user && line["question"] == 0
}

fn is_player(line: &Json, user: u64) -> bool {
    line["kind"] == "player" && line["user"] == user
}

const ALTERATIONS: [Alteration; 8] = [
    (
        |line| is_answer(line, KEEN),
        |line| line["option"] = json!(2),
        "user 1, question 0, verdict 0: the export says ('passed', None), computed is ('out', 'wrong')",
    ),
    (
        |line| is_answer(line, LATE),
        |line| {
            line["stamp_ns"] = json!(line["stamp_ns"].as_u64().unwrap() - 1_000_000_000);
            line["arrived_at_ns"] = line["stamp_ns"].clone();
        },
        "user 4, question 0, verdict 0: the export says ('out', 'late'), computed is ('passed', None)",
    ),
    (
        |line| is_player(line, CARDED),
        |line| line["cards_at_join"] = json!(7),
        "user 2, question 0, cards held",
    ),
    (
        |line| is_player(line, SILENT),
        |line| line["visits"][0]["until_ns"] = line["visits"][0]["since_ns"].clone(),
        "verdict 0: the export says ('out', 'silent'), computed is ('out', 'unreachable')",
    ),
    (
        |line| is_player(line, MISJUDGED),
        |line| line["prize_cents"] = json!(1),
        "user 7, prize: the export says 1, computed is 0",
    ),
    (
        |line| line["kind"] == "settlement",
        |line| line["per_head_cents"] = json!(10_000),
        "share of each: the export says 10000, computed is 10001",
    ),
    (
        |line| line["kind"] == "question" && line["question"] == 0,
        |line| line["result_key"] = json!("00".repeat(32)),
        "question 0, commitment: ",
    ),
    (
        |line| is_player(line, KEEN),
        |line| line["packets"][0]["cents"] = json!(999),
        "rain 0, user 1, tap ",
    ),
];

fn check_alterations(export: &str, folder: &Path) {
    let path: PathBuf = folder.join("altered.jsonl");
    for (is_it, change, expected) in ALTERATIONS {
        altered(export, &path, is_it, change);
        let (code, text) = recompute(&path);
        assert!(code == 1 && text.contains(expected), "{expected}: {text}");
    }
    // Nor does a line go unnoticed that is changed without more.
    let other = export.replacen("\"title\":\"A test\"", "\"title\":\"A rest\"", 1);
    std::fs::write(&path, other).unwrap();
    let (code, text) = recompute(&path);
    assert!(code == 1 && text.contains("SHA-256 of the lines"), "{text}");
    std::fs::write(&path, export.lines().next().unwrap()).unwrap();
    let (code, text) = recompute(&path);
    assert!(code == 2 && text.contains("the export is not whole"), "{text}");
}

fn check_explanations(folder: &Path) {
    for (user, sentences) in [
        (
            KEEN,
            &[
                "Show 3, “A test”, is over.",
                "and held no revive card then",
                "Question 0, “Question 0?”: it opened at ",
                "The answer was option 1 (“b”). It reached the gateway at ",
                " before the deadline. That was correct and in time: the question is passed.",
                "The question was voided at ",
                "Its key was corrected to option 0 (“a”), and it was judged again (1): that was wrong",
                "No revive card was held when the answer was judged first. The user is out.",
                "In red-packet rains the user won ",
                "User 1 is none of them and got nothing of it.",
            ][..],
        ),
        (
            CARDED,
            &[
                "Meanwhile it was granted 1 revive card.",
                "Meanwhile 1 revive card expired.",
                "That was wrong, the correct option was option 1 (“b”). A revive card was used",
                "was used at question 0 already. The user is out.",
            ],
        ),
        (
            LATE,
            &[" after the deadline. That was too late", "does not cover that. The user is out."],
        ),
        (SILENT, &["It was offered to the user ", "No answer came. No answer in time counts"]),
        (ABSENT, &["The user had no open connection in the room by ", "A revive card was used"]),
        (
            RIGHTED,
            &[
                "extended 1 time",
                "The pool of 10001 cents was shared by 1 winner: 10001 cents each, and 0 cents went \
                 to the account “house”. User 8 passed every question that counts and got 10001 cents.",
            ],
        ),
        (
            SPECTATOR,
            &["after the first question that counts had closed, so the user could only watch"],
        ),
    ] {
        let text = explained(folder, user);
        for sentence in sentences {
            assert!(text.contains(sentence), "user {user}: {sentence:?} is not in\n{text}");
        }
    }
    let (code, text) = tidegate(&["show", "explain", "3", "--user", "2", "--json"], folder);
    let said: Json = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &said["user"], &said["player"]["outcome"]), (0, &json!(2), &json!("out")));
    assert!(said["sentences"].as_array().unwrap().len() > 3 && said["answers"].is_array());
}

fn check_complaints(folder: &Path, elsewhere: &Path) {
    for (arguments, data, expected) in [
        (&["show", "explain", "3", "--user", "77"][..], folder, "user 77 never joined it"),
        (
            &["show", "explain", "4", "--user", "1"],
            folder,
            "there is no show 4 in this folder; there are: 3",
        ),
        (&["show", "export", "4"], folder, "there is no show 4"),
        (&["show", "export", "3"], elsewhere, "there is no deployment in this folder"),
    ] {
        let (code, text) = tidegate(arguments, data);
        assert!(code == 1 && text.contains(expected), "{arguments:?}: {text}");
    }
    // Without the run in which it began, a show cannot be told.
    let half = elsewhere.join("half");
    copy(folder, &half);
    std::fs::remove_dir_all(half.join("runs/00000001")).unwrap();
    let (code, text) = tidegate(&["show", "export", "3"], &half);
    assert!(code == 1 && text.contains("show 3 had begun before run 2"), "{text}");
    // A damaged journal is named.
    let broken = elsewhere.join("broken");
    copy(folder, &broken);
    let segment = broken.join("runs/00000001/shard-0000/00000001.journal");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[2 * 4_096 + 60] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let (code, text) = tidegate(&["show", "export", "3"], &broken);
    assert!(code == 1 && text.contains("a group that was durable cannot be read"), "{text}");
}
