//! What is seen between the shards, and the promises about time: no answer in time is refused,
//! nobody is settled before the barrier, replies go where they belong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::ids::{EventNumber, QuestionIndex, RecordNumber, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::replica::AnswerInput;
use crate::quiz::report::Report;
use crate::shard::mail::{Batch, Mail};
use crate::shard::operator::ShowStatus;
use crate::shard::quiz_mail::QuizMail;
use crate::shard::record::Record;
use crate::shard::session::State;
use crate::sim::checkers::Promise;
use crate::sim::checkers::seals::Opened;
use crate::sim::identity::Applied;
use crate::sim::truth::{Reply, Taken};
use crate::sim::world::World;
use crate::wire::close::CloseReason;

/// How long a reply may take on a connection that lives.
const REPLY_PATIENCE: Duration = Duration::from_millis(4_500);

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// By host and show: the last event applied.
    applied: Vec<Vec<u64>>,
    /// By host and show: the last event that the room was told of.
    queued: Vec<Vec<u64>>,
    /// By show and question: when each host had it.
    pub(crate) opened_at: BTreeMap<(usize, u16), Vec<Option<Time>>>,
    /// Show, question, receiver, sender of each drained mark that was delivered.
    drained: BTreeSet<(usize, u16, usize, usize)>,
    /// The record of each answer.
    records: BTreeMap<(usize, u16, UserId), u64>,
    /// Who was given a ticket, with the earliest stamp.
    ticketed: BTreeMap<(usize, u16, UserId), Time>,
    /// By show and question: when each host had queued it for those in the room.
    pub(crate) queued_at: BTreeMap<(usize, u16), Vec<Option<Time>>>,
    /// By show, question and player: on which connections the question was heard, and when first.
    pub(crate) heard: BTreeMap<(usize, u32, usize), Vec<(usize, Time)>>,
    /// Results of questions that were judged again, which came before their home had reported.
    unreported: Vec<(usize, QuestionIndex, Opened)>,
    /// By player: where and when its revocation was applied.
    pub(crate) revoked: BTreeMap<usize, Vec<Option<Applied>>>,
    /// By show, question and player: on which connections its key was heard.
    pub(crate) keyed: BTreeSet<(usize, u32, usize, usize)>,
    /// Questions, by show, that were closing when the process began again: marks of the run before
    /// are not known.
    exempt: BTreeSet<(usize, u16)>,
    /// Replies that came to an older connection than the one that asked.
    stale: Vec<(usize, usize, Time)>,
}

/// The times of a question, as its director decided them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) opened: EventNumber,
    pub(crate) opened_at: Time,
    pub(crate) show_by: Time,
    pub(crate) answer_by: Time,
    close_after: Time,
}

impl Watch {
    pub(crate) fn new(hosts: usize, shows: usize) -> Watch {
        let none = vec![vec![0; shows]; hosts];
        Watch { applied: none.clone(), queued: none, ..Watch::default() }
    }

    /// By show: the last event that a host has applied.
    pub(crate) fn applied_at(&self, host: usize) -> &[u64] {
        self.applied.get(host).map_or(&[], Vec::as_slice)
    }

    /// The process ended: what is on record counts from now on as durable, the rest never was. The
    /// last record that was found tells for a user which is which.
    pub(crate) fn roll_back(&mut self, found: impl Fn(UserId) -> u64) {
        self.records.retain(|(_, _, user), number| *number <= found(*user));
        self.records.values_mut().for_each(|number| *number = 0);
    }

    /// Another run begins with so many hosts, all of which stand at these events.
    pub(crate) fn begin_again(&mut self, hosts: usize, ends: Vec<u64>) {
        self.applied = vec![ends.clone(); hosts];
        self.queued = vec![ends; hosts];
        self.drained.clear();
        self.revoked.clear();
    }

    /// A question is open when the process begins again: every host has it.
    pub(crate) fn offered_by_all(&mut self, place: (usize, u16), hosts: usize, at: Time) {
        self.opened_at.insert(place, vec![Some(at); hosts]);
        self.queued_at.insert(place, vec![Some(at); hosts]);
    }

    /// What was settled before the process began again is not seen once more.
    pub(crate) fn exempt_from_barrier(&mut self, place: (usize, u16)) {
        self.exempt.insert(place);
    }

