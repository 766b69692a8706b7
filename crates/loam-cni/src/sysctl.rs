//! Network settings below `/proc/sys/net`, of the namespace that the calling thread is in.

use std::fs;
use std::io;

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

/// Whether this namespace has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    fs::exists("/proc/sys/net/ipv6").unwrap_or(false)
}
