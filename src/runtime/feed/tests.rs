//! The feed with a real journal is tested in `tests/feed.rs`; here is what a book that refuses does to it.

use super::*;
use crate::base::ids::UserId;
use crate::ledger::cause::{Cause, CauseKind, WithdrawalId};
use crate::quiz::money::Cents;

#[test]
fn a_book_that_stopped_says_so_through_the_handle_and_the_feed_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("runs")).expect("made");
    drop(Book::open(folder.path()).expect("opened"));
    let handle = LedgerHandle::open(folder.path()).expect("opened");
    let ledger = LedgerThread::start(folder.path(), Box::new(handle.listener())).expect("started");
    let withdrawal = WithdrawalId { user: UserId(1), number: 1 };
    let kind = CauseKind::WithdrawalPaid { withdrawal, amount: Cents(5) };
    let causes = vec![Cause { at_unix_ms: 1, kind }];
    let (after, through) = (Position(0), Position(1));
    let batch = Batch { feed: FeedId(1 << 16), after, through, causes };
    let (stop, stopped) = flume::bounded(1);
    let start = FeedStart {
        root: folder.path().to_path_buf(),
        run: 1,
        clock: Clock::start(),
        durable: vec![],
    };
    let mut feeder =
        Feeder { start, positions: BTreeMap::new(), ledger, stopped, stopping_since: None };
    assert!(feeder.feed(vec![batch]).is_ok_and(|fed| fed.is_ok()), "it is taken, and fails later");
    stop.send(()).expect("it hears");
    feeder.run(&handle);
    let said = handle.status().stopped.expect("it stopped");
    assert!(said.contains("withdrawal:1:1:end"), "{said}");
}
