//! From a path of the container to a tar stream.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::magic_link;
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::root::{Root, failure};

/// How many directories may lie in one another.
const MAX_DEPTH: usize = 256;

/// The most hard links that are remembered; later ones become files of their own.
const MAX_LINKS: usize = 1 << 20;

/// File systems that are views of the kernel's and not files (statfs(2)): their contents are left out.
const KERNEL_VIEWS: [i64; 8] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7363_6673, // securityfs
];

/// Packs the file or directory at a path. A link at its end is packed as such.
pub(super) fn pack(root: &Root, path: &str, sink: File) -> Result<()> {
    let top = root
        .resolve(Path::new(path), OFlags::PATH | OFlags::NOFOLLOW)
        .map_err(|errno| failure(path.as_bytes(), "opened", errno))?;
    // Of the root, and of a path that ends in dots, the entries have no common name.
    let name = Path::new(path).file_name().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut packer = Packer {
        root,
        builder: Builder::new(io::BufWriter::with_capacity(128 * 1024, sink)),
        links: HashMap::new(),
    };
    packer.add(&top, &name, 0)?;
    let finished = packer.builder.into_inner().and_then(|mut sink| sink.flush());
    finished.map_err(stream_failure)
}

/// The stream's other end is gone, or full.
fn stream_failure(error: io::Error) -> Failure {
    Failure::new(ErrorKind::Internal, "the archive's stream broke").caused_by(error)
}

struct Packer<'a, W: Write> {
    root: &'a Root,
    builder: Builder<W>,
    /// The names under which files with several were packed.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<'_, W> {
    fn add(&mut self, file: &OwnedFd, name: &Path, depth: usize) -> Result<()> {
        let bad = |errno| failure(name.as_os_str().as_bytes(), "read", errno);
        let status = rustix::fs::fstat(file).map_err(bad)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => self.add_directory(file, name, &status, depth),
            FileType::RegularFile => self.add_file(file, name, &status),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(file, "", Vec::new()).map_err(bad)?;
                let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
                self.add_link(name, &target, EntryType::Symlink, &status)
            }
            FileType::Fifo => self.add_node(name, EntryType::Fifo, &status),
            FileType::CharacterDevice => self.add_node(name, EntryType::Char, &status),
            FileType::BlockDevice => self.add_node(name, EntryType::Block, &status),
            // A socket is of no use without the one who made it.
            _ => Ok(()),
        }
    }

    fn header(&self, kind: EntryType, status: &Stat) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(status.st_mode & 0o7777);
        header.set_uid(self.root.to_container(status.st_uid).into());
        header.set_gid(self.root.to_container(status.st_gid).into());
        header.set_mtime(u64::try_from(status.st_mtime).unwrap_or(0));
        header.set_size(0);
        header
    }

    /// Writes what a header has no room for: extended attributes and the parts of a second.
    fn add_extensions(&mut self, file: Option<&OwnedFd>, status: &Stat) -> Result<()> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        if status.st_mtime_nsec > 0 && status.st_mtime >= 0 {
            let time = format!("{}.{:09}", status.st_mtime, status.st_mtime_nsec);
            records.push(("mtime".to_owned(), time.into_bytes()));
        }
        if let Some(file) = file {
            for (name, value) in user_attributes(file) {
                records.push((format!("SCHILY.xattr.{name}"), value));
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(records).map_err(stream_failure)
    }

    fn add_directory(&mut self, file: &OwnedFd, name: &Path, status: &Stat, depth: usize) -> Result<()> {
        let bad = |errno| failure(name.as_os_str().as_bytes(), "read", errno);
        if depth > MAX_DEPTH {
            return Err(bad(Errno::NAMETOOLONG));
        }
        self.add_extensions(Some(file), status)?;
        let mut header = self.header(EntryType::Directory, status);
        let shown = if name == Path::new(".") { PathBuf::from("./") } else { name.join("") };
        self.builder.append_data(&mut header, shown, io::empty()).map_err(stream_failure)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(file, ".", flags, Mode::empty()).map_err(bad)?;
        if is_kernel_view(&directory) {
            return Ok(());
        }
        for entry in names_in(&directory).map_err(bad)? {
            let below = if name == Path::new(".") { PathBuf::from(&entry) } else { name.join(&entry) };
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&directory, &entry, flags, Mode::empty()) {
                Ok(file) => self.add(&file, &below, depth + 1)?,
                // Gone in the meantime.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failure(below.as_os_str().as_bytes(), "opened", errno)),
            }
        }
        Ok(())
    }

    fn add_file(&mut self, file: &OwnedFd, name: &Path, status: &Stat) -> Result<()> {
        if status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&key) {
                let first = first.clone();
                return self.add_link(name, &first, EntryType::Link, status);
            }
            if self.links.len() < MAX_LINKS {
                self.links.insert(key, name.to_owned());
            }
        }
        self.add_extensions(Some(file), status)?;
        // The handle's file itself, not what may bear its name by now.
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(magic_link(file), flags, Mode::empty())
            .map_err(|errno| failure(name.as_os_str().as_bytes(), "opened", errno))?;
        let size = u64::try_from(status.st_size).unwrap_or(0);
        let mut header = self.header(EntryType::Regular, status);
        header.set_size(size);
        // A file that changes its size meanwhile must not shift what follows it.
        let contents = File::from(opened).take(size).chain(io::repeat(0)).take(size);
        self.builder.append_data(&mut header, name, contents).map_err(stream_failure)
    }

    fn add_link(&mut self, name: &Path, target: &Path, kind: EntryType, status: &Stat) -> Result<()> {
        self.add_extensions(None, status)?;
        let mut header = self.header(kind, status);
        self.builder.append_link(&mut header, name, target).map_err(stream_failure)
    }

    fn add_node(&mut self, name: &Path, kind: EntryType, status: &Stat) -> Result<()> {
        self.add_extensions(None, status)?;
        let mut header = self.header(kind, status);
        let device = status.st_rdev;
        let numbers = header
            .set_device_major(rustix::fs::major(device))
            .and_then(|()| header.set_device_minor(rustix::fs::minor(device)));
        numbers
            .and_then(|()| self.builder.append_data(&mut header, name, io::empty()))
            .map_err(stream_failure)
    }
}

fn is_kernel_view(directory: &OwnedFd) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|status| KERNEL_VIEWS.contains(&status.f_type))
}

/// The names in a directory, sorted, so that the same tree gives the same archive.
fn names_in(directory: &OwnedFd) -> std::result::Result<Vec<std::ffi::OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(std::ffi::OsString::from_vec(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The attributes that users may set. Others mean something to the kernel of this host alone.
fn user_attributes(file: &OwnedFd) -> Vec<(String, Vec<u8>)> {
    let path = magic_link(file);
    let mut names = vec![0; 64 * 1024];
    let Ok(length) = rustix::fs::listxattr(&path, &mut names[..]) else { return Vec::new() };
    let names = names[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut attributes = Vec::new();
    for name in names.filter(|name| name.starts_with("user.") && !name.starts_with("user.overlay.")) {
        let mut value = vec![0; 64 * 1024];
        if let Ok(length) = rustix::fs::getxattr(&path, name, &mut value[..]) {
            value.truncate(length);
            attributes.push((name.to_owned(), value));
        }
    }
    attributes
}
