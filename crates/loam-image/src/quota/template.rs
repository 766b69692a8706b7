//! File systems to copy: `disk-templates/BYTES` is an empty one in which so many bytes can be written.
//!
//! mkfs.ext4 makes one in some tens of milliseconds, more than once, because what its own structures take is known only
//! afterwards; a copy takes one or two. So it is made once for each limit, in a directory of `staging`, and renamed. It
//! is sparse. Anybody may remove it at any time: who finds none makes it again. The sweep removes those of limits that
//! no snapshot has.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use loam_model::{ErrorKind, Failure, Result};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::superblock::Superblock;
use crate::error::failed;
use crate::staging::{Places, StagedLayer, make_directory};

/// The program that makes file systems, and where it is looked for.
const PROGRAM: &str = "mkfs.ext4";
const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// Bytes of a block.
const BLOCK: u64 = 4096;
/// An inode for so many bytes, half of what is usual: a writable directory holds many small files.
const BYTES_FOR_INODE: u64 = 8192;
/// So many bytes more than the limit can be written at most: what is promised.
const PROMISE: u64 = 64 << 10;
/// So many blocks more than the limit asks for are as good as none: no better size is looked for.
const TOLERANCE: u64 = 4;
/// How often the size is corrected, and how often anew with more inodes. Near the end of a block group some sizes don't
/// exist; more inodes shift where that is.
const CORRECTIONS: u32 = 8;
const SHIFTS: u64 = 4;
/// Blocks below which mkfs makes no journal.
const LEAST_BLOCKS: u64 = 2048;
/// Inodes of one block.
const INODES_IN_BLOCK: u64 = BLOCK / 256;

/// Makes an empty file system at `target` in which so many bytes can be written.
pub(super) fn copy(places: &Places, bytes: u64, target: &Path) -> Result<()> {
    let template = places.templates().join(bytes.to_string());
    loop {
        match copy_sparse(&template, target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(places, bytes, &template)?,
            copied => {
                return copied
                    .map_err(|error| failed(format!("`{}` can't be made", target.display()), error));
            }
        }
    }
}

fn make(places: &Places, bytes: u64, template: &Path) -> Result<()> {
    let staged = StagedLayer::new(places)?;
    let file = places.staging().join(staged.id()).join("diff/disk");
    format(bytes, &file)?;
    make_directory(&places.templates())?;
    // Dropping the staged directory removes the rest of it.
    fs::rename(&file, template)
        .map_err(|error| failed(format!("`{}` can't be made", template.display()), error))
}

/// What came of asking for a size.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    made: Superblock,
    blocks: u64,
    inodes: u64,
}

impl Candidate {
    /// How many bytes more than these can be written; `None` when it is less.
    fn excess(&self, bytes: u64) -> Option<u64> {
        self.made.available().checked_sub(bytes)
    }
}

/// Makes the file system in which the bytes, and at most [`PROMISE`] more, can be written.
fn format(bytes: u64, file: &Path) -> Result<Superblock> {
    let wanted = bytes.div_ceil(BLOCK);
    let mut best: Option<Candidate> = None;
    for shift in 0..SHIFTS {
        let mut inodes = bytes / BYTES_FOR_INODE + INODES_IN_BLOCK + shift * more_inodes(wanted);
        let mut blocks = wanted + wanted / 16 + LEAST_BLOCKS;
        for _ in 0..CORRECTIONS {
            let made = run(file, blocks, inodes)?;
            let available = made.available() / BLOCK;
            if (wanted..=wanted + TOLERANCE).contains(&available) {
                return Ok(made);
            }
            let candidate = Candidate { made, blocks, inodes };
            let excess = candidate.excess(bytes).filter(|excess| *excess <= PROMISE);
            if excess.is_some_and(|excess| {
                best.and_then(|best| best.excess(bytes)).is_none_or(|least| excess < least)
            }) {
                best = Some(candidate);
            }
            // The kernel keeps a part of what is added as well, and mkfs may have made it smaller than asked for.
            let fitting = (made.blocks + wanted).saturating_sub(available);
            if made.blocks <= LEAST_BLOCKS && fitting < LEAST_BLOCKS {
                // It can't be smaller; inodes take what is too much.
                inodes += (made.blocks - fitting) * INODES_IN_BLOCK;
            }
            blocks = fitting.max(LEAST_BLOCKS);
        }
    }
    let Some(Candidate { made, blocks, inodes }) = best else {
        let message = format!("no file system has space for just {bytes} bytes");
        return Err(Failure::new(ErrorKind::Unsupported, message).hint("choose a slightly different limit"));
    };
    // What mkfs makes of the same numbers is the same again.
    let again = run(file, blocks, inodes)?;
    debug_assert_eq!(again, made, "the file system that was measured");
    Ok(again)
}

