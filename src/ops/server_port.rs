//! The server API's way to the shards of a running gateway, and their answers in the schema's words.

use std::sync::Arc;

use prost::Message as _;

use crate::auth::bans::UNTIL_LIFTED;
use crate::auth::revocation::Revocation;
use crate::base::ids::RoomId;
use crate::base::limits::BROADCAST_CHUNK;
use crate::chat::mutes::EVERYWHERE;
use crate::ops::http::schema::{Answer, proto};
use crate::ops::http::{ApiError, OperatorRefusal, ServerRequest};
use crate::ops::operator_port::{GatewayPort, refusal, unexpected};
use crate::room::lane::Lane;
use crate::runtime::operator::CallError;
use crate::shard::config::SlowPolicy;
use crate::shard::operator::{Mute, OperatorAnswer, OperatorError, OperatorRequest, Published};
use crate::shard::service::{
    Broadcast, HistoryFrames, Page, RoomSettings, RoomView, ServiceAnswer, ServiceRequest,
};
use crate::wire::frame::payload_start;
use crate::wire::proto::notification::Payload;
use crate::wire::proto::{self as wire, business, server_frame};

impl GatewayPort {
    /// Asks the shards for what the service wants.
    pub(super) async fn serve(&self, request: ServerRequest) -> Result<Answer, OperatorRefusal> {
        match request {
            ServerRequest::Publish(messages) => {
                let room = messages.room;
                match self.ask(OperatorRequest::Publish(messages)).await? {
                    OperatorAnswer::Published(done) => {
                        Ok(Answer::Published(shown_published(room, done)))
                    }
                    other => Err(unexpected(&other)),
                }
            }
            ServerRequest::Broadcast(broadcast) => self.broadcast(broadcast).await,
            ServerRequest::CloseRoom { room } => {
                self.ask_done(OperatorRequest::CloseRoom(room)).await?;
                Ok(Answer::RoomClosed(proto::RoomClosed { room: room.0, closed: true }))
            }
            ServerRequest::Revoke(revocation) => {
                let shown = match &revocation {
                    Revocation::User { user, .. } => {
                        Answer::UserRevoked(proto::UserRevoked { user: user.0, revoked: true })
                    }
                    Revocation::Token { id, .. } => {
                        let token = id.clone();
                        Answer::TokenRevoked(proto::TokenRevoked { token, revoked: true })
                    }
                };
                self.ask_done(OperatorRequest::Revoke(revocation)).await?;
                Ok(shown)
            }
            ServerRequest::Mute(mute) => {
                self.ask_done(OperatorRequest::Mute(mute)).await?;
                let Mute { user, room, lasting } = mute;
                let room = (room != EVERYWHERE).then_some(room.0);
                Ok(Answer::Muted(proto::Muted { user: user.0, room, seconds: lasting.as_secs() }))
            }
            ServerRequest::Online { room } => {
                let online = match self.ask_service(ServiceRequest::Room(room)).await {
                    Ok(ServiceAnswer::Room(view)) => view.online,
                    // A room of which nothing is known is empty.
                    Err(OperatorRefusal::UnknownRoom { .. }) => 0,
                    Ok(other) => return Err(unexpected(&OperatorAnswer::Service(other))),
                    Err(refusal) => return Err(refusal),
                };
                Ok(Answer::Online(proto::Online { room: room.0, online }))
            }
            ServerRequest::Service(request) => {
                let answer = self.ask_service(request.clone()).await?;
                Ok(shown(&request, answer))
            }
        }
    }

