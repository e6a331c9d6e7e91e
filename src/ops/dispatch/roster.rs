//! What is known of each gateway, and which of them clients may be sent to: without a clock and
//! without I/O.

use std::time::Duration;

use crate::base::entropy::Entropy;
use crate::base::time::Time;

use super::load::{GatewayLoad, GatewayState, Rates, as_f64};
use super::order::{Candidate, Filling, orders, room};
use super::settings::{DispatchSettings, GatewaySettings};

/// Two reports are apart by this part of the interval at least, or make no rates.
const APART_PART: u32 = 5;

/// Why a gateway is not on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// It was never heard of.
    Unheard,
    /// It did not answer for too long.
    Silent,
    /// It does not listen yet.
    Starting,
    /// It asks its clients to leave.
    Draining,
    /// It accepts nobody for now.
    Held,
    /// It has as many connections as it takes.
    Full,
}

impl Unlisted {
    /// Its name in metrics and the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Unlisted::Unheard => "unheard",
            Unlisted::Silent => "silent",
            Unlisted::Starting => "starting",
            Unlisted::Draining => "draining",
            Unlisted::Held => "held",
            Unlisted::Full => "full",
        }
    }
}

/// What a gateway is good for, as the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Limits {
    connections: Option<u64>,
    packets_per_s: Option<u64>,
    bits_per_s: Option<u64>,
}

/// One gateway, as it was heard of last.
#[derive(Clone, Debug, Default)]
pub struct Known {
    limits: Limits,
    /// What it said last, and when it was heard.
    last: Option<(GatewayLoad, Time)>,
    rates: Rates,
    failures_in_a_row: u32,
    /// Asks that were answered.
    pub answered: u64,
    /// Asks that failed.
    pub failed: u64,
}

impl Known {
    fn new(settings: &GatewaySettings) -> Known {
        let GatewaySettings { connections, packets_per_s, bits_per_s, .. } = *settings;
        Known { limits: Limits { connections, packets_per_s, bits_per_s }, ..Known::default() }
    }

    /// What it said last.
    #[must_use]
    pub fn load(&self) -> Option<&GatewayLoad> {
        self.last.as_ref().map(|(load, _)| load)
    }

    /// What happened each second between the last two reports.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// How many more connections it can take, where it was heard of.
    #[must_use]
    pub fn room(&self) -> f64 {
        let Some(load) = self.load() else { return 0.0 };
        let of = |used: f64, capacity: u64| Filling { used, capacity: as_f64(capacity) };
        let connections = self.limits.connections.unwrap_or(load.connections_max);
        let line_bits = load.wire_budget_bytes_per_s.saturating_mul(8);
        let bits = self.limits.bits_per_s.or((line_bits > 0).then_some(line_bits));
        let Rates { packets_per_s, bits_per_s, .. } = self.rates;
        room(
            of(as_f64(load.connections), connections),
            &[
                self.limits.packets_per_s.map(|capacity| of(packets_per_s, capacity)),
                bits.map(|capacity| of(bits_per_s, capacity)),
            ],
        )
    }
}

/// All gateways, in the order of the file.
#[derive(Debug)]
pub struct Roster {
    gateways: Vec<Known>,
    failures_max: u32,
    /// Whoever was heard of longer ago is silent, whatever became of the asks since.
    silent_after: Duration,
    /// Two reports that are nearer to each other make no rates: what a burst is in between would be
    /// taken for what goes on all the time.
    apart_ms_min: u64,
}

impl Roster {
    /// Nobody has been heard of yet.
    #[must_use]
    pub fn new(settings: &DispatchSettings) -> Roster {
        let asks = settings.failures_max.saturating_add(1);
        Roster {
            gateways: settings.gateways.iter().map(Known::new).collect(),
            failures_max: settings.failures_max,
            silent_after: (settings.interval + settings.timeout).saturating_mul(asks),
            apart_ms_min: u64::try_from((settings.interval / APART_PART).as_millis()).unwrap_or(0),
        }
    }

    /// The same by other settings; `kept` has for each gateway of theirs its place here, if it has
    /// one. Who is not silent now has the new time to be heard of, from now on.
    #[must_use]
    pub fn renewed(
        &self,
        settings: &DispatchSettings,
        kept: &[Option<usize>],
        now: Time,
    ) -> Roster {
        let of = |(gateway, place): (&GatewaySettings, &Option<usize>)| {
            let anew = Known::new(gateway);
            let Some(place) = *place else { return anew };
            let Some(before) = self.gateways.get(place) else { return anew };
            let mut known = Known { limits: anew.limits, ..before.clone() };
            if self.unlisted(place, now) != Some(Unlisted::Silent)
                && let Some((_, heard_at)) = &mut known.last
            {
                *heard_at = now;
            }
            known
        };
        let gateways = settings.gateways.iter().zip(kept).map(of).collect();
        Roster { gateways, ..Roster::new(settings) }
    }

