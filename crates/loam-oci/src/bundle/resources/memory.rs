//! Limits on memory and swap.

use loam_model::oci_spec::runtime::{LinuxMemory, LinuxMemoryBuilder};
use loam_model::{ErrorKind, Failure, Limits, Result};

use super::{invalid, needs};
use crate::bundle::Host;

/// The highest swappiness of a cgroup.
const MOST_SWAPPINESS: u64 = 100;

/// The limits on memory; `None` when there are none.
pub(super) fn resolve(limits: &Limits, host: &Host) -> Result<Option<LinuxMemory>> {
    let mut builder = LinuxMemoryBuilder::default();
    match (limits.memory, limits.memory_swap) {
        (None, None | Some(-1)) => {}
        (None, Some(swap)) => {
            return Err(invalid(format!("a swap limit of {swap} bytes needs a memory limit")));
        }
        (Some(memory), swap) => {
            let limit = limit(memory, host)?;
            builder = builder.limit(limit).swap(swap_limit(limit, swap)?);
        }
    }
    if let Some(reservation) = limits.memory_reservation {
        needs(host, &["memory"], "memory reservation")?;
        let most = limits.memory.unwrap_or(i64::MAX.unsigned_abs());
        let bytes = i64::try_from(reservation).ok().filter(|bytes| *bytes > 0 && reservation <= most);
        let Some(bytes) = bytes else {
            return Err(invalid(format!(
                "memory reservation `{reservation}` is not between 1 and the memory limit"
            )));
        };
        builder = builder.reservation(bytes);
    }
    if let Some(swappiness) = limits.memory_swappiness {
        if swappiness > MOST_SWAPPINESS {
            return Err(invalid(format!("swappiness `{swappiness}` is not between 0 and 100")));
        }
        if !host.swappiness {
            let message = "the swappiness can't be set: only cgroup version 1 has one for each container";
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        builder = builder.swappiness(swappiness);
    }
    let memory = builder.build().expect("every member of the memory limits has a default");
    Ok(Some(memory).filter(|memory| *memory != LinuxMemory::default()))
}

fn limit(memory: u64, host: &Host) -> Result<i64> {
    needs(host, &["memory"], "memory limit")?;
    if memory < Limits::LEAST_MEMORY {
        let message = format!("memory limit `{memory}` is less than 6 MiB, with which no program starts");
        return Err(invalid(message));
    }
    i64::try_from(memory).map_err(|_| invalid(format!("memory limit `{memory}` is too large")))
}

/// The limit on memory and swap together: no swap, unless somebody says otherwise.
fn swap_limit(limit: i64, swap: Option<i64>) -> Result<i64> {
    let swap = swap.unwrap_or(limit);
    if swap != -1 && swap < limit {
        let message = format!(
            "a swap limit of {swap} bytes is less than the memory limit of {limit} bytes, which it includes"
        );
        return Err(invalid(message));
    }
    Ok(swap)
}
