//! What outlives the process: a deployment's folder, copied while its gateway runs, as a crash would
//! leave it, and begun again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::path::Path;
use std::process::{Command as Process, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate::auth::revocation::Revocation;
use tidegate::base::hash::Placement;
use tidegate::base::ids::{RoomId, ShowId, UserId};
use tidegate::quiz::definition::{ShowDefinition, Timing};
use tidegate::quiz::director::{Command, Notice};
use tidegate::quiz::event::ShowEvent;
use tidegate::quiz::money::Cents;
use tidegate::quiz::phase::Phase;
use tidegate::quiz::rain::RainCommand;
use tidegate::runtime::data::journals::journals;
use tidegate::runtime::data::{DataError, DataFolder, Deployment, RecoveryReport};
use tidegate::runtime::gateway::{Gateway, GatewaySettings};
use tidegate::shard::operator::{Mute, OperatorAnswer, OperatorRequest, ShowStatus};
use tidegate::shard::record::Record;
use tidegate::shard::service::{RoomSettings, ServiceAnswer, ServiceRequest};
use tidegate::shard::standing::{Order, OrderKey};
use tidegate::store::record;
use tidegate::store::scan::{SegmentFile, scan};

use client::{Client, Json, quick_show, settings};

const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;
const PLAYERS: u64 = 12;

fn definition() -> Arc<ShowDefinition> {
    Arc::new(quick_show(SHOW, ROOM, 2))
}

/// A gateway on a folder, and what it found there.
fn begin(path: &Path, shards: u16) -> Result<(Gateway, DataFolder, RecoveryReport), DataError> {
    begin_as(path, &settings(shards))
}

fn begin_as(
    path: &Path,
    settings: &GatewaySettings,
) -> Result<(Gateway, DataFolder, RecoveryReport), DataError> {
    let shards = settings.shards;
    let folder = DataFolder::open(path)?;
    if folder.deployment()?.is_none() {
        let deployment =
            Deployment::new(settings.buckets, &settings.placement_key.0, &settings.ticket_key);
        folder.begin_deployment(&deployment)?;
    }
    let placement = Placement::new(settings.placement_key, settings.buckets, shards);
    let recovered = folder.begin_run(placement)?;
    let report = recovered.report.clone();
    Ok((Gateway::start_recovered(settings, recovered).unwrap(), folder, report))
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
    let answer = gateway.call(request);
    assert!(matches!(answer, Ok(OperatorAnswer::Done | OperatorAnswer::Cards(_))), "{answer:?}");
}

fn command(gateway: &Gateway, command: Command) {
    order(gateway, OperatorRequest::Command { show: SHOW, command });
}

fn status(gateway: &Gateway) -> ShowStatus {
    match gateway.call(OperatorRequest::Status { show: SHOW }) {
        Ok(OperatorAnswer::Show(status)) => *status,
        other => panic!("expected a status, got {other:?}"),
    }
}

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

async fn players(gateway: &Gateway) -> Vec<Client> {
    let mut players = Vec::new();
    for user in 1..=PLAYERS {
        players.push(Client::in_room(gateway, user, ROOM).await);
    }
    players
}

async fn answer(client: &mut Client, question: u64, option: u64) -> Json {
    let answer = json!({"showId": SHOW.0.to_string(), "question": question, "option": option});
    client.request("a", json!({"answer": answer})).await;
    client.until_response("a").await["answerReceived"]["result"].take()
}

/// Two of three cards expire, which is known after a restart, too.
fn keep_one_card_of_three(gateway: &Gateway, user: UserId) {
    for _ in 0..3 {
        order(gateway, OperatorRequest::GrantCard { user });
    }
    order(gateway, OperatorRequest::ExpireCards { user, cards_max: 2 });
}

#[tokio::test]
async fn a_show_goes_on_with_other_shards_and_every_answer_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (gateway, _lock, report) = begin(&first, 2).unwrap();
    assert_eq!((report.run, report.shards_before), (1, 0));
    order(&gateway, OperatorRequest::Announce(definition()));
    command(&gateway, Command::OpenLobby);
    keep_one_card_of_three(&gateway, UserId(2));
    let mut before = players(&gateway).await;
    command(&gateway, Command::Publish);
    let mut results = Vec::new();
    for (place, player) in before.iter_mut().enumerate().take(6) {
        player.until("question").await;
        // The first is right, the second wrong and saved by a card, the others wrong.
        results.push(answer(player, 0, if place == 0 { 1 } else { 2 }).await);
    }
    let expiry = OperatorRequest::ExpireCards { user: UserId(2), cards_max: 1 };
    let refused = gateway.call(expiry).unwrap_err().to_string();
    assert!(refused.contains("user 2 has joined show"), "{refused}");
    // As a crash leaves it: everything that was acknowledged is there.
    copy(&first, &second);
    drop(before);
    gateway.stop();

    let (gateway, _lock, report) = begin(&second, 3).unwrap();
    assert_eq!((report.run, report.shards_before, report.shows), (2, 2, 1));
    assert_eq!(report.users, usize::try_from(PLAYERS).unwrap());
    let found = status(&gateway);
    assert_eq!(found.live.phase, Phase::Open);
    assert!(
        matches!(found.notices[..], [Notice::ResumedAfterRestart { .. }]),
        "{:?}",
        found.notices
    );
    let mut after = players(&gateway).await;
    for (place, player) in after.iter_mut().enumerate() {
        let snapshot = player.until("snapshot").await;
        let option = if place == 0 { json!(1) } else { json!(2) };
        // What is left of its cards; that one is spent shows with the reveal.
        let cards = snapshot["reviveCards"].as_u64().unwrap_or(0);
        assert_eq!(cards, u64::from(place == 1), "player {place}");
        let recorded = &snapshot["recordedOption"];
        assert_eq!(recorded, &if place < 6 { option } else { Json::Null }, "player {place}");
        if place < 6 {
            assert_eq!(snapshot["recordedResult"], results[place]);
            // A repeat, even with another option, gets the reply of the run before.
            assert_eq!(answer(player, 0, 0).await, results[place]);
        }
    }
    answer(&mut after[6], 0, 1).await;
    let closed = until_phase(&gateway, Phase::Closed).await;
    let counts = closed.questions[0].counts.unwrap();
    assert_eq!((counts.answered, counts.correct, counts.revived), (7, 2, 1));
    assert_eq!((counts.silent, counts.eliminated), (5, 9));
    command(&gateway, Command::Reveal);
    command(&gateway, Command::Publish);
    for place in [0, 1, 6] {
        after[place].until("question").await;
        answer(&mut after[place], 1, 1).await;
    }
    until_phase(&gateway, Phase::Closed).await;
    command(&gateway, Command::Reveal);
    command(&gateway, Command::Settle);
    drop(after);
    let settled = until_phase(&gateway, Phase::Settled).await.settlement.unwrap();
    assert_eq!((settled.winners, settled.per_head, settled.remainder), (3, Cents(3_333), Cents(2)));
    gateway.stop();

    // The folder is another run's now, in which nobody is paid twice.
    drop(_lock);
    let (gateway, _lock, report) = begin(&second, 1).unwrap();
    assert_eq!((report.run, report.shards_before, report.ended_in_order), (3, 3, true));
    let again = until_phase(&gateway, Phase::Settled).await;
    assert_eq!(again.settlement, Some(settled));
    client::until("the payout", || status(&gateway).is_paid_out);
    gateway.stop();
}

