//! Paths of `/proc` and `/sys` that a container can't see or can't change, and those it may put something else over.

use std::path::Path;

/// The word that takes all paths off the lists.
const UNMASK_ALL: &str = "ALL";

/// Paths that show or reach the host's kernel: nothing is seen there.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that configure the host's kernel: they can be read.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Files of procfs that a mount may cover. Programs read figures from them, which a mount can replace by the container's
/// own; `ns_last_pid` is what checkpoints are restored with. All else there is the kernel's word on processes: a file in
/// its place would be believed, or worse, written to, such as by a runtime that sets a security label.
const COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Whether a mount may cover this file of procfs.
pub(crate) fn may_be_covered(path: &Path) -> bool {
    COVERABLE.iter().any(|coverable| Path::new(coverable) == path)
}

/// The masked paths but for those that the person wants to see. `processors` are those with a throttling counter, which
/// tells what the neighbours do.
pub(crate) fn masked(unmask: &[String], processors: &[u32]) -> Vec<String> {
    let throttling = |cpu: &u32| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    let all = MASKED.iter().map(|&path| path.to_owned()).chain(processors.iter().map(throttling));
    all.filter(|path| stays(path, unmask)).collect()
}

/// The read-only paths but for those that the person wants to write to.
pub(crate) fn read_only(unmask: &[String]) -> Vec<String> {
    READ_ONLY.iter().map(|&path| path.to_owned()).filter(|path| stays(path, unmask)).collect()
}

fn stays(path: &str, unmask: &[String]) -> bool {
    !unmask.iter().any(|asked| asked.eq_ignore_ascii_case(UNMASK_ALL) || asked.trim_end_matches('/') == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_of_procfs_may_be_covered() {
        let covered = |path: &str| may_be_covered(Path::new(path));
        assert!(covered("/proc/meminfo") && covered("/proc/sys/kernel/ns_last_pid"));
        assert!(!covered("/proc") && !covered("/proc/self/attr/exec") && !covered("/proc/meminfo/x"));
    }

    #[test]
    fn paths_are_taken_off_the_lists() {
        assert_eq!(masked(&[], &[]).len(), MASKED.len());
        assert_eq!(
            masked(&[], &[0, 3]).last().map(String::as_str),
            Some("/sys/devices/system/cpu/cpu3/thermal_throttle")
        );
        assert!(!masked(&["/proc/kcore/".to_owned()], &[]).contains(&"/proc/kcore".to_owned()));
        assert!(masked(&["all".to_owned()], &[0]).is_empty());
        assert!(read_only(&["ALL".to_owned()]).is_empty());
        assert_eq!(read_only(&["/proc/sys".to_owned()]).len(), READ_ONLY.len() - 1);
    }
}
