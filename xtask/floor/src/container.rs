//! The kernel work of one container by bare system calls in one process, and nothing else: new mount, uts, ipc, pid and
//! network namespaces, a cgroup in every hierarchy, an overlay over the root file system with its writable part in the scratch
//! directory, the usual file systems and device nodes, five masked and five read-only paths, perhaps a veth pair into a bridge
//! with an address. The program runs in it, is waited for, and what was made is removed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use loam_sys::{CloneFlags, spawn};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{Pid, WaitOptions, chdir, pivot_root, waitpid};

use crate::network;

/// Runs a program in a container, on a bridge or without a network.
pub(crate) fn run(bridged: bool, rootfs: &str, scratch: &str, program: &str) -> Result<()> {
    let place = PathBuf::from(scratch).join(format!("floor-{}", std::process::id()));
    for directory in ["upper", "work", "root"] {
        fs::create_dir_all(place.join(directory))?;
    }
    let cgroups = make_cgroups()?;
    let bridge = if bridged { Some(network::Bridge::open()?) } else { None };

    let (mut here, there) = UnixStream::pair()?;
    let flags = CloneFlags::NEW_MOUNT
        | CloneFlags::NEW_UTS
        | CloneFlags::NEW_IPC
        | CloneFlags::NEW_PID
        | CloneFlags::NEW_NETWORK;
    let child = spawn(flags, None, || match inside(&there, bridged, Path::new(rootfs), &place, program) {
        Ok(()) => 0,
        Err(_) => 1,
    })?;
    for cgroup in &cgroups {
        fs::write(cgroup.join("cgroup.procs"), child.pid.to_string())?;
    }
    if let Some(bridge) = &bridge {
        bridge.attach(child.pid)?;
    }
    here.write_all(b"g")?;
    let pid = Pid::from_raw(child.pid).context("a process id is not 0")?;
    let (_, status) = waitpid(Some(pid), WaitOptions::empty())?.context("the child was waited for")?;
    for cgroup in &cgroups {
        fs::remove_dir(cgroup)?;
    }
    fs::remove_dir_all(&place)?;
    ensure!(status.exit_status() == Some(0), "the program failed: {status:?}");
    Ok(())
}

/// A cgroup in every hierarchy that is mounted below `/sys/fs/cgroup`.
fn make_cgroups() -> Result<Vec<PathBuf>> {
    let name = format!("floor-{}", std::process::id());
    let root = Path::new("/sys/fs/cgroup");
    let mut made = Vec::new();
    if root.join("cgroup.controllers").exists() {
        made.push(root.join(&name));
    } else {
        for hierarchy in fs::read_dir(root)? {
            let hierarchy = hierarchy?.path();
            if !hierarchy.is_symlink() && hierarchy.join("cgroup.procs").exists() {
                made.push(hierarchy.join(&name));
            }
        }
    }
    for directory in &made {
        fs::create_dir(directory)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parent = directory.parent().context("a cgroup has a parent")?;
            if let Ok(value) = fs::read(parent.join(file)) {
                fs::write(directory.join(file), value)?;
            }
        }
    }
    Ok(made)
}

/// What the new process does.
fn inside(mut parent: &UnixStream, bridged: bool, rootfs: &Path, place: &Path, program: &str) -> Result<()> {
    let root = place.join("root");
    let none = MountFlags::empty();
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}\0",
        rootfs.display(),
        place.join("upper").display(),
        place.join("work").display()
    );
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())?;
    mount("overlay", &root, "overlay", none, Some(options))?;
    let restricted = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    mount("proc", root.join("proc"), "proc", restricted, None)?;
    mount("tmpfs", root.join("dev"), "tmpfs", MountFlags::NOSUID, Some(c"mode=755,size=65536k"))?;
    for directory in ["pts", "shm", "mqueue"] {
        fs::create_dir(root.join("dev").join(directory))?;
    }
    mount(
        "devpts",
        root.join("dev/pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(c"newinstance,ptmxmode=0666,mode=0620"),
    )?;
    mount("shm", root.join("dev/shm"), "tmpfs", restricted, Some(c"mode=1777,size=65536k"))?;
    mount("mqueue", root.join("dev/mqueue"), "mqueue", restricted, None)?;
    mount("sysfs", root.join("sys"), "sysfs", restricted | MountFlags::RDONLY, None)?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        mknodat(
            CWD,
            root.join("dev").join(name),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            makedev(major, minor),
        )?;
    }
    chdir(&root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        if Path::new(path).exists() {
            rustix::mount::mount_bind(path, path)?;
            rustix::mount::mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | restricted, "")?;
        }
    }
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"] {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => mount("tmpfs", path, "tmpfs", MountFlags::RDONLY, None)?,
            Ok(_) => rustix::mount::mount_bind("/dev/null", path)?,
            Err(_) => {}
        }
    }
    let mut go = [0];
    parent.read_exact(&mut go)?;
    loam_sys::bring_loopback_up()?;
    if bridged {
        network::configure_inside()?;
    }
    let error = std::os::unix::process::CommandExt::exec(&mut std::process::Command::new(program));
    Err(error.into())
}
