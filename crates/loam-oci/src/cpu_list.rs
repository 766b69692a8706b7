//! Lists of processors and of memory nodes, such as `0-2,4` (cpuset(7), "List format").

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// One more than the highest number that a list may name; more than any kernel is built for.
const LIMIT: u32 = 1 << 16;

/// The numbers that a list names, as its ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuList(Vec<RangeInclusive<u32>>);

/// A text that is no such list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoCpuList;

/// What a list has to be, for messages.
pub(crate) const RULE: &str = "a list is of numbers and ranges such as `0-1,3`";

impl CpuList {
    /// All numbers, those of one range after the other.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(Clone::clone)
    }

    /// Whether every number is one of another list's.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.numbers().all(|number| other.0.iter().any(|range| range.contains(&number)))
    }

    /// A set with a bit for each number, the lowest bit of the first byte for 0.
    pub(crate) fn bits(&self) -> Vec<u8> {
        let mut bits = Vec::new();
        for number in self.numbers() {
            let (byte, bit) = (number as usize / 8, number % 8);
            bits.resize(bits.len().max(byte + 1), 0);
            bits[byte] |= 1 << bit;
        }
        bits
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(formatter, "{comma}{first}")?,
                (first, last) => write!(formatter, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for CpuList {
    type Err = NoCpuList;

    fn from_str(text: &str) -> Result<Self, NoCpuList> {
        text.trim().split(',').map(range).collect::<Option<_>>().map(Self).ok_or(NoCpuList)
    }
}

fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_plain && *number < LIMIT)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_numbers() {
        for (text, numbers, bits) in
            [("0", &[0][..], &[1][..]), ("0-1,3,9", &[0, 1, 3, 9], &[11, 2]), ("7-8\n", &[7, 8], &[128, 1])]
        {
            let list: CpuList = text.parse().expect("a list");
            assert_eq!(list.numbers().collect::<Vec<_>>(), numbers, "{text}");
            assert_eq!(list.bits(), bits, "{text}");
        }
        assert!("65535".parse::<CpuList>().is_ok());
        let list = |text: &str| text.parse::<CpuList>().expect("a list");
        assert_eq!(list(" 0-1,3,9-9\n").to_string(), "0-1,3,9");
        assert!(list("1,3").is_within(&list("0-1,3")) && !list("0-2").is_within(&list("0-1,3")));
        for bad in ["", "a", "0-", "-1", "0,,1", "1,", "+1", "3-1", "65536", "99999999999", "0-1-2"] {
            assert_eq!(bad.parse::<CpuList>(), Err(NoCpuList), "{bad}");
        }
    }
}
