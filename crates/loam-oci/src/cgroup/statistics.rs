//! The kernel's figures of a cgroup.

mod pressure;

use std::path::Path;

use loam_model::{MemoryEvents, Stats};

use super::error::is_gone;
use super::processes::tree;
use super::{Cgroup, CgroupError, read};

/// Version 1 writes "no limit" as the highest number of whole pages; no machine has half as much.
const NO_LIMIT: u64 = 1 << 62;
/// The cgroup that crun makes in a scope, with the container's processes and some of its limits.
const CRUN: &str = "container";
/// Microseconds in nanoseconds.
const MICROSECOND: u64 = 1000;

impl Cgroup {
    /// Reads the figures: from version 1 what it has a controller for, the rest from version 2.
    pub(super) fn read_stats(&self) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        if let Some(directory) = self.v2() {
            v2_stats(directory, &mut stats)?;
            if stats.out_of_memory_kills.is_none() {
                stats.out_of_memory_kills = self.kills_of_removed(directory);
            }
        }
        if let Some(directory) = self.v1("cpuacct") {
            stats.cpu_usage_ns = number(directory, "cpuacct.usage")?.unwrap_or(0);
        }
        if let Some(directory) = self.v1("cpu") {
            stats.cpu_throttled_periods = keyed(directory, "cpu.stat", "nr_throttled")?;
        }
        if let Some(directory) = self.v1("memory") {
            v1_memory(directory, &mut stats)?;
            stats.out_of_memory_kills = self.out_of_memory_kills();
            // Its `failcnt` stays zero on newer kernels (6.18), whatever happens.
            let oom_kill = stats.out_of_memory_kills;
            stats.memory_events = MemoryEvents { oom_kill, ..MemoryEvents::default() };
        }
        if let Some(directory) = self.v1("pids") {
            stats.pids = number(directory, "pids.current")?.unwrap_or(0);
            stats.pids_limit = number(directory, "pids.max")?;
        }
        if let Some(directory) = self.v1("blkio") {
            v1_block_io(directory, &mut stats)?;
        }
        if stats.pids == 0 {
            stats.pids = self.processes()?.len() as u64;
        }
        Ok(stats)
    }

    /// How often the kernel killed a process, here or below, for lack of memory.
    pub(super) fn out_of_memory_kills(&self) -> Option<u64> {
        if let Some(directory) = self.v1("memory") {
            // The counter of version 1 is each cgroup's own.
            let each = |directory: &Path| keyed(directory, "memory.oom_control", "oom_kill").ok().flatten();
            let here = each(directory)?;
            let below =
                tree(directory).ok()?.iter().skip(1).filter_map(|directory| each(directory)).sum::<u64>();
            return Some(here + below);
        }
        let directory = self.v2()?;
        let kills = keyed(directory, "memory.events", "oom_kill").ok().flatten();
        kills.or_else(|| self.kills_of_removed(directory))
    }

    /// The same when systemd has removed the scope's directory already.
    fn kills_of_removed(&self, directory: &Path) -> Option<u64> {
        let is_removed = self.unit.is_some() && !directory.exists();
        if is_removed { self.kills_since_creation() } else { None }
    }

    /// The same of a scope that systemd has removed already: it does so as soon as the last process has ended, often before
    /// anybody could look. What the slice counted since may have been in another scope; whoever asks has to have a reason to
    /// believe that it was here.
    fn kills_since_creation(&self) -> Option<u64> {
        Some(self.kills_in_slice()?.saturating_sub(self.kills_before?))
    }

    /// How often a process was killed in the slice of a scope, in all that lies in it.
    pub(super) fn kills_in_slice(&self) -> Option<u64> {
        let slice = self.v2().filter(|_| self.unit.is_some())?.parent()?;
        Some(keyed(slice, "memory.events", "oom_kill").ok()?.unwrap_or(0))
    }
}

fn v1_memory(directory: &Path, stats: &mut Stats) -> Result<(), CgroupError> {
    let used = number(directory, "memory.usage_in_bytes")?.unwrap_or(0);
    let droppable = keyed(directory, "memory.stat", "total_inactive_file")?.unwrap_or(0);
    stats.memory_usage = used.saturating_sub(droppable);
    stats.memory_limit = number(directory, "memory.limit_in_bytes")?.filter(|&limit| limit < NO_LIMIT);
    stats.memory_peak = number(directory, "memory.max_usage_in_bytes")?;
    Ok(())
}

fn v1_block_io(directory: &Path, stats: &mut Stats) -> Result<(), CgroupError> {
    let text = match optional(directory, "blkio.throttle.io_service_bytes_recursive")? {
        Some(text) => text,
        None => optional(directory, "blkio.throttle.io_service_bytes")?.unwrap_or_default(),
    };
    // `8:0 Read 4096`, and a line `Total` without a device at the end.
    let sum = |operation: &str| {
        let bytes = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            (words.next() == Some(operation)).then(|| words.next()?.parse::<u64>().ok()).flatten()
        };
        text.lines().filter_map(bytes).sum()
    };
    stats.block_read = Some(sum("Read"));
    stats.block_write = Some(sum("Write"));
    Ok(())
}

