//! What a replica knows of all its players, one by one: for whoever does its records again and watches.

use super::{AnswerRecord, OpenQuestion, ShowReplica};
use crate::base::ids::UserId;
use crate::base::time::Time;
use crate::quiz::judge::Eligibility;
use crate::quiz::player::Player;
use crate::quiz::users::{UserPlace, Users};

/// Where a player stands. Not for any player before the reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayerState {
    /// Who.
    pub user: UserId,
    /// Revive cards that the user holds.
    pub cards: u8,
    /// The prize is in the balance.
    pub is_paid: bool,
    /// What is on record at the current question of a player who was in the game before it.
    pub record: Option<AnswerRecord>,
}

impl ShowReplica {
    /// The players of the bucket at `place`, in the order in which they joined. What the session of
    /// a player is offered until `until` counts as offered.
    pub fn states<'r>(
        &'r self,
        place: usize,
        users: &'r Users,
        until: Time,
    ) -> impl Iterator<Item = PlayerState> + 'r {
        self.players_of(place).map(move |player| {
            let entry = users.entry(UserPlace { bucket: place, slot: player.slot });
            let mut seen = *player;
            if let Some(current) = &self.current
                && player.is_about(current.shown.question)
            {
                seen.note_offer(current.opened_at, until);
            }
            PlayerState {
                user: entry.user,
                cards: entry.cards,
                is_paid: player.is_paid(),
                record: self.record_of(&seen),
            }
        })
    }

    /// What is on record of a player at the current question.
    pub(super) fn record_of(&self, player: &Player) -> Option<AnswerRecord> {
        let OpenQuestion { question, show_by, .. } = self.current.as_ref()?.shown;
        if !player.is_about(question) || self.eligibility(player) != Eligibility::InPlay {
            return None;
        }
        Some(AnswerRecord {
            question,
            offered: player.offered(show_by),
            answer: player.option().map(|option| (option, player.arrived)),
            by_ticket: player.is_by_ticket(),
            verdict: player.verdict(),
            revision: player.revision,
        })
    }
}
