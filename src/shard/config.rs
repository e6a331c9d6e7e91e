//! What a shard is told when it begins.

use std::sync::Arc;

use crate::base::hash::Placement;
use crate::base::ids::ShardId;
use crate::base::time::DisplayClock;
use crate::chat::settings::ChatSettings;
use crate::chat::words::WordList;
use crate::shard::limits::ConnectionLimits;
use crate::wire::message::Decoder;

/// A shard's settings. The configuration has checked them.
#[derive(Clone)]
pub struct ShardConfig {
    /// Which shard this is.
    pub me: ShardId,
    /// Where users, rooms and shows live.
    pub placement: Placement,
    /// Turns monotonic time into what is displayed.
    pub clock: DisplayClock,
    /// Makes messages of what clients send, within bounds.
    pub decoder: Decoder,
    /// Bytes that a connection's own replies may pile up to.
    pub spill_bytes_max: usize,
    /// Bytes that one lane of a room keeps, per encoding: at least as many as the longest frame
    /// has; [`crate::base::limits::LANE_BYTES_MAX`] in a gateway.
    pub lane_bytes_max: usize,
    /// How long a client has for upgrade and token.
    pub handshake_timeout_ms: u32,
    /// How often a client is asked to send something.
    pub heartbeat_interval_ms: u32,
    /// How long a client may be silent.
    pub idle_timeout_ms: u32,
    /// What one connection may do.
    pub limits: ConnectionLimits,
    /// Send every message back instead of understanding it: for conformance suites.
    pub echo: bool,
    /// When answers are asked to come again.
    pub admission: Admission,
    /// How rooms' messages go out.
    pub downlink: Downlink,
    /// What may be said, and how often.
    pub chat: ChatSettings,
    /// Sensitive words, until others come.
    pub words: Arc<WordList>,
}

/// What of a shard's settings may change while it runs: whoever is connected stays, and goes on by
/// the new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSettings {
    /// As [`ShardConfig::spill_bytes_max`].
    pub spill_bytes_max: usize,
    /// As [`ShardConfig::handshake_timeout_ms`].
    pub handshake_timeout_ms: u32,
    /// As [`ShardConfig::limits`]; the greatest age stays as it was, because ages are kept as parts of
    /// it.
    pub limits: ConnectionLimits,
    /// As [`ShardConfig::admission`].
    pub admission: Admission,
    /// As [`ShardConfig::downlink`].
    pub downlink: Downlink,
    /// As [`ShardConfig::chat`].
    pub chat: ChatSettings,
}

impl ShardConfig {
    /// Takes what may change.
    pub(crate) fn take(&mut self, live: &LiveSettings) {
        let LiveSettings { spill_bytes_max, handshake_timeout_ms, limits, .. } = live;
        let age_max_ms = self.limits.age_max_ms;
        self.spill_bytes_max = *spill_bytes_max;
        self.handshake_timeout_ms = *handshake_timeout_ms;
        self.limits = ConnectionLimits { age_max_ms, ..limits.clone() };
        self.admission = live.admission;
        self.downlink = live.downlink.clone();
        self.chat = live.chat;
    }
}

/// How rooms' messages go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downlink {
    /// From one tick of a room to the next: messages of the lanes mid and low wait for it.
    pub tick_ms: u32,
    /// The same while waiting longer saves bytes, in large rooms.
    pub tick_max_ms: u32,
    /// Members from which on a room is large.
    pub large_members: u32,
    /// Messages per second that go out in the low lane of one room, 0: any number.
    pub low_rate_max: u32,
    /// Kinds of messages of the service that are never thinned out.
    pub kept_kinds: Vec<u32>,
    /// From one message about how a room is to the next; 0: there are none.
    pub info_interval_ms: u32,
    /// Chat messages per minute that a member is expected to send if nobody slows it down.
    pub chat_per_minute: u32,
    /// Clients per second that the deployment lets in again.
    pub reconnects_per_s: u32,
    /// Who reads too slowly.
    pub slow: Slow,
    /// What is compressed.
    pub compression: Compression,
    /// What this shard may put on the wire, bytes per second; 0: any number.
    pub egress_bytes_per_s: u64,
    /// Messages per second that the service may publish in the high lane of one room; 0: any
    /// number. Questions and keys are not among them: so there is always room for those.
    pub gift_rate_max: u32,
    /// Bytes of such a message, if there is a rate.
    pub gift_bytes_max: usize,
}

/// Who reads too slowly, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// A full socket that has waited for so long is too slow.
    pub age_ms: u32,
    /// So is one with more than this to get in one lane.
    pub bytes_max: usize,
    /// What follows, by lane; the high lane skips only what is gone.
    pub policies: [SlowPolicy; 3],
}

/// What becomes of a reader that is too slow for a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// It goes on with what is recent, and is told what it will not get.
    Gap,
    /// Its connection is closed, with a reason.
    Close,
}

impl Default for Slow {
    fn default() -> Slow {
        Slow { age_ms: 30_000, bytes_max: 1 << 30, policies: [SlowPolicy::Gap; 3] }
    }
}

/// What is compressed, where clients offer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Offers are accepted.
    pub enabled: bool,
    /// Bytes of a frame from which on it is worth the effort.
    pub bytes_min: usize,
    /// 1 (fast) to 9 (small).
    pub level: u32,
}

impl Default for Compression {
    fn default() -> Compression {
        Compression { enabled: true, bytes_min: 160, level: 6 }
    }
}

impl Default for Downlink {
    fn default() -> Downlink {
        Downlink {
            tick_ms: 200,
            tick_max_ms: 500,
            large_members: 1_000,
            low_rate_max: 100,
            kept_kinds: Vec::new(),
            info_interval_ms: 2_000,
            chat_per_minute: 6,
            reconnects_per_s: 20_000,
            slow: Slow::default(),
            compression: Compression::default(),
            egress_bytes_per_s: 0,
            gift_rate_max: 0,
            gift_bytes_max: 0,
        }
    }
}

/// When an answer given in time is asked to come again, with a ticket that keeps its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Age of mail on arrival from which the home shard counts as overloaded.
    pub mailbox_age_ms: u32,
    /// Length of a turn from which this shard counts as overloaded.
    pub turn_ms: u32,
    /// Share of first answers that are asked to come again whatever the load; for tests.
    pub force_retry_percent: u8,
    /// Longest delay that a client is told.
    pub retry_after_max_ms: u32,
}
