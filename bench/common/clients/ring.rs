//! One io_uring of the clients: pushes, enters, completions.
//!
//! Receives and sends carry `MSG_DONTWAIT`: they end within the enter that submits them, so nothing
//! is borrowed by the kernel afterwards.

use std::io;

use io_uring::types::{DestinationSlot, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::common::problem::{Doing as _, Problem};

const SQ_ENTRIES: u32 = 256;
const CQ_ENTRIES: u32 = 4_096;
/// `IORING_ENTER_GETEVENTS`: run deferred work too.
const ENTER_GETEVENTS: u32 = 1;
/// Something to read, or an end; edges only (`EPOLLET`).
const EVENTS: u32 = libc::POLLIN as u32 | libc::POLLRDHUP as u32 | 1 << 31;

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Socket,
    Connect,
    Poll,
    Receive,
    Send,
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) operation: Operation,
    /// The client; of a receive, its place in the batch.
    pub(super) index: u32,
    pub(super) result: i32,
    pub(super) more: bool,
}

/// A ring with a table of direct descriptors.
pub(super) struct Ring(IoUring);

impl Ring {
    pub(super) fn new(slots: u32) -> Result<Ring, Problem> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)
            .doing("making an io_uring for the clients (`tidegate serve` says what is missing)")?;
        ring.submitter()
            .register_files_sparse(slots)
            .doing(format!("registering {slots} descriptors for the clients"))?;
        Ok(Ring(ring))
    }

    /// Whether an enter would do or bring anything.
    pub(super) fn has_news(&mut self) -> bool {
        let queue = self.0.submission();
        if !queue.is_empty() || queue.taskrun() || queue.cq_overflow() {
            return true;
        }
        drop(queue);
        !self.0.completion().is_empty()
    }

    pub(super) fn has_queued(&mut self) -> bool {
        !self.0.submission().is_empty()
    }

    /// Submits everything and runs some deferred work.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.enter_with(ENTER_GETEVENTS)
    }

    /// Submits everything.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.enter_with(0)
    }

    fn enter_with(&mut self, flags: u32) -> io::Result<()> {
        loop {
            let count = u32::try_from(self.0.submission().len()).unwrap_or(u32::MAX);
            // SAFETY: what entries point to is kept by those who push them; no argument is passed.
            let entered =
                unsafe { self.0.submitter().enter::<libc::sigset_t>(count, 0, flags, None) };
            match entered {
                Ok(_) if self.0.submission().is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what has completed into `completions`.
    pub(super) fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.extend(self.0.completion().filter_map(|entry| {
            let operation = match entry.user_data() >> 32 {
                0 => Operation::Socket,
                1 => Operation::Connect,
                2 => Operation::Poll,
                3 => Operation::Receive,
                _ => Operation::Send,
            };
            let index = u32::try_from(entry.user_data() & u64::from(u32::MAX)).ok()?;
            let more = cqueue::more(entry.flags());
            Some(Completion { operation, index, result: entry.result(), more })
        }));
    }

    /// Makes a socket in a slot and connects it; the address lives as long as the clients.
    pub(super) fn push_connect(&mut self, slot: u32, index: u32, address: &libc::sockaddr_in) {
        let Ok(target) = DestinationSlot::try_from_slot_target(slot) else {
            unreachable!("slots are far below the largest number of a slot");
        };
        let socket = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0)
            .file_index(Some(target))
            .build()
            .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS);
        let length = u32::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
        let address: *const libc::sockaddr_in = address;
        let connect = opcode::Connect::new(Fixed(slot), address.cast(), length).build();
        if self.room() < 2 {
            // Linked entries go to the kernel together. What fails here fails at the next enter too.
            let _ = self.submit();
        }
        // SAFETY: the address is part of `Clients`, which drops its rings first.
        unsafe {
            self.push(&socket.user_data(user_data(Operation::Socket, index)));
            self.push(&connect.user_data(user_data(Operation::Connect, index)));
        }
    }

    pub(super) fn push_poll(&mut self, slot: u32, index: u32) {
        let entry = opcode::PollAdd::new(Fixed(slot), EVENTS).multi(true).build();
        // SAFETY: the entry points nowhere.
        unsafe { self.push(&entry.user_data(user_data(Operation::Poll, index))) }
    }

    /// # Safety
    /// `piece` must be untouched until the ring was entered.
    pub(super) unsafe fn push_receive(&mut self, slot: u32, place: u32, piece: &mut [u8]) {
        let length = u32::try_from(piece.len()).unwrap_or(0);
        let entry = opcode::Recv::new(Fixed(slot), piece.as_mut_ptr(), length)
            .flags(libc::MSG_DONTWAIT)
            .build();
        // SAFETY: the caller's promise.
        unsafe { self.push(&entry.user_data(user_data(Operation::Receive, place))) }
    }

    /// # Safety
    /// `bytes` must be unchanged until the ring was entered.
    pub(super) unsafe fn push_send(&mut self, slot: u32, index: u32, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        let entry = opcode::Send::new(Fixed(slot), bytes.as_ptr(), length)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: the caller's promise.
        unsafe { self.push(&entry.user_data(user_data(Operation::Send, index))) }
    }

    /// Whether the next push would submit.
    pub(super) fn is_full(&mut self) -> bool {
        self.room() == 0
    }

    fn room(&mut self) -> usize {
        let queue = self.0.submission();
        queue.capacity() - queue.len()
    }

    /// # Safety
    /// What the entry points to must be valid until the kernel is done with it.
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        if self.room() == 0 {
            // What fails here fails at the next enter too, where it is reported.
            let _ = self.submit();
        }
        // SAFETY: the caller's promise.
        let pushed = unsafe { self.0.submission().push(entry) };
        assert!(pushed.is_ok(), "there is room after a submission");
    }
}

fn user_data(operation: Operation, index: u32) -> u64 {
    (operation as u64) << 32 | u64::from(index)
}
