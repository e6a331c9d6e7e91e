//! What players ask of the book: their places, what they got and spent, their withdrawals and
//! invitations.
//!
//! A reader has connections of its own, which only read, so it never keeps the book's writer
//! waiting (WAL), and it needs nobody to tell it what was booked: leaderboards are in memory and
//! catch up with the book whenever they are asked to. It blocks: not for a thread that serves others.

use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use rusqlite::{Connection, Row};

use crate::base::ids::{ShowId, UserId};
use crate::ledger::account::Account;
use crate::ledger::error::LedgerError;
use crate::ledger::leaderboard::Leaderboards;
use crate::ledger::ranks::Place;
use crate::ledger::row::Id;
use crate::ledger::schema;

#[expect(clippy::disallowed_types, reason = "threads that serve people; no shard waits for it")]
type Mutex<T> = std::sync::Mutex<T>;

/// Causes that boards take with their lock held: a fraction of a millisecond each time.
const CATCH_UP_CAUSES: usize = 1_024;

/// A place in the book: what is older is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub i64);

impl Cursor {
    /// Before everything: the newest page.
    pub const NEWEST: Cursor = Cursor(i64::MAX);
}

/// Something that changed what a player has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bonus {
    /// Where it stands.
    pub cursor: Cursor,
    /// What happened, as the book writes it.
    pub kind: String,
    /// When, Unix milliseconds.
    pub at_unix_ms: i64,
    /// In which show.
    pub show: Option<ShowId>,
    /// At which question, where a card was used.
    pub question: Option<u16>,
    /// How much, in its unit, as it changed what the player has.
    pub change: i64,
    /// `cent` or `card`.
    pub unit: String,
}

/// What became of a withdrawal, as the journal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithdrawalEnd {
    /// It is on its way.
    Requested,
    /// The operator's balance system has it.
    Paid,
    /// It came back.
    Returned,
}

/// A player's withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalRow {
    /// Where it stands.
    pub cursor: Cursor,
    /// The key under which the operator's balance system knows it.
    pub key: String,
    /// When it was asked for, Unix milliseconds.
    pub at_unix_ms: i64,
    /// How much.
    pub cents: i64,
    /// What became of it.
    pub end: WithdrawalEnd,
}

/// An invitation that brought a player something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationRow {
    /// Where it stands.
    pub cursor: Cursor,
    /// The other one: who came, or who invited.
    pub other: UserId,
    /// Whether the player is the one who invited.
    pub is_inviter: bool,
    /// When, Unix milliseconds.
    pub at_unix_ms: i64,
    /// What it brought, in its unit.
    pub reward: i64,
    /// `cent` or `card`.
    pub unit: String,
}

/// The first places of a board, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// Players on it.
    pub players: u64,
    /// The first ones, best first, ties ranked equally.
    pub top: Vec<Place>,
}

/// Reads the book of a data directory while others write it.
pub struct BookReader {
    directory: PathBuf,
    /// Connections that nobody uses now. There are never more than threads that read.
    idle: Mutex<Vec<Connection>>,
    boards: Mutex<Leaderboards>,
}

impl BookReader {
    /// A reader of the book of `directory`. Nothing is opened: there need not be a book yet, and
    /// then it is as empty as one.
    #[must_use]
    pub fn new(directory: &Path) -> BookReader {
        let directory = directory.to_owned();
        BookReader { directory, idle: Mutex::default(), boards: Mutex::default() }
    }

    /// Takes what was booked since into the leaderboards. To be called now and then.
    ///
    /// # Errors
    /// The book cannot be read.
    pub fn catch_up(&self) -> Result<(), LedgerError> {
        self.with_book(|connection| {
            // Whoever catches up at the same time takes nothing twice: the place is with the boards.
            while lock(&self.boards).catch_up(connection, CATCH_UP_CAUSES)? {}
            Ok(())
        })
        .map(|_| ())
    }

    /// A board's first places: that of a show, or of all time. Nothing for a show that won nothing
    /// lately.
    #[must_use]
    pub fn board(&self, show: Option<ShowId>, count: usize) -> Option<Board> {
        let boards = lock(&self.boards);
        let ranks = match show {
            Some(show) => boards.of_show(show)?,
            None => boards.all_time(),
        };
        Some(Board { players: ranks.count(), top: ranks.top(count).collect() })
    }

