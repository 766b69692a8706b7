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
    /// How often a process was killed for lack of memory. When the cgroup is gone already this may be what is known from
    /// around it; `memory_events` has only its own.
    pub out_of_memory_kills: Option<u64>,
    /// How often memory was short.
    pub memory_events: MemoryEvents,
    /// How much time was lost waiting for processors.
    pub cpu_pressure: Option<Pressure>,
    /// How much time was lost waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// How much time was lost waiting for block devices.
    pub io_pressure: Option<Pressure>,
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

/// How often memory was short, as `memory.events` of cgroup version 2 counts it, here and below. Version 1 counts
/// `oom_kill` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryEvents {
    /// Memory was taken away though it was within the reservation.
    pub low: Option<u64>,
    /// Processes were held back because the soft limit was exceeded.
    pub high: Option<u64>,
    /// The limit was about to be exceeded.
    pub max: Option<u64>,
    /// Nothing could be freed, so that an allocation was about to fail.
    pub oom: Option<u64>,
    /// A process was killed.
    pub oom_kill: Option<u64>,
}

/// Time lost waiting for a resource (the kernel's accounting/psi).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// When at least one task waited.
    pub some: PressureStall,
    /// When all tasks waited at once; absent where the kernel does not tell.
    pub full: Option<PressureStall>,
}

/// Shares of time in per cent, and the sum of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PressureStall {
    /// Of the last ten seconds.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// Since the container's start, in microseconds.
    pub total_us: u64,
}
