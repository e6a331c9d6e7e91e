//! The quiz as one shard has it: the users of its buckets and a replica of every show.
//!
//! This is what the shard layer holds. It finds the show, and it knows the one thing that spans
//! shows: how many cards a user may *believe* to have. A card that was spent on a question that is
//! not revealed still counts in everything that the user, or a refusal, can tell.

mod money;

use std::collections::VecDeque;

pub use self::money::{
    Gift, GiftReturn, Given, MoneyError, Requested, Withdrawal, WithdrawalState,
};

use crate::base::bugs::{self, Bug};
use crate::base::hash::Placement;
use crate::base::ids::{EventNumber, QuestionIndex, ShardId, ShowId, UserId};
use crate::base::limits::{ENDED_SHOWS_MAX, REVIVE_CARDS_MAX};
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::judge::RefusalReason;
use crate::quiz::money::Cents;
use crate::quiz::phase::{Phase, Step};
use crate::quiz::replica::snapshot::PlayerSnapshot;
use crate::quiz::replica::{
    AnswerInput, AnswerOutcome, Applied, ApplyError, NoSuchStep, ShardFull, ShowReplica,
    SliceProgress, TicketStamp, Unsealed, UsedCards, WorkStep,
};
use crate::quiz::report::Report;
use crate::quiz::users::Users;

/// Why a card could not be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The user holds as many as one can.
    #[error("user {user} holds {REVIVE_CARDS_MAX} revive cards, which is the most one can hold")]
    TooMany {
        /// Who.
        user: UserId,
    },
    /// This shard keeps as many users as it can.
    #[error(transparent)]
    Full(#[from] ShardFull),
}

/// Why cards could not be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// The user holds none.
    #[error("user {user} holds no revive card")]
    NoCard {
        /// Who.
        user: UserId,
    },
    /// A verdict, of now or when a question is judged again, could depend on which came first, and what
    /// the user may know of its cards could tell it.
    #[error(
        "user {user} has joined show {show}, which is being played: its cards can expire when the \
         show is settled or called off"
    )]
    InShow {
        /// Who.
        user: UserId,
        /// Where.
        show: ShowId,
    },
}

/// Why a user could not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// No such show here (yet).
    #[error("there is no show {0} on this shard")]
    NoSuchShow(ShowId),
    /// This shard keeps as many users as it can.
    #[error(transparent)]
    Full(#[from] ShardFull),
}

/// All of the quiz on one shard, apart from the directors that live there.
pub struct LocalQuiz {
    users: Users,
    /// Ascending by show. [`crate::base::limits::SHOWS_MAX`] are admitted by one shard for all;
    /// here an ended one may linger until its last event comes.
    shows: Vec<ShowReplica>,
    /// Shows that are forgotten, oldest first.
    ended: VecDeque<ShowId>,
    money: money::Money,
    /// Cards of shows that were called off, to be recorded: the process ended before they were.
    owed_cards: Vec<(ShowId, UsedCards)>,
}

impl LocalQuiz {
    /// No users and no shows yet.
    #[must_use]
    pub fn new(shard: ShardId, placement: Placement) -> LocalQuiz {
        let users = Users::new(shard, placement);
        let money = money::Money::default();
        let (shows, ended, owed_cards) = (Vec::new(), VecDeque::new(), Vec::new());
        LocalQuiz { users, shows, ended, money, owed_cards }
    }

    /// Applies a show event: strictly in order per show, repeats are ignored. The announcement
    /// makes the show known.
    ///
    /// # Errors
    /// If an event is missing or impossible: a fault of ours, the process must not go on.
    pub fn apply(&mut self, numbered: &NumberedEvent) -> Result<Applied, ApplyError> {
        let show = numbered.show;
        let place = match self.place(show) {
            Ok(place) => place,
            Err(_) if self.ended.contains(&show) => return Ok(Applied::Repeated),
            Err(place) => return self.announce(numbered, place),
        };
        self.shows[place].apply(numbered, &mut self.users)
    }

    fn announce(&mut self, numbered: &NumberedEvent, at: usize) -> Result<Applied, ApplyError> {
        let show = numbered.show;
        if numbered.number != EventNumber(1) {
            let expected = EventNumber(1);
            return Err(ApplyError::Gap { show, expected, got: numbered.number });
        }
        let ShowEvent::Announced(definition) = &numbered.event else {
            let step = numbered.event.step().unwrap_or(Step::OpenLobby);
            return Err(ApplyError::Impossible { show, phase: Phase::Announced, step });
        };
        assert_eq!(definition.id, show, "an announcement of another show");
        let replica = ShowReplica::new(definition.clone(), numbered.number, &self.users);
        self.shows.insert(at, replica);
        Ok(Applied::Fresh)
    }

