//! The power fails, at a moment that the seed names by counting the journals' steps, and comes
//! back: everything but the disks and the players is gone, the real recovery reads what is left,
//! and the show goes on with the same or another number of shards.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::ids::{OptionIndex, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::phase::Phase;
use crate::shard::input::Input;
use crate::sim::checkers::Promise;
use crate::sim::dice::Dice;
use crate::sim::host::Host;
use crate::sim::journal::{DiskFaults, Journal, Stored, Unreadable};
use crate::sim::world::{CLOCK, Event, World, make_shard};
use crate::store::recovery::{RunBefore, RunEnd, redo};

/// At which side of a step the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// Before its first byte.
    Before,
    /// Within it.
    Inside,
    /// It is durable, and the writer does not know.
    Synced,
    /// The writer knows, and nobody was told.
    Told,
    /// Some moments later: replies are on their way.
    Later,
}

/// When the power fails next: at this step of the run, counted over all shards.
#[derive(Clone, Copy, Debug)]
struct Plan {
    step: u64,
    moment: Moment,
}

impl Plan {
    fn draw(dice: &mut Dice) -> Plan {
        let most = dice.pick(&[4, 40, 150, 400, 1_200]);
        let step = dice.between(1, most);
        let moments =
            [Moment::Before, Moment::Inside, Moment::Inside, Moment::Synced, Moment::Told];
        let moment = if dice.below(3) == 0 { Moment::Later } else { dice.pick(&moments) };
        Plan { step, moment }
    }
}

/// An answer that its player was told is on record, kept by the players.
pub(crate) type Acknowledged = BTreeMap<(usize, u16, UserId), OptionIndex>;

/// All about power failures.
pub(crate) struct Crashes {
    pub(crate) dice: Dice,
    pub(crate) faults: DiskFaults,
    pub(crate) journals: Vec<Journal>,
    /// Of the process.
    pub(crate) run: u64,
    left: u64,
    plan: Plan,
    steps: u64,
    pub(crate) is_down: bool,
    pub(crate) acknowledged: Acknowledged,
}

impl World {
    /// Which start of the process this is.
    pub(crate) fn run_number(&self) -> u64 {
        self.crashes.as_ref().map_or(0, |crashes| crashes.run)
    }

    /// True between a failure of the power and the next start.
    pub(crate) fn is_down(&self) -> bool {
        self.crashes.as_ref().is_some_and(|crashes| crashes.is_down)
    }

    /// Puts the journals of this world on disks that fail.
    pub(crate) fn begin_crashes(&mut self) {
        let mut dice = Dice::new(self.setup.seed, 41);
        let left = dice.between(1, 4);
        let plan = Plan::draw(&mut dice);
        self.crashes = Some(Box::new(Crashes {
            faults: DiskFaults::draw(&mut dice),
            journals: Vec::new(),
            run: 1,
            left,
            plan,
            steps: 0,
            is_down: false,
            acknowledged: Acknowledged::new(),
            dice,
        }));
        let begun = self.begin_run(RunEnd::default());
        assert!(begun.is_ok(), "a run begins with nothing");
    }

    /// The next step of a journal is about to begin: true if it never does.
    pub(crate) fn crashes_before_step(&mut self, crashes: &mut Crashes) -> bool {
        crashes.steps += 1;
        if !crashes.is_due() || crashes.plan.moment != Moment::Before {
            return false;
        }
        self.schedule(self.now, Event::Crash);
        true
    }

    /// A step takes so long; the power may fail within it.
    pub(crate) fn schedule_step(&mut self, crashes: &mut Crashes, host: usize, delay: Duration) {
        let number = crashes.steps;
        if crashes.is_due() && crashes.plan.moment == Moment::Inside {
            let at = crashes.dice.micros(0, u64::try_from(delay.as_micros()).unwrap_or(0));
            self.schedule(self.now + at, Event::Crash);
        }
        self.schedule(self.now + delay, Event::Step { host, number });
    }

