//! Living with glommio: an executor that does not sleep on its work, sleeping on the rings'
//! eventfd, and keeping the reactor alive.
//!
//! All through glommio's public API alone: an eventfd is read like a file.
//!
//! **The trap.** Before it runs its tasks, glommio's executor asks whether it shall preempt, that
//! is whether anything has arrived in its latency ring. If so it has run nothing, takes that for
//! "nothing to run", and goes to sleep with the task that it has just woken in its queue; only
//! another completion ends that sleep. What arrives there is above all its preempt timer: a thread
//! that the kernel left aside for longer than that timer, between arming it and asking, slept for
//! ever (glommio 0.9; mended in its successor's pull request 53). Hence [`make_executor`], whose
//! timer never fires. The other things that arrive there are wakes by other threads: nothing in a
//! shard wakes a task from outside or uses glommio's blocking operations (rename, remove, truncate,
//! create a directory). Should they, a guard bounds what is lost, and counts it: [`Wake::Late`].

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::timer::Timer;
use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement};

/// glommio's preempt timer, so long that it never fires. Nobody needs it: the pump is the one task
/// that runs for long, and completes a [`Cycle`] by itself.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long a read that is ready may take. The host may take longer, rarely.
const CYCLE_GUARD: Duration = Duration::from_millis(100);

/// An executor for a shard on the calling thread, which is pinned already: more shards than cores
/// must be possible.
///
/// # Errors
/// If the kernel refuses its rings.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes executors")]
pub fn make_executor(name: &str) -> Result<LocalExecutor, GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name(name)
        .spin_before_park(Duration::ZERO)
        .preempt_timer(NEVER)
        .make()
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// It came.
    InTime,
    /// It came, but only the guard's timer brought it: glommio lost it, or the host stood still.
    Late,
    /// It did not come before the guard ended the wait.
    Missing,
}

/// Sleeps until an eventfd says that something happened.
pub struct Park {
    writer: File,
    reader: BufferedFile,
}

impl Park {
    /// Takes a descriptor of the eventfd for itself.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn new(eventfd: OwnedFd) -> io::Result<Park> {
        let reader = buffered(eventfd.try_clone()?);
        Ok(Park { writer: File::from(eventfd), reader })
    }

    /// Waits for a wake, but no longer than `guard`. One that has come already ends it at once,
    /// and one may be for nothing: look at everything afterwards.
    ///
    /// # Panics
    /// If the eventfd cannot be read or written: the shard could never be woken again.
    pub async fn sleep(&self, guard: Duration) -> Wake {
        let mut read = pin!(read(&self.reader));
        let wake = guarded(read.as_mut(), guard).await;
        if wake == Wake::Missing {
            // The read is not dropped: glommio cancels only when it looks at its rings next, and
            // until then the old read takes the wake for which the next one waits. So it ends by a
            // wake of our own.
            signal(&self.writer);
            while guarded(read.as_mut(), CYCLE_GUARD).await == Wake::Missing {}
        }
        wake
    }
}

/// Makes glommio's reactor look at its own rings: a read that is ready at once, but whose
/// completion only the reactor can deliver. A yield does not do that.
pub struct Cycle {
    writer: File,
    reader: BufferedFile,
}

impl Cycle {
    /// Takes an eventfd of its own.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn new(eventfd: OwnedFd) -> io::Result<Cycle> {
        let reader = buffered(eventfd.try_clone()?);
        Ok(Cycle { writer: File::from(eventfd), reader })
    }

    /// Completes one cycle of the reactor; about 10 µs.
    ///
    /// # Panics
    /// If the eventfd cannot be read or written: the shard's files would stand still.
    pub async fn complete(&mut self) -> Wake {
        signal(&self.writer);
        let mut read = pin!(read(&self.reader));
        let wake = guarded(read.as_mut(), CYCLE_GUARD).await;
        if wake == Wake::Missing {
            while guarded(read.as_mut(), CYCLE_GUARD).await == Wake::Missing {}
            return Wake::Late;
        }
        wake
    }
}

/// Waits for a future, but no longer than `guard`; it may be waited for again.
async fn guarded(mut future: Pin<&mut impl Future<Output = ()>>, guard: Duration) -> Wake {
    let mut timer = Timer::new(guard);
    poll_fn(|context| {
        let came = future.as_mut().poll(context).is_ready();
        let over = Pin::new(&mut timer).poll(context).is_ready();
        match (came, over) {
            (true, false) => Poll::Ready(Wake::InTime),
            (true, true) => Poll::Ready(Wake::Late),
            (false, true) => Poll::Ready(Wake::Missing),
            (false, false) => Poll::Pending,
        }
    })
    .await
}

