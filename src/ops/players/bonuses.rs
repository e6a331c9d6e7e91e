//! What the ledger says of players: leaderboards, and what one of them got, spent, withdrew and was
//! rewarded for. The ledger follows the journal; it may be a moment behind what the purse says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::base::ids::{ShowId, UserId};
use crate::base::time::Time;
use crate::ledger::error::LedgerError;
use crate::ledger::ranks::Place;
use crate::ledger::reader::{
    Board, Bonus, BookReader, Cursor, InvitationRow, WithdrawalEnd, WithdrawalRow,
};
use crate::ops::http::ApiError;
use crate::ops::players::Desk;

/// How far leaderboards may be behind the ledger.
const BOARDS_BEHIND_MAX: Duration = Duration::from_secs(1);
/// More rows than a page has are read, so that what is not told yet leaves no gap in it: a user's
/// cards that were used in questions that are not revealed.
const ROWS_MORE: u32 = 1 + 64;

/// When the leaderboards caught up with the ledger last, in nanoseconds and 1; 0: never.
#[derive(Default)]
pub(super) struct Boards(AtomicU64);

/// A page of a list, and where the next one begins.
pub(super) struct Page {
    pub(super) before: Cursor,
    pub(super) limit: u32,
}

impl Page {
    /// Cuts a list that may go on to this page.
    fn cut<T>(
        &self,
        name: &str,
        mut list: Vec<T>,
        cursor: fn(&T) -> Cursor,
        shown: fn(&T) -> Value,
    ) -> Value {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = list.len() > limit;
        list.truncate(limit);
        let next = list.last().map(cursor).filter(|_| has_more).map(|cursor| cursor.0.to_string());
        let list: Vec<Value> = list.iter().map(shown).collect();
        json!({ name: list, "next_before": next })
    }
}

impl Desk {
    /// Reads the book on a thread that may wait for a file.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&BookReader) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Some(book) = &self.view.book else {
            let message = "this gateway keeps no ledger: data_dir is not set";
            return Err(ApiError::new(StatusCode::NOT_FOUND, "no_ledger", message));
        };
        let book = Arc::clone(book);
        match tokio::task::spawn_blocking(move || read(&book)).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => {
                tracing::error!(%error, "the ledger cannot be read for players");
                let message = "the ledger cannot be read now; the log says why";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
            }
            // What waits for a thread when the server stops is not done.
            Err(_) => {
                let message = "the gateway is stopping and gave no answer";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
            }
        }
    }

    /// Whether it is time for the leaderboards to catch up: true for one of all who ask.
    fn is_behind(&self) -> bool {
        let now = self.view.clock.now();
        let last = self.boards.0.load(Ordering::Relaxed);
        let is_due = last == 0 || now.since(Time(last - 1)) >= BOARDS_BEHIND_MAX;
        is_due
            && self
                .boards
                .0
                .compare_exchange(last, now.0 + 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(super) async fn board(
        &self,
        show: Option<ShowId>,
        count: usize,
    ) -> Result<Value, ApiError> {
        let is_known = self.is_known(show).await?;
        let is_behind = self.is_behind();
        let board = self
            .read(move |book| {
                if is_behind {
                    book.catch_up()?;
                }
                Ok(book.board(show, count))
            })
            .await?;
        let board = match (board, show) {
            (None, Some(show)) if !is_known => return Err(unknown_show(show)),
            (board, _) => board.unwrap_or_default(),
        };
        let Board { players, top } = board;
        let places: Vec<Value> = top.iter().map(shown_place).collect();
        Ok(json!({ "players": players, "places": places }))
    }

    pub(super) async fn place(
        &self,
        show: Option<ShowId>,
        user: UserId,
    ) -> Result<Value, ApiError> {
        if let Some(show) = show
            && !self.is_known(Some(show)).await?
        {
            let has_board = self.read(move |book| Ok(book.board(Some(show), 0))).await?;
            if has_board.is_none() {
                return Err(unknown_show(show));
            }
        }
        let is_behind = self.is_behind();
        let place = self
            .read(move |book| {
                if is_behind {
                    book.catch_up()?;
                }
                Ok(book.place(show, user))
            })
            .await?;
        let nowhere = json!({ "rank": null, "user": user.to_string(), "won_cents": 0 });
        Ok(place.map_or(nowhere, |place| shown_place(&place)))
    }

    /// Whether the gateway knows a show, or all are meant.
    async fn is_known(&self, show: Option<ShowId>) -> Result<bool, ApiError> {
        match show {
            Some(show) => Ok(self.shows().await?.contains_key(&show)),
            None => Ok(true),
        }
    }

    pub(super) async fn bonuses(&self, user: UserId, page: Page) -> Result<Value, ApiError> {
        // Asked before the ledger, so that what is told now was revealed before it was read.
        let shows = self.shows().await?;
        let (before, count) = (page.before, page.limit + ROWS_MORE);
        let mut rows = self.read(move |book| book.bonuses(user, before, count)).await?;
        rows.retain(|row| match (row.show.and_then(|show| shows.get(&show)), row.question) {
            (Some(show), Some(question)) => show.has_revealed(question),
            _ => true,
        });
        Ok(page.cut("bonuses", rows, |row| row.cursor, shown_bonus))
    }

    pub(super) async fn withdrawals(&self, user: UserId, page: Page) -> Result<Value, ApiError> {
        let (before, count) = (page.before, page.limit + 1);
        let rows = self.read(move |book| book.withdrawals(user, before, count)).await?;
        Ok(page.cut("withdrawals", rows, |row| row.cursor, shown_withdrawal))
    }

    /// What a player's invitations brought; and the one that it came by.
    pub(super) async fn invitations(&self, user: UserId, page: Page) -> Result<Value, ApiError> {
        let (before, count) = (page.before, page.limit + 1);
        let rows = self.read(move |book| book.invitations(user, before, count)).await?;
        Ok(page.cut("rewards", rows, |row| row.cursor, shown_invitation))
    }
}

pub(super) fn unknown_show(show: ShowId) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_show", format!("there is no show {show}"))
}

fn shown_place(place: &Place) -> Value {
    let Place { rank, user, score } = *place;
    json!({ "rank": rank, "user": user.to_string(), "won_cents": score })
}

fn shown_bonus(row: &Bonus) -> Value {
    json!({
        "id": row.cursor.0.to_string(),
        "kind": row.kind,
        "at_ms": row.at_unix_ms,
        "show": row.show.map(|show| show.to_string()),
        "question": row.question,
        "change": row.change,
        "unit": row.unit,
    })
}

fn shown_withdrawal(row: &WithdrawalRow) -> Value {
    let state = match row.end {
        WithdrawalEnd::Requested => "requested",
        WithdrawalEnd::Paid => "paid",
        WithdrawalEnd::Returned => "returned",
    };
    json!({
        "id": row.cursor.0.to_string(),
        "payout": row.key,
        "at_ms": row.at_unix_ms,
        "cents": row.cents,
        "state": state,
    })
}

fn shown_invitation(row: &InvitationRow) -> Value {
    json!({
        "id": row.cursor.0.to_string(),
        "role": if row.is_inviter { "inviter" } else { "invitee" },
        "other": row.other.to_string(),
        "at_ms": row.at_unix_ms,
        "reward": row.reward,
        "unit": row.unit,
    })
}
