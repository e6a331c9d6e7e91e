//! What a shard is after a restart: its records, done again.
//!
//! A shard's journal is in the order in which the shard did things, so doing them again in that
//! order gives the same state: the events of shows where they were applied, what users did, and
//! slices of work between the two records between which they were done. Verdicts and reports are
//! compared with those on record; where they differ, nobody may start on it.
//!
//! Users' buckets are then handed to whatever shards there are now ([`redistribute`]); a shard of
//! the new run begins with a [`Beginning`]. Sessions, rooms and what was under way between shards
//! are gone: players come back, and directors and shards tell each other again where they stand.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::base::hash::Placement;
use crate::base::ids::{EventNumber, ShardId, ShowId, UserId};
use crate::base::limits::{ENDED_SHOW_KEPT_S, ENDED_SHOWS_KEPT_MAX};
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::image::ImageError;
use crate::quiz::local::{JoinError, LocalQuiz};
use crate::quiz::phase::Phase;
use crate::quiz::replica::{AnswerInput, AnswerOutcome, ApplyError, NoSuchStep, ShardFull};
use crate::quiz::report::Report;
use crate::quiz::verdict::Verdict;
use crate::shard::record::{MoneyRecord, Record};
use crate::shard::redo::redo_money;
use crate::shard::standing::{Standing, StandingRecord};

/// Why records cannot be done again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// An event of a show is on no journal.
    #[error("show {show}: event {number} is missing")]
    EventMissing {
        /// Which show.
        show: ShowId,
        /// Its number.
        number: EventNumber,
    },
    /// An event cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A record follows another event than the shard has applied.
    #[error("show {show}: the record follows event {recorded}, but {applied} was applied last")]
    Order {
        /// Which show.
        show: ShowId,
        /// As recorded.
        recorded: EventNumber,
        /// As done again.
        applied: EventNumber,
    },
    /// An answer came out otherwise.
    #[error(
        "show {show}, user {user}: the answer {input:?} is on record as {recorded:?}, done again \
         it is {redone}"
    )]
    Verdict {
        /// Which show.
        show: ShowId,
        /// Who.
        user: UserId,
        /// What was answered.
        input: Box<AnswerInput>,
        /// As recorded.
        recorded: Option<Verdict>,
        /// As done again.
        redone: String,
    },
    /// A report came out otherwise.
    #[error("show {show}: the report {recorded:?} is on record, done again it is {redone:?}")]
    Report {
        /// Which show.
        show: ShowId,
        /// As recorded.
        recorded: Box<Report>,
        /// As done again.
        redone: Option<Box<Report>>,
    },
    /// Something about money came out otherwise.
    #[error("user {user}: {recorded:?} is on record, done again it is something else")]
    Money {
        /// Whose.
        user: UserId,
        /// As recorded.
        recorded: Box<MoneyRecord>,
    },
    /// A user holds fewer cards than expired.
    #[error(
        "user {user}: {expired} revive cards expired, as is on record; done again, it has fewer"
    )]
    Cards {
        /// Whose.
        user: UserId,
        /// As recorded.
        expired: u8,
    },
    /// A slice of work has no place.
    #[error(transparent)]
    Step(#[from] NoSuchStep),
    /// A user cannot join any more.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A shard is full.
    #[error(transparent)]
    Full(#[from] ShardFull),
    /// A bucket cannot be taken in.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// The durable events of all shows, each show's from its announcement on.
#[derive(Clone, Debug, Default)]
pub struct Histories(BTreeMap<ShowId, Vec<NumberedEvent>>);

impl Histories {
    /// Takes an event in; one that is known already changes nothing.
    ///
    /// # Errors
    /// If one before it is missing.
    pub fn note(&mut self, event: NumberedEvent) -> Result<(), ReplayError> {
        let history = self.0.entry(event.show).or_default();
        let next = history.last().map_or(EventNumber(1), |last| last.number.next());
        if event.number > next {
            return Err(ReplayError::EventMissing { show: event.show, number: next });
        }
        if event.number == next {
            history.push(event);
        }
        Ok(())
    }

    /// The events of a show; none if it is not known.
    #[must_use]
    pub fn of(&self, show: ShowId) -> &[NumberedEvent] {
        self.0.get(&show).map_or(&[], Vec::as_slice)
    }

    /// All shows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (ShowId, &[NumberedEvent])> {
        self.0.iter().map(|(show, history)| (*show, history.as_slice()))
    }

    /// Forgets shows that ended long ago, and of many the older ones.
    pub fn forget_ended(&mut self, now: Time) {
        for show in ended_to_forget(self.iter(), now) {
            self.0.remove(&show);
        }
    }

    pub(super) fn event(
        &self,
        show: ShowId,
        number: EventNumber,
    ) -> Result<&NumberedEvent, ReplayError> {
        let place = usize::try_from(number.0.wrapping_sub(1)).unwrap_or(usize::MAX);
        self.of(show).get(place).ok_or(ReplayError::EventMissing { show, number })
    }
}

/// All that a shard knows of users and shows, at one of its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardImage {
    /// The events of the shows whose director lives here.
    pub events: Vec<NumberedEvent>,
    /// The last event of each show that was applied.
    pub applied: Vec<(ShowId, EventNumber)>,
    /// Shows that are remembered to have ended, oldest first.
    pub ended: Vec<ShowId>,
    /// See [`crate::quiz::image`].
    pub buckets: Vec<Bytes>,
    /// What is in force by operators' orders, as far as this shard decides it.
    pub standing: Standing,
}

