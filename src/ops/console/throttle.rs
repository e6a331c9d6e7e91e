//! How often somebody may try to log in: by address, and by name over all addresses.
//!
//! Two tables of fixed size in which addresses and names have places by a keyed hash, so nothing grows
//! and names that exist are treated like those that don't. Each place is a rate with a burst (GCRA):
//! the time at which it would be empty again.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::base::entropy::Entropy;
use crate::base::time::Time;

/// Tries of an address at once, and the time that each takes to come back.
const ADDRESS_BURST: u32 = 10;
const ADDRESS_INTERVAL: Duration = Duration::from_secs(6);
/// Of a name over all addresses: more, so that a stranger cannot easily keep somebody out, and few
/// enough that no password of twelve letters is guessed.
const NAME_BURST: u32 = 60;
const NAME_INTERVAL: Duration = Duration::from_secs(2);
const PLACES: usize = 1_024;

/// Both tables.
#[derive(Debug)]
pub(super) struct Throttle {
    key: [u8; 16],
    addresses: Vec<Time>,
    names: Vec<Time>,
}

impl Throttle {
    /// Nobody has tried yet.
    #[must_use]
    pub(super) fn new(entropy: &mut dyn Entropy) -> Throttle {
        let mut key = [0; 16];
        entropy.fill(&mut key);
        Throttle { key, addresses: vec![Time::ZERO; PLACES], names: vec![Time::ZERO; PLACES] }
    }

    /// Counts a try.
    ///
    /// # Errors
    /// How long to wait; then it does not count.
    pub(super) fn take(&mut self, address: IpAddr, name: &str, now: Time) -> Result<(), Duration> {
        let (address, name) = (self.address_place(address), self.place(name.as_bytes()));
        let until = after(self.addresses[address], ADDRESS_BURST, ADDRESS_INTERVAL, now)?;
        self.names[name] = after(self.names[name], NAME_BURST, NAME_INTERVAL, now)?;
        self.addresses[address] = until;
        Ok(())
    }

    /// The try was good: it does not count.
    pub(super) fn give_back(&mut self, address: IpAddr, name: &str) {
        let (address, name) = (self.address_place(address), self.place(name.as_bytes()));
        self.addresses[address] = earlier(self.addresses[address], ADDRESS_INTERVAL);
        self.names[name] = earlier(self.names[name], NAME_INTERVAL);
    }

    /// All addresses of a network of 64 bits are one: whoever has one has all of them.
    fn address_place(&self, address: IpAddr) -> usize {
        match address.to_canonical() {
            IpAddr::V4(four) => self.place(&four.octets()),
            IpAddr::V6(six) => self.place(&six.octets()[..8]),
        }
    }

    fn place(&self, bytes: &[u8]) -> usize {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(bytes);
        usize::try_from(hasher.finish() % PLACES as u64).unwrap_or(0)
    }
}

/// When a place is empty again after one more try.
fn after(until: Time, burst: u32, interval: Duration, now: Time) -> Result<Time, Duration> {
    let next = until.max(now) + interval;
    let (ahead, most) = (next.since(now), interval * burst);
    if ahead > most { Err(ahead - most) } else { Ok(next) }
}

fn earlier(until: Time, interval: Duration) -> Time {
    Time::ZERO + until.since(Time::ZERO).saturating_sub(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_held_and_others_are_not() {
        let mut throttle = Throttle::new(&mut SeededEntropy::new(1, 1));
        let now = Time::from_millis(50_000);
        for _ in 0..ADDRESS_BURST {
            assert_eq!(throttle.take(ip("2001:db8::1"), "anna", now), Ok(()));
        }
        assert_eq!(throttle.take(ip("2001:db8::2"), "bob", now), Err(ADDRESS_INTERVAL));
        assert_eq!(throttle.take(ip("192.0.2.1"), "anna", now), Ok(()));
        throttle.give_back(ip("2001:db8::1"), "anna");
        assert_eq!(throttle.take(ip("2001:db8::1"), "anna", now), Ok(()));
        assert!(throttle.take(ip("2001:db8::1"), "anna", now).is_err());
        let later = now + ADDRESS_INTERVAL;
        assert_eq!(throttle.take(ip("2001:db8::1"), "anna", later), Ok(()));
    }

    #[test]
    fn a_name_is_held_over_all_addresses() {
        let mut throttle = Throttle::new(&mut SeededEntropy::new(1, 1));
        let now = Time::from_millis(1);
        let mut taken = 0;
        for host in 0..=255 {
            taken += u32::from(throttle.take(IpAddr::from([192, 0, 2, host]), "anna", now).is_ok());
        }
        assert_eq!(taken, NAME_BURST);
    }
}
