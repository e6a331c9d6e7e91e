//! What users ask about their money: withdrawals, gifts, invitations, what they have.
//!
//! Everything is decided at the user's home, recorded, and answered when the record is durable.

use std::collections::VecDeque;
use std::time::Duration;

use super::rain::too_fast;
use crate::auth::invitation;
use crate::base::ids::{ConnId, ShardId, UserId};
use crate::base::time::Time;
use crate::chat::pace::Pace;
use crate::quiz::invitation::{Accepted, Asked, InvitationError, InvitationRule};
use crate::quiz::local::{Gift, MoneyError, Requested, Withdrawal, WithdrawalState};
use crate::quiz::money::Cents;
use crate::quiz::requests::MoneyKey;
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::held::Post;
use crate::shard::mail::Mail;
use crate::shard::messages;
use crate::shard::money_mail::{MoneyAsk, MoneyMail, ReplyTo};
use crate::shard::operator::{OperatorAnswer, OperatorError};
use crate::shard::record::{MoneyRecord, Record};
use crate::wire::proto;
use crate::wire::proto::notification::Payload as Notice;
use crate::wire::proto::response::Payload as Response;

/// Gifts of users that are admitted in a second, over all rooms, where `egress.gift_rate_max` is not
/// set: each is a frame for everybody in its room.
const GIFTS_PER_S_DEFAULT: u32 = 50;
/// How often gifts that wait at their room's home are tried again.
const GIFT_INTERVAL: Duration = Duration::from_millis(100);

/// A gift that waits at its room's home.
pub(super) struct WaitingGift {
    user: UserId,
    key: MoneyKey,
    gift: Gift,
}

/// Gifts on this shard: those that wait for their rooms' high lanes, and the rate at which users who
/// live here may give.
#[derive(Default)]
pub(super) struct GiftDesk {
    waiting: VecDeque<WaitingGift>,
    due: Option<Time>,
    full_at: Time,
}

impl GiftDesk {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due
    }
}

impl Shard {
    /// Mail about money.
    pub(crate) fn money_mail(&mut self, from: ShardId, mail: MoneyMail) {
        match mail {
            MoneyMail::Ask { user, ask, reply_to } => self.money_asked(user, ask, reply_to),
            MoneyMail::Reply { reply_to, said } => match (reply_to, *said) {
                (ReplyTo::Client { conn, sequence, .. }, Ok(payload)) => {
                    self.respond(conn, &sequence, payload);
                }
                (ReplyTo::Client { conn, sequence, .. }, Err(failure)) => {
                    self.refuse(conn, &sequence, failure);
                }
                (ReplyTo::Caller { ticket, .. }, said) => {
                    self.answer_player(ticket, said.map(Some));
                }
            },
            MoneyMail::PacketsWanted { show, rain } => self.packets_wanted(from, show, rain),
            MoneyMail::AskInviter { invitee, inviter, reply_to } => {
                self.inviter_asked(invitee, inviter, reply_to);
            }
            MoneyMail::InviterSays { invitee, inviter, is_accepted, reply_to } => {
                self.inviter_says(invitee, inviter, is_accepted, reply_to);
            }
            MoneyMail::Gift { user, key, gift } => {
                self.quiz.gifts.waiting.push_back(WaitingGift { user, key, gift });
                self.show_gifts();
            }
            MoneyMail::GiftShown { user, key } => {
                if self.quiz.local.gift_shown(user, &key) {
                    self.journal_money(user, MoneyRecord::GiftShown { key });
                }
            }
        }
    }

    /// A client asks to have money paid out.
    pub(crate) fn quiz_withdraw(&mut self, id: ConnId, sequence: String, ask: &proto::Withdraw) {
        match MoneyKey::new(&ask.key) {
            Ok(key) => {
                let cents = Cents(ask.cents);
                self.ask_for_money(id, sequence, MoneyAsk::Withdraw { key, cents });
            }
            Err(error) => self.refuse(id, &sequence, key_refused(&error.to_string())),
        }
    }

