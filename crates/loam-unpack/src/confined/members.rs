//! Finding the parts of an archive of images (`docker-archive:`, `oci-archive:`), from outside.
//!
//! Such an archive is a stranger's as well, and may be compressed as a whole. The helper decompresses it into a file without a
//! name and reads its headers; its root is an empty directory. What it gives back is where the members are, which can be wrong,
//! and no more: what lies there is held against digests, as far as the format has them. The documents among the members (JSON,
//! of bounded size) are read by the process that pulls, as those of registries are.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::Seek;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result};
use loam_packet::{PacketError, receive};

use super::launch::Helper;
use super::protocol::{Job, Request, Work};
use super::pulse::{Heard, Pulse, Watch};
use super::trouble::{Trouble, slow, stuck};
use crate::decompress::Compression;
use crate::error::{failed, invalid};
use crate::members::MEMBER_LIMIT;
use crate::open_directory;
use crate::space::Space;

/// Where the members of an archive are, offset and size by name, in `plain` when it is compressed, else in `archive`. `what` is
/// the beginning of messages, `spool` where a directory can be made.
pub(crate) fn find_members(
    program: &Path,
    (archive, compression): (&File, Compression),
    (plain, spool): (&File, &Path),
    what: &str,
) -> Result<HashMap<String, (u64, u64)>> {
    let no_root = |error| failed(format!("no directory can be made in `{}`", spool.display()), error);
    // Whatever the helper makes of its root, nobody gets there from outside; and nobody sweeps it away while it is held.
    let shut = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in(spool);
    let shut = shut.map_err(no_root)?;
    let held = open_directory(shut.path()).map_err(no_root)?;
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| no_root(error.into()))?;
    let root = shut.path().join("root");
    std::fs::create_dir(&root).map_err(no_root)?;
    let directory = open_directory(&root).map_err(no_root)?;
    let most = free(plain, what)?;
    let job = Job::new(compression, what, Work::Archive { most });
    let mut helper = Helper::start(program, &job, &[archive.as_fd(), directory.as_fd(), plain.as_fd()])?;
    let heard = listen(&helper, archive, plain, what);
    helper.kill();
    let members = match heard {
        Ok(members) => members,
        Err(Trouble::Said(failure)) => return Err(failure),
        Err(Trouble::Broken(error)) => return Err(helper.end(error)),
    };
    let file = if compression == Compression::None { archive } else { plain };
    let end = file.metadata().map_err(|error| failed(what, error))?.len();
    checked(members, end, what)
}

/// The members by name, when they can be in a file of so many bytes.
fn checked(members: Vec<(String, u64, u64)>, end: u64, what: &str) -> Result<HashMap<String, (u64, u64)>> {
    let lies =
        |(_, offset, size): &(String, u64, u64)| offset.checked_add(*size).is_none_or(|last| last > end);
    if members.len() > MEMBER_LIMIT || members.iter().any(lies) {
        return Err(invalid(what).caused_by("the unpacker found members that can't be there"));
    }
    Ok(members.into_iter().map(|(name, offset, size)| (name, (offset, size))).collect())
}

/// Waits for what the helper finds, and looks after how it gets on: the archive is read, and the file without a name grows.
fn listen(
    helper: &Helper,
    archive: &File,
    plain: &File,
    what: &str,
) -> std::result::Result<Vec<(String, u64, u64)>, Trouble<Failure>> {
    let pulse = Pulse::default();
    let mut watch = Watch::paced(&pulse);
    let mut done = 0;
    loop {
        match watch.wait(helper.control()).map_err(PacketError::from)? {
            Heard::Word => {}
            Heard::Tick => {
                let now = progress(archive, plain);
                pulse.took(usize::try_from(now.saturating_sub(done)).unwrap_or(usize::MAX));
                done = done.max(now);
                if free(plain, what).map_err(Trouble::Said)? == 0 {
                    return Err(Trouble::Said(too_large(what)));
                }
                continue;
            }
            Heard::Stuck => {
                return Err(Trouble::Said(Failure::new(ErrorKind::Unavailable, what).caused_by(stuck())));
            }
            Heard::Slow => {
                return Err(Trouble::Said(Failure::new(ErrorKind::Unavailable, what).caused_by(slow())));
            }
        }
        return match receive::<Request>(helper.control())?.0 {
            Request::Members(members) => Ok(members),
            Request::Failed(failure) => Err(Trouble::Said(failure.into())),
            _ => Err(Trouble::Broken(PacketError::Closed)),
        };
    }
}

/// Bytes read and written so far. Both processes have the same open files, and a helper that was taken over moves about in
/// them as it likes: neither what it skips nor a hole counts for more than there is.
fn progress(archive: &File, plain: &File) -> u64 {
    let position = { archive }.stream_position().unwrap_or(0);
    let read = position.min(archive.metadata().map_or(0, |status| status.len()));
    read.saturating_add(plain.metadata().map_or(0, |status| status.blocks().saturating_mul(512)))
}

/// Bytes that may be used where this file is.
fn free(file: &File, what: &str) -> Result<u64> {
    Space::look(file).map(|space| space.bytes).map_err(|error| failed(what, error))
}

/// The failure of an archive that does not fit.
fn too_large(what: &str) -> Failure {
    Failure::new(ErrorKind::Exhausted, what).caused_by("it needs more than what is free in the image store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaping_about_in_the_files_is_no_progress() {
        use std::io::{SeekFrom, Write};

        let mut archive = tempfile::tempfile().expect("a file");
        archive.write_all(&[1; 1000]).expect("writes");
        let plain = tempfile::tempfile().expect("a file");
        assert_eq!(progress(&archive, &plain), 1000);
        archive.seek(SeekFrom::Start(1 << 40)).expect("seeks");
        plain.set_len(1 << 30).expect("becomes a hole");
        assert_eq!(progress(&archive, &plain), 1000);
    }

    #[test]
    fn members_that_can_t_be_there_are_not_believed() {
        let member = |offset, size| vec![("a".to_owned(), offset, size)];
        assert_eq!(checked(member(512, 488), 1000, "x").expect("it ends there")["a"], (512, 488));
        for (offset, size) in [(512, 489), (1001, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(checked(member(offset, size), 1000, "x").is_err(), "{offset} {size}");
        }
        let many = (0..=MEMBER_LIMIT).map(|number| (number.to_string(), 0, 0)).collect();
        assert!(checked(many, 1000, "x").is_err());
    }
}
