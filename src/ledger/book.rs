//! The book: causes in, entries and balances out.
//!
//! [`Book::apply`] is the only writer of causes, entries and balances. What it is given is written
//! whole, in one transaction with the positions that its batches reach, or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Statement, Transaction, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use crate::base::hex;
use crate::base::ids::{ShowId, UserId};
use crate::ledger::account::{Account, Unit};
use crate::ledger::cause::{Cause, CauseKey, CauseKind};
use crate::ledger::error::LedgerError;
use crate::ledger::posting::{Movement, movement};
use crate::ledger::row::{COLUMNS, CauseRow, Id};
use crate::ledger::schema;

/// A row of causes with places of its own: a shard's journal, for example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedId(pub u64);

/// A place in a feed; 0 is before its first cause. Only where to go on reading: what is in the book
/// is decided by keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A piece of a feed: its causes behind `after`, up to and with `through`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose.
    pub feed: FeedId,
    /// Where it begins; not behind the position that the book has.
    pub after: Position,
    /// The position that the book has reached when this is written.
    pub through: Position,
    /// Its causes, in order. There may be none: records without a cause move the position, too.
    pub causes: Vec<Cause>,
}

/// What became of batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Causes that are new in the book.
    pub booked: u64,
    /// Causes that it had.
    pub repeated: u64,
    /// Whether there are new withdrawals to send.
    pub withdrawals: bool,
    /// What the new causes change on the leaderboards.
    pub winnings: Vec<Winning>,
}

/// Prize money or a packet that a player got in a show, or lost again by a reversal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winning {
    /// The show.
    pub show: ShowId,
    /// The player.
    pub user: UserId,
    /// By how much; negative for a reversal.
    pub cents: i64,
}

/// SHA-256 of all lines of the view `book_line` in the order of their keys, each with a line feed. It
/// tells what is in a book, not in which order it came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BookHash(pub [u8; 32]);

impl std::fmt::Display for BookHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex::encode(&self.0))
    }
}

impl std::fmt::Debug for BookHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "BookHash({self})")
    }
}

/// The book of a data directory.
pub struct Book {
    connection: Connection,
    path: PathBuf,
}

impl Book {
    /// Opens the book of `directory` for writing; makes it if there is none.
    ///
    /// # Errors
    /// As [`schema::open`].
    pub fn open(directory: &Path) -> Result<Book, LedgerError> {
        let path = schema::ledger_path(directory);
        Ok(Book { connection: schema::open(&path)?, path })
    }

    /// Opens the book of `directory` for reading only.
    ///
    /// # Errors
    /// As [`schema::open_to_read`].
    pub fn open_to_read(directory: &Path) -> Result<Book, LedgerError> {
        let path = schema::ledger_path(directory);
        Ok(Book { connection: schema::open_to_read(&path)?, path })
    }

    /// Lets the file go, with everything in it.
    ///
    /// # Errors
    /// The database fails.
    pub fn close(self) -> Result<(), LedgerError> {
        self.connection.close().map_err(|(_, error)| error.into())
    }

