//! Mode, owner, time and extended attributes of an entry.

use std::io::Read;
use std::os::fd::OwnedFd;

use loam_model::{ErrorKind, Failure, Result, shown_bytes};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::Entry;

use super::place::Place;
use crate::archive::root::Root;

/// What an entry says of its file.
pub(super) struct Attributes {
    pub(super) mode: Mode,
    owner: (Uid, Gid),
    pub(super) time: Timespec,
    extended: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// Reads them; the owner as an id of the host.
    pub(super) fn of(entry: &mut Entry<'_, impl Read>, root: &Root) -> Result<Self> {
        let header = entry.header();
        let number = |value: std::io::Result<u64>| {
            value.map_err(|error| {
                Failure::new(ErrorKind::Invalid, "the archive has a header that is not valid")
                    .caused_by(error)
            })
        };
        let mode = Mode::from_raw_mode(header.mode().unwrap_or(0o644) & 0o7777);
        let owner = (number(header.uid())?, number(header.gid())?);
        let owner = root.to_host(owner.0).zip(root.to_host(owner.1)).ok_or_else(|| {
            let message = format!(
                "`{}` belongs to {}:{}, which the container does not have",
                shown_bytes(&entry.path_bytes()),
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
        Ok(Self { mode, owner, time, extended })
    }

    /// Sets all but a directory's time, on the file itself. The owner first, because that takes rights away.
    pub(super) fn apply(&self, file: &OwnedFd) -> std::result::Result<(), Errno> {
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
    pub(super) fn apply_by_name(&self, place: &Place<'_>) -> std::result::Result<(), Errno> {
        let Place { parent, name, .. } = place;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, *name, Some(self.owner.0), Some(self.owner.1), flags)?;
        rustix::fs::utimensat(parent, *name, &both(self.time), flags)
    }
}

/// The same time for reading and writing.
pub(super) fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
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

    #[test]
    fn times_have_parts_of_seconds() {
        let time = |text: &str| parse_time(text.as_bytes()).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(time("x"), None);
    }
}
