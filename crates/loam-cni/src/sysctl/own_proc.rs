//! A proc file system of this process's own.
//!
//! The kernel keeps `sys/net` of all network namespaces under one name in one row of its names, for each proc file system
//! that they were looked up in, and looks at each entry on the way to a file (fs/proc/proc_sysctl.c, `proc_sys_compare`).
//! Nothing takes an entry out while its namespace lives. With 500 containers the way through `/proc` takes ten times as long
//! as with one, for whoever goes it; through a file system that nobody else uses it does not grow.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// After how many ways the rows are given up for a new file system's.
const MOST_WAYS: u32 = 64;

static CURRENT: Mutex<Option<Instance>> = Mutex::new(None);

#[derive(Debug)]
struct Instance {
    root: Root,
    ways: u32,
}

/// The root of a proc file system.
#[derive(Clone, Debug)]
pub(super) struct Root(Arc<OwnedFd>);

impl Root {
    /// The process's own, mounted nowhere; `/proc` where this process may not make one, or the kernel can't (before Linux
    /// 5.2).
    pub(super) fn get() -> io::Result<Self> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = current.as_mut().filter(|instance| instance.ways < MOST_WAYS) {
            instance.ways += 1;
            return Ok(instance.root.clone());
        }
        let root = Self(Arc::new(mount().or_else(|_| open("/proc"))?));
        *current = Some(Instance { root: root.clone(), ways: 1 });
        Ok(root)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn mount() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn open(path: &str) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_used_for_a_while_and_stays_good_for_those_who_have_it() {
        let is_root = |root: &Root| rustix::fs::statat(root, "sys/net", rustix::fs::AtFlags::empty()).is_ok();
        let first = Root::get().expect("there is a proc file system");
        let roots: Vec<Root> = (0..3 * MOST_WAYS).map(|_| Root::get().expect("another way")).collect();
        assert!(is_root(&first) && roots.iter().all(is_root));
        let mut numbers: Vec<i32> =
            roots.iter().map(|root| std::os::fd::AsRawFd::as_raw_fd(&root.0)).collect();
        numbers.dedup();
        assert!((2..=8).contains(&numbers.len()), "{numbers:?}");
    }
}
