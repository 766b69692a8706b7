//! Network settings below `/proc/sys/net`, of the namespace that the calling thread is in.

mod own_proc;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags, openat};

use own_proc::Root;

/// Reads a setting, such as `ipv4/ip_forward`.
pub(crate) fn read(key: &str) -> io::Result<String> {
    read_at(Root::get()?, &below_net(key))
}

/// Writes a setting without looking at it first.
pub(crate) fn write(key: &str, value: &str) -> io::Result<()> {
    write_at(Root::get()?, &below_net(key), value)
}

/// Writes a setting when it has another value. Says whether it was written.
pub(crate) fn ensure(key: &str, value: &str) -> io::Result<bool> {
    if read(key)? == value {
        return Ok(false);
    }
    write(key, value)?;
    Ok(true)
}

/// Settings of one thing, such as `ipv6/conf/eth0`. They stay those of the namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// Opens `/proc/sys/net` itself.
    pub(crate) fn net() -> io::Result<Self> {
        Self::open("")
    }

    /// Opens a directory below `/proc/sys/net`.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(Root::get()?, below_net(path), flags, Mode::empty())?))
    }

    /// Reads a setting.
    pub(crate) fn read(&self, key: &str) -> io::Result<String> {
        read_at(&self.0, key)
    }

    /// Writes a setting without looking at it first.
    pub(crate) fn write(&self, key: &str, value: &str) -> io::Result<()> {
        write_at(&self.0, key, value)
    }

    /// The names of what is in it, but for those that are no text.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut names = Vec::new();
        for entry in Dir::new(openat(&self.0, c".", flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name().to_str().ok();
            names.extend(name.filter(|name| *name != "." && *name != "..").map(str::to_owned));
        }
        Ok(names)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether this namespace has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    Directory::open("ipv6").is_ok()
}

fn below_net(path: &str) -> String {
    format!("sys/net/{path}")
}

fn read_at(directory: impl AsFd, path: &str) -> io::Result<String> {
    let mut value = String::new();
    open_at(directory, path, OFlags::RDONLY)?.read_to_string(&mut value)?;
    Ok(value.trim_end().to_owned())
}

fn write_at(directory: impl AsFd, path: &str, value: &str) -> io::Result<()> {
    open_at(directory, path, OFlags::WRONLY)?.write_all(value.as_bytes())
}

fn open_at(directory: impl AsFd, path: &str, access: OFlags) -> io::Result<File> {
    Ok(openat(directory, path, access | OFlags::CLOEXEC, Mode::empty())?.into())
}
