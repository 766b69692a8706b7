//! How soon the first test of a guest begins.

use std::time::{Duration, SystemTime};

/// The goal of decision 6, where everything is built and made already.
const GOAL: Duration = Duration::from_secs(20);

/// What the guest says, with a time, before the tests begin. Its clock is set from the emulator's, which is the host's.
pub(super) const BEGUN: &str = "begun ";

/// When the tests began, and what they said.
pub(super) fn split(said: &str) -> (Option<SystemTime>, String) {
    let (times, record): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with(BEGUN));
    let last = times.last().and_then(|line| line[BEGUN.len()..].trim().parse().ok());
    let after = last.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let at = after.map(|after| SystemTime::UNIX_EPOCH + after);
    (at, record.iter().map(|line| format!("{line}\n")).collect())
}

/// A sentence on how soon the tests began.
pub(super) fn tell(tier: &str, after: Option<Duration>) -> String {
    match after {
        None => format!("{tier}: it is not known when its first test began"),
        Some(after) if after <= GOAL => format!("{tier}: the first test began after {} s", after.as_secs()),
        Some(after) => format!(
            "{tier}: the first test began after {} s; the goal is {} s when everything is built and made",
            after.as_secs(),
            GOAL.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_tests_began_is_told_beside_their_record() {
        let (at, record) = split("begun 200.25\r\nran one::test\nran two::test\n");
        assert_eq!(at, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(200_250)));
        assert_eq!(record, "ran one::test\nran two::test\n");
        assert_eq!(split("ran one::test\n"), (None, "ran one::test\n".to_owned()));
        let said = |seconds| tell("6.1 bare", Some(Duration::from_secs(seconds)));
        assert_eq!(said(9), "6.1 bare: the first test began after 9 s");
        assert!(said(21).contains("the goal is 20 s"));
    }
}