    /// Where a player is on a board.
    #[must_use]
    pub fn place(&self, show: Option<ShowId>, user: UserId) -> Option<Place> {
        let boards = lock(&self.boards);
        match show {
            Some(show) => boards.of_show(show)?.place(user),
            None => boards.all_time().place(user),
        }
    }

    /// What changed what a player has, newest first, behind `after`.
    ///
    /// # Errors
    /// The book cannot be read.
    pub fn bonuses(
        &self,
        user: UserId,
        after: Cursor,
        count: u32,
    ) -> Result<Vec<Bonus>, LedgerError> {
        let account = Account::Player(user).to_string();
        self.rows(
            "SELECT cause.id, kind, at_unix_ms, show, about ->> 'question', entry.amount, entry.unit
             FROM cause JOIN entry ON entry.cause = cause.id
             WHERE user = ?1 AND cause.id < ?2 AND entry.account = ?4
             ORDER BY cause.id DESC LIMIT ?3",
            (Id(Some(user.0)), after.0, count, account),
            |row| {
                Ok(Bonus {
                    cursor: Cursor(row.get(0)?),
                    kind: row.get(1)?,
                    at_unix_ms: row.get(2)?,
                    show: Id::read(row, 3)?.0.map(ShowId),
                    question: row.get(4)?,
                    change: row.get(5)?,
                    unit: row.get(6)?,
                })
            },
        )
    }

    /// A player's withdrawals, newest first, behind `after`.
    ///
    /// # Errors
    /// The book cannot be read.
    pub fn withdrawals(
        &self,
        user: UserId,
        after: Cursor,
        count: u32,
    ) -> Result<Vec<WithdrawalRow>, LedgerError> {
        self.rows(
            "SELECT request.id, request.key, request.at_unix_ms, request.amount, ending.kind
             FROM cause AS request LEFT JOIN cause AS ending ON ending.key = request.key || ':end'
             WHERE request.user = ?1 AND request.kind = 'withdrawal-requested' AND request.id < ?2
             ORDER BY request.id DESC LIMIT ?3",
            (Id(Some(user.0)), after.0, count),
            |row| {
                let ending: Option<String> = row.get(4)?;
                let end = match ending.as_deref() {
                    Some("withdrawal-paid") => WithdrawalEnd::Paid,
                    Some(_) => WithdrawalEnd::Returned,
                    None => WithdrawalEnd::Requested,
                };
                Ok(WithdrawalRow {
                    cursor: Cursor(row.get(0)?),
                    key: row.get(1)?,
                    at_unix_ms: row.get(2)?,
                    cents: row.get(3)?,
                    end,
                })
            },
        )
    }

    /// A player's invitations, newest first, behind `after`: those that it gave, and the one that
    /// it came by.
    ///
    /// # Errors
    /// The book cannot be read.
    pub fn invitations(
        &self,
        user: UserId,
        after: Cursor,
        count: u32,
    ) -> Result<Vec<InvitationRow>, LedgerError> {
        self.rows(
            "SELECT id, key LIKE '%:inviter', about, at_unix_ms, amount, unit FROM cause
             WHERE user = ?1 AND kind = 'invitation' AND id < ?2 ORDER BY id DESC LIMIT ?3",
            (Id(Some(user.0)), after.0, count),
            |row| {
                let is_inviter: bool = row.get(1)?;
                let about: String = row.get(2)?;
                let about: serde_json::Value = serde_json::from_str(&about).unwrap_or_default();
                let other = if is_inviter { &about["invitee"] } else { &about["inviter"] };
                Ok(InvitationRow {
                    cursor: Cursor(row.get(0)?),
                    other: UserId(other.as_u64().unwrap_or(0)),
                    is_inviter,
                    at_unix_ms: row.get(3)?,
                    reward: row.get(4)?,
                    unit: row.get(5)?,
                })
            },
        )
    }

