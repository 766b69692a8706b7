//! The way back from an unpacked layer to an archive (image specification, layer.md).
//!
//! The same tree always comes to the same bytes: entries in one order (a directory, its files by name, then its
//! directories by name), no names of users, times to the nanosecond. So a layer that was packed here, pulled, and packed
//! again has the same diff id. An archive of another hand, with its own order, padding and dialect, does not come out as
//! it went in: what matters of it is kept, its bytes are not.
//!
//! Whiteouts and opaque directories become the names of layer.md, and what overlayfs keeps for itself stays out.

mod attributes;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use loam_model::{ErrorKind, Failure, Result, shown_bytes};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use attributes::extensions;
pub(crate) use attributes::is_opaque;

/// Paths are looked up below the layer's root, without any link.
pub(crate) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Writes a layer as an archive, and gives the writer back. `root` is the layer's directory.
pub(crate) fn pack<W: Write>(root: &OwnedFd, writer: W) -> Result<W> {
    run(Packer { root, builder: Builder::new(writer), links: HashMap::new(), is_layer: true })
}

/// Writes somebody's directory as the archive of a layer. What is mounted on directories in it is left out.
pub(crate) fn pack_directory<W: Write>(root: &OwnedFd, writer: W) -> Result<W> {
    run(Packer { root, builder: Builder::new(writer), links: HashMap::new(), is_layer: false })
}

fn run<W: Write>(mut packer: Packer<'_, W>) -> Result<W> {
    // Of directories only the names are kept, so that no tree is too deep for open files.
    let mut waiting: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let directories = packer.directory(&path)?;
        waiting.extend(directories.into_iter().rev());
    }
    packer.builder.into_inner().map_err(stream_failure)
}

struct Packer<'a, W: Write> {
    root: &'a OwnedFd,
    builder: Builder<W>,
    /// The paths under which files with several names were packed, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Whether the files are those of a layer in the store, rather than somebody's.
    is_layer: bool,
}

/// One entry of the archive, but for its contents.
struct Entry<'a> {
    kind: EntryType,
    status: &'a Stat,
    path: &'a [u8],
    /// Where a link leads.
    target: &'a [u8],
    /// The file itself, where it can be opened.
    file: Option<&'a OwnedFd>,
}

