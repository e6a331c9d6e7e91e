//! Who may connect: how many from one address, how often from it, and how often in all.
//!
//! The kernel spreads one address's connections over all shards, so a share for each shard would
//! refuse some too early, and counts that travel as mail would come too late to refuse anybody. So
//! this is the one table that shards share. It is touched once when a connection comes and once
//! when it goes, never for a message: a stripe's lock is held for a look-up, some 100 ns, and there
//! are many more stripes than shards. An address is in it while it has connections, and for a second
//! after it connected last.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[expect(clippy::disallowed_types, reason = "see the module: not on the way of any message")]
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::addresses::AddressKey;
use crate::base::time::Time;
use crate::wire::upgrade::UpgradeError;

/// Locks of the table.
const STRIPES: usize = 1_024;
/// Who has not connected for so long has its whole rate again.
const BURST: Duration = Duration::from_secs(1);
/// Addresses without connections that a stripe keeps before it looks which it may forget.
const LEFT_MIN: usize = 32;

/// Limits on connecting; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// Connections of one address.
    pub connections_per_address_max: u32,
    /// Connects of one address within a second.
    pub connects_per_address_per_second_max: u32,
    /// Connects of all within a second.
    pub connects_per_second_max: u32,
    /// Leading bits of an IPv6 address that count as one address.
    pub ipv6_prefix_bits: u8,
    /// Count and log who would be refused, and refuse nobody.
    pub is_dry_run: bool,
}

impl Default for GateSettings {
    /// No limits.
    fn default() -> GateSettings {
        GateSettings {
            connections_per_address_max: 0,
            connects_per_address_per_second_max: 0,
            connects_per_second_max: 0,
            ipv6_prefix_bits: 64,
            is_dry_run: false,
        }
    }
}

impl GateSettings {
    /// Whether anything is limited.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.counts_addresses() || self.connects_per_second_max > 0
    }

    /// Whether addresses are counted.
    #[must_use]
    pub fn counts_addresses(&self) -> bool {
        self.connections_per_address_max > 0 || self.connects_per_address_per_second_max > 0
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The address has as many connections as one may have.
    AddressFull,
    /// The address connects too often.
    AddressRate,
    /// Too many connect.
    Rate,
}

impl Refusal {
    /// All, in the order of their counters.
    pub(crate) const ALL: [Refusal; 3] =
        [Refusal::AddressFull, Refusal::AddressRate, Refusal::Rate];

    /// A word for logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Refusal::AddressFull => "connections of the address",
            Refusal::AddressRate => "connects of the address",
            Refusal::Rate => "connects",
        }
    }

    /// What the client is told.
    pub(crate) fn error(self) -> UpgradeError {
        match self {
            Refusal::AddressFull => UpgradeError::TooManyConnections,
            Refusal::AddressRate => UpgradeError::TooManyConnects,
            Refusal::Rate => UpgradeError::Crowded,
        }
    }
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    connections: u32,
    /// When it would have connected last had it kept to its rate (a leaky bucket in one number).
    paid_until: Time,
}

#[derive(Default)]
struct Stripe {
    held: BTreeMap<AddressKey, Held>,
    /// How many had no connection when they were last looked at.
    left: usize,
}

/// Limits that may change while people come: each is read by itself.
struct Limits {
    connections_per_address_max: AtomicU32,
    connects_per_address_per_second_max: AtomicU32,
    connects_per_second_max: AtomicU32,
    is_dry_run: AtomicBool,
}

impl Limits {
    fn new(settings: &GateSettings) -> Limits {
        Limits {
            connections_per_address_max: settings.connections_per_address_max.into(),
            connects_per_address_per_second_max: settings
                .connects_per_address_per_second_max
                .into(),
            connects_per_second_max: settings.connects_per_second_max.into(),
            is_dry_run: settings.is_dry_run.into(),
        }
    }

    fn set(&self, settings: &GateSettings) {
        let numbers = [
            (&self.connections_per_address_max, settings.connections_per_address_max),
            (
                &self.connects_per_address_per_second_max,
                settings.connects_per_address_per_second_max,
            ),
            (&self.connects_per_second_max, settings.connects_per_second_max),
        ];
        for (limit, number) in numbers {
            limit.store(number, Ordering::Relaxed);
        }
        self.is_dry_run.store(settings.is_dry_run, Ordering::Relaxed);
    }
}

