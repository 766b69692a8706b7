//! The system calls of the helper.

use loam_sys::CheckedCall;

use libc::{
    SYS_brk, SYS_clock_gettime, SYS_clock_nanosleep, SYS_close, SYS_close_range, SYS_exit, SYS_exit_group,
    SYS_fallocate, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fgetxattr, SYS_flistxattr,
    SYS_fremovexattr, SYS_fsetxattr, SYS_fstat, SYS_fstatfs, SYS_ftruncate, SYS_futex, SYS_getdents64,
    SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getpid, SYS_getrandom, SYS_gettid, SYS_getuid, SYS_linkat,
    SYS_lseek, SYS_madvise, SYS_memfd_create, SYS_mkdirat, SYS_mknodat, SYS_mmap, SYS_mprotect, SYS_mremap,
    SYS_munmap, SYS_nanosleep, SYS_newfstatat, SYS_openat, SYS_openat2, SYS_pread64, SYS_pwrite64, SYS_read,
    SYS_readlinkat, SYS_readv, SYS_recvmsg, SYS_renameat, SYS_renameat2, SYS_restart_syscall, SYS_rseq,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_getaffinity, SYS_sched_yield,
    SYS_sendmsg, SYS_set_robust_list, SYS_sigaltstack, SYS_statx, SYS_symlinkat, SYS_unlinkat, SYS_utimensat,
    SYS_write, SYS_writev,
};

/// fchmodat2(2), on every machine; the libc crate has it for some.
const FCHMODAT2: i64 = 452;

/// To read and write what is open; to make, name and own files below the root; to work with memory and threads. Nothing
/// that makes a socket, a process, a mount or a namespace, or looks at another process.
pub(super) const CALLS: [i64; 67] = [
    // Data of open files, the pipe and the socket.
    SYS_close,
    SYS_close_range,
    SYS_lseek,
    SYS_memfd_create,
    SYS_pread64,
    SYS_pwrite64,
    SYS_read,
    SYS_readv,
    SYS_recvmsg,
    SYS_sendmsg,
    SYS_write,
    SYS_writev,
    // Files.
    SYS_fallocate,
    SYS_fchmod,
    SYS_fchmodat,
    FCHMODAT2,
    SYS_fchown,
    SYS_fchownat,
    SYS_fgetxattr,
    SYS_flistxattr,
    SYS_fremovexattr,
    SYS_fsetxattr,
    SYS_fstat,
    SYS_fstatfs,
    SYS_ftruncate,
    SYS_getdents64,
    SYS_linkat,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_newfstatat,
    SYS_openat,
    SYS_openat2,
    SYS_readlinkat,
    SYS_renameat,
    SYS_renameat2,
    SYS_statx,
    SYS_symlinkat,
    SYS_unlinkat,
    SYS_utimensat,
    // Memory.
    SYS_brk,
    SYS_madvise,
    SYS_mmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_munmap,
    // Threads, time and the end.
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettid,
    SYS_getuid,
    SYS_nanosleep,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_sigaltstack,
];

/// Those that could reach other processes with other arguments: signals go to this process alone, and descriptors are
/// duplicated, marked and sealed, and no more.
pub(super) fn checked() -> [CheckedCall; 2] {
    let own = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
    let commands = [
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_ADD_SEALS,
        libc::F_GET_SEALS,
    ];
    [
        CheckedCall { number: libc::SYS_tgkill, argument: 0, values: vec![own] },
        CheckedCall {
            number: libc::SYS_fcntl,
            argument: 1,
            values: commands.map(i32::cast_unsigned).to_vec(),
        },
    ]
}
