use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::Ending;
use super::queue::{Listed, Queue};
use super::sender::{SendUntil, Sender, SenderWorld};
use super::settings::OutboxSettings;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::UserId;
use crate::ledger::account::Pool;
use crate::ledger::account::{Account, Unit};
use crate::ledger::book::fixture::{
    batch, directory, funded, paid, prize, refused, requested, settled,
};
use crate::ledger::book::{Book, FeedId};
use crate::ledger::cause::Cause;
use crate::ledger::error::LedgerError;
use crate::ledger::export::Format;
use crate::ledger::reconcile::{Reconciliation, reconcile};
use crate::ledger::standin::{Faults, StandIn, StandInSettings};
use crate::ledger::verify::{Journal, Told, verify};

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

#[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
fn now_unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

fn stand_in(faults: Faults, store: Option<&Path>) -> StandIn {
    let settings = StandInSettings {
        secret: SECRET.to_vec(),
        store: store.map(Path::to_owned),
        requests: None,
        seed: 7,
        faults,
        refuse_above_cents: 5_000,
        now_unix_ms: Arc::new(now_unix_ms),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    StandIn::start(listener, settings).expect("started")
}

fn settings(address: SocketAddr) -> OutboxSettings {
    OutboxSettings {
        timeout: Duration::from_millis(300),
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        tries_max: 200,
        ..OutboxSettings::new(format!("http://{address}/payouts"), SECRET.to_vec())
    }
}

fn start(
    directory: &Path,
    settings: OutboxSettings,
    until: SendUntil,
) -> (Result<Sender, LedgerError>, flume::Receiver<Ending>) {
    let (tell, heard) = flume::unbounded();
    let world = SenderWorld {
        now_unix_ms: Arc::new(now_unix_ms),
        entropy: Box::new(SeededEntropy::new(3, 0)),
        ended: Box::new(move |ending| {
            let _ = tell.send(ending);
        }),
    };
    (Sender::start(directory, settings, until, world), heard)
}

/// Sends until nothing waits; says what ended.
fn send_all(directory: &Path, settings: OutboxSettings) -> Vec<Ending> {
    let (sender, heard) = start(directory, settings, SendUntil::NothingWaits);
    sender.expect("started").wait().expect("sent");
    heard.drain().collect()
}

/// A book in which `users` won a hundred times as many cents as their number, and asked for them
/// in `each` pieces.
fn book_of(users: u64, each: u64) -> (TempDir, Book, Vec<Cause>) {
    let directory = directory();
    let mut book = Book::open(directory.path()).expect("opened");
    let share = i64::try_from(each * 100).expect("small");
    let heads = i64::try_from(users).expect("small");
    let mut causes = vec![funded(1, Pool::Prize, share * heads)];
    causes.extend((1..=users).map(|user| prize(1, user, share)));
    causes.push(settled(1, users, share, 0));
    for number in 1..=each {
        causes.extend((1..=users).map(|user| requested(user, number, 100)));
    }
    book.apply(&[batch(1, 0, causes.clone())]).expect("booked");
    (directory, book, causes)
}

/// What the gateway would journal, and the feed would bring.
fn journal(book: &mut Book, endings: &[Ending]) -> Vec<Cause> {
    let causes: Vec<_> = endings
        .iter()
        .map(|Ending { withdrawal, amount, is_paid }| {
            let of = if *is_paid { paid } else { refused };
            of(withdrawal.user.0, withdrawal.number, amount.0)
        })
        .collect();
    let after = book.position(FeedId(2)).expect("asked").0;
    book.apply(&[batch(2, after, causes.clone())]).expect("booked");
    causes
}

fn states(directory: &Path) -> BTreeMap<String, u64> {
    let mut states = BTreeMap::new();
    let all = ["waiting", "acknowledged", "dead", "returned", "paid", "refused"];
    let mut count = |listed: &Listed| {
        *states.entry(listed.state.clone()).or_default() += 1;
        Ok(())
    };
    Queue::open(directory).and_then(|queue| queue.list(&all, &mut count)).expect("listed");
    states
}

fn answers(directory: &Path) -> Vec<String> {
    let mut answers = Vec::new();
    let mut keep = |listed: &Listed| {
        answers.push(listed.answer.clone().unwrap_or_default());
        Ok(())
    };
    Queue::open(directory)
        .and_then(|queue| queue.list(&["waiting", "dead"], &mut keep))
        .expect("listed");
    answers
}

#[test]
fn a_service_that_fails_delays_and_forgets_gets_everything_once_and_in_order() {
    let (directory, mut book, causes) = book_of(20, 6);
    let faults = Faults {
        fail_percent: 20,
        lose_percent: 15,
        nonsense_percent: 10,
        delay_percent: 10,
        delay_max: Duration::from_millis(400),
    };
    let store = directory.path().join("taken.jsonl");
    let service = stand_in(faults, Some(&store));
    let mut endings = send_all(directory.path(), settings(service.address()));
    assert_eq!(endings.len(), 120);
    let taken = service.taken();
    assert_eq!(taken.len(), 120);
    for user in 1..=20_u64 {
        let of_user = taken.iter().filter(|it| it.user == user.to_string());
        let numbers: Vec<_> = of_user.map(|it| it.withdrawal.as_str()).collect();
        assert_eq!(numbers, ["1", "2", "3", "4", "5", "6"], "of user {user}");
    }
    let (requests, repeats) = service.requests_and_repeats();
    assert!(requests > 150 && repeats > 10, "{requests} requests, {repeats} repeats");
    drop(service);
    endings.sort_by_key(|ending| ending.withdrawal);
    let ends = journal(&mut book, &endings);
    assert_eq!(states(directory.path()), [("paid".to_owned(), 120)].into());
    assert_eq!(book.balance(&Account::PaidOut, Unit::Cent).expect("asked"), 12_000);
    let mut told = causes.into_iter().chain(ends).map(|cause| Ok(Told::from(cause)));
    let verdict = verify(
        directory.path(),
        Some(Journal { causes: &mut told, is_fed: false, is_whole: true }),
    )
    .expect("read");
    assert!(verdict.holds(), "{verdict:#?}");
    let sum = reconcile(directory.path(), &store, Format::JsonLines, &mut |it| panic!("{it}"));
    let clean = Reconciliation { matched: 120, matched_cents: 12_000, ..Default::default() };
    assert_eq!(sum.expect("compared"), clean);
}

#[test]
fn acknowledgements_that_were_not_journaled_are_told_again() {
    let (directory, mut book, _) = book_of(3, 1);
    let service = stand_in(Faults::default(), None);
    assert_eq!(send_all(directory.path(), settings(service.address())).len(), 3);
    assert_eq!(states(directory.path()), [("acknowledged".to_owned(), 3)].into());
    let again = send_all(directory.path(), settings(service.address()));
    assert_eq!(again.len(), 3);
    journal(&mut book, &again);
    assert_eq!(send_all(directory.path(), settings(service.address())), []);
    assert_eq!(service.requests_and_repeats(), (3, 0));
}

#[test]
fn what_is_refused_steps_aside_and_can_be_given_back_or_sent_again() {
    let (directory, mut book, _) = book_of(1, 3);
    let large = [prize(2, 1, 6_000), requested(1, 4, 6_000), requested(1, 5, 1)];
    book.apply(&[batch(3, 0, large.to_vec())]).expect("booked");
    let service = stand_in(Faults::default(), None);
    let endings = send_all(directory.path(), settings(service.address()));
    let order: Vec<_> = endings.iter().map(|ending| ending.withdrawal.number).collect();
    assert_eq!(order, [1, 2, 3, 5]);
    assert_eq!(answers(directory.path()), ["status 422: the amount is too large"]);
    let mut queue = Queue::open(directory.path()).expect("opened");
    assert_eq!(queue.retry(Some("withdrawal:1:9")).expect("asked"), 0);
    assert_eq!(queue.retry(None).expect("asked"), 1);
    assert!(!queue.give_back("withdrawal:1:4").expect("asked"), "it waits again");
    // Those that ended before are told again: nobody journaled them.
    assert_eq!(send_all(directory.path(), settings(service.address())).len(), 4);
    assert!(queue.give_back("withdrawal:1:4").expect("asked"));
    assert!(!queue.give_back("withdrawal:1:4").expect("asked"));
    let endings = send_all(directory.path(), settings(service.address()));
    assert_eq!(endings.iter().filter(|ending| !ending.is_paid).count(), 1);
    let before = book.balance(&Account::Player(UserId(1)), Unit::Cent).expect("asked");
    journal(&mut book, &endings);
    let after = book.balance(&Account::Player(UserId(1)), Unit::Cent).expect("asked");
    assert_eq!(after - before, 6_000);
    assert_eq!(
        states(directory.path()),
        [("paid".to_owned(), 4), ("refused".to_owned(), 1)].into()
    );
}

#[test]
fn whatever_the_other_end_does_becomes_a_dead_letter_that_says_so() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("free");
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let always = |faults: Faults| stand_in(faults, None);
    let nonsense = always(Faults { nonsense_percent: 100, ..Faults::default() });
    let failing = always(Faults { fail_percent: 100, ..Faults::default() });
    let losing = always(Faults { lose_percent: 100, ..Faults::default() });
    let silent_address = silent.local_addr().expect("bound");
    for (address, secret, says) in [
        (nobody, SECRET, "refused"),
        (silent_address, SECRET, "timeout"),
        (nonsense.address(), SECRET, "is no acknowledgement of withdrawal:1:1"),
        (failing.address(), SECRET, "status "),
        // A status without its answer, or a connection that broke before it.
        (losing.address(), SECRET, "s"),
        (
            failing.address(),
            b"another secret of enough bytes....",
            "status 401: the signature is wrong",
        ),
    ] {
        let (directory, ..) = book_of(1, 1);
        let settings = OutboxSettings {
            tries_max: 3,
            timeout: Duration::from_millis(100),
            secret: secret.to_vec().into(),
            ..settings(address)
        };
        assert_eq!(send_all(directory.path(), settings), []);
        let said = answers(directory.path()).join("\n");
        assert!(said.to_lowercase().contains(says), "{address}: {said}");
        assert_eq!(states(directory.path()), [("dead".to_owned(), 1)].into(), "{said}");
    }
    assert_eq!(losing.taken().len(), 1, "it was taken all the same");
}

