//! The flags that limit what a container uses.

use std::path::PathBuf;

use clap::Args;
use loam_model::{BlockThrottle, BlockWeight, Limits, Throttled};

use crate::flags::words::oom_score;
use crate::flags::{devices, quantity};

/// The flags that limit what a container uses.
#[derive(Args, Clone, Debug)]
pub(super) struct LimitFlags {
    /// Limit memory; -1 for no limit
    #[arg(short, long, value_name = "SIZE", value_parser = quantity::memory, allow_negative_numbers = true,
        help_heading = "Limits")]
    memory: Option<i64>,
    /// Limit memory and swap together; -1 for no limit
    #[arg(long, value_name = "SIZE", value_parser = quantity::swap, allow_hyphen_values = true, help_heading = "Limits")]
    memory_swap: Option<i64>,
    /// Take memory beyond this first when the host has none left
    #[arg(long, value_name = "SIZE", value_parser = quantity::size, help_heading = "Limits")]
    memory_reservation: Option<u64>,
    /// How readily memory is swapped out, 0 to 100; on cgroup version 1
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    memory_swappiness: Option<u64>,
    /// Limit processor time to so many processors
    #[arg(long, value_name = "NUMBER", value_parser = quantity::processors, help_heading = "Limits")]
    cpus: Option<u64>,
    /// The period of the processor limit, in microseconds
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus", help_heading = "Limits")]
    cpu_period: Option<u64>,
    /// Processor time in each period, in microseconds; -1 for no limit
    #[arg(
        long,
        value_name = "MICROSECONDS",
        conflicts_with = "cpus",
        allow_hyphen_values = true,
        help_heading = "Limits"
    )]
    cpu_quota: Option<i64>,
    /// The share of processor time relative to others; 1024 is the usual one
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    cpu_shares: Option<u64>,
    /// Run on these processors only
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    cpuset_cpus: Option<String>,
    /// Use memory of these nodes only
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    cpuset_mems: Option<String>,
    /// The share of input and output on block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT", help_heading = "Limits")]
    blkio_weight: Option<u16>,
    /// The same on one device
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = devices::device_weight, help_heading = "Limits")]
    blkio_weight_device: Vec<BlockWeight>,
    /// Limit the bytes read from a block device in a second
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = devices::bytes, help_heading = "Limits")]
    device_read_bps: Vec<(PathBuf, u64)>,
    /// Limit the bytes written to a block device in a second
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = devices::bytes, help_heading = "Limits")]
    device_write_bps: Vec<(PathBuf, u64)>,
    /// Limit the reads from a block device in a second
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = devices::operations, help_heading = "Limits")]
    device_read_iops: Vec<(PathBuf, u64)>,
    /// Limit the writes to a block device in a second
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = devices::operations, help_heading = "Limits")]
    device_write_iops: Vec<(PathBuf, u64)>,
    /// Limit memory in huge pages of one size, such as 2MB=64m
    #[arg(long, value_name = "PAGE=SIZE", value_parser = devices::hugepages, help_heading = "Limits")]
    hugepage_limit: Vec<(String, u64)>,
    /// Limit processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", value_parser = quantity::processes, allow_hyphen_values = true,
        help_heading = "Limits")]
    pids_limit: Option<i64>,
    /// The size of /dev/shm
    #[arg(long, value_name = "SIZE", value_parser = quantity::size, help_heading = "Limits")]
    shm_size: Option<u64>,
    /// Set a resource limit of the process
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = quantity::ulimit, help_heading = "Limits")]
    ulimit: Vec<(String, (u64, u64))>,
    /// size=SIZE: limit what is written to the root file system
    #[arg(long, value_name = "OPTION", value_parser = quantity::storage_option, help_heading = "Limits")]
    storage_opt: Vec<u64>,
    /// Shift the choice of the out-of-memory killer
    #[arg(long, value_name = "SCORE", value_parser = oom_score, allow_hyphen_values = true, help_heading = "Limits")]
    oom_score_adj: Option<i32>,
}

impl LimitFlags {
    /// The limits.
    pub(super) fn collect(&self) -> Limits {
        Limits {
            // The one that is negative is no limit.
            memory: self.memory.and_then(|bytes| u64::try_from(bytes).ok()),
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            memory_swappiness: self.memory_swappiness,
            cpu_millis: self.cpus,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            block_weight: self.blkio_weight,
            block_weight_devices: self.blkio_weight_device.clone(),
            block_throttles: self.throttles(),
            hugepages: self.hugepage_limit.iter().cloned().collect(),
            pids: self.pids_limit,
            shm_size: self.shm_size,
            rlimits: self.ulimit.iter().cloned().collect(),
            oom_score_adjust: self.oom_score_adj,
            disk: self.storage_opt.last().copied(),
        }
    }

    fn throttles(&self) -> Vec<BlockThrottle> {
        let lists = [
            (Throttled::ReadBytes, &self.device_read_bps),
            (Throttled::WriteBytes, &self.device_write_bps),
            (Throttled::ReadOperations, &self.device_read_iops),
            (Throttled::WriteOperations, &self.device_write_iops),
        ];
        let one = |what| {
            move |(device, rate): &(PathBuf, u64)| BlockThrottle { device: device.clone(), what, rate: *rate }
        };
        lists.into_iter().flat_map(|(what, list)| list.iter().map(one(what))).collect()
    }
}
