//! The table of payouts in the book: what is due, what became of it, and what a person does about
//! dead letters.
//!
//! It has a connection of its own: the book's thread writes causes, this writes states, and SQLite
//! lets one of them write at a time.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, Row, TransactionBehavior};

use crate::base::ids::UserId;
use crate::ledger::cause::WithdrawalId;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::{Ending, Payout};
use crate::ledger::row::Id;
use crate::ledger::schema;
use crate::quiz::money::Cents;

/// Bytes of an answer that are kept for people to read.
const ANSWER_BYTES_KEPT: usize = 300;

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The balance system has it, under this reference of its own.
    Acknowledged {
        /// The reference.
        reference: Option<String>,
    },
    /// It will never take it.
    Refused {
        /// What it said.
        why: String,
    },
    /// It may take it another time.
    Failed {
        /// What happened.
        why: String,
        /// When to try again, Unix milliseconds.
        again_unix_ms: i64,
    },
}

/// A payout with its state, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The payout.
    pub payout: Payout,
    /// `waiting`, `acknowledged`, `dead`, `returned`, `paid` or `refused`.
    pub state: String,
    /// When it is sent next, if it waits.
    pub next_try_unix_ms: i64,
    /// What the balance system, or the network, said last.
    pub answer: Option<String>,
    /// The balance system's own name for it.
    pub reference: Option<String>,
}

/// What [`Queue::look`] finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookLook {
    /// Payouts that are to be sent.
    pub payouts_waiting: u64,
    /// Payouts that were tried in vain for too long: a person decides.
    pub payouts_dead: u64,
    /// By how much all balances of a unit do not sum to zero, the units' amounts added. Never anything
    /// but 0 in a book that is sound.
    pub imbalance: u64,
}

/// The table.
pub struct Queue {
    connection: Connection,
}

const COLUMNS: &str = "id, user, withdrawal, amount, at_unix_ms, tries";

fn payout(row: &Row<'_>) -> rusqlite::Result<Payout> {
    let id = |index| Ok::<_, rusqlite::Error>(Id::read(row, index)?.0.unwrap_or(0));
    Ok(Payout {
        id: row.get(0)?,
        withdrawal: WithdrawalId { user: UserId(id(1)?), number: id(2)? },
        amount: Cents(row.get(3)?),
        at_unix_ms: row.get(4)?,
        tries: row.get(5)?,
    })
}

impl Queue {
    /// Opens the book of `directory`.
    ///
    /// # Errors
    /// As [`schema::open`]; and there must be a book.
    pub fn open(directory: &Path) -> Result<Queue, LedgerError> {
        let path = schema::ledger_path(directory);
        if !path.exists() {
            return Err(LedgerError::Absent { path });
        }
        Ok(Queue { connection: schema::open(&path)? })
    }

