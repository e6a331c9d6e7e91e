//! Copies of a deployment's folder, made while a show runs in it, and what is begun from them; and
//! which runs may go.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tidegate::base::hash::Placement;
use tidegate::base::ids::{ShowId, UserId};
use tidegate::ledger::book::{Batch, Book, Position};
use tidegate::quiz::definition::ShowDefinition;
use tidegate::quiz::director::Command;
use tidegate::quiz::phase::Phase;
use tidegate::runtime::data::backup::{BackupError, Manifest, backup, restore};
use tidegate::runtime::data::retention::{Keep, Kept, RUNS_FEED, old_runs, prune};
use tidegate::runtime::data::{DataFolder, Deployment, RecoveryReport, runs};
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest};

use client::{Client, quick_show, settings};

const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;
const PLAYERS: u64 = 12;
const DAY_MS: i64 = 86_400_000;

fn definition() -> Arc<ShowDefinition> {
    Arc::new(quick_show(SHOW, ROOM, 2))
}

/// A gateway on a folder, and what it found there.
fn begin(path: &Path, shards: u16) -> (Gateway, DataFolder, RecoveryReport) {
    let mut settings = settings(shards);
    // Copies take their time on a busy machine, and the players here send no heartbeats.
    settings.idle_timeout_ms = 600_000;
    let folder = DataFolder::open(path).unwrap();
    if folder.deployment().unwrap().is_none() {
        let deployment =
            Deployment::new(settings.buckets, &settings.placement_key.0, &settings.ticket_key);
        folder.begin_deployment(&deployment).unwrap();
    }
    let placement = Placement::new(settings.placement_key, settings.buckets, shards);
    let recovered = folder.begin_run(placement).unwrap();
    let report = recovered.report.clone();
    (Gateway::start_recovered(&settings, recovered).unwrap(), folder, report)
}

fn order(gateway: &Gateway, request: OperatorRequest) {
    let answer = gateway.call(request);
    assert!(matches!(answer, Ok(OperatorAnswer::Done | OperatorAnswer::Cards(_))), "{answer:?}");
}

fn phase(gateway: &Gateway) -> Phase {
    match gateway.call(OperatorRequest::Status { show: SHOW }) {
        Ok(OperatorAnswer::Show(status)) => status.live.phase,
        other => panic!("expected a status, got {other:?}"),
    }
}

/// The book has everything up to and with a run.
fn pass(path: &Path, after: u64, run: u64) {
    let (after, through) = (Position(after), Position(run));
    let batch = Batch { feed: RUNS_FEED, after, through, causes: vec![] };
    Book::open(path).unwrap().apply(&[batch]).unwrap();
}