    fn ticketed(&mut self, place: (usize, u16, UserId), stamp: Time) {
        let first = self.ticketed.entry(place).or_insert(stamp);
        *first = stamp.min(*first);
    }

    pub(crate) fn heard(
        &mut self,
        show: usize,
        question: u32,
        player: usize,
        link: usize,
        at: Time,
    ) {
        let heard = self.heard.entry((show, question, player)).or_default();
        if !heard.iter().any(|(known, _)| *known == link) {
            heard.push((link, at));
        }
    }
}

impl World {
    fn place_of(&self, show: ShowId) -> usize {
        let place = self.setup.shows.iter().position(|it| it.id == show);
        place.expect("there are no other shows")
    }

    /// What the director has decided about a question so far.
    pub(crate) fn times(&self, show: usize, question: QuestionIndex) -> Option<Times> {
        let mut times: Option<Times> = None;
        for event in &self.events[show] {
            match &event.event {
                ShowEvent::QuestionOpened(opening) if opening.question == question => {
                    times = Some(Times {
                        opened: event.number,
                        opened_at: event.decided_at,
                        show_by: opening.show_by,
                        answer_by: opening.answer_by,
                        close_after: Time::NEVER,
                    });
                }
                ShowEvent::QuestionExtended { question: it, show_by, answer_by }
                    if *it == question =>
                {
                    if let Some(times) = &mut times {
                        (times.show_by, times.answer_by) = (*show_by, *answer_by);
                    }
                }
                ShowEvent::QuestionClosing { question: it, answer_by, close_after, .. }
                    if *it == question =>
                {
                    if let Some(times) = &mut times {
                        (times.answer_by, times.close_after) = (*answer_by, *close_after);
                    }
                }
                _ => {}
            }
        }
        times
    }

    /// The question that takes answers by the director's word, and until when.
    fn open_until(&self, show: usize) -> Option<Time> {
        let last = self.events[show].iter().rev().find_map(|event| match &event.event {
            ShowEvent::QuestionOpened(opening) => Some(Some(opening.answer_by)),
            ShowEvent::QuestionExtended { answer_by, .. } => Some(Some(*answer_by)),
            ShowEvent::QuestionClosed { .. } | ShowEvent::QuestionVoided { .. } => Some(None),
            _ => None,
        });
        last.flatten()
    }

    /// A shard is about to pause.
    pub(crate) fn note_pause(&mut self, host: usize, until: Time) {
        let crosses = (0..self.setup.shows.len()).any(|show| {
            self.open_until(show).is_some_and(|answer_by| self.now < answer_by && answer_by < until)
        });
        if crosses {
            let on_their_way = self.links.iter().any(|it| it.host == host && it.server_open);
            self.races.pauses_across_deadline += u64::from(on_their_way);
        }
    }

    /// A batch is about to be taken in by a shard.
    pub(crate) fn see_mail(&mut self, host: usize, batch: &Batch) {
        for mail in &batch.mail {
            match mail {
                Mail::Quiz(QuizMail::Drained { show, question, .. }) => {
                    let place = (self.place_of(*show), question.0, host, batch.from.index());
                    self.watch.drained.insert(place);
                }
                Mail::Quiz(QuizMail::Answer(answer)) => {
                    let applied = self.hosts[host].shard.applied_event(answer.show);
                    let overtook = answer.input.sender_applied > applied;
                    self.races.answers_overtook += u64::from(overtook);
                    let place = self.place_of(answer.show);
                    let record = (place, answer.input.question.0, answer.user);
                    let durable = self.hosts[host].durable_upto;
                    let waits = self.watch.records.get(&record).is_some_and(|it| *it > durable);
                    self.races.repeats_before_durable += u64::from(waits);
                }
                Mail::Quiz(QuizMail::TicketIssued { show, user, question, ticket, .. }) => {
                    let place = self.place_of(*show);
                    self.watch.ticketed((place, question.0, *user), ticket.arrived);
                }
                Mail::RoomFrames(frames) => {
                    let waits = frames.after.is_some_and(|(show, number)| {
                        number > self.hosts[host].shard.applied_event(show)
                    });
                    self.races.frames_waited += u64::from(waits);
                }
                _ => {}
            }
        }
    }

