//! Proves the book from itself, and against the journal where its causes are at hand.
//!
//! Everything is read in one transaction, so a gateway may go on writing meanwhile.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::Value;

use crate::ledger::book::{BookHash, Booking, FeedId, Position, booking, hash, positions};
use crate::ledger::cause::Cause;
use crate::ledger::error::LedgerError;
use crate::ledger::row::{COLUMNS, CauseRow};
use crate::ledger::schema;
use crate::ledger::shows::sheets;

/// Findings that are kept word for word; the others are counted.
const FINDINGS_MAX: usize = 100;

/// A cause as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The cause.
    pub cause: Cause,
    /// Its feed, and a position of that which is not before it. A cause behind the position that the book
    /// has reached is not yet expected there.
    pub place: Option<(FeedId, Position)>,
}

impl From<Cause> for Told {
    fn from(cause: Cause) -> Told {
        Told { cause, place: None }
    }
}

/// All that the journal tells.
pub struct Journal<'a> {
    /// Its causes.
    pub causes: &'a mut dyn Iterator<Item = Result<Told, LedgerError>>,
    /// Whether a gateway feeds the book meanwhile: what it has not reached yet is no fault then.
    pub is_fed: bool,
    /// Whether it tells everything from the deployment's beginning. Where old runs were removed, or were
    /// not copied because the book had passed them, the book knows more.
    pub is_whole: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Causes in the book.
    pub causes: u64,
    /// Entries of these.
    pub entries: u64,
    /// Accounts, each once per unit.
    pub accounts: u64,
    /// Shows that are settled.
    pub shows_settled: u64,
    /// Causes that the journal told, if it was asked.
    pub journal_causes: Option<u64>,
    /// Of these, such as the book has not reached yet.
    pub behind: u64,
    /// The hash of the book.
    pub hash: BookHash,
    /// What does not hold: the first ones, at most `FINDINGS_MAX`.
    pub findings: Vec<String>,
    /// How much does not hold.
    pub findings_count: u64,
}

