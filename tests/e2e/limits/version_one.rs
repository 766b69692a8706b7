//! The files of version 1 have the numbers that were asked for (the kernel's admin-guide/cgroup-v1).

use loam_tests::{Host, Need, needs};

use super::devices::{LoopDevice, device};

/// What the kernel calls no limit on memory: as many whole pages as a signed number of bytes can count.
const UNLIMITED: u64 = u64::MAX / 2 / 4096 * 4096;

#[test]
fn the_kernel_has_the_numbers_that_were_asked_for() {
    if !needs::met(&[Need::CgroupV1]) {
        return;
    }
    let host = Host::with_small_image();
    let limits = [
        "-m=32m",
        "--memory-reservation=16m",
        "--memory-swappiness=10",
        "--cpus=0.5",
        "--cpu-shares=512",
        "--cpuset-cpus=0",
        "--cpuset-mems=0",
        "--pids-limit=77",
    ];
    host.start(&[&["--name", "n"], &limits[..], &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("n");
    for (controller, file, number) in [
        ("memory", "memory.limit_in_bytes", "33554432"),
        ("memory", "memory.soft_limit_in_bytes", "16777216"),
        ("memory", "memory.swappiness", "10"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.shares", "512"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "77"),
    ] {
        assert_eq!(cgroup.read((controller, file), ""), number, "{file}");
    }
    host.finish();
}

#[test]
fn a_period_and_a_quota_are_taken_as_they_are() {
    if !needs::met(&[Need::CgroupV1]) {
        return;
    }
    let host = Host::with_small_image();
    let limits = ["--cpu-period=50000", "--cpu-quota=12500"];
    host.start(&[&["--name", "q"], &limits[..], &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("q");
    assert_eq!(cgroup.read(("cpu", "cpu.cfs_quota_us"), ""), "12500");
    assert_eq!(cgroup.read(("cpu", "cpu.cfs_period_us"), ""), "50000");
    host.finish();
}

/// The limits of memory, and of memory and swap together, that these flags come to.
fn memory_limits(flags: &[&str]) -> (u64, u64) {
    let host = Host::with_small_image();
    host.start(&[&["--name", "s"], flags, &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("s");
    let limits = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        .map(|file| cgroup.number(("memory", file), ""));
    host.finish();
    limits.into()
}

#[test]
fn memory_alone_leaves_no_swap() {
    if !needs::met(&[Need::CgroupV1, Need::Swap]) {
        return;
    }
    assert_eq!(memory_limits(&["-m=32m"]), (32 << 20, 32 << 20));
}

#[test]
fn swap_is_counted_with_memory() {
    if !needs::met(&[Need::CgroupV1, Need::Swap]) {
        return;
    }
    assert_eq!(memory_limits(&["-m=32m", "--memory-swap=48m"]), (32 << 20, 48 << 20));
    assert_eq!(memory_limits(&["-m=32m", "--memory-swap=-1"]), (32 << 20, UNLIMITED));
}

#[test]
fn a_block_weight_is_taken_as_it_is() {
    if !needs::met(&[Need::CgroupV1, Need::BlockWeight]) {
        return;
    }
    let host = Host::with_small_image();
    host.start(&["--name", "b", "--blkio-weight", "300", "small", "sleep", "1000"]);
    assert_eq!(host.cgroup("b").read(("blkio", "blkio.bfq.weight"), ""), "300");
    host.finish();
}

#[test]
fn a_block_device_has_a_weight_of_its_own() {
    if !needs::met(&[Need::CgroupV1, Need::BlockWeight]) {
        return;
    }
    let host = Host::with_small_image();
    let device = LoopDevice::with_weights(&host.scratch());
    let flag = format!("--blkio-weight-device={}:300", device.node());
    host.start(&["--name", "w", &flag, "small", "sleep", "1000"]);
    let text = host.cgroup("w").read(("blkio", "blkio.bfq.weight_device"), "");
    let line = format!("{} 300", device.numbers());
    assert!(text.lines().any(|one| one == line), "{line} is not in {text}");
    host.loam(&["rm", "-f", "w"]).ok();
    drop(device);
    host.finish();
}

#[test]
fn the_kernel_has_the_rates_that_were_asked_for() {
    if !needs::met(&[Need::CgroupV1, Need::BlockDevice]) {
        return;
    }
    let host = Host::with_small_image();
    let (node, numbers) = device();
    let rates = [("read-bps", 1_048_576), ("write-bps", 2_097_152), ("read-iops", 100), ("write-iops", 200)];
    let flags = rates.map(|(what, rate)| format!("--device-{what}={node}:{rate}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    host.start(&[&["--name", "r"], &flags[..], &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("r");
    for (what, rate) in rates {
        let file = format!("blkio.throttle.{}_device", what.replace('-', "_"));
        assert_eq!(cgroup.read(("blkio", &file), ""), format!("{numbers} {rate}"), "{file}");
    }
    host.finish();
}
