//! Messages of D-Bus: as much of the wire format as a conversation with systemd needs (D-Bus specification, "Message
//! Format" and "Marshaling").

use super::bus::{Address, BusError};
use super::property::{Property, Value};

/// Little endian, which all machines are that Loam is built for.
const LITTLE_ENDIAN: u8 = b'l';
/// The version of the protocol.
const VERSION: u8 = 1;
/// The length of the part of the header that is always there, with the length of the list of fields.
pub(super) const FIXED: usize = 16;
/// The longest message that is read; systemd's answers have some hundred bytes.
const LONGEST: usize = 1 << 20;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call = 1,
    Answer = 2,
    Failure = 3,
    Signal = 4,
}

/// Codes of the header's fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SENDER: u8 = 7;
    pub(super) const SIGNATURE: u8 = 8;
}

/// A message that came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// The serial of the call that it answers.
    pub(super) answers: Option<u32>,
    /// The connection that it comes from; the bus itself writes this.
    pub(super) sender: String,
    /// The object that it speaks of.
    pub(super) path: String,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error_name: String,
    signature: String,
    body: Vec<u8>,
}

/// Bytes with values aligned to their sizes.
#[derive(Clone, Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).expect("no text of ours has gigabytes"));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).expect("no signature of ours is long"));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    /// An array: its length in bytes, padding that does not count, its elements.
    fn array(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        write(self);
        let length = u32::try_from(self.0.len() - start).expect("no array of ours has gigabytes");
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Flag(flag) => self.number(u32::from(*flag)),
            Value::Number(number) => self.long(*number),
            Value::Processes(pids) => self.array(4, |writer| pids.iter().for_each(|pid| writer.number(*pid))),
            Value::Bits(bytes) => self.array(1, |writer| writer.0.extend(bytes)),
        }
    }
}

/// The values of a call, with their types.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    signature: String,
    writer: Writer,
}

impl Body {
    pub(super) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.writer.text(text);
        self
    }

    pub(super) fn properties(mut self, properties: &[Property]) -> Self {
        self.signature.push_str("a(sv)");
        self.writer.array(8, |writer| {
            for (name, value) in properties {
                writer.align(8);
                writer.text(name);
                writer.variant(value);
            }
        });
        self
    }

    pub(super) fn flag(mut self, flag: bool) -> Self {
        self.signature.push('b');
        self.writer.number(u32::from(flag));
        self
    }

    /// The empty list of further units that `StartTransientUnit` could make.
    pub(super) fn no_auxiliary_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.writer.array(8, |_| {});
        self
    }
}

/// The bytes of a call.
pub(super) fn call(serial: u32, to: &Address<'_>, method: &str, body: &Body) -> Vec<u8> {
    let mut writer = Writer(vec![LITTLE_ENDIAN, Kind::Call as u8, 0, VERSION]);
    writer.number(u32::try_from(body.writer.0.len()).expect("no call of ours has gigabytes"));
    writer.number(serial);
    writer.array(8, |writer| {
        let mut text = |code: u8, kind: &str, text: &str| {
            writer.align(8);
            writer.0.push(code);
            writer.signature(kind);
            if kind == "g" { writer.signature(text) } else { writer.text(text) }
        };
        text(field::PATH, "o", to.path);
        text(field::INTERFACE, "s", to.interface);
        text(field::MEMBER, "s", method);
        text(field::DESTINATION, "s", to.name);
        if !body.signature.is_empty() {
            text(field::SIGNATURE, "g", &body.signature);
        }
    });
    writer.align(8);
    writer.0.extend(&body.writer.0);
    writer.0
}

/// The length of the message that begins with these bytes, of which there are [`FIXED`].
pub(super) fn length(start: &[u8]) -> Result<usize, BusError> {
    let number = |at: usize| {
        let bytes = start.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).and_then(|number| usize::try_from(number).ok())
    };
    let known = start.first() == Some(&LITTLE_ENDIAN) && start.get(3) == Some(&VERSION);
    match (known, number(4), number(12)) {
        (true, Some(body @ 0..LONGEST), Some(fields @ 0..LONGEST)) => {
            Ok((FIXED + fields).next_multiple_of(8) + body)
        }
        _ => Err(BusError::Malformed),
    }
}

impl Message {
    /// Reads a whole message.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BusError> {
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Answer,
            Some(3) => Kind::Failure,
            Some(4) => Kind::Signal,
            _ => return Err(BusError::Malformed),
        };
        let mut reader = Reader { bytes, at: 12 };
        let end = usize::try_from(reader.number()?).map_err(|_| BusError::Malformed)? + FIXED;
        let body = bytes.get(end.next_multiple_of(8)..).ok_or(BusError::Malformed)?.to_vec();
        let mut message = Self {
            kind,
            answers: None,
            sender: String::new(),
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            error_name: String::new(),
            signature: String::new(),
            body,
        };
        while reader.at < end {
            message.read_field(&mut reader)?;
        }
        Ok(message)
    }

    fn read_field(&mut self, reader: &mut Reader<'_>) -> Result<(), BusError> {
        reader.align(8);
        let code = reader.byte()?;
        match reader.signature()?.as_str() {
            "s" | "o" => {
                let text = reader.text()?;
                match code {
                    field::PATH => self.path = text,
                    field::INTERFACE => self.interface = text,
                    field::SENDER => self.sender = text,
                    field::MEMBER => self.member = text,
                    field::ERROR_NAME => self.error_name = text,
                    _ => {}
                }
            }
            "g" => self.signature = reader.signature()?,
            "u" => {
                let number = reader.number()?;
                if code == field::REPLY_SERIAL {
                    self.answers = Some(number);
                }
            }
            _ => return Err(BusError::Malformed),
        }
        Ok(())
    }

    /// Its values, in order.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }

    /// The sentence of a failure.
    pub(super) fn sentence(&self) -> String {
        let text = if self.signature.starts_with('s') { self.reader().text().ok() } else { None };
        text.map(|text| loam_model::shown(text.trim_end_matches('.'))).unwrap_or_default()
    }
}

/// Reads values with their alignment.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&[u8], BusError> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(BusError::Malformed)?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BusError> {
        self.take(1)?.first().copied().ok_or(BusError::Malformed)
    }

    pub(super) fn number(&mut self) -> Result<u32, BusError> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| BusError::Malformed)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A text or the path of an object.
    pub(super) fn text(&mut self) -> Result<String, BusError> {
        let length = usize::try_from(self.number()?).map_err(|_| BusError::Malformed)?;
        self.terminated(length)
    }

    /// A variant that has to hold a text.
    pub(super) fn variant_text(&mut self) -> Result<String, BusError> {
        match self.signature()?.as_str() {
            "s" | "o" => self.text(),
            _ => Err(BusError::Malformed),
        }
    }

    fn signature(&mut self) -> Result<String, BusError> {
        let length = self.byte()?;
        self.terminated(length.into())
    }

    fn terminated(&mut self, length: usize) -> Result<String, BusError> {
        let text = String::from_utf8(self.take(length)?.to_vec()).map_err(|_| BusError::Malformed)?;
        match self.byte()? {
            0 => Ok(text),
            _ => Err(BusError::Malformed),
        }
    }
}