impl ShardImage {
    /// Of `local`, of those `histories` whose director lives on the same shard, and of what is in
    /// force there.
    #[must_use]
    pub fn of<'a>(
        local: &LocalQuiz,
        histories: impl Iterator<Item = (ShowId, &'a [NumberedEvent])>,
        standing: Standing,
    ) -> ShardImage {
        let users = local.users();
        let home = |show: &ShowId| users.placement().show_home(*show) == users.shard();
        let here = histories.filter(|(show, _)| home(show));
        let bucket = |bucket: &_| {
            let mut image = Vec::new();
            local.store_bucket(*bucket, &mut image);
            Bytes::from(image)
        };
        ShardImage {
            events: here.flat_map(|(_, history)| history.iter().cloned()).collect(),
            applied: local.shows().map(|show| (show.definition().id, show.last_event())).collect(),
            ended: local.ended().collect(),
            buckets: users.buckets().iter().map(bucket).collect(),
            standing,
        }
    }

    /// Makes a shard's quiz of it.
    ///
    /// # Errors
    /// If events are missing, or it is of another shard.
    pub fn restore(
        &self,
        shard: ShardId,
        placement: Placement,
        histories: &Histories,
    ) -> Result<LocalQuiz, ReplayError> {
        let mut local = LocalQuiz::new(shard, placement);
        self.ended.iter().for_each(|show| local.restore_ended(*show));
        for (show, applied) in &self.applied {
            histories.event(*show, *applied)?;
            let count = usize::try_from(applied.0).unwrap_or(usize::MAX);
            local.restore_show(&histories.of(*show)[..count])?;
        }
        for bucket in &self.buckets {
            local.load_bucket(bucket)?;
        }
        Ok(local)
    }
}

/// A shard whose records are being done again.
pub struct Replay {
    local: LocalQuiz,
    standing: Standing,
    /// An order that the next record carries out.
    pending: Option<StandingRecord>,
    /// The newest moment on record.
    latest: Time,
    redone: u64,
}

impl Replay {
    /// Begins with what the shard was before its first record.
    #[must_use]
    pub fn new(local: LocalQuiz, standing: Standing) -> Replay {
        Replay { local, standing, pending: None, latest: Time::ZERO, redone: 0 }
    }

    /// What is in force by the orders on record.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The newest moment that a record names.
    #[must_use]
    pub fn latest(&self) -> Time {
        self.latest
    }

    /// Records that were done again.
    #[must_use]
    pub fn redone(&self) -> u64 {
        self.redone
    }

    /// What the shard is by now.
    #[must_use]
    pub fn local(&self) -> &LocalQuiz {
        &self.local
    }

