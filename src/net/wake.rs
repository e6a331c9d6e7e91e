//! Waking a parked plane from other threads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::net::socket;

/// Wakes one plane, from any thread. Cheap while the plane runs: then nothing is written.
///
/// The order that loses no wake: put the mail into the mailbox, *then* call [`Waker::wake`]; on the
/// other side [`prepare_park`](crate::net::Plane::prepare_park), *then* look into the mailbox.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    eventfd: File,
    parked: AtomicBool,
}

impl Waker {
    /// A new eventfd and nobody parked.
    pub(crate) fn new() -> io::Result<Waker> {
        let eventfd = File::from(socket::new_eventfd()?);
        Ok(Waker(Arc::new(Shared { eventfd, parked: AtomicBool::new(false) })))
    }

    /// Ends the parking of the plane, or prevents the one that is being prepared.
    pub fn wake(&self) {
        if self.0.parked.swap(false, Ordering::SeqCst) {
            // It fails only if the counter is at 2⁶⁴ − 2, and then the reader is awake anyway.
            let _ = (&self.0.eventfd).write(&1_u64.to_ne_bytes());
        }
    }

    /// From now on a wake writes.
    pub(super) fn set_parked(&self, parked: bool) {
        self.0.parked.store(parked, Ordering::SeqCst);
    }

    /// Blocks this thread until a wake comes, but no longer than `longest`; true if one came, which
    /// is thereby spent.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let is_readable = socket::wait_readable(self.borrow(), longest);
        // Nobody else reads meanwhile, so this does not block.
        is_readable && (&self.0.eventfd).read_exact(&mut [0; 8]).is_ok()
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.eventfd.as_raw_fd()
    }

    pub(super) fn borrow(&self) -> BorrowedFd<'_> {
        self.0.eventfd.as_fd()
    }

    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.borrow().try_clone_to_owned()
    }
}
