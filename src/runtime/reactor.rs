//! Living with glommio: sleeping on the rings' eventfd, and keeping its reactor alive.
//!
//! Both work through glommio's public API alone: an eventfd is read like a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use glommio::io::BufferedFile;

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

    /// Waits for a wake; one that has come already ends it at once.
    ///
    /// # Panics
    /// If an eventfd cannot be read: the shard could never be woken again.
    pub async fn sleep(&self) {
        if let Err(error) = self.eventfd.read_at(0, 8).await {
            panic!("reading the shard's eventfd failed: {error}");
        }
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

    /// Completes one cycle of the reactor; 20–30 µs.
    ///
    /// # Panics
    /// If the eventfd cannot be written or read: the shard's files would stand still.
    pub async fn complete(&mut self) {
        let written = self.writer.write(&1_u64.to_ne_bytes());
        assert!(written.is_ok(), "an eventfd takes a one: {written:?}");
        if let Err(error) = self.reader.read_at(0, 8).await {
            panic!("reading the cycle's eventfd failed: {error}");
        }
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