    /// A shard reads out what a replaced connection had received.
    pub(crate) fn see_read_out(&mut self, link: usize) {
        let waits = self.links[link].has_unread_answer();
        self.races.replaced_while_answering += u64::from(waits);
    }

    /// A shard has applied more events: all, or those up to the one that a record names.
    pub(crate) fn see_applied(&mut self, host: usize, upto: Option<(usize, u64)>) {
        for show in 0..self.setup.shows.len() {
            let end = match upto {
                Some((place, number)) if place == show => number,
                Some(_) => continue,
                None => self.hosts[host].shard.applied_event(self.setup.shows[show].id).0,
            };
            while self.watch.applied[host][show] < end {
                let index = usize::try_from(self.watch.applied[host][show]).unwrap_or(usize::MAX);
                self.watch.applied[host][show] += 1;
                let Some(event) = self.events[show].get(index).cloned() else {
                    return self.findings.broken(Promise::Progress, || {
                        format!("host {host} applied event {} that nobody decided", index + 1)
                    });
                };
                if let ShowEvent::QuestionOpened(opening) = &event.event {
                    let hosts = self.hosts.len();
                    let place = (show, opening.question.0);
                    let at = self.watch.opened_at.entry(place).or_insert_with(|| vec![None; hosts]);
                    at[host] = Some(self.now);
                }
                self.model.applied(host, show, &event);
            }
        }
    }

    /// A shard may have queued questions for those who are in the room.
    pub(crate) fn see_queued(&mut self, host: usize) {
        for show in 0..self.setup.shows.len() {
            let end = self.hosts[host].shard.queued_event(self.setup.shows[show].id).0;
            while self.watch.queued[host][show] < end {
                let index = usize::try_from(self.watch.queued[host][show]).unwrap_or(usize::MAX);
                self.watch.queued[host][show] += 1;
                let Some(ShowEvent::QuestionOpened(opening)) =
                    self.events[show].get(index).map(|event| &event.event)
                else {
                    continue;
                };
                let (hosts, place) = (self.hosts.len(), (show, opening.question.0));
                let at = self.watch.queued_at.entry(place).or_insert_with(|| vec![None; hosts]);
                at[host] = Some(self.now);
            }
        }
    }

    /// A shard has given a record to its journal.
    pub(crate) fn see_record(&mut self, host: usize, number: RecordNumber, record: Record) {
        match record {
            Record::Event(event) => self.see_decision(*event),
            Record::Answer { show, user, input, applied, .. } => {
                let place = self.place_of(show);
                self.see_applied(host, Some((place, applied.0)));
                self.model.answered(host, place, user, &input, &mut self.findings);
                let key = (place, input.question.0, user);
                let overtook = self.watch.records.contains_key(&key);
                self.races.late_repeat_first += u64::from(overtook);
                self.watch.records.entry(key).or_insert(number.0);
                self.check_stamp(place, user, &input);
            }
            Record::Joined { show, user, since, applied, .. } => {
                let place = self.place_of(show);
                self.see_applied(host, Some((place, applied.0)));
                self.model.joined(host, place, user, since, &mut self.races);
            }
            Record::Absent { .. }
            | Record::TicketIssued { .. }
            | Record::Drained { .. }
            | Record::Worked { .. }
            | Record::Prizes { .. }
            | Record::CardsUsed { .. }
            | Record::Standing(_)
            | Record::Offered { .. }
            | Record::Covered { .. } => {}
            // Each as it is applied: one step may apply the last of a show and forget it.
            Record::Applied { show, number } => {
                let place = self.place_of(show);
                self.see_applied(host, Some((place, number.0)));
            }
            Record::Money { user, what, .. } => self.see_money(host, number.0, user, &what),
            Record::Reported { show, report } => self.see_report(host, show, &report),
            Record::CardGranted { user, .. } => self.model.granted(user),
            Record::CardsExpired { user, cards, .. } => {
                self.races.expiries += 1;
                self.model.expired(host, user, cards, &mut self.findings);
            }
        }
    }

