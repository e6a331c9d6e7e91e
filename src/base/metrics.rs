//! What is counted, and how a shard lets others see its counts.
//!
//! A shard counts in plain numbers ([`Counters`]), which cost an addition, and now and then
//! publishes a copy ([`ShardSnapshot`]) that anybody may read. A reader sees each number as it was
//! at some publish; two numbers may be from two publishes, which metrics allow.
//!
//! A [`Metric`] is one series; series with one name differ in their label. Deliberately absent:
//! anything by verdict (right, wrong, out), because metrics are read before the reveal.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::time::Time;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// One bucket of a histogram: how many were at most `le`, in seconds. The last is `+Inf`.
    Bucket,
}

/// What a metric is counted in, inside; outside, times are seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricUnit {
    /// Pieces.
    Count,
    /// Nanoseconds.
    Nanoseconds,
    /// Bytes.
    Bytes,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDescription {
    /// Its name for Prometheus, shared by series that differ in their label.
    pub name: &'static str,
    /// Name and value of its label, where it has one; the shard is a label of all.
    pub label: Option<(&'static str, &'static str)>,
    /// How it behaves.
    pub kind: MetricKind,
    /// What it is counted in.
    pub unit: MetricUnit,
    /// One sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($(
        $kind:ident $unit:ident $name:literal $help:literal {
            $($metric:ident $(($label:ident = $value:literal))?),+ $(,)?
        }
    )+) => {
        /// One series of a shard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Metric {
            $($(
                #[doc = concat!("`", $name, "`", $(" with ", stringify!($label), " ", $value,)? ": ", $help)]
                $metric,
            )+)+
        }

        impl Metric {
            /// All, in the order in which they are shown.
            pub const ALL: &'static [Metric] = &[$($(Metric::$metric,)+)+];

            /// What it is.
            #[must_use]
            pub const fn description(self) -> MetricDescription {
                match self {
                    $($(Metric::$metric => MetricDescription {
                        name: $name,
                        label: metrics!(@label $($label = $value)?),
                        kind: MetricKind::$kind,
                        unit: MetricUnit::$unit,
                        help: $help,
                    },)+)+
                }
            }
        }
    };
    (@label) => { None };
    (@label $label:ident = $value:literal) => { Some((stringify!($label), $value)) };
}

