//! Runs shows that have a pace, without an operator: lobby, questions, reveals, prize, end.
//!
//! [`next`] decides from what the director says now, so an operator may pause, void or cancel at
//! any time and the autopilot goes on from there. It is never in the way of the game: only the
//! director decides what a command does, and a command that comes too early is refused and given
//! again.

use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};

use crate::base::ids::{RainIndex, ShowId};
use crate::base::limits::SHOWS_MAX;
use crate::base::time::{DisplayClock, Time};
use crate::ops::show_file::{Pace, ShowFile, rains};
use crate::quiz::director::{Command, CommandKind, Notice};
use crate::quiz::phase::Phase;
use crate::quiz::rain::{RainCommand, RainPhase};
use crate::runtime::clock::Clock;
use crate::runtime::operator::{CallError, Caller};
use crate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

/// The next look is at most so far away: somebody else may command the show too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often a phase is looked at that ends by itself, and a refused command is given again.
const LOOK_SOON: Duration = Duration::from_millis(50);

/// What an autopilot knows of a show beside what its director says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Its pace.
    pub pace: Pace,
    /// No question is published before this.
    pub starts_at: Time,
    /// Since when the show is in its present phase.
    pub phase_since: Time,
    /// Behind the reveal of which question each of its rains starts.
    pub rains: Vec<u16>,
}

/// What an autopilot does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give this command now.
    Command(Command),
    /// Let this rain fall now.
    Rain(RainIndex),
    /// Look again after so long.
    Wait(Duration),
    /// Nothing any more: the show is over.
    Finished,
}

/// What is to be done about a show now.
#[must_use]
pub fn next(status: &ShowStatus, course: &Course, now: Time) -> Action {
    let wait_until = |due: Time| Action::Wait(due.since(now).min(LOOK_AGAIN));
    let after = |pause: Duration| {
        let due = course.phase_since + pause;
        (now < due).then(|| wait_until(due))
    };
    // Well within the time for which a question may lie with the clients.
    let push_ahead = status.early_push_max / 4 * 3;
    let may_push = status.allowed.contains(&CommandKind::PushEarly);
    let until_published = |due: Time| {
        let push_due = due - push_ahead;
        if !may_push {
            wait_until(due)
        } else if now < push_due {
            wait_until(push_due)
        } else {
            Action::Command(Command::PushEarly)
        }
    };
    match status.live.phase {
        Phase::Announced => Action::Command(Command::OpenLobby),
        Phase::Lobby => {
            let due = (course.phase_since + course.pace.lobby).max(course.starts_at);
            if now < due { until_published(due) } else { Action::Command(Command::Publish) }
        }
        Phase::Open | Phase::Closing if needs_void(status) => Action::Command(Command::Void),
        Phase::Closed => {
            after(course.pace.reveal_pause).unwrap_or(Action::Command(Command::Reveal))
        }
        Phase::Revealed if due_rain(status, course).is_some() => {
            due_rain(status, course).map_or(Action::Wait(LOOK_SOON), Action::Rain)
        }
        Phase::Revealed | Phase::Voided => {
            let question_left = status.allowed.contains(&CommandKind::Publish);
            let command = if question_left { Command::Publish } else { Command::Settle };
            let due = course.phase_since + course.pace.next_pause;
            if now < due { until_published(due) } else { Action::Command(command) }
        }
        Phase::Settled | Phase::Cancelled => {
            after(course.pace.end_pause).unwrap_or(Action::Command(Command::End))
        }
        Phase::Open | Phase::Closing | Phase::Rejudging | Phase::Settling => {
            Action::Wait(LOOK_SOON)
        }
        Phase::PausedInLobby
        | Phase::PausedInClosed
        | Phase::PausedInRevealed
        | Phase::PausedInVoided => Action::Wait(LOOK_AGAIN),
        Phase::Ended => Action::Finished,
    }
}

/// The first rain that is planned behind this question or an earlier one.
fn due_rain(status: &ShowStatus, course: &Course) -> Option<RainIndex> {
    let question = status.live.question?;
    let planned = status.rains.iter().zip(&course.rains);
    let mut due =
        planned.filter(|(rain, after)| rain.phase == RainPhase::Planned && **after <= question.0);
    due.next().map(|(rain, _)| rain.rain)
}