/// How many causes are in the book: all of the journal's, but nothing was settled here, which `verify`
/// says as well.
fn booked(path: &Path) -> usize {
    let (status, said) = tidegate(&["ledger", "verify", "--data", path.to_str().unwrap()]);
    let count = said.lines().find_map(|line| Some(line.split_once(" causes, ")?.0));
    assert!(!said.contains("not in the"), "{said}");
    assert!(status == 1 && said.contains("settled"), "{said}");
    count.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

fn tidegate(arguments: &[&str]) -> (i32, String) {
    let mut process = Process::new(env!("CARGO_BIN_EXE_tidegate"));
    let Output { status, stdout, stderr } = process.args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// Grants cards to ever new users until it is dropped, and knows how many were acknowledged.
struct Granting {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Granting {
    fn start(gateway: &Gateway) -> Granting {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended, caller) =
            (Arc::clone(&acknowledged), Arc::clone(&stop), gateway.caller());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let user = UserId(1_000 + count.load(Ordering::SeqCst));
                caller.call(OperatorRequest::GrantCard { user }).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Granting { acknowledged, stop, thread: Some(thread) }
    }
}

impl Drop for Granting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_live_gateway_has_all_that_was_acknowledged_and_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("data");
    let (gateway, _lock, _) = begin(&data, 2);
    order(&gateway, OperatorRequest::Announce(definition()));
    order(&gateway, OperatorRequest::Command { show: SHOW, command: Command::OpenLobby });
    let mut players = Vec::new();
    for user in 1..=PLAYERS {
        players.push(Client::in_room(&gateway, user, ROOM).await);
    }
    let granting = Granting::start(&gateway);
    let mut copies = Vec::new();
    for round in 0..4 {
        match round {
            0 => {
                order(&gateway, OperatorRequest::Command { show: SHOW, command: Command::Publish })
            }
            1 | 2 => {
                for player in &mut players[if round == 1 { 0..6 } else { 6..12 }] {
                    player.until("question").await;
                    let answer = json!({"showId": "3", "question": 0, "option": 1});
                    player.request("a", json!({"answer": answer})).await;
                    player.until_response("a").await;
                }
            }
            _ => {
                for _ in 0..1_000 {
                    if phase(&gateway) == Phase::Closed {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                order(&gateway, OperatorRequest::Command { show: SHOW, command: Command::Reveal });
            }
        }
        let acknowledged = granting.acknowledged.load(Ordering::SeqCst);
        let seen = phase(&gateway);
        let (from, to) = (data.clone(), path(&format!("copy-{round}")));
        let made = tokio::task::spawn_blocking(move || backup(&from, &to)).await.unwrap().unwrap();
        copies.push((round, acknowledged, seen, made));
    }
    drop((granting, players));
    gateway.stop();
    let grants: Vec<u64> = copies.iter().map(|copy| copy.1).collect();
    assert!(grants.windows(2).all(|pair| pair[0] < pair[1]), "it was live: {grants:?}");
    for (round, acknowledged, seen, made) in copies {
        let (copy, again) = (path(&format!("copy-{round}")), path(&format!("again-{round}")));
        let manifest: Manifest = restore(&copy, &again).unwrap();
        assert_eq!(manifest, made);
        let (gateway, _lock, report) = begin(&again, 3);
        assert_eq!((report.run, report.shards_before, report.shows), (2, 2, 1));
        assert_eq!((report.records, report.torn.len()), (made.records, 0));
        assert!(report.users as u64 >= acknowledged + PLAYERS, "round {round}: {report:?}");
        // What the director had told before the copy began is in it; it may have gone on since.
        let found = phase(&gateway);
        let same = found == seen || seen == Phase::Open && found != Phase::Lobby;
        assert!(same, "round {round}: {seen} became {found}");
        gateway.stop();
        drop(_lock);
        let (status, said) = tidegate(&["ledger", "rebuild", "--data", again.to_str().unwrap()]);
        assert_eq!(status, 0, "{said}");
        assert!(booked(&again) as u64 >= acknowledged, "round {round}");
        let (status, said) = tidegate(&["journal", "verify", "--data", again.to_str().unwrap()]);
        assert_eq!(status, 0, "{said}");
    }
}

/// Serves from the folder until it listens, then ends it.
fn serve(data: &Path) -> String {
    let arguments = ["serve", "--shards", "2", "--listen", "127.0.0.1:0", "--data"];
    let mut child = Process::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .arg(data)
        .env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_PLAYER_API__LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_QUIZ__BUCKET_COUNT", "64")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in lines.by_ref() {
        log += &format!("{}\n", line.unwrap());
        if log.contains("player HTTP is listening") {
            break;
        }
    }
    let killed = Process::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    log.extend(lines.map(|line| format!("{}\n", line.unwrap())));
    assert!(child.wait().unwrap().success(), "{log}");
    log
}

#[test]
fn the_commands_copy_and_bring_back_a_folder_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (gateway, lock, _) = begin(&folder.path().join("data"), 1);
    for user in 1..=40 {
        order(&gateway, OperatorRequest::GrantCard { user: UserId(user) });
    }
    let (status, said) = tidegate(&["backup", "--data", &text("data"), "--to", &text("copy")]);
    assert!(status == 0 && said.contains("run 1 with 40 records"), "{said}");
    gateway.stop();
    drop(lock);
    let (status, said) = tidegate(&["restore", "--from", &text("copy"), "--data", &text("new")]);
    assert!(status == 0 && said.contains("every checksum agrees"), "{said}");
    let log = serve(&folder.path().join("new"));
    assert!(log.contains("users=40") && log.contains("run=2"), "{log}");
    // The gateway has fed what was copied, and a copy has the book as it is.
    assert_eq!(booked(&folder.path().join("new")), 40);
    for (verb, from, place, to) in
        [("backup", "--data", "--to", "copy-2"), ("restore", "--from", "--data", "new-2")]
    {
        let of = if verb == "backup" { text("new") } else { text("copy-2") };
        let (status, said) = tidegate(&[verb, from, &of, place, &text(to)]);
        assert_eq!(status, 0, "{said}");
    }
    assert_eq!(booked(&folder.path().join("new-2")), 40);
    // Its first run, which the book had passed, was not copied: the book is the only one that knows.
    let (status, said) = tidegate(&["ledger", "rebuild", "--data", &text("new-2")]);
    assert!(status == 1 && said.contains("journals of old runs are gone"), "{said}");
    assert_eq!(booked(&folder.path().join("new-2")), 40);
    let (status, said) = tidegate(&["journal", "sizes", "--data", &text("new")]);
    assert!(status == 0 && said.contains("CardGranted: 40 records"), "{said}");
}

#[test]
fn what_is_no_copy_or_no_place_for_one_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (gateway, lock, _) = begin(&path("data"), 1);
    for user in 1..=5 {
        order(&gateway, OperatorRequest::GrantCard { user: UserId(user) });
    }
    gateway.stop();
    drop(lock);
    let nothing = path("nothing");
    assert!(matches!(backup(&nothing, &path("a")), Err(BackupError::NoDeployment(_))));
    assert!(matches!(backup(&path("data"), &path("data")), Err(BackupError::Exists(_))));
    assert!(matches!(backup(&path("data"), &path("data/x")), Err(BackupError::Inside(_))));
    std::fs::create_dir(path("copy")).unwrap();
    let made = backup(&path("data"), &path("copy")).expect("an empty folder is a place");
    assert!(!made.has_book() && made.records == 5);
    assert!(matches!(backup(&path("data"), &path("copy")), Err(BackupError::Exists(_))));
    assert!(matches!(restore(&path("copy"), &path("data")), Err(BackupError::Exists(_))));
    assert!(matches!(restore(&path("data"), &path("b")), Err(BackupError::NoManifest(_))));
    std::fs::create_dir(path("c.part")).unwrap();
    assert!(matches!(backup(&path("data"), &path("c")), Err(BackupError::Leftover(_))));

    let segment = path("copy/runs/00000001/shard-0000/00000001.journal");
    let whole = std::fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[5_000] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    let refused = restore(&path("copy"), &path("d")).unwrap_err();
    assert!(refused.to_string().contains("00000001.journal"), "{refused}");
    assert!(matches!(refused, BackupError::Differs { .. }));
    std::fs::remove_file(&segment).unwrap();
    assert!(matches!(restore(&path("copy"), &path("d")), Err(BackupError::Data(_))));
    std::fs::write(&segment, &whole).unwrap();
    let manifest = path("copy/backup.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    for (from, to) in [
        ("\"deployment.json\"", "\"../deployment.json\""),
        ("\"deployment.json\"", "\"/deployment.json\""),
        ("\"deployment.json\"", "\"elsewhere.json\""),
        ("\"layout\": 1", "\"layout\": 2"),
        ("{", "["),
    ] {
        std::fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
        let refused = restore(&path("copy"), &path("d")).unwrap_err();
        assert!(matches!(refused, BackupError::Manifest { .. }), "{to}: {refused}");
    }
    std::fs::write(&manifest, &text).unwrap();
    let left: Vec<PathBuf> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!left.contains(&path("d")) && !left.contains(&path("d.part")), "{left:?}");
    restore(&path("copy"), &path("d")).expect("it is whole again");
}

