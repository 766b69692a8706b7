//! Limits as the controllers of version 2 take them (the kernel's admin-guide/cgroup-v2).

use loam_model::oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice,
};

use super::CgroupError;
use super::setting::{Setting, number_or_max};

/// Translates limits into settings, in the order in which they must be written.
pub(crate) fn settings(resources: &LinuxResources) -> Result<Vec<Setting>, CgroupError> {
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_settings(memory, &mut settings)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, &mut settings)?;
    }
    if let Some(pids) = resources.pids().as_ref().filter(|pids| pids.limit() != 0) {
        settings.push(Setting::new("pids", "pids.max", number_or_max(pids.limit())));
    }
    if let Some(block_io) = resources.block_io() {
        block_io_settings(block_io, &mut settings);
    }
    for huge in resources.hugepage_limits().iter().flatten() {
        let limit = number_or_max(huge.limit());
        let file = format!("hugetlb.{}.max", huge.page_size());
        settings.push(Setting::new("hugetlb", file, &limit));
        let file = format!("hugetlb.{}.rsvd.max", huge.page_size());
        settings.push(Setting::new("hugetlb", file, limit).or_ignore());
    }
    if resources.network().as_ref().is_some_and(|n| n.class_id().is_some() || n.priorities().is_some()) {
        let limit = "network".to_owned();
        return Err(CgroupError::NoController { limit, controller: "net_cls".to_owned() });
    }
    settings.extend(rdma_lines(resources).into_iter().map(|line| Setting::new("rdma", "rdma.max", line)));
    settings.extend(unified_settings(resources)?);
    Ok(settings)
}

/// What memory.swap.max is for a limit on memory and swap together; `None` leaves it alone.
pub(crate) fn swap_limit(memory: i64, memory_and_swap: i64) -> Result<Option<i64>, CgroupError> {
    let bad = |rule| Err(CgroupError::BadLimit { limit: "memory.swap", rule });
    match (memory, memory_and_swap) {
        (-1, 0) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (_, -1) => Ok(Some(-1)),
        (..=0, _) => bad("memory must be limited too"),
        (memory, sum) if sum < memory => bad("memory and swap together can't be less than memory"),
        (memory, sum) => Ok(Some(sum - memory)),
    }
}

fn memory_settings(memory: &LinuxMemory, settings: &mut Vec<Setting>) -> Result<(), CgroupError> {
    let (limit, sum) = (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0));
    if let Some(swap) = swap_limit(limit, sum)? {
        let setting = Setting::new("memory", "memory.swap.max", number_or_max(swap));
        // Without swap accounting only a limit that leaves some swap would be a lie.
        settings.push(if swap <= 0 { setting.or_ignore() } else { setting });
    }
    if limit != 0 {
        settings.push(Setting::new("memory", "memory.max", number_or_max(limit)));
    }
    if let Some(reservation) = memory.reservation().filter(|&reservation| reservation != 0) {
        settings.push(Setting::new("memory", "memory.low", number_or_max(reservation)));
    }
    if memory.disable_oom_killer() == Some(true) {
        let rule = "cgroup version 2 always has the out-of-memory killer";
        return Err(CgroupError::BadLimit { limit: "memory.disableOOMKiller", rule });
    }
    Ok(())
}

/// The weight for shares: 2 gives 1, 1024 gives 100, 262144 gives 10000, and a curve through these between them.
///
/// The straight line that runtimes used before gives 39 for the default of 1024, less than a plain cgroup's 100.
pub(crate) fn weight_from_shares(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "shares below 2^18 are exact")]
            let exponent = (shares as f64).log2();
            let weight = 10f64.powf((exponent * exponent + 125.0 * exponent) / 612.0 - 7.0 / 34.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the curve lies between 1 and 10000"
            )]
            let weight = weight.ceil() as u64;
            weight.clamp(1, 10_000)
        }
    }
}

fn cpu_settings(cpu: &LinuxCpu, settings: &mut Vec<Setting>) -> Result<(), CgroupError> {
    if cpu.realtime_runtime().is_some() || cpu.realtime_period().is_some() {
        let rule = "cgroup version 2 has no real-time limits";
        return Err(CgroupError::BadLimit { limit: "cpu.realtimeRuntime", rule });
    }
    if let Some(idle) = cpu.idle() {
        settings.push(Setting::new("cpu", "cpu.idle", idle));
    }
    // An idle cgroup has no weight of its own: writing one fails.
    if let Some(shares) = cpu.shares().filter(|&shares| shares != 0 && cpu.idle() != Some(1)) {
        settings.push(Setting::new("cpu", "cpu.weight", weight_from_shares(shares)));
    }
    let quota = cpu.quota().filter(|&quota| quota != 0);
    let period = cpu.period().filter(|&period| period != 0);
    if quota.is_some() || period.is_some() {
        let period = period.map(|period| format!(" {period}")).unwrap_or_default();
        let quota = number_or_max(quota.unwrap_or(-1));
        settings.push(Setting::new("cpu", "cpu.max", format!("{quota}{period}")));
    }
    if let Some(burst) = cpu.burst() {
        settings.push(Setting::new("cpu", "cpu.max.burst", burst));
    }
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        settings.extend(
            list.iter().filter(|list| !list.is_empty()).map(|list| Setting::new("cpuset", file, list)),
        );
    }
    Ok(())
}

