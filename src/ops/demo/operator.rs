//! The demo's operator, who runs the show by its clock, and the audience that it invites.

use std::sync::Arc;
use std::time::Duration;

use flume::Receiver;

use crate::auth::token::{NewToken, mint};
use crate::base::ids::{QuestionIndex, RainIndex, ShowId, UserId};
use crate::ops::cli::DemoArguments;
use crate::ops::demo::DemoError;
use crate::ops::demo::progress::Progress;
use crate::ops::show_file::rains::FiledRain;
use crate::ops::show_file::{Pace, rains};
use crate::player::script::Script;
use crate::player::swarm::{Swarm, SwarmSettings};
use crate::quiz::definition::ShowDefinition;
use crate::quiz::director::{Command, Notice};
use crate::quiz::rain::{RainCommand, RainPhase};
use crate::runtime::gateway::{CallError, Gateway, GatewaySettings};
use crate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

/// How often the operator looks.
const LOOK: Duration = Duration::from_millis(25);
/// How long anything may take beyond what it has to.
const PATIENCE: Duration = Duration::from_secs(30);
/// Players that enter in a second at least, on a slow host.
const JOINS_PER_SECOND: u64 = 200;
/// Connects in flight at a time.
const CONNECTS_IN_FLIGHT: u32 = 256;
/// A token lives longer than any demo.
pub(super) const TOKEN_LIFETIME_S: u32 = 7 * 86_400;

/// Runs the show.
pub(super) struct Operator<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) definition: &'a Arc<ShowDefinition>,
    pub(super) pace: Pace,
    pub(super) rains: &'a [FiledRain],
    /// What tokens are signed with.
    pub(super) secret: [u8; 32],
    /// Where people play too.
    pub(super) company: Option<Company<'a>>,
}

/// People, and what a show is for whom people come.
#[derive(Clone, Copy)]
pub(super) struct Company<'a> {
    /// Who may come; each is given a card.
    pub(super) guests: &'a [UserId],
    /// A signal that asks for the end.
    pub(super) stop: &'a Receiver<&'static str>,
    /// No show was played before: nobody holds a card of an earlier one.
    pub(super) is_first: bool,
}