async fn read(eventfd: &BufferedFile) {
    let read = eventfd.read_at(0, 8).await;
    assert!(read.is_ok(), "an eventfd can be read: {:?}", read.err());
}

fn signal(mut eventfd: &File) {
    let written = eventfd.write(&1_u64.to_ne_bytes());
    assert!(written.is_ok(), "an eventfd takes a one: {written:?}");
}

fn buffered(eventfd: OwnedFd) -> BufferedFile {
    // SAFETY: the descriptor is open and ours alone; the file owns it from here on and closes it.
    // glommio offers no safe way to take a descriptor over.
    unsafe { BufferedFile::from_raw_fd(eventfd.into_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use glommio::io::{BufferedFile, OpenOptions};

    use super::*;
    use crate::net::new_eventfd;
    use crate::runtime::clock::Clock;

    /// A wake that takes so long was lost, however loaded the host is.
    const LOST: Duration = Duration::from_secs(10);

    /// A thread that the kernel left aside for longer than glommio's preempt timer, between arming
    /// it and asking for it, went to sleep with the task that it had just woken. With a timer of
    /// 10 ms that happened here about once a second.
    #[test]
    fn on_a_crowded_host_no_shard_sleeps_on_what_it_has_just_woken() {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shards: Vec<_> =
            (0..(4 * cores).min(64)).map(|_| std::thread::spawn(cycle_for_a_while)).collect();
        let cycles: u64 = shards.into_iter().map(|it| it.join().expect("no wake was lost")).sum();
        println!("{cycles} cycles, no wake lost");
    }

    fn cycle_for_a_while() -> u64 {
        let clock = Clock::start();
        let executor = make_executor("crowded").expect("an executor");
        executor.run(async move {
            let begun = clock.now();
            let cycle = Cycle::new(new_eventfd().expect("an eventfd")).expect("a descriptor");
            let mut cycles = 0;
            while clock.now().since(begun) < Duration::from_secs(3) {
                let turn = clock.now();
                while clock.now().since(turn) < Duration::from_micros(50) {}
                signal(&cycle.writer);
                // Not the guard of a cycle, which would hide it.
                let wake = guarded(pin!(read(&cycle.reader)), LOST).await;
                assert_eq!(wake, Wake::InTime, "lost after {cycles} cycles");
                cycles += 1;
            }
            cycles
        })
    }

    /// A read that was given up, but not yet cancelled, took the wake for which the next one waited.
    #[test]
    fn a_wake_after_a_sleep_that_ended_by_itself_is_not_lost() {
        let executor = make_executor("park").expect("an executor");
        executor.run(async {
            let eventfd = new_eventfd().expect("an eventfd");
            let waker = File::from(eventfd.try_clone().expect("a descriptor"));
            let park = Park::new(eventfd).expect("a descriptor");
            for round in 0..100 {
                assert_eq!(park.sleep(Duration::from_millis(1)).await, Wake::Missing, "{round}");
                signal(&waker);
                assert_eq!(park.sleep(LOST).await, Wake::InTime, "{round}");
            }
        });
    }

    /// Writes and syncs a file a hundred times while a pump beside it never idles; the median, in
    /// microseconds. Without the cycle it is hundreds of milliseconds.
    #[test]
    fn a_pump_that_never_idles_starves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let executor = make_executor("busy").expect("an executor");
        let mut took = executor.run(async move {
            let clock = Clock::start();
            let stop = Rc::new(Cell::new(false));
            let stopped = stop.clone();
            let pump = glommio::spawn_local(async move {
                let eventfd = new_eventfd().expect("an eventfd");
                let mut cycle = Cycle::new(eventfd).expect("a second descriptor");
                while !stopped.get() {
                    let begun = clock.now();
                    while clock.now().since(begun) < Duration::from_micros(250) {}
                    cycle.complete().await;
                }
            });
            let file: BufferedFile = OpenOptions::new()
                .write(true)
                .create(true)
                .buffered_open(&path)
                .await
                .expect("a file");
            let mut took = Vec::new();
            for record in 0..100 {
                let begun = clock.now();
                file.write_at(vec![7; 512], record * 512).await.expect("written");
                file.fdatasync().await.expect("synced");
                took.push(clock.now().since(begun));
            }
            stop.set(true);
            pump.await;
            file.close().await.expect("closed");
            took
        });
        took.sort_unstable();
        let median = took[took.len() / 2];
        println!("write and fdatasync beside a busy pump: median {median:?}, p99 {:?}", took[98]);
        // A hundred times what it takes, and a tenth of what starvation takes: not a speed test.
        assert!(median < Duration::from_millis(60), "the pump starves files: {median:?}");
    }
}
