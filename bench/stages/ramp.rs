//! How a load is raised until it fails: doubled while it holds, then halved into between the last
//! that held and the first that failed. Pure: it says what to try next and is told how that went.
//!
//! A load that failed is tried once more before it counts as failed, because one hiccup of a shared
//! machine is not the gateway's limit. The number of attempts is bounded in any case.

/// Loads closer than this to each other are not told apart: the figures of one run are not either.
const RESOLUTION: f64 = 1.1;

/// Where a ramp begins and where it ends at the latest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RampSettings {
    /// The first load.
    pub(crate) start: u32,
    /// No load is larger: what the bench itself can do.
    pub(crate) cap: u32,
    /// By how much a load that held is raised.
    pub(crate) factor: f64,
    /// Loads tried between the last that held and the first that failed.
    pub(crate) bisections_max: u32,
    /// Attempts in all.
    pub(crate) steps_max: u32,
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The limit lies between the last load that held and the first that failed.
    Found,
    /// The largest load that the bench can make held.
    Capped,
    /// The attempts were used up.
    Steps,
}

/// A ramp under way.
#[derive(Clone, Debug)]
pub(crate) struct Ramp {
    settings: RampSettings,
    held: Option<u32>,
    failed: Option<u32>,
    /// Failed once, and is to be tried again.
    doubted: Option<u32>,
    bisections: u32,
    steps: u32,
}

impl Ramp {
    /// Nothing has been tried.
    pub(crate) fn new(settings: RampSettings) -> Ramp {
        Ramp { settings, held: None, failed: None, doubted: None, bisections: 0, steps: 0 }
    }

    /// The largest load that held.
    pub(crate) fn held(&self) -> Option<u32> {
        self.held
    }

    /// The smallest load that failed.
    pub(crate) fn failed(&self) -> Option<u32> {
        self.failed
    }

    /// The load to try now, or why there is none.
    pub(crate) fn next(&self) -> Result<u32, Stopped> {
        let RampSettings { start, cap, factor, bisections_max, steps_max } = self.settings;
        let start = start.min(cap).max(1);
        match (self.held, self.failed) {
            _ if self.steps >= steps_max => Err(Stopped::Steps),
            _ if let Some(load) = self.doubted => Ok(load),
            (None, None) => Ok(start),
            (Some(held), None) if held >= cap => Err(Stopped::Capped),
            (Some(held), None) => Ok(times(held, factor).max(held.saturating_add(1)).min(cap)),
            (None, Some(1)) => Err(Stopped::Found),
            (None, Some(failed)) => Ok(times(failed, 1.0 / factor).clamp(1, failed - 1)),
            (Some(held), Some(failed)) => {
                let gap = f64::from(failed) / f64::from(held);
                if self.bisections >= bisections_max || gap < RESOLUTION || failed - held < 2 {
                    return Err(Stopped::Found);
                }
                Ok(times(held, gap.sqrt()).clamp(held + 1, failed - 1))
            }
        }
    }

    /// How the attempt with `load` went. True if it is to be repeated, and counts for nothing yet.
    pub(crate) fn judge(&mut self, load: u32, has_held: bool) -> bool {
        self.steps += 1;
        if !has_held && self.doubted != Some(load) {
            self.doubted = Some(load);
            return true;
        }
        self.doubted = None;
        self.bisections += u32::from(self.held.is_some() && self.failed.is_some());
        if has_held {
            self.held = self.held.max(Some(load));
        } else {
            self.failed = Some(self.failed.map_or(load, |failed| failed.min(load)));
        }
        false
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floats saturate")]
fn times(load: u32, factor: f64) -> u32 {
    (f64::from(load) * factor).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All loads that a ramp tries on something that holds up to `limit`, and how it ended.
    fn climb(settings: RampSettings, limit: u32) -> (Vec<u32>, Ramp, Stopped) {
        let (mut ramp, mut tried) = (Ramp::new(settings), Vec::new());
        loop {
            match ramp.next() {
                Ok(load) => {
                    tried.push(load);
                    ramp.judge(load, load <= limit);
                }
                Err(stopped) => return (tried, ramp, stopped),
            }
        }
    }

    fn settings(start: u32, cap: u32) -> RampSettings {
        RampSettings { start, cap, factor: 2.0, bisections_max: 2, steps_max: 20 }
    }

    #[test]
    fn ramps_find_limits() {
        for (start, cap, limit, tried, held, failed, stopped) in [
            // Up, the first failure twice, then between.
            (
                100,
                10_000,
                500,
                vec![100, 200, 400, 800, 800, 566, 566, 476],
                Some(476),
                Some(566),
                Stopped::Found,
            ),
            // Nothing fails that can be tried.
            (100, 300, 500, vec![100, 200, 300], Some(300), None, Stopped::Capped),
            (100, 100, 500, vec![100], Some(100), None, Stopped::Capped),
            // The start is too much already.
            (
                100,
                1_000,
                30,
                vec![100, 100, 50, 50, 25, 35, 35, 30],
                Some(30),
                Some(35),
                Stopped::Found,
            ),
            // Nothing holds.
            (4, 10, 0, vec![4, 4, 2, 2, 1, 1], None, Some(1), Stopped::Found),
            // The cap is less than the start, and the largest number there is.
            (9, 5, 9, vec![5], Some(5), None, Stopped::Capped),
            (
                u32::MAX - 1,
                u32::MAX,
                u32::MAX,
                vec![u32::MAX - 1, u32::MAX],
                Some(u32::MAX),
                None,
                Stopped::Capped,
            ),
        ] {
            let (found, ramp, why) = climb(settings(start, cap), limit);
            assert_eq!((found, why), (tried, stopped), "start {start}, cap {cap}, limit {limit}");
            assert_eq!((ramp.held(), ramp.failed()), (held, failed));
        }
    }

    #[test]
    fn attempts_are_bounded() {
        let settings = RampSettings { steps_max: 3, ..settings(1, u32::MAX) };
        let (tried, ramp, stopped) = climb(settings, u32::MAX);
        assert_eq!((tried, stopped), (vec![1, 2, 4], Stopped::Steps));
        assert_eq!(ramp.held(), Some(4));
    }

    #[test]
    fn one_hiccup_is_not_the_limit() {
        let mut ramp = Ramp::new(settings(10, 100));
        assert!(ramp.judge(10, false));
        assert_eq!(ramp.next(), Ok(10));
        assert!(!ramp.judge(10, true));
        assert_eq!((ramp.held(), ramp.failed(), ramp.next()), (Some(10), None, Ok(20)));
    }
}
