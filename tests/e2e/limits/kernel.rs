//! The kernel has the numbers that were asked for, in its own terms.

use loam_tests::cgroup::is_version_two;
use loam_tests::{Host, Need, needs};

#[test]
fn the_kernel_has_the_numbers_that_were_asked_for() {
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
    assert_eq!(cgroup.read(("memory", "memory.limit_in_bytes"), "memory.max"), "33554432");
    assert_eq!(cgroup.read(("memory", "memory.soft_limit_in_bytes"), "memory.low"), "16777216");
    assert_eq!(cgroup.read(("pids", "pids.max"), "pids.max"), "77");
    assert_eq!(cgroup.read(("cpuset", "cpuset.cpus"), "cpuset.cpus"), "0");
    assert_eq!(cgroup.read(("cpuset", "cpuset.mems"), "cpuset.mems"), "0");
    if is_version_two() {
        // Of one's own kind: quota and period in one file, shares as a weight.
        assert_eq!(cgroup.read(("", ""), "cpu.max"), "50000 100000");
        assert_eq!(cgroup.read(("", ""), "cpu.weight"), "59");
        assert_eq!(cgroup.read(("", ""), "memory.swap.max"), "0", "no swap unless one asks for it");
    } else {
        assert_eq!(cgroup.read(("cpu", "cpu.cfs_quota_us"), ""), "50000");
        assert_eq!(cgroup.read(("cpu", "cpu.cfs_period_us"), ""), "100000");
        assert_eq!(cgroup.read(("cpu", "cpu.shares"), ""), "512");
    }
    host.finish();
}

#[test]
fn a_period_and_a_quota_are_taken_as_they_are() {
    let host = Host::with_small_image();
    let limits = ["--cpu-period=50000", "--cpu-quota=12500"];
    host.start(&[&["--name", "q"], &limits[..], &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("q");
    if is_version_two() {
        assert_eq!(cgroup.read(("", ""), "cpu.max"), "12500 50000");
    } else {
        assert_eq!(cgroup.read(("cpu", "cpu.cfs_quota_us"), ""), "12500");
        assert_eq!(cgroup.read(("cpu", "cpu.cfs_period_us"), ""), "50000");
    }
    host.finish();
}

#[test]
fn swap_is_counted_with_memory() {
    if !needs::met(&[Need::Swap]) {
        return;
    }
    let host = Host::with_small_image();
    host.start(&["--name", "s", "-m", "32m", "--memory-swap", "48m", "small", "sleep", "1000"]);
    let cgroup = host.cgroup("s");
    let limit = cgroup.number(("memory", "memory.memsw.limit_in_bytes"), "memory.swap.max");
    assert_eq!(limit, if is_version_two() { 16 << 20 } else { 48 << 20 });
    host.finish();
}

#[test]
fn swappiness_is_version_one_s() {
    let host = Host::with_small_image();
    let line = ["run", "-d", "--name", "w", "--memory-swappiness", "10", "small", "sleep", "1000"];
    if is_version_two() {
        host.loam(&line).refused(125, "swappiness");
    } else {
        host.loam(&line).ok();
        assert_eq!(host.cgroup("w").read(("memory", "memory.swappiness"), ""), "10");
    }
    host.finish();
}

#[test]
fn a_block_weight_is_converted() {
    if !needs::met(&[Need::BlockWeight]) {
        return;
    }
    let host = Host::with_small_image();
    host.start(&["--name", "b", "--blkio-weight", "300", "small", "sleep", "1000"]);
    let cgroup = host.cgroup("b");
    let files = [(("blkio", "blkio.bfq.weight"), "io.bfq.weight"), (("blkio", "blkio.weight"), "io.weight")];
    let (v1, v2) = files.into_iter().find(|(v1, v2)| cgroup.file(*v1, v2).exists()).expect("a file");
    let text = cgroup.read(v1, v2);
    let weight = text.lines().next().and_then(|line| line.rsplit(' ').next());
    assert_eq!(weight, Some(if v2 == "io.weight" && is_version_two() { "2930" } else { "300" }), "{text}");
    host.finish();
}
