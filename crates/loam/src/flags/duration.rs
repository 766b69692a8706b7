//! Durations and points in time.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use loam_model::shown;

use super::Parsed;

/// Parses a duration such as `90`, `90s`, `1h30m` or `250ms`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Parsed<Duration> {
    let malformed = || "a duration is such as 90s, 10m or 1h30m".to_owned();
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let number: u32 = rest[..digits].parse().map_err(|_| malformed())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let length = match &rest[digits..unit] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            _ => return Err(malformed()),
        };
        total = length.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(malformed)?;
        rest = &rest[unit..];
    }
    match text.is_empty() {
        true => Err(malformed()),
        false => Ok(total),
    }
}

/// Parses how long `stop` waits: whole seconds, or -1 for ever.
pub(crate) fn parse_patience(text: &str) -> Parsed<Duration> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) if text == "-1" => Ok(Duration::MAX),
        Err(_) => Err("it is neither a number of seconds nor -1 for no limit".to_owned()),
    }
}

/// Parses `--since`: a time as RFC 3339, seconds since 1970, or a duration before `now`.
pub(crate) fn parse_since(text: &str, now: Timestamp) -> Parsed<Timestamp> {
    let malformed = || {
        let text = shown(text);
        format!("`{text}` is no time such as 2026-01-31T12:00:00Z or 2026-01-31, and no duration such as 10m")
    };
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).map_err(|_| malformed());
    }
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Ok(time) = text.parse::<DateTime>().and_then(|time| Offset::UTC.to_timestamp(time)) {
        return Ok(time);
    }
    now.checked_sub(parse_duration(text).map_err(|_| malformed())?).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1d", 86_400_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "1x", "-1", "1h-3m", "1.5s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patience_may_be_without_limit() {
        assert_eq!(parse_patience("0"), Ok(Duration::ZERO));
        assert_eq!(parse_patience("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_patience("-1"), Ok(Duration::MAX));
        for text in ["", "-2", "10s", "1.5", "99999999999999999999"] {
            assert!(parse_patience(text).is_err(), "{text}");
        }
    }

    #[test]
    fn since_is_a_time_or_a_duration_before_now() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("10m", "2026-01-31T11:50:00Z"),
            ("2026-01-30", "2026-01-30T00:00:00Z"),
            ("2026-01-30T13:14:15", "2026-01-30T13:14:15Z"),
            ("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"),
            ("1767225600", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_since(text, now), Ok(expected.parse().expect("a time")), "{text}");
        }
        assert!(parse_since("yesterday", now).is_err());
    }
}
