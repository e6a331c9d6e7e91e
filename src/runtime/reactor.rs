//! Living with glommio: sleeping on the rings' eventfd, and keeping its reactor alive.
//!
//! Both work through glommio's public API alone: an eventfd is read like a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use glommio::io::BufferedFile;

/// Sleeps until an eventfd says that something happened.
pub(crate) struct Park {
    eventfd: BufferedFile,
}

impl Park {
    /// Takes a descriptor of the eventfd for itself.
    pub(crate) fn new(eventfd: OwnedFd) -> Park {
        Park { eventfd: buffered(eventfd) }
    }

    /// Waits for a wake; one that has come already ends it at once.
    ///
    /// # Panics
    /// If an eventfd cannot be read: the shard could never be woken again.
    pub(crate) async fn sleep(&self) {
        if let Err(error) = self.eventfd.read_at(0, 8).await {
            panic!("reading the shard's eventfd failed: {error}");
        }
    }
}

/// Makes glommio's reactor look at its own rings: a read that is ready at once, but whose
/// completion only the reactor can deliver. A yield does not do that.
pub(crate) struct Cycle {
    writer: File,
    reader: BufferedFile,
}

impl Cycle {
    pub(crate) fn new(eventfd: OwnedFd) -> io::Result<Cycle> {
        let reader = buffered(eventfd.try_clone()?);
        Ok(Cycle { writer: File::from(eventfd), reader })
    }

    /// Completes one cycle of the reactor; 20–30 µs.
    pub(crate) async fn complete(&mut self) {
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
