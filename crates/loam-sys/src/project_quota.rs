//! Project quotas: what the files of one project id take on a file system, and how much they may (quotactl(2),
//! `PRJQUOTA`; linux/dqblk_xfs.h). XFS and ext4 answer to the same commands. Nothing here needs a block device's path:
//! quotactl_fd(2) takes any descriptor of the file system (Linux 5.14).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of quotactl_fd(2), the same on every architecture.
const SYS_QUOTACTL_FD: libc::c_long = 443;
/// `PRJQUOTA`.
const PROJECT: u32 = 2;
const Q_XGETQUOTA: u32 = (b'X' as u32) << 8 | 3;
const Q_XSETQLIM: u32 = (b'X' as u32) << 8 | 4;
const Q_XGETQSTATV: u32 = (b'X' as u32) << 8 | 8;
/// `FS_QUOTA_PDQ_ACCT`: it is counted what projects take.
const COUNTED: u16 = 1 << 4;
/// `FS_QUOTA_PDQ_ENFD`: limits of projects are enforced.
const ENFORCED: u16 = 1 << 5;
/// `FS_DQUOT_VERSION` and `FS_QSTATV_VERSION1`.
const VERSION: i8 = 1;
/// `FS_PROJ_QUOTA`.
const PROJECT_RECORD: i8 = 2;
/// `FS_DQ_BSOFT | FS_DQ_BHARD`.
const BLOCK_LIMITS: u16 = 1 << 2 | 1 << 3;
/// Both limits and use are counted in basic blocks of this many bytes.
const BASIC_BLOCK: u64 = 512;
/// Bytes of the largest block of a file system that all kernels know.
const LARGEST_BLOCK: u64 = 4096;

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR` (linux/fs.h).
const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`: what is made in the directory gets its project id.
const INHERIT: u32 = 0x200;

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct DiskQuota {
    version: i8,
    flags: i8,
    field_mask: u16,
    id: u32,
    block_hard_limit: u64,
    block_soft_limit: u64,
    inode_hard_limit: u64,
    inode_soft_limit: u64,
    blocks: u64,
    inodes: u64,
    timers: [i32; 2],
    warnings: [u16; 2],
    timers_high: [i8; 4],
    realtime: [u64; 3],
    realtime_timer: i32,
    realtime_warnings: [u16; 2],
    padding: [u8; 8],
}

/// `struct fs_quota_statv`.
#[repr(C)]
#[derive(Clone, Copy)]
struct QuotaState {
    version: i8,
    padding: u8,
    flags: u16,
    /// Of no interest here.
    rest: [u32; 39],
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FileAttributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_on_write_extent_size: u32,
    padding: [u8; 8],
}

/// What a project takes, and its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectUsage {
    /// Bytes on the disk, the file system's own blocks for its files included.
    pub bytes: u64,
    /// Files, directories and everything else with an inode.
    pub inodes: u64,
    /// The limit in bytes; 0 is none.
    pub limit: u64,
}

impl ProjectUsage {
    /// Whether this is its limit, as [`limit_project`] sets it and file systems round it to their blocks.
    pub fn has_limit(&self, bytes: u64) -> bool {
        self.limit.abs_diff(bytes) < LARGEST_BLOCK
    }
}

