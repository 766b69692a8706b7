//! The disk that all arenas lie on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell::{note, run};

/// A journalled file system in a loop file, unmounted and deleted at the end.
pub(crate) struct Disk {
    file: PathBuf,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

impl Disk {
    /// Makes and mounts it. Sparse: it takes what is written to it.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let disk = Self { file: directory.join("disk.img"), mount: directory.join("disk") };
        std::fs::create_dir_all(&disk.mount)?;
        std::fs::File::create(&disk.file)?.set_len(24 << 30)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.file))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&disk.file).arg(&disk.mount))?;
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").args(["--lazy", "--recursive"]).arg(&self.mount));
        if unmounted.and_then(|()| Ok(std::fs::remove_file(&self.file)?)).is_err() {
            note(&format!("`{}` was left behind", self.file.display()));
        }
    }
}