    /// All of them, as they are known.
    #[must_use]
    pub fn gateways(&self) -> &[Known] {
        &self.gateways
    }

    /// One has answered.
    pub fn heard(&mut self, gateway: usize, load: GatewayLoad, now: Time) {
        let Some(known) = self.gateways.get_mut(gateway) else { return };
        let before = known.last.take();
        let apart_ms = before.as_ref().and_then(|(older, _)| load.at_ms.checked_sub(older.at_ms));
        if apart_ms.is_none_or(|apart_ms| apart_ms >= self.apart_ms_min) {
            let rates = before.and_then(|(older, _)| Rates::between(&older, &load));
            known.rates = rates.unwrap_or_default();
        }
        known.last = Some((load, now));
        known.failures_in_a_row = 0;
        known.answered += 1;
    }

    /// One was asked and did not answer as it should.
    pub fn failed(&mut self, gateway: usize) {
        let Some(known) = self.gateways.get_mut(gateway) else { return };
        known.failures_in_a_row = known.failures_in_a_row.saturating_add(1);
        known.failed += 1;
    }

    /// Why a gateway is not on the list; nothing if it is.
    #[must_use]
    pub fn unlisted(&self, gateway: usize, now: Time) -> Option<Unlisted> {
        let known = self.gateways.get(gateway)?;
        let Some((load, heard_at)) = &known.last else { return Some(Unlisted::Unheard) };
        let is_silent = known.failures_in_a_row >= self.failures_max
            || now.since(*heard_at) > self.silent_after;
        match load.state {
            _ if is_silent => Some(Unlisted::Silent),
            GatewayState::Starting => Some(Unlisted::Starting),
            GatewayState::Draining => Some(Unlisted::Draining),
            GatewayState::Accepting | GatewayState::Waiting if load.is_held => Some(Unlisted::Held),
            GatewayState::Accepting | GatewayState::Waiting
                if load.connections >= load.connections_max =>
            {
                Some(Unlisted::Full)
            }
            GatewayState::Accepting | GatewayState::Waiting => None,
        }
    }