/// The `io.weight` for a version 1 weight: 10 gives 1, 1000 gives 10000, a straight line between.
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990
}

fn block_io_settings(block_io: &LinuxBlockIo, settings: &mut Vec<Setting>) {
    if let Some(weight) = block_io.weight().filter(|&weight| weight != 0) {
        settings.push(Setting::new("io", "io.bfq.weight", weight).or_instead("io.weight", io_weight(weight)));
    }
    for device in block_io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let at = format!("{}:{}", device.major(), device.minor());
            let setting = Setting::new("io", "io.bfq.weight", format!("{at} {weight}"));
            settings.push(setting.or_instead("io.weight", format!("{at} {}", io_weight(weight))));
        }
    }
    let mut throttle = |key: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        for device in devices.iter().flatten() {
            let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
            let line = format!("{}:{} {key}={rate}", device.major(), device.minor());
            settings.push(Setting::new("io", "io.max", line));
        }
    };
    throttle("rbps", block_io.throttle_read_bps_device());
    throttle("wbps", block_io.throttle_write_bps_device());
    throttle("riops", block_io.throttle_read_iops_device());
    throttle("wiops", block_io.throttle_write_iops_device());
}

/// The lines for `rdma.max`, the same in both versions.
pub(crate) fn rdma_lines(resources: &LinuxResources) -> Vec<String> {
    let mut lines: Vec<String> = resources
        .rdma()
        .iter()
        .flatten()
        .map(|(device, limits)| {
            let handles = limits.hca_handles().map(|count| format!(" hca_handle={count}"));
            let objects = limits.hca_objects().map(|count| format!(" hca_object={count}"));
            format!("{device}{}{}", handles.unwrap_or_default(), objects.unwrap_or_default())
        })
        .collect();
    lines.sort();
    lines
}

