//! Rooms as the service sees them: made, set up, listed, and read back.
//!
//! A room's settings are decided at its home, which keeps the room until it is closed and bounds how
//! many there are, and are copied to every shard by mail: what members say is checked where they
//! are. What is not set for a room is as the gateway's settings say.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::ids::{RoomId, ShardId};
use crate::base::limits::ROOMS_CREATED_MAX;
use crate::chat::settings::RoomChat;
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::config::SlowPolicy;
use crate::shard::mail::Mail;
use crate::shard::operator::OperatorError;
use crate::shard::service::{HistoryFrames, RoomSettings, RoomView};
use crate::shard::standing::StandingRecord;

/// What every shard knows of rooms with settings of their own.
#[derive(Default)]
pub(crate) struct RoomTable {
    rooms: BTreeMap<RoomId, Arc<RoomSettings>>,
    /// How many of them have a limit on what they put on the wire.
    capped: usize,
}

impl RoomTable {
    /// A room's own settings, if it has any.
    pub(crate) fn get(&self, room: RoomId) -> Option<&RoomSettings> {
        // Nearly no room has.
        if self.rooms.is_empty() {
            return None;
        }
        self.rooms.get(&room).map(Arc::as_ref)
    }

    /// What a room may put on the wire per second, if there is a limit.
    pub(crate) fn egress_cap(&self, room: RoomId) -> Option<u64> {
        self.get(room).and_then(RoomSettings::egress_cap)
    }

    /// Whether any room has a limit on what it puts on the wire.
    pub(crate) fn has_caps(&self) -> bool {
        self.capped > 0
    }

    fn set(&mut self, room: RoomId, settings: Option<Arc<RoomSettings>>) {
        let is_capped = |settings: &Arc<RoomSettings>| usize::from(settings.egress_cap().is_some());
        self.capped += settings.as_ref().map_or(0, is_capped);
        let before = match settings {
            Some(settings) => self.rooms.insert(room, settings),
            None => self.rooms.remove(&room),
        };
        self.capped -= before.as_ref().map_or(0, is_capped);
    }
}

impl RoomSettings {
    fn egress_cap(&self) -> Option<u64> {
        self.egress_bytes_per_s.filter(|cap| *cap > 0)
    }
}

impl Shard {
    /// At the home: makes a room if there is none, and sets how it works.
    pub(crate) fn configure_room(
        &mut self,
        room: RoomId,
        settings: RoomSettings,
    ) -> Result<(), OperatorError> {
        if self.has_ended(room) {
            return Err(OperatorError::RoomEnded(room));
        }
        let most = ROOMS_CREATED_MAX / usize::from(self.placement.shard_count());
        let is_new = self.rooms.homes.get(&room).is_none_or(|home| home.settings.is_none());
        if is_new && self.rooms.created_count() >= most {
            return Err(OperatorError::TooManyRooms);
        }
        let home = self.home_room(room).ok_or(OperatorError::TooManyRooms)?;
        let settings = Arc::new(settings);
        home.settings = Some(Arc::clone(&settings));
        let record = StandingRecord::RoomConfigured { room, settings: Arc::clone(&settings) };
        self.journal_standing(record);
        self.tell_room_settings(room, Some(&settings));
        Ok(())
    }

    /// At the home: a room that was made by the service has ended.
    pub(crate) fn forget_room_settings(&mut self, room: RoomId) {
        if self.rooms.homes.get(&room).is_some_and(|home| home.settings.is_some()) {
            self.tell_room_settings(room, None);
        }
    }

    fn tell_room_settings(&mut self, room: RoomId, settings: Option<&Arc<RoomSettings>>) {
        for shard in ShardId::all(self.placement.shard_count()) {
            self.post(shard, Mail::RoomSettings { room, settings: settings.cloned() });
        }
    }

    /// The home of a room says how it works from now on.
    pub(crate) fn room_settings_came(&mut self, room: RoomId, settings: Option<Arc<RoomSettings>>) {
        let chat = settings.as_ref().map(|settings| RoomChat {
            per_second: settings.chat_per_second,
            opaque_allowed: settings.opaque_allowed,
        });
        self.chat.set_room(room, chat);
        self.room_table.set(room, settings);
        if let Some(index) = self.rooms.index_of(room) {
            // The next look at what goes out says what there is room for.
            self.rooms.set_share(index, 1_000);
            self.arm_reports();
        }
    }

    /// At the home: how a room is.
    pub(crate) fn room_view(&self, room: RoomId) -> Result<RoomView, OperatorError> {
        let home = self.rooms.homes.get(&room).ok_or(OperatorError::NoSuchRoom(room))?;
        let settings = home.settings.as_ref().map(|own| RoomSettings::clone(own));
        let is_created = settings.is_some();
        let settings = settings.unwrap_or_default();
        Ok(RoomView {
            room,
            online: home.online(),
            epoch: home.room.epoch(),
            is_created,
            versions: Lane::ALL
                .map(|lane| (home.room.first_version(lane), home.room.next_version(lane))),
            effective: self.effective(&settings),
            settings,
        })
    }

    fn effective(&self, settings: &RoomSettings) -> RoomSettings {
        let (chat, downlink) = (&self.config.chat, &self.config.downlink);
        let slow = |lane: Lane| {
            let index = lane.index();
            settings.slow[index].or(Some(downlink.slow.policies[index]))
        };
        RoomSettings {
            chat_per_second: settings.chat_per_second.or(Some(chat.room_per_second)),
            opaque_allowed: settings.opaque_allowed.or(Some(chat.opaque_allowed)),
            low_per_second: settings.low_per_second.or(Some(downlink.low_rate_max)),
            kept_kinds: Some(settings.kept_kinds.as_ref().unwrap_or(&downlink.kept_kinds).clone()),
            slow: Lane::ALL.map(slow),
            egress_bytes_per_s: settings.egress_bytes_per_s.or(Some(0)),
        }
    }

    /// Whether messages of this kind are never thinned out in a room.
    pub(crate) fn keeps_kind(&self, room: RoomId, kind: u32) -> bool {
        let own = self.room_table.get(room).and_then(|settings| settings.kept_kinds.as_ref());
        kind != 0 && own.unwrap_or(&self.config.downlink.kept_kinds).contains(&kind)
    }

    /// What becomes of readers that are too slow for a lane of a room.
    pub(crate) fn slow_policy(&self, room: RoomId, lane: Lane) -> SlowPolicy {
        let own = self.room_table.get(room).and_then(|settings| settings.slow[lane.index()]);
        own.unwrap_or(self.config.downlink.slow.policies[lane.index()])
    }

    /// At the home: a page of what was said in a lane.
    pub(crate) fn history(
        &self,
        room: RoomId,
        lane: Lane,
        from: Option<u64>,
        versions_max: u64,
        bytes_max: usize,
    ) -> Result<HistoryFrames, OperatorError> {
        let home = self.rooms.homes.get(&room).ok_or(OperatorError::NoSuchRoom(room))?;
        let room = &home.room;
        let (first_version, next_version) = (room.first_version(lane), room.next_version(lane));
        let newest = next_version.saturating_sub(versions_max);
        let from = from.unwrap_or(newest).max(first_version);
        let frames = room.history(lane, from, versions_max, bytes_max);
        Ok(HistoryFrames { epoch: room.epoch(), first_version, next_version, from, frames })
    }
}
