//! Who invited whom: one inviter per new player, no loops, nobody invites itself.
//!
//! The two sides may live in different buckets, and nothing is decided in both at once. The new
//! player's bucket *asks*; the inviter's bucket *accepts* or refuses, once for each pair; the new
//! player's bucket takes the *answer*. Each step is a record, and each may be repeated.
//!
//! Why there can be no loop: whoever was accepted as an inviter can never ask any more, and whoever
//! has asked is accepted as an inviter only behind its own answer. So along a chain of invitations
//! the moments of acceptance increase, and cannot come back to where they began.

use std::collections::BTreeMap;

use crate::base::ids::UserId;
use crate::base::limits::{INVITATIONS_MAX, INVITEES_REWARDED_MAX};

/// What each side gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvitationRule {
    /// Revive cards for the inviter, for each new player.
    pub inviter_cards: u8,
    /// Revive cards for the new player.
    pub invitee_cards: u8,
}

impl Default for InvitationRule {
    fn default() -> InvitationRule {
        InvitationRule { inviter_cards: 1, invitee_cards: 1 }
    }
}

/// Why an invitation does not count. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// One's own code.
    #[error("nobody invites itself")]
    Oneself,
    /// Another one was first.
    #[error("somebody else invited this player already")]
    InvitedAlready,
    /// Inviters were there before.
    #[error("who has invited others is no new player")]
    IsInviter,
    /// Has played before.
    #[error("only new players can be invited: this one has passed questions before")]
    NotNew,
    /// The inviter's bucket said no.
    #[error(
        "this code is not taken now: its owner is about to be invited itself, or has invited as many as one can"
    )]
    NotTaken,
    /// No memory for another one.
    #[error("this shard keeps as many invitations as it can")]
    Full,
}

/// What became of a new player's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To be recorded, then put to the inviter's bucket.
    Fresh,
    /// It was asked before, and no answer has come: to be put to the inviter's bucket again.
    Pending,
    /// It was accepted before.
    Accepted,
}

/// What the inviter's bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Yes, for the first time: to be recorded.
    Fresh,
    /// Yes, as before.
    Repeated,
    /// No.
    Refused,
}

#[derive(Clone, Copy)]
struct Invited {
    inviter: UserId,
    is_accepted: bool,
}

/// The invitations on one shard, from both sides.
#[derive(Default)]
pub(crate) struct Invitations {
    /// By new player.
    invited: BTreeMap<UserId, Invited>,
    /// By inviter and new player.
    accepted: BTreeMap<(UserId, UserId), ()>,
}

impl Invitations {
    /// At the new player's home: may `invitee` name `inviter`?
    pub(crate) fn ask(
        &mut self,
        invitee: UserId,
        inviter: UserId,
        is_new: bool,
    ) -> Result<Asked, InvitationError> {
        if invitee == inviter {
            return Err(InvitationError::Oneself);
        }
        if let Some(known) = self.invited.get(&invitee) {
            return match (known.inviter == inviter, known.is_accepted) {
                (false, _) => Err(InvitationError::InvitedAlready),
                (true, false) => Ok(Asked::Pending),
                (true, true) => Ok(Asked::Accepted),
            };
        }
        if self.accepted_by(invitee) > 0 {
            return Err(InvitationError::IsInviter);
        }
        if !is_new {
            return Err(InvitationError::NotNew);
        }
        if self.invited.len() >= INVITATIONS_MAX {
            return Err(InvitationError::Full);
        }
        self.invited.insert(invitee, Invited { inviter, is_accepted: false });
        Ok(Asked::Fresh)
    }

    /// At the inviter's home: is `invitee` taken?
    pub(crate) fn accept(&mut self, inviter: UserId, invitee: UserId) -> Accepted {
        if self.accepted.contains_key(&(inviter, invitee)) {
            return Accepted::Repeated;
        }
        let is_pending = self.invited.get(&inviter).is_some_and(|own| !own.is_accepted);
        let is_full = self.accepted_by(inviter) >= usize::from(INVITEES_REWARDED_MAX)
            || self.accepted.len() >= INVITATIONS_MAX;
        if is_pending || is_full {
            return Accepted::Refused;
        }
        self.accepted.insert((inviter, invitee), ());
        Accepted::Fresh
    }

    /// At the new player's home: the answer has come. True the first time.
    pub(crate) fn answered(&mut self, invitee: UserId, inviter: UserId, accepted: bool) -> bool {
        let Some(known) = self.invited.get_mut(&invitee) else { return false };
        if known.inviter != inviter || known.is_accepted {
            return false;
        }
        if accepted {
            known.is_accepted = true;
        } else {
            self.invited.remove(&invitee);
        }
        true
    }