    /// Takes over how far payouts had come in another book, of those that this one has as waiting. Says
    /// how many.
    ///
    /// # Errors
    /// The other book cannot be read, or this one cannot be written.
    pub fn take_over_payouts(&self, from: &Path) -> Result<usize, LedgerError> {
        self.connection.execute("ATTACH ?1 AS before", [from.to_string_lossy()])?;
        let taken = self.connection.execute(
            "UPDATE payout SET state = b.state, tries = b.tries, next_try_unix_ms = b.next_try_unix_ms,
               acknowledged_unix_ms = b.acknowledged_unix_ms, reference = b.reference, answer = b.answer
             FROM before.payout AS b
             WHERE b.key = payout.key AND b.amount = payout.amount AND payout.state = 'waiting'
               AND b.state IN ('waiting', 'acknowledged', 'dead', 'returned')",
            [],
        )?;
        self.connection.execute("DETACH before", [])?;
        Ok(taken)
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How far a feed has been written.
    ///
    /// # Errors
    /// The database fails.
    pub fn position(&self, feed: FeedId) -> Result<Position, LedgerError> {
        position(&self.connection, feed)
    }

    /// How far all feeds have been written.
    ///
    /// # Errors
    /// The database fails.
    pub fn positions(&self) -> Result<BTreeMap<FeedId, Position>, LedgerError> {
        positions(&self.connection)
    }

    /// What an account has.
    ///
    /// # Errors
    /// The database fails.
    pub fn balance(&self, account: &Account, unit: Unit) -> Result<i64, LedgerError> {
        let mut find = self
            .connection
            .prepare("SELECT amount FROM balance WHERE account = ?1 AND unit = ?2")?;
        let found =
            find.query_row((account.to_string(), unit.word()), |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    /// The hash of what is in the book.
    ///
    /// # Errors
    /// The database fails.
    pub fn hash(&self) -> Result<BookHash, LedgerError> {
        hash(&self.connection)
    }

    /// Writes batches: all of them, or, if there is an error, nothing.
    ///
    /// # Errors
    /// A cause is wrong or in conflict with the book, a batch leaves a gap, or the database fails.
    pub fn apply(&mut self, batches: &[Batch]) -> Result<Applied, LedgerError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let applied = write(&transaction, batches)?;
        transaction.commit()?;
        Ok(applied)
    }
}

pub(super) fn position(connection: &Connection, feed: FeedId) -> Result<Position, LedgerError> {
    let Ok(id) = i64::try_from(feed.0) else {
        return Ok(Position(0));
    };
    let found: Option<i64> = connection
        .query_row("SELECT position FROM feed WHERE feed = ?1", [id], |row| row.get(0))
        .optional()?;
    Ok(Position(u64::try_from(found.unwrap_or(0)).unwrap_or(0)))
}

pub(super) fn positions(
    connection: &Connection,
) -> Result<BTreeMap<FeedId, Position>, LedgerError> {
    let mut statement = connection.prepare("SELECT feed, position FROM feed")?;
    let mut rows = statement.query([])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (feed, position): (i64, i64) = (row.get(0)?, row.get(1)?);
        if let (Ok(feed), Ok(position)) = (u64::try_from(feed), u64::try_from(position)) {
            found.insert(FeedId(feed), Position(position));
        }
    }
    Ok(found)
}

pub(super) fn hash(connection: &Connection) -> Result<BookHash, LedgerError> {
    let mut lines = connection.prepare("SELECT line FROM book_line ORDER BY key")?;
    let mut rows = lines.query([])?;
    let mut hasher = Sha256::new();
    while let Some(row) = rows.next()? {
        hasher.update(row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?);
        hasher.update(b"\n");
    }
    Ok(BookHash(hasher.finalize().into()))
}

/// Everything of [`Book::apply`] but the commit.
fn write(transaction: &Transaction<'_>, batches: &[Batch]) -> Result<Applied, LedgerError> {
    let mut writer = Writer::new(transaction)?;
    let mut applied = Applied::default();
    for batch in batches {
        let Batch { feed, after, through, causes } = batch;
        let has = position(transaction, *feed)?;
        let bounds = [feed.0, after.0, through.0].map(i64::try_from);
        let [Ok(feed_id), Ok(_), Ok(reached)] = bounds else {
            return Err(out_of_bounds(batch));
        };
        if after > through {
            return Err(out_of_bounds(batch));
        }
        if *after > has {
            return Err(LedgerError::Gap { feed: feed.0, after: after.0, has: has.0 });
        }
        for cause in causes {
            writer.book(cause, &mut applied)?;
        }
        transaction.execute(
            "INSERT INTO feed VALUES (?1, ?2)
             ON CONFLICT (feed) DO UPDATE SET position = max(position, excluded.position)",
            [feed_id, reached],
        )?;
    }
    writer.write_balances()?;
    Ok(applied)
}

fn out_of_bounds(batch: &Batch) -> LedgerError {
    let Batch { feed, after, through, .. } = batch;
    LedgerError::BatchBounds { feed: feed.0, after: after.0, through: through.0 }
}

/// An account and a unit as the file has them.
type AccountName = (String, &'static str);

/// The statements of one transaction, and the balances that it changed.
struct Writer<'t> {
    transaction: &'t Transaction<'t>,
    insert_cause: Statement<'t>,
    find_cause: Statement<'t>,
    insert_entry: Statement<'t>,
    changes: BTreeMap<AccountName, i64>,
}

/// What a cause writes: its columns and its entries, the first one the loss.
pub(super) struct Booking {
    pub(super) row: CauseRow,
    pub(super) entries: Vec<(String, &'static str, i64)>,
}

impl<'t> Writer<'t> {
    fn new(transaction: &'t Transaction<'t>) -> Result<Writer<'t>, LedgerError> {
        Ok(Writer {
            transaction,
            insert_cause: transaction.prepare(
                "INSERT INTO cause (key, kind, at_unix_ms, show, user, amount, unit, about)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (key) DO NOTHING",
            )?,
            find_cause: transaction
                .prepare(&format!("SELECT id, {COLUMNS} FROM cause WHERE key = ?1"))?,
            insert_entry: transaction.prepare("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5)")?,
            changes: BTreeMap::new(),
        })
    }

