//! The one place that knows both rooms and quiz.
//!
//! Three roles meet on every shard: the *director's home* numbers and journals what the operator
//! decides; the *users' home* judges, and holds back what its event has not come for; the
//! *connection's shard* stamps, admits and tells. [`directing`] has the first, [`judging`] the
//! second, [`telling`] the third; [`early`] what goes out before its time.

mod directing;
mod early;
mod gifts;
mod inspecting;
mod judging;
mod money;
mod offering;
mod rain;
mod resuming;
mod standing;
mod status;
mod telling;
mod told;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use status::{OpenedQuestion, ShowStatus};
pub use told::{Chronicle, ShowMessage};

use crate::base::ids::{
    ConnId, EventNumber, QuestionIndex, RainIndex, RoomId, ShardId, ShowId, UserId,
};
use crate::base::time::Time;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::local::LocalQuiz;
use crate::shard::Shard;
use crate::shard::config::ShardConfig;
use crate::shard::coverage::Coverage;
use crate::shard::held::Post;
use crate::shard::mail::Mail;
use crate::shard::money_mail::ReplyTo;
use crate::shard::quiz_bridge::directing::Directed;
use crate::shard::quiz_bridge::early::Early;
use crate::shard::quiz_bridge::gifts::GiftDesk;
use crate::shard::quiz_bridge::standing::Standing;
use crate::shard::quiz_mail::{QuizMail, RetryReply};
use crate::shard::record::Record;
use crate::wire::proto::response::Payload as Response;

/// A report of another shard's load counts for so long.
const LOAD_VALID: Duration = Duration::from_secs(1);
/// Answers of one user to one question that wait for its event; more are refused.
const WAITING_ANSWERS_MAX: u8 = 4;

/// The quiz on one shard, and how it is tied to sessions, rooms and mail.
pub(crate) struct QuizBridge {
    local: LocalQuiz,
    /// Shows whose director lives here.
    directors: BTreeMap<ShowId, Directed>,
    /// Which show a room carries.
    by_room: BTreeMap<RoomId, ShowId>,
    /// Mail that came before its event, per show, in order.
    waiting: BTreeMap<ShowId, VecDeque<(ShardId, QuizMail)>>,
    /// How many answers of a user to a question wait: the first, which binds, and some repeats,
    /// which get the same reply. An answer to another question takes nobody's place: it may be
    /// stale and refused in the end.
    waiting_answers: BTreeMap<(ShowId, UserId, QuestionIndex), u8>,
    /// When sessions ended while mail waits: a join of theirs may be among it.
    departed: BTreeMap<(UserId, ShardId, ConnId), Time>,
    /// Questions that are applied, but not queued yet for those who are in the room here; with the
    /// event that opened each.
    unqueued: BTreeMap<ShowId, EventNumber>,
    /// Per show, the last event of which the room here was told.
    queued: BTreeMap<ShowId, EventNumber>,
    /// Shows that are to be announced from here, and who waits to hear of it.
    announcing: BTreeMap<ShowId, (u64, Arc<ShowDefinition>)>,
    /// On the shard that admits shows: all of them, and their rooms.
    reserved: BTreeMap<ShowId, RoomId>,
    /// Questions whose drained mark this shard owes, with the moment up to which it must have
    /// received everything.
    draining: BTreeMap<ShowId, Time>,
    received_all: Time,
    /// Questions that are pushed early.
    early: Early,
    /// How far behind each shard was with its mail when it last said so, and when that was.
    lags: Vec<(Duration, Time)>,
    turn: Duration,
    /// Which journals stand still.
    standing: Standing,
    tally_due: Option<Time>,
    has_work: bool,
    /// When the bucket of taps at each rain that falls is full again.
    tap_gates: BTreeMap<(ShowId, RainIndex), Time>,
    gifts: GiftDesk,
    /// Who is to hear whether a new player's inviter was taken, by new player: one question is under
    /// way for each.
    redeeming: BTreeMap<UserId, Vec<ReplyTo>>,
    /// When requests about money that are done are looked at again.
    sweep_due: Option<Time>,
    /// Questions on their way to connections.
    pub(crate) coverage: Coverage,
}

