//! One boot of a guest.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::debian::System;
use super::target::{Flavour, Target};
use super::{disk, initramfs};
use crate::fixtures;
use crate::programs::PROGRAMS;
use crate::shell::{cache, note};

/// The size of `/tmp` in the guest, of which only what is written takes space.
const SCRATCH: u64 = 16 << 30;
/// Memory of the guest in MiB.
const MEMORY: &str = "3072";
/// Everything that can be emulated, but for a fifth level of page tables, which only makes every walk longer.
const CPU: &str = "max,la57=off";
/// What the kernel is told: no work against attacks on the hardware, no zeroing of memory that is about to be written, a
/// clock that is read without leaving the emulated processor, and programs at the same addresses each time: the emulator translates
/// code anew for each address that it is at, which was four fifths of all that it did.
const KERNEL: &str =
    "console=ttyS0 quiet panic=-1 mitigations=off init_on_alloc=0 tsc=reliable audit=0 apparmor=1 norandmaps";
/// How long tests may take, as `timeout` of coreutils wants it; a guest that hangs ends then.
const LIMIT: &str = "40m";
/// The fixture images that tests run.
const FIXTURES: [&str; 2] = ["small", "python"];

/// A machine that is ready to be switched on.
pub(super) struct Machine<'a> {
    system: &'a System,
    target: Target,
    /// Where it keeps what only this boot has.
    place: &'a Path,
    fixtures: PathBuf,
    /// Whether keys go to the guest, interrupts included.
    interactive: bool,
}

/// What a machine did.
pub(super) struct Ended {
    /// The exit code of its job.
    pub(super) code: i32,
    /// What the tests said of where they ran.
    pub(super) record: String,
}

impl<'a> Machine<'a> {
    /// Makes the disks. `job` is a shell script.
    pub(super) fn new(
        system: &'a System,
        target: Target,
        place: &'a Path,
        programs: &Path,
        tests: Option<&Path>,
        job: &str,
    ) -> Result<Self> {
        let machine = Self { system, target, place, fixtures: fixture_disk()?, interactive: tests.is_none() };
        let mut first_root = fs::read(system.initramfs(target.kernel))?;
        first_root.extend(initramfs::files(target.flavour));
        fs::write(machine.initramfs(), first_root)?;
        let files = place.join("programs");
        fs::create_dir(&files)?;
        for program in PROGRAMS {
            fs::copy(programs.join(program), files.join(program))?;
        }
        if let Some(tests) = tests {
            fs::copy(tests, files.join("e2e"))?;
        }
        fs::write(files.join("job"), job)?;
        disk::of_directory(&files, &machine.program_disk())?;
        disk::empty(&machine.scratch_disk(), SCRATCH)?;
        Ok(machine)
    }

    /// Boots it, waits until it has switched itself off, and tells how that went; `None` when it went down before its job
    /// was done.
    pub(super) fn run(self) -> Result<Option<Ended>> {
        let said = self.place.join("said");
        let mut command = if self.interactive {
            Command::new("qemu-system-x86_64")
        } else {
            let mut limited = Command::new("timeout");
            limited.args(["--foreground", LIMIT, "qemu-system-x86_64"]).stdin(Stdio::null());
            limited
        };
        self.describe(&mut command, &said);
        let status = command.status().context("`qemu-system-x86_64` can't be run")?;
        ensure!(status.code() != Some(124), "the virtual machine was not done after {LIMIT}");
        ensure!(status.success(), "the virtual machine failed: {status}");
        let said = fs::read_to_string(&said).unwrap_or_default();
        let (record, end) = said.split_once("ended with ").unwrap_or((&said, ""));
        match end.trim().parse() {
            Ok(code) => Ok(Some(Ended { code, record: record.to_owned() })),
            Err(_) if self.interactive => bail!("the guest ended without saying how its job ended"),
            Err(_) => Ok(None),
        }
    }

    fn describe(&self, qemu: &mut Command, said: &Path) {
        let parameters = match self.target.flavour {
            Flavour::Bare | Flavour::V1 => "",
            Flavour::Systemd => " systemd.unit=guest.target",
        };
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", "2", "-m", MEMORY])
            .args(["-nodefaults", "-no-reboot", "-display", "none", "-device", "virtio-rng-pci"])
            .arg("-kernel")
            .arg(self.system.kernel(self.target.kernel))
            .arg("-initrd")
            .arg(self.initramfs())
            .arg("-append")
            .arg(format!("{KERNEL}{parameters}"))
            .arg("-chardev")
            .arg(if self.interactive { "stdio,id=person,mux=on,signal=off" } else { "stdio,id=person" })
            .args(["-serial", "chardev:person"])
            .arg("-serial")
            .arg(format!("file:{}", said.display()));
        for (image, mode) in [
            (self.system.root_disk(), "readonly=on"),
            (self.program_disk(), "readonly=on"),
            (self.fixtures.clone(), "readonly=on"),
            (self.scratch_disk(), "cache=unsafe"),
        ] {
            qemu.arg("-drive").arg(format!("if=virtio,format=raw,{mode},file={}", image.display()));
        }
    }

    fn initramfs(&self) -> PathBuf {
        self.place.join("initramfs")
    }

    fn program_disk(&self) -> PathBuf {
        self.place.join("programs.img")
    }

    fn scratch_disk(&self) -> PathBuf {
        self.place.join("scratch.img")
    }
}

/// The image with the fixtures, made anew when they were.
fn fixture_disk() -> Result<PathBuf> {
    let (source, image) = (fixtures::directory(), cache().join("vm/fixtures.img"));
    let recipes: Vec<PathBuf> = FIXTURES.iter().map(|name| source.join(format!("{name}.recipe"))).collect();
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let mut newest = None;
    for recipe in &recipes {
        newest = newest.max(Some(modified(recipe).context("the fixture images are not there")?));
    }
    if modified(&image).ok() > newest {
        return Ok(image);
    }
    note("making a disk of the fixture images");
    let tree = image.with_extension("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    let made = copy(&source, &tree).and_then(|()| {
        let unfinished = image.with_extension("unfinished");
        disk::of_directory(&tree, &unfinished)?;
        Ok(fs::rename(unfinished, &image)?)
    });
    fs::remove_dir_all(&tree)?;
    made.map(|()| image)
}

fn copy(source: &Path, tree: &Path) -> Result<()> {
    for name in FIXTURES {
        for entry in [name.to_owned(), format!("{name}.recipe")] {
            let status = Command::new("cp").arg("-a").arg(source.join(entry)).arg(tree).status()?;
            ensure!(status.success(), "the fixture image `{name}` can't be copied: {status}");
        }
    }
    // Tests lock the directory through this file, which a disk that is only read can't make; memory can.
    symlink("/run/fixtures.lock", tree.join("lock"))?;
    Ok(())
}