impl Operator<'_> {
    pub(super) fn run(
        &self,
        arguments: &DemoArguments,
        settings: &GatewaySettings,
        progress: &mut Progress,
    ) -> Result<(ShowStatus, Swarm), DemoError> {
        self.order("announcing the show", OperatorRequest::Announce(self.definition.clone()))?;
        for command in rains::orders(self.rains) {
            let show = self.show();
            self.order("planning red-packet rain", OperatorRequest::Rain { show, command })?;
        }
        self.command("opening the lobby", Command::OpenLobby)?;
        self.grant_cards(arguments)?;
        let swarm = self.audience(arguments, settings)?;
        self.lobby(arguments, &swarm, progress)?;
        for question in 0..self.definition.questions.len() {
            self.question(question, &swarm, progress)?;
            self.rains_after(question, arguments, &swarm)?;
        }
        self.command("settling", Command::Settle)?;
        progress.settling();
        let within = PATIENCE;
        self.until("the payout", within, &swarm, |status| status.is_paid_out)?;
        self.until("the news of the settlement", within, &swarm, |_| swarm.knows_settlement())?;
        // People look at what they won.
        let pause = self.company.map_or(self.pace.next_pause, |_| self.pace.end_pause);
        self.pause(pause, &swarm)?;
        let status = self.status()?;
        self.command("ending the show", Command::End)?;
        self.pause(LOOK * 8, &swarm)?;
        Ok((status, swarm))
    }

    fn grant_cards(&self, arguments: &DemoArguments) -> Result<(), DemoError> {
        for guest in self.company.iter().flat_map(|company| company.guests) {
            // Whoever uses none holds more and more of them, until the limit.
            match self.order("granting a card", OperatorRequest::GrantCard { user: *guest }) {
                Ok(_) | Err(DemoError::Order { error: CallError::Refused(_), .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // No card helps at the last question: where that is the first one too, all are still held.
        let are_held = self.company.is_some_and(|company| !company.is_first);
        if are_held && self.definition.questions.len() == 1 {
            return Ok(());
        }
        let script = Script::new(arguments.seed, self.definition);
        for user in (1..=u64::from(arguments.players)).map(UserId) {
            if script.holds_card(user) {
                self.order("granting a card", OperatorRequest::GrantCard { user })?;
            }
        }
        Ok(())
    }

    fn audience(
        &self,
        arguments: &DemoArguments,
        settings: &GatewaySettings,
    ) -> Result<Swarm, DemoError> {
        let clock = self.gateway.clock();
        let secret = self.secret;
        let issued_unix_s = clock.display().zero_unix_ms / 1_000;
        let token = move |user| {
            let lifetime_s = TOKEN_LIFETIME_S;
            mint(&secret, NewToken { user, issued_unix_s, lifetime_s, audience: None })
        };
        Ok(Swarm::start(SwarmSettings {
            gateway: self.gateway.local_address(),
            players: arguments.players,
            seed: arguments.seed,
            definition: self.definition.clone(),
            connects_in_flight: CONNECTS_IN_FLIGHT,
            plane: settings.plane,
            clock,
            gateway_may_die: false,
            token: Arc::new(token),
        })?)
    }

    /// Waits until everybody is in, by the players' own word and by the director's.
    fn lobby(
        &self,
        arguments: &DemoArguments,
        swarm: &Swarm,
        progress: &mut Progress,
    ) -> Result<(), DemoError> {
        let players = u64::from(arguments.players);
        progress.lobby(players);
        let within = PATIENCE + Duration::from_secs(players / JOINS_PER_SECOND);
        let expected = players..=players + self.guest_count();
        self.until("everybody's joining", within, swarm, |status| {
            progress.joined(swarm.joined());
            swarm.joined() == players && expected.contains(&status.live.joined)
        })?;
        self.pause(self.pace.lobby, swarm)
    }

    fn question(
        &self,
        number: usize,
        swarm: &Swarm,
        progress: &mut Progress,
    ) -> Result<(), DemoError> {
        let timing = self.definition.timing;
        // Every second question goes out ahead of its time, sealed.
        if number % 2 == 1 && !timing.early_push_max.is_zero() {
            self.command("pushing a question early", Command::PushEarly)?;
            self.pause(timing.early_push_max / 2, swarm)?;
        }
        self.command("publishing a question", Command::Publish)?;
        let asked = &self.definition.questions[number];
        progress.question(number, self.definition.questions.len(), &asked.text);
        let within = timing.lead
            + timing.display_slack
            + timing.countdown
            + timing.ticket_life
            + timing.stream_delay
            + timing.extension_max
            + PATIENCE;
        let what = format!("the close of question {number}");
        let clock = self.gateway.clock();
        self.until(&what, within, swarm, |status| {
            let Some(opened) = status.questions.get(number) else {
                return false;
            };
            let left = opened.answer_by.since(clock.now());
            progress.answers(left, swarm.shown(), status.live.answered, status.live.in_play);
            opened.counts.is_some()
        })?;
        self.pause(self.pace.reveal_pause, swarm)?;
        self.command("revealing", Command::Reveal)?;
        let status = self.status()?;
        let in_play = status.questions.get(number).map_or(0, |opened| opened.in_play);
        progress.revealed(in_play);
        self.pause(self.pace.next_pause, swarm)
    }

    /// Lets the rains fall that are planned behind this question, one by one, until every player
    /// has asked once more for the outcome of each of its taps.
    fn rains_after(
        &self,
        question: usize,
        arguments: &DemoArguments,
        swarm: &Swarm,
    ) -> Result<(), DemoError> {
        let after = rains::after_questions(self.rains, self.definition.questions.len() - 1);
        let mut taps = swarm.taps();
        for (number, (filed, after)) in (0..).zip(self.rains.iter().zip(after)) {
            if usize::from(after) != question {
                continue;
            }
            let (show, rain) = (self.show(), RainIndex(number));
            let command = RainCommand::Start(rain);
            self.order("starting red-packet rain", OperatorRequest::Rain { show, command })?;
            taps += u64::from(arguments.players) * u64::from(filed.settings.taps_max);
            let within = filed.settings.duration + PATIENCE;
            let what = format!("the end of red-packet rain {rain}");
            self.until(&what, within, swarm, |status| {
                let ended = status.rains.get(usize::from(rain.0));
                ended.is_some_and(|it| it.phase == RainPhase::Ended) && swarm.taps() == taps
            })?;
        }
        Ok(())
    }

    fn until(
        &self,
        what: &str,
        within: Duration,
        swarm: &Swarm,
        mut happened: impl FnMut(&ShowStatus) -> bool,
    ) -> Result<(), DemoError> {
        let clock = self.gateway.clock();
        let deadline = clock.now() + within;
        loop {
            let status = self.status()?;
            if happened(&status) {
                return Ok(());
            }
            void_needed(&status)?;
            if clock.now() > deadline {
                let (what, seconds) = (what.to_owned(), within.as_secs());
                return Err(DemoError::TooSlow { what, seconds });
            }
            self.pause(LOOK, swarm)?;
        }
    }

    fn pause(&self, duration: Duration, swarm: &Swarm) -> Result<(), DemoError> {
        let Some(Company { stop, .. }) = self.company else {
            return if swarm.wait(duration) { Ok(()) } else { Err(DemoError::SwarmEnded) };
        };
        let clock = self.gateway.clock();
        let until = clock.now() + duration;
        loop {
            if !stop.is_empty() {
                return Err(DemoError::Stopped);
            }
            let left = until.since(clock.now());
            if !swarm.wait(left.min(LOOK * 4)) {
                return Err(DemoError::SwarmEnded);
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// How many people may come.
    pub(super) fn guest_count(&self) -> u64 {
        self.company.map_or(0, |company| company.guests.len() as u64)
    }

    fn show(&self) -> ShowId {
        self.definition.id
    }

    fn command(&self, order: &'static str, command: Command) -> Result<(), DemoError> {
        self.order(order, OperatorRequest::Command { show: self.show(), command })?;
        Ok(())
    }

    fn status(&self) -> Result<ShowStatus, DemoError> {
        match self.order("looking", OperatorRequest::Status { show: self.show() })? {
            OperatorAnswer::Show(status) => Ok(*status),
            other => panic!("the answer to a look at a show is the show, not {other:?}"),
        }
    }

    /// An order that gets no answer in time is given once more: a busy host is no reason to end.
    fn order(
        &self,
        order: &'static str,
        request: OperatorRequest,
    ) -> Result<OperatorAnswer, DemoError> {
        let is_look = matches!(request, OperatorRequest::Status { .. });
        match self.gateway.call(request.clone()) {
            Err(CallError::NoAnswer(_)) if is_look => self.gateway.call(request),
            answer => answer,
        }
        .map_err(|error| DemoError::Order { order, error })
    }
}

fn void_needed(status: &ShowStatus) -> Result<(), DemoError> {
    let mut needed = None;
    for notice in &status.notices {
        match notice {
            Notice::VoidNeeded { question, .. } => needed = Some(*question),
            Notice::OfferedAfterAll { .. } => needed = None,
            Notice::QuestionExtended { .. }
            | Notice::PushExpired { .. }
            | Notice::JournalsStand { .. }
            | Notice::JournalsGoOn { .. }
            | Notice::ResumedAfterRestart { .. }
            | Notice::PaidOut { .. } => {}
        }
    }
    needed.map_or(Ok(()), |QuestionIndex(question)| Err(DemoError::VoidNeeded(question)))
}
