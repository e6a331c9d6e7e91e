//! Kernel memory of a server's own sockets: what is charged to each for what waits in it, as the
//! kernel tells by `sock_diag(7)`. Of the two ends of a loopback connection only the server's counts,
//! which `/proc/net/sockstat` does not tell apart.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::common::problem::{Doing as _, Problem};

/// linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/inet_diag.h: an attribute with the socket's memory.
const INET_DIAG_SKMEMINFO: u16 = 7;
/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`, and `struct inet_diag_msg`.
const REQUEST_BYTES: usize = 56;
const SOCKET_BYTES: usize = 72;
/// Of `struct inet_diag_msg`: the own port, in the order of the network.
const OWN_PORT_AT: usize = 4;
/// Of the numbers in the attribute (linux/sock_diag.h): received, forward allocated, queued to be
/// sent, and options.
const MEMORY_CHARGED: [usize; 4] = [0, 4, 5, 6];
/// An answer of the kernel's comes in pieces of at most so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes charged to all TCP sockets whose own port is `port`.
pub(crate) fn charged_bytes(port: u16) -> Result<u64, Problem> {
    ask(port).doing("asking the kernel for the memory of sockets (sock_diag)")
}

fn ask(port: u16) -> io::Result<u64> {
    // SAFETY: the call takes numbers only.
    let raw = unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_INET_DIAG)
    };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let request = request();
    // SAFETY: the bytes are valid for the call to read.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut piece, mut sum) = (vec![0_u8; PIECE_BYTES], 0);
    loop {
        // SAFETY: the buffer is valid for the call to write to.
        let length =
            unsafe { libc::recv(socket.as_raw_fd(), piece.as_mut_ptr().cast(), PIECE_BYTES, 0) };
        let Ok(length) = usize::try_from(length) else {
            return Err(io::Error::last_os_error());
        };
        if !take(&piece[..length], port, &mut sum)? {
            return Ok(sum);
        }
    }
}

/// Asks for all TCP sockets over IPv4, with their memory.
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    let length = u32::try_from(HEADER_BYTES + REQUEST_BYTES).unwrap_or(0);
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(u16::try_from(flags).unwrap_or(0).to_ne_bytes());
    bytes.extend([0; 8]);
    // Family, protocol, which attributes, padding; all states; any address and port.
    bytes.extend([2, 6, 1 << (INET_DIAG_SKMEMINFO - 1), 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.resize(HEADER_BYTES + REQUEST_BYTES, 0);
    bytes
}

/// Adds what a piece of the answer tells; false if it was the last one.
fn take(mut bytes: &[u8], port: u16, sum: &mut u64) -> io::Result<bool> {
    let short = || io::Error::other("the kernel's answer is cut off");
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).ok_or_else(short)? as usize;
        let kind = i32::from(u16_at(bytes, 4).ok_or_else(short)?);
        let message = bytes.get(HEADER_BYTES..length).ok_or_else(short)?;
        match kind {
            libc::NLMSG_DONE => return Ok(false),
            libc::NLMSG_ERROR => {
                let errno = u32_at(message, 0).map_or(0, u32::cast_signed);
                return Err(io::Error::from_raw_os_error(-errno));
            }
            _ => {}
        }
        let own = message.get(OWN_PORT_AT..OWN_PORT_AT + 2).ok_or_else(short)?;
        if own == port.to_be_bytes() {
            *sum += charged(message.get(SOCKET_BYTES..).unwrap_or_default());
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// What the attributes of a socket say that is charged to it.
fn charged(mut attributes: &[u8]) -> u64 {
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        if kind == INET_DIAG_SKMEMINFO {
            let number = |index: &usize| u32_at(attributes, 4 + index * 4).unwrap_or(0);
            return MEMORY_CHARGED.iter().map(|index| u64::from(number(index))).sum();
        }
        let next = length.max(4).next_multiple_of(4);
        attributes = attributes.get(next..).unwrap_or_default();
    }
    0
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_nobody_reads_is_charged_to_its_sender_and_its_receiver() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let receiver = listener.accept().unwrap().0;
        let before = charged_bytes(port).unwrap();
        sender.write_all(&[1; 10_000]).unwrap();
        let after = charged_bytes(port).unwrap();
        assert!(after >= before + 10_000, "{before} {after}");
        drop(receiver);
    }
}
