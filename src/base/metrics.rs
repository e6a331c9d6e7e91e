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
    Counter Count "tidegate_connections_closed_total" "Connections closed, by who or what ended them." {
        ClosedByPeer(reason = "peer"),
        ClosedByReset(reason = "reset"),
        ClosedByHandshake(reason = "handshake"),
        ClosedByAuthentication(reason = "authentication"),
        ClosedByProtocol(reason = "protocol"),
        ClosedByIdleness(reason = "idle"),
        ClosedByReplacement(reason = "replaced"),
        ClosedBySpill(reason = "spill"),
        ClosedByLimit(reason = "limit"),
        ClosedByDrain(reason = "drain"),
    }
    Counter Count "tidegate_accepts_paused_total" "Times at which accepting paused because a table was nearly full." {
        AcceptsPaused,
    }
    Gauge Count "tidegate_sessions" "Connections that are authenticated." { Sessions }
    Counter Count "tidegate_authentications_total" "Tokens taken." { Authentications }
    Counter Count "tidegate_authentications_refused_total" "Tokens refused." {
        AuthenticationsRefused,
    }
    Counter Bytes "tidegate_received_bytes_total" "Bytes received from clients." { ReceivedBytes }
    Counter Bytes "tidegate_sent_bytes_total" "Bytes sent to clients." { SentBytes }
    Counter Count "tidegate_messages_received_total" "Messages received from clients." {
        MessagesReceived,
    }
    Counter Count "tidegate_messages_refused_total" "Messages from clients that got an error." {
        MessagesRefused,
    }
    Counter Count "tidegate_sends_total" "Sends submitted." { Sends }
    Counter Count "tidegate_sends_short_total" "Sends that took only a part." { SendsShort }
    Counter Count "tidegate_sends_blocked_total" "Sends that found a full socket." { SendsBlocked }
    Counter Count "tidegate_completions_stale_total" "Completions of connections that were gone." {
        CompletionsStale,
    }
    Counter Count "tidegate_completion_overflows_total" "Times at which a completion queue was found to have overflown." {
        CompletionOverflows,
    }
    Counter Count "tidegate_polls_rearmed_total" "Multishot polls that ended by themselves." {
        PollsRearmed,
    }
    Gauge Count "tidegate_rooms" "Rooms that have members on the shard." { Rooms }
    Counter Count "tidegate_lane_frames_total" "Frames appended to lanes." {
        LaneFramesHigh(lane = "high"),
        LaneFramesMid(lane = "mid"),
        LaneFramesLow(lane = "low"),
    }
    Counter Count "tidegate_lane_gaps_total" "Connections that were lapped in a lane." {
        LaneGapsHigh(lane = "high"),
        LaneGapsMid(lane = "mid"),
        LaneGapsLow(lane = "low"),
    }
    Gauge Bytes "tidegate_spill_bytes" "Bytes that wait for clients that do not read." { SpillBytes }
    Counter Count "tidegate_mail_posted_total" "Batches of mail posted to other shards." { MailPosted }
    Gauge Nanoseconds "tidegate_mailbox_age_seconds" "Age of the oldest mail when the mailbox was last read." {
        MailboxAge,
    }
    Counter Count "tidegate_answers_received_total" "Answers received, repeated ones too." {
        AnswersReceived,
    }
    Counter Count "tidegate_answers_retried_total" "Answers that were told to retry." {
        AnswersRetried,
    }
    Counter Count "tidegate_tickets_redeemed_total" "Retry tickets taken." { TicketsRedeemed }
    Counter Count "tidegate_tickets_refused_total" "Retry tickets refused." { TicketsRefused }
    Gauge Count "tidegate_effects_held" "Effects that wait for their record to be durable." {
        EffectsHeld,
    }
    Counter Count "tidegate_turns_total" "Turns of the shard." { Turns }
    Counter Nanoseconds "tidegate_turn_seconds_total" "Time spent in turns." { TurnTime }
    Gauge Nanoseconds "tidegate_turn_longest_seconds" "The longest turn since the last publish." {
        TurnLongest,
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
            assert!(label.is_none_or(|(label, _)| ["reason", "lane"].contains(&label)), "{name}");
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
