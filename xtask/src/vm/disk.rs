//! Disk images with an ext4 file system.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell::run;

/// What is left free for what a file system needs beside the files, in parts of the whole.
const SLACK: u64 = 4;
/// The least size of an image in bytes.
const LEAST: u64 = 64 << 20;

/// Makes an image that holds a directory's files, for reading only.
pub(super) fn of_directory(directory: &Path, image: &Path) -> Result<()> {
    let bytes = size(directory)?;
    let files = ["-O", "^has_journal", "-d"].map(std::ffi::OsStr::new);
    make(image, (bytes + bytes / SLACK).max(LEAST), Command::new("mke2fs").args(files).arg(directory))
}

/// Makes an empty image to write to. It takes the space that is written.
pub(super) fn empty(image: &Path, bytes: u64) -> Result<()> {
    make(image, bytes, &mut Command::new("mke2fs"))
}

fn make(image: &Path, bytes: u64, command: &mut Command) -> Result<()> {
    let file = File::create(image).with_context(|| format!("`{}` can't be made", image.display()))?;
    file.set_len(bytes)?;
    run(command.args(["-q", "-F", "-t", "ext4"]).arg(image))
}

/// Bytes that a tree takes, blocks rounded up.
fn size(path: &Path) -> Result<u64> {
    let metadata = path.symlink_metadata().with_context(|| format!("`{}` can't be read", path.display()))?;
    let mut bytes = metadata.len().next_multiple_of(4096) + 512;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            bytes += size(&entry?.path())?;
        }
    }
    Ok(bytes)
}
