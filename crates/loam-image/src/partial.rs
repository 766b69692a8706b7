//! `partial/HEX`: the beginnings of large blobs that are on their way, by the digits of their digests.
//!
//! A layer is unpacked while it comes, and its blob is not kept: what a pull that is killed had fetched would be lost. So
//! the bytes of a large blob are also written here as they come, and the next pull begins with them. Nothing is synced:
//! what a power cut leaves may be anything, and the digest of the whole tells. A file is removed when its blob has come
//! to the end, well or not; see the decision page 0011.
//!
//! Who writes to a file holds its flock(2). Who does not get that goes without. Files that nobody holds are removed by
//! a sweep when they are a day old, or when all together are too many bytes, the oldest first.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use loam_model::Digest;
use loam_unpack::Space;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::staging::{Places, is_at, make_directory, open_directory};

/// The smallest blob that is kept in part, in bytes. What is smaller is fetched again as fast.
pub(crate) const SMALLEST: u64 = 64 << 20;
/// So much of what is free a blob may take here.
const SHARE: u64 = 4;
/// How long a part waits for the next pull.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most bytes of all parts together.
const MOST: u64 = 8 << 30;

/// The beginning of a blob, held by this process.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    /// Bytes that an earlier pull has left, and how many of them were read.
    found: u64,
    read: u64,
    /// Whether it can't be written any more.
    broken: bool,
}

impl Partial {
    /// Opens the part of a blob of this size, or begins one. `None` when it is not worth it or not possible: then the
    /// blob is fetched without.
    pub(crate) fn open(places: &Places, digest: &Digest, size: u64) -> Option<Self> {
        if size < SMALLEST {
            return None;
        }
        match Self::try_open(places, digest, size) {
            Ok(partial) => partial,
            Err(error) => {
                tracing::debug!(%digest, %error, "the blob is fetched without keeping a part of it");
                None
            }
        }
    }

    fn try_open(places: &Places, digest: &Digest, size: u64) -> io::Result<Option<Self>> {
        let directory = places.partial();
        make_directory(&directory).map_err(|failure| io::Error::other(failure.chain()))?;
        let path = directory.join(digest.hex());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        if locked.is_err() || !is_at(&file, &path) {
            return Ok(None);
        }
        let file = File::from(file);
        let mut found = file.metadata()?.len();
        if found > size {
            file.set_len(0)?;
            found = 0;
        }
        let free = Space::look(&open_directory(&directory)?)?.bytes;
        let broken = (size - found).saturating_mul(SHARE) > free;
        if broken && found == 0 {
            fs::remove_file(&path)?;
            return Ok(None);
        }
        Ok(Some(Self { path, file, found, read: 0, broken }))
    }

    /// How many bytes an earlier pull has left.
    pub(crate) fn found(&self) -> u64 {
        self.found
    }

    /// Reads the next of them; nothing at their end.
    pub(crate) fn next(&mut self) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.found - self.read).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(128 * 1024)];
        self.file.read_exact(&mut piece)?;
        self.read += piece.len() as u64;
        Ok(piece)
    }

    /// Keeps what has come behind them. When that can't be done, for instance on a full disk, the part is given up: it
    /// must not cost the pull anything.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if let Err(error) = self.file.write_all(bytes) {
            tracing::debug!(path = %self.path.display(), %error, "no more of the blob is kept");
            self.broken = true;
            self.discard();
        }
    }

    /// Removes it.
    pub(crate) fn discard(&self) {
        remove(&self.path);
    }
}

/// Removes what there is of a blob, because it is not the blob's.
pub(crate) fn forget(places: &Places, digest: &Digest) {
    let path = places.partial().join(digest.hex());
    if lock(&path).is_some() {
        remove(&path);
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a part of a blob is left");
        }
        _ => {}
    }
}

/// Removes what nobody will come back for.
pub(crate) fn sweep(places: &Places, now: SystemTime) {
    let Ok(entries) = fs::read_dir(places.partial()) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let Ok(metadata) = entry.metadata() else { continue };
        files.push((metadata.modified().unwrap_or(now), metadata.len(), entry.path()));
    }
    files.sort_by_key(|(modified, _, _)| std::cmp::Reverse(*modified));
    let mut sum = 0_u64;
    for (modified, length, path) in files {
        sum = sum.saturating_add(length);
        let is_old = now.duration_since(modified).is_ok_and(|age| age > LIFE);
        if (is_old || sum > MOST) && lock(&path).is_some() {
            remove(&path);
        }
    }
}

/// Takes the lock of a file that somebody may hold.
fn lock(path: &Path) -> Option<OwnedFd> {
    let file =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::sha256;

    fn places() -> (tempfile::TempDir, Places, Digest) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let places = Places { root: directory.path().to_owned() };
        (directory, places, sha256(b"blob"))
    }

    #[test]
    fn what_was_kept_is_found_by_the_next_and_by_one_at_a_time() {
        let (_directory, places, digest) = places();
        let mut first = Partial::open(&places, &digest, SMALLEST).expect("begun");
        first.keep(b"some ");
        assert!(Partial::open(&places, &digest, SMALLEST).is_none(), "somebody holds it");
        first.keep(b"bytes");
        drop(first);
        let mut second = Partial::open(&places, &digest, SMALLEST).expect("taken up");
        assert_eq!(second.found(), 10);
        assert_eq!(second.next().expect("reads"), b"some bytes");
        assert!(second.next().expect("reads").is_empty());
        second.keep(b", more");
        assert_eq!(fs::read(places.partial().join(digest.hex())).expect("reads"), b"some bytes, more");
        second.discard();
        assert_eq!(fs::read_dir(places.partial()).expect("reads").count(), 0);
    }

    #[test]
    fn small_blobs_and_parts_that_are_too_long_are_not_kept() {
        let (_directory, places, digest) = places();
        assert!(Partial::open(&places, &digest, SMALLEST - 1).is_none());
        fs::create_dir_all(places.partial()).expect("made");
        let path = places.partial().join(digest.hex());
        File::create(&path).expect("made").set_len(SMALLEST + 1).expect("long");
        assert_eq!(Partial::open(&places, &digest, SMALLEST).expect("begun").found(), 0);
    }

    #[test]
    fn a_blob_that_would_take_too_much_of_the_disk_is_not_kept() {
        let (_directory, places, digest) = places();
        assert!(Partial::open(&places, &digest, 1 << 60).is_none());
        assert_eq!(fs::read_dir(places.partial()).expect("reads").count(), 0);
    }

    #[test]
    fn old_parts_and_too_many_bytes_are_swept_but_not_what_is_held() {
        let (_directory, places, digest) = places();
        fs::create_dir_all(places.partial()).expect("made");
        let now = SystemTime::now();
        let make = |name: &str, hours: u64, length: u64| {
            let file = File::create(places.partial().join(name)).expect("made");
            file.set_len(length).expect("long");
            file.set_modified(now - Duration::from_secs(hours * 3600)).expect("set");
        };
        make("old", 25, 1);
        make("new", 1, 1 << 30);
        make("large", 2, 7 << 30);
        make("beyond", 3, 1);
        let held = Partial::open(&places, &digest, SMALLEST).expect("begun");
        held.file.set_modified(now - Duration::from_secs(90_000)).expect("set");
        sweep(&places, now);
        let mut names: Vec<String> = fs::read_dir(places.partial())
            .expect("reads")
            .map(|entry| entry.expect("an entry").file_name().display().to_string())
            .collect();
        names.sort();
        assert_eq!(names, [digest.hex(), "large", "new"]);
    }
}