metrics! {
    Gauge Count "tidegate_connections" "Connections that are open." { Connections }
    Counter Count "tidegate_connections_accepted_total" "Connections accepted." {
        ConnectionsAccepted,
    }
    Counter Count "tidegate_connections_closed_total" "Connections gone, whoever ended them." {
        ConnectionsClosed,
    }
    Counter Count "tidegate_closes_total" "Connections that the gateway closed, by the reason in its close frame." {
        ClosedGoingAway(reason = "going_away"),
        ClosedProtocolError(reason = "protocol_error"),
        ClosedUnsupported(reason = "unsupported_data"),
        ClosedInvalidData(reason = "invalid_data"),
        ClosedTooLarge(reason = "message_too_large"),
        ClosedReplaced(reason = "replaced"),
        ClosedTokenRefused(reason = "token_refused"),
        ClosedHeartbeatTimeout(reason = "heartbeat_timeout"),
        ClosedTooSlow(reason = "too_slow"),
        ClosedHandshakeTimeout(reason = "handshake_timeout"),
        ClosedTokenRevoked(reason = "token_revoked"),
        ClosedRateLimited(reason = "rate_limited"),
        ClosedAged(reason = "aged"),
        ClosedDisconnected(reason = "disconnected"),
        ClosedBanned(reason = "banned"),
        ClosedMoved(reason = "moved"),
        ClosedOtherwise(reason = "other"),
    }
    Counter Count "tidegate_timeouts_total" "Connections from which nothing came, or not in time." {
        Timeouts,
    }
    Counter Count "tidegate_accept_errors_total" "Accepts that failed." { AcceptErrors }
    Counter Count "tidegate_accept_pauses_total" "Times at which accepting paused because the kernel was out of something." {
        AcceptPauses,
    }
    Gauge Count "tidegate_listening" "1 while the shard's listener for clients is open." { Listening }
    Gauge Count "tidegate_accepting_held" "1 while nobody is accepted because memory or descriptors are short." {
        AcceptHeld,
    }
    Counter Count "tidegate_accept_holds_total" "Times at which accepting stopped because memory or descriptors were short." {
        AcceptHolds,
    }
    Counter Count "tidegate_connects_refused_total" "Connections refused before their upgrade, by the limit." {
        RefusedAddressFull(limit = "connections_per_address"),
        RefusedAddressRate(limit = "connects_per_address"),
        RefusedRate(limit = "connects"),
    }
    Counter Count "tidegate_connects_refused_dry_run_total" "Connections let in by a dry run that were to be refused, by the limit." {
        DryRunAddressFull(limit = "connections_per_address"),
        DryRunAddressRate(limit = "connects_per_address"),
        DryRunRate(limit = "connects"),
    }
    Counter Count "tidegate_proxy_headers_total" "PROXY headers taken." { ProxyHeaders }
    Counter Count "tidegate_proxy_errors_total" "Connections closed because their PROXY header was wrong or missing." {
        ProxyErrors,
    }
    Counter Count "tidegate_tls_handshakes_total" "TLS handshakes done." { TlsHandshakes }
    Counter Count "tidegate_tls_errors_total" "Connections that TLS failed on." { TlsErrors }
    Gauge Count "tidegate_edge_waiting" "Connections of which a PROXY header, a TLS handshake or a request to be refused is awaited." {
        EdgeWaiting,
    }
    Counter Count "tidegate_edge_timeouts_total" "Connections whose PROXY header or TLS handshake did not come in time." {
        EdgeTimeouts,
    }
    Counter Count "tidegate_upgrades_total" "Upgrade requests taken." { Upgrades }
    Counter Count "tidegate_upgrades_refused_total" "Upgrade requests refused." { UpgradesRefused }
    Counter Count "tidegate_short_requests_total" "Plain HTTP requests on the clients' address." { ShortRequests }
    Counter Count "tidegate_short_refusals_total" "Plain HTTP requests that were answered with an error." { ShortRefusals }
    Counter Count "tidegate_origins_refused_total" "Upgrade requests, and short ones that post, refused because of the page that they came from." {
        OriginsRefused,
    }
    Counter Count "tidegate_authentications_total" "Tokens taken." { Authentications }
    Counter Count "tidegate_authentications_refused_total" "Tokens refused." {
        AuthenticationsRefused,
    }
    Counter Count "tidegate_authentications_refreshed_total" "Newer tokens taken on a connection that had one." {
        AuthenticationsRefreshed,
    }
    Gauge Count "tidegate_revocations" "Revocations of users and tokens that the shard remembers." {
        Revocations,
    }
    Gauge Count "tidegate_bans" "Bans of users that the shard knows of." { Bans }
    Counter Count "tidegate_revocations_refused_total" "Revocations refused because the shard remembers as many as it can." {
        RevocationsRefused,
    }
    Gauge Count "tidegate_sessions" "Users of the shard's buckets who have a session." { Sessions }
    Counter Count "tidegate_sessions_replaced_total" "Sessions whose place a newer one took." {
        SessionsReplaced,
    }
    Counter Count "tidegate_messages_received_total" "Messages received from clients." {
        MessagesReceived,
    }
    Counter Count "tidegate_messages_malformed_total" "Messages and requests from clients that could not be understood." {
        MessagesMalformed,
    }
    Counter Count "tidegate_protocol_errors_total" "Connections that broke the WebSocket protocol." {
        ProtocolErrors,
    }
    Counter Count "tidegate_replies_total" "Replies made, each for one connection." { Replies }
    Counter Bytes "tidegate_spilled_bytes_total" "Bytes of replies and begun frames that had to wait for their client." {
        SpilledBytes,
    }
    Gauge Count "tidegate_rooms" "Rooms that have members on the shard." { Rooms }
    Counter Count "tidegate_room_messages_total" "Messages that the shard ordered as their room's home." {
        RoomMessages,
    }
    Counter Count "tidegate_room_thinned_total" "Of those, how many were left out for everybody." {
        RoomThinned,
    }
    Counter Count "tidegate_room_sends_total" "Sends of room frames, each of one frame or more." {
        RoomSends,
    }
    Counter Count "tidegate_deflated_frames_total" "Frames of rooms that were compressed, each once for all." {
        DeflatedFrames,
    }
    Counter Bytes "tidegate_deflated_before_bytes_total" "Bytes of those frames before." {
        DeflatedBefore,
    }
    Counter Bytes "tidegate_deflated_after_bytes_total" "Bytes of those frames after." {
        DeflatedAfter,
    }
    Counter Bytes "tidegate_wire_bytes_total" "Bytes that went out, with what TCP, IP and Ethernet add." {
        WireReplies(lane = "none"),
        WireHigh(lane = "high"),
        WireMid(lane = "mid"),
        WireLow(lane = "low"),
    }
    Gauge Bytes "tidegate_wire_budget_bytes" "What the shard may put on the wire each second; 0 without a line rate." {
        WireBudget,
    }
    Counter Count "tidegate_wire_waits_total" "Times at which the lanes mid and low had to wait for the budget." {
        WireWaits,
    }
    Counter Count "tidegate_lane_offered_total" "Versions of rooms times the members that they came for." {
        HighOffered(lane = "high"),
        MidOffered(lane = "mid"),
        LowOffered(lane = "low"),
    }
    Counter Count "tidegate_lane_resumed_total" "Versions of rooms times the members that asked for them on their way in." {
        HighResumed(lane = "high"),
        MidResumed(lane = "mid"),
        LowResumed(lane = "low"),
    }
    Counter Count "tidegate_lane_delivered_total" "Messages of rooms times the connections that they were given to." {
        HighDelivered(lane = "high"),
        MidDelivered(lane = "mid"),
        LowDelivered(lane = "low"),
    }
    Counter Count "tidegate_lane_thinned_total" "Messages of rooms times the members that were told that they are left out for everybody." {
        HighThinned(lane = "high"),
        MidThinned(lane = "mid"),
        LowThinned(lane = "low"),
    }
    Counter Count "tidegate_lane_skipped_total" "Versions of rooms times the members that a gap named them to." {
        HighSkipped(lane = "high"),
        MidSkipped(lane = "mid"),
        LowSkipped(lane = "low"),
    }
    Counter Count "tidegate_lane_departed_total" "Versions of rooms still owed to members when they left or their connection ended." {
        HighDeparted(lane = "high"),
        MidDeparted(lane = "mid"),
        LowDeparted(lane = "low"),
    }
    Counter Count "tidegate_gap_versions_total" "Versions that connections were told they will not get." {
        GapVersions,
    }
    Counter Count "tidegate_chat_accepted_total" "Chats that passed all checks." { ChatAccepted }
    Counter Count "tidegate_chat_replaced_total" "Of those, chats in which sensitive words were replaced." {
        ChatReplaced,
    }
    Counter Count "tidegate_chat_refused_total" "Chats, opaque messages and likes of clients that were refused." {
        ChatRefusedEmpty(reason = "empty"),
        ChatRefusedTooLong(reason = "too_long"),
        ChatRefusedMuted(reason = "muted"),
        ChatRefusedTooFast(reason = "too_fast"),
        ChatRefusedDuplicate(reason = "duplicate"),
        ChatRefusedFlood(reason = "flood"),
        ChatRefusedWord(reason = "word"),
        ChatRefusedOpaque(reason = "opaque"),
    }
    Counter Count "tidegate_chat_discarded_total" "Chats and opaque messages discarded in the uplink: their room could not carry more." {
        ChatDiscarded,
    }
    Counter Count "tidegate_opaque_accepted_total" "Opaque messages of clients that passed all checks." {
        OpaqueAccepted,
    }
    Counter Count "tidegate_likes_total" "Likes counted." { Likes }
    Gauge Count "tidegate_chat_words" "Sensitive words in force." { ChatWords }
    Counter Count "tidegate_chat_words_broken_total" "Lists of sensitive words that could not be put in force." {
        WordsBroken,
    }
    Counter Count "tidegate_answers_received_total" "Answers received, repeated ones too." {
        AnswersReceived,
    }
    Counter Count "tidegate_answers_acknowledged_total" "Answers recorded, first ones and repeats." {
        AnswersAcknowledged,
    }
    Bucket Nanoseconds "tidegate_answer_seconds" "Time from an answer's arrival stamp until its reply was handed to the socket." {
        AnswersWithin50us(le = "0.00005"),
        AnswersWithin100us(le = "0.0001"),
        AnswersWithin250us(le = "0.00025"),
        AnswersWithin500us(le = "0.0005"),
        AnswersWithin1ms(le = "0.001"),
        AnswersWithin2ms(le = "0.002"),
        AnswersWithin3ms(le = "0.003"),
        AnswersWithin5ms(le = "0.005"),
        AnswersWithin10ms(le = "0.01"),
        AnswersWithin50ms(le = "0.05"),
        AnswersWhenever(le = "+Inf"),
    }
    Counter Count "tidegate_answers_refused_total" "Answers refused." { AnswersRefused }
    Counter Count "tidegate_taps_received_total" "Taps at red-packet rains." { TapsReceived }
    Counter Count "tidegate_taps_thinned_total" "Taps beyond the rate of their rain." {
        TapsThinned,
    }
    Counter Count "tidegate_packets_grabbed_total" "Packets of red-packet rains won." {
        PacketsGrabbed,
    }
    Counter Count "tidegate_gifts_shown_total" "Gifts of users shown in rooms." { GiftsShown }
    Counter Count "tidegate_answers_deferred_total" "Answers that were asked to come again." {
        AnswersDeferred,
    }
    Counter Count "tidegate_tickets_redeemed_total" "Retry tickets taken." { TicketsRedeemed }
    Counter Count "tidegate_show_events_total" "Show events applied." { ShowEvents }
    Counter Count "tidegate_records_total" "Records given to the journal." { Records }
    Gauge Count "tidegate_journal_waiting" "Records that are not durable yet." { JournalWaiting }
    Gauge Nanoseconds "tidegate_journal_stands_seconds" "For how long records have waited and nothing became durable: a disk that is full, fails or is far too slow." {
        JournalStands,
    }
    Counter Count "tidegate_journal_failures_total" "Writes and syncs of the journal that failed; each was done again in another file." {
        JournalFailures,
    }
    Counter Count "tidegate_mail_batches_total" "Batches of mail received from other shards." {
        MailBatches,
    }
    Counter Count "tidegate_mail_total" "Mail received from other shards." { Mail }
    Counter Count "tidegate_mail_waited_total" "Mail that had to wait for a show event." { MailWaited }
    Gauge Count "tidegate_mailbox_depth" "Batches that wait in the shard's mailbox." { MailboxDepth }
    Gauge Nanoseconds "tidegate_mail_age_longest_seconds" "Age of the oldest mail on arrival in the last ten to twenty seconds." {
        MailAgeLongest,
    }
    Gauge Count "tidegate_sockets" "Sockets held, those that are being closed included." { Sockets }
    Gauge Count "tidegate_rings" "Rings of the socket plane." { Rings }
    Counter Count "tidegate_ring_errors_total" "Rings that could not be made." { RingErrors }
    Counter Count "tidegate_ring_enters_total" "System calls into the rings." { RingEnters }
    Counter Count "tidegate_receives_total" "Receives submitted." { Receives }
    Counter Count "tidegate_receives_empty_total" "Receives that found nothing." { ReceivesEmpty }
    Counter Count "tidegate_receives_no_memory_total" "Receives that the kernel had no memory for." {
        ReceivesNoMemory,
    }
    Counter Bytes "tidegate_received_bytes_total" "Bytes received from clients." { ReceivedBytes }
    Counter Count "tidegate_sends_total" "Sends submitted." { Sends }
    Counter Count "tidegate_sends_short_total" "Sends that took only a part." { SendsShort }
    Counter Count "tidegate_sends_blocked_total" "Sends that found a full socket." { SendsBlocked }
    Counter Count "tidegate_sends_no_memory_total" "Sends that the kernel had no memory for." {
        SendsNoMemory,
    }
    Counter Count "tidegate_sends_lost_total" "Sends whose result never came." { SendsLost }
    Counter Bytes "tidegate_sent_bytes_total" "Bytes sent to clients." { SentBytes }
    Counter Count "tidegate_resets_total" "Sockets closed with a reset." { Resets }
    Counter Count "tidegate_close_retries_total" "Closes that the kernel refused and that were repeated." {
        CloseRetries,
    }
    Counter Count "tidegate_completions_stale_total" "Completions of connections that were gone." {
        CompletionsStale,
    }
    Counter Count "tidegate_completion_overflows_total" "Times at which a completion queue was found to have overflown." {
        CompletionOverflows,
    }
    Counter Count "tidegate_completions_lost_total" "Completions that the kernel had no memory to keep; the connections of their ring are looked after." {
        CompletionsLost,
    }
    Counter Count "tidegate_polls_rearmed_total" "Multishot polls that ended by themselves." {
        PollsRearmed,
    }
    Counter Count "tidegate_turns_total" "Turns of the shard that did something." { Turns }
    Counter Nanoseconds "tidegate_turn_seconds_total" "Time spent in those turns." { TurnTime }
    Gauge Nanoseconds "tidegate_turn_longest_seconds" "The longest turn of the last ten to twenty seconds." {
        TurnLongest,
    }
    Counter Count "tidegate_wakes_late_total" "Wakes that only a timer beside them brought: lost, or the host stood still." {
        WakesLate,
    }
    Counter Count "tidegate_clock_steps_total" "Steps of the wall clock by more than 50 ms." {
        ClockSteps,
    }
}

