//! The PROXY protocol, version 2: what a load balancer says before the client's first byte.
//!
//! "The PROXY protocol, versions 1 & 2" (HAProxy, 2020), §2.2: a signature of 12 bytes, version and
//! command, family and transport, the length of the rest in two bytes, addresses, and then TLVs,
//! which are skipped. [`parse`] is given all bytes that came so far; the result depends on the bytes
//! alone, not on how they were cut. Deliberately absent: version 1 (it is text without a length, and
//! every balancer speaks 2), Unix sockets, datagrams, and guessing whether there is a header: the
//! caller knows from whom one must come (§2, "MUST not try to guess").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Bytes of a whole header that are taken at most, TLVs included: those that are defined, with a
/// client certificate's name, take a few hundred.
pub const HEADER_BYTES_MAX: usize = 2_048;

/// §2.2: it cannot begin a request of HTTP or TLS.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
/// What version 1 begins with.
const VERSION_1: &[u8] = b"PROXY ";

/// How far a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Not complete: come again with more bytes.
    Incomplete,
    /// Complete. What stands behind `consumed` bytes is the client's.
    Header {
        /// Bytes of the header.
        consumed: usize,
        /// Where the client is. Nothing if the balancer speaks for itself (a health check, §2.2
        /// LOCAL) or does not know.
        client: Option<SocketAddr>,
    },
}

/// Why bytes are no header. The connection is closed without an answer: there is nobody to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// The text form.
    #[error("it speaks version 1 of the PROXY protocol: set it to send-proxy-v2")]
    Version1,
    /// No header at all.
    #[error("no PROXY header came, although the address is trusted to send one")]
    Missing,
    /// Another version than 2.
    #[error("version {0} of the PROXY protocol is not known; 2 is")]
    Version(u8),
    /// Another command than LOCAL and PROXY.
    #[error("the PROXY header has the command {0}, which is not defined")]
    Command(u8),
    /// An address family or transport that is not defined.
    #[error("the PROXY header has the family and transport {0:#04x}, which are not defined")]
    Family(u8),
    /// Datagrams.
    #[error("the PROXY header speaks of datagrams on a stream")]
    Datagram,
    /// Fewer bytes than the addresses of the family need.
    #[error("the PROXY header announces {bytes} bytes, too few for its addresses")]
    Short {
        /// Bytes that are announced.
        bytes: usize,
    },
    /// More bytes than are taken.
    #[error("the PROXY header announces {bytes} bytes, more than {HEADER_BYTES_MAX}")]
    Long {
        /// Bytes of the whole header.
        bytes: usize,
    },
}

/// Looks at the bytes that came so far from a balancer.
///
/// # Errors
/// When they begin no header of version 2, as soon as that is known.
pub fn parse(bytes: &[u8]) -> Result<Proxy, ProxyError> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        let is_text = bytes.len() >= VERSION_1.len() && bytes.starts_with(VERSION_1);
        let may_be_text = bytes.len() < VERSION_1.len() && VERSION_1.starts_with(bytes);
        return match (is_text, may_be_text) {
            (true, _) => Err(ProxyError::Version1),
            (_, true) => Ok(Proxy::Incomplete),
            _ => Err(ProxyError::Missing),
        };
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(Proxy::Incomplete);
    };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0x0f);
    if version != 2 {
        return Err(ProxyError::Version(version));
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let consumed = FIXED_BYTES + length;
    if consumed > HEADER_BYTES_MAX {
        return Err(ProxyError::Long { bytes: consumed });
    }
    let address_bytes = match (command, fixed[13]) {
        // §2.2 LOCAL: "the receiver must accept this connection as valid and must use the real
        // connection endpoints and discard the protocol block including the family".
        (0, _) => 0,
        (1, 0x00 | 0x31) => 0,
        (1, 0x11) => 12,
        (1, 0x21) => 36,
        (1, 0x12 | 0x22 | 0x32) => return Err(ProxyError::Datagram),
        (1, family) => return Err(ProxyError::Family(family)),
        (command, _) => return Err(ProxyError::Command(command)),
    };
    if length < address_bytes {
        return Err(ProxyError::Short { bytes: length });
    }
    let Some(block) = bytes.get(FIXED_BYTES..consumed) else {
        return Ok(Proxy::Incomplete);
    };
    Ok(Proxy::Header { consumed, client: client(address_bytes, block) })
}

/// The source address of a block: source and destination, then both ports.
fn client(address_bytes: usize, block: &[u8]) -> Option<SocketAddr> {
    let (address, ports): (IpAddr, &[u8]) = match address_bytes {
        12 => (Ipv4Addr::from(*block.first_chunk::<4>()?).into(), &block[8..]),
        36 => (Ipv6Addr::from(*block.first_chunk::<16>()?).into(), &block[32..]),
        _ => return None,
    };
    let port = u16::from_be_bytes(*ports.first_chunk::<2>()?);
    Some(SocketAddr::new(address.to_canonical(), port))
}

