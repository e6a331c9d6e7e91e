//! What the service behind the gateway asks of a shard about rooms and users, beside publishing.
//!
//! The gateway's own words only: nothing here knows shows, so that any live service can use it.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::hash::Placement;
use crate::base::ids::{RoomId, ShardId, UserId};
use crate::room::lane::{Lane, Span};
use crate::shard::Shard;
use crate::shard::config::SlowPolicy;
use crate::shard::mail::ServiceMessages;
use crate::shard::operator::{OperatorAnswer, OperatorError, Published};

/// A request of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRequest {
    /// Say the same in many rooms.
    Broadcast(Arc<Broadcast>),
    /// Make a room, or set another way how it works.
    ConfigureRoom {
        /// Which.
        room: RoomId,
        /// In place of those before.
        settings: RoomSettings,
    },
    /// How is a room?
    Room(RoomId),
    /// Which rooms are there?
    Rooms(Page<RoomId>),
    /// What was said in a room?
    History {
        /// Where.
        room: RoomId,
        /// In which lane.
        lane: Lane,
        /// From this version on; nothing: the newest.
        from: Option<u64>,
        /// At most so many versions, or those of one frame.
        versions_max: u64,
        /// At most so many bytes of frames, or those of one frame.
        bytes_max: usize,
    },
    /// Close a user's connection.
    Disconnect {
        /// Whose.
        user: UserId,
        /// The client is to come back.
        reconnect: bool,
    },
    /// Let a user connect no more, until then (Unix seconds); nothing: not any more banned.
    Ban {
        /// Whom.
        user: UserId,
        /// Until when.
        until_unix_s: Option<i64>,
    },
    /// Who is banned?
    Bans(Page<UserId>),
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<I> {
    /// What comes behind this.
    pub after: I,
    /// At most so many; a shard names one more, if it has more.
    pub limit: usize,
}

/// The same for many rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Where; each once.
    pub rooms: Vec<RoomId>,
    /// In which lane.
    pub lane: Lane,
    /// What the service calls messages of this sort.
    pub kind: u32,
    /// What, in this order; opaque.
    pub messages: Vec<Bytes>,
}

/// How one room works where that differs from the gateway's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomSettings {
    /// Messages per second that the room takes of its members, all shards together; 0: any number.
    pub chat_per_second: Option<u32>,
    /// Members may publish opaque data.
    pub opaque_allowed: Option<bool>,
    /// Messages per second that go out in the low lane; 0: any number.
    pub low_per_second: Option<u32>,
    /// Kinds of messages of the service that are never thinned out.
    pub kept_kinds: Option<Vec<u32>>,
    /// What becomes of readers that are too slow, by lane.
    pub slow: [Option<SlowPolicy>; 3],
    /// Bytes per second on the wire that the room's lanes mid and low get, on all shards together;
    /// 0: any number.
    pub egress_bytes_per_s: Option<u64>,
}

/// How a room is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Which.
    pub room: RoomId,
    /// Members on all shards.
    pub online: u64,
    /// Of its history.
    pub epoch: u64,
    /// It was made by the service: it stays until it is closed.
    pub is_created: bool,
    /// Per lane: the first version that is kept, and the next one.
    pub versions: [(u64, u64); 3],
    /// What was set for it.
    pub settings: RoomSettings,
    /// What is in force.
    pub effective: RoomSettings,
}

/// Frames of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFrames {
    /// The room's epoch.
    pub epoch: u64,
    /// The first version that is kept.
    pub first_version: u64,
    /// The first version that is not in the log yet.
    pub next_version: u64,
    /// The version that was asked for, or that with which the newest page begins.
    pub from: u64,
    /// Finished frames in the base encoding, and which versions each stands for.
    pub frames: Vec<(Span, Bytes)>,
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum ServiceAnswer {
    /// By room, for those whose home is the shard.
    Broadcast(Vec<(RoomId, Result<Published, OperatorError>)>),
    /// How a room is.
    Room(Box<RoomView>),
    /// Rooms whose home is the shard: id, members, and whether the service made it.
    Rooms(Vec<(RoomId, u64, bool)>),
    /// Frames of a lane.
    History(HistoryFrames),
    /// Whether there was a connection to close.
    Disconnected(bool),
    /// The ban is as it was asked for.
    Banned,
    /// Users who live on the shard, and until when each is banned (Unix seconds).
    Bans(Vec<(UserId, i64)>),
}

