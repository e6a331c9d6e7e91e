//! What operators ordered and what stays in force: bans, mutes, revocations, rooms that the service
//! made or ended, and which orders with a key were carried out.
//!
//! Each order is on record in the journal of the shard that decides it, before its answer; a
//! revocation in the journal of every shard. [`Standing`] is what all those records come to: it is
//! part of a shard's image, and what all shards have of it together is what each begins with, however
//! many there are then. Without a folder it ends with the process.
//!
//! Bounded by what the tables in use refuse; what is over is forgotten where there is much.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use crate::auth::revocation::UserRevocation;
use crate::base::bugs::{self, Bug};
use crate::base::hash::Placement;
use crate::base::ids::{RoomId, ShardId, UserId};
use crate::base::limits::{BANS_MAX, MUTES_MAX, ORDERS_MAX, REVOCATIONS_MAX, ROOMS_MAX};
use crate::base::time::Time;
use crate::shard::Shard;
use crate::shard::closing::ENDED_FOR;
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest};
use crate::shard::record::Record;
use crate::shard::service::RoomSettings;

/// For so long an order that comes again with its key is known.
const ORDERS_KEPT: Duration = Duration::from_secs(86_400);

/// By which an operator's order is known again: a hash of the key that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey(pub [u8; 16]);

/// An order that is carried out once, however often it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// By which it is known.
    pub key: OrderKey,
    /// A hash of what is ordered: another order with this key is refused.
    pub fingerprint: u64,
}

/// One order that stays in force, as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StandingRecord {
    /// A user is banned until then, Unix seconds; nothing: not any more.
    Banned {
        /// Who.
        user: UserId,
        /// Until when.
        until_unix_s: Option<i64>,
    },
    /// A user may not speak until then; not after now: not any more muted.
    Muted {
        /// Who.
        user: UserId,
        /// Where; room 0: everywhere.
        room: RoomId,
        /// Until when.
        until: Time,
    },
    /// Tokens of a user are refused.
    UserRevoked {
        /// Whose.
        user: UserId,
        /// Which, and for how long.
        revocation: UserRevocation,
    },
    /// A token is refused.
    TokenRevoked {
        /// A keyed hash of its name.
        id: u64,
        /// For so long, Unix seconds.
        kept_until_unix_s: i64,
    },
    /// The service made a room, or set another way how it works.
    RoomConfigured {
        /// Which.
        room: RoomId,
        /// How.
        settings: Arc<RoomSettings>,
    },
    /// A room has ended.
    RoomEnded {
        /// Which.
        room: RoomId,
        /// When.
        at: Time,
    },
    /// An order was carried out: by the next record of the journal. Without a next one it was not.
    Ordered {
        /// Which.
        order: Order,
        /// When.
        at: Time,
    },
}

/// All that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub(crate) bans: BTreeMap<UserId, i64>,
    pub(crate) mutes: BTreeMap<(UserId, RoomId), Time>,
    pub(crate) users: BTreeMap<UserId, UserRevocation>,
    /// By a keyed hash of their names, with the Unix second until which each is kept.
    pub(crate) tokens: BTreeMap<u64, i64>,
    pub(crate) rooms: BTreeMap<RoomId, Arc<RoomSettings>>,
    pub(crate) ended: BTreeMap<RoomId, Time>,
    orders: BTreeMap<OrderKey, (u64, Time)>,
}

impl Standing {
    /// Does what a record says.
    pub fn apply(&mut self, record: &StandingRecord) {
        match record {
            StandingRecord::Banned { user, until_unix_s: Some(until_unix_s) } => {
                self.bans.insert(*user, *until_unix_s);
            }
            StandingRecord::Banned { user, until_unix_s: None } => {
                self.bans.remove(user);
            }
            StandingRecord::Muted { user, room, until } => {
                self.mutes.insert((*user, *room), *until);
            }
            StandingRecord::UserRevoked { user, revocation } => {
                self.users.insert(*user, *revocation);
            }
            StandingRecord::TokenRevoked { id, kept_until_unix_s } => {
                self.tokens.insert(*id, *kept_until_unix_s);
            }
            StandingRecord::RoomConfigured { room, settings } => {
                self.rooms.insert(*room, Arc::clone(settings));
            }
            StandingRecord::RoomEnded { room, at } => {
                self.rooms.remove(room);
                self.ended.insert(*room, *at);
            }
            StandingRecord::Ordered { order, at } => {
                self.orders.insert(order.key, (order.fingerprint, *at));
            }
        }
    }

