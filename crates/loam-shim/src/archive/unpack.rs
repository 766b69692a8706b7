//! From a tar stream to files below a directory of the container.

mod attributes;
mod place;

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result, shown_bytes};
use loam_rootfs::as_container_root;
use loam_sys::magic_link;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::root::{Root, failure};
use attributes::{Attributes, both};
use place::{Place, add_fifo, add_file, add_symlink};

/// The longest name in an archive.
const MAX_PATH: usize = 4096;

/// Unpacks below an existing directory.
pub(super) fn unpack(root: &Root, path: &str, source: impl Read) -> Result<()> {
    let base = PathBuf::from(path);
    root.resolve(&base, OFlags::PATH | OFlags::DIRECTORY)
        .map_err(|errno| failure(path.as_bytes(), "opened", errno))?;
    // Where a container's ids are mapped, only its own users can make files.
    as_container_root(root.mapping.as_ref(), || {
        let mut unpacker = Unpacker { root, base, parent: None, directories: Vec::new() };
        unpacker.unpack(source)?;
        unpacker.set_directory_times();
        Ok(())
    })?
}

struct Unpacker<'a> {
    root: &'a Root,
    base: PathBuf,
    /// The directory that the last entry was made in.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories get their times when nothing is made in them any more; by path, because there may be many.
    directories: Vec<(PathBuf, Timespec)>,
}

impl Unpacker<'_> {
    fn unpack(&mut self, source: impl Read) -> Result<()> {
        let broken = |error: std::io::Error| {
            let failure = Failure::new(ErrorKind::Invalid, "the archive is not a valid tar stream");
            match error.kind() {
                // What the parser says of it quotes whole headers, which may be anything.
                std::io::ErrorKind::Other | std::io::ErrorKind::InvalidData => failure,
                _ => failure.caused_by(error),
            }
        };
        let mut archive = Archive::new(source);
        for entry in archive.entries().map_err(broken)? {
            self.add(entry.map_err(broken)?)?;
        }
        // The sender may have padding to get rid of.
        std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map_err(broken)?;
        Ok(())
    }

    fn add(&mut self, mut entry: Entry<'_, impl Read>) -> Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = relative(&entry.path_bytes())?;
        let attributes = Attributes::of(&mut entry, self.root)?;
        let Some(name) = path.file_name() else {
            // The base itself: it exists, and keeps what it has.
            return Ok(());
        };
        let parent = self.parent_of(&path)?;
        let place = Place { parent: &parent, name, path: &path };
        let made = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                add_file(&place, &mut entry, &attributes)
            }
            EntryType::Directory => self.add_directory(&place, &attributes),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                add_symlink(&place, OsStr::from_bytes(&target), &attributes)
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                self.add_hard_link(&place, &relative(&target)?)
            }
            EntryType::Fifo => add_fifo(&place, &attributes),
            _ => {
                let message = format!(
                    "`{}` is a device, which is not copied",
                    shown_bytes(path.as_os_str().as_bytes())
                );
                Err(Failure::new(ErrorKind::Unsupported, message))
            }
        };
        // Kept for the next entry, unless this one may have replaced a part of the way.
        let above = path.parent().map(Path::to_owned).unwrap_or_default();
        let replaces = matches!(kind, EntryType::Directory | EntryType::Symlink | EntryType::Link);
        self.parent = if replaces { None } else { Some((above, parent)) };
        made
    }

    /// The directory that holds a path, made when it is missing. The container's own links on the way are followed
    /// within its root.
    fn parent_of(&mut self, path: &Path) -> Result<OwnedFd> {
        let above = path.parent().unwrap_or(Path::new(""));
        if let Some((known, directory)) = self.parent.take()
            && known == above
        {
            return Ok(directory);
        }
        match self.open_directory(above) {
            Err(Errno::NOENT) => self.make_directories(above),
            result => result.map_err(|errno| failure(above.as_os_str().as_bytes(), "opened", errno)),
        }
    }

    fn open_directory(&self, below: &Path) -> std::result::Result<OwnedFd, Errno> {
        self.root.resolve(&self.base.join(below), OFlags::PATH | OFlags::DIRECTORY)
    }

    fn make_directories(&self, path: &Path) -> Result<OwnedFd> {
        let bad = |errno| failure(path.as_os_str().as_bytes(), "made", errno);
        let mut so_far = PathBuf::new();
        let mut directory = self.open_directory(&so_far).map_err(bad)?;
        for component in path.components() {
            so_far.push(component);
            directory = match self.open_directory(&so_far) {
                Err(Errno::NOENT) => {
                    let name = component.as_os_str();
                    rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)).map_err(bad)?;
                    open_below(&directory, name, OFlags::DIRECTORY).map_err(bad)?
                }
                result => result.map_err(bad)?,
            };
        }
        Ok(directory)
    }

    fn add_directory(&mut self, place: &Place<'_>, attributes: &Attributes) -> Result<()> {
        let existing = rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW);
        let is_there =
            existing.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory);
        if !is_there {
            place.make_way()?;
            rustix::fs::mkdirat(place.parent, place.name, Mode::from_raw_mode(0o700))
                .map_err(|errno| place.failure("made", errno))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(place.parent, place.name, flags, Mode::empty())
            .map_err(|errno| place.failure("opened", errno))?;
        attributes.apply(&directory).map_err(|errno| place.failure("set up", errno))?;
        self.directories.push((place.path.to_owned(), attributes.time));
        Ok(())
    }

    fn add_hard_link(&mut self, place: &Place<'_>, target: &Path) -> Result<()> {
        let bad = |errno| failure(target.as_os_str().as_bytes(), "linked to", errno);
        let name = target.file_name().ok_or_else(|| bad(Errno::INVAL))?;
        let directory = self.open_directory(target.parent().unwrap_or(Path::new(""))).map_err(bad)?;
        let file = open_below(&directory, name, OFlags::empty()).map_err(bad)?;
        let status = rustix::fs::fstat(&file).map_err(bad)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            return Err(bad(Errno::ISDIR));
        }
        place.make_way()?;
        // What the descriptor names, which can't be replaced by then.
        let way = magic_link(&file);
        rustix::fs::linkat(rustix::fs::CWD, way, place.parent, place.name, AtFlags::SYMLINK_FOLLOW)
            .map_err(|errno| place.failure("made", errno))
    }

    /// Sets the directories' times, the last first. A directory that was replaced meanwhile is left alone.
    fn set_directory_times(&self) {
        for (path, time) in self.directories.iter().rev() {
            let Ok(parent) = self.open_directory(path.parent().unwrap_or(Path::new(""))) else { continue };
            let Some(name) = path.file_name() else { continue };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(directory) = rustix::fs::openat(&parent, name, flags, Mode::empty()) else { continue };
            match rustix::fs::futimens(&directory, &both(*time)) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

fn open_below(directory: &OwnedFd, name: &OsStr, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// A name in an archive as a path below the base: no root, no dots.
fn relative(name: &[u8]) -> Result<PathBuf> {
    let invalid = |rule: &str| {
        let name = shown_bytes(name);
        Err(Failure::new(ErrorKind::Invalid, format!("the archive's entry `{name}` {rule}")))
    };
    if name.len() > MAX_PATH {
        return invalid("has too long a name");
    }
    if name.contains(&0) {
        return invalid("has a name with a zero byte");
    }
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return invalid("leads out of the directory"),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
