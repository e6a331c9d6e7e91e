//! The rules' world when the process ends: every home goes back to what it was at its last durable
//! record, and goes on with whatever shards there are then.

use std::collections::BTreeMap;

use super::{Home, Model, Said, Wallet};
use crate::base::hash::Placement;
use crate::base::ids::{ShardId, UserId};
use crate::quiz::event::NumberedEvent;
use crate::quiz::phase::Phase;

/// A home and its users as they were at some record.
#[derive(Clone, Default)]
pub(crate) struct HomeThen {
    /// By show: the last event that was applied.
    applied: Vec<u64>,
    shows: Vec<Home>,
    wallets: BTreeMap<UserId, Wallet>,
    verdicts: BTreeMap<(usize, u16, UserId, u8), Said>,
}

impl Model {
    /// What a home is now.
    pub(crate) fn home_then(&self, home: usize, applied: &[u64]) -> HomeThen {
        let lives_here = |user: &UserId| self.placement.user_home(*user).index() == home;
        let wallets = self.wallets.iter().filter(|(user, _)| lives_here(user));
        let verdicts = self.verdicts.iter().filter(|((_, _, user, _), _)| lives_here(user));
        HomeThen {
            applied: applied.to_vec(),
            shows: self.shows.iter().map(|show| show.homes[home].clone()).collect(),
            wallets: wallets.map(|(user, wallet)| (*user, *wallet)).collect(),
            verdicts: verdicts.map(|(key, said)| (*key, *said)).collect(),
        }
    }

    /// All homes are what they were at these moments, and learn what directors had decided.
    pub(crate) fn roll_back(&mut self, homes: &[&HomeThen], events: &[Vec<NumberedEvent>]) {
        self.wallets.clear();
        self.verdicts.clear();
        for (home, then) in homes.iter().enumerate() {
            self.wallets.extend(then.wallets.iter().map(|(user, wallet)| (*user, *wallet)));
            self.verdicts.extend(then.verdicts.iter().map(|(key, said)| (*key, *said)));
            for (show, known) in self.shows.iter_mut().zip(&then.shows) {
                show.homes[home] = known.clone();
            }
        }
        for (home, then) in homes.iter().enumerate() {
            for (show, decided) in events.iter().enumerate() {
                let known = then.applied.get(show).copied().unwrap_or(0);
                for event in decided.iter().filter(|event| event.number.0 > known) {
                    self.applied(home, show, event);
                }
            }
        }
        for show in &mut self.shows {
            // Shards report once more what they have done.
            show.reports.clear();
            show.paid.iter_mut().for_each(|paid| *paid = None);
        }
    }

    /// All homes stand at the same event: their users move to the shards of `placement`.
    pub(crate) fn move_users(&mut self, placement: Placement) {
        self.placement = placement;
        for show in &mut self.shows {
            let mut players = BTreeMap::new();
            for home in &mut show.homes {
                players.append(&mut home.players);
            }
            let empty = show.homes.swap_remove(0);
            show.homes = ShardId::all(placement.shard_count()).map(|_| empty.clone()).collect();
            for (user, player) in players {
                show.homes[placement.user_home(user).index()].players.insert(user, player);
            }
            show.paid = vec![None; usize::from(placement.shard_count())];
        }
    }

    /// The phase in which all homes are after a restart.
    pub(crate) fn phase(&self, show: usize) -> Phase {
        self.shows[show].homes[0].phase
    }
}
