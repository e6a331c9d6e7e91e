//! The one clock of the process. Everything else gets time as an input.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::{DisplayClock, Time};

/// Reads the host's monotonic clock, counted from the moment the process began, or from where an
/// earlier process of the same deployment stopped.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    /// The moment at which the process began.
    began_at: Time,
    display: DisplayClock,
    stamps: DisplayClock,
}

/// A wall clock that moved against the monotonic one by more than this is worth a line in the log.
pub const STEP_NOTICED: Duration = Duration::from_millis(50);

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Clock {
        let display = DisplayClock { zero_unix_ms: unix_ms() };
        Clock { began: Instant::now(), began_at: Time::ZERO, display, stamps: display }
    }

    /// A clock that goes on: so much later than its zero as the wall clock says, which was
    /// `zero_unix_ms` then, and in any case at `at` or later. Without a zero it begins.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn resume(at: Time, zero_unix_ms: Option<i64>) -> Clock {
        let now_unix_ms = unix_ms();
        let passed_ms = zero_unix_ms.map_or(0, |zero| now_unix_ms.saturating_sub(zero));
        let by_wall_clock = Time::from_millis(u64::try_from(passed_ms).unwrap_or(0));
        let began_at = at.max(by_wall_clock);
        let passed_ms = i64::try_from(began_at.as_millis()).unwrap_or(i64::MAX);
        let display = DisplayClock { zero_unix_ms: now_unix_ms.saturating_sub(passed_ms) };
        Clock { began: Instant::now(), began_at, display, stamps: display }
    }

    /// The same clock, for stamps that outlive the process and were written by `stamps`.
    #[must_use]
    pub fn with_stamps(self, stamps: DisplayClock) -> Clock {
        Clock { stamps, ..self }
    }

    /// How moments are written that are read in another process of the deployment: the same in all
    /// of them, wherever the wall clock went meanwhile.
    #[must_use]
    pub fn stamps(&self) -> DisplayClock {
        self.stamps
    }

    /// The moment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Time {
        self.began_at + Instant::now().duration_since(self.began)
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
