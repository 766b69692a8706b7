//! The last part of every process, the container's first and later ones alike: from root in the container to what the
//! configuration says, and then the user's program.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::open_in_root;
use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::process::Rlimit;
use rustix::thread::CapabilitySet;

use super::explain::{Explain, failure};
use super::process_plan::{CapabilityPlan, Label, LabelTarget, Limit, ProcessPlan};
use crate::seccomp::Filter;

/// The files that security labels are written to, opened on the host's procfs.
#[derive(Debug, Default)]
pub(super) struct LabelFiles(Vec<(OwnedFd, Label)>);

impl LabelFiles {
    /// Opens them.
    pub(super) fn open(proc: BorrowedFd<'_>, labels: &[Label]) -> Result<Self> {
        let open = |label: &Label| {
            let file = open_in_root(proc, label.file, OFlags::WRONLY, ResolveFlags::NO_XDEV)
                .explain(|| format!("opening `/proc/{}` failed", label.file))?;
            Ok((file, label.clone()))
        };
        labels.iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// Says what the program will be labelled.
    fn write(&self) -> Result<()> {
        let mut files = self.0.iter().filter(|(_, label)| label.target == LabelTarget::Program);
        files.try_for_each(|(file, label)| write_label(file, label, &label.text))
    }

    /// Makes a keyring that has the label of its process.
    pub(super) fn around_keyring(&self, make: impl FnOnce() -> Result<()>) -> Result<()> {
        let label = self.0.iter().find(|(_, label)| label.target == LabelTarget::Keyring);
        let Some((file, label)) = label else { return make() };
        write_label(file, label, &label.text)?;
        make()?;
        // An empty line takes it back.
        write_label(file, label, "\n")
    }
}

fn write_label(file: &OwnedFd, label: &Label, text: &str) -> Result<()> {
    rustix::io::write(file, text.as_bytes())
        .map(drop)
        .explain(|| format!("setting the security label `{}` failed", label.text))
}

/// Becomes root of the user namespace that this process is in.
pub(super) fn become_root() -> Result<()> {
    let failed = || "becoming root of the user namespace failed".to_owned();
    // Where groups may not be set, none that mean anything in the container are there either.
    match rustix::thread::set_thread_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno).explain(failed),
    }
    let (root, group) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(group, group, group).explain(failed)?;
    rustix::thread::set_thread_res_uid(root, root, root).explain(failed)
}

/// Gives this process its identity. Afterwards it may do little more than run its program.
pub(super) fn take_on(plan: &ProcessPlan, labels: &LabelFiles, filter: Option<&Filter>) -> Result<()> {
    schedule(plan)?;
    labels.write()?;
    let entered = enter_directory(&plan.directory);
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).explain(|| "giving up new privileges failed".to_owned())?;
    } else if let Some(filter) = filter {
        // Without that promise only root may load a filter.
        load(filter)?;
    }
    drop_bounding(plan.capabilities.bounding)?;
    become_user(plan)?;
    set_capabilities(&plan.capabilities)?;
    // Root of a user namespace may be refused where the user himself is not.
    match entered {
        Ok(()) => {}
        Err(failure) if failure.kind() == ErrorKind::Denied => enter_directory(&plan.directory)?,
        Err(failure) => return Err(failure),
    }
    verify_directory(&plan.directory)?;
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    plan.limits.iter().try_for_each(limit)
}

/// Loads the filter of a process that gave up new privileges: the very last thing before its program, so that the
/// filter need allow nothing of ours but execve.
pub(super) fn seal(plan: &ProcessPlan, filter: Option<&Filter>) -> Result<()> {
    match filter {
        Some(filter) if plan.no_new_privileges => load(filter),
        _ => Ok(()),
    }
}

fn load(filter: &Filter) -> Result<()> {
    loam_sys::load_seccomp_filter(&filter.program, filter.flags)
        .explain(|| "loading the seccomp filter failed".to_owned())
}

fn schedule(plan: &ProcessPlan) -> Result<()> {
    if let Some(settings) = &plan.scheduler {
        loam_sys::set_scheduler(settings).explain(|| "setting the scheduler failed".to_owned())?;
    }
    if let Some((class, level)) = plan.io_priority {
        loam_sys::set_io_priority(class, level).explain(|| "setting the io priority failed".to_owned())?;
    }
    if let Some(persona) = plan.personality {
        loam_sys::set_personality(persona).explain(|| "setting the personality failed".to_owned())?;
    }
    Ok(())
}

/// Enters the working directory; links of procfs that lead to open files, such as one of the host's, are not followed.
fn enter_directory(path: &Path) -> Result<()> {
    let failed = || format!("entering the working directory `{}` failed", path.display());
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).explain(failed)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = open_in_root(&root, path, flags, ResolveFlags::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
            Failure::new(ErrorKind::Invalid, failed()).caused_by(std::io::Error::from(errno))
        }
        _ => failure(errno, failed()),
    })?;
    rustix::process::fchdir(&directory).explain(failed)
}