#[tokio::test]
async fn a_ticket_binds_and_keeps_its_stamp_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let mut hurried = settings(2);
    hurried.admission.force_retry_percent = 100;
    let (gateway, _lock, _) = begin_as(&first, &hurried).unwrap();
    let usual = definition();
    let timing = Timing { countdown: Duration::from_secs(4), ..usual.timing };
    let unhurried = ShowDefinition { timing, ..(*usual).clone() };
    order(&gateway, OperatorRequest::Announce(Arc::new(unhurried)));
    command(&gateway, Command::OpenLobby);
    let mut player = Client::in_room(&gateway, 1, ROOM).await;
    command(&gateway, Command::Publish);
    player.until("question").await;
    let show_id = SHOW.0.to_string();
    let asked = json!({"showId": show_id, "question": 0, "option": 1});
    player.request("a", json!({"answer": asked})).await;
    let ticket = player.until_response("a").await["retryAnswer"]["ticket"].take();
    assert!(ticket.is_string(), "{ticket}");
    // The client has it, so the crash must not forget it. By now the ticket has expired as well.
    copy(&first, &second);
    drop(player);
    gateway.stop();
    tokio::time::sleep(Duration::from_secs(5)).await;

    let (gateway, _lock, _) = begin(&second, 3).unwrap();
    let mut player = Client::in_room(&gateway, 1, ROOM).await;
    player.until("snapshot").await;
    let other = json!({"showId": show_id, "question": 0, "option": 2});
    player.request("b", json!({"answer": other})).await;
    let refused = player.until_response("b").await;
    assert_eq!(refused["reason"], "REASON_ANSWER_BOUND", "{refused}");
    let again = json!({"showId": show_id, "question": 0, "option": 1, "ticket": ticket});
    player.request("c", json!({"answer": again})).await;
    let received = player.until_response("c").await;
    assert!(received["answerReceived"]["result"].is_object(), "{received}");
    let counts = until_phase(&gateway, Phase::Closed).await.questions[0].counts.unwrap();
    assert_eq!((counts.correct, counts.by_ticket), (1, 1));
    gateway.stop();
}

