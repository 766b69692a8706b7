//! The files of version 2 have the numbers that were asked for, in its own terms (the kernel's admin-guide/cgroup-v2).

use loam_tests::{Host, Need, needs};

use super::devices::{LoopDevice, device};

#[test]
fn the_kernel_has_the_numbers_that_were_asked_for() {
    if !needs::met(&[Need::CgroupV2]) {
        return;
    }
    let host = Host::with_small_image();
    let limits = [
        "-m=32m",
        "--memory-reservation=16m",
        "--cpus=0.5",
        "--cpu-shares=512",
        "--cpuset-cpus=0",
        "--cpuset-mems=0",
        "--pids-limit=77",
    ];
    host.start(&[&["--name", "n"], &limits[..], &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("n");
    for (file, number) in [
        ("memory.max", "33554432"),
        ("memory.low", "16777216"),
        // Quota and period in one file, shares as a weight.
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "59"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "77"),
    ] {
        assert_eq!(cgroup.read(("", ""), file), number, "{file}");
    }
    host.finish();
}

#[test]
fn a_period_and_a_quota_are_taken_as_they_are() {
    if !needs::met(&[Need::CgroupV2]) {
        return;
    }
    let host = Host::with_small_image();
    let limits = ["--cpu-period=50000", "--cpu-quota=12500"];
    host.start(&[&["--name", "q"], &limits[..], &["small", "sleep", "1000"]].concat());
    assert_eq!(host.cgroup("q").read(("", ""), "cpu.max"), "12500 50000");
    host.finish();
}

/// The limits of memory, and of swap by itself, that these flags come to.
fn memory_limits(flags: &[&str]) -> [String; 2] {
    let host = Host::with_small_image();
    host.start(&[&["--name", "s"], flags, &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("s");
    let limits = ["memory.max", "memory.swap.max"].map(|file| cgroup.read(("", ""), file));
    host.finish();
    limits
}

#[test]
fn memory_alone_leaves_no_swap() {
    if !needs::met(&[Need::CgroupV2, Need::Swap]) {
        return;
    }
    assert_eq!(memory_limits(&["-m=32m"]), ["33554432", "0"]);
}

#[test]
fn swap_is_what_is_left_of_the_sum() {
    if !needs::met(&[Need::CgroupV2, Need::Swap]) {
        return;
    }
    assert_eq!(memory_limits(&["-m=32m", "--memory-swap=48m"]), ["33554432", "16777216"]);
    assert_eq!(memory_limits(&["-m=32m", "--memory-swap=-1"]), ["33554432", "max"]);
}

#[test]
fn swappiness_is_version_one_s() {
    if !needs::met(&[Need::CgroupV2]) {
        return;
    }
    let host = Host::with_small_image();
    let line = ["run", "-d", "--name", "w", "--memory-swappiness", "10", "small", "sleep", "1000"];
    host.loam(&line).refused(125, "swappiness");
    host.finish();
}

#[test]
fn a_block_weight_is_converted() {
    if !needs::met(&[Need::CgroupV2, Need::BlockWeight]) {
        return;
    }
    let host = Host::with_small_image();
    host.start(&["--name", "b", "--blkio-weight", "300", "small", "sleep", "1000"]);
    let cgroup = host.cgroup("b");
    let bfq = cgroup.file(("", ""), "io.bfq.weight").exists();
    let (file, weight) = if bfq { ("io.bfq.weight", "300") } else { ("io.weight", "2930") };
    assert_eq!(cgroup.read(("", ""), file), format!("default {weight}"), "{file}");
    host.finish();
}

#[test]
fn a_block_device_has_a_weight_of_its_own() {
    if !needs::met(&[Need::CgroupV2, Need::BlockWeight]) {
        return;
    }
    let host = Host::with_small_image();
    let device = LoopDevice::with_weights(&host.scratch());
    let flag = format!("--blkio-weight-device={}:300", device.node());
    host.start(&["--name", "w", &flag, "small", "sleep", "1000"]);
    let cgroup = host.cgroup("w");
    let bfq = cgroup.file(("", ""), "io.bfq.weight").exists();
    let (file, weight) = if bfq { ("io.bfq.weight", "300") } else { ("io.weight", "2930") };
    let (text, line) = (cgroup.read(("", ""), file), format!("{} {weight}", device.numbers()));
    assert!(text.lines().any(|one| one == line), "{line} is not in {file}: {text}");
    host.loam(&["rm", "-f", "w"]).ok();
    drop(device);
    host.finish();
}

#[test]
fn the_kernel_has_the_rates_that_were_asked_for() {
    if !needs::met(&[Need::CgroupV2, Need::BlockDevice]) {
        return;
    }
    let host = Host::with_small_image();
    let (node, numbers) = device();
    let flags = [
        format!("--device-read-bps={node}:1m"),
        format!("--device-write-bps={node}:2m"),
        format!("--device-read-iops={node}:100"),
        format!("--device-write-iops={node}:200"),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    host.start(&[&["--name", "r"], &flags[..], &["small", "sleep", "1000"]].concat());
    let expected = format!("{numbers} rbps=1048576 wbps=2097152 riops=100 wiops=200");
    assert_eq!(host.cgroup("r").read(("", ""), "io.max"), expected);
    host.finish();
}
