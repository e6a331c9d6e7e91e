//! Taps of the players who live here, also of those who are out or watch.

use super::ShowReplica;
use crate::base::ids::{RainIndex, UserId};
use crate::base::time::Time;
use crate::quiz::money::Cents;
use crate::quiz::rain::{Grab, GrabRefusal, RainSettings, RainTaps};
use crate::quiz::users::{UserPlace, Users};

impl ShowReplica {
    /// A user taps at a rain. A packet is in the balance at once.
    pub(crate) fn grab(
        &mut self,
        user: UserId,
        rain: RainIndex,
        slot: u8,
        users: &mut Users,
    ) -> Grab {
        let Some((place, _)) = self.find(user, users) else {
            return Grab::Refused(GrabRefusal::NotJoined);
        };
        let grab = self.rains.grab(user, rain, slot);
        if let Grab::Won { cents, .. } = grab {
            credit(place, cents, users);
        }
        grab
    }

    /// A packet is read back from its record; false if it does not follow from the rain's plan.
    pub(crate) fn grab_again(
        &mut self,
        user: UserId,
        rain: RainIndex,
        slot: u8,
        (number, cents): (u32, Cents),
        users: &mut Users,
    ) -> bool {
        let Some((place, _)) = self.find(user, users) else { return false };
        let follows = self.rains.grab_again(user, rain, slot, number, cents);
        if follows {
            credit(place, cents, users);
        }
        follows
    }

    /// The rains that fall, and when each ends at the latest.
    pub fn falling_rains(&self) -> impl Iterator<Item = (RainIndex, &RainSettings, Time)> {
        self.rains.falling()
    }

    pub(crate) fn rains(&self) -> &RainTaps {
        &self.rains
    }

    pub(crate) fn rains_mut(&mut self) -> &mut RainTaps {
        &mut self.rains
    }
}

fn credit(place: UserPlace, cents: Cents, users: &mut Users) {
    let entry = users.entry_mut(place);
    // Pools are at most `PRIZE_POOL_CENTS_MAX`: nobody wins that often.
    entry.balance = entry.balance.checked_add(cents).expect("a balance fits in 64 bits");
}
