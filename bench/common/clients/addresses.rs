//! Where clients connect to: one port on many loopback addresses, because each address has only as
//! many connections as there are local ports.

/// Connections to one address: far below the number of ports, so that the kernel finds a free one
/// at once.
const CONNECTIONS_PER_ADDRESS: u32 = 4_000;

/// Addresses in 127.1.0.0/16.
pub(super) struct Addresses(Box<[libc::sockaddr_in]>);

impl Addresses {
    /// Enough for so many connections.
    pub(super) fn new(port: u16, connections: u32) -> Addresses {
        const FAMILY: libc::sa_family_t = 2; // AF_INET
        let count = connections.div_ceil(CONNECTIONS_PER_ADDRESS).max(1);
        let address = |number: u32| libc::sockaddr_in {
            sin_family: FAMILY,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr { s_addr: (0x7F01_0001_u32 + number).to_be() },
            sin_zero: [0; 8],
        };
        Addresses((0..count).map(address).collect())
    }

    /// That of one connection; it does not move.
    pub(super) fn of(&self, index: u32) -> &libc::sockaddr_in {
        &self.0[index as usize % self.0.len()]
    }
}
