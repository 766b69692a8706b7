//! Into a tar of an image layout, made beside its place.

use std::collections::HashSet;
use std::io::{self, BufWriter, IntoInnerError, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use loam_model::{Digest, Failure, Result};
use tar::Builder;

use super::blobs::Incoming;
use super::{Destination, layout_index};
use crate::OutputFile;
use crate::document::{Descriptor, RawDocument};
use crate::error::{failed, unwrap_io};
use crate::save::{append, blob_path};

/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;

/// An archive that an image goes into.
pub(super) struct ToOciArchive {
    target: PathBuf,
    tag: Option<String>,
    writing: Mutex<Writing>,
}

struct Writing {
    archive: Builder<BufWriter<OutputFile>>,
    /// What is in it.
    written: HashSet<Digest>,
}

impl ToOciArchive {
    pub(super) fn begin(target: &Path, tag: Option<String>) -> Result<Self> {
        let archive = Builder::new(BufWriter::with_capacity(BUFFER, OutputFile::begin(target)?));
        let writing = Mutex::new(Writing { archive, written: HashSet::new() });
        Ok(Self { target: target.to_owned(), tag, writing })
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, path: &str, size: u64, bytes: impl Read) -> Result<()> {
        let appended = append(&mut self.writing().archive, path, size, bytes);
        appended.map_err(|error| unwrap_io(error, || unwritten_text(&self.target)))
    }
}

impl Destination for ToOciArchive {
    fn lanes(&self) -> usize {
        // A tar is written from its beginning to its end.
        1
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        Ok(self.writing().written.contains(&blob.digest))
    }

    fn put(&self, blob: &Descriptor, incoming: &Incoming<'_>) -> Result<()> {
        incoming.read(|intake| self.append(&blob_path(&blob.digest), blob.size, intake))?;
        self.writing().written.insert(blob.digest.clone());
        Ok(())
    }

    fn document(&self, document: &RawDocument) -> Result<()> {
        if self.writing().written.insert(document.digest.clone()) {
            let size = document.bytes.len() as u64;
            self.append(&blob_path(&document.digest), size, &document.bytes[..])?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, top: &RawDocument) -> Result<Digest> {
        self.document(top)?;
        let mut index = layout_index::empty();
        layout_index::put(&mut index, top, self.tag.as_deref());
        let index = index.to_string();
        self.append("index.json", index.len() as u64, index.as_bytes())?;
        self.append("oci-layout", layout_index::LAYOUT.len() as u64, layout_index::LAYOUT)?;
        let Self { target, writing, .. } = *self;
        let archive = writing.into_inner().unwrap_or_else(PoisonError::into_inner).archive;
        let file =
            archive.into_inner().and_then(|writer| writer.into_inner().map_err(IntoInnerError::into_error));
        file.map_err(|error| unwritten(&target, error))?.finish()?;
        Ok(top.digest.clone())
    }
}

fn unwritten_text(path: &Path) -> String {
    format!("the archive `{}` can't be written", path.display())
}

fn unwritten(path: &Path, error: io::Error) -> Failure {
    failed(unwritten_text(path), error)
}
