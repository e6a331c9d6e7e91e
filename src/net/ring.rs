//! A small honest wrapper around one io_uring: push, enter, reap, and what its flags say.
//!
//! Invariants: the ring is entered only by the thread that made it (`SINGLE_ISSUER`); when
//! [`Ring::submit`] returns the submission queue is empty, so nothing that was pushed before is read from
//! our memory by the kernel any more, except by operations that stay armed (accept). Absent on
//! purpose: sqpoll, linked operations, `IOSQE_ASYNC`, `IOSQE_IO_DRAIN` — they would break the
//! promise that a send or receive with `MSG_DONTWAIT` ends within the enter that submits it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::types::{DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

/// `IORING_ENTER_GETEVENTS`: run deferred task work and flush what overflowed.
const ENTER_GETEVENTS: u32 = 1;
/// `IORING_ENTER_EXT_ARG`: the argument is a `SubmitArgs`.
const ENTER_EXT_ARG: u32 = 1 << 3;
/// Tries of one submission that don't wait for the kernel to find memory; after them each waits.
const SUBMIT_TRIES_AT_ONCE: u32 = 100;
/// How long each of the later tries waits, and how many there are: ten seconds, in which a host
/// that is out of memory finds some or ends a process.
const SUBMIT_PAUSE: Duration = Duration::from_millis(1);
const SUBMIT_PAUSES_MAX: u32 = 10_000;
/// `EPOLLET`: report edges, not levels.
const EDGE: u32 = 1 << 31;
/// What a connection's poll waits for; errors and hang-ups are always reported (poll(2)).
const CONNECTION_EVENTS: u32 =
    libc::POLLIN as u32 | libc::POLLOUT as u32 | libc::POLLRDHUP as u32 | EDGE;

/// Events of a poll's result that mean: read.
pub(super) const EVENTS_READ: u32 = libc::POLLIN as u32 | libc::POLLPRI as u32 | EVENTS_END;
/// Events of a poll's result after which no further edge for reading may come.
pub(super) const EVENTS_END: u32 =
    libc::POLLRDHUP as u32 | libc::POLLHUP as u32 | libc::POLLERR as u32;
/// Events of a poll's result that mean: write.
pub(super) const EVENTS_WRITE: u32 = libc::POLLOUT as u32;

/// How a ring is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingSettings {
    /// Entries of the submission queue; a power of two.
    pub(super) sq_entries: u32,
    /// Entries of the completion queue; a power of two, not below `sq_entries`.
    pub(super) cq_entries: u32,
    /// Slots of the file table; 0 for none.
    pub(super) slots: u32,
}