    /// A client gives something to its room.
    pub(crate) fn quiz_give(&mut self, id: ConnId, sequence: String, ask: &proto::Give) {
        let Some(room) = self.room_of_speaker(id) else {
            let failure = messages::failure(proto::Reason::NotInRoom, "join a room first");
            return self.refuse(id, &sequence, failure);
        };
        match MoneyKey::new(&ask.key) {
            Ok(key) => {
                let gift = Gift { room, kind: ask.kind, cents: Cents(ask.cents) };
                self.ask_for_money(id, sequence, MoneyAsk::Give { key, gift });
            }
            Err(error) => self.refuse(id, &sequence, key_refused(&error.to_string())),
        }
    }

    /// A client names its inviter.
    pub(crate) fn quiz_redeem(&mut self, id: ConnId, sequence: String, ask: &proto::Redeem) {
        match invitation::user_of(&self.ticket_key, &ask.code) {
            Some(inviter) => self.ask_for_money(id, sequence, MoneyAsk::Redeem { inviter }),
            None => {
                let text = "this is no invitation code";
                let failure = messages::failure(proto::Reason::CodeInvalid, text);
                self.refuse(id, &sequence, failure);
            }
        }
    }

    /// A client asks what it has.
    pub(crate) fn quiz_purse(&mut self, id: ConnId, sequence: String) {
        self.ask_for_money(id, sequence, MoneyAsk::Purse);
    }

    /// Puts a request to the home of the connection's user.
    pub(super) fn ask_for_money(&mut self, conn: ConnId, sequence: String, ask: MoneyAsk) {
        let Some(user) = self.conns.get(conn).map(|conn| conn.user) else { return };
        let (shard, sequence) = (self.config.me, sequence.into_boxed_str());
        let reply_to = ReplyTo::Client { shard, conn, sequence };
        let home = self.placement.user_home(user);
        self.post(home, Mail::Money(MoneyMail::Ask { user, ask, reply_to }));
    }

    /// At the user's home.
    pub(crate) fn money_asked(&mut self, user: UserId, ask: MoneyAsk, reply_to: ReplyTo) {
        let said = match ask {
            MoneyAsk::Grab { show, rain, slot, applied } => {
                return self.judge_tap(user, (show, rain, slot), applied, reply_to);
            }
            MoneyAsk::Redeem { inviter } => return self.redeem(user, inviter, reply_to),
            MoneyAsk::Withdraw { key, cents } => self.withdraw(user, &key, cents),
            MoneyAsk::Give { key, gift } => self.give(user, &key, gift),
            MoneyAsk::Purse => Ok(self.purse(user)),
        };
        self.reply_money(reply_to, said);
    }

    fn withdraw(
        &mut self,
        user: UserId,
        key: &MoneyKey,
        cents: Cents,
    ) -> Result<Response, proto::Failure> {
        let withdrawal = match self.quiz.local.withdraw(user, key, cents) {
            Ok(Requested::Fresh(withdrawal)) => {
                let balance = self.quiz.local.balance(user);
                let what = MoneyRecord::Withdrawn { key: key.clone(), cents, balance };
                self.journal_money(user, what);
                withdrawal
            }
            Ok(Requested::Repeated(withdrawal)) => withdrawal,
            Err(error) => return Err(money_refused(&error)),
        };
        let Withdrawal { cents, state } = withdrawal;
        let state = match state {
            WithdrawalState::Requested => proto::WithdrawalState::Requested,
            WithdrawalState::Paid => proto::WithdrawalState::Paid,
            WithdrawalState::Reversed => proto::WithdrawalState::Reversed,
        };
        Ok(Response::Withdrawal(proto::Withdrawal {
            key: key.as_str().to_owned(),
            cents: cents.0,
            state: state.into(),
            balance_cents: self.quiz.local.balance(user).0,
        }))
    }