    /// The replica of a show.
    #[must_use]
    pub fn show(&self, show: ShowId) -> Option<&ShowReplica> {
        self.place(show).ok().map(|place| &self.shows[place])
    }

    /// All shows known here, ascending.
    pub fn shows(&self) -> impl Iterator<Item = &ShowReplica> {
        self.shows.iter()
    }

    /// The users of this shard.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Whether a sender that had applied `sender_applied` of a show knows more than this shard.
    /// Its mail about that show must wait then, in order, and be taken after the next event and
    /// before the next slice: a ticket's binding or the end of a session would otherwise be noted
    /// before the question it is about.
    #[must_use]
    pub fn is_behind(&self, show: ShowId, sender_applied: EventNumber) -> bool {
        match self.show(show) {
            Some(replica) => replica.last_event() < sender_applied,
            None => sender_applied > EventNumber(0) && !self.ended.contains(&show),
        }
    }

    /// A user enters a show, or returns to it: to be called when it has joined the show's room, at
    /// `since`.
    ///
    /// # Errors
    /// If the show is not known here or the shard is full.
    pub fn join(&mut self, show: ShowId, user: UserId, since: Time) -> Result<(), JoinError> {
        let place = self.place(show).map_err(|_| JoinError::NoSuchShow(show))?;
        Ok(self.shows[place].join(user, since, &mut self.users)?)
    }

    /// See [`ShowReplica::present`]; join first; of an unknown show or player nothing changes.
    pub fn present(&mut self, show: ShowId, user: UserId, shard: ShardId, since: Time) {
        if let Ok(place) = self.place(show) {
            self.shows[place].present(user, shard, since, &mut self.users);
        }
    }

    /// See [`ShowReplica::absent`]; of an unknown show or player nothing changes.
    pub fn absent(&mut self, show: ShowId, user: UserId, at: Time) -> bool {
        self.place(show).is_ok_and(|place| self.shows[place].absent(user, at, &mut self.users))
    }

    /// See [`ShowReplica::visited`]; join first; of an unknown show or player nothing changes.
    pub fn visited(
        &mut self,
        show: ShowId,
        user: UserId,
        shard: ShardId,
        since: Time,
        until: Time,
    ) {
        if let Ok(place) = self.place(show) {
            self.shows[place].visited(user, shard, since, until, &mut self.users);
        }
    }

    /// Takes a player's answer: judges it and seals the result.
    pub fn answer(&mut self, show: ShowId, user: UserId, input: &AnswerInput) -> AnswerOutcome {
        let judged = self.judge(show, user, input);
        self.seal(show, user, judged)
    }

    /// The second half of [`LocalQuiz::answer`].
    ///
    /// # Panics
    /// If it was not judged here.
    pub fn seal(
        &self,
        show: ShowId,
        user: UserId,
        judged: AnswerOutcome<Unsealed>,
    ) -> AnswerOutcome {
        judged.map(|result| {
            let replica = self.show(show).expect("it was judged in this show");
            replica.seal(user, result)
        })
    }

    /// The first half of [`LocalQuiz::answer`], see [`ShowReplica::judge`]. A show that the sender
    /// knows and this shard does not is [`AnswerOutcome::Ahead`].
    pub fn judge(
        &mut self,
        show: ShowId,
        user: UserId,
        input: &AnswerInput,
    ) -> AnswerOutcome<Unsealed> {
        match self.place(show) {
            Ok(place) => self.shows[place].judge(user, input, &mut self.users),
            Err(_) if self.ended.contains(&show) => {
                AnswerOutcome::Refused(RefusalReason::ShowEnded)
            }
            Err(_) if input.sender_applied > EventNumber(0) => AnswerOutcome::Ahead,
            Err(_) => AnswerOutcome::Refused(RefusalReason::NoSuchShow),
        }
    }

    /// To be called before the answers of some users are given one by one, see
    /// [`ShowReplica::warm`]. Changes nothing.
    ///
    /// # Panics
    /// If a user lives on another shard.
    pub fn warm(&self, show: ShowId, users: &[UserId]) {
        if let Some(replica) = self.show(show) {
            replica.warm(users, &self.users);
        }
    }

