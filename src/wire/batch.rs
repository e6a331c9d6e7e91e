//! How many messages a room's frame stands for.

use super::proto::notification::Payload;
use super::proto::{Notification, RoomBatch};

impl RoomBatch {
    /// Messages that it carries.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.messages.len() as u64 + u64::from(self.info.is_some())
    }

    /// Versions that it stands for: messages that it carries, and those that were thinned out.
    #[must_use]
    pub fn versions(&self) -> u64 {
        let thinned: u64 = self.thinned.iter().map(|byte| u64::from(byte.count_ones())).sum();
        self.carried() + thinned
    }
}

impl Notification {
    /// The versions that it stands for in its lane: first and last.
    #[must_use]
    pub fn span(&self) -> Option<(u64, u64)> {
        let first = self.stamp.as_ref()?.version;
        let versions = match &self.payload {
            Some(Payload::RoomBatch(batch)) => batch.versions().max(1),
            _ => 1,
        };
        Some((first, first.saturating_add(versions - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::{RoomInfo, RoomMessage, RoomStamp};

    #[test]
    fn a_batch_stands_for_what_it_carries_and_what_was_thinned_out() {
        let messages = vec![RoomMessage::default(); 3];
        let batch = RoomBatch {
            messages,
            thinned: vec![0b101, 0, 0b1000_0000].into(),
            info: Some(RoomInfo::default()),
        };
        assert_eq!((batch.carried(), batch.versions()), (4, 7));
        let stamp = Some(RoomStamp { version: 10, ..RoomStamp::default() });
        let of = |payload| Notification { stamp, payload, server_time_ms: 0 }.span();
        assert_eq!(of(Some(Payload::RoomBatch(batch))), Some((10, 16)));
        assert_eq!(of(Some(Payload::RoomMessage(RoomMessage::default()))), Some((10, 10)));
        assert_eq!(Notification::default().span(), None);
    }
}