/// The table of addresses, shared by the shards of a process.
pub(crate) struct Gate {
    limits: Limits,
    ipv6_prefix_bits: u8,
    /// Anything was limited when it was made: a gate at which nobody is counted is none.
    is_on: bool,
    #[expect(clippy::disallowed_types, reason = "see the module: not on the way of any message")]
    stripes: Box<[Mutex<Stripe>]>,
    /// As [`Held::paid_until`], for all.
    paid_until: AtomicU64,
}

impl Gate {
    /// A gate that lets everybody in within these limits.
    pub(crate) fn new(settings: GateSettings) -> Gate {
        let stripes = if settings.counts_addresses() { STRIPES } else { 0 };
        Gate {
            limits: Limits::new(&settings),
            ipv6_prefix_bits: settings.ipv6_prefix_bits,
            is_on: settings.is_on(),
            stripes: std::iter::repeat_with(Default::default).take(stripes).collect(),
            paid_until: AtomicU64::new(0),
        }
    }

    /// Whether anything was limited when it was made.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether nobody is refused.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.limits.is_dry_run.load(Ordering::Relaxed)
    }

    /// Other numbers from now on. A gate that was not on stays as it is, and so does one that counts
    /// no addresses in that.
    pub(crate) fn set(&self, settings: &GateSettings) {
        self.limits.set(settings);
    }

    /// What counts as the address of a peer.
    pub(crate) fn key(&self, address: IpAddr) -> AddressKey {
        AddressKey::new(address, self.ipv6_prefix_bits)
    }

    /// Somebody comes. Whoever is let in, or is refused in a dry run, is counted until
    /// [`Gate::leave`]; whether it is one is looked at once, for it may change.
    pub(crate) fn enter(
        &self,
        key: AddressKey,
        now: Time,
        is_dry_run: bool,
    ) -> Result<(), Refusal> {
        if self.stripes.is_empty() {
            return self.pay(now);
        }
        let mut stripe = self.stripe(key);
        stripe.sweep(now);
        let held = stripe.held.entry(key).or_default();
        let verdict = self.judge(held, now);
        if verdict.is_ok() || is_dry_run {
            held.connections += 1;
        } else if held.connections == 0 && held.paid_until <= now {
            stripe.held.remove(&key);
        } else if held.connections == 0 {
            stripe.left += 1;
        }
        verdict
    }

    /// Somebody who was counted goes.
    pub(crate) fn leave(&self, key: AddressKey, now: Time) {
        if self.stripes.is_empty() {
            return;
        }
        let mut stripe = self.stripe(key);
        let Some(held) = stripe.held.get_mut(&key) else { return };
        held.connections = held.connections.saturating_sub(1);
        if held.connections == 0 {
            if held.paid_until <= now {
                stripe.held.remove(&key);
            } else {
                stripe.left += 1;
            }
        }
    }

    /// The address is judged first, and what is refused for its sake costs the others nothing: an
    /// address that connects without end uses up its own rate only.
    fn judge(&self, held: &mut Held, now: Time) -> Result<(), Refusal> {
        let connections_per_address_max =
            self.limits.connections_per_address_max.load(Ordering::Relaxed);
        if connections_per_address_max > 0 && held.connections >= connections_per_address_max {
            return Err(Refusal::AddressFull);
        }
        let rate = self.limits.connects_per_address_per_second_max.load(Ordering::Relaxed);
        let paid_until = match rate {
            0 => held.paid_until,
            rate => paid(held.paid_until, now, rate).ok_or(Refusal::AddressRate)?,
        };
        self.pay(now)?;
        held.paid_until = paid_until;
        Ok(())
    }

    fn pay(&self, now: Time) -> Result<(), Refusal> {
        let rate = self.limits.connects_per_second_max.load(Ordering::Relaxed);
        if rate == 0 {
            return Ok(());
        }
        let update = |before| paid(Time(before), now, rate).map(|after| after.0);
        self.paid_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
            .map(drop)
            .map_err(|_| Refusal::Rate)
    }

    fn stripe(&self, key: AddressKey) -> MutexGuard<'_, Stripe> {
        // Neighbours in a network part ways; who gathers addresses of one stripe makes a tree
        // deeper, not slow.
        let mixed = key.bits().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let place = usize::try_from(mixed).unwrap_or(0) % self.stripes.len();
        self.stripes[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn known(&self) -> usize {
        self.stripes.iter().filter_map(|stripe| stripe.lock().ok().map(|it| it.held.len())).sum()
    }
}

