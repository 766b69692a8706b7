//! The compressed bytes of a blob on their way in: counted, hashed, and held against what was promised.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};

use loam_model::{Digest, ErrorKind, Failure};
use loam_registry::Bytes;

use crate::hashing::Hasher;

/// A blob being read.
pub(crate) trait Blob: Send {
    /// The next bytes, never an empty piece; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, Failure>;
}

/// What is known of a blob beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    /// The digest; a local archive's layers may have none but their diff id.
    pub(crate) digest: Option<Digest>,
    /// The size in bytes; a stream from a person's pipe has none.
    pub(crate) size: Option<u64>,
}

/// The bytes of a blob as a reader.
pub(crate) struct Intake<'a> {
    blob: Box<dyn Blob + 'a>,
    piece: Bytes,
    promise: Promise,
    hasher: Option<Hasher>,
    count: u64,
    ended: bool,
    heard: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Intake<'a> {
    /// Begins; `heard` is told the bytes so far with each piece.
    pub(crate) fn new(blob: Box<dyn Blob + 'a>, promise: Promise, heard: &'a (dyn Fn(u64) + Sync)) -> Self {
        let hasher = promise.digest.as_ref().map(|digest| Hasher::new(digest.algorithm()));
        Self { blob, piece: Bytes::new(), promise, hasher, count: 0, ended: false, heard }
    }

    /// The first bytes, at least six of them unless the blob is shorter, without taking them.
    pub(crate) fn start(&mut self) -> Result<&[u8], Failure> {
        if self.piece.len() < 6 {
            let mut start = self.piece.to_vec();
            while start.len() < 6 && self.advance()? {
                start.extend_from_slice(&self.piece);
            }
            self.piece = Bytes::from(start);
        }
        Ok(&self.piece)
    }

    /// Whether anything was promised that the end of the blob would tell.
    pub(crate) fn has_promises(&self) -> bool {
        self.promise.digest.is_some() || self.promise.size.is_some()
    }

    /// Takes in what is left, and checks the promises.
    pub(crate) fn finish(mut self) -> Result<u64, Failure> {
        while self.advance()? {}
        if let Some(size) = self.promise.size.filter(|size| *size != self.count) {
            return Err(wrong(format!("{} bytes came where {size} were promised", self.count)));
        }
        if let (Some(hasher), Some(promised)) = (self.hasher, &self.promise.digest) {
            let found = hasher.finish();
            if found != *promised {
                return Err(wrong(format!("the bytes that came have the digest `{found}`")));
            }
        }
        Ok(self.count)
    }

    /// Fetches the next piece; false at the end.
    fn advance(&mut self) -> Result<bool, Failure> {
        if self.ended {
            self.piece = Bytes::new();
            return Ok(false);
        }
        let Some(piece) = self.blob.next()? else {
            self.ended = true;
            self.piece = Bytes::new();
            return Ok(false);
        };
        self.count += piece.len() as u64;
        if let Some(size) = self.promise.size.filter(|size| self.count > *size) {
            self.ended = true;
            return Err(wrong(format!("more bytes came than the {size} promised")));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        (self.heard)(self.count);
        self.piece = piece;
        Ok(true)
    }
}

/// A peer that does not keep its word: trying again may help.
fn wrong(what: String) -> Failure {
    Failure::new(ErrorKind::Unavailable, what)
}

impl Read for Intake<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Intake<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() {
            self.advance().map_err(io::Error::other)?;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        drop(self.piece.split_to(count));
    }
}

/// A blob that is written to a file as it comes.
pub(crate) struct Copied<'a> {
    pub(crate) blob: Box<dyn Blob + 'a>,
    pub(crate) file: File,
}

impl Blob for Copied<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = self.blob.next()?;
        if let Some(piece) = &piece {
            let written = self.file.write_all(piece);
            written.map_err(|error| crate::error::failed("the blob can't be kept", error))?;
        }
        Ok(piece)
    }
}

/// A blob from any reader.
pub(crate) struct ReaderBlob<R>(pub(crate) R);

impl<R: Read + Send> Blob for ReaderBlob<R> {
    fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut piece = vec![0; 128 * 1024];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    piece.truncate(count);
                    return Ok(Some(Bytes::from(piece)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(crate::error::failed("the data can't be read", error)),
            }
        }
    }
}

/// Reads a whole small document, and checks it.
pub(crate) fn read_document(
    blob: Box<dyn Blob + '_>,
    promise: Promise,
    limit: u64,
) -> Result<Vec<u8>, Failure> {
    let size = promise.size.unwrap_or(0);
    if size > limit {
        return Err(Failure::new(
            ErrorKind::Invalid,
            format!("it is {size} bytes long where at most {limit} are allowed"),
        ));
    }
    let mut intake = Intake::new(blob, promise, &|_| {});
    let mut bytes = Vec::new();
    loop {
        let piece = intake.fill_buf().map_err(|error| crate::error::unwrap_io(error, String::new))?;
        if piece.is_empty() {
            break;
        }
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(Failure::new(ErrorKind::Invalid, format!("it is longer than {limit} bytes")));
        }
        bytes.extend_from_slice(piece);
        let count = piece.len();
        intake.consume(count);
    }
    intake.finish()?;
    Ok(bytes)
}
