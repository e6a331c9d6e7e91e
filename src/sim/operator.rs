//! A robot that runs a show: looks how it stands, and does what comes next — or, now and then,
//! something else.

use std::time::Duration;

use crate::base::ids::{OptionIndex, UserId};
use crate::base::time::Time;
use crate::quiz::director::{Command, CommandError, Notice};
use crate::quiz::phase::Phase;
use crate::quiz::rain::RainPhase;
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest, ShowStatus};
use crate::sim::checkers::Promise;
use crate::sim::world::{Event, World};

/// A show that rests in a phase which ends by itself for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tickets of requests say what was asked.
const STATUS: u64 = 1;
pub(crate) const COMMAND: u64 = 2;
pub(crate) const CARDS: u64 = 3;
const ANNOUNCE: u64 = 4;
pub(crate) const REVOKE: u64 = 5;
pub(crate) const KINDS: u64 = 8;

/// What the robot knows of its show.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    is_announced: bool,
    phase: Option<Phase>,
    phase_since: Time,
    /// Notices that were dealt with.
    notices: usize,
    void_needed: bool,
    /// The question that the robot has had its whims about, and in which phase.
    whim: Option<(usize, Phase)>,
    rejudged: Option<usize>,
    is_cancelled: bool,
    /// A rain falls, as far as the robot has seen.
    pub(crate) rains: bool,
    pub(crate) is_over: bool,
}

impl Operator {
    /// The phase that was seen last.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.phase
    }

    pub(crate) fn is_announced(&self) -> bool {
        self.is_announced
    }

    /// The announcement is on no record: it is to be made again.
    pub(crate) fn forget_announcement(&mut self) {
        self.is_announced = false;
    }

    /// The gateway began again: its notices are new.
    pub(crate) fn begin_again(&mut self) {
        (self.notices, self.void_needed) = (0, false);
    }
}

impl World {
    /// The robot looks.
    pub(crate) fn operator_looks(&mut self, show: usize) {
        if self.operators[show].is_over {
            return;
        }
        if self.operators[show].is_announced {
            let request = OperatorRequest::Status { show: self.setup.shows[show].id };
            self.order(show, STATUS, request);
        } else {
            self.operators[show].is_announced = true;
            self.grant_cards(show);
            let request = OperatorRequest::Announce(self.setup.shows[show].clone());
            self.order(show, ANNOUNCE, request);
        }
        let next = self.now + self.dice.millis(25, 90);
        self.schedule(next, Event::Operator { show });
    }

    fn grant_cards(&mut self, show: usize) {
        if show > 0 {
            return;
        }
        for place in 0..self.setup.player_count {
            if self.dice.below(100) < self.setup.cards_percent {
                let count = self.dice.between(1, 2);
                for _ in 0..count {
                    self.grant_card(UserId(place as u64 + 1));
                }
            }
        }
    }

    pub(crate) fn order(&mut self, show: usize, kind: u64, request: OperatorRequest) {
        let host = self.director_of(show);
        self.hosts[host].calls.push_back((show as u64 * KINDS + kind, request));
        self.wake(host, self.now);
    }

    pub(crate) fn command(&mut self, show: usize, command: Command) {
        let id = self.setup.shows[show].id;
        self.order(show, COMMAND, OperatorRequest::Command { show: id, command });
    }

    /// A shard has answered.
    pub(crate) fn operator_hears(
        &mut self,
        ticket: u64,
        answer: Result<OperatorAnswer, OperatorError>,
    ) {
        let show = usize::try_from(ticket / KINDS).unwrap_or(0);
        match answer {
            Ok(OperatorAnswer::Show(status)) => self.operator_decides(show, &status),
            answer if ticket % KINDS == CARDS => {
                let is_done = matches!(answer, Ok(OperatorAnswer::Cards(_)));
                self.cards_were_ordered(ticket / KINDS, is_done);
            }
            Ok(_) => {}
            // The phase may have changed since the robot looked.
            Err(OperatorError::Command(
                CommandError::NotNow { .. }
                | CommandError::PushedAlready { .. }
                | CommandError::NothingPushed
                | CommandError::TicketsOut { .. }
                | CommandError::RainsFall
                | CommandError::NotPaidOut,
            )) => {}
            // Whether a rain can be started or ended is the director's to say.
            Err(OperatorError::Rain(_)) => {}
            // The shard that admits shows has not said yes yet.
            Err(OperatorError::NoSuchShow(_)) if self.events[show].is_empty() => {}
            Err(error) => {
                self.findings.broken(Promise::Progress, || format!("operator: {error}"));
            }
        }
    }

