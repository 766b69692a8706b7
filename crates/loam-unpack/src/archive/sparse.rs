//! Sparse files of GNU tar: which parts of a file its data fills.

use tar::{GnuSparseHeader, Header};

use super::pax::Pax;
use super::{Archive, EXTENSION_LIMIT, Entry, RECORD, number};
use crate::blocks::Blocks;
use crate::unpack::UnpackError;

/// The most parts that a sparse file may have.
const SEGMENT_LIMIT: usize = 65_536;

/// One part of a sparse file that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Adds the parts that an old GNU header lists.
pub(super) fn take_headers(
    headers: &[GnuSparseHeader],
    segments: &mut Vec<Segment>,
) -> Result<(), UnpackError> {
    for header in headers.iter().take_while(|header| !header.is_empty()) {
        if segments.len() == SEGMENT_LIMIT {
            return Err(too_long());
        }
        let offset = number::field(&header.offset, "offset")?;
        let length = number::field(&header.numbytes, "length")?;
        segments.push(Segment { offset, length });
    }
    Ok(())
}

/// Checks that the parts ascend, lie in the file, and need exactly the data that is there.
pub(super) fn check(segments: &[Segment], length: u64, data: u64) -> Result<(), UnpackError> {
    if segments.len() > SEGMENT_LIMIT {
        return Err(too_long());
    }
    let mut end = 0_u64;
    let mut sum = 0_u64;
    for segment in segments {
        let ascending = segment.offset >= end;
        end = segment
            .offset
            .checked_add(segment.length)
            .filter(|end| ascending && *end <= length)
            .ok_or_else(|| UnpackError::malformed("the map of a sparse file does not fit the file"))?;
        sum += segment.length;
    }
    if sum != data || length > i64::MAX.unsigned_abs() {
        return Err(UnpackError::malformed("the map of a sparse file does not fit its data"));
    }
    Ok(())
}

fn too_long() -> UnpackError {
    UnpackError::malformed("the map of a sparse file is too long")
}

/// The map of format 1.0: the number of parts, then offset and length of each, a decimal number a line.
#[derive(Default)]
pub(super) struct MapLines {
    numbers: Vec<u64>,
    read: usize,
}

impl MapLines {
    /// Reads on in the text so far; true when the map is complete.
    pub(super) fn complete(&mut self, text: &[u8]) -> Result<bool, UnpackError> {
        loop {
            if let Some(count) = self.numbers.first() {
                let count = usize::try_from(*count).ok().filter(|count| *count <= SEGMENT_LIMIT);
                if self.numbers.len() > count.ok_or_else(too_long)? * 2 {
                    return Ok(true);
                }
            }
            let Some(length) = text[self.read..].iter().position(|byte| *byte == b'\n') else {
                return Ok(false);
            };
            let line = std::str::from_utf8(&text[self.read..self.read + length]).unwrap_or("");
            let number = line.parse().map_err(|_| UnpackError::malformed("a sparse map is malformed"))?;
            self.numbers.push(number);
            self.read += length + 1;
        }
    }

    pub(super) fn segments(self) -> Vec<Segment> {
        let (pairs, _) = self.numbers.get(1..).unwrap_or_default().as_chunks::<2>();
        pairs.iter().map(|[offset, length]| Segment { offset: *offset, length: *length }).collect()
    }
}

impl<B: Blocks> Archive<B> {
    pub(super) fn old_sparse_map(&mut self, header: &Header) -> Result<(Vec<Segment>, u64), UnpackError> {
        let Some(gnu) = header.as_gnu() else {
            return Err(UnpackError::malformed("a sparse file has no GNU header"));
        };
        let mut segments = Vec::new();
        take_headers(&gnu.sparse, &mut segments)?;
        let length = number::field(&gnu.realsize, "real size")?;
        let mut more = gnu.is_extended();
        let began = self.offset;
        while more {
            self.bound(began, EXTENSION_LIMIT * 2, "are the map of one sparse file")?;
            let mut extended = tar::GnuExtSparseHeader::new();
            let record = self.record()?.ok_or_else(|| UnpackError::malformed("a sparse map is cut short"))?;
            extended.as_mut_bytes().copy_from_slice(&record);
            take_headers(extended.sparse(), &mut segments)?;
            more = extended.is_extended();
        }
        Ok((segments, length))
    }

    pub(super) fn pax_sparse_map(
        &mut self,
        pax: &Pax,
        entry: &mut Entry,
    ) -> Result<Option<(Vec<Segment>, u64)>, UnpackError> {
        let Some(length) = pax.sparse_length else { return Ok(None) };
        if !pax.sparse_in_data {
            return Ok(Some((pax.sparse_segments()?, length)));
        }
        // GNU sparse format 1.0: the map stands before the data, in decimal lines, and fills records.
        let mut text = Vec::new();
        let mut lines = MapLines::default();
        while !lines.complete(&text)? {
            if self.remaining < RECORD as u64 || text.len() as u64 > EXTENSION_LIMIT {
                return Err(UnpackError::malformed("a sparse map is cut short"));
            }
            let record = self.record()?.ok_or_else(|| UnpackError::malformed("a sparse map is cut short"))?;
            self.remaining -= RECORD as u64;
            entry.size -= RECORD as u64;
            text.extend_from_slice(&record);
        }
        Ok(Some((lines.segments(), length)))
    }
}
