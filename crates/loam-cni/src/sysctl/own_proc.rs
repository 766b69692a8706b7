//! A proc file system of this process's own (decision 34).
//!
//! The dentries of `sys/net` of all network namespaces share one hash chain for each name, within one proc file system. The
//! kernel compares each of them on the way to a file (fs/proc/proc_sysctl.c, `proc_sys_compare`) and drops none while its
//! namespace lives. With 500 containers a lookup through `/proc` takes ten times as long as with one, for whoever makes it;
//! through a file system that nobody else uses it does not grow.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use loam_sys::features::has_mount_api;
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, openat, statvfs};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// How many lookups a file system is used for. Making one and letting it go takes as long as walking a chain of some hundred
/// dentries.
const LOOKUPS: u32 = 64;
/// A setting that every namespace has, and that only a writer of settings may open for writing.
const ANY_SETTING: &str = "sys/net/ipv4/ip_forward";

static INSTANCES: Instances = Instances::new(mount);

/// The root of a proc file system.
#[derive(Clone, Debug)]
pub(super) struct Root(Arc<OwnedFd>);

impl Root {
    /// That of the process's own, which is mounted nowhere; that of `/proc` where it can't be had, or where settings can't be
    /// written through it.
    pub(super) fn get() -> io::Result<Self> {
        INSTANCES.get()
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One file system after the other.
struct Instances {
    make: fn() -> io::Result<OwnedFd>,
    current: Mutex<Option<Instance>>,
}

struct Instance {
    root: Root,
    /// How many lookups are left; no end for that of all.
    left: Option<u32>,
}

impl Instances {
    const fn new(make: fn() -> io::Result<OwnedFd>) -> Self {
        Self { make, current: Mutex::new(None) }
    }

    fn get(&self) -> io::Result<Root> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_mut() {
            Some(Instance { root, left: None }) => return Ok(root.clone()),
            Some(Instance { root, left: Some(left @ 1..) }) => {
                *left -= 1;
                return Ok(root.clone());
            }
            _ => {}
        }
        let (root, left) = match (self.make)() {
            Ok(root) => (root, Some(LOOKUPS - 1)),
            // What is refused once is refused again.
            Err(_) => (open("/proc")?, None),
        };
        let root = Root(Arc::new(root));
        let before = current.replace(Instance { root: root.clone(), left });
        // Letting a file system go takes its time, for which nobody has to wait.
        drop(current);
        drop(before);
        Ok(root)
    }
}

/// Mounts one. An error where an administrator has taken `/proc/sys` away, and where a security module goes by paths and
/// refuses those that do not begin with `/proc`.
fn mount() -> io::Result<OwnedFd> {
    if !has_mount_api() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    if statvfs("/proc/sys")?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(io::ErrorKind::ReadOnlyFilesystem.into());
    }
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    openat(&root, ANY_SETTING, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(root)
}

fn open(path: &str) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use loam_testkit::lab::{inside, succeed};
    use rustix::fs::{AtFlags, fstat, statat};

    use super::*;
    use crate::namespace::Namespace;
    use crate::sysctl;

    fn device(root: &Root) -> u64 {
        fstat(root).expect("a root").st_dev
    }

    fn proc_device() -> u64 {
        rustix::fs::stat("/proc").expect("it is there").st_dev
    }

    #[test]
    fn it_is_a_file_system_of_its_own_that_is_mounted_nowhere() {
        inside("sysctl::own_proc::tests::it_is_a_file_system_of_its_own_that_is_mounted_nowhere", || {
            let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("readable");
            let before = mounts();
            let root = Root::get().expect("a root");
            assert_ne!(device(&root), proc_device());
            assert_eq!(mounts(), before);
        });
    }

    #[test]
    fn each_namespace_has_its_own_settings_through_the_same_root() {
        inside("sysctl::own_proc::tests::each_namespace_has_its_own_settings_through_the_same_root", || {
            fs::create_dir_all("/run/netns").expect("made");
            succeed(&["ip", "netns", "add", "own-proc"]);
            let other = Namespace::open(std::path::Path::new("/run/netns/own-proc")).expect("a namespace");
            let forwards = || sysctl::read("ipv4/ip_forward").expect("readable");
            sysctl::write("ipv4/ip_forward", "1").expect("written");
            other.run(|| sysctl::write("ipv4/ip_forward", "0").expect("written")).expect("entered");
            assert_eq!((forwards(), other.run(forwards).expect("entered")), ("1".into(), "0".into()));
            assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("readable"), "1\n");
            succeed(&["ip", "netns", "delete", "own-proc"]);
        });
    }

    #[test]
    fn settings_that_are_read_only_on_the_host_stay_so() {
        inside("sysctl::own_proc::tests::settings_that_are_read_only_on_the_host_stay_so", || {
            succeed(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
            succeed(&["mount", "-o", "remount,bind,ro", "/proc/sys"]);
            let refused = sysctl::write("ipv4/ip_forward", "1").expect_err("the administrator has said so");
            assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
            succeed(&["umount", "/proc/sys"]);
        });
    }

    #[test]
    fn where_none_can_be_made_it_is_the_one_of_all_and_not_tried_again() {
        static TRIED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let instances = Instances::new(|| {
            TRIED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Err(io::ErrorKind::PermissionDenied.into())
        });
        for _ in 0..3 * LOOKUPS {
            assert_eq!(device(&instances.get().expect("a root")), proc_device());
        }
        assert_eq!(TRIED.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn one_is_used_for_some_lookups_and_stays_good_for_those_who_have_it() {
        let instances = Instances::new(|| Ok(open("/proc")?));
        let roots: Vec<Root> = (0..3 * LOOKUPS).map(|_| instances.get().expect("a root")).collect();
        let is_root = |root: &Root| statat(root, "sys/net", AtFlags::empty()).is_ok();
        assert!(roots.iter().all(is_root));
        let different: BTreeSet<_> = roots.iter().map(|root| Arc::as_ptr(&root.0)).collect();
        assert_eq!(different.len(), 3);
    }
}
