//! What a header of an archive has no room for: parts of a second, early times, extended attributes.

use std::os::fd::OwnedFd;

use loam_unpack::is_allowed_attribute;
use rustix::fs::Stat;
use rustix::io::Errno;

/// What overlayfs looks for on an opaque directory.
const OPAQUE: &str = "trusted.overlay.opaque";
/// The longest list of names, and the longest value (xattr(7)).
const LONGEST: usize = 64 * 1024;

/// Records of an extended header (pax, "pax Extended Header"), in one order.
pub(super) fn extensions(file: Option<&OwnedFd>, status: &Stat) -> Result<Vec<(String, Vec<u8>)>, Errno> {
    let mut records = Vec::new();
    if status.st_mtime_nsec > 0 || status.st_mtime < 0 {
        records.push(("mtime".to_owned(), time(status.st_mtime, status.st_mtime_nsec).into_bytes()));
    }
    let Some(file) = file else { return Ok(records) };
    let mut names = vec![0; LONGEST];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(records),
        Err(error) => return Err(error),
    };
    let mut names: Vec<&[u8]> = names[..length].split(|byte| *byte == 0).collect();
    names.sort_unstable();
    for name in names.into_iter().filter(|name| is_allowed_attribute(name)) {
        let mut value = vec![0; LONGEST];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        value.truncate(length);
        // Names are bytes to the kernel and text to archives; others than text are not met.
        let Ok(name) = std::str::from_utf8(name) else { continue };
        records.push((format!("SCHILY.xattr.{name}"), value));
    }
    Ok(records)
}

/// Whether overlayfs takes a directory for opaque.
pub(crate) fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 2];
    rustix::fs::fgetxattr(directory, OPAQUE, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

/// A time in decimals; the nanoseconds count forwards also before 1970.
fn time(seconds: i64, nanoseconds: impl TryInto<u32>) -> String {
    let nanoseconds = nanoseconds.try_into().unwrap_or(0);
    let (sign, whole, part) = match (seconds < 0, nanoseconds) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, part) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - part),
        (false, part) => ("", seconds.unsigned_abs(), part),
    };
    match part {
        0 => format!("{sign}{whole}"),
        part => format!("{sign}{whole}.{}", format!("{part:09}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_also_before_1970() {
        assert_eq!(time(5, 1_000_u32), "5.000001");
        assert_eq!(time(5, 0_u32), "5");
        assert_eq!(time(-5, 0_u32), "-5");
        assert_eq!(time(-5, 250_000_000_u32), "-4.75");
        assert_eq!(time(-1, 500_000_000_u32), "-0.5");
    }
}
