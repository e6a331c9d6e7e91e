//! From messages of the schema to requests that the gateway understands, and what is wrong with them.
//! The same for a request of its own and for a part of a batch.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;

use crate::auth::revocation::Revocation;
use crate::base::ids::{RoomId, UserId};
use crate::base::limits::{
    BROADCAST_MESSAGES_MAX, BROADCAST_ROOMS_MAX, KEPT_KINDS_MAX, SERVICE_MESSAGE_BYTES_MAX,
    SERVICE_MESSAGES_MAX, TOKEN_ID_BYTES_MAX,
};
use crate::chat::mutes::EVERYWHERE;
use crate::ops::http::api::ApiError;
use crate::ops::http::media::bad_body;
use crate::ops::http::port::ServerRequest;
use crate::ops::http::schema::proto;
use crate::ops::http::schema::proto::operation::Operation;
use crate::room::lane::Lane;
use crate::shard::config::SlowPolicy;
use crate::shard::mail::ServiceMessages;
use crate::shard::operator::Mute;
use crate::shard::service::{Broadcast, RoomSettings, ServiceRequest};
use crate::wire::proto::Lane as LaneNumber;

/// A year: whoever is to be silent for longer is to be kept out.
const MUTE_SECONDS_MAX: u64 = 366 * 86_400;

/// What an operation asks of the gateway.
pub(crate) fn request(operation: Operation) -> Result<ServerRequest, ApiError> {
    Ok(match operation {
        Operation::Publish(proto::Publish { room, lane, kind, messages }) => {
            let (room, lane) = (room_of(room)?, lane_of(lane)?);
            check_messages(&messages)?;
            ServerRequest::Publish(ServiceMessages { room, lane, kind, messages })
        }
        Operation::Broadcast(broadcast) => read_broadcast(broadcast)?,
        Operation::CloseRoom(proto::CloseRoom { room }) => {
            ServerRequest::CloseRoom { room: room_of(room)? }
        }
        Operation::ConfigureRoom(proto::ConfigureRoom { room, settings }) => {
            let (room, settings) = (room_of(room)?, read_settings(settings.unwrap_or_default())?);
            ServerRequest::Service(ServiceRequest::ConfigureRoom { room, settings })
        }
        Operation::Disconnect(proto::Disconnect { user, reconnect }) => {
            let user = user_of(user)?;
            ServerRequest::Service(ServiceRequest::Disconnect { user, reconnect })
        }
        Operation::Mute(proto::Mute { user, seconds, room }) => {
            if seconds == 0 || seconds > MUTE_SECONDS_MAX {
                let message = format!("seconds is {seconds}: mute for 1 to {MUTE_SECONDS_MAX}");
                return Err(bad_body(message));
            }
            let (user, room) = (user_of(user)?, place(room)?);
            ServerRequest::Mute(Mute { user, room, lasting: Duration::from_secs(seconds) })
        }
        Operation::Unmute(proto::Unmute { user, room }) => {
            let (user, room) = (user_of(user)?, place(room)?);
            ServerRequest::Mute(Mute { user, room, lasting: Duration::ZERO })
        }
        Operation::Ban(proto::Ban { user, until }) => {
            let (user, until_unix_s) = (user_of(user)?, until.unwrap_or(i64::MAX));
            let until_unix_s = Some(until_unix_s);
            ServerRequest::Service(ServiceRequest::Ban { user, until_unix_s })
        }
        Operation::Unban(proto::Unban { user }) => {
            let user = user_of(user)?;
            ServerRequest::Service(ServiceRequest::Ban { user, until_unix_s: None })
        }
        Operation::RevokeUser(proto::RevokeUser { user, issued_until, until }) => {
            ServerRequest::Revoke(Revocation::User {
                user: user_of(user)?,
                issued_until_unix_s: issued_until,
                refused_until_unix_s: until,
            })
        }
        Operation::RevokeToken(proto::RevokeToken { token, expires }) => {
            if token.is_empty() || token.len() > TOKEN_ID_BYTES_MAX {
                let message = format!("a token's `jti` has 1 to {TOKEN_ID_BYTES_MAX} bytes");
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_token_id", message));
            }
            ServerRequest::Revoke(Revocation::Token { id: token, expires_unix_s: expires })
        }
    })
}

