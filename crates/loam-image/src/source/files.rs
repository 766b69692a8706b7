//! A set of files by name: a directory, or the inside of a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loam_model::{ErrorKind, Failure, Result};
use loam_registry::Bytes;
use loam_unpack::{Listed, Unpacker, list_members, open_archive};
use rustix::fs::{Mode, OFlags};

use crate::error::{failed, wrap};
use crate::intake::{Blob, Promise, ReaderBlob, read_document};
use crate::staging::make_directory;

/// One file of a set.
#[derive(Debug)]
pub(crate) enum Content {
    /// A part of a file on disk.
    Range(FileRange),
    /// Bytes in memory.
    Memory(Bytes),
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Content::Range(range) => range.end - range.offset,
            Content::Memory(bytes) => bytes.len() as u64,
        }
    }

    pub(crate) fn into_blob(self) -> Box<dyn Blob> {
        match self {
            Content::Range(range) => Box::new(ReaderBlob(range)),
            Content::Memory(bytes) => Box::new(Once(Some(bytes))),
        }
    }

    /// Reads it whole.
    pub(crate) fn read(self, promise: Promise, limit: u64) -> Result<Vec<u8>> {
        let size = self.size();
        if size > limit {
            let what = format!("it is {size} bytes long where at most {limit} are allowed");
            return Err(Failure::new(ErrorKind::Invalid, what));
        }
        read_document(self.into_blob(), promise, limit)
    }
}

/// A part of a file, read by position, so that several readers share the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct FileRange {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl FileRange {
    pub(super) fn new(file: Arc<File>, offset: u64, size: u64) -> Self {
        Self { file, offset, end: offset.saturating_add(size) }
    }
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Bytes given in one piece.
struct Once(Option<Bytes>);

impl Blob for Once {
    fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.take().filter(|bytes| !bytes.is_empty()))
    }
}

/// A set of files.
pub(crate) trait Files: Sync {
    /// The file with this name, `/` between its parts; `None` when there is none.
    fn open(&self, name: &str) -> Result<Option<Content>>;
    /// What messages call the set.
    fn describe(&self) -> String;

    /// Reads a small file whole; `None` when there is none.
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(content) = self.open(name)? else { return Ok(None) };
        let promise = Promise { digest: None, size: Some(content.size()) };
        let bytes = content
            .read(promise, limit)
            .map_err(|failure| wrap(failure, &format!("`{name}` in {} can't be read", self.describe())))?;
        Ok(Some(bytes))
    }
}

/// A directory. It is the person's own: links in it are followed, and all that comes out of it is held against
/// digests; what is no regular file is not opened for long.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Files for Directory {
    fn open(&self, name: &str) -> Result<Option<Content>> {
        open_regular(&self.0.join(name))
            .map(|file| file.map(|(file, size)| Content::Range(FileRange::new(Arc::new(file), 0, size))))
    }

    fn describe(&self) -> String {
        format!("`{}`", self.0.display())
    }
}

/// Opens a regular file; `None` when there is nothing.
pub(super) fn open_regular(path: &Path) -> Result<Option<(File, u64)>> {
    let what = |error: io::Error| failed(format!("`{}` can't be opened", path.display()), error);
    // A FIFO or a device must not keep anyone waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(what(error.into())),
    };
    let metadata = file.metadata().map_err(what)?;
    if !metadata.is_file() {
        return Err(Failure::new(ErrorKind::Invalid, format!("`{}` is not a file", path.display())));
    }
    Ok(Some((file, metadata.len())))
}

/// The inside of a tar on disk.
#[derive(Debug)]
pub(crate) struct TarFile {
    path: PathBuf,
    file: Arc<File>,
    /// Offset and size by name.
    entries: HashMap<String, (u64, u64)>,
}

impl TarFile {
    /// Lists a tar; one that is compressed is first unpacked into a nameless file in `spool`.
    pub(crate) fn open(path: &Path, spool: &Path, unpacker: &Unpacker) -> Result<Self> {
        let (file, _) = open_regular(path)?.ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, format!("the archive `{}` does not exist", path.display()))
        })?;
        make_directory(spool)?;
        let Listed { plain, members } = open_archive(file, path, spool, unpacker)?;
        Ok(Self { path: path.to_owned(), file: Arc::new(plain), entries: members })
    }
}

impl Files for TarFile {
    fn open(&self, name: &str) -> Result<Option<Content>> {
        let range = |(offset, size)| Content::Range(FileRange::new(self.file.clone(), offset, size));
        Ok(self.entries.get(name).copied().map(range))
    }

    fn describe(&self) -> String {
        format!("`{}`", self.path.display())
    }
}

/// The inside of a tar in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: Bytes,
    entries: HashMap<String, (u64, u64)>,
}

impl Memory {
    pub(crate) fn open(bytes: &[u8]) -> Result<Self> {
        let entries = list_members(io::Cursor::new(bytes), "the built-in image can't be read")?;
        Ok(Self { bytes: Bytes::copy_from_slice(bytes), entries })
    }
}

impl Files for Memory {
    fn open(&self, name: &str) -> Result<Option<Content>> {
        let Some((offset, size)) = self.entries.get(name) else { return Ok(None) };
        let range = usize::try_from(*offset).ok().zip(usize::try_from(offset + size).ok());
        Ok(range
            .filter(|(_, end)| *end <= self.bytes.len())
            .map(|(start, end)| Content::Memory(self.bytes.slice(start..end))))
    }

    fn describe(&self) -> String {
        "the built-in image".to_owned()
    }
}
