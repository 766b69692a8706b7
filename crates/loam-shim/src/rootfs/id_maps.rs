//! User namespaces that carry the id mappings of mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, IdMapping, Result};

/// Makes detached mounts idmapped; each mapping costs one short-lived process, however many mounts use it.
#[derive(Debug, Default)]
pub(crate) struct IdMaps(Vec<(IdMapping, OwnedFd)>);

impl IdMaps {
    /// Maps the ids of a detached mount. `path` is for the message.
    pub(crate) fn apply(
        &mut self,
        mount: &OwnedFd,
        mapping: &IdMapping,
        recursive: bool,
        path: &Path,
    ) -> Result<()> {
        let namespace = self.namespace(mapping)?;
        loam_sys::set_mount_id_mapping(mount.as_fd(), namespace.as_fd(), recursive).map_err(|error| {
            let message = format!("`{}` can't be mounted with mapped ids", path.display());
            Failure::new(ErrorKind::Unsupported, message)
                .caused_by(error)
                .hint("its file system or this kernel has no idmapped mounts; use the host's user namespace")
        })
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
