//! Settings that change while the shard runs.

use std::sync::Arc;

use crate::base::ids::RoomId;
use crate::shard::Shard;
use crate::shard::config::LiveSettings;
use crate::shard::operator::OperatorAnswer;

impl Shard {
    /// Goes on with other settings.
    pub(crate) fn set_live(&mut self, live: &Arc<LiveSettings>) -> OperatorAnswer {
        self.config.take(live);
        self.egress.set_rate(self.now, live.downlink.egress_bytes_per_s);
        self.codecs.set(live.downlink.compression);
        self.chat.set(live.chat);
        // Rooms wait for their next tick by the times that were.
        let rooms: Vec<RoomId> = self.rooms.homes.keys().copied().collect();
        for room in rooms {
            self.arm_tick(room);
        }
        OperatorAnswer::Done
    }
}
