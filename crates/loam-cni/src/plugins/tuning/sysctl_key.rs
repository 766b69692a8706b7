//! Kernel settings below `/proc/sys/net`, by keys that come from a configuration.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::protocol::CniError;
use crate::sysctl::Directory;

/// The longest value that is read.
const MAX_VALUE: u64 = 64 << 10;

/// The path below `/proc/sys/net` that a key stands for. Dots are slashes, and the first `IFNAME` is the interface, whose own
/// dots are no slashes.
fn relative(key: &str, interface: &str) -> Result<String, CniError> {
    let invalid = || CniError::invalid_config(format!("invalid net sysctl key: `{}`", key.escape_default()));
    let path = key.replace('.', "/").replacen("IFNAME", interface, 1);
    let path = path.strip_prefix("net/").ok_or_else(invalid)?;
    let sound = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !sound || path.contains('\0') {
        return Err(invalid());
    }
    Ok(path.to_owned())
}

/// Opens a setting of the calling thread's namespace. No step of the path may be a link or lead out of the tree.
fn open(key: &str, interface: &str, flags: OFlags) -> Result<File, CniError> {
    let path = relative(key, interface)?;
    let failed = |cause: io::Error| {
        CniError::io(format!("opening kernel setting `{}` failed", key.escape_default()), &cause)
    };
    let tree = Directory::net().map_err(failed)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = loam_sys::openat2(tree, path.as_str(), flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    file.map(File::from).map_err(|errno| failed(errno.into()))
}

/// Reads a setting.
pub(super) fn read(key: &str, interface: &str) -> Result<String, CniError> {
    let mut text = String::new();
    open(key, interface, OFlags::RDONLY)?.take(MAX_VALUE).read_to_string(&mut text).map_err(|cause| {
        CniError::io(format!("reading kernel setting `{}` failed", key.escape_default()), &cause)
    })?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Writes a setting.
pub(super) fn write(key: &str, interface: &str, value: &str) -> Result<(), CniError> {
    open(key, interface, OFlags::WRONLY)?.write_all(value.as_bytes()).map_err(|cause| {
        let (key, value) = (key.escape_default(), value.escape_default());
        CniError::io(format!("setting kernel setting `{key}` to `{value}` failed"), &cause)
    })
}

/// Whether two values are the same to the kernel, which shows lists of numbers with tabs.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_net() {
        let path = |key: &str| relative(key, "eth0.5").ok();
        assert_eq!(path("net.ipv4.conf.IFNAME.arp_notify").as_deref(), Some("ipv4/conf/eth0.5/arp_notify"));
        assert_eq!(path("net/core/somaxconn").as_deref(), Some("core/somaxconn"));
        for bad in [
            "",
            "net",
            "net.",
            "kernel.hostname",
            "net/../kernel/hostname",
            "net..core",
            "/net/core/somaxconn",
            "net/./core",
            "netx.core",
            "net/core/\0",
        ] {
            assert_eq!(path(bad), None, "{bad}");
        }
        assert!(relative("net.ipv4.conf.IFNAME.x", "..").is_err());
    }
}
