//! The red-packet rains of a show file.

use std::time::Duration;

use crate::base::limits::{
    PRIZE_POOL_CENTS_MAX, RAIN_DURATION_MAX_S, RAIN_PACKETS_MAX, RAIN_TAPS_MAX, RAINS_MAX,
};
use crate::ops::problems::Problems;
use crate::ops::toml_table::Table;
use crate::quiz::money::Cents;
use crate::quiz::rain::{CERTAIN, RainCommand, RainSettings};

/// A rain that is planned as soon as its show is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiledRain {
    /// How it is to fall.
    pub settings: RainSettings,
    /// Where the show runs by itself: it starts when this question, or a later one, is revealed;
    /// questions are counted from 0. None: behind the last one.
    pub after_question: Option<u16>,
}

pub(super) const RAIN_KEYS: &[&str] = &[
    "pool_cents",
    "packets",
    "duration_ms",
    "win_per_10000",
    "taps_max",
    "show_packets_max",
    "after_question",
];

/// What the fund needs, and then each rain.
#[must_use]
pub fn orders(rains: &[FiledRain]) -> Vec<RainCommand> {
    let pools = rains.iter().map(|rain| rain.settings.pool.0);
    let fund = (!rains.is_empty()).then(|| RainCommand::Fund(Cents(pools.sum())));
    let plans = rains.iter().map(|rain| RainCommand::Plan(rain.settings));
    fund.into_iter().chain(plans).collect()
}

/// What is missing of [`orders`] in a show that has `planned` rains and `fund` left: a process that
/// ended in the middle of them left some out.
#[must_use]
pub fn missing(rains: &[FiledRain], planned: usize, fund: Cents) -> Vec<RainCommand> {
    let left = rains.get(planned..).unwrap_or_default();
    let needed = left.iter().map(|rain| rain.settings.pool.0).sum::<i64>();
    let short = needed.saturating_sub(fund.0);
    let more = (short > 0).then_some(RainCommand::Fund(Cents(short)));
    let plans = left.iter().map(|rain| RainCommand::Plan(rain.settings));
    more.into_iter().chain(plans).collect()
}

/// Behind which question each rain starts by itself, in a show whose last question is `last`.
#[must_use]
pub fn after_questions(rains: &[FiledRain], last: usize) -> Vec<u16> {
    let last = u16::try_from(last).unwrap_or(u16::MAX);
    rains.iter().map(|rain| rain.after_question.map_or(last, |it| it.min(last))).collect()
}

pub(super) fn read(root: &mut Table<'_, '_>, problems: &mut Problems) -> Vec<FiledRain> {
    let mut rains: Vec<FiledRain> = Vec::new();
    for (index, table) in root.tables("rains", problems).into_iter().enumerate() {
        let (origin, key) = (table.origin(), format!("rains[{index}]"));
        if index == RAINS_MAX {
            problems.push(origin, key, format!("is one rain more than {RAINS_MAX}"));
            break;
        }
        let Some(rain) = read_rain(table, problems) else { continue };
        let pools = rains.iter().map(|rain| rain.settings.pool.0).sum::<i64>();
        if pools + rain.settings.pool.0 > PRIZE_POOL_CENTS_MAX {
            let reason = format!("all rains together have at most {PRIZE_POOL_CENTS_MAX} cents");
            problems.push(origin, key, reason);
            break;
        }
        if let Err(error) = rain.settings.check() {
            problems.push(origin, key, error.to_string());
            continue;
        }
        rains.push(rain);
    }
    rains
}

/// Nothing if what a rain must have is missing or wrong; then that is said.
fn read_rain(mut table: Table<'_, '_>, problems: &mut Problems) -> Option<FiledRain> {
    for name in ["pool_cents", "packets", "duration_ms"] {
        if !table.has(name) {
            table.missing(name, problems);
        }
    }
    let before = problems.list().len();
    let mut number = |name, range| Some(table.integer(name, range, problems)?.value);
    let duration_ms_max = i64::try_from(RAIN_DURATION_MAX_S * 1_000).unwrap_or(i64::MAX);
    let pool = number("pool_cents", 1..=PRIZE_POOL_CENTS_MAX);
    let packets = number("packets", 1..=i64::from(RAIN_PACKETS_MAX));
    let duration_ms = number("duration_ms", 1..=duration_ms_max);
    let win = number("win_per_10000", 1..=i64::from(CERTAIN));
    let taps = number("taps_max", 1..=i64::from(RAIN_TAPS_MAX));
    let most = number("show_packets_max", 0..=i64::from(u16::MAX));
    let after = number("after_question", 0..=i64::from(u16::MAX));
    table.finish(|_| None, problems);
    if problems.list().len() > before {
        return None;
    }
    let duration = Duration::from_millis(u64::try_from(duration_ms?).ok()?);
    let usual = RainSettings::new(Cents(pool?), u32::try_from(packets?).ok()?, duration);
    let settings = RainSettings {
        win_per_10000: win.and_then(|it| it.try_into().ok()).unwrap_or(usual.win_per_10000),
        taps_max: taps.and_then(|it| it.try_into().ok()).unwrap_or(usual.taps_max),
        show_packets_max: most.and_then(|it| it.try_into().ok()).unwrap_or(0),
        ..usual
    };
    Some(FiledRain { settings, after_question: after.and_then(|it| it.try_into().ok()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rains_that_a_crash_left_unplanned_are_planned_and_funded_once() {
        let rain = |cents| FiledRain {
            settings: RainSettings::new(Cents(cents), 1, Duration::from_secs(1)),
            after_question: None,
        };
        let rains = [rain(30), rain(20)];
        let all = orders(&rains);
        // Behind each order that was carried out: rains that are planned, and cents in the fund.
        for (done, (planned, fund)) in [(0, 0), (0, 50), (1, 20), (2, 0)].into_iter().enumerate() {
            assert_eq!(missing(&rains, planned, Cents(fund)), all[done..], "{done} done");
        }
        assert_eq!(missing(&rains, 3, Cents(9)), [], "an operator planned another one");
        assert_eq!(missing(&[], 0, Cents(0)), []);
    }
}
