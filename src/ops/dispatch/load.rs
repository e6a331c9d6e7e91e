//! What a gateway says of itself to whoever sends clients to it, and what two such words tell.
//!
//! A gateway tells what it has counted and the moment; rates are taken from two reports of it, by
//! whoever asks. So any number of dispatchers may ask, each as often as it likes, and the gateway keeps
//! nothing for them.

use serde::{Deserialize, Serialize};

/// Bytes on the wire of a packet that is full: 1,500 and what Ethernet adds.
const PACKET_WIRE_BYTES: u64 = 1_538;

/// Where a gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayState {
    /// It does not listen yet.
    Starting,
    /// Clients are taken.
    Accepting,
    /// Clients are taken, and will be asked to leave when the countdown that runs is over.
    Waiting,
    /// Clients are asked to leave.
    Draining,
}

impl GatewayState {
    /// All, in order.
    pub const ALL: [GatewayState; 4] = [
        GatewayState::Starting,
        GatewayState::Accepting,
        GatewayState::Waiting,
        GatewayState::Draining,
    ];

    /// Its name in answers and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            GatewayState::Starting => "starting",
            GatewayState::Accepting => "accepting",
            GatewayState::Waiting => "waiting",
            GatewayState::Draining => "draining",
        }
    }
}

/// The body of `GET /v1/load`. Fields that a newer gateway adds are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayLoad {
    /// Where it is in its life.
    pub state: GatewayState,
    /// Nobody is accepted for now, because memory or descriptors are short.
    pub is_held: bool,
    /// The moment, by the gateway's own monotonic clock.
    pub at_ms: u64,
    /// Connections that are open.
    pub connections: u64,
    /// As many as it takes.
    pub connections_max: u64,
    /// Connections accepted since it began.
    pub accepted_total: u64,
    /// Sends since it began.
    pub sends_total: u64,
    /// Bytes since it began, with what TCP, IP and Ethernet add.
    pub wire_bytes_total: u64,
    /// What it may put on the wire each second; 0 where no line rate is set.
    pub wire_budget_bytes_per_s: u64,
    /// Time that each shard spent in turns that had something to do, since it began.
    pub turn_us_total: Vec<u64>,
}

/// What happened each second between two reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Connections accepted.
    pub connects_per_s: f64,
    /// Packets sent: a send is one, or as many as its bytes need.
    pub packets_per_s: f64,
    /// Bits on the wire.
    pub bits_per_s: f64,
    /// The share of the time in which the busiest shard had something to do, 0 to 1.
    pub busy_share: f64,
}

impl Rates {
    /// From an older report and a newer one; nothing if the gateway began anew between them, or if no
    /// time has passed.
    #[must_use]
    pub fn between(older: &GatewayLoad, newer: &GatewayLoad) -> Option<Rates> {
        let passed_ms = newer.at_ms.checked_sub(older.at_ms).filter(|passed| *passed > 0)?;
        let each_s = |count: u64| as_f64(count) * 1_000.0 / as_f64(passed_ms);
        let accepted = newer.accepted_total.checked_sub(older.accepted_total)?;
        let sends = newer.sends_total.checked_sub(older.sends_total)?;
        let wire_bytes = newer.wire_bytes_total.checked_sub(older.wire_bytes_total)?;
        if older.turn_us_total.len() != newer.turn_us_total.len() {
            return None;
        }
        let mut busiest_us = 0;
        for (before, after) in older.turn_us_total.iter().zip(&newer.turn_us_total) {
            busiest_us = after.checked_sub(*before)?.max(busiest_us);
        }
        Some(Rates {
            connects_per_s: each_s(accepted),
            packets_per_s: each_s(sends.max(wire_bytes.div_ceil(PACKET_WIRE_BYTES))),
            bits_per_s: each_s(wire_bytes) * 8.0,
            busy_share: (each_s(busiest_us) / 1e6).min(1.0),
        })
    }
}

/// Counts and rates are far below 2⁵³, and shares of them need no more.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A gateway that has done nothing.
    pub(crate) fn idle() -> GatewayLoad {
        GatewayLoad {
            state: GatewayState::Accepting,
            is_held: false,
            at_ms: 1_000,
            connections: 0,
            connections_max: 1_000,
            accepted_total: 0,
            sends_total: 0,
            wire_bytes_total: 0,
            wire_budget_bytes_per_s: 0,
            turn_us_total: vec![0, 0],
        }
    }

    #[test]
    fn rates_are_what_happened_each_second() {
        let newer = GatewayLoad {
            at_ms: 3_000,
            accepted_total: 50,
            sends_total: 4_000,
            wire_bytes_total: 1_000_000,
            turn_us_total: vec![200_000, 1_000_000],
            ..idle()
        };
        let expected = Rates {
            connects_per_s: 25.0,
            packets_per_s: 2_000.0,
            bits_per_s: 4_000_000.0,
            busy_share: 0.5,
        };
        assert_eq!(Rates::between(&idle(), &newer), Some(expected));
        // Few sends of many bytes are many packets.
        let large = GatewayLoad { sends_total: 1, ..newer };
        let rates = Rates::between(&idle(), &large).unwrap();
        assert!((rates.packets_per_s - 325.5).abs() < 0.01, "{rates:?}");
    }

    #[test]
    fn a_gateway_that_began_anew_has_no_rates_yet() {
        let later = |change: fn(&mut GatewayLoad)| {
            let mut newer = GatewayLoad { at_ms: 2_000, ..idle() };
            change(&mut newer);
            newer
        };
        let older = GatewayLoad {
            accepted_total: 9,
            sends_total: 9,
            wire_bytes_total: 9,
            turn_us_total: vec![9, 9],
            ..idle()
        };
        let same = GatewayLoad { at_ms: 2_000, ..older.clone() };
        assert_eq!(Rates::between(&older, &same), Some(Rates::default()));
        let changes: [fn(&mut GatewayLoad); 7] = [
            |it| it.at_ms = 999,
            |it| it.at_ms = 1_000,
            |it| it.accepted_total = 8,
            |it| it.sends_total = 8,
            |it| it.wire_bytes_total = 8,
            |it| it.turn_us_total = vec![9, 8],
            |it| it.turn_us_total = vec![9],
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut newer = same.clone();
            change(&mut newer);
            assert_eq!(Rates::between(&older, &newer), None, "change {index}");
        }
        assert!(Rates::between(&idle(), &later(|_| ())).is_some());
    }

    #[test]
    fn the_words_are_those_of_the_json() {
        for state in GatewayState::ALL {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(text, format!("\"{}\"", state.word()));
        }
        let text = serde_json::to_string(&idle()).unwrap();
        assert_eq!(serde_json::from_str::<GatewayLoad>(&text).unwrap(), idle());
    }
}
