//! A whole show in one process: a director, several shards, mail between them that is ordered and
//! lossless but late, and players who follow a plan. Everything comes from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::entropy::{Entropy, SeededEntropy};
use crate::base::hash::{Placement, PlacementKey};
use crate::base::ids::{EventNumber, OptionIndex, QuestionIndex, RoomId, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use crate::quiz::director::{Command, CommandOutcome, Director, Notice};
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::local::LocalQuiz;
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::replica::{AnswerInput, AnswerOutcome, TicketStamp};
use crate::quiz::report::Report;
use crate::quiz::seal::SealedResult;

pub(crate) const SHOW: ShowId = ShowId(77);
const BUCKET_COUNT: u16 = 24;

/// What is different from game to game.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) shard_count: u16,
    pub(crate) player_count: u64,
    pub(crate) question_count: usize,
    /// Added to the correct option of one question.
    pub(crate) other_key: Option<usize>,
    /// Questions that are voided, and in which phase.
    pub(crate) voids: BTreeMap<usize, Phase>,
    /// Questions whose key is corrected to the next option after the reveal.
    pub(crate) rejudges: Vec<usize>,
    pub(crate) coverage: ReviveCoverage,
    /// The longest that mail between two shards takes.
    pub(crate) delay_max_ms: u64,
    /// How much later one shard, not the director's, gets each event.
    pub(crate) slow_shard_ms: u64,
    pub(crate) pool: i64,
}

impl Setup {
    pub(crate) fn new(seed: u64, shard_count: u16) -> Setup {
        Setup {
            seed,
            shard_count,
            player_count: 60,
            question_count: 4,
            other_key: None,
            voids: BTreeMap::new(),
            rejudges: Vec::new(),
            coverage: ReviveCoverage { wrong: true, late: true, unreachable: true },
            delay_max_ms: 40,
            slow_shard_ms: 0,
            pool: 100_003,
        }
    }

    pub(crate) fn placement(&self) -> Placement {
        Placement::new(PlacementKey([5; 16]), BUCKET_COUNT, self.shard_count)
    }

    pub(crate) fn definition(&self) -> ShowDefinition {
        let question = |place: usize| QuestionDefinition {
            text: format!("Question {place}"),
            options: ["a", "b", "c"].map(String::from).to_vec(),
            correct: self.correct(place),
        };
        ShowDefinition {
            id: SHOW,
            room: RoomId(1),
            title: "A show".into(),
            starts_at_unix_ms: 0,
            prize_pool: Cents(self.pool),
            remainder_account: "house".into(),
            revive: self.coverage,
            timing: Timing {
                lead: Duration::from_millis(200),
                display_slack: Duration::from_millis(300),
                countdown: Duration::from_millis(2_000),
                ticket_life: Duration::from_millis(500),
                stream_delay: Duration::from_millis(100),
                extension_max: Duration::from_millis(2_000),
                early_push_max: Duration::ZERO,
            },
            questions: (0..self.question_count).map(question).collect(),
        }
    }

    /// The correct option of a question as it was defined.
    pub(crate) fn correct(&self, place: usize) -> OptionIndex {
        let other = usize::from(self.other_key == Some(place));
        OptionIndex(u8::try_from((place + other) % 3).unwrap())
    }
}

/// What a player means to do at a question; a function of seed, user and question alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) option: OptionIndex,
    pub(crate) act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Answer,
    Twice,
    Late,
    Silent,
    /// No connection while the question is open.
    Away,
    /// Told to retry; the ticket is redeemed after the time.
    Ticket,
}

pub(crate) fn plan(seed: u64, user: UserId, question: usize) -> Plan {
    let mut entropy = SeededEntropy::new(seed ^ user.0 << 20, 1_000 + question as u64);
    // Two in three know the answer of the show as it is defined without `other_key`.
    let right = entropy.below(10) < 7;
    let miss = if right { 0 } else { 1 + entropy.below(2) };
    let option = u8::try_from((question as u64 + miss) % 3).unwrap();
    let act = match entropy.below(40) {
        0 => Act::Late,
        1 => Act::Silent,
        2 => Act::Away,
        3..6 => Act::Ticket,
        6..12 => Act::Twice,
        _ => Act::Answer,
    };
    Plan { option: OptionIndex(option), act }
}

