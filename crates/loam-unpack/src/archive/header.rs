//! Records, headers, and the extensions that stand before the header of an entry.

use super::{Archive, EXTENSION_LIMIT, RECORD, number};
use crate::blocks::Blocks;
use crate::unpack::UnpackError;

impl<B: Blocks> Archive<B> {
    /// The next header that is not the end-of-archive mark.
    pub(super) fn header(&mut self) -> Result<Option<[u8; RECORD]>, UnpackError> {
        let Some(bytes) = self.record()? else { return Ok(None) };
        if bytes.iter().all(|byte| *byte == 0) {
            return match self.record()? {
                Some(second) if second.iter().any(|byte| *byte != 0) => {
                    Err(UnpackError::malformed("an entry follows a record of zeros"))
                }
                _ => Ok(None),
            };
        }
        if !checksum_fits(&bytes) {
            return Err(UnpackError::malformed("a header's checksum is wrong"));
        }
        Ok(Some(bytes))
    }

    /// The next record; `None` at the end of the stream.
    pub(super) fn record(&mut self) -> Result<Option<[u8; RECORD]>, UnpackError> {
        let mut bytes = [0; RECORD];
        if self.position == self.block.len() {
            if !self.ended {
                self.refill()?;
            }
            if self.ended {
                return Ok(None);
            }
        }
        // Blocks are multiples of a record but for the last, and all that was read before was in whole records.
        let end = self.position + RECORD;
        let Some(found) = self.block.get(self.position..end) else {
            return Err(UnpackError::malformed("it ends in the middle of a header"));
        };
        bytes.copy_from_slice(found);
        self.position = end;
        self.offset += RECORD as u64;
        if let Some(recorder) = &mut self.recorder {
            recorder.raw(&bytes);
        }
        Ok(Some(bytes))
    }

    /// Reads an extension whole.
    pub(super) fn extension(&mut self, header: &[u8; RECORD]) -> Result<Vec<u8>, UnpackError> {
        let size = number::field(&header[124..136], "size")?;
        self.read_bounded(size)
    }

    fn read_bounded(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        if size > EXTENSION_LIMIT {
            return Err(UnpackError::malformed(format!("an extension header is {size} bytes long")));
        }
        self.remaining = size;
        self.padding = padding(size);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        loop {
            let piece = self.rest()?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(piece);
        }
        self.skip_data()?;
        Ok(bytes)
    }

    pub(super) fn long_name(&mut self, header: &[u8; RECORD]) -> Result<Vec<u8>, UnpackError> {
        let mut name = self.extension(header)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        if name.is_empty() {
            return Err(UnpackError::malformed("a long name is empty"));
        }
        Ok(name)
    }
}

pub(super) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % RECORD as u64
}

/// The sum of all bytes, those of the checksum counted as spaces; signed bytes are what some old programs added up.
fn checksum_fits(bytes: &[u8; RECORD]) -> bool {
    let Ok(expected) = number::signed_field(&bytes[148..156], "checksum") else { return false };
    let rest = || bytes[..148].iter().chain(&bytes[156..]);
    let unsigned: i64 = rest().map(|byte| i64::from(*byte)).sum::<i64>() + 8 * 32;
    let signed = || rest().map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + 8 * 32;
    expected == unsigned || expected == signed()
}