fn v2_stats(directory: &Path, stats: &mut Stats) -> Result<(), CgroupError> {
    let usage = keyed(directory, "cpu.stat", "usage_usec")?.unwrap_or(0);
    stats.cpu_usage_ns = usage.saturating_mul(MICROSECOND);
    stats.cpu_throttled_periods = keyed(directory, "cpu.stat", "nr_throttled")?;
    if let Some(used) = number(directory, "memory.current")? {
        let droppable = keyed(directory, "memory.stat", "inactive_file")?.unwrap_or(0);
        stats.memory_usage = used.saturating_sub(droppable);
    }
    stats.memory_limit = v2_limit(directory, "memory.max")?;
    stats.memory_peak = number(directory, "memory.peak")?;
    stats.memory_events = v2_memory_events(&optional(directory, "memory.events")?.unwrap_or_default());
    stats.out_of_memory_kills = stats.memory_events.oom_kill;
    stats.cpu_pressure = pressure::read(directory, "cpu.pressure")?;
    stats.memory_pressure = pressure::read(directory, "memory.pressure")?;
    stats.io_pressure = pressure::read(directory, "io.pressure")?;
    stats.pids = number(directory, "pids.current")?.unwrap_or(0);
    stats.pids_limit = v2_limit(directory, "pids.max")?;
    if let Some(text) = optional(directory, "io.stat")? {
        stats.block_read = Some(sum_of(&text, "rbytes="));
        stats.block_write = Some(sum_of(&text, "wbytes="));
    }
    Ok(())
}

/// A limit, of the cgroup itself or of the one that crun makes in a scope for the container.
fn v2_limit(directory: &Path, file: &str) -> Result<Option<u64>, CgroupError> {
    match number(directory, file)? {
        None => number(&directory.join(CRUN), file),
        limit => Ok(limit),
    }
}

fn v2_memory_events(text: &str) -> MemoryEvents {
    let event = |key: &str| value_of(text, key);
    MemoryEvents {
        low: event("low"),
        high: event("high"),
        max: event("max"),
        oom: event("oom"),
        oom_kill: event("oom_kill"),
    }
}

/// The sum of a key's values in lines such as `8:0 rbytes=4096 wbytes=0`.
fn sum_of(text: &str, key: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// The text of a file, if this kernel has it.
fn optional(directory: &Path, file: &str) -> Result<Option<String>, CgroupError> {
    match read(&directory.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(CgroupError::Read { source, .. }) if is_gone(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number in a file; `None` for `max` and where the file is missing.
fn number(directory: &Path, file: &str) -> Result<Option<u64>, CgroupError> {
    Ok(optional(directory, file)?.and_then(|text| text.trim().parse().ok()))
}

/// The value after a key in a file of lines `KEY VALUE`.
fn keyed(directory: &Path, file: &str, key: &str) -> Result<Option<u64>, CgroupError> {
    Ok(value_of(&optional(directory, file)?.unwrap_or_default(), key))
}

/// The value after a key in lines `KEY VALUE`.
fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use loam_model::{Pressure, PressureStall};

    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("a small file");
        }
        directory
    }

    #[test]
    fn version_two_figures() {
        let files = [
            ("cpu.stat", "usage_usec 1500\nnr_throttled 3\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 1\ninactive_file 400\nactive_file 9\n"),
            ("memory.max", "max\n"),
            ("memory.events", "low 0\nhigh 5\nmax 7\noom 1\noom_kill 2\noom_group_kill 0\n"),
            ("cpu.pressure", "some avg10=1.50 avg60=0.20 avg300=0.00 total=99\n"),
            ("pids.current", "4\n"),
            ("pids.max", "10\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=1 rios=1\n"),
        ];
        let directory = directory(&files);
        let mut stats = Stats::default();
        v2_stats(directory.path(), &mut stats).expect("readable");
        let expected = Stats {
            cpu_usage_ns: 1_500_000,
            cpu_throttled_periods: Some(3),
            memory_usage: 600,
            out_of_memory_kills: Some(2),
            memory_events: MemoryEvents {
                low: Some(0),
                high: Some(5),
                max: Some(7),
                oom: Some(1),
                oom_kill: Some(2),
            },
            cpu_pressure: Some(Pressure {
                some: PressureStall { avg10: 1.5, avg60: 0.2, avg300: 0.0, total_us: 99 },
                full: None,
            }),
            pids: 4,
            pids_limit: Some(10),
            block_read: Some(15),
            block_write: Some(21),
            ..Stats::default()
        };
        assert_eq!(stats, expected);
    }

    #[test]
    fn version_one_figures() {
        let files = [
            ("memory.usage_in_bytes", "1000\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 300\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.max_usage_in_bytes", "2000\n"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 7\n8:0 Write 8\n8:0 Total 15\nTotal 15\n",
            ),
        ];
        let directory = directory(&files);
        let mut stats = Stats::default();
        v1_memory(directory.path(), &mut stats).expect("readable");
        v1_block_io(directory.path(), &mut stats).expect("readable");
        assert_eq!((stats.memory_usage, stats.memory_limit, stats.memory_peak), (700, None, Some(2000)));
        assert_eq!((stats.block_read, stats.block_write), (Some(7), Some(8)));
    }
}
