//! Listening sockets: bound by the main thread before any shard runs, so that a port in use is
//! reported before anything has happened.
//!
//! All options that connections need are set here and inherited, because a direct descriptor
//! takes none on kernels before 6.7.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::net::socket;

/// How listeners are made.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Where to listen: `[::]` is all addresses of both families, any other address is itself only;
    /// peers that came by IPv4 are named so. Port 0 lets the kernel choose one, the same for all listeners.
    pub address: SocketAddr,
    /// Connections that may wait for being accepted, per listener; the kernel caps it at
    /// `net.core.somaxconn`.
    pub backlog: u32,
    /// `SO_SNDBUF`, bytes: what a reader that never reads can hold of the kernel's memory, about
    /// twice that. Nothing leaves it to the kernel.
    pub send_buffer_bytes: Option<u32>,
    /// `TCP_NOTSENT_LOWAT`, bytes: beyond this much unsent a socket is not writable, so what is not
    /// yet sent stays with us.
    pub unsent_bytes_max: u32,
    /// Steer each connection to the listener numbered like the CPU that received it. For hosts with
    /// one NIC queue per core; on loopback it would put everybody on the client's core.
    pub steer_by_cpu: bool,
    /// Listen although another gateway of the same user does, and share its newcomers until it stops.
    pub beside: bool,
}

impl ListenSettings {
    /// The defaults for an address: backlog 65,535, 64 KiB to send of which 16 KiB unsent.
    #[must_use]
    pub fn new(address: SocketAddr) -> ListenSettings {
        ListenSettings {
            address,
            backlog: 65_535,
            send_buffer_bytes: Some(64 * 1024),
            unsent_bytes_max: 16 * 1024,
            steer_by_cpu: false,
            beside: false,
        }
    }
}

/// Why a listener could not be made. The text names the address and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port is taken, perhaps by another gateway.
    #[error("{0} is already in use: stop the other process or choose another port")]
    InUse(SocketAddr),
    /// The host has no such address.
    #[error("this host has no address {}: choose one of its own, or 0.0.0.0 or [::] for all", .0.ip())]
    NoSuchAddress(SocketAddr),
    /// The port needs a privilege.
    #[error(
        "no permission to listen on {0}: choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE"
    )]
    Permission(SocketAddr),
    /// The kernel has no such family.
    #[error("this kernel has no support for the address family of {0} (is IPv6 disabled?)")]
    NoFamily(SocketAddr),
    /// An option was refused.
    #[error("setting {option} on the listener of {address} failed: {error}")]
    Option {
        /// Which one.
        option: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// Anything else.
    #[error("listening on {address} failed: {error}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// A socket that listens, not yet served by a plane. Clients that connect wait in its backlog.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: SocketAddr,
}

impl Listener {
    /// One listener for each of `count` planes, all on the same port (`SO_REUSEPORT`).
    ///
    /// # Errors
    /// See [`BindError`]. A port that another process listens on is refused even where
    /// `SO_REUSEPORT` would let the two share it, and each other's clients, unless `beside` is set.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn bind_all(settings: &ListenSettings, count: usize) -> Result<Vec<Listener>, BindError> {
        assert!(count > 0, "a gateway has at least one listener");
        if settings.address.port() != 0 && !settings.beside {
            let trial = new_socket(settings.address, false)?;
            trial.bind(&settings.address.into()).map_err(|error| named(settings.address, error))?;
        }
        let mut settings = settings.clone();
        let mut listeners = Vec::with_capacity(count);
        for _ in 0..count {
            let listener = Listener::bind(&settings)?;
            settings.address = listener.address;
            listeners.push(listener);
        }
        if settings.steer_by_cpu {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            socket::steer_by_cpu(listeners[0].socket.as_fd(), count).map_err(|error| {
                BindError::Option {
                    option: "SO_ATTACH_REUSEPORT_CBPF",
                    address: settings.address,
                    error,
                }
            })?;
        }
        Ok(listeners)
    }

    /// Where it listens, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn bind(settings: &ListenSettings) -> Result<Listener, BindError> {
        let address = settings.address;
        let socket = new_socket(address, true)?;
        let option = |option, result: io::Result<()>| {
            result.map_err(|error| BindError::Option { option, address, error })
        };
        option("TCP_NODELAY", socket.set_tcp_nodelay(true))?;
        option("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(settings.unsent_bytes_max))?;
        if let Some(bytes) = settings.send_buffer_bytes {
            option("SO_SNDBUF", socket.set_send_buffer_size(bytes as usize))?;
        }
        socket.bind(&address.into()).map_err(|error| named(address, error))?;
        let backlog = i32::try_from(settings.backlog).unwrap_or(i32::MAX);
        socket.listen(backlog).map_err(|error| named(address, error))?;
        let bound = socket.local_addr().map_err(|error| named(address, error))?;
        Ok(Listener { address: bound.as_socket().unwrap_or(address), socket })
    }

    /// Lets no further client begin to connect here: the kernel drops its first segment, and the next,
    /// after a second, finds another listener of the port, or none if this one is closed by then.
    /// Whoever has begun is let through.
    pub(super) fn pass_over_newcomers(&self) -> io::Result<()> {
        /// `BPF_LD | BPF_B | BPF_ABS`.
        const LOAD_BYTE: u16 = 0x30;
        /// `BPF_JMP | BPF_JSET | BPF_K`.
        const JUMP_IF_SET: u16 = 0x45;
        /// `BPF_RET | BPF_K`.
        const RETURN: u16 = 0x06;
        /// Where a segment has its flags (RFC 9293 §3.1): a filter of a TCP socket sees segments.
        const FLAGS: u32 = 13;
        const SYN: u32 = 0x02;
        self.socket.attach_filter(&[
            SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
            SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
        ])
    }

    #[cfg(test)]
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn new_socket(address: SocketAddr, shared_port: bool) -> Result<Socket, BindError> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(|error| named(address, error))?;
    let option = |option, result: io::Result<()>| {
        result.map_err(|error| BindError::Option { option, address, error })
    };
    option("SO_REUSEADDR", socket.set_reuse_address(true))?;
    if shared_port {
        option("SO_REUSEPORT", socket.set_reuse_port(true))?;
    }
    if address.is_ipv6() {
        // `[::]` means every address of the host, also where the host's default says otherwise.
        option("IPV6_V6ONLY", socket.set_only_v6(!address.ip().is_unspecified()))?;
    }
    Ok(socket)
}

fn named(address: SocketAddr, error: io::Error) -> BindError {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::InUse(address),
        Some(libc::EADDRNOTAVAIL) => BindError::NoSuchAddress(address),
        Some(libc::EACCES | libc::EPERM) => BindError::Permission(address),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => BindError::NoFamily(address),
        _ => BindError::Other { address, error },
    }
}
