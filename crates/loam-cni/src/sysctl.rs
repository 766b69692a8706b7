//! Network settings below `/proc/sys/net`, of the namespace that the calling thread is in.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Reads a setting, such as `ipv4/ip_forward`.
pub(crate) fn read(key: &str) -> io::Result<String> {
    Ok(fs::read_to_string(format!("/proc/sys/net/{key}"))?.trim_end().to_owned())
}

/// Writes a setting without looking at it first.
pub(crate) fn write(key: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/{key}"), value)
}

/// Writes a setting when it has another value. Says whether it was written.
pub(crate) fn ensure(key: &str, value: &str) -> io::Result<bool> {
    if read(key)? == value {
        return Ok(false);
    }
    write(key, value)?;
    Ok(true)
}

/// Settings of one thing, such as `ipv6/conf/eth0`. The way to a setting is long when there are many network namespaces
/// (`fs/proc/proc_sysctl.c`, `proc_sys_compare`), and is gone once here.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// Opens the directory below `/proc/sys/net`.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, format!("/proc/sys/net/{path}"), flags, Mode::empty())?))
    }

    /// Reads a setting.
    pub(crate) fn read(&self, key: &str) -> io::Result<String> {
        let mut value = String::new();
        self.open_setting(key, OFlags::RDONLY)?.read_to_string(&mut value)?;
        Ok(value.trim_end().to_owned())
    }

    /// Writes a setting without looking at it first.
    pub(crate) fn write(&self, key: &str, value: &str) -> io::Result<()> {
        self.open_setting(key, OFlags::WRONLY)?.write_all(value.as_bytes())
    }

    fn open_setting(&self, key: &str, access: OFlags) -> io::Result<File> {
        Ok(openat(&self.0, key, access | OFlags::CLOEXEC, Mode::empty())?.into())
    }
}

/// Whether this namespace has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    fs::exists("/proc/sys/net/ipv6").unwrap_or(false)
}
