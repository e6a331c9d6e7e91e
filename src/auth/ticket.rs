//! Retry tickets: a promise that an answer, given again, is judged by the moment at which it first
//! arrived (the rules' "Overload").
//!
//! A ticket is bound to show, question, user, option, stamp and expiry by a MAC (HMAC-SHA-256, cut
//! to 128 bits as RFC 2104 §5 allows), so nobody can move its stamp or use it for another option.
//! It carries only what the redeemer does not know: stamp and expiry. It is not an acknowledgement
//! and nothing is stored for it; that a player has at most one answer to a question is the bucket's
//! promise, not the ticket's.
//!
//! The key may outlive the process, the monotonic clock does not. So stamps travel as Unix
//! nanoseconds of a [`DisplayClock`]. That of a deployment with a folder is fixed for its whole life,
//! so that stamps come back exactly in whatever run; without one it is the process's own, and stamps
//! of an earlier process come back as exactly as the wall clock was kept, or as [`Time::ZERO`] from
//! before its zero.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use crate::base::time::{DisplayClock, Time};

/// Bytes of a ticket: version, stamp, expiry, MAC.
pub const TICKET_BYTES: usize = 1 + 8 + 8 + MAC_BYTES;

const MAC_BYTES: usize = 16;
/// The layout of the ticket and of what the MAC covers; another layout gets another number.
const VERSION: u8 = 1;
/// Keeps this MAC from meaning anything where the same key should ever be used for another thing.
const DOMAIN: &[u8; 16] = b"tidegate ticket ";

/// What a ticket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketSubject {
    /// The show.
    pub show: ShowId,
    /// The question.
    pub question: QuestionIndex,
    /// Who answered.
    pub user: UserId,
    /// What was answered; another option needs another, later stamp.
    pub option: OptionIndex,
}

/// A ticket to be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// What it is bound to.
    pub subject: TicketSubject,
    /// When the answer first arrived.
    pub arrived: Time,
    /// The last moment at which it is taken.
    pub expires: Time,
}

/// Why a ticket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TicketError {
    /// Not [`TICKET_BYTES`] long.
    #[error("a ticket has {TICKET_BYTES} bytes, not {bytes}")]
    Length {
        /// Bytes that came.
        bytes: usize,
    },
    /// Made by another version of the gateway.
    #[error("the ticket has version {version}, not {VERSION}")]
    Version {
        /// The version that came.
        version: u8,
    },
    /// Not ours, changed, or for another show, question, user or option.
    #[error("the ticket is not valid for this user, question and option")]
    Mac,
    /// Its expiry has passed.
    #[error("the ticket expired at {expires_unix_ms} (Unix milliseconds)")]
    Expired {
        /// The last moment at which it was taken, Unix milliseconds.
        expires_unix_ms: i64,
    },
}

/// The secret that tickets are made with, and the clock that their stamps are written in.
#[derive(Clone)]
pub struct TicketKey {
    /// Keyed once; cloned for each ticket.
    mac: Hmac<Sha256>,
    clock: DisplayClock,
}