/// Calls quotactl_fd(2). `record` must be the structure that the command takes.
fn quotactl<T>(on: BorrowedFd<'_>, command: u32, id: u32, record: &mut T) -> io::Result<()> {
    let command = command << 8 | PROJECT;
    // SAFETY: the kernel reads or writes one structure of the command's at the pointer, which is a whole exclusive `T`;
    // every caller in this file passes the one that linux/dqblk_xfs.h names for its command, of the size that the tests
    // below hold.
    let result =
        unsafe { libc::syscall(SYS_QUOTACTL_FD, on.as_raw_fd(), command, id, std::ptr::from_mut(record)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a file system counts by project and enforces the limits. Anybody may ask.
pub fn enforces_projects(on: BorrowedFd<'_>) -> bool {
    flags(on) & ENFORCED != 0
}

/// Whether a file system counts by project, limits enforced or not. Anybody may ask.
pub fn counts_projects(on: BorrowedFd<'_>) -> bool {
    flags(on) & COUNTED != 0
}

/// What a file system does with quotas; nothing when it has none.
fn flags(on: BorrowedFd<'_>) -> u16 {
    let mut state = QuotaState { version: VERSION, padding: 0, flags: 0, rest: [0; 39] };
    quotactl(on, Q_XGETQSTATV, 0, &mut state).map_or(0, |()| state.flags)
}

/// Reads what a project takes on a file system. One that nobody has used takes nothing.
pub fn project_usage(on: BorrowedFd<'_>, project: u32) -> io::Result<ProjectUsage> {
    let mut quota = DiskQuota::default();
    match quotactl(on, Q_XGETQUOTA, project, &mut quota) {
        Ok(()) => Ok(ProjectUsage {
            bytes: quota.blocks.saturating_mul(BASIC_BLOCK),
            inodes: quota.inodes,
            limit: quota.block_hard_limit.saturating_mul(BASIC_BLOCK),
        }),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
            Ok(ProjectUsage::default())
        }
        Err(error) => Err(error),
    }
}

/// Limits what a project takes on a file system, to the next lower multiple of 512 bytes; 0 takes the limit away.
pub fn limit_project(on: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let blocks = bytes / BASIC_BLOCK;
    let mut quota = DiskQuota {
        version: VERSION,
        flags: PROJECT_RECORD,
        field_mask: BLOCK_LIMITS,
        id: project,
        block_hard_limit: blocks,
        block_soft_limit: blocks,
        ..DiskQuota::default()
    };
    quotactl(on, Q_XSETQLIM, project, &mut quota)
}

/// Gives an empty directory a project id that everything made in it inherits.
pub fn set_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = attributes(directory)?;
    attributes.flags |= INHERIT;
    attributes.project = project;
    // SAFETY: the request reads a `struct fsxattr`, which `attributes` is.
    let set = unsafe {
        libc::ioctl(directory.as_raw_fd(), libc::Ioctl::from(FS_IOC_FSSETXATTR), &raw const attributes)
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The project id of a file or directory; 0 is none.
pub fn project_of(file: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(attributes(file)?.project)
}

fn attributes(file: BorrowedFd<'_>) -> io::Result<FileAttributes> {
    let mut attributes = FileAttributes::default();
    // SAFETY: the request writes a `struct fsxattr`, which `attributes` is.
    let read =
        unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(FS_IOC_FSGETXATTR), &raw mut attributes) };
    if read < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;
    use std::os::fd::AsFd;

    #[test]
    fn structures_have_the_kernel_s_sizes() {
        assert_eq!(size_of::<DiskQuota>(), 112);
        assert_eq!(offset_of!(DiskQuota, blocks), 40);
        assert_eq!(offset_of!(DiskQuota, realtime), 72);
        assert_eq!(size_of::<QuotaState>(), 160);
        assert_eq!(size_of::<FileAttributes>(), 28);
        assert_eq!(FS_IOC_FSGETXATTR >> 16 & 0x3fff, 28);
    }

    #[test]
    fn a_limit_is_known_again_when_it_was_rounded() {
        let usage = ProjectUsage { limit: 1 << 20, ..ProjectUsage::default() };
        assert!(
            usage.has_limit(1 << 20) && usage.has_limit((1 << 20) + 511) && usage.has_limit((1 << 20) - 4095)
        );
        assert!(!usage.has_limit((1 << 20) + 4096) && !usage.has_limit(1 << 19));
    }

    #[test]
    fn a_file_system_without_quotas_says_so() {
        let proc = std::fs::File::open("/proc").unwrap();
        assert!(!enforces_projects(proc.as_fd()) && !counts_projects(proc.as_fd()));
        assert!(project_usage(proc.as_fd(), 5).is_err());
        assert!(limit_project(proc.as_fd(), 5, 1 << 20).is_err());
        assert!(project_of(proc.as_fd()).is_err());
    }
}
