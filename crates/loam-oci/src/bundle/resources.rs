//! Limits of the cgroup.

use loam_model::oci_spec::runtime::{
    LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};
use loam_model::{ErrorKind, Failure, Limits, Result, shown};

use super::Host;
use crate::devices;

/// Processes and threads, when nobody says: no program needs more, and a fork bomb stays small.
const DEFAULT_PIDS: i64 = 4096;
/// The period over which processor time is limited, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// A thousandth of a processor in microseconds of a period.
const QUOTA_PER_MILLI: u64 = CPU_PERIOD / 1000;
/// The kernel limits no more tightly than a millisecond in a period.
const LEAST_MILLIS: u64 = 10;
/// Less memory than any program starts with.
const LEAST_MEMORY: u64 = 6 << 20;
/// The range of shares.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// The limits as the runtime specification has them.
pub(super) fn resolve(limits: &Limits, host: &Host, warnings: &mut Vec<String>) -> Result<LinuxResources> {
    let mut resources = LinuxResourcesBuilder::default()
        .devices(vec![devices::deny_all()])
        .build()
        .expect("every member of the resources has a default");
    resources.set_memory(memory(limits, host)?);
    resources.set_cpu(cpu(limits, host)?);
    let pids = match limits.pids {
        Some(-1) => None,
        Some(count @ 1..) => {
            needs(host, "pids", "process limit")?;
            Some(count)
        }
        Some(count) => {
            return Err(invalid(format!("process limit `{count}` is neither a number of processes nor -1")));
        }
        None if needs(host, "pids", "").is_ok() => Some(DEFAULT_PIDS),
        None => {
            warnings.push(
                "the number of processes is not limited: this host has no `pids` cgroup controller"
                    .to_owned(),
            );
            None
        }
    };
    let pids = pids.map(|count| LinuxPidsBuilder::default().limit(count).build().expect("a limit"));
    resources.set_pids(pids);
    Ok(resources)
}

fn memory(limits: &Limits, host: &Host) -> Result<Option<loam_model::oci_spec::runtime::LinuxMemory>> {
    let Some(memory) = limits.memory else {
        return match limits.memory_swap {
            None | Some(-1) => Ok(None),
            Some(swap) => Err(invalid(format!("swap limit `{swap}` needs a memory limit"))),
        };
    };
    needs(host, "memory", "memory limit")?;
    let limit = i64::try_from(memory).ok().filter(|_| memory >= LEAST_MEMORY);
    let Some(limit) = limit else {
        return Err(invalid(format!(
            "memory limit `{memory}` is less than 6 MiB, which no program starts with, or too large"
        )));
    };
    let swap = limits.memory_swap.unwrap_or(limit);
    if swap != -1 && swap < limit {
        let message = format!("swap limit `{swap}` is less than memory limit `{limit}`, which it includes");
        return Err(invalid(message));
    }
    let memory = LinuxMemoryBuilder::default().limit(limit).swap(swap).build();
    Ok(Some(memory.expect("every member of the memory limits has a default")))
}

fn cpu(limits: &Limits, host: &Host) -> Result<Option<loam_model::oci_spec::runtime::LinuxCpu>> {
    let mut builder = LinuxCpuBuilder::default();
    if let Some(millis) = limits.cpu_millis {
        needs(host, "cpu", "processor limit")?;
        let quota = millis.checked_mul(QUOTA_PER_MILLI).and_then(|quota| i64::try_from(quota).ok());
        let Some(quota) = quota.filter(|_| millis >= LEAST_MILLIS) else {
            let processors = format!("{}.{:03}", millis / 1000, millis % 1000);
            return Err(invalid(format!("processor limit `{processors}` is less than 0.01 or too large")));
        };
        builder = builder.quota(quota).period(CPU_PERIOD);
    }
    if let Some(shares) = limits.cpu_shares {
        needs(host, "cpu", "processor share")?;
        if !SHARES.contains(&shares) {
            return Err(invalid(format!("processor share `{shares}` is not between 2 and 262144")));
        }
        builder = builder.shares(shares);
    }
    if let Some(list) = &limits.cpuset_cpus {
        needs(host, "cpuset", "processor list")?;
        if !is_list(list) {
            return Err(invalid(format!(
                "processor list `{}` is not of numbers and ranges such as `0-1,3`",
                shown(list)
            )));
        }
        builder = builder.cpus(list.clone());
    }
    if limits.cpu_millis.is_none() && limits.cpu_shares.is_none() && limits.cpuset_cpus.is_none() {
        return Ok(None);
    }
    Ok(Some(builder.build().expect("every member of the processor limits has a default")))
}

/// Whether a text is numbers and ranges with commas between.
fn is_list(text: &str) -> bool {
    let number = |text: &str| text.len() <= 6 && text.parse::<u32>().is_ok() && !text.starts_with('+');
    let item = |text: &str| match text.split_once('-') {
        Some((from, to)) => number(from) && number(to),
        None => number(text),
    };
    text.split(',').all(item)
}

/// Refuses a limit that nothing would enforce.
fn needs(host: &Host, controller: &str, what: &str) -> Result<()> {
    match &host.controllers {
        Some(controllers) if !controllers.iter().any(|name| name == controller) => {
            let message =
                format!("the {what} can't be enforced: this host has no `{controller}` cgroup controller");
            Err(Failure::new(ErrorKind::Unsupported, message))
        }
        _ => Ok(()),
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}
