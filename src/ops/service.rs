//! What a service manager is told (sd_notify(3)): that the gateway serves, that it stops, and, where a
//! watchdog is asked for, that *every* shard still turns. Without `NOTIFY_SOCKET` nothing is told.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{RecvTimeoutError, Sender};
use sd_notify::NotifyState;

use crate::base::metrics::ShardSnapshot;
use crate::base::time::Time;

/// Looks in the time that the service manager allows: a shard that has turned is told soon, and one
/// that stands still for less than the rest is forgiven.
const LOOKS_PER_TIMEOUT: u32 = 8;
/// No look more often: waking a shard is not free.
const LOOK_MIN: Duration = Duration::from_millis(50);

/// What a gateway that stops says to people.
pub const CLIENTS_LEAVE: &str = "stopping: clients are asked to leave";

/// Whether a service manager started this process, and wants to be told.
#[must_use]
pub fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty())
}

/// Clients are accepted; `status` says it to people.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The process is about to end; `status` says it to people.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Stopping goes on: it takes `more` from now on, whatever the service manager allows by itself.
pub fn stopping_takes(more: Duration) {
    let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
    if is_managed() {
        tell(&[NotifyState::ExtendTimeoutUsec(more)]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told (NOTIFY_SOCKET)");
    }
}

/// Tells the service manager that a loop turns, where nothing but one loop matters.
pub struct LoopWatchdog {
    /// Time between two words; nothing: nobody asked for any.
    interval: Option<Duration>,
    told_at: Option<Time>,
}

impl LoopWatchdog {
    /// As often as the service manager asked this process for it (`WATCHDOG_USEC`).
    #[must_use]
    pub fn as_asked() -> LoopWatchdog {
        LoopWatchdog::of(sd_notify::watchdog_enabled())
    }

    fn of(timeout: Option<Duration>) -> LoopWatchdog {
        let timeout = timeout.filter(|it| !it.is_zero());
        LoopWatchdog { interval: timeout.map(|it| it / LOOKS_PER_TIMEOUT), told_at: None }
    }

    /// The loop has turned.
    pub fn turned(&mut self, now: Time) {
        if self.is_due(now) {
            tell(&[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now: Time) -> bool {
        let Some(interval) = self.interval else { return false };
        let is_due = self.told_at.is_none_or(|told_at| now.since(told_at) >= interval);
        if is_due {
            self.told_at = Some(now);
        }
        is_due
    }
}

/// Tells the service manager that every shard turns, as often as it asks.
pub struct Watchdog {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// Begins, if the service manager asked this process for it (`WATCHDOG_USEC`); `wake` has every
    /// shard turn, also those with nothing to do.
    ///
    /// # Errors
    /// If the thread cannot be had.
    pub fn start_if_asked(
        shards: &[Arc<ShardSnapshot>],
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Option<Watchdog>> {
        let Some(timeout) = sd_notify::watchdog_enabled().filter(|it| !it.is_zero()) else {
            return Ok(None);
        };
        let alive = || sd_notify::notify(&[NotifyState::Watchdog]);
        Watchdog::start(shards, wake, alive, timeout).map(Some)
    }

    fn start(
        shards: &[Arc<ShardSnapshot>],
        wake: impl Fn() + Send + 'static,
        alive: impl Fn() -> io::Result<()> + Send + 'static,
        timeout: Duration,
    ) -> io::Result<Watchdog> {
        let (stop, stopped) = flume::bounded::<()>(0);
        let interval = (timeout / LOOKS_PER_TIMEOUT).max(LOOK_MIN);
        let mut beats = Beats::new(shards);
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                match beats.look() {
                    Beat::All => {
                        if let Err(error) = alive() {
                            tracing::warn!(%error, "the watchdog cannot be told");
                        }
                    }
                    Beat::Missing(shards) => {
                        tracing::warn!(?shards, "no sign of life; the watchdog is not told");
                    }
                    Beat::NotYet => {}
                }
                wake();
            }
        })?;
        Ok(Watchdog { stop, thread })
    }

    /// Tells nothing more.
    pub fn stop(self) {
        drop(self.stop);
        // One that has panicked has ended the process.
        let _ = self.thread.join();
    }
}

/// The shards' signs of life since they were told of last.
struct Beats {
    shards: Vec<(Arc<ShardSnapshot>, Time)>,
    looks: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Beat {
    /// Every shard has moved since the last time that all had.
    All,
    /// Some have not, and there is time.
    NotYet,
    /// These have not for half of the time.
    Missing(Vec<usize>),
}

impl Beats {
    fn new(shards: &[Arc<ShardSnapshot>]) -> Beats {
        let shards = shards.iter().map(|shard| (Arc::clone(shard), shard.published())).collect();
        Beats { shards, looks: 0 }
    }

    fn look(&mut self) -> Beat {
        let still = self.shards.iter().enumerate();
        let still = still.filter(|(_, (shard, before))| shard.published() == *before);
        let missing: Vec<usize> = still.map(|(index, _)| index).collect();
        if missing.is_empty() {
            self.looks = 0;
            self.shards.iter_mut().for_each(|(shard, before)| *before = shard.published());
            return Beat::All;
        }
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_TIMEOUT / 2) {
            Beat::Missing(missing)
        } else {
            Beat::NotYet
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Counters;
    use flume::RecvTimeoutError;

    fn shards(count: u64) -> Vec<Arc<ShardSnapshot>> {
        (0..count).map(|at| Arc::new(ShardSnapshot::new(Time(at)))).collect()
    }

    fn publish(shard: &ShardSnapshot, at: u64) {
        shard.publish(&Counters::default(), Time(at));
    }

    #[test]
    fn all_shards_must_have_moved_since_all_had() {
        let shards = shards(3);
        let mut beats = Beats::new(&shards);
        assert_eq!(beats.look(), Beat::NotYet);
        for (round, all) in [(10, Beat::All), (20, Beat::All)] {
            publish(&shards[0], round);
            publish(&shards[1], round);
            assert_eq!(beats.look(), Beat::NotYet);
            // That the others move on does not help.
            publish(&shards[0], round + 1);
            assert_eq!(beats.look(), Beat::NotYet);
            publish(&shards[2], round);
            assert_eq!(beats.look(), all);
        }
        let looks: Vec<Beat> = (0..8).map(|_| beats.look()).collect();
        assert_eq!(looks[3], Beat::Missing(vec![0, 1, 2]));
        assert_eq!(looks[7], Beat::Missing(vec![0, 1, 2]));
        assert_eq!(looks[4], Beat::NotYet);
    }

    #[test]
    fn a_loop_tells_as_often_as_it_is_asked_and_no_more() {
        let at = |ms: u64| Time::ZERO + Duration::from_millis(ms);
        let mut loop_watchdog = LoopWatchdog::of(Some(Duration::from_secs(8)));
        let due = [0, 500, 999, 1_000, 1_500, 7_000, 7_999, 8_000];
        let due: Vec<bool> = due.map(|ms| loop_watchdog.is_due(at(ms))).to_vec();
        assert_eq!(due, [true, false, false, true, false, true, false, true]);
        for nobody in [None, Some(Duration::ZERO)] {
            assert!(!LoopWatchdog::of(nobody).is_due(at(9_000)));
        }
    }

    /// One shard that stands still keeps the service manager untold, however lively the others are.
    #[test]
    fn one_shard_that_stands_still_is_enough() {
        let shards = shards(2);
        let (told, tells) = flume::unbounded();
        let (turned, turns) = flume::bounded(1_000);
        let lively = shards[0].clone();
        let stuck = shards[1].clone();
        let wake = move || {
            publish(&lively, lively.published().0 + 1);
            let _ = turned.try_send(());
        };
        let alive = move || {
            let _ = told.send(());
            Ok(())
        };
        let timeout = Duration::from_millis(400);
        let watchdog = Watchdog::start(&shards, wake, alive, timeout).expect("starts");
        for _ in 0..20 {
            turns.recv_timeout(Duration::from_secs(10)).expect("it looks");
        }
        assert!(tells.is_empty(), "told although a shard stood still");
        publish(&stuck, 1_000);
        assert_eq!(tells.recv_timeout(Duration::from_secs(10)), Ok(()), "told when it had moved");
        watchdog.stop();
        while tells.try_recv().is_ok() {}
        assert_eq!(tells.recv_timeout(timeout), Err(RecvTimeoutError::Disconnected));
    }
}