/// How many revive cards a user begins with: none, or more than one show can use.
pub(crate) fn beginning_cards(seed: u64, user: UserId) -> u8 {
    if SeededEntropy::new(seed ^ user.0 << 20, 1).below(3) == 0 { 2 } else { 0 }
}

/// Joins only after the first question is closed.
pub(crate) fn is_latecomer(user: UserId) -> bool {
    user.0.is_multiple_of(17)
}

#[derive(Clone, Debug)]
enum Mail {
    Event(NumberedEvent),
    Acknowledged(ShardId, EventNumber, Time),
    Answer(UserId, AnswerInput),
    TicketIssued(UserId, QuestionIndex, TicketStamp),
    Present(UserId, ShardId),
    Absent(UserId),
    Drained(ShardId, QuestionIndex),
    Report(Report),
    /// From a player to its connection's shard: the question, the option, a ticket.
    Tap(UserId, usize, OptionIndex, Option<TicketStamp>, bool),
    /// A shard looks for work.
    Work,
}

/// What a player could see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: Time,
    pub(crate) user: UserId,
    pub(crate) what: String,
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) director: Director,
    pub(crate) locals: Vec<LocalQuiz>,
    pub(crate) now: Time,
    pub(crate) seen: Vec<Seen>,
    pub(crate) events: Vec<NumberedEvent>,
    pub(crate) notices: Vec<Notice>,
    /// Snapshots that named an option to somebody who had not answered.
    pub(crate) leaks: u64,
    /// The last result each player got at each question, and how many different ones.
    pub(crate) results: BTreeMap<(UserId, QuestionIndex), Vec<SealedResult>>,
    entropy: SeededEntropy,
    keys: SeededEntropy,
    placement: Placement,
    home: ShardId,
    mail: BTreeMap<(Time, u64), (ShardId, Mail)>,
    sequence: u64,
    /// The last delivery on each link, so that it stays in order.
    links: BTreeMap<(ShardId, ShardId), Time>,
    held: BTreeMap<UserId, AnswerInput>,
    /// Question, receiver, sender of each drained mark that arrived.
    pub(crate) drained: BTreeSet<(QuestionIndex, ShardId, ShardId)>,
    /// What happens after each delivery.
    pub(crate) between: fn(&mut World),
    /// How often `between` did something.
    pub(crate) interrupted: u64,
    /// Per shard: whether it drained the question that is closing.
    posted_drained: Vec<Option<QuestionIndex>>,
}

