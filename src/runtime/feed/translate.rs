//! From a shard's records to the causes of the book: pure, so that a feed that runs, a book that is
//! written again and a proof come to the same.
//!
//! A record that brings causes says all that they need, their time included; only the name of a show's
//! remainder account is taken from its announcement, which is on the same journal, or in what the run
//! began with. What is undone after a reveal has not been told before: cards come when nothing of their
//! show can be undone any more, prizes behind the last reveal.

use std::collections::BTreeMap;

use crate::base::ids::{ShowId, UserId};
use crate::base::time::{DisplayClock, Time};
use crate::ledger::account::Pool;
use crate::ledger::cause::{
    Cause, CauseKey, CauseKind, GiftPayer, Grant, Reward, Side, WithdrawalId,
};
use crate::ledger::name::Name;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::event::{NumberedEvent, ShowEvent};
use crate::quiz::local::GiftReturn;
use crate::quiz::money::Cents;
use crate::quiz::rain::RainEvent;
use crate::shard::record::{MoneyRecord, Record};

/// Where what is left of a pool goes if a show names no account that the book can take.
const REMAINDER_ACCOUNT: &str = "remainder";

/// When a moment of the deployment was. Runs display time by zeros of their own, because the wall clock
/// may have been set meanwhile; a moment is displayed by the run in which it was.
#[derive(Clone, Debug, Default)]
pub struct Axis(Vec<(Time, DisplayClock)>);

impl Axis {
    /// Takes in a run that began later than those before: at `began`, as it displays time.
    pub fn add(&mut self, began: Time, display: DisplayClock) {
        self.0.push((began, display));
    }

    /// Unix milliseconds of a moment.
    #[must_use]
    pub fn unix_ms(&self, at: Time) -> i64 {
        let run = self.0.iter().rev().find(|(began, _)| *began <= at).or(self.0.first());
        run.map_or(0, |(_, display)| display.unix_ms(at))
    }
}

/// What the journal of one shard in one run tells the book.
#[derive(Clone, Debug)]
pub struct Translator {
    axis: Axis,
    /// By show whose director lives on the shard: where what is left goes.
    accounts: BTreeMap<ShowId, Name>,
}

impl Translator {
    /// Of a shard of the axis's last run.
    #[must_use]
    pub fn new(axis: Axis) -> Translator {
        Translator { axis, accounts: BTreeMap::new() }
    }

    /// Learns of an event what later ones rest on, without telling anything: of those that the run began
    /// with, and of records that were told before.
    pub fn learn(&mut self, event: &NumberedEvent) {
        if let ShowEvent::Announced(definition) = &event.event {
            self.accounts.insert(event.show, account(definition));
        }
    }

    /// Appends the causes of the shard's next record.
    pub fn tell(&mut self, record: &Record, causes: &mut Vec<Cause>) {
        match record {
            Record::Event(event) => {
                self.learn(event);
                self.tell_event(event, causes);
            }
            Record::Prizes { show, prizes } => {
                let at_unix_ms = self.axis.unix_ms(prizes.at);
                let (show, amount) = (*show, prizes.per_head);
                causes.extend(prizes.users.iter().map(|user| Cause {
                    at_unix_ms,
                    kind: CauseKind::Prize { show, user: *user, amount },
                }));
            }
            Record::CardsUsed { show, cards } => {
                let (at_unix_ms, show) = (self.axis.unix_ms(cards.at), *show);
                causes.extend(cards.uses.iter().map(|(user, question)| Cause {
                    at_unix_ms,
                    kind: CauseKind::CardUsed { show, user: *user, question: *question },
                }));
            }
            Record::CardGranted { user, grant, at } => {
                let kind = CauseKind::CardsGranted(cards(*user, *grant, 1));
                causes.push(self.cause(*at, kind));
            }
            Record::CardsExpired { user, expiry, cards: count, at } => {
                let kind = CauseKind::CardsExpired(cards(*user, *expiry, *count));
                causes.push(self.cause(*at, kind));
            }
            Record::Money { user, what, at, .. } => {
                causes.extend(money(*user, what).map(|kind| self.cause(*at, kind)));
            }
            Record::Answer { .. }
            | Record::Joined { .. }
            | Record::Absent { .. }
            | Record::TicketIssued { .. }
            | Record::Drained { .. }
            | Record::Reported { .. }
            | Record::Applied { .. }
            | Record::Worked { .. }
            | Record::Standing(_)
            | Record::Offered { .. }
            | Record::Covered { .. } => {}
        }
    }