    /// The stamp of an answer on record is one that its player's bytes were given.
    fn check_stamp(&mut self, show: usize, user: UserId, input: &AnswerInput) {
        let sent = self
            .answers
            .iter()
            .filter(|it| it.user == user && it.show == show && it.question == input.question);
        let stamped = |stamp: Time, ticket: Option<bool>| {
            sent.clone().any(|it| {
                it.option == input.option
                    && ticket.is_none_or(|ticket| it.has_ticket == ticket)
                    && it.taken.is_some_and(|taken| taken.stamp == stamp)
            })
        };
        let is_true = match input.ticket {
            None => stamped(input.arrived, None),
            Some(ticket) => stamped(ticket.arrived, None) && stamped(input.arrived, Some(true)),
        };
        // The shard may journal within the very step that takes the bytes in.
        let at_once = self.answer_in_hand.is_some_and(|stamp| stamp == input.arrived);
        self.findings.check(is_true || at_once, Promise::InTime, || {
            format!("user {user} is on record with a stamp that it never got: {input:?}")
        });
        if let Some(times) = self.times(show, input.question) {
            let late = input.arrived > times.answer_by;
            self.races.tickets_redeemed += u64::from(input.ticket.is_some());
            self.races.tickets_after_deadline += u64::from(late && input.ticket.is_some());
            self.races.answers_late += u64::from(late && input.ticket.is_none());
        }
    }

    /// A shard has taken in the last byte of an answer.
    pub(crate) fn answer_taken(&mut self, answer: usize, taken: Taken) {
        self.answers[answer].taken = Some(taken);
        let it = &self.answers[answer];
        if taken.deferred {
            self.watch.ticketed((it.show, it.question.0, it.user), taken.stamp);
        }
        let (show, question, arrived_at) = (it.show, it.question, it.arrived_at);
        let favours = arrived_at.is_some_and(|at| taken.stamp <= at);
        self.findings.check(favours, Promise::InTime, || {
            format!("stamp {} is later than the arrival at {arrived_at:?}", taken.stamp)
        });
        if let Some(times) = self.times(show, question) {
            let saved = taken.at > times.answer_by && taken.stamp <= times.answer_by;
            self.races.stamps_saved += u64::from(saved);
            self.races.answers_at_unopened += u64::from(taken.applied < times.opened);
            let near = taken.stamp.since(times.answer_by).max(times.answer_by.since(taken.stamp));
            self.races.answers_at_edge += u64::from(near < Duration::from_millis(5));
        }
    }

    /// A player was told something about an answer.
    pub(crate) fn reply_came(&mut self, link: usize, answer: usize, reply: Reply) {
        let it = &mut self.answers[answer];
        it.reply = Some(reply);
        let asked_on = it.link;
        if asked_on > link {
            self.watch.stale.push((asked_on, link, self.now));
        }
        self.races.replies_to_newer_session += u64::from(asked_on < link);
    }

    /// A player was told that its answer is on record.
    pub(crate) fn acknowledged(&mut self, answer: usize, _has_result: bool) {
        self.races.answers_acknowledged += 1;
        let it = &self.answers[answer];
        let (show, question, user) = (it.show, it.question, it.user);
        if self.crashes.is_some() {
            // What is acknowledged too early is lost sooner or later.
            return self.remember_acknowledged(show, question, user);
        }
        let home = self.home_of(user);
        let durable = self.hosts[home].durable_upto;
        let record = self.watch.records.get(&(show, question.0, user)).copied();
        // Without a record the seal must say that there was no answer: checked when it opens.
        self.findings.check(record.is_none_or(|it| it <= durable), Promise::Counting, || {
            format!("user {user} was acknowledged before record {record:?} was durable: {durable}")
        });
    }

    /// A seal was opened: it says what the rules say.
    pub(crate) fn result_opened(&mut self, show: usize, question: QuestionIndex, opened: Opened) {
        self.races.results_opened += 1;
        let Opened { user, revision, record } = opened;
        let known = self.model.verdicts.get(&(show, question.0, user, revision)).copied();
        if known.is_none() && revision > 0 && self.quiet_since.is_none() {
            // Judged again in slices: some results may be here before their home reports.
            return self.watch.unreported.push((show, question, opened));
        }
        let said = (record.verdict, record.option, record.passed);
        self.findings.check(known == Some(said), Promise::Seals, || {
            format!("user {user}, question {question}: sealed {record:?}, by the rules {known:?}")
        });
        let player = usize::try_from(user.0 - 1).unwrap_or(usize::MAX);
        if !record.verdict.passes() {
            self.players[player].shows[show].is_out = true;
        }
    }