/// How many series a shard has.
pub const METRIC_COUNT: usize = Metric::ALL.len();

/// The counts of one shard, in its own memory.
#[derive(Clone, Debug)]
pub struct Counters([u64; METRIC_COUNT]);

impl Default for Counters {
    fn default() -> Counters {
        Counters([0; METRIC_COUNT])
    }
}

impl Counters {
    /// All at 0.
    #[must_use]
    pub fn new() -> Counters {
        Counters::default()
    }

    /// Adds to a counter or a gauge. A counter that passes 64 bits begins at 0, which its readers
    /// take for a restart.
    pub fn add(&mut self, metric: Metric, amount: u64) {
        let value = &mut self.0[metric as usize];
        *value = value.wrapping_add(amount);
    }

    /// Adds 1.
    pub fn increment(&mut self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Sets a gauge, or a counter that is counted elsewhere.
    pub fn set(&mut self, metric: Metric, value: u64) {
        self.0[metric as usize] = value;
    }

    /// The present value.
    #[must_use]
    pub fn get(&self, metric: Metric) -> u64 {
        self.0[metric as usize]
    }
}

/// What a shard published last; shared with who reads metrics and health.
#[derive(Debug)]
pub struct ShardSnapshot {
    values: [AtomicU64; METRIC_COUNT],
    /// Nanoseconds of the [`Time`] of the last publish.
    published: AtomicU64,
}

impl ShardSnapshot {
    /// All at 0, published at `now`, so that a shard that never comes up is noticed.
    #[must_use]
    pub fn new(now: Time) -> ShardSnapshot {
        ShardSnapshot {
            values: [const { AtomicU64::new(0) }; METRIC_COUNT],
            published: AtomicU64::new(now.0),
        }
    }

