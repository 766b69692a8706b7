//! Putting a layer's tar together again.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use zstd::stream::read::Decoder;

use super::{END, FILE, MAGIC, PART_LIMIT, PATH_LIMIT, RAW, RAW_LIMIT};
use crate::archive::Segment;

/// The tar of a layer, as a stream. A file that is missing, or shorter than it was, is an error that names it.
pub struct Reassembled {
    record: Decoder<'static, BufReader<File>>,
    /// The unpacked layer.
    layer: OwnedFd,
    state: State,
}

enum State {
    /// An item comes next.
    Between,
    /// So many bytes of the record are bytes of the tar.
    Raw(usize),
    Data {
        file: File,
        path: Vec<u8>,
        parts: VecDeque<Segment>,
    },
    Ended,
}

impl Reassembled {
    /// Begins with a record and the directory of the unpacked files.
    pub fn new(record: File, layer: OwnedFd) -> io::Result<Self> {
        let mut record = Decoder::new(record)?;
        let mut magic = [0; MAGIC.len()];
        record.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(malformed("it begins with something else"));
        }
        Ok(Self { record, layer, state: State::Between })
    }

    fn next_item(&mut self) -> io::Result<State> {
        let mut kind = [0];
        self.record.read_exact(&mut kind)?;
        match kind[0] {
            END => Ok(State::Ended),
            RAW => Ok(State::Raw(self.number(RAW_LIMIT)?)),
            FILE => {
                let mut path = vec![0; self.number(PATH_LIMIT)?];
                self.record.read_exact(&mut path)?;
                let count = self.number(PART_LIMIT)?;
                let mut parts = VecDeque::with_capacity(count);
                for _ in 0..count {
                    let (offset, length) = (self.long()?, self.long()?);
                    parts.push_back(Segment { offset, length });
                }
                let file = self.open(&path)?;
                Ok(State::Data { file, path, parts })
            }
            _ => Err(malformed("it holds an unknown item")),
        }
    }

    fn number(&mut self, limit: usize) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.record.read_exact(&mut bytes)?;
        let number = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        if number > limit { Err(malformed("a length is absurd")) } else { Ok(number) }
    }

    fn long(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.record.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Opens a file of the layer. Some lie behind links within it. What is no regular file is never opened: to open some
    /// devices is to use them.
    fn open(&self, path: &[u8]) -> io::Result<File> {
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open =
            |flags| loam_sys::openat2(&self.layer, path, flags | OFlags::CLOEXEC, Mode::empty(), within);
        let wrong = |error: Errno| of_file(path, error.into());
        let looked_at = open(OFlags::PATH).and_then(rustix::fs::fstat).map_err(wrong)?;
        if FileType::from_raw_mode(looked_at.st_mode) != FileType::RegularFile {
            return Err(of_file(path, io::Error::new(io::ErrorKind::InvalidData, "it is no file any more")));
        }
        open(OFlags::RDONLY | OFlags::NONBLOCK).map(File::from).map_err(wrong)
    }
}

impl fmt::Debug for Reassembled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reassembled").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl Read for Reassembled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                State::Ended => return Ok(0),
                State::Between => self.state = self.next_item()?,
                State::Raw(0) => self.state = State::Between,
                State::Raw(left) => {
                    let limit = buffer.len().min(*left);
                    let count = self.record.read(&mut buffer[..limit])?;
                    if count == 0 {
                        return Err(malformed("it is cut short"));
                    }
                    *left -= count;
                    return Ok(count);
                }
                State::Data { file, path, parts } => {
                    let Some(part) = parts.front_mut().filter(|part| part.length > 0) else {
                        if parts.pop_front().is_none() {
                            self.state = State::Between;
                        }
                        continue;
                    };
                    let limit = usize::try_from(part.length).unwrap_or(usize::MAX).min(buffer.len());
                    let count = file
                        .read_at(&mut buffer[..limit], part.offset)
                        .map_err(|error| of_file(path, error))?;
                    if count == 0 {
                        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was");
                        return Err(of_file(path, error));
                    }
                    part.offset += count as u64;
                    part.length -= count as u64;
                    return Ok(count);
                }
            }
        }
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the record of the layer's tar is damaged: {what}"))
}

fn of_file(path: &[u8], error: io::Error) -> io::Error {
    let what = format!("the layer's file `{}` can't be read: {error}", loam_model::shown_bytes(path));
    io::Error::new(error.kind(), what)
}