/// Whether the present question can never be settled.
fn needs_void(status: &ShowStatus) -> bool {
    let present = status.live.question;
    let news = status.notices.iter().rev().find_map(|notice| match notice {
        Notice::VoidNeeded { question, .. } if Some(*question) == present => Some(true),
        Notice::OfferedAfterAll { question } if Some(*question) == present => Some(false),
        _ => None,
    });
    news.unwrap_or(false)
}

/// The moment of a planned start; what is past, or not planned, is at once.
#[must_use]
pub fn start_time(starts_at_unix_ms: i64, clock: DisplayClock) -> Time {
    clock.at_unix_ns(starts_at_unix_ms.saturating_mul(1_000_000))
}

/// A show on its course.
struct Flight {
    show: ShowId,
    course: Course,
    phase: Phase,
    due: Time,
}

/// A show that runs by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacedShow {
    show: ShowId,
    pace: Pace,
    starts_at_unix_ms: i64,
    rains: Vec<u16>,
}

impl PacedShow {
    /// What a show file says; nothing if an operator gives every command.
    #[must_use]
    pub fn of(file: &ShowFile) -> Option<PacedShow> {
        let ShowFile { definition, pace, rains } = file;
        let last = definition.questions.len().saturating_sub(1);
        Some(PacedShow {
            show: definition.id,
            pace: (*pace)?,
            starts_at_unix_ms: definition.starts_at_unix_ms,
            rains: rains::after_questions(rains, last),
        })
    }
}

enum Word {
    Fly(PacedShow),
    Stop,
}

/// Hands shows to an autopilot.
#[derive(Clone)]
pub struct AutopilotHandle(Sender<Word>);

impl AutopilotHandle {
    /// Lets a show that was announced go its course. May wait while the autopilot does something.
    pub fn fly(&self, show: PacedShow) {
        // One that has ended gives no more commands.
        let _ = self.0.send(Word::Fly(show));
    }
}

/// A thread that runs shows until it is stopped.
pub struct Autopilot {
    words: Sender<Word>,
    thread: std::thread::JoinHandle<()>,
}

impl Autopilot {
    /// Begins without a show.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(caller: Caller, clock: Clock) -> std::io::Result<Autopilot> {
        let (words, heard) = flume::bounded(SHOWS_MAX);
        let thread = std::thread::Builder::new()
            .name("autopilot".to_owned())
            .spawn(move || fly(&caller, clock, &heard))?;
        Ok(Autopilot { words, thread })
    }

    /// Through which shows come to it.
    #[must_use]
    pub fn handle(&self) -> AutopilotHandle {
        AutopilotHandle(self.words.clone())
    }

    /// Gives no more commands. The shows stay as they are.
    pub fn stop(self) {
        let _ = self.words.send(Word::Stop);
        // A panic has ended the process already.
        let _ = self.thread.join();
    }
}

