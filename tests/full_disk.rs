//! A live show on a disk that runs full and is emptied again: nothing acknowledged is lost, nobody is
//! disconnected, the open question waits, and all goes on.
//!
//! The disk is a small tmpfs in a mount namespace of the test's own, which needs root or user
//! namespaces: `cargo test --test full_disk -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tidegate::base::hash::Placement;
use tidegate::base::ids::{OptionIndex, RoomId, ShardId, ShowId, UserId};
use tidegate::base::metrics::Metric;
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::director::{Command, Notice};
use tidegate::quiz::money::Cents;
use tidegate::quiz::phase::Phase;
use tidegate::runtime::data::DataFolder;
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};
use tidegate::store::format::BLOCK_BYTES;
use tidegate::store::writer::SEGMENT_BYTES_MIN;

use client::{Client, settings, until};

const CHILD: &str = "TIDEGATE_TEST_FULL_DISK";
const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;
const PLAYERS: u64 = 12;
const SHARDS: u16 = 2;
/// Groups of one block that fill a segment.
const GROUPS: u64 = SEGMENT_BYTES_MIN / BLOCK_BYTES as u64 - 1;
/// What the show itself may write before the disk is full.
const GROUPS_LEFT: u64 = 90;
/// Orders that fill what is left, several times over.
const FLOOD: usize = 300;
const COUNTDOWN: Duration = Duration::from_secs(8);

#[test]
#[ignore = "mounts a tmpfs: run it with --ignored, as root or where user namespaces are allowed"]
fn a_show_outlives_a_full_disk() {
    // The mount is gone with the namespace of the child.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|about| {
        use std::os::unix::fs::MetadataExt as _;
        about.uid() == 0
    });
    let namespace = if is_root { "--mount" } else { "--mount --user --map-root-user" };
    let output = Process::new("unshare")
        .args(namespace.split(' '))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "on_a_small_disk", "--ignored", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("unshare is part of util-linux");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The child of the test above; by itself it does nothing.
#[tokio::test]
#[ignore = "the child of another test"]
async fn on_a_small_disk() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path();
    let mounted = Process::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
        .arg(disk)
        .status()
        .unwrap();
    assert!(mounted.success(), "a tmpfs cannot be mounted here: run this as root");
    let data = disk.join("data");
    let (gateway, lock) = begin(&data, SHARDS);
    order(&gateway, OperatorRequest::Announce(definition()));
    command(&gateway, Command::OpenLobby);
    let mut players = Vec::new();
    for user in 1..=PLAYERS {
        players.push(Client::in_room(&gateway, user, ROOM).await);
    }
    // Both segments are full but for what the show needs to come to an open question.
    for shard in ShardId::all(SHARDS) {
        for user in users_of(shard).take(usize::try_from(GROUPS - GROUPS_LEFT).unwrap()) {
            order(&gateway, OperatorRequest::GrantCard { user });
        }
    }
    command(&gateway, Command::Publish);
    for player in &mut players {
        player.until("question").await;
    }
    for player in &mut players[..4] {
        is_acknowledged(player).await;
    }
    let ballast = disk.join("ballast");
    fill(&ballast);
    let floods = stands_still_and_says_so(&gateway).await;

    let mut tickets = Vec::new();
    for player in &mut players[4..8] {
        answer(player, "a", "").await;
        let reply = player.until_response("a").await;
        let ticket = reply["retryAnswer"]["ticket"].as_str();
        tickets.push(ticket.unwrap_or_else(|| panic!("{reply}")).to_owned());
    }
    for (player, ticket) in players[4..8].iter_mut().zip(&tickets) {
        answer(player, "b", ticket).await;
    }
    // Longer than the question had: it is still open, and everybody is still there.
    tokio::time::sleep(COUNTDOWN + Duration::from_secs(2)).await;
    assert_eq!(status(&gateway).live.phase, Phase::Open);
    assert_eq!(connections(&gateway), PLAYERS);

    std::fs::remove_file(&ballast).unwrap();
    until("the journals go on", || status(&gateway).journals_standing.is_empty());
    for player in &mut players {
        player.until("questionExtended").await;
    }
    for player in &mut players[8..10] {
        is_acknowledged(player).await;
    }
    let closed = until_closed(&gateway).await;
    let counts = closed.questions[0].counts.unwrap();
    assert_eq!((counts.answered, counts.by_ticket, counts.late, counts.silent), (10, 4, 0, 2));
    let notices = &closed.notices;
    assert!(notices.iter().any(|it| matches!(it, Notice::JournalsGoOn { .. })), "{notices:?}");
    assert!(notices.iter().any(|it| matches!(it, Notice::QuestionExtended { .. })), "{notices:?}");
    drop(players);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    gateway.stop();
    drop(lock);

    // And it is all on the disk, the answers with their first stamps.
    let (gateway, _lock) = begin(&data, 1);
    assert_eq!(status(&gateway).questions[0].counts, Some(counts));
    gateway.stop();
}