impl<W: Write> Packer<'_, W> {
    /// Packs a directory and what is in it, and gives the directories in it, in order.
    fn directory(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        let bad = |errno| failure(path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = if path.is_empty() { &b"."[..] } else { path };
        let name = &[place, b"/"].concat()[..];
        let how = if self.is_layer { BENEATH } else { BENEATH.union(ResolveFlags::NO_XDEV) };
        let directory = match loam_sys::openat2(self.root, place, flags, Mode::empty(), how) {
            Err(Errno::XDEV) if !self.is_layer => {
                // Something is mounted here. The directory below it can't be seen; what covers it tells enough.
                let status = &rustix::fs::statat(self.root, place, AtFlags::SYMLINK_NOFOLLOW).map_err(bad)?;
                let kind = EntryType::Directory;
                self.append(&Entry { kind, status, path: name, target: b"", file: None }, 0, io::empty())?;
                return Ok(Vec::new());
            }
            opened => opened.map_err(bad)?,
        };
        let status = &rustix::fs::fstat(&directory).map_err(bad)?;
        let (kind, target, file) = (EntryType::Directory, &b""[..], Some(&directory));
        self.append(&Entry { kind, status, path: name, target, file }, 0, io::empty())?;
        if is_opaque(&directory) {
            self.whiteout(&join(path, b".wh..wh..opq"))?;
        }
        let mut directories = Vec::new();
        for entry in names_in(&directory).map_err(bad)? {
            let below = join(path, &entry);
            if !self.is_layer && entry.starts_with(b".wh.") {
                return Err(unspeakable(&below));
            }
            let status = rustix::fs::statat(&directory, &*entry, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| failure(&below, errno))?;
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                directories.push(below);
            } else {
                self.entry(&directory, &entry, &below, &status)?;
            }
        }
        Ok(directories)
    }

    /// Packs what is no directory.
    fn entry(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8], status: &Stat) -> Result<()> {
        let file = FileType::from_raw_mode(status.st_mode);
        if file == FileType::CharacterDevice && status.st_rdev == 0 {
            let (above, _) = loam_unpack::parent_and_name(path);
            return self.whiteout(&join(above, &[b".wh.", name].concat()));
        }
        let entry = Entry { kind: EntryType::Link, status, path, target: b"", file: None };
        if status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&key).cloned() {
                return self.append(&Entry { target: &first, ..entry }, 0, io::empty());
            }
            self.links.insert(key, path.to_vec());
        }
        let kind = match file {
            FileType::RegularFile => return self.file(parent, name, &entry),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new());
                let target = target.map_err(|errno| failure(path, errno))?.into_bytes();
                let kind = EntryType::Symlink;
                return self.append(&Entry { kind, target: &target, ..entry }, 0, io::empty());
            }
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            FileType::Fifo => EntryType::Fifo,
            // No archive has sockets, so that no layer has any.
            _ => return Ok(()),
        };
        self.append(&Entry { kind, ..entry }, 0, io::empty())
    }

    fn file(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry<'_>) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::empty());
        let file = file.map_err(|errno| failure(entry.path, errno))?;
        let size = u64::try_from(entry.status.st_size).unwrap_or(0);
        let entry = Entry { kind: EntryType::Regular, file: Some(&file), ..*entry };
        let copy = file.try_clone().map_err(stream_failure)?;
        self.append(&entry, size, Exactly { file: File::from(copy), left: size })
    }

    /// Hides what lower layers have. Nothing of the marker but its name means anything.
    fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        for set in [Header::set_uid, Header::set_gid, Header::set_mtime, Header::set_size] {
            set(&mut header, 0);
        }
        header.set_mode(0);
        self.write(header, path, b"", Vec::new(), io::empty())
    }

    fn append(&mut self, entry: &Entry<'_>, size: u64, contents: impl Read) -> Result<()> {
        let mut header = header(entry.kind, entry.status);
        header.set_size(size);
        if matches!(entry.kind, EntryType::Char | EntryType::Block) {
            let device = entry.status.st_rdev;
            let numbers = header.set_device_major(rustix::fs::major(device));
            let numbers = numbers.and_then(|()| header.set_device_minor(rustix::fs::minor(device)));
            numbers.map_err(stream_failure)?;
        }
        // A further name of a file has nothing of its own.
        let records = match entry.kind {
            EntryType::Link => Vec::new(),
            _ => extensions(entry.file, entry.status).map_err(|errno| failure(entry.path, errno))?,
        };
        self.write(header, entry.path, entry.target, records, contents)
    }

    /// Writes an entry; what its header has no room for goes before it (pax, "pax Extended Header").
    fn write(
        &mut self,
        mut header: Header,
        path: &[u8],
        target: &[u8],
        mut records: Vec<(String, Vec<u8>)>,
        contents: impl Read,
    ) -> Result<()> {
        let old = header.as_old_mut();
        for (key, text, field) in [("path", path, &mut old.name), ("linkpath", target, &mut old.linkname)] {
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text[..length]);
            if length < text.len() {
                records.push((key.to_owned(), text.to_vec()));
            }
        }
        header.set_cksum();
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(records).map_err(stream_failure)?;
        self.builder.append(&header, contents).map_err(stream_failure)
    }
}

/// A file's first bytes, and an error when there are not that many: nobody writes to a layer.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut buffer[..length])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file of the layer has become shorter",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn header(kind: EntryType, status: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(status.st_mode & 0o7777);
    header.set_uid(status.st_uid.into());
    header.set_gid(status.st_gid.into());
    // An earlier one is in the extensions.
    header.set_mtime(u64::try_from(status.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// The names in a directory, in order.
pub(crate) fn names_in(directory: &OwnedFd) -> std::result::Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The failure for a name that means something else in a layer (layer.md, "Whiteouts").
fn unspeakable(path: &[u8]) -> Failure {
    let message = format!("`{}` can't be in an image: the name stands for a removal", shown_bytes(path));
    Failure::new(ErrorKind::Unsupported, message)
}

fn failure(path: &[u8], errno: Errno) -> Failure {
    let message = format!("`{}` of the layer can't be read", shown_bytes(path));
    crate::error::failed(message, errno)
}

fn stream_failure(error: io::Error) -> Failure {
    Failure::new(ErrorKind::of_io(&error), "the layer can't be packed").caused_by(error)
}

#[cfg(test)]
mod tests;
