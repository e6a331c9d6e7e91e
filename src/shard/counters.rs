//! What a shard counts: plain numbers that only it writes; the runtime publishes copies.

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        /// Counts since the shard began.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$meta])* pub $name: u64,)+
        }

        impl Counters {
            /// Names of the counters, in the order of [`Self::values`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// The counts, in the order of [`Self::NAMES`].
            #[must_use]
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name),+]
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections_opened,
    /// Connections gone, whoever ended them.
    connections_closed,
    /// Upgrade requests accepted.
    upgrades,
    /// Upgrade requests refused.
    upgrades_refused,
    /// Tokens accepted.
    tokens_accepted,
    /// Tokens refused.
    tokens_refused,
    /// Sessions that a newer one took the place of.
    sessions_replaced,
    /// WebSocket messages received.
    messages_received,
    /// Frames, messages or requests that were not well-formed.
    messages_malformed,
    /// Connections closed because they broke the protocol.
    protocol_errors,
    /// Connections closed because nothing was heard from them, or not in time.
    timeouts,
    /// Connections closed because they did not read what was theirs alone.
    slow_readers_closed,
    /// Replies made.
    replies,
    /// Bytes of replies that had to wait.
    spilled_bytes,
    /// Frames of rooms handed to sockets.
    room_frames_sent,
    /// Sends of room frames; each carries one frame or more.
    room_sends,
    /// Messages that this shard ordered as a room's home.
    room_messages,
    /// Versions that connections were told they will not get.
    gap_versions,
    /// Batches received from other shards.
    mail_batches,
    /// Mail received from other shards.
    mail,
    /// Answers received from clients.
    answers_received,
    /// Answers recorded, first ones and repeats.
    answers_acknowledged,
    /// Answers refused.
    answers_refused,
    /// Answers that were asked to come again.
    answers_deferred,
    /// Retry tickets redeemed.
    tickets_redeemed,
    /// Mail that had to wait for a show event.
    mail_waited,
    /// Records given to the journal.
    records,
    /// Show events applied.
    show_events,
}
