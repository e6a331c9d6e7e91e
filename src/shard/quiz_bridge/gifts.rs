//! Gifts: paid at the giver's home, shown at the room's, or returned.
//!
//! A gift is on its way from its record until the room's home says that it is in the room's lane, or
//! that it cannot be shown: then its price goes back, with the reason on record. Each room has a queue
//! of its own, so that none waits for another room's lane, and a bound on it. After a restart gifts
//! wait until members had time to come back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::money::money_refused;
use super::rain::too_fast;
use super::resuming::COME_BACK;
use crate::base::ids::{RoomId, UserId};
use crate::base::limits::ROOM_GIFTS_WAITING_MAX;
use crate::base::time::Time;
use crate::chat::pace::Pace;
use crate::quiz::local::{Gift, GiftReturn, Given, Requested};
use crate::quiz::requests::MoneyKey;
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::held::Post;
use crate::shard::mail::Mail;
use crate::shard::messages;
use crate::shard::money_mail::MoneyMail;
use crate::shard::record::MoneyRecord;
use crate::wire::proto;
use crate::wire::proto::notification::Payload as Notice;
use crate::wire::proto::response::Payload as Response;

/// Gifts of users that are admitted in a second, over all rooms, where `egress.gift_rate_max` is not
/// set: each is a frame for everybody in its room.
const GIFTS_PER_S_DEFAULT: u32 = 50;
/// How often gifts that wait at their room's home are tried again.
const GIFT_INTERVAL: Duration = Duration::from_millis(100);
/// After a restart gifts wait so long for a room to have members at all.
const COME_BACK_MAX: Duration = Duration::from_secs(60);

/// A gift that waits at its room's home.
struct WaitingGift {
    user: UserId,
    key: MoneyKey,
    gift: Gift,
}

/// Gifts on this shard: those that wait for their rooms' high lanes, and the rate at which users who
/// live here may give.
#[derive(Default)]
pub(super) struct GiftDesk {
    /// By room, none empty.
    waiting: BTreeMap<RoomId, VecDeque<WaitingGift>>,
    due: Option<Time>,
    full_at: Time,
    /// When what outlived the process before was taken up.
    resumed_at: Option<Time>,
}

impl GiftDesk {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due
    }
}

impl Shard {
    /// A gift is admitted here at this shard's share of the rate at which its room's lane takes
    /// them: so none waits there for long.
    pub(super) fn give(
        &mut self,
        user: UserId,
        key: &MoneyKey,
        gift: Gift,
    ) -> Result<Response, proto::Failure> {
        let known = self.quiz.local.given(user, key);
        if known.is_none() && self.has_ended(gift.room) {
            let text = "the room has ended; nothing was taken";
            return Err(messages::failure(proto::Reason::NoSuchRoom, text));
        }
        let set = self.config.downlink.gift_rate_max;
        let rate = if set == 0 { GIFTS_PER_S_DEFAULT } else { set };
        let pace = Pace::share(rate, self.placement.shard_count());
        let then = pace.take(self.quiz.gifts.full_at, self.now, 1).map_err(too_fast)?;
        match self.quiz.local.give(user, key, gift).map_err(|error| money_refused(&error))? {
            Requested::Fresh(Given { gift, .. }) => {
                self.quiz.gifts.full_at = then;
                let balance = self.quiz.local.balance(user);
                self.journal_money(user, MoneyRecord::Gifted { key: key.clone(), gift, balance });
                let home = self.placement.room_home(gift.room);
                let mail = MoneyMail::Gift { user, key: key.clone(), gift };
                self.post_when_durable(Post::Mail(home, Mail::Money(mail)));
            }
            Requested::Repeated(Given { returned: Some(why), .. }) => return Err(returned(why)),
            Requested::Repeated(Given { returned: None, .. }) => {}
        }
        let balance_cents = self.quiz.local.balance(user).0;
        Ok(Response::Given(proto::Given { key: key.as_str().to_owned(), balance_cents }))
    }

    /// At the giver's home: the room's home cannot show a gift.
    pub(super) fn gift_refused(&mut self, user: UserId, key: MoneyKey, why: GiftReturn) {
        if self.quiz.local.gift_returned(user, &key, why) {
            let balance = self.quiz.local.balance(user);
            self.journal_money(user, MoneyRecord::GiftReturned { key, why, balance });
        }
    }