    /// See [`ShowReplica::ticket_issued`].
    pub fn ticket_issued(
        &mut self,
        show: ShowId,
        user: UserId,
        question: QuestionIndex,
        ticket: TicketStamp,
    ) -> bool {
        self.place(show).is_ok_and(|place| {
            self.shows[place].ticket_issued(user, question, ticket, &mut self.users)
        })
    }

    /// See [`ShowReplica::drained`].
    pub fn drained(&mut self, show: ShowId, from: ShardId, question: QuestionIndex) {
        if let Ok(place) = self.place(show) {
            self.shows[place].drained(from, question);
        }
    }

    /// See [`ShowReplica::settle_slice`].
    pub fn settle_slice(&mut self, show: ShowId, players_max: usize) -> SliceProgress {
        match self.place(show) {
            Ok(place) => self.shows[place].settle_slice(players_max, &mut self.users),
            Err(_) => SliceProgress::default(),
        }
    }

    /// See [`ShowReplica::cards_of_cancelled`].
    #[must_use]
    pub fn cards_of_cancelled(&self, show: ShowId) -> Vec<UsedCards> {
        self.show(show).map_or(Vec::new(), |replica| replica.cards_of_cancelled(&self.users))
    }

    /// Keeps in mind that the cards of a show that was called off are to be recorded.
    pub fn owe_cards(&mut self, show: ShowId) {
        let cards = self.cards_of_cancelled(show).into_iter();
        self.owed_cards.extend(cards.map(|cards| (show, cards)));
    }

    /// Takes in what another shard owes of a bucket that lives here now.
    pub fn adopt_owed_cards(&mut self, show: ShowId, cards: UsedCards) {
        self.owed_cards.push((show, cards));
    }

    /// What [`LocalQuiz::owe_cards`] kept in mind.
    #[must_use]
    pub fn owed_cards(&self) -> &[(ShowId, UsedCards)] {
        &self.owed_cards
    }

    /// The same, and it is forgotten: to be recorded now.
    pub fn take_owed_cards(&mut self) -> Vec<(ShowId, UsedCards)> {
        std::mem::take(&mut self.owed_cards)
    }

    /// What a user may know of a show; nothing if the show is unknown here.
    #[must_use]
    pub fn snapshot(&self, show: ShowId, user: UserId) -> Option<PlayerSnapshot> {
        let cards = self.visible_cards(user);
        Some(self.show(show)?.snapshot(user, cards, &self.users))
    }

    /// Gives a user one revive card and says how many it may believe to have.
    ///
    /// # Errors
    /// If the user holds the most that one can: also when some of them are secretly spent, or the
    /// refusal would tell.
    pub fn grant_card(&mut self, user: UserId) -> Result<u8, GrantError> {
        let place = self.users.enter(user).ok_or(ShardFull)?;
        let visible = self.visible_cards(user);
        if visible >= REVIVE_CARDS_MAX {
            return Err(GrantError::TooMany { user });
        }
        self.users.entry_mut(place).cards += 1;
        Ok(visible + 1)
    }

    /// Takes up to `cards_max` revive cards away from a user, and says how many.
    ///
    /// # Errors
    /// If the user holds none, or has joined a show that is between its first question and its
    /// settlement: also when it is out or watches, or the refusal would tell.
    pub fn expire_cards(&mut self, user: UserId, cards_max: u8) -> Result<u8, ExpiryError> {
        if let Some(show) = self.show_in_play(user) {
            return Err(ExpiryError::InShow { user, show });
        }
        let held = self.users.find(user).map_or(0, |place| self.users.entry(place).cards);
        let expired = held.min(cards_max);
        if expired == 0 || !self.redo_expiry(user, expired) {
            return Err(ExpiryError::NoCard { user });
        }
        Ok(expired)
    }

    /// A show that the user has joined and in which cards may be used, or given back.
    fn show_in_play(&self, user: UserId) -> Option<ShowId> {
        if bugs::active(Bug::CardsExpireWhilePlayed) {
            return None;
        }
        let is_in_play =
            |show: &&ShowReplica| show.phase().moves_cards() && show.has_joined(user, &self.users);
        self.shows.iter().find(is_in_play).map(|show| show.definition().id)
    }

