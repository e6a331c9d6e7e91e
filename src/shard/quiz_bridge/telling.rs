//! The connection's shard and the room's home: who is told what, and how answers are admitted.

use std::time::Duration;

use crate::auth::ticket::{Ticket, TicketSubject};
use crate::base::ids::{ConnId, EventNumber, OptionIndex, QuestionIndex, RoomId, ShowId, UserId};
use crate::base::limits::QUESTIONS_MAX;
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::judge::RefusalReason;
use crate::quiz::phase::Phase;
use crate::quiz::replica::snapshot::{PlayerSnapshot, Standing};
use crate::quiz::replica::{AnswerInput, PlayerResult, TicketStamp};
use crate::quiz::seal::SealedResult;
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::conn::NO_ROOM;
use crate::shard::mail::Mail;
use crate::shard::messages;
use crate::shard::quiz_bridge::early::sealed_question;
use crate::shard::quiz_bridge::told;
use crate::shard::quiz_mail::{AnswerMail, AnswerReply, AnswerVerdict, QuizMail, RetryReply};
use crate::shard::session::State;
use crate::wire::proto;
use crate::wire::proto::notification::Payload as Notice;
use crate::wire::proto::response::Payload as Response;

/// No client is asked to come back sooner than this.
const RETRY_AFTER_MIN_MS: u64 = 100;
/// A retry has at least this long before its ticket expires.
const RETRY_MARGIN: Duration = Duration::from_millis(500);

impl Shard {
    /// At the room's home: everybody in the room learns of an event.
    pub(super) fn tell_room(&mut self, event: &NumberedEvent) {
        let show = event.show;
        let Some(replica) = self.quiz.local.show(show) else {
            return;
        };
        let room = replica.definition().room;
        if self.placement.room_home(room) != self.config.me {
            return;
        }
        let Some((lane, notice)) = self.told(event) else { return };
        let told = self.publish_to_room(room, lane, notice, Some((show, event.number)));
        assert!(told.is_some(), "a show's room always has a place");
    }

    /// What the room is told of an event, and in which lane; nothing if it is internal.
    fn told(&self, event: &NumberedEvent) -> Option<(Lane, Notice)> {
        let show = event.show;
        let replica = self.quiz.local.show(show)?;
        let definition = replica.definition();
        let phase = replica.phase();
        let (lane, notice) = match &event.event {
            ShowEvent::QuestionPushed(_) => {
                let pushed = replica.pushed()?;
                // It has time: questions, keys and gifts go first, and the budget paces it.
                (Lane::Mid, Notice::SealedQuestion(sealed_question(show, pushed)))
            }
            ShowEvent::QuestionOpened(opening) if self.opens_by_key(show) => {
                (Lane::High, Notice::QuestionKey(self.question_key(show, opening)))
            }
            ShowEvent::Rain(rain) => (Lane::High, self.rain_notice(show, rain)?),
            _ => (Lane::High, told::notice(event, definition, phase, self.clock)?),
        };
        Some((lane, notice))
    }

    /// True if the room carries a show that has not ended.
    pub(crate) fn carries_show(&self, room: RoomId) -> bool {
        self.quiz.by_room.contains_key(&room)
    }

    /// True once this shard has applied the event that a room's message tells of.
    pub(crate) fn quiz_has_applied(&self, after: Option<(ShowId, EventNumber)>) -> bool {
        after.is_none_or(|(show, number)| !self.quiz.local.is_behind(show, number))
    }

    /// A connection has entered a room. If the room carries a show, the open question goes out at
    /// once, ahead of any backlog, and the user's home is told.
    pub(crate) fn quiz_joined_room(&mut self, id: ConnId, user: UserId, room: RoomId) {
        let Some(show) = self.quiz.by_room.get(&room).copied() else {
            return;
        };
        self.tell_open_question(id, show);
        self.tell_falling_rains(id, show);
        self.tell_pushed_question(id, show);
        let (since, applied) = (self.now, self.quiz.applied(show));
        let home = self.placement.user_home(user);
        let mail = QuizMail::Joined { show, user, conn: id, since, applied };
        self.post(home, Mail::Quiz(mail));
    }

