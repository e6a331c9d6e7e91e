//! The few raw pieces of sockets that the safe crates don't offer: address buffers that the kernel
//! fills, steering of connections by CPU, an eventfd, the limit of open files.

use std::cell::UnsafeCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use socket2::{SockAddr, SockAddrStorage};

/// Room for the peer's address of one accept. The kernel writes into it while the accept is armed.
pub(super) struct AddressBuffer(Box<UnsafeCell<RawAddress>>);

struct RawAddress {
    storage: SockAddrStorage,
    length: libc::socklen_t,
}

impl AddressBuffer {
    /// An empty buffer.
    pub(super) fn new() -> AddressBuffer {
        let storage = SockAddrStorage::zeroed();
        let length = storage.size_of();
        AddressBuffer(Box::new(UnsafeCell::new(RawAddress { storage, length })))
    }

    /// Clears the buffer and says where it is. The pointers stay valid as long as the buffer.
    pub(super) fn arm(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        let raw = self.0.get_mut();
        raw.storage = SockAddrStorage::zeroed();
        raw.length = raw.storage.size_of();
        let raw = self.0.get();
        // SAFETY: `raw` points into the box; only addresses are taken, nothing is read.
        unsafe { ((&raw mut (*raw).storage).cast(), &raw mut (*raw).length) }
    }

    /// The address that a completed accept left; nothing if it is no IP address.
    pub(super) fn take(&mut self) -> Option<SocketAddr> {
        let raw = self.0.get_mut();
        let storage = std::mem::replace(&mut raw.storage, SockAddrStorage::zeroed());
        let length = raw.length.min(storage.size_of());
        // SAFETY: the storage was zeroed and then filled by the kernel, whose length is capped to
        // the size of the storage; every bit pattern is a valid `sockaddr_storage`.
        unsafe { SockAddr::new(storage, length) }.as_socket()
    }
}

/// Lets the kernel steer each new connection to the listener numbered like the CPU that received
/// it, modulo `listener_count`. The listeners of the group are numbered in the order in which they
/// began to listen (socket(7), `SO_ATTACH_REUSEPORT_CBPF`, Linux 4.5).
pub(super) fn steer_by_cpu(listener: BorrowedFd<'_>, listener_count: u32) -> io::Result<()> {
    /// `BPF_LD | BPF_W | BPF_ABS`.
    const LOAD_WORD: u16 = 0x20;
    /// `BPF_ALU | BPF_MOD | BPF_K`.
    const MODULO: u16 = 0x94;
    /// `BPF_RET | BPF_A`.
    const RETURN: u16 = 0x16;
    /// `SKF_AD_OFF + SKF_AD_CPU` (linux/filter.h): where "the CPU" is read from.
    const CPU: u32 = (-0x1000_i32 + 36).cast_unsigned();
    let mut code = [
        libc::sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: CPU },
        libc::sock_filter { code: MODULO, jt: 0, jf: 0, k: listener_count.max(1) },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 },
    ];
    let program = libc::sock_fprog { len: 3, filter: code.as_mut_ptr() };
    let length = u32::try_from(size_of::<libc::sock_fprog>()).unwrap_or(u32::MAX);
    // SAFETY: the program and its code live until the call returns; the kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the choice of the local port to connect, which needs to be unique only together with the
/// remote address (ip(7), `IP_BIND_ADDRESS_NO_PORT`; it applies to IPv6 sockets too).
pub(super) fn bind_without_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = u32::try_from(size_of::<libc::c_int>()).unwrap_or(u32::MAX);
    // SAFETY: the value lives until the call returns; the kernel copies it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An eventfd with counter 0, blocking, because a reader through io_uring shall wait.
pub fn new_eventfd() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let file = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Waits until a descriptor is readable, but no longer than `longest` (less than a second) or the
/// next signal; true if it is.
pub(super) fn wait_readable(file: BorrowedFd<'_>, longest: Duration) -> bool {
    let mut polled = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let longest = libc::timespec { tv_sec: 0, tv_nsec: i64::from(longest.subsec_nanos()) };
    // SAFETY: one entry and a time, both valid for the call; the signal mask may be left out.
    let count = unsafe { libc::ppoll(&raw mut polled, 1, &raw const longest, std::ptr::null()) };
    count == 1 && polled.revents & libc::POLLIN != 0
}

/// A resource limit of this process: soft and hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What applies.
    pub soft: u64,
    /// What the soft one may be raised to.
    pub hard: u64,
}

/// The resources that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `RLIMIT_NOFILE`.
    Files,
    /// `RLIMIT_MEMLOCK`, bytes.
    LockedMemory,
}

impl Resource {
    fn number(self) -> libc::__rlimit_resource_t {
        match self {
            Resource::Files => libc::RLIMIT_NOFILE,
            Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        }
    }

    /// Reads the limit.
    pub(super) fn read(self) -> io::Result<Limit> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for the call to write to.
        if unsafe { libc::getrlimit(self.number(), &raw mut limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
    }

    /// Raises the soft limit to the hard one and returns what applies then.
    pub(super) fn raise(self) -> io::Result<Limit> {
        let limit = self.read()?;
        if limit.soft >= limit.hard {
            return Ok(limit);
        }
        let wanted = libc::rlimit { rlim_cur: limit.hard, rlim_max: limit.hard };
        // SAFETY: `wanted` is valid for the call to read.
        if unsafe { libc::setrlimit(self.number(), &raw const wanted) } != 0 {
            return Err(io::Error::last_os_error());
        }
        self.read()
    }
}
