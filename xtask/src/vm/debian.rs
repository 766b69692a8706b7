//! The guest's system: Debian packages, made into a disk image once for each kernel and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::target::Kernel;
use super::{disk, initramfs};
use crate::shell::{note, run};

/// Where Debian is fetched from.
const MIRROR: &str = "http://deb.debian.org";

/// What the tests need in the guest: what `./x test` needs on a host, but for what makes and serves images.
const PACKAGES: &[&str] = &[
    "apparmor",
    "btrfs-progs",
    "busybox-static",
    "ca-certificates",
    "containernetworking-plugins",
    "crun",
    "curl",
    "dbus",
    "dnsmasq-base",
    "e2fsprogs",
    "iproute2",
    "iptables",
    "kmod",
    "libcap2-bin",
    "libseccomp2",
    "nftables",
    "procps",
    "python3-minimal",
    "runc",
    "strace",
    "systemd-sysv",
    "udev",
    "xfsprogs",
];

/// A system to boot.
#[derive(Debug)]
pub(super) struct Guest {
    directory: PathBuf,
}

impl Guest {
    /// The system with this kernel; made when it is not there, which takes some minutes.
    pub(super) fn prepare(kernel: Kernel, cache: &Path) -> Result<Self> {
        let guest = Self { directory: cache.join(kernel.name()) };
        let wanted = format!("{} {}\n", kernel.package(), PACKAGES.join(" "));
        let made_from = guest.directory.join("packages");
        if fs::read_to_string(&made_from).is_ok_and(|packages| packages == wanted) {
            return Ok(guest);
        }
        note(&format!(
            "making a guest with Linux {} from Debian packages, which takes some minutes",
            kernel.name()
        ));
        if guest.directory.exists() {
            fs::remove_dir_all(&guest.directory)?;
        }
        fs::create_dir_all(&guest.directory)?;
        guest.make(kernel)?;
        // Written last: what is found without it is half made.
        fs::write(made_from, wanted)?;
        Ok(guest)
    }

    fn make(&self, kernel: Kernel) -> Result<()> {
        let root = self.directory.join("root");
        debootstrap(kernel, &root)?;
        let booted = self.take_kernel(&root).and_then(|()| disk::of_directory(&root, &self.root_disk()));
        fs::remove_dir_all(&root)?;
        booted
    }

    fn take_kernel(&self, root: &Path) -> Result<()> {
        let version = only_entry(&root.join("lib/modules"))?;
        fs::copy(root.join("boot").join(format!("vmlinuz-{version}")), self.kernel())?;
        fs::write(self.initramfs(), initramfs::make(&root.join("lib/modules").join(version))?)?;
        Ok(())
    }

    /// The kernel's file.
    pub(super) fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Its first root.
    pub(super) fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs")
    }

    /// The image of the root file system.
    pub(super) fn root_disk(&self) -> PathBuf {
        self.directory.join("root.img")
    }
}

fn debootstrap(kernel: Kernel, root: &Path) -> Result<()> {
    let sources = ["bookworm", "bookworm-backports"].map(|suite| format!("deb {MIRROR}/debian {suite} main"));
    let security = format!("deb {MIRROR}/debian-security bookworm-security main");
    let include = format!("--include={},{}", kernel.package(), PACKAGES.join(","));
    // What nobody reads in a guest.
    let left_out = ["man", "doc", "locale"].map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*"));
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--mode=root", "--aptopt=APT::Install-Recommends \"false\""])
        .arg(include)
        .args(left_out)
        .arg("bookworm")
        .arg(root)
        .args(sources)
        .arg(security))
}

fn only_entry(directory: &Path) -> Result<String> {
    let mut names = fs::read_dir(directory)
        .with_context(|| format!("`{}` can't be read", directory.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<String>>>()?;
    ensure!(names.len() == 1, "`{}` has {} kernels, not one", directory.display(), names.len());
    Ok(names.remove(0))
}