    /// A connection has left a room and lives on.
    pub(crate) fn quiz_left_room(&mut self, conn: ConnId, user: UserId, room: RoomId) {
        if let Some(show) = self.quiz.by_room.get(&room).copied() {
            let (at, applied) = (self.now, self.quiz.applied(show));
            let home = self.placement.user_home(user);
            let mail = QuizMail::Left { show, user, conn, at, applied };
            self.post(home, Mail::Quiz(mail));
        }
    }

    /// A connection has missed something in the high lane: it gets the state instead.
    pub(crate) fn quiz_missed(&mut self, id: ConnId, user: UserId, room: RoomId) {
        self.quiz_joined_room(id, user, room);
    }

    pub(super) fn tell_open_question(&mut self, id: ConnId, show: ShowId) {
        let Some(replica) = self.quiz.local.show(show) else {
            return;
        };
        if let Some(open) = replica.open_question().copied() {
            let definition = replica.definition().clone();
            let question = told::question(&definition, &open, self.clock);
            self.notify(id, Notice::Question(question));
        }
    }

    /// A client answers: stamped, admitted, and sent to the user's home.
    pub(crate) fn quiz_answer(
        &mut self,
        id: ConnId,
        sequence: String,
        answer: &proto::Answer,
        arrived: Time,
    ) {
        self.counters.answers_received += 1;
        let show = ShowId(answer.show_id);
        let user = self.conns.get(id).map_or(UserId(0), |conn| conn.user);
        let (question, option) = match self.well_formed(show, answer) {
            Ok(parts) => parts,
            Err(reason) => {
                self.counters.answers_refused += 1;
                return self.refuse(id, &sequence, refusal(reason));
            }
        };
        let subject = TicketSubject { show, question, user, option };
        let ticket = if answer.ticket.is_empty() {
            None
        } else {
            let until = self.tickets_until(show, question);
            match self.ticket_key.redeem(&answer.ticket, &subject, arrived, until) {
                Ok(stamp) => Some(TicketStamp { option, arrived: stamp }),
                Err(error) => {
                    self.counters.answers_refused += 1;
                    let text = error.to_string();
                    let failure = messages::failure(proto::Reason::TicketInvalid, &text);
                    return self.refuse(id, &sequence, failure);
                }
            }
        };
        if ticket.is_some() {
            self.counters.tickets_redeemed += 1;
        } else if self.defer(id, &sequence, &subject, arrived) {
            return;
        }
        let sender_applied = self.quiz.applied(show);
        let input = AnswerInput { question, option, arrived, ticket, sender_applied };
        let sequence = sequence.into_boxed_str();
        let short = self.is_short(id).then_some((self.config.me, id));
        let mail = AnswerMail { show, user, input, sequence, short };
        let home = self.placement.user_home(user);
        self.post(home, Mail::Quiz(QuizMail::Answer(Box::new(mail))));
    }

    fn well_formed(
        &self,
        show: ShowId,
        answer: &proto::Answer,
    ) -> Result<(QuestionIndex, OptionIndex), RefusalReason> {
        let question = u16::try_from(answer.question).map(QuestionIndex);
        let question = question.map_err(|_| RefusalReason::NotCurrentQuestion)?;
        let option = u8::try_from(answer.option).map(OptionIndex);
        let option = option.map_err(|_| RefusalReason::NoSuchOption)?;
        // What this shard does not know, the user's home says: it may have ended meanwhile.
        if let Some(replica) = self.quiz.local.show(show) {
            let current = replica.current_question().map(|current| current.question);
            if current != Some(question) && replica.phase() != Phase::Ended {
                return Err(RefusalReason::NotCurrentQuestion);
            }
            // Or garbage would take the one place in which an answer may wait for its event.
            let asked = replica.definition().questions.get(question.index());
            if asked.is_some_and(|asked| option.index() >= asked.options.len()) {
                return Err(RefusalReason::NoSuchOption);
            }
        }
        Ok((question, option))
    }

