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
}