/// Inodes that shift the end of the last block group by more than what has to fit into it.
fn more_inodes(blocks: u64) -> u64 {
    const BLOCKS_IN_GROUP: u64 = 32768;
    (blocks / BLOCKS_IN_GROUP + 1).max(96) * INODES_IN_BLOCK
}

/// Makes a file system of so many blocks, and reads what it came to.
fn run(file: &Path, blocks: u64, inodes: u64) -> Result<Superblock> {
    let what = || format!("a file system can't be made in `{}`", file.display());
    File::create(file)
        .and_then(|made| made.set_len(blocks * BLOCK))
        .map_err(|error| failed(what(), error))?;
    let output = Command::new(PROGRAM)
        .env_clear()
        .env("PATH", PROGRAM_PATH)
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-O", "has_journal,extent"])
        // The file is new and reads as zeros: neither journal nor tables need be written.
        .args(["-E", "lazy_journal_init=1,root_owner=0:0", "-N", &inodes.to_string()])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::new(
                ErrorKind::Unsupported,
                format!("a disk limit needs `{PROGRAM}` here, which is not installed"),
            )
            .hint("install e2fsprogs, or keep the state directory on a file system with quotas"),
            _ => failed(format!("`{PROGRAM}` can't be run"), error),
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        return Err(Failure::new(ErrorKind::Unavailable, what())
            .caused_by(format!("`{PROGRAM}`: {}", loam_model::shown(&said))));
    }
    File::open(file).and_then(|made| Superblock::read(&made)).map_err(|error| failed(what(), error))
}

/// Copies what a sparse file has, and leaves out the rest.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = File::create(to)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(&source, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        at = rustix::fs::seek(&source, SeekFrom::Hole(start))?;
        copy_range(&source, &target, start, at)?;
    }
}

fn copy_range(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut from, mut to) = (start, start);
    while from < end {
        let left = usize::try_from(end - from).unwrap_or(usize::MAX);
        if rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), left)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_is_as_sparse_as_its_source() {
        use std::os::unix::fs::FileExt;
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let file = File::create(&from).expect("made");
        file.set_len(64 << 20).expect("grows");
        file.write_all_at(b"in the middle", 32 << 20).expect("writes");
        copy_sparse(&from, &to).expect("copies");
        assert_eq!(fs::read(&from).expect("reads"), fs::read(&to).expect("reads"));
        assert!(fs::metadata(&to).expect("there").blocks() * 512 < 1 << 20);
    }

    #[test]
    fn file_systems_have_the_asked_for_space() {
        if Command::new(PROGRAM).env("PATH", PROGRAM_PATH).arg("-V").output().is_err() {
            println!("skipped: file_systems_have_the_asked_for_space: needs {PROGRAM}");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("disk");
        // Around the end of a block group, and ordinary ones.
        let sizes = (0..6).map(|step| (112 << 20) + step * 100_000).chain([
            1 << 20,
            2 << 20,
            3_500_000,
            1_234_567,
            64 << 20,
            1 << 30,
            3_000_000_000,
        ]);
        for bytes in sizes {
            let said = format(bytes, &file).expect("made");
            let made = Superblock::read(&File::open(&file).expect("there")).expect("ext4");
            assert_eq!(said, made);
            let over = made.available().checked_sub(bytes).expect("at least as much");
            assert!(over <= PROMISE, "{bytes}: {over} too many");
            assert!(fs::metadata(&file).expect("there").blocks() * 512 < 4 << 20, "{bytes} is not sparse");
        }
    }
}
