//! Figures of a running container.

use serde::{Deserialize, Serialize};

/// What the kernel counts for a container's cgroup. Absent figures are those that this kernel does not count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Processor time used, in nanoseconds.
    pub cpu_usage_ns: u64,
    /// Periods in which the processor limit held the container back.
    pub cpu_throttled_periods: Option<u64>,
    /// Memory in use without the page cache that can be dropped at once, in bytes (the working set).
    pub memory_usage: u64,
    /// The memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// The highest memory use so far, in bytes.
    pub memory_peak: Option<u64>,
    /// How often a process was killed for lack of memory.
    pub out_of_memory_kills: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// The limit on processes and threads.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub block_read: Option<u64>,
    /// Bytes written to block devices.
    pub block_write: Option<u64>,
    /// Bytes that the container has written to its root file system, when there is a limit on them.
    pub disk_used: Option<u64>,
    /// That limit in bytes.
    pub disk_limit: Option<u64>,
    /// Bytes received on all interfaces but loopback.
    pub network_received: Option<u64>,
    /// Bytes sent on all interfaces but loopback.
    pub network_sent: Option<u64>,
}
