//! When to ask again, and how long to wait before: what the server asks for, else twice as long each time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::{ClientOptions, Notes};
use crate::error::{RegistryError, in_words};

/// The longest wait that we choose ourselves.
const LONGEST_STEP: Duration = Duration::from_secs(60);
/// The first wait when a registry wants fewer requests and does not say for how long, as a multiple of the usual one.
const RATE_LIMIT_FACTOR: u32 = 8;
/// How often a host that has never answered is asked again: what is not there seldom appears.
const STRANGER_RETRIES: u32 = 1;

/// The failures of one transfer so far.
pub(crate) struct Patience {
    failures: u32,
}

impl Patience {
    /// Begins a transfer.
    pub(crate) fn new() -> Self {
        Self { failures: 0 }
    }

    /// Hears that the transfer got on, so that the next failure counts as the first.
    pub(crate) fn refresh(&mut self) {
        self.failures = 0;
    }

    /// Waits after a failure, or gives it back when there is no point in going on.
    pub(crate) async fn after(
        &mut self,
        error: RegistryError,
        options: &ClientOptions,
        notes: &Notes,
    ) -> Result<(), RegistryError> {
        let limit = match &error {
            RegistryError::Connect { known: false, .. } => options.retries.min(STRANGER_RETRIES),
            _ => options.retries,
        };
        let wait = self.wait(&error, options);
        if !error.is_passing() || self.failures >= limit || wait > options.longest_wait {
            return Err(error);
        }
        self.failures += 1;
        notes(&note(&error, wait));
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn wait(&self, error: &RegistryError, options: &ClientOptions) -> Duration {
        let doubled = |first: Duration| first.saturating_mul(1 << self.failures.min(16)).min(LONGEST_STEP);
        match error {
            RegistryError::RateLimited { wait: Some(wait), .. } => *wait,
            RegistryError::RateLimited { wait: None, .. } => doubled(options.backoff * RATE_LIMIT_FACTOR),
            _ => doubled(options.backoff),
        }
    }
}

fn note(error: &RegistryError, wait: Duration) -> String {
    match error {
        RegistryError::RateLimited { host, wait: Some(_), .. } => {
            format!("`{host}` asks to wait {}", in_words(wait))
        }
        error => format!("{error}; trying again in {}", in_words(wait)),
    }
}

/// What a `Retry-After` header asks for: seconds or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = UNIX_EPOCH + Duration::from_secs(http_date(value.trim())?);
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// The seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that servers may send
/// (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month_name = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month_name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok().filter(|n| *n <= 60));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next()? != "GMT" {
        return None;
    }
    // Years are counted from March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days_since_0 = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1;
    let days = days_since_0.checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 32 Nov 1994 08:49:37 GMT", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(http_date(text), seconds, "{text}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        let read = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(read("soon"), None);
    }
}
