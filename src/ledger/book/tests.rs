use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;

use super::fixture::{
    a_show, batch, directory, everything, funded, paid, prize, requested, reversal, reversal_of,
    settled,
};
use super::*;
use crate::ledger::account::Pool;
use crate::ledger::error::CauseError;
use crate::ledger::verify::{Journal, Told, verify};

/// Everything that a test wants to know to be unchanged.
fn state(book: &Book) -> (BookHash, BTreeMap<String, i64>) {
    let mut statement =
        book.connection.prepare("SELECT account || unit, amount FROM balance").expect("prepared");
    let balances = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .expect("read");
    (book.hash().expect("hashed"), balances)
}

#[test]
fn one_of_everything_is_booked_and_proved() {
    let directory = directory();
    let mut book = Book::open(directory.path()).expect("opened");
    let causes = everything();
    let applied = book.apply(&[batch(1, 0, causes.clone())]).expect("booked");
    assert_eq!((applied.booked, applied.repeated), (causes.len() as u64, 0));
    assert!(applied.withdrawals);
    for (account, unit, amount) in [
        (Account::Player(UserId(7)), Unit::Cent, 500 + 25 - 62 - 400),
        (Account::Player(UserId(7)), Unit::Card, 1),
        (Account::Player(UserId(u64::MAX)), Unit::Cent, 30),
        (Account::Pool(ShowId(1), Pool::Prize), Unit::Cent, 0),
        (Account::Pool(ShowId(1), Pool::Rain(0)), Unit::Cent, 0),
        (Account::RainFund(ShowId(1)), Unit::Cent, 0),
        (Account::Pool(ShowId(2), Pool::Prize), Unit::Cent, 0),
        (Account::InFlight, Unit::Cent, 500),
        (Account::PaidOut, Unit::Cent, 400),
        (Account::Gifts, Unit::Cent, 962),
        (Account::CardsExpired, Unit::Card, 2),
        (Account::Funding, Unit::Cent, -(1_001 + 60 + 900 + 30)),
    ] {
        let expected = format!("{account} {amount}");
        let has = book.balance(&account, unit).expect("asked");
        assert_eq!(format!("{account} {has}"), expected);
    }
    let mut journal = causes.into_iter().map(|cause| Ok(Told::from(cause)));
    let verdict = verify(
        directory.path(),
        Some(Journal { causes: &mut journal, is_fed: false, is_whole: true }),
    )
    .expect("read");
    assert_eq!(verdict.findings, Vec::<String>::new());
    assert!(verdict.holds());
    assert_eq!(verdict.hash, book.hash().expect("hashed"));
}

#[test]
fn a_repeat_is_nothing_and_the_same_key_with_other_contents_stops() {
    let directory = directory();
    let mut book = Book::open(directory.path()).expect("opened");
    let batches = [batch(1, 0, everything())];
    book.apply(&batches).expect("booked");
    let before = state(&book);
    let again = book.apply(&batches).expect("repeated");
    assert_eq!((again.booked, again.repeated), (0, everything().len() as u64));
    assert_eq!((again.withdrawals, again.winnings), (false, vec![]));
    let mut later = prize(1, 7, 500);
    later.at_unix_ms += 1;
    for other in [prize(1, 7, 499), later, requested(7, 1, 399), funded(1, Pool::Rain(0), 51)] {
        let batches = [batch(2, 0, vec![prize(3, 3, 3), other])];
        let error = book.apply(&batches).expect_err("a conflict");
        assert!(matches!(error, LedgerError::Conflict { .. }), "{error}");
        assert!(!error.may_pass());
        assert_eq!(state(&book), before);
    }
}