#[test]
fn runs_go_when_nobody_needs_them_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for _ in 0..5 {
        let (gateway, _lock, _) = begin(path, 1);
        order(&gateway, OperatorRequest::GrantCard { user: UserId(1) });
        gateway.stop();
    }
    let now = i64::MAX / 2;
    let kept = |keep: Keep, now: i64| -> Vec<Option<Kept>> {
        old_runs(path, keep, now).unwrap().into_iter().map(|old| old.kept).collect()
    };
    let keep = |runs, days| Keep { runs, days };
    assert_eq!(kept(keep(1, 0), now), vec![Some(Kept::NotInBook); 4], "there is no book");
    pass(path, 0, 2);
    let (newest, missing) = (Some(Kept::Newest), Some(Kept::NotInBook));
    assert_eq!(kept(keep(1, 0), now), [None, None, missing, missing]);
    assert_eq!(kept(keep(4, 0), now), [None, newest, newest, newest]);
    // What a copy needs beside the newest run: what the book has not passed.
    let copy = folder.path().with_extension("copy");
    let made = backup(path, &copy).unwrap();
    let has =
        |run: u64| made.files.iter().any(|file| file.path == format!("runs/{run:08}/run.json"));
    assert_eq!([1, 2, 3, 4, 5].map(has), [false, false, true, true, true]);
    std::fs::remove_dir_all(&copy).unwrap();
    pass(path, 2, 4);
    let ended = old_runs(path, keep(1, 0), now).unwrap()[3].ended_unix_ms;
    let recent = Some(Kept::Recent);
    assert_eq!(kept(keep(1, 30), ended + 30 * DAY_MS - 1).last(), Some(&recent));
    assert_eq!(kept(keep(1, 30), ended + 30 * DAY_MS), [None; 4]);

    let text = path.to_str().unwrap();
    let dry = ["journal", "prune", "--data", text, "--keep-runs", "2", "--keep-days", "0"];
    let (status, said) = tidegate(&[&dry[..], &["--dry-run"]].concat());
    assert!(status == 0 && said.contains("run 3") && said.contains("would be removed"), "{said}");
    assert_eq!(runs(path).unwrap(), [1, 2, 3, 4, 5]);
    let (status, said) = tidegate(&["journal", "prune", "--data", text]);
    assert!(status == 0 && said.contains("one of the newest"), "{said}");
    assert_eq!(runs(path).unwrap(), [1, 2, 3, 4, 5], "by default a month is kept");
    // A process died while it removed something.
    std::fs::create_dir(path.join("runs/00000000.gone")).unwrap();
    let removed = prune(path, keep(2, 0), now).unwrap();
    assert_eq!(removed.iter().map(|old| old.run).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(runs(path).unwrap(), [4, 5]);
    assert!(!path.join("runs/00000000.gone").exists());

    // The newest run is damaged: what is before it stays.
    let state = path.join("runs/00000005/shard-0000/state-0000000000000000");
    let whole = std::fs::read(&state).unwrap();
    std::fs::write(&state, b"nothing").unwrap();
    assert_eq!(kept(keep(1, 0), now), [Some(Kept::Needed)]);
    std::fs::write(&state, whole).unwrap();
    let (gateway, _lock, report) = begin(path, 1);
    assert_eq!((report.run, report.users), (6, 1), "the deployment goes on");
    gateway.stop();
}
