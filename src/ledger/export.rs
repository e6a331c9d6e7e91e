//! The book's entries for other programs: CSV or JSON lines, one entry a line, in the order in which
//! they were booked.

use std::io::Write;
use std::path::Path;

use rusqlite::Row;
use serde::Serialize;

use crate::ledger::error::LedgerError;
use crate::ledger::row::Id;
use crate::ledger::schema;

/// How tables are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// An entry as it is exported. Ids are text: not every reader of JSON has numbers of 64 bits.
#[derive(Serialize)]
struct ExportedEntry<'r> {
    cause: &'r str,
    kind: &'r str,
    at_unix_ms: i64,
    show: Option<String>,
    user: Option<String>,
    account: &'r str,
    unit: &'r str,
    amount: i64,
    about: &'r str,
}

const ENTRIES: &str = "
SELECT key, kind, at_unix_ms, show, user, entry.account, entry.unit, entry.amount, about
FROM cause JOIN entry ON entry.cause = cause.id ORDER BY cause.id, place";

/// Writes all entries of the book of `directory`; says how many.
///
/// # Errors
/// The book cannot be read, or `output` fails.
pub fn export(
    directory: &Path,
    format: Format,
    output: &mut dyn Write,
) -> Result<u64, LedgerError> {
    let connection = schema::open_to_read(&schema::ledger_path(directory))?;
    let mut statement = connection.prepare(ENTRIES)?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    match format {
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(output);
            while let Some(row) = rows.next()? {
                writer.serialize(exported(row)?).map_err(std::io::Error::from)?;
                count += 1;
            }
            writer.flush()?;
        }
        Format::JsonLines => {
            let mut writer = std::io::BufWriter::new(output);
            while let Some(row) = rows.next()? {
                serde_json::to_writer(&mut writer, &exported(row)?)
                    .map_err(std::io::Error::from)?;
                writer.write_all(b"\n")?;
                count += 1;
            }
            writer.flush()?;
        }
    }
    Ok(count)
}

fn exported<'r>(row: &'r Row<'_>) -> Result<ExportedEntry<'r>, LedgerError> {
    let text = |index: usize| -> rusqlite::Result<&'r str> { Ok(row.get_ref(index)?.as_str()?) };
    let id = |index| Ok::<_, rusqlite::Error>(Id::read(row, index)?.0.map(|id| id.to_string()));
    let read = || -> rusqlite::Result<ExportedEntry<'r>> {
        Ok(ExportedEntry {
            cause: text(0)?,
            kind: text(1)?,
            at_unix_ms: row.get(2)?,
            show: id(3)?,
            user: id(4)?,
            account: text(5)?,
            unit: text(6)?,
            amount: row.get(7)?,
            about: text(8)?,
        })
    };
    Ok(read()?)
}
