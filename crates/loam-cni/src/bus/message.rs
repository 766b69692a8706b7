//! Messages of D-Bus: calls with texts, and answers with a text or a flag (D-Bus specification, "Message Format").

use super::{Address, BusError};

/// Little endian, which all machines are that Loam is built for.
const LITTLE_ENDIAN: u8 = b'l';
const VERSION: u8 = 1;
/// The part of the header that is always there, with the length of the list of fields.
pub(super) const FIXED: usize = 16;
/// The longest part of a message that is read.
const LONGEST: usize = 1 << 20;
const CALL: u8 = 1;
const FAILURE: u8 = 3;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

fn number(bytes: &mut Vec<u8>, value: usize) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(u32::try_from(value).expect("nothing of ours has gigabytes").to_le_bytes());
}

fn text(bytes: &mut Vec<u8>, value: &str) {
    number(bytes, value.len());
    bytes.extend(value.bytes());
    bytes.push(0);
}

fn signature(bytes: &mut Vec<u8>, value: &str) {
    bytes.push(u8::try_from(value.len()).expect("no signature of ours is long"));
    bytes.extend(value.bytes());
    bytes.push(0);
}

/// The bytes of a call with texts.
pub(super) fn call(serial: u32, to: &Address, method: &str, texts: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    texts.iter().for_each(|value| text(&mut body, value));
    let mut fields = Vec::new();
    let mut field = |code: u8, kind: &str, value: &str| {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.push(code);
        signature(&mut fields, kind);
        if kind == "g" { signature(&mut fields, value) } else { text(&mut fields, value) }
    };
    field(PATH, "o", to.path);
    field(INTERFACE, "s", to.interface);
    field(MEMBER, "s", method);
    field(DESTINATION, "s", to.name);
    if !texts.is_empty() {
        field(SIGNATURE, "g", &"s".repeat(texts.len()));
    }
    let mut bytes = vec![LITTLE_ENDIAN, CALL, 0, VERSION];
    number(&mut bytes, body.len());
    bytes.extend(serial.to_le_bytes());
    number(&mut bytes, fields.len());
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

/// The length of the message that begins with these [`FIXED`] bytes.
pub(super) fn length(start: &[u8]) -> Result<usize, BusError> {
    let reader = Reader { bytes: start, at: 0 };
    let known = start.first() == Some(&LITTLE_ENDIAN) && start.get(3) == Some(&VERSION);
    match (known, reader.number_at(4), reader.number_at(12)) {
        (true, Some(body @ 0..LONGEST), Some(fields @ 0..LONGEST)) => {
            Ok((FIXED + fields).next_multiple_of(8) + body)
        }
        _ => Err(BusError::Malformed),
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Message {
    failed: bool,
    /// The serial of the call that it answers.
    pub(super) answers: Option<u32>,
    error_name: String,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    /// Reads a whole message.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BusError> {
        Self::read(bytes).ok_or(BusError::Malformed)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 12 };
        let end = reader.number()? + FIXED;
        let body = bytes.get(end.next_multiple_of(8)..)?.to_vec();
        let failed = bytes.get(1) == Some(&FAILURE);
        let mut message =
            Self { failed, answers: None, error_name: String::new(), signature: String::new(), body };
        while reader.at < end {
            reader.at = reader.at.next_multiple_of(8);
            let code = *reader.take(1)?.first()?;
            match reader.signature()?.as_str() {
                "s" | "o" => {
                    let text = reader.text()?;
                    if code == ERROR_NAME {
                        message.error_name = text;
                    }
                }
                "g" => message.signature = reader.signature()?,
                "u" => {
                    let number = u32::try_from(reader.number()?).ok();
                    if code == REPLY_SERIAL {
                        message.answers = number;
                    }
                }
                _ => return None,
            }
        }
        Some(message)
    }

    /// The message, unless it tells of a failure.
    pub(super) fn verdict(self) -> Result<Self, BusError> {
        if !self.failed {
            return Ok(self);
        }
        let mut reader = Reader { bytes: &self.body, at: 0 };
        let sentence = if self.signature.starts_with('s') { reader.text() } else { None };
        let shown = |text: &str| text.chars().take(500).flat_map(char::escape_debug).collect::<String>();
        Err(BusError::Answer {
            name: shown(&self.error_name),
            sentence: shown(&sentence.unwrap_or_default()),
        })
    }

    /// The flag that it holds.
    pub(crate) fn flag(&self) -> Result<bool, BusError> {
        let number = Reader { bytes: &self.body, at: 0 }.number().filter(|_| self.signature == "b");
        number.map(|number| number != 0).ok_or(BusError::Malformed)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn number_at(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        self.at = self.at.next_multiple_of(4);
        let number = self.number_at(self.at)?;
        self.at += 4;
        Some(number)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        self.terminated(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = *self.take(1)?.first()?;
        self.terminated(length.into())
    }

    fn terminated(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (*self.take(1)?.first()? == 0).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_as_it_was_written() {
        let to = Address { name: "a.b", path: "/c", interface: "d.e" };
        let bytes = call(7, &to, "addSource", &["trusted", "10.0.0.1/32"]);
        assert_eq!(length(&bytes[..FIXED]).expect("a message"), bytes.len());
        let message = Message::parse(&bytes).expect("a message");
        assert_eq!((message.signature.as_str(), message.failed), ("ss", false));
        let mut reader = Reader { bytes: &message.body, at: 0 };
        assert_eq!(reader.text().as_deref(), Some("trusted"));
        assert_eq!(reader.text().as_deref(), Some("10.0.0.1/32"));
        assert!(message.flag().is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _length = length(&bytes);
            if let Ok(message) = Message::parse(&bytes) {
                let _flag = message.flag();
                let _verdict = message.verdict();
            }
        }
    }
}
