//! The feed from the journal to the book of money: a process dies in the middle of a show, others go on,
//! and the book comes out proved to the cent; written anew from the journal it is the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::path::Path;
use std::process::{Command as Process, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate::base::hash::Placement;
use tidegate::base::ids::{RainIndex, ShowId, UserId};
use tidegate::ledger::outbox::queue::{BookLook, Queue};
use tidegate::ledger::standin::{Faults, StandIn, StandInSettings};
use tidegate::ops::config::PayoutsConfig;
use tidegate::ops::payouts::Payouts;
use tidegate::ops::secret::Secret;
use tidegate::quiz::definition::ShowDefinition;
use tidegate::quiz::director::Command;
use tidegate::quiz::money::Cents;
use tidegate::quiz::phase::Phase;
use tidegate::quiz::rain::{CERTAIN, RainCommand, RainPhase, RainSettings};
use tidegate::runtime::data::{DataFolder, Deployment};
use tidegate::runtime::feed::{FeedStart, LedgerFeed};
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

use client::{Client, quick_show, settings};

const SHOW: ShowId = ShowId(3);
/// Called off behind its first reveal.
const OFF: ShowId = ShowId(4);
const ROOM: u64 = 30;
const PLAYERS: u64 = 8;
const CHILD: &str = "TIDEGATE_TEST_FEED";

fn definition(show: ShowId, room: u64) -> Arc<ShowDefinition> {
    let mut definition = quick_show(show, room, 2);
    definition.timing.countdown = Duration::from_secs(4);
    Arc::new(definition)
}

/// A gateway on a folder, with its book.
struct Deployed {
    gateway: Gateway,
    ledger: LedgerFeed,
    _folder: DataFolder,
}

impl Deployed {
    fn begin(path: &Path, shards: u16) -> Deployed {
        let settings = settings(shards);
        let folder = DataFolder::open(path).unwrap();
        if folder.deployment().unwrap().is_none() {
            let deployment =
                Deployment::new(settings.buckets, &settings.placement_key.0, &settings.ticket_key);
            folder.begin_deployment(&deployment).unwrap();
        }
        let placement = Placement::new(settings.placement_key, settings.buckets, shards);
        let recovered = folder.begin_run(placement).unwrap();
        let ledger = LedgerFeed::start(FeedStart::new(folder.root(), &recovered)).unwrap();
        let gateway = Gateway::start_recovered(&settings, recovered).unwrap();
        Deployed { gateway, ledger, _folder: folder }
    }

    fn end(self) {
        self.gateway.stop();
        let handle = self.ledger.handle();
        assert!(self.ledger.stop(), "{:?}", handle.status());
    }

    fn order(&self, request: OperatorRequest) {
        let answer = self.gateway.call(request);
        assert!(
            matches!(answer, Ok(OperatorAnswer::Done | OperatorAnswer::Cards(_))),
            "{answer:?}"
        );
    }

    fn command(&self, show: ShowId, command: Command) {
        self.order(OperatorRequest::Command { show, command });
    }

    fn rain(&self, command: RainCommand) {
        self.order(OperatorRequest::Rain { show: SHOW, command });
    }

    fn status(&self, show: ShowId) -> ShowStatus {
        match self.gateway.call(OperatorRequest::Status { show }) {
            Ok(OperatorAnswer::Show(status)) => *status,
            other => panic!("expected a status, got {other:?}"),
        }
    }

    async fn until(&self, what: &str, happened: impl Fn(&Deployed) -> bool) {
        for _ in 0..1_500 {
            if happened(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} never happened");
    }

    async fn until_phase(&self, show: ShowId, phase: Phase) {
        self.until(&phase.to_string(), |it| it.status(show).live.phase == phase).await;
    }
}

async fn answer(client: &mut Client, show: ShowId, question: u64, option: u64) {
    let answer = json!({"showId": show.0.to_string(), "question": question, "option": option});
    client.request("a", json!({"answer": answer})).await;
    client.until_response("a").await;
}

/// What a packet brought that one tap won.
async fn grab(client: &mut Client) -> i64 {
    for attempt in 0..100 {
        let tap = json!({"grab": {"showId": SHOW.0.to_string(), "rain": 0, "slot": 0}});
        let sequence = format!("tap {attempt}");
        client.request(&sequence, tap).await;
        let told = client.until_response(&sequence).await;
        if let Some(cents) = told["grabbed"]["cents"].as_str() {
            return cents.parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    panic!("no packet came");
}

async fn withdraw(client: &mut Client, key: &str, cents: i64) -> String {
    let asked = json!({"withdraw": {"key": key, "cents": cents.to_string()}});
    client.request(key, asked).await;
    let told = client.until_response(key).await;
    assert_eq!(told["withdrawal"]["state"], "WITHDRAWAL_STATE_REQUESTED", "{told}");
    told["withdrawal"]["number"].as_str().unwrap().to_owned()
}

/// The life that ends by a crash, while a question is open.
async fn first_life(path: &Path) -> ! {
    let deployed = Deployed::begin(path, 2);
    deployed.order(OperatorRequest::Announce(definition(SHOW, ROOM)));
    deployed.command(SHOW, Command::OpenLobby);
    for user in [2, 5] {
        deployed.order(OperatorRequest::GrantCard { user: UserId(user) });
    }
    let mut players = Vec::new();
    for user in 1..=PLAYERS {
        players.push(Client::in_room(&deployed.gateway, user, ROOM).await);
    }
    deployed.rain(RainCommand::Fund(Cents(1_000)));
    let settings = RainSettings {
        win_per_10000: CERTAIN,
        ..RainSettings::new(Cents(900), 20, Duration::from_secs(60))
    };
    deployed.rain(RainCommand::Plan(settings));
    deployed.rain(RainCommand::Start(RainIndex(0)));
    for player in &mut players[..3] {
        player.until("rain").await;
        assert!(grab(player).await > 0);
    }
    let has = grab(&mut players[0]).await;
    assert_eq!(withdraw(&mut players[0], "key", has).await, "1");
    deployed.command(SHOW, Command::Publish);
    for (place, player) in players.iter_mut().enumerate().take(4) {
        player.until("question").await;
        // The first is right, the second wrong and saved by a card, the others wrong.
        answer(player, SHOW, 0, if place == 0 { 1 } else { 2 }).await;
    }
    std::process::abort();
}

/// The process of the first life; by itself it does nothing.
#[tokio::test]
async fn first_life_in_a_child() {
    if let Some(path) = std::env::var_os(CHILD) {
        first_life(Path::new(&path)).await;
    }
}

fn tidegate(arguments: &[&str], folder: &Path) -> (i32, String) {
    let mut process = Process::new(env!("CARGO_BIN_EXE_tidegate"));
    let Output { status, stdout, stderr } =
        process.args(arguments).arg("--data").arg(folder).output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn export(folder: &Path) -> String {
    let (code, text) = tidegate(&["ledger", "export"], folder);
    assert_eq!(code, 0, "{text}");
    text
}

fn proved_hash(folder: &Path) -> String {
    let (code, text) = tidegate(&["ledger", "verify"], folder);
    assert!(code == 0 && text.contains(": proved") && text.contains("compared"), "{text}");
    text.lines().find_map(|line| line.strip_prefix("hash ")).unwrap().to_owned()
}

/// From the question that was open when the process died to the end of the show, with payouts.
async fn second_life(path: &Path) {
    let deployed = Deployed::begin(path, 3);
    assert_eq!(deployed.status(SHOW).live.phase, Phase::Open);
    // Who comes back first gives the answer that it had not given yet.
    let mut sixth = Client::in_room(&deployed.gateway, 6, ROOM).await;
    sixth.until("snapshot").await;
    answer(&mut sixth, SHOW, 0, 1).await;
    let mut players = vec![sixth];
    for user in [1, 2] {
        players.push(Client::in_room(&deployed.gateway, user, ROOM).await);
    }
    deployed.until_phase(SHOW, Phase::Closed).await;
    deployed.until("the feed of the first life", |_| export(path).contains("packet:3:0:")).await;
    let before = export(path);
    assert!(!before.contains("card-used"), "before the reveal nobody may know\n{before}");
    let (code, text) = tidegate(&["ledger", "verify"], path);
    assert!(code == 1 && text.contains("no show was settled"), "{text}");
    deployed.command(SHOW, Command::Reveal);
    deployed.command(SHOW, Command::Publish);
    for player in &mut players {
        player.until("question").await;
        answer(player, SHOW, 1, 1).await;
    }
    deployed.until_phase(SHOW, Phase::Closed).await;
    deployed.command(SHOW, Command::Reveal);
    deployed.rain(RainCommand::End(RainIndex(0)));
    let over = |it: &Deployed| it.status(SHOW).rains[0].phase == RainPhase::Ended;
    deployed.until("the end of the rain", over).await;
    deployed.command(SHOW, Command::Settle);
    deployed.until_phase(SHOW, Phase::Settled).await;
    deployed.until("the payout", |it| it.status(SHOW).is_paid_out).await;
    let settled = deployed.status(SHOW).settlement.unwrap();
    assert_eq!((settled.winners, settled.per_head), (3, Cents(3_333)));
    assert_eq!(withdraw(&mut players[1], "other-key", 1_000).await, "2");
    for (number, is_paid) in [(1, true), (1, true), (2, false)] {
        deployed.order(OperatorRequest::CloseWithdrawal { user: UserId(1), number, is_paid });
    }
    let boards = deployed.ledger.handle();
    let winner = |_: &Deployed| {
        let place = |user| boards.with_boards(|it| it.of_show(SHOW)?.place(UserId(user)));
        place(2).is_some_and(|it| it.score > 3_333) && place(6).is_some_and(|it| it.score == 3_333)
    };
    deployed.until("the winners' places on the leaderboard", winner).await;
    drop(players);
    deployed.command(SHOW, Command::End);
    call_off(&deployed).await;
    // While the gateway goes on.
    deployed.until("the end in the book", |_| export(path).contains("reversal:fund:4")).await;
    deployed.until("the last records", |_| boards.status().behind_records == 0).await;
    assert!(boards.status().booked > 10, "{:?}", boards.status());
    proved_hash(path);
    deployed.end();
}

/// A show in which a card is used, and that is called off after the reveal.
async fn call_off(deployed: &Deployed) {
    deployed.order(OperatorRequest::Announce(definition(OFF, 40)));
    deployed.command(OFF, Command::OpenLobby);
    for _ in 0..3 {
        deployed.order(OperatorRequest::GrantCard { user: UserId(9) });
    }
    deployed.order(OperatorRequest::ExpireCards { user: UserId(9), cards_max: 2 });
    let mut player = Client::in_room(&deployed.gateway, 9, 40).await;
    deployed.command(OFF, Command::Publish);
    player.until("question").await;
    answer(&mut player, OFF, 0, 0).await;
    deployed.until_phase(OFF, Phase::Closed).await;
    deployed.command(OFF, Command::Reveal);
    deployed.command(OFF, Command::Cancel);
    deployed.command(OFF, Command::End);
}

#[tokio::test]
async fn what_a_crash_interrupts_comes_out_of_the_book_to_the_cent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let child = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "first_life_in_a_child", "--nocapture"])
        .env(CHILD, path)
        .output()
        .unwrap();
    assert_eq!(
        child.status.code(),
        None,
        "it is to die: {}",
        String::from_utf8_lossy(&child.stdout)
    );
    second_life(path).await;
    let hash = proved_hash(path);
    let book = export(path);
    for (what, count) in [
        ("fund:3:prize,", 2),
        ("settled:3,", 2),
        ("prize:3:", 6),
        ("packet:3:0:", 6),
        ("rain-returned:3:0,", 2),
        ("rains-closed:3,", 2),
        ("cards-granted:2:", 2),
        ("cards-expired:9:", 2),
        ("card-used:3:2,", 2),
        ("card-used:4:9,", 2),
        ("reversal:fund:4:prize,", 2),
        ("withdrawal:1:1,withdrawal-requested", 2),
        ("withdrawal:1:1:end,withdrawal-paid", 2),
        ("withdrawal:1:2:end,withdrawal-refused", 2),
    ] {
        let lines = book.lines().filter(|line| line.starts_with(what)).count();
        assert_eq!(lines, count, "{what}\n{book}");
    }

    // Written anew, the book is the same; also by a gateway that finds none.
    let (code, text) = tidegate(&["ledger", "rebuild"], path);
    assert!(code == 0 && text.contains(&format!("hash {hash}, as before")), "{text}");
    assert_eq!(proved_hash(path), hash);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(path.join(format!("ledger.sqlite{end}")));
    }
    Deployed::begin(path, 1).end();
    assert_eq!(proved_hash(path), hash);

    // A book that lacks something of the journal, or has something else, is not proved.
    let connection = rusqlite::Connection::open(path.join("ledger.sqlite")).unwrap();
    connection.execute("UPDATE cause SET key = 'prize:3:77' WHERE key = 'prize:3:6'", []).unwrap();
    drop(connection);
    let (code, text) = tidegate(&["ledger", "verify"], path);
    assert!(
        code == 1
            && text.contains("prize:3:6: is in the journal and not in the book")
            && text.contains("prize:3:77: is in the book and not in the journal"),
        "{text}"
    );
}

fn taken_by(standin: &StandIn) -> Vec<(String, i64)> {
    // It waits for its lock, which a thread that drives tasks may not.
    let taken = std::thread::scope(|scope| scope.spawn(|| standin.taken()).join().unwrap());
    taken.into_iter().map(|it| (it.idempotency_key, it.amount_cents)).collect()
}

fn each_end_is_booked_once(path: &Path) {
    let book = export(path);
    for what in [
        "withdrawal:1:1:end,withdrawal-paid",
        "withdrawal:1:2:end,withdrawal-paid",
        "withdrawal:1:3:end,withdrawal-refused",
    ] {
        assert_eq!(book.lines().filter(|line| line.starts_with(what)).count(), 2, "{what}\n{book}");
    }
}

fn a_cent_that_nobody_booked_is_seen(path: &Path) {
    let file = rusqlite::Connection::open(path.join("ledger.sqlite")).unwrap();
    let one = "(SELECT min(account) FROM balance WHERE unit = 'cent')";
    let more =
        format!("UPDATE balance SET amount = amount + 1 WHERE unit = 'cent' AND account = {one}");
    assert_eq!(file.execute(&more, []).unwrap(), 1);
    assert_eq!(
        Queue::open(path).unwrap().look().unwrap(),
        BookLook { imbalance: 1, ..BookLook::default() }
    );
}

/// Withdrawals of a running gateway are sent, journaled as paid, and given back where the balance system
/// will not have them.
#[tokio::test]
async fn withdrawals_are_paid_through_the_balance_system_or_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let deployed = Deployed::begin(path, 2);
    let secret = b"a secret of thirty-two bytes or more".to_vec();
    let clock = deployed.gateway.clock();
    let standin = StandIn::start(
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        StandInSettings {
            secret: secret.clone(),
            store: None,
            requests: None,
            seed: 5,
            faults: Faults { fail_percent: 30, lose_percent: 20, ..Faults::default() },
            refuse_above_cents: 10,
            now_unix_ms: Arc::new(move || clock.display().unix_ms(clock.now())),
        },
    )
    .unwrap();
    let config = PayoutsConfig {
        url: Some(format!("http://{}/payouts", standin.address())),
        secret: Some(Secret::new(secret)),
        backoff_ms: 1,
        backoff_max_ms: 20,
        ..PayoutsConfig::default()
    };
    let handle = deployed.ledger.handle();
    let payouts = Payouts::start(&config, &handle, deployed.gateway.caller(), clock).unwrap();
    deployed.order(OperatorRequest::Announce(definition(SHOW, ROOM)));
    deployed.command(SHOW, Command::OpenLobby);
    deployed.rain(RainCommand::Fund(Cents(1_000)));
    let settings = RainSettings {
        win_per_10000: CERTAIN,
        ..RainSettings::new(Cents(900), 2, Duration::from_secs(60))
    };
    deployed.rain(RainCommand::Plan(settings));
    let mut player = Client::in_room(&deployed.gateway, 1, ROOM).await;
    deployed.rain(RainCommand::Start(RainIndex(0)));
    player.until("rain").await;
    assert!(grab(&mut player).await > 50);
    for (key, cents) in [("a", 7), ("b", 9), ("c", 20)] {
        withdraw(&mut player, key, cents).await;
    }
    let listed = || tidegate(&["ledger", "outbox", "list", "--all"], path).1;
    let is_paid = |_: &Deployed| {
        let text = listed();
        text.contains("withdrawal:1:1  7 cents  paid")
            && text.contains("withdrawal:1:2  9 cents  paid")
            && text.contains("withdrawal:1:3  20 cents  dead")
    };
    deployed.until("two payouts", is_paid).await;
    assert_eq!(
        taken_by(&standin),
        [("withdrawal:1:1".to_owned(), 7), ("withdrawal:1:2".to_owned(), 9)]
    );
    assert_eq!(
        Queue::open(path).unwrap().look().unwrap(),
        BookLook { payouts_dead: 1, ..BookLook::default() }
    );
    let (code, text) = tidegate(&["ledger", "outbox", "give-back", "withdrawal:1:3"], path);
    assert_eq!(code, 0, "{text}");
    let is_back = |_: &Deployed| listed().contains("withdrawal:1:3  20 cents  refused");
    deployed.until("the money's return", is_back).await;
    payouts.stop();
    drop(player);
    deployed.end();
    each_end_is_booked_once(path);
    // Nothing is wrong with the book; but no show was settled.
    let (code, text) = tidegate(&["ledger", "verify", "--json"], path);
    assert!(code == 1 && text.contains("\"findings_count\":0"), "{text}");
    a_cent_that_nobody_booked_is_seen(path);
}
