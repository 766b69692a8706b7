//! Writing the record while a layer is unpacked.

use std::fs::File;
use std::io::{self, Write};

use zstd::stream::write::Encoder;

use super::{END, FILE, MAGIC, RAW, RAW_LIMIT, SIZE_LIMIT};
use crate::archive::Segment;

/// Fast, and still a twentieth of the headers' size.
const LEVEL: i32 = 1;

/// A record being written. It is given up, not the layer, when it becomes too large.
pub(crate) struct Recorder {
    /// `None` when it was given up.
    encoder: Option<Encoder<'static, Counted>>,
    /// Bytes of the archive that are not written yet.
    raw: Vec<u8>,
    failure: Option<io::Error>,
}

impl Recorder {
    /// Begins a record in an empty file.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let mut encoder = Encoder::new(Counted { file, count: 0 }, LEVEL)?;
        encoder.write_all(MAGIC)?;
        Ok(Self { encoder: Some(encoder), raw: Vec::with_capacity(RAW_LIMIT), failure: None })
    }

    /// Takes bytes of the archive that are no file's data.
    pub(crate) fn raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(RAW_LIMIT - self.raw.len());
            self.raw.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.raw.len() == RAW_LIMIT {
                self.flush();
            }
        }
    }

    /// Notes that the data of these parts of a file come next.
    pub(crate) fn file(&mut self, path: &[u8], parts: &[Segment]) {
        self.flush();
        let mut item = Vec::with_capacity(path.len() + parts.len() * 16 + 9);
        item.push(FILE);
        number(&mut item, path.len());
        item.extend_from_slice(path);
        number(&mut item, parts.len());
        for part in parts {
            item.extend_from_slice(&part.offset.to_le_bytes());
            item.extend_from_slice(&part.length.to_le_bytes());
        }
        self.write(&item);
    }

    /// Ends it; whether it is whole.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        self.flush();
        self.write(&[END]);
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let Some(encoder) = self.encoder else { return Ok(false) };
        encoder.finish()?;
        Ok(true)
    }

    fn flush(&mut self) {
        if self.raw.is_empty() {
            return;
        }
        let mut item = vec![RAW];
        number(&mut item, self.raw.len());
        self.write(&item);
        let raw = std::mem::take(&mut self.raw);
        self.write(&raw);
        self.raw = raw;
        self.raw.clear();
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(encoder) = &mut self.encoder else { return };
        if let Err(error) = encoder.write_all(bytes) {
            self.failure = Some(error);
            self.encoder = None;
        } else if encoder.get_ref().count > SIZE_LIMIT {
            self.encoder = None;
        }
    }
}

fn number(item: &mut Vec<u8>, value: usize) {
    item.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}

/// A file, and how much was written to it.
struct Counted {
    file: File,
    count: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
