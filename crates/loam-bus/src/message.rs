//! Messages ("Message Format").

use crate::body::{Body, Writer};
use crate::connection::Address;
use crate::error::{BusError, shown};
use crate::values::{Reader, Values};

/// Little endian, which all machines are that Loam is built for.
const LITTLE_ENDIAN: u8 = b'l';
/// The version of the protocol.
const VERSION: u8 = 1;
/// The length of the part of the header that is always there, with the length of the list of fields.
pub(crate) const FIXED: usize = 16;
/// The longest body, and the longest list of fields, that is read; answers have some hundred bytes.
const LONGEST: usize = 1 << 20;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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

/// A message that came: an answer or a signal.
#[derive(Debug)]
pub struct Message {
    pub(crate) kind: Kind,
    /// The serial of the call that it answers.
    pub(crate) answers: Option<u32>,
    /// The connection that it comes from; the bus itself writes this.
    pub(crate) sender: String,
    /// The object that it speaks of.
    pub(crate) path: String,
    pub(crate) interface: String,
    pub(crate) member: String,
    error_name: String,
    signature: String,
    body: Vec<u8>,
}

/// The bytes of a call.
pub(crate) fn call(serial: u32, to: &Address<'_>, method: &str, body: &Body) -> Vec<u8> {
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
pub(crate) fn length(start: &[u8]) -> Result<usize, BusError> {
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
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BusError> {
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Answer,
            Some(3) => Kind::Failure,
            Some(4) => Kind::Signal,
            _ => return Err(BusError::Malformed),
        };
        let mut reader = Reader::new(bytes, 12);
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
        while reader.position() < end {
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
    pub fn values(&self) -> Values<'_> {
        Values::new(&self.signature, &self.body)
    }

    /// What a failure says.
    pub(crate) fn failure(&self) -> BusError {
        let sentence = self.values().text().unwrap_or_default();
        BusError::Answer { name: shown(&self.error_name), sentence: shown(sentence.trim_end_matches('.')) }
    }
}
