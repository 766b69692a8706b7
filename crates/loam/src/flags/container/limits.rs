//! The flags that limit what a container uses.

use clap::Args;
use loam_model::Limits;

use crate::flags::quantity;
use crate::flags::words::{oom_score, processor_set};

/// The flags that limit what a container uses.
#[derive(Args, Clone, Debug)]
pub(super) struct LimitFlags {
    /// Limit memory
    #[arg(short, long, value_name = "SIZE", value_parser = quantity::size, help_heading = "Limits")]
    memory: Option<u64>,
    /// Limit memory and swap together; -1 for no limit
    #[arg(long, value_name = "SIZE", value_parser = quantity::swap, allow_hyphen_values = true, help_heading = "Limits")]
    memory_swap: Option<i64>,
    /// Limit processor time to so many processors
    #[arg(long, value_name = "NUMBER", value_parser = quantity::processors, help_heading = "Limits")]
    cpus: Option<u64>,
    /// The share of processor time relative to others; 1024 is the usual one
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(2..=262_144), help_heading = "Limits")]
    cpu_shares: Option<u64>,
    /// Run on these processors only
    #[arg(long, value_name = "LIST", value_parser = processor_set, help_heading = "Limits")]
    cpuset_cpus: Option<String>,
    /// Limit processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, help_heading = "Limits")]
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
            memory: self.memory,
            memory_swap: self.memory_swap,
            cpu_millis: self.cpus,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            pids: self.pids_limit,
            shm_size: self.shm_size,
            rlimits: self.ulimit.iter().cloned().collect(),
            oom_score_adjust: self.oom_score_adj,
            disk: self.storage_opt.last().copied(),
        }
    }
}