    fn rows<T>(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let found = self.with_book(|connection| {
            let mut statement = connection.prepare(query)?;
            let rows = statement.query_map(parameters, read)?;
            Ok(rows.collect::<Result<Vec<T>, _>>()?)
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Does something with a connection; nothing where there is no book yet.
    fn with_book<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, LedgerError>,
    ) -> Result<Option<T>, LedgerError> {
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => match schema::open_to_read(&schema::ledger_path(&self.directory)) {
                Ok(connection) => connection,
                Err(LedgerError::Absent { .. }) => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        // After an error the connection is closed: the next one begins anew.
        let done = work(&mut connection)?;
        lock(&self.idle).push(connection);
        Ok(Some(done))
    }
}

/// What is locked is whole whatever a thread died of: nothing is changed in two steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::book::Book;
    use crate::ledger::book::fixture::{
        a_show, batch, directory, everything, prize, reversal, settled,
    };

    fn places(reader: &BookReader, show: Option<u64>) -> Vec<(u64, u64, i64)> {
        let board = reader.board(show.map(ShowId), 10).unwrap_or_default();
        board.top.iter().map(|place| (place.rank, place.user.0, place.score)).collect()
    }

    #[test]
    fn boards_catch_up_with_a_book_that_is_written_and_equal_those_that_are_read() {
        let directory = directory();
        let reader = BookReader::new(directory.path());
        reader.catch_up().expect("no book is an empty one");
        assert_eq!(reader.board(None, 9), Some(Board::default()));
        let mut book = Book::open(directory.path()).expect("opened");
        let wrong = prize(1, 7, 500);
        for batches in [
            vec![batch(1, 0, everything())],
            vec![batch(1, 0, everything())],
            a_show(5, 3_000),
            vec![batch(9, 0, vec![prize(6, 2, 40), settled(6, 1, 40, 0), reversal(&wrong)])],
        ] {
            book.apply(&batches).expect("booked");
            reader.catch_up().expect("read");
            let read = Leaderboards::read(directory.path()).expect("read");
            let top: Vec<_> = read.all_time().top(10).collect();
            let board = reader.board(None, 10).expect("there is one");
            assert_eq!((board.players, board.top), (read.all_time().count(), top));
        }
        assert_eq!(places(&reader, None)[..3], [(1, 8, 510), (2, 2, 50), (3, 7, 35)]);
        assert_eq!(places(&reader, Some(1)), [(1, 8, 500), (2, 7, 25)]);
        assert_eq!(places(&reader, Some(6)), [(1, 2, 40)]);
        assert_eq!(reader.board(Some(ShowId(7)), 10), None);
        let tied = reader.place(Some(ShowId(5)), UserId(2_999)).map(|place| place.rank);
        assert_eq!(tied, Some(1), "ties are ranked equally");
        assert_eq!(reader.place(None, UserId(9_999)), None);
    }

    #[test]
    fn a_players_pages_have_everything_once() {
        let directory = directory();
        let mut book = Book::open(directory.path()).expect("opened");
        book.apply(&[batch(1, 0, everything())]).expect("booked");
        let reader = BookReader::new(directory.path());
        let user = UserId(7);
        let (mut after, mut all) = (Cursor::NEWEST, Vec::new());
        loop {
            let page = reader.bonuses(user, after, 4).expect("read");
            let Some(last) = page.last() else { break };
            after = last.cursor;
            all.extend(page);
        }
        let cents: i64 = all.iter().filter(|it| it.unit == "cent").map(|it| it.change).sum();
        assert_eq!((cents, all.len()), (63, 11));
        let used: Vec<_> = all.iter().filter_map(|it| it.question).collect();
        assert_eq!(used, [2]);
        let withdrawals = reader.withdrawals(user, Cursor::NEWEST, 9).expect("read");
        let shown: Vec<_> =
            withdrawals.iter().map(|it| (it.key.as_str(), it.cents, it.end)).collect();
        assert_eq!(
            shown,
            [
                ("withdrawal:7:2", 40, WithdrawalEnd::Returned),
                ("withdrawal:7:1", 400, WithdrawalEnd::Paid)
            ]
        );
        let open = reader.withdrawals(UserId(8), Cursor::NEWEST, 9).expect("read");
        assert_eq!(open[0].end, WithdrawalEnd::Requested);
        let given = reader.invitations(user, Cursor::NEWEST, 9).expect("read");
        assert_eq!((given.len(), given[0].other, given[0].is_inviter), (1, UserId(u64::MAX), true));
        let taken = reader.invitations(UserId(u64::MAX), Cursor::NEWEST, 9).expect("read");
        assert_eq!((taken[0].other, taken[0].is_inviter, taken[0].reward), (user, false, 30));
    }
}
