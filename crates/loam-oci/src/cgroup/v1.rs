//! Limits as the controllers of version 1 take them (the kernel's admin-guide/cgroup-v1).

use loam_model::oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice,
};

use super::setting::Setting;
use super::v2::rdma_lines;
use super::{CgroupError, MemoryNow};

/// Translates limits into settings, in the order in which they must be written. `now` is what the memory controller
/// has at present: the order of its two limits depends on it.
pub(crate) fn settings(resources: &LinuxResources, now: MemoryNow) -> Result<Vec<Setting>, CgroupError> {
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_settings(memory, now, &mut settings)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, &mut settings);
    }
    if let Some(pids) = resources.pids().as_ref().filter(|pids| pids.limit() != 0) {
        settings.push(Setting::new("pids", "pids.max", super::setting::number_or_max(pids.limit())));
    }
    if let Some(block_io) = resources.block_io() {
        block_io_settings(block_io, &mut settings);
    }
    for huge in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.limit_in_bytes", huge.page_size());
        settings.push(Setting::new("hugetlb", file, huge.limit()));
        // Without it pages are promised beyond the limit, and whoever touches them gets SIGBUS.
        let file = format!("hugetlb.{}.rsvd.limit_in_bytes", huge.page_size());
        settings.push(Setting::new("hugetlb", file, huge.limit()).or_ignore());
    }
    if let Some(network) = resources.network() {
        network_settings(network, &mut settings);
    }
    settings.extend(rdma_lines(resources).into_iter().map(|line| Setting::new("rdma", "rdma.max", line)));
    Ok(settings)
}

fn memory_settings(
    memory: &LinuxMemory,
    now: MemoryNow,
    settings: &mut Vec<Setting>,
) -> Result<(), CgroupError> {
    // Memory without a limit, and nothing said of swap, means no limit on their sum either.
    let swap = match (memory.limit(), memory.swap()) {
        (Some(-1), None | Some(0)) => Some(-1),
        (_, swap) => swap.filter(|&swap| swap != 0),
    };
    let limit = memory.limit().filter(|&limit| limit != 0);
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap >= 0
        && (limit < 0 || swap < limit)
    {
        return Err(CgroupError::BadLimit {
            limit: "memory.swap",
            rule: "memory and swap together can't be less than memory",
        });
    }
    let limit_setting = limit.map(|limit| Setting::new("memory", "memory.limit_in_bytes", limit));
    let swap_setting = swap.map(|swap| {
        let setting = Setting::new("memory", "memory.memsw.limit_in_bytes", swap);
        // Without swap accounting only a limit that leaves some swap would be a lie.
        if swap < 0 || limit == Some(swap) { setting.or_ignore() } else { setting }
    });
    // The kernel holds limit ≤ memsw at every moment: whichever would break that goes second.
    let grows = swap.is_some_and(|swap| swap < 0 || now.memory_and_swap.is_some_and(|now| swap > now));
    let ordered = if grows { [swap_setting, limit_setting] } else { [limit_setting, swap_setting] };
    settings.extend(ordered.into_iter().flatten());
    if let Some(reservation) = memory.reservation().filter(|&reservation| reservation != 0) {
        settings.push(Setting::new("memory", "memory.soft_limit_in_bytes", reservation));
    }
    if let Some(limit) = memory.kernel_tcp().filter(|&limit| limit != 0) {
        settings.push(Setting::new("memory", "memory.kmem.tcp.limit_in_bytes", limit).or_ignore());
    }
    if let Some(swappiness) = memory.swappiness() {
        settings.push(Setting::new("memory", "memory.swappiness", swappiness));
    }
    if memory.disable_oom_killer() == Some(true) {
        settings.push(Setting::new("memory", "memory.oom_control", 1));
    }
    Ok(())
}

fn cpu_settings(cpu: &LinuxCpu, settings: &mut Vec<Setting>) {
    let mut push = |file: &str, value: Option<String>| {
        settings.extend(value.map(|value| Setting::new("cpu", file, value)));
    };
    push("cpu.shares", cpu.shares().filter(|&shares| shares != 0).map(|shares| shares.to_string()));
    push("cpu.cfs_period_us", cpu.period().filter(|&period| period != 0).map(|period| period.to_string()));
    push("cpu.cfs_quota_us", cpu.quota().filter(|&quota| quota != 0).map(|quota| quota.to_string()));
    push("cpu.cfs_burst_us", cpu.burst().map(|burst| burst.to_string()));
    push("cpu.idle", cpu.idle().map(|idle| idle.to_string()));
    push("cpu.rt_period_us", cpu.realtime_period().map(|period| period.to_string()));
    push("cpu.rt_runtime_us", cpu.realtime_runtime().map(|runtime| runtime.to_string()));
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        settings.extend(
            list.iter().filter(|list| !list.is_empty()).map(|list| Setting::new("cpuset", file, list)),
        );
    }
}

