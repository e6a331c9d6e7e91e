//! Medians, spreads and percentiles: of few repetitions, and of many deliveries.

use serde::Serialize;

/// Figures of one thing over repetitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    /// One more repetition.
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one; 0 without any.
    pub(crate) fn median(&self) -> f64 {
        match self.0.len() {
            0 => 0.0,
            count if count % 2 == 1 => self.0[count / 2],
            count => f64::midpoint(self.0[count / 2 - 1], self.0[count / 2]),
        }
    }

    /// The smallest; 0 without any.
    pub(crate) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    /// The largest; 0 without any.
    pub(crate) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// Within these the true median lies with at least 95 % certainty, whatever the distribution:
    /// order statistics of the binomial distribution. With fewer than 6 figures, all of them.
    pub(crate) fn interval(&self) -> [f64; 2] {
        let count = self.0.len();
        let mut below = 0;
        let mut chance = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
        let mut tail = chance;
        while 2.0 * tail <= 0.05 && below < count {
            below += 1;
            chance *= as_f64(count - below + 1) / as_f64(below);
            tail += chance;
        }
        let cut = below.saturating_sub(1);
        [self.0.get(cut), self.0.get(count.wrapping_sub(1 + cut))]
            .map(|it| it.copied().unwrap_or(0.0))
    }
}

/// How long until so many percent had it, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Coverage {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) p100: f64,
}

impl Coverage {
    /// Of times in nanoseconds; they are sorted on the way.
    pub(crate) fn of(times_ns: &mut [u64]) -> Coverage {
        times_ns.sort_unstable();
        let at = |share: f64| as_f64_ns(percentile(times_ns, share)) / 1e6;
        Coverage { p50: at(0.5), p99: at(0.99), p999: at(0.999), p100: at(1.0) }
    }
}

/// Medians of several coverages, one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverages([Figures; 4]);

impl Coverages {
    /// One more broadcast.
    pub(crate) fn push(&mut self, coverage: Coverage) {
        let Coverage { p50, p99, p999, p100 } = coverage;
        for (figures, figure) in self.0.iter_mut().zip([p50, p99, p999, p100]) {
            figures.push(figure);
        }
    }

    /// The medians.
    pub(crate) fn median(&self) -> Coverage {
        let [p50, p99, p999, p100] = [0, 1, 2, 3].map(|place| self.0[place].median());
        Coverage { p50, p99, p999, p100 }
    }
}

/// The smallest of sorted values that `share` of them do not exceed; 0 without any.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], share: f64) -> T {
    let wanted = (share * as_f64(sorted.len())).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to the length")]
    let place = (wanted as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn as_f64(count: usize) -> f64 {
    count as f64
}

/// Nanoseconds, or any other large number, as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "104 days of nanoseconds are exact")]
pub(crate) fn as_f64_ns(number: u64) -> f64 {
    number as f64
}

/// The whole part of a number that is not negative; what is larger than the largest is the largest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floats saturate")]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(count: u32) -> Figures {
        let mut figures = Figures::default();
        (1..=count).for_each(|figure| figures.push(f64::from(figure)));
        figures
    }

    #[test]
    fn medians_and_their_intervals() {
        for (count, median, interval) in [
            (0, 0.0, [0.0, 0.0]),
            (1, 1.0, [1.0, 1.0]),
            (4, 2.5, [1.0, 4.0]),
            (7, 4.0, [1.0, 7.0]),
            (15, 8.0, [4.0, 12.0]),
        ] {
            assert_eq!((figures(count).median(), figures(count).interval()), (median, interval));
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<u32> = (1..=200).collect();
        let at = |share| percentile(&sorted, share);
        assert_eq!([at(0.0), at(0.5), at(0.99), at(0.999), at(1.0)], [1, 100, 198, 200, 200]);
        assert_eq!(percentile::<u32>(&[], 0.5), 0);
    }
}