    /// Orders in which to try those that are on the list; none if nobody is.
    pub fn orders(&self, now: Time, entropy: &mut dyn Entropy) -> Vec<Vec<usize>> {
        let candidates: Vec<Candidate> = self
            .gateways
            .iter()
            .enumerate()
            .filter(|(gateway, _)| self.unlisted(*gateway, now).is_none())
            .map(|(gateway, known)| Candidate {
                gateway,
                room: known.room(),
                is_last: known.load().is_some_and(|load| load.state == GatewayState::Waiting),
            })
            .collect();
        if candidates.is_empty() { Vec::new() } else { orders(&candidates, entropy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::ops::dispatch::load::tests::idle;

    fn roster(keys: &[&str]) -> Roster {
        Roster::new(&settings(1_000, keys))
    }

    fn settings(interval_ms: u64, keys: &[&str]) -> DispatchSettings {
        let gateway = |(index, keys): (usize, &&str)| {
            format!(
                "[[gateways]]\nname = \"{index}\"\nurls = [\"ws://{index}/\"]\n\
                 operator = \"http://127.0.0.1:{}\"\n{keys}\n",
                index + 1
            )
        };
        let text: String = keys.iter().enumerate().map(gateway).collect();
        let text = format!("interval_ms = {interval_ms}\ntimeout_ms = {}\n{text}", interval_ms / 2);
        DispatchSettings::parse("d.toml", &text, &[], &|_| Err(String::new())).unwrap()
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn listed(roster: &Roster, now: Time) -> Vec<usize> {
        let orders = roster.orders(now, &mut SeededEntropy::new(1, 0));
        let mut first = orders.first().cloned().unwrap_or_default();
        first.sort_unstable();
        first
    }

    #[test]
    fn only_who_takes_clients_is_on_the_list() {
        let states = [
            (GatewayLoad { ..idle() }, None),
            (GatewayLoad { state: GatewayState::Waiting, ..idle() }, None),
            (GatewayLoad { state: GatewayState::Starting, ..idle() }, Some(Unlisted::Starting)),
            (GatewayLoad { state: GatewayState::Draining, ..idle() }, Some(Unlisted::Draining)),
            (GatewayLoad { is_held: true, ..idle() }, Some(Unlisted::Held)),
            (GatewayLoad { connections: 1_000, ..idle() }, Some(Unlisted::Full)),
        ];
        let mut roster = roster(&[""; 7]);
        for (gateway, (load, _)) in states.iter().enumerate() {
            roster.heard(gateway, load.clone(), at(10));
        }
        for (gateway, (_, expected)) in states.iter().enumerate() {
            assert_eq!(roster.unlisted(gateway, at(20)), *expected, "{gateway}");
        }
        assert_eq!(roster.unlisted(6, at(20)), Some(Unlisted::Unheard));
        assert_eq!(listed(&roster, at(20)), [0, 1]);
        // Who will be drained soon is last, however much room it has.
        let orders = roster.orders(at(20), &mut SeededEntropy::new(1, 0));
        assert!(orders.iter().all(|order| *order == [0, 1]));
    }

    #[test]
    fn who_does_not_answer_is_taken_off_and_comes_back() {
        let mut roster = roster(&["", ""]);
        roster.heard(0, idle(), at(0));
        roster.heard(1, idle(), at(0));
        roster.failed(0);
        assert_eq!(listed(&roster, at(1)), [0, 1], "one failure is forgiven");
        roster.failed(0);
        assert_eq!(roster.unlisted(0, at(2)), Some(Unlisted::Silent));
        assert_eq!(listed(&roster, at(2)), [1]);
        roster.heard(0, idle(), at(3));
        assert_eq!(listed(&roster, at(3)), [0, 1]);
        assert_eq!((roster.gateways()[0].answered, roster.gateways()[0].failed), (2, 2));
        // Even if nobody says that asking fails.
        assert_eq!(listed(&roster, at(4_500)), [0, 1]);
        assert_eq!(listed(&roster, at(4_502)), [0]);
        assert!(listed(&roster, at(5_000)).is_empty());
    }

    #[test]
    fn room_is_what_the_file_and_the_gateway_say() {
        let mut roster =
            roster(&["", "connections = 100", "packets_per_s = 1000", "bits_per_s = 8000000", ""]);
        let busy = GatewayLoad {
            at_ms: 2_000,
            connections: 50,
            sends_total: 750,
            wire_bytes_total: 900_000,
            ..idle()
        };
        for gateway in 0..5 {
            roster.heard(gateway, idle(), at(0));
        }
        for gateway in 0..4 {
            roster.heard(gateway, busy.clone(), at(1_000));
        }
        roster.heard(4, GatewayLoad { wire_budget_bytes_per_s: 1_800_000, ..busy }, at(1_000));
        let rooms: Vec<f64> = roster.gateways().iter().map(|it| it.room().round()).collect();
        assert_eq!(rooms, [950.0, 50.0, 250.0, 100.0, 500.0]);
        // Nothing is known of a gateway that began anew but its connections.
        roster.heard(2, GatewayLoad { at_ms: 5, ..idle() }, at(2_000));
        assert_eq!(roster.gateways()[2].rates(), Rates::default());
    }

    #[test]
    fn two_reports_that_are_close_make_no_rates() {
        let mut roster = roster(&[""]);
        let report = |at_ms, sends_total| GatewayLoad { at_ms, sends_total, ..idle() };
        let mut rate = |load: GatewayLoad| {
            roster.heard(0, load, at(0));
            roster.gateways()[0].rates().packets_per_s
        };
        assert_eq!((rate(report(1_000, 0)), rate(report(2_000, 50))), (0.0, 50.0));
        // A burst, seen by an ask that came soon after the last one.
        assert_eq!((rate(report(2_010, 150)), rate(report(2_199, 150))), (50.0, 50.0));
        assert_eq!(rate(report(3_199, 250)), 100.0);
        assert_eq!(rate(report(7, 250)), 0.0, "it began anew");
    }

    #[test]
    fn by_shorter_intervals_nobody_is_silent_at_once_but_who_was() {
        let mut slow = Roster::new(&settings(60_000, &["", "", ""]));
        for gateway in 0..3 {
            slow.heard(gateway, idle(), at(0));
        }
        slow.failed(1);
        slow.failed(1);
        let next = settings(200, &["", "", ""]);
        let renewed = slow.renewed(&next, &[Some(0), Some(1), None], at(50_000));
        assert_eq!(listed(&slow, at(50_000)), [0, 2]);
        assert_eq!(listed(&renewed, at(50_000)), [0]);
        assert_eq!(renewed.unlisted(1, at(50_000)), Some(Unlisted::Silent));
        assert_eq!(renewed.unlisted(2, at(50_000)), Some(Unlisted::Unheard));
        assert_eq!(listed(&renewed, at(50_899)), [0]);
        assert!(listed(&renewed, at(50_901)).is_empty(), "unless it stays silent");
    }

    #[test]
    fn a_place_that_there_is_not_is_nobodys() {
        let mut roster = roster(&[""]);
        roster.heard(9, idle(), at(0));
        roster.failed(9);
        assert_eq!(roster.unlisted(9, at(0)), None);
        assert!(roster.orders(at(0), &mut SeededEntropy::new(1, 0)).is_empty());
    }
}
