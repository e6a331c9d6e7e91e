//! A token bucket in one number: the virtual schedule of RFC 2697's and ATM's generic cell rate
//! algorithm.
//!
//! Instead of tokens and the moment at which they were counted, only the moment is kept at which
//! the bucket will be full again. In any stretch of time no more is let through than
//! `burst + time ÷ interval`.

use std::time::Duration;

use crate::base::time::Time;

/// How fast and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    interval_ns: u64,
    burst: u64,
}

impl Pace {
    /// One piece per `interval`, and `burst` of them, at least one, after a rest. An interval of
    /// zero lets everything through.
    #[must_use]
    pub fn new(interval: Duration, burst: u32) -> Pace {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Pace { interval_ns, burst: u64::from(burst.max(1)) }
    }

    /// `per_second` pieces, with a second's worth at once, divided among `sharers` equally; 0 lets
    /// everything through.
    #[must_use]
    pub fn share(per_second: u32, sharers: u16) -> Pace {
        let (per_second, sharers) = (u64::from(per_second), u64::from(sharers.max(1)));
        let interval_ns = (sharers * 1_000_000_000).checked_div(per_second).unwrap_or(0);
        Pace { interval_ns, burst: (per_second / sharers).max(1) }
    }

    /// How far ahead of the present the bucket can be full at the latest.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        Duration::from_nanos(self.interval_ns.saturating_mul(self.burst))
    }

    /// Takes `count` pieces from a bucket that is full at `full_at`: when it is full then.
    ///
    /// # Errors
    /// How long until so many can be had, if ever.
    pub fn take(&self, full_at: Time, now: Time, count: u32) -> Result<Time, Duration> {
        let wanted = Duration::from_nanos(self.interval_ns.saturating_mul(u64::from(count)));
        let full_at = full_at.max(now) + wanted;
        let latest = now + self.horizon();
        if full_at <= latest { Ok(full_at) } else { Err(full_at.since(latest)) }
    }

    /// How many pieces can be had now.
    #[must_use]
    pub fn available(&self, full_at: Time, now: Time) -> u64 {
        let taken_ns = full_at.0.saturating_sub(now.0);
        let left_ns = self.interval_ns.saturating_mul(self.burst).saturating_sub(taken_ns);
        left_ns.checked_div(self.interval_ns).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(time: Duration) -> u64 {
        u64::try_from(time.as_millis()).unwrap()
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_lets_more_through_than_rate_and_burst(
            interval_ms in 1_u64..2_000,
            burst in 1_u32..20,
            steps in proptest::collection::vec((0_u64..3_000, 1_u32..4), 1..200),
        ) {
            let pace = Pace::new(Duration::from_millis(interval_ms), burst);
            let (mut now, mut full_at) = (Time::from_millis(5), Time::ZERO);
            let mut taken: Vec<(Time, u32)> = Vec::new();
            for (pause_ms, count) in steps {
                now = now + Duration::from_millis(pause_ms);
                let available = pace.available(full_at, now);
                match pace.take(full_at, now, count) {
                    Ok(then) => {
                        prop_assert!(available >= u64::from(count));
                        full_at = then;
                        taken.push((now, count));
                    }
                    Err(wait) => {
                        prop_assert!(available < u64::from(count));
                        if count <= burst {
                            let later = now + wait;
                            prop_assert!(pace.take(full_at, later, count).is_ok());
                            let sooner = later - Duration::from_nanos(1);
                            prop_assert!(pace.take(full_at, sooner, count).is_err());
                        }
                    }
                }
            }
            for (first, (since, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (at, count) in &taken[first..] {
                    sum += u64::from(*count);
                    let most = u64::from(burst) * interval_ms + millis(at.since(*since));
                    prop_assert!(sum * interval_ms <= most, "{sum} within {since} to {at}");
                }
            }
        }

        #[test]
        fn shares_add_up_to_the_rate(per_second in 1_u32..10_000, sharers in 1_u16..64) {
            let pace = Pace::share(per_second, sharers);
            // In ten seconds of asking all the time, after the burst.
            let (mut full_at, mut taken) = (Time::ZERO, 0_u64);
            for ms in 0..10_000 {
                let now = Time::from_millis(ms);
                while let Ok(then) = pace.take(full_at, now, 1) {
                    full_at = then;
                    taken += 1;
                }
            }
            let all = taken * u64::from(sharers);
            let most = u64::from(per_second) * 11 + 2 * u64::from(sharers);
            prop_assert!(all <= most, "{all} of {most}");
            prop_assert!(all + 2 * u64::from(sharers) >= u64::from(per_second) * 10);
        }
    }

    #[test]
    fn no_interval_is_no_limit() {
        let pace = Pace::new(Duration::ZERO, 1);
        assert_eq!(pace.take(Time::ZERO, Time(7), u32::MAX), Ok(Time(7)));
        assert_eq!(Pace::share(0, 3).take(Time::ZERO, Time(7), 9), Ok(Time(7)));
        assert_eq!(Pace::share(0, 3).available(Time::ZERO, Time(7)), u64::MAX);
    }
}