#[test]
fn what_cannot_be_booked_leaves_nothing_behind() {
    let directory = directory();
    let mut book = Book::open(directory.path()).expect("opened");
    book.apply(&a_show(1, 3)).expect("booked");
    book.apply(&[batch(7, 0, vec![requested(1, 1, 5), paid(1, 1, 5)])]).expect("booked");
    let undone = prize(1, 1, 10);
    book.apply(&[batch(7, 2, vec![reversal(&undone)])]).expect("reversed");
    let before = state(&book);
    let mut split = settled(2, 3, 10, 1);
    if let CauseKind::Settled { pool, .. } = &mut split.kind {
        pool.0 += 1;
    }
    for (wrong, says) in [
        (prize(2, 1, -1), "the amount -1 is negative"),
        (prize(2, 1, i64::MAX), "is more than 10000000000000"),
        (prize(2, 0, 1), "the user or show is 0"),
        (split, "a pool of 32 is not 3 × 10 + 1"),
        (reversal_of("prize:2:1"), "is not in the book"),
        (reversal(&reversal(&undone)), "is a reversal itself"),
        (reversal(&requested(1, 1, 5)), "belongs to a withdrawal"),
        (paid(1, 2, 5), "has no withdrawal of that amount"),
    ] {
        let batches = [batch(9, 0, vec![prize(2, 5, 5)]), batch(9, 1, vec![wrong])];
        let error = book.apply(&batches).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(state(&book), before);
        assert_eq!(book.position(FeedId(9)).expect("asked"), Position(0));
    }
    for (batch, says) in [
        (batch(9, 1, vec![]), "begins after position 1, but the book has 0"),
        (Batch { after: Position(2), ..batch(9, 0, vec![]) }, "from 2 to 0 is no batch"),
        (batch(u64::MAX, 0, vec![]), "is no batch"),
    ] {
        let error = book.apply(&[batch]).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(CauseError::EmptyName.to_string(), "a name is empty");
}

#[test]
fn a_balance_beyond_64_bits_is_refused() {
    let directory = directory();
    let mut book = Book::open(directory.path()).expect("opened");
    book.apply(&a_show(1, 1)).expect("booked");
    let set = "UPDATE balance SET amount = 9223372036854775800 WHERE account = 'player:1'";
    book.connection.execute_batch(set).expect("set");
    let error = book.apply(&[batch(2, 0, vec![prize(2, 1, 10)])]).expect_err("refused");
    assert_eq!(error.to_string(), "the balance of player:1 would not fit into 64 bits");
    let verdict = verify(directory.path(), None).expect("read");
    assert_eq!(
        verdict.findings,
        ["player:1: its entries sum to 10 cent, its balance is 9223372036854775800"]
    );
}

#[test]
fn a_full_and_a_read_only_disk_are_said_and_pass() {
    let directory = directory();
    let mut book = Book::open(directory.path()).expect("opened");
    book.apply(&a_show(1, 3)).expect("booked");
    let before = state(&book);
    let pages: i64 =
        book.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("asked");
    book.connection.pragma_update(None, "max_page_count", pages).expect("set");
    let error = book.apply(&a_show(2, 5_000)).expect_err("full");
    assert!(matches!(error, LedgerError::Full { .. }) && error.may_pass(), "{error}");
    assert!(error.to_string().contains("nothing of this was written; make room"));
    assert_eq!(state(&book), before);
    book.connection.pragma_update(None, "max_page_count", 1 << 30).expect("set");
    book.connection.pragma_update(None, "query_only", true).expect("set");
    let error = book.apply(&a_show(2, 5_000)).expect_err("read only");
    assert!(matches!(error, LedgerError::ReadOnly { .. }) && error.may_pass(), "{error}");
    assert_eq!(state(&book), before);
    book.connection.pragma_update(None, "query_only", false).expect("set");
    book.apply(&a_show(2, 5_000)).expect("there is room again");
    assert!(verify(directory.path(), None).expect("read").holds());
}

#[test]
fn whatever_is_tampered_with_is_found() {
    for (change, says) in [
        (
            "UPDATE entry SET amount = amount + 1 WHERE account = 'player:7' AND amount = 500",
            "its entries sum to 1 cent",
        ),
        ("UPDATE balance SET amount = amount + 1 WHERE account = 'player:8'", "its balance is 1"),
        (
            "DELETE FROM entry WHERE account = 'gifts' AND amount = 62",
            "its entries sum to -62 cent",
        ),
        ("DELETE FROM cause WHERE key = 'prize:1:8'", "which is not there"),
        (
            "UPDATE entry SET account = 'player:8' WHERE account = 'player:7' AND amount = 500;
          UPDATE balance SET amount = amount - 500 WHERE account = 'player:7';
          UPDATE balance SET amount = amount + 500 WHERE account = 'player:8'",
            "does not make the entries",
        ),
        ("UPDATE cause SET at_unix_ms = 0 WHERE key = 'prize:1:8'", "the journal"),
        ("UPDATE payout SET state = 'waiting' WHERE key = 'withdrawal:7:1'", "or how it ended"),
        ("DELETE FROM payout WHERE key = 'withdrawal:7:1'", "or how it ended"),
        ("UPDATE cause SET key = 'prize:1:9' WHERE key = 'prize:1:8'", "and not in the book"),
        ("UPDATE cause SET key = 'prize:1:9' WHERE key = 'prize:1:8'", "and not in the journal"),
        (
            "DELETE FROM entry WHERE cause = (SELECT id FROM cause WHERE kind = 'reversal')",
            "not the mirror image",
        ),
    ] {
        let directory = directory();
        let mut book = Book::open(directory.path()).expect("opened");
        book.apply(&[batch(1, 0, everything())]).expect("booked");
        book.connection.pragma_update(None, "foreign_keys", false).expect("set");
        book.connection.execute_batch(change).expect("changed");
        let mut journal = everything().into_iter().map(|cause| Ok(Told::from(cause)));
        let verdict = verify(
            directory.path(),
            Some(Journal { causes: &mut journal, is_fed: false, is_whole: true }),
        )
        .expect("read");
        assert!(!verdict.holds());
        assert!(verdict.findings.iter().any(|it| it.contains(says)), "{change}: {verdict:#?}");
    }
}

#[test]
fn shows_that_do_not_add_up_are_found() {
    let settled_first = |causes: Vec<Cause>| {
        let directory = directory();
        let mut book = Book::open(directory.path()).expect("opened");
        book.apply(&[batch(1, 0, causes)]).expect("booked");
        let verdict = verify(directory.path(), None).expect("read");
        assert!(!verdict.holds());
        verdict.findings.join("\n")
    };
    let said = settled_first(vec![funded(1, Pool::Prize, 103), prize(1, 1, 50)]);
    assert!(said.contains("show 1: 1 prizes, but it is not settled"), "{said}");
    let said =
        settled_first(vec![funded(1, Pool::Prize, 103), prize(1, 1, 50), settled(1, 2, 50, 3)]);
    assert!(said.contains("settled for 2 prizes of 50 cents, but there are 1 of {50}"), "{said}");
    assert!(said.contains("the pool of 103 cents is not 50 paid + 3 left"), "{said}");
    let said = settled_first(vec![settled(1, 0, 0, 3)]);
    assert!(said.contains("settled for 3 cents, funded with 0"), "{said}");
    let none = settled_first(vec![funded(1, Pool::Prize, 103)]);
    assert_eq!(none, "", "nothing is wrong, but no show is settled");
}

/// What a test does with a feed next.
#[derive(Clone, Debug)]
enum Act {
    /// Tells so many causes on, or again from so many back.
    Tell { feed: usize, back: usize, count: usize },
    /// Tells in the same way, and crashes before the commit.
    Crash { feed: usize, back: usize, count: usize },
    /// Opens the book again.
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_usize, 0..6_usize, 0..9_usize)
            .prop_map(|(feed, back, count)| Act::Tell { feed, back, count }),
        1 => (0..3_usize, 0..6_usize, 0..9_usize)
            .prop_map(|(feed, back, count)| Act::Crash { feed, back, count }),
        1 => Just(Act::Reopen),
    ]
}

