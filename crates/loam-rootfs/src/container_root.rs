//! Work on files as the container's root.

use loam_model::{ErrorKind, Failure, IdMapping, Result};

/// Does something with the container's root as the owner of new files, and with all our rights. An idmapped mount
/// refuses files of users that it does not map, such as the host's root.
pub fn as_container_root<T>(mapping: Option<&IdMapping>, work: impl FnOnce() -> T) -> Result<T> {
    let Some(root) = mapping.and_then(|mapping| mapping.to_host(0)) else { return Ok(work()) };
    let failure = |cause: std::io::Error| {
        Failure::new(ErrorKind::Internal, format!("files can't be made as user {root}")).caused_by(cause)
    };
    let rights = rustix::thread::capabilities(None).map_err(|errno| failure(errno.into()))?;
    loam_sys::set_file_access_ids(root, root).map_err(failure)?;
    // The change has taken the rights over files from us, and only those in effect.
    rustix::thread::set_capabilities(None, rights).map_err(|errno| failure(errno.into()))?;
    let result = work();
    loam_sys::set_file_access_ids(0, 0).map_err(failure)?;
    Ok(result)
}
