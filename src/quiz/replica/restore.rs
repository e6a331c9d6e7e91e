//! A replica from what outlives the process: the show's events, and its players.
//!
//! Everything but the players follows from the events; what is summed up over the players is summed
//! up again. So the players of a bucket can move to a shard of another number.

use super::{Current, ShowReplica, eligibility};
use crate::base::time::Time;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::judge::Eligibility;
use crate::quiz::phase::Phase;
use crate::quiz::player::{At, Player};
use crate::quiz::replica::ApplyError;
use crate::quiz::users::{UserEntry, UserPlace, Users};
use crate::quiz::verdict::Failing;

impl ShowReplica {
    /// The replica that has applied all of `events`, the announcement first, with no players yet.
    /// Work that belongs to its phase is to be done again.
    ///
    /// # Errors
    /// If an event is missing or impossible.
    ///
    /// # Panics
    /// If the first event is not the announcement.
    pub fn restored(events: &[NumberedEvent], users: &mut Users) -> Result<Self, ApplyError> {
        let Some(ShowEvent::Announced(definition)) = events.first().map(|first| &first.event)
        else {
            panic!("a show's history begins with its announcement");
        };
        let mut replica = ShowReplica::new(definition.clone(), events[0].number, users);
        for event in &events[1..] {
            // Without players all work is done.
            replica.work = None;
            replica.apply(event, users)?;
        }
        replica.begin_work_again();
        replica.rains_mut().drop_grants();
        Ok(replica)
    }

    /// Adds a player as it was, with what it counts for.
    pub(crate) fn adopt(&mut self, place: UserPlace, player: Player) {
        self.joined += 1;
        if self.stood_in_play(&player) {
            self.in_play_before += 1;
        }
        if let Some(current) = &mut self.current {
            current.count_again(&player);
        }
        self.roster.add(place, player);
    }

    /// Whether a player was in the game before the current question.
    fn stood_in_play(&self, player: &Player) -> bool {
        let current = self.current.as_ref().map(|current| current.shown.question);
        let before = if current.is_some_and(|question| player.is_about(question)) {
            before_current(player)
        } else {
            // Not touched since an earlier question, which is history by now.
            let mut folded = *player;
            folded.fold(&mut UserEntry::default());
            folded
        };
        eligibility(&self.voided, &before) == Eligibility::InPlay
    }

    /// Who joined the open question after the `answer_by` that is known, and when.
    pub(crate) fn late_joins(&self) -> &[(UserPlace, Time)] {
        &self.late_joins
    }

    /// See [`ShowReplica::late_joins`].
    pub(crate) fn adopt_late_join(&mut self, place: UserPlace, since: Time) {
        self.late_joins.push((place, since));
    }

    /// The players of a bucket, in the order in which they joined.
    pub(crate) fn players_of(&self, bucket: usize) -> impl Iterator<Item = &Player> {
        (0..self.roster.count(bucket)).map(move |index| self.roster.at(bucket, index))
    }

    /// The process ended: nobody has a session any more. What was offered until `at` stays offered,
    /// except at a question that is open: it is offered again.
    pub(crate) fn end_sessions(&mut self, at: Time, users: &mut Users) {
        for bucket in 0..self.roster.bucket_count() {
            for index in 0..self.roster.count(bucket) {
                let player = self.roster.at_mut(bucket, index);
                let place = UserPlace { bucket, slot: player.slot };
                if let Some(current) = &self.current {
                    player.turn_to(current.shown.question, users.entry_mut(place));
                    player.note_offer(current.opened_at, at);
                    if self.phase == Phase::Open && player.option().is_none() {
                        player.withdraw_offer();
                    }
                }
                player.end_session();
            }
        }
    }
}

/// A player without what the current question, if the show is being settled, made history already.
fn before_current(player: &Player) -> Player {
    let by_current = |at: At| at.get().is_some_and(|(question, _)| player.is_about(question));
    let mut before = *player;
    if by_current(before.out) {
        before.out = At::default();
    }
    if by_current(before.card) {
        before.card = At::default();
    }
    before
}

impl Current {
    /// Counts what a player's record at this question says, as it was counted when it was made.
    fn count_again(&mut self, player: &Player) {
        let about_this = player.is_about(self.shown.question);
        let Some(verdict) = player.verdict().filter(|_| about_this) else { return };
        if let Some(option) = player.option() {
            self.counts.answered += 1;
            self.counts.by_ticket += u64::from(player.is_by_ticket());
            if { player.arrived } <= self.shown.answer_by {
                let card = self.card_facts(&before_current(player), player.held_card());
                self.counts.options[option.index()] += 1;
                self.counts.revivable[option.index()] += u64::from(card.revives(Failing::Wrong));
            }
        }
        self.counts.count_verdict(verdict);
        self.counts.new_records += u64::from(player.is_new_record());
    }
}
