//! Limits on processor time, and which processors and memory nodes may be used.

use std::ops::RangeInclusive;

use loam_model::oci_spec::runtime::{LinuxCpu, LinuxCpuBuilder};
use loam_model::{Limits, Result, shown};

use super::{invalid, needs};
use crate::bundle::Host;
use crate::cpu_list::{CpuList, NoCpuList, RULE};

/// The period over which processor time is limited, in microseconds.
const PERIOD: u64 = 100_000;
/// The periods that the kernel takes, in microseconds.
const PERIODS: RangeInclusive<u64> = 1000..=1_000_000;
/// The least time in a period that the kernel takes, in microseconds.
const LEAST_QUOTA: i64 = 1000;
/// A thousandth of a processor in microseconds of a period.
const QUOTA_PER_MILLI: u64 = PERIOD / 1000;
/// The kernel limits no more tightly than a millisecond in a period.
const LEAST_MILLIS: u64 = 10;
/// The range of shares.
const SHARES: RangeInclusive<u64> = 2..=262_144;

/// The limits on processors; `None` when there are none.
pub(super) fn resolve(limits: &Limits, host: &Host) -> Result<Option<LinuxCpu>> {
    let mut builder = LinuxCpuBuilder::default();
    let (period, quota) = time(limits, host)?;
    if let Some(period) = period {
        builder = builder.period(period);
    }
    if let Some(quota) = quota {
        builder = builder.quota(quota);
    }
    if let Some(shares) = limits.cpu_shares {
        needs(host, &["cpu"], "processor share")?;
        if !SHARES.contains(&shares) {
            return Err(invalid(format!("processor share `{shares}` is not between 2 and 262144")));
        }
        builder = builder.shares(shares);
    }
    if let Some(list) = list(&limits.cpuset_cpus, "processor", &host.processors, host)? {
        builder = builder.cpus(list);
    }
    if let Some(list) = list(&limits.cpuset_mems, "memory node", &host.memory_nodes, host)? {
        builder = builder.mems(list);
    }
    let cpu = builder.build().expect("every member of the processor limits has a default");
    Ok(Some(cpu).filter(|cpu| *cpu != LinuxCpu::default()))
}

/// The period and the quota, both in microseconds.
fn time(limits: &Limits, host: &Host) -> Result<(Option<u64>, Option<i64>)> {
    if limits.cpu_millis.is_some() || limits.cpu_period.is_some() || limits.cpu_quota.is_some() {
        needs(host, &["cpu"], "processor limit")?;
    }
    if let Some(millis) = limits.cpu_millis {
        if limits.cpu_period.is_some() || limits.cpu_quota.is_some() {
            let message = "a number of processors can't be combined with a period or a quota";
            return Err(invalid(message.to_owned()));
        }
        let quota = millis.checked_mul(QUOTA_PER_MILLI).and_then(|quota| i64::try_from(quota).ok());
        let Some(quota) = quota.filter(|_| millis >= LEAST_MILLIS) else {
            let processors = format!("{}.{:03}", millis / 1000, millis % 1000);
            return Err(invalid(format!("processor limit `{processors}` is less than 0.01 or too large")));
        };
        return Ok((Some(PERIOD), Some(quota)));
    }
    if let Some(period) = limits.cpu_period.filter(|period| !PERIODS.contains(period)) {
        return Err(invalid(format!(
            "processor period `{period}` is not between 1000 and 1000000 microseconds"
        )));
    }
    match limits.cpu_quota {
        Some(quota) if quota != -1 && quota < LEAST_QUOTA => {
            Err(invalid(format!("processor quota `{quota}` is neither 1000 microseconds or more nor -1")))
        }
        quota => Ok((limits.cpu_period, quota)),
    }
}

fn list(list: &Option<String>, what: &str, there: &Option<CpuList>, host: &Host) -> Result<Option<String>> {
    let Some(list) = list else { return Ok(None) };
    needs(host, &["cpuset"], &format!("{what} list"))?;
    match (list.parse::<CpuList>(), there) {
        (Ok(asked), Some(there)) if !asked.is_within(there) => {
            Err(invalid(format!("{what} list `{}` is not possible: this host has `{there}`", shown(list))))
        }
        (Ok(_), _) => Ok(Some(list.clone())),
        (Err(NoCpuList), _) => Err(invalid(format!("{what} list `{}` is not valid: {RULE}", shown(list)))),
    }
}
