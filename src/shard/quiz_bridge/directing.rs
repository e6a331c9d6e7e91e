//! The director's home: commands in, numbered and durable events out to every shard.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{EventNumber, RoomId, ShardId, ShowId, UserId};
use crate::base::limits::SHOWS_MAX;
use crate::base::time::{DisplayClock, Time};
use crate::quiz::definition::ShowDefinition;
use crate::quiz::director::{Command, CommandOutcome, Director, Notice};
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::phase::Phase;
use crate::quiz::report::{Report, Tally};
use crate::shard::Shard;
use crate::shard::held::Post;
use crate::shard::input::Effect;
use crate::shard::mail::Mail;
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest};
use crate::shard::quiz_bridge::status::{OpenedQuestion, ShowStatus};
use crate::shard::quiz_bridge::{Chronicle, QuizBridge};
use crate::shard::quiz_mail::QuizMail;
use crate::shard::record::Record;
use crate::shard::recovery::ended_to_forget;

/// Admits the shows of all directors.
pub(super) const ADMITTING_SHARD: ShardId = ShardId(0);
/// Notices that are kept for the operator, per show.
const NOTICES_MAX: usize = 64;

/// A show's director and what the operator can look back at.
pub(super) struct Directed {
    director: Director,
    /// All that was decided, for the next start of the process.
    history: Vec<NumberedEvent>,
    questions: Vec<OpenedQuestion>,
    chronicle: Chronicle,
    notices: Vec<Notice>,
    is_paid_out: bool,
}

impl Directed {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.director.deadline()
    }

    pub(super) fn director_mut(&mut self) -> &mut Director {
        &mut self.director
    }

    /// From what was decided before a restart.
    pub(super) fn restored(
        history: &[NumberedEvent],
        shard_count: u16,
        bucket_count: u16,
        clock: DisplayClock,
    ) -> Directed {
        let director = Director::restored(history, shard_count, bucket_count);
        let mut directed = Directed::new(director);
        // A show ends only after every shard has paid.
        let has_ended = directed.director.phase() == Phase::Ended;
        directed.is_paid_out = has_ended && directed.director.settlement().is_some();
        for event in history {
            directed.note(event);
            directed.chronicle.note(event, clock);
        }
        directed
    }

    fn new(director: Director) -> Directed {
        let chronicle = Chronicle::new(director.definition().clone());
        Directed {
            director,
            history: Vec::new(),
            questions: Vec::new(),
            chronicle,
            notices: Vec::new(),
            is_paid_out: false,
        }
    }

    /// See [`Director::resume`].
    pub(super) fn resume(&mut self, now: Time, grace: Duration, open_max: Duration) {
        self.director.resume(now, grace, open_max);
    }

    /// All that was decided.
    pub(super) fn history(&self) -> &[NumberedEvent] {
        &self.history
    }

    fn note(&mut self, event: &NumberedEvent) {
        self.history.push(event.clone());
        match &event.event {
            ShowEvent::QuestionOpened(opening) => self.questions.push(OpenedQuestion {
                question: opening.question,
                published_at: event.decided_at,
                show_by: opening.show_by,
                answer_by: opening.answer_by,
                counts: None,
                in_play: 0,
                is_voided: false,
            }),
            ShowEvent::QuestionExtended { show_by, answer_by, .. } => {
                if let Some(question) = self.questions.last_mut() {
                    question.show_by = *show_by;
                    question.answer_by = *answer_by;
                }
            }
            ShowEvent::QuestionClosed { counts, in_play, .. } => {
                if let Some(question) = self.questions.last_mut() {
                    question.counts = Some(*counts);
                    question.in_play = *in_play;
                }
            }
            ShowEvent::QuestionVoided { .. } => {
                if let Some(question) = self.questions.last_mut() {
                    question.is_voided = true;
                }
            }
            ShowEvent::Rejudged { in_play, .. } => {
                if let Some(question) = self.questions.last_mut() {
                    question.in_play = *in_play;
                }
            }
            ShowEvent::Announced(_)
            | ShowEvent::LobbyOpened
            | ShowEvent::QuestionPushed(_)
            | ShowEvent::QuestionWithdrawn { .. }
            | ShowEvent::QuestionClosing { .. }
            | ShowEvent::Revealed(_)
            | ShowEvent::Rejudging { .. }
            | ShowEvent::Paused
            | ShowEvent::Resumed
            | ShowEvent::Settling
            | ShowEvent::Settled(_)
            | ShowEvent::Cancelled
            | ShowEvent::Ended
            | ShowEvent::Rain(_) => {}
        }
    }

    fn status(&self, journals_standing: Vec<ShardId>) -> ShowStatus {
        let definition = self.director.definition();
        ShowStatus {
            show: definition.id,
            title: definition.title.clone(),
            room: definition.room,
            starts_at_unix_ms: definition.starts_at_unix_ms,
            prize_pool: definition.prize_pool,
            question_count: definition.questions.len(),
            early_push_max: definition.timing.early_push_max,
            pushed: self.director.pushed_question(),
            last_event: self.director.last_event(),
            live: self.director.live(),
            allowed: self.director.allowed(),
            questions: self.questions.clone(),
            settlement: self.director.settlement().copied(),
            is_paid_out: self.is_paid_out,
            notices: self.notices.clone(),
            journals_standing,
            rains: self.director.rains(),
            rain_fund: self.director.rain_fund(),
        }
    }
}

