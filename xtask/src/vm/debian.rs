//! The guests' system: Debian packages with every kernel, made into one disk image and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::target::Kernel;
use super::{disk, initramfs};
use crate::shell::{note, run};

/// Where Debian is fetched from.
const MIRROR: &str = "http://deb.debian.org";

/// Counts the ways in which the system has been made of its packages: another number makes it anew.
const RECIPE: u32 = 2;

/// What the tests need in a guest: what `./x test` needs on a host, but for what makes and serves images.
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

/// The system that every guest boots, each with a kernel of its own.
#[derive(Debug)]
pub(super) struct System {
    directory: PathBuf,
}

impl System {
    /// The system; made when it is not there, which takes some minutes.
    pub(super) fn prepare(cache: &Path) -> Result<Self> {
        let system = Self { directory: cache.join("debian") };
        let kernels = Kernel::ALL.map(Kernel::package).join(" ");
        let wanted = format!("{RECIPE} {kernels} {}\n", PACKAGES.join(" "));
        let made_from = system.directory.join("packages");
        if fs::read_to_string(&made_from).is_ok_and(|packages| packages == wanted) {
            return Ok(system);
        }
        note("making a system for the guests from Debian packages, which takes some minutes");
        if system.directory.exists() {
            fs::remove_dir_all(&system.directory)?;
        }
        fs::create_dir_all(&system.directory)?;
        system.make()?;
        // Written last: what is found without it is half made.
        fs::write(made_from, wanted)?;
        Ok(system)
    }

    fn make(&self) -> Result<()> {
        let root = self.directory.join("root");
        debootstrap(&root)?;
        for kernel in Kernel::ALL {
            let version = kernel_version(kernel, &root.join("lib/modules"))?;
            fs::rename(root.join("boot").join(format!("vmlinuz-{version}")), self.kernel(kernel))?;
            fs::write(self.initramfs(kernel), initramfs::make(&root.join("lib/modules").join(version))?)?;
        }
        disk::of_directory(&root, &self.root_disk())?;
        fs::File::open(self.root_disk())?.sync_all()?;
        Ok(fs::remove_dir_all(&root)?)
    }

    /// A kernel's file.
    pub(super) fn kernel(&self, kernel: Kernel) -> PathBuf {
        self.directory.join(format!("vmlinuz-{}", kernel.name()))
    }

    /// The first root of a kernel.
    pub(super) fn initramfs(&self, kernel: Kernel) -> PathBuf {
        self.directory.join(format!("initramfs-{}", kernel.name()))
    }

    /// The image of the root file system.
    pub(super) fn root_disk(&self) -> PathBuf {
        self.directory.join("root.img")
    }
}

fn debootstrap(root: &Path) -> Result<()> {
    let sources = ["bookworm", "bookworm-backports"].map(|suite| format!("deb {MIRROR}/debian {suite} main"));
    let security = format!("deb {MIRROR}/debian-security bookworm-security main");
    let include = format!("--include={},{}", Kernel::Stable.package(), PACKAGES.join(","));
    // Both suites call the newest kernel `linux-image-amd64`. Upgraded from the backports, it brings their kernel and removes none.
    let backported = format!(
        "APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --quiet=2 --yes -o DPkg::Chroot-Directory=\"$1\" install {} >/dev/null",
        Kernel::Backported.package()
    );
    // What nobody reads in a guest.
    let left_out = ["man", "doc", "locale"].map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*"));
    // What it mounts below the root goes with it, also when it is killed.
    run(Command::new("unshare")
        .args(["--mount", "--propagation", "private", "mmdebstrap"])
        // The kernels' packages make no first root: guests have one of their own.
        .env("INITRD", "No")
        .args(["--quiet", "--variant=minbase", "--mode=root", "--aptopt=APT::Install-Recommends \"false\""])
        .arg(include)
        .arg(format!("--customize-hook={backported}"))
        .args(left_out)
        .arg("bookworm")
        .arg(root)
        .args(sources)
        .arg(security))
}

/// The version of a kernel, as the directory of its modules is called.
fn kernel_version(kernel: Kernel, modules: &Path) -> Result<String> {
    let start = format!("{}.", kernel.name());
    let mut names = fs::read_dir(modules)
        .with_context(|| format!("`{}` can't be read", modules.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name: &Result<String>| name.as_ref().map_or(true, |name| name.starts_with(&start)))
        .collect::<Result<Vec<String>>>()?;
    ensure!(names.len() == 1, "`{}` has {} kernels {start}*, not one", modules.display(), names.len());
    Ok(names.remove(0))
}