/// A header as a balancer sends it for a connection between two addresses of one family; for our
/// own clients and tests.
///
/// # Panics
/// If the families differ.
#[must_use]
pub fn header(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    match (client.ip(), server.ip()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            bytes.extend_from_slice(&[0x21, 0x11, 0, 12]);
            bytes.extend_from_slice(&client.octets());
            bytes.extend_from_slice(&server.octets());
        }
        (IpAddr::V6(client), IpAddr::V6(server)) => {
            bytes.extend_from_slice(&[0x21, 0x21, 0, 36]);
            bytes.extend_from_slice(&client.octets());
            bytes.extend_from_slice(&server.octets());
        }
        _ => panic!("both addresses are of one family"),
    }
    bytes.extend_from_slice(&client.port().to_be_bytes());
    bytes.extend_from_slice(&server.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signature, version and command, family, length of what follows, and that.
    fn block(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[version, family]);
        bytes.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    fn found(consumed: usize, client: Option<&str>) -> Result<Proxy, ProxyError> {
        let client = client.map(|client| client.parse().unwrap());
        Ok(Proxy::Header { consumed, client })
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0xd4, 0x31, 0x01, 0xbb];

    fn v6(client: &str) -> Vec<u8> {
        let client: Ipv6Addr = client.parse().unwrap();
        let mut bytes = client.octets().to_vec();
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&[0x1f, 0x90, 0, 1]);
        bytes
    }

    #[test]
    fn headers_and_what_they_say() {
        let with_tlvs = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let mapped = v6("::ffff:203.0.113.7");
        for (bytes, expected) in [
            (block(0x21, 0x11, &V4), found(28, Some("203.0.113.7:54321"))),
            (block(0x21, 0x11, &with_tlvs), found(34, Some("203.0.113.7:54321"))),
            (block(0x21, 0x21, &v6("2001:db8::7")), found(52, Some("[2001:db8::7]:8080"))),
            (block(0x21, 0x21, &mapped), found(52, Some("203.0.113.7:8080"))),
            (block(0x20, 0x00, &[]), found(16, None)),
            (block(0x20, 0x11, &V4), found(28, None)),
            (block(0x20, 0xff, &[1, 2]), found(18, None)),
            (block(0x21, 0x00, &[1, 2, 3]), found(19, None)),
            (block(0x21, 0x31, &[0; 216]), found(232, None)),
            (block(0x21, 0x11, &V4[..11]), Err(ProxyError::Short { bytes: 11 })),
            (block(0x21, 0x21, &V4), Err(ProxyError::Short { bytes: 12 })),
            (block(0x21, 0x12, &V4), Err(ProxyError::Datagram)),
            (block(0x21, 0x13, &V4), Err(ProxyError::Family(0x13))),
            (block(0x21, 0x41, &V4), Err(ProxyError::Family(0x41))),
            (block(0x22, 0x11, &V4), Err(ProxyError::Command(2))),
            (block(0x11, 0x11, &V4), Err(ProxyError::Version(1))),
            (block(0x21, 0x11, &[0; 2_032]), found(2_048, Some("0.0.0.0:0"))),
            (block(0x21, 0x11, &[0; 2_033]), Err(ProxyError::Long { bytes: 2_049 })),
            (b"PROXY TCP4 203.0.113.7".to_vec(), Err(ProxyError::Version1)),
            (b"PROX".to_vec(), Ok(Proxy::Incomplete)),
            (b"GET /ws HTTP/1.1\r\n".to_vec(), Err(ProxyError::Missing)),
            (b"P".to_vec(), Ok(Proxy::Incomplete)),
            (b"POST".to_vec(), Err(ProxyError::Missing)),
            (b"\r\n\r\nGET".to_vec(), Err(ProxyError::Missing)),
            (Vec::new(), Ok(Proxy::Incomplete)),
        ] {
            assert_eq!(parse(&bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_header_may_come_split_or_with_what_follows() {
        let client = "203.0.113.7:54321".parse().unwrap();
        let mut bytes = header(client, "10.0.0.1:443".parse().unwrap());
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), Ok(Proxy::Incomplete), "{length}");
        }
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(parse(&bytes), Ok(Proxy::Header { consumed: 28, client: Some(client) }));
    }

    #[test]
    fn what_is_long_is_refused_before_it_comes() {
        let mut bytes = block(0x21, 0x11, &V4);
        bytes[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(parse(&bytes[..16]), Err(ProxyError::Long { bytes: 65_551 }));
    }

    #[test]
    fn what_we_write_we_read() {
        for (client, server) in
            [("192.0.2.1:1", "192.0.2.2:2"), ("[2001:db8::1]:65535", "[2001:db8::2]:2")]
        {
            let client = client.parse().unwrap();
            let bytes = header(client, server.parse().unwrap());
            let consumed = bytes.len();
            assert_eq!(parse(&bytes), Ok(Proxy::Header { consumed, client: Some(client) }));
        }
    }
}