    /// The outside says what became of a withdrawal.
    pub(super) fn close_withdrawal(
        &mut self,
        user: UserId,
        key: &MoneyKey,
        is_paid: bool,
    ) -> Result<OperatorAnswer, OperatorError> {
        if let Requested::Fresh(_) = self.quiz.local.close_withdrawal(user, key, is_paid)? {
            let balance = self.quiz.local.balance(user);
            let what = MoneyRecord::WithdrawalClosed { key: key.clone(), is_paid, balance };
            self.journal_money(user, what);
        }
        Ok(OperatorAnswer::Done)
    }

    /// A gift is admitted here at this shard's share of the rate at which its room's lane takes
    /// them: so none waits there for long.
    fn give(
        &mut self,
        user: UserId,
        key: &MoneyKey,
        gift: Gift,
    ) -> Result<Response, proto::Failure> {
        let set = self.config.downlink.gift_rate_max;
        let rate = if set == 0 { GIFTS_PER_S_DEFAULT } else { set };
        let pace = Pace::share(rate, self.placement.shard_count());
        let then = pace.take(self.quiz.gifts.full_at, self.now, 1).map_err(too_fast)?;
        match self.quiz.local.give(user, key, gift).map_err(|error| money_refused(&error))? {
            Requested::Fresh(gift) => {
                self.quiz.gifts.full_at = then;
                let balance = self.quiz.local.balance(user);
                self.journal_money(user, MoneyRecord::Gifted { key: key.clone(), gift, balance });
                let home = self.placement.room_home(gift.room);
                let mail = MoneyMail::Gift { user, key: key.clone(), gift };
                self.post_when_durable(Post::Mail(home, Mail::Money(mail)));
            }
            Requested::Repeated(_) => {}
        }
        let balance_cents = self.quiz.local.balance(user).0;
        Ok(Response::Given(proto::Given { key: key.as_str().to_owned(), balance_cents }))
    }

    /// At the room's home: what waits goes into the high lane as fast as that takes it.
    pub(super) fn show_gifts(&mut self) {
        self.quiz.gifts.due = None;
        while let Some(WaitingGift { user, key, gift }) = self.quiz.gifts.waiting.pop_front() {
            let has_ended = self.has_ended(gift.room);
            if !has_ended && !self.admits_gift(gift.room) {
                self.quiz.gifts.waiting.push_front(WaitingGift { user, key, gift });
                self.quiz.gifts.due = Some(self.now + GIFT_INTERVAL);
                return;
            }
            if !has_ended {
                let shown =
                    proto::GiftShown { user_id: user.0, kind: gift.kind, cents: gift.cents.0 };
                self.counters.gifts_shown += 1;
                self.publish_to_room(gift.room, Lane::High, Notice::GiftShown(shown), None);
            }
            let home = self.placement.user_home(user);
            self.post(home, Mail::Money(MoneyMail::GiftShown { user, key }));
        }
    }

    /// Gifts whose turn has come.
    pub(super) fn gifts_due(&mut self) {
        if self.quiz.gifts.due.is_some_and(|due| due <= self.now) {
            self.show_gifts();
        }
    }