    /// Whom a player has named, and whether that was accepted.
    pub(crate) fn asked_by(&self, invitee: UserId) -> Option<(UserId, bool)> {
        self.invited.get(&invitee).map(|known| (known.inviter, known.is_accepted))
    }

    /// Whom a player has invited.
    pub(crate) fn invitees(&self, inviter: UserId) -> impl Iterator<Item = UserId> {
        let pairs = (inviter, UserId(0))..=(inviter, UserId(u64::MAX));
        self.accepted.range(pairs).map(|((_, invitee), ())| *invitee)
    }

    /// Takes in what [`Invitations::asked_by`] said.
    pub(crate) fn adopt_asked(&mut self, invitee: UserId, inviter: UserId, is_accepted: bool) {
        self.invited.insert(invitee, Invited { inviter, is_accepted });
    }

    /// Takes in one of those that [`Invitations::invitees`] named.
    pub(crate) fn adopt_accepted(&mut self, inviter: UserId, invitee: UserId) {
        self.accepted.insert((inviter, invitee), ());
    }

    /// Who invited a player, once that is accepted.
    pub(crate) fn inviter(&self, invitee: UserId) -> Option<UserId> {
        self.invited.get(&invitee).filter(|known| known.is_accepted).map(|known| known.inviter)
    }

    /// How many a player has invited.
    pub(crate) fn accepted_by(&self, inviter: UserId) -> usize {
        self.invitees(inviter).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn one_inviter_per_new_player() {
        let (mut side, [a, b, c]) = (Invitations::default(), [1, 2, 3].map(UserId));
        assert_eq!(side.ask(a, a, true), Err(InvitationError::Oneself));
        assert_eq!(side.ask(b, a, false), Err(InvitationError::NotNew));
        assert_eq!(side.ask(b, a, true), Ok(Asked::Fresh));
        assert_eq!(side.ask(b, a, true), Ok(Asked::Pending));
        assert_eq!(side.ask(b, c, true), Err(InvitationError::InvitedAlready));
        assert_eq!(side.accept(b, c), Accepted::Refused, "b's own answer has not come");
        assert_eq!(side.accept(a, b), Accepted::Fresh);
        assert_eq!(side.accept(a, b), Accepted::Repeated);
        assert!(side.answered(b, a, true));
        assert!(!side.answered(b, a, true), "a card for each side, once");
        assert_eq!(side.ask(b, a, true), Ok(Asked::Accepted));
        assert_eq!(side.ask(a, b, true), Err(InvitationError::IsInviter));
        assert_eq!(side.inviter(b), Some(a));
    }

    /// Five users on five shards, with mail that takes any time.
    fn play(steps: &[(u8, u8, bool)]) -> Vec<Option<usize>> {
        let user = |place: usize| UserId(place as u64 + 1);
        let mut sides: Vec<Invitations> = (0..5).map(|_| Invitations::default()).collect();
        // From whom to whom, and what: nothing for a question.
        let mut mail: VecDeque<(usize, usize, Option<bool>)> = VecDeque::new();
        let deliver = |sides: &mut Vec<Invitations>,
                       mail: &mut VecDeque<(usize, usize, Option<bool>)>| {
            let Some((from, to, what)) = mail.pop_front() else { return };
            match what {
                None => {
                    let accepted = sides[to].accept(user(to), user(from)) != Accepted::Refused;
                    mail.push_back((to, from, Some(accepted)));
                }
                Some(accepted) => {
                    sides[to].answered(user(to), user(from), accepted);
                }
            }
        };
        for (invitee, inviter, delivers) in steps {
            let (invitee, inviter) = (usize::from(*invitee), usize::from(*inviter));
            if let Ok(Asked::Fresh | Asked::Pending) =
                sides[invitee].ask(user(invitee), user(inviter), true)
            {
                mail.push_back((invitee, inviter, None));
            }
            if *delivers {
                deliver(&mut sides, &mut mail);
            }
        }
        while !mail.is_empty() {
            deliver(&mut sides, &mut mail);
        }
        let inviter = |place: usize| sides[place].inviter(user(place));
        (0..5)
            .map(|place| inviter(place).map(|user| usize::try_from(user.0).unwrap() - 1))
            .collect()
    }

    proptest! {
        #[test]
        fn whatever_overtakes_what_there_are_no_loops(
            steps in prop::collection::vec((0_u8..5, 0_u8..5, any::<bool>()), 0..60)
        ) {
            let inviters = play(&steps);
            for start in 0..5 {
                let mut at = inviters[start];
                for _ in 0..5 {
                    prop_assert_ne!(at, Some(start), "{:?}", inviters);
                    at = at.and_then(|place| inviters[place]);
                }
            }
        }
    }
}
