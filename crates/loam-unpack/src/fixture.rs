//! What the tests of this crate share: tars of any shape, and a way to have one unpacked.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use loam_model::DigestAlgorithm;
pub(crate) use loam_testkit::archives::Tar;
pub(crate) use loam_testkit::is_root;

use crate::archive::Archive;
use crate::blocks::Filler;
use crate::open_directory;
use crate::unpack::{Budget, UnpackError, Unpacked, mark_opaque, unpack};

/// Unpacks a tar into an empty directory.
pub(crate) fn unpack_into(directory: &Path, tar: &[u8], budget: &Budget) -> Result<Unpacked, UnpackError> {
    let stop = AtomicBool::new(false);
    let mut archive = Archive::new(Filler::new(tar, DigestAlgorithm::Sha256, &stop));
    unpack(&mut archive, open_directory(directory).expect("opens"), budget, &mark_opaque)
}