#[test]
fn a_sender_waits_for_what_is_under_way_and_has_the_book_for_itself() {
    let (directory, mut book, _) = book_of(4, 1);
    let slow =
        Faults { delay_percent: 100, delay_max: Duration::from_millis(50), ..Faults::default() };
    let service = stand_in(slow, None);
    let until = SendUntil::Stopped;
    let (sender, heard) = start(directory.path(), settings(service.address()), until);
    let sender = sender.expect("started");
    let (second, _) = start(directory.path(), settings(service.address()), until);
    let error = second.err().expect("refused").to_string();
    assert!(error.contains("another process sends payouts from this ledger"), "{error}");
    for _ in 0..4 {
        heard.recv_timeout(Duration::from_secs(20)).expect("an acknowledgement");
    }
    book.apply(&[batch(3, 0, vec![requested(2, 9, 1)])]).expect("booked");
    sender.wake();
    let ending = heard.recv_timeout(Duration::from_secs(20)).expect("an acknowledgement");
    assert_eq!(ending.withdrawal.number, 9);
    assert!(!sender.is_over());
    sender.stop().expect("stopped");
    let (third, _) = start(directory.path(), settings(service.address()), until);
    third.expect("the lock is free again").stop().expect("stopped");
    assert_eq!(states(directory.path()), [("acknowledged".to_owned(), 5)].into());
}

