//! Into an image layout: a new one beside its place, an existing one where it is, in which unfinished blobs have no name
//! that counts, and `index.json` is changed last.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use loam_model::{Digest, ErrorKind, Failure, Result};
use rustix::fs::FlockOperation;

use super::blobs::Incoming;
use super::unfinished::{self, UnfinishedDirectory};
use super::{Destination, layout_index};
use crate::document::{Descriptor, MANIFEST_LIMIT, RawDocument};
use crate::error::failed;
use crate::source::{Directory, Files as _};
use crate::staging::open_directory_of_others;

/// How many blobs are written at once.
const LANES: usize = 3;

/// A layout that an image goes into.
pub(super) struct ToLayout {
    target: PathBuf,
    /// When the layout is new.
    unfinished: Option<UnfinishedDirectory>,
    tag: Option<String>,
}

impl ToLayout {
    pub(super) fn begin(target: PathBuf, tag: Option<String>) -> Result<Self> {
        let is_layout = target.is_dir() && read_index(&target)?.is_some();
        if !is_layout && is_occupied(&target)? {
            let message = format!("`{}` is no image layout, and not empty", target.display());
            return Err(Failure::new(ErrorKind::AlreadyExists, message));
        }
        let unfinished = if is_layout { None } else { Some(UnfinishedDirectory::begin(&target)?) };
        Ok(Self { target, unfinished, tag })
    }

    /// Where it is written.
    fn place(&self) -> &Path {
        self.unfinished.as_ref().map_or(&self.target, UnfinishedDirectory::path)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.place().join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// Writes a file under no name, and gives it its own when it is whole.
    fn write(&self, path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let directory = unfinished::parent(path);
        fs::create_dir_all(directory)
            .map_err(|error| failed(format!("`{}` can't be made", directory.display()), error))?;
        let mut file = unfinished::file_in(directory)?;
        fill(file.as_file_mut())?;
        unfinished::keep(file, path)?;
        Ok(())
    }

    fn write_bytes(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write(path, |file| file.write_all(bytes).map_err(|error| unwritten(path, error)))
    }
}

impl Destination for ToLayout {
    fn lanes(&self) -> usize {
        LANES
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        let found = fs::metadata(self.blob_path(&blob.digest));
        Ok(found.is_ok_and(|found| found.is_file() && found.len() == blob.size))
    }

    fn put(&self, blob: &Descriptor, incoming: &Incoming<'_>) -> Result<()> {
        let path = self.blob_path(&blob.digest);
        self.write(&path, |file| {
            incoming.pieces(|piece| file.write_all(piece).map_err(|error| unwritten(&path, error)))
        })
    }

    fn document(&self, document: &RawDocument) -> Result<()> {
        self.write_bytes(&self.blob_path(&document.digest), &document.bytes)
    }

    fn finish(self: Box<Self>, top: &RawDocument) -> Result<Digest> {
        self.document(top)?;
        // Of two who change the index, the second has to see what the first has done.
        let place = self.place();
        let locked = open_directory_of_others(place).and_then(|directory| {
            rustix::io::retry_on_intr(|| rustix::fs::flock(&directory, FlockOperation::LockExclusive))?;
            Ok(directory)
        });
        let _lock =
            locked.map_err(|error| failed(format!("`{}` can't be locked", place.display()), error))?;
        let mut index = read_index(place)?.unwrap_or_else(layout_index::empty);
        layout_index::put(&mut index, top, self.tag.as_deref());
        self.write_bytes(&place.join("oci-layout"), layout_index::LAYOUT)?;
        self.write_bytes(&place.join("index.json"), index.to_string().as_bytes())?;
        let this = *self;
        if let Some(unfinished) = this.unfinished {
            unfinished.finish(&this.target)?;
        }
        Ok(top.digest.clone())
    }
}

/// The index of a layout; `None` where there is none.
fn read_index(place: &Path) -> Result<Option<serde_json::Value>> {
    let files = Directory(place.to_owned());
    let bytes = files.read("index.json", MANIFEST_LIMIT)?;
    bytes.map(|bytes| layout_index::read(&bytes, &files.describe())).transpose()
}

/// Whether there is something at a path, other than an empty directory.
fn is_occupied(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(failed(format!("`{}` can't be read", path.display()), error)),
    }
}

fn unwritten(path: &Path, error: io::Error) -> Failure {
    failed(format!("`{}` can't be written", path.display()), error)
}