impl World {
    pub(crate) fn new(setup: Setup) -> World {
        let placement = setup.placement();
        let shards = usize::from(setup.shard_count);
        let definition = Arc::new(setup.definition());
        let director = Director::new(definition, setup.shard_count, BUCKET_COUNT, Time::ZERO);
        World {
            director,
            locals: ShardId::all(setup.shard_count)
                .map(|shard| LocalQuiz::new(shard, placement))
                .collect(),
            now: Time::ZERO,
            seen: Vec::new(),
            events: Vec::new(),
            notices: Vec::new(),
            leaks: 0,
            results: BTreeMap::new(),
            entropy: SeededEntropy::new(setup.seed, 2),
            keys: SeededEntropy::new(setup.seed, 3),
            placement,
            home: placement.show_home(SHOW),
            mail: BTreeMap::new(),
            sequence: 0,
            links: BTreeMap::new(),
            held: BTreeMap::new(),
            drained: BTreeSet::new(),
            between: |_| (),
            interrupted: 0,
            posted_drained: vec![None; shards],
            setup,
        }
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = UserId> + use<> {
        (1..=self.setup.player_count).map(UserId)
    }

    pub(crate) fn local(&self, user: UserId) -> &LocalQuiz {
        &self.locals[self.placement.user_home(user).index()]
    }

    fn local_mut(&mut self, user: UserId) -> &mut LocalQuiz {
        &mut self.locals[self.placement.user_home(user).index()]
    }

    /// The shard that holds the user's connection: not its home, as a rule.
    fn connection_shard(&self, user: UserId) -> ShardId {
        ShardId(u16::try_from(user.0 % u64::from(self.setup.shard_count)).unwrap())
    }

    fn at(&mut self, at: Time, to: ShardId, mail: Mail) {
        self.sequence += 1;
        self.mail.insert((at, self.sequence), (to, mail));
    }

    fn post(&mut self, from: ShardId, to: ShardId, mail: Mail) {
        let mut delay = Duration::from_millis(self.entropy.below(self.setup.delay_max_ms + 1));
        let slow_shard = (self.home.0 + 1) % self.setup.shard_count;
        let slow = to.0 == slow_shard && matches!(mail, Mail::Event(_));
        if slow {
            delay += Duration::from_millis(self.setup.slow_shard_ms);
        }
        let link = self.links.entry((from, to)).or_default();
        let arrival = (*link).max(self.now + delay);
        *link = arrival;
        self.at(arrival, to, mail);
    }

    /// Makes the director's events travel; plans what players do about them.
    fn spread(&mut self) {
        self.notices.extend(self.director.take_notices());
        for event in self.director.take_events() {
            self.events.push(event.clone());
            if let ShowEvent::QuestionOpened(opening) = &event.event {
                self.plan_question(opening.question, opening.show_at);
            }
            for shard in ShardId::all(self.setup.shard_count) {
                self.post(self.home, shard, Mail::Event(event.clone()));
            }
        }
    }

    fn plan_question(&mut self, question: QuestionIndex, show_at: Time) {
        let place = question.index();
        for user in self.users() {
            let Plan { option, act } = plan(self.setup.seed, user, place);
            let shard = self.connection_shard(user);
            let after = |ms: u64| show_at + Duration::from_millis(ms);
            let jitter = SeededEntropy::new(self.setup.seed ^ user.0, 50 + place as u64).below(900);
            let tap = |option, ticket, retry| Mail::Tap(user, place, option, ticket, retry);
            match act {
                Act::Answer => self.at(after(700 + jitter), shard, tap(option, None, false)),
                Act::Twice => {
                    let other = OptionIndex((option.0 + 1) % 3);
                    self.at(after(700 + jitter), shard, tap(option, None, false));
                    self.at(after(900 + jitter), shard, tap(other, None, false));
                    self.at(after(3_000 + jitter), shard, tap(option, None, false));
                }
                // Far behind `answer_by` (show_at + 2,300 ms), before the close (+ 600 ms).
                Act::Late => self.at(after(2_600), shard, tap(option, None, false)),
                Act::Silent => {}
                Act::Away => {
                    self.at(self.now, shard, Mail::Absent(user));
                    self.at(after(3_500), shard, Mail::Present(user, shard));
                }
                Act::Ticket => self.at(after(700 + jitter), shard, tap(option, None, true)),
            }
        }
    }

    pub(crate) fn join(&mut self, user: UserId) {
        let (shard, now) = (self.connection_shard(user), self.now);
        let local = self.local_mut(user);
        local.join(SHOW, user, now).unwrap();
        local.present(SHOW, user, shard, now);
    }

    pub(crate) fn order(&mut self, command: Command) -> CommandOutcome {
        let outcome = self.director.command(self.now, command, &mut self.keys).unwrap();
        self.spread();
        outcome
    }

    /// Delivers everything until nothing is left to happen.
    pub(crate) fn settle_down(&mut self) {
        self.run_until(Time::NEVER);
    }

    /// Delivers what happens until `end`.
    pub(crate) fn run_until(&mut self, end: Time) {
        loop {
            let mail = self.mail.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.director.deadline();
            let Some(next) = mail.into_iter().chain(deadline).min().filter(|next| *next <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            // Mail before timers.
            if mail == Some(next) {
                let (_, (shard, mail)) = self.mail.pop_first().unwrap();
                self.deliver(shard, mail);
                (self.between)(self);
            } else {
                self.director.due(self.now);
            }
            self.spread();
        }
        if end != Time::NEVER {
            self.now = end;
        }
    }

    fn deliver(&mut self, shard: ShardId, mail: Mail) {
        let now = self.now;
        match mail {
            Mail::Event(event) => self.apply(shard, &event),
            Mail::Acknowledged(from, number, applied_at) => {
                self.director.acknowledged(now, from, number, applied_at);
            }
            Mail::Answer(user, input) => self.judge(user, input),
            Mail::TicketIssued(user, question, ticket) => {
                self.local_mut(user).ticket_issued(SHOW, user, question, ticket);
            }
            Mail::Present(user, on) => self.local_mut(user).present(SHOW, user, on, now),
            Mail::Absent(user) => {
                self.local_mut(user).absent(SHOW, user, now);
            }
            Mail::Drained(from, question) => {
                self.locals[shard.index()].drained(SHOW, from, question);
                self.drained.insert((question, shard, from));
                self.at(now, shard, Mail::Work);
            }
            Mail::Report(report) => match report {
                Report::Closed(summary) => self.director.closed(now, summary),
                Report::Frozen(summary) => self.director.frozen(now, summary),
                Report::Paid(summary) => self.director.paid(summary),
                Report::Rain(summary) => self.director.rain_reported(now, summary),
            },
            Mail::Tap(user, place, option, ticket, retry) => {
                self.tap(shard, user, place, option, ticket, retry);
            }
            Mail::Work => self.work(shard),
        }
    }

    fn apply(&mut self, shard: ShardId, event: &NumberedEvent) {
        let local = &mut self.locals[shard.index()];
        local.apply(event).unwrap();
        let now = self.now;
        self.post(shard, self.home, Mail::Acknowledged(shard, event.number, now));
        let released: Vec<(UserId, AnswerInput)> = self
            .held
            .iter()
            .filter(|(user, _)| self.placement.user_home(**user) == shard)
            .map(|(user, input)| (*user, *input))
            .collect();
        for (user, input) in released {
            self.held.remove(&user);
            self.judge(user, input);
        }
        let replica = self.locals[shard.index()].show(SHOW).unwrap();
        if let Some(question) = replica.must_drain()
            && self.posted_drained[shard.index()] != Some(question)
        {
            self.posted_drained[shard.index()] = Some(question);
            for to in ShardId::all(self.setup.shard_count) {
                self.post(shard, to, Mail::Drained(shard, question));
            }
        }
        self.at(now, shard, Mail::Work);
    }

    pub(crate) fn look_for_work(&mut self, shard: ShardId) {
        self.at(self.now, shard, Mail::Work);
    }

    /// A tap reaches the connection's shard.
    fn tap(
        &mut self,
        shard: ShardId,
        user: UserId,
        place: usize,
        option: OptionIndex,
        ticket: Option<TicketStamp>,
        retry: bool,
    ) {
        let Some(replica) = self.locals[shard.index()].show(SHOW) else { return };
        let Some(shown) = replica.current_question().copied() else { return };
        let question = shown.question;
        if question.index() != place {
            return;
        }
        let (now, to) = (self.now, self.placement.user_home(user));
        let sender_applied = replica.last_event();
        if retry {
            let stamp = TicketStamp { option, arrived: now };
            self.post(shard, to, Mail::TicketIssued(user, question, stamp));
            let back = shown.answer_by + Duration::from_millis(200);
            self.at(back, shard, Mail::Tap(user, place, option, Some(stamp), false));
            return;
        }
        let input = AnswerInput { question, option, arrived: now, ticket, sender_applied };
        self.post(shard, to, Mail::Answer(user, input));
    }

    fn judge(&mut self, user: UserId, input: AnswerInput) {
        let outcome = self.local_mut(user).answer(SHOW, user, &input);
        let what = match outcome {
            AnswerOutcome::Recorded(sealed) => {
                self.note_result(user, input.question, sealed);
                "result".into()
            }
            AnswerOutcome::Repeated(sealed) => {
                self.note_result(user, input.question, sealed);
                "result again".into()
            }
            AnswerOutcome::Ahead => {
                self.held.entry(user).or_insert(input);
                return;
            }
            AnswerOutcome::Deferred | AnswerOutcome::StillDeferred => return,
            AnswerOutcome::Refused(reason) => format!("refused: {reason}"),
        };
        self.seen.push(Seen { at: self.now, user, what });
    }

    fn note_result(&mut self, user: UserId, question: QuestionIndex, sealed: SealedResult) {
        let results = self.results.entry((user, question)).or_default();
        if results.last() != Some(&sealed) {
            results.push(sealed);
        }
    }

    fn work(&mut self, shard: ShardId) {
        let replica = self.locals[shard.index()].show(SHOW).unwrap();
        if replica.phase() == Phase::Closing && replica.has_work() {
            let question = replica.must_drain().unwrap();
            let all = ShardId::all(self.setup.shard_count)
                .all(|from| self.drained.contains(&(question, shard, from)));
            assert!(all, "nobody is settled before every shard has drained");
        }
        let progress = self.locals[shard.index()].settle_slice(SHOW, 5);
        for result in progress.results {
            self.note_result(result.user, result.question, result.sealed);
            let what = "pushed result".into();
            self.seen.push(Seen { at: self.now, user: result.user, what });
        }
        if let Some(report) = progress.report {
            self.post(shard, self.home, Mail::Report(report));
        }
        if progress.more {
            self.at(self.now + Duration::from_millis(1), shard, Mail::Work);
        }
    }

    /// Everything that players can ask for, as words; ciphertext and commitments left out.
    pub(crate) fn look(&mut self) {
        for user in self.users() {
            let Some(mut snapshot) = self.local(user).snapshot(SHOW, user) else { continue };
            let silent = matches!(
                snapshot.question.map(|at| plan(self.setup.seed, user, at.index()).act),
                Some(Act::Silent | Act::Away)
            );
            self.leaks += u64::from(silent && snapshot.recorded_option.is_some());
            let sealed = snapshot.recorded_result.take().map(|sealed| sealed.ciphertext.len());
            if let Some(open) = &mut snapshot.open_question {
                open.commitment = [0; 32];
            }
            let balance = self.local(user).balance(user);
            let what = format!("{snapshot:?} sealed {sealed:?} balance {balance}");
            self.seen.push(Seen { at: self.now, user, what });
        }
    }

    /// Runs on until the show is in `phase`, looking around every 250 ms.
    fn run_to(&mut self, phase: Phase) {
        let end = self.now + Duration::from_secs(60);
        while self.director.phase() != phase {
            assert!(self.now < end, "the show hangs while {}", self.director.phase());
            self.run_until(self.now + Duration::from_millis(250));
            self.look();
        }
        // Let the event reach everybody.
        self.run_until(self.now + Duration::from_millis(250 + self.setup.slow_shard_ms));
        self.look();
    }

    /// Plays a whole show by the setup.
    pub(crate) fn play(&mut self) {
        self.begin();
        for place in 0..self.setup.question_count {
            self.play_question(place);
            for user in self.users().filter(|user| place == 0 && is_latecomer(*user)) {
                self.join(user);
            }
        }
        self.order(Command::Settle);
        self.run_to(Phase::Settled);
        self.order(Command::End);
        self.settle_down();
    }

    pub(crate) fn begin(&mut self) {
        self.spread();
        self.run_until(self.now + Duration::from_millis(100 + self.setup.slow_shard_ms));
        self.order(Command::OpenLobby);
        for user in self.users() {
            for _ in 0..beginning_cards(self.setup.seed, user) {
                self.local_mut(user).grant_card(user).unwrap();
            }
            if !is_latecomer(user) {
                self.join(user);
            }
        }
    }

    pub(crate) fn play_question(&mut self, place: usize) {
        let question = QuestionIndex(u16::try_from(place).unwrap());
        self.order(Command::Publish);
        for (phase, command) in
            [(Phase::Open, None), (Phase::Closed, Some(Command::Reveal)), (Phase::Revealed, None)]
        {
            if phase == Phase::Open {
                // In the middle of the answers.
                self.run_until(self.now + Duration::from_millis(1_500));
                self.look();
            } else {
                self.run_to(phase);
            }
            if self.setup.voids.get(&place) == Some(&phase) {
                self.order(Command::Void);
                self.run_until(self.now + Duration::from_secs(4));
                self.look();
                return;
            }
            if let Some(command) = command {
                self.order(command);
            }
        }
        if self.setup.rejudges.contains(&place) {
            let correct = OptionIndex((self.setup.correct(place).0 + 1) % 3);
            self.order(Command::Rejudge { question, correct, confirm: true });
            self.run_to(Phase::Revealed);
        }
    }
}
