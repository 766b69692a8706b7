//! Small files of state, each of which is there whole or not at all.
//!
//! ```text
//! DIRECTORY/NAME    a file, mode 0600
//! DIRECTORY/.NAME   what takes its place next; locked (flock) by whoever writes it
//! ```
//!
//! Files of which one process at a time has the say, for longer than it takes to write them, are [`LockedFile`]s.
//!
//! A file is written beside its place and renamed, so that whoever reads has the old one or the new one, and a writer
//! that is killed leaves the old one. What such a writer left beside is taken over by the next one, and goes with the
//! file, or when somebody tidies up ([`sweep`]). Nothing is synced: after a restart of the machine a file may be empty, which is for the reader to bear.

mod locked;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use locked::{LockedFile, lock};

/// Reads a file; `None` when there is none, or when it is no JSON of this type.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Writes a value as JSON, in place of what was there.
pub fn replace_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?)
}

/// Writes a file, in place of what was there; makes the directory when it is missing.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let mut file = match open_alone(&beside) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            open_alone(&beside)?
        }
        file => file?,
    };
    file.set_len(0)?;
    file.write_all(bytes)?;
    fs::rename(&beside, path)
}

/// Opens a file to write it, which nobody else does meanwhile.
fn open_alone(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        lock(&file)?;
        // Whoever had it before may have given it its name, or removed it.
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

/// Whether a name leads to an open file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|found| (found.dev(), found.ino()) == (own.dev(), own.ino())),
    }
}

/// Removes a file, and what a writer that was killed left beside; success when there is none.
pub fn remove(path: &Path) -> io::Result<()> {
    for path in [&beside(path), path] {
        match fs::remove_file(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
    }
    Ok(())
}

/// The names of the files in a directory; none when there is no directory.
pub fn names(directory: &Path) -> io::Result<Vec<String>> {
    visible_names(directory)?.collect()
}

/// Whether there is no file in a directory, or no directory. Quicker than all names. Files that are just being written, whose names
/// begin with a dot, count as none.
pub fn is_empty(directory: &Path) -> io::Result<bool> {
    Ok(visible_names(directory)?.next().transpose()?.is_none())
}

fn visible_names(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let entries = match fs::read_dir(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    Ok(entries.into_iter().flatten().filter_map(|entry| match entry {
        Ok(entry) => entry.file_name().into_string().ok().filter(|name| !name.starts_with('.')).map(Ok),
        Err(cause) => Some(Err(cause)),
    }))
}

/// Removes what killed writers have left beside files of a directory. Files that are being written stay.
pub fn sweep(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_file = entry.file_type()?.is_file();
        if !is_file || !entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        let file = match File::open(&path) {
            // It has its name by now.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => continue,
            locked => locked?,
        }
        // A writer that has just opened the file waits for the lock, and then looks whether the file is still there. One that
        // was just before us has given it its name.
        if is_at(&file, &path)? {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_was_killed_leaves_the_old_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("deep/er/name");
        assert_eq!(read_json::<u32>(&path).expect("readable"), None);
        replace_json(&path, &1_u32).expect("writable");
        // As it is left when the writer is killed: longer than what is written next.
        fs::write(beside(&path), "1234567").expect("writable");
        assert_eq!(read_json::<u32>(&path).expect("readable"), Some(1));
        assert_eq!(names(path.parent().expect("deep")).expect("readable"), ["name"]);
        replace_json(&path, &2_u32).expect("writable");
        assert_eq!(read_json::<u32>(&path).expect("readable"), Some(2));
        fs::write(beside(&path), "3").expect("writable");
        remove(&path).expect("removable");
        remove(&path).expect("idempotent");
        assert_eq!(fs::read_dir(path.parent().expect("deep")).expect("there").count(), 0);
    }

    #[test]
    fn a_directory_with_nothing_but_what_is_being_written_is_empty() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert!(is_empty(&directory.path().join("nowhere")).expect("readable"));
        fs::write(directory.path().join(".name"), "1").expect("writable");
        assert!(is_empty(directory.path()).expect("readable"));
        fs::write(directory.path().join("name"), "1").expect("writable");
        assert!(!is_empty(directory.path()).expect("readable"));
    }

    #[test]
    fn what_killed_writers_left_is_swept_and_what_is_written_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        sweep(&directory.path().join("nowhere")).expect("nothing to do");
        let path = directory.path().join("name");
        replace_json(&path, &1_u32).expect("writable");
        fs::write(directory.path().join(".killed"), "12").expect("writable");
        let writer = open_alone(&beside(&path)).expect("writable");
        sweep(directory.path()).expect("swept");
        assert!(!directory.path().join(".killed").exists() && beside(&path).exists());
        drop(writer);
        sweep(directory.path()).expect("swept");
        assert!(!beside(&path).exists());
        assert_eq!(read_json::<u32>(&path).expect("readable"), Some(1));
    }

    #[test]
    fn whoever_reads_while_many_write_sees_a_whole_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("name");
        let text = |number: usize| number.to_string().repeat(5_000);
        replace_json(&path, &text(0)).expect("writable");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..500 {
                    sweep(directory.path()).expect("swept");
                }
            });
            for number in 1..5 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..200 {
                        replace_json(path, &text(number)).expect("writable");
                    }
                });
            }
            for _ in 0..2_000 {
                let read: Option<String> = read_json(&path).expect("readable");
                assert_eq!(read.map(|text| text.len()), Some(5_000));
            }
        });
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
    }
}