fn verify_directory(path: &Path) -> Result<()> {
    let now = rustix::process::getcwd(Vec::new());
    if now.is_ok_and(|now| now.as_bytes().first() == Some(&b'/')) {
        return Ok(());
    }
    let message = format!("the working directory `{}` lies outside the container", path.display());
    Err(Failure::new(ErrorKind::Denied, message))
}

fn drop_bounding(kept: u64) -> Result<()> {
    for number in 0..64 {
        let bit = 1_u64 << number;
        if kept & bit != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // One after the last that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).explain(|| "dropping capabilities failed".to_owned()),
        }
    }
    Ok(())
}

fn become_user(plan: &ProcessPlan) -> Result<()> {
    let failed = || format!("becoming the user `{}:{}` failed", plan.user, plan.group);
    let (user, group) = (Uid::from_raw(plan.user), Gid::from_raw(plan.group));
    if !user.is_root() {
        rustix::thread::set_keep_capabilities(true).explain(failed)?;
    }
    let groups: Vec<Gid> = plan.groups.iter().map(|&group| Gid::from_raw(group)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // Where groups may not be set there are none to begin with.
        Err(Errno::PERM) if groups.is_empty() => {}
        other => other.explain(failed)?,
    }
    rustix::thread::set_thread_res_gid(group, group, group).explain(failed)?;
    rustix::thread::set_thread_res_uid(user, user, user).explain(failed)?;
    if !user.is_root() {
        rustix::thread::set_keep_capabilities(false).explain(failed)?;
    }
    Ok(())
}

/// Sets the capabilities to those of the plan that this process has at all. Nothing is inheritable but what is ambient.
fn set_capabilities(plan: &CapabilityPlan) -> Result<()> {
    let failed = || "setting capabilities failed".to_owned();
    let mut sets = rustix::thread::capabilities(None).explain(failed)?;
    let permitted = sets.permitted.bits() & plan.permitted;
    let ambient = permitted & plan.ambient;
    sets.permitted = CapabilitySet::from_bits_retain(permitted);
    sets.effective = CapabilitySet::from_bits_retain(permitted & plan.effective);
    sets.inheritable = CapabilitySet::from_bits_retain(ambient);
    rustix::thread::set_capabilities(None, sets).explain(failed)?;
    for number in (0..64).filter(|number| ambient & (1 << number) != 0) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::configure_capability_in_ambient_set(one, true).explain(failed)?;
    }
    Ok(())
}

/// Sets a limit, or what comes next to it of what may be set: raising one takes CAP_SYS_RESOURCE on the host.
fn limit(limit: &Limit) -> Result<()> {
    let now = rustix::process::getrlimit(limit.resource);
    let lower = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    };
    let hard = lower(limit.hard, now.maximum);
    let new = Rlimit { current: lower(limit.soft, hard), maximum: hard };
    rustix::process::setrlimit(limit.resource, new)
        .explain(|| format!("setting the resource limit {:?} failed", limit.resource))
}

/// Finds the program, as execvp(3) does.
pub(super) fn look_up(plan: &ProcessPlan) -> Result<CString> {
    let name = &plan.arguments[0];
    if name.to_bytes().contains(&b'/') {
        return match examine(name) {
            Ok(()) => Ok(name.clone()),
            Err(errno) => Err(not_runnable(name, errno)),
        };
    }
    let mut refused = None;
    for directory in plan.search.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let mut path = directory.as_bytes().to_vec();
        path.push(b'/');
        path.extend(name.to_bytes());
        let Ok(path) = CString::new(path) else { continue };
        match examine(&path) {
            Ok(()) => return Ok(path),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => refused = Some(errno),
        }
    }
    Err(match refused {
        Some(errno) => not_runnable(name, errno),
        None => {
            let message = format!("`{}`: executable file not found in `PATH`", name.to_string_lossy());
            Failure::new(ErrorKind::CommandNotFound, message)
        }
    })
}

fn examine(path: &CString) -> rustix::io::Result<()> {
    let stat = rustix::fs::statat(CWD, path.as_c_str(), AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(CWD, path.as_c_str(), Access::EXEC_OK, AtFlags::empty())
}

/// Why a program can't be run, by what the kernel said.
pub(super) fn not_runnable(name: &CString, errno: Errno) -> Failure {
    let name = name.to_string_lossy();
    let kind = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => ErrorKind::CommandNotFound,
        Errno::TOOBIG => ErrorKind::Invalid,
        // What execve(2) says when the user has as many processes as there may be.
        Errno::AGAIN => ErrorKind::Exhausted,
        _ => match ErrorKind::of_io(&errno.into()) {
            ErrorKind::Exhausted => ErrorKind::Exhausted,
            _ => ErrorKind::CommandNotExecutable,
        },
    };
    Failure::new(kind, format!("`{name}` can't be executed")).caused_by(std::io::Error::from(errno))
}

#[cfg(test)]
mod tests;