    /// At the room's home: a gift is to be shown.
    pub(super) fn gift_came(&mut self, user: UserId, key: MoneyKey, gift: Gift) {
        let room = gift.room;
        let waiting = self.quiz.gifts.waiting.entry(room).or_default();
        if waiting.len() >= ROOM_GIFTS_WAITING_MAX {
            return self.refuse_gift(WaitingGift { user, key, gift }, GiftReturn::TooMany);
        }
        waiting.push_back(WaitingGift { user, key, gift });
        self.show_gifts_of(room);
    }

    /// What waits for a room goes into its high lane as fast as that takes it.
    fn show_gifts_of(&mut self, room: RoomId) {
        while let Some(next) = self.quiz.gifts.waiting.get_mut(&room).and_then(VecDeque::pop_front)
        {
            if self.has_ended(room) {
                self.refuse_gift(next, GiftReturn::RoomEnded);
            } else if self.must_hold_gifts(room) || !self.admits_gift(room) {
                if let Some(waiting) = self.quiz.gifts.waiting.get_mut(&room) {
                    waiting.push_front(next);
                }
                let again = self.now + GIFT_INTERVAL;
                self.quiz.gifts.due.get_or_insert(again);
                return;
            } else {
                self.show_gift(next);
            }
        }
        self.quiz.gifts.waiting.remove(&room);
    }

    fn show_gift(&mut self, WaitingGift { user, key, gift }: WaitingGift) {
        let shown = proto::GiftShown { user_id: user.0, kind: gift.kind, cents: gift.cents.0 };
        self.counters.gifts_shown += 1;
        self.publish_to_room(gift.room, Lane::High, Notice::GiftShown(shown), None);
        let home = self.placement.user_home(user);
        self.post(home, Mail::Money(MoneyMail::GiftShown { user, key }));
    }

    fn refuse_gift(&mut self, WaitingGift { user, key, .. }: WaitingGift, why: GiftReturn) {
        let home = self.placement.user_home(user);
        self.post(home, Mail::Money(MoneyMail::GiftRefused { user, key, why }));
    }

    /// After a restart a room's members need a moment to come back; one that stays empty is waited
    /// for no longer than some time.
    fn must_hold_gifts(&self, room: RoomId) -> bool {
        let Some(resumed_at) = self.quiz.gifts.resumed_at else { return false };
        let passed = self.now.since(resumed_at);
        passed < COME_BACK || passed < COME_BACK_MAX && self.room_online(room) == 0
    }

    /// Gifts whose turn has come.
    pub(super) fn gifts_due(&mut self) {
        if self.quiz.gifts.due.is_none_or(|due| due > self.now) {
            return;
        }
        self.quiz.gifts.due = None;
        let rooms: Vec<RoomId> = self.quiz.gifts.waiting.keys().copied().collect();
        for room in rooms {
            self.show_gifts_of(room);
        }
    }

    /// What outlived the process before is about to be taken up.
    pub(super) fn note_gifts_resume(&mut self) {
        self.quiz.gifts.resumed_at = Some(Time::ZERO);
    }

    /// Gifts that had not reached their rooms are on their way again.
    pub(super) fn resume_gifts(&mut self) {
        if let Some(resumed_at) = &mut self.quiz.gifts.resumed_at {
            *resumed_at = self.now;
        }
        let on_the_way = self.quiz.local.gifts_on_the_way();
        let gifts: Vec<_> =
            on_the_way.map(|(user, key, gift)| (user, key.clone(), *gift)).collect();
        for (user, key, gift) in gifts {
            let home = self.placement.room_home(gift.room);
            let mail = Mail::Money(MoneyMail::Gift { user, key, gift });
            self.post_when_durable(Post::Mail(home, mail));
        }
    }
}

fn returned(why: GiftReturn) -> proto::Failure {
    let reason = match why {
        GiftReturn::RoomEnded => proto::Reason::NoSuchRoom,
        GiftReturn::TooMany => proto::Reason::RoomOverloaded,
    };
    messages::failure(reason, &why.to_string())
}