    /// Under load, an answer given in time is asked to come again, with a ticket that keeps its
    /// stamp; once per connection and question. True if it was. Only in the show's room: there the
    /// join went to the user's home before the ticket does, so that it binds. A short connection is
    /// in no room: it gets a ticket where the user's home is this shard and says that it binds, and
    /// waits for the reply anywhere else.
    fn defer(
        &mut self,
        id: ConnId,
        sequence: &str,
        subject: &TicketSubject,
        arrived: Time,
    ) -> bool {
        let home = self.placement.user_home(subject.user);
        let now = self.now;
        let Some(open) =
            self.quiz.local.show(subject.show).and_then(|show| show.current_question().copied())
        else {
            return false;
        };
        let mark = ticket_mark(subject);
        let is_short = self.is_short(id);
        let may_bind =
            if is_short { home == self.config.me } else { self.is_in_show(id, subject.show) };
        let ticketed = !may_bind || self.conns.get(id).is_none_or(|conn| conn.ticketed == mark);
        let expires = open.answer_by + self.ticket_life(subject.show);
        let latest = expires - RETRY_MARGIN;
        let earliest = now + Duration::from_millis(RETRY_AFTER_MIN_MS);
        if ticketed || arrived > open.answer_by || earliest >= latest {
            return false;
        }
        let forced = u64::from(self.config.admission.force_retry_percent);
        let is_forced = forced > 0 && self.entropy.below(100) < forced;
        if !is_forced && !self.quiz.is_overloaded(home, now, &self.config) {
            return false;
        }
        let TicketSubject { show, question, user, option } = *subject;
        let ticket_stamp = TicketStamp { option, arrived };
        if is_short && !self.quiz.local.ticket_issued(show, user, question, ticket_stamp) {
            return false;
        }
        let spread = latest.since(earliest).as_millis();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX);
        let spread = spread.min(u64::from(self.config.admission.retry_after_max_ms));
        let retry_after_ms = RETRY_AFTER_MIN_MS + self.entropy.below(spread + 1);
        let ticket = self.ticket_key.issue(&Ticket { subject: *subject, arrived, expires });
        if let Some(conn) = self.conns.get_mut(id) {
            conn.ticketed = mark;
        }
        self.counters.answers_deferred += 1;
        let applied = self.quiz.applied(show);
        let retry = proto::RetryAnswer {
            show_id: show.0,
            question: question.0.into(),
            retry_after_ms: u32::try_from(retry_after_ms).unwrap_or(u32::MAX),
            ticket: ticket.to_vec().into(),
        };
        let retry = Box::new(RetryReply { conn: id, sequence: sequence.into(), retry });
        let mail =
            QuizMail::TicketIssued { show, user, question, ticket: ticket_stamp, applied, retry };
        self.post(home, Mail::Quiz(mail));
        true
    }

    /// Whether a connection is a member of the room that carries a show.
    fn is_in_show(&self, id: ConnId, show: ShowId) -> bool {
        let conn = self.conns.get(id).filter(|conn| conn.state == State::InRoom);
        conn.is_some_and(|conn| {
            self.quiz.by_room.get(&self.rooms.id(conn.room)).copied() == Some(show)
        })
    }

    /// Until when tickets for a question are taken as far as this shard knows: longer than they say
    /// if the question was extended, by a restart for one.
    fn tickets_until(&self, show: ShowId, question: QuestionIndex) -> Option<Time> {
        let current = self.quiz.local.show(show).and_then(|show| show.current_question());
        let current = current.filter(|current| current.question == question);
        current.map(|current| current.answer_by + self.ticket_life(show))
    }

    fn ticket_life(&self, show: ShowId) -> Duration {
        let replica = self.quiz.local.show(show);
        replica.map_or(Duration::ZERO, |replica| replica.definition().timing.ticket_life)
    }

    /// The user's home says what became of an answer.
    pub(super) fn tell_answer(&mut self, reply: &AnswerReply) {
        let (show, question) = (reply.show, reply.question);
        self.push.note_answered(reply.arrived);
        let result = match reply.verdict {
            AnswerVerdict::Recorded(sealed) => Some(sealed_result(show, question, &sealed)),
            AnswerVerdict::Late => None,
            AnswerVerdict::Refused(reason) => {
                return self.refuse(reply.conn, &reply.sequence, refusal(reason));
            }
        };
        let received = proto::AnswerReceived { result };
        self.respond(reply.conn, &reply.sequence, Response::AnswerReceived(received));
    }

    /// Results that their players did not ask for.
    pub(super) fn tell_results(&mut self, show: ShowId, results: &[(ConnId, PlayerResult)]) {
        for (conn, result) in results {
            let sealed = sealed_result(show, result.question, &result.sealed);
            self.notify(*conn, Notice::Result(sealed));
        }
    }

    /// What a player may know, on its way into a show's room.
    pub(super) fn tell_snapshot(&mut self, id: ConnId, show: ShowId, snapshot: &PlayerSnapshot) {
        let in_room = self.conns.get(id).is_some_and(|conn| conn.room != NO_ROOM);
        let Some(replica) = self.quiz.local.show(show).filter(|_| in_room) else {
            return;
        };
        let definition = replica.definition().clone();
        // What this shard has released: later than that comes through the lane.
        let last_reveal = replica.last_reveal().map(|reveal| told::revealed(&definition, reveal));
        let open = snapshot.open_question;
        let is_recorded = snapshot.recorded_option.is_some() || snapshot.recorded_result.is_some();
        let recorded_question = snapshot.question.filter(|_| is_recorded);
        let recorded_result = snapshot
            .recorded_result
            .zip(snapshot.question)
            .map(|(sealed, question)| sealed_result(show, question, &sealed));
        let standing = match snapshot.standing {
            Standing::InPlay => proto::Standing::InPlay,
            Standing::Out => proto::Standing::Out,
            Standing::Spectator => proto::Standing::Spectator,
            Standing::Winner => proto::Standing::Winner,
        };
        let snapshot = proto::Snapshot {
            show: Some(told::show_state(&definition, snapshot.phase)),
            standing: standing.into(),
            last_revealed: snapshot.last_revealed.map(|question| question.0.into()),
            revive_cards: snapshot.cards.into(),
            open_question: open.map(|open| told::question(&definition, &open, self.clock)),
            recorded_option: snapshot.recorded_option.map(|option| option.0.into()),
            recorded_result,
            prize_cents: snapshot.prize.map_or(0, |prize| prize.0),
            last_reveal,
            recorded_question: recorded_question.map(|question| question.0.into()),
        };
        self.notify(id, Notice::Snapshot(snapshot));
    }
}

