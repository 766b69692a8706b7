//! User namespaces that carry the id mappings of mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, IdMapping, Result};
use loam_sys::features::{Feature, has_mount_api};
use rustix::io::Errno;

/// Makes detached mounts idmapped; each mapping costs one short-lived process, however many mounts use it.
#[derive(Debug, Default)]
pub struct IdMaps(Vec<(IdMapping, OwnedFd)>);

impl IdMaps {
    /// Whether mounts with shifted ids may be tried at all.
    pub(crate) fn are_possible() -> bool {
        !Feature::IdmappedMounts.is_off() && has_mount_api()
    }

    /// Shifts the ids of a detached mount; `false` when its file system or this kernel can't. `path` is for the
    /// message.
    pub fn apply(
        &mut self,
        mount: &OwnedFd,
        mapping: &IdMapping,
        recursive: bool,
        path: &Path,
    ) -> Result<bool> {
        if !Self::are_possible() {
            return Ok(false);
        }
        let namespace = self.namespace(mapping)?;
        let shifted = loam_sys::set_mount_id_mapping(mount.as_fd(), namespace.as_fd(), recursive);
        match shifted.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            Ok(()) => Ok(true),
            // File systems learnt it one by one, and some kernels have none that can.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(errno) => {
                let message = format!("`{}` can't be mounted with shifted ids", path.display());
                Err(Failure::new(ErrorKind::Unsupported, message).caused_by(errno))
            }
        }
    }

    fn namespace(&mut self, mapping: &IdMapping) -> Result<&OwnedFd> {
        let index = match self.0.iter().position(|(known, _)| known == mapping) {
            Some(index) => index,
            None => {
                let namespace = loam_sys::user_namespace(&mapping.to_map_text()).map_err(|error| {
                    Failure::new(ErrorKind::Unsupported, "the user namespace for mapped ids can't be made")
                        .caused_by(error)
                })?;
                self.0.push((mapping.clone(), namespace));
                self.0.len() - 1
            }
        };
        Ok(&self.0[index].1)
    }
}
