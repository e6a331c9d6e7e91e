//! Orders of operators that stay in force, there and back.

use std::sync::Arc;

use super::decode::{Decoded, array};
use super::{RecordError, proto};
use crate::base::ids::{RoomId, UserId};
use crate::base::time::Time;
use crate::shard::config::SlowPolicy;
use crate::shard::service::RoomSettings;
use crate::shard::standing::{Order, OrderKey, StandingRecord, UserRevocation};

use proto::standing::Body;

/// How a policy is stored; 0: none is set.
const SLOW_GAP: u32 = 1;
const SLOW_CLOSE: u32 = 2;

/// Whose it is; 0: nobody's.
pub(super) fn user(record: &StandingRecord) -> UserId {
    match record {
        StandingRecord::Banned { user, .. }
        | StandingRecord::Muted { user, .. }
        | StandingRecord::UserRevoked { user, .. } => *user,
        StandingRecord::TokenRevoked { .. }
        | StandingRecord::RoomConfigured { .. }
        | StandingRecord::RoomEnded { .. }
        | StandingRecord::Ordered { .. } => UserId(0),
    }
}

pub(super) fn body(record: &StandingRecord) -> proto::Standing {
    let body = match record {
        StandingRecord::Banned { until_unix_s, .. } => {
            Body::Banned(proto::Banned { until_unix_s: *until_unix_s })
        }
        StandingRecord::Muted { room, until, .. } => {
            Body::Muted(proto::Muted { room: room.0, until: until.0 })
        }
        StandingRecord::UserRevoked { revocation, .. } => Body::UserRevoked(proto::UserRevoked {
            issued_until_unix_s: revocation.issued_until_unix_s,
            refused_until_unix_s: revocation.refused_until_unix_s,
            kept_until_unix_s: revocation.kept_until_unix_s,
        }),
        StandingRecord::TokenRevoked { id, kept_until_unix_s } => {
            let kept_until_unix_s = *kept_until_unix_s;
            Body::TokenRevoked(proto::TokenRevoked { id: *id, kept_until_unix_s })
        }
        StandingRecord::RoomConfigured { room, settings } => {
            Body::RoomConfigured(configured(*room, settings))
        }
        StandingRecord::RoomEnded { room, at } => {
            Body::RoomEnded(proto::RoomEnded { room: room.0, at: at.0 })
        }
        StandingRecord::Ordered { order, at } => Body::Ordered(proto::Ordered {
            key: order.key.0.to_vec().into(),
            fingerprint: order.fingerprint,
            at: at.0,
        }),
    };
    proto::Standing { body: Some(body) }
}

pub(super) fn record(user: UserId, it: proto::Standing) -> Decoded<StandingRecord> {
    Ok(match it.body.ok_or(RecordError::Unknown("order"))? {
        Body::Banned(it) => StandingRecord::Banned { user, until_unix_s: it.until_unix_s },
        Body::Muted(it) => {
            StandingRecord::Muted { user, room: RoomId(it.room), until: Time(it.until) }
        }
        Body::UserRevoked(it) => {
            let revocation = UserRevocation {
                issued_until_unix_s: it.issued_until_unix_s,
                refused_until_unix_s: it.refused_until_unix_s,
                kept_until_unix_s: it.kept_until_unix_s,
            };
            StandingRecord::UserRevoked { user, revocation }
        }
        Body::TokenRevoked(it) => {
            let (id, kept_until_unix_s) = (it.id, it.kept_until_unix_s);
            StandingRecord::TokenRevoked { id, kept_until_unix_s }
        }
        Body::RoomConfigured(it) => {
            let room = RoomId(it.room);
            StandingRecord::RoomConfigured { room, settings: Arc::new(settings(it)?) }
        }
        Body::RoomEnded(it) => StandingRecord::RoomEnded { room: RoomId(it.room), at: Time(it.at) },
        Body::Ordered(it) => {
            let key = OrderKey(array(&it.key, "key of an order")?);
            let order = Order { key, fingerprint: it.fingerprint };
            StandingRecord::Ordered { order, at: Time(it.at) }
        }
    })
}

fn configured(room: RoomId, settings: &RoomSettings) -> proto::RoomConfigured {
    let slow = settings.slow.map(|policy| match policy {
        None => 0,
        Some(SlowPolicy::Gap) => SLOW_GAP,
        Some(SlowPolicy::Close) => SLOW_CLOSE,
    });
    proto::RoomConfigured {
        room: room.0,
        chat_per_second: settings.chat_per_second,
        opaque_allowed: settings.opaque_allowed,
        low_per_second: settings.low_per_second,
        has_kept_kinds: settings.kept_kinds.is_some(),
        kept_kinds: settings.kept_kinds.clone().unwrap_or_default(),
        slow: slow.to_vec(),
        egress_bytes_per_s: settings.egress_bytes_per_s,
    }
}

fn settings(it: proto::RoomConfigured) -> Decoded<RoomSettings> {
    let mut slow = [None; 3];
    if it.slow.len() != slow.len() {
        return Err(RecordError::Impossible("number of lanes"));
    }
    for (policy, stored) in slow.iter_mut().zip(&it.slow) {
        *policy = match *stored {
            0 => None,
            SLOW_GAP => Some(SlowPolicy::Gap),
            SLOW_CLOSE => Some(SlowPolicy::Close),
            _ => return Err(RecordError::Unknown("policy for slow readers")),
        };
    }
    Ok(RoomSettings {
        chat_per_second: it.chat_per_second,
        opaque_allowed: it.opaque_allowed,
        low_per_second: it.low_per_second,
        kept_kinds: it.has_kept_kinds.then_some(it.kept_kinds),
        slow,
        egress_bytes_per_s: it.egress_bytes_per_s,
    })
}
