//! What a shard lets others see of itself: copies of plain counters, published now and then.
//!
//! One writer, any number of readers, no locks: a reader may see counters of two neighbouring
//! moments, never a torn number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::time::Time;
use crate::net::PlaneCounters;
use crate::shard::Shard;
use crate::shard::counters::Counters;

macro_rules! plane_counters {
    ($($name:ident),+ $(,)?) => {
        const PLANE_NAMES: &[&str] = &[$(stringify!($name)),+];

        fn plane_values(counters: &PlaneCounters) -> Vec<u64> {
            vec![$(counters.$name),+]
        }
    };
}

plane_counters!(
    accepts,
    accept_errors,
    accept_pauses,
    connects,
    connect_errors,
    recv_calls,
    recv_bytes,
    recv_again,
    recv_no_memory,
    sends,
    send_bytes,
    short_sends,
    blocked_sends,
    no_memory_sends,
    lost_sends,
    polls_rearmed,
    cq_overflows,
    stale_completions,
    closes,
    aborts,
    close_retries,
    enters,
    ring_errors,
    slots_used,
    rings,
);

/// Numbers that the runtime itself adds.
const RUNTIME_NAMES: &[&str] = &[
    "connections",
    "sessions",
    "rooms",
    "mailbox_depth",
    "mail_age_max_ns",
    "turn_max_ns",
    "turns",
    "busy_ns",
];

/// One shard's published numbers.
pub struct ShardStatus {
    shard: Vec<AtomicU64>,
    plane: Vec<AtomicU64>,
    runtime: Vec<AtomicU64>,
    /// When they were published.
    beat: AtomicU64,
    turn_max_ns: AtomicU64,
    turns: AtomicU64,
    busy_ns: AtomicU64,
    mail_age_max_ns: AtomicU64,
}

impl Default for ShardStatus {
    fn default() -> ShardStatus {
        let zeros = |names: &[&str]| names.iter().map(|_| AtomicU64::new(0)).collect();
        ShardStatus {
            shard: zeros(Counters::NAMES),
            plane: zeros(PLANE_NAMES),
            runtime: zeros(RUNTIME_NAMES),
            beat: AtomicU64::new(0),
            turn_max_ns: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            mail_age_max_ns: AtomicU64::new(0),
        }
    }
}

impl ShardStatus {
    /// Publishes the shard's numbers.
    pub(crate) fn publish(
        &self,
        now: Time,
        shard: &Shard,
        plane: &PlaneCounters,
        mailbox_depth: usize,
    ) {
        store(&self.shard, &shard.counters().values());
        store(&self.plane, &plane_values(plane));
        let gauges = shard.gauges();
        store(
            &self.runtime,
            &[
                gauges.connections,
                gauges.sessions,
                gauges.rooms,
                mailbox_depth as u64,
                self.mail_age_max_ns.load(Ordering::Relaxed),
                self.turn_max_ns.load(Ordering::Relaxed),
                self.turns.load(Ordering::Relaxed),
                self.busy_ns.load(Ordering::Relaxed),
            ],
        );
        self.beat.store(now.0, Ordering::Release);
    }

    /// Notes how long a turn took that did something.
    pub(crate) fn note_turn(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.turn_max_ns.fetch_max(nanos, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.busy_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Notes how old mail was on arrival.
    pub(crate) fn note_mail_age(&self, age: Duration) {
        let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        self.mail_age_max_ns.fetch_max(nanos, Ordering::Relaxed);
    }

    /// When the shard published last.
    #[must_use]
    pub fn beat(&self) -> Time {
        Time(self.beat.load(Ordering::Acquire))
    }

    /// A number by its name; nothing if there is no such number.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.all().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All numbers with their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let named = |names: &'static [&'static str], values: &[AtomicU64]| {
            names.iter().copied().zip(values.iter().map(load)).collect::<Vec<_>>()
        };
        let mut all = named(Counters::NAMES, &self.shard);
        all.extend(named(PLANE_NAMES, &self.plane));
        all.extend(named(RUNTIME_NAMES, &self.runtime));
        all.into_iter()
    }
}

fn store(cells: &[AtomicU64], values: &[u64]) {
    assert_eq!(cells.len(), values.len(), "each number has its place");
    for (cell, value) in cells.iter().zip(values) {
        cell.store(*value, Ordering::Relaxed);
    }
}
