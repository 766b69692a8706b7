//! PAX records: `LENGTH KEY=VALUE\n`, where the length counts itself and the value may hold anything.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::sparse::Segment;
use crate::unpack::UnpackError;

/// What an entry's PAX records say, as far as it concerns unpacking.
#[derive(Debug, Default)]
pub(super) struct Pax {
    path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse_name: Option<Vec<u8>>,
    /// The whole length of a sparse file, when the entry is one.
    pub(super) sparse_length: Option<u64>,
    /// Whether the map stands in the data (format 1.0).
    pub(super) sparse_in_data: bool,
    sparse_map: Vec<u64>,
}

impl Pax {
    /// Reads all records.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, UnpackError> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(|| bad("a PAX record is malformed"))?;
            pax.take(key, value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    /// The name; a sparse file's true name comes first.
    pub(super) fn path(&self) -> Option<&[u8]> {
        self.sparse_name.as_deref().or(self.path.as_deref())
    }

    /// Global records are ignored, unless they would change what entries are: nobody honours them alike.
    pub(super) fn check_global(&self) -> Result<(), UnpackError> {
        let harmless = self.path.is_none()
            && self.link.is_none()
            && self.size.is_none()
            && self.sparse_name.is_none()
            && self.sparse_length.is_none();
        if harmless { Ok(()) } else { Err(bad("a global PAX header changes names or sizes")) }
    }

    /// The map of the formats 0.0 and 0.1: offsets and lengths in turn.
    pub(super) fn sparse_segments(&self) -> Result<Vec<Segment>, UnpackError> {
        let (pairs, rest) = self.sparse_map.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(bad("a sparse map is malformed"));
        }
        Ok(pairs.iter().map(|[offset, length]| Segment { offset: *offset, length: *length }).collect())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), UnpackError> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.xattr(name.to_vec(), value.to_vec());
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let value = value
                .strip_suffix(b"=")
                .map_or_else(|| STANDARD_NO_PAD.decode(value), |_| STANDARD.decode(value));
            let value = value.map_err(|_| bad("an extended attribute is malformed"))?;
            return self.xattr(percent_decode(name)?, value);
        }
        // An empty value takes back what a global header said.
        let text = |value: &[u8]| (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text(value),
            b"linkpath" => self.link = text(value),
            b"size" => self.size = decimal(value)?,
            b"uid" => self.uid = decimal(value)?,
            b"gid" => self.gid = decimal(value)?,
            b"mtime" => self.mtime = time(value)?,
            b"GNU.sparse.name" => self.sparse_name = text(value),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse_length = decimal(value)?,
            b"GNU.sparse.major" => self.sparse_in_data = value == b"1",
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse_map.extend(decimal(value)?),
            b"GNU.sparse.map" => {
                for part in value.split(|byte| *byte == b',') {
                    self.sparse_map.extend(decimal(part)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<(), UnpackError> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(bad("an extended attribute's name is malformed"));
        }
        match self.xattrs.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.xattrs.push((name, value)),
        }
        Ok(())
    }
}

/// Splits the first record off: key, value, rest.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space]).ok()??).ok()?;
    if length <= space + 1 || length > bytes.len() {
        return None;
    }
    let (record, rest) = bytes.split_at(length);
    let body = record[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    let binary = key.starts_with(b"SCHILY.xattr.");
    if key.is_empty() || key.contains(&0) || (!binary && value.contains(&0)) {
        return None;
    }
    Some((key, value, rest))
}

/// A decimal number; `None` when the value is empty.
fn decimal(value: &[u8]) -> Result<Option<u64>, UnpackError> {
    if value.is_empty() {
        return Ok(None);
    }
    value
        .iter()
        .try_fold(0_u64, |sum, byte| match byte {
            b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
            _ => None,
        })
        .map(Some)
        .ok_or_else(|| bad("a PAX number is malformed"))
}

/// Seconds with an optional fraction, perhaps negative.
fn time(value: &[u8]) -> Result<Option<(i64, u32)>, UnpackError> {
    if value.is_empty() {
        return Ok(None);
    }
    let (negative, digits) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &[][..]),
    };
    let seconds = i64::try_from(decimal(whole)?.unwrap_or(0)).map_err(|_| bad("a PAX time is malformed"))?;
    let mut nanoseconds: u32 = 0;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err(bad("a PAX time is malformed"));
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    Ok(Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    }))
}

fn percent_decode(name: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.ok_or_else(|| bad("an extended attribute's name is malformed"))?);
        rest = &tail[2..];
    }
    Ok(decoded)
}

fn bad(what: &str) -> UnpackError {
    UnpackError::malformed(what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
    }

    #[test]
    fn values_may_hold_line_ends() {
        let records = [encode("SCHILY.xattr.user.a", b"1\n9 b=c\n\0"), encode("mtime", b"-1.25")].concat();
        let pax = Pax::parse(&records).expect("well formed");
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"1\n9 b=c\n\0".to_vec())]);
        assert_eq!(pax.mtime, Some((-2, 750_000_000)));
    }

    #[test]
    fn libarchive_attributes_are_decoded() {
        let pax = Pax::parse(&encode("LIBARCHIVE.xattr.user.%61", b"aGk")).expect("well formed");
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"hi".to_vec())]);
    }

    #[test]
    fn malformed_records_are_errors() {
        for bad in ["5 a=b", "99 a=b\n", "x a=b\n", "6 a=bc", "6 =bc\n", "11 size=1x\n", "12 path=a\0b\n"] {
            assert!(Pax::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let global = Pax::parse(&encode("path", b"x")).expect("well formed");
        assert!(global.check_global().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Pax::parse(&bytes).ok();
        }

        #[test]
        fn what_is_encoded_is_found(path in "[a-z/\n= ]{1,300}", size in any::<u64>()) {
            let records = [encode("path", path.as_bytes()), encode("size", size.to_string().as_bytes())].concat();
            let pax = Pax::parse(&records).expect("well formed");
            prop_assert_eq!(pax.path(), Some(path.as_bytes()));
            prop_assert_eq!(pax.size, Some(size));
        }
    }
}