fn read_broadcast(broadcast: proto::Broadcast) -> Result<ServerRequest, ApiError> {
    let proto::Broadcast { rooms, lane, kind, messages } = broadcast;
    let (count, lane) = (rooms.len(), lane_of(lane)?);
    if count == 0 || count > BROADCAST_ROOMS_MAX {
        return Err(bad_body(format!("{count} rooms: name 1 to {BROADCAST_ROOMS_MAX}")));
    }
    let rooms = rooms.into_iter().map(room_of).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = rooms.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(bad_body(format!("room {} is named twice: name each once", twice[0])));
    }
    check_messages(&messages)?;
    let publications = count * messages.len();
    if publications > BROADCAST_MESSAGES_MAX {
        return Err(bad_body(format!(
            "{} messages for {count} rooms are {publications}: at most {BROADCAST_MESSAGES_MAX} at \
             once; send several requests",
            messages.len()
        )));
    }
    Ok(ServerRequest::Broadcast(Broadcast { rooms, lane, kind, messages }))
}

fn check_messages(messages: &[Bytes]) -> Result<(), ApiError> {
    let count = messages.len();
    if count == 0 || count > SERVICE_MESSAGES_MAX {
        return Err(bad_body(format!("{count} messages: send 1 to {SERVICE_MESSAGES_MAX}")));
    }
    let long = |(_, message): &(usize, &Bytes)| message.len() > SERVICE_MESSAGE_BYTES_MAX;
    match messages.iter().enumerate().find(long) {
        None => Ok(()),
        Some((place, message)) => Err(bad_body(format!(
            "message {place} (counted from 0) has {} bytes; at most {SERVICE_MESSAGE_BYTES_MAX} are \
             possible",
            message.len()
        ))),
    }
}

fn read_settings(settings: proto::RoomSettings) -> Result<RoomSettings, ApiError> {
    let proto::RoomSettings {
        chat_per_second,
        opaque_allowed,
        low_per_second,
        kept_kinds,
        slow_readers,
        egress_bytes_per_second,
    } = settings;
    let kept_kinds = kept_kinds.map(|kinds| kinds.kinds);
    let kind_count = kept_kinds.as_ref().map_or(0, Vec::len);
    if kind_count > KEPT_KINDS_MAX {
        return Err(bad_body(format!("kept_kinds has {kind_count}: at most {KEPT_KINDS_MAX}")));
    }
    if kept_kinds.iter().flatten().any(|kind| *kind == 0) {
        return Err(bad_body(
            "kept_kinds has 0, which is the kind of what members say: leave it out",
        ));
    }
    let proto::SlowReaders { high, mid, low } = slow_readers.unwrap_or_default();
    let policy = |lane: &str, word: Option<String>| match word.as_deref() {
        None => Ok(None),
        Some("gap") => Ok(Some(SlowPolicy::Gap)),
        Some("close") => Ok(Some(SlowPolicy::Close)),
        Some(other) => {
            Err(bad_body(format!("slow_readers.{lane} is `{other}`: give `gap` or `close`")))
        }
    };
    Ok(RoomSettings {
        chat_per_second,
        opaque_allowed,
        low_per_second,
        kept_kinds,
        slow: [policy("high", high)?, policy("mid", mid)?, policy("low", low)?],
        egress_bytes_per_s: egress_bytes_per_second,
    })
}

/// The room of a body; without one, everywhere.
fn place(room: Option<u64>) -> Result<RoomId, ApiError> {
    match room {
        None => Ok(EVERYWHERE),
        Some(0) => Err(bad_body("room 0 is no room; leave room out for everywhere")),
        Some(room) => Ok(RoomId(room)),
    }
}

fn room_of(room: u64) -> Result<RoomId, ApiError> {
    match room {
        0 => Err(bad_body("room is missing or 0: give the id of a room, a whole number from 1")),
        room => Ok(RoomId(room)),
    }
}

fn user_of(user: u64) -> Result<UserId, ApiError> {
    match user {
        0 => Err(bad_body("user is missing or 0: give the id of a user, a whole number from 1")),
        user => Ok(UserId(user)),
    }
}

fn lane_of(lane: i32) -> Result<Lane, ApiError> {
    match LaneNumber::try_from(lane) {
        Ok(LaneNumber::High) => Ok(Lane::High),
        Ok(LaneNumber::Mid) => Ok(Lane::Mid),
        Ok(LaneNumber::Low) => Ok(Lane::Low),
        Ok(LaneNumber::Unspecified) | Err(_) => {
            Err(bad_body("lane is missing or not known: give `high`, `mid` or `low`"))
        }
    }
}
