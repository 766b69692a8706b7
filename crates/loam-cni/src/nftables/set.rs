//! Sets and maps, and their elements.

use super::expression::{Verdict, write_verdict};
use crate::netlink::{Attributes, attributes, be32, text};

/// The parts that keys and values are made of, as `nft` numbers them so that it can show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// The name of a link.
    LinkName,
    /// A hardware address of Ethernet.
    HardwareAddress,
    /// A verdict, which only a map's values can be.
    Verdict,
}

impl SetKind {
    fn number(self) -> u32 {
        match self {
            SetKind::Ipv4 => 7,
            SetKind::Ipv6 => 8,
            SetKind::HardwareAddress => 9,
            SetKind::Protocol => 12,
            SetKind::Port => 13,
            SetKind::LinkName => 41,
            SetKind::Verdict => 0xffff_ff00,
        }
    }

    /// The length in bytes, in a concatenation rounded up to four.
    fn length(self) -> u32 {
        match self {
            SetKind::Ipv4 | SetKind::Protocol | SetKind::Port => 4,
            SetKind::HardwareAddress => 8,
            SetKind::Ipv6 | SetKind::LinkName | SetKind::Verdict => 16,
        }
    }
}

/// A set, or a map when it has values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetDefinition {
    /// Its name.
    pub name: &'static str,
    /// What its keys are made of.
    pub key: &'static [SetKind],
    /// What its values are made of.
    pub value: &'static [SetKind],
    /// Whether its keys are ranges.
    pub interval: bool,
}

/// How `nft` numbers a concatenation: six bits a part.
fn kind_number(parts: &[SetKind]) -> u32 {
    parts.iter().fold(0, |number, part| (number << 6) | part.number())
}

fn total_length(parts: &[SetKind]) -> u32 {
    parts.iter().map(|part| part.length()).sum()
}

impl SetDefinition {
    const INTERVAL: u32 = 4;
    const MAP: u32 = 8;

    /// Writes the definition after the table's name. `id` is any number that is unique in the batch.
    pub(super) fn write(&self, id: u32, into: &mut Attributes) {
        let mut flags = 0;
        if self.interval {
            flags |= Self::INTERVAL;
        }
        if !self.value.is_empty() {
            flags |= Self::MAP;
        }
        into.text(2, self.name).be32(3, flags);
        into.be32(4, kind_number(self.key)).be32(5, total_length(self.key));
        if !self.value.is_empty() {
            into.be32(6, kind_number(self.value)).be32(7, total_length(self.value));
        }
        into.be32(10, id);
        // What `nft` needs to show the keys: their byte order (1: the host's, 2: the network's).
        let order: u32 = if self.key == [SetKind::LinkName] { 1 } else { 2 };
        let mut hint = vec![0, 4];
        hint.extend_from_slice(&order.to_ne_bytes());
        into.bytes(13, &hint);
    }
}

/// A set that the packets themselves fill: one count for each key, forgotten when it was not needed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterDefinition<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its keys are made of.
    pub key: &'a [SetKind],
    /// Milliseconds after which an unused key is forgotten.
    pub timeout: u64,
    /// The most keys.
    pub size: u32,
}

impl MeterDefinition<'_> {
    const TIMEOUT: u32 = 0x10;
    const DYNAMIC: u32 = 0x20;

    /// Writes the definition, as [`SetDefinition`] does.
    pub(super) fn write(&self, id: u32, into: &mut Attributes) {
        into.text(2, self.name).be32(3, Self::TIMEOUT | Self::DYNAMIC);
        into.be32(4, kind_number(self.key)).be32(5, total_length(self.key));
        into.nested(9, |description| {
            description.be32(1, self.size);
        });
        into.be32(10, id).bytes(11, &self.timeout.to_be_bytes());
        let mut hint = vec![0, 4];
        hint.extend_from_slice(&2u32.to_ne_bytes());
        into.bytes(13, &hint);
    }
}

/// An element of a set or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The key's bytes.
    pub key: Vec<u8>,
    /// The value's bytes, in a map.
    pub value: Option<Vec<u8>>,
    /// The chain to go on in, in a map of verdicts.
    pub chain: Option<String>,
    /// Whether it is the end of a range, which does not belong to it.
    pub interval_end: bool,
    /// The comment, at most 127 bytes; `nft` shows it.
    pub comment: Option<String>,
}

