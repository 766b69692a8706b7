//! What is in an archive of images.

use std::path::{Path, PathBuf};

use loam_model::{ArchivedImage, ErrorKind, Failure, ImageSource, Result};
use loam_unpack::Unpacker;

use super::{Files, Layout, TarFile, docker, layout};

/// The images in an archive. A compressed one is spooled into `spool` first.
pub(crate) fn contents(file: &Path, spool: &Path, unpacker: &Unpacker) -> Result<Vec<ArchivedImage>> {
    let files = TarFile::open(file, spool, unpacker)?;
    let (source, images) = names_in(&files)?;
    let only = images.len() == 1;
    let mut found = Vec::with_capacity(images.len());
    for names in images {
        // Without a name it can only be asked for when it is alone.
        let first = names.first().cloned();
        if first.is_none() && !only {
            let what = format!("{} holds several images and one of them has no name", files.describe());
            return Err(Failure::new(ErrorKind::Unsupported, what));
        }
        let wanted = first.filter(|_| !only);
        found.push(ArchivedImage { source: source(file.to_owned(), wanted), names });
    }
    Ok(found)
}

/// Makes the source of an image in an archive, given the archive and the image's name there.
type Named = fn(PathBuf, Option<String>) -> ImageSource;

/// What kind of archive it is, and the names of each image in it.
pub(crate) fn names_in<F: Files>(files: &F) -> Result<(Named, Vec<Vec<String>>)> {
    if let Some(images) = docker::names_in(files)? {
        return Ok((|file, reference| ImageSource::DockerArchive { file, reference }, images));
    }
    if Layout::is_in(files)? {
        return Ok((|file, tag| ImageSource::OciArchive { file, tag }, layout::names_in(files)?));
    }
    let place = files.describe();
    let what = format!("{place} is no archive of images: it has neither `manifest.json` nor `index.json`");
    Err(Failure::new(ErrorKind::NotFound, what))
}