    /// Payouts that are due, longest first, at most `count` beside those that are `under_way`; of each
    /// user only the first that waits.
    ///
    /// # Errors
    /// The database fails.
    pub fn due(
        &self,
        now_unix_ms: i64,
        count: usize,
        under_way: &BTreeSet<i64>,
    ) -> Result<Vec<Payout>, LedgerError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT {COLUMNS} FROM payout WHERE state = 'waiting' AND next_try_unix_ms <= ?1
             AND NOT EXISTS (SELECT 1 FROM payout AS earlier WHERE earlier.state = 'waiting'
                             AND earlier.user = payout.user AND earlier.id < payout.id)
             ORDER BY next_try_unix_ms, id LIMIT ?2"
        ))?;
        let limit = i64::try_from(count + under_way.len()).unwrap_or(i64::MAX);
        let mut rows = statement.query([now_unix_ms, limit])?;
        let mut due = Vec::new();
        while let Some(row) = rows.next()? {
            let payout = payout(row)?;
            if due.len() < count && !under_way.contains(&payout.id) {
                due.push(payout);
            }
        }
        Ok(due)
    }

    /// When the next payout that waits is due, and how many wait.
    ///
    /// # Errors
    /// The database fails.
    pub fn waiting(&self) -> Result<(Option<i64>, u64), LedgerError> {
        let question = "SELECT min(next_try_unix_ms), count(*) FROM payout WHERE state = 'waiting'";
        let (next, count): (Option<i64>, i64) =
            self.connection.query_row(question, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((next, u64::try_from(count).unwrap_or(0)))
    }

    /// Counts what waits and what is dead, and sums every balance.
    ///
    /// # Errors
    /// The database fails.
    pub fn look(&self) -> Result<BookLook, LedgerError> {
        let count = |question| -> rusqlite::Result<u64> {
            let count: i64 = self.connection.query_row(question, [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        Ok(BookLook {
            payouts_waiting: count("SELECT count(*) FROM payout WHERE state = 'waiting'")?,
            payouts_dead: count("SELECT count(*) FROM payout WHERE state = 'dead'")?,
            imbalance: count(
                "SELECT coalesce(sum(abs(off)), 0)
                 FROM (SELECT sum(amount) AS off FROM balance GROUP BY unit)",
            )?,
        })
    }

    /// Records what became of tries, all in one transaction.
    ///
    /// # Errors
    /// The database fails; then nothing is recorded.
    pub fn record(
        &mut self,
        outcomes: &[(i64, Outcome)],
        now_unix_ms: i64,
        tries_max: u32,
    ) -> Result<(), LedgerError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Acknowledged { reference } => transaction.execute(
                    "UPDATE payout SET state = 'acknowledged', tries = tries + 1,
                       acknowledged_unix_ms = ?2, reference = ?3, answer = 'accepted'
                     WHERE id = ?1 AND state = 'waiting'",
                    (id, now_unix_ms, reference.as_deref().map(bounded)),
                )?,
                Outcome::Refused { why } => transaction.execute(
                    "UPDATE payout SET state = 'dead', tries = tries + 1, answer = ?2
                     WHERE id = ?1 AND state = 'waiting'",
                    (id, bounded(why)),
                )?,
                Outcome::Failed { why, again_unix_ms } => transaction.execute(
                    "UPDATE payout SET tries = tries + 1, answer = ?2, next_try_unix_ms = ?3,
                       state = CASE WHEN tries + 1 >= ?4 THEN 'dead' ELSE 'waiting' END
                     WHERE id = ?1 AND state = 'waiting'",
                    (id, bounded(why), again_unix_ms, tries_max),
                )?,
            };
        }
        Ok(transaction.commit()?)
    }

    /// What has ended and is not yet in the journal.
    ///
    /// # Errors
    /// The database fails.
    pub fn unjournaled(&self) -> Result<Vec<Ending>, LedgerError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT {COLUMNS}, state FROM payout WHERE state IN ('acknowledged', 'returned')
             ORDER BY id"
        ))?;
        let mut rows = statement.query([])?;
        let mut endings = Vec::new();
        while let Some(row) = rows.next()? {
            let Payout { withdrawal, amount, .. } = payout(row)?;
            let state: String = row.get(6)?;
            endings.push(Ending { withdrawal, amount, is_paid: state == "acknowledged" });
        }
        Ok(endings)
    }

    /// The payouts in one of `states`, in the order of their requests; tells `take` each.
    ///
    /// # Errors
    /// The database fails, or `take` does.
    pub fn list(
        &self,
        states: &[&str],
        take: &mut dyn FnMut(&Listed) -> Result<(), LedgerError>,
    ) -> Result<u64, LedgerError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT {COLUMNS}, state, next_try_unix_ms, answer, reference FROM payout ORDER BY id"
        ))?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let state: String = row.get(6)?;
            if states.contains(&state.as_str()) {
                count += 1;
                take(&Listed {
                    payout: payout(row)?,
                    state,
                    next_try_unix_ms: row.get(7)?,
                    answer: row.get(8)?,
                    reference: row.get(9)?,
                })?;
            }
        }
        Ok(count)
    }

    /// Sends dead letters again, as if they had not been tried: this one, or all. Says how many.
    ///
    /// # Errors
    /// The database fails.
    pub fn retry(&mut self, key: Option<&str>) -> Result<usize, LedgerError> {
        Ok(self.connection.execute(
            "UPDATE payout SET state = 'waiting', tries = 0, next_try_unix_ms = 0
             WHERE state = 'dead' AND (?1 IS NULL OR key = ?1)",
            [key],
        )?)
    }

    /// Gives up on a dead letter: the money goes back to its player once the gateway has journaled
    /// that. Says whether there was such a letter.
    ///
    /// # Errors
    /// The database fails.
    pub fn give_back(&mut self, key: &str) -> Result<bool, LedgerError> {
        let question = "UPDATE payout SET state = 'returned' WHERE state = 'dead' AND key = ?1";
        Ok(self.connection.execute(question, [key])? == 1)
    }
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(ANSWER_BYTES_KEPT)]
}
