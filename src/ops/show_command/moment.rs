//! Moments for people.

/// A moment as a date and time of day, UTC.
pub(super) fn utc(unix_ms: i64) -> String {
    let (seconds, millis) = (unix_ms.div_euclid(1_000), unix_ms.rem_euclid(1_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03} UTC")
}

/// The date so many days after 1970-01-01, in the proleptic Gregorian calendar. Years are counted
/// from March, in cycles of 400 years, so that leap days are the last of theirs.
fn date(days: i64) -> (i64, i64, i64) {
    // From 0000-03-01 to 1970-01-01 there are 719,468 days.
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

/// A length of time, in seconds with milliseconds; below a millisecond in microseconds.
pub(super) fn seconds(nanos: u64) -> String {
    if nanos < 1_000_000 {
        return format!("{} µs", nanos / 1_000);
    }
    format!("{}.{:03} s", nanos / 1_000_000_000, nanos / 1_000_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from `date -u -d @…`.
    #[test]
    fn moments() {
        for (unix_ms, expected) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (-500, "1969-12-31 23:59:59.500 UTC"),
            (951_825_600_123, "2000-02-29 12:00:00.123 UTC"),
            (1_896_116_400_000, "2030-01-31 19:00:00.000 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000 UTC"),
        ] {
            assert_eq!(utc(unix_ms), expected);
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(seconds(999_999), "999 µs");
        assert_eq!(seconds(12_034_999_999), "12.034 s");
    }
}
