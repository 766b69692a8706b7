//! The container's root file system, as a descriptor. Every path of the container is resolved beneath it by the kernel
//! (openat2(2), `RESOLVE_IN_ROOT`), so that no link in the image leads out of it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::open_in_root;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, makedev};
use rustix::io::Errno;

use super::explain::Explain;

/// What a mount point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PointKind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// Opens a path beneath `root`, as a name only (`O_PATH`); links are followed as if `root` were `/`.
pub(super) fn find(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    open_in_root(root, path, OFlags::PATH, ResolveFlags::empty())
}

/// Opens a path beneath `root` that contains no link.
pub(super) fn find_without_links(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    open_in_root(root, path, OFlags::PATH, ResolveFlags::NO_SYMLINKS)
}

/// Opens a path beneath `root`, and makes it when it is missing: directories with mode 0755, each made and entered by
/// descriptor.
pub(super) fn find_or_make(root: BorrowedFd<'_>, path: &Path, kind: PointKind) -> Result<OwnedFd> {
    match find(root, path) {
        Err(Errno::NOENT) => make(root, path, kind),
        other => other.explain(|| format!("opening `{}` in the container failed", path.display())),
    }
}

fn make(root: BorrowedFd<'_>, path: &Path, kind: PointKind) -> Result<OwnedFd> {
    let names = names(path)?;
    let failed = || format!("making `{}` in the container failed", path.display());
    // The longest part that exists may contain links; what is missing after it is made without following any.
    let (mut directory, mut made) = (None, 0);
    for present in (1..names.len()).rev() {
        match find(root, &names[..present].iter().collect::<std::path::PathBuf>()) {
            Ok(found) => {
                (directory, made) = (Some(found), present);
                break;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).explain(failed),
        }
    }
    for (at, name) in names.iter().enumerate().skip(made) {
        let parent = directory.as_ref().map_or(root, AsFd::as_fd);
        let is_last = at + 1 == names.len();
        let next = if is_last && kind == PointKind::File {
            make_file(parent, name)
        } else {
            make_directory(parent, name)
        };
        directory = Some(next.explain(failed)?);
    }
    directory.ok_or_else(|| Failure::new(ErrorKind::Invalid, failed()))
}

fn make_directory(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn make_file(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), makedev(0, 0))
    {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let file =
        rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if file_type(file.as_fd())? == FileType::Symlink { Err(Errno::LOOP) } else { Ok(file) }
}

/// The names of a path, without `.`; a `..` can't be resolved in what is yet to be made.
fn names(path: &Path) -> Result<Vec<&OsStr>> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(Ok(name)),
            Component::ParentDir => {
                let message = format!("`{}` goes up from a directory that does not exist", path.display());
                Some(Err(Failure::new(ErrorKind::Invalid, message)))
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// The type of an open file.
pub(super) fn file_type(file: BorrowedFd<'_>) -> rustix::io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

/// The magic numbers of file systems that are checked for (statfs(2)).
pub(super) mod magic {
    pub(in crate::embedded) const PROC: i64 = 0x9fa0;
    pub(in crate::embedded) const DEVPTS: i64 = 0x1cd1;
    pub(in crate::embedded) const NSFS: i64 = 0x6e73_6673;
}

/// Whether an open file lies on a file system of this kind.
pub(super) fn is_on(file: BorrowedFd<'_>, magic: i64) -> rustix::io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type == magic)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(directory: &Path) -> OwnedFd {
        rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn links_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("root"), directory.path().join("outside"));
        std::fs::create_dir_all(inside.join("real")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink("/real", inside.join("link")).unwrap();
        symlink(&outside, inside.join("out")).unwrap();
        let root = open(&inside);
        find_or_make(root.as_fd(), Path::new("/link/a/b"), PointKind::Directory).unwrap();
        find_or_make(root.as_fd(), Path::new("/link/c"), PointKind::File).unwrap();
        assert!(inside.join("real/a/b").is_dir() && inside.join("real/c").is_file());
        assert!(find_or_make(root.as_fd(), Path::new("/out/x"), PointKind::Directory).is_err());
        assert!(find_or_make(root.as_fd(), Path::new("/new/../../x"), PointKind::Directory).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn without_links_means_without_links() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("real")).unwrap();
        symlink("real", directory.path().join("link")).unwrap();
        let root = open(directory.path());
        assert!(find_without_links(root.as_fd(), Path::new("real")).is_ok());
        assert_eq!(find_without_links(root.as_fd(), Path::new("link")).unwrap_err(), Errno::LOOP);
    }
}