fn block_io_settings(block_io: &LinuxBlockIo, settings: &mut Vec<Setting>) {
    if let Some(weight) = block_io.weight().filter(|&weight| weight != 0) {
        settings.push(Setting::new("blkio", "blkio.bfq.weight", weight).or_instead("blkio.weight", weight));
    }
    if let Some(weight) = block_io.leaf_weight().filter(|&weight| weight != 0) {
        settings.push(Setting::new("blkio", "blkio.leaf_weight", weight));
    }
    for device in block_io.weight_device().iter().flatten() {
        let at = format!("{}:{}", device.major(), device.minor());
        if let Some(weight) = device.weight() {
            let line = format!("{at} {weight}");
            let setting = Setting::new("blkio", "blkio.bfq.weight_device", &line);
            settings.push(setting.or_instead("blkio.weight_device", line));
        }
        if let Some(weight) = device.leaf_weight() {
            settings.push(Setting::new("blkio", "blkio.leaf_weight_device", format!("{at} {weight}")));
        }
    }
    let mut throttle = |file: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        for device in devices.iter().flatten() {
            let line = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            settings.push(Setting::new("blkio", file, line));
        }
    };
    throttle("blkio.throttle.read_bps_device", block_io.throttle_read_bps_device());
    throttle("blkio.throttle.write_bps_device", block_io.throttle_write_bps_device());
    throttle("blkio.throttle.read_iops_device", block_io.throttle_read_iops_device());
    throttle("blkio.throttle.write_iops_device", block_io.throttle_write_iops_device());
}

fn network_settings(network: &LinuxNetwork, settings: &mut Vec<Setting>) {
    if let Some(class) = network.class_id() {
        settings.push(Setting::new("net_cls", "net_cls.classid", class));
    }
    for priority in network.priorities().iter().flatten() {
        let line = format!("{} {}", priority.name(), priority.priority());
        settings.push(Setting::new("net_prio", "net_prio.ifpriomap", line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str, memory_and_swap: Option<i64>) -> Vec<String> {
        let resources: LinuxResources = serde_json::from_str(json).expect("valid resources");
        let settings = settings(&resources, MemoryNow { memory_and_swap }).expect("valid limits");
        settings.iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    #[test]
    fn limits_become_files() {
        let table: &[(&str, &[&str])] = &[
            ("{}", &[]),
            (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]),
            (r#"{"pids":{"limit":7}}"#, &["pids.max=7"]),
            (
                r#"{"cpu":{"shares":512,"quota":150000,"period":100000,"cpus":"0-1"}}"#,
                &["cpu.shares=512", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000", "cpuset.cpus=0-1"],
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4}]}"#,
                &["hugetlb.2MB.limit_in_bytes=4", "hugetlb.2MB.rsvd.limit_in_bytes=4"],
            ),
            (
                r#"{"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}]}}"#,
                &["blkio.bfq.weight=10", "blkio.throttle.read_bps_device=8:0 5"],
            ),
            (r#"{"network":{"classID":3}}"#, &["net_cls.classid=3"]),
        ];
        for (json, expected) in table {
            assert_eq!(&lines(json, None), expected, "{json}");
        }
    }

    #[test]
    fn the_order_of_memory_and_swap_follows_what_the_kernel_allows() {
        let (limit, swap) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
        let table: &[(&str, Option<i64>, [String; 2])] = &[
            (r#"{"limit":10,"swap":20}"#, None, [format!("{limit}=10"), format!("{swap}=20")]),
            (r#"{"limit":10,"swap":20}"#, Some(15), [format!("{swap}=20"), format!("{limit}=10")]),
            (r#"{"limit":10,"swap":20}"#, Some(30), [format!("{limit}=10"), format!("{swap}=20")]),
            (r#"{"limit":-1}"#, Some(30), [format!("{swap}=-1"), format!("{limit}=-1")]),
        ];
        for (memory, now, expected) in table {
            assert_eq!(lines(&format!(r#"{{"memory":{memory}}}"#), *now), expected, "{memory} {now:?}");
        }
    }

    #[test]
    fn less_swap_than_memory_is_refused() {
        let resources: LinuxResources =
            serde_json::from_str(r#"{"memory":{"limit":20,"swap":10}}"#).expect("valid");
        let error = settings(&resources, MemoryNow::default()).expect_err("swap below memory");
        assert!(error.to_string().contains("memory.swap"), "{error}");
    }
}