    /// The cards that a user may know of: those it holds, and those spent on questions that are
    /// not revealed.
    #[must_use]
    pub fn visible_cards(&self, user: UserId) -> u8 {
        let Some(place) = self.users.find(user) else { return 0 };
        let hidden = self.shows.iter().filter(|show| show.hides_spent_card(user, &self.users));
        let hidden = u8::try_from(hidden.count()).unwrap_or(u8::MAX);
        self.users.entry(place).cards.saturating_add(hidden)
    }

    /// What a user has won and not drawn. Changes only after a show's last reveal.
    #[must_use]
    pub fn balance(&self, user: UserId) -> Cents {
        self.users.find(user).map_or(Cents::ZERO, |place| self.users.entry(place).balance)
    }

    /// Drops the players of a show that has ended; its id is remembered for a while.
    ///
    /// # Panics
    /// If the show is known and has not ended.
    pub fn forget(&mut self, show: ShowId) {
        let Ok(place) = self.place(show) else { return };
        assert_eq!(self.shows[place].phase(), Phase::Ended, "only an ended show is forgotten");
        self.shows.remove(place);
        self.note_ended(show);
    }

    fn note_ended(&mut self, show: ShowId) {
        if self.ended.len() == ENDED_SHOWS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(show);
    }

    /// A user was given a card, in re-execution: whether it could be is decided already.
    ///
    /// # Errors
    /// If this shard keeps as many users as it can.
    pub fn redo_grant(&mut self, user: UserId) -> Result<(), ShardFull> {
        let place = self.users.enter(user).ok_or(ShardFull)?;
        let entry = self.users.entry_mut(place);
        entry.cards = entry.cards.saturating_add(1);
        Ok(())
    }

    /// Cards of a user expired, in re-execution: whether they could is decided already. False, and
    /// nothing is changed, if it does not hold so many.
    #[must_use]
    pub fn redo_expiry(&mut self, user: UserId, cards: u8) -> bool {
        let Some(place) = self.users.find(user) else { return false };
        let entry = self.users.entry_mut(place);
        let Some(left) = entry.cards.checked_sub(cards) else { return false };
        entry.cards = left;
        true
    }

    /// See [`ShowReplica::redo_step`].
    ///
    /// # Errors
    /// If there is no such work.
    pub fn redo_step(&mut self, show: ShowId, step: WorkStep) -> Result<(), NoSuchStep> {
        let place = self.place(show).map_err(|_| NoSuchStep(step))?;
        self.shows[place].redo_step(step, &mut self.users)
    }

    /// See [`ShowReplica::redo_report`].
    pub fn redo_report(&mut self, show: ShowId) -> Option<Report> {
        let place = self.place(show).ok()?;
        self.shows[place].redo_report(&mut self.users)
    }

    /// See [`ShowReplica::complete_work`].
    pub fn complete_work(&mut self, show: ShowId) {
        if let Ok(place) = self.place(show) {
            self.shows[place].complete_work(&mut self.users);
        }
    }

    /// Makes a show known that has a history, without its players.
    ///
    /// # Errors
    /// If the history has gaps or is impossible.
    ///
    /// # Panics
    /// If it does not begin with the announcement, or the show is known.
    pub fn restore_show(&mut self, history: &[NumberedEvent]) -> Result<(), ApplyError> {
        let replica = ShowReplica::restored(history, &mut self.users)?;
        let at = self.place(replica.definition().id).expect_err("the show is not known");
        self.shows.insert(at, replica);
        Ok(())
    }

    /// Remembers that a show has ended.
    pub fn restore_ended(&mut self, show: ShowId) {
        self.note_ended(show);
    }

    /// Shows that are remembered to have ended, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = ShowId> {
        self.ended.iter().copied()
    }

    /// The process has ended: nobody has a session any more.
    pub fn end_sessions(&mut self, at: Time) {
        for show in &mut self.shows {
            show.end_sessions(at, &mut self.users);
        }
    }

    pub(crate) fn users_mut(&mut self) -> &mut Users {
        &mut self.users
    }

    pub(crate) fn show_mut(&mut self, show: ShowId) -> Option<&mut ShowReplica> {
        self.place(show).ok().map(|place| &mut self.shows[place])
    }

    fn place(&self, show: ShowId) -> Result<usize, usize> {
        self.shows.binary_search_by_key(&show, |replica| replica.definition().id)
    }
}