impl Stripe {
    /// Forgets addresses without connections, once they are half of all that are known.
    fn sweep(&mut self, now: Time) {
        if self.left < LEFT_MIN.max(self.held.len() / 2) {
            return;
        }
        self.held.retain(|_, held| held.connections > 0 || held.paid_until > now);
        self.left = 0;
    }
}

/// One more of `rate` a second: until when that is paid, or nothing if it is more than the rate and
/// what was saved up within [`BURST`].
fn paid(before: Time, now: Time, rate: u32) -> Option<Time> {
    let each = Duration::from_nanos(1_000_000_000 / u64::from(rate.max(1)));
    let after = before.max(now) + each;
    (after.since(now) <= BURST.max(each)).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let gate =
            Gate::new(GateSettings { connections_per_address_max: 3, ..GateSettings::default() });
        let (one, other) = (gate.key(address(1)), gate.key(address(2)));
        for _ in 0..3 {
            assert_eq!(gate.enter(one, at(0), gate.is_dry_run()), Ok(()));
        }
        assert_eq!(gate.enter(one, at(0), gate.is_dry_run()), Err(Refusal::AddressFull));
        assert_eq!(gate.enter(other, at(0), gate.is_dry_run()), Ok(()));
        gate.leave(one, at(1));
        assert_eq!(gate.enter(one, at(1), gate.is_dry_run()), Ok(()));
        assert_eq!(gate.enter(one, at(1), gate.is_dry_run()), Err(Refusal::AddressFull));
        for _ in 0..3 {
            gate.leave(one, at(2));
        }
        gate.leave(other, at(2));
        assert_eq!(gate.known(), 0, "nothing is kept of those who have gone");
    }

    #[test]
    fn rates_are_kept_per_address_and_in_all() {
        let settings = GateSettings {
            connects_per_address_per_second_max: 5,
            connects_per_second_max: 8,
            ..GateSettings::default()
        };
        let gate = Gate::new(settings);
        let tries = |last, now| {
            let key = gate.key(address(last));
            let verdicts: Vec<_> =
                (0..10).map(|_| gate.enter(key, now, gate.is_dry_run())).collect();
            let refused = verdicts.iter().find_map(|verdict| verdict.err());
            (verdicts.iter().filter(|verdict| verdict.is_ok()).count(), refused)
        };
        assert_eq!(tries(1, at(0)), (5, Some(Refusal::AddressRate)));
        assert_eq!(
            tries(2, at(0)),
            (3, Some(Refusal::Rate)),
            "the refused cost the others nothing"
        );
        assert_eq!(tries(2, at(2_000)), (5, Some(Refusal::AddressRate)));
        assert_eq!(tries(1, at(10_000)).0, 5);
        assert_eq!(tries(1, at(10_200)).0, 1, "a fifth of a second is worth one");
    }

    #[test]
    fn a_dry_run_tells_and_counts() {
        let gate = Gate::new(GateSettings {
            connections_per_address_max: 1,
            is_dry_run: true,
            ..GateSettings::default()
        });
        let key = gate.key(address(1));
        assert_eq!(gate.enter(key, at(0), gate.is_dry_run()), Ok(()));
        assert_eq!(gate.enter(key, at(0), gate.is_dry_run()), Err(Refusal::AddressFull));
        gate.leave(key, at(0));
        gate.leave(key, at(0));
        assert_eq!(gate.known(), 0);
    }

    #[test]
    fn many_addresses_that_come_and_go_leave_nothing() {
        let gate = Gate::new(GateSettings {
            connects_per_address_per_second_max: 1,
            ..GateSettings::default()
        });
        for round in 0..1_000_000_u32 {
            let now = Time::from_millis(u64::from(round) / 100);
            let key = gate.key(IpAddr::from(round.to_be_bytes()));
            assert_eq!(gate.enter(key, now, gate.is_dry_run()), Ok(()));
            gate.leave(key, now);
        }
        assert!(gate.known() < 300_000, "{} of a million in ten seconds", gate.known());
    }
}
