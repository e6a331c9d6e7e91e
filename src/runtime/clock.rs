//! The one clock of the process. Everything else gets time as an input.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::{DisplayClock, Time};

/// Reads the host's monotonic clock, counted from the moment the process began.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
    display: DisplayClock,
}

/// A wall clock that moved against the monotonic one by more than this is worth a line in the log.
pub const STEP_NOTICED: Duration = Duration::from_millis(50);

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Clock {
        Clock { zero: Instant::now(), display: DisplayClock { zero_unix_ms: unix_ms() } }
    }

    /// The moment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Time {
        let elapsed = Instant::now().duration_since(self.zero);
        Time(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How monotonic time is displayed.
    #[must_use]
    pub fn display(&self) -> DisplayClock {
        self.display
    }

    /// By how much the wall clock has been stepped since the start, milliseconds; it moves no
    /// deadline.
    #[must_use]
    pub fn wall_clock_step_ms(&self) -> i64 {
        unix_ms() - self.display.unix_ms(self.now())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
