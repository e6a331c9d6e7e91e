//! What users ask about their money: withdrawals, gifts, invitations, what they have.
//!
//! Everything is decided at the user's home, recorded, and answered when the record is durable.

use std::time::Duration;

use crate::auth::invitation;
use crate::base::ids::{ConnId, ShardId, UserId};
use crate::quiz::invitation::{Accepted, Asked, InvitationError, InvitationRule};
use crate::quiz::local::{Gift, MoneyError, Requested, Withdrawal, WithdrawalState};
use crate::quiz::money::Cents;
use crate::quiz::requests::MoneyKey;
use crate::shard::Shard;
use crate::shard::held::Post;
use crate::shard::mail::Mail;
use crate::shard::messages;
use crate::shard::money_mail::{MoneyAsk, MoneyMail, ReplyTo};
use crate::shard::operator::{OperatorAnswer, OperatorError};
use crate::shard::record::{MoneyRecord, Record};
use crate::wire::proto;
use crate::wire::proto::response::Payload as Response;

/// Requests of one new player that wait for what the inviter's bucket says.
const REDEEMERS_MAX: usize = 4;

/// How often requests are looked at, to forget those that have been done for long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// How many then, of each sort: some 100 µs; all that there can be in half an hour.
const SWEEP_COUNT: usize = 4_096;

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
            MoneyMail::AskInviter { invitee, inviter } => self.inviter_asked(invitee, inviter),
            MoneyMail::InviterSays { invitee, inviter, is_accepted } => {
                self.inviter_says(invitee, inviter, is_accepted);
            }
            MoneyMail::Gift { user, key, gift } => self.gift_came(user, key, gift),
            MoneyMail::GiftShown { user, key } => {
                if self.quiz.local.gift_shown(user, &key) {
                    self.journal_money(user, MoneyRecord::GiftShown { key });
                }
            }
            MoneyMail::GiftRefused { user, key, why } => self.gift_refused(user, key, why),
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
                let (key, number) = (key.clone(), withdrawal.number);
                let what = MoneyRecord::Withdrawn { key, number, cents, balance };
                self.journal_money(user, what);
                withdrawal
            }
            Ok(Requested::Repeated(withdrawal)) => withdrawal,
            Err(error) => return Err(money_refused(&error)),
        };
        let Withdrawal { number, cents, state } = withdrawal;
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
            number,
        }))
    }

    /// The outside says what became of a withdrawal.
    pub(super) fn close_withdrawal(
        &mut self,
        user: UserId,
        number: u64,
        is_paid: bool,
    ) -> Result<OperatorAnswer, OperatorError> {
        let closed = self.quiz.local.close_withdrawal(user, number, is_paid)?;
        if let Requested::Fresh(Withdrawal { cents, .. }) = closed {
            let balance = self.quiz.local.balance(user);
            self.journal_money(
                user,
                MoneyRecord::WithdrawalClosed { number, is_paid, cents, balance },
            );
        }
        Ok(OperatorAnswer::Done)
    }

    /// To be called when all records were read back: what was on its way between shards is put on
    /// its way again. What clients had asked for they ask again.
    pub(super) fn resume_money(&mut self) {
        self.quiz.local.drop_rain_grants();
        if !self.quiz.local.has_no_requests() {
            self.quiz.sweep_due = Some(self.now + SWEEP_INTERVAL);
        }
        for (show, summary) in self.quiz.local.rains_to_report() {
            self.report_rain(show, summary);
        }
        for (invitee, inviter) in self.quiz.local.invitations_to_ask_again() {
            self.ask_inviter(invitee, inviter);
        }
        self.resume_gifts();
    }

    fn redeem(&mut self, user: UserId, inviter: UserId, reply_to: ReplyTo) {
        match self.quiz.local.ask_to_be_invited(user, inviter) {
            Ok(Asked::Fresh) => {
                self.journal_money(user, MoneyRecord::InvitationAsked { inviter });
            }
            Ok(Asked::Pending) => {}
            Ok(Asked::UnderWay) => return self.wait_for_inviter(user, reply_to),
            Ok(Asked::Accepted) => return self.reply_money(reply_to, Ok(redeemed(inviter, 0))),
            Err(error) => return self.reply_money(reply_to, Err(invitation_refused(error))),
        }
        self.wait_for_inviter(user, reply_to);
        self.ask_inviter(user, inviter);
    }

    /// Keeps who is to hear what the inviter's bucket says: a client that repeats its request is told
    /// as often, up to a limit.
    fn wait_for_inviter(&mut self, invitee: UserId, reply_to: ReplyTo) {
        let waiting = self.quiz.redeeming.entry(invitee).or_default();
        if waiting.len() < REDEEMERS_MAX {
            return waiting.push(reply_to);
        }
        let text = "so many of these requests wait already: wait for their answer";
        let failure = messages::failure(proto::Reason::RateLimited, text);
        self.reply_money(reply_to, Err(failure));
    }

    fn ask_inviter(&mut self, invitee: UserId, inviter: UserId) {
        let home = self.placement.user_home(inviter);
        let mail = MoneyMail::AskInviter { invitee, inviter };
        self.post_when_durable(Post::Mail(home, Mail::Money(mail)));
    }

    /// At the inviter's home.
    fn inviter_asked(&mut self, invitee: UserId, inviter: UserId) {
        let cards = InvitationRule::default().inviter_cards;
        let (accepted, cards) = self.quiz.local.accept_invitation(inviter, invitee, cards);
        if accepted == Accepted::Fresh {
            self.journal_money(inviter, MoneyRecord::InvitationAccepted { invitee, cards });
        }
        let is_accepted = accepted != Accepted::Refused;
        let home = self.placement.user_home(invitee);
        let mail = MoneyMail::InviterSays { invitee, inviter, is_accepted };
        self.post_when_durable(Post::Mail(home, Mail::Money(mail)));
    }

    /// At the new player's home.
    fn inviter_says(&mut self, invitee: UserId, inviter: UserId, is_accepted: bool) {
        let cards = InvitationRule::default().invitee_cards;
        let fresh = self.quiz.local.invitation_answered(invitee, inviter, is_accepted, cards);
        if let Some(cards) = fresh {
            let what = MoneyRecord::InvitationAnswered { inviter, is_accepted, cards };
            self.journal_money(invitee, what);
        }
        for reply_to in self.quiz.redeeming.remove(&invitee).unwrap_or_default() {
            let said = if is_accepted {
                Ok(redeemed(inviter, fresh.unwrap_or(0)))
            } else {
                Err(invitation_refused(InvitationError::NotTaken))
            };
            self.reply_money(reply_to, said);
        }
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

    /// Forgets requests that have been done for long, some at a time.
    pub(super) fn sweep_requests(&mut self) {
        if self.quiz.sweep_due.is_none_or(|due| due > self.now) {
            return;
        }
        self.quiz.sweep_due = None;
        for (user, key, is_gift) in self.quiz.local.requests_to_forget(self.now, SWEEP_COUNT) {
            if self.quiz.local.forget_request(user, &key, is_gift) {
                self.journal_money(user, MoneyRecord::RequestForgotten { key, is_gift });
            }
        }
        if !self.quiz.local.has_no_requests() {
            self.quiz.sweep_due.get_or_insert(self.now + SWEEP_INTERVAL);
        }
    }

    pub(super) fn journal_money(&mut self, user: UserId, what: MoneyRecord) {
        self.quiz.sweep_due.get_or_insert(self.now + SWEEP_INTERVAL);
        let applied = self.quiz.applied(what.show());
        let (what, at) = (Box::new(what), self.now);
        self.journal(Record::Money { user, what, applied, at }, Vec::new());
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

pub(super) fn money_refused(error: &MoneyError) -> proto::Failure {
    let reason = match error {
        MoneyError::Amount { .. } => proto::Reason::AmountInvalid,
        MoneyError::NotEnough { .. } => proto::Reason::NotEnough,
        MoneyError::KeyTaken | MoneyError::NoSuchWithdrawal | MoneyError::DoneOtherwise => {
            proto::Reason::KeyInvalid
        }
        MoneyError::NoPlace(_) => proto::Reason::RateLimited,
    };
    messages::failure(reason, &error.to_string())
}
