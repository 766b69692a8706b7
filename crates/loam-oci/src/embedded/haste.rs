//! Waiting for the kernel before there is anything to wait for.

use std::fs::OpenOptions;
use std::io::Write;

/// Makes the moves of processes into version 1 cgroups, here and in other processes, quick for the next moments.
///
/// The first write to any `cgroup.procs` waits about 10 ms for the kernel to reach a state in which processes may be
/// moved; it then stays in that state for about as long. So whoever knows that a container or a further process will
/// be wanted can let that wait begin: this moves the calling process into the cgroup that it is in already, which
/// changes nothing, and returns when the wait is over. Call it from a thread or process of its own, as early as possible.
/// Without version 1 hierarchies it returns at once: there processes start in their cgroups.
pub fn hasten_cgroup_joins() {
    let Ok(own) = std::fs::read_to_string("/proc/self/cgroup") else { return };
    for file in own.lines().filter_map(procs_file) {
        // Not every hierarchy is mounted where one expects it, and not every one may be written to.
        let file = OpenOptions::new().write(true).open(file);
        if file.and_then(|mut file| file.write_all(b"0")).is_ok() {
            return;
        }
    }
}

/// The file of a line of `/proc/self/cgroup`, when that is of a version 1 hierarchy: `NUMBER:CONTROLLERS:PATH`.
fn procs_file(line: &str) -> Option<String> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    (!name.is_empty()).then(|| format!("/sys/fs/cgroup/{name}{}/cgroup.procs", path.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_1_has_files_to_write() {
        assert_eq!(procs_file("0::/a"), None);
        assert_eq!(procs_file("8:pids:/").as_deref(), Some("/sys/fs/cgroup/pids/cgroup.procs"));
        let named = procs_file("1:name=systemd:/a:b/c");
        assert_eq!(named.as_deref(), Some("/sys/fs/cgroup/systemd/a:b/c/cgroup.procs"));
    }
}