    /// A journal's step has come to its end.
    pub(crate) fn step_ends(&mut self, host: usize, number: u64) {
        let Some(mut crashes) = self.crashes.take() else { return };
        let moment =
            Some(crashes.plan.moment).filter(|_| crashes.plan.step == number && crashes.left > 0);
        let journal = &mut crashes.journals[host];
        let synced = journal.sync();
        self.races.crash_failed_steps += u64::from(!synced);
        if moment == Some(Moment::Synced) {
            self.schedule(self.now, Event::Crash);
        } else {
            let before = journal.durable();
            journal.tell(&mut crashes.dice);
            let durable = journal.durable();
            if durable > before || synced {
                self.hosts[host].durable.push_back(durable);
                match moment {
                    Some(Moment::Told) => self.schedule(self.now, Event::Crash),
                    Some(Moment::Later) => {
                        let delay = crashes.dice.micros(1, 60_000);
                        self.schedule(self.now + delay, Event::Crash);
                    }
                    _ => {}
                }
                self.wake(host, self.now);
            }
            // As in the runtime, a failure is followed by a pause.
            let failures = crashes.journals[host].failures();
            let pause = Duration::from_millis(50) * 2_u32.saturating_pow(failures.min(5));
            let at = if synced { self.now } else { self.now + pause };
            self.schedule(at, Event::NextStep { host });
        }
        self.crashes = Some(crashes);
    }

    /// The power fails.
    pub(crate) fn crash(&mut self) {
        let Some(mut crashes) = self.crashes.take() else { return };
        if crashes.is_down || self.quiet_since.is_some() {
            self.crashes = Some(crashes);
            return;
        }
        crashes.is_down = true;
        crashes.left -= 1;
        self.races.crashes += 1;
        self.note_crash();
        for (host, journal) in crashes.journals.iter_mut().enumerate() {
            let pending = self.hosts[host].shard.counters().records - journal.durable();
            self.races.crash_undurable += pending;
            let (torn, survived) = journal.crash(&mut crashes.dice);
            self.races.crash_torn += torn;
            self.races.crash_survived += survived;
        }
        let now = self.now;
        for link in 0..self.links.len() {
            let it = &mut self.links[link];
            if !it.server_open {
                continue;
            }
            (it.server_open, it.server_closed_at) = (false, now);
            // What is on its way to the client may come or be lost.
            it.lost = crashes.dice.below(2) == 0;
            let delay = crashes.dice.micros(1, 40_000);
            self.schedule(now + delay, Event::EndToClient { link });
        }
        self.forget_what_hosts_await();
        let outage = crashes.dice.millis(30, 2_500);
        self.schedule(now + outage, Event::Restart);
        self.crashes = Some(crashes);
    }

    /// What the power failed in the middle of.
    fn note_crash(&mut self) {
        for show in 0..self.setup.shows.len() {
            let phase = self.operators[show].phase();
            self.races.crash_open += u64::from(phase == Some(Phase::Open));
            self.races.crash_closing += u64::from(phase == Some(Phase::Closing));
            let settles = matches!(phase, Some(Phase::Settling | Phase::Settled));
            self.races.crash_settling += u64::from(settles);
            self.races.crash_rejudging += u64::from(phase == Some(Phase::Rejudging));
            self.races.crash_raining += u64::from(self.operators[show].rains);
        }
    }

    /// The process begins again: it reads what the disks kept.
    pub(crate) fn restart(&mut self) {
        let Some(mut crashes) = self.crashes.take() else { return };
        let end = self.recover(&mut crashes);
        crashes.is_down = false;
        crashes.run += 1;
        crashes.steps = 0;
        crashes.plan = Plan::draw(&mut crashes.dice);
        self.crashes = Some(crashes);
        let begun = end.and_then(|end| self.begin_run(end));
        if let Err(Unreadable(error)) = begun {
            self.findings.broken(Promise::Durability, || format!("recovery failed: {error}"));
            // Nothing goes on from here.
            self.findings.broken(Promise::Progress, || "the gateway did not begin again".into());
        }
    }

