//! Where the files and directories of the host are that a container mounts.

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use loam_model::{ContainerSpec, MountKind};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Replaces each source by the path that it has without links. A container may be able to change a part of the path of
/// what it mounts, such as a directory below another one of its mounts; a link that it puts there later must not choose
/// what the next start mounts. What can't be found is left, for the bundler to refuse.
pub(crate) fn pin(spec: &mut ContainerSpec) {
    for mount in &mut spec.mounts {
        if let MountKind::Bind { source, .. } = &mut mount.kind
            && source.is_absolute()
            && let Ok(path) = real_path(source)
        {
            *source = path;
        }
    }
}

fn real_path(path: &Path) -> rustix::io::Result<PathBuf> {
    let found = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let name = rustix::fs::readlink(format!("/proc/self/fd/{}", found.as_raw_fd()), Vec::new())?;
    let path = PathBuf::from(OsString::from_vec(name.into_bytes()));
    // What has no path, such as a pipe, has a name of another form there.
    if path.is_absolute() { Ok(path) } else { Err(Errno::NOENT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_once() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let place = real_path(place.path()).expect("it is there");
        std::fs::create_dir(place.join("real")).expect("made");
        std::os::unix::fs::symlink("real", place.join("link")).expect("made");
        assert_eq!(real_path(&place.join("link/../link/.")), Ok(place.join("real")));
        assert!(real_path(&place.join("missing")).is_err());
        let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
        let pipe = format!("/proc/self/fd/{}", reader.as_raw_fd());
        assert!(real_path(Path::new(&pipe)).is_err(), "a pipe has no path");
    }
}
