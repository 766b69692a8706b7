//! Paths of `/proc` and `/sys` that a container can't see or can't change.

/// The flag that takes paths off the lists.
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
    !unmask.iter().any(|wish| wish.eq_ignore_ascii_case(UNMASK_ALL) || wish.trim_end_matches('/') == path)
}

#[cfg(test)]
mod tests {
    use super::*;

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
