//! Reading values ("Marshaling").

use crate::error::BusError;

/// Bytes that are read with their alignment.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// How far it has come.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BusError> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(BusError::Malformed)?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, BusError> {
        self.take(1)?.first().copied().ok_or(BusError::Malformed)
    }

    pub(crate) fn number(&mut self) -> Result<u32, BusError> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| BusError::Malformed)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(crate) fn text(&mut self) -> Result<String, BusError> {
        let length = usize::try_from(self.number()?).map_err(|_| BusError::Malformed)?;
        self.terminated(length)
    }

    pub(crate) fn signature(&mut self) -> Result<String, BusError> {
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

/// The values of a message, in order. One of another type than is asked for is [`BusError::Malformed`].
#[derive(Debug)]
pub struct Values<'a> {
    types: std::slice::Iter<'a, u8>,
    reader: Reader<'a>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(signature: &'a str, body: &'a [u8]) -> Self {
        Self { types: signature.as_bytes().iter(), reader: Reader::new(body, 0) }
    }

    fn expect(&mut self, types: &[u8]) -> Result<(), BusError> {
        let found = self.types.next().filter(|found| types.contains(found));
        found.map(drop).ok_or(BusError::Malformed)
    }

    /// A number of 32 bits, `u`.
    pub fn number(&mut self) -> Result<u32, BusError> {
        self.expect(b"u")?;
        self.reader.number()
    }

    /// A truth value, `b`.
    pub fn flag(&mut self) -> Result<bool, BusError> {
        self.expect(b"b")?;
        match self.reader.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BusError::Malformed),
        }
    }

    /// A text or the path of an object, `s` or `o`.
    pub fn text(&mut self) -> Result<String, BusError> {
        self.expect(b"so")?;
        self.reader.text()
    }

    /// A variant that holds a text.
    pub fn variant_text(&mut self) -> Result<String, BusError> {
        self.expect(b"v")?;
        match self.reader.signature()?.as_str() {
            "s" | "o" => self.reader.text(),
            _ => Err(BusError::Malformed),
        }
    }
}
