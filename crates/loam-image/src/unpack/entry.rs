//! What is done for each entry of a layer.

use std::collections::btree_map;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Uid};
use rustix::io::Errno;

use super::budget::Charge;
use super::tree::{Found, is_directory, is_whiteout, stat};
use super::{Attributes, Cost, DanglingLink, UnpackError, Unpacked, Unpacker, parent_and_name, relative};
use crate::archive::{Archive, Entry, EntryKind};
use crate::blocks::Blocks;

/// How a whiteout's name begins (layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory as opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of this kind are leftovers of aufs.
const AUFS: &[u8] = b".wh..wh.";
/// The most directories of a layer, which are all held in memory until its end.
const DIRECTORY_LIMIT: usize = 1 << 20;
/// The most bytes that a layer may have held in memory until its end.
const KEPT_LIMIT: usize = 64 << 20;
/// A file of so many bytes is written to the disk at once; smaller ones are better written together.
const LARGE_FILE: u64 = 256 * 1024;
/// The longest target of a symbolic link.
const TARGET_LIMIT: usize = 4095;

impl Unpacker<'_> {
    /// Makes one entry.
    pub(super) fn entry<B: Blocks>(
        &mut self,
        archive: &mut Archive<B>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let path = relative(&entry.path)?;
        if path.is_empty() {
            if entry.kind != EntryKind::Directory {
                return Err(UnpackError::entry(&entry.path, "names the root, but is no directory"));
            }
            let attributes = Attributes::of_entry(entry)?;
            self.keep(attributes.weight())?;
            self.directories.insert(path, Some(attributes));
            return Ok(());
        }
        let (parent, name) = parent_and_name(&path);
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(&path, parent, name, hidden);
        }
        // Held until the entry is made.
        let charge = self.budget.take(Cost::of(entry, self.budget.block()))?;
        let parent = self.directory(parent, &path)?;
        match entry.kind {
            EntryKind::Directory => self.listed_directory(&parent, path, entry),
            EntryKind::File => self.file(archive, &parent, name, &path, (entry, charge)),
            EntryKind::Symlink => self.symlink(&parent, name, &path, entry),
            EntryKind::HardLink => self.hard_link(&parent, name, &path, entry),
            EntryKind::CharacterDevice => self.node(&parent, name, &path, entry, FileType::CharacterDevice),
            EntryKind::BlockDevice => self.node(&parent, name, &path, entry, FileType::BlockDevice),
            EntryKind::Fifo => self.node(&parent, name, &path, entry, FileType::Fifo),
        }
    }

    /// Gives all directories their attributes, now that nothing changes in them any more.
    pub(super) fn finish(mut self) -> Result<Unpacked, UnpackError> {
        for (path, attributes) in std::mem::take(&mut self.directories) {
            let implicit = attributes.is_none();
            if self.finish_directory(&path, attributes)? && implicit {
                self.done.implicit.push(path);
            }
        }
        Ok(self.done)
    }

    /// Gives a directory its attributes; false when it is gone with something that was replaced.
    fn finish_directory(&self, path: &[u8], attributes: Option<Attributes>) -> Result<bool, UnpackError> {
        let Some(fd) = self.tree.open(path)? else { return Ok(false) };
        let attributes = attributes.unwrap_or_else(Attributes::of_implicit_directory);
        let _charge = self.budget.take(Cost::of_attributes(attributes.weight(), self.budget.block()))?;
        let applied = attributes.apply(fd.as_fd(), None);
        applied.map_err(|error| UnpackError::system(path, "given its attributes", error))?;
        Ok(true)
    }

    /// The directory for an entry; made, without attributes of its own, where the archive has not listed it.
    fn directory(&mut self, path: &[u8], entry: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Found::Directory(fd) = self.tree.find(path, entry)? {
            return Ok(fd);
        }
        let (above, name) = parent_and_name(path);
        let parent = self.directory(above, entry)?;
        // Only a whiteout of this same layer may make room; a file in the way is a contradiction.
        let obstacle = rustix::fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        if obstacle.is_some_and(|stat| !is_whiteout(&stat) && !is_directory(&stat)) {
            return Err(UnpackError::entry(entry, "lies below something that is no directory"));
        }
        let _charge = self.budget.take(Cost::directory(self.budget.block()))?;
        let fd = self.make_directory(&parent, path)?;
        self.record(path.to_vec())?;
        Ok(fd)
    }

    fn listed_directory(
        &mut self,
        parent: &OwnedFd,
        path: Vec<u8>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let attributes = Attributes::of_entry(entry)?;
        self.keep(attributes.weight())?;
        self.make_directory(parent, &path)?;
        *self.record(path)? = Some(attributes);
        Ok(())
    }

    /// Makes a directory, or takes the one that is there; anything else makes room.
    fn make_directory(&mut self, parent: &OwnedFd, path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Some(fd) = self.tree.make_directory(parent, path)? {
            return Ok(fd);
        }
        let (_, name) = parent_and_name(path);
        self.clear(parent, name, path)?;
        let made = self.tree.make_directory(parent, path)?;
        let fd = made.ok_or_else(|| UnpackError::system(path, "made", Errno::EXIST))?;
        // What was there hid whatever lower layers have of this name.
        self.make_opaque(path)?;
        Ok(fd)
    }

    /// Hides what lower layers have in a directory.
    fn make_opaque(&self, path: &[u8]) -> Result<(), UnpackError> {
        let Some(fd) = self.tree.open(path)? else { return Ok(()) };
        (self.mark_opaque)(fd.as_fd()).map_err(|error| UnpackError::system(path, "made opaque", error))
    }

    /// What is known of a directory that this layer makes; nothing yet of a new one.
    fn record(&mut self, path: Vec<u8>) -> Result<&mut Option<Attributes>, UnpackError> {
        let count = self.directories.len();
        if !self.directories.contains_key(&path) {
            self.keep(path.len())?;
        }
        match self.directories.entry(path) {
            btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            btree_map::Entry::Vacant(_) if count >= DIRECTORY_LIMIT => {
                Err(UnpackError::malformed(format!("it has more than {DIRECTORY_LIMIT} directories")))
            }
            btree_map::Entry::Vacant(new) => Ok(new.insert(None)),
        }
    }

    /// Takes note of bytes that stay in memory until the end; what is dropped before counts all the same.
    fn keep(&mut self, bytes: usize) -> Result<(), UnpackError> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > KEPT_LIMIT {
            return Err(UnpackError::malformed(format!(
                "its directories and its hard links to other layers take more than {KEPT_LIMIT} bytes of memory"
            )));
        }
        Ok(())
    }

    fn whiteout(
        &mut self,
        path: &[u8],
        parent: &[u8],
        name: &[u8],
        hidden: &[u8],
    ) -> Result<(), UnpackError> {
        if name == OPAQUE {
            self.directory(parent, path)?;
            return self.make_opaque(parent);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::entry(path, "is a whiteout of nothing"));
        }
        let _charge = self.budget.take(Cost::node(self.budget.block()))?;
        let fd = self.directory(parent, path)?;
        match rustix::fs::mknodat(&*fd, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // A whiteout hides what lower layers have, never what this one has, whichever came first.
            Err(Errno::EXIST) => {
                if is_directory(&stat(&fd, hidden, path)?) {
                    let separator: &[u8] = if parent.is_empty() { b"" } else { b"/" };
                    self.make_opaque(&[parent, separator, hidden].concat())?;
                }
                Ok(())
            }
            Err(error) => Err(UnpackError::system(path, "made", error)),
        }
    }

    fn file<B: Blocks>(
        &mut self,
        archive: &mut Archive<B>,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        (entry, mut charge): (&Entry, Charge<'_>),
    ) -> Result<(), UnpackError> {
        let attributes = Attributes::of_entry(entry)?;
        let made_with = attributes.mode & 0o777;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.make(parent, name, path, || {
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(made_with))
        })?;
        archive.begin_file(path, entry);
        write_data(archive, &fd, path, (entry, &mut charge))?;
        attributes
            .apply(fd.as_fd(), Some(made_with))
            .map_err(|error| UnpackError::system(path, "given its attributes", error))?;
        if entry.size >= LARGE_FILE {
            // The sync at the end of the pull then finds the disk busy with it, or done. No promise depends on it.
            loam_sys::begin_write_back(fd.as_fd()).ok();
        }
        self.done.size += entry.size;
        Ok(())
    }

    fn symlink(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let target = &entry.link[..];
        if target.is_empty() || target.len() > TARGET_LIMIT || target.contains(&0) {
            return Err(UnpackError::entry(path, "is a symbolic link with an impossible target"));
        }
        let attributes = Attributes::of_entry(entry)?;
        self.make(parent, name, path, || rustix::fs::symlinkat(target, parent, name))?;
        finish_node(parent, name, path, &attributes, None)
    }

    fn node(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
        kind: FileType,
    ) -> Result<(), UnpackError> {
        if kind == FileType::CharacterDevice && entry.device == (0, 0) {
            return Err(UnpackError::entry(path, "is the device 0:0, which would be a forged whiteout"));
        }
        let attributes = Attributes::of_entry(entry)?;
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(attributes.mode);
        self.make(parent, name, path, || rustix::fs::mknodat(parent, name, kind, mode, device))?;
        finish_node(parent, name, path, &attributes, Some(mode))
    }

    fn hard_link(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let target = relative(&entry.link).map_err(|_| {
            let shown = loam_model::shown_bytes(&entry.link);
            UnpackError::entry(path, format!("is a hard link to `{shown}`, outside the layer"))
        })?;
        if target == path || target.is_empty() {
            return Err(UnpackError::entry(path, "is a hard link to itself or to the root"));
        }
        let (above, last) = parent_and_name(&target);
        let source = match self.tree.find(above, path)? {
            Found::Directory(fd) => Some(fd),
            Found::Missing | Found::Obstructed => None,
        };
        let original = source.as_ref().and_then(|fd| {
            rustix::fs::statat(&**fd, last, AtFlags::SYMLINK_NOFOLLOW).ok().filter(|s| !is_whiteout(s))
        });
        let (Some(source), Some(original)) = (source, original) else {
            self.keep(size_of::<DanglingLink>() + path.len() + target.len())?;
            self.clear(parent, name, path)?;
            self.done.dangling.push(DanglingLink { path: path.to_vec(), target });
            return Ok(());
        };
        if is_directory(&original) {
            return Err(UnpackError::entry(path, "is a hard link to a directory"));
        }
        let present = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        if present.is_ok_and(|s| (s.st_dev, s.st_ino) == (original.st_dev, original.st_ino)) {
            return Ok(());
        }
        self.make(parent, name, path, || rustix::fs::linkat(&*source, last, parent, name, AtFlags::empty()))
    }

    /// Makes something that must not exist; what is in the way is removed first.
    fn make<T>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        create: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, UnpackError> {
        match create() {
            Err(Errno::EXIST) => {
                self.clear(parent, name, path)?;
                create()
            }
            other => other,
        }
        .map_err(|error| UnpackError::system(path, "made", error))
    }

    /// Removes what this layer has under a name.
    fn clear(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        let present = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let kind = present.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode));
        let followed = kind == FileType::Symlink && self.tree.forget_links();
        // Files that were made by way of a link are not found again under their names.
        self.done.lossy |= followed || matches!(kind, FileType::Directory | FileType::RegularFile);
        self.tree.forget(path);
        self.directories.remove(path);
        // `0` comes after `/`: the range holds what lies below.
        let below = [path, b"/"].concat()..[path, b"0"].concat();
        let known: Vec<Vec<u8>> = self.directories.range(below).map(|(known, _)| known.clone()).collect();
        for known in known {
            let attributes = self.directories.remove(&known).flatten();
            if followed {
                self.finish_directory(&known, attributes)?;
            }
        }
        let removed = match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => crate::delete::tree(parent, name),
            Err(error) => Err(io::Error::from(error)),
        };
        removed.map_err(|error| UnpackError::system(path, "replaced", error))
    }
}

