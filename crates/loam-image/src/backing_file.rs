//! `STORE.backing-store`: a sparse file with a file system that a whole store lies on, mounted at the store. It bounds what
//! the store may take, and brings the quotas that the file system below may lack.
//!
//! XFS with project quotas is made where the kernel has that, else ext4 with them, else ext4 without: then limits are kept
//! by disk files. A file that holds a file system already is mounted as it is, and never made anew.
//!
//! The programs of util-linux, xfsprogs and e2fsprogs do it: this happens once in the life of a store.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loam_model::{ErrorKind, Failure, Result};

use crate::error::failed;

const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// Where XFS and ext4 have their magic numbers (linux/magic.h), and those as they stand on the disk.
const XFS_MAGIC: (u64, &[u8]) = (0, b"XFSB");
const EXT4_MAGIC: (u64, &[u8]) = (1024 + 56, &[0x53, 0xef]);

/// A file system that can be made, and how it is mounted.
#[derive(Clone, Copy, Debug)]
struct Kind {
    make: &'static [&'static str],
    magic: (u64, &'static [u8]),
    name: &'static str,
    options: &'static str,
}

/// From the one that is wanted most.
const KINDS: [Kind; 3] = [
    Kind { make: &["mkfs.xfs", "-q", "-f"], magic: XFS_MAGIC, name: "xfs", options: "loop,noatime,pquota" },
    Kind {
        make: &["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "quota,project"],
        magic: EXT4_MAGIC,
        name: "ext4",
        options: "loop,noatime,prjquota",
    },
    Kind {
        make: &["mkfs.ext4", "-q", "-F", "-m", "0"],
        magic: EXT4_MAGIC,
        name: "ext4",
        options: "loop,noatime",
    },
];

/// The backing file of a store, which need not be there.
#[derive(Debug)]
pub struct BackingFile {
    store: PathBuf,
    file: PathBuf,
}

impl BackingFile {
    /// That of the store in this directory.
    pub fn of(store: &Path) -> Self {
        let mut file = store.as_os_str().to_owned();
        file.push(".backing-store");
        Self { store: store.to_owned(), file: file.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Whether there is one with a file system in it.
    pub fn is_made(&self) -> bool {
        [XFS_MAGIC, EXT4_MAGIC].iter().any(|magic| self.has(*magic))
    }

    /// Makes the file with so many bytes and a file system, and mounts that at the store's directory, which has to be
    /// there. Nothing stays when that fails.
    pub fn make(&self, bytes: u64) -> Result<()> {
        let mut last = None;
        for kind in KINDS {
            match self.try_make(kind, bytes) {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    tracing::info!(kind = kind.name, failure = %failure.chain(), "no such backing file");
                    last = Some(failure);
                }
            }
        }
        fs::remove_file(&self.file).ok();
        Err(last.unwrap_or_else(|| Failure::new(ErrorKind::Unsupported, "no file system can be made")))
    }

    fn try_make(&self, kind: Kind, bytes: u64) -> Result<()> {
        let what = || format!("the backing file `{}` can't be made", self.file.display());
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let made = options.open(&self.file).and_then(|file| file.set_len(bytes));
        made.map_err(|error| failed(what(), error))?;
        let (program, arguments) = kind.make.split_first().expect("a program");
        run(Command::new(program).args(arguments).arg(&self.file), &what())?;
        self.mount_as(kind)
    }

    /// Mounts a file that was made before.
    pub fn mount(&self) -> Result<()> {
        let mut last = None;
        for kind in KINDS.into_iter().filter(|kind| self.has(kind.magic)) {
            match self.mount_as(kind) {
                Ok(()) => return Ok(()),
                Err(failure) => last = Some(failure),
            }
        }
        let what = || format!("the backing file `{}` holds no file system", self.file.display());
        Err(last.unwrap_or_else(|| Failure::new(ErrorKind::Invalid, what())))
    }

    fn mount_as(&self, kind: Kind) -> Result<()> {
        let what = format!("the backing file `{}` can't be mounted", self.file.display());
        let mut command = Command::new("mount");
        command.args(["-t", kind.name, "-o", kind.options]).arg(&self.file).arg(&self.store);
        run(&mut command, &what).map(drop)
    }

    /// Has the loop devices of the file read and write it past the page cache, or not.
    pub fn set_direct_io(&self, direct: bool) -> Result<()> {
        let what = format!("the loop device of `{}` can't be found", self.file.display());
        let mut list = Command::new("losetup");
        list.args(["--noheadings", "--output", "NAME", "--associated"]).arg(&self.file);
        let devices = run(&mut list, &what)?;
        for device in devices.split_whitespace() {
            let what = format!("direct input and output of `{device}` can't be changed");
            let word = if direct { "--direct-io=on" } else { "--direct-io=off" };
            run(Command::new("losetup").args([word, device]), &what)?;
        }
        Ok(())
    }

    fn has(&self, (offset, magic): (u64, &[u8])) -> bool {
        let mut found = vec![0; magic.len()];
        let read = File::open(&self.file).and_then(|file| file.read_exact_at(&mut found, offset));
        read.is_ok() && found == magic
    }
}

/// Runs a program to its end, and gives what it printed; `what` begins the sentence when that fails.
fn run(command: &mut Command, what: &str) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let command = command.env_clear().env("PATH", PROGRAM_PATH).stdin(Stdio::null());
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(ErrorKind::Unsupported, format!("{what}: there is no program `{name}`"))
        }
        _ => failed(what, error),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed").trim();
    Err(Failure::new(ErrorKind::Unsupported, format!("{what}: {}", loam_model::shown(said))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_file_system_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let backing = BackingFile::of(&directory.path().join("store"));
        assert!(!backing.is_made());
        fs::write(backing.path(), vec![0; 4096]).expect("written");
        assert!(!backing.is_made());
        assert_eq!(backing.mount().unwrap_err().kind(), ErrorKind::Invalid);
        fs::write(backing.path(), "XFSB").expect("written");
        assert!(backing.is_made());
    }
}