impl QuizBridge {
    pub(crate) fn new(config: &ShardConfig) -> QuizBridge {
        let shard_count = usize::from(config.placement.shard_count());
        QuizBridge {
            local: LocalQuiz::new(config.me, config.placement),
            directors: BTreeMap::new(),
            by_room: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_answers: BTreeMap::new(),
            departed: BTreeMap::new(),
            unqueued: BTreeMap::new(),
            queued: BTreeMap::new(),
            announcing: BTreeMap::new(),
            reserved: BTreeMap::new(),
            draining: BTreeMap::new(),
            received_all: Time::ZERO,
            early: Early::default(),
            lags: vec![(Duration::ZERO, Time::ZERO); shard_count],
            turn: Duration::ZERO,
            standing: Standing::new(shard_count),
            tally_due: None,
            has_work: false,
            tap_gates: BTreeMap::new(),
            gifts: GiftDesk::default(),
            redeeming: BTreeMap::new(),
            sweep_due: None,
            coverage: Coverage::default(),
        }
    }

    /// When [`Shard::quiz_tick`] has something to do; work that is left is due at once.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let directors = self.directors.values().filter_map(Directed::deadline);
        let work = (self.has_work || self.early.has_work()).then_some(Time::ZERO);
        let money = self.gifts.deadline().into_iter().chain(self.sweep_due);
        directors.chain(self.tally_due).chain(work).chain(money).min()
    }

    /// True while the arrival of an answer decides something on this shard.
    pub(crate) fn has_open_question(&self) -> bool {
        !self.draining.is_empty() || self.local.shows().any(|show| show.open_question().is_some())
    }

    /// A show has ended: its players are dropped; whoever asks is told that it has ended.
    fn forget(&mut self, show: ShowId) {
        self.local.forget(show);
        self.by_room.retain(|_, carried| *carried != show);
        self.draining.remove(&show);
        self.unqueued.remove(&show);
        self.queued.remove(&show);
        self.early.forget(show);
        self.coverage.end(show);
        self.reserved.remove(&show);
        self.tap_gates.retain(|(of, _), _| *of != show);
    }

    /// The last event of a show that was applied here.
    fn applied(&self, show: ShowId) -> EventNumber {
        self.local.show(show).map_or(EventNumber(0), |show| show.last_event())
    }

    /// True if a shard is so far behind with its mail, or its journal stands still, that answers
    /// should come again later.
    fn is_overloaded(&self, shard: ShardId, now: Time, config: &ShardConfig) -> bool {
        let age_max = Duration::from_millis(u64::from(config.admission.mailbox_age_ms));
        let turn_max = Duration::from_millis(u64::from(config.admission.turn_ms));
        let (lag, said_at) = self.lags[shard.index()];
        let lags = lag > age_max && now.since(said_at) < LOAD_VALID;
        lags || self.turn > turn_max || self.standing.stands(shard, now)
    }
}

impl Shard {
    /// A shard's mail told how far that shard is behind.
    pub(crate) fn quiz_note_lag(&mut self, from: ShardId, lag: Duration) {
        self.quiz.lags[from.index()] = (lag, self.now);
    }

    /// How long this shard's last turn took, and how old the mail was that it took in.
    pub fn note_load(&mut self, turn: Duration, mail_age: Duration) {
        self.quiz.turn = turn;
        let me = self.config.me;
        self.quiz_note_lag(me, mail_age);
    }

