//! Signals by name and number (signal(7), the numbers of x86 and ARM).

/// The names of signals 1 to 31, in order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names for some of them.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first and last real-time signals that programs may use.
const REAL_TIME: (i32, i32) = (34, 64);

/// The signal that can't be caught.
pub(crate) const KILL: i32 = 9;

/// The signal that asks a program to end.
pub(crate) const TERM: i32 = 15;

/// The number of a signal: `SIGTERM`, `term`, `RTMIN+3` or `15`. `None` when there is no such signal.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REAL_TIME.1).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(*number);
    }
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => REAL_TIME.0,
        (_, Some("")) => REAL_TIME.1,
        (Some(rest), _) => REAL_TIME.0 + offset(rest.strip_prefix('+')?)?,
        (_, Some(rest)) => REAL_TIME.1 - offset(rest.strip_prefix('-')?)?,
        _ => return None,
    };
    (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
}

fn offset(digits: &str) -> Option<i32> {
    (digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The name of a signal, such as `SIGTERM`; `None` when it has none.
pub fn signal_name(number: i32) -> Option<String> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    NAMES.get(index).map(|name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMAX", Some(64)),
            ("CLD", Some(17)),
            ("0", None),
            ("65", None),
            ("-9", None),
            ("", None),
            ("SIG", None),
            ("RTMIN+99", None),
            ("RTMIN3", None),
            ("NOPE", None),
        ] {
            assert_eq!(signal_number(text), number, "{text:?}");
        }
        assert_eq!(signal_name(9).as_deref(), Some("SIGKILL"));
        assert_eq!((signal_name(0), signal_name(i32::MIN), signal_name(40)), (None, None, None));
    }
}