impl ServiceRequest {
    /// The shard that answers it; nothing if every shard has a part of the answer.
    #[must_use]
    pub fn home(&self, placement: &Placement) -> Option<ShardId> {
        match self {
            ServiceRequest::Broadcast(_) | ServiceRequest::Rooms(_) | ServiceRequest::Bans(_) => {
                None
            }
            ServiceRequest::ConfigureRoom { room, .. }
            | ServiceRequest::Room(room)
            | ServiceRequest::History { room, .. } => Some(placement.room_home(*room)),
            ServiceRequest::Disconnect { user, .. } | ServiceRequest::Ban { user, .. } => {
                Some(placement.user_home(*user))
            }
        }
    }
}

impl ServiceAnswer {
    /// Adds what another shard says.
    pub fn merge(&mut self, other: ServiceAnswer) {
        match (self, other) {
            (ServiceAnswer::Broadcast(all), ServiceAnswer::Broadcast(more)) => all.extend(more),
            (ServiceAnswer::Rooms(all), ServiceAnswer::Rooms(more)) => all.extend(more),
            (ServiceAnswer::Bans(all), ServiceAnswer::Bans(more)) => all.extend(more),
            // What one shard answers has no parts.
            (_, _) => {}
        }
    }
}

impl Shard {
    /// Does what the service asks for.
    pub(crate) fn serve(
        &mut self,
        request: ServiceRequest,
    ) -> Result<OperatorAnswer, OperatorError> {
        let answer = match request {
            ServiceRequest::Broadcast(broadcast) => self.broadcast(&broadcast),
            ServiceRequest::ConfigureRoom { room, settings } => {
                self.configure_room(room, settings)?;
                ServiceAnswer::Room(Box::new(self.room_view(room)?))
            }
            ServiceRequest::Room(room) => ServiceAnswer::Room(Box::new(self.room_view(room)?)),
            ServiceRequest::Rooms(page) => ServiceAnswer::Rooms(self.rooms.list(page)),
            ServiceRequest::History { room, lane, from, versions_max, bytes_max } => {
                ServiceAnswer::History(self.history(room, lane, from, versions_max, bytes_max)?)
            }
            ServiceRequest::Disconnect { user, reconnect } => {
                ServiceAnswer::Disconnected(self.disconnect(user, reconnect))
            }
            ServiceRequest::Ban { user, until_unix_s } => {
                self.ban(user, until_unix_s)?;
                ServiceAnswer::Banned
            }
            ServiceRequest::Bans(page) => ServiceAnswer::Bans(self.own_bans(page)),
        };
        Ok(OperatorAnswer::Service(answer))
    }

    /// Says the same in those rooms whose home this is; what fails in one is said in the others.
    fn broadcast(&mut self, broadcast: &Broadcast) -> ServiceAnswer {
        let (me, placement) = (self.config.me, self.placement);
        let here = broadcast.rooms.iter().filter(|room| placement.room_home(**room) == me);
        let published = here.map(|room| {
            let Broadcast { lane, kind, messages, .. } = broadcast;
            let messages = ServiceMessages {
                room: *room,
                lane: *lane,
                kind: *kind,
                messages: messages.clone(),
            };
            let published = match self.publish_for_service(messages) {
                Ok(OperatorAnswer::Published(published)) => Ok(published),
                Ok(other) => unreachable!("publishing was answered by {other:?}"),
                Err(error) => Err(error),
            };
            (*room, published)
        });
        ServiceAnswer::Broadcast(published.collect())
    }
}