    /// Mail about shows.
    pub(crate) fn quiz_mail(&mut self, from: ShardId, mail: QuizMail) {
        if self.must_wait(&mail) {
            return self.wait_for_event(from, mail);
        }
        match mail {
            QuizMail::Event(event) => self.apply_event(&event),
            QuizMail::Reserve { show, room } => self.reserve(from, show, room),
            QuizMail::Reserved { show, outcome } => self.reserved(show, outcome),
            QuizMail::Acknowledged { show, event, applied_at } => {
                self.acknowledged(from, show, event, applied_at);
            }
            QuizMail::Joined { show, user, conn, since, .. } => {
                self.player_joined(from, show, user, conn, since);
            }
            QuizMail::Left { show, user, conn, at, .. } => {
                // An older connection that leaves says nothing about the newer one.
                if self.is_session(user, from, conn) {
                    self.player_absent(show, user, at);
                }
            }
            QuizMail::Snapshot { show, conn, snapshot } => {
                self.tell_snapshot(conn, show, &snapshot);
            }
            QuizMail::Answer(answer) => self.judge_answer(from, *answer),
            QuizMail::TicketIssued { show, user, question, ticket, retry, .. } => {
                if self.quiz.local.ticket_issued(show, user, question, ticket) {
                    let applied = self.quiz.applied(show);
                    let record = Record::TicketIssued { show, user, question, ticket, applied };
                    self.journal(record, Vec::new());
                }
                let post = Post::Mail(from, Mail::Quiz(QuizMail::TicketBinds(retry)));
                // Who holds a ticket that a crash forgets is free to answer otherwise. Where the journal
                // stands still, that is better than no word: the ticket keeps the stamp.
                if self.quiz.standing.stands(self.config.me, self.now) {
                    self.post_now(post);
                } else {
                    self.post_when_durable(post);
                }
            }
            QuizMail::TicketBinds(reply) => {
                let RetryReply { conn, sequence, retry } = *reply;
                self.respond(conn, &sequence, Response::RetryAnswer(retry));
            }
            QuizMail::AnswerReply(reply) => self.tell_answer(&reply),
            QuizMail::Results { show, results } => self.tell_results(show, &results),
            QuizMail::Drained { show, question, .. } => {
                self.quiz.local.drained(show, from, question);
                self.quiz.has_work = true;
                let applied = self.quiz.applied(show);
                self.journal(Record::Drained { show, question, from, applied }, Vec::new());
            }
            QuizMail::Reported { show, report } => self.reported(show, *report),
            QuizMail::JournalStands { stands } => self.journal_was_told(from, stands),
            QuizMail::Tally { show, tally } => self.tallied(show, *tally),
        }
    }

    /// Mail that knows an event which has not come here waits for it.
    fn must_wait(&self, mail: &QuizMail) -> bool {
        let (show, applied) = match mail {
            QuizMail::Joined { show, applied, .. }
            | QuizMail::Left { show, applied, .. }
            | QuizMail::TicketIssued { show, applied, .. }
            | QuizMail::Drained { show, applied, .. } => (*show, *applied),
            QuizMail::Answer(answer) => (answer.show, answer.input.sender_applied),
            QuizMail::Event(_)
            | QuizMail::Reserve { .. }
            | QuizMail::Reserved { .. }
            | QuizMail::Acknowledged { .. }
            | QuizMail::Snapshot { .. }
            | QuizMail::AnswerReply(_)
            | QuizMail::TicketBinds(_)
            | QuizMail::Results { .. }
            | QuizMail::Reported { .. }
            | QuizMail::JournalStands { .. }
            | QuizMail::Tally { .. } => return false,
        };
        self.quiz.local.is_behind(show, applied)
    }

    fn wait_for_event(&mut self, from: ShardId, mail: QuizMail) {
        let show = match &mail {
            QuizMail::Joined { show, .. }
            | QuizMail::Left { show, .. }
            | QuizMail::TicketIssued { show, .. }
            | QuizMail::Drained { show, .. } => *show,
            QuizMail::Answer(answer) => {
                let place = (answer.show, answer.user, answer.input.question);
                let count = self.quiz.waiting_answers.entry(place).or_default();
                if *count == WAITING_ANSWERS_MAX {
                    return self.refuse_repeat((**answer).clone());
                }
                *count += 1;
                answer.show
            }
            other => unreachable!("only mail with an event number waits: {other:?}"),
        };
        self.counters.mail_waited += 1;
        self.quiz.waiting.entry(show).or_default().push_back((from, mail));
    }

    /// An event was applied: what waited for it, or for an earlier one, is taken up in order.
    fn take_up_waiting(&mut self, show: ShowId) {
        for (from, mail) in self.quiz.waiting.remove(&show).unwrap_or_default() {
            if let QuizMail::Answer(answer) = &mail {
                let place = (show, answer.user, answer.input.question);
                if let Entry::Occupied(mut count) = self.quiz.waiting_answers.entry(place) {
                    *count.get_mut() -= 1;
                    if *count.get() == 0 {
                        count.remove();
                    }
                }
            }
            self.quiz_mail(from, mail);
        }
        if self.quiz.waiting.is_empty() {
            self.quiz.departed.clear();
        }
    }

    /// What is due: directors' deadlines, slices of work, tallies.
    pub(crate) fn quiz_tick(&mut self) {
        self.watch_journals();
        self.direct_due();
        self.hand_out_slice();
        self.work_slice();
        self.post_tallies();
        self.gifts_due();
        self.sweep_requests();
    }
}
