//! Addresses of peers: networks in CIDR form, and what counts as one client's address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU64;
use std::str::FromStr;

use thiserror::Error;

/// A network: an address and how many of its leading bits count (RFC 4632, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// The part before the slash.
    #[error("`{0}` is not an IP address; write for example 10.0.0.0/8 or 2001:db8::/32")]
    Address(String),
    /// The part behind it.
    #[error("`{text}` has no valid length behind the slash: 0 to {most}")]
    Length {
        /// The whole text.
        text: String,
        /// The most for this family.
        most: u8,
    },
    /// Bits behind the prefix are set, so that it is unclear what was meant.
    #[error("`{text}` has bits set behind its prefix; did you mean {network}?")]
    HostBits {
        /// The whole text.
        text: String,
        /// The network that it lies in.
        network: Network,
    },
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let wrong = || NetworkError::Length { text: text.to_owned(), most };
        let prefix_bits = length.map_or(Ok(most), |length| length.parse().map_err(|_| wrong()))?;
        if prefix_bits > most {
            return Err(wrong());
        }
        let network = Network { address: masked(address, prefix_bits), prefix_bits };
        if network.address != address {
            return Err(NetworkError::HostBits { text: text.to_owned(), network });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Network {
    /// Whether an address lies in the network. An IPv4 address that is written as IPv6 counts as
    /// what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && masked(address, self.prefix_bits) == self.address
    }

    /// Networks in a list that is parted by commas.
    ///
    /// # Errors
    /// The first that is none.
    pub fn list(text: &str) -> Result<Vec<Network>, NetworkError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect()
    }
}

fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
        }
    }
}

/// What counts as one address for limits, in 64 bits: an IPv4 address, or the leading bits of an
/// IPv6 address, of which a household or a server has 64 to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey(NonZeroU64);

/// What no address begins with: IPv4 is marked by it, and so is all that is zero.
const MARK: NonZeroU64 = NonZeroU64::new(1 << 32).expect("a bit is set");

impl AddressKey {
    /// The key of an address; `prefix_bits` of an IPv6 address count, at most 64.
    #[must_use]
    pub fn new(address: IpAddr, prefix_bits: u8) -> AddressKey {
        match address.to_canonical() {
            // No IPv6 address that is routed begins with 31 zero bits, so the two never meet.
            IpAddr::V4(address) => AddressKey(MARK | u64::from(u32::from(address))),
            IpAddr::V6(address) => {
                let leading = u64::try_from(u128::from(address) >> 64).unwrap_or(u64::MAX);
                let mask = u64::MAX.checked_shl(64 - u32::from(prefix_bits.min(64))).unwrap_or(0);
                AddressKey(NonZeroU64::new(leading & mask).unwrap_or(MARK))
            }
        }
    }

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_like_them() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "2001:db8::1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(network.contains(address), expected, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        let problem = |text: &str| Network::list(text).unwrap_err().to_string();
        assert!(problem("10.0.0.0/8, x/8").contains("`x` is not an IP address"));
        assert!(problem("10.0.0.0/33").contains("0 to 32"));
        assert!(problem("10.0.0.0/").contains("0 to 32"));
        assert!(problem("::/129").contains("0 to 128"));
        assert!(problem("10.1.0.0/8").contains("did you mean 10.0.0.0/8?"));
        assert_eq!(Network::list(" , ").unwrap(), []);
        assert_eq!(Network::list("10.0.0.0/8,::1").unwrap().len(), 2);
    }

    #[test]
    fn an_address_is_one_client_however_it_is_written() {
        let key = |address: &str, bits| AddressKey::new(address.parse().unwrap(), bits);
        assert_eq!(key("192.0.2.7", 64), key("::ffff:192.0.2.7", 64));
        assert_ne!(key("192.0.2.7", 64), key("192.0.2.8", 64));
        assert_eq!(key("2001:db8:1:2::3", 64), key("2001:db8:1:2:ffff::", 64));
        assert_ne!(key("2001:db8:1:2::3", 64), key("2001:db8:1:3::3", 64));
        assert_eq!(key("2001:db8:1:2::3", 48), key("2001:db8:1:ffff::", 48));
        assert_eq!(key("2001:db8:1:2::3", 0), key("fe80::1", 0));
    }
}
