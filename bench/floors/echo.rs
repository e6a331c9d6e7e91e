//! The floor of answers: an io_uring echo.
//!
//! One ring, direct descriptors, a receive armed for every socket. What comes first is the upgrade
//! and is answered with the same 101; whatever comes then is a message, answered with as many bytes
//! as the gateway's reply has. Nothing is decoded, judged, looked up or recorded. All replies of a
//! turn and all receives that are armed again go to the kernel in one call, which waits for more.

use std::io::{Error, Result, stdin};
use std::os::fd::AsRawFd as _;

use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::Socket;

use super::fanout::{RESPONSE, frame, listen};

/// Entries of one submission.
const BATCH: u32 = 1_024;
/// Of an upgrade request, and more than a message has.
const PIECE_BYTES: u32 = 512;
/// User data of the accept; a receive has its slot.
const ACCEPT: u64 = u64::MAX;
/// User data of sends that failed; the others say nothing.
const SEND: u64 = u64::MAX - 1;

struct Echo {
    ring: IoUring,
    listener: Socket,
    pieces: Vec<[u8; PIECE_BYTES as usize]>,
    upgraded: Vec<bool>,
    reply: Vec<u8>,
}

/// Runs until standard input ends.
pub(crate) fn run(connections: u32, reply_bytes: usize, port: u16) -> Result<()> {
    std::thread::Builder::new().spawn(|| {
        let _ = stdin().read_line(&mut String::new());
        std::process::exit(0);
    })?;
    let listener = listen(port)?;
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(connections.next_power_of_two().max(4 * BATCH))
        .build(BATCH)?;
    ring.submitter().register_files_sparse(connections)?;
    let count = usize::try_from(connections).map_err(Error::other)?;
    let (pieces, upgraded) = (vec![[0; PIECE_BYTES as usize]; count], vec![false; count]);
    let mut echo = Echo { ring, listener, pieces, upgraded, reply: frame(reply_bytes) };
    echo.accept()?;
    let mut completions = Vec::new();
    loop {
        echo.ring.submit_and_wait(1)?;
        completions.extend(echo.ring.completion());
        for completion in completions.drain(..) {
            echo.complete(&completion)?;
        }
    }
}

impl Echo {
    fn complete(&mut self, completion: &cqueue::Entry) -> Result<()> {
        let result = completion.result();
        match completion.user_data() {
            ACCEPT if result < 0 => Err(Error::from_raw_os_error(-result)),
            ACCEPT => {
                self.upgraded[result.unsigned_abs() as usize] = false;
                self.receive(result.unsigned_abs())?;
                if cqueue::more(completion.flags()) { Ok(()) } else { self.accept() }
            }
            SEND => Err(Error::from_raw_os_error(-result)),
            slot => {
                let slot = u32::try_from(slot).map_err(Error::other)?;
                if result <= 0 {
                    return self.push(&opcode::Close::new(Fixed(slot)).build(), true);
                }
                let upgraded = &mut self.upgraded[slot as usize];
                let reply = if *upgraded { self.reply.as_slice() } else { RESPONSE };
                *upgraded = true;
                let length = u32::try_from(reply.len()).map_err(Error::other)?;
                let send = opcode::Send::new(Fixed(slot), reply.as_ptr(), length);
                self.push(&send.flags(libc::MSG_NOSIGNAL).build(), true)?;
                self.receive(slot)
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd()));
        let entry = accept.allocate_file_index(true).build().user_data(ACCEPT);
        self.push(&entry, false)
    }

    fn receive(&mut self, slot: u32) -> Result<()> {
        let piece = self.pieces[slot as usize].as_mut_ptr();
        let entry = opcode::Recv::new(Fixed(slot), piece, PIECE_BYTES).build();
        self.push(&entry.user_data(u64::from(slot)), false)
    }

    fn push(&mut self, entry: &squeue::Entry, quiet: bool) -> Result<()> {
        if self.ring.submission().is_full() {
            self.ring.submit()?;
        }
        let entry = entry.clone();
        let entry =
            if quiet { entry.user_data(SEND).flags(squeue::Flags::SKIP_SUCCESS) } else { entry };
        // SAFETY: what entries point to lives as long as the ring, and does not move.
        unsafe { self.ring.submission().push(&entry) }.map_err(Error::other)
    }
}
