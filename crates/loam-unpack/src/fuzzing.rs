//! What the fuzz targets (`fuzz/`) reach of this crate's parsers of strangers' bytes. It is no part of the interface.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use loam_model::Result;

use crate::archive::{Archive, Entry, Segment};
use crate::blocks::Blocks;
use crate::error::failed;
use crate::split::Recorder;
use crate::unpack::mark_opaque;
use crate::{Budget, Reassembled, Space, UnpackError};

/// One entry of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name as it stands in the archive.
    pub name: Vec<u8>,
    /// How many bytes of data it says to have.
    pub size: u64,
    /// How many came.
    pub came: u64,
    /// Offset and length of the parts of a sparse file, and its whole length.
    pub sparse: Option<(Vec<(u64, u64)>, u64)>,
}

/// The blocks of a tar in memory: as small as can be, so that everything lies across some.
struct SmallBlocks<'a>(&'a [u8]);

impl Blocks for SmallBlocks<'_> {
    fn next(&mut self, mut spent: Vec<u8>) -> Result<Vec<u8>> {
        let (block, rest) = self.0.split_at(self.0.len().min(512));
        self.0 = rest;
        spent.clear();
        spent.extend_from_slice(block);
        Ok(spent)
    }
}

/// Reads a tar to its end.
pub fn archive(bytes: &[u8], member: &mut dyn FnMut(Member)) -> Result<()> {
    let mut archive = Archive::new(SmallBlocks(bytes));
    let mut entry = Entry::default();
    let mut read = || -> std::result::Result<(), UnpackError> {
        while archive.next_entry(&mut entry)? {
            let mut came = 0;
            loop {
                match archive.data()?.len() {
                    0 => break,
                    count => came += count as u64,
                }
            }
            let pairs = |parts: &Vec<Segment>| parts.iter().map(|part| (part.offset, part.length)).collect();
            let sparse = entry.sparse.as_ref().map(|(parts, length)| (pairs(parts), *length));
            member(Member { name: entry.path.clone(), size: entry.size, came, sparse });
        }
        archive.drain()
    };
    read().map_err(|error| error.into_failure("the archive can't be read".to_owned()))
}

/// What came of unpacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries made.
    pub entries: u64,
    /// Whether [`reassemble`] gives the archive again.
    pub is_recorded: bool,
}

/// Unpacks a tar into an empty directory, on which so many bytes and inodes are free, above another layer, and writes its
/// record into a file.
pub fn unpack(
    bytes: &[u8],
    into: OwnedFd,
    below: OwnedFd,
    record: File,
    free: (u64, u64),
) -> Result<Unpacked> {
    // A file system that is full when it is asked again: only what was charged in the beginning may be taken.
    let first = Mutex::new(Some(free));
    let look = move || {
        let free = first.lock().ok().and_then(|mut first| first.take()).unwrap_or_default();
        Ok(Space { block: 4096, bytes: free.0, inodes: Some(free.1) })
    };
    let budget = Budget::new(look, None)?;
    let mut archive = Archive::new(SmallBlocks(bytes));
    let unwritten = |error| failed("the record can't be written", error);
    let refused = |error: UnpackError| error.into_failure("the archive can't be unpacked".to_owned());
    let layer = into.try_clone().map_err(|error| failed("no descriptor is left", error))?;
    archive.keep_framing(Recorder::new(record).map_err(unwritten)?);
    let unpacked = crate::unpack::unpack(&mut archive, into, &budget, &mark_opaque).map_err(refused)?;
    crate::settle(&layer, &unpacked, &[below], &budget).map_err(refused)?;
    let is_whole = archive.finish_framing().map_err(unwritten)?.unwrap_or(false);
    Ok(Unpacked { entries: unpacked.entries, is_recorded: is_whole && !unpacked.lossy })
}

/// Puts a tar together again from its record and the unpacked files.
pub fn reassemble(record: File, layer: OwnedFd) -> io::Result<impl Read> {
    Reassembled::new(record, layer)
}

/// Deletes what is under a name in a directory.
pub fn delete(directory: impl AsFd, name: &str) -> io::Result<()> {
    crate::delete::tree(directory, name)
}

/// The decompressed bytes of a blob.
pub fn decompress(bytes: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
    let compression = crate::sniff(bytes).map_err(io::Error::other)?;
    crate::decoder(bytes, compression)
}

/// Where the members of a tar are that an image may be made of, found without reading their data: offset and size by name.
pub fn positions(bytes: &[u8]) -> Result<HashMap<String, (u64, u64)>> {
    crate::list_members(io::Cursor::new(bytes), "x")
}
