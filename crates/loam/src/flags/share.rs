//! A size, or a part of a file system.

use super::{Parsed, quantity};

/// A part of a whole, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent(u8);

impl Percent {
    /// That part of so many bytes.
    pub(crate) fn of(self, bytes: u64) -> u64 {
        u64::try_from(u128::from(bytes) * u128::from(self.0) / 100).unwrap_or(u64::MAX)
    }
}

/// A size, or a part of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the file system.
    Percent(Percent),
}

/// Parses a size such as `20g`, or a part such as `80%`.
pub(crate) fn parse_share(text: &str) -> Parsed<Share> {
    let Some(number) = text.strip_suffix('%') else { return quantity::size(text).map(Share::Bytes) };
    match number.parse() {
        Ok(percent @ 0..=100) => Ok(Share::Percent(Percent(percent))),
        _ => Err("a part of the file system is from 0% to 100%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_parts_are_told_apart() {
        assert_eq!(parse_share("20g"), Ok(Share::Bytes(20 << 30)));
        assert_eq!(parse_share("80%"), Ok(Share::Percent(Percent(80))));
        for text in ["", "%", "101%", "-1%", "1.5%", "x"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
        assert_eq!((Percent(100).of(u64::MAX), Percent(50).of(9)), (u64::MAX, 4));
    }
}