    fn book(&mut self, cause: &Cause, applied: &mut Applied) -> Result<(), LedgerError> {
        let key = cause.key();
        let Booking { row, entries } = booking(self.transaction, &mut self.find_cause, cause)?;
        let is_new = self.insert_cause.execute((
            key.as_str(),
            &row.kind,
            row.at_unix_ms,
            row.show,
            row.user,
            row.amount,
            &row.unit,
            &row.about,
        ))?;
        if is_new == 0 {
            check_repeat(&mut self.find_cause, &key, &row)?;
            applied.repeated += 1;
            return Ok(());
        }
        let id = self.transaction.last_insert_rowid();
        for (place, (account, unit, amount)) in (0_i64..).zip(entries) {
            self.insert_entry.execute((id, place, &account, unit, amount))?;
            let change = self.changes.entry((account, unit)).or_default();
            *change = change
                .checked_add(amount)
                .ok_or_else(|| LedgerError::Overflow { account: key.as_str().to_owned() })?;
        }
        applied.booked += 1;
        self.note_payout(cause, &key, applied)?;
        applied.winnings.extend(winning(cause, &row));
        Ok(())
    }

    /// A withdrawal's request is a payout to send, in the same transaction; its end ends that.
    fn note_payout(
        &self,
        cause: &Cause,
        key: &CauseKey,
        applied: &mut Applied,
    ) -> Result<(), LedgerError> {
        let (withdrawal, amount, state) = match &cause.kind {
            CauseKind::WithdrawalRequested { withdrawal, amount } => {
                self.transaction.execute(
                    "INSERT INTO payout (key, user, withdrawal, amount, at_unix_ms, state)
                     VALUES (?1, ?2, ?3, ?4, ?5, 'waiting')",
                    (
                        key.as_str(),
                        Id(Some(withdrawal.user.0)),
                        Id(Some(withdrawal.number)),
                        amount.0,
                        cause.at_unix_ms,
                    ),
                )?;
                applied.withdrawals = true;
                return Ok(());
            }
            CauseKind::WithdrawalPaid { withdrawal, amount } => (withdrawal, amount, "paid"),
            CauseKind::WithdrawalRefused { withdrawal, amount } => (withdrawal, amount, "refused"),
            _ => return Ok(()),
        };
        let changed = self.transaction.execute(
            "UPDATE payout SET state = ?1 WHERE key = ?2 AND amount = ?3",
            (state, withdrawal.idempotency_key(), amount.0),
        )?;
        if changed == 1 { Ok(()) } else { Err(LedgerError::Withdrawal { key: key.clone() }) }
    }