    /// Does a record again.
    ///
    /// # Errors
    /// If it cannot be done, or comes out otherwise.
    pub fn redo(&mut self, record: &Record, histories: &Histories) -> Result<(), ReplayError> {
        self.redone += 1;
        if let Some(carried_out) = self.pending.take() {
            self.standing.apply(&carried_out);
        }
        match record {
            Record::Standing(what) => self.redo_standing(what),
            // What directors decided is in the histories, and counts where it is applied.
            Record::Event(event) => self.note_time(event.decided_at),
            // Marks are posted again, and how a question was offered changes nothing.
            Record::Drained { .. } | Record::Offered { .. } | Record::Covered { .. } => {}
            // Who was in the room when the show ended may be on record behind its end.
            Record::Joined { show, .. }
            | Record::Absent { show, .. }
            | Record::TicketIssued { show, .. }
                if self.has_forgotten(*show) => {}
            Record::Applied { show, number } => {
                let event = histories.event(*show, *number)?;
                self.apply(event)?;
            }
            Record::Answer { show, user, input, verdict, applied } => {
                self.check_order(*show, *applied)?;
                self.note_time(input.arrived);
                self.answer(*show, *user, input, *verdict)?;
            }
            Record::Joined { show, user, shard, since, until, applied } => {
                self.check_order(*show, *applied)?;
                self.note_time(*since);
                self.local.join(*show, *user, *since)?;
                match until {
                    None => self.local.present(*show, *user, *shard, *since),
                    Some(until) => self.local.visited(*show, *user, *shard, *since, *until),
                }
            }
            Record::Absent { show, user, at, applied } => {
                self.check_order(*show, *applied)?;
                self.note_time(*at);
                self.local.absent(*show, *user, *at);
            }
            Record::TicketIssued { show, user, question, ticket, applied } => {
                self.check_order(*show, *applied)?;
                self.note_time(ticket.arrived);
                self.local.ticket_issued(*show, *user, *question, *ticket);
            }
            Record::Worked { show, step, applied } => {
                self.check_order(*show, *applied)?;
                self.local.redo_step(*show, *step)?;
            }
            Record::Money { user, what, applied, at } => {
                self.note_time(*at);
                if what.show() != ShowId(0) {
                    self.check_order(what.show(), *applied)?;
                }
                if !redo_money(&mut self.local, *user, what) {
                    let recorded = what.clone();
                    return Err(ReplayError::Money { user: *user, recorded });
                }
            }
            Record::Reported { show, report } => self.report_again(*show, report)?,
            Record::CardGranted { user, at, .. } => self.grant_again(*user, *at)?,
            Record::CardsExpired { user, cards, at, .. } => {
                self.note_time(*at);
                if !self.local.redo_expiry(*user, *cards) {
                    return Err(ReplayError::Cards { user: *user, expired: *cards });
                }
            }
            // They follow from what was done, and are compared in its report.
            Record::Prizes { prizes, .. } => self.note_time(prizes.at),
            Record::CardsUsed { cards, .. } => self.note_time(cards.at),
        }
        Ok(())
    }

    /// All records are done again: the shard learns what it had not heard yet, and nobody has a
    /// session since `died_at`.
    ///
    /// # Errors
    /// If an event cannot be applied.
    pub fn finish(
        mut self,
        histories: &Histories,
        died_at: Time,
    ) -> Result<LocalQuiz, ReplayError> {
        for (show, number) in self.pending(histories) {
            let event = histories.event(show, number)?;
            self.apply(event)?;
            if event.event == ShowEvent::Cancelled {
                self.local.owe_cards(show);
            }
        }
        self.local.end_sessions(died_at);
        self.local.drop_rain_grants();
        Ok(self.local)
    }

    /// The events that the shard had not heard of yet, in the order in which it applies them.
    #[must_use]
    pub fn pending(&self, histories: &Histories) -> Vec<(ShowId, EventNumber)> {
        let mut pending = Vec::new();
        for (show, history) in histories.iter() {
            // One that has ended everywhere may be forgotten here, and has nothing left to do.
            let is_over = has_ended(history) && self.local.show(show).is_none();
            if is_over || self.has_forgotten(show) {
                continue;
            }
            let known = self.local.show(show).map_or(EventNumber(0), |show| show.last_event());
            let later = history.iter().filter(|event| event.number > known);
            pending.extend(later.map(|event| (show, event.number)));
        }
        pending
    }

