//! Quota groups of btrfs that outlive their subvolumes.
//!
//! A subvolume that was deleted is freed in the background, and as long as that takes many kernels (6.1 with its updates is
//! one) refuse to remove the group that counted it; newer ones remove it then by themselves. So an empty file in the trash,
//! `group-FILESYSTEM-SUBVOLUME`, is made before a subvolume is deleted, and goes when there is no such group. The next deletion looks
//! after a few of them, each sweep after all. The file system's id is in the name: what is copied elsewhere with the state
//! directory says nothing about the groups there.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::btrfs;

use crate::error::failed;
use crate::staging::{Places, entries, make_directory, open_directory};

const PREFIX: &str = "group-";

/// How many a deletion looks after: those before it may have left as many, and nobody is to wait for a long list.
const AT_ONCE: usize = 16;

/// Notes that the group of a subvolume is to go. What can't be noted, on a full disk, must not keep anything from being deleted.
pub(super) fn note(on: BorrowedFd<'_>, subvolume: u64, places: &Places) {
    let noted = btrfs::quota_groups(on).and_then(|groups| {
        if !group(&groups, subvolume).exists() {
            return Ok(());
        }
        let path = places.trash().join(format!("{PREFIX}{}-{subvolume}", file_system(&groups)));
        make_directory(&places.trash()).map_err(io::Error::other)?;
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
    });
    if let Err(error) = noted {
        tracing::debug!(subvolume, %error, "its quota group may stay");
    }
}

/// Removes some of the groups that were noted.
pub(super) fn remove_some(places: &Places) {
    let noted = entries(&places.trash()).into_iter().filter(|path| is_note(path));
    for path in noted.take(AT_ONCE) {
        if let Err(failure) = remove_noted(&path) {
            tracing::debug!(path = %path.display(), failure = %failure.chain(), "a quota group is left");
        }
    }
}

/// Whether something in the trash is such a note.
pub(super) fn is_note(path: &Path) -> bool {
    parse(path).is_some()
}

/// Removes the group that a note speaks of, and the note. It fails as long as the kernel needs the group.
pub(super) fn remove_noted(path: &Path) -> Result<()> {
    let Some((on, subvolume)) = parse(path) else { return Ok(()) };
    let what = |error: io::Error| {
        failed(format!("the quota group of subvolume {subvolume} can't be removed"), error)
    };
    let trash = open_directory(path.parent().unwrap_or(Path::new("/"))).map_err(what)?;
    let groups = btrfs::quota_groups(trash.as_fd()).ok().filter(|groups| file_system(groups) == on);
    let group = groups.map(|groups| group(&groups, subvolume)).filter(|group| group.exists());
    if let Some(group) = group {
        // Even an empty subvolume refers to something. Old kernels would take its group away.
        if fs::read_to_string(group.join("referenced")).is_ok_and(|bytes| bytes.trim() != "0") {
            let what = format!("subvolume {subvolume} is not freed yet");
            return Err(Failure::new(ErrorKind::Conflict, what));
        }
        match btrfs::remove_quota_group(trash.as_fd(), subvolume) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(what(error)),
            _ => {}
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(what(error)),
        _ => Ok(()),
    }
}

/// The file system and the subvolume of a note.
fn parse(path: &Path) -> Option<(&str, u64)> {
    let (on, subvolume) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.rsplit_once('-')?;
    Some((on, subvolume.parse().ok()?))
}

fn group(groups: &Path, subvolume: u64) -> PathBuf {
    groups.join(format!("0_{subvolume}"))
}

/// The id of the file system whose groups these are.
fn file_system(groups: &Path) -> &str {
    groups.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_another_file_system_goes_and_nothing_else_does() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let places = Places { root: directory.path().to_owned() };
        fs::create_dir(places.trash()).expect("made");
        let path = |name: &str| places.trash().join(name);
        let note = "group-01234567-89ab-cdef-0123-456789abcdef-257";
        assert_eq!(parse(&path(note)), Some(("01234567-89ab-cdef-0123-456789abcdef", 257)));
        for name in [note, "group-x", "0123456789ab", "quota-7"] {
            fs::write(path(name), "").expect("written");
        }
        remove_some(&places);
        assert!(!path(note).exists());
        assert_eq!(entries(&places.trash()).len(), 3);
    }
}