/// Whoever enters is told a reason, or nothing if it is let in.
async fn refusal(gateway: &Gateway, user: u64) -> Option<String> {
    let target = format!("/?token={}&room=41", client::token(user));
    let mut client = Client::connect(gateway, &target).await;
    let first = client.next().await;
    first["failure"]["reason"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn what_operators_ordered_stays_in_force_with_other_shards() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (gateway, _lock, _) = begin(&first, 2).unwrap();
    order(&gateway, OperatorRequest::Announce(definition()));
    let service = |request| OperatorRequest::Service(request);
    let ban = |user, until_unix_s| service(ServiceRequest::Ban { user, until_unix_s });
    for user in 1..=4 {
        gateway.call(ban(UserId(user), Some(i64::MAX))).unwrap();
    }
    gateway.call(ban(UserId(4), None)).unwrap();
    let revoke = |user| Revocation::User {
        user: UserId(user),
        issued_until_unix_s: None,
        refused_until_unix_s: Some(i64::MAX),
    };
    order(&gateway, OperatorRequest::Revoke(revoke(5)));
    let lasting = Duration::from_secs(3_600);
    let mute = Mute { user: UserId(6), room: RoomId(0), lasting };
    order(&gateway, OperatorRequest::Mute(mute));
    let own = RoomSettings { chat_per_second: Some(77), ..RoomSettings::default() };
    for room in 40..44 {
        let (room, settings) = (RoomId(room), own.clone());
        gateway.call(service(ServiceRequest::ConfigureRoom { room, settings })).unwrap();
    }
    order(&gateway, OperatorRequest::CloseRoom(RoomId(43)));
    copy(&first, &second);
    gateway.stop();

    let (gateway, _lock, _) = begin(&second, 3).unwrap();
    let reasons = |reason: &str| Some(reason.to_owned());
    for user in 1..=3 {
        assert_eq!(refusal(&gateway, user).await, reasons("REASON_BANNED"), "user {user}");
    }
    assert_eq!(refusal(&gateway, 4).await, None, "the ban was lifted");
    assert_eq!(refusal(&gateway, 5).await, reasons("REASON_TOKEN_REVOKED"));
    let mut muted = Client::in_room(&gateway, 6, 41).await;
    muted.request("c", json!({"chat": {"text": "hello"}})).await;
    assert_eq!(muted.until_response("c").await["reason"], "REASON_MUTED");
    for room in 40..43 {
        match gateway.call(service(ServiceRequest::Room(RoomId(room)))).unwrap() {
            OperatorAnswer::Service(ServiceAnswer::Room(view)) => {
                assert_eq!((view.settings, view.is_created), (own.clone(), true));
            }
            other => panic!("{other:?}"),
        }
    }
    let again = ServiceRequest::ConfigureRoom { room: RoomId(43), settings: own };
    let refused = gateway.call(service(again)).unwrap_err().to_string();
    assert!(refused.contains("room 43 has ended"), "{refused}");
    gateway.stop();
}

#[tokio::test]
async fn an_order_with_a_key_is_carried_out_once_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let once = |fingerprint, request| {
        let order = Order { key: OrderKey([5; 16]), fingerprint };
        OperatorRequest::Once { order, request: Box::new(request) }
    };
    let fund = || OperatorRequest::Rain { show: SHOW, command: RainCommand::Fund(Cents(500)) };
    let (gateway, _lock, _) = begin(&first, 2).unwrap();
    order(&gateway, OperatorRequest::Announce(definition()));
    let refused = OperatorRequest::Rain { show: SHOW, command: RainCommand::Fund(Cents(-1)) };
    assert!(gateway.call(once(1, refused)).is_err(), "what was refused was not carried out");
    order(&gateway, once(1, fund()));
    order(&gateway, once(1, fund()));
    assert_eq!(status(&gateway).rain_fund, Cents(500));
    copy(&first, &second);
    gateway.stop();

    let (gateway, _lock, _) = begin(&second, 1).unwrap();
    order(&gateway, once(1, fund()));
    assert_eq!(status(&gateway).rain_fund, Cents(500), "its answer was lost, not the order");
    assert!(gateway.call(once(2, fund())).is_err(), "another order with its key");
    order(&gateway, fund());
    assert_eq!(status(&gateway).rain_fund, Cents(1_000), "without a key it is another order");
    gateway.stop();
}

