//! The shim's program, opened so that nobody can write to it through a process that runs it.
//!
//! A process in a container that gets hold of the shim's `/proc/PID/exe` could overwrite the program on the host
//! (CVE-2019-5736). So it is run from a read-only clone of its mount: writing fails whatever the rights, and the text
//! is still shared by all shims. Where the kernel can't make one, each shim runs from a sealed copy in memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::features::{self, has_mount_api};
use loam_sys::magic_link;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::OpenTreeFlags;

/// The program, opened when it is first needed and kept open.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    sealed: OnceLock<OwnedFd>,
}

impl Program {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, sealed: OnceLock::new() }
    }

    /// A command that runs the program with nothing of our environment.
    pub(super) fn command(&self) -> Result<Command> {
        let sealed = match self.sealed.get() {
            Some(sealed) => sealed,
            None => {
                let opened = open(&self.path).map_err(|error| self.failure(error))?;
                self.sealed.get_or_init(|| opened)
            }
        };
        // The path is looked up in the child, which has the descriptor until the program replaces it.
        let mut command = Command::new(magic_link(sealed));
        std::os::unix::process::CommandExt::arg0(&mut command, "loam-shim");
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let turned_off = features::turned_off();
        if !turned_off.is_empty() {
            command.env(features::VARIABLE, turned_off);
        }
        Ok(command)
    }

    pub(super) fn failure(&self, error: io::Error) -> Failure {
        let message = format!("the shim `{}` can't be run", self.path.display());
        let failure = Failure::new(ErrorKind::Unavailable, message);
        let failure = if error.kind() == io::ErrorKind::NotFound {
            failure.hint("install `loam-shim` beside `loam`")
        } else {
            failure
        };
        failure.caused_by(error)
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    match clone_read_only(path) {
        Ok(mount) => Ok(mount),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => copy_sealed(path),
    }
}

fn clone_read_only(path: &Path) -> io::Result<OwnedFd> {
    if !has_mount_api() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, path, flags)?;
    loam_sys::set_mount_read_only(mount.as_fd())?;
    Ok(mount)
}

fn copy_sealed(path: &Path) -> io::Result<OwnedFd> {
    let mut program = std::fs::File::open(path)?;
    let copy = rustix::fs::memfd_create("loam-shim", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    io::copy(&mut program, &mut std::fs::File::from(copy.try_clone()?))?;
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(0o500))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    // A program that is open for writing can't be run.
    Ok(rustix::fs::open(magic_link(&copy), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::result::Result;

    /// Writes to a program through a handle that was taken from a process that ran it, once it runs no more. That a
    /// running program is busy protects nobody who can wait.
    fn write_through_process(program: &OwnedFd) -> Result<usize, Errno> {
        let mut child = Command::new(magic_link(program)).arg("60").spawn().unwrap();
        let path = format!("/proc/{}/exe", child.id());
        let handle = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let opened = rustix::fs::open(magic_link(&handle), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&opened, b"x")
    }

    #[test]
    fn the_program_can_not_be_written_through_its_process() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: the_program_can_not_be_written_through_its_process: needs root");
            return;
        }
        // A program of this test's own: one that others run is busy.
        let directory = tempfile::tempdir().unwrap();
        let sleep = directory.path().join("sleep");
        std::fs::copy("/bin/sleep", &sleep).unwrap();
        assert_eq!(write_through_process(&clone_read_only(&sleep).unwrap()), Err(Errno::ROFS));
        assert_eq!(write_through_process(&copy_sealed(&sleep).unwrap()), Err(Errno::PERM));
    }
}
