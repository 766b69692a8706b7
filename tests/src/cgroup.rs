//! A container's cgroup as the kernel shows it, whichever version and whoever made it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Host;

/// Where hierarchies are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// The directories of a container's cgroup.
#[derive(Clone, Debug)]
pub struct CgroupFiles {
    path: String,
}

/// Whether this machine has version 2 alone.
pub fn is_version_two() -> bool {
    Path::new(MOUNTS).join("cgroup.controllers").exists()
}

impl Host {
    /// The cgroup of a running container, which its process is in.
    pub fn cgroup(&self, container: &str) -> CgroupFiles {
        let detail = self.inspect(container);
        let cgroup = CgroupFiles { path: detail["cgroup"].as_str().expect("a path").to_owned() };
        let pid = self.pid(container).to_string();
        let members = cgroup.read(("pids", "cgroup.procs"), "cgroup.procs");
        assert!(members.lines().any(|member| member == pid), "{pid} is not in {cgroup:?} but {members:?}");
        cgroup
    }
}

impl CgroupFiles {
    /// The path of a file: of version 1 by controller and name, or of version 2 by name.
    pub fn file(&self, v1: (&str, &str), v2: &str) -> PathBuf {
        let path = self.path.trim_start_matches('/');
        match is_version_two() {
            true => Path::new(MOUNTS).join(path).join(v2),
            false => Path::new(MOUNTS).join(v1.0).join(path).join(v1.1),
        }
    }

    /// The text of a file, without the last line end.
    pub fn read(&self, v1: (&str, &str), v2: &str) -> String {
        let file = self.file(v1, v2);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.trim_end().to_owned()
    }

    /// The number in a file.
    pub fn number(&self, v1: (&str, &str), v2: &str) -> u64 {
        self.read(v1, v2).parse().expect("a number")
    }

    /// The number behind a key in a file of lines `KEY NUMBER`.
    pub fn keyed(&self, v1: (&str, &str), v2: &str, key: &str) -> u64 {
        let text = self.read(v1, v2);
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_else(|| panic!("no {key} in {text}"))
    }

    /// Processor time used, in microseconds.
    pub fn processor_time(&self) -> u64 {
        match is_version_two() {
            true => self.keyed(("", ""), "cpu.stat", "usage_usec"),
            false => self.number(("cpuacct", "cpuacct.usage"), "") / 1000,
        }
    }
}