fn tidegate(arguments: &[&str], folder: &Path) -> (i32, String) {
    let mut process = Process::new(env!("CARGO_BIN_EXE_tidegate"));
    let Output { status, stdout, stderr } =
        process.args(arguments).arg("--data").arg(folder).output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn damage_is_found_named_and_cut_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (gateway, lock, _) = begin(path, 1).unwrap();
    assert!(matches!(DataFolder::open(path), Err(DataError::InUse(_))), "one process at a time");
    for user in 1..=40 {
        order(&gateway, OperatorRequest::GrantCard { user: UserId(user) });
    }
    gateway.stop();
    drop(lock);
    let (code, text) = tidegate(&["journal", "verify"], path);
    assert!(code == 0 && text.contains("40 records") && text.contains("ended in order"), "{text}");
    let (_, text) = tidegate(&["journal", "inspect", "--limit", "2"], path);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("record 2: CardGranted { user: UserId(2), grant: "), "{text}");

    let segment = path.join("runs/00000001/shard-0000/00000001.journal");
    let mut bytes = std::fs::read(&segment).unwrap();
    // In the group behind the header and nineteen groups of a block each.
    bytes[20 * 4_096 + 60] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let refused = begin(path, 1).err().expect("nobody starts on it").to_string();
    assert!(
        refused.contains("segment 1, offset 81920") && refused.contains("journal repair"),
        "{refused}"
    );
    let (code, text) = tidegate(&["journal", "verify"], path);
    assert!(code == 1 && text.contains("offset 81920"), "{text}");
    let (code, text) = tidegate(&["journal", "repair"], path);
    assert!(code == 0 && text.contains("nothing was changed"), "{text}");
    let (code, text) = tidegate(&["journal", "repair", "--yes"], path);
    assert!(code == 0 && text.contains("00000001.journal.damaged"), "{text}");
    let (gateway, _lock, report) = begin(path, 2).unwrap();
    assert_eq!((report.records, report.users), (19, 19), "what was before the damage is there");
    gateway.stop();
}

/// The group in which a show's question was opened, in the one segment of its director's journal.
fn opening_group(bytes: &[u8]) -> usize {
    let mut found = None;
    scan(&[SegmentFile { segment: 1, bytes }], &mut |at, stored| {
        if let Ok(Record::Event(event)) = record::decode(stored.payload)
            && matches!(event.event, ShowEvent::QuestionOpened(_))
        {
            found.get_or_insert(at.offset);
        }
    })
    .unwrap();
    usize::try_from(found.unwrap()).unwrap()
}

#[tokio::test]
async fn when_a_directors_journal_is_cut_the_other_shards_are_cut_to_match() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (gateway, lock, _) = begin(path, 2).unwrap();
    order(&gateway, OperatorRequest::Announce(definition()));
    command(&gateway, Command::OpenLobby);
    command(&gateway, Command::Publish);
    until_phase(&gateway, Phase::Closed).await;
    gateway.stop();
    drop(lock);
    let placement = Placement::new(settings(2).placement_key, settings(2).buckets, 2);
    let home = placement.show_home(SHOW);
    let segment = path.join(format!("runs/00000001/shard-{:04}/00000001.journal", home.0));
    let mut bytes = std::fs::read(&segment).unwrap();
    let offset = opening_group(&bytes);
    bytes[offset + 60] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    // The director's own journal alone: whoever starts on the others is told what to do.
    let lock = DataFolder::open(path).unwrap();
    let own = journals(path).unwrap().into_iter().find(|it| it.shard == home).unwrap();
    let damage = match own.read(&mut |_, _| Ok(())) {
        Err(DataError::Damage { damage, .. }) => damage,
        other => panic!("{other:?}"),
    };
    lock.cut(&own, damage).unwrap();
    drop(lock);
    let refused = begin(path, 2).err().expect("events are missing").to_string();
    assert!(refused.contains("of show 3") && refused.contains("journal repair"), "{refused}");
    let (code, text) = tidegate(&["journal", "repair"], path);
    assert!(code == 0 && text.contains("nothing was changed"), "{text}");
    let (code, text) = tidegate(&["journal", "repair", "--yes"], path);
    assert!(code == 0 && text.contains("put aside"), "{text}");
    let (_, text) = tidegate(&["journal", "repair"], path);
    assert_eq!(text, "", "nothing is left to be cut");
    let (gateway, _lock, _) = begin(path, 3).unwrap();
    assert_eq!(status(&gateway).live.phase, Phase::Lobby);
    command(&gateway, Command::Publish);
    gateway.stop();
}

/// Operators write paths as they stand in their shell.
#[tokio::test]
async fn a_relative_path_is_a_folder_too() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let relative = Path::new(folder.path().file_name().unwrap());
    let (gateway, _lock, _) = begin(relative, 1).unwrap();
    order(&gateway, OperatorRequest::GrantCard { user: UserId(1) });
    gateway.stop();
}
