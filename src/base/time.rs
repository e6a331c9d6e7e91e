//! Time as an input. Deadlines are [`Time`] on the host's monotonic clock; what is displayed goes
//! through a [`DisplayClock`].

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on the monotonic clock: nanoseconds since the process chose its zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The process's zero.
    pub const ZERO: Time = Time(0);
    /// Later than anything that happens.
    pub const NEVER: Time = Time(u64::MAX);

    /// A moment so many milliseconds after the zero.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis * 1_000_000)
    }

    /// Whole milliseconds since the zero.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates at [`Time::NEVER`].
    fn add(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    /// Saturates at [`Time::ZERO`].
    fn sub(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(nanos))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:06} s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// Turns monotonic time into what people and clients see. It is fixed when the process starts and
/// moves no deadline: a step of the wall clock does not change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisplayClock {
    /// Unix time of [`Time::ZERO`], milliseconds.
    pub zero_unix_ms: i64,
}

impl DisplayClock {
    /// Unix milliseconds of `time`.
    #[must_use]
    pub fn unix_ms(self, time: Time) -> i64 {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.zero_unix_ms.saturating_add(millis)
    }

    /// Unix nanoseconds of `time`; saturates in the year 2262.
    #[must_use]
    pub fn unix_ns(self, time: Time) -> i64 {
        let nanos = i64::try_from(time.0).unwrap_or(i64::MAX);
        self.zero_unix_ms.saturating_mul(1_000_000).saturating_add(nanos)
    }

    /// The moment that [`DisplayClock::unix_ns`] turned into `unix_ns`, perhaps in another process;
    /// [`Time::ZERO`] for what was before this process's zero.
    #[must_use]
    pub fn at_unix_ns(self, unix_ns: i64) -> Time {
        let nanos = unix_ns.saturating_sub(self.zero_unix_ms.saturating_mul(1_000_000));
        Time(u64::try_from(nanos).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::from_millis(5)), Duration::ZERO);
        assert_eq!(Time::from_millis(1_500).to_string(), "1.500000 s");
    }

    #[test]
    fn display_time_returns_to_the_nanosecond_and_never_before_the_zero() {
        let clock = DisplayClock { zero_unix_ms: 1_700_000_000_000 };
        let time = Time(123_456_789);
        assert_eq!(clock.unix_ns(time), 1_700_000_000_123_456_789);
        assert_eq!(clock.at_unix_ns(clock.unix_ns(time)), time);
        assert_eq!(clock.at_unix_ns(1), Time::ZERO);
        assert_eq!(clock.unix_ns(Time::NEVER), i64::MAX);
    }
}