    /// Reads the run that ended, and compares it with what it was.
    fn recover(&mut self, crashes: &mut Crashes) -> Result<RunEnd, Unreadable> {
        let placement = self.placement;
        let source = Stored(&crashes.journals);
        let read = || -> Result<RunBefore, Unreadable> {
            let states = crashes.journals.iter().map(Journal::newest_state);
            let states = states.collect::<Result<Vec<_>, _>>().map_err(Unreadable)?;
            redo(&source, &states, placement)
        };
        let before = read()?;
        let begins_at = self.check_recovered(&crashes.journals, &before);
        let end = before.finish(&source)?;
        self.findings.check(end.latest <= self.now, Promise::Durability, || {
            format!("{} is on record and has not come yet", end.latest)
        });
        self.roll_back(&crashes.journals, &begins_at, &end)?;
        let shards = crashes.dice.between(1, 5);
        let keeps = crashes.dice.below(2) == 0;
        if !keeps {
            let shards = u16::try_from(shards).unwrap_or(1);
            self.races.crash_other_shards += u64::from(shards != placement.shard_count());
            self.placement = placement.with_shards(shards);
        }
        if crashes.dice.below(6) == 0 {
            // The new process died before its run appeared: another one reads all of it again.
            self.races.crash_again += 1;
            return read()?.finish(&source);
        }
        Ok(end)
    }

    /// The shards of the next run begin with what the one before left.
    fn begin_run(&mut self, end: RunEnd) -> Result<(), Unreadable> {
        let (placement, now) = (self.placement, self.now);
        let next = end.hand_over(placement, now, CLOCK);
        let next = next.map_err(|error| Unreadable(error.to_string()))?;
        let shards = usize::from(placement.shard_count());
        self.begin_checkers_again(shards);
        let run = self.run_number();
        let mut hosts = Vec::with_capacity(shards);
        let mut journals = Vec::with_capacity(shards);
        for (me, next) in ShardId::all(placement.shard_count()).zip(next) {
            let home = self.home_then(me.index());
            journals.push(Journal::new(&next.state, placement, run, home));
            let mut shard = make_shard(&self.setup, placement, me, run);
            shard.begin_with(next.beginning);
            hosts.push(Host::new(shard, shards));
        }
        self.hosts = hosts;
        self.mail_ways = vec![Time::ZERO; shards * shards];
        if let Some(crashes) = &mut self.crashes {
            crashes.journals = journals;
        }
        self.check_acknowledged();
        for link in &mut self.links {
            // On its way while nobody was there: it meets whoever is there now.
            link.host %= shards;
        }
        if run > 1 {
            self.players_look_again();
        }
        for host in 0..shards {
            self.step(host, Input::Resume);
            self.wake(host, now);
            self.schedule_pause(host);
        }
        Ok(())
    }

    /// Some players tap once more at the question that they find open when they are back.
    fn players_look_again(&mut self) {
        for player in &mut self.players {
            for show in &mut player.shows {
                if player.dice.below(2) == 0 {
                    show.forget_plans();
                }
            }
        }
        for operator in &mut self.operators {
            operator.begin_again();
        }
        self.repeat_orders();
        for show in 0..self.setup.shows.len() {
            if self.events[show].is_empty() && self.operators[show].is_announced() {
                self.races.crash_unannounced += 1;
                self.operators[show].forget_announcement();
            }
        }
    }

    /// Every answer that was acknowledged is on record, with its option, in whatever shard its
    /// player lives on now; and every card that an operator was told of.
    fn check_acknowledged(&mut self) {
        let Some(crashes) = &self.crashes else { return };
        let mut lost = Vec::new();
        for ((show, question, user), option) in &crashes.acknowledged {
            let id: ShowId = self.setup.shows[*show].id;
            let home = self.placement.user_home(*user).index();
            let record = self.hosts[home].shard.answer_record(id, *user);
            let is_current = self.current_question(*show) == Some(*question);
            let kept = record.and_then(|record| record.answer).map(|answer| answer.0);
            if is_current && kept != Some(*option) {
                lost.push(format!("user {user}, question {question}: {option:?} became {kept:?}"));
            }
        }
        for lost in lost {
            self.findings.broken(Promise::Durability, || format!("acknowledged and lost: {lost}"));
        }
        self.check_card_orders(Promise::Durability);
    }
}

impl Crashes {
    fn is_due(&self) -> bool {
        self.left > 0 && self.steps == self.plan.step
    }
}
