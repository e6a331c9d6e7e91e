//! Living with glommio: sleeping on the rings' eventfd, and keeping its reactor alive.
//!
//! Both work through glommio's public API alone: an eventfd is read like a file.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::timer::Timer;

/// How long glommio may take to deliver a read that is ready. Under load it has, once in some ten
/// thousand reads, not delivered one at all: the read was gone from its ring and nobody was woken.
/// What waits for a read is therefore never alone: a timer waits with it.
const CYCLE_PATIENCE: Duration = Duration::from_millis(5);

/// Sleeps until an eventfd says that something happened.
pub struct Park {
    eventfd: BufferedFile,
}

impl Park {
    /// Takes a descriptor of the eventfd for itself.
    #[must_use]
    pub fn new(eventfd: OwnedFd) -> Park {
        Park { eventfd: buffered(eventfd) }
    }

    /// Waits for a wake, but no longer than `longest`; false if none came. One that has come
    /// already ends it at once. A wake may be for nothing, and one may be missed when the time is
    /// over: look at everything afterwards.
    pub async fn sleep(&self, longest: Duration) -> bool {
        read_within(&self.eventfd, longest).await
    }
}

/// Reads the eventfd, or gives up; false if it gave up. An error counts as a wake: a read that is
/// given up may take another one with it, because glommio cancels by a number that it uses again.
async fn read_within(eventfd: &BufferedFile, longest: Duration) -> bool {
    let mut read = pin!(eventfd.read_at(0, 8));
    let mut timer = pin!(Timer::new(longest));
    poll_fn(|context| {
        if read.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        timer.as_mut().poll(context).map(|_| false)
    })
    .await
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

    /// Completes one cycle of the reactor; 20–30 µs.
    ///
    /// # Panics
    /// If the eventfd takes nothing: the shard's files would stand still.
    pub async fn complete(&mut self) {
        let written = self.writer.write(&1_u64.to_ne_bytes());
        assert!(written.is_ok(), "an eventfd takes a one: {written:?}");
        read_within(&self.reader, CYCLE_PATIENCE).await;
    }
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

    use glommio::LocalExecutorBuilder;
    use glommio::io::{BufferedFile, OpenOptions};

    use super::Cycle;
    use crate::net::new_eventfd;
    use crate::runtime::clock::Clock;

    /// Writes and syncs a file a hundred times while a pump beside it never idles; the median, in
    /// microseconds. Without the cycle it is hundreds of milliseconds.
    #[test]
    fn a_pump_that_never_idles_starves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let builder = LocalExecutorBuilder::default().preempt_timer(Duration::from_secs(1));
        let executor = builder.make().expect("an executor");
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
