//! One run: payouts on their way while processes are killed, and what came of them.

pub(crate) mod asked;
mod check;
pub(crate) mod processes;
mod report;

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tidegate::base::entropy::{Entropy as _, SeededEntropy};
use tidegate::ledger::book::Book;
use tidegate::ledger::standin::{Asked, Taken};

use asked::{Withdrawal, draw, fill, journal};
use check::{check_asking, check_book, check_store, parse};
use processes::{Place, Running};
pub(crate) use report::Report;

/// From the moment at which a kill is due, so long at most.
const LATER_MS_MAX: u64 = 20;
/// Now and then whoever was killed stays away, so long at most.
const AWAY_MS_MAX: u64 = 300;
/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Kills are due while less than so many hundredths of the payouts are taken, so that all of them meet a
/// run that is not over.
const KILLS_WITHIN_PERCENT: u64 = 90;
/// Lines that a planted fault loses.
const LINES_LOST: usize = 3;

/// What to run.
pub(crate) struct Settings {
    /// `tidegate`.
    pub(crate) program: PathBuf,
    /// Withdrawals.
    pub(crate) payouts: u32,
    /// Kills in all.
    pub(crate) kills: u32,
    /// What is drawn is drawn from this.
    pub(crate) seed: u64,
    /// A fault that must be found.
    pub(crate) planted: Option<Planted>,
}

/// What a balance system may do wrong when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Planted {
    /// It does not know any more what it took, and takes it again
    Forgets,
    /// It loses what it has acknowledged
    Loses,
}

impl Settings {
    /// No run takes longer.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
            + Duration::from_millis(20) * self.payouts
            + Duration::from_secs(1) * self.kills
    }
}

/// Runs, and checks all promises.
///
/// # Errors
/// A process cannot be started, ends by itself, or nothing comes to an end.
pub(crate) fn run(settings: &Settings) -> Result<Report, String> {
    let begun = Instant::now();
    let place = Place::new(settings.program.clone(), settings.seed)?;
    let mut dice = SeededEntropy::new(settings.seed, 0);
    let asked = draw(settings.payouts, &mut dice);
    let mut book = Book::open(&place.data()).map_err(|error| error.to_string())?;
    fill(&mut book, &asked)?;
    let mut stage = Stage::begin(settings, &place, &mut book)?;
    let played = stage.play(begun, &mut dice);
    let mut report = stage.end();
    if let Err(error) = played {
        return Err(format!("{error}\nwhat it left is in {}", place.keep().display()));
    }
    if report.kills() < settings.kills {
        let (had, wanted) = (report.kills(), settings.kills);
        report.broken.add(format!(
            "there was time for {had} of {wanted} kills only: ask for more payouts, or fewer kills"
        ));
    }
    judge(&place, &asked, &mut book, &mut report)?;
    report.took = begun.elapsed();
    if report.broken.count() > 0 {
        report.left_in = Some(place.keep());
    }
    Ok(report)
}

/// Checks what came of it, in the book, in the balance system's store, and between the two.
///
/// # Errors
/// Something cannot be read.
pub(crate) fn judge(
    place: &Place,
    asked: &[Withdrawal],
    book: &mut Book,
    report: &mut Report,
) -> Result<(), String> {
    report.payouts = asked.len();
    report.users = asked.iter().map(|it| it.id.user.0).max().unwrap_or(0);
    report.cents = asked.iter().map(|it| it.cents).sum();
    let broken = &mut report.broken;
    let taken: Vec<Taken> = parse(&place.store_text()?, broken);
    check_store(asked, &taken, broken);
    let data = place.data();
    report.tries = check_book(&data, asked, &["acknowledged", "paid"], &taken, broken)?;
    journal(&data, book)?;
    check_book(&data, asked, &["paid"], &taken, broken)?;
    report.requests = check_asking(&parse::<Asked>(&place.requests_text()?, broken), broken);
    report.reconciled = place.reconcile(asked, broken)?;
    report.verified = place.verify(broken)?;
    Ok(())
}

/// A run while it is played.
struct Stage<'a> {
    settings: &'a Settings,
    place: &'a Place,
    book: &'a mut Book,
    service: Running,
    sender: Running,
    report: Report,
}

impl<'a> Stage<'a> {
    fn begin(
        settings: &'a Settings,
        place: &'a Place,
        book: &'a mut Book,
    ) -> Result<Stage<'a>, String> {
        let service = place.start_service(settings.seed)?;
        let sender = place.start_sender()?;
        let report = Report::default();
        Ok(Stage { settings, place, book, service, sender, report })
    }

    /// Kills, and starts again, until the sender has nothing to do any more.
    fn play(&mut self, begun: Instant, dice: &mut SeededEntropy) -> Result<(), String> {
        let mut taken = self.place.count_taken();
        let range = u64::from(self.settings.payouts) * KILLS_WITHIN_PERCENT / 100;
        // A kill is due when so many payouts are taken; the last ones first.
        let mut due: Vec<u64> =
            (0..self.settings.kills).map(|_| dice.below(range.max(1))).collect();
        due.sort_unstable_by(|one, other| other.cmp(one));
        while begun.elapsed() < self.settings.patience() {
            if let Some(status) = self.service.ended()? {
                return Err(self.service.said(&format!("the stand-in ended by itself: {status}")));
            }
            match self.sender.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(self.sender.said(&format!("the sender ended: {status}")));
                }
                None => {}
            }
            if let Some(next) = due.last()
                && *next <= taken.look()?
            {
                due.pop();
                sleep(Duration::from_millis(dice.below(LATER_MS_MAX + 1)));
                self.kill(dice)?;
                if self.settings.planted.is_some() {
                    taken = self.place.count_taken();
                }
            }
            sleep(LOOK);
        }
        let so_many = format!("{} of {}", taken.look()?, self.settings.payouts);
        let patience = self.settings.patience();
        Err(self.sender.said(&format!("after {patience:?} only {so_many} payouts are taken")))
    }

    /// Kills one of the two, and starts it again.
    fn kill(&mut self, dice: &mut SeededEntropy) -> Result<(), String> {
        let is_service = dice.below(2) == 0;
        let away = if dice.below(4) == 0 { dice.below(AWAY_MS_MAX + 1) } else { 0 };
        let victim = if is_service { &mut self.service } else { &mut self.sender };
        // SIGKILL: nothing is written, flushed or closed any more.
        victim.kill()?;
        sleep(Duration::from_millis(away));
        if is_service {
            self.report.kills_of_service += 1;
            self.place.spoil(self.settings.planted)?;
            // Other dice than before.
            let seed = self.settings.seed ^ u64::from(self.report.kills()) << 32;
            self.service = self.place.start_service(seed)?;
        } else {
            self.report.kills_of_payer += 1;
            self.sender = self.place.start_sender()?;
        }
        // What a gateway would do meanwhile: a second writer of the same book.
        if dice.below(3) == 0 {
            self.report.rounds += 1;
            journal(&self.place.data(), self.book)?;
        }
        Ok(())
    }

    /// Ends what still runs.
    fn end(self) -> Report {
        self.report
    }
}
