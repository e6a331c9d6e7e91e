//! Leaderboards: what players won in a show and in all shows, in memory, read from the book.
//!
//! Prizes and red packets count, less what was reversed of them. Rewards for invitations do not: a
//! board says who won, not who has most.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use crate::base::ids::{ShowId, UserId};
use crate::base::limits::LEADERBOARD_SHOWS_MAX;
use crate::ledger::account::Account;
use crate::ledger::book::{Book, Winning};
use crate::ledger::error::LedgerError;
use crate::ledger::ranks::Ranks;
use crate::ledger::row::Id;
use crate::ledger::schema;

/// The boards of the latest shows, and that of all shows ever.
#[derive(Clone, Debug, Default)]
pub struct Leaderboards {
    all_time: Ranks,
    shows: BTreeMap<ShowId, ShowBoard>,
    /// Counts the winnings, so that it is known which show's board was silent for longest.
    clock: u64,
    /// The last cause that [`Leaderboards::catch_up`] took.
    through: i64,
}

#[derive(Clone, Debug, Default)]
struct ShowBoard {
    ranks: Ranks,
    changed: u64,
}

/// What a player won in a show: a prize, a packet, or, negative, the reversal of one.
const WINNINGS: &str = "
SELECT show, user, CASE kind WHEN 'reversal' THEN -amount ELSE amount END FROM cause
WHERE kind IN ('prize', 'packet-grabbed') OR kind = 'reversal'
  AND (about ->> 'of' LIKE 'prize:%' OR about ->> 'of' LIKE 'packet:%')";

/// The same, of causes behind one and up to another, in their order. Causes are never removed, so
/// their numbers only grow.
const WINNINGS_SINCE: &str = "
SELECT id, show, user, CASE kind WHEN 'reversal' THEN -amount ELSE amount END FROM cause
WHERE id > ?1 AND (kind IN ('prize', 'packet-grabbed') OR kind = 'reversal'
  AND (about ->> 'of' LIKE 'prize:%' OR about ->> 'of' LIKE 'packet:%'))
ORDER BY id LIMIT ?2";

/// The shows that won last.
const LATEST_SHOWS: &str = "
SELECT show FROM cause WHERE kind IN ('prize', 'packet-grabbed') AND show IS NOT NULL
GROUP BY show ORDER BY max(id) DESC LIMIT ?1";

impl Leaderboards {
    /// Reads all boards from the book of `directory`: those of the latest
    /// [`LEADERBOARD_SHOWS_MAX`] shows, and that of all time.
    ///
    /// # Errors
    /// The book cannot be read.
    pub fn read(directory: &Path) -> Result<Leaderboards, LedgerError> {
        let mut connection = schema::open_to_read(&schema::ledger_path(directory))?;
        let transaction = connection.transaction()?;
        let mut boards = Leaderboards::default();
        let latest = latest_shows(&transaction)?;
        let mut all = Vec::new();
        let mut of_show: BTreeMap<ShowId, Vec<(UserId, i64)>> = BTreeMap::new();
        let mut statement = transaction.prepare(WINNINGS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (Id(Some(show)), Id(Some(user))) = (Id::read(row, 0)?, Id::read(row, 1)?) else {
                continue;
            };
            let won = (UserId(user), row.get(2)?);
            all.push(won);
            if latest.contains(&ShowId(show)) {
                of_show.entry(ShowId(show)).or_default().push(won);
            }
        }
        boards.all_time = Ranks::of(all);
        for show in latest.into_iter().rev() {
            boards.clock += 1;
            let ranks = Ranks::of(of_show.remove(&show).unwrap_or_default());
            boards.shows.insert(show, ShowBoard { ranks, changed: boards.clock });
        }
        Ok(boards)
    }

    /// Takes what [`crate::ledger::book::Applied`] says.
    pub fn take(&mut self, winnings: &[Winning]) {
        for Winning { show, user, cents } in winnings {
            self.clock += 1;
            self.all_time.add(*user, *cents);
            if !self.shows.contains_key(show) && self.shows.len() == LEADERBOARD_SHOWS_MAX {
                // A reversal in a show that has no board any more makes none of it alone.
                if *cents < 0 {
                    continue;
                }
                let silent = self.shows.iter().min_by_key(|(_, board)| board.changed);
                if let Some(silent) = silent.map(|(show, _)| *show) {
                    self.shows.remove(&silent);
                }
            }
            let board = self.shows.entry(*show).or_default();
            board.ranks.add(*user, *cents);
            board.changed = self.clock;
        }
    }

    /// Takes what was booked behind what these boards took, `causes_max` winnings at most; says
    /// whether there may be more. For boards that began empty and take nothing otherwise.
    ///
    /// # Errors
    /// The book cannot be read; what was taken before stays.
    pub fn catch_up(
        &mut self,
        connection: &Connection,
        causes_max: usize,
    ) -> Result<bool, LedgerError> {
        let newest: i64 =
            connection.query_row("SELECT coalesce(max(id), 0) FROM cause", [], |row| row.get(0))?;
        if newest <= self.through {
            return Ok(false);
        }
        let mut statement = connection.prepare(WINNINGS_SINCE)?;
        let limit = i64::try_from(causes_max).unwrap_or(i64::MAX);
        let mut rows = statement.query([self.through, limit])?;
        let (mut winnings, mut through, mut found) = (Vec::new(), self.through, 0);
        while let Some(row) = rows.next()? {
            through = row.get(0)?;
            found += 1;
            if let (Id(Some(show)), Id(Some(user))) = (Id::read(row, 1)?, Id::read(row, 2)?) {
                let (show, user) = (ShowId(show), UserId(user));
                winnings.push(Winning { show, user, cents: row.get(3)? });
            }
        }
        let is_cut = found >= causes_max;
        self.take(&winnings);
        // What was booked after the number was read comes next time, however the two are ordered.
        self.through = if is_cut { through } else { through.max(newest) };
        Ok(is_cut)
    }

