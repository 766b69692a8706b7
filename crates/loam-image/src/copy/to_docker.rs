//! Into an archive as `loam image save` writes it: Docker's format, which wants uncompressed layers and knows them by
//! their diff ids, and an image layout at once.

use std::fs::File;
use std::io::{self, BufWriter, IntoInnerError, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use loam_model::{Digest, Failure, Result};
use loam_unpack::{Space, decoder, sniff};

use super::Destination;
use super::blobs::Incoming;
use super::graph::Graph;
use crate::OutputFile;
use crate::document::{CONFIG_LIMIT, Config, Descriptor, Document, Manifest, RawDocument};
use crate::error::{failed, invalid, unwrap_io};
use crate::hashing::Hasher;
use crate::intake::read_document;
use crate::names;
use crate::save::Saving;
use crate::source::Source;

/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;

/// An archive that an image goes into.
pub(super) struct ToDockerArchive {
    target: PathBuf,
    /// Where layers are decompressed, in files without a name.
    spool: PathBuf,
    names: Vec<String>,
    id: Digest,
    config: Vec<u8>,
    manifest: Manifest,
    diff_ids: Vec<Digest>,
    saving: Mutex<Saving<BufWriter<OutputFile>>>,
}

impl ToDockerArchive {
    pub(super) fn begin(
        target: &Path,
        name: Option<&str>,
        place: &dyn Source,
        graph: &Graph,
    ) -> Result<Self> {
        let names = name.map(names::given).transpose()?.into_iter().collect();
        let shown = "the image".to_owned();
        let Document::Manifest(manifest) = Document::parse(&graph.top, &shown)? else {
            return Err(invalid("an index can't be put into an archive in Docker's format"));
        };
        let (blob, promise) = place.blob(&manifest.config)?;
        let config = read_document(blob, promise, CONFIG_LIMIT)?;
        let parsed = Config::parse(&config, &shown)?;
        if parsed.diff_ids.len() != manifest.layers.len() {
            return Err(invalid("the configuration of the image does not fit its manifest"));
        }
        let file = OutputFile::begin(target)?;
        let spool = file.directory();
        Ok(Self {
            target: target.to_owned(),
            spool,
            names,
            id: manifest.config.digest.clone(),
            config,
            manifest,
            diff_ids: parsed.diff_ids,
            saving: Mutex::new(Saving::new(BufWriter::with_capacity(BUFFER, file))),
        })
    }

    fn saving(&self) -> MutexGuard<'_, Saving<BufWriter<OutputFile>>> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The diff id of a layer.
    fn diff_id(&self, blob: &Descriptor) -> Option<&Digest> {
        let position = self.manifest.layers.iter().position(|layer| layer.digest == blob.digest)?;
        self.diff_ids.get(position)
    }

    /// Decompresses a layer into a file without a name, and holds it against its diff id.
    fn decompress(&self, incoming: &Incoming<'_>, diff_id: &Digest) -> Result<(File, u64)> {
        let what = || "the layer can't be decompressed".to_owned();
        let mut spooled =
            tempfile::tempfile_in(&self.spool).map_err(|error| unwritten(&self.target, error))?;
        let free = Space::look(&spooled).map_err(|errno| unwritten(&self.target, errno.into()))?.bytes;
        let (found, size) = incoming.read(|intake| {
            let compression = sniff(intake.start()?)?;
            let mut tar = decoder(intake, compression).map_err(|error| unwrap_io(error, what))?;
            let mut hashed =
                Hashed { hasher: Hasher::new(diff_id.algorithm()), file: &mut spooled, left: free };
            let size = io::copy(&mut tar, &mut hashed).map_err(|error| unwrap_io(error, what))?;
            Ok((hashed.hasher.finish(), size))
        })?;
        if found != *diff_id {
            return Err(invalid(format!("it has the diff id `{found}`, not `{diff_id}`")));
        }
        spooled.rewind().map_err(|error| unwritten(&self.target, error))?;
        Ok((spooled, size))
    }
}

impl Destination for ToDockerArchive {
    fn lanes(&self) -> usize {
        1
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        let saved = self.diff_id(blob).is_some_and(|diff_id| self.saving().size_of(diff_id).is_some());
        // The configuration is here already.
        Ok(saved || blob.digest == self.id)
    }

    fn put(&self, blob: &Descriptor, incoming: &Incoming<'_>) -> Result<()> {
        let Some(diff_id) = self.diff_id(blob) else { return Ok(()) };
        let (spooled, size) = self.decompress(incoming, diff_id)?;
        self.saving().blob(diff_id, size, spooled)
    }

    fn document(&self, _: &RawDocument) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: &RawDocument) -> Result<Digest> {
        let this = *self;
        let mut saving = this.saving.into_inner().unwrap_or_else(PoisonError::into_inner);
        let digest = saving.image(&this.id, &this.config, &this.diff_ids, &this.names)?;
        let file = saving.finish()?.into_inner().map_err(IntoInnerError::into_error);
        file.map_err(|error| unwritten(&this.target, error))?.finish()?;
        Ok(digest)
    }
}

/// A file whose bytes are hashed, and which takes no more than there is room for.
struct Hashed<'a> {
    hasher: Hasher,
    file: &'a mut File,
    left: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritten(path: &Path, error: io::Error) -> Failure {
    failed(format!("the archive `{}` can't be written", path.display()), error)
}
