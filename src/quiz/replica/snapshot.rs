//! What a player may know when it joins or returns: the last *revealed* state, and ciphertext.

use super::{OpenQuestion, ShowReplica};
use crate::base::bugs::{self, Bug};
use crate::base::ids::{OptionIndex, QuestionIndex, UserId};
use crate::quiz::judge::Eligibility;
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::player::Player;
use crate::quiz::seal::SealedResult;
use crate::quiz::users::Users;
use crate::quiz::verdict::Verdict;

/// Where a player stands as of the last reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the game.
    InPlay,
    /// Out.
    Out,
    /// Watching: joined too late, or not joined.
    Spectator,
    /// Shares the prize.
    Winner,
}

/// A player's view of a show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayerSnapshot {
    /// The show's phase.
    pub phase: Phase,
    /// As of the last reveal.
    pub standing: Standing,
    /// The last question that was revealed and counts.
    pub last_revealed: Option<QuestionIndex>,
    /// Cards held as of the last reveal; see [`crate::quiz::local::LocalQuiz::visible_cards`].
    pub cards: u8,
    /// The question that takes answers now.
    pub open_question: Option<OpenQuestion>,
    /// The question that the next two fields are about: the last one opened, unless voided.
    pub question: Option<QuestionIndex>,
    /// The answer on record.
    pub recorded_option: Option<OptionIndex>,
    /// The result on record, sealed.
    pub recorded_result: Option<SealedResult>,
    /// The player's share, once the show is settled.
    pub prize: Option<Cents>,
}

impl ShowReplica {
    /// What `user` may know. `cards` is what the user may know of its cards, over all shows.
    #[must_use]
    pub fn snapshot(&self, user: UserId, cards: u8, users: &Users) -> PlayerSnapshot {
        let player = self.player(user, users);
        let current = self.current.as_ref();
        // What is on record is the current question's or nothing.
        let recorded =
            player.zip(current).filter(|(player, current)| player.is_about(current.shown.question));
        let mut recorded_option = recorded.and_then(|(player, _)| player.option());
        if bugs::active(Bug::OptionLeakedInSnapshot) && self.phase.hides_verdicts() {
            recorded_option = recorded_option.or(current.map(|current| current.correct));
        }
        PlayerSnapshot {
            phase: self.phase,
            standing: player.map_or(Standing::Spectator, |player| self.standing(player)),
            last_revealed: self.last_revealed(),
            cards,
            open_question: self.open_question().copied(),
            question: current.map(|current| current.shown.question),
            recorded_option,
            recorded_result: recorded.and_then(|(player, current)| current.sealed(user, player)),
            prize: self.settlement.as_ref().zip(player).map(|(settlement, player)| {
                if self.is_winner(player) { settlement.per_head } else { Cents::ZERO }
            }),
        }
    }

    /// Whether the user spent a card here on a question that is not revealed: it still seems to
    /// hold it.
    #[must_use]
    pub fn hides_spent_card(&self, user: UserId, users: &Users) -> bool {
        let Some(current) = self.current.as_ref().filter(|_| self.phase.hides_verdicts()) else {
            return false;
        };
        self.player(user, users).is_some_and(|player| {
            player.is_about(current.shown.question)
                && player.verdict().is_some_and(Verdict::uses_card)
        })
    }

    /// Whether the user has joined, to play or to watch.
    #[must_use]
    pub fn has_joined(&self, user: UserId, users: &Users) -> bool {
        self.player(user, users).is_some()
    }

    fn standing(&self, player: &Player) -> Standing {
        match self.eligibility(player) {
            Eligibility::Spectator => Standing::Spectator,
            Eligibility::Out => Standing::Out,
            Eligibility::InPlay => {
                let revealed = player.verdict().filter(|_| !self.phase.hides_verdicts());
                let about_current = self
                    .current
                    .as_ref()
                    .is_some_and(|current| player.is_about(current.shown.question));
                // A verdict about an earlier question is public whatever the phase.
                let known = if about_current { revealed } else { player.verdict() };
                if known.is_some_and(|verdict| !verdict.passes()) {
                    Standing::Out
                } else if self.settlement.is_some() && self.is_winner(player) {
                    Standing::Winner
                } else {
                    Standing::InPlay
                }
            }
        }
    }

    fn last_revealed(&self) -> Option<QuestionIndex> {
        let hidden = usize::from(self.phase.hides_verdicts());
        let known = self.voided.len().saturating_sub(hidden);
        let place = self.voided[..known].iter().rposition(|voided| !voided)?;
        Some(QuestionIndex(super::u16_of(place)))
    }

    fn player(&self, user: UserId, users: &Users) -> Option<&Player> {
        let (place, index) = self.find(user, users)?;
        Some(self.roster.at(place.bucket, index))
    }
}