    fn see_report(&mut self, host: usize, show: ShowId, report: &Report) {
        let place = self.place_of(show);
        match report {
            Report::Closed(summary) => {
                if summary.revision == 0 {
                    self.check_barrier(host, place, summary.question);
                    self.check_offers(host, place, summary.question);
                }
                let shard = &self.hosts[host].shard;
                let actual = |user| shard.answer_record(show, user);
                let (races, findings) = (&mut self.races, &mut self.findings);
                self.model.closed(host, place, summary, actual, races, findings);
            }
            Report::Frozen(_) | Report::Rain(_) => {}
            Report::Paid(summary) => {
                self.model.paid(host, place, summary.paid, &mut self.findings);
            }
        }
    }

    fn check_barrier(&mut self, host: usize, show: usize, question: QuestionIndex) {
        if self.watch.exempt.contains(&(show, question.0)) {
            return;
        }
        let missing = (0..self.hosts.len()).find(|from| {
            *from != host && !self.watch.drained.contains(&(show, question.0, host, *from))
        });
        self.findings.check(missing.is_none(), Promise::Barrier, || {
            format!("host {host} settled question {question} before host {missing:?} had drained")
        });
        if let Some(times) = self.times(show, question) {
            let own = self.hosts[host].received_all;
            self.findings.check(own > times.close_after, Promise::Barrier, || {
                format!("host {host} settled question {question} before it had drained itself")
            });
        }
    }

    fn see_decision(&mut self, event: NumberedEvent) {
        let show = self.place_of(event.show);
        self.events[show].push(event.clone());
        let twin = self.setup.twin;
        match &event.event {
            ShowEvent::QuestionClosed { question, counts, in_play } => {
                let findings = &mut self.findings;
                self.model.question_closed(show, *question, counts, *in_play, findings);
                self.check_in_time(show, *question);
                self.check_acknowledged_count(show, *question);
                self.check_offered_everywhere(show, *question);
            }
            ShowEvent::Rain(rain) => self.see_rain(event.show, rain),
            ShowEvent::QuestionPushed(_) => self.races.pushes += 1,
            ShowEvent::QuestionWithdrawn { .. } => self.races.withdrawals += 1,
            ShowEvent::QuestionVoided { .. } => self.races.voided += 1,
            ShowEvent::Rejudging { .. } => self.races.rejudged += 1,
            ShowEvent::Cancelled => self.races.cancelled += 1,
            ShowEvent::Settled(settlement) => {
                self.races.settled += 1;
                self.races.without_winner += u64::from(settlement.winners == 0);
                self.model.settled(show, settlement, &mut self.findings);
            }
            ShowEvent::Revealed(reveal) if twin == Some((show, reveal.question.index())) => {
                if let Some(tape) = &mut self.tape {
                    tape.is_over = true;
                }
            }
            _ => {}
        }
    }

    /// No answer in time is refused: whoever may play and gave one, in the room, is on record.
    fn check_in_time(&mut self, show: usize, question: QuestionIndex) {
        let Some(times) = self.times(show, question) else { return };
        let option_count = self.setup.shows[show].questions[question.index()].options.len();
        for place in 0..self.answers.len() {
            let sent = &self.answers[place];
            let Some(taken) = sent.taken else { continue };
            let counts = taken.run == self.run_number()
                && sent.show == show
                && sent.question == question
                && sent.option.index() < option_count
                && sent.in_room
                && taken.state == Some(State::InRoom)
                && taken.applied >= times.opened
                && sent.arrived_at.is_some_and(|at| at <= times.answer_by);
            if !counts {
                continue;
            }
            let (user, reply, sent_option) = (sent.user, sent.reply, sent.option);
            // A ticket binds what arrived later than its own answer.
            let ticket = self.watch.ticketed.get(&(show, question.0, user));
            let ticketed =
                ticket.is_some_and(|first| *first <= taken.stamp) || reply == Some(Reply::Retry);
            let home = self.home_of(user);
            if self.model.owes_answer(home, show, user) {
                self.findings.check(ticketed, Promise::InTime, || {
                    format!(
                        "user {user} answered in time and is not on record: {:?}",
                        self.answers[place]
                    )
                });
            } else if !self.model.is_player(home, show, user) {
                self.findings.broken(Promise::InTime, || {
                    format!(
                        "user {user} answered from the show's room and never joined: {:?}",
                        self.answers[place]
                    )
                });
            } else if let Some((option, stamp, _)) = self.model.answer(home, show, user) {
                // The first on record binds: another option may be too late for that.
                let in_time = stamp <= times.answer_by || ticketed || option != sent_option;
                self.findings.check(in_time, Promise::InTime, || {
                    format!(
                        "user {user} answered in time and is on record as late ({stamp}): {:?}",
                        self.answers[place]
                    )
                });
            }
        }
    }