/// The question for which a connection was given a ticket, in 16 bits that are not 0. Two shows may
/// share a mark: then an answer is taken at once in place of deferred.
fn ticket_mark(subject: &TicketSubject) -> u16 {
    const _: () = assert!(QUESTIONS_MAX < 1 << 7);
    let show = subject.show.0 ^ subject.show.0 >> 32;
    let show = u16::try_from((show ^ show >> 9) & 0x1ff).unwrap_or(0);
    show << 7 | (subject.question.0 % 127 + 1)
}

fn sealed_result(
    show: ShowId,
    question: QuestionIndex,
    sealed: &SealedResult,
) -> proto::SealedResult {
    proto::SealedResult {
        show_id: show.0,
        question: question.0.into(),
        nonce: sealed.nonce.to_vec().into(),
        ciphertext: sealed.ciphertext.to_vec().into(),
    }
}

fn refusal(reason: RefusalReason) -> proto::Failure {
    let code = match reason {
        RefusalReason::NoSuchShow => proto::Reason::NoSuchShow,
        RefusalReason::NotRunning => proto::Reason::ShowNotRunning,
        RefusalReason::ShowEnded => proto::Reason::ShowEnded,
        RefusalReason::NotJoined => proto::Reason::NotInRoom,
        RefusalReason::NotCurrentQuestion => proto::Reason::NotCurrentQuestion,
        RefusalReason::QuestionClosed | RefusalReason::QuestionVoided => {
            proto::Reason::QuestionClosed
        }
        RefusalReason::Spectator | RefusalReason::Out => proto::Reason::OutOfGame,
        RefusalReason::NoSuchOption => proto::Reason::NoSuchOption,
        RefusalReason::AnswerBound => proto::Reason::AnswerBound,
        RefusalReason::TooManyRepeats => proto::Reason::RateLimited,
    };
    messages::failure(code, &reason.to_string())
}
