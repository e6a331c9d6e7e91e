//! Compares the payouts of the book with what the operator's balance system says that it took.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use rusqlite::Row;
use serde::Deserialize;

use crate::ledger::error::LedgerError;
use crate::ledger::export::Format;
use crate::ledger::schema;

/// Bytes of one line of JSON of the operator's.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What the operator's balance system took: a line of its file. More columns are ignored.
#[derive(Debug, Deserialize)]
struct TakenLine {
    idempotency_key: String,
    amount_cents: i64,
    #[serde(default)]
    user: Option<serde_json::Value>,
}

/// What the comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// In both, with the same amount and user.
    pub matched: u64,
    /// The sum of those.
    pub matched_cents: i128,
    /// Withdrawals that were not yet sent, or not yet taken: in neither.
    pub outstanding: u64,
    /// The book has them as acknowledged; the file does not have them.
    pub missing_there: u64,
    /// The file has them; the book does not know them.
    pub missing_here: u64,
    /// In both, with another amount or user.
    pub differing: u64,
    /// The file has them; the book has no acknowledgement, or has given the money back.
    pub unacknowledged: u64,
    /// Keys that the file has more than once.
    pub repeated: u64,
}

impl Reconciliation {
    /// Whether both sides agree.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Reconciliation {
            missing_there, missing_here, differing, unacknowledged, repeated, ..
        } = self;
        missing_there + missing_here + differing + unacknowledged + repeated == 0
    }
}

/// A payout of the file, and whether the book has it.
struct Taken {
    amount_cents: i64,
    user: Option<String>,
    is_known: bool,
}

/// Compares the book of `directory` with `file`; tells `say` each difference, as a sentence.
///
/// # Errors
/// The book or the file cannot be read, or the file is not what it should be.
pub fn reconcile(
    directory: &Path,
    file: &Path,
    format: Format,
    say: &mut dyn FnMut(&str),
) -> Result<Reconciliation, LedgerError> {
    let connection = schema::open_to_read(&schema::ledger_path(directory))?;
    let mut sum = Reconciliation::default();
    let mut taken = read_taken(file, format, &mut sum, say)?;
    let mut statement = connection
        .prepare("SELECT key, amount, state, CAST(user AS TEXT) FROM payout ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        compare(row, &mut taken, &mut sum, say)?;
    }
    for (key, Taken { amount_cents, .. }) in taken.iter().filter(|(_, taken)| !taken.is_known) {
        sum.missing_here += 1;
        say(&format!(
            "missing here: {key}: {amount_cents} cents were taken, the book has no such payout"
        ));
    }
    Ok(sum)
}

fn compare(
    row: &Row<'_>,
    taken: &mut BTreeMap<String, Taken>,
    sum: &mut Reconciliation,
    say: &mut dyn FnMut(&str),
) -> Result<(), LedgerError> {
    let (key, amount, state, user): (String, i64, String, String) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let is_acknowledged = matches!(state.as_str(), "acknowledged" | "paid");
    let Some(there) = taken.get_mut(&key) else {
        if is_acknowledged {
            sum.missing_there += 1;
            say(&format!("missing there: {key}: {amount} cents are {state} in the book"));
        } else if state != "refused" && state != "returned" {
            sum.outstanding += 1;
        }
        return Ok(());
    };
    there.is_known = true;
    let other_user = there.user.as_ref().is_some_and(|there| *there != user);
    if there.amount_cents != amount || other_user {
        sum.differing += 1;
        let whose = there.user.as_deref().unwrap_or("nobody named");
        say(&format!(
            "differing: {key}: {amount} cents of user {user} in the book, {} cents of {whose} there",
            there.amount_cents
        ));
    } else if is_acknowledged {
        sum.matched += 1;
        sum.matched_cents += i128::from(amount);
    } else {
        sum.unacknowledged += 1;
        say(&format!("unacknowledged: {key}: {amount} cents were taken, the book has it {state}"));
    }
    Ok(())
}

fn read_taken(
    file: &Path,
    format: Format,
    sum: &mut Reconciliation,
    say: &mut dyn FnMut(&str),
) -> Result<BTreeMap<String, Taken>, LedgerError> {
    let doing = "cannot be read";
    let cannot = |source| LedgerError::File { path: file.to_owned(), doing, source };
    let wrong = |line, what: String| LedgerError::Input { path: file.to_owned(), line, what };
    let reader = BufReader::new(File::open(file).map_err(cannot)?);
    let mut taken = BTreeMap::new();
    let mut keep = |line: TakenLine| {
        let TakenLine { idempotency_key, amount_cents, user } = line;
        let user = user.filter(|user| !user.is_null()).map(|user| match user {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        });
        match taken.entry(idempotency_key) {
            Entry::Occupied(there) => {
                sum.repeated += 1;
                say(&format!("repeated: {}: the file has it more than once", there.key()));
            }
            Entry::Vacant(place) => {
                place.insert(Taken { amount_cents, user, is_known: false });
            }
        }
    };
    match format {
        Format::Csv => {
            let mut records = csv::Reader::from_reader(reader);
            for (index, record) in records.deserialize::<TakenLine>().enumerate() {
                let line = index as u64 + 2;
                keep(record.map_err(|error| wrong(line, error.to_string()))?);
            }
        }
        Format::JsonLines => {
            for (index, line) in reader.lines().enumerate() {
                let (number, line) = (index as u64 + 1, line.map_err(cannot)?);
                if line.len() > LINE_BYTES_MAX {
                    return Err(wrong(number, format!("has {} bytes", line.len())));
                }
                if !line.trim().is_empty() {
                    let parsed = serde_json::from_str(&line);
                    keep(parsed.map_err(|error| wrong(number, error.to_string()))?);
                }
            }
        }
    }
    Ok(taken)
}
