//! The message format: a fixed head of 236 bytes, the magic cookie, and options (RFC 2131, section 2; RFC 2132; RFC 3396).
//!
//! Nothing in a message is believed: an option that reaches beyond its field is an error, what comes after the end of
//! options is not read, and options that are spread over several places are joined in the order of RFC 3396.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::option;

/// The longest message that is read: more than fits any link but those with jumbo frames.
pub(crate) const MAX_MESSAGE: usize = 8192;
/// The head, and with the cookie.
const HEAD: usize = 236;
const FIXED: usize = HEAD + COOKIE.len();
/// The least that servers and relays of BOOTP take (RFC 1542, section 2.1).
const MIN_MESSAGE: usize = 300;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Hardware of type Ethernet (RFC 1700), and the length of its addresses.
const ETHERNET: [u8; 2] = [1, 6];
const BROADCAST_FLAG: u16 = 0x8000;
/// The fields for names, which may hold options instead.
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const BOOT_FILE: std::ops::Range<usize> = 108..236;

/// Types of messages (RFC 2132, section 9.6).
pub(crate) mod kind {
    pub(crate) const DISCOVER: u8 = 1;
    pub(crate) const OFFER: u8 = 2;
    pub(crate) const REQUEST: u8 = 3;
    pub(crate) const ACK: u8 = 5;
    pub(crate) const NAK: u8 = 6;
    pub(crate) const RELEASE: u8 = 7;
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("the message is cut off")]
    Truncated,
    #[error("the message is neither a request nor a reply")]
    Operation,
    #[error("the message is about hardware that is not Ethernet")]
    Hardware,
    #[error("the message has no magic cookie")]
    Cookie,
    #[error("option {0} reaches beyond the message")]
    OptionTooLong(u8),
    #[error("the message has no type, or one that is unknown")]
    Type,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) sender: Sender,
    pub(crate) kind: u8,
    pub(crate) transaction: u32,
    /// Since the client began, in seconds.
    pub(crate) seconds: u16,
    /// Whether the client can't yet hear what is sent to its address.
    pub(crate) broadcast: bool,
    /// The address that the client has.
    pub(crate) client: Ipv4Addr,
    /// The address that it gets.
    pub(crate) yours: Ipv4Addr,
    pub(crate) hardware: [u8; 6],
    pub(crate) options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// An empty message of a client.
    pub(crate) fn of_client(kind: u8, transaction: u32, hardware: [u8; 6]) -> Self {
        Self {
            sender: Sender::Client,
            kind,
            transaction,
            seconds: 0,
            broadcast: false,
            client: Ipv4Addr::UNSPECIFIED,
            yours: Ipv4Addr::UNSPECIFIED,
            hardware,
            options: BTreeMap::new(),
        }
    }

    /// Reads a message.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let head: &[u8; FIXED] = bytes.first_chunk().ok_or(MessageError::Truncated)?;
        let sender = match head[0] {
            1 => Sender::Client,
            2 => Sender::Server,
            _ => return Err(MessageError::Operation),
        };
        if head[1..3] != ETHERNET {
            return Err(MessageError::Hardware);
        }
        if head[HEAD..] != COOKIE {
            return Err(MessageError::Cookie);
        }
        let mut options = read_options(&bytes[FIXED..], bytes)?;
        let kind = match options.remove(&option::MESSAGE_TYPE).as_deref() {
            Some([kind @ 1..=8]) => *kind,
            _ => return Err(MessageError::Type),
        };
        let address = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
        let mut hardware = [0; 6];
        hardware.copy_from_slice(&head[28..34]);
        Ok(Self {
            sender,
            kind,
            transaction: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            seconds: u16::from_be_bytes([head[8], head[9]]),
            broadcast: u16::from_be_bytes([head[10], head[11]]) & BROADCAST_FLAG != 0,
            client: address(12),
            yours: address(16),
            hardware,
            options,
        })
    }

    /// Writes the message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        bytes[0] = if self.sender == Sender::Client { 1 } else { 2 };
        bytes[1..3].copy_from_slice(&ETHERNET);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        let flags = if self.broadcast { BROADCAST_FLAG } else { 0 };
        bytes[10..12].copy_from_slice(&flags.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.client.octets());
        bytes[16..20].copy_from_slice(&self.yours.octets());
        bytes[28..34].copy_from_slice(&self.hardware);
        bytes.extend(COOKIE);
        // Some servers want the type first.
        bytes.extend([option::MESSAGE_TYPE, 1, self.kind]);
        for (code, value) in &self.options {
            if value.is_empty() {
                bytes.extend([*code, 0]);
            }
            for part in value.chunks(255) {
                bytes.extend([*code, u8::try_from(part.len()).unwrap_or(u8::MAX)]);
                bytes.extend(part);
            }
        }
        bytes.push(option::END);
        bytes.resize(bytes.len().max(MIN_MESSAGE), option::PAD);
        bytes
    }

    /// An option that is one address.
    pub(crate) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.options.get(&code)?.as_slice().try_into().ok()?;
        Some(bytes.into())
    }

    /// An option that is a number of 32 bits.
    pub(crate) fn number(&self, code: u8) -> Option<u32> {
        let bytes: [u8; 4] = self.options.get(&code)?.as_slice().try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// What a server says to people, fit for a terminal.
    pub(crate) fn text(&self) -> Option<String> {
        let bytes = self.options.get(&option::MESSAGE)?;
        let bytes = &bytes[..bytes.len().min(usize::from(u8::MAX))];
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_matches(['\0', ' ']);
        (!text.is_empty()).then(|| text.escape_debug().to_string())
    }
}

/// Reads the options of the last field, and of those that it says hold more.
fn read_options(field: &[u8], message: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, MessageError> {
    let mut options = BTreeMap::new();
    read_field(field, &mut options)?;
    let overload = match options.remove(&option::OVERLOAD).as_deref() {
        Some([which @ 1..=3]) => *which,
        _ => 0,
    };
    for (bit, place) in [(1, BOOT_FILE), (2, SERVER_NAME)] {
        if overload & bit != 0 {
            read_field(&message[place], &mut options)?;
            options.remove(&option::OVERLOAD);
        }
    }
    Ok(options)
}

fn read_field(mut field: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) -> Result<(), MessageError> {
    while let Some((&code, rest)) = field.split_first() {
        field = rest;
        match code {
            option::PAD => continue,
            option::END => break,
            _ => {}
        }
        let too_long = MessageError::OptionTooLong(code);
        let (&length, rest) = field.split_first().ok_or(too_long)?;
        let (value, rest) = rest.split_at_checked(usize::from(length)).ok_or(too_long)?;
        options.entry(code).or_default().extend_from_slice(value);
        field = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
