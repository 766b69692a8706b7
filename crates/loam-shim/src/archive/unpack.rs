//! From a tar stream to files below a directory of the container.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::root::{Root, failure, own_path, shown};
use crate::rootfs::as_container_root;

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

/// Where an entry goes: a directory, and a name in it that is a single component.
struct Place<'a> {
    parent: &'a OwnedFd,
    name: &'a OsStr,
    path: &'a Path,
}

impl Place<'_> {
    fn failure(&self, what: &str, errno: Errno) -> Failure {
        failure(self.path.as_os_str().as_bytes(), what, errno)
    }
}

/// What an entry says of its file.
struct Attributes {
    mode: Mode,
    owner: (Uid, Gid),
    time: Timespec,
    extended: Vec<(String, Vec<u8>)>,
}

impl Unpacker<'_> {
    fn unpack(&mut self, source: impl Read) -> Result<()> {
        let broken = |error: std::io::Error| {
            Failure::new(ErrorKind::Invalid, "the archive is not a valid tar stream").caused_by(error)
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
        let attributes = self.attributes(&mut entry)?;
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
                let message =
                    format!("`{}` is a device, which is not copied", shown(path.as_os_str().as_bytes()));
                Err(Failure::new(ErrorKind::Unsupported, message))
            }
        };
        // Kept for the next entry, unless this one may have replaced a part of the way.
        let above = path.parent().map(Path::to_owned).unwrap_or_default();
        let replaces = matches!(kind, EntryType::Directory | EntryType::Symlink | EntryType::Link);
        self.parent = if replaces { None } else { Some((above, parent)) };
        made
    }

    fn attributes(&self, entry: &mut Entry<'_, impl Read>) -> Result<Attributes> {
        let header = entry.header();
        let number = |value: std::io::Result<u64>| {
            value.map_err(|error| {
                Failure::new(ErrorKind::Invalid, "the archive has a header that is not valid")
                    .caused_by(error)
            })
        };
        let mode = Mode::from_raw_mode(header.mode().unwrap_or(0o644) & 0o7777);
        let owner = (number(header.uid())?, number(header.gid())?);
        let owner = self.root.to_host(owner.0).zip(self.root.to_host(owner.1)).ok_or_else(|| {
            let message = format!(
                "`{}` belongs to {}:{}, which the container does not have",
                shown(&entry.path_bytes()),
                owner.0,
                owner.1
            );
            Failure::new(ErrorKind::Invalid, message)
        })?;
        let seconds = i64::try_from(number(header.mtime())?).unwrap_or(0);
        let mut time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let mut extended = Vec::new();
        if let Ok(Some(records)) = entry.pax_extensions() {
            for record in records.flatten() {
                let (Ok(key), value) = (record.key(), record.value_bytes()) else { continue };
                if key == "mtime" {
                    time = parse_time(value).unwrap_or(time);
                } else if let Some(name) = key.strip_prefix("SCHILY.xattr.")
                    && name.starts_with("user.")
                    && !name.starts_with("user.overlay.")
                {
                    extended.push((name.to_owned(), value.to_vec()));
                }
            }
        }
        let owner = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        Ok(Attributes { mode, owner, time, extended })
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
            make_way(place)?;
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
        make_way(place)?;
        // What the descriptor names, which can't be replaced by then.
        let way = own_path(&file);
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

impl Attributes {
    /// Sets all but a directory's time, on the file itself. The owner first, because that takes rights away.
    fn apply(&self, file: &OwnedFd) -> std::result::Result<(), Errno> {
        rustix::fs::fchown(file, Some(self.owner.0), Some(self.owner.1))?;
        rustix::fs::fchmod(file, self.mode)?;
        for (name, value) in &self.extended {
            match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
                // Not every file system has them.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Sets owner and time of what can't be opened.
    fn apply_by_name(&self, place: &Place<'_>) -> std::result::Result<(), Errno> {
        let Place { parent, name, .. } = place;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, *name, Some(self.owner.0), Some(self.owner.1), flags)?;
        rustix::fs::utimensat(parent, *name, &both(self.time), flags)
    }
}

fn add_file(place: &Place<'_>, entry: &mut impl Read, attributes: &Attributes) -> Result<()> {
    make_way(place)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(place.parent, place.name, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| place.failure("made", errno))?;
    let mut file = File::from(file);
    std::io::copy(entry, &mut file).map_err(|error| {
        let message = format!("`{}` can't be written", shown(place.path.as_os_str().as_bytes()));
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Failure::new(crate::rootfs::kind_of(errno), message).caused_by(error)
    })?;
    let file = OwnedFd::from(file);
    attributes.apply(&file).map_err(|errno| place.failure("set up", errno))?;
    rustix::fs::futimens(&file, &both(attributes.time)).map_err(|errno| place.failure("set up", errno))
}

fn add_symlink(place: &Place<'_>, target: &OsStr, attributes: &Attributes) -> Result<()> {
    make_way(place)?;
    rustix::fs::symlinkat(target, place.parent, place.name).map_err(|errno| place.failure("made", errno))?;
    attributes.apply_by_name(place).map_err(|errno| place.failure("set up", errno))
}

fn add_fifo(place: &Place<'_>, attributes: &Attributes) -> Result<()> {
    make_way(place)?;
    rustix::fs::mknodat(place.parent, place.name, FileType::Fifo, attributes.mode, 0)
        .map_err(|errno| place.failure("made", errno))?;
    attributes.apply_by_name(place).map_err(|errno| place.failure("set up", errno))
}

/// Removes what is in the way; a directory is not.
fn make_way(place: &Place<'_>) -> Result<()> {
    match rustix::fs::unlinkat(place.parent, place.name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => {
            let message =
                format!("`{}` is a directory in the container", shown(place.path.as_os_str().as_bytes()));
            Err(Failure::new(ErrorKind::Conflict, message))
        }
        Err(errno) => Err(place.failure("replaced", errno)),
    }
}

fn open_below(directory: &OwnedFd, name: &OsStr, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

/// A name in an archive as a path below the base: no root, no dots.
fn relative(name: &[u8]) -> Result<PathBuf> {
    let invalid = |rule: &str| {
        let name = shown(&name[..name.len().min(200)]);
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

/// `SECONDS[.FRACTION]`, as extended headers have it.
fn parse_time(text: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some(Timespec { tv_sec: seconds.parse().ok()?, tv_nsec: digits.parse::<u32>().ok()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use tar::{Builder, Header};

    /// A root with a directory `in` to unpack into, and a canary beside the root.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(base.path().join("root/in")).unwrap();
            std::fs::create_dir(base.path().join("canary")).unwrap();
            std::fs::write(base.path().join("canary/file"), "alive").unwrap();
            std::fs::set_permissions(base.path().join("canary"), PermissionsExt::from_mode(0o750)).unwrap();
            Self(base)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn unpack(&self, archive: &[u8]) -> Result<()> {
            let root = Root::of(&self.path("root"), None);
            let result = unpack(&root, "/in", archive);
            let canary = std::fs::metadata(self.path("canary")).unwrap();
            assert_eq!(canary.mode() & 0o7777, 0o750);
            assert_eq!(std::fs::read_dir(self.path("canary")).unwrap().count(), 1);
            assert_eq!(std::fs::read_to_string(self.path("canary/file")).unwrap(), "alive");
            result
        }
    }

    fn entry(builder: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: Option<&str>, data: &str) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        // Names as hostile as they are given, which the builder would not write.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(link) = link {
            header.set_link_name_literal(link).unwrap();
        }
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }

    fn archive(entries: &[(EntryType, &str, Option<&str>, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, name, link, data) in entries {
            entry(&mut builder, *kind, name, *link, data);
        }
        builder.into_inner().unwrap()
    }

    const FILE: EntryType = EntryType::Regular;
    const DIRECTORY: EntryType = EntryType::Directory;
    const SYMLINK: EntryType = EntryType::Symlink;
    const HARD: EntryType = EntryType::Link;

    #[test]
    fn what_an_archive_holds_is_made() {
        let tree = Tree::new();
        let entries = [
            (DIRECTORY, "d/", None, ""),
            (FILE, "d/f", None, "text"),
            (HARD, "d/h", Some("d/f"), ""),
            (SYMLINK, "d/s", Some("f"), ""),
            (FILE, "missing/parents/f", None, "x"),
            (EntryType::Fifo, "pipe", None, ""),
        ];
        tree.unpack(&archive(&entries)).unwrap();
        let file = std::fs::metadata(tree.path("root/in/d/h")).unwrap();
        assert_eq!((file.nlink(), file.mode() & 0o7777, file.mtime()), (2, 0o777, 1_000_000_000));
        assert_eq!(std::fs::metadata(tree.path("root/in/d")).unwrap().mtime(), 1_000_000_000);
        assert_eq!(std::fs::read_to_string(tree.path("root/in/d/s")).unwrap(), "text");
        assert!(tree.path("root/in/missing/parents/f").exists());
        // Once more over what is there.
        tree.unpack(&archive(&entries)).unwrap();
    }

    #[test]
    fn nothing_is_written_outside_the_root() {
        let outside = |tree: &Tree| tree.path("canary").display().to_string();
        type Shape = fn(&str) -> Vec<(EntryType, &'static str, Option<String>)>;
        let shapes: [Shape; 6] = [
            |_| vec![(FILE, "../../canary/evil", None)],
            |_| vec![(FILE, "/../../canary/evil", None)],
            |canary| vec![(SYMLINK, "d", Some(canary.to_owned())), (FILE, "d/evil", None)],
            |_| vec![(SYMLINK, "d", Some("../../../../canary".to_owned())), (FILE, "d/evil", None)],
            |canary| vec![(SYMLINK, "d", Some(canary.to_owned())), (DIRECTORY, "d", None)],
            |canary| vec![(HARD, "h", Some(format!("{canary}/file"))), (FILE, "h", None)],
        ];
        for shape in shapes {
            let tree = Tree::new();
            let canary = outside(&tree);
            let entries = shape(&canary);
            let entries: Vec<_> = entries
                .iter()
                .map(|(kind, name, link)| {
                    (*kind, *name, link.as_deref(), if *kind == FILE { "evil" } else { "" })
                })
                .collect();
            // Whether it is refused or lands inside is all the same.
            match tree.unpack(&archive(&entries)) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    #[test]
    fn links_of_the_container_lead_nowhere_else() {
        let tree = Tree::new();
        symlink(tree.path("canary"), tree.path("root/in/d")).unwrap();
        symlink(tree.path("canary/file"), tree.path("root/in/f")).unwrap();
        // A file in place of a link replaces it; below a link that leads nowhere in the root nothing is made.
        tree.unpack(&archive(&[(FILE, "f", None, "new")])).unwrap();
        assert_eq!(std::fs::read_to_string(tree.path("root/in/f")).unwrap(), "new");
        assert!(tree.unpack(&archive(&[(FILE, "d/evil", None, "x")])).is_err());
        let root = Root::of(&tree.path("root"), None);
        let failure = unpack(&root, "/in/d", &[][..]).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_not_meant_for_copying_is_refused() {
        let tree = Tree::new();
        for (entries, kind) in [
            ([(EntryType::Char, "null", None, "")], ErrorKind::Unsupported),
            ([(FILE, "..", None, "x")], ErrorKind::Invalid),
        ] {
            assert_eq!(tree.unpack(&archive(&entries)).unwrap_err().kind(), kind);
        }
        assert_eq!(tree.unpack(&[b'x'; 2048]).unwrap_err().kind(), ErrorKind::Invalid);
        let whole = archive(&[(FILE, "f", None, &"x".repeat(10_000))]);
        assert!(tree.unpack(&whole[..2048]).is_err());
        std::fs::create_dir(tree.path("root/in/taken")).unwrap();
        let failure = tree.unpack(&archive(&[(FILE, "taken", None, "x")])).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Conflict);
    }

    #[test]
    fn times_have_parts_of_seconds() {
        let time = |text: &str| parse_time(text.as_bytes()).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(time("x"), None);
    }
}