impl TicketKey {
    /// A key of `key`, 32 secret bytes that are kept with the deployment.
    #[must_use]
    pub fn new(key: [u8; 32], clock: DisplayClock) -> TicketKey {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key) else {
            unreachable!("HMAC takes a key of any length (RFC 2104 §2)");
        };
        TicketKey { mac, clock }
    }

    /// The bytes of a ticket.
    ///
    /// # Panics
    /// If it expires before the answer arrived.
    #[must_use]
    pub fn issue(&self, ticket: &Ticket) -> [u8; TICKET_BYTES] {
        assert!(ticket.expires >= ticket.arrived, "a ticket lives after its stamp");
        let arrived_unix_ns = self.clock.unix_ns(ticket.arrived).to_be_bytes();
        let expires_unix_ns = self.clock.unix_ns(ticket.expires).to_be_bytes();
        let mac = self.mac(&ticket.subject, arrived_unix_ns, expires_unix_ns);
        let mut bytes = [0; TICKET_BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&arrived_unix_ns);
        bytes[9..17].copy_from_slice(&expires_unix_ns);
        bytes[17..].copy_from_slice(&mac);
        bytes
    }

    /// The stamp of a ticket that is ours, for `expected`, and not expired at `now`; until
    /// `extended_until` it is taken although it has expired.
    ///
    /// `now` is the arrival stamp of the answer that carries the ticket: what waited because of us
    /// does not expire meanwhile.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn redeem(
        &self,
        bytes: &[u8],
        expected: &TicketSubject,
        now: Time,
        extended_until: Option<Time>,
    ) -> Result<Time, TicketError> {
        let Ok(bytes) = <&[u8; TICKET_BYTES]>::try_from(bytes) else {
            return Err(TicketError::Length { bytes: bytes.len() });
        };
        if bytes[0] != VERSION {
            return Err(TicketError::Version { version: bytes[0] });
        }
        let arrived_unix_ns = eight(bytes, 1);
        let expires_unix_ns = eight(bytes, 9);
        let mac = self.mac(expected, arrived_unix_ns, expires_unix_ns);
        if !bool::from(mac.ct_eq(&bytes[17..])) {
            return Err(TicketError::Mac);
        }
        let arrived_unix_ns = i64::from_be_bytes(arrived_unix_ns);
        let expires_unix_ns = i64::from_be_bytes(expires_unix_ns);
        assert!(expires_unix_ns >= arrived_unix_ns, "what we signed lives after its stamp");
        let is_over = extended_until.is_none_or(|until| now > until);
        if is_over && self.clock.unix_ns(now) > expires_unix_ns {
            return Err(TicketError::Expired { expires_unix_ms: expires_unix_ns / 1_000_000 });
        }
        Ok(self.clock.at_unix_ns(arrived_unix_ns))
    }

    /// What else this key proves; `domain` keeps it from meaning anything as a ticket.
    pub(crate) fn mac_of(&self, domain: &[u8; 16], bytes: &[u8; 8]) -> [u8; MAC_BYTES] {
        assert_ne!(domain, DOMAIN, "tickets have a domain of their own");
        let mut mac = self.mac.clone();
        mac.update(domain);
        mac.update(bytes);
        let full = mac.finalize().into_bytes();
        let mut cut = [0; MAC_BYTES];
        cut.copy_from_slice(&full[..MAC_BYTES]);
        cut
    }

    /// All fields have fixed lengths, so two different tickets never give the same input.
    fn mac(&self, subject: &TicketSubject, arrived: [u8; 8], expires: [u8; 8]) -> [u8; MAC_BYTES] {
        let mut mac = self.mac.clone();
        mac.update(DOMAIN);
        mac.update(&[VERSION]);
        mac.update(&subject.show.0.to_be_bytes());
        mac.update(&subject.question.0.to_be_bytes());
        mac.update(&subject.user.0.to_be_bytes());
        mac.update(&[subject.option.0]);
        mac.update(&arrived);
        mac.update(&expires);
        let full = mac.finalize().into_bytes();
        let mut cut = [0; MAC_BYTES];
        cut.copy_from_slice(&full[..MAC_BYTES]);
        cut
    }
}

