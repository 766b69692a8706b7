//! Where images come from.

mod contents;
mod docker;
mod extended_layout;
mod files;
mod kept;
mod layout;
mod registry;
mod remote;
mod rootfs_tar;
mod transfer;

use std::path::Path;

use loam_model::{ErrorKind, Failure, ImageSource, Result};
use loam_unpack::Unpacker;

pub(crate) use contents::contents;
#[cfg(feature = "fuzzing")]
pub(crate) use contents::names_in;
pub(crate) use docker::DockerArchive;
pub(crate) use extended_layout::ExtendedLayout;
pub(crate) use files::{Directory, Files, Memory, TarFile};
pub(crate) use layout::Layout;
pub(crate) use registry::Registry;
pub(crate) use remote::RemoteFiles;
pub(crate) use rootfs_tar::RootfsTar;

use crate::document::{Descriptor, RawDocument};
use crate::intake::{Blob, Promise};

/// A place that has an image. Blobs are read by several threads at once.
pub(crate) trait Source: Sync {
    /// The manifest or index of the image that is wanted.
    fn top(&self) -> Result<RawDocument>;
    /// A further manifest or index.
    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument>;
    /// Opens a blob, and says what is to be held against it.
    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)>;
    /// Hears that a blob could not be used. True when the bytes may have been bad for a reason that is gone by now, so that
    /// it is worth while to open it once more.
    fn spoiled(&self, _descriptor: &Descriptor) -> bool {
        false
    }
    /// The name that the place itself has for the image.
    fn found_name(&self) -> Option<String> {
        None
    }
}

/// Opens a layout or an archive; one that is compressed is first unpacked into a nameless file in `spool`.
pub(crate) fn open_local(source: &ImageSource, spool: &Path, unpacker: &Unpacker) -> Result<Box<dyn Source>> {
    Ok(match source {
        ImageSource::OciLayout { directory, tag } => {
            Box::new(Layout::open(Directory(directory.clone()), tag.as_deref())?)
        }
        ImageSource::OciArchive { file, tag } => {
            Box::new(Layout::open(TarFile::open(file, spool, unpacker)?, tag.as_deref())?)
        }
        ImageSource::DockerArchive { file, reference } => {
            let files = TarFile::open(file, spool, unpacker)?;
            // Since Docker 25 the archive is a layout too, which says more.
            if Layout::is_in(&files)? && reference.is_none() {
                return Ok(Box::new(Layout::open(files, None)?));
            }
            Box::new(DockerArchive::open(files, reference.as_deref())?)
        }
        ImageSource::RootfsTar(file) => Box::new(RootfsTar::open(file)?),
        ImageSource::Registry(name) => {
            return Err(Failure::new(ErrorKind::Invalid, format!("`{name}` is not a place on this machine")));
        }
    })
}

#[cfg(test)]
mod tests;
