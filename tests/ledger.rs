//! Payouts between processes that are killed: the sender and the balance system, each at random
//! moments, and reconciliation comes out clean.
//!
//! `TIDEGATE_PAYOUTS=10000 cargo test --release --test ledger -- --nocapture` is the full size.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tidegate::base::entropy::{Entropy as _, SeededEntropy};
use tidegate::base::ids::{ShowId, UserId};
use tidegate::ledger::account::Pool;
use tidegate::ledger::book::{Batch, Book, FeedId, Position};
use tidegate::ledger::cause::{Cause, CauseKind, WithdrawalId};
use tidegate::ledger::name::Name;
use tidegate::ledger::outbox::queue::Queue;
use tidegate::quiz::money::Cents;

const SECRET: &str = "a secret of thirty-two bytes or more";
const EACH: u64 = 4;
/// The stand-in is killed after so many milliseconds at most, and the sender.
const LIFE_MS: u64 = 400;

fn tidegate(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(line.split_whitespace()).env_clear().env("TIDEGATE_PAYOUTS__SECRET", SECRET);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A process that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a stand-in on `port`, or a free one; says which.
fn stand_in(directory: &Path, port: u16, seed: u64) -> (Running, u16) {
    let store = directory.join("taken.jsonl");
    let line = format!(
        "balance-standin --listen 127.0.0.1:{port} --store {} --seed {seed} --fail 10 --lose 5 \
         --nonsense 5 --delay 5 --delay-max-ms 150",
        store.display()
    );
    let mut process = Running(tidegate(&line).stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let address = first.trim_start_matches("takes payouts on http://127.0.0.1:");
    let port = address.split('/').next().and_then(|port| port.parse().ok());
    (process, port.unwrap_or_else(|| panic!("the stand-in said {first:?}")))
}

fn sender(directory: &Path, port: u16) -> Running {
    let line = format!(
        "ledger outbox send --data {} --url http://127.0.0.1:{port}/payouts --timeout-ms 100 \
         --tries 100000 --backoff-ms 1 --backoff-max-ms 50 --concurrency 16",
        directory.display()
    );
    Running(tidegate(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn cause(kind: CauseKind) -> Cause {
    Cause { at_unix_ms: 1_800_000_000_000, kind }
}

fn tell(book: &mut Book, feed: FeedId, causes: Vec<Cause>) {
    let after = book.position(feed).unwrap();
    let through = Position(after.0 + causes.len() as u64);
    book.apply(&[Batch { feed, after, through, causes }]).unwrap();
}

/// A settled show whose winners ask for their prizes in four pieces.
fn fill(book: &mut Book, users: u64) {
    let show = ShowId(1);
    let (per_head, heads) = (Cents(400), i64::try_from(users).unwrap());
    let (pool, account) = (Cents(400 * heads + 3), Name::new("charity").unwrap());
    let mut causes = vec![cause(CauseKind::PoolFunded { show, pool: Pool::Prize, amount: pool })];
    let prize = |user| cause(CauseKind::Prize { show, user: UserId(user), amount: per_head });
    causes.extend((1..=users).map(prize));
    let (winners, remainder) = (users, Cents(3));
    causes.push(cause(CauseKind::Settled { show, pool, winners, per_head, remainder, account }));
    for number in 1..=EACH {
        causes.extend((1..=users).map(|user| {
            let withdrawal = WithdrawalId { user: UserId(user), number };
            cause(CauseKind::WithdrawalRequested { withdrawal, amount: Cents(100) })
        }));
    }
    tell(book, FeedId(1), causes);
}

/// What a gateway does with endings: journals them, and the feed brings them.
fn journal(directory: &Path, book: &mut Book) {
    let endings = Queue::open(directory).unwrap().unjournaled().unwrap();
    let paid = endings.into_iter().map(|ending| {
        assert!(ending.is_paid);
        let (withdrawal, amount) = (ending.withdrawal, ending.amount);
        cause(CauseKind::WithdrawalPaid { withdrawal, amount })
    });
    let paid = paid.collect();
    tell(book, FeedId(2), paid);
}

#[test]
fn sender_and_balance_system_are_killed_at_random_and_reconciliation_is_clean() {
    let payouts: u64 =
        std::env::var("TIDEGATE_PAYOUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut book = Book::open(path).unwrap();
    fill(&mut book, payouts / EACH);
    let seed = 11;
    let mut dice = SeededEntropy::new(seed, 0);
    let (mut service, port) = stand_in(path, 0, seed);
    let mut sending = sender(path, port);
    // Nobody sends on it: waiting on it is waiting.
    let (_nobody, pause) = mpsc::channel::<()>();
    let mut kills = 0;
    while sending.0.try_wait().unwrap().is_none() {
        let _ = pause.recv_timeout(Duration::from_millis(20 + dice.below(LIFE_MS)));
        kills += 1;
        match dice.below(3) {
            0 => {
                drop(sending);
                sending = sender(path, port);
            }
            1 => {
                drop(service);
                (service, _) = stand_in(path, port, seed + kills);
            }
            _ => journal(path, &mut book),
        }
    }
    drop(service);
    journal(path, &mut book);
    let data = path.display();
    let store = path.join("taken.jsonl");
    let reconciled =
        tidegate(&format!("ledger reconcile --data {data} {}", store.display())).output().unwrap();
    assert!(reconciled.status.success(), "{}", text(&reconciled));
    let clean = format!("clean: {payouts} matched ({} cents)", payouts * 100);
    assert!(text(&reconciled).starts_with(&clean), "{}", text(&reconciled));
    let verified = tidegate(&format!("ledger verify --data {data}")).output().unwrap();
    assert!(verified.status.success(), "{}", text(&verified));
    assert_order(&store, payouts / EACH);
    println!("{kills} kills and journaled rounds: {}", text(&reconciled));
}

/// Each player's withdrawals were taken in the order in which they were asked for.
fn assert_order(store: &Path, users: u64) {
    let mut last = vec![0; usize::try_from(users).unwrap() + 1];
    for line in BufReader::new(File::open(store).unwrap()).lines() {
        let taken: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let number = |name: &str| taken[name].as_str().unwrap().parse::<usize>().unwrap();
        let (user, withdrawal) = (number("user"), number("withdrawal"));
        assert_eq!(last[user] + 1, withdrawal, "of user {user}");
        last[user] = withdrawal;
    }
    assert!(last[1..].iter().all(|number| *number == usize::try_from(EACH).unwrap()));
}
