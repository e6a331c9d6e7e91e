//! The file of the book: its tables, its versions, and how it is opened.
//!
//! A new file goes through the same steps as an old one, so the way from any version to the current
//! one is walked whenever a book is made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::ledger::error::LedgerError;

/// The name of the book in the data directory.
pub const LEDGER_FILE: &str = "ledger.sqlite";

/// `PRAGMA application_id`: "tgld". Tells the book from any other database.
pub const APPLICATION_ID: i64 = 0x7467_6c64;

/// How long a writer waits for another: the outbox and the book write the same file, each for some
/// milliseconds, a settlement's commit for less than a second.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// What leads from each version to the next, from an empty file on. `PRAGMA user_version` is how
/// many were walked.
const STEPS: &[&str] = &[BOOK, PAYOUTS];

const BOOK: &str = "
CREATE TABLE cause (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  at_unix_ms INTEGER NOT NULL,
  show ANY,
  user ANY,
  amount INTEGER NOT NULL,
  unit TEXT NOT NULL CHECK (unit IN ('cent', 'card')),
  about TEXT NOT NULL
) STRICT;
CREATE INDEX cause_of_user ON cause (user) WHERE user IS NOT NULL;
CREATE TABLE entry (
  cause INTEGER NOT NULL REFERENCES cause (id),
  place INTEGER NOT NULL,
  account TEXT NOT NULL,
  unit TEXT NOT NULL CHECK (unit IN ('cent', 'card')),
  amount INTEGER NOT NULL CHECK (amount <> 0),
  PRIMARY KEY (cause, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE balance (
  account TEXT NOT NULL,
  unit TEXT NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (account, unit)
) STRICT, WITHOUT ROWID;
CREATE TABLE feed (
  feed INTEGER PRIMARY KEY,
  position INTEGER NOT NULL
) STRICT;
CREATE VIEW book_line (key, line) AS
  SELECT key,
    key || '|' || kind || '|' || at_unix_ms || '|' || coalesce(show, '') || '|' ||
    coalesce(user, '') || '|' || amount || '|' || unit || '|' || about || '|' ||
    coalesce((SELECT group_concat(account || ' ' || unit || ' ' || amount, '; ')
              FROM (SELECT account, unit, amount FROM entry WHERE cause = cause.id ORDER BY place)),
             '')
  FROM cause;
";

const PAYOUTS: &str = "
CREATE TABLE payout (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  user ANY NOT NULL,
  withdrawal ANY NOT NULL,
  amount INTEGER NOT NULL,
  at_unix_ms INTEGER NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('waiting', 'acknowledged', 'dead', 'returned', 'paid', 'refused')),
  tries INTEGER NOT NULL DEFAULT 0,
  next_try_unix_ms INTEGER NOT NULL DEFAULT 0,
  acknowledged_unix_ms INTEGER,
  reference TEXT,
  answer TEXT
) STRICT;
CREATE INDEX payout_waiting ON payout (next_try_unix_ms, id) WHERE state = 'waiting';
CREATE INDEX payout_of_user ON payout (user, id) WHERE state = 'waiting';
CREATE INDEX payout_unjournaled ON payout (id) WHERE state IN ('acknowledged', 'returned', 'dead');
INSERT INTO payout (key, user, withdrawal, amount, at_unix_ms, state)
  SELECT request.key, request.user, request.about ->> 'withdrawal', request.amount,
    request.at_unix_ms,
    CASE ending.kind
      WHEN 'withdrawal-paid' THEN 'paid' WHEN 'withdrawal-refused' THEN 'refused' ELSE 'waiting'
    END
  FROM cause AS request LEFT JOIN cause AS ending ON ending.key = request.key || ':end'
  WHERE request.kind = 'withdrawal-requested' ORDER BY request.id;
";

/// The current version.
#[must_use]
pub fn current_version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Where the book of a data directory is.
#[must_use]
pub fn ledger_path(directory: &Path) -> PathBuf {
    directory.join(LEDGER_FILE)
}

/// Opens the book at `path` for writing; makes it if there is none, and upgrades an older one.
///
/// # Errors
/// It cannot be opened or made, is no ledger, or is of a newer version.
pub fn open(path: &Path) -> Result<Connection, LedgerError> {
    open_at_version(path, STEPS)
}

fn open_at_version(path: &Path, steps: &[&str]) -> Result<Connection, LedgerError> {
    let cannot = |source| LedgerError::Open { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(cannot)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The order of the two matters: what is no ledger must not be changed, WAL is a change.
    let found = version(&connection, path, steps)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(cannot)?;
    if usize::try_from(found).is_ok_and(|found| found < steps.len()) {
        upgrade(&mut connection, path, steps)?;
    }
    Ok(connection)
}

/// Opens the book at `path` for reading only.
///
/// # Errors
/// There is none, it cannot be read, is no ledger, or is of another version.
pub fn open_to_read(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(LedgerError::Absent { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    match version(&connection, path, STEPS)? {
        found if found < current_version() => {
            Err(LedgerError::Older { path: path.to_owned(), found, known: current_version() })
        }
        _ => Ok(connection),
    }
}

/// The version of a file that is a ledger or empty.
fn version(connection: &Connection, path: &Path, steps: &[&str]) -> Result<i64, LedgerError> {
    let not = |what: String| LedgerError::NotALedger { path: path.to_owned(), what };
    let number = |pragma: &str| {
        connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
    };
    let application =
        number("application_id").map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => not("it is no SQLite database".to_owned()),
            _ => LedgerError::Open { path: path.to_owned(), source },
        })?;
    let found = number("user_version")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    match (application, found, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, ..) if found > known => {
            Err(LedgerError::Newer { path: path.to_owned(), found, known })
        }
        (APPLICATION_ID, 1.., _) => Ok(found),
        _ => Err(not(format!("its application id is {application:#x}, not {APPLICATION_ID:#x}"))),
    }
}

fn upgrade(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have walked the same steps while this one waited.
    let found = version(&transaction, path, steps)?;
    for step in &steps[usize::try_from(found).unwrap_or(steps.len()).min(steps.len())..] {
        transaction.execute_batch(step)?;
    }
    let reached = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", reached)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(outcome: Result<Connection, LedgerError>) -> String {
        match outcome {
            Ok(_) => "opened".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_older_file_is_upgraded_with_its_open_withdrawals() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = ledger_path(directory.path());
        let old = open_at_version(&path, &STEPS[..1]).expect("made");
        for (id, key, kind) in [
            (1, "withdrawal:7:1", "withdrawal-requested"),
            (2, "withdrawal:7:1:end", "withdrawal-paid"),
            (3, "withdrawal:7:2", "withdrawal-requested"),
        ] {
            old.execute(
                "INSERT INTO cause VALUES (?1, ?2, ?3, 5, NULL, 7, 100, 'cent', '{\"withdrawal\":1}')",
                (id, key, kind),
            )
            .expect("written");
        }
        drop(old);
        assert!(said(open_to_read(&path)).contains("version 1 of the ledger, 2 is current"));
        let new = open(&path).expect("upgraded");
        let states: Vec<String> = new
            .prepare("SELECT state FROM payout ORDER BY id")
            .expect("prepared")
            .query_map([], |row| row.get(0))
            .expect("asked")
            .collect::<Result<_, _>>()
            .expect("read");
        assert_eq!(states, ["paid", "waiting"]);
        assert_eq!(said(open_to_read(&path)), "opened");
    }

    #[test]
    fn what_is_no_ledger_of_ours_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = ledger_path(directory.path());
        assert!(said(open_to_read(&path)).contains("there is no ledger"));
        open(&path).expect("made").pragma_update(None, "user_version", 9).expect("set");
        for outcome in [open(&path), open_to_read(&path)] {
            assert!(
                said(outcome)
                    .contains("newer tidegate (version 9 of the ledger; this one knows 2)")
            );
        }
        let other = directory.path().join("other");
        Connection::open(&other)
            .and_then(|it| it.execute_batch("CREATE TABLE x (y)"))
            .expect("made");
        let before = std::fs::read(&other).expect("read");
        assert!(said(open(&other)).contains("is not a ledger of tidegate"));
        assert_eq!(std::fs::read(&other).expect("read"), before);
        let text = directory.path().join("text");
        std::fs::write(&text, "no database ".repeat(500)).expect("written");
        assert!(said(open(&text)).contains("it is no SQLite database"));
        let nowhere = directory.path().join("nowhere/ledger.sqlite");
        assert!(said(open(&nowhere)).contains("the directory must exist and be writable"));
    }
}