fn fly(caller: &Caller, clock: Clock, words: &Receiver<Word>) {
    let mut flights: Vec<Flight> = Vec::new();
    loop {
        let word = match flights.iter().map(|flight| flight.due).min() {
            None => words.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => words.recv_timeout(due.since(clock.now())),
        };
        match word {
            Ok(Word::Fly(show)) => flights.push(Flight::new(show, clock)),
            Ok(Word::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = clock.now();
        flights.retain_mut(|flight| flight.due > now || flight.advance(caller, clock));
    }
}

impl Flight {
    fn new(show: PacedShow, clock: Clock) -> Flight {
        let PacedShow { show, pace, starts_at_unix_ms, rains } = show;
        let now = clock.now();
        let starts_at = start_time(starts_at_unix_ms, clock.display());
        let course = Course { pace, starts_at, phase_since: now, rains };
        Flight { show, course, phase: Phase::Announced, due: now }
    }

    /// Does what is due; false once the show is over.
    fn advance(&mut self, caller: &Caller, clock: Clock) -> bool {
        let show = self.show;
        let status = match caller.call(OperatorRequest::Status { show }) {
            Ok(OperatorAnswer::Show(status)) => status,
            Ok(_) | Err(_) => {
                self.due = clock.now() + LOOK_AGAIN;
                return true;
            }
        };
        let now = clock.now();
        if status.live.phase != self.phase {
            self.phase = status.live.phase;
            self.course.phase_since = now;
        }
        match next(&status, &self.course, now) {
            Action::Finished => {
                tracing::info!(%show, "the show is over");
                return false;
            }
            Action::Wait(wait) => self.due = now + wait,
            Action::Command(command) => {
                self.due = now + LOOK_SOON;
                order(caller, show, OperatorRequest::Command { show, command });
            }
            Action::Rain(rain) => {
                self.due = now + LOOK_SOON;
                let command = RainCommand::Start(rain);
                order(caller, show, OperatorRequest::Rain { show, command });
            }
        }
        true
    }
}

fn order(caller: &Caller, show: ShowId, request: OperatorRequest) {
    let order = format!("{request:?}");
    match caller.call(request) {
        Ok(_) => tracing::info!(%show, order, "autopilot"),
        Err(CallError::Refused(error)) => {
            tracing::debug!(%show, order, %error, "autopilot: not yet");
        }
        Err(error @ CallError::Draining) => {
            tracing::debug!(%show, order, %error, "autopilot: not yet");
        }
        Err(CallError::NoAnswer(shard)) => {
            tracing::warn!(%show, order, %shard, "autopilot: no answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{EventNumber, QuestionIndex, RoomId};
    use crate::quiz::director::LiveFigures;
    use crate::quiz::money::Cents;
    use crate::quiz::rain::{RainSettings, RainStatus};

    const PACE: Pace = Pace {
        lobby: Duration::from_millis(500),
        reveal_pause: Duration::from_millis(200),
        next_pause: Duration::from_millis(300),
        end_pause: Duration::from_millis(400),
    };

    fn status(phase: Phase, allowed: &[CommandKind]) -> ShowStatus {
        ShowStatus {
            show: ShowId(1),
            title: String::new(),
            room: RoomId(1),
            starts_at_unix_ms: 0,
            prize_pool: Cents(0),
            question_count: 2,
            early_push_max: Duration::from_millis(400),
            pushed: None,
            last_event: EventNumber(7),
            live: LiveFigures {
                phase,
                question: Some(QuestionIndex(0)),
                joined: 0,
                answered: 0,
                options: [0; 6],
                correct: 0,
                late: 0,
                eliminated: 0,
                revived: 0,
                cards_used: 0,
                in_play: 0,
                per_head: Cents(0),
            },
            allowed: allowed.to_vec(),
            questions: Vec::new(),
            settlement: None,
            is_paid_out: false,
            journals_standing: Vec::new(),
            notices: Vec::new(),
            rains: Vec::new(),
            rain_fund: Cents(0),
        }
    }

    /// The phase began at 10 s; the show is planned for `starts_at`.
    fn course(starts_at_ms: u64) -> Course {
        let starts_at = Time::from_millis(starts_at_ms);
        let phase_since = Time::from_millis(10_000);
        Course { pace: PACE, starts_at, phase_since, rains: vec![0] }
    }

    #[test]
    fn a_rain_starts_behind_its_question_and_once() {
        let settings = RainSettings::new(Cents(10), 10, Duration::from_secs(1));
        let rain = |phase| RainStatus {
            rain: RainIndex(0),
            settings,
            phase,
            granted: 0,
            grabbed: 0,
            paid: Cents::ZERO,
            returned: Cents::ZERO,
        };
        let action = |phase, question, rain_phase| {
            let mut status = status(phase, &[CommandKind::Settle]);
            status.live.question = Some(QuestionIndex(question));
            status.rains = vec![rain(rain_phase)];
            let course = Course { rains: vec![1], ..course(0) };
            next(&status, &course, Time::from_millis(10_300))
        };
        let starts = Action::Rain(RainIndex(0));
        let goes_on = Action::Command(Command::Settle);
        assert_eq!(action(Phase::Revealed, 1, RainPhase::Planned), starts);
        assert_eq!(action(Phase::Revealed, 2, RainPhase::Planned), starts);
        assert_eq!(action(Phase::Revealed, 0, RainPhase::Planned), goes_on);
        assert_eq!(action(Phase::Revealed, 1, RainPhase::Falling), goes_on);
        assert_ne!(action(Phase::Closed, 1, RainPhase::Planned), starts);
    }

    #[test]
    fn each_phase_has_its_action() {
        let publish = &[CommandKind::Publish, CommandKind::Settle][..];
        let settle = &[CommandKind::Settle][..];
        let wait = |millis| Action::Wait(Duration::from_millis(millis));
        let command = Action::Command;
        // Phase, what is allowed, planned start, now (both milliseconds), action.
        for (phase, allowed, starts_at, now, expected) in [
            (Phase::Announced, &[][..], 99_000, 10_000, command(Command::OpenLobby)),
            (Phase::Lobby, &[], 0, 10_000, wait(500)),
            (Phase::Lobby, &[], 0, 10_499, wait(1)),
            (Phase::Lobby, &[], 0, 10_500, command(Command::Publish)),
            (Phase::Lobby, &[], 99_000, 10_500, wait(1_000)),
            (Phase::Lobby, &[], 10_900, 10_500, wait(400)),
            (Phase::Lobby, &[], 10_900, 10_900, command(Command::Publish)),
            (Phase::Open, &[], 0, 10_000, wait(50)),
            (Phase::Closing, &[], 0, 10_000, wait(50)),
            (Phase::Closed, &[], 0, 10_100, wait(100)),
            (Phase::Closed, &[], 0, 10_200, command(Command::Reveal)),
            (Phase::Revealed, publish, 0, 10_299, wait(1)),
            (Phase::Revealed, publish, 0, 10_300, command(Command::Publish)),
            (Phase::Revealed, settle, 0, 10_300, command(Command::Settle)),
            (Phase::Voided, publish, 0, 10_300, command(Command::Publish)),
            (Phase::Voided, settle, 0, 10_300, command(Command::Settle)),
            (Phase::PausedInLobby, &[], 0, 99_000, wait(1_000)),
            (Phase::PausedInClosed, &[], 0, 99_000, wait(1_000)),
            (Phase::PausedInRevealed, publish, 0, 99_000, wait(1_000)),
            (Phase::PausedInVoided, publish, 0, 99_000, wait(1_000)),
            (Phase::Rejudging, &[], 0, 99_000, wait(50)),
            (Phase::Settling, &[], 0, 99_000, wait(50)),
            (Phase::Settled, &[], 0, 10_399, wait(1)),
            (Phase::Settled, &[], 0, 10_400, command(Command::End)),
            (Phase::Cancelled, &[], 0, 10_400, command(Command::End)),
            (Phase::Ended, &[], 0, 10_000, Action::Finished),
        ] {
            let (status, now_time) = (status(phase, allowed), Time::from_millis(now));
            assert_eq!(next(&status, &course(starts_at), now_time), expected, "{phase} at {now}");
        }
    }

    #[test]
    fn a_question_that_can_never_be_settled_is_voided() {
        let now = Time::from_millis(10_000);
        let mut status = status(Phase::Closing, &[CommandKind::Void]);
        let void_needed =
            |question| Notice::VoidNeeded { question: QuestionIndex(question), late: Vec::new() };
        status.notices.push(void_needed(7));
        assert_eq!(next(&status, &course(0), now), Action::Wait(LOOK_SOON), "another question's");
        status.notices.push(void_needed(0));
        assert_eq!(next(&status, &course(0), now), Action::Command(Command::Void));
        status.notices.push(Notice::OfferedAfterAll { question: QuestionIndex(0) });
        assert_eq!(next(&status, &course(0), now), Action::Wait(LOOK_SOON));
    }

    #[test]
    fn a_start_in_the_past_is_at_once() {
        let clock = DisplayClock { zero_unix_ms: 1_000 };
        assert_eq!(start_time(0, clock), Time::ZERO);
        assert_eq!(start_time(1_500, clock), Time::from_millis(500));
    }
}
