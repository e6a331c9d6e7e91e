//! Money: integer cents, checked.

use std::fmt;

/// An amount in cents. Never negative where it is an amount to pay; sums are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub i64);

impl Cents {
    /// Nothing.
    pub const ZERO: Cents = Cents(0);

    /// The sum, or nothing where 64 bits do not hold it.
    #[must_use]
    pub fn checked_add(self, other: Cents) -> Option<Cents> {
        self.0.checked_add(other.0).map(Cents)
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// How a pool is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// What each winner gets.
    pub per_head: Cents,
    /// What goes to the show's remainder account: the whole pool when there is no winner or less
    /// than a cent for each.
    pub remainder: Cents,
}

/// Splits `pool` equally among `winners`; `per_head × winners + remainder = pool`, always.
///
/// # Panics
/// If `pool` is negative: a definition with a negative pool is refused when it is loaded.
#[must_use]
pub fn split(pool: Cents, winners: u64) -> Split {
    assert!(pool.0 >= 0, "a prize pool is never negative");
    let Ok(heads) = i64::try_from(winners) else {
        return Split { per_head: Cents::ZERO, remainder: pool };
    };
    if heads == 0 {
        return Split { per_head: Cents::ZERO, remainder: pool };
    }
    let split = Split { per_head: Cents(pool.0 / heads), remainder: Cents(pool.0 % heads) };
    assert_eq!(
        split.per_head.0.checked_mul(heads).and_then(|paid| paid.checked_add(split.remainder.0)),
        Some(pool.0),
        "a split creates or loses no cent"
    );
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits() {
        for (pool, winners, per_head, remainder) in [
            (100, 3, 33, 1),
            (0, 5, 0, 0),
            (5, 0, 0, 5),
            (2, 3, 0, 2),
            (i64::MAX, 1, i64::MAX, 0),
            (7, u64::MAX, 0, 7),
        ] {
            let expected = Split { per_head: Cents(per_head), remainder: Cents(remainder) };
            assert_eq!(split(Cents(pool), winners), expected, "{pool} among {winners}");
        }
    }

    proptest! {
        #[test]
        fn no_cent_appears_or_vanishes(pool in 0..=i64::MAX, winners: u64) {
            let split = split(Cents(pool), winners);
            let paid = i128::from(split.per_head.0) * i128::from(winners);
            prop_assert_eq!(paid + i128::from(split.remainder.0), i128::from(pool));
            prop_assert!(split.per_head.0 >= 0 && split.remainder.0 >= 0);
        }
    }
}
