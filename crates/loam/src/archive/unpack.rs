//! Unpacking a tar stream that a container made, on the host.
//!
//! Every path is resolved beneath the directory's descriptor, through no link (openat2(2)), whatever else changes in
//! the directory meanwhile. Blocks of zeros become holes, and no more is written than there is room for, less a reserve.
//! Devices are left out; set-user-id and set-group-id bits too, unless owners are kept. Nothing
//! is held in memory that grows with the archive.

mod destination;
mod room;
mod sparse;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use loam_model::{ErrorKind, Failure, shown_bytes};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, mknodat, symlinkat, unlinkat};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::Naming;
use crate::render;
use destination::{Attributes, Destination, beneath, replacing};
use room::Room;

/// Unpacks one stream.
#[derive(Debug)]
pub(super) struct Unpacker {
    destination: Destination,
    naming: Naming,
    /// How many components of the entries' names are the top's, by the first entry: one, or none when the tree is a root.
    top: Option<usize>,
    /// The directories that the archive is in, the outermost first. Their modes and times are set when it has left them:
    /// before, files are made in them.
    entered: Vec<(PathBuf, Attributes)>,
    room: Room,
}

impl Unpacker {
    /// Unpacks into this directory.
    pub(super) fn new(directory: &Path, naming: Naming, keep_owners: bool) -> io::Result<Self> {
        let destination = Destination::open(directory, keep_owners)?;
        Ok(Self { destination, naming, top: None, entered: Vec::new(), room: Room::default() })
    }

    /// Unpacks the whole stream.
    pub(super) fn unpack(&mut self, stream: impl Read) -> Result<(), Failure> {
        let broken =
            |error| Failure::new(ErrorKind::Internal, "the archive is not well formed").caused_by(error);
        let mut archive = Archive::new(stream);
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let name = entry.path_bytes().into_owned();
            let path = self.path(&name).ok_or_else(|| outside(&name))?;
            if path.as_os_str().is_empty() {
                continue;
            }
            self.leave_all_but_parents_of(&path)?;
            self.entry(&mut entry, &path).map_err(|error| {
                let kind = match error.kind() {
                    io::ErrorKind::StorageFull => ErrorKind::Exhausted,
                    _ => ErrorKind::Internal,
                };
                Failure::new(kind, format!("`{}` can't be written", path.display())).caused_by(error)
            })?;
        }
        while let Some((path, attributes)) = self.entered.pop() {
            self.leave(&path, &attributes)?;
        }
        Ok(())
    }

    /// The path of an entry here: the top of the tree is called as the naming says. `None` for one that leads out of the tree.
    fn path(&mut self, name: &[u8]) -> Option<PathBuf> {
        let mut components = Vec::new();
        for component in Path::new(OsStr::from_bytes(name)).components() {
            match component {
                Component::Normal(component) => components.push(component),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        let top = *self.top.get_or_insert(components.len().min(1));
        let below = components.iter().skip(top);
        let top = match &self.naming {
            Naming::Named(name) => Some(name.as_os_str()),
            Naming::ContentsOnly => None,
        };
        Some(top.into_iter().chain(below.copied()).collect())
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
        let attributes = self.destination.attributes(entry.header())?;
        let (parent, name) = self.destination.parent(path)?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                match mkdirat(&parent, &name, Mode::RWXU) {
                    // Opening it tells whether it is a directory, and no link to one.
                    Err(Errno::EXIST) => {
                        drop(self.destination.child(path, OFlags::RDONLY | OFlags::DIRECTORY)?);
                    }
                    result => result?,
                }
                self.enter(path, attributes);
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let make = || loam_sys::openat2(&parent, &name, flags, Mode::RUSR | Mode::WUSR, beneath());
                let file = File::from(replacing(&parent, &name, make)?);
                if let Err(error) = self.fill(file, entry) {
                    // Half of a file is worse than none.
                    unlinkat(&parent, &name, AtFlags::empty())?;
                    return Err(error);
                }
            }
            EntryType::Symlink => {
                let target = link_target(entry)?;
                replacing(&parent, &name, || symlinkat(&target, &parent, &name))?;
            }
            EntryType::Link => {
                let target = self.path(link_target(entry)?.as_bytes()).ok_or(io::ErrorKind::InvalidData)?;
                let (directory, target) = self.destination.parent(&target)?;
                let make = || linkat(&directory, &target, &parent, &name, AtFlags::empty());
                return replacing(&parent, &name, make);
            }
            EntryType::Fifo => {
                let make = || mknodat(&parent, &name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
                replacing(&parent, &name, make)?;
            }
            _ => {
                render::warning(&format!("`{}` was left out: it is a device", path.display()));
                return Ok(());
            }
        }
        let is_link = entry.header().entry_type() == EntryType::Symlink;
        self.destination.finish(path, &attributes, !is_link)
    }

    /// Writes an entry's data, when there is room for it.
    fn fill(&mut self, mut file: File, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        self.room.take(&file, entry.size())?;
        sparse::copy(entry, &mut file)
    }

    /// Remembers a directory that the archive is in now. The same once more only has other attributes.
    fn enter(&mut self, path: &Path, attributes: Attributes) {
        match self.entered.last_mut() {
            Some((entered, before)) if entered == path => *before = attributes,
            _ => self.entered.push((path.to_owned(), attributes)),
        }
    }

    /// Leaves the directories that this path is not in.
    fn leave_all_but_parents_of(&mut self, path: &Path) -> Result<(), Failure> {
        while let Some((left, attributes)) = self.entered.pop_if(|(entered, _)| !path.starts_with(entered)) {
            self.leave(&left, &attributes)?;
        }
        Ok(())
    }

    fn leave(&self, path: &Path, attributes: &Attributes) -> Result<(), Failure> {
        self.destination.finish(path, attributes, true).map_err(|error| {
            Failure::new(ErrorKind::Internal, format!("`{}` can't be changed", path.display()))
                .caused_by(error)
        })
    }
}

fn link_target(entry: &Entry<'_, impl Read>) -> io::Result<OsString> {
    let target = entry.link_name_bytes().ok_or(io::ErrorKind::InvalidData)?;
    Ok(OsStr::from_bytes(&target).to_owned())
}

fn outside(name: &[u8]) -> Failure {
    Failure::new(ErrorKind::Invalid, format!("the archive's entry `{}` leads out of it", shown_bytes(name)))
}

#[cfg(test)]
mod tests;
