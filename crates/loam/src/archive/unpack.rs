//! Unpacking a tar stream that a container made, on the host.
//!
//! Every path is resolved beneath the directory's descriptor, through no link (openat2(2)), whatever else changes in
//! the directory meanwhile. Devices are left out; set-user-id and set-group-id bits too, unless owners are kept.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use loam_model::{ErrorKind, Failure};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat,
    linkat, mkdirat, mknodat, open, openat2, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType, Header};

use super::Naming;
use crate::render;

/// Unpacks one stream.
#[derive(Debug)]
pub(super) struct Unpacker {
    directory: OwnedFd,
    naming: Naming,
    keep_owners: bool,
    /// Directories, whose modes and times are set last: before, files are made in them.
    directories: Vec<(PathBuf, Attributes)>,
}

/// What is set on a file after it was made.
#[derive(Clone, Copy, Debug)]
struct Attributes {
    mode: u32,
    user: u32,
    group: u32,
    modified: i64,
}

impl Unpacker {
    /// Unpacks into this directory.
    pub(super) fn new(directory: &Path, naming: Naming, keep_owners: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(directory, flags, Mode::empty())?;
        Ok(Self { directory, naming, keep_owners, directories: Vec::new() })
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
            self.entry(&mut entry, &path).map_err(|error| {
                Failure::new(ErrorKind::Internal, format!("`{}` can't be written", path.display()))
                    .caused_by(error)
            })?;
        }
        for (path, attributes) in self.directories.iter().rev() {
            self.finish(path, attributes, true).map_err(|error| {
                Failure::new(ErrorKind::Internal, format!("`{}` can't be changed", path.display()))
                    .caused_by(error)
            })?;
        }
        Ok(())
    }

    /// The path of an entry here: its first component, the top of the tree, is called as the naming says. `None` for
    /// one that leads out of the tree.
    fn path(&self, name: &[u8]) -> Option<PathBuf> {
        let mut components = Vec::new();
        for component in Path::new(OsStr::from_bytes(name)).components() {
            match component {
                Component::Normal(component) => components.push(component),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        let below = components.iter().skip(1);
        let top = match &self.naming {
            Naming::Named(name) => Some(name.as_os_str()),
            Naming::ContentsOnly => None,
        };
        Some(top.into_iter().chain(below.copied()).collect())
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
        let attributes = self.attributes(entry.header())?;
        let (parent, name) = self.parent(path)?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                match mkdirat(&parent, &name, Mode::RWXU) {
                    // Opening it tells whether it is a directory, and no link to one.
                    Err(Errno::EXIST) => drop(self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?),
                    result => result?,
                }
                self.directories.push((path.to_owned(), attributes));
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let make = || openat2(&parent, &name, flags, Mode::RUSR | Mode::WUSR, beneath());
                let mut file = File::from(replacing(&parent, &name, make)?);
                io::copy(entry, &mut file)?;
            }
            EntryType::Symlink => {
                let target = link_target(entry)?;
                replacing(&parent, &name, || symlinkat(&target, &parent, &name))?;
            }
            EntryType::Link => {
                let target = self.path(link_target(entry)?.as_bytes()).ok_or(io::ErrorKind::InvalidData)?;
                let (directory, target) = self.parent(&target)?;
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
        self.finish(path, &attributes, !is_link)
    }

    fn attributes(&self, header: &Header) -> io::Result<Attributes> {
        let kept = if self.keep_owners { 0o7777 } else { 0o1777 };
        let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        Ok(Attributes {
            mode: header.mode()? & kept,
            user: id(header.uid()?)?,
            group: id(header.gid()?)?,
            modified: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
        })
    }

    /// Sets owner, mode and time.
    fn finish(&self, path: &Path, attributes: &Attributes, has_mode: bool) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        if self.keep_owners {
            let (user, group) = (Uid::from_raw(attributes.user), Gid::from_raw(attributes.group));
            chownat(&parent, &name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if has_mode {
            // By way of a descriptor: chmod of a name follows links.
            let file = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
            File::from(file).set_permissions(Permissions::from_mode(attributes.mode))?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: attributes.modified, tv_nsec: 0 },
        };
        utimensat(&parent, &name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// The directory that a path is in, opened, and its last component.
    fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = match parent {
            Some(parent) => self.open(parent, OFlags::PATH | OFlags::DIRECTORY)?,
            None => self.directory.try_clone()?,
        };
        Ok((directory, name))
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(openat2(&self.directory, path, flags, Mode::empty(), beneath())?)
    }
}

fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

/// Makes something; what is there already, unless it is a directory, makes room.
fn replacing<T>(parent: impl AsFd, name: &OsStr, make: impl Fn() -> rustix::io::Result<T>) -> io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            unlinkat(parent, name, AtFlags::empty())?;
            Ok(make()?)
        }
        result => Ok(result?),
    }
}