impl Verdict {
    /// Whether the book is proved: nothing is wrong with it, and there is a show to prove it by.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings_count == 0 && self.shows_settled > 0
    }

    fn complain(&mut self, finding: String) {
        self.findings_count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Verifies the book of `directory`, against all causes of the journal if they are given.
///
/// # Errors
/// The book cannot be read, or the journal says so. What is wrong with a book that can be read is in
/// the [`Verdict`].
pub fn verify(directory: &Path, journal: Option<Journal<'_>>) -> Result<Verdict, LedgerError> {
    let mut connection = schema::open_to_read(&schema::ledger_path(directory))?;
    let transaction = connection.transaction()?;
    let mut verdict = Verdict {
        causes: count(&transaction, "SELECT count(*) FROM cause")?,
        entries: count(&transaction, "SELECT count(*) FROM entry")?,
        accounts: count(&transaction, "SELECT count(*) FROM balance")?,
        shows_settled: 0,
        journal_causes: None,
        behind: 0,
        hash: BookHash([0; 32]),
        findings: Vec::new(),
        findings_count: 0,
    };
    check_file(&transaction, &mut verdict)?;
    check_transactions(&transaction, &mut verdict)?;
    check_reversals(&transaction, &mut verdict)?;
    check_balances(&transaction, &mut verdict)?;
    check_payouts(&transaction, &mut verdict)?;
    for (show, sheet) in sheets(&transaction)? {
        verdict.shows_settled += u64::from(sheet.is_settled());
        sheet.check(show, |finding| verdict.complain(finding));
    }
    if let Some(journal) = journal {
        check_journal(&transaction, journal, &mut verdict)?;
    }
    verdict.hash = hash(&transaction)?;
    Ok(verdict)
}

fn count(connection: &Connection, question: &str) -> Result<u64, LedgerError> {
    let count: i64 = connection.query_row(question, [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Complains of each row that `question` finds.
fn complain_of(
    connection: &Connection,
    verdict: &mut Verdict,
    question: &str,
    say: impl Fn(&Row<'_>) -> rusqlite::Result<String>,
) -> Result<(), LedgerError> {
    let mut statement = connection.prepare(question)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        verdict.complain(say(row)?);
    }
    Ok(())
}

fn check_file(connection: &Connection, verdict: &mut Verdict) -> Result<(), LedgerError> {
    let mut statement = connection.prepare("PRAGMA integrity_check(10)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let said: String = row.get(0)?;
        if said != "ok" {
            verdict.complain(format!("the file is damaged: {said}"));
        }
    }
    complain_of(
        connection,
        verdict,
        "SELECT DISTINCT cause FROM entry WHERE cause NOT IN (SELECT id FROM cause)",
        |row| Ok(format!("entries of cause {}, which is not there", row.get::<_, i64>(0)?)),
    )
}

/// The entries of a cause while they are read.
struct Sheet {
    id: i64,
    key: String,
    row: CauseRow,
    entries: Vec<(String, String, i64)>,
}

/// Every transaction sums to zero in each unit, and its entries are those that its cause makes.
fn check_transactions(connection: &Connection, verdict: &mut Verdict) -> Result<(), LedgerError> {
    let mut statement = connection.prepare(
        "SELECT id, key, kind, at_unix_ms, show, user, cause.amount, cause.unit, about,
           entry.account, entry.unit, entry.amount
         FROM cause LEFT JOIN entry ON entry.cause = cause.id ORDER BY id, place",
    )?;
    let mut rows = statement.query([])?;
    let mut open: Option<Sheet> = None;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if open.as_ref().is_none_or(|sheet| sheet.id != id) {
            if let Some(sheet) = open.take() {
                check_sheet(&sheet, verdict);
            }
            let (key, columns) = (row.get(1)?, CauseRow::read(row, 2)?);
            open = Some(Sheet { id, key, row: columns, entries: Vec::new() });
        }
        if let (Some(sheet), Some(account)) = (&mut open, row.get::<_, Option<String>>(9)?) {
            sheet.entries.push((account, row.get(10)?, row.get(11)?));
        }
    }
    if let Some(sheet) = open {
        check_sheet(&sheet, verdict);
    }
    Ok(())
}

fn check_sheet(sheet: &Sheet, verdict: &mut Verdict) {
    let Sheet { key, row, entries, .. } = sheet;
    for unit in ["cent", "card"] {
        let of_unit = entries.iter().filter(|(_, one, _)| one == unit);
        let sum: i128 = of_unit.map(|(_, _, amount)| i128::from(*amount)).sum();
        if sum != 0 {
            verdict.complain(format!("{key}: its entries sum to {sum} {unit}, not to zero"));
        }
    }
    if row.kind == "reversal" {
        return;
    }
    let unit = || row.unit.clone();
    let expected = match accounts_of(row) {
        Some(_) if row.amount == 0 => Some(Vec::new()),
        Some((from, to)) => Some(vec![(from, unit(), -row.amount), (to, unit(), row.amount)]),
        None => None,
    };
    if expected.as_ref() != Some(entries) {
        verdict
            .complain(format!("{key}: a {} does not make the entries {entries:?}", row.describe()));
    }
}

/// From where a cause moves what to where, read from its columns: a second way to what
/// [`crate::ledger::posting`] says, which made the entries.
fn accounts_of(row: &CauseRow) -> Option<(String, String)> {
    let about: Value = match row.kind.as_str() {
        "prize" => Value::Null,
        _ => serde_json::from_str(&row.about).ok()?,
    };
    let word = |name: &str| about[name].as_str().map(str::to_owned);
    let player = row.user.0.map(|user| format!("player:{user}"));
    let pool = |pool: &str| row.show.0.map(|show| format!("pool:{show}:{pool}"));
    let rain = || about["rain"].as_u64().and_then(|rain| pool(&format!("rain:{rain}")));
    let remainder = || word("account").map(|name| format!("remainder:{name}"));
    let named = |name: &str| Some(name.to_owned());
    let (from, to) = match row.kind.as_str() {
        "pool-funded" => {
            let name = word("pool")?;
            let from = if name.starts_with("rain:") { pool("rains") } else { named("funding") };
            (from, pool(&name))
        }
        "rain-funded" => (named("funding"), pool("rains")),
        "rains-closed" => (pool("rains"), remainder()),
        "prize" => (pool("prize"), player),
        "settled" => (pool("prize"), remainder()),
        "cards-granted" => (named("cards:issued"), player),
        "card-used" => (player, named("cards:used")),
        "cards-expired" => (player, named("cards:expired")),
        "packet-grabbed" => (rain(), player),
        "rain-returned" => (rain(), pool("rains")),
        "gift" if about["payer"] == "balance" => (player, named("gifts")),
        "gift" => (named("funding"), named("gifts")),
        "invitation" if row.unit == "card" => (named("cards:issued"), player),
        "invitation" => (named("funding"), player),
        "withdrawal-requested" => (player, named("payouts:in-flight")),
        "withdrawal-paid" => (named("payouts:in-flight"), named("payouts:paid")),
        "withdrawal-refused" => (named("payouts:in-flight"), player),
        _ => return None,
    };
    from.zip(to)
}

/// A reversal has the entries of what it reverses, mirrored.
fn check_reversals(connection: &Connection, verdict: &mut Verdict) -> Result<(), LedgerError> {
    complain_of(
        connection,
        verdict,
        "SELECT reversal.key FROM cause AS reversal
         LEFT JOIN cause AS original ON original.key = reversal.about ->> 'of'
         WHERE reversal.kind = 'reversal' AND (original.id IS NULL
           OR EXISTS (SELECT account, unit, -amount FROM entry WHERE cause = original.id
                      EXCEPT SELECT account, unit, amount FROM entry WHERE cause = reversal.id)
           OR EXISTS (SELECT account, unit, amount FROM entry WHERE cause = reversal.id
                      EXCEPT SELECT account, unit, -amount FROM entry WHERE cause = original.id))",
        |row| {
            let key: String = row.get(0)?;
            Ok(format!("{key}: is not the mirror image of what it reverses"))
        },
    )
}

/// Balances follow from entries, and nobody has less than nothing who may not.
fn check_balances(connection: &Connection, verdict: &mut Verdict) -> Result<(), LedgerError> {
    complain_of(
        connection,
        verdict,
        "WITH sums AS (SELECT account, unit, sum(amount) AS amount FROM entry GROUP BY account, unit)
         SELECT account, unit, sums.amount, balance.amount
         FROM sums FULL JOIN balance USING (account, unit)
         WHERE coalesce(sums.amount, 0) <> coalesce(balance.amount, 0)",
        |row| {
            let (account, unit): (String, String) = (row.get(0)?, row.get(1)?);
            let (sum, has): (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
            Ok(format!(
                "{account}: its entries sum to {} {unit}, its balance is {}",
                sum.unwrap_or(0),
                has.unwrap_or(0)
            ))
        },
    )?;
    // A reversed prize that was withdrawn already is a debt, and no fault of the book.
    complain_of(
        connection,
        verdict,
        "SELECT account, unit, amount FROM balance
         WHERE amount < 0 AND account NOT IN ('funding', 'cards:issued')
         AND NOT EXISTS (SELECT 1 FROM cause JOIN entry ON entry.cause = cause.id
                         WHERE cause.kind = 'reversal' AND entry.account = balance.account)",
        |row| {
            let (account, unit): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(format!("{account}: has {} {unit}, less than nothing", row.get::<_, i64>(2)?))
        },
    )
}

/// There is a payout for each withdrawal, and what is in flight is what has no end yet.
fn check_payouts(connection: &Connection, verdict: &mut Verdict) -> Result<(), LedgerError> {
    complain_of(
        connection,
        verdict,
        "SELECT coalesce(cause.key, payout.key)
         FROM (SELECT * FROM cause WHERE kind = 'withdrawal-requested') AS cause
         FULL JOIN payout ON payout.key = cause.key
         LEFT JOIN cause AS ending ON ending.key = cause.key || ':end'
         WHERE cause.id IS NULL OR payout.id IS NULL OR cause.amount <> payout.amount
           OR CASE ending.kind WHEN 'withdrawal-paid' THEN payout.state <> 'paid'
              WHEN 'withdrawal-refused' THEN payout.state <> 'refused'
              ELSE payout.state IN ('paid', 'refused') END",
        |row| {
            let key: String = row.get(0)?;
            Ok(format!("{key}: its payout is not what was requested, or how it ended"))
        },
    )?;
    complain_of(
        connection,
        verdict,
        "SELECT request.key FROM cause AS ending
         LEFT JOIN cause AS request ON ending.key = request.key || ':end'
           AND request.kind = 'withdrawal-requested'
         WHERE ending.kind IN ('withdrawal-paid', 'withdrawal-refused')
           AND (request.id IS NULL OR request.amount <> ending.amount)",
        |row| {
            let key: Option<String> = row.get(0)?;
            Ok(format!(
                "{}: ended with another amount, or never requested",
                key.unwrap_or_default()
            ))
        },
    )
}

/// Each cause of the journal is in the book as it was journaled, with its entries, and the book has
/// no other.
fn check_journal(
    connection: &Connection,
    journal: Journal<'_>,
    verdict: &mut Verdict,
) -> Result<(), LedgerError> {
    let last: i64 =
        connection.query_row("SELECT coalesce(max(id), 0) FROM cause", [], |row| row.get(0))?;
    let mut bits_told = vec![0_u64; usize::try_from(last).unwrap_or(0) / 64 + 1];
    let mut find =
        connection.prepare(&format!("SELECT id, {COLUMNS} FROM cause WHERE key = ?1"))?;
    let mut find_again =
        connection.prepare(&format!("SELECT id, {COLUMNS} FROM cause WHERE key = ?1"))?;
    let reached = positions(connection)?;
    let (mut causes, mut found_causes) = (0, 0);
    for told in journal.causes {
        let Told { cause, place } = told?;
        let key = cause.key();
        causes += 1;
        let found = find
            .query_row([key.as_str()], |row| Ok((row.get::<_, i64>(0)?, CauseRow::read(row, 1)?)))
            .optional()?;
        let Some((id, booked)) = found else {
            let is_behind = place.is_some_and(|(feed, position)| {
                reached.get(&feed).is_none_or(|reached| position > *reached)
            });
            if is_behind {
                verdict.behind += 1;
                continue;
            }
            verdict.complain(format!("{key}: is in the journal and not in the book"));
            continue;
        };
        match booking(connection, &mut find_again, &cause) {
            Ok(Booking { row, .. }) if row == booked => {}
            Ok(Booking { row, .. }) => verdict.complain(format!(
                "{key}: the book has {}, the journal {}",
                booked.describe(),
                row.describe()
            )),
            Err(error) => verdict.complain(error.to_string()),
        }
        let place = usize::try_from(id).unwrap_or(0);
        if let Some(bits) = bits_told.get_mut(place / 64) {
            found_causes += u64::from(*bits & 1 << (place % 64) == 0);
            *bits |= 1 << (place % 64);
        }
    }
    verdict.journal_causes = Some(causes);
    if verdict.behind > 0 && !journal.is_fed {
        let behind = verdict.behind;
        verdict.complain(format!(
            "{behind} causes of the journal are not in the book: a gateway feeds them, or `tidegate \
             ledger rebuild`"
        ));
    }
    if found_causes == verdict.causes || !journal.is_whole {
        return Ok(());
    }
    let mut statement = connection.prepare("SELECT id, key FROM cause ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let place = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
        if bits_told.get(place / 64).is_none_or(|bits| bits & 1 << (place % 64) == 0) {
            let key: String = row.get(1)?;
            verdict.complain(format!("{key}: is in the book and not in the journal"));
        }
    }
    Ok(())
}
