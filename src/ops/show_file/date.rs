//! RFC 3339 to Unix time.

use toml::value::{Datetime, Offset};

/// What a planned start must look like.
pub(super) fn expectation() -> String {
    "expects a date, a time and an offset (RFC 3339), such as 2030-01-31T20:00:00+01:00".to_owned()
}

/// Unix milliseconds of a moment; what is below a millisecond is cut off.
pub(super) fn unix_ms(datetime: &Datetime) -> Result<i64, String> {
    let (Some(date), Some(time), Some(offset)) = (datetime.date, datetime.time, datetime.offset)
    else {
        return Err(expectation());
    };
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute) - offset_minutes;
    let seconds = minutes * 60 + i64::from(time.second.unwrap_or(0));
    Ok(seconds * 1_000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000))
}

/// A moment as RFC 3339 has it, in UTC; nothing before the year 0 and behind 9999.
#[must_use]
pub fn text(unix_ms: i64) -> Option<String> {
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    // The inverse of `days_since_1970`: years from March, in eras of 400 years.
    let (era, day) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    let text =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z");
    (0..=9_999).contains(&year).then_some(text)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, for years from 0.
///
/// Years are counted from March, so that the leap day is the last of its year and the months before
/// it follow one pattern: 153 days in five months.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month_from_march) =
        if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    // From 0000-03-01 to 1970-01-01 there are 719,468 days.
    365 * year + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        for day in (-719_000_i64..2_932_000).step_by(97) {
            let at = day * 86_400_000 + (day * 7_919).rem_euclid(86_400_000);
            let written = text(at).expect("within the years");
            assert_eq!(unix_ms(&written.parse().expect("a moment")), Ok(at), "{written}");
        }
        assert_eq!(text(1_896_116_400_000).as_deref(), Some("2030-01-31T19:00:00Z"));
        assert_eq!(text(951_825_600_001).as_deref(), Some("2000-02-29T12:00:00.001Z"));
        assert_eq!((text(i64::MAX), text(i64::MIN)), (None, None));
    }

    /// Expected values from `date -d … +%s%3N`.
    #[test]
    fn moments() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59.5Z", Some(-500)),
            ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
            ("2030-01-31T20:00:00+01:00", Some(1_896_116_400_000)),
            ("2030-01-31T20:00:00.123456789-08:30", Some(1_896_150_600_123)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400_000)),
            ("2030-01-31T20:00:00", None),
            ("2030-01-31", None),
            ("20:00:00", None),
        ] {
            let datetime: Datetime = text.parse().expect("a TOML date or time");
            assert_eq!(unix_ms(&datetime).ok(), expected, "{text}");
        }
    }
}