    /// Copies the shard's counts. It also is the shard's sign of life: call it several times a
    /// second from the pump, also when nothing happens.
    pub fn publish(&self, counters: &Counters, now: Time) {
        for (shared, own) in self.values.iter().zip(&counters.0) {
            shared.store(*own, Ordering::Relaxed);
        }
        self.published.store(now.0, Ordering::Relaxed);
    }

    /// A value as it was published last.
    #[must_use]
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize].load(Ordering::Relaxed)
    }

    /// When the shard published last.
    #[must_use]
    pub fn published(&self) -> Time {
        Time(self.published.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_prometheus_asks() {
        for metric in Metric::ALL {
            let MetricDescription { name, label, kind, unit, help } = metric.description();
            assert!(name.starts_with("tidegate_"), "{name}");
            assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
            assert_eq!(name.ends_with("_total"), kind == MetricKind::Counter, "{name}");
            let base = name.trim_end_matches("_total");
            assert_eq!(base.ends_with("_seconds"), unit == MetricUnit::Nanoseconds, "{name}");
            assert_eq!(base.ends_with("_bytes"), unit == MetricUnit::Bytes, "{name}");
            assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{name}");
            let expected: &[&str] =
                if kind == MetricKind::Bucket { &["le"] } else { &["reason", "limit", "lane"] };
            assert!(label.is_none_or(|(label, _)| expected.contains(&label)), "{name}");
        }
    }

    #[test]
    fn series_of_one_name_stand_together_and_differ_in_their_label_only() {
        let mut names: Vec<&str> = Vec::new();
        for (place, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, place);
            let one = metric.description();
            if names.last() != Some(&one.name) {
                assert!(!names.contains(&one.name), "{} stands in two places", one.name);
                names.push(one.name);
            }
            for other in Metric::ALL.iter().filter(|other| *other != metric) {
                let other = other.description();
                assert!(one.name != other.name || one.label != other.label, "{one:?}");
                assert!(one.name != other.name || one.label.is_some(), "{one:?}");
            }
        }
    }

    #[test]
    fn a_snapshot_shows_what_was_published_last() {
        let mut counters = Counters::new();
        let snapshot = ShardSnapshot::new(Time(5));
        counters.increment(Metric::Turns);
        counters.add(Metric::SentBytes, 10);
        assert_eq!((snapshot.get(Metric::Turns), snapshot.published()), (0, Time(5)));
        snapshot.publish(&counters, Time(9));
        counters.set(Metric::Turns, 7);
        assert_eq!((snapshot.get(Metric::Turns), snapshot.published()), (1, Time(9)));
        assert_eq!((snapshot.get(Metric::SentBytes), counters.get(Metric::Turns)), (10, 7));
    }
}