/// Uses up what is left of the segments, and waits until the gateway has noticed.
async fn stands_still_and_says_so(gateway: &Gateway) -> Vec<JoinHandle<()>> {
    let flood = |shard| {
        let caller = gateway.caller();
        std::thread::spawn(move || {
            for user in users_of(shard).skip(1_000).take(FLOOD) {
                // The last of these waits in vain: it promises nothing.
                if caller.call(OperatorRequest::GrantCard { user }).is_err() {
                    break;
                }
            }
        })
    };
    let floods: Vec<_> = ShardId::all(SHARDS).map(flood).collect();
    let standing = || status(gateway).journals_standing;
    for _ in 0..2_000 {
        if standing().len() == usize::from(SHARDS) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let found = status(gateway);
    assert_eq!(found.journals_standing.len(), usize::from(SHARDS), "{found:?}");
    let held = |notice: &Notice| matches!(notice, Notice::JournalsStand { .. });
    assert!(found.notices.iter().any(held), "{found:?}");
    gateway.wake_all();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for snapshot in gateway.snapshots() {
        for metric in [Metric::JournalStands, Metric::JournalWaiting, Metric::JournalFailures] {
            assert!(snapshot.get(metric) > 0, "{metric:?}");
        }
    }
    floods
}

fn connections(gateway: &Gateway) -> u64 {
    gateway.snapshots().iter().map(|it| it.get(Metric::Connections)).sum()
}

/// Answers, and is told that it is on record.
async fn is_acknowledged(player: &mut Client) {
    answer(player, "a", "").await;
    let reply = player.until_response("a").await;
    assert!(reply["answerReceived"]["result"].is_object(), "{reply}");
}

/// Leaves no byte free.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    let block = vec![1; BLOCK_BYTES];
    while file.write_all(&block).is_ok() {}
}

fn users_of(shard: ShardId) -> impl Iterator<Item = UserId> {
    let settings = settings(SHARDS);
    let placement = Placement::new(settings.placement_key, settings.buckets, SHARDS);
    (1_000..).map(UserId).filter(move |user| placement.user_home(*user) == shard)
}

fn definition() -> Arc<ShowDefinition> {
    let question = QuestionDefinition {
        text: "Which?".into(),
        options: vec!["a".into(), "b".into(), "c".into()],
        correct: OptionIndex(1),
    };
    Arc::new(ShowDefinition {
        id: SHOW,
        room: RoomId(ROOM),
        title: "A test".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(10_001),
        remainder_account: "house".into(),
        revive: ReviveCoverage { wrong: false, late: false, unreachable: false },
        timing: Timing {
            lead: Duration::from_millis(100),
            display_slack: Duration::from_millis(200),
            countdown: COUNTDOWN,
            ticket_life: Duration::from_secs(2),
            stream_delay: Duration::ZERO,
            extension_max: Duration::from_secs(60),
            early_push_max: Duration::ZERO,
        },
        questions: vec![question],
    })
}

/// A gateway with small segments.
fn begin(path: &Path, shards: u16) -> (Gateway, DataFolder) {
    let settings = settings(shards);
    let folder = DataFolder::open(path).unwrap();
    let placement = Placement::new(settings.placement_key, settings.buckets, shards);
    let mut recovered = folder.begin_run(placement).unwrap();
    for shard in &mut recovered.shards {
        shard.segment_bytes = SEGMENT_BYTES_MIN;
    }
    (Gateway::start_recovered(&settings, recovered).unwrap(), folder)
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

async fn until_closed(gateway: &Gateway) -> ShowStatus {
    for _ in 0..2_000 {
        let status = status(gateway);
        if status.live.phase == Phase::Closed {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the question never closed: {:?}", status(gateway));
}

async fn answer(client: &mut Client, sequence: &str, ticket: &str) {
    let show = SHOW.0.to_string();
    let mut answer = json!({"showId": show, "question": 0, "option": 1});
    if !ticket.is_empty() {
        answer["ticket"] = json!(ticket);
    }
    client.request(sequence, json!({"answer": answer})).await;
}