/// Why a ring could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// `io_uring_setup` failed.
    #[error("io_uring_setup failed: {0} (`tidegate` names the cause at start; see net::probe)")]
    Setup(#[source] io::Error),
    /// The kernel lacks a feature that a ring cannot do without.
    #[error("this kernel's io_uring lacks {0}; run Linux 6.1 or newer")]
    Feature(&'static str),
    /// Registering the file table failed.
    #[error("a file table of {slots} slots was refused: {error} (it may not exceed RLIMIT_NOFILE)")]
    FileTable {
        /// Slots asked for.
        slots: u32,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// Registering the eventfd failed.
    #[error("registering the eventfd failed: {0}")]
    EventFd(#[source] io::Error),
}

/// A completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) result: i32,
    /// `IORING_CQE_F_MORE`: the operation stays armed.
    pub(super) more: bool,
}

/// One io_uring with a table of direct descriptors.
pub(super) struct Ring {
    ring: IoUring,
    /// The parking deadline; the kernel copies it when the entry is submitted.
    timespec: Box<Timespec>,
    enters: u64,
}

impl Ring {
    /// Makes a ring on this thread, with its eventfd kept silent.
    pub(super) fn new(settings: RingSettings, eventfd: BorrowedFd<'_>) -> Result<Ring, RingError> {
        let mut ring = Ring::bare(settings.sq_entries, settings.cq_entries)?;
        if settings.slots > 0 {
            ring.ring
                .submitter()
                .register_files_sparse(settings.slots)
                .map_err(|error| RingError::FileTable { slots: settings.slots, error })?;
        }
        ring.set_eventfd_enabled(false);
        ring.ring.submitter().register_eventfd(eventfd.as_raw_fd()).map_err(RingError::EventFd)?;
        Ok(ring)
    }

    /// A ring without files and eventfd: what the probe tries.
    pub(super) fn bare(sq_entries: u32, cq_entries: u32) -> Result<Ring, RingError> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(cq_entries)
            .dontfork()
            .build(sq_entries)
            .map_err(RingError::Setup)?;
        let parameters = ring.params();
        // Pushed pointers are dropped after submission, and overflown completions are kept.
        if !parameters.is_feature_submit_stable() {
            return Err(RingError::Feature("IORING_FEAT_SUBMIT_STABLE"));
        }
        if !parameters.is_feature_nodrop() {
            return Err(RingError::Feature("IORING_FEAT_NODROP"));
        }
        if !parameters.is_feature_ext_arg() {
            return Err(RingError::Feature("IORING_FEAT_EXT_ARG"));
        }
        Ok(Ring { ring, timespec: Box::new(Timespec::new()), enters: 0 })
    }

    /// Entries that can be pushed before the next [`Ring::submit`].
    pub(super) fn room(&mut self) -> usize {
        let queue = self.ring.submission();
        queue.capacity() - queue.len()
    }

    /// Whether nothing is queued, nothing has completed and nothing waits to be run: a moment at
    /// which the ring was *seen empty*.
    pub(super) fn is_quiet(&mut self) -> bool {
        let queue = self.ring.submission();
        if !queue.is_empty() || queue.taskrun() || queue.cq_overflow() {
            return false;
        }
        drop(queue);
        self.ring.completion().is_empty()
    }

    /// Whether entries wait for submission.
    pub(super) fn has_queued(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Whether deferred work waits to be run, or overflown completions to be flushed.
    pub(super) fn has_deferred(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Whether completions wait in the kernel because the queue was full.
    pub(super) fn is_overflown(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// System calls made since the last time this was asked.
    pub(super) fn take_enters(&mut self) -> u64 {
        std::mem::take(&mut self.enters)
    }

    /// Submits all that was pushed. Runs no deferred work unless the queue refuses to move.
    ///
    /// # Panics
    /// If the kernel does not take the entries within ten seconds: they point into memory of the
    /// caller, so there is no way on.
    pub(super) fn submit(&mut self) {
        for attempt in 0..SUBMIT_TRIES_AT_ONCE + SUBMIT_PAUSES_MAX {
            let queued = self.ring.submission().len();
            if queued == 0 {
                return;
            }
            if attempt >= SUBMIT_TRIES_AT_ONCE {
                pause();
            }
            self.enters += 1;
            let flags = if attempt == 0 { 0 } else { ENTER_GETEVENTS };
            let count = u32::try_from(queued).unwrap_or(u32::MAX);
            // SAFETY: all entries were pushed under the contract of `push`; no argument is passed.
            let entered =
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(count, 0, flags, None) };
            if let Err(error) = entered {
                check_retryable(&error);
            }
        }
        panic!("io_uring took no submission in ten seconds: the kernel is out of memory");
    }

    /// Completions that the kernel could not keep, since the ring was made: when the queue is full
    /// and there is no memory for the rest (`io_uring_enter` may say `EBADR`, or may not).
    pub(super) fn lost(&mut self) -> u32 {
        self.ring.completion().overflow()
    }

    /// Submits, runs deferred work and flushes overflown completions. With `many` above 0 as much
    /// as that many completions are produced by one call; it never waits for them.
    pub(super) fn collect(&mut self, many: u32) {
        let queued = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
        self.enters += 1;
        let entered = if many == 0 {
            // SAFETY: entries were pushed under the contract of `push`; no argument is passed.
            unsafe {
                self.ring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None)
            }
        } else {
            let zero = Timespec::from(Duration::ZERO);
            let arguments = SubmitArgs::new().timespec(&zero);
            let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
            // SAFETY: as above; the argument outlives the call and its flag is set.
            unsafe { self.ring.submitter().enter(queued, many, flags, Some(&arguments)) }
        };
        if let Err(error) = entered {
            check_retryable(&error);
        }
    }

    /// Moves all completions that are visible into `completions`.
    pub(super) fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.extend(self.ring.completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
        }));
    }

    /// Whether completions write to the eventfd.
    pub(super) fn set_eventfd_enabled(&mut self, enabled: bool) {
        let queue = self.ring.completion();
        if enabled {
            queue.enable_eventfd();
        } else {
            queue.disable_eventfd();
        }
    }

    /// Puts an ordinary file into a free slot; the ordinary descriptor may be closed afterwards.
    pub(super) fn install(&mut self, slot: u32, file: RawFd) -> io::Result<()> {
        self.ring.submitter().register_files_update(slot, &[file]).map(drop)
    }

    /// Which of `operations` this kernel does not know.
    pub(super) fn missing_operations<'a>(
        &self,
        operations: &[(u8, &'a str)],
    ) -> io::Result<Vec<&'a str>> {
        let mut probe = io_uring::Probe::new();
        self.ring.submitter().register_probe(&mut probe)?;
        Ok(operations
            .iter()
            .filter(|(code, _)| !probe.is_supported(*code))
            .map(|(_, name)| *name)
            .collect())
    }

    /// Arms the poll of a connection.
    pub(super) fn push_poll(&mut self, slot: u32, user_data: u64) {
        let entry = opcode::PollAdd::new(Fixed(slot), CONNECTION_EVENTS).multi(true).build();
        // SAFETY: the entry points nowhere.
        unsafe { self.push(&entry.user_data(user_data)) }
    }

    /// Cancels the operation with that user data; only a failure completes.
    pub(super) fn push_cancel(&mut self, target: u64, user_data: u64) {
        let entry = opcode::AsyncCancel::new(target)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data);
        // SAFETY: the entry points nowhere.
        unsafe { self.push(&entry) }
    }

    /// Closes a direct descriptor.
    pub(super) fn push_close(&mut self, slot: u32, user_data: u64) {
        let entry = opcode::Close::new(Fixed(slot)).build().user_data(user_data);
        // SAFETY: the entry points nowhere.
        unsafe { self.push(&entry) }
    }

    /// Sets the parking deadline, `after` from now, or moves it if one is `armed`. Submits.
    pub(super) fn set_timer(&mut self, after: Duration, armed: Option<u64>, user_data: u64) {
        *self.timespec = Timespec::from(after);
        let timespec: *const Timespec = &raw const *self.timespec;
        let entry = match armed {
            None => opcode::Timeout::new(timespec).build(),
            Some(timer) => opcode::TimeoutUpdate::new(timer, timespec)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS),
        };
        // SAFETY: the kernel copies the time when the entry is submitted, which is done here
        // before the time can change (IORING_FEAT_SUBMIT_STABLE).
        unsafe { self.push(&entry.user_data(user_data)) }
        self.submit();
    }

    /// Arms a one-shot accept into an automatic slot.
    ///
    /// # Safety
    /// `address` and `length` must stay valid and untouched until the accept has completed or the
    /// ring is gone.
    pub(super) unsafe fn push_accept(
        &mut self,
        listener: RawFd,
        address: *mut libc::sockaddr,
        length: *mut libc::socklen_t,
        user_data: u64,
    ) {
        let entry = opcode::Accept::new(Fd(listener), address, length)
            .file_index(Some(DestinationSlot::auto_target()))
            .build();
        // SAFETY: the caller keeps what the entry points to.
        unsafe { self.push(&entry.user_data(user_data)) }
    }

    /// Connects the socket in a slot.
    ///
    /// # Safety
    /// `address` must be valid until [`Ring::submit`] has returned.
    pub(super) unsafe fn push_connect(
        &mut self,
        slot: u32,
        address: *const libc::sockaddr,
        length: libc::socklen_t,
        user_data: u64,
    ) {
        let entry = opcode::Connect::new(Fixed(slot), address, length).build();
        // SAFETY: the caller keeps what the entry points to.
        unsafe { self.push(&entry.user_data(user_data)) }
    }

    /// Receives what is there.
    ///
    /// # Safety
    /// `bytes` must stay valid and unused by others until [`Ring::submit`] has returned.
    pub(super) unsafe fn push_receive(&mut self, slot: u32, bytes: &mut [u8], user_data: u64) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Recv::new(Fixed(slot), bytes.as_mut_ptr(), length)
            .flags(libc::MSG_DONTWAIT)
            .build();
        // SAFETY: the caller keeps what the entry points to; `MSG_DONTWAIT` ends it in the enter.
        unsafe { self.push(&entry.user_data(user_data)) }
    }

    /// Discards up to `bytes.len()` bytes of input (tcp(7): `MSG_TRUNC` copies nothing).
    ///
    /// # Safety
    /// As for [`Ring::push_receive`].
    pub(super) unsafe fn push_discard(&mut self, slot: u32, bytes: &mut [u8], user_data: u64) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Recv::new(Fixed(slot), bytes.as_mut_ptr(), length)
            .flags(libc::MSG_DONTWAIT | libc::MSG_TRUNC)
            .build();
        // SAFETY: the caller keeps what the entry points to; `MSG_DONTWAIT` ends it in the enter.
        unsafe { self.push(&entry.user_data(user_data)) }
    }

    /// Sends what the socket takes.
    ///
    /// # Safety
    /// `bytes` must stay valid and unchanged until [`Ring::submit`] has returned.
    pub(super) unsafe fn push_send(&mut self, slot: u32, bytes: &[u8], user_data: u64) {
        // SAFETY: the caller keeps what the entry points to; `MSG_DONTWAIT` ends it in the enter.
        unsafe { self.push(&send_entry(slot, bytes, user_data)) }
    }

    /// Like [`Ring::push_send`] for many, looking at the kernel's side of the queue once.
    ///
    /// # Safety
    /// As for [`Ring::push_send`], for all.
    pub(super) unsafe fn push_sends<'a>(
        &mut self,
        sends: impl Iterator<Item = (u32, &'a [u8], u64)>,
    ) {
        let mut queue = self.ring.submission();
        for (slot, bytes, user_data) in sends {
            let entry = send_entry(slot, bytes, user_data);
            // SAFETY: the caller keeps what the entries point to.
            if unsafe { queue.push(&entry) }.is_err() {
                drop(queue);
                // SAFETY: as above.
                unsafe { self.push(&entry) }
                queue = self.ring.submission();
            }
        }
    }

    /// Makes the next close of the socket in `slot` a reset (`SO_LINGER` 0). Kernels before 6.7
    /// don't know the operation; then the close is an ordinary one.
    pub(super) fn push_linger_zero(&mut self, slot: u32, user_data: u64) {
        static LINGER: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let length = u32::try_from(size_of::<libc::linger>()).unwrap_or(u32::MAX);
        let entry = opcode::SetSockOpt::new(
            Fixed(slot),
            libc::SOL_SOCKET.cast_unsigned(),
            libc::SO_LINGER.cast_unsigned(),
            (&raw const LINGER).cast(),
            length,
        )
        .build();
        // SAFETY: the entry points to a static.
        unsafe { self.push(&entry.user_data(user_data)) }
    }

    /// Queues an entry; submits what is queued if there is no room.
    ///
    /// # Safety
    /// What the entry points to must be valid until the kernel is done with it.
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        if self.ring.submission().is_full() {
            self.submit();
        }
        // SAFETY: the caller's promise.
        let pushed = unsafe { self.ring.submission().push(entry) };
        assert!(pushed.is_ok(), "a submission queue has room after a submission");
    }
}

fn send_entry(slot: u32, bytes: &[u8], user_data: u64) -> squeue::Entry {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    opcode::Send::new(Fixed(slot), bytes.as_ptr(), length)
        .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        .build()
        .user_data(user_data)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel has no memory for what was pushed, and nothing else can be done meanwhile"
)]
fn pause() {
    std::thread::sleep(SUBMIT_PAUSE);
}

/// Lets pass errors of `io_uring_enter` after which the same call may succeed. `EBADR` tells of
/// completions that were lost: see [`Ring::lost`].
///
/// # Panics
/// On any other: then the ring, or what we ask of it, is broken.
fn check_retryable(error: &io::Error) {
    let code = error.raw_os_error().unwrap_or(0);
    let known = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ETIME, libc::ENOMEM, libc::EBADR];
    assert!(known.contains(&code), "io_uring_enter failed for good: {error}");
}
