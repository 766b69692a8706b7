//! `blobs`: the bytes of manifests and configurations, as they came.

use std::fs;
use std::io::{self, Write};

use loam_model::{Digest, ErrorKind, Failure, Result};
use loam_state::{Database, Durability};

use crate::error::failed;
use crate::hashing::digest;
use crate::staging::{Places, make_directory, random_id};

/// Writes a blob, unless it is there.
pub(crate) fn write(places: &Places, name: &Digest, bytes: &[u8]) -> Result<()> {
    let path = places.blob(name);
    if exists(places, name, bytes.len()) {
        return Ok(());
    }
    let parent = path.parent().expect("a blob's path has a directory");
    make_directory(parent)?;
    let temporary = parent.join(format!(".{}", random_id()));
    let written = fs::File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, &path));
    written.map_err(|error| {
        fs::remove_file(&temporary).ok();
        failed(format!("the blob `{}` can't be written", path.display()), error)
    })
}

/// Whether a blob is there with its whole length.
pub(crate) fn exists(places: &Places, name: &Digest, length: usize) -> bool {
    fs::metadata(places.blob(name)).is_ok_and(|found| found.len() == length as u64)
}

/// Reads a blob and checks it.
pub(crate) fn read(places: &Places, name: &Digest) -> Result<Vec<u8>> {
    let path = places.blob(name);
    let bytes = fs::read(&path)
        .map_err(|error| failed(format!("the blob `{}` can't be read", path.display()), error))?;
    if digest(name.algorithm(), &bytes) != *name {
        return Err(Failure::new(ErrorKind::Internal, format!("the blob `{}` is damaged", path.display()))
            .hint("remove the image and pull it again"));
    }
    Ok(bytes)
}

/// Removes the blobs among these that no image has. The database's write lock keeps a pull from recording an image
/// between the question and the removal; a pull looks for its blobs under the same lock.
pub(crate) fn collect(places: &Places, database: &Database, blobs: &[Digest]) -> Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    database.write(Durability::Unsynced, |transaction| {
        for blob in blobs {
            let used = transaction
                .prepare_cached("SELECT 1 FROM image WHERE id = ?1 OR manifest = ?1")?
                .exists([blob.to_string()])?;
            if used {
                continue;
            }
            match fs::remove_file(places.blob(blob)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%blob, %error, "a blob is left");
                }
                _ => {}
            }
        }
        Ok(())
    })
}