/// Three feeds: one of everything, and two shows with the same players.
fn feeds() -> [Vec<Cause>; 3] {
    let of = |show| a_show(show, 8).remove(0).causes;
    [everything(), of(5), of(6)]
}

fn piece(feeds: &[Vec<Cause>], has: u64, act: (usize, usize, usize)) -> Batch {
    let (feed, back, count) = act;
    let causes = &feeds[feed];
    let after = usize::try_from(has).expect("few").saturating_sub(back);
    let end = (after + count).min(causes.len());
    batch(feed as u64, after as u64, causes[after..end].to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_interleaving_repeats_and_crashes_give_the_same_book(
        acts in prop::collection::vec(act(), 0..24)
    ) {
        let feeds = feeds();
        let calm = directory();
        let mut expected = Book::open(calm.path()).expect("opened");
        for (feed, causes) in feeds.iter().enumerate() {
            expected.apply(&[batch(feed as u64, 0, causes.clone())]).expect("booked");
        }
        let stormy = directory();
        let mut book = Book::open(stormy.path()).expect("opened");
        for act in acts {
            let has = |book: &Book, feed| book.position(FeedId(feed as u64)).expect("asked").0;
            match act {
                Act::Tell { feed, back, count } => {
                    let piece = piece(&feeds, has(&book, feed), (feed, back, count));
                    book.apply(&[piece]).expect("booked");
                }
                Act::Crash { feed, back, count } => {
                    let piece = piece(&feeds, has(&book, feed), (feed, back, count));
                    let transaction = book.connection.transaction().expect("begun");
                    write(&transaction, &[piece]).expect("written");
                    // Neither committed nor rolled back: the file is as a killed process leaves it.
                    std::mem::forget(transaction);
                    book = Book::open(&copy_of_files(&stormy, &mut book)).expect("opened");
                }
                Act::Reopen => book = Book::open(stormy.path()).expect("opened"),
            }
        }
        for (feed, causes) in feeds.iter().enumerate() {
            let has = book.position(FeedId(feed as u64)).expect("asked").0;
            book.apply(&[piece(&feeds, has, (feed, 2, causes.len()))]).expect("booked");
        }
        prop_assert_eq!(state(&book), state(&expected));
        let mut journal = feeds.iter().flatten().cloned().map(|cause| Ok(Told::from(cause)));
        let verdict = verify(book.path().parent().expect("a directory"), Some(Journal { causes: &mut journal, is_fed: false, is_whole: true }));
        prop_assert_eq!(verdict.expect("read").findings, Vec::<String>::new());
    }
}

/// Replaces the files by copies of what is on the disk, and lets the old connection go.
fn copy_of_files(directory: &tempfile::TempDir, book: &mut Book) -> PathBuf {
    let mut found = Vec::new();
    for suffix in ["", "-wal"] {
        let path = directory.path().join(format!("ledger.sqlite{suffix}"));
        if let Ok(bytes) = std::fs::read(&path) {
            found.push((path, bytes));
        }
    }
    book.connection = Connection::open_in_memory().expect("opened");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("ledger.sqlite{suffix}")));
    }
    for (path, bytes) in found {
        std::fs::write(path, bytes).expect("written");
    }
    directory.path().to_owned()
}
