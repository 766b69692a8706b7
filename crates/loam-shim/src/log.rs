//! A container's log, in the format that kubelet reads: one line a record, `TIME STREAM F|P TEXT`.
//!
//! `F` ends a line of the container's; `P` is a part of one that goes on in the stream's next record. A part is
//! written as soon as it comes, so that a prompt shows and a crash of the shim loses nothing; a record carries at most
//! [`MAX_TEXT`] bytes. Joining the records, with a line feed after each `F`, gives exactly what was written.
//!
//! The file is opened for appending, mode 0640, without following a symbolic link, and only when it is a regular
//! file, so that nothing that replaced it meanwhile is written to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// The most bytes of text in one record, as other engines have it.
const MAX_TEXT: usize = 16 * 1024;

/// Which of a process's streams a record is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamName {
    Stdout,
    Stderr,
}

impl StreamName {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            StreamName::Stdout => b" stdout ",
            StreamName::Stderr => b" stderr ",
        }
    }
}

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: OwnedFd,
    records: Vec<u8>,
    /// Whether the last write ended within a record, because the file system was full.
    cut_off: bool,
}

impl Log {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = open_file(path).map_err(|errno| open_failure(path, errno))?;
        Ok(Self { path: path.to_owned(), file, records: Vec::new(), cut_off: false })
    }

    /// Opens the file of this name anew, after it was moved away.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        self.file = open_file(&self.path).map_err(|errno| open_failure(&self.path, errno))?;
        self.cut_off = false;
        Ok(())
    }

    /// Writes down a piece of output. What a full file system does not take is lost: the container goes on.
    pub(crate) fn write(&mut self, stream: StreamName, bytes: &[u8]) {
        self.records.clear();
        if self.cut_off {
            self.records.push(b'\n');
        }
        let time = format!("{:.9}", jiff::Timestamp::now());
        append_records(&mut self.records, time.as_bytes(), stream, bytes);
        let mut rest = self.records.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(&self.file, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.cut_off = !rest.is_empty() && rest.len() != self.records.len();
    }

    /// Gives up memory that is only needed while output flows.
    pub(crate) fn release(&mut self) {
        self.records = Vec::new();
    }
}

fn open_file(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let directory = path.parent().ok_or(Errno::INVAL)?;
    let name: &OsStr = path.file_name().ok_or(Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    // Without O_NONBLOCK a FIFO in its place would make this wait.
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o640))?;
    let status = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(file)
}

fn open_failure(path: &Path, errno: Errno) -> Failure {
    let message = match errno {
        Errno::LOOP | Errno::INVAL | Errno::NXIO => {
            format!("the log `{}` is not a regular file", path.display())
        }
        _ => format!("the log `{}` can't be opened", path.display()),
    };
    Failure::new(ErrorKind::Internal, message).caused_by(errno)
}

/// Turns a piece of output into records.
fn append_records(records: &mut Vec<u8>, time: &[u8], stream: StreamName, bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (text, whole) = match line {
            [text @ .., b'\n'] => (text, true),
            text => (text, false),
        };
        let mut parts = text.chunks(MAX_TEXT).peekable();
        if parts.peek().is_none() {
            append_record(records, time, stream, true, b"");
        }
        while let Some(part) = parts.next() {
            append_record(records, time, stream, whole && parts.peek().is_none(), part);
        }
    }
}

fn append_record(records: &mut Vec<u8>, time: &[u8], stream: StreamName, full: bool, text: &[u8]) {
    records.extend_from_slice(time);
    records.extend_from_slice(stream.as_bytes());
    records.extend_from_slice(if full { b"F " } else { b"P " });
    records.extend_from_slice(text);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn records(bytes: &[u8]) -> String {
        let mut records = Vec::new();
        append_records(&mut records, b"T", StreamName::Stdout, bytes);
        String::from_utf8(records).unwrap()
    }

    #[test]
    fn lines_and_parts_are_told_apart() {
        assert_eq!(records(b"a\n\nb"), "T stdout F a\nT stdout F \nT stdout P b\n");
        assert_eq!(records(b""), "");
        assert_eq!(records(b"\n"), "T stdout F \n");
    }

    #[test]
    fn long_lines_are_split() {
        let line = "x".repeat(MAX_TEXT);
        assert_eq!(records(format!("{line}\n").as_bytes()), format!("T stdout F {line}\n"));
        let split = format!("T stdout P {line}\nT stdout F y\n");
        assert_eq!(records(format!("{line}y\n").as_bytes()), split);
        assert_eq!(records(format!("{line}y").as_bytes()), split.replace("F y", "P y"));
    }

    #[test]
    fn the_time_has_nine_digits_and_a_z() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::open(&path).unwrap();
        log.write(StreamName::Stderr, b"hello\n");
        let text = std::fs::read_to_string(&path).unwrap();
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "stderr F hello\n");
        assert_eq!((time.len(), &time[19..20], &time[29..]), (30, ".", "Z"), "{time}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn only_a_regular_file_is_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &path).unwrap();
        assert!(Log::open(&path).is_err());
        assert!(!directory.path().join("elsewhere").exists());
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(Log::open(&path).is_err());
    }

    #[test]
    fn a_moved_log_is_followed_until_it_is_reopened() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        let mut log = Log::open(&path).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.write(StreamName::Stdout, b"old\n");
        log.reopen().unwrap();
        log.write(StreamName::Stdout, b"new\n");
        assert!(std::fs::read_to_string(&moved).unwrap().ends_with("F old\n"));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("F new\n"));
    }
}
