//! What an operator sets about chat.

use std::time::Duration;

/// Rates and bounds of chat on one gateway. The configuration has checked them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatSettings {
    /// Bytes of one text.
    pub text_bytes_max: usize,
    /// A user may say something this often; zero: as often as wanted.
    pub user_interval: Duration,
    /// What a user who was quiet may say at once.
    pub user_burst: u32,
    /// What a room takes per second, all shards together; 0: everything.
    pub room_per_second: u32,
    /// The same text of the same user is refused within this time, and the same text of many is
    /// counted over it; zero: neither.
    pub duplicate_window: Duration,
    /// How often a room takes the same text within the window, on each shard; 0: always.
    pub same_text_max: u32,
    /// A user may like this often; zero: as often as wanted.
    pub like_interval: Duration,
    /// Likes that one request may bring.
    pub like_burst: u32,
    /// Clients may publish opaque data, whose text nobody can check.
    pub opaque_allowed: bool,
}

/// What is set for one room in place of the gateway's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomChat {
    /// See [`ChatSettings::room_per_second`].
    pub per_second: Option<u32>,
    /// See [`ChatSettings::opaque_allowed`].
    pub opaque_allowed: Option<bool>,
}

impl Default for ChatSettings {
    fn default() -> ChatSettings {
        ChatSettings {
            text_bytes_max: 130,
            user_interval: Duration::from_secs(2),
            user_burst: 3,
            room_per_second: 100,
            duplicate_window: Duration::from_secs(10),
            same_text_max: 20,
            like_interval: Duration::from_millis(100),
            like_burst: 50,
            opaque_allowed: true,
        }
    }
}

impl ChatSettings {
    /// Without any rate: for tests and benchmarks of what lies behind the uplink.
    #[must_use]
    pub fn unlimited() -> ChatSettings {
        ChatSettings {
            user_interval: Duration::ZERO,
            room_per_second: 0,
            duplicate_window: Duration::ZERO,
            same_text_max: 0,
            like_interval: Duration::ZERO,
            ..ChatSettings::default()
        }
    }
}