    /// The board of all shows.
    #[must_use]
    pub fn all_time(&self) -> &Ranks {
        &self.all_time
    }

    /// The board of a show, if it is one of the latest.
    #[must_use]
    pub fn of_show(&self, show: ShowId) -> Option<&Ranks> {
        self.shows.get(&show).map(|board| &board.ranks)
    }
}

fn latest_shows(connection: &Connection) -> Result<Vec<ShowId>, LedgerError> {
    let mut statement = connection.prepare(LATEST_SHOWS)?;
    let mut rows = statement.query([u32::try_from(LEADERBOARD_SHOWS_MAX).unwrap_or(u32::MAX)])?;
    let mut shows = Vec::new();
    while let Some(row) = rows.next()? {
        shows.extend(Id::read(row, 0)?.0.map(ShowId));
    }
    Ok(shows)
}

/// A cause of one player's, for its page of bonus details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What happened, as the book writes it.
    pub kind: String,
    /// When, Unix milliseconds.
    pub at_unix_ms: i64,
    /// In which show.
    pub show: Option<ShowId>,
    /// How much, in its unit, as it changed what the player has.
    pub change: i64,
    /// `cent` or `card`.
    pub unit: String,
}

/// The latest causes that changed what a player has, newest first.
///
/// # Errors
/// The book cannot be read.
pub fn details(book: &Book, user: UserId, count: u32) -> Result<Vec<Detail>, LedgerError> {
    let mut statement = book.connection().prepare(
        "SELECT kind, at_unix_ms, show, entry.amount, entry.unit
         FROM cause JOIN entry ON entry.cause = cause.id
         WHERE user = ?1 AND entry.account = ?2 ORDER BY cause.id DESC LIMIT ?3",
    )?;
    let account = Account::Player(user).to_string();
    let mut rows = statement.query((Id(Some(user.0)), account, count))?;
    let mut details = Vec::new();
    while let Some(row) = rows.next()? {
        details.push(Detail {
            kind: row.get(0)?,
            at_unix_ms: row.get(1)?,
            show: Id::read(row, 2)?.0.map(ShowId),
            change: row.get(3)?,
            unit: row.get(4)?,
        });
    }
    Ok(details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::account::Unit;
    use crate::ledger::book::FeedId;
    use crate::ledger::book::fixture::{
        a_show, batch, directory, everything, prize, reversal, settled,
    };
    use crate::ledger::ranks::Place;

    fn places(ranks: &Ranks) -> Vec<(u64, u64, i64)> {
        ranks.top(10).map(|Place { rank, user, score }| (rank, user.0, score)).collect()
    }

    #[test]
    fn boards_that_were_kept_and_boards_that_are_read_are_equal() {
        let directory = directory();
        let mut book = Book::open(directory.path()).expect("opened");
        let mut kept = Leaderboards::read(directory.path()).expect("read");
        let wrong = prize(1, 7, 500);
        for batches in [
            vec![batch(1, 0, everything())],
            vec![batch(1, 0, everything())],
            a_show(5, 3),
            vec![batch(9, 0, vec![prize(6, 2, 40), settled(6, 1, 40, 0), reversal(&wrong)])],
        ] {
            kept.take(&book.apply(&batches).expect("booked").winnings);
        }
        let read = Leaderboards::read(directory.path()).expect("read");
        let all = [(1, 8, 500), (2, 2, 50), (3, 7, 25), (4, 1, 10), (4, 3, 10)];
        for boards in [&kept, &read] {
            assert_eq!(places(boards.all_time()), all);
            let of = |show| boards.of_show(ShowId(show)).map(places);
            assert_eq!(of(1), Some(vec![(1, 8, 500), (2, 7, 25)]));
            assert_eq!(of(5), Some(vec![(1, 1, 10), (1, 2, 10), (1, 3, 10)]));
            assert_eq!(of(7), None);
        }
        assert_eq!(book.position(FeedId(9)).expect("asked").0, 3);
    }

    #[test]
    fn the_boards_of_the_latest_shows_are_kept() {
        let mut boards = Leaderboards::default();
        for show in 1..=LEADERBOARD_SHOWS_MAX as u64 + 3 {
            boards.take(&[Winning { show: ShowId(show), user: UserId(1), cents: 5 }]);
        }
        boards.take(&[Winning { show: ShowId(1), user: UserId(1), cents: -5 }]);
        assert_eq!(boards.shows.len(), LEADERBOARD_SHOWS_MAX);
        assert!(boards.of_show(ShowId(3)).is_none() && boards.of_show(ShowId(4)).is_some());
        let score = boards.all_time().place(UserId(1)).map(|place| place.score);
        assert_eq!(score, i64::try_from((LEADERBOARD_SHOWS_MAX + 2) * 5).ok());
    }

    #[test]
    fn a_players_page_has_what_changed_what_it_has() {
        let directory = directory();
        let mut book = Book::open(directory.path()).expect("opened");
        book.apply(&[batch(1, 0, everything())]).expect("booked");
        let details = details(&book, UserId(7), 100).expect("read");
        let cents: i64 =
            details.iter().filter(|it| it.unit == "cent").map(|detail| detail.change).sum();
        let balance = book.balance(&Account::Player(UserId(7)), Unit::Cent).expect("asked");
        assert_eq!(cents, balance);
        assert_eq!(cents, 63);
        assert_eq!(details[0].kind, "cards-expired");
    }
}
