//! Limits as the runtime specification has them.

use std::path::PathBuf;

use loam_model::oci_spec::runtime::LinuxResources;
use loam_model::{BlockThrottle, BlockWeight, Limits, Throttled};

use super::*;

/// A host with all controllers of version 1.
fn full_host() -> Host {
    let controllers = ["blkio", "cpu", "cpuset", "hugetlb", "memory", "pids"].map(str::to_owned).into();
    let hugepages = ["2MB", "1GB"].map(str::to_owned).into();
    Host { controllers: Some(controllers), swappiness: true, hugepages, ..host() }
}

fn case(limits: Limits) -> Case {
    let mut case = Case::default();
    case.spec.limits = limits;
    case
}

fn resources(case: &Case) -> LinuxResources {
    let bundle = case.bundle_on(&full_host()).expect("a bundle");
    bundle.config.linux().as_ref().and_then(|linux| linux.resources().clone()).expect("resources")
}

fn refused(limits: Limits) -> String {
    case(limits).bundle_on(&full_host()).expect_err("refused").chain()
}

fn throttle(device: &str) -> BlockThrottle {
    BlockThrottle { device: PathBuf::from(device), what: Throttled::ReadBytes, rate: 5 }
}

#[test]
fn every_limit_has_its_place() {
    let limits = Limits {
        memory: Some(64 << 20),
        memory_swap: Some(96 << 20),
        memory_reservation: Some(32 << 20),
        memory_swappiness: Some(10),
        cpu_period: Some(50_000),
        cpu_quota: Some(25_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".to_owned()),
        cpuset_mems: Some("0".to_owned()),
        block_weight: Some(300),
        hugepages: [("2MB".to_owned(), 4 << 20)].into(),
        ..Limits::default()
    };
    let mut resources = resources(&case(limits));
    resources.set_devices(None);
    insta::assert_snapshot!(serde_json::to_string(&resources).expect("plain data"), @r#"{"memory":{"limit":67108864,"reservation":33554432,"swap":100663296,"swappiness":10},"cpu":{"shares":512,"quota":25000,"period":50000,"cpus":"0","mems":"0"},"pids":{"limit":4096},"blockIO":{"weight":300},"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#);
}

#[test]
fn nothing_asked_for_is_nothing_set() {
    let resources = resources(&case(Limits { cpu_quota: Some(-1), ..Limits::default() }));
    assert!(resources.memory().is_none() && resources.block_io().is_none());
    assert!(resources.hugepage_limits().is_none());
    assert_eq!(resources.cpu().as_ref().and_then(|cpu| cpu.quota()), Some(-1));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let limits = Limits::default;
    let table = [
        (
            Limits { cpu_millis: Some(500), cpu_quota: Some(1000), ..limits() },
            "a number of processors can't be combined with a period or a quota",
        ),
        (
            Limits { cpu_period: Some(1), ..limits() },
            "processor period `1` is not between 1000 and 1000000 microseconds",
        ),
        (Limits { cpu_shares: Some(1), ..limits() }, "processor share `1` is not between 2 and 262144"),
        (
            Limits { cpuset_cpus: Some("3-1".to_owned()), ..limits() },
            "processor list `3-1` is not valid: a list is of numbers and ranges such as `0-1,3`",
        ),
        (
            Limits { cpu_quota: Some(-2), ..limits() },
            "processor quota `-2` is neither 1000 microseconds or more nor -1",
        ),
        (
            Limits { cpuset_mems: Some("x".to_owned()), ..limits() },
            "memory node list `x` is not valid: a list is of numbers and ranges such as `0-1,3`",
        ),
        (
            Limits { memory: Some(8 << 20), memory_reservation: Some(9 << 20), ..limits() },
            "memory reservation `9437184` is not between 1 and the memory limit",
        ),
        (Limits { memory_swappiness: Some(101), ..limits() }, "swappiness `101` is not between 0 and 100"),
        (Limits { block_weight: Some(9), ..limits() }, "block weight `9` is not between 10 and 1000"),
        (
            Limits {
                block_weight_devices: vec![BlockWeight { device: "/dev/null".into(), weight: 10 }],
                ..limits()
            },
            "`/dev/null` is not a block device",
        ),
        (
            Limits { block_throttles: vec![throttle("/does/not/exist")], ..limits() },
            "block device `/does/not/exist` can't be looked at: No such file or directory",
        ),
        (
            Limits { hugepages: [("3MB".to_owned(), 1)].into(), ..limits() },
            "this kernel has no huge pages of size `3MB`, but 2MB, 1GB",
        ),
    ];
    for (limits, sentence) in table {
        assert_eq!(refused(limits), sentence);
    }
}

#[test]
fn what_nothing_would_enforce_is_refused() {
    let refused = |limits: Limits| case(limits).refused();
    let limits = Limits::default;
    assert_eq!(
        refused(Limits { memory_swappiness: Some(1), ..limits() }),
        "Unsupported: the swappiness can't be set: only cgroup version 1 has one for each container"
    );
    assert_eq!(
        refused(Limits { block_weight: Some(100), ..limits() }),
        "Unsupported: the block input and output weight can't be enforced: this host has no `blkio` or `io` cgroup controller"
    );
    assert_eq!(
        refused(Limits { hugepages: [("2MB".to_owned(), 1)].into(), ..limits() }),
        "Unsupported: the huge page limit can't be enforced: this host has no `hugetlb` cgroup controller"
    );
}

#[test]
fn a_scope_is_told_how_long_a_stop_may_take() {
    let mut case = Case { cgroup: "machine.slice:loam:07", ..Case::default() };
    let property = |case: &Case, name: &str| {
        let annotations = case.bundle().config.annotations().clone().unwrap_or_default();
        annotations.get(&format!("org.systemd.property.{name}")).cloned()
    };
    assert_eq!(property(&case, "TimeoutStopUSec").as_deref(), Some("uint64 10000000"));
    assert_eq!(property(&case, "CollectMode").as_deref(), Some("'inactive-or-failed'"));
    case.spec.stop_timeout = Some(3);
    assert_eq!(property(&case, "TimeoutStopUSec").as_deref(), Some("uint64 3000000"));
    // A label can't say such a thing, and a path is nothing of systemd's.
    case.cgroup = "/loam/07";
    case.spec.labels.insert("org.systemd.property.TimeoutStopUSec".to_owned(), "uint64 1".to_owned());
    assert_eq!(property(&case, "TimeoutStopUSec"), None);
}
