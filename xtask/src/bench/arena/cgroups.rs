//! The cgroups of an arena, in which the kernel counts the CPU time of everything that an engine started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell::output;

/// One cgroup in the unified hierarchy, or one in each hierarchy of version 1.
pub(super) struct Cgroups {
    directories: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes those of this name.
    pub(super) fn make(name: &str) -> Result<Self> {
        Ok(Self { directories: make_directories(name)? })
    }

    /// Shell commands, a line each, that move the shell into the cgroups.
    pub(super) fn joining(&self) -> String {
        self.directories.iter().map(|dir| format!("echo $$ > '{}/cgroup.procs'\n", dir.display())).collect()
    }

    /// CPU time so far in microseconds, when nothing in them has used any for 30 ms.
    pub(super) fn settled_cpu_us(&self) -> Result<u64> {
        let limit = Instant::now() + Duration::from_secs(5);
        let mut last = self.cpu_us()?;
        let mut quiet = 0;
        while quiet < 3 && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(10));
            let now = self.cpu_us()?;
            quiet = if now.saturating_sub(last) < 60 { quiet + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    fn cpu_us(&self) -> Result<u64> {
        for cgroup in &self.directories {
            if let Ok(text) = std::fs::read_to_string(cgroup.join("cpuacct.usage")) {
                return Ok(text.trim().parse::<u64>()? / 1000);
            }
            if let Ok(text) = std::fs::read_to_string(cgroup.join("cpu.stat"))
                && let Some(usage) = text.lines().find_map(|line| line.strip_prefix("usage_usec "))
            {
                return Ok(usage.trim().parse()?);
            }
        }
        bail!("the kernel counts no CPU time for cgroups here")
    }

    /// Ids of all processes in them.
    pub(super) fn pids(&self) -> Vec<u32> {
        fn collect(directory: &Path, pids: &mut Vec<u32>) {
            let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    collect(&entry.path(), pids);
                }
            }
        }
        let mut pids = Vec::new();
        if let Some(cgroup) = self.directories.iter().find(|dir| dir.join("cgroup.procs").exists()) {
            collect(cgroup, &mut pids);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Ends what an engine left running, and removes the cgroups.
    pub(super) fn end(&self) {
        // What an engine left running is in its arena's cgroups and nowhere else.
        let limit = Instant::now() + Duration::from_secs(10);
        while !self.pids().is_empty() && Instant::now() < limit {
            for pid in self.pids() {
                let _killed = output(Command::new("kill").args(["-9", &pid.to_string()])).is_ok();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for cgroup in &self.directories {
            remove_cgroups(cgroup);
            let _shared_with_others = cgroup.parent().map(std::fs::remove_dir);
        }
    }
}

fn remove_cgroups(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroups(&entry.path());
        }
    }
    let _still_used = std::fs::remove_dir(directory).is_err();
}

/// Makes a cgroup of this name in every hierarchy below `/sys/fs/cgroup`.
fn make_directories(name: &str) -> Result<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        let directory = root.join(name);
        std::fs::create_dir_all(&directory)?;
        return Ok(vec![directory]);
    }
    let mut made = Vec::new();
    for hierarchy in std::fs::read_dir(root)? {
        let hierarchy = hierarchy?.path();
        if !hierarchy.join("cgroup.procs").exists() || hierarchy.join("cgroup.controllers").exists() {
            continue;
        }
        let mut directory = hierarchy.clone();
        for part in name.split('/') {
            // A new cpuset has no processors until it is given some.
            let parent = directory.clone();
            directory.push(part);
            std::fs::create_dir_all(&directory)?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = std::fs::read(parent.join(file)) {
                    std::fs::write(directory.join(file), value)?;
                }
            }
        }
        made.push(directory);
    }
    Ok(made)
}
