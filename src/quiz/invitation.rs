//! Who invited whom: one inviter per new player, no loops, nobody invites itself.
//!
//! The two sides may live in different buckets, and nothing is decided in both at once. The new
//! player's bucket *asks*; the inviter's bucket *accepts* or refuses, once for each pair; the new
//! player's bucket takes the *answer*. Each step is a record, and each may be repeated.
//!
//! A new player has one question under way at most. A second one, to whomever, could come behind the
//! answer to the first, when the new player has named somebody else: then two would be rewarded for
//! one. What is under way ends with the process, so it is asked again after a restart.
//!
//! Why there can be no loop: whoever was accepted as an inviter can never ask any more, and whoever
//! has asked is accepted as an inviter only behind its own answer. So along a chain of invitations
//! the moments of acceptance increase, and cannot come back to where they began.

use std::collections::{BTreeMap, BTreeSet};

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
    /// It was asked before a restart, and no answer has come: to be put to the inviter's bucket again.
    Pending,
    /// The question is under way: its answer is this one's as well.
    UnderWay,
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
    /// New players whose question is under way to their inviter's bucket.
    under_way: BTreeSet<UserId>,
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
                (true, false) if self.under_way.insert(invitee) => Ok(Asked::Pending),
                (true, false) => Ok(Asked::UnderWay),
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
        self.under_way.insert(invitee);
        Ok(Asked::Fresh)
    }

    /// The process has begun anew: nothing is under way. The questions without an answer, of new
    /// players to inviters, which are to be put again and are under way from here on.
    pub(crate) fn ask_again(&mut self) -> Vec<(UserId, UserId)> {
        let pending = self.invited.iter().filter(|(_, known)| !known.is_accepted);
        let pending: Vec<_> = pending.map(|(invitee, known)| (*invitee, known.inviter)).collect();
        self.under_way = pending.iter().map(|(invitee, _)| *invitee).collect();
        pending
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
        self.under_way.remove(&invitee);
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
        assert_eq!(side.ask(b, a, true), Ok(Asked::UnderWay));
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

    const USERS: usize = 5;

    fn user(place: usize) -> UserId {
        UserId(place as u64 + 1)
    }

    /// Mail from one shard to another: a question, or an answer to one.
    struct OnTheWay {
        from: usize,
        to: usize,
        answer: Option<bool>,
    }

    /// Five users on five shards, with mail that takes any time and is lost when the process ends.
    #[derive(Default)]
    struct World {
        sides: [Invitations; USERS],
        mail: VecDeque<OnTheWay>,
        /// Whom each inviter was given a card for.
        rewards: Vec<(usize, usize)>,
        /// New players that were given a card.
        welcomed: Vec<usize>,
    }

    impl World {
        fn ask(&mut self, from: usize, to: usize) {
            let asked = self.sides[from].ask(user(from), user(to), true);
            if let Ok(Asked::Fresh | Asked::Pending) = asked {
                self.mail.push_back(OnTheWay { from, to, answer: None });
            }
        }

        fn deliver(&mut self) {
            let Some(OnTheWay { from, to, answer }) = self.mail.pop_front() else { return };
            let Some(accepted) = answer else {
                let said = self.sides[to].accept(user(to), user(from));
                if said == Accepted::Fresh {
                    self.rewards.push((to, from));
                }
                let answer = Some(said != Accepted::Refused);
                return self.mail.push_back(OnTheWay { from: to, to: from, answer });
            };
            if self.sides[to].answered(user(to), user(from), accepted) && accepted {
                self.welcomed.push(to);
            }
        }

        fn crash(&mut self) {
            self.mail.clear();
            for from in 0..USERS {
                for (_, inviter) in self.sides[from].ask_again() {
                    let to = (0..USERS).find(|to| user(*to) == inviter).unwrap();
                    self.mail.push_back(OnTheWay { from, to, answer: None });
                }
            }
        }

        fn inviter(&self, place: usize) -> Option<usize> {
            let inviter = self.sides[place].inviter(user(place))?;
            (0..USERS).find(|place| user(*place) == inviter)
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask(usize, usize),
        Deliver,
        Crash,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..USERS, 0..USERS).prop_map(|(from, to)| Step::Ask(from, to)),
            6 => Just(Step::Deliver),
            1 => Just(Step::Crash),
        ]
    }

    #[test]
    fn who_asks_twice_at_once_rewards_one_inviter_only() {
        // 2 waits for its own answer, so it says no to 0. Before 0 hears that it asks again: then 2
        // would say yes to somebody who has gone on to 1.
        let mut world = World::default();
        world.ask(2, 3);
        world.ask(0, 2);
        world.deliver();
        world.deliver();
        world.ask(0, 2);
        world.deliver();
        world.deliver();
        world.ask(0, 1);
        while !world.mail.is_empty() {
            world.deliver();
        }
        assert_eq!(world.rewards, [(3, 2), (1, 0)]);
    }

    proptest! {
        #[test]
        fn whatever_overtakes_what_there_are_no_loops_and_a_card_for_each_side(
            steps in prop::collection::vec(step(), 0..80)
        ) {
            let mut world = World::default();
            for step in steps {
                match step {
                    Step::Ask(from, to) => world.ask(from, to),
                    Step::Deliver => world.deliver(),
                    Step::Crash => world.crash(),
                }
            }
            while !world.mail.is_empty() {
                world.deliver();
            }
            let mut pairs: Vec<(usize, usize)> =
                (0..USERS).filter_map(|at| Some((world.inviter(at)?, at))).collect();
            let mut welcomed: Vec<usize> = pairs.iter().map(|(_, invitee)| *invitee).collect();
            for all in [&mut pairs, &mut world.rewards] {
                all.sort_unstable();
            }
            welcomed.sort_unstable();
            world.welcomed.sort_unstable();
            prop_assert_eq!(&world.rewards, &pairs, "an inviter is rewarded for its own only");
            prop_assert_eq!(&world.welcomed, &welcomed);
            for start in 0..USERS {
                let mut at = world.inviter(start);
                for _ in 0..USERS {
                    prop_assert_ne!(at, Some(start), "{:?}", pairs);
                    at = at.and_then(|place| world.inviter(place));
                }
            }
        }
    }
}