    fn operator_decides(&mut self, show: usize, status: &ShowStatus) {
        let now = self.now;
        let phase = status.live.phase;
        self.operator_reads(show, status);
        self.operators[show].rains =
            status.rains.iter().any(|rain| rain.phase == RainPhase::Falling);
        let operator = &mut self.operators[show];
        if operator.phase != Some(phase) {
            operator.phase = Some(phase);
            operator.phase_since = now;
        }
        let rested = now.since(operator.phase_since);
        let asked = status.questions.len();
        let new_phase = operator.whim != Some((asked, phase));
        operator.whim = Some((asked, phase));
        let is_whim = new_phase && self.dice.permille(self.setup.whim_permille);
        self.expire_some(new_phase);
        if phase != Phase::Announced && self.operator_rains(show, status) {
            return;
        }
        let wait = |least: u64| rested >= Duration::from_millis(least);
        match phase {
            Phase::Announced if wait(100) => self.command(show, Command::OpenLobby),
            Phase::Lobby if is_whim => self.command(show, Command::Pause),
            Phase::Lobby | Phase::Revealed | Phase::Voided
                if self.operator_pushes(show, status) => {}
            Phase::Lobby if wait(1_500) => self.command(show, Command::Publish),
            Phase::Open | Phase::Closing if self.operators[show].void_needed && wait(300) => {
                self.command(show, Command::Void);
            }
            Phase::Open if is_whim => self.operator_whim_while_open(show),
            Phase::Open if new_phase => self.grant_one(),
            Phase::Open | Phase::Closing | Phase::Settling | Phase::Rejudging => {
                let hangs = rested > PATIENCE;
                self.findings.check(!hangs, Promise::Progress, || {
                    format!("show {} hangs, {phase}: {status:?}", status.show)
                });
            }
            Phase::Closed if is_whim => {
                let command = if self.dice.below(2) == 0 { Command::Pause } else { Command::Void };
                self.command(show, command);
            }
            Phase::Closed if wait(200) => self.command(show, Command::Reveal),
            Phase::Revealed if is_whim => self.operator_whim_after_reveal(show, status),
            Phase::Revealed | Phase::Voided if wait(350) => {
                let more = asked < status.question_count;
                self.command(show, if more { Command::Publish } else { Command::Settle });
            }
            Phase::PausedInLobby
            | Phase::PausedInClosed
            | Phase::PausedInRevealed
            | Phase::PausedInVoided
                if wait(150) =>
            {
                self.races.show_pauses += 1;
                self.command(show, Command::Resume);
            }
            Phase::Settled | Phase::Cancelled => {
                if phase == Phase::Settled && status.is_paid_out {
                    self.show_is_paid(show, status);
                }
                self.command(show, Command::End);
                let hangs = rested > PATIENCE;
                self.findings.check(!hangs, Promise::Progress, || {
                    format!("show {} cannot be ended: {status:?}", status.show)
                });
            }
            Phase::Ended => self.operator_is_done(show),
            _ => {}
        }
    }

    fn operator_is_done(&mut self, show: usize) {
        self.operators[show].is_over = true;
        if self.operators.iter().all(|operator| operator.is_over) {
            self.quiet_since = Some(self.now);
            self.players_fall_silent();
        }
    }

    fn operator_reads(&mut self, show: usize, status: &ShowStatus) {
        let from = self.operators[show].notices;
        self.operators[show].notices = status.notices.len();
        for notice in &status.notices[from.min(status.notices.len())..] {
            match notice {
                Notice::QuestionExtended { .. } => self.races.extensions += 1,
                Notice::VoidNeeded { .. } => {
                    self.races.void_needed += 1;
                    self.operators[show].void_needed = true;
                }
                Notice::OfferedAfterAll { .. } => self.operators[show].void_needed = false,
                Notice::PushExpired { .. } => self.races.pushes_expired += 1,
                Notice::ResumedAfterRestart { .. } => {
                    self.operators[show].void_needed = false;
                }
                Notice::JournalsStand { .. } => self.races.crash_journals_stood += 1,
                Notice::JournalsGoOn { .. } | Notice::PaidOut { .. } => {}
            }
        }
        if matches!(status.live.phase, Phase::Voided | Phase::Closed | Phase::Cancelled) {
            self.operators[show].void_needed = false;
        }
    }

    fn operator_whim_while_open(&mut self, show: usize) {
        match self.dice.below(4) {
            0 => {
                self.races.voided_open += 1;
                self.command(show, Command::Void);
            }
            1 if !self.operators[show].is_cancelled => {
                self.operators[show].is_cancelled = true;
                self.command(show, Command::Cancel);
            }
            _ => self.grant_one(),
        }
    }

    fn grant_one(&mut self) {
        if self.setup.cards_percent > 0 && self.dice.below(3) == 0 {
            let user = UserId(self.dice.below(self.setup.player_count as u64) + 1);
            self.races.cards_in_show += 1;
            self.grant_card(user);
        }
    }

    fn operator_whim_after_reveal(&mut self, show: usize, status: &ShowStatus) {
        let Some(last) = status.questions.last() else { return };
        let place = last.question.index();
        match self.dice.below(4) {
            0 => self.command(show, Command::Pause),
            1 => self.command(show, Command::Void),
            _ => {
                // Back again to the first key is refused only if it is the one that counts.
                let count = self.setup.shows[show].questions[place].options.len() as u64;
                let before = self.setup.shows[show].questions[place].correct;
                let option = u8::try_from((u64::from(before.0) + 1) % count).unwrap_or(0);
                let correct = OptionIndex(option);
                if self.operators[show].rejudged != Some(place) {
                    self.operators[show].rejudged = Some(place);
                    let question = last.question;
                    for confirm in [false, true] {
                        self.command(show, Command::Rejudge { question, correct, confirm });
                    }
                }
            }
        }
    }
}