    /// In the order of accounts, each once, however many causes touched it.
    fn write_balances(self) -> Result<(), LedgerError> {
        let mut find = self
            .transaction
            .prepare("SELECT amount FROM balance WHERE account = ?1 AND unit = ?2")?;
        let mut store = self.transaction.prepare(
            "INSERT INTO balance VALUES (?1, ?2, ?3)
             ON CONFLICT (account, unit) DO UPDATE SET amount = excluded.amount",
        )?;
        for ((account, unit), change) in self.changes {
            let has: i64 =
                find.query_row((&account, unit), |row| row.get(0)).optional()?.unwrap_or(0);
            let Some(amount) = has.checked_add(change) else {
                return Err(LedgerError::Overflow { account });
            };
            store.execute((&account, unit, amount))?;
        }
        Ok(())
    }
}

/// What a cause writes; a reversal's is found in the book.
pub(super) fn booking(
    connection: &Connection,
    find_cause: &mut Statement<'_>,
    cause: &Cause,
) -> Result<Booking, LedgerError> {
    let wrong = |source| LedgerError::Cause { key: cause.key(), source };
    if let Some(movement) = movement(cause).map_err(wrong)? {
        let row = CauseRow::of(cause, movement.amount, movement.unit.word());
        return Ok(Booking { row, entries: entries(&movement) });
    }
    let CauseKind::Reversal { of, .. } = &cause.kind else {
        unreachable!("only a reversal has no movement of its own");
    };
    let refused = |why| LedgerError::Reversal { key: cause.key(), of: of.clone(), why };
    let found = find_cause
        .query_row([of.as_str()], |row| Ok((row.get::<_, i64>(0)?, CauseRow::read(row, 1)?)))
        .optional()?;
    let Some((id, original)) = found else {
        return Err(refused("is not in the book"));
    };
    if original.kind == "reversal" {
        return Err(refused("is a reversal itself"));
    }
    if original.kind.starts_with("withdrawal") {
        return Err(refused("belongs to a withdrawal: those end by being paid or refused"));
    }
    let unit = if original.unit == Unit::Card.word() { Unit::Card } else { Unit::Cent };
    let mut mirrored = Vec::new();
    let mut statement =
        connection.prepare("SELECT account, amount FROM entry WHERE cause = ?1 ORDER BY place")?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        let (account, amount): (String, i64) = (row.get(0)?, row.get(1)?);
        let amount = amount
            .checked_neg()
            .ok_or_else(|| LedgerError::Overflow { account: account.clone() })?;
        mirrored.push((account, unit.word(), amount));
    }
    let row = CauseRow {
        show: original.show,
        user: original.user,
        ..CauseRow::of(cause, original.amount, unit.word())
    };
    Ok(Booking { row, entries: mirrored })
}

/// Nothing moved makes no entries: an entry of zero would say nothing.
fn entries(movement: &Movement) -> Vec<(String, &'static str, i64)> {
    let Movement { from, to, unit, amount } = movement;
    if *amount == 0 {
        return Vec::new();
    }
    vec![(from.to_string(), unit.word(), -amount), (to.to_string(), unit.word(), *amount)]
}

fn check_repeat(
    find_cause: &mut Statement<'_>,
    key: &CauseKey,
    told: &CauseRow,
) -> Result<(), LedgerError> {
    let booked = find_cause.query_row([key.as_str()], |row| CauseRow::read(row, 1))?;
    if booked == *told {
        return Ok(());
    }
    let (booked, told) = (booked.describe(), told.describe());
    Err(LedgerError::Conflict { key: key.clone(), booked, told })
}

fn winning(cause: &Cause, row: &CauseRow) -> Option<Winning> {
    let of = match &cause.kind {
        CauseKind::Prize { .. } | CauseKind::PacketGrabbed { .. } => None,
        CauseKind::Reversal { of, .. } => Some(of.as_str()),
        _ => return None,
    };
    let cents = match of {
        None => row.amount,
        Some(of) if of.starts_with("prize:") || of.starts_with("packet:") => -row.amount,
        Some(_) => return None,
    };
    Some(Winning { show: ShowId(row.show.0?), user: UserId(row.user.0?), cents })
}

#[cfg(test)]
mod tests;

/// What tests of other modules fill books with.
#[cfg(test)]
pub(super) mod fixture;
