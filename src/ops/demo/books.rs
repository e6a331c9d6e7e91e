//! The book of a demo that has a folder: proved when the show is over.

use crate::base::ids::ShowId;
use crate::ledger::verify::{Journal, Verdict, verify};
use crate::ops::demo::outcome::DemoOutcome;
use crate::runtime::data::DataFolder;
use crate::runtime::feed::LedgerFeed;
use crate::runtime::feed::source::JournalCauses;

/// What the book of a demo came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerOutcome {
    /// Causes in it.
    pub causes: u64,
    /// Whether it is proved, from itself and from the journal.
    pub is_proved: bool,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

/// Ends the feed of a gateway that has stopped, proves the book, and compares it with the outcome.
pub(super) fn prove(
    folder: &DataFolder,
    ledger: LedgerFeed,
    show: ShowId,
    outcome: &mut DemoOutcome,
) {
    let handle = ledger.handle();
    let is_whole = ledger.stop();
    let violations = &mut outcome.violations;
    violations.check(is_whole, || {
        format!("the ledger was not fed to the end: {:?}", handle.status().stopped)
    });
    let verdict = match proof(folder) {
        Ok(verdict) => verdict,
        Err(error) => return violations.note(|| format!("the ledger cannot be proved: {error}")),
    };
    for finding in &verdict.findings {
        violations.note(|| format!("ledger: {finding}"));
    }
    violations.check(verdict.shows_settled == 1, || {
        format!("the ledger has {} settled shows, not one", verdict.shows_settled)
    });
    let own = i128::from(outcome.per_head_cents) * i128::from(outcome.winners)
        + i128::from(outcome.packets.1);
    let won = handle.with_boards(|boards| {
        let board = boards.of_show(show);
        board.map_or(0, |board| board.top(usize::MAX).map(|it| i128::from(it.score)).sum())
    });
    violations.check(own == won, || {
        format!("{won} cents on the show's leaderboard, {own} won by the players' own count")
    });
    let (is_proved, hash) = (is_whole && verdict.holds(), verdict.hash.to_string());
    outcome.ledger = Some(LedgerOutcome { causes: verdict.causes, is_proved, hash });
}

fn proof(folder: &DataFolder) -> Result<Verdict, String> {
    let mut causes = JournalCauses::new(folder.root()).map_err(|error| error.to_string())?;
    let journal = Journal { causes: &mut causes, is_fed: false, is_whole: true };
    verify(folder.root(), Some(journal)).map_err(|error| error.to_string())
}