    /// To be called when all records were read back: what was on its way between shards is put on
    /// its way again. What clients had asked for they ask again.
    pub(super) fn resume_money(&mut self) {
        self.quiz.local.drop_rain_grants();
        for (show, summary) in self.quiz.local.rains_to_report() {
            self.report_rain(show, summary);
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

    fn redeem(&mut self, user: UserId, inviter: UserId, reply_to: ReplyTo) {
        match self.quiz.local.ask_to_be_invited(user, inviter) {
            Ok(Asked::Fresh) => {
                self.journal_money(user, MoneyRecord::InvitationAsked { inviter });
            }
            Ok(Asked::Pending) => {}
            Ok(Asked::Accepted) => return self.reply_money(reply_to, Ok(redeemed(inviter, 0))),
            Err(error) => return self.reply_money(reply_to, Err(invitation_refused(error))),
        }
        let home = self.placement.user_home(inviter);
        let mail = MoneyMail::AskInviter { invitee: user, inviter, reply_to };
        self.post_when_durable(Post::Mail(home, Mail::Money(mail)));
    }

    /// At the inviter's home.
    fn inviter_asked(&mut self, invitee: UserId, inviter: UserId, reply_to: ReplyTo) {
        let cards = InvitationRule::default().inviter_cards;
        let (accepted, cards) = self.quiz.local.accept_invitation(inviter, invitee, cards);
        if accepted == Accepted::Fresh {
            self.journal_money(inviter, MoneyRecord::InvitationAccepted { invitee, cards });
        }
        let is_accepted = accepted != Accepted::Refused;
        let home = self.placement.user_home(invitee);
        let mail = MoneyMail::InviterSays { invitee, inviter, is_accepted, reply_to };
        self.post_when_durable(Post::Mail(home, Mail::Money(mail)));
    }

    /// At the new player's home.
    fn inviter_says(
        &mut self,
        invitee: UserId,
        inviter: UserId,
        is_accepted: bool,
        reply_to: ReplyTo,
    ) {
        let cards = InvitationRule::default().invitee_cards;
        let fresh = self.quiz.local.invitation_answered(invitee, inviter, is_accepted, cards);
        if let Some(cards) = fresh {
            let what = MoneyRecord::InvitationAnswered { inviter, is_accepted, cards };
            self.journal_money(invitee, what);
        }
        let said = if is_accepted {
            Ok(redeemed(inviter, fresh.unwrap_or(0)))
        } else {
            Err(invitation_refused(InvitationError::NotTaken))
        };
        self.reply_money(reply_to, said);
    }

    fn purse(&self, user: UserId) -> Response {
        let (_, invited) = self.quiz.local.invitations(user);
        Response::Purse(proto::Purse {
            balance_cents: self.quiz.local.balance(user).0,
            revive_cards: self.quiz.local.visible_cards(user).into(),
            invitation_code: invitation::code(&self.ticket_key, user),
            invited: u32::try_from(invited).unwrap_or(u32::MAX),
        })
    }

    pub(super) fn journal_money(&mut self, user: UserId, what: MoneyRecord) {
        let applied = self.quiz.applied(what.show());
        self.journal(Record::Money { user, what: Box::new(what), applied }, Vec::new());
    }

    /// Answers when everything recorded so far is durable.
    pub(super) fn reply_money(
        &mut self,
        reply_to: ReplyTo,
        said: Result<Response, proto::Failure>,
    ) {
        let shard = reply_to.shard();
        let mail = MoneyMail::Reply { reply_to, said: Box::new(said) };
        self.post_when_durable(Post::Mail(shard, Mail::Money(mail)));
    }
}

fn redeemed(inviter: UserId, cards: u8) -> Response {
    Response::Redeemed(proto::Redeemed { inviter_id: inviter.0, cards: cards.into() })
}

fn key_refused(text: &str) -> proto::Failure {
    messages::failure(proto::Reason::KeyInvalid, text)
}

fn invitation_refused(error: InvitationError) -> proto::Failure {
    messages::failure(proto::Reason::InvitationRefused, &error.to_string())
}

fn money_refused(error: &MoneyError) -> proto::Failure {
    let reason = match error {
        MoneyError::Amount { .. } => proto::Reason::AmountInvalid,
        MoneyError::NotEnough { .. } => proto::Reason::NotEnough,
        MoneyError::KeyTaken | MoneyError::NoSuchKey | MoneyError::DoneOtherwise => {
            proto::Reason::KeyInvalid
        }
        MoneyError::NoPlace(_) => proto::Reason::RateLimited,
    };
    messages::failure(reason, &error.to_string())
}