    /// Adds what another shard had: of what both have, what lasts longer.
    pub fn merge(&mut self, other: &Standing) {
        for record in other.records() {
            let is_newer = match &record {
                StandingRecord::Banned { user, until_unix_s } => {
                    self.bans.get(user).is_none_or(|own| Some(*own) < *until_unix_s)
                }
                StandingRecord::Muted { user, room, until } => {
                    self.mutes.get(&(*user, *room)).is_none_or(|own| own < until)
                }
                StandingRecord::UserRevoked { user, revocation } => {
                    if let Some(own) = self.users.get_mut(user) {
                        *own = own.union(*revocation);
                        continue;
                    }
                    true
                }
                StandingRecord::TokenRevoked { id, kept_until_unix_s } => {
                    self.tokens.get(id).is_none_or(|own| own < kept_until_unix_s)
                }
                StandingRecord::RoomConfigured { .. } => true,
                StandingRecord::RoomEnded { room, at } => {
                    self.ended.get(room).is_none_or(|own| own < at)
                }
                StandingRecord::Ordered { order, at } => {
                    self.orders.get(&order.key).is_none_or(|(_, own)| own < at)
                }
            };
            if is_newer {
                self.apply(&record);
            }
        }
    }

    /// The records that come to this.
    pub fn records(&self) -> impl Iterator<Item = StandingRecord> {
        let bans = self.bans.iter().map(|(user, until)| StandingRecord::Banned {
            user: *user,
            until_unix_s: Some(*until),
        });
        let mutes = self.mutes.iter().map(|((user, room), until)| StandingRecord::Muted {
            user: *user,
            room: *room,
            until: *until,
        });
        let users = self.users.iter().map(|(user, revocation)| StandingRecord::UserRevoked {
            user: *user,
            revocation: *revocation,
        });
        let tokens = self
            .tokens
            .iter()
            .map(|(id, until)| StandingRecord::TokenRevoked { id: *id, kept_until_unix_s: *until });
        let ended = self.ended.iter();
        let ended = ended.map(|(room, at)| StandingRecord::RoomEnded { room: *room, at: *at });
        let rooms = self.rooms.iter().map(|(room, settings)| StandingRecord::RoomConfigured {
            room: *room,
            settings: Arc::clone(settings),
        });
        let orders = self.orders.iter().map(|(key, (fingerprint, at))| {
            let order = Order { key: *key, fingerprint: *fingerprint };
            StandingRecord::Ordered { order, at: *at }
        });
        bans.chain(mutes).chain(users).chain(tokens).chain(ended).chain(rooms).chain(orders)
    }

    /// The part that a shard decides, or that every shard has on record.
    #[must_use]
    pub fn of_shard(&self, shard: ShardId, placement: &Placement) -> Standing {
        let mut own = self.clone();
        own.bans.retain(|user, _| placement.user_home(*user) == shard);
        own.mutes.retain(|(user, _), _| placement.user_home(*user) == shard);
        own.rooms.retain(|room, _| placement.room_home(*room) == shard);
        own.ended.retain(|room, _| placement.room_home(*room) == shard);
        own
    }

    /// Forgets what is over.
    pub fn forget_over(&mut self, now: Time, now_unix_s: i64) {
        self.bans.retain(|_, until| now_unix_s < *until);
        self.mutes.retain(|_, until| *until > now);
        self.users.retain(|_, it| now_unix_s < it.kept_until_unix_s);
        self.tokens.retain(|_, until| now_unix_s < *until);
        self.ended.retain(|_, at| now.since(*at) < ENDED_FOR);
        self.orders.retain(|_, (_, at)| now.since(*at) < ORDERS_KEPT);
    }

    /// Forgets what is over where there is much; of orders, in the end, the oldest.
    fn keep_within_limits(&mut self, now: Time, now_unix_s: i64) {
        let is_much = self.bans.len() > BANS_MAX
            || self.mutes.len() > MUTES_MAX
            || self.users.len() + self.tokens.len() > REVOCATIONS_MAX
            || self.ended.len() > ROOMS_MAX
            || self.orders.len() > ORDERS_MAX;
        if !is_much {
            return;
        }
        self.forget_over(now, now_unix_s);
        forget_oldest(&mut self.orders, ORDERS_MAX, |(_, at)| *at);
        forget_oldest(&mut self.ended, ROOMS_MAX, |at| *at);
    }

    /// What was ordered with a key, as a hash; nothing if that is not known.
    fn fingerprint(&self, key: OrderKey) -> Option<u64> {
        self.orders.get(&key).map(|(fingerprint, _)| *fingerprint)
    }
}

/// Leaves seven eighths of `most` at most, the newest, where there are more than `most`.
fn forget_oldest<K: Ord + Copy, V>(
    table: &mut BTreeMap<K, V>,
    most: usize,
    at: impl Fn(&V) -> Time,
) {
    if table.len() <= most {
        return;
    }
    let mut times: Vec<Time> = table.values().map(&at).collect();
    times.sort_unstable();
    let first_kept = times[table.len() - most / 8 * 7];
    table.retain(|_, value| at(value) > first_kept);
}

impl Shard {
    /// Puts an order on record that stays in force; the operator's answer waits for it.
    pub(crate) fn journal_standing(&mut self, record: StandingRecord) {
        let now_unix_s = self.now_unix_s();
        self.standing.apply(&record);
        self.standing.keep_within_limits(self.now, now_unix_s);
        self.journal(Record::Standing(Box::new(record)), Vec::new());
    }

