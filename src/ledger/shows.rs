//! Each show's sheet: what was put up, what was paid, what was left, and whether that adds up.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use serde_json::Value;

use crate::ledger::error::LedgerError;
use crate::ledger::row::{COLUMNS, CauseRow};

/// A rain of a show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RainSheet {
    funded: i128,
    grabbed: i128,
    returned: Option<i128>,
}

/// What the show's split came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Split {
    pool: i128,
    winners: u64,
    per_head: i128,
    remainder: i128,
}

/// A show in the book. Reversals come after a settlement and leave it as it was; a settlement, a
/// pool or a return that is itself reversed is as if it had not been.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ShowSheet {
    funded: i128,
    prizes: u64,
    paid: i128,
    /// Prizes of another amount than the split's are counted by amount, as long as there are few.
    amounts: BTreeSet<i64>,
    split: Option<Split>,
    rains: BTreeMap<u32, RainSheet>,
    /// What came into the fund for rains, and what was left of it when the show ended.
    rain_funds: i128,
    rains_closed: Option<i128>,
}

/// Different amounts of prizes that are told apart: more than one is wrong already.
const AMOUNTS_MAX: usize = 8;

impl ShowSheet {
    pub(super) fn is_settled(&self) -> bool {
        self.split.is_some()
    }

    /// What does not add up.
    pub(super) fn check(&self, show: u64, mut complain: impl FnMut(String)) {
        let ShowSheet { funded, prizes, paid, amounts, split, rains, .. } = self;
        match split {
            None if *prizes > 0 => {
                complain(format!("show {show}: {prizes} prizes, but it is not settled"));
            }
            None => {}
            Some(Split { pool, winners, per_head, remainder }) => {
                if funded != pool {
                    complain(format!(
                        "show {show}: settled for {pool} cents, funded with {funded}"
                    ));
                }
                if prizes != winners || amounts.iter().any(|one| i128::from(*one) != *per_head) {
                    complain(format!(
                        "show {show}: settled for {winners} prizes of {per_head} cents, but there are \
                         {prizes} of {amounts:?}"
                    ));
                }
                if paid + remainder != *pool {
                    complain(format!(
                        "show {show}: the pool of {pool} cents is not {paid} paid + {remainder} left"
                    ));
                }
            }
        }
        for (rain, RainSheet { funded, grabbed, returned }) in rains {
            match returned {
                None if grabbed > funded => complain(format!(
                    "show {show}, rain {rain}: {grabbed} cents grabbed of {funded}"
                )),
                Some(returned) if grabbed + returned != *funded => complain(format!(
                    "show {show}, rain {rain}: the pool of {funded} cents is not {grabbed} grabbed + \
                     {returned} returned"
                )),
                _ => {}
            }
        }
        self.check_rain_fund(show, complain);
    }

    fn check_rain_fund(&self, show: u64, mut complain: impl FnMut(String)) {
        let planned: i128 = self.rains.values().map(|rain| rain.funded).sum();
        let returned: i128 = self.rains.values().filter_map(|rain| rain.returned).sum();
        let left = self.rain_funds - planned + returned;
        if self.rains_closed.is_some_and(|closed| closed != left) {
            let closed = self.rains_closed.unwrap_or(0);
            complain(format!(
                "show {show}: its fund for rains has {left} cents left, but {closed} went away"
            ));
        }
    }

    fn take(&mut self, row: &CauseRow) {
        let amount = i128::from(row.amount);
        let about: Value = match row.kind.as_str() {
            "prize" => Value::Null,
            _ => serde_json::from_str(&row.about).unwrap_or_default(),
        };
        let rain = |number: Option<u64>| number.and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        match row.kind.as_str() {
            "prize" => {
                self.prizes += 1;
                self.paid += amount;
                if self.amounts.len() < AMOUNTS_MAX {
                    self.amounts.insert(row.amount);
                }
            }
            "pool-funded" => match about["pool"].as_str().and_then(|it| it.strip_prefix("rain:")) {
                Some(number) => {
                    self.rains.entry(rain(number.parse().ok())).or_default().funded += amount;
                }
                None => self.funded += amount,
            },
            "settled" => {
                let cents = |name: &str| i128::from(about[name].as_i64().unwrap_or(-1));
                self.split = Some(Split {
                    pool: cents("pool"),
                    winners: about["winners"].as_u64().unwrap_or(u64::MAX),
                    per_head: cents("per_head"),
                    remainder: amount,
                });
            }
            "packet-grabbed" => {
                self.rains.entry(rain(about["rain"].as_u64())).or_default().grabbed += amount;
            }
            "rain-funded" => self.rain_funds += amount,
            "rains-closed" => self.rains_closed = Some(self.rains_closed.unwrap_or(0) + amount),
            _ => {
                let sheet = self.rains.entry(rain(about["rain"].as_u64())).or_default();
                sheet.returned = Some(sheet.returned.unwrap_or(0) + amount);
            }
        }
    }
}

/// The sheets of all shows.
pub(super) fn sheets(connection: &Connection) -> Result<BTreeMap<u64, ShowSheet>, LedgerError> {
    let mut undone = BTreeSet::new();
    let mut statement = connection.prepare(
        "SELECT about ->> 'of' FROM cause WHERE kind = 'reversal'
         AND (about ->> 'of' LIKE 'fund:%' OR about ->> 'of' LIKE 'settled:%'
              OR about ->> 'of' LIKE 'rain-returned:%')",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        undone.insert(row.get::<_, String>(0)?);
    }
    let mut statement = connection.prepare(&format!(
        "SELECT key, {COLUMNS} FROM cause WHERE kind IN
         ('pool-funded', 'prize', 'settled', 'packet-grabbed', 'rain-returned', 'rain-funded',
          'rains-closed')"
    ))?;
    let mut rows = statement.query([])?;
    let mut sheets: BTreeMap<u64, ShowSheet> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if !undone.is_empty() && undone.contains(row.get_ref(0)?.as_str().unwrap_or_default()) {
            continue;
        }
        let row = CauseRow::read(row, 1)?;
        sheets.entry(row.show.0.unwrap_or(0)).or_default().take(&row);
    }
    Ok(sheets)
}
