//! The guest's first root: a static busybox, the modules that its disks need, and a script that goes on to its real root.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::archive::Archive;

/// What has to work before the root file system is there. A kernel may have some of it built in.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay"];

/// Mounts the disks and hands over to the guest's script.
const INIT: &str = include_str!("init.sh");
/// What process 1 does then.
const GUEST: &str = include_str!("guest.sh");

/// Makes it for the kernel whose modules lie in `modules` (`/lib/modules/VERSION`).
pub(super) fn make(modules: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "proc", "sys", "modules", "lower", "upper", "root"] {
        archive.directory(directory);
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
    archive.program("bin/busybox", &fs::read(busybox.context("Debian's busybox-static has no busybox")?)?);
    archive.link("bin/sh", "busybox");
    let table =
        fs::read_to_string(modules.join("modules.dep")).context("the kernel's modules have no table")?;
    for (number, path) in needed(&table, MODULES).iter().enumerate() {
        // The shell sorts what it finds, so the number is the order.
        archive.program(&format!("modules/{number:02}.ko"), &module(&modules.join(path))?);
    }
    archive.program("init", INIT.as_bytes());
    archive.program("guest", GUEST.as_bytes());
    Ok(archive.finish())
}

/// The files of these modules and of those that they need, in the order of loading. `table` is the kernel's `modules.dep`
/// (modules.dep(5)).
fn needed(table: &str, names: &[&str]) -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    for name in names {
        let is_it =
            |path: &str| path.rsplit('/').next().is_some_and(|file| file.split('.').next() == Some(name));
        let Some((path, needs)) =
            table.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| is_it(path))
        else {
            continue;
        };
        for file in needs.split_whitespace().rev().chain([path]) {
            if !files.iter().any(|known| known == file) {
                files.push(file.to_owned());
            }
        }
    }
    files
}

fn module(path: &Path) -> Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => fs::read(path).with_context(|| format!("`{}` can't be read", path.display())),
        Some("xz") => {
            let unpacked = Command::new("xz").arg("--decompress").arg("--stdout").arg(path).output()?;
            ensure!(unpacked.status.success(), "`{}` can't be unpacked", path.display());
            Ok(unpacked.stdout)
        }
        _ => bail!("`{}` is packed in a way that is not known", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_those_that_they_need() {
        let table = "kernel/fs/jbd2/jbd2.ko.xz:\n\
                     kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
                     kernel/lib/crc16.ko.xz:\n";
        let files = needed(table, &["virtio_blk", "ext4", "jbd2"]);
        assert_eq!(
            files,
            ["kernel/lib/crc16.ko.xz", "kernel/fs/jbd2/jbd2.ko.xz", "kernel/fs/ext4/ext4.ko.xz"]
        );
    }
}
