//! Debian packages that tasks need: found missing by a probe, installed in one go when root.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{have, is_root, note, run};

/// A package, and the program or file (with a slash) that shows it is there.
pub(crate) struct Package {
    name: &'static str,
    probe: &'static str,
}

const fn package(name: &'static str, probe: &'static str) -> Package {
    Package { name, probe }
}

/// What the programs need while they run.
pub(crate) const RUN: &[Package] = &[package("libseccomp2", "/usr/share/doc/libseccomp2")];

/// What the demo shows things with.
pub(crate) const DEMO: &[Package] = &[
    package("busybox-static", "/usr/share/doc/busybox-static"),
    package("curl", "curl"),
    package("iproute2", "ip"),
    package("util-linux", "unshare"),
];

/// What the tests need: a registry, other people's image and container tools, tools that look at the kernel.
pub(crate) const TEST: &[Package] = &[
    package("apache2-utils", "htpasswd"),
    package("btrfs-progs", "mkfs.btrfs"),
    package("buildah", "buildah"),
    package("busybox-static", "/usr/share/doc/busybox-static"),
    package("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
    package("containernetworking-plugins", "/usr/lib/cni/bridge"),
    package("crun", "crun"),
    package("curl", "curl"),
    package("dbus-bin", "dbus-send"),
    package("dbus-daemon", "dbus-daemon"),
    package("dnsmasq-base", "dnsmasq"),
    package("docker-registry", "docker-registry"),
    package("e2fsprogs", "mkfs.ext4"),
    package("iproute2", "ip"),
    package("iptables", "iptables"),
    package("jq", "jq"),
    package("libcap2-bin", "setcap"),
    package("mmdebstrap", "mmdebstrap"),
    package("mount", "losetup"),
    package("nftables", "nft"),
    package("openssl", "openssl"),
    package("podman", "podman"),
    package("procps", "ps"),
    package("python3", "python3"),
    package("runc", "runc"),
    package("skopeo", "skopeo"),
    package("strace", "strace"),
    package("umoci", "umoci"),
    package("util-linux", "unshare"),
    package("zstd", "zstd"),
];

/// What fuzzing needs: libFuzzer is C++.
pub(crate) const FUZZ: &[Package] = &[package("g++", "c++")];

/// What the benchmark needs beyond the tests: the peers. One that can't be had is named in the table, not failed on.
pub(crate) const BENCH: &[Package] = &[
    package("containerd", "containerd"),
    package("iptables", "iptables"),
    package("netavark", "/usr/lib/podman/netavark"),
    package("time", "/usr/bin/time"),
];

/// What a virtual machine is made and run with.
pub(crate) const VM: &[Package] = &[
    package("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    package("qemu-system-x86", "qemu-system-x86_64"),
    package("xz-utils", "xz"),
];

/// Installs what is missing; without root, fails with the one line to run.
pub(crate) fn require(packages: &[&[Package]]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .flat_map(|list| list.iter())
        .filter(|package| !present(package))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !have("apt-get") {
        bail!("these are missing, by their Debian names: {}; install them and try again", missing.join(" "));
    }
    if !is_root() {
        bail!(
            "run this once, then try again: sudo apt-get install --yes --no-install-recommends {}",
            missing.join(" ")
        );
    }
    note(&format!("installing {}", missing.join(" ")));
    let mut update = Command::new("apt-get");
    if run(update.args(["update", "-qq"])).is_err() {
        note("the package lists could not be refreshed, trying with those at hand");
    }
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install
        .args(["install", "--yes", "-qq", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"])
        .args(&missing);
    // Package scripts write to standard output, which belongs to the task.
    install.stdout(std::fs::OpenOptions::new().append(true).create(true).open("/dev/null")?);
    run(&mut install)
}

fn present(package: &Package) -> bool {
    if package.probe.contains('/') { Path::new(package.probe).exists() } else { have(package.probe) }
}
