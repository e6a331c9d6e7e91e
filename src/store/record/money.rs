//! Records about money, there and back.

use std::time::Duration;

use super::decode::{Decoded, array, narrow, shard};
use super::encode::nanoseconds;
use super::{RecordError, proto};
use crate::base::ids::{RainIndex, RoomId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::local::{Gift, GiftReturn};
use crate::quiz::money::Cents;
use crate::quiz::rain::{RainEvent, RainSettings, RainSummary};
use crate::quiz::requests::MoneyKey;
use crate::quiz::seal::SecretKey;
use crate::shard::record::MoneyRecord;

use proto::rain_event::Body as RainBody;
use proto::record::Body;

/// Why a gift came back, as it is stored.
const GIFT_ROOM_ENDED: u32 = 1;
const GIFT_TOO_MANY: u32 = 2;

pub(super) fn body(record: &MoneyRecord) -> Body {
    match record {
        MoneyRecord::Grabbed { rain, slot, number, cents, .. } => Body::Grabbed(proto::Grabbed {
            rain: u32::from(rain.0),
            slot: u32::from(*slot),
            number: *number,
            cents: cents.0,
        }),
        MoneyRecord::Withdrawn { key, cents, balance } => Body::Withdrawn(proto::Withdrawn {
            key: key.as_str().to_owned(),
            cents: cents.0,
            balance_cents: balance.0,
        }),
        MoneyRecord::WithdrawalClosed { key, is_paid, balance } => {
            Body::WithdrawalClosed(proto::WithdrawalClosed {
                key: key.as_str().to_owned(),
                is_paid: *is_paid,
                balance_cents: balance.0,
            })
        }
        MoneyRecord::Gifted { key, gift, balance } => Body::Gifted(proto::Gifted {
            key: key.as_str().to_owned(),
            room: gift.room.0,
            kind: gift.kind,
            cents: gift.cents.0,
            balance_cents: balance.0,
        }),
        MoneyRecord::GiftShown { key } => {
            Body::GiftShown(proto::GiftShown { key: key.as_str().to_owned() })
        }
        MoneyRecord::GiftReturned { key, why, balance } => {
            let why = match why {
                GiftReturn::RoomEnded => GIFT_ROOM_ENDED,
                GiftReturn::TooMany => GIFT_TOO_MANY,
            };
            let (key, balance_cents) = (key.as_str().to_owned(), balance.0);
            Body::GiftReturned(proto::GiftReturned { key, why, balance_cents })
        }
        MoneyRecord::RequestForgotten { key, is_gift } => {
            let (key, is_gift) = (key.as_str().to_owned(), *is_gift);
            Body::RequestForgotten(proto::RequestForgotten { key, is_gift })
        }
        MoneyRecord::InvitationAsked { inviter } => {
            Body::InvitationAsked(proto::InvitationAsked { inviter: inviter.0 })
        }
        MoneyRecord::InvitationAccepted { invitee, cards } => {
            let (invitee, cards) = (invitee.0, u32::from(*cards));
            Body::InvitationAccepted(proto::InvitationAccepted { invitee, cards })
        }
        MoneyRecord::InvitationAnswered { inviter, is_accepted, cards } => {
            Body::InvitationAnswered(proto::InvitationAnswered {
                inviter: inviter.0,
                is_accepted: *is_accepted,
                cards: u32::from(*cards),
            })
        }
    }
}

/// Nothing if the record is about something else.
pub(super) fn record(show: ShowId, body: &Body) -> Decoded<Option<MoneyRecord>> {
    Ok(Some(match body {
        Body::Grabbed(it) => MoneyRecord::Grabbed {
            show,
            rain: rain(it.rain)?,
            slot: narrow(it.slot, "slot")?,
            number: it.number,
            cents: Cents(it.cents),
        },
        Body::Withdrawn(it) => {
            let (cents, balance) = (Cents(it.cents), Cents(it.balance_cents));
            MoneyRecord::Withdrawn { key: key(&it.key)?, cents, balance }
        }
        Body::WithdrawalClosed(it) => MoneyRecord::WithdrawalClosed {
            key: key(&it.key)?,
            is_paid: it.is_paid,
            balance: Cents(it.balance_cents),
        },
        Body::Gifted(it) => {
            let gift = Gift { room: RoomId(it.room), kind: it.kind, cents: Cents(it.cents) };
            MoneyRecord::Gifted { key: key(&it.key)?, gift, balance: Cents(it.balance_cents) }
        }
        Body::GiftShown(it) => MoneyRecord::GiftShown { key: key(&it.key)? },
        Body::GiftReturned(it) => MoneyRecord::GiftReturned {
            key: key(&it.key)?,
            why: match it.why {
                GIFT_ROOM_ENDED => GiftReturn::RoomEnded,
                GIFT_TOO_MANY => GiftReturn::TooMany,
                _ => return Err(RecordError::Unknown("reason for a gift's return")),
            },
            balance: Cents(it.balance_cents),
        },
        Body::RequestForgotten(it) => {
            MoneyRecord::RequestForgotten { key: key(&it.key)?, is_gift: it.is_gift }
        }
        Body::InvitationAsked(it) => MoneyRecord::InvitationAsked { inviter: UserId(it.inviter) },
        Body::InvitationAccepted(it) => MoneyRecord::InvitationAccepted {
            invitee: UserId(it.invitee),
            cards: narrow(it.cards, "number of cards")?,
        },
        Body::InvitationAnswered(it) => MoneyRecord::InvitationAnswered {
            inviter: UserId(it.inviter),
            is_accepted: it.is_accepted,
            cards: narrow(it.cards, "number of cards")?,
        },
        _ => return Ok(None),
    }))
}

pub(super) fn rain_event(event: &RainEvent) -> proto::RainEvent {
    let (rain, body) = match event {
        RainEvent::Funded { cents } => (RainIndex(0), RainBody::Funded(cents.0)),
        RainEvent::FundClosed { cents } => (RainIndex(0), RainBody::FundClosed(cents.0)),
        RainEvent::Planned { rain, settings, seed } => {
            let planned = proto::RainPlanned {
                pool_cents: settings.pool.0,
                packets: settings.packets,
                win_per_10000: u32::from(settings.win_per_10000),
                taps_max: u32::from(settings.taps_max),
                show_packets_max: u32::from(settings.show_packets_max),
                duration: nanoseconds(settings.duration),
                seed: seed.expose().to_vec().into(),
            };
            (*rain, RainBody::Planned(planned))
        }
        RainEvent::Started { rain, starts_at, ends_at } => {
            let started = proto::RainStarted { starts_at: starts_at.0, ends_at: ends_at.0 };
            (*rain, RainBody::Started(started))
        }
        RainEvent::Granted { rain, shard, first, count, left } => {
            let shard = u32::from(shard.0);
            let granted = proto::RainGranted { shard, first: *first, count: *count, left: *left };
            (*rain, RainBody::Granted(granted))
        }
        RainEvent::Closing { rain } => (*rain, RainBody::Closing(proto::Empty {})),
        RainEvent::Ended { rain, grabbed, paid, returned } => {
            let ended = proto::RainEnded {
                grabbed: *grabbed,
                paid_cents: paid.0,
                returned_cents: returned.0,
            };
            (*rain, RainBody::Ended(ended))
        }
    };
    proto::RainEvent { rain: u32::from(rain.0), body: Some(body) }
}

pub(super) fn read_rain_event(it: &proto::RainEvent) -> Decoded<RainEvent> {
    let rain = rain(it.rain)?;
    Ok(match it.body.as_ref().ok_or(RecordError::Unknown("rain event"))? {
        RainBody::Funded(cents) => RainEvent::Funded { cents: Cents(*cents) },
        RainBody::FundClosed(cents) => RainEvent::FundClosed { cents: Cents(*cents) },
        RainBody::Planned(it) => {
            let settings = RainSettings {
                pool: Cents(it.pool_cents),
                packets: it.packets,
                win_per_10000: narrow(it.win_per_10000, "probability")?,
                taps_max: narrow(it.taps_max, "number of taps")?,
                show_packets_max: narrow(it.show_packets_max, "number of packets")?,
                duration: Duration::from_nanos(it.duration),
            };
            settings.check().map_err(|_| RecordError::Impossible("rain"))?;
            let seed = SecretKey::from_bytes(array(&it.seed, "seed")?);
            RainEvent::Planned { rain, settings, seed }
        }
        RainBody::Started(it) => {
            let (starts_at, ends_at) = (Time(it.starts_at), Time(it.ends_at));
            RainEvent::Started { rain, starts_at, ends_at }
        }
        RainBody::Granted(it) => {
            let (shard, first, count, left) = (shard(it.shard)?, it.first, it.count, it.left);
            RainEvent::Granted { rain, shard, first, count, left }
        }
        RainBody::Closing(_) => RainEvent::Closing { rain },
        RainBody::Ended(it) => RainEvent::Ended {
            rain,
            grabbed: it.grabbed,
            paid: Cents(it.paid_cents),
            returned: Cents(it.returned_cents),
        },
    })
}

pub(super) fn counted(it: &RainSummary) -> proto::RainCounted {
    let (packets, paid_cents) = (it.packets, it.paid.0);
    proto::RainCounted { rain: u32::from(it.rain.0), packets, paid_cents }
}

pub(super) fn rain(number: u32) -> Decoded<RainIndex> {
    narrow(number, "rain").map(RainIndex)
}

fn key(text: &str) -> Decoded<MoneyKey> {
    MoneyKey::new(text).map_err(|_| RecordError::Impossible("key"))
}
