//! A cause as the book's file has it.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, ToSql};
use serde_json::json;

use crate::ledger::cause::{Cause, CauseKind, GiftPayer};

/// The columns of the table `cause` behind its key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CauseRow {
    pub(super) kind: String,
    pub(super) at_unix_ms: i64,
    pub(super) show: Id,
    pub(super) user: Id,
    pub(super) amount: i64,
    pub(super) unit: String,
    /// What else the cause says: a JSON object, its keys in order.
    pub(super) about: String,
}

/// An id of 64 bits, or none: a number where the file's numbers hold it, decimal text beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) Option<u64>);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self.0.map(|id| (id, i64::try_from(id))) {
            None => Value::Null,
            Some((_, Ok(id))) => Value::Integer(id),
            Some((id, Err(_))) => Value::Text(id.to_string()),
        };
        Ok(ToSqlOutput::Owned(value))
    }
}

impl Id {
    /// Reads a column; what is no id reads as none.
    pub(super) fn read(row: &Row<'_>, index: usize) -> rusqlite::Result<Id> {
        Ok(Id(match row.get_ref(index)? {
            ValueRef::Integer(id) => u64::try_from(id).ok(),
            ValueRef::Text(text) => str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
            _ => None,
        }))
    }
}

/// The columns of a [`CauseRow`], as [`CauseRow::read`] wants them.
pub(super) const COLUMNS: &str = "kind, at_unix_ms, show, user, amount, unit, about";

impl CauseRow {
    /// What is to be written for a cause of this amount and unit.
    pub(super) fn of(cause: &Cause, amount: i64, unit: &str) -> CauseRow {
        CauseRow {
            kind: cause.kind.word().to_owned(),
            at_unix_ms: cause.at_unix_ms,
            show: Id(cause.show().map(|show| show.0)),
            user: Id(cause.user().map(|user| user.0)),
            amount,
            unit: unit.to_owned(),
            about: about(&cause.kind),
        }
    }

    /// Reads [`COLUMNS`], which begin at `first`.
    pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<CauseRow> {
        Ok(CauseRow {
            kind: row.get(first)?,
            at_unix_ms: row.get(first + 1)?,
            show: Id::read(row, first + 2)?,
            user: Id::read(row, first + 3)?,
            amount: row.get(first + 4)?,
            unit: row.get(first + 5)?,
            about: row.get(first + 6)?,
        })
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let CauseRow { kind, at_unix_ms, show, user, amount, unit, about } = self;
        let id = |id: &Id| id.0.map_or_else(|| "none".to_owned(), |id| id.to_string());
        format!(
            "{kind} of {amount} {unit} at {at_unix_ms}, show {}, user {}, {about}",
            id(show),
            id(user)
        )
    }
}

fn about(kind: &CauseKind) -> String {
    let object = match kind {
        CauseKind::Prize { .. } => return "{}".to_owned(),
        CauseKind::PoolFunded { pool, .. } => json!({ "pool": pool.to_string() }),
        CauseKind::Settled { pool, winners, per_head, account, .. } => json!({
            "account": account.to_string(),
            "per_head": per_head.0,
            "pool": pool.0,
            "winners": winners,
        }),
        CauseKind::CardsGranted(grant) | CauseKind::CardsExpired(grant) => {
            json!({ "grant": grant.grant.to_string() })
        }
        CauseKind::CardUsed { question, .. } => json!({ "question": question.0 }),
        CauseKind::PacketGrabbed { rain, packet, .. } => json!({ "packet": packet, "rain": rain }),
        CauseKind::RainFunded { event, .. } => json!({ "event": event.0 }),
        CauseKind::RainReturned { rain, .. } => json!({ "rain": rain }),
        CauseKind::RainFundClosed { account, .. } => json!({ "account": account.to_string() }),
        CauseKind::Gift { room, gift, payer, .. } => {
            let payer = match payer {
                GiftPayer::Balance => "balance",
                GiftPayer::Operator => "operator",
            };
            json!({ "gift": gift, "payer": payer, "room": room.0 })
        }
        CauseKind::Invitation { inviter, invitee, .. } => {
            json!({ "invitee": invitee.0, "inviter": inviter.0 })
        }
        CauseKind::WithdrawalRequested { withdrawal, .. }
        | CauseKind::WithdrawalPaid { withdrawal, .. }
        | CauseKind::WithdrawalRefused { withdrawal, .. } => {
            json!({ "withdrawal": withdrawal.number })
        }
        CauseKind::Reversal { of, reason } => {
            json!({ "of": of.as_str(), "reason": reason.to_string() })
        }
    };
    // `serde_json` keeps keys in their order, so equal causes have equal text.
    object.to_string()
}
