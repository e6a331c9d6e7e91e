//! Connecting: an ordinary socket, with its options, moved into a slot and connected there.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Bank, Lifecycle, Plane, RingUse};
use crate::base::ids::ConnId;
use crate::net::places::Flags;
use crate::net::ring::RingError;
use crate::net::socket;
use crate::net::user_data::{self, Operation};

/// Why a connect could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// All slots of all rings are taken.
    #[error("this plane holds as many connections as it may: {0}")]
    Full(u64),
    /// Another ring was needed and could not be made.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The socket could not be made or bound.
    #[error("{step} for a connection to {remote} failed: {error}")]
    Socket {
        /// Which call.
        step: &'static str,
        /// Where to.
        remote: SocketAddr,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

impl Plane {
    /// Begins to connect to `remote`, from `local` if given (port 0: any). `Connected` or
    /// `ConnectFailed` follows, and in either case the caller closes the connection one day. How
    /// long it may take is for the kernel, or for a caller that closes earlier.
    ///
    /// # Errors
    /// No room, or what the kernel refused at once.
    pub fn connect(
        &mut self,
        remote: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Result<ConnId, ConnectError> {
        let (bank, slot) = self.free_slot()?;
        let prepared = prepare(remote, local).and_then(|socket| {
            let installed = self.banks[bank].ring.install(slot, socket.as_raw_fd());
            installed.map_err(|error| ("putting the socket into its slot", error))
        });
        let Bank { ring, places, freed, used, .. } = &mut self.banks[bank];
        if let Err((step, error)) = prepared {
            freed.push(slot);
            return Err(ConnectError::Socket { step, remote, error });
        }
        let place = places.get_mut(slot);
        let generation = place.open();
        place.set(Flags::CONNECTING);
        *used += 1;
        self.counters.connects += 1;
        let address = SockAddr::from(remote);
        let user_data = user_data::encode(Operation::Connect, generation, slot);
        // SAFETY: the address lives until the next line has submitted it; then the kernel has a
        // copy (IORING_FEAT_SUBMIT_STABLE).
        unsafe { ring.push_connect(slot, address.as_ptr().cast(), address.len(), user_data) }
        ring.submit();
        Ok(self.conn(bank, slot, generation))
    }

    /// A slot of a ring for connects.
    fn free_slot(&mut self) -> Result<(usize, u32), ConnectError> {
        let slots = self.settings.slots_per_ring;
        // A listener's first ring is left to it.
        let listens = self.acceptor.is_some();
        let usable = |bank: &Bank| match bank.usage {
            RingUse::Accepts => false,
            RingUse::Free => !listens,
            RingUse::Connects => !bank.freed.is_empty() || bank.unused_from < slots,
        };
        let found = match self.banks.iter().position(usable) {
            Some(bank) => bank,
            None => self.add_ring()?.ok_or(ConnectError::Full(self.slots_used()))?,
        };
        let bank = &mut self.banks[found];
        bank.usage = RingUse::Connects;
        let slot = bank.freed.pop().unwrap_or_else(|| {
            bank.unused_from += 1;
            bank.unused_from - 1
        });
        Ok((found, slot))
    }

    pub(super) fn on_connect(&mut self, bank: usize, slot: u32, generation: u32, result: i32) {
        let conn = self.conn(bank, slot, generation);
        let Some((_, _, place)) = self.live(conn) else {
            self.counters.stale_completions += 1;
            return;
        };
        place.clear(Flags::CONNECTING);
        if result == 0 {
            self.arm_poll(bank, slot, generation);
            self.lifecycle.push_back(Lifecycle::Connected(conn));
        } else {
            place.set(Flags::ENDED);
            self.counters.connect_errors += 1;
            self.lifecycle.push_back(Lifecycle::ConnectFailed(conn, -result));
        }
    }
}

fn prepare(
    remote: SocketAddr,
    local: Option<SocketAddr>,
) -> Result<Socket, (&'static str, io::Error)> {
    let domain = Domain::for_address(remote);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
        .map_err(|error| ("making a socket", error))?;
    socket.set_tcp_nodelay(true).map_err(|error| ("setting TCP_NODELAY", error))?;
    if let Some(local) = local {
        socket::bind_without_port(socket.as_fd())
            .map_err(|error| ("setting IP_BIND_ADDRESS_NO_PORT", error))?;
        socket.bind(&local.into()).map_err(|error| ("binding the local address", error))?;
    }
    Ok(socket)
}