/// Owner, mode and times of something that can't be opened. It was made just now, in a directory that no one else can
/// enter, so that its name can't have become a link.
fn finish_node(
    parent: &OwnedFd,
    name: &[u8],
    path: &[u8],
    attributes: &Attributes,
    mode: Option<Mode>,
) -> Result<(), UnpackError> {
    let system = |error| UnpackError::system(path, "given its attributes", error);
    if attributes.is_foreign() {
        let (owner, group) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        rustix::fs::chownat(parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(system)?;
    }
    if let Some(mode) = mode {
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(system)?;
    }
    rustix::fs::utimensat(parent, name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW).map_err(system)
}

/// Writes a file's data where it belongs.
fn write_data<B: Blocks>(
    archive: &mut Archive<B>,
    fd: &OwnedFd,
    path: &[u8],
    (entry, charge): (&Entry, &mut Charge<'_>),
) -> Result<(), UnpackError> {
    let system = |error: Errno| UnpackError::system(path, "written", error);
    let Some((segments, length)) = &entry.sparse else {
        loop {
            let data = archive.data()?;
            if data.is_empty() {
                return Ok(());
            }
            write_all(fd, data).map_err(system)?;
            charge.spent(data.len());
        }
    };
    rustix::fs::ftruncate(fd, *length).map_err(system)?;
    for segment in segments {
        rustix::fs::seek(fd, SeekFrom::Start(segment.offset)).map_err(system)?;
        let mut left = segment.length;
        while left > 0 {
            let data = archive.data_up_to(left)?;
            write_all(fd, data).map_err(system)?;
            charge.spent(data.len());
            left -= data.len() as u64;
        }
    }
    Ok(())
}

fn write_all(fd: &OwnedFd, mut data: &[u8]) -> rustix::io::Result<()> {
    while !data.is_empty() {
        match rustix::io::write(fd, data) {
            Ok(count) => data = &data[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