    /// An order that came with a key: carried out unless it was.
    pub(crate) fn order_once(&mut self, ticket: u64, order: Order, request: OperatorRequest) {
        let known = self.standing.fingerprint(order.key);
        match known.filter(|_| !bugs::active(Bug::OrderDoneTwice)) {
            None => {
                self.pending_order = Some(order);
                self.operator(ticket, request);
                // What was refused, or changed nothing, is asked again as if for the first time.
                self.pending_order = None;
            }
            Some(known) if known == order.fingerprint => {
                let answer = self.done_before(&request);
                self.answer_operator(ticket, Ok(answer), false);
            }
            Some(_) => self.answer_operator(ticket, Err(OperatorError::KeyReused), false),
        }
    }

    /// How things stand that an order brought about earlier.
    fn done_before(&self, request: &OperatorRequest) -> OperatorAnswer {
        match request {
            OperatorRequest::GrantCard { user } | OperatorRequest::ExpireCards { user, .. } => {
                OperatorAnswer::Cards(self.quiz_visible_cards(*user))
            }
            _ => OperatorAnswer::Done,
        }
    }

    /// Takes in what was in force when the process before ended; to be called before the first step.
    pub(crate) fn begin_standing(&mut self, standing: Standing) {
        let (me, placement) = (self.config.me, self.placement);
        for (user, until_unix_s) in &standing.bans {
            self.access.bans.ban(*user, *until_unix_s);
            if placement.user_home(*user) == me {
                self.access.own_bans.ban(*user, *until_unix_s);
            }
        }
        for ((user, room), until) in &standing.mutes {
            self.chat.begin_mute(*user, *room, *until, placement.user_home(*user) == me);
        }
        for (user, revocation) in &standing.users {
            self.access.restore_user_revocation(*user, *revocation);
        }
        for (id, kept_until_unix_s) in &standing.tokens {
            self.access.restore_token_revocation(*id, *kept_until_unix_s);
        }
        for (room, at) in &standing.ended {
            self.endings.note_ended(*room, *at);
        }
        for (room, settings) in &standing.rooms {
            if placement.room_home(*room) == me
                && let Some(home) = self.home_room(*room)
            {
                home.settings = Some(Arc::clone(settings));
            }
            self.room_settings_came(*room, Some(Arc::clone(settings)));
        }
        self.standing = standing.of_shard(me, &placement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::PlacementKey;

    fn order(number: u8) -> Order {
        Order { key: OrderKey([number; 16]), fingerprint: u64::from(number) }
    }

    #[test]
    fn what_is_in_force_is_what_its_own_records_come_to_on_any_number_of_shards() {
        let placement = Placement::new(PlacementKey([3; 16]), 64, 3);
        let mut all = Standing::default();
        for number in 1..50 {
            let (user, room) = (UserId(number), RoomId(number));
            all.apply(&StandingRecord::Banned { user, until_unix_s: Some(9) });
            all.apply(&StandingRecord::Muted { user, room, until: Time(number) });
            let settings = Arc::new(RoomSettings::default());
            all.apply(&StandingRecord::RoomConfigured { room, settings });
            all.apply(&StandingRecord::TokenRevoked { id: number, kept_until_unix_s: 9 });
        }
        all.apply(&StandingRecord::RoomEnded { room: RoomId(4), at: Time(5) });
        all.apply(&StandingRecord::Ordered { order: order(1), at: Time(5) });
        let (mut again, mut together) = (Standing::default(), Standing::default());
        all.records().for_each(|record| again.apply(&record));
        assert_eq!(again, all);
        for shard in ShardId::all(3) {
            together.merge(&all.of_shard(shard, &placement));
        }
        assert_eq!(together, all);
        assert_eq!(all.fingerprint(order(1).key), Some(1));
        all.forget_over(Time::ZERO + ORDERS_KEPT + Duration::from_secs(1), 9);
        assert!(all.bans.is_empty() && all.mutes.is_empty() && all.tokens.is_empty());
        assert!(all.ended.is_empty() && all.fingerprint(order(1).key).is_none());
        assert_eq!(all.rooms.len(), 48, "rooms stay until they are closed");
    }

    #[test]
    fn orders_are_bounded_and_the_oldest_is_forgotten_first() {
        let mut standing = Standing::default();
        let order = |number: u64| {
            let mut key = OrderKey([0; 16]);
            key.0[..8].copy_from_slice(&number.to_be_bytes());
            Order { key, fingerprint: number }
        };
        for number in 0..=ORDERS_MAX as u64 {
            standing.apply(&StandingRecord::Ordered { order: order(number), at: Time(number) });
            standing.keep_within_limits(Time(number), 0);
        }
        assert!(standing.orders.len() <= ORDERS_MAX);
        assert_eq!(standing.fingerprint(order(0).key), None);
        assert!(standing.fingerprint(order(ORDERS_MAX as u64).key).is_some());
    }
}