    /// The show is settled and every shard has paid.
    pub(crate) fn show_is_paid(&mut self, show: usize, status: &ShowStatus) {
        if let Some(settlement) = &status.settlement {
            self.model.check_paid(show, settlement, &mut self.findings);
        }
    }

    /// All shows are over: nobody says anything new from here on.
    pub(crate) fn players_fall_silent(&mut self) {
        self.races.in_both_shows += self.model.in_both_shows();
        self.races.two_shows += u64::from(self.setup.shows.len() > 1);
    }

    /// At the end of a run: what is owed was given, and cards and money are conserved.
    pub(crate) fn finish(&mut self) {
        for host in &self.hosts {
            let counters = host.shard.counters();
            self.races.mail_waited += counters.mail_waited;
            self.races.timeouts += counters.timeouts;
            self.races.slow_readers_closed += counters.closes[CloseReason::TooSlow as usize];
        }
        if self.findings.violations.iter().any(|it| it.promise == Promise::Progress) {
            return;
        }
        for (show, question, opened) in std::mem::take(&mut self.watch.unreported) {
            self.quiet_since.get_or_insert(self.now);
            self.result_opened(show, question, opened);
        }
        self.check_replies();
        self.check_tokens_ended();
        self.check_gifts();
        self.check_card_orders(Promise::Cards);
        for (place, host) in self.hosts.iter().enumerate() {
            self.heard[place].check(place, &host.shard, &mut self.findings);
        }
        for (user, wallet) in &self.model.wallets {
            let home = self.placement.user_home(*user).index();
            let entry = self.hosts[home].shard.user_entry(*user);
            let (cards, balance) = entry.map_or((0, 0), |entry| (entry.cards, entry.balance.0));
            self.findings.check(cards == wallet.cards, Promise::Cards, || {
                format!("user {user} holds {cards} cards, by the rules {}", wallet.cards)
            });
            self.findings.check(balance == wallet.balance, Promise::Money, || {
                format!("user {user} has {balance} cents, by the rules {}", wallet.balance)
            });
        }
    }

    fn check_replies(&mut self) {
        for (place, link) in self.links.iter().enumerate() {
            let waits = link.is_usable() || link.is_short();
            let lives = waits && link.server_open && link.stalled_until < self.now;
            // A reader that stalled may still be taking what was owed to it before.
            let all_sent =
                link.conn.is_some_and(|conn| self.hosts[link.host].shard.has_sent_replies(conn));
            if !lives || !all_sent || link.in_flight > 0 {
                continue;
            }
            for (sequence, (asked, at)) in &link.asked {
                let waited = self.now.since(*at);
                self.findings.check(waited < REPLY_PATIENCE, Promise::Sessions, || {
                    format!("link {place} lives and got no reply to {sequence} ({asked:?}) of {at}")
                });
            }
        }
        for (asked_on, came_on, at) in std::mem::take(&mut self.watch.stale) {
            let link = &self.links[asked_on];
            let lived = !link.was_replaced && link.ended_at > at + Duration::from_secs(2);
            self.findings.check(!lived || !link.server_open, Promise::Sessions, || {
                format!("link {came_on} got the reply of the newer link {asked_on} at {at}")
            });
        }
    }
}
