//! One run: payouts on their way while processes are killed, and what came of them.

pub(crate) mod asked;
mod check;
#[path = "../../crash/child.rs"]
#[allow(dead_code, reason = "whoever includes this uses a part of it")]
pub(crate) mod child;
mod gateway;
pub(crate) mod processes;
mod report;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tidegate::base::entropy::{Entropy as _, SeededEntropy};
use tidegate::ledger::standin::{Asked, Taken};

use asked::{Withdrawal, draw, fill, journal, users};
use check::{check_asking, check_book, check_store, parse};
use gateway::Gateway;
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
    /// Who pays.
    pub(crate) payer: Payer,
}

/// Who pays, and is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// `tidegate ledger outbox send`, from a book that is written beforehand.
    Sender,
    /// `tidegate serve`, whose players ask for their money meanwhile.
    Gateway,
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
        // A gateway is longer on its way back.
        let each_kill = Duration::from_secs(if self.payer == Payer::Gateway { 5 } else { 1 });
        Duration::from_secs(60) + Duration::from_millis(20) * self.payouts + each_kill * self.kills
    }
}

/// Runs, and checks all promises.
///
/// # Errors
/// A process cannot be started, ends by itself, or nothing comes to an end.
pub(crate) fn run(settings: &Settings) -> Result<Report, String> {
    let place = Place::new(settings.program.clone(), settings.seed)?;
    let mut dice = SeededEntropy::new(settings.seed, 0);
    let mut asked = draw(settings.payouts, &mut dice);
    let played = Stage::begin(settings, &place, &mut asked).and_then(|mut stage| {
        stage.play(&mut dice)?;
        stage.end()
    });
    let judged = played.and_then(|mut report| {
        judge(&place, &asked, &mut report)?;
        Ok(report)
    });
    let mut report = match judged {
        Ok(report) => report,
        Err(error) => {
            return Err(format!("{error}\nwhat it left is in {}", place.keep().display()));
        }
    };
    if report.kills() < settings.kills {
        let (had, wanted) = (report.kills(), settings.kills);
        report.broken.add(format!(
            "there was time for {had} of {wanted} kills only: ask for more payouts, or fewer kills"
        ));
    }
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
    report: &mut Report,
) -> Result<(), String> {
    report.payouts = asked.len();
    report.users = asked.iter().map(|it| it.id.user).collect::<BTreeSet<_>>().len();
    report.cents = asked.iter().map(|it| it.cents).sum();
    let broken = &mut report.broken;
    let taken: Vec<Taken> = parse(&place.store_text()?, broken);
    check_store(asked, &taken, broken);
    let data = place.data();
    report.tries = check_book(&data, asked, &["acknowledged", "paid"], &taken, broken)?;
    journal(&data)?;
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
    service: Running,
    payer: Running,
    /// Where it is the gateway that pays.
    gateway: Option<Gateway>,
    report: Report,
    /// When the first payout could be sent.
    begun: Instant,
}

impl<'a> Stage<'a> {
    /// Starts everybody. Where there is a gateway, its winners are those who ask.
    fn begin(
        settings: &'a Settings,
        place: &'a Place,
        asked: &mut [Withdrawal],
    ) -> Result<Stage<'a>, String> {
        let (payer, gateway) = match settings.payer {
            Payer::Sender => {
                fill(&place.data(), asked)?;
                (place.start_sender()?, None)
            }
            Payer::Gateway => {
                let mut gateway = Gateway::new(place, settings.program.clone(), settings.seed)?;
                let (running, winners) = gateway.play(users(settings.payouts), settings.seed)?;
                for it in &mut *asked {
                    let index = usize::try_from(it.id.user.0 - 1).unwrap_or(0);
                    it.id.user = winners[index];
                }
                gateway.ask_for(asked);
                (running, Some(gateway))
            }
        };
        let (begun, report) = (Instant::now(), Report::default());
        let service = place.start_service(settings.seed)?;
        Ok(Stage { settings, place, service, payer, gateway, report, begun })
    }

    /// Kills, and starts again, until there is nothing to pay any more.
    fn play(&mut self, dice: &mut SeededEntropy) -> Result<(), String> {
        let mut taken = self.place.count_taken();
        let range = u64::from(self.settings.payouts) * KILLS_WITHIN_PERCENT / 100;
        // A kill is due when so many payouts are taken; the last ones first.
        let mut due: Vec<u64> =
            (0..self.settings.kills).map(|_| dice.below(range.max(1))).collect();
        due.sort_unstable_by(|one, other| other.cmp(one));
        while self.begun.elapsed() < self.settings.patience() {
            if self.is_over()? {
                return Ok(());
            }
            let so_many = taken.look()?;
            if let Some(gateway) = &self.gateway {
                gateway.pace(so_many);
            }
            if due.last().is_some_and(|next| *next <= so_many) {
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
        Err(self.payer.said(&format!("after {patience:?} only {so_many} payouts are taken")))
    }

    /// Whether there is nothing to pay any more.
    fn is_over(&mut self) -> Result<bool, String> {
        if let Some(status) = self.service.ended()? {
            return Err(self.service.said(&format!("the balance system ended: {status}")));
        }
        match (self.payer.ended()?, &mut self.gateway) {
            (Some(status), None) if status.success() => Ok(true),
            (Some(status), _) => Err(self.payer.said(&format!("who pays ended: {status}"))),
            (None, None) => Ok(false),
            (None, Some(gateway)) => gateway.is_done(self.place, self.settings.payouts.into()),
        }
    }

    /// Kills one of the two, and starts it again.
    fn kill(&mut self, dice: &mut SeededEntropy) -> Result<(), String> {
        let is_service = dice.below(2) == 0;
        let away = if dice.below(4) == 0 { dice.below(AWAY_MS_MAX + 1) } else { 0 };
        let victim = if is_service { &mut self.service } else { &mut self.payer };
        // SIGKILL: nothing is written, flushed or closed any more.
        victim.kill()?;
        sleep(Duration::from_millis(away));
        if is_service {
            self.report.kills_of_service += 1;
            self.place.spoil(self.settings.planted)?;
            // Other dice than before.
            let seed = self.settings.seed ^ u64::from(self.report.kills()) << 32;
            self.service = self.place.start_service(seed)?;
            return self.journal_now_and_then(dice);
        }
        self.report.kills_of_payer += 1;
        self.payer = match &self.gateway {
            None => self.place.start_sender()?,
            Some(gateway) => gateway.start(1 + dice.below(3))?,
        };
        self.journal_now_and_then(dice)
    }

    /// What a gateway would do meanwhile: a second writer of the same book.
    fn journal_now_and_then(&mut self, dice: &mut SeededEntropy) -> Result<(), String> {
        if self.gateway.is_some() || dice.below(3) > 0 {
            return Ok(());
        }
        self.report.rounds += 1;
        journal(&self.place.data())
    }

    /// Ends everybody; a gateway in order.
    fn end(mut self) -> Result<Report, String> {
        self.report.took = self.begun.elapsed();
        if let Some(gateway) = self.gateway.take() {
            self.report.asked_again = gateway.asked_again();
            self.payer.terminate()?;
        }
        Ok(self.report)
    }
}