fn eight(bytes: &[u8; TICKET_BYTES], from: usize) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[from..from + 8]);
    eight
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const CLOCK: DisplayClock = DisplayClock { zero_unix_ms: 1_800_000_000_000 };
    const SUBJECT: TicketSubject = TicketSubject {
        show: ShowId(11),
        question: QuestionIndex(2),
        user: UserId(7),
        option: OptionIndex(1),
    };

    fn key() -> TicketKey {
        TicketKey::new([9; 32], CLOCK)
    }

    fn ticket() -> Ticket {
        Ticket { subject: SUBJECT, arrived: Time(5_000_000_123), expires: Time(7_000_000_000) }
    }

    #[test]
    fn a_ticket_gives_back_its_stamp_until_it_expires() {
        let bytes = key().issue(&ticket());
        for (now, expected) in [
            (Time(5_000_000_123), Ok(ticket().arrived)),
            (Time(7_000_000_000), Ok(ticket().arrived)),
            (Time(7_000_000_001), Err(TicketError::Expired { expires_unix_ms: 1_800_000_007_000 })),
        ] {
            assert_eq!(key().redeem(&bytes, &SUBJECT, now, None), expected, "at {now}");
        }
        // A question that was extended, by a restart for one, takes its tickets for longer.
        let (now, until) = (Time(9_000_000_000), Some(Time(9_000_000_000)));
        assert_eq!(key().redeem(&bytes, &SUBJECT, now, until), Ok(ticket().arrived));
        let later = key().redeem(&bytes, &SUBJECT, Time(9_000_000_001), until);
        assert!(matches!(later, Err(TicketError::Expired { .. })));
    }

    #[test]
    fn a_ticket_is_good_for_its_own_answer_only() {
        let bytes = key().issue(&ticket());
        let now = ticket().arrived;
        for other in [
            TicketSubject { show: ShowId(12), ..SUBJECT },
            TicketSubject { question: QuestionIndex(3), ..SUBJECT },
            TicketSubject { user: UserId(8), ..SUBJECT },
            TicketSubject { option: OptionIndex(0), ..SUBJECT },
        ] {
            let outcome = key().redeem(&bytes, &other, now, Some(Time::NEVER));
            assert_eq!(outcome, Err(TicketError::Mac), "{other:?}");
        }
        let other_key = TicketKey::new([8; 32], CLOCK);
        assert_eq!(
            other_key.redeem(&bytes, &SUBJECT, now, Some(Time::NEVER)),
            Err(TicketError::Mac)
        );
    }

    #[test]
    fn every_single_bit_counts() {
        let bytes = key().issue(&ticket());
        for bit in 0..TICKET_BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = match changed[0] {
                VERSION => TicketError::Mac,
                version => TicketError::Version { version },
            };
            let outcome = key().redeem(&changed, &SUBJECT, ticket().arrived, Some(Time::NEVER));
            assert_eq!(outcome, Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn a_ticket_survives_a_restart() {
        let bytes = key().issue(&ticket());
        // The new process started three seconds after the zero of the old one.
        let clock = DisplayClock { zero_unix_ms: CLOCK.zero_unix_ms + 3_000 };
        let restarted = TicketKey::new([9; 32], clock);
        assert_eq!(
            restarted.redeem(&bytes, &SUBJECT, Time::from_millis(3_500), None),
            Ok(Time(2_000_000_123))
        );
        // Ten seconds after: the stamp is before its zero, and the ticket has expired.
        let clock = DisplayClock { zero_unix_ms: CLOCK.zero_unix_ms + 10_000 };
        let restarted = TicketKey::new([9; 32], clock);
        assert_eq!(
            restarted.redeem(&bytes, &SUBJECT, Time::ZERO, None),
            Err(TicketError::Expired { expires_unix_ms: 1_800_000_007_000 })
        );
    }

    /// The layout is a contract with tickets that were issued before an update. The expected MAC
    /// was computed with another implementation (Python's `hmac`).
    #[test]
    fn the_layout_is_pinned() {
        use std::fmt::Write as _;
        let mut hex = String::new();
        for byte in key().issue(&ticket()) {
            write!(hex, "{byte:02x}").unwrap();
        }
        assert_eq!(hex, "0118fae277bdb9f27b18fae27834ef8600829b0801cb133cb9ee77527e016835c6");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_issued_is_redeemed(
            show: u64, question: u16, user: u64, option: u8,
            arrived in 0..1_u64 << 60, life_ms in 0_u64..100_000,
        ) {
            let subject = TicketSubject {
                show: ShowId(show),
                question: QuestionIndex(question),
                user: UserId(user),
                option: OptionIndex(option),
            };
            let arrived = Time(arrived);
            let expires = arrived + Duration::from_millis(life_ms);
            let bytes = key().issue(&Ticket { subject, arrived, expires });
            prop_assert_eq!(key().redeem(&bytes, &subject, expires, None), Ok(arrived));
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(key().redeem(&bytes, &SUBJECT, Time::ZERO, Some(Time::NEVER)).is_err());
        }
    }
}
