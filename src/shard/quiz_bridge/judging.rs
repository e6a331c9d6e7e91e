//! The users' home: events applied, answers judged, silence settled, in slices.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::bugs::{self, Bug};
use crate::base::ids::{ConnId, EventNumber, RoomId, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::judge::RefusalReason;
use crate::quiz::local::JoinError;
use crate::quiz::phase::Phase;
use crate::quiz::replica::{AnswerInput, AnswerOutcome, Applied, PlayerResult};
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::held::Post;
use crate::shard::mail::Mail;
use crate::shard::quiz_mail::{AnswerMail, AnswerReply, AnswerVerdict, QuizMail};
use crate::shard::record::Record;
use crate::shard::registry::Session;

/// Players whose silence is settled in one slice, at some 700 ns each for cold memory and the seal:
/// below a turn's 250 µs, and half as many results as a turn sends.
const SLICE_PLAYERS: usize = 256;
/// No slice while more replies than this wait to be sent: two turns' worth. What results become
/// elsewhere is as much as here, because users are spread evenly.
const OUTBOX_WAITING_MAX: usize = 1_024;
/// How often live figures go to the director while a question is open.
const TALLY_INTERVAL: Duration = Duration::from_millis(200);

impl Shard {
    /// A show event has come: applied, acknowledged, told, and what waited for it is taken up.
    ///
    /// # Panics
    /// If it cannot be applied: mail between shards is ordered and lossless, so the process must
    /// not go on.
    pub(super) fn apply_event(&mut self, event: &NumberedEvent) {
        let show = event.show;
        match self.quiz.local.apply(event) {
            Ok(Applied::Fresh) => {}
            Ok(Applied::Repeated) => return,
            Err(error) => panic!("applying event {} of show {show}: {error}", event.number),
        }
        self.counters.show_events += 1;
        if event.event == ShowEvent::Cancelled {
            // Before the event is: where that is on record, this is.
            self.record_cards_of_cancelled(show);
        }
        self.journal(Record::Applied { show, number: event.number }, Vec::new());
        self.quiz.has_work = true;
        self.quiz.tally_due.get_or_insert(self.now);
        match &event.event {
            ShowEvent::Announced(definition) => self.carry_show(definition.room, show),
            ShowEvent::QuestionOpened(_) if self.has_members_of_show(show) => {
                self.quiz.unqueued.insert(show, event.number);
            }
            // Nobody is here to be offered it.
            ShowEvent::QuestionOpened(_) => self.record_offer(show),
            ShowEvent::QuestionClosing { close_after, .. } => {
                self.quiz.draining.insert(show, *close_after);
                self.record_coverage(show);
            }
            ShowEvent::QuestionVoided { .. } | ShowEvent::Cancelled => {
                self.quiz.draining.remove(&show);
                self.quiz.unqueued.remove(&show);
                self.quiz.early.forget(show);
                self.record_coverage(show);
            }
            ShowEvent::QuestionPushed(_) | ShowEvent::QuestionWithdrawn { .. } => {
                self.quiz.early.forget(show);
            }
            ShowEvent::LobbyOpened
            | ShowEvent::QuestionExtended { .. }
            | ShowEvent::QuestionClosed { .. }
            | ShowEvent::Revealed(_)
            | ShowEvent::Rejudging { .. }
            | ShowEvent::Rejudged { .. }
            | ShowEvent::Paused
            | ShowEvent::Resumed
            | ShowEvent::Settling
            | ShowEvent::Settled(_)
            | ShowEvent::Ended => {}
            ShowEvent::Rain(event) => self.rain_applied(show, event),
        }
        self.acknowledge(show);
        self.tell_room(event);
        self.release_room_frames();
        self.take_up_waiting(show);
        self.post_drained();
        if matches!(event.event, ShowEvent::Ended) {
            self.forget_show(show);
        }
    }

    /// A room carries a show from now on, unless the last event of an earlier one is still to come.
    fn carry_show(&mut self, room: RoomId, show: ShowId) {
        if *self.quiz.by_room.entry(room).or_insert(show) == show {
            // Whoever gathered in the room before its show was announced plays too.
            for (id, user) in self.members_of(room) {
                self.quiz_joined_room(id, user, room);
            }
        }
    }

    /// A show is over: its room is free for one that was announced meanwhile.
    fn forget_show(&mut self, show: ShowId) {
        let room = self.quiz.local.show(show).map(|replica| replica.definition().room);
        self.quiz.forget(show);
        let next = self.quiz.local.shows().map(|replica| replica.definition());
        let next = next.filter(|next| Some(next.room) == room).map(|next| (next.room, next.id));
        if let Some((room, next)) = next.min() {
            self.carry_show(room, next);
        }
    }

    fn has_members_of_show(&self, show: ShowId) -> bool {
        let replica = self.quiz.local.show(show);
        replica.is_some_and(|replica| self.has_members(replica.definition().room))
    }

    /// Tells the director how far this shard is — once a question is queued for everybody who is
    /// in the room here: a shard that only knows it has offered it to nobody.
    pub(super) fn acknowledge(&mut self, show: ShowId) {
        if self.quiz.unqueued.contains_key(&show) && !bugs::active(Bug::AcknowledgeUnqueued) {
            return;
        }
        let home = self.placement.show_home(show);
        let (event, applied_at) = (self.quiz.applied(show), self.now);
        let mail = QuizMail::Acknowledged { show, event, applied_at };
        self.post(home, Mail::Quiz(mail));
    }

    /// A message of a room, which tells of a show event, is queued for everybody who is in it.
    pub(crate) fn quiz_queued(
        &mut self,
        after: Option<(ShowId, EventNumber)>,
        lane: Lane,
        version: u64,
    ) {
        let Some((show, number)) = after else { return };
        if lane == Lane::Mid {
            return self.quiz.early.queued(show, version);
        }
        self.quiz.queued.insert(show, number);
        if self.quiz.unqueued.get(&show).is_none_or(|opened| *opened > number) {
            return;
        }
        self.begin_coverage(show, version);
        if self.opens_by_key(show) {
            // Who does not have what the key opens gets the question whole first.
            return self.quiz.early.begin_handing_out(show);
        }
        self.quiz_offered(show);
    }

    /// The open question is queued for everybody who was in the room when it came.
    pub(super) fn quiz_offered(&mut self, show: ShowId) {
        self.quiz.unqueued.remove(&show);
        self.record_offer(show);
        self.acknowledge(show);
    }

    /// Every byte that reached the host before `until` has been taken in.
    pub(crate) fn quiz_received_all(&mut self, until: Time) {
        self.quiz.received_all = until;
        self.post_drained();
    }

    /// Tells every shard, behind everything that was received in time, that this was all.
    fn post_drained(&mut self) {
        let until = self.quiz.received_all;
        let drained = self.quiz.draining.iter().filter(|(_, close_after)| until > **close_after);
        for show in drained.map(|(show, _)| *show).collect::<Vec<_>>() {
            self.quiz.draining.remove(&show);
            let applied = self.quiz.applied(show);
            let question = self.quiz.local.show(show).and_then(|replica| replica.must_drain());
            let Some(question) = question else {
                continue;
            };
            for shard in ShardId::all(self.placement.shard_count()) {
                self.post(shard, Mail::Quiz(QuizMail::Drained { show, question, applied }));
            }
        }
    }

    /// A user is in a show's room.
    pub(super) fn player_joined(
        &mut self,
        from: ShardId,
        show: ShowId,
        user: UserId,
        conn: ConnId,
        since: Time,
    ) {
        match self.quiz.local.join(show, user, since) {
            Ok(()) => {}
            // The show ended meanwhile, or nobody else fits in: the user watches.
            Err(JoinError::NoSuchShow(_) | JoinError::Full(_)) => return,
        }
        let mut until = None;
        if self.is_session(user, from, conn) {
            self.quiz.local.present(show, user, from, since);
        } else {
            // The session ended while this waited for its event; what it was offered counts.
            let ended = self.quiz.departed.get(&(user, from, conn)).copied().unwrap_or(since);
            self.quiz.local.visited(show, user, from, since, ended);
            until = Some(ended);
        }
        let applied = self.quiz.applied(show);
        let record = Record::Joined { show, user, shard: from, since, until, applied };
        self.journal(record, Vec::new());
        if let Some(snapshot) = self.quiz.local.snapshot(show, user) {
            let mail = QuizMail::Snapshot { show, conn, snapshot: Box::new(snapshot) };
            self.post_when_durable(Post::Mail(from, Mail::Quiz(mail)));
        }
    }

    /// Whether a connection is the user's one session, as far as its home knows by now.
    pub(super) fn is_session(&self, user: UserId, shard: ShardId, conn: ConnId) -> bool {
        self.registry.get(user).is_some_and(|it| it.shard == shard && it.conn == conn)
    }

    /// A user's one session has ended, or a newer one took its place.
    pub(crate) fn quiz_absent(&mut self, user: UserId, session: Session) {
        let now = self.now;
        if !self.quiz.waiting.is_empty() {
            self.quiz.departed.insert((user, session.shard, session.conn), now);
        }
        let shows: Vec<ShowId> = self.quiz.local.shows().map(|show| show.definition().id).collect();
        for show in shows {
            self.player_absent(show, user, now);
        }
    }

    /// A player has no session in the show's room any more.
    pub(super) fn player_absent(&mut self, show: ShowId, user: UserId, at: Time) {
        if self.quiz.local.absent(show, user, at) {
            let applied = self.quiz.applied(show);
            self.journal(Record::Absent { show, user, at, applied }, Vec::new());
        }
    }

    /// Some mail is about to be taken: the answers in it find their players' records in the cache.
    pub(crate) fn quiz_warm(&self, mail: &[Mail]) {
        let mut answers = mail.iter().filter_map(|mail| {
            let Mail::Quiz(QuizMail::Answer(answer)) = mail else { return None };
            Some((answer.show, answer.user))
        });
        let (Some((show, first)), Some((_, second))) = (answers.next(), answers.next()) else {
            return;
        };
        // Answers come to one show at a time, or nearly so: those to another one wait for memory.
        let users: Vec<UserId> =
            [first, second].into_iter().chain(answers.map(|it| it.1)).collect();
        self.quiz.local.warm(show, &users);
    }

    /// An answer is judged; what became of it leaves when its record is durable.
    pub(super) fn judge_answer(&mut self, from: ShardId, mail: AnswerMail) {
        let AnswerMail { show, user, input, .. } = mail;
        let outcome = self.quiz.local.judge(show, user, &input);
        let became = match &outcome {
            AnswerOutcome::Recorded(result) => Some(result.verdict()),
            _ => None,
        };
        let verdict = match self.quiz.local.seal(show, user, outcome) {
            AnswerOutcome::Recorded(sealed) => AnswerVerdict::Recorded(sealed),
            AnswerOutcome::Repeated(sealed) => {
                self.counters.answers_acknowledged += 1;
                return self.reply_answer(mail, AnswerVerdict::Recorded(sealed));
            }
            AnswerOutcome::Deferred => AnswerVerdict::Late,
            AnswerOutcome::StillDeferred => {
                self.counters.answers_acknowledged += 1;
                return self.reply_answer(mail, AnswerVerdict::Late);
            }
            AnswerOutcome::Ahead => {
                return self.wait_for_event(from, QuizMail::Answer(Box::new(mail)));
            }
            AnswerOutcome::Refused(reason) => {
                self.counters.answers_refused += 1;
                return self.reply_answer(mail, AnswerVerdict::Refused(reason));
            }
        };
        let applied = self.quiz.applied(show);
        let record = Record::Answer { show, user, input, verdict: became, applied };
        self.journal(record, Vec::new());
        self.counters.answers_acknowledged += 1;
        self.reply_answer(mail, verdict);
    }

    /// An answer of this user and some repeats wait already: only the first passes all limits.
    pub(super) fn refuse_repeat(&mut self, mail: AnswerMail) {
        self.counters.answers_refused += 1;
        self.reply_answer(mail, AnswerVerdict::Refused(RefusalReason::TooManyRepeats));
    }

    /// Replies when everything recorded so far is durable: to the short connection that waits for
    /// it, or to the session that exists by then.
    fn reply_answer(&mut self, mail: AnswerMail, verdict: AnswerVerdict) {
        let AnswerMail { show, user, input, sequence, short } = mail;
        let AnswerInput { question, arrived, .. } = input;
        let conn = short.map_or(ConnId::default(), |(_, conn)| conn);
        let reply = Box::new(AnswerReply { conn, show, question, sequence, arrived, verdict });
        self.post_when_durable(match short {
            Some((shard, _)) => Post::Mail(shard, Mail::Quiz(QuizMail::AnswerReply(reply))),
            None => Post::ToSession(user, reply),
        });
    }

    /// Delivers a reply to whatever session the user has now; a user without one learns it when
    /// it returns.
    pub(crate) fn post_to_session(&mut self, user: UserId, mut reply: Box<AnswerReply>) {
        if let Some(session) = self.registry.get(user) {
            reply.conn = session.conn;
            self.post(session.shard, Mail::Quiz(QuizMail::AnswerReply(reply)));
        }
    }

    /// A slice of what concerns all players: silence, judging again, freezing, paying.
    pub(super) fn work_slice(&mut self) {
        if !self.quiz.has_work || self.outbox.waiting() > OUTBOX_WAITING_MAX {
            return;
        }
        self.quiz.has_work = false;
        let shows = self.quiz.local.shows().filter(|show| show.has_work());
        for show in shows.map(|show| show.definition().id).collect::<Vec<_>>() {
            let progress = self.quiz.local.settle_slice(show, SLICE_PLAYERS);
            self.quiz.has_work |= progress.more;
            let applied = self.quiz.applied(show);
            for prizes in progress.prizes {
                self.journal(Record::Prizes { show, prizes }, Vec::new());
            }
            for cards in progress.cards {
                self.journal(Record::CardsUsed { show, cards }, Vec::new());
            }
            for step in progress.steps {
                self.journal(Record::Worked { show, step, applied }, Vec::new());
            }
            self.post_results(show, progress.results);
            if let Some(report) = progress.report {
                let report = Box::new(report);
                let home = self.placement.show_home(show);
                let mail = QuizMail::Reported { show, report: report.clone() };
                self.journal(Record::Reported { show, report }, vec![(home, Mail::Quiz(mail))]);
            }
        }
    }

    /// A show that was called off is not settled: which cards it cost is on record now. Said again, it
    /// changes nothing.
    pub(super) fn record_cards_of_cancelled(&mut self, show: ShowId) {
        for cards in self.quiz.local.cards_of_cancelled(show) {
            self.journal(Record::CardsUsed { show, cards }, Vec::new());
        }
    }

    /// Results of many players: one mail per connection's shard.
    fn post_results(&mut self, show: ShowId, results: Vec<PlayerResult>) {
        let mut by_shard: BTreeMap<ShardId, Vec<(ConnId, PlayerResult)>> = BTreeMap::new();
        for result in results {
            if let Some(session) = self.registry.get(result.user) {
                by_shard.entry(session.shard).or_default().push((session.conn, result));
            }
        }
        for (shard, results) in by_shard {
            let mail = Mail::Quiz(QuizMail::Results { show, results });
            self.post_when_durable(Post::Mail(shard, mail));
        }
    }

    /// Live figures to the directors, while a question takes answers.
    pub(super) fn post_tallies(&mut self) {
        if self.quiz.tally_due.is_none_or(|due| due > self.now) {
            return;
        }
        let mut is_live = false;
        let tallies: Vec<_> = self
            .quiz
            .local
            .shows()
            .map(|show| {
                is_live |= matches!(show.phase(), Phase::Lobby | Phase::Open | Phase::Closing);
                (show.definition().id, show.tally())
            })
            .collect();
        for (show, tally) in tallies {
            let home = self.placement.show_home(show);
            let mail = QuizMail::Tally { show, tally: Box::new(tally) };
            self.post(home, Mail::Quiz(mail));
        }
        self.quiz.tally_due = is_live.then(|| self.now + TALLY_INTERVAL);
    }
}