fn link_target(entry: &Entry<'_, impl Read>) -> io::Result<OsString> {
    let target = entry.link_name_bytes().ok_or(io::ErrorKind::InvalidData)?;
    Ok(OsStr::from_bytes(&target).to_owned())
}

fn outside(name: &[u8]) -> Failure {
    let name = String::from_utf8_lossy(name).into_owned();
    Failure::new(ErrorKind::Invalid, format!("the archive's entry `{name}` leads out of it"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use tar::Builder;

    use super::super::pack::Packer;
    use super::*;

    fn unpack(directory: &Path, naming: Naming, bytes: &[u8]) -> Result<(), Failure> {
        Unpacker::new(directory, naming, false).expect("a directory").unpack(bytes)
    }

    fn named(name: &str) -> Naming {
        Naming::Named(name.into())
    }

    #[test]
    fn a_tree_comes_out_as_it_went_in() {
        let directory = tempfile::tempdir().expect("a directory");
        let from = directory.path().join("from");
        fs::create_dir_all(from.join("sub/empty")).expect("made");
        fs::write(from.join("sub/file"), "content").expect("written");
        fs::hard_link(from.join("sub/file"), from.join("sub/other")).expect("linked");
        fs::set_permissions(from.join("sub/file"), Permissions::from_mode(0o6751)).expect("changed");
        fs::set_permissions(from.join("sub"), Permissions::from_mode(0o500)).expect("changed");
        symlink("/etc/passwd", from.join("link")).expect("linked");
        let mut bytes = Vec::new();
        let mut packer = Packer::new(&mut bytes, false);
        packer.tree(&from, Path::new("from"), false).expect("packed");
        packer.finish().expect("finished");

        unpack(directory.path(), named("to"), &bytes).expect("unpacked");
        let to = directory.path().join("to");
        assert_eq!(fs::read_to_string(to.join("sub/file")).expect("read"), "content");
        assert_eq!(fs::read_link(to.join("link")).expect("read"), Path::new("/etc/passwd"));
        let (file, other) = (to.join("sub/file"), to.join("sub/other"));
        let (file, other) = (file.metadata().expect("there"), other.metadata().expect("there"));
        assert_eq!(file.ino(), other.ino());
        assert_eq!(file.mode() & 0o7777, 0o751, "no set-user-id on the host");
        assert_eq!(to.join("sub").metadata().expect("there").mode() & 0o7777, 0o500);
        assert!(to.join("sub/empty").is_dir());
        // Once more over what is there, and only the contents.
        unpack(directory.path(), named("to"), &bytes).expect("unpacked again");
        unpack(&to, Naming::ContentsOnly, &bytes).expect("unpacked");
    }

    /// An archive of hostile entries, which the builder would refuse to make.
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, link) in entries {
            let mut header = Header::new_gnu();
            let raw = header.as_gnu_mut().expect("a GNU header");
            raw.name[..name.len()].copy_from_slice(name.as_bytes());
            raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            builder.append(&header, io::empty()).expect("written");
        }
        builder.into_inner().expect("finished")
    }

    #[test]
    fn nothing_leaves_the_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = directory.path().join("in");
        fs::create_dir(&target).expect("made");
        fs::write(directory.path().join("secret"), "kept").expect("written");
        use EntryType as Is;
        for entries in [
            &[("top/../../bad", Is::Regular, "")][..],
            &[("top/link", Is::Symlink, "/"), ("top/link/bad", Is::Regular, "")],
            &[("top/link", Is::Symlink, ".."), ("top/link", Is::Directory, "")],
            &[("top/hard", Is::Link, "top/../../secret")],
            &[("top/link", Is::Symlink, "../.."), ("top/hard", Is::Link, "top/link/secret")],
        ] {
            let bytes = archive(&[&[("top", Is::Directory, "")], entries].concat());
            assert!(unpack(&target, named("top"), &bytes).is_err(), "{entries:?}");
            fs::remove_dir_all(target.join("top")).expect("only this was made");
            assert_eq!(fs::read_dir(&target).expect("read").count(), 0, "{entries:?}");
        }
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 2);
    }

    #[test]
    fn a_file_takes_the_place_of_a_link_and_does_not_follow_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let secret = directory.path().join("secret");
        fs::write(&secret, "kept").expect("written");
        symlink(&secret, directory.path().join("file")).expect("linked");
        let bytes = archive(&[("whatever", EntryType::Regular, "")]);
        unpack(directory.path(), named("file"), &bytes).expect("unpacked");
        assert_eq!(fs::read_to_string(&secret).expect("read"), "kept");
        assert!(directory.path().join("file").symlink_metadata().expect("there").is_file());
    }

    #[test]
    fn devices_are_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let bytes = archive(&[("null", EntryType::Char, "")]);
        unpack(directory.path(), named("null"), &bytes).expect("unpacked");
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 0);
    }
}
