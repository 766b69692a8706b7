//! Files that their holder has locked, and whose content is replaced whole.
//!
//! The lock (flock) is on the file itself, and goes on with its name to what takes its place: whoever has the lock is the only one
//! who reads, writes or removes what is there under the name.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::is_at;

/// A file, locked as long as this lives.
#[derive(Debug)]
pub struct LockedFile {
    path: PathBuf,
    beside: PathBuf,
    file: File,
}

impl LockedFile {
    /// Opens and locks a file. When there is none it is made if `create`, with its directory, for the owner alone; else `None` is
    /// given. What takes its place is written to `beside`, on the same file system, which nobody else has.
    pub fn open(path: &Path, beside: PathBuf, create: bool) -> io::Result<Option<Self>> {
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(create).mode(0o600).open(path);
            let file = match opened {
                Err(cause) if cause.kind() == ErrorKind::NotFound && !create => return Ok(None),
                Err(cause) if cause.kind() == ErrorKind::NotFound => {
                    let parent = path.parent().unwrap_or(path);
                    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                    continue;
                }
                file => file?,
            };
            lock(&file)?;
            // Whoever had the lock before may have replaced the file, or removed it.
            if is_at(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), beside, file }));
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == 0)
    }

    /// Reads what there is, up to a number of bytes.
    pub fn read(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        (&self.file).take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file that has nothing yet. A writer that is killed leaves a part of it.
    pub fn fill(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(bytes)
    }

    /// Writes the file in place of what was there: whoever reads has the old or the new content, whenever this process ends.
    /// The lock stays held.
    pub fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&self.beside)?;
        lock(&file)?;
        file.write_all(bytes)?;
        fs::rename(&self.beside, &self.path)?;
        self.file = file;
        Ok(())
    }

    /// Removes the file, and what a writer that was killed left beside.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.beside) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        fs::remove_file(&self.path)
    }
}

/// Locks a file for this process alone, and waits for whoever has it.
pub fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            locked => return Ok(locked?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, create: bool) -> Option<LockedFile> {
        LockedFile::open(path, path.with_extension("beside"), create).expect("usable")
    }

    #[test]
    fn a_file_is_made_replaced_and_removed_by_its_holder() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("deep/name");
        assert!(open(&path, false).is_none());
        let mut file = open(&path, true).expect("made");
        assert!(file.is_empty().expect("readable"));
        file.fill(b"one").expect("writable");
        assert_eq!(file.read(2).expect("readable"), b"on");
        // As a writer that was killed leaves it.
        fs::write(path.with_extension("beside"), "something long").expect("writable");
        file.replace(b"two").expect("writable");
        assert_eq!(file.read(100).expect("readable"), b"two");
        let other = File::open(&path).expect("there");
        let attempt = flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(attempt, Err(rustix::io::Errno::WOULDBLOCK), "what took its place is locked, too");
        fs::write(path.with_extension("beside"), "").expect("writable");
        file.remove().expect("removable");
        assert_eq!(fs::read_dir(path.parent().expect("deep")).expect("there").count(), 0);
    }

    #[test]
    fn whoever_waits_gets_what_is_there_then() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("name");
        let mut first = open(&path, true).expect("made");
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut file = open(&path, true).expect("made");
                        let mut bytes = file.read(100).expect("readable");
                        bytes.push(b'x');
                        file.replace(&bytes).expect("writable");
                    })
                })
                .collect();
            first.replace(b"1").expect("writable");
            drop(first);
            waiting.into_iter().for_each(|one| one.join().expect("no panic"));
        });
        assert_eq!(fs::read(&path).expect("readable"), b"1xxxxxxxx");
        let file = open(&path, false).expect("there");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| open(&path, false).is_none());
            file.remove().expect("removable");
            assert!(waiting.join().expect("no panic"), "it is gone");
        });
    }
}
