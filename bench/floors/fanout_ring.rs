//! The floor of fan-out beyond the limit of descriptors, and of memory: io_uring on direct
//! descriptors.
//!
//! Each ring has a table of as many sockets as the process may have files, so several rings hold
//! more. Sends go to the kernel in batches, in slot order; they end within the call that submits
//! them. While nobody asks for a broadcast nothing is armed: what a connection costs then is the
//! kernel's own memory per socket.

use std::io::{BufRead as _, Error, Result, stdin};
use std::os::fd::AsRawFd as _;

use io_uring::types::{DestinationSlot, Fd, Fixed};
use io_uring::{IoUring, opcode, squeue};
use socket2::Socket;

use super::fanout::{RESPONSE, frame, listen, messages, say};

/// Sockets of a ring.
const SLOTS: u32 = 16_384;
/// Entries of one submission.
const BATCH: u32 = 1_024;
/// Upgrades under way at a time.
const UPGRADES: u32 = 64;
/// `IORING_ENTER_GETEVENTS`.
const GETEVENTS: u32 = 1;

/// Runs until standard input ends.
pub(crate) fn run(connections: u32, frame_bytes: usize, port: u16) -> Result<()> {
    let listener = listen(port)?;
    let mut rings = Vec::new();
    for first in (0..connections).step_by(SLOTS as usize) {
        let slots = SLOTS.min(connections - first);
        let mut ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(4 * BATCH)
            .build(BATCH)?;
        ring.submitter().register_files_sparse(slots)?;
        fill(&mut ring, slots, &listener)?;
        rings.push((ring, slots));
    }
    let frame = frame(frame_bytes);
    for line in stdin().lock().lines() {
        let bytes = frame.repeat(messages(&line?)?);
        for (ring, slots) in &mut rings {
            for first in (0..*slots).step_by(BATCH as usize) {
                send(ring, first..(first + BATCH).min(*slots), &bytes)?;
            }
        }
        say("done")?;
    }
    Ok(())
}

/// Sends to a batch of slots; every send ends within the one call.
fn send(ring: &mut IoUring, slots: std::ops::Range<u32>, bytes: &[u8]) -> Result<()> {
    let count = slots.end - slots.start;
    for slot in slots {
        let length = u32::try_from(bytes.len()).map_err(Error::other)?;
        let entry = opcode::Send::new(Fixed(slot), bytes.as_ptr(), length)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build();
        push(ring, &entry)?;
    }
    enter(ring, count, 0)?;
    let mut whole = 0;
    for completion in ring.completion() {
        whole += u32::from(usize::try_from(completion.result()) == Ok(bytes.len()));
    }
    if whole == count {
        Ok(())
    } else {
        Err(Error::other("the clients read too slowly: a send was short"))
    }
}

/// Accepts into all slots and answers every upgrade, some at a time.
fn fill(ring: &mut IoUring, slots: u32, listener: &Socket) -> Result<()> {
    // Requests come whole and are not looked at: all may overwrite each other.
    let mut request = [0_u8; 4_096];
    let (mut begun, mut done) = (0, 0);
    while done < slots {
        while begun < slots && begun - done < UPGRADES {
            let accept = opcode::Accept::new(
                Fd(listener.as_raw_fd()),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
            .file_index(Some(DestinationSlot::auto_target()));
            push(ring, &accept.build().user_data(u64::MAX))?;
            begun += 1;
        }
        let queued = u32::try_from(ring.submission().len()).map_err(Error::other)?;
        enter(ring, queued, 1)?;
        let completions: Vec<(u64, i32)> =
            ring.completion().map(|it| (it.user_data(), it.result())).collect();
        for (user_data, result) in completions {
            if result < 0 {
                return Err(Error::from_raw_os_error(-result));
            }
            if user_data != u64::MAX {
                done += 1;
                continue;
            }
            let slot = Fixed(result.unsigned_abs());
            let receive = opcode::Recv::new(slot, request.as_mut_ptr(), 4_096)
                .build()
                .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS);
            push(ring, &receive.user_data(0))?;
            let length = u32::try_from(RESPONSE.len()).map_err(Error::other)?;
            push(ring, &opcode::Send::new(slot, RESPONSE.as_ptr(), length).build())?;
        }
    }
    Ok(())
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<()> {
    // SAFETY: sends and receives point to memory that outlives the calls in which they end.
    unsafe { ring.submission().push(entry) }.map_err(Error::other)
}

fn enter(ring: &mut IoUring, count: u32, wait: u32) -> Result<()> {
    // SAFETY: as in `push`; no argument is passed.
    unsafe { ring.submitter().enter::<libc::sigset_t>(count, wait, GETEVENTS, None) }.map(drop)
}
