//! What a shard counts: plain numbers that only it writes; the runtime gives each its name as a
//! metric and publishes copies.

use std::time::Duration;

use crate::wire::close::CloseReason;

/// Counts since the shard began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub connections_opened: u64,
    /// Connections gone, whoever ended them.
    pub connections_closed: u64,
    /// Upgrade requests accepted.
    pub upgrades: u64,
    /// Upgrade requests refused.
    pub upgrades_refused: u64,
    /// Short requests: plain HTTP on the clients' address.
    pub short_requests: u64,
    /// Those that were refused.
    pub short_refusals: u64,
    /// Upgrade requests, and short ones that post, refused because of the page that they came from.
    pub origins_refused: u64,
    /// Tokens accepted.
    pub tokens_accepted: u64,
    /// Tokens refused.
    pub tokens_refused: u64,
    /// Newer tokens accepted on a connection that had one.
    pub tokens_refreshed: u64,
    /// Revocations that could not be kept.
    pub revocations_refused: u64,
    /// Sessions that a newer one took the place of.
    pub sessions_replaced: u64,
    /// WebSocket messages received.
    pub messages_received: u64,
    /// Frames, messages or requests that were not well-formed.
    pub messages_malformed: u64,
    /// Connections closed because they broke the protocol.
    pub protocol_errors: u64,
    /// Connections closed because nothing was heard from them, or not in time.
    pub timeouts: u64,
    /// Replies made.
    pub replies: u64,
    /// Bytes of replies that had to wait.
    pub spilled_bytes: u64,
    /// Messages that this shard ordered as a room's home.
    pub room_messages: u64,
    /// Of those, how many were thinned out for everybody.
    pub room_versions_thinned: u64,
    /// Sends of room frames; each carries one frame or more.
    pub room_sends: u64,
    /// Versions that connections were told they will not get.
    pub gap_versions: u64,
    /// Chats that may go out.
    pub chat_accepted: u64,
    /// Of those, with words replaced.
    pub chat_replaced: u64,
    /// Opaque messages of clients that may go out.
    pub opaque_accepted: u64,
    /// Chats, opaque messages and likes that were refused, by [`ChatRefusal`].
    pub chat_refused: [u64; ChatRefusal::COUNT],
    /// Likes counted.
    pub likes: u64,
    /// Lists of sensitive words that were to take the place of the one in force and are broken.
    pub words_broken: u64,
    /// Batches received from other shards.
    pub mail_batches: u64,
    /// Mail received from other shards.
    pub mail: u64,
    /// Answers received from clients.
    pub answers_received: u64,
    /// Answers recorded, first ones and repeats.
    pub answers_acknowledged: u64,
    /// Answers refused.
    pub answers_refused: u64,
    /// Taps at red-packet rains.
    pub taps_received: u64,
    /// Taps that the rate of their rain left no room for.
    pub taps_thinned: u64,
    /// Packets won.
    pub packets_grabbed: u64,
    /// Gifts shown in their rooms.
    pub gifts_shown: u64,
    /// Answers that were asked to come again.
    pub answers_deferred: u64,
    /// Retry tickets redeemed.
    pub tickets_redeemed: u64,
    /// Mail that had to wait for a show event.
    pub mail_waited: u64,
    /// Records given to the journal.
    pub records: u64,
    /// Show events applied.
    pub show_events: u64,
    /// Connections that the shard closed, by [`CloseReason`].
    pub closes: [u64; CloseReason::ALL.len()],
    /// Answers by the time from their arrival stamp to the moment at which their reply had been
    /// handed to the socket: up to each of [`ANSWER_TIMES_US`], and longer.
    pub answer_times: [u64; ANSWER_TIMES_US.len() + 1],
}

/// Why what a client says is refused, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatRefusal {
    /// Nothing visible is in it.
    Empty,
    /// Too many bytes.
    TooLong,
    /// The user is muted.
    Muted,
    /// Beyond the user's rate.
    TooFast,
    /// The user said the same.
    Duplicate,
    /// The room has heard the same too often.
    Flood,
    /// A word for which texts are refused.
    Word,
    /// Beyond the room's rate: discarded in the uplink.
    Overloaded,
    /// Opaque data where none is taken.
    Opaque,
}

impl ChatRefusal {
    /// How many there are.
    pub const COUNT: usize = ChatRefusal::Opaque as usize + 1;
}

/// Bounds of [`Counters::answer_times`], microseconds.
pub const ANSWER_TIMES_US: [u64; 10] =
    [50, 100, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 50_000];

/// The place of such a time in [`Counters::answer_times`].
pub(crate) fn answer_time_place(took: Duration) -> usize {
    ANSWER_TIMES_US.iter().filter(|bound| took > Duration::from_micros(**bound)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_on_a_bound_is_within_it() {
        let place = |micros| answer_time_place(Duration::from_micros(micros));
        assert_eq!([0, 50, 51, 3_000, 50_000, 50_001].map(place), [0, 0, 1, 6, 9, 10]);
    }
}
