//! Extended attributes of files, and making a copy like its original.

use std::os::fd::{AsFd, OwnedFd};

use loam_model::{CopiedOwners, ErrorKind, Failure, IdMapping, Result, shown_bytes};
use loam_unpack::is_allowed_attribute;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// The longest list of names, and the longest value (xattr(7)).
const LONGEST: usize = 64 << 10;
/// A file's capabilities (capabilities(7), "File capability extended attribute versioning").
const CAPABILITY: &[u8] = b"security.capability";
/// The bits that say their version, and version 3 in them: that one names the root user whom they serve.
const VERSION: u32 = 0xff00_0000;
const VERSION_3: u32 = 0x0300_0000;

/// Extended attributes: names and values.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads those that a layer may have, in the order of their names.
pub(super) fn read(file: &OwnedFd) -> std::result::Result<Attributes, Errno> {
    let mut names = vec![0; LONGEST];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| is_allowed_attribute(name)) {
        let mut value = vec![0; LONGEST];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort_unstable();
    Ok(found)
}

/// The owner of a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    user: u32,
    group: u32,
    /// The host's id for root, where that is another.
    root: Option<u32>,
}

impl Owner {
    /// The owner of the copy of a file with this path and status.
    pub(super) fn of(status: &Stat, owners: &CopiedOwners, path: &[u8]) -> Result<Self> {
        let id = |mapping: &Option<IdMapping>, id: u32, what: &str| match mapping {
            None => Ok(id),
            Some(mapping) => mapping.to_host(id).ok_or_else(|| {
                let path = shown_bytes(path);
                let message = format!("`/{path}` belongs to the {what} {id}, for which there is no mapping");
                Failure::new(ErrorKind::Invalid, message)
            }),
        };
        Ok(Self {
            user: id(&owners.users, status.st_uid, "user")?,
            group: id(&owners.groups, status.st_gid, "group")?,
            root: owners.users.as_ref().and_then(|users| users.to_host(0)).filter(|root| *root != 0),
        })
    }

    fn ids(self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.user)), Some(Gid::from_raw(self.group)))
    }
}

/// Makes an open copy like its original, in the order in which nothing undoes what came before: chown(2) takes
/// capabilities and set-id bits away, and every call changes times.
pub(super) fn copy(
    from: &OwnedFd,
    to: &OwnedFd,
    status: &Stat,
    owner: Owner,
) -> std::result::Result<(), Errno> {
    let (user, group) = owner.ids();
    rustix::fs::fchown(to, user, group)?;
    for (name, value) in read(from)? {
        let value = match owner.root {
            Some(root) if name == CAPABILITY => serving(&value, root),
            _ => value,
        };
        match rustix::fs::fsetxattr(to, &*name, &value, XattrFlags::empty()) {
            Err(Errno::NOTSUP) => {
                let name = String::from_utf8_lossy(&name).into_owned();
                tracing::warn!(name, "the file system keeps no such attribute");
            }
            other => other?,
        }
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    rustix::fs::futimens(to, &times(status))
}

/// The same for what is not opened: a link, a device, a FIFO.
pub(super) fn copy_unopened(
    directory: impl AsFd,
    name: &[u8],
    status: &Stat,
    owner: Owner,
) -> std::result::Result<(), Errno> {
    let (user, group) = owner.ids();
    rustix::fs::chownat(&directory, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
        let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
        rustix::fs::chmodat(&directory, name, mode, AtFlags::empty())?;
    }
    rustix::fs::utimensat(&directory, name, &times(status), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(status: &Stat) -> Timestamps {
    let nanoseconds = i64::try_from(status.st_mtime_nsec).unwrap_or(0);
    let time = Timespec { tv_sec: status.st_mtime, tv_nsec: nanoseconds };
    Timestamps { last_access: time, last_modification: time }
}

/// Capabilities that serve the user namespace whose root this user is; as they are when they name one already.
fn serving(value: &[u8], root: u32) -> Vec<u8> {
    let Some((head, rest)) = value.split_first_chunk::<4>() else { return value.to_vec() };
    let head = u32::from_le_bytes(*head);
    if head & VERSION == VERSION_3 {
        return value.to_vec();
    }
    [&(head & !VERSION | VERSION_3).to_le_bytes()[..], rest, &root.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_come_to_name_their_root() {
        let old = [&0x0200_0001_u32.to_le_bytes()[..], &[7; 16]].concat();
        let new = serving(&old, 100_000);
        assert_eq!(new[..4], 0x0300_0001_u32.to_le_bytes());
        assert_eq!((&new[4..20], &new[20..]), (&[7; 16][..], &100_000_u32.to_le_bytes()[..]));
        assert_eq!(serving(&new, 5), new);
        assert_eq!(serving(&[1], 5), [1]);
    }
}