    async fn ask_done(&self, request: OperatorRequest) -> Result<(), OperatorRefusal> {
        match self.ask(request).await? {
            OperatorAnswer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask_service(&self, request: ServiceRequest) -> Result<ServiceAnswer, OperatorRefusal> {
        match self.ask(OperatorRequest::Service(request)).await? {
            OperatorAnswer::Service(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    /// Some rooms at a time, so that no shard's turn gets long. What a shard did before another one
    /// failed to answer is told.
    async fn broadcast(&self, broadcast: Broadcast) -> Result<Answer, OperatorRefusal> {
        let mut results = Vec::with_capacity(broadcast.rooms.len());
        for rooms in broadcast.rooms.chunks(BROADCAST_CHUNK) {
            let part = Arc::new(Broadcast { rooms: rooms.to_vec(), ..broadcast.clone() });
            let mut done = match self.ask_service(ServiceRequest::Broadcast(part)).await {
                Ok(ServiceAnswer::Broadcast(done)) => done,
                Ok(other) => return Err(unexpected(&OperatorAnswer::Service(other))),
                Err(refusal) => {
                    let error = proto::Error::from(ApiError::from(refusal));
                    results.extend(rooms.iter().map(|room| failed(*room, error.clone())));
                    continue;
                }
            };
            for room in rooms {
                let place = done.iter().position(|(of, _)| of == room);
                results.extend(place.map(|place| room_outcome(done.swap_remove(place))));
            }
        }
        Ok(Answer::Broadcast(proto::BroadcastDone { results }))
    }
}

fn room_outcome(
    (room, published): (RoomId, Result<Published, OperatorError>),
) -> proto::RoomOutcome {
    use proto::room_outcome::Answer;
    match published {
        Ok(done) => {
            let answer = Some(Answer::Published(shown_published(room, done)));
            proto::RoomOutcome { room: room.0, answer }
        }
        Err(error) => failed(room, ApiError::from(refusal(CallError::Refused(error))).into()),
    }
}

fn failed(room: RoomId, error: proto::Error) -> proto::RoomOutcome {
    let answer = Some(proto::room_outcome::Answer::Error(error));
    proto::RoomOutcome { room: room.0, answer }
}

fn shown_published(room: RoomId, published: Published) -> proto::Published {
    let Published { epoch, first_version, last_version } = published;
    proto::Published { room: room.0, epoch, first_version, last_version }
}

/// A shard's answer to a request, in the schema's words.
fn shown(request: &ServiceRequest, answer: ServiceAnswer) -> Answer {
    match (request, answer) {
        (_, ServiceAnswer::Room(view)) => Answer::Room(Box::new(shown_room(*view))),
        (ServiceRequest::Rooms(page), ServiceAnswer::Rooms(mut rooms)) => {
            rooms.sort_unstable_by_key(|(room, ..)| *room);
            let next_after = cut(&mut rooms, *page).map(|(room, ..)| room.0);
            let rooms = rooms.into_iter().map(|(room, online, created)| proto::RoomSummary {
                room: room.0,
                online,
                created,
            });
            Answer::Rooms(proto::Rooms { rooms: rooms.collect(), next_after })
        }
        (ServiceRequest::Bans(page), ServiceAnswer::Bans(mut bans)) => {
            bans.sort_unstable();
            let next_after = cut(&mut bans, *page).map(|(user, _)| user.0);
            let bans = bans.into_iter().map(|(user, until)| shown_ban(user.0, Some(until)));
            Answer::Bans(proto::Bans { bans: bans.collect(), next_after })
        }
        (
            ServiceRequest::History { room, lane, versions_max, .. },
            ServiceAnswer::History(frames),
        ) => Answer::History(shown_history(*room, *lane, *versions_max, &frames)),
        (ServiceRequest::Disconnect { user, .. }, ServiceAnswer::Disconnected(disconnected)) => {
            Answer::Disconnected(proto::Disconnected { user: user.0, disconnected })
        }
        (ServiceRequest::Ban { user, until_unix_s }, ServiceAnswer::Banned) => {
            Answer::Banned(shown_ban(user.0, *until_unix_s))
        }
        (request, answer) => panic!("a shard answered {request:?} with {answer:?}"),
    }
}

/// Cuts a list to its page; the last one of the page comes back if there are more.
fn cut<T: Copy, I>(list: &mut Vec<T>, page: Page<I>) -> Option<T> {
    let has_more = list.len() > page.limit;
    list.truncate(page.limit);
    list.last().copied().filter(|_| has_more)
}

fn shown_ban(user: u64, until_unix_s: Option<i64>) -> proto::Banned {
    let until = until_unix_s.filter(|until| *until != UNTIL_LIFTED);
    proto::Banned { user, banned: until_unix_s.is_some(), until }
}

fn shown_room(view: RoomView) -> proto::Room {
    let RoomView { room, online, epoch, is_created, versions, settings, effective } = view;
    let lanes = Lane::ALL.into_iter().zip(versions);
    let lanes = lanes.map(|(lane, (first_version, next_version))| proto::LaneStatus {
        lane: lane_number(lane).into(),
        first_version,
        next_version,
    });
    proto::Room {
        room: room.0,
        online,
        created: is_created,
        epoch,
        lanes: lanes.collect(),
        settings: Some(shown_settings(settings)),
        effective: Some(shown_settings(effective)),
    }
}

fn shown_settings(settings: RoomSettings) -> proto::RoomSettings {
    let word = |policy: Option<SlowPolicy>| {
        let word = policy.map(|policy| match policy {
            SlowPolicy::Gap => "gap",
            SlowPolicy::Close => "close",
        });
        word.map(str::to_owned)
    };
    let [high, mid, low] = settings.slow.map(word);
    let is_set = high.is_some() || mid.is_some() || low.is_some();
    proto::RoomSettings {
        chat_per_second: settings.chat_per_second,
        opaque_allowed: settings.opaque_allowed,
        low_per_second: settings.low_per_second,
        kept_kinds: settings.kept_kinds.map(|kinds| proto::Kinds { kinds }),
        slow_readers: is_set.then_some(proto::SlowReaders { high, mid, low }),
        egress_bytes_per_second: settings.egress_bytes_per_s,
    }
}

fn lane_number(lane: Lane) -> wire::Lane {
    match lane {
        Lane::High => wire::Lane::High,
        Lane::Mid => wire::Lane::Mid,
        Lane::Low => wire::Lane::Low,
    }
}

fn shown_history(
    room: RoomId,
    lane: Lane,
    versions_max: u64,
    history: &HistoryFrames,
) -> proto::History {
    let HistoryFrames { epoch, first_version, next_version, from, ref frames } = *history;
    let covered = frames.last().map_or(next_version, |(span, _)| span.next());
    let end = from.saturating_add(versions_max).min(covered);
    let mut messages = Vec::new();
    for (span, frame) in frames {
        messages_of(span.first, frame, &mut messages);
    }
    messages.retain(|message| (from..end).contains(&message.version));
    let next_from = Some(end).filter(|end| *end < next_version);
    let lane = lane_number(lane).into();
    proto::History { room: room.0, epoch, lane, first_version, next_version, messages, next_from }
}

/// The messages in a frame whose first version is `first`.
fn messages_of(first: u64, frame: &[u8], messages: &mut Vec<proto::HistoryMessage>) {
    let decoded = wire::ServerFrame::decode(&frame[payload_start(frame)..]);
    let frame = decoded.expect("a room's frames are those that were encoded here");
    let Some(server_frame::Body::Business(business)) = frame.body else {
        return;
    };
    let Some(business::Body::Notification(notification)) = business.body else {
        return;
    };
    let time_ms = notification.server_time_ms;
    match notification.payload {
        Some(Payload::RoomMessage(message)) => {
            messages.push(shown_message(first, time_ms, message));
        }
        Some(Payload::RoomBatch(batch)) => {
            let thinned = |offset: u64| {
                let byte = usize::try_from(offset / 8).ok().and_then(|at| batch.thinned.get(at));
                byte.is_some_and(|byte| byte & (1 << (offset % 8)) != 0)
            };
            let carried = (0_u64..).filter(|offset| !thinned(*offset));
            let entries = carried.zip(batch.messages);
            messages.extend(
                entries.map(|(offset, message)| shown_message(first + offset, time_ms, message)),
            );
        }
        _ => {
            let body = notification.encode_to_vec().into();
            let body = Some(proto::history_message::Body::Notification(body));
            let (user, kind) = (0, 0);
            messages.push(proto::HistoryMessage { version: first, time_ms, user, kind, body });
        }
    }
}

fn shown_message(version: u64, time_ms: i64, message: wire::RoomMessage) -> proto::HistoryMessage {
    use proto::history_message::Body;
    let wire::RoomMessage { user_id, data, kind, text, likes } = message;
    let body = match likes {
        Some(likes) => Body::Likes(likes.count),
        None if !text.is_empty() => Body::Text(text),
        None => Body::Data(data),
    };
    proto::HistoryMessage { version, time_ms, user: user_id, kind, body: Some(body) }
}
