//! What takes a capability, and is allowed to those who have it.

use super::Group;

/// Allowed with a capability, by its name: each is the kernel's own condition for most of what they do.
pub(in crate::seccomp) const WITH_CAPABILITY: &[(&str, Group)] = &[
    (
        "CAP_SYS_ADMIN",
        Group {
            why: "mounts, namespaces and the other work of an administrator",
            names: &[
                "bpf",
                "clone",
                "clone3",
                "fanotify_init",
                "fsconfig",
                "fsmount",
                "fsopen",
                "fspick",
                "listns",
                "lookup_dcookie",
                "lsm_set_self_attr",
                "mount",
                "mount_setattr",
                "move_mount",
                "open_tree",
                "open_tree_attr",
                "perf_event_open",
                "pivot_root",
                "quotactl",
                "quotactl_fd",
                "setdomainname",
                "sethostname",
                "setns",
                "syslog",
                "umount",
                "umount2",
                "unshare",
            ],
        },
    ),
    ("CAP_DAC_READ_SEARCH", Group { why: "opening files by handle", names: &["open_by_handle_at"] }),
    ("CAP_SYS_BOOT", Group { why: "restarting, which ends the PID namespace", names: &["reboot"] }),
    ("CAP_SYS_CHROOT", Group { why: "another root directory", names: &["chroot"] }),
    (
        "CAP_SYS_MODULE",
        Group { why: "kernel modules", names: &["delete_module", "finit_module", "init_module"] },
    ),
    ("CAP_SYS_PACCT", Group { why: "process accounting", names: &["acct"] }),
    (
        "CAP_SYS_PTRACE",
        Group { why: "looking into other processes", names: &["kcmp", "pidfd_getfd", "process_madvise"] },
    ),
    ("CAP_SYS_RAWIO", Group { why: "ports of the hardware", names: &["ioperm", "iopl"] }),
    (
        "CAP_SYS_TIME",
        Group {
            why: "setting clocks",
            names: &["clock_settime", "clock_settime64", "settimeofday", "stime"],
        },
    ),
    ("CAP_SYS_TTY_CONFIG", Group { why: "hanging terminals up", names: &["vhangup"] }),
    (
        "CAP_SYS_NICE",
        Group {
            why: "placing memory on the nodes of the machine",
            names: &[
                "get_mempolicy",
                "mbind",
                "set_mempolicy",
                "set_mempolicy_home_node",
                "move_pages",
                "migrate_pages",
            ],
        },
    ),
    ("CAP_SYSLOG", Group { why: "the kernel's log", names: &["syslog"] }),
    ("CAP_BPF", Group { why: "programs for the kernel", names: &["bpf"] }),
    ("CAP_PERFMON", Group { why: "performance counters", names: &["perf_event_open"] }),
];
