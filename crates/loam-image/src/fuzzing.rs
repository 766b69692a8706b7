//! What the fuzz targets (`fuzz/`) reach of this crate's parsers of strangers' bytes. It is no part of the interface.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use loam_model::{Digest, Result};

use crate::archive::{Archive, Entry, Segment};
use crate::blocks::Blocks;
use crate::document::{Config, Document, RawDocument};
use crate::hashing::sha256;
use crate::platform::Platform;
use crate::source::{self, DockerArchive, Files, Layout, Memory, Source};
use crate::space::Space;
use crate::split::{Reassembled, Recorder};
use crate::unpack::{Budget, UnpackError};

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
    let unwritten = |error| crate::error::failed("the record can't be written", error);
    let refused = |error: UnpackError| error.into_failure("the archive can't be unpacked".to_owned());
    let layer = into.try_clone().map_err(|error| crate::error::failed("no descriptor is left", error))?;
    archive.keep_framing(Recorder::new(record).map_err(unwritten)?);
    let unpacked =
        crate::unpack::unpack(&mut archive, into, &budget, &crate::unpack::mark_opaque).map_err(refused)?;
    crate::settle::settle(&layer, &unpacked, &[below], &budget).map_err(refused)?;
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
    let compression = crate::decompress::sniff(bytes).map_err(io::Error::other)?;
    crate::decompress::decoder(bytes, compression)
}

fn raw(bytes: &[u8], media_type: &str) -> RawDocument {
    RawDocument { media_type: media_type.to_owned(), digest: sha256(bytes), bytes: bytes.to_vec() }
}

/// Reads a manifest or an index that is served as this media type; whether it is an index, and how many it names.
pub fn document(bytes: &[u8], media_type: &str) -> Result<(bool, usize)> {
    Ok(match Document::parse(&raw(bytes, media_type), "`x`")? {
        Document::Index(entries) => (true, entries.len()),
        Document::Manifest(manifest) => (false, manifest.layers.len()),
    })
}

/// Reads a configuration, and holds it against a manifest with as many layers, and against this machine; the diff ids.
pub fn config(bytes: &[u8]) -> Result<Vec<Digest>> {
    let config = Config::parse(bytes, "`x`")?;
    config.check(config.diff_ids.len(), &Platform::host(), "`x`")?;
    Ok(config.diff_ids)
}

/// Chooses the image for a platform, given as text: the first document is the top, each that is fetched the next one. The
/// bytes of the chosen manifest.
pub fn select(documents: &[&[u8]], platform: &str) -> Result<Vec<u8>> {
    let wanted: Platform = platform.parse()?;
    let mut rest = documents.iter();
    let top = raw(rest.next().copied().unwrap_or_default(), "");
    let rest = Mutex::new(rest);
    let fetch = |_: &crate::document::Descriptor| {
        let next = rest.lock().ok().and_then(|mut rest| rest.next().copied());
        next.map(|bytes| raw(bytes, "")).ok_or_else(|| crate::error::invalid("there is no such document"))
    };
    crate::document::select(top, &wanted, "`x`", &fetch).map(|(raw, _)| raw.bytes)
}

/// Opens the images of an archive, Docker's or a layout, and reads everything that they point to. How many bytes came.
pub fn archived_images(bytes: &[u8], name: Option<&str>) -> Result<u64> {
    let files = || Memory::open(bytes);
    source::names_in(&files()?)?;
    let opened: Box<dyn Source> = if files()?.open("manifest.json")?.is_some() {
        Box::new(DockerArchive::open(files()?, name)?)
    } else {
        Box::new(Layout::open(files()?, name)?)
    };
    let top = opened.top()?;
    let fetch = |descriptor: &crate::document::Descriptor| opened.document(descriptor);
    let (_, manifest) = crate::document::select(top, &Platform::host(), "`x`", &fetch)?;
    let mut came = 0;
    for descriptor in manifest.layers.iter().chain([&manifest.config]) {
        let (blob, promise) = opened.blob(descriptor)?;
        let mut intake = crate::intake::Intake::new(blob, promise, &|_| {});
        intake.start()?;
        came += intake.finish()?;
    }
    Ok(came)
}

/// The names that a person's word for an image may mean, and those that an image from this source gets.
pub fn names(text: &str) -> Vec<String> {
    let mut found = crate::names::candidates(text);
    found.extend(crate::names::further_candidates(text, &|_| None));
    found.extend(crate::names::given(text));
    if let Ok(source) = crate::parse_source(text) {
        found.extend(crate::names::of_source(&source, None).ok().flatten());
    }
    found
}

/// Where the members of a tar are that an image may be made of, found without reading their data: offset and size by name.
pub fn positions(bytes: &[u8]) -> Result<HashMap<String, (u64, u64)>> {
    source::positions(bytes)
}
