//! The floor of connects: accept, read, write, with as many round trips as the path measured.
//!
//! One ring and direct descriptors. The first request of a connection is answered with the same
//! 101, each of the others with a message of the size of a small reply; nothing is understood or
//! checked. After the last round trip a receive stays armed, to notice the end: a server that did
//! not would run out of sockets.

use std::io::{Error, Result, stdin};
use std::os::fd::AsRawFd as _;

use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::fanout::{RESPONSE, frame, listen};

/// Entries of one submission.
const BATCH: u32 = 1_024;
/// Of an upgrade request with a token in it.
const PIECE_BYTES: u32 = 1_024;
/// What stands for a reply: about as long as the answer to an authentication.
const REPLY_BYTES: usize = 32;
const ACCEPT: u64 = u64::MAX;
const SEND: u64 = u64::MAX - 1;

/// Runs until standard input ends.
pub(crate) fn run(connections: u32, port: u16) -> Result<()> {
    std::thread::Builder::new().spawn(|| {
        let _ = stdin().read_line(&mut String::new());
        std::process::exit(0);
    })?;
    let listener = listen(port)?;
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(connections.next_power_of_two().max(4 * BATCH))
        .build(BATCH)?;
    ring.submitter().register_files_sparse(connections)?;
    let count = usize::try_from(connections).map_err(Error::other)?;
    let (mut upgraded, mut completions) = (vec![false; count], Vec::new());
    // Nobody looks at what came: all may overwrite each other.
    let mut piece = [0_u8; PIECE_BYTES as usize];
    let reply = frame(REPLY_BYTES);
    let listening = Fd(listener.as_raw_fd());
    let accept = || {
        let accept = opcode::AcceptMulti::new(listening).allocate_file_index(true);
        accept.build().user_data(ACCEPT)
    };
    push(&mut ring, &accept())?;
    loop {
        ring.submit_and_wait(1)?;
        completions.extend(ring.completion());
        for completion in completions.drain(..) {
            let result = completion.result();
            let slot = match completion.user_data() {
                ACCEPT | SEND if result < 0 => return Err(Error::from_raw_os_error(-result)),
                ACCEPT => {
                    upgraded[result.unsigned_abs() as usize] = false;
                    if !cqueue::more(completion.flags()) {
                        push(&mut ring, &accept())?;
                    }
                    result.unsigned_abs()
                }
                slot => {
                    let slot = u32::try_from(slot).map_err(Error::other)?;
                    if result <= 0 {
                        push(&mut ring, &quiet(opcode::Close::new(Fixed(slot)).build()))?;
                        continue;
                    }
                    let upgraded = &mut upgraded[slot as usize];
                    let bytes = if *upgraded { reply.as_slice() } else { RESPONSE };
                    *upgraded = true;
                    let length = u32::try_from(bytes.len()).map_err(Error::other)?;
                    let send = opcode::Send::new(Fixed(slot), bytes.as_ptr(), length);
                    push(&mut ring, &quiet(send.flags(libc::MSG_NOSIGNAL).build()))?;
                    slot
                }
            };
            let receive = opcode::Recv::new(Fixed(slot), piece.as_mut_ptr(), PIECE_BYTES).build();
            push(&mut ring, &receive.user_data(u64::from(slot)))?;
        }
    }
}

/// Says something only if it fails.
fn quiet(entry: squeue::Entry) -> squeue::Entry {
    entry.user_data(SEND).flags(squeue::Flags::SKIP_SUCCESS)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<()> {
    if ring.submission().is_full() {
        ring.submit()?;
    }
    // SAFETY: what entries point to lives as long as the ring, and does not move.
    unsafe { ring.submission().push(entry) }.map_err(Error::other)
}
