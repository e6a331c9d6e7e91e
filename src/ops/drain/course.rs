//! When a drain goes on: a pure decision.

use std::time::Duration;

use crate::base::time::Time;
use crate::ops::drain::DrainSettings;

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// A countdown runs, or nobody could say whether one does.
    pub is_counting: bool,
    /// Connections, those included that are on their way in, and listeners that are open, of every
    /// shard, as of a moment after the clients were asked to leave; nothing: not known yet.
    pub left: Option<u64>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again.
    Wait,
    /// Ask clients to leave.
    Leave,
    /// End the process.
    Stop,
}

/// Looks that must have found no countdown, one after the other: what was ordered a moment before the
/// drain began may be on its way at the first.
const CLEAR_LOOKS: u32 = 2;

/// A drain under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    settings: DrainSettings,
    since: Time,
    clear_looks: u32,
    leaving_since: Option<Time>,
}

impl Course {
    /// Begins.
    #[must_use]
    pub fn new(settings: DrainSettings, now: Time) -> Course {
        Course { settings, since: now, clear_looks: 0, leaving_since: None }
    }

    /// How it is done.
    #[must_use]
    pub fn settings(&self) -> &DrainSettings {
        &self.settings
    }

    /// When clients began to be asked to leave.
    #[must_use]
    pub fn leaving_since(&self) -> Option<Time> {
        self.leaving_since
    }

    /// When the process ends at the latest, what comes after the clients left out.
    #[must_use]
    pub fn ends_by(&self) -> Time {
        let DrainSettings { spread, countdown_wait_max, timeout, .. } = self.settings;
        self.leaving_since.unwrap_or(self.since + countdown_wait_max) + spread + timeout
    }

    /// What comes next.
    pub fn next(&mut self, now: Time, facts: Facts) -> Next {
        if self.leaving_since.is_some() {
            let has_ended = facts.left == Some(0) || now >= self.ends_by();
            return if has_ended { Next::Stop } else { Next::Wait };
        }
        self.clear_looks = if facts.is_counting { 0 } else { self.clear_looks + 1 };
        let waited: Duration = now.since(self.since);
        if self.clear_looks < CLEAR_LOOKS && waited < self.settings.countdown_wait_max {
            return Next::Wait;
        }
        self.leaving_since = Some(now);
        Next::Leave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        let settings = DrainSettings {
            spread: Duration::from_millis(1_000),
            countdown_wait_max: Duration::from_millis(500),
            timeout: Duration::from_millis(200),
            to: Vec::new(),
        };
        Course::new(settings, Time::from_millis(10_000))
    }

    #[track_caller]
    fn check(course: &mut Course, looks: &[(u64, bool, Option<u64>, Next)]) {
        for (at_ms, is_counting, left, expected) in looks.iter().copied() {
            let next = course.next(Time::from_millis(at_ms), Facts { is_counting, left });
            assert_eq!(next, expected, "at {at_ms}");
        }
    }

    #[test]
    fn clients_leave_when_no_countdown_was_found_twice() {
        let mut course = course();
        check(
            &mut course,
            &[
                (10_000, false, None, Next::Wait),
                (10_010, true, None, Next::Wait),
                (10_020, false, None, Next::Wait),
                (10_030, false, None, Next::Leave),
                (10_040, false, None, Next::Wait),
                (10_050, false, Some(7), Next::Wait),
                (10_060, false, Some(0), Next::Stop),
            ],
        );
    }

    #[test]
    fn a_countdown_is_waited_for_no_longer_than_allowed_and_so_are_clients() {
        let mut course = course();
        assert_eq!(course.ends_by(), Time::from_millis(11_700));
        check(&mut course, &[(10_499, true, None, Next::Wait), (10_500, true, None, Next::Leave)]);
        // A countdown that runs on is not waited for any more.
        check(
            &mut course,
            &[(11_699, true, Some(1), Next::Wait), (11_700, true, None, Next::Stop)],
        );
    }
}