impl Element {
    /// The longest comment.
    pub const MAX_COMMENT: usize = 127;

    /// Writes the element into a list.
    pub(super) fn write(&self, list: &mut Attributes) {
        list.nested(1, |element| {
            if self.interval_end {
                element.be32(3, 1);
            }
            element.nested(1, |key| {
                key.bytes(1, &self.key);
            });
            if let Some(value) = &self.value {
                element.nested(2, |data| {
                    data.bytes(1, value);
                });
            }
            if let Some(chain) = &self.chain {
                element.nested(2, |data| {
                    data.nested(2, |verdict| write_verdict(Verdict::Goto(chain), verdict));
                });
            }
            if let Some(words) = &self.comment {
                element.bytes(6, &comment(words));
            }
        });
    }

    /// Reads the elements of a `NEWSETELEM` message, after its fixed header.
    pub(super) fn read_all(message: &[u8]) -> Vec<Element> {
        let lists = attributes(message).filter(|(kind, _)| *kind == 3);
        lists
            .flat_map(|(_, list)| attributes(list))
            .filter(|(kind, _)| *kind == 1)
            .filter_map(|(_, element)| Self::read(element))
            .collect()
    }

    fn read(bytes: &[u8]) -> Option<Element> {
        let mut element = Element::default();
        let data =
            |nested: &[u8]| attributes(nested).find(|(kind, _)| *kind == 1).map(|(_, value)| value.to_vec());
        for (kind, value) in attributes(bytes) {
            match kind {
                1 => element.key = data(value)?,
                2 => {
                    element.value = data(value);
                    element.chain = chain(value);
                }
                3 => element.interval_end = be32(value)? & 1 != 0,
                6 => element.comment = read_comment(value),
                _ => {}
            }
        }
        Some(element)
    }
}

/// The chain of a verdict.
fn chain(data: &[u8]) -> Option<String> {
    let (_, verdict) = attributes(data).find(|(kind, _)| *kind == 2)?;
    attributes(verdict).find(|(kind, _)| *kind == 2).map(|(_, name)| text(name))
}

/// Words for people as `nft` keeps them, of elements and of rules: kind 0, length, the text with its zero.
pub(super) fn comment(words: &str) -> Vec<u8> {
    let words = &words.as_bytes()[..words.len().min(Element::MAX_COMMENT)];
    let length = u8::try_from(words.len() + 1).expect("a comment is at most 128 bytes");
    [&[0, length], words, &[0]].concat()
}

fn read_comment(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    while let [kind, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = &tail[usize::from(*length)..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenations_are_numbered_as_nft_does() {
        assert_eq!(kind_number(&[SetKind::Protocol, SetKind::Port]), 0x30d);
        assert_eq!(kind_number(&[SetKind::Ipv4, SetKind::Port]), 0x1cd);
        assert_eq!(kind_number(&[SetKind::Ipv6, SetKind::Protocol, SetKind::Port]), 0x8_30d);
        assert_eq!(total_length(&[SetKind::Ipv6, SetKind::Protocol, SetKind::Port]), 24);
    }

    #[test]
    fn elements_are_read_as_they_were_written() {
        let element = Element {
            key: vec![1, 2, 3, 4],
            value: Some(vec![5; 8]),
            interval_end: true,
            comment: Some("abc eth0".into()),
            chain: None,
        };
        let verdict = Element { key: vec![9; 4], chain: Some("elsewhere".into()), ..Element::default() };
        let mut message = Attributes::default();
        message.nested(3, |list| {
            element.write(list);
            verdict.write(list);
        });
        assert_eq!(Element::read_all(message.as_bytes()), [element, verdict]);
    }

    #[test]
    fn long_comments_are_cut() {
        let element = Element { key: vec![0; 4], comment: Some("x".repeat(200)), ..Element::default() };
        let mut message = Attributes::default();
        message.nested(3, |list| element.write(list));
        let read = Element::read_all(message.as_bytes());
        assert_eq!(read[0].comment.as_deref().map(str::len), Some(Element::MAX_COMMENT));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _elements = Element::read_all(&bytes);
            let _comment = read_comment(&bytes);
        }
    }
}