#[test]
fn every_way_in_which_two_sides_differ_is_told_apart() {
    let (directory, mut book, _) = book_of(6, 1);
    book.apply(&[batch(3, 0, (1..=4).map(|user| paid(user, 1, 100)).collect())]).expect("booked");
    let file = directory.path().join("theirs.csv");
    let lines = "amount_cents,note,idempotency_key,user\n\
                 100,\"a, b\",withdrawal:1:1,1\n99,,withdrawal:2:1,2\n100,,withdrawal:3:1,9\n\
                 100,,withdrawal:5:1,\n100,,withdrawal:1:1,1\n7,,withdrawal:99:1,99\n";
    std::fs::write(&file, lines).expect("written");
    let mut said = Vec::new();
    let mut say = |text: &str| said.push(text.split(':').next().unwrap_or_default().to_owned());
    let sum = reconcile(directory.path(), &file, Format::Csv, &mut say).expect("compared");
    let expected = Reconciliation {
        matched: 1,
        matched_cents: 100,
        outstanding: 1,
        missing_there: 1,
        missing_here: 1,
        differing: 2,
        unacknowledged: 1,
        repeated: 1,
    };
    assert_eq!(sum, expected);
    assert!(!sum.is_clean());
    let kinds =
        ["repeated", "differing", "differing", "missing there", "unacknowledged", "missing here"];
    assert_eq!(said, kinds);
    for (text, format, says) in [
        ("a,b\n1,2\n", Format::Csv, ":2: "),
        ("idempotency_key,amount_cents\nx,1.50\n", Format::Csv, ":2: "),
        ("{}\n", Format::JsonLines, ":1: missing field"),
        (
            "{\"idempotency_key\":\"x\",\"amount_cents\":1}\nx",
            Format::JsonLines,
            ":2: expected value",
        ),
    ] {
        std::fs::write(&file, text).expect("written");
        let error = reconcile(directory.path(), &file, format, &mut |_| {}).expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
    }
}
