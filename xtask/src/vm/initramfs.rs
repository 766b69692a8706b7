//! The guest's first root: a static busybox and the modules that its disks need, kept with the guest; and on top of it, made
//! for each boot, a script that goes on to the real root and the files that it puts there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::archive::Archive;
use super::target::Flavour;

/// What has to work before the root file system is there. A kernel may have some of it built in.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay"];

/// Mounts the disks and hands over to process 1.
const INIT: &str = include_str!("init.sh");
/// Our own process 1.
const BARE: &str = include_str!("bare.sh");
/// The control groups that it makes, by version.
const CGROUPS_V1: &str = include_str!("cgroups_v1.sh");
const CGROUPS_V2: &str = include_str!("cgroups_v2.sh");
/// Runs the job under either.
const RUN: &str = include_str!("run.sh");
/// What systemd starts in place of a server's usual services, and the service that runs the job.
const UNITS: [(&str, &str); 2] =
    [("guest.target", include_str!("guest.target")), ("guest.service", include_str!("guest.service"))];
/// What would take a booting systemd seconds and does nothing for the tests: the devices are there before it starts, and the
/// tests load the profiles that they need.
const MASKED: [&str; 9] = [
    "apparmor.service",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-journal-flush.service",
    "systemd-machine-id-commit.service",
    "systemd-pstore.service",
    "systemd-sysusers.service",
    "systemd-udev-trigger.service",
    "systemd-update-utmp.service",
];
/// systemd takes a machine without one for one that was never set up.
const MACHINE_ID: &str = "10a310a310a310a310a310a310a310a3\n";

/// The part that depends on Loam's sources alone.
pub(super) fn files(flavour: Flavour) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.program("init", INIT.as_bytes());
    archive.file("files/loam/run", RUN.as_bytes());
    match flavour {
        Flavour::Bare => own_process_one(&mut archive, CGROUPS_V2),
        Flavour::V1 => own_process_one(&mut archive, CGROUPS_V1),
        Flavour::Systemd => {
            archive.program("next", b"/lib/systemd/systemd");
            archive.file("files/etc/machine-id", MACHINE_ID.as_bytes());
            for (name, text) in UNITS {
                archive.file(&format!("files/etc/systemd/system/{name}"), text.as_bytes());
            }
            for name in MASKED {
                archive.link(&format!("files/etc/systemd/system/{name}"), "/dev/null");
            }
        }
    }
    archive.finish()
}

fn own_process_one(archive: &mut Archive, cgroups: &str) {
    archive.program("next", b"/bin/sh /loam/bare");
    archive.file("files/loam/bare", BARE.as_bytes());
    archive.file("files/loam/cgroups", cgroups.as_bytes());
}

/// Makes the part that is kept, for the kernel whose modules lie in `modules` (`/lib/modules/VERSION`).
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
