//! Figures and times in words that people use.

use std::time::Duration;

use jiff::Timestamp;

/// A number of bytes with one decimal, in units of 1024.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // The unit below which the number has at most four digits; tenths are cut, not rounded up to the next unit.
    let mut tenths = u128::from(count) * 10;
    let mut unit = 0;
    tenths /= 1024;
    while tenths >= 10_240 {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A length of time, in the largest unit of which there is at least one.
pub(crate) fn duration(length: Duration) -> String {
    const UNITS: [(u64, &str); 6] = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (7 * 86_400, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ];
    let seconds = length.as_secs();
    let (count, unit) = UNITS
        .iter()
        .find(|(size, _)| seconds >= *size)
        .map_or((seconds, "second"), |(size, unit)| (seconds / size, unit));
    match (count, unit) {
        (0, _) => "less than a second".to_owned(),
        (1, unit) => format!("1 {unit}"),
        (count, unit) => format!("{count} {unit}s"),
    }
}

/// How long a time, given as RFC 3339, lies before `now`; `None` when it is none.
pub(crate) fn since(time: &str, now: Timestamp) -> Option<Duration> {
    let time: Timestamp = time.parse().ok()?;
    Some(Duration::try_from(now.duration_since(time)).unwrap_or_default())
}

/// How long ago something was, in words.
pub(crate) fn ago(time: &str, now: Timestamp) -> String {
    since(time, now).map_or_else(|| "unknown".to_owned(), |length| format!("{} ago", duration(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit_and_one_decimal() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn times_are_told_in_the_largest_unit() {
        for (seconds, text) in [
            (0, "less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (7_300, "2 hours"),
            (86_400, "1 day"),
            (800_000, "1 week"),
            (40_000_000, "1 year"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        assert_eq!(ago("2026-01-31T11:00:00Z", now), "1 hour ago");
        assert_eq!(ago("2026-01-31T13:00:00Z", now), "less than a second ago", "clocks differ");
        assert_eq!(ago("x", now), "unknown");
    }
}