    fn report_again(&mut self, show: ShowId, recorded: &Report) -> Result<(), ReplayError> {
        let redone = match recorded {
            Report::Rain(rain) => self.local.rain_summary(show, rain.rain).map(Report::Rain),
            Report::Closed(_) | Report::Frozen(_) | Report::Paid(_) => self.local.redo_report(show),
        };
        if redone.as_ref() == Some(recorded) {
            return Ok(());
        }
        let (recorded, redone) = (Box::new(recorded.clone()), redone.map(Box::new));
        Err(ReplayError::Report { show, recorded, redone })
    }

    fn redo_standing(&mut self, what: &StandingRecord) {
        match what {
            StandingRecord::Ordered { at, .. } => {
                self.note_time(*at);
                self.pending = Some(what.clone());
            }
            StandingRecord::RoomEnded { at, .. } => {
                self.note_time(*at);
                self.standing.apply(what);
            }
            StandingRecord::Banned { .. }
            | StandingRecord::Muted { .. }
            | StandingRecord::UserRevoked { .. }
            | StandingRecord::TokenRevoked { .. }
            | StandingRecord::RoomConfigured { .. } => self.standing.apply(what),
        }
    }

    fn apply(&mut self, event: &NumberedEvent) -> Result<(), ReplayError> {
        self.note_time(event.decided_at);
        if matches!(
            event.event,
            ShowEvent::QuestionClosed { .. }
                | ShowEvent::Rejudged { .. }
                | ShowEvent::Settled(_)
                | ShowEvent::Ended
        ) {
            // It was decided when every shard had reported, this one too.
            self.local.complete_work(event.show);
        }
        self.local.apply(event)?;
        if matches!(event.event, ShowEvent::Ended) {
            self.local.forget(event.show);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        show: ShowId,
        user: UserId,
        input: &AnswerInput,
        recorded: Option<Verdict>,
    ) -> Result<(), ReplayError> {
        let redone = match self.local.judge(show, user, input) {
            AnswerOutcome::Recorded(result) if Some(result.verdict()) == recorded => return Ok(()),
            AnswerOutcome::Deferred if recorded.is_none() => return Ok(()),
            other => format!("{other:?}"),
        };
        let input = Box::new(*input);
        Err(ReplayError::Verdict { show, user, input, recorded, redone })
    }

    fn grant_again(&mut self, user: UserId, at: Time) -> Result<(), ReplayError> {
        self.note_time(at);
        Ok(self.local.redo_grant(user)?)
    }

    fn has_forgotten(&self, show: ShowId) -> bool {
        self.local.show(show).is_none() && self.local.ended().any(|ended| ended == show)
    }

    fn check_order(&self, show: ShowId, recorded: EventNumber) -> Result<(), ReplayError> {
        let applied = self.local.show(show).map_or(EventNumber(0), |show| show.last_event());
        if applied == recorded {
            return Ok(());
        }
        Err(ReplayError::Order { show, recorded, applied })
    }

    fn note_time(&mut self, at: Time) {
        self.latest = self.latest.max(at);
    }
}

/// Hands the buckets of all shards of the run before to those of `placement`.
///
/// # Errors
/// If a bucket cannot be taken in.
pub fn redistribute(
    before: &[LocalQuiz],
    histories: &Histories,
    placement: Placement,
) -> Result<Vec<LocalQuiz>, ReplayError> {
    let mut shards = Vec::with_capacity(usize::from(placement.shard_count()));
    for shard in ShardId::all(placement.shard_count()) {
        let mut local = LocalQuiz::new(shard, placement);
        if let Some(any) = before.first() {
            any.ended().for_each(|show| local.restore_ended(show));
            for show in any.shows() {
                local.restore_show(histories.of(show.definition().id))?;
            }
        }
        shards.push(local);
    }
    let mut image = Vec::new();
    for old in before {
        for bucket in old.users().buckets() {
            image.clear();
            old.store_bucket(*bucket, &mut image);
            let home = bucket.home(placement.shard_count());
            shards[home.index()].load_bucket(&image)?;
        }
        for (show, cards) in old.owed_cards() {
            let home = cards.bucket.home(placement.shard_count());
            shards[home.index()].adopt_owed_cards(*show, cards.clone());
        }
    }
    Ok(shards)
}

/// What a shard begins with.
pub struct Beginning {
    /// Its users, and the shows.
    pub local: LocalQuiz,
    /// What directors decided so far.
    pub histories: Histories,
    /// What is in force by operators' orders, of all shards.
    pub standing: Standing,
}

/// By then every shard has applied a show's last event.
const ENDED_EVERYWHERE: Duration = Duration::from_secs(60);

/// The shows with these histories that are not to be looked back at any more: all but the newest
/// [`ENDED_SHOWS_KEPT_MAX`] that have ended, and those that ended more than [`ENDED_SHOW_KEPT_S`] ago.
pub(super) fn ended_to_forget<'a>(
    histories: impl Iterator<Item = (ShowId, &'a [NumberedEvent])>,
    now: Time,
) -> Vec<ShowId> {
    let ended = histories.filter(|(_, history)| has_ended(history));
    let ended = ended.filter_map(|(show, history)| Some((history.last()?.decided_at, show)));
    let mut ended: Vec<(Time, ShowId)> = ended.collect();
    ended.sort_unstable_by(|one, other| other.cmp(one));
    let kept = Duration::from_secs(ENDED_SHOW_KEPT_S);
    let is_due = |place: usize, at: Time| {
        let age = now.since(at);
        age > kept || place >= ENDED_SHOWS_KEPT_MAX && age > ENDED_EVERYWHERE
    };
    let forgotten = (0..).zip(ended).filter(|(place, (at, _))| is_due(*place, *at));
    forgotten.map(|(_, (_, show))| show).collect()
}

/// Whether a show with this history has ended.
#[must_use]
pub fn has_ended(history: &[NumberedEvent]) -> bool {
    history.last().is_some_and(|last| matches!(last.event, ShowEvent::Ended))
}

/// Until when the question of a show that is closing may have been answered; nothing unless it is.
pub(super) fn close_after(local: &LocalQuiz, history: &[NumberedEvent]) -> Option<Time> {
    let show = history.first()?.show;
    local.show(show).filter(|show| show.phase() == Phase::Closing)?;
    history.iter().rev().find_map(|numbered| match &numbered.event {
        ShowEvent::QuestionClosing { close_after, .. } => Some(*close_after),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn ended(shows: impl Iterator<Item = (u64, Time)>) -> Histories {
        let mut histories = Histories::default();
        for (show, decided_at) in shows {
            let (show, number) = (ShowId(show), EventNumber(1));
            // What a history is asked for here is its last event only.
            let event = ShowEvent::Ended;
            histories.note(NumberedEvent { show, number, decided_at, event }).unwrap();
        }
        histories
    }

    #[test]
    fn ended_shows_do_not_stay_in_every_runs_state() {
        let at = |day: u32| Time::ZERO + DAY * day;
        // One a day: those of the last week are kept.
        let mut histories = ended((0..30).map(|day| (day, at(u32::try_from(day).unwrap()))));
        histories.forget_ended(at(29));
        let kept: Vec<u64> = histories.iter().map(|(show, _)| show.0).collect();
        assert_eq!(kept, (22..30).collect::<Vec<_>>());
        // Many on one day: the newest are kept, whatever their numbers are.
        let mut histories = ended((0..200).map(|number| (200 - number, Time(number))));
        histories.forget_ended(at(0));
        assert_eq!(histories.iter().count(), 200, "shards may not have heard of it yet");
        histories.forget_ended(at(1));
        let kept: Vec<u64> = histories.iter().map(|(show, _)| show.0).collect();
        assert_eq!(kept, (1..=ENDED_SHOWS_KEPT_MAX as u64).collect::<Vec<_>>());
        // One that has not ended stays, however old it is.
        let event = ShowEvent::LobbyOpened;
        let (show, number, decided_at) = (ShowId(999), EventNumber(1), Time::ZERO);
        histories.note(NumberedEvent { show, number, decided_at, event }).unwrap();
        histories.forget_ended(at(1_000));
        assert_eq!(histories.iter().map(|(show, _)| show).collect::<Vec<_>>(), [show]);
    }
}