impl QuizBridge {
    /// Ended shows can be looked back at for a time, and until there are many. What is forgotten here
    /// has been applied by every shard long ago, and stays on the journal.
    fn forget_old_directors(&mut self, now: Time) {
        let histories = self.directors.iter().map(|(show, it)| (*show, it.history()));
        for show in ended_to_forget(histories, now) {
            self.directors.remove(&show);
        }
    }
}

impl Shard {
    /// An operator asks for something.
    pub(crate) fn operator(&mut self, ticket: u64, request: OperatorRequest) {
        let is_question = matches!(
            request,
            OperatorRequest::Status { .. }
                | OperatorRequest::Shows
                | OperatorRequest::Definition { .. }
                | OperatorRequest::TryText(_)
        );
        let answer = match request {
            OperatorRequest::Announce(definition) => match self.ask_to_announce(ticket, definition)
            {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            OperatorRequest::Command { show, command } => self.command(show, command),
            OperatorRequest::Rain { show, command } => self.rain_command(show, command),
            OperatorRequest::CloseWithdrawal { user, number, is_paid } => {
                self.close_withdrawal(user, number, is_paid)
            }
            OperatorRequest::Behind { show, event, request } => {
                match self.quiz.directors.get(&show).map(|it| it.director.last_event()) {
                    Some(last) if last == event => return self.operator(ticket, *request),
                    Some(last) => Err(OperatorError::MovedOn { show, last }),
                    None => Err(OperatorError::NoSuchShow(show)),
                }
            }
            OperatorRequest::Status { show } => self.status(show),
            OperatorRequest::Definition { show } => match self.quiz.directors.get(&show) {
                None => Err(OperatorError::NoSuchShow(show)),
                Some(directed) => {
                    Ok(OperatorAnswer::Definition(Arc::clone(directed.director.definition())))
                }
            },
            OperatorRequest::Messages { show } => {
                let directed = self.quiz.directors.get(&show);
                directed.map_or(Err(OperatorError::NoSuchShow(show)), |directed| {
                    Ok(OperatorAnswer::Messages(directed.chronicle.messages().to_vec()))
                })
            }
            OperatorRequest::Shows => {
                let standing = self.quiz.standing.shards(self.now);
                let directors = self.quiz.directors.values();
                let shows = directors.map(|directed| directed.status(standing.clone()));
                Ok(OperatorAnswer::Shows(shows.collect()))
            }
            OperatorRequest::GrantCard { user } => self.grant_card(user),
            OperatorRequest::ExpireCards { user, cards_max } => self.expire_cards(user, cards_max),
            OperatorRequest::Publish(messages) => self.publish_for_service(messages),
            OperatorRequest::CloseRoom(room) => self.close_room(room),
            OperatorRequest::Revoke(revocation) => self.revoke(&revocation),
            OperatorRequest::SetKeys(keys) => {
                self.access.set_keys(keys);
                Ok(OperatorAnswer::Done)
            }
            OperatorRequest::Mute(mute) => self.mute(mute),
            OperatorRequest::SetWords(words) => Ok(self.set_words(words)),
            OperatorRequest::TryText(text) => Ok(self.try_text(&text)),
            OperatorRequest::SetLive(live) => Ok(self.set_live(&live)),
            OperatorRequest::Service(request) => self.serve(request),
            OperatorRequest::Once { order, request } => {
                return self.order_once(ticket, order, *request);
            }
            OperatorRequest::Player(request) => return self.player_asks(ticket, request),
            OperatorRequest::NoteBrokenWords => {
                self.counters.words_broken += 1;
                Ok(OperatorAnswer::Done)
            }
        };
        self.answer_operator(ticket, answer, is_question);
    }

    /// An answer promises that what was ordered is so: it waits until everything on record is
    /// durable, also where an order is a repeat whose first one is on its way. What is only asked is
    /// answered at once.
    pub(crate) fn answer_operator(
        &mut self,
        ticket: u64,
        answer: Result<OperatorAnswer, OperatorError>,
        is_question: bool,
    ) {
        if is_question || answer.is_err() {
            self.effects.push(Effect::Answer { ticket, answer });
        } else {
            self.post_when_durable(Post::Answer(ticket, Box::new(answer)));
        }
    }

    /// One shard admits the shows of all directors: two that are announced at the same moment on
    /// two shards can neither be one too many nor share a room.
    fn ask_to_announce(
        &mut self,
        ticket: u64,
        definition: Arc<ShowDefinition>,
    ) -> Result<(), OperatorError> {
        let (show, room) = (definition.id, definition.room);
        let has_ended = self.quiz.local.ended().any(|ended| ended == show);
        let exists = has_ended
            || self.quiz.directors.contains_key(&show)
            || self.quiz.announcing.contains_key(&show);
        if exists {
            return Err(OperatorError::ShowExists(show));
        }
        self.quiz.announcing.insert(show, (ticket, definition));
        self.post(ADMITTING_SHARD, Mail::Quiz(QuizMail::Reserve { show, room }));
        Ok(())
    }

    /// On the shard that admits shows: a director's home asks. The place is free again when the
    /// show has ended here.
    pub(super) fn reserve(&mut self, from: ShardId, show: ShowId, room: RoomId) {
        let reserved = &mut self.quiz.reserved;
        let other = reserved.iter().find(|(_, taken)| **taken == room).map(|(show, _)| *show);
        let outcome = if reserved.contains_key(&show) {
            Err(OperatorError::ShowExists(show))
        } else if reserved.len() >= SHOWS_MAX {
            Err(OperatorError::TooManyShows)
        } else if let Some(show) = other {
            Err(OperatorError::RoomTaken { room, show })
        } else {
            reserved.insert(show, room);
            Ok(())
        };
        self.post(from, Mail::Quiz(QuizMail::Reserved { show, outcome }));
    }

    /// A show that was to be announced from here may be, or may not.
    pub(super) fn reserved(&mut self, show: ShowId, outcome: Result<(), OperatorError>) {
        let Some((ticket, definition)) = self.quiz.announcing.remove(&show) else { return };
        let answer = outcome.map(|()| {
            self.announce(&definition);
            OperatorAnswer::Done
        });
        self.answer_operator(ticket, answer, false);
    }

    fn announce(&mut self, definition: &Arc<ShowDefinition>) {
        let show = definition.id;
        self.quiz.forget_old_directors(self.now);
        let (shards, buckets) = (self.placement.shard_count(), self.placement.bucket_count());
        let director = Director::new(definition.clone(), shards, buckets, self.now);
        self.quiz.directors.insert(show, Directed::new(director));
        self.post_decided(show);
    }

    fn command(&mut self, show: ShowId, command: Command) -> Result<OperatorAnswer, OperatorError> {
        let Some(directed) = self.quiz.directors.get_mut(&show) else {
            return Err(OperatorError::NoSuchShow(show));
        };
        let outcome = directed.director.command(self.now, command, &mut *self.entropy)?;
        self.post_decided(show);
        Ok(match outcome {
            CommandOutcome::Done => OperatorAnswer::Done,
            CommandOutcome::Preview(preview) => OperatorAnswer::Preview(preview),
        })
    }

    fn status(&mut self, show: ShowId) -> Result<OperatorAnswer, OperatorError> {
        let directed = self.quiz.directors.get(&show).ok_or(OperatorError::NoSuchShow(show))?;
        let standing = self.quiz.standing.shards(self.now);
        Ok(OperatorAnswer::Show(Box::new(directed.status(standing))))
    }

    fn grant_card(&mut self, user: UserId) -> Result<OperatorAnswer, OperatorError> {
        let cards = self.quiz.local.grant_card(user)?;
        let (grant, at) = (self.entropy.below(u64::MAX), self.now);
        self.journal(Record::CardGranted { user, grant, at }, Vec::new());
        Ok(OperatorAnswer::Cards(cards))
    }

    fn expire_cards(
        &mut self,
        user: UserId,
        cards_max: u8,
    ) -> Result<OperatorAnswer, OperatorError> {
        let cards = self.quiz.local.expire_cards(user, cards_max)?;
        let (expiry, at) = (self.entropy.below(u64::MAX), self.now);
        self.journal(Record::CardsExpired { user, expiry, cards, at }, Vec::new());
        Ok(OperatorAnswer::Cards(self.quiz_visible_cards(user)))
    }

    /// The cards that a user who lives here may know of.
    pub(crate) fn quiz_visible_cards(&self, user: UserId) -> u8 {
        self.quiz.local.visible_cards(user)
    }

    /// A shard has applied an event.
    pub(super) fn acknowledged(
        &mut self,
        from: ShardId,
        show: ShowId,
        event: EventNumber,
        applied_at: Time,
    ) {
        if let Some(directed) = self.quiz.directors.get_mut(&show) {
            directed.director.acknowledged(self.now, from, event, applied_at);
            self.post_decided(show);
        }
    }

    /// A shard has completed a piece of work.
    pub(super) fn reported(&mut self, show: ShowId, report: Report) {
        let now = self.now;
        if let Some(directed) = self.quiz.directors.get_mut(&show) {
            match report {
                Report::Closed(summary) => directed.director.closed(now, summary),
                Report::Frozen(summary) => directed.director.frozen(now, summary),
                Report::Paid(summary) => directed.director.paid(summary),
                Report::Rain(summary) => directed.director.rain_reported(now, summary),
            }
            self.post_decided(show);
        }
    }

    /// A shard's live figures.
    pub(super) fn tallied(&mut self, show: ShowId, tally: Tally) {
        if let Some(directed) = self.quiz.directors.get_mut(&show) {
            directed.director.tally(tally);
        }
    }

    /// Directors whose time has come.
    pub(super) fn direct_due(&mut self) {
        let now = self.now;
        let due = |directed: &Directed| directed.deadline().is_some_and(|due| due <= now);
        let shows = self.quiz.directors.iter().filter(|(_, directed)| due(directed));
        for show in shows.map(|(show, _)| *show).collect::<Vec<_>>() {
            if let Some(directed) = self.quiz.directors.get_mut(&show) {
                directed.director.due(now);
            }
            self.post_decided(show);
        }
    }

    /// What a director decided is journaled and, once durable, posted to every shard.
    pub(super) fn post_decided(&mut self, show: ShowId) {
        let Some(directed) = self.quiz.directors.get_mut(&show) else {
            return;
        };
        let events = directed.director.take_events();
        for notice in directed.director.take_notices() {
            directed.is_paid_out |= matches!(notice, Notice::PaidOut { .. });
            if directed.notices.len() < NOTICES_MAX {
                directed.notices.push(notice);
            }
        }
        for event in &events {
            directed.note(event);
            directed.chronicle.note(event, self.clock);
        }
        for event in events {
            let event = Box::new(event);
            let mail = |shard| (shard, Mail::Quiz(QuizMail::Event(event.clone())));
            let mail = ShardId::all(self.placement.shard_count()).map(mail).collect();
            self.journal(Record::Event(event.clone()), mail);
        }
    }
}