    fn tell_event(&self, numbered: &NumberedEvent, causes: &mut Vec<Cause>) {
        let show = numbered.show;
        let kind = match &numbered.event {
            ShowEvent::Announced(definition) => {
                let amount = definition.prize_pool;
                CauseKind::PoolFunded { show, pool: Pool::Prize, amount }
            }
            ShowEvent::Settled(split) => CauseKind::Settled {
                show,
                pool: split.pool,
                winners: split.winners,
                per_head: split.per_head,
                remainder: split.remainder,
                account: self.account_of(show),
            },
            ShowEvent::Cancelled => {
                let pool = CauseKind::PoolFunded { show, pool: Pool::Prize, amount: Cents::ZERO };
                let of = self.cause(numbered.decided_at, pool).key();
                let reason = Name::new("the show was called off").expect("a short name");
                CauseKind::Reversal { of, reason }
            }
            ShowEvent::Rain(event) => match self.rain(numbered, event) {
                Some(kind) => kind,
                None => return,
            },
            ShowEvent::LobbyOpened
            | ShowEvent::QuestionPushed(_)
            | ShowEvent::QuestionWithdrawn { .. }
            | ShowEvent::QuestionOpened(_)
            | ShowEvent::QuestionExtended { .. }
            | ShowEvent::QuestionClosing { .. }
            | ShowEvent::QuestionClosed { .. }
            | ShowEvent::Revealed(_)
            | ShowEvent::QuestionVoided { .. }
            | ShowEvent::Rejudging { .. }
            | ShowEvent::Rejudged { .. }
            | ShowEvent::Paused
            | ShowEvent::Resumed
            | ShowEvent::Settling
            | ShowEvent::Ended => return,
        };
        causes.push(self.cause(numbered.decided_at, kind));
    }

    fn rain(&self, numbered: &NumberedEvent, event: &RainEvent) -> Option<CauseKind> {
        let show = numbered.show;
        Some(match event {
            RainEvent::Funded { cents } => {
                CauseKind::RainFunded { show, event: numbered.number, amount: *cents }
            }
            RainEvent::Planned { rain, settings, .. } => CauseKind::PoolFunded {
                show,
                pool: Pool::Rain(u32::from(rain.0)),
                amount: settings.pool,
            },
            RainEvent::Ended { rain, returned, .. } => {
                CauseKind::RainReturned { show, rain: u32::from(rain.0), amount: *returned }
            }
            RainEvent::FundClosed { cents } => {
                let account = self.account_of(show);
                CauseKind::RainFundClosed { show, amount: *cents, account }
            }
            RainEvent::Started { .. } | RainEvent::Granted { .. } | RainEvent::Closing { .. } => {
                return None;
            }
        })
    }

    fn account_of(&self, show: ShowId) -> Name {
        self.accounts.get(&show).cloned().unwrap_or_else(usual_account)
    }

    fn cause(&self, at: Time, kind: CauseKind) -> Cause {
        Cause { at_unix_ms: self.axis.unix_ms(at), kind }
    }
}

fn account(definition: &ShowDefinition) -> Name {
    Name::new(definition.remainder_account.clone()).unwrap_or_else(|_| usual_account())
}

fn usual_account() -> Name {
    Name::new(REMAINDER_ACCOUNT).expect("a short name")
}

/// Cards that came or went under a number of their own.
fn cards(user: UserId, number: u64, cards: u8) -> Grant {
    let grant = Name::new(number.to_string()).expect("a number is a short name");
    Grant { user, grant, cards: u32::from(cards) }
}

/// Why a gift's price came back, as the book says it.
fn reason_of(why: GiftReturn) -> Name {
    let reason = match why {
        GiftReturn::RoomEnded => "room-ended",
        GiftReturn::TooMany => "too-many",
    };
    Name::new(reason).expect("a short name")
}

/// What a record about a user's money is to the book. What cost nothing moved nothing.
fn money(user: UserId, what: &MoneyRecord) -> Option<CauseKind> {
    Some(match what {
        MoneyRecord::Grabbed { show, rain, number, cents, .. } => CauseKind::PacketGrabbed {
            show: *show,
            rain: u32::from(rain.0),
            packet: *number,
            user,
            amount: *cents,
        },
        MoneyRecord::Withdrawn { number, cents, .. } => {
            let withdrawal = WithdrawalId { user, number: *number };
            CauseKind::WithdrawalRequested { withdrawal, amount: *cents }
        }
        MoneyRecord::WithdrawalClosed { number, is_paid, cents, .. } => {
            let (withdrawal, amount) = (WithdrawalId { user, number: *number }, *cents);
            match is_paid {
                true => CauseKind::WithdrawalPaid { withdrawal, amount },
                false => CauseKind::WithdrawalRefused { withdrawal, amount },
            }
        }
        MoneyRecord::Gifted { number, gift, .. } if gift.cents > Cents::ZERO => CauseKind::Gift {
            room: gift.room,
            giver: user,
            gift: *number,
            amount: gift.cents,
            payer: GiftPayer::Balance,
        },
        MoneyRecord::GiftReturned { number, cents, why, .. } if *cents > Cents::ZERO => {
            CauseKind::Reversal { of: CauseKey::gift(user, *number), reason: reason_of(*why) }
        }
        MoneyRecord::InvitationAccepted { invitee, cards } => CauseKind::Invitation {
            inviter: user,
            invitee: *invitee,
            side: Side::Inviter,
            reward: Reward::Cards(u32::from(*cards)),
        },
        MoneyRecord::InvitationAnswered { inviter, is_accepted: true, cards } => {
            CauseKind::Invitation {
                inviter: *inviter,
                invitee: user,
                side: Side::Invitee,
                reward: Reward::Cards(u32::from(*cards)),
            }
        }
        MoneyRecord::Gifted { .. }
        | MoneyRecord::GiftShown { .. }
        | MoneyRecord::GiftReturned { .. }
        | MoneyRecord::RequestForgotten { .. }
        | MoneyRecord::InvitationAsked { .. }
        | MoneyRecord::InvitationAnswered { is_accepted: false, .. } => return None,
    })
}

#[cfg(test)]
mod tests;