/// The raw settings of the specification's `unified`, written last.
fn unified_settings(resources: &LinuxResources) -> Result<Vec<Setting>, CgroupError> {
    let mut settings = Vec::new();
    for (key, value) in resources.unified().iter().flatten() {
        let bad = |rule| CgroupError::BadUnified { key: key.clone(), rule };
        if key.contains(['/', '\0']) || key.starts_with('.') {
            return Err(bad("it is not the plain name of a file"));
        }
        let (controller, _) = key.split_once('.').ok_or_else(|| bad("it names no controller"))?;
        if controller == "cgroup" && !matches!(key.as_str(), "cgroup.max.depth" | "cgroup.max.descendants") {
            return Err(bad("it is not a limit"));
        }
        settings.push(Setting::new(controller, key, value));
    }
    settings.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str) -> Vec<String> {
        let resources: LinuxResources = serde_json::from_str(json).expect("valid resources");
        let settings = settings(&resources).expect("valid limits");
        settings.iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    /// What runc makes of them since 1.3.2 and 1.4.0 (opencontainers/cgroups since 0.0.3), and crun since 1.23: the curve
    /// through least, default and most. 1, 2, 3, 1024 and those around 262144 are in its tests, what a container with 2000
    /// was seen to get is in runc's issue 4896, and the others follow from its formula. Before there was a straight line, by
    /// which 1024 were 39 and 2000 were 77.
    #[test]
    fn shares_become_weights_as_by_runc() {
        let table = [
            (1, 1),
            (2, 1),
            (3, 2),
            (10, 4),
            (102, 17),
            (256, 35),
            (512, 59),
            (1000, 99),
            (1024, 100),
            (2000, 170),
            (2048, 174),
            (4096, 303),
            (10_240, 639),
            (65_536, 3023),
            (262_143, 10_000),
            (262_144, 10_000),
            (262_145, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(weight_from_shares(shares), weight, "{shares}");
        }
        let weights: Vec<u64> = (2..=262_144).step_by(997).map(weight_from_shares).collect();
        assert!(weights.is_sorted(), "more shares never give less weight");
        // Zero is "not said".
        assert_eq!(lines(r#"{"cpu":{"shares":0}}"#), [""; 0]);
        assert_eq!(lines(r#"{"cpu":{"shares":2000}}"#), ["cpu.weight=170"]);
    }

    /// The table of runc's own tests, and more of what it makes of them. One it takes and we refuse: a limit on memory and
    /// swap together makes no sense for memory without one. The kernel refuses that in version 1; runc takes it for a limit
    /// on swap alone in version 2.
    #[test]
    fn swap_is_what_the_sum_leaves_as_by_runc() {
        let table = [
            (100, 150, Some(50)),
            (200, 500, Some(300)),
            (100, 100, Some(0)),
            (1000, -1, Some(-1)),
            (0, -1, Some(-1)),
            (100, 0, None),
            (0, 0, None),
            (-1, 0, Some(-1)),
            (-1, -1, Some(-1)),
        ];
        for (memory, sum, swap) in table {
            assert_eq!(swap_limit(memory, sum).expect("valid"), swap, "{memory} {sum}");
        }
        for (memory, sum) in [(0, 300), (400, 300), (0, -2), (-2, 300)] {
            assert!(swap_limit(memory, sum).is_err(), "{memory} {sum}");
        }
        assert!(swap_limit(-1, 300).is_err());
        // Equal ones mean no swap, which is written; what is not said is not.
        let memory = r#"{"memory":{"limit":1000,"swap":1000}}"#;
        assert_eq!(lines(memory), ["memory.swap.max=0", "memory.max=1000"]);
        assert_eq!(lines(r#"{"memory":{"limit":1000}}"#), ["memory.max=1000"]);
    }

    #[test]
    fn limits_become_files() {
        let table: &[(&str, &[&str])] = &[
            ("{}", &[]),
            (r#"{"memory":{"limit":100,"swap":150}}"#, &["memory.swap.max=50", "memory.max=100"]),
            (r#"{"memory":{"reservation":-1}}"#, &["memory.low=max"]),
            (
                r#"{"cpu":{"shares":1024,"quota":50000,"period":100000}}"#,
                &["cpu.weight=100", "cpu.max=50000 100000"],
            ),
            (r#"{"cpu":{"period":1000}}"#, &["cpu.max=max 1000"]),
            (r#"{"cpu":{"quota":-1}}"#, &["cpu.max=max"]),
            (r#"{"cpu":{"idle":1,"shares":5}}"#, &["cpu.idle=1"]),
            (r#"{"cpu":{"quota":1,"burst":9}}"#, &["cpu.max=1", "cpu.max.burst=9"]),
            (r#"{"cpu":{"cpus":"0-3","mems":"0"}}"#, &["cpuset.cpus=0-3", "cpuset.mems=0"]),
            (r#"{"pids":{"limit":0}}"#, &[]),
            (r#"{"pids":{"limit":-5}}"#, &["pids.max=max"]),
            (
                r#"{"blockIO":{"throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":0}]}}"#,
                &["io.max=8:1 wiops=max"],
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"1GB","limit":-1}]}"#,
                &["hugetlb.1GB.max=max", "hugetlb.1GB.rsvd.max=max"],
            ),
            (r#"{"rdma":{"mlx":{"hcaHandles":3}}}"#, &["rdma.max=mlx hca_handle=3"]),
            (r#"{"unified":{"memory.high":"5","cpu.weight":"7"}}"#, &["cpu.weight=7", "memory.high=5"]),
        ];
        for (json, expected) in table {
            assert_eq!(&lines(json), expected, "{json}");
        }
    }

    /// As by runc: the weight itself where the scheduler BFQ is, else on a straight line from 10 to 1000. Zero is "not said".
    #[test]
    fn the_weight_for_block_devices_has_a_fallback() {
        for (weight, instead) in [(10, 1), (11, 11), (100, 910), (500, 4950), (999, 9989), (1000, 10_000)] {
            assert_eq!(io_weight(weight), instead, "{weight}");
            let json = format!(r#"{{"blockIO":{{"weight":{weight}}}}}"#);
            let resources: LinuxResources = serde_json::from_str(&json).expect("valid resources");
            let expected = Setting::new("io", "io.bfq.weight", weight).or_instead("io.weight", instead);
            assert_eq!(settings(&resources).expect("valid limits"), [expected]);
        }
        assert_eq!(lines(r#"{"blockIO":{"weight":0}}"#), [""; 0]);
    }

    #[test]
    fn what_version_two_lacks_is_refused() {
        for json in [
            r#"{"memory":{"disableOOMKiller":true}}"#,
            r#"{"cpu":{"realtimeRuntime":5}}"#,
            r#"{"network":{"classID":1}}"#,
            r#"{"unified":{"../x":"1"}}"#,
            r#"{"unified":{"cgroup.procs":"1"}}"#,
            r#"{"unified":{"nodot":"1"}}"#,
        ] {
            let resources: LinuxResources = serde_json::from_str(json).expect("valid resources");
            assert!(settings(&resources).is_err(), "{json}");
        }
    }
}
